: Calcium that follows the current at once, without a STATE. Kinetics: made up.

NEURON {
    SUFFIX z_pool_instant
    USEION ca READ ica WRITE cai
    RANGE gain
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
}

PARAMETER {
    gain = 0.01
    rest = 1e-4 (mM)
}

ASSIGNED {
    ica (mA/cm2)
    cai (mM)
}

INITIAL {
    cai = rest
}

BREAKPOINT {
    cai = rest
    if (ica < 0) {
        cai = rest - gain*ica
    }
}
