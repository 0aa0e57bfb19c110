: Calcium in a shell: inflow counts, outflow does not; return to rest.
: Dynamics: Destexhe et al. 1998, doi:10.1523/JNEUROSCI.18-10-03574.1998.

NEURON {
    SUFFIX relay_cad
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
    tau = 5 (ms)
    rest = 2.4e-4 (mM)
}

ASSIGNED {
    ica (mA/cm2)
    inflow (mM/ms)
}

STATE { cai (mM) }

INITIAL {
    cai = rest
}

BREAKPOINT {
    SOLVE states METHOD derivimplicit
}

DERIVATIVE states {
    inflow = -(10000)*ica/(2*FARADAY*depth)
    if (inflow < 0) {
        inflow = 0
    }
    cai' = inflow + (rest - cai)/tau
}
