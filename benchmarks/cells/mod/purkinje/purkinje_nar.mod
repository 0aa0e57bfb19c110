: Resurgent sodium current: 13 states, five closed and their inactivated ones, open, inactivated, and blocked.
: Kinetics: Khaliq, Gouwens and Raman 2003, doi:10.1523/JNEUROSCI.23-12-04899.2003.

NEURON {
    SUFFIX purkinje_nar
    USEION na READ ena WRITE ina
    RANGE gbar
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (S) = (siemens)
}

PARAMETER {
    gbar = 0 (S/cm2)
    gamma = 150 (/ms)
    delta = 40 (/ms)
    epsilon = 1.75 (/ms)
    con = 0.005 (/ms)
    coff = 0.5 (/ms)
    oon = 0.75 (/ms)
    ooff = 0.005 (/ms)
}

ASSIGNED {
    v (mV)
    ena (mV)
    ina (mA/cm2)
    celsius (degC)
    q (1)
    a (1)
    b (1)
    alpha (/ms)
    beta (/ms)
    xi (/ms)
}

STATE { c1 c2 c3 c4 c5 o bl i1 i2 i3 i4 i5 i6 }

INITIAL {
    q = 3^((celsius - 22)/10)
    rates(v)
    SOLVE scheme STEADYSTATE sparse
}

BREAKPOINT {
    SOLVE scheme METHOD sparse
    ina = gbar*o*(v - ena)
}

KINETIC scheme {
    rates(v)
    ~ c1 <-> c2 (4*alpha, beta)
    ~ c2 <-> c3 (3*alpha, 2*beta)
    ~ c3 <-> c4 (2*alpha, 3*beta)
    ~ c4 <-> c5 (alpha, 4*beta)
    ~ c5 <-> o (q*gamma, q*delta)
    ~ o <-> bl (q*epsilon, xi)
    ~ o <-> i6 (q*oon, q*ooff)
    ~ i1 <-> i2 (4*alpha*a, beta*b)
    ~ i2 <-> i3 (3*alpha*a, 2*beta*b)
    ~ i3 <-> i4 (2*alpha*a, 3*beta*b)
    ~ i4 <-> i5 (alpha*a, 4*beta*b)
    ~ i5 <-> i6 (q*gamma, q*delta)
    ~ c1 <-> i1 (q*con, q*coff)
    ~ c2 <-> i2 (q*con*a, q*coff*b)
    ~ c3 <-> i3 (q*con*a^2, q*coff*b^2)
    ~ c4 <-> i4 (q*con*a^3, q*coff*b^3)
    ~ c5 <-> i5 (q*con*a^4, q*coff*b^4)
    CONSERVE c1 + c2 + c3 + c4 + c5 + o + bl + i1 + i2 + i3 + i4 + i5 + i6 = 1
}

PROCEDURE rates(v (mV)) {
    a = (oon/con)^0.25
    b = (ooff/coff)^0.25
    alpha = q*150*exp(v/20)
    beta = q*3*exp(-v/20)
    xi = q*0.03*exp(-v/25)
}
