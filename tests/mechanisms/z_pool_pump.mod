: Calcium pool with a Michaelis-Menten pump. Kinetics: after Destexhe et al. 1993, doi:10.1152/jn.1993.69.3.952.

NEURON {
    SUFFIX z_pool_pump
    USEION ca READ ica WRITE cai
    RANGE depth
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
    vmax = 1e-4 (mM/ms)
    km = 1e-4 (mM)
    leak = 3.33333e-5 (mM/ms)
}

ASSIGNED {
    ica (mA/cm2)
}

STATE { cai (mM) }

INITIAL {
    cai = 5e-5
}

BREAKPOINT {
    SOLVE states METHOD derivimplicit
}

DERIVATIVE states {
    cai' = -(10000)*ica/(2*FARADAY*depth) - vmax*cai/(cai + km) + leak
}
