: High-voltage-activated calcium current (s2 u); its reversal potential stands in eca.
: Kinetics: D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001.

NEURON {
    SUFFIX granule_cahva
    USEION ca READ eca WRITE ica
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
    eca (mV)
    ica (mA/cm2)
    sinf (1)
    stau (ms)
    uinf (1)
    utau (ms)
}

STATE { s u }

INITIAL {
    rates(v)
    s = sinf
    u = uinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ica = gbar*s*s*u*(v - eca)
}

DERIVATIVE states {
    rates(v)
    s' = (sinf - s)/stau
    u' = (uinf - u)/utau
}

PROCEDURE rates(v (mV)) {
    LOCAL a, b, q
    q = 3^((celsius - 20)/10)
    a = 0.04944*exp((v + 29.06)/15.873)
    b = 0.08298*exp(-(v + 18.66)/25.641)
    sinf = a/(a + b)
    stau = 1/(q*(a + b))
    a = 0.0013*exp(-(v + 48)/18.183)
    b = 0.0013*exp((v + 48)/83.33)
    uinf = a/(a + b)
    utau = 1/(q*(a + b))
}
