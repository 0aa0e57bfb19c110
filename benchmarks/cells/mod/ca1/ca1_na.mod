: Fast sodium current (m3 h) of CA1 pyramidal cells.
: Kinetics: Migliore et al. 1999, doi:10.1023/A:1008906225285.

NEURON {
    SUFFIX ca1_na
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
    q = 2^((celsius - 24)/10)
    a = 0.4*linoid(v + 30, 7.2)
    b = 0.124*linoid(-v - 30, 7.2)
    minf = a/(a + b)
    mtau = 1/((a + b)*q)
    if (mtau < 0.02) { mtau = 0.02 }
    a = 0.03*linoid(v + 45, 1.5)
    b = 0.01*linoid(-v - 45, 1.5)
    hinf = 1/(1 + exp((v + 50)/4))
    htau = 1/((a + b)*q)
    if (htau < 0.5) { htau = 0.5 }
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x/(1 - exp(-x/y)), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y + x/2
    } else {
        linoid = x/(1 - exp(-x/y))
    }
}
