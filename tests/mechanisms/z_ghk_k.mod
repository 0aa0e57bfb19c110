: Potassium leak by the Goldman-Hodgkin-Katz equation, no states. Kinetics: Goldman 1943, doi:10.1085/jgp.27.1.37.

NEURON {
    SUFFIX z_ghk_k
    USEION k READ ki, ko WRITE ik
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
    pbar = 1e-7 (cm/s)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    ki (mM)
    ko (mM)
    ik (mA/cm2)
}

BREAKPOINT {
    ik = pbar*flux(v)
}

FUNCTION flux(v (mV)) (mC/cm3) {
    LOCAL z
    z = FARADAY*v/(R*(celsius + 273.15))/1000
    flux = FARADAY*(ki*efun(-z) - ko*efun(z))/1000
}

FUNCTION efun(z) {
    if (fabs(z) < 1e-4) {
        efun = 1 - z/2
    } else {
        efun = z/(exp(z) - 1)
    }
}
