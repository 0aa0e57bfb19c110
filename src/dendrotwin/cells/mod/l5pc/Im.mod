COMMENT
Muscarinic potassium current (m).
Kinetics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX Im
    USEION k READ ek WRITE ik
    RANGE gbar, g, m_inf, m_tau
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
    ek (mV)
    ik (mA/cm2)
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
    ik = g*(v - ek)
}

DERIVATIVE states {
    rates(v)
    m' = (m_inf - m)/m_tau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q
    UNITSOFF
    q = 2.3^((34 - 21)/10)  : measured at 21 degC, brought to 34 degC
    a = 0.0033*exp(0.1*(v + 35))
    b = 0.0033^2/a  : the two rates mirror each other
    m_inf = a/(a + b)
    m_tau = 1/((a + b)*q)
    UNITSON
}
