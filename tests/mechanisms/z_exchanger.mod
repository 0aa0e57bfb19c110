: Sodium-calcium exchange: reads nai, nao, cai, cao, writes ica and ina, no states. Kinetics: after Mullins 1977, doi:10.1085/jgp.70.6.681.

NEURON {
    SUFFIX z_exchanger
    USEION na READ nai, nao WRITE ina
    USEION ca READ cai, cao WRITE ica
    RANGE imax
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
}

PARAMETER {
    imax = 1e-6 (mA/cm2)
}

ASSIGNED {
    v (mV)
    nai (mM)
    nao (mM)
    cai (mM)
    cao (mM)
    ina (mA/cm2)
    ica (mA/cm2)
    x (1)
}

BREAKPOINT {
    x = imax*(nao^3*cai*exp(-v/50) - nai^3*cao*exp(v/50))/(1e3*(1 + cai/0.001))
    ica = 2*x
    ina = -3*x
}
