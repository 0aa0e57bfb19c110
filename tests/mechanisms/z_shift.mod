: RANGE parameters that shift the kinetics: another class in each section. Kinetics: made up.

NEURON {
    SUFFIX z_shift
    USEION k READ ek WRITE ik
    RANGE gbar, vhalf, slope, scale
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
    scale = 1
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
    n' = (steady(v) - n)/(scale*(1 + 5/(1 + exp((v - vhalf)/slope))))
}

FUNCTION steady(v (mV)) {
    steady = 1/(1 + exp(-(v - vhalf)/slope))
}
