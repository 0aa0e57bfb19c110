"""Synaptic conductances: exact means over each step, of single and dual exponentials, as NEURON's ExpSyn and Exp2Syn.

    g(t) = sum over events of  increment (exp(-t / decay) - exp(-t / rise)),    mean over a step of h of one exponential
    left at its begin:  left tau / h (1 - exp(-h / tau))

An event adds to both exponentials at its own time within the step. The current g B(V) (E - V), with the block B of NMDA
receptors (Jahr and Stevens 1990, doi:10.1523/JNEUROSCI.10-09-03178.1990) or any other, is linearised about V.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dendrotwin.cell.membrane import V_BIN_MV
from dendrotwin.solver.cell_arrays import START, STOP, SYNAPSE_BLOCK, Bins, Single, Synapses
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.state import SynapticEvents
from dendrotwin.solver.integrator.workspace import TableIndex

# Smaller conductances become 0: numbers near the smallest that there is (denormal) cost a hundred times more.
SMALLEST_US = np.float32(1e-20)
ZERO = np.float32(0.0)


class Conductances(NamedTuple):
    """Of all classes, without their block.

    Attributes:
        rise_uS, decay_uS: (classes, n) the two exponentials [uS]; see `State`.
        mean_uS: (classes, n) mean of their difference over the step [uS].
    """

    rise_uS: Single
    decay_uS: Single
    mean_uS: Single


@compiled
def decay_synapses(synapses: Synapses, h_ms: float, g: Conductances) -> None:
    """Mean conductances over a step without its events, and the exponentials after it.

    Args:
        synapses: classes.
        h_ms: length of the step [ms].
        g: is changed.
    """
    rise, decay, mean_uS = g
    rows, rise_ms, decay_ms = synapses.row, synapses.rise_ms, synapses.decay_ms
    for m in range(len(rows)):
        a, z = rows[m, START], rows[m, STOP]
        keep, share = _exponential_step(decay_ms[m], h_ms)
        _set_mean(keep, share, decay[m, a:z], mean_uS[m, a:z])
        if rise_ms[m] > 0.0:
            keep, share = _exponential_step(rise_ms[m], h_ms)
            _subtract_mean(keep, share, rise[m, a:z], mean_uS[m, a:z])


@compiled
def _exponential_step(tau_ms: float, h_ms: float) -> tuple[Any, Any]:
    """Of an exponential what a step keeps, and its mean over the step, both as shares of what it was."""
    keep = np.exp(-h_ms / tau_ms)
    return np.float32(keep), np.float32(tau_ms / h_ms * (1.0 - keep))


@compiled
def _set_mean(keep: float, share: float, left: Single, mean: Single) -> None:
    for i in range(len(mean)):
        mean[i] = left[i] * share
        rest = left[i] * keep
        left[i] = rest if rest > SMALLEST_US else ZERO


@compiled
def _subtract_mean(keep: float, share: float, left: Single, mean: Single) -> None:
    for i in range(len(mean)):
        mean[i] -= left[i] * share
        rest = left[i] * keep
        left[i] = rest if rest > SMALLEST_US else ZERO


@compiled
def add_events(
    synapses: Synapses, events: SynapticEvents, event: int, stop: int, h_ms: float, end_ms: float, g: Conductances
) -> int:  # fmt: skip
    """Add what the events of a step open.

    Args:
        synapses: classes.
        events: of all milliseconds.
        event, stop: the first that is not yet in, and the one after the last of this millisecond.
        h_ms: length of the step [ms].
        end_ms: end of the step, after the start of the millisecond [ms].
        g: is changed.

    Returns:
        The first event after the step.
    """
    rise_ms, decay_ms = synapses.rise_ms, synapses.decay_ms
    rise, decay, mean_uS = g
    after, class_, position, increment = (
        events.after_ms, events.synapse_class, events.position, events.increment_uS
    )  # fmt: skip
    while event < stop and after[event] < end_ms:
        m, i, uS, rest_ms = class_[event], position[event], increment[event], end_ms - after[event]
        left, mean = _event_in_step(decay_ms[m], uS, rest_ms, h_ms)
        decay[m, i] += left
        mean_uS[m, i] += mean
        if rise_ms[m] > 0.0:
            left, mean = _event_in_step(rise_ms[m], uS, rest_ms, h_ms)
            rise[m, i] += left
            mean_uS[m, i] -= mean
        event += 1
    return event


@compiled
def _event_in_step(tau_ms: float, uS: float, rest_ms: float, h_ms: float) -> tuple[float, float]:
    """What an event `rest_ms` before the end of a step adds to an exponential at its end, and to its mean."""
    keep = np.exp(-rest_ms / tau_ms)
    return uS * keep, uS * tau_ms / h_ms * (1.0 - keep)


@compiled
def add_synaptic_currents(
    synapses: Synapses, mean_uS: Single, index: TableIndex, slope_uS: Single, zero_nA: Single, single: Single
) -> None:  # fmt: skip
    """Add slopes, and currents at 0 mV.

    Args:
        synapses: classes.
        mean_uS: (classes, n) mean conductances [uS].
        index: of potentials.
        slope_uS, zero_nA: (n,) are changed [uS], [nA].
        single: (2, n) is used.
    """
    rows, e_mV, blocks = synapses.row, synapses.e_mV, synapses.block
    v, v_bin, v_fraction = index.v_mV, index.v_bin, index.v_fraction
    for m in range(len(rows)):
        a, z, e, block = rows[m, START], rows[m, STOP], np.float32(e_mV[m]), rows[m, SYNAPSE_BLOCK]
        if block < 0:
            _add_unblocked(mean_uS[m, a:z], e, slope_uS[a:z], zero_nA[a:z])
        else:
            share, change = single[0, : z - a], single[1, : z - a]
            _open_share(blocks[block], v_bin[a:z], v_fraction[a:z], share, change)
            _add_blocked(mean_uS[m, a:z], share, change, e, v[a:z], slope_uS[a:z], zero_nA[a:z])


@compiled
def _add_unblocked(g: Single, e: float, slope: Single, zero: Single) -> None:
    for i in range(len(g)):
        slope[i] += g[i]
        zero[i] += g[i] * e


@compiled
def _open_share(table: Single, v_bin: Bins, v_fraction: Single, share: Single, change: Single) -> None:
    """The block B(V), and how much it changes to the next point of the table."""
    for i in range(len(v_bin)):
        at = v_bin[i]
        change[i] = table[at, 1]
        share[i] = table[at, 0] + v_fraction[i] * table[at, 1]


@compiled
def _add_blocked(g: Single, share: Single, change: Single, e: float, v: Single, slope: Single, zero: Single) -> None:
    """g B(V) (E - V), linearised about V: its slope may be negative."""
    for i in range(len(g)):
        open_g, driving_mV = g[i] * share[i], e - v[i]
        own = open_g - g[i] * change[i] * np.float32(1.0 / V_BIN_MV) * driving_mV
        slope[i] += own
        zero[i] += open_g * driving_mV + own * v[i]
