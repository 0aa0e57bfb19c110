: Calcium current by the Goldman-Hodgkin-Katz equation, FUNCTION ghk and efun. Kinetics: Huguenard and McCormick 1992, doi:10.1152/jn.1992.68.4.1373.

NEURON {
    SUFFIX z_ghk
    USEION ca READ cai, cao WRITE ica
    RANGE pbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
    FARADAY = (faraday) (coulomb)
    R = (k-mole) (joule/degC)
}

PARAMETER {
    pbar = 1e-5 (cm/s)
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
    minf = 1/(1 + exp(-(v + 57)/6.2))
    mtau = 0.612 + 1/(exp(-(v + 132)/16.7) + exp((v + 16.8)/18.2))
    hinf = 1/(1 + exp((v + 81)/4))
    htau = 28 + exp(-(v + 22)/10.5)
    if (v < -80) {
        htau = exp((v + 467)/66.6)
    }
}

FUNCTION ghk(v (mV), ci (mM), co (mM)) (mC/cm3) {
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
