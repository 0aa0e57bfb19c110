: Kv3 potassium current (n4) of Purkinje cells.
: Kinetics in the form of McKay and Turner 2004, doi:10.1111/j.1460-9568.2004.03542.x; constants simplified.

NEURON {
    SUFFIX purkinje_kv3
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
    ik = gbar*n^4*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/ntau
}

PROCEDURE rates(v (mV)) {
    LOCAL q
    q = 3^((celsius - 22)/10)
    ninf = 1/(1 + exp(-(v + 24)/15.4))
    if (v < -35) {
        ntau = 3*(0.000103 + 0.0149*exp(0.035*v))*1000/q
    } else {
        ntau = 3*(0.000129 + 1/(exp((v + 100.7)/12.9) + exp((v - 56)/(-23.1))))*1000/q
    }
    if (ntau < 0.05) { ntau = 0.05 }
}
