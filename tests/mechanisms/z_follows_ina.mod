: A state that follows the sodium current of others over time. Kinetics: made up.

NEURON {
    SUFFIX z_follows_ina
    USEION na READ ina
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
    ina (mA/cm2)
    ek (mV)
    ik (mA/cm2)
}

STATE { n }

INITIAL {
    n = 0
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n/(n + 1)*(v - ek)
}

DERIVATIVE states {
    n' = -ina - n/100
}
