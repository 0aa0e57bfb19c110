: Current and gate depend on calcium outside: a surface charge that cao screens. Kinetics: after Frankenhaeuser and Hodgkin 1957, doi:10.1113/jphysiol.1957.sp005808.

NEURON {
    SUFFIX z_of_cao
    USEION ca READ cao
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
    cao (mM)
    ena (mV)
    ina (mA/cm2)
    minf (1)
}

STATE { m }

INITIAL {
    rates(v)
    m = minf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ina = gbar*m^3/(1 + cao/5)*(v - ena)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/0.3
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp(-(v + 40 - 9*log(cao/2))/6))
}
