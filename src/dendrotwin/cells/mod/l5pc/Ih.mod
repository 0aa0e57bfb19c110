COMMENT
Hyperpolarisation-activated cation current (m); ehcn is its reversal potential.
Kinetics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX Ih
    NONSPECIFIC_CURRENT ih
    RANGE gbar, ehcn, g, m_inf, m_tau
}

UNITS {
    (mV) = (millivolt)
    (mA) = (milliamp)
    (S) = (siemens)
}

PARAMETER {
    gbar = 0 (S/cm2)
    ehcn = -45 (mV)
}

ASSIGNED {
    v (mV)
    ih (mA/cm2)
    g (S/cm2)
    m_inf (1)
    m_tau (ms)
}

STATE { m }

INITIAL {
    rates(v)
    m = m_inf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    g = gbar*m
    ih = g*(v - ehcn)
}

DERIVATIVE states {
    rates(v)
    m' = (m_inf - m)/m_tau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b
    UNITSOFF
    a = 0.00643*linoid(v + 154.9, 11.9)
    b = 0.193*exp(v/33.1)
    m_inf = a/(a + b)
    m_tau = 1/(a + b)
    UNITSON
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x / (exp(x/y) - 1), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y - x/2
    } else {
        linoid = x/(exp(x/y) - 1)
    }
}
