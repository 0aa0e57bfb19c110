: A-type potassium current (n l) of distal dendrites of CA1 pyramidal cells.
: Kinetics: Migliore et al. 1999, doi:10.1023/A:1008906225285, after Hoffman et al. 1997, doi:10.1038/43119.

NEURON {
    SUFFIX ca1_kad
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
    vhalf = -1 (mV)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    ek (mV)
    ik (mA/cm2)
    ninf (1)
    ntau (ms)
    linf (1)
    ltau (ms)
}

STATE { n l }

INITIAL {
    rates(v)
    n = ninf
    l = linf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*n*l*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/ntau
    l' = (linf - l)/ltau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q, z
    q = 5^((celsius - 24)/10)
    z = -1.8 - 1/(1 + exp((v + 40)/5))
    a = exp(z*(v - vhalf)*96.48/(8.315*(273.16 + celsius)))
    b = exp(z*0.39*(v - vhalf)*96.48/(8.315*(273.16 + celsius)))
    ninf = 1/(1 + a)
    ntau = b/(q*0.1*(1 + a))
    if (ntau < 0.1) { ntau = 0.1 }
    a = exp(3*(v + 56)*96.48/(8.315*(273.16 + celsius)))
    linf = 1/(1 + a)
    ltau = 0.26*(v + 50)
    if (ltau < 2) { ltau = 2 }
}
