: Persistent sodium current with activation at once.
: Kinetics: Raman and Bean 1997, doi:10.1523/JNEUROSCI.17-12-04517.1997; constants rounded.

NEURON {
    SUFFIX purkinje_nap
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
    m (1)
}

INITIAL {
    rates(v)
}

BREAKPOINT {
    rates(v)
    ina = gbar*m*(v - ena)
}

PROCEDURE rates(v (mV)) {
    m = 1/(1 + exp(-(v + 50)/4))
}
