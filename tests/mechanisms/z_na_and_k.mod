: Two ions: a cation channel that writes a sodium and a potassium current. Kinetics: made up.

NEURON {
    SUFFIX z_na_and_k
    USEION na READ ena WRITE ina
    USEION k READ ek WRITE ik
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
}

ASSIGNED {
    v (mV)
    ena (mV)
    ek (mV)
    ina (mA/cm2)
    ik (mA/cm2)
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
    ina = 0.35*gbar*m*(v - ena)
    ik = 0.65*gbar*m*(v - ek)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
}

PROCEDURE rates(v (mV)) {
    minf = 1/(1 + exp((v + 85)/7))
    mtau = 20 + 100/(exp((v + 80)/15) + exp(-(v + 80)/15))
}
