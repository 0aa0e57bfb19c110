: A gate of calcium alone, with a time constant of calcium. Kinetics: made up.

NEURON {
    SUFFIX z_gate_of_ca
    USEION ca READ cai
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
    cai (mM)
    zinf (1)
    ztau (ms)
}

STATE { z }

INITIAL {
    rates(cai)
    z = zinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*z*z*(v - ek)
}

DERIVATIVE states {
    rates(cai)
    z' = (zinf - z)/ztau
}

PROCEDURE rates(cai (mM)) {
    zinf = 1/(1 + (0.0005/cai)^2)
    ztau = 1 + 30/(1 + cai/0.0003)
}
