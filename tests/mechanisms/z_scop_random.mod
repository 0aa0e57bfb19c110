: Truly random: the conductance is drawn at each step, scop_random(). Kinetics: made up.

NEURON {
    SUFFIX z_scop_random
    USEION k READ ek WRITE ik
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
    ek (mV)
    ik (mA/cm2)
    x (1)
}

INITIAL {
    x = 0.5
}

BREAKPOINT {
    SOLVE draw
    ik = gbar*x*(v - ek)
}

PROCEDURE draw() {
    x = 0.5 + 0.5*scop_random()
}
