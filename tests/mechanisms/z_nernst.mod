: The mechanism computes its reversal potential from concentrations (equation of Nernst). Kinetics: made up.

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
    FARADAY = (faraday) (coulomb)
    R = (k-mole) (joule/degC)
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
    erev = equilibrium(cai, cao)
    ica = gbar*m*m*(v - erev)
}

DERIVATIVE states {
    m' = (1/(1 + exp(-(v + 20)/7)) - m)/1.5
}

FUNCTION equilibrium(ci (mM), co (mM)) (mV) {
    equilibrium = 1000*R*(celsius + 273.15)/(2*FARADAY)*log(co/ci)
}
