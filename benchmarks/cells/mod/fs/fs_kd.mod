: D-type potassium current (a3 b), whose slow inactivation delays the first spike.
: Kinetics: Golomb et al. 2007, doi:10.1371/journal.pcbi.0030156.

NEURON {
    SUFFIX fs_kd
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
}

ASSIGNED {
    v (mV)
    ek (mV)
    ik (mA/cm2)
    ainf (1)
    atau (ms)
    binf (1)
    btau (ms)
}

STATE { a b }

INITIAL {
    rates(v)
    a = ainf
    b = binf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*a^3*b*(v - ek)
}

DERIVATIVE states {
    rates(v)
    a' = (ainf - a)/atau
    b' = (binf - b)/btau
}

PROCEDURE rates(v (mV)) {
    ainf = 1/(1 + exp(-(v + 50)/20))
    atau = 2
    binf = 1/(1 + exp((v + 70)/6))
    btau = 150
}
