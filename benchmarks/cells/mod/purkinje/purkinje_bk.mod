: Large-conductance potassium current (m3 z2 h): gates of potential and one of calcium.
: Kinetics simplified after Khaliq, Gouwens and Raman 2003, doi:10.1523/JNEUROSCI.23-12-04899.2003.

NEURON {
    SUFFIX purkinje_bk
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
    celsius (degC)
    ek (mV)
    ik (mA/cm2)
    cai (mM)
    minf (1)
    mtau (ms)
    zinf (1)
    ztau (ms)
    hinf (1)
    htau (ms)
}

STATE { m z h }

INITIAL {
    rates(v, cai)
    m = minf
    z = zinf
    h = hinf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    ik = gbar*m*m*m*z*z*h*(v - ek)
}

DERIVATIVE states {
    rates(v, cai)
    m' = (minf - m)/mtau
    z' = (zinf - z)/ztau
    h' = (hinf - h)/htau
}

PROCEDURE rates(v (mV), cai (mM)) {
    LOCAL q
    q = 3^((celsius - 22)/10)
    minf = 1/(1 + exp(-(v + 28.9)/6.2))
    mtau = (0.505 + 1000/(exp((v + 86.4)/10.1)*1000 + 150*exp(-(v - 33.3)/10)))/q
    zinf = cai/(cai + 0.001)
    ztau = 1/q
    hinf = 0.085 + 0.915/(1 + exp((v + 32)/5.8))
    htau = (1.9 + 20/(exp((v + 48.5)/5.2) + exp(-(v + 54.2)/12.9)))/q
}
