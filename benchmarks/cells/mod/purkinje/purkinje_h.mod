: Hyperpolarisation-activated current.
: Kinetics: Khaliq, Gouwens and Raman 2003, doi:10.1523/JNEUROSCI.23-12-04899.2003.

NEURON {
    SUFFIX purkinje_h
    NONSPECIFIC_CURRENT i
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
    e = -30 (mV)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    i (mA/cm2)
    minf (1)
    mtau (ms)
}

STATE { m }

INITIAL {
    rates(v)
    m = minf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    i = gbar*m*(v - e)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
}

PROCEDURE rates(v (mV)) {
    LOCAL q
    q = 3^((celsius - 22)/10)
    minf = 1/(1 + exp((v + 90.1)/9.9))
    mtau = 1000*(0.19 + 0.72*exp(-((v + 81.5)/11.9)^2))/q
}
