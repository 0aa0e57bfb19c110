: Delayed rectifier of CA1 pyramidal cells.
: Kinetics: Migliore et al. 1999, doi:10.1023/A:1008906225285.

NEURON {
    SUFFIX ca1_kdr
    USEION k READ ek WRITE ik
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
    vhalf = 13 (mV)
    zeta = -3
}

ASSIGNED {
    v (mV)
    celsius (degC)
    ek (mV)
    ik (mA/cm2)
    ninf (1)
    ntau (ms)
}

STATE { n }

INITIAL {
    rates(v)
    n = ninf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/ntau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b
    a = exp(zeta*(v - vhalf)*96.48/(8.315*(273.16 + celsius)))
    b = exp(zeta*0.7*(v - vhalf)*96.48/(8.315*(273.16 + celsius)))
    ninf = 1/(1 + a)
    ntau = b/(0.02*(1 + a))
    if (ntau < 2) { ntau = 2 }
}
