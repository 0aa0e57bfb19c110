: P-type calcium current (m) by the Goldman-Hodgkin-Katz equation.
: Kinetics: Khaliq, Gouwens and Raman 2003, doi:10.1523/JNEUROSCI.23-12-04899.2003, after Swensen and Bean 2003.

NEURON {
    SUFFIX purkinje_cap
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
}

STATE { m }

INITIAL {
    rates(v)
    m = minf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ica = pbar*m*ghk(v, cai, cao)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
}

PROCEDURE rates(v (mV)) {
    LOCAL q
    q = 3^((celsius - 22)/10)
    minf = 1/(1 + exp(-(v + 19)/5.5))
    if (v > -50) {
        mtau = 1000*(0.000191 + 0.00376*exp(-((v + 41.9)/27.8)^2))/q
    } else {
        mtau = 1000*(0.00026367 + 0.1278*exp(0.10327*v))/q
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
