: VERBATIM in the kinetics, but nothing random. Kinetics: made up.

NEURON {
    SUFFIX z_verbatim
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
    ninf (1)
}

STATE { n }

INITIAL {
    rates(v)
    n = ninf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/6
}

PROCEDURE rates(v (mV)) {
    VERBATIM
    ninf = 1.0/(1.0 + exp(-(_lv + 30.0)/8.0));
    ENDVERBATIM
}
