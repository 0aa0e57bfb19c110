COMMENT
Excitatory synapse: AMPA and NMDA conductances, each a dual exponential with a peak of gmax after one event
of weight 1; NMDA times the magnesium block of Jahr and Stevens 1990, doi:10.1523/JNEUROSCI.10-09-03178.1990.
Every event is released, without depression or delay of its own. A rise must be shorter than its decay.
The decay over a step is exact, and computed once: the step must not change during a run.
ENDCOMMENT

NEURON {
    THREADSAFE
    POINT_PROCESS DendrotwinAmpaNmda
    NONSPECIFIC_CURRENT i
    RANGE tau_rise_ampa, tau_decay_ampa, gmax_ampa, tau_rise_nmda, tau_decay_nmda, gmax_nmda
    RANGE e, mg, slope, i_ampa, i_nmda, g_ampa, g_nmda, factor_ampa, factor_nmda
    RANGE keep_rise_ampa, keep_decay_ampa, keep_rise_nmda, keep_decay_nmda
}

UNITS {
    (nA) = (nanoamp)
    (mV) = (millivolt)
    (uS) = (microsiemens)
    (mM) = (milli/liter)
}

PARAMETER {
    tau_rise_ampa = 0.3 (ms)
    tau_decay_ampa = 3 (ms)
    gmax_ampa = 0.0004 (uS)
    tau_rise_nmda = 2 (ms)
    tau_decay_nmda = 70 (ms)
    gmax_nmda = 0.0004 (uS)
    e = 0 (mV)
    mg = 1 (mM)
    slope = 0.08 (/mV)
}

ASSIGNED {
    v (mV)
    i (nA)
    i_ampa (nA)
    i_nmda (nA)
    g_ampa (uS)
    g_nmda (uS)
    factor_ampa (1)
    factor_nmda (1)
    keep_rise_ampa (1)
    keep_decay_ampa (1)
    keep_rise_nmda (1)
    keep_decay_nmda (1)
    dt (ms)
}

STATE { a_ampa b_ampa a_nmda b_nmda }

INITIAL {
    factor_ampa = peak_factor(tau_rise_ampa, tau_decay_ampa)
    factor_nmda = peak_factor(tau_rise_nmda, tau_decay_nmda)
    keep_rise_ampa = exp(-dt/tau_rise_ampa)
    keep_decay_ampa = exp(-dt/tau_decay_ampa)
    keep_rise_nmda = exp(-dt/tau_rise_nmda)
    keep_decay_nmda = exp(-dt/tau_decay_nmda)
    a_ampa = 0
    b_ampa = 0
    a_nmda = 0
    b_nmda = 0
}

BREAKPOINT {
    SOLVE decay_step
    g_ampa = gmax_ampa*(b_ampa - a_ampa)
    g_nmda = gmax_nmda*(b_nmda - a_nmda)*block(v)
    i_ampa = g_ampa*(v - e)
    i_nmda = g_nmda*(v - e)
    i = i_ampa + i_nmda
}

PROCEDURE decay_step() {
    a_ampa = a_ampa*keep_rise_ampa
    b_ampa = b_ampa*keep_decay_ampa
    a_nmda = a_nmda*keep_rise_nmda
    b_nmda = b_nmda*keep_decay_nmda
}

NET_RECEIVE(weight) {
    a_ampa = a_ampa + weight*factor_ampa
    b_ampa = b_ampa + weight*factor_ampa
    a_nmda = a_nmda + weight*factor_nmda
    b_nmda = b_nmda + weight*factor_nmda
}

FUNCTION block(v (mV)) (1) {  : the share of NMDA channels that magnesium leaves open
    block = 1/(1 + mg*exp(-slope*v)/3.57(mM))
}

FUNCTION peak_factor(rise (ms), decay (ms)) (1) {  : scales exp(-t/decay) - exp(-t/rise) to a peak of 1
    LOCAL peak
    peak = rise*decay/(decay - rise)*log(decay/rise)
    peak_factor = 1/(exp(-peak/decay) - exp(-peak/rise))
}
