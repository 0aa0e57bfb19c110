: A CONSTANT block and a time constant of one number. Kinetics: made up.

NEURON {
    SUFFIX z_constant
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

STATE { n }

INITIAL {
    n = 1/(1 + exp(-(v - vhalf)/slope))
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n*(v - ek)
}

DERIVATIVE states {
    n' = (1/(1 + exp(-(v - vhalf)/slope)) - n)/tau
}

CONSTANT {
    vhalf = -25 (mV)
    slope = 11 (mV)
    tau = 7 (ms)
}
