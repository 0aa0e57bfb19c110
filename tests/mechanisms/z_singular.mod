: Rates that are 0/0 at -40 and -55 mV, not guarded. Kinetics: Hodgkin and Huxley 1952, doi:10.1113/jphysiol.1952.sp004764.

NEURON {
    SUFFIX z_singular
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
    ik = gbar*n^4*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/ntau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b
    a = 0.01*(v + 55)/(1 - exp(-(v + 55)/10))
    b = 0.05*(v + 40)/(exp((v + 40)/20) - 1)
    ninf = a/(a + b)
    ntau = 1/(a + b)
}
