: Two pools, of which the fast one feeds the slow one; the fast one is cai. Kinetics: made up.

NEURON {
    SUFFIX z_pool_two
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
    rest = 1e-4 (mM)
}

ASSIGNED {
    ica (mA/cm2)
}

STATE { cai (mM) slow (mM) }

INITIAL {
    cai = rest
    slow = rest
}

BREAKPOINT {
    SOLVE states METHOD derivimplicit
}

DERIVATIVE states {
    cai' = -(10000)*ica/(2*FARADAY*depth) + (rest - cai)/tau + (slow - cai)/5
    slow' = (cai - slow)/50
}
