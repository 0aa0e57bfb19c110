: Markov channel of six states, rates of calcium alone. Kinetics: after Hirschberg et al. 1998, doi:10.1085/jgp.111.4.565.

NEURON {
    SUFFIX z_markov_ca
    USEION ca READ cai
    USEION k READ ek WRITE ik
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
}

PARAMETER {
    gbar = 0.001 (S/cm2)
}

ASSIGNED {
    v (mV)
    ek (mV)
    ik (mA/cm2)
    cai (mM)
}

STATE { c1 c2 c3 c4 o1 o2 }

INITIAL {
    SOLVE scheme STEADYSTATE sparse
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ik = gbar*(o1 + o2)*(v - ek)
}

KINETIC scheme {
    ~ c1 <-> c2 (200*cai, 0.08)
    ~ c2 <-> c3 (160*cai, 0.08)
    ~ c3 <-> c4 (80*cai, 0.2)
    ~ c3 <-> o1 (0.16, 1)
    ~ c4 <-> o2 (1.2, 0.1)
    CONSERVE c1 + c2 + c3 + c4 + o1 + o2 = 1
}
