: Calcium current inactivated by calcium: reads cai, writes ica. Kinetics: after Standen and Stanfield 1982, doi:10.1098/rspb.1982.0082.

NEURON {
    SUFFIX z_ca_inactivates
    USEION ca READ cai, eca WRITE ica
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
}

PARAMETER {
    gbar = 0.001 (S/cm2)
}

ASSIGNED {
    v (mV)
    eca (mV)
    ica (mA/cm2)
    cai (mM)
    minf (1)
    mtau (ms)
    hinf (1)
}

STATE { m h }

INITIAL {
    rates(v, cai)
    m = minf
    h = hinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ica = gbar*m*m*h*(v - eca)
}

DERIVATIVE states {
    rates(v, cai)
    m' = (minf - m)/mtau
    h' = (hinf - h)/20
}

PROCEDURE rates(v (mV), cai (mM)) {
    minf = 1/(1 + exp(-(v + 15)/6))
    mtau = 0.5 + 2/(1 + exp((v + 20)/10))
    hinf = 0.001/(0.001 + cai)
}
