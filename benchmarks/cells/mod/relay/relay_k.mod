: Delayed rectifier (n4).
: Kinetics: Traub and Miles 1991 (Neuronal Networks of the Hippocampus, doi:10.1017/CBO9780511895401).

NEURON {
    SUFFIX relay_k
    USEION k READ ek WRITE ik
    RANGE gbar, vt
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
}

PARAMETER {
    gbar = 0 (S/cm2)
    vt = -52 (mV)
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
    q = 3^((celsius - 36)/10)
    a = 0.032*linoid(v - vt - 15, 5)
    b = 0.5*exp((10 - v + vt)/40)
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
