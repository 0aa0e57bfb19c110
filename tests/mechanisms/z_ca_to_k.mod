: Two ions: reads calcium, writes a potassium current, at once (no states). Kinetics: after Kohler et al. 1996, doi:10.1126/science.273.5282.1709.

NEURON {
    SUFFIX z_ca_to_k
    USEION ca READ cai
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
    ek (mV)
    ik (mA/cm2)
    cai (mM)
}

BREAKPOINT {
    ik = gbar*cai^4/(cai^4 + 0.0006^4)*(v - ek)
}
