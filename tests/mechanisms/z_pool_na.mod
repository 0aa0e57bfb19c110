: Sodium pool that depends on diam. Kinetics: made up.

NEURON {
    SUFFIX z_pool_na
    USEION na READ ina WRITE nai
    RANGE tau
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
    tau = 1000 (ms)
    rest = 10 (mM)
}

ASSIGNED {
    ina (mA/cm2)
    diam (um)
}

STATE { nai (mM) }

INITIAL {
    nai = rest
}

BREAKPOINT {
    SOLVE states METHOD cnexp
}

DERIVATIVE states {
    nai' = -(10000)*4*ina/(FARADAY*diam) + (rest - nai)/tau
}
