: INITIAL leaves states away from the steady state: m = 0, h = 1. Kinetics: made up.

NEURON {
    SUFFIX z_initial_elsewhere
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
    minf (1)
    hinf (1)
}

STATE { m h }

INITIAL {
    m = 0
    h = 1
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ina = gbar*m*h*(v - ena)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/0.5
    h' = (hinf - h)/40
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp(-(v + 35)/7))
    hinf = 1/(1 + exp((v + 60)/6))
}
