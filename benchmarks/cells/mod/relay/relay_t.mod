: Low-threshold calcium current (m2 h) by the Goldman-Hodgkin-Katz equation.
: Kinetics: Huguenard and McCormick 1992, doi:10.1152/jn.1992.68.4.1373, as in Destexhe et al. 1998, doi:10.1523/JNEUROSCI.18-10-03574.1998.

NEURON {
    SUFFIX relay_t
    USEION ca READ cai, cao WRITE ica
    RANGE pbar, shift
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
    shift = 2 (mV)
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
    LOCAL u
    u = v + shift
    minf = 1/(1 + exp(-(u + 57)/6.2))
    mtau = (0.612 + 1/(exp(-(u + 132)/16.7) + exp((u + 16.8)/18.2)))/5^((celsius - 24)/10)
    hinf = 1/(1 + exp((u + 81)/4))
    if (u < -80) {
        htau = exp((u + 467)/66.6)/3^((celsius - 24)/10)
    } else {
        htau = (28 + exp(-(u + 22)/10.5))/3^((celsius - 24)/10)
    }
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
