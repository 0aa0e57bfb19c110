: States coupled by a product: m' depends on m h. Kinetics: made up, in the manner of voltage-gated channels whose inactivation needs activation.

NEURON {
    SUFFIX z_coupled
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
}

STATE { m h }

INITIAL {
    rates(v)
    m = minf
    h = 0.8
}

BREAKPOINT {
    SOLVE states METHOD derivimplicit
    ina = gbar*m*h*(v - ena)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/0.5 - 0.4*m*h
    h' = (1 - h)/20 - 0.3*m*h
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp(-(v + 35)/7))
}
