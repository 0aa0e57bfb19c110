: A power that is no whole number (n^1.7 h^0.5). Kinetics: made up.

NEURON {
    SUFFIX z_power
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
    hinf (1)
}

STATE { n h }

INITIAL {
    rates(v)
    n = ninf
    h = hinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n^1.7*h^0.5*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/2
    h' = (hinf - h)/60
}

PROCEDURE rates(v (mV)) {
    ninf = 1/(1 + exp(-(v + 20)/10))
    hinf = 1/(1 + exp((v + 50)/8))
}
