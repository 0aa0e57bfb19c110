: Sodium current (m3 h) of fast-spiking interneurons.
: Kinetics: Golomb et al. 2007, doi:10.1371/journal.pcbi.0030156; activation, there at once, takes 0.06 ms, for at once no step of 0.05 ms is stable.

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
    minf (1)
    mtau (ms)
    hinf (1)
    htau (ms)
}

STATE { m h }

INITIAL {
    rates(v)
    m = minf
    h = hinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ina = gbar*m^3*h*(v - ena)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
    h' = (hinf - h)/htau
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp(-(v + 28)/11.5))
    mtau = 0.06
    hinf = 1/(1 + exp((v + 58.3)/6.7))
    htau = 0.5 + 14/(1 + exp((v + 60)/12))
}
