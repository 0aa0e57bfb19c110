: A sum of a fast and a slow gate of one steady state (0.8 f + 0.2 s). Kinetics: after Magee 1998, doi:10.1523/JNEUROSCI.18-19-07613.1998.

NEURON {
    SUFFIX z_two_speeds
    NONSPECIFIC_CURRENT i
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
    e = -30 (mV)
}

ASSIGNED {
    v (mV)
    i (mA/cm2)
}

STATE { f s }

INITIAL {
    f = steady(v)
    s = steady(v)
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    i = gbar*(0.8*f + 0.2*s)*(v - e)
}

DERIVATIVE states {
    f' = (steady(v) - f)/(10 + 20/(1 + exp((v + 80)/10)))
    s' = (steady(v) - s)/(100 + 300/(1 + exp((v + 80)/10)))
}

FUNCTION steady(v (mV)) {
    steady = 1/(1 + exp((v + 82)/8))
}
