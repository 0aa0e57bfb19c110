: Potassium leak: a current of an ion without any state.
: McCormick and Huguenard 1992, doi:10.1152/jn.1992.68.4.1384.

NEURON {
    SUFFIX relay_kleak
    USEION k READ ek WRITE ik
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
}

PARAMETER { gbar = 0 (S/cm2) }

ASSIGNED {
    v (mV)
    ek (mV)
    ik (mA/cm2)
}

BREAKPOINT {
    ik = gbar*(v - ek)
}
