: A gate of potential and calcium. Kinetics: Moczydlowski and Latorre 1983, doi:10.1085/jgp.82.4.511.

NEURON {
    SUFFIX z_gate_of_v_and_ca
    USEION ca READ cai
    USEION k READ ek WRITE ik
    RANGE gbar
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
    gbar = 0.001 (S/cm2)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    ek (mV)
    ik (mA/cm2)
    cai (mM)
    oinf (1)
    otau (ms)
}

STATE { o }

INITIAL {
    rates(v, cai)
    o = oinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*o*(v - ek)
}

DERIVATIVE states {
    rates(v, cai)
    o' = (oinf - o)/otau
}

PROCEDURE rates(v (mV), cai (mM)) {
    LOCAL a, b, u
    u = 2*FARADAY*v/(R*(celsius + 273.15))/1000
    a = 0.48*cai/(cai + 0.18*exp(-0.84*u))
    b = 0.28/(1 + cai/(0.011*exp(-u)))
    oinf = a/(a + b)
    otau = 1/(a + b)
}
