: Calcium-activated potassium current: one gate whose rates follow potential and calcium.
: Kinetics: D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001.

NEURON {
    SUFFIX granule_kca
    USEION k READ ek WRITE ik
    USEION ca READ cai
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
}

PARAMETER {
    gbar = 0 (S/cm2)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    ek (mV)
    ik (mA/cm2)
    cai (mM)
    cinf (1)
    ctau (ms)
}

STATE { c }

INITIAL {
    rates(v, cai)
    c = cinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*c*(v - ek)
}

DERIVATIVE states {
    rates(v, cai)
    c' = (cinf - c)/ctau
}

PROCEDURE rates(v (mV), cai (mM)) {
    LOCAL a, b, q
    q = 3^((celsius - 30)/10)
    a = 2.5/(1 + 0.0015*exp(-v/11.765)/cai)
    b = 1.5/(1 + cai/(0.00015*exp(-v/11.765)))
    cinf = a/(a + b)
    ctau = 1/(q*(a + b))
}
