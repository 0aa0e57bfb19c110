: Fast sodium current (m3 h) of cerebellar granule cells.
: Kinetics: D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001.

NEURON {
    SUFFIX granule_na
    USEION na READ ena WRITE ina
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
    ena (mV)
    ina (mA/cm2)
    minf (1)
    mtau (ms)
    hinf (1)
    htau (ms)
}

STATE { m h }

INITIAL {
    rates(v)
    m = minf
    h = hinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ina = gbar*m*m*m*h*(v - ena)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
    h' = (hinf - h)/htau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q
    q = 3^((celsius - 30)/10)
    a = 0.9*linoid(v + 19, 10)
    b = 36*exp(-(v + 44)/18.182)
    minf = a/(a + b)
    mtau = 1/(q*(a + b))
    a = 0.315*exp(-(v + 44)/3.333)
    b = 4.5/(1 + exp(-(v + 11)/5))
    hinf = a/(a + b)
    htau = 1/(q*(a + b))
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x/(1 - exp(-x/y)), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y + x/2
    } else {
        linoid = x/(1 - exp(-x/y))
    }
}
