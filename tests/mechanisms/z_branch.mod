: Rates of two branches, with a jump of slope between them. Kinetics: after Traub and Miles 1991, doi:10.1017/CBO9780511895401.

NEURON {
    SUFFIX z_branch
    USEION k READ ek WRITE ik
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
    if (v < -10) {
        a = exp((v + 50)/11 - (v + 53.5)/27)/19
        b = 2*exp(-(v + 53.5)/27) - a
    } else {
        a = 2*exp(-(v + 53.5)/27)
        b = 0
    }
    ninf = a/(a + b)
    ntau = 1/(a + b)
}
