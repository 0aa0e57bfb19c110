: INITIAL divides a GLOBAL by the temperature factor each time: it changes itself. Kinetics: made up.

NEURON {
    SUFFIX z_global_drifts
    USEION k READ ek WRITE ik
    RANGE gbar
    GLOBAL tau
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
    tau = 10 (ms)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    ek (mV)
    ik (mA/cm2)
}

STATE { n }

INITIAL {
    tau = tau/2^((celsius - 24)/10)
    n = steady(v)
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n*(v - ek)
}

DERIVATIVE states {
    n' = (steady(v) - n)/tau
}

FUNCTION steady(v (mV)) {
    steady = 1/(1 + exp(-(v + 30)/9))
}
