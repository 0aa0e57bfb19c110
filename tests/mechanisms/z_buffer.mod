: Calcium pool with a pump and a buffer in KINETIC: not linear. Kinetics: rates in the range of Sabatini et al. 2002, doi:10.1016/S0896-6273(02)00573-1.

NEURON {
    SUFFIX z_buffer
    USEION ca READ ica WRITE cai
    RANGE depth
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
    (mM) = (milli/liter)
    (um) = (micron)
    FARADAY = (faraday) (coulomb)
    R = (k-mole) (joule/degC)
}

PARAMETER {
    depth = 0.1 (um)
    kon = 500 (/mM-ms)
    koff = 0.5 (/ms)
    pon = 50 (/mM-ms)
    poff = 0.05 (/ms)
    pout = 0.1 (/ms)
    rest = 5e-5 (mM)
    total = 0.05 (mM)
    pumps = 0.002 (mM)
}

ASSIGNED {
    ica (mA/cm2)
}

STATE { cai (mM) b (mM) cab (mM) p (mM) cap (mM) }

INITIAL {
    cai = rest
    cab = total*cai/(cai + koff/kon)
    b = total - cab
    cap = pumps*cai/(cai + (poff + pout)/pon)
    p = pumps - cap
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
}

KINETIC scheme {
    ~ cai << (-(10000)*ica/(2*FARADAY*depth) + pout*pumps*rest/(rest + (poff + pout)/pon))
    ~ cai + b <-> cab (kon, koff)
    ~ cai + p <-> cap (pon, poff)
    ~ cap <-> p (pout, 0)
}
