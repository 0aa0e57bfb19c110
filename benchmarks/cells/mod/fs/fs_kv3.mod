: Kv3 potassium current (n2) of fast-spiking interneurons.
: Kinetics: Golomb et al. 2007, doi:10.1371/journal.pcbi.0030156, after Erisir et al. 1999, doi:10.1152/jn.1999.82.5.2476.

NEURON {
    SUFFIX fs_kv3
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
    ik = gbar*n*n*(v - ek)
}

DERIVATIVE states {
    rates(v)
    n' = (ninf - n)/ntau
}

PROCEDURE rates(v (mV)) {
    ninf = 1/(1 + exp(-(v + 12.4)/6.8))
    ntau = (0.087 + 11.4/(1 + exp((v + 14.6)/8.6)))*(0.087 + 11.4/(1 + exp(-(v - 1.3)/18.7)))
}
