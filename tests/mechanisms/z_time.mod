: Explicit time in BREAKPOINT: the conductance waxes and wanes. Kinetics: made up.

NEURON {
    SUFFIX z_time
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

BREAKPOINT {
    ik = gbar*(1 + sin(6.2831853*t/50))*(v - ek)
}
