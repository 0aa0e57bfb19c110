: Calcium pool that counts inward current only. Kinetics: after Destexhe et al. 1993, doi:10.1152/jn.1993.69.3.952.

NEURON {
    SUFFIX z_pool_inward
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
    inflow (1)
}

STATE { cai (mM) }

INITIAL {
    cai = rest
}

BREAKPOINT {
    SOLVE states METHOD cnexp
}

DERIVATIVE states {
    inflow = -(10000)*ica/(2*FARADAY*depth)
    if (inflow < 0) {
        inflow = 0
    }
    cai' = inflow + (rest - cai)/tau
}
