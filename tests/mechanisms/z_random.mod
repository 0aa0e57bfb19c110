: Truly random: noise of a RANDOM variable drives a state. Kinetics: made up, an Ornstein-Uhlenbeck process.

NEURON {
    SUFFIX z_random
    USEION k READ ek WRITE ik
    RANGE gbar
    RANDOM noise
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
    dt (1)
    ek (mV)
    ik (mA/cm2)
}

STATE { n }

INITIAL {
    n = 0.5
}

BREAKPOINT {
    SOLVE draw
    ik = gbar*n*(v - ek)
}

PROCEDURE draw() {
    n = n + (0.5 - n)*dt/10 + 0.05*sqrt(dt)*random_normal(noise, 0, 1)
    if (n < 0) {
        n = 0
    }
}
