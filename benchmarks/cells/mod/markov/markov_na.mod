: Sodium channel of 12 states: five closed ones and open, and an inactivated one of each.
: Scheme: Kuo and Bean 1994, doi:10.1016/0896-6273(94)90335-2; rates of its size, moved to a body's temperature.

NEURON {
    SUFFIX markov_na
    USEION na READ ena WRITE ina
    RANGE gbar, shift
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
}

PARAMETER {
    gbar = 0 (S/cm2)
    shift = 0 (mV)
    con = 0.004 (/ms)
    coff = 4.5 (/ms)
    oon = 4 (/ms)
    ooff = 0.008 (/ms)
    gamma = 50 (/ms)
    delta = 8 (/ms)
}

ASSIGNED {
    v (mV)
    celsius (degC)
    ena (mV)
    ina (mA/cm2)
    q (1)
    a (1)
    alpha (/ms)
    beta (/ms)
}

STATE { c1 c2 c3 c4 c5 o i1 i2 i3 i4 i5 i6 }

INITIAL {
    q = 2^((celsius - 24)/10)
    rates(v + shift)
    SOLVE scheme STEADYSTATE sparse
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ina = gbar*o*(v - ena)
}

KINETIC scheme {
    rates(v + shift)
    ~ c1 <-> c2 (4*alpha, beta)
    ~ c2 <-> c3 (3*alpha, 2*beta)
    ~ c3 <-> c4 (2*alpha, 3*beta)
    ~ c4 <-> c5 (alpha, 4*beta)
    ~ c5 <-> o (q*gamma, q*delta)
    ~ i1 <-> i2 (4*alpha*a, beta/a)
    ~ i2 <-> i3 (3*alpha*a, 2*beta/a)
    ~ i3 <-> i4 (2*alpha*a, 3*beta/a)
    ~ i4 <-> i5 (alpha*a, 4*beta/a)
    ~ i5 <-> i6 (q*gamma, q*delta)
    ~ c1 <-> i1 (q*con, q*coff)
    ~ c2 <-> i2 (q*con*a, q*coff/a)
    ~ c3 <-> i3 (q*con*a^2, q*coff/a^2)
    ~ c4 <-> i4 (q*con*a^3, q*coff/a^3)
    ~ c5 <-> i5 (q*con*a^4, q*coff/a^4)
    ~ o <-> i6 (q*oon, q*ooff)
    CONSERVE c1 + c2 + c3 + c4 + c5 + o + i1 + i2 + i3 + i4 + i5 + i6 = 1
}

PROCEDURE rates(u (mV)) {
    a = ((oon/ooff)/(con/coff))^0.125
    alpha = q*20*exp(u/40)
    beta = q*3*exp(-u/20)
}
