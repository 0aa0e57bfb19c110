: FUNCTIONs and PROCEDUREs that call each other, LOCAL variables, a while loop. Kinetics: made up.

NEURON {
    SUFFIX z_functions
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
    LOCAL a, b, k
    a = rate(v, 0.05, -30, 12)
    b = rate(v, 0.02, -40, -25)
    k = 0
    while (k < 3) {
        a = a + 0.001*bell(v, 10*k - 60)
        k = k + 1
    }
    set(a, b)
}

PROCEDURE set(a (/ms), b (/ms)) {
    ninf = a/(a + b)
    ntau = 1/(a + b)
}

FUNCTION rate(v (mV), r (/ms), h (mV), k (mV)) (/ms) {
    rate = r*exp((v - h)/k)
}

FUNCTION bell(v (mV), h (mV)) {
    LOCAL x
    x = (v - h)/10
    bell = exp(-x*x)
}
