: Inward rectifier of cerebellar granule cells.
: Kinetics: D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001.

NEURON {
    SUFFIX granule_kir
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
    dinf (1)
    dtau (ms)
}

STATE { d }

INITIAL {
    rates(v)
    d = dinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*d*(v - ek)
}

DERIVATIVE states {
    rates(v)
    d' = (dinf - d)/dtau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q
    q = 3^((celsius - 20)/10)
    a = 0.13289*exp(-(v + 83.94)/24.3902)
    b = 0.16994*exp((v + 83.94)/35.714)
    dinf = a/(a + b)
    dtau = 1/(q*(a + b))
}
