: T-type calcium current (m2 h) by the Goldman-Hodgkin-Katz equation.
: Kinetics simplified after Magee and Johnston 1995, doi:10.1113/jphysiol.1995.sp020862.

NEURON {
    SUFFIX ca1_cat
    USEION ca READ cai, cao WRITE ica
    RANGE pbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (mM) = (milli/liter)
    FARADAY = (faraday) (coulomb)
    R = (k-mole) (joule/degC)
}

PARAMETER {
    pbar = 0 (cm/s)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    cai (mM)
    cao (mM)
    ica (mA/cm2)
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
    ica = pbar*m*m*h*ghk(v, cai, cao)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
    h' = (hinf - h)/htau
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp(-(v + 36)/7))
    mtau = 0.8 + 5/(1 + exp((v + 50)/8))
    hinf = 1/(1 + exp((v + 68)/6))
    htau = 10 + 25/(1 + exp((v + 60)/6))
}

FUNCTION ghk(v (mV), ci (mM), co (mM)) (mC/cm3) {  : current density for a permeability of 1 cm/s
    LOCAL z
    z = 2*FARADAY*v/(R*(celsius + 273.15))/1000
    ghk = 2*FARADAY*(ci*efun(-z) - co*efun(z))/1000
}

FUNCTION efun(z) {
    if (fabs(z) < 1e-4) {
        efun = 1 - z/2
    } else {
        efun = z/(exp(z) - 1)
    }
}
