COMMENT
Calcium concentration in a thin shell under the membrane: inflow of a share gamma of the calcium current,
exponential return to rest. It starts from NEURON's own cai0_ca_ion (5e-5 mM), not from rest.
Dynamics: Hay et al. 2011, PLoS Comput Biol, doi:10.1371/journal.pcbi.1002107.
ENDCOMMENT

NEURON {
    THREADSAFE
    SUFFIX CaDynamics
    USEION ca READ ica WRITE cai
    RANGE gamma, decay, depth, rest
}

UNITS {
    (mA) = (milliamp)
    (mM) = (milli/liter)
    (um) = (micron)
    FARADAY = (faraday) (coulomb)
}

PARAMETER {
    gamma = 0.05 (1)      : share of the calcium current that stays free
    decay = 80 (ms)       : time constant of the return to rest
    depth = 0.1 (um)      : of the shell
    rest = 1e-4 (mM)
}

ASSIGNED { ica (mA/cm2) }

STATE { cai (mM) }

BREAKPOINT {
    SOLVE states METHOD cnexp
}

DERIVATIVE states {
    cai' = -(10000)*ica*gamma/(2*FARADAY*depth) - (cai - rest)/decay
}
