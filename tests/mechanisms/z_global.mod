: GLOBAL parameters of the kinetics. Kinetics: made up.

NEURON {
    SUFFIX z_global
    USEION k READ ek WRITE ik
    RANGE gbar
    GLOBAL vhalf, slope, tau
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
    vhalf = -30 (mV)
    slope = 9 (mV)
    tau = 4 (ms)
}

ASSIGNED {
    v (mV)
    ek (mV)
    ik (mA/cm2)
}

STATE { n }

INITIAL {
    n = steady(v)
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n*n*(v - ek)
}

DERIVATIVE states {
    n' = (steady(v) - n)/tau
}

FUNCTION steady(v (mV)) {
    steady = 1/(1 + exp(-(v - vhalf)/slope))
}
