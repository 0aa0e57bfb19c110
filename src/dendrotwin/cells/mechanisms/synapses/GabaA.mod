COMMENT
Inhibitory synapse: a GABA_A conductance, a dual exponential with a peak of gmax after one event of weight 1.
Every event is released, without depression or delay of its own. The rise must be shorter than the decay.
Times and conductance of the public data set of Beniaguev et al. 2021, doi:10.1016/j.neuron.2021.07.002.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS DendrotwinGabaA
    NONSPECIFIC_CURRENT i
    RANGE tau_rise, tau_decay, gmax, e, g, factor
}

UNITS {
    (nA) = (nanoamp)
    (mV) = (millivolt)
    (uS) = (microsiemens)
}

PARAMETER {
    tau_rise = 0.2 (ms)
    tau_decay = 8 (ms)
    gmax = 0.001 (uS)
    e = -80 (mV)
}

ASSIGNED {
    v (mV)
    i (nA)
    g (uS)
    factor (1)
}

STATE { a b }

INITIAL {
    factor = peak_factor(tau_rise, tau_decay)
    a = 0
    b = 0
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    g = gmax*(b - a)
    i = g*(v - e)
}

DERIVATIVE states {
    a' = -a/tau_rise
    b' = -b/tau_decay
}

NET_RECEIVE(weight) {
    a = a + weight*factor
    b = b + weight*factor
}

FUNCTION peak_factor(rise (ms), decay (ms)) (1) {  : scales exp(-t/decay) - exp(-t/rise) to a peak of 1
    LOCAL peak
    peak = rise*decay/(decay - rise)*log(decay/rise)
    peak_factor = 1/(exp(-peak/decay) - exp(-peak/rise))
}
