: Calcium in a shell under the membrane, with linear decay. Made up, in the range of Sabatini et al. 2002, doi:10.1016/S0896-6273(02)00573-1.

NEURON {
    SUFFIX ca1_cad
    USEION ca READ ica WRITE cai
    RANGE depth, tau, rest
}

UNITS {
    (mA) = (milliamp)
    (mM) = (milli/liter)
    (um) = (micron)
    FARADAY = (faraday) (coulomb)
}

PARAMETER {
    depth = 0.3 (um)
    tau = 30 (ms)
    rest = 5e-5 (mM)
}

ASSIGNED { ica (mA/cm2) }

STATE { cai (mM) }

INITIAL {
    cai = rest
}

BREAKPOINT {
    SOLVE states METHOD cnexp
}

DERIVATIVE states {
    cai' = -(10000)*ica/(2*FARADAY*depth) + (rest - cai)/tau
}
