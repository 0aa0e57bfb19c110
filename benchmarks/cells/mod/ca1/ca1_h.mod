: Hyperpolarisation-activated current of CA1 dendrites; half activation shifts with distance (RANGE vhalf).
: Kinetics: Magee 1998, doi:10.1523/JNEUROSCI.18-19-07613.1998, as in Poirazi et al. 2003, doi:10.1016/S0896-6273(03)00149-1.

NEURON {
    SUFFIX ca1_h
    NONSPECIFIC_CURRENT i
    RANGE gbar, vhalf
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
}

PARAMETER {
    gbar = 0 (S/cm2)
    e = -30 (mV)
    vhalf = -82 (mV)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    i (mA/cm2)
    linf (1)
    ltau (ms)
}

STATE { l }

INITIAL {
    rates(v)
    l = linf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    i = gbar*l*(v - e)
}

DERIVATIVE states {
    rates(v)
    l' = (linf - l)/ltau
}

PROCEDURE rates(v (mV)) {
    LOCAL q
    q = 4.5^((celsius - 33)/10)
    linf = 1/(1 + exp((v - vhalf)/8))
    ltau = exp(0.033*(v + 75))/(0.011*q*(1 + exp(0.083*(v + 75))))
}
