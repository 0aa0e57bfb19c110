COMMENT
Fast inactivating (transient) potassium current (m4 h).
Kinetics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX K_Tst
    USEION k READ ek WRITE ik
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
    ek (mV)
    ik (mA/cm2)
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
    g = gbar*m*m*m*m*h
    ik = g*(v - ek)
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
    m_inf = 1/(1 + exp(-u/19))
    m_tau = (0.34 + 0.92*exp(-((u + 71)/59)^2))/q
    h_inf = 1/(1 + exp((u + 66)/10))
    h_tau = (8 + 49*exp(-((u + 73)/23)^2))/q
    UNITSON
}
