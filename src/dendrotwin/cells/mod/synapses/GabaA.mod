COMMENT
Inhibitory synapse: a GABA_A conductance, a dual exponential with a peak of gmax after one event of weight 1.
Every event is released, without depression or delay of its own. The rise must be shorter than the decay.
The decay over a step is exact, and computed once: the step must not change during a run.
Times and conductance of the public data set of Beniaguev et al. 2021, doi:10.1016/j.neuron.2021.07.002.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS DendrotwinGabaA
    NONSPECIFIC_CURRENT i
    RANGE tau_rise, tau_decay, gmax, e, g, factor, keep_rise, keep_decay
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
    keep_rise (1)
    keep_decay (1)
    dt (ms)
}

STATE { a b }

INITIAL {
    factor = peak_factor(tau_rise, tau_decay)
    keep_rise = exp(-dt/tau_rise)
    keep_decay = exp(-dt/tau_decay)
    a = 0
    b = 0
}

BREAKPOINT {
    SOLVE decay_step
    g = gmax*(b - a)
    i = g*(v - e)
}

PROCEDURE decay_step() {
    a = a*keep_rise
    b = b*keep_decay
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
