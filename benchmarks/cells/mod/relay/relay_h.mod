: Hyperpolarisation-activated current.
: Kinetics: McCormick and Huguenard 1992, doi:10.1152/jn.1992.68.4.1384.

NEURON {
    SUFFIX relay_h
    NONSPECIFIC_CURRENT i
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
}

PARAMETER {
    gbar = 0 (S/cm2)
    e = -43 (mV)
}

ASSIGNED {
    v (mV)
    i (mA/cm2)
    minf (1)
    mtau (ms)
}

STATE { m }

INITIAL {
    rates(v)
    m = minf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    i = gbar*m*(v - e)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp((v + 75)/5.5))
    mtau = 1/(exp(-14.59 - 0.086*v) + exp(-1.87 + 0.0701*v))
}
