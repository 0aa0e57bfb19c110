: A-type potassium current (a3 b) of cerebellar granule cells.
: Kinetics: D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001.

NEURON {
    SUFFIX granule_ka
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
    ik = gbar*a*a*a*b*(v - ek)
}

DERIVATIVE states {
    rates(v)
    a' = (ainf - a)/atau
    b' = (binf - b)/btau
}

PROCEDURE rates(v (mV)) {
    LOCAL q
    q = 3^((celsius - 25.5)/10)
    ainf = 1/(1 + exp(-(v + 46.7)/19.8))
    atau = 1/(q*(4.88826/(1 + exp(-(v + 9.17203)/23.32708)) + 0.99285*exp(-(v + 18.27914)/19.47175)))
    binf = 1/(1 + exp((v + 78.8)/8.4))
    btau = 1/(q*(0.11042/(1 + exp((v + 111.33209)/12.8433)) + 0.10353/(1 + exp(-(v + 49.9537)/8.90123))))
}
