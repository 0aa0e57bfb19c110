COMMENT
High-voltage-activated calcium current (m2 h).
Kinetics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX Ca_HVA
    USEION ca READ eca WRITE ica
    RANGE gbar, g, m_inf, m_tau, h_inf, h_tau
}

UNITS {
    (mV) = (millivolt)
    (mA) = (milliamp)
    (S) = (siemens)
}

PARAMETER {
    gbar = 0 (S/cm2)
}

ASSIGNED {
    v (mV)
    eca (mV)
    ica (mA/cm2)
    g (S/cm2)
    m_inf (1)
    m_tau (ms)
    h_inf (1)
    h_tau (ms)
}

STATE { m h }

INITIAL {
    rates(v)
    m = m_inf
    h = h_inf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    g = gbar*m*m*h
    ica = g*(v - eca)
}

DERIVATIVE states {
    rates(v)
    m' = (m_inf - m)/m_tau
    h' = (h_inf - h)/h_tau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b
    UNITSOFF
    a = 0.055*linoid(-27 - v, 3.8)
    b = 0.94*exp((-75 - v)/17)
    m_inf = a/(a + b)
    m_tau = 1/(a + b)
    a = 0.000457*exp((-13 - v)/50)
    b = 0.0065/(exp((-v - 15)/28) + 1)
    h_inf = a/(a + b)
    h_tau = 1/(a + b)
    UNITSON
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x / (exp(x/y) - 1), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y - x/2
    } else {
        linoid = x/(exp(x/y) - 1)
    }
}
