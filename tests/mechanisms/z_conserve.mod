: KINETIC of three states with CONSERVE and a steady state at the start. Kinetics: made up.

NEURON {
    SUFFIX z_conserve
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
    a (1)
    b (1)
}

STATE { c1 c2 o }

INITIAL {
    SOLVE scheme STEADYSTATE sparse
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ik = gbar*o*(v - ek)
}

KINETIC scheme {
    rates(v)
    ~ c1 <-> c2 (2*a, b)
    ~ c2 <-> o (a, 2*b)
    CONSERVE c1 + c2 + o = 1
}

PROCEDURE rates(v (mV)) {
    a = 0.3*exp((v + 30)/20)
    b = 0.15*exp(-(v + 30)/40)
}
