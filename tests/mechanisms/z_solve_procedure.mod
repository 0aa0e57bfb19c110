: A state that SOLVE PROCEDURE puts at its steady state: at once. Kinetics: made up.

NEURON {
    SUFFIX z_solve_procedure
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
}

STATE { m }

INITIAL {
    m = 1/(1 + exp(-(v + 40)/6))
}

BREAKPOINT {
    SOLVE states
    ina = gbar*m^3*(v - ena)
}

PROCEDURE states() {
    m = 1/(1 + exp(-(v + 40)/6))
}
