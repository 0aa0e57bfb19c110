COMMENT
Low-voltage-activated calcium current (m2 h).
Kinetics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX Ca_LVAst
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
    LOCAL u, q
    UNITSOFF
    q = 2.3^((34 - 21)/10)  : measured at 21 degC, brought to 34 degC
    u = v + 10  : liquid junction potential
    m_inf = 1/(1 + exp(-(u + 30)/6))
    m_tau = (5 + 20/(1 + exp((u + 25)/5)))/q
    h_inf = 1/(1 + exp((u + 80)/6.4))
    h_tau = (20 + 50/(1 + exp((u + 40)/7)))/q
    UNITSON
}
