: Calcium pool that fills the section: depends on diam. Kinetics: made up.

NEURON {
    SUFFIX z_pool_diam
    USEION ca READ ica WRITE cai
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
    tau = 50 (ms)
    rest = 1e-4 (mM)
}

ASSIGNED {
    ica (mA/cm2)
    diam (um)
}

STATE { cai (mM) }

INITIAL {
    cai = rest
}

BREAKPOINT {
    SOLVE states METHOD cnexp
}

DERIVATIVE states {
    cai' = -(10000)*4*ica/(2*FARADAY*diam) + (rest - cai)/tau
}
