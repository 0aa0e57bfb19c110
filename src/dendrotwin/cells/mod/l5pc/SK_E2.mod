COMMENT
Small-conductance calcium-activated potassium current (z).
Kinetics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX SK_E2
    USEION ca READ cai
    USEION k READ ek WRITE ik
    RANGE gbar, g, z_inf, z_tau
}

UNITS {
    (mV) = (millivolt)
    (mA) = (milliamp)
    (S) = (siemens)
    (mM) = (milli/liter)
}

PARAMETER {
    gbar = 0 (S/cm2)
}

ASSIGNED {
    v (mV)
    ek (mV)
    cai (mM)
    ik (mA/cm2)
    g (S/cm2)
    z_inf (1)
    z_tau (ms)
}

STATE { z }

INITIAL {
    rates(cai)
    z = z_inf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    g = gbar*z
    ik = g*(v - ek)
}

DERIVATIVE states {
    rates(cai)
    z' = (z_inf - z)/z_tau
}

PROCEDURE rates(cai (mM)) {
    UNITSOFF
    z_inf = 1/(1 + (0.00043/cai)^4.8)
    z_tau = 1
    UNITSON
}
