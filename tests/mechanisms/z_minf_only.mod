: No states: m at its steady state at once (m3). Kinetics: made up.

NEURON {
    SUFFIX z_minf_only
    USEION na READ ena WRITE ina
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
    ena (mV)
    ina (mA/cm2)
    m (1)
}

BREAKPOINT {
    m = 1/(1 + exp(-(v + 45)/5))
    ina = gbar*m^3*(v - ena)
}
