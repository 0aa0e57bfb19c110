"""Mean synaptic conductances of each millisecond, exactly: the integral of both exponentials, and their decay.

Of one exponential with the time constant tau, which is 1 at the start of a step of h, the mean over the step is
tau / h (1 - exp(-h / tau)). Conductances are NEURON's ExpSyn and Exp2Syn; events count from the start of their
millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import BLOCK_MV, Conductance
from dendrotwin.cell.tree import Events, Floats, Ints, Tree
from dendrotwin.solver.compiled import compiled

DT_MS = 1.0
CHUNK_MS = 200  # computed at once, so that long trials of many cells need little memory
# Columns of the values of `components`.
RISE_MS, DECAY_MS, PEAK_US, E_MV, MG_MM, SLOPE_PER_MV = range(6)


def components(tree: Tree) -> tuple[Ints, Floats]:
    """The conductances of all inputs, one after the other: K of them.

    Args:
        tree: the cell.

    Returns:
        (K,) input of each, and (K, 6) rise [ms], decay [ms], normalised peak g_max f times the input's weight [uS],
        reversal [mV], magnesium [mM] and slope [1/mV]; for blocks that are given by their values see `blocks`.
    """
    inputs, values = [], []
    for i, synapse in enumerate(tree.input_synapse):
        for g in tree.synapses[synapse].conductances:
            inputs.append(i)
            peak = g.g_max_uS * g.normalisation() * tree.input_weight[i]
            values.append((g.rise_ms, g.decay_ms, peak, g.e_mV, g.mg_mM, g.slope_per_mV))
    return np.array(inputs, dtype=np.int32), np.array(values, dtype=np.float64).reshape(-1, 6)


def blocks(tree: Tree) -> tuple[Ints, Floats]:
    """The blocks that are given by their values.

    Args:
        tree: the cell.

    Returns:
        (K,) which of them each of the `components` has, -1 where none, and (B, len(BLOCK_MV)) the values.
    """
    distinct: dict[tuple[float, ...], int] = {}
    which = [
        distinct.setdefault(g.block, len(distinct)) if g.block else -1
        for synapse in tree.input_synapse
        for g in tree.synapses[synapse].conductances
    ]
    return np.array(which, dtype=np.int32), np.array(list(distinct), dtype=np.float64).reshape(-1, len(BLOCK_MV))


def mean_time_course(conductance: Conductance, duration_ms: int) -> Floats:
    """Mean of a conductance over each millisecond after one event, without magnesium block.

    Args:
        conductance: with its peak.
        duration_ms: how long [ms].

    Returns:
        (duration_ms,) [uS].
    """
    begin = np.arange(duration_ms) * DT_MS
    course = np.zeros(duration_ms)
    exponentials = ((conductance.decay_ms, 1.0), (conductance.rise_ms, -1.0))
    for tau, sign in exponentials if conductance.rise_ms > 0.0 else exponentials[:1]:
        course += sign * tau / DT_MS * (1.0 - np.exp(-DT_MS / tau)) * np.exp(-begin / tau)
    return conductance.g_max_uS * conductance.normalisation() * course


class _Increments(NamedTuple):
    """What events open, sorted by time.

    Attributes:
        start: (chunk + 1,) the first of each millisecond, and where those of the last end.
        component, cell: (increments,) which conductance of which cell of the batch.
    """

    start: NDArray[np.int64]
    component: Ints
    cell: Ints


@compiled
def _filter(
    increments: _Increments, rise: Floats, decay: Floats, values: Floats, out: NDArray[np.float32]
) -> None:  # fmt: skip
    """Mean conductance over each step, exactly: the integral of both exponentials, then their decay."""
    start, component, cell = increments
    steps, k_all, cells = out.shape
    for t in range(steps):
        for e in range(start[t], start[t + 1]):
            k, c = component[e], cell[e]
            rise[k, c] += values[k, PEAK_US]
            decay[k, c] += values[k, PEAK_US]
        for k in range(k_all):
            tau_r, tau_d = values[k, RISE_MS], values[k, DECAY_MS]
            keep_r, keep_d = np.exp(-DT_MS / tau_r) if tau_r > 0.0 else 0.0, np.exp(-DT_MS / tau_d)
            mean_r, mean_d = tau_r / DT_MS * (1.0 - keep_r), tau_d / DT_MS * (1.0 - keep_d)
            for c in range(cells):
                out[t, k, c] = decay[k, c] * mean_d - rise[k, c] * mean_r
                rise[k, c] *= keep_r
                decay[k, c] *= keep_d


def synaptic_conductances(tree: Tree, events: Sequence[Events], duration_ms: int) -> Iterator[NDArray[np.float32]]:
    """Conductances that the events of several trials open, without the magnesium block, in chunks of time.

    Args:
        tree: the cell.
        events: of each trial (a cell of the batch).
        duration_ms: of all trials [ms].

    Yields:
        (chunk, K, cells) mean conductance over each 1 ms step [uS], K as in `components`.
    """
    inputs, values = components(tree)
    k_all, cells = len(inputs), len(events)
    first = np.searchsorted(inputs, np.arange(tree.n_inputs + 1))
    times, members, at = [], [], []
    for c, trial in enumerate(events):
        trial.check(tree.n_inputs, duration_ms)
        per_event = (first[1:] - first[:-1])[trial.input]
        offset = np.arange(per_event.sum()) - np.repeat(np.cumsum(per_event) - per_event, per_event)
        members.append(np.repeat(first[trial.input], per_event) + offset)
        times.append(np.repeat(trial.bins(), per_event))
        at.append(np.full(len(offset), c, dtype=np.int32))
    time, component, cell = (np.concatenate(parts) for parts in (times, members, at))
    order = np.argsort(time, kind="stable")
    time, component, cell = time[order], component[order].astype(np.int32), cell[order]
    rise, decay = np.zeros((k_all, cells)), np.zeros((k_all, cells))
    for begin in range(0, duration_ms, CHUNK_MS):
        end = min(begin + CHUNK_MS, duration_ms)
        out = np.empty((end - begin, k_all, cells), dtype=np.float32)
        start = np.searchsorted(time, np.arange(begin, end + 1))
        _filter(_Increments(start, component, cell), rise, decay, values, out)
        yield out
