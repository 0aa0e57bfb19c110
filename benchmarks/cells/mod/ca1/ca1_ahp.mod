: Slow afterhyperpolarisation, a potassium current that follows calcium alone.
: Kinetics after Borg-Graham 1999 (Cereb Cortex vol. 13), as simplified in Poirazi et al. 2003, doi:10.1016/S0896-6273(03)00149-1.

NEURON {
    SUFFIX ca1_ahp
    USEION k READ ek WRITE ik
    USEION ca READ cai
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
    cai (mM)
    oinf (1)
    otau (ms)
}

STATE { o }

INITIAL {
    rates(cai)
    o = oinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*o*o*o*(v - ek)
}

DERIVATIVE states {
    rates(cai)
    o' = (oinf - o)/otau
}

PROCEDURE rates(cai (mM)) {
    LOCAL a
    a = (cai/0.00055)^2
    oinf = a/(1 + a)
    otau = 330/(1 + a)
    if (otau < 20) { otau = 20 }
}
