: Calcium in a shell of 0.1 um with fast removal. After Khaliq, Gouwens and Raman 2003, doi:10.1523/JNEUROSCI.23-12-04899.2003.

NEURON {
    SUFFIX purkinje_cad
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
    depth = 0.1 (um)
    tau = 2 (ms)
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
