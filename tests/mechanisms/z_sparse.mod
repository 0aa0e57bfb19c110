: KINETIC of two states, METHOD sparse, without CONSERVE. Kinetics: made up.

NEURON {
    SUFFIX z_sparse
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
}

STATE { c o }

INITIAL {
    o = alpha(v)/(alpha(v) + beta(v))
    c = 1 - o
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ik = gbar*o*(v - ek)
}

KINETIC scheme {
    ~ c <-> o (alpha(v), beta(v))
}

FUNCTION alpha(v (mV)) (/ms) {
    alpha = 0.2*exp((v + 40)/25)
}

FUNCTION beta(v (mV)) (/ms) {
    beta = 0.1*exp(-(v + 40)/30)
}
