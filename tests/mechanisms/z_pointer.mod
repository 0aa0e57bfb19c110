: POINTER to a potential elsewhere; unset, NEURON stops. Kinetics: made up.

NEURON {
    SUFFIX z_pointer
    USEION k READ ek WRITE ik
    RANGE gbar
    POINTER other
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
    other (1)
}

STATE { n }

INITIAL {
    n = 0
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n*(v - ek)
}

DERIVATIVE states {
    n' = (1/(1 + exp(-(other + 30)/9)) - n)/5
}
