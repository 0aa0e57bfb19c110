: Markov channel of eight states, rates of potential (m3 h written as a scheme). Kinetics: Hodgkin and Huxley 1952, doi:10.1113/jphysiol.1952.sp004764.

NEURON {
    SUFFIX z_markov_v
    USEION na READ ena WRITE ina
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
    ina (mA/cm2)
    am (1)
    bm (1)
    ah (1)
    bh (1)
}

STATE { c0 c1 c2 o i0 i1 i2 i3 }

INITIAL {
    SOLVE scheme STEADYSTATE sparse
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ina = gbar*o*(v - ena)
}

KINETIC scheme {
    rates(v)
    ~ c0 <-> c1 (3*am, bm)
    ~ c1 <-> c2 (2*am, 2*bm)
    ~ c2 <-> o (am, 3*bm)
    ~ i0 <-> i1 (3*am, bm)
    ~ i1 <-> i2 (2*am, 2*bm)
    ~ i2 <-> i3 (am, 3*bm)
    ~ i0 <-> c0 (ah, bh)
    ~ i1 <-> c1 (ah, bh)
    ~ i2 <-> c2 (ah, bh)
    ~ i3 <-> o (ah, bh)
    CONSERVE c0 + c1 + c2 + o + i0 + i1 + i2 + i3 = 1
}

PROCEDURE rates(v (mV)) {
    am = 0.1*linoid(v + 40, 10)
    bm = 4*exp(-(v + 65)/18)
    ah = 0.07*exp(-(v + 65)/20)
    bh = 1/(exp(-(v + 35)/10) + 1)
}

FUNCTION linoid(x (mV), y (mV)) (mV) {
    if (fabs(x/y) < 1e-6) {
        linoid = y + x/2
    } else {
        linoid = x/(1 - exp(-x/y))
    }
}
