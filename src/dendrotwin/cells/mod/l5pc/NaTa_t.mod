COMMENT
Fast inactivating sodium current (m3 h).
Kinetics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX NaTa_t
    USEION na READ ena WRITE ina
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
    ena (mV)
    ina (mA/cm2)
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
    g = gbar*m*m*m*h
    ina = g*(v - ena)
}

DERIVATIVE states {
    rates(v)
    m' = (m_inf - m)/m_tau
    h' = (h_inf - h)/h_tau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q
    UNITSOFF
    q = 2.3^((34 - 21)/10)  : measured at 21 degC, brought to 34 degC
    b = linoid(v + 38, 6)
    a = 0.182*(v + 38 + b)  : linoid(-x, y) = x + linoid(x, y) saves an exponential
    b = 0.124*b
    m_inf = a/(a + b)
    m_tau = 1/((a + b)*q)
    a = linoid(v + 66, 6)
    b = 0.015*(v + 66 + a)
    a = 0.015*a
    h_inf = a/(a + b)
    h_tau = 1/((a + b)*q)
    UNITSON
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x / (exp(x/y) - 1), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y - x/2
    } else {
        linoid = x/(exp(x/y) - 1)
    }
}
