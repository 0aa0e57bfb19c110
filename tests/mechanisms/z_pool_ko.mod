: Potassium gathers outside the membrane: writes ko. Kinetics: after Frankenhaeuser and Hodgkin 1956, doi:10.1113/jphysiol.1956.sp005467.

NEURON {
    SUFFIX z_pool_ko
    USEION k READ ik WRITE ko
    RANGE space, tau
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
    space = 0.03 (um)
    tau = 30 (ms)
    bath = 2.5 (mM)
}

ASSIGNED {
    ik (mA/cm2)
}

STATE { ko (mM) }

INITIAL {
    ko = bath
}

BREAKPOINT {
    SOLVE states METHOD cnexp
}

DERIVATIVE states {
    ko' = (10000)*ik/(FARADAY*space) + (bath - ko)/tau
}
