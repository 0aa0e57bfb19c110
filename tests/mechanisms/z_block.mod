: Block by magnesium outside, a parameter: the conductance falls with potential at once, times a gate. Kinetics: Jahr and Stevens 1990, doi:10.1523/JNEUROSCI.10-09-03178.1990.

NEURON {
    SUFFIX z_block
    NONSPECIFIC_CURRENT i
    RANGE gbar, mg
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
    mg = 1 (mM)
}

ASSIGNED {
    v (mV)
    i (mA/cm2)
    minf (1)
}

STATE { m }

INITIAL {
    rates(v)
    m = minf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    i = gbar*m/(1 + mg/3.57*exp(-0.062*v))*v
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/25
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp(-(v + 50)/15))
}
