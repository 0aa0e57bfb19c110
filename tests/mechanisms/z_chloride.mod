: An ion of the mechanism's own, chloride of valence -1. Kinetics: made up.

NEURON {
    SUFFIX z_chloride
    USEION cl READ ecl WRITE icl VALENCE -1
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
    ecl (mV)
    icl (mA/cm2)
    minf (1)
}

STATE { m }

INITIAL {
    rates(v)
    m = minf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    icl = gbar*m*(v - ecl)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/30
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp((v + 70)/12))
}
