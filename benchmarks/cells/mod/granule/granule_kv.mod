: Delayed rectifier (n4) of cerebellar granule cells.
: Kinetics: D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001.

NEURON {
    SUFFIX granule_kv
    USEION k READ ek WRITE ik
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
    ninf (1)
    ntau (ms)
}

STATE { n }

INITIAL {
    rates(v)
    n = ninf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n^4*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/ntau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q
    q = 3^((celsius - 30)/10)
    a = 0.13*linoid(v + 25, 10)
    b = 1.69*exp(-(v + 35)/80)
    ninf = a/(a + b)
    ntau = 1/(q*(a + b))
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x/(1 - exp(-x/y)), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y + x/2
    } else {
        linoid = x/(1 - exp(-x/y))
    }
}
