: Sodium current of fast-spiking interneurons, with activation at once.
: Kinetics: Golomb et al. 2007, doi:10.1371/journal.pcbi.0030156.

NEURON {
    SUFFIX fs_na
    USEION na READ ena WRITE ina
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
}

PARAMETER {
    gbar = 0 (S/cm2)
}

ASSIGNED {
    v (mV)
    ena (mV)
    ina (mA/cm2)
    hinf (1)
    htau (ms)
    m (1)
}

STATE { h }

INITIAL {
    rates(v)
    h = hinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    rates(v)
    ina = gbar*m^3*h*(v - ena)
}

DERIVATIVE states {
    rates(v)
    h' = (hinf - h)/htau
}

PROCEDURE rates(v (mV)) {
    m = 1/(1 + exp(-(v + 24)/11.5))
    hinf = 1/(1 + exp((v + 58.3)/6.7))
    htau = 0.5 + 14/(1 + exp((v + 60)/12))
}
