: A polynomial of states: m3 h + 0.1 n. Kinetics: made up.

NEURON {
    SUFFIX z_polynomial
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
    minf (1)
    hinf (1)
    ninf (1)
}

STATE { m h n }

INITIAL {
    rates(v)
    m = minf
    h = hinf
    n = ninf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ina = gbar*(m^3*h + 0.1*n)*(v - ena)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/0.2
    h' = (hinf - h)/3
    n' = (ninf - n)/8
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp(-(v + 35)/7))
    hinf = 1/(1 + exp((v + 60)/6))
    ninf = 1/(1 + exp(-(v + 50)/5))
}
