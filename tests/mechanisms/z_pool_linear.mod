: Calcium pool with linear decay to zero. Kinetics: made up.

NEURON {
    SUFFIX z_pool_linear
    USEION ca READ ica WRITE cai
    RANGE depth, tau
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
    depth = 0.1 (um)
    tau = 20 (ms)
}

ASSIGNED {
    ica (mA/cm2)
}

STATE { cai (mM) }

INITIAL {
    cai = 5e-5
}

BREAKPOINT {
    SOLVE states METHOD cnexp
}

DERIVATIVE states {
    cai' = -(10000)*ica/(2*FARADAY*depth) - cai/tau
}
