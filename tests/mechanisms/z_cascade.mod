: Gates that feed each other linearly: n follows potential, m follows n. Kinetics: made up.

NEURON {
    SUFFIX z_cascade
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

STATE { n m }

INITIAL {
    n = steady(v)
    m = n
}

BREAKPOINT {
    SOLVE states METHOD derivimplicit
    ik = gbar*m*(v - ek)
}

DERIVATIVE states {
    n' = (steady(v) - n)/3
    m' = (n - m)/12
}

FUNCTION steady(v (mV)) {
    steady = 1/(1 + exp(-(v + 30)/9))
}
