: A LINEAR block gives the steady state at once. Kinetics: made up.

NEURON {
    SUFFIX z_linear_block
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
    a (1)
    b (1)
}

STATE { c o }

INITIAL {
    SOLVE balance
}

BREAKPOINT {
    SOLVE balance
    ik = gbar*o*(v - ek)
}

LINEAR balance {
    a = 0.3*exp((v + 40)/20)
    b = 0.3*exp(-(v + 40)/20)
    ~ a*c - b*o = 0
    ~ c + o = 1
}
