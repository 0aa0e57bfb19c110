: A gate slower than a trial (tau 10 s), in a sodium current. Kinetics: after Fleidervish et al. 1996, doi:10.1113/jphysiol.1996.sp021385.

NEURON {
    SUFFIX z_slow
    USEION na READ ena WRITE ina
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
}

PARAMETER {
    gbar = 0.001 (S/cm2)
}

ASSIGNED {
    v (mV)
    ena (mV)
    ina (mA/cm2)
    sinf (1)
}

STATE { s }

INITIAL {
    rates(v)
    s = sinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ina = gbar*s/(1 + exp(-(v + 45)/5))*(v - ena)
}

DERIVATIVE states {
    rates(v)
    s' = (sinf - s)/10000
}

PROCEDURE rates(v (mV)) {
    sinf = 1/(1 + exp((v + 55)/9))
}
