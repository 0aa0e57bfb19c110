: Markov channel of four states, rates of potential and of calcium. Kinetics: made up.

NEURON {
    SUFFIX z_markov_v_ca
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
    a (1)
    b (1)
}

STATE { c0 c1 o0 o1 }

INITIAL {
    SOLVE scheme STEADYSTATE sparse
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ik = gbar*(o0 + o1)*(v - ek)
}

KINETIC scheme {
    a = 0.1*exp(v/30)
    b = 0.5*exp(-v/30)
    ~ c0 <-> c1 (100*cai, 0.3)
    ~ o0 <-> o1 (100*cai, 0.03)
    ~ c0 <-> o0 (a, 10*b)
    ~ c1 <-> o1 (a, b)
    CONSERVE c0 + c1 + o0 + o1 = 1
}
