: Fast sodium current (m3 h).
: Kinetics: Traub and Miles 1991 (Neuronal Networks of the Hippocampus, doi:10.1017/CBO9780511895401).

NEURON {
    SUFFIX relay_na
    USEION na READ ena WRITE ina
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
    q = 3^((celsius - 36)/10)
    a = 0.32*linoid(v - vt - 13, 4)
    b = 0.28*linoid(40 - v + vt, 5)
    minf = a/(a + b)
    mtau = 1/(q*(a + b))
    a = 0.128*exp((17 - v + vt)/18)
    b = 4/(1 + exp((40 - v + vt)/5))
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
