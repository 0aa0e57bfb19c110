: A state array, STATE { m[3] }, in a KINETIC scheme. Kinetics: made up.

NEURON {
    SUFFIX z_array
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

STATE { m[3] }

INITIAL {
    rates(v)
    m[0] = b*b/((a + b)*(a + b))
    m[1] = 2*a*b/((a + b)*(a + b))
    m[2] = 1 - m[0] - m[1]
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ik = gbar*m[2]*(v - ek)
}

KINETIC scheme {
    rates(v)
    ~ m[0] <-> m[1] (2*a, b)
    ~ m[1] <-> m[2] (a, 2*b)
}

PROCEDURE rates(v (mV)) {
    a = 0.2*exp((v + 35)/20)
    b = 0.2*exp(-(v + 35)/25)
}
