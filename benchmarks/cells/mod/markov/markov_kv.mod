: Delayed rectifier of neocortical pyramidal cells.
: Kinetics: Mainen et al. 1995, doi:10.1016/0896-6273(95)90020-9.

NEURON {
    SUFFIX markov_kv
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
    ik = gbar*n*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/ntau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q
    q = 2.3^((celsius - 23)/10)
    a = 0.02*linoid(v - 25, 9)
    b = 0.002*linoid(25 - v, 9)
    ninf = a/(a + b)
    ntau = 1/(q*(a + b))
}

FUNCTION linoid(x (mV), y (mV)) (mV) {  : x/(1 - exp(-x/y)), its limit at x = 0
    if (fabs(x/y) < 1e-6) {
        linoid = y + x/2
    } else {
        linoid = x/(1 - exp(-x/y))
    }
}
