: The mechanism computes its reversal potential from concentrations: nernst(cai, cao, 2). Kinetics: made up.

NEURON {
    SUFFIX z_nernst
    USEION ca READ cai, cao WRITE ica
    RANGE gbar, erev
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
    celsius (degC)
    cai (mM)
    cao (mM)
    ica (mA/cm2)
    erev (1)
}

STATE { m }

INITIAL {
    m = 1/(1 + exp(-(v + 20)/7))
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    erev = nernst(cai, cao, 2)
    ica = gbar*m*m*(v - erev)
}

DERIVATIVE states {
    m' = (1/(1 + exp(-(v + 20)/7)) - m)/1.5
}
