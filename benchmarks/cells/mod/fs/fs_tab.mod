: Sodium current of the dendrites (m3 h), whose rates stand in a table.
: Kinetics: Wang and Buzsaki 1996, doi:10.1523/JNEUROSCI.16-20-06402.1996, with m that takes time.

NEURON {
    SUFFIX fs_tab
    USEION na READ ena WRITE ina
    RANGE gbar
    GLOBAL minf, mtau, hinf, htau
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
}

PARAMETER { gbar = 0 (S/cm2) }

ASSIGNED {
    v (mV)
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
    LOCAL a, b
    TABLE minf, mtau, hinf, htau FROM -150 TO 100 WITH 500
    a = 0.1*linoid(v + 35, 10)
    b = 4*exp(-(v + 60)/18)
    minf = a/(a + b)
    mtau = 1/(5*(a + b))
    a = 0.07*exp(-(v + 58)/20)
    b = 1/(1 + exp(-(v + 28)/10))
    hinf = a/(a + b)
    htau = 1/(5*(a + b))
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x/(1 - exp(-x/y)), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y + x/2
    } else {
        linoid = x/(1 - exp(-x/y))
    }
}
