: Calcium in a shell of 0.2 um. Dynamics: D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001.

NEURON {
    SUFFIX granule_cad
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
    depth = 0.2 (um)
    tau = 0.667 (ms)
    rest = 1e-4 (mM)
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
