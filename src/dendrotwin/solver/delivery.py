"""Events of a network on their way: from spikes of sources to conductances that open in target cells.

Time goes by slices, none longer than the smallest delay. A spike within a slice makes events in later slices: at each
of its connections one, after the delay of that. Events wait in a ring of queues, one for each slice ahead. All queues
are made of chunks of one store, so that memory follows the events that wait, however far ahead they are. When a slice
comes, its queue is sorted by cell and time; events of one time are sorted by what they do, so that neither the
order of cells nor the number of processes changes a sum of theirs by a bit.

Synapses may have short-term plasticity (Tsodyks, Uziel and Markram 2000, doi:10.1523/JNEUROSCI.20-01-j0003.2000). Of
the resources of a connection x are ready, y are active and z recover, x + y + z = 1. Between spikes

    dy/dt = -y / I,    dz/dt = y / I - z / D,    du/dt = -u / F,

and a spike changes u to u + U (1 - u), after which u x go from x to y, and the event has u x times the connection's
weight. This is solved exactly: dt after the spike before,

    z <- z exp(-dt / D) + y (exp(-dt / I) - exp(-dt / D)) / (I / D - 1),    y <- y exp(-dt / I),    u <- u exp(-dt / F).

I = 0 is the model of Tsodyks, Pawelzik and Markram 1998 (doi:10.1162/089976698300017502).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.solver.cell_arrays import InputConductances
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.state import SynapticEvents

CHUNK = 64  # events
Indices = NDArray[np.int64]


class Connections(NamedTuple):
    """Connections to the cells of one model, K of them, sorted by source.

    Attributes:
        first: (sources + 1,) the first of each source, and where those of the last one end.
        cell: (K,) target, counted in the cells of the model.
        input: (K,) of the model's inputs.
        weight: (K,) factor on the input's conductances.
        delay_ms: (K,) [ms].
        plastic: (K,) row of `Plasticity`, or -1.
    """

    first: Indices
    cell: Ints
    input: Ints
    weight: Floats
    delay_ms: Floats
    plastic: Ints


class Plasticity(NamedTuple):
    """Short-term plasticity of P connections, and its state.

    Attributes:
        utilisation: (P,) U, by which a spike raises u.
        depression_ms, facilitation_ms, inactivation_ms: (P,) D, F and I [ms]; 0 where it is at once.
        u, active, recovering: (P,) u, y and z after the last spike.
        last_ms: (P,) when that was [ms]; before the first, when an event that arrives at 0 ms would have left.
    """

    utilisation: Floats
    depression_ms: Floats
    facilitation_ms: Floats
    inactivation_ms: Floats
    u: Floats
    active: Floats
    recovering: Floats
    last_ms: Floats

    @classmethod
    def at_rest(cls, parameters: Floats, delay_ms: Floats) -> Plasticity:
        """Before the first spike.

        Args:
            parameters: (P, 5) see `Projection.plasticity`.
            delay_ms: (P,) of the connections [ms].
        """
        utilisation, depression_ms, facilitation_ms, inactivation_ms, u = np.array(parameters, np.float64).T.copy()
        y, z = np.zeros((2, len(u)))
        return cls(utilisation, depression_ms, facilitation_ms, inactivation_ms, u, y, z, -delay_ms)

    def state(self) -> dict[str, Floats]:
        """What spikes change, by name: (P,) each."""
        return {name: getattr(self, name) for name in ("u", "active", "recovering", "last_ms")}


class Ring(NamedTuple):
    """Queues of events, one for each of the slices ahead, each a chain of chunks.

    Attributes:
        waiting: (slots,) events in each queue.
        last: (slots,) the chunk that its last events are in.
        before: (chunks,) the chunk before it in its queue; of one that is free, the next free one.
        free: (2,) the first free chunk, and how many are free.
        cell, input: (chunks, CHUNK) of each event.
        time_ms: (chunks, CHUNK) [ms].
        weight: (chunks, CHUNK).
    """

    waiting: Indices
    last: Indices
    before: Indices
    free: Indices
    cell: Ints
    input: Ints
    time_ms: Floats
    weight: Floats


def make_ring(slots: int, chunks: int = 0) -> Ring:
    """An empty ring.

    Args:
        slots: slices ahead, this one included.
        chunks: of its store, which grows.
    """
    cell, input = np.zeros((2, chunks, CHUNK), np.int32)
    time_ms, weight = np.zeros((2, chunks, CHUNK))
    waiting, last = np.zeros((2, slots), np.int64)
    return Ring(waiting, last, np.arange(1, chunks + 1), np.array([0, chunks]), cell, input, time_ms, weight)


def larger(ring: Ring, chunks: int) -> Ring:
    """The same ring with a larger store.

    Args:
        ring: with a smaller one.
        chunks: of its store.
    """
    had, found = len(ring.before), make_ring(len(ring.waiting), chunks)
    for name in ("before", "cell", "input", "time_ms", "weight"):
        getattr(found, name)[:had] = getattr(ring, name)
    found.waiting[:], found.last[:] = ring.waiting, ring.last
    # The new chunks are free; the last of them leads to those that were free before.
    found.before[-1], found.free[:] = ring.free[0], (had, chunks - had + ring.free[1])
    return found


def send(
    ring: Ring, connections: Connections, plasticity: Plasticity, source: Indices, time_ms: Floats, slice_ms: float
) -> Ring:
    """Put the events of spikes into their queues.

    Args:
        ring: of the target cells.
        connections: to them.
        plasticity: of these connections; its state goes on.
        source: (s,) of each spike.
        time_ms: (s,) of each, rising [ms].
        slice_ms: length of a slice [ms].

    Returns:
        The ring, or a larger one.
    """
    events = int((connections.first[source + 1] - connections.first[source]).sum())
    # Each queue may begin a chunk, and then one for each CHUNK events.
    missing = events // CHUNK + min(events, len(ring.waiting)) - int(ring.free[1])
    if missing > 0:
        ring = larger(ring, len(ring.before) + missing + len(ring.before) // 4)
    _send(ring, connections, plasticity, source, time_ms, slice_ms)
    return ring


@compiled
def _slot(time_ms: float, slice_ms: float, slots: int) -> int:
    return int(time_ms / slice_ms) % slots


@compiled
def _send(
    ring: Ring, connections: Connections, plasticity: Plasticity, source: Indices, time_ms: Floats, slice_ms: float
) -> None:  # fmt: skip
    waiting, last, before, free, cell, input, time, weight = ring
    slots, first = len(waiting), connections.first
    for s in range(len(source)):
        for k in range(first[source[s]], first[source[s] + 1]):
            factor = connections.weight[k]
            if connections.plastic[k] >= 0:
                factor *= _use(plasticity, connections.plastic[k], time_ms[s])
            if factor == 0.0:
                continue
            due_ms = time_ms[s] + connections.delay_ms[k]
            slot = _slot(due_ms, slice_ms, slots)
            at = waiting[slot] % CHUNK
            if at == 0:
                chunk = free[0]
                free[0], free[1] = before[chunk], free[1] - 1
                before[chunk], last[slot] = last[slot], chunk
            chunk = last[slot]
            cell[chunk, at], input[chunk, at] = connections.cell[k], connections.input[k]
            time[chunk, at], weight[chunk, at] = due_ms, factor
            waiting[slot] += 1


@compiled
def _use(p: Plasticity, k: int, now_ms: float) -> float:
    """The share of all resources that a spike uses."""
    since_ms = now_ms - p.last_ms[k]
    inactivated_ms, depressed_ms = p.inactivation_ms[k], p.depression_ms[k]
    left, unrecovered = _left(since_ms, inactivated_ms), _left(since_ms, depressed_ms)
    if depressed_ms == 0.0:
        passed = 0.0
    elif inactivated_ms == 0.0:
        passed = unrecovered
    else:  # (left - unrecovered) / (I / D - 1) without a difference of numbers that are nearly the same
        apart = abs(since_ms / depressed_ms - since_ms / inactivated_ms)
        passed = (
            max(left, unrecovered) * since_ms / inactivated_ms * (-np.expm1(-apart) / apart if apart > 0.0 else 1.0)
        )
    p.recovering[k] = p.recovering[k] * unrecovered + p.active[k] * passed
    p.active[k] *= left
    p.u[k] *= _left(since_ms, p.facilitation_ms[k])
    p.u[k] += p.utilisation[k] * (1.0 - p.u[k])
    share: float = p.u[k] * (1.0 - p.active[k] - p.recovering[k])
    p.active[k] += share
    p.last_ms[k] = now_ms
    return share


@compiled
def _left(since_ms: float, tau_ms: float) -> float:
    return np.exp(-since_ms / tau_ms) if tau_ms > 0.0 else 0.0


class Grid(NamedTuple):
    """The blocks of a slice.

    Attributes:
        start_ms, block_ms: start of the slice, and length of a block [ms].
        blocks: how many it has.
    """

    start_ms: float
    block_ms: float
    blocks: int


@compiled
def collect(ring: Ring, slot: int, inputs: InputConductances, cells: int, grid: Grid) -> SynapticEvents:
    """What the events of a slice open, sorted; their queue is empty then.

    Args:
        ring: of the cells.
        slot: the slice's.
        inputs: conductances of the model's inputs.
        cells: how many there are.
        grid: of the slice.

    Returns:
        With `first` (cells, blocks + 1).
    """
    cell, input, time, weight = taken(ring, slot)
    many = len(cell)
    order = _order(cell, input, time, weight, cells)
    total = 0
    for e in range(many):
        total += inputs.first[input[e] + 1] - inputs.first[input[e]]
    first = np.zeros((cells, grid.blocks + 1), np.int64)
    after, class_, position, increment = (
        np.empty(total), np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total)
    )  # fmt: skip
    at, e = 0, 0
    for c in range(cells):
        for b in range(grid.blocks):
            first[c, b] = at
            start_ms = grid.start_ms + b * grid.block_ms
            stop_ms = grid.start_ms + (b + 1) * grid.block_ms
            while e < many and cell[order[e]] == c and (time[order[e]] < stop_ms or b == grid.blocks - 1):
                o = order[e]
                for k in range(inputs.first[input[o]], inputs.first[input[o] + 1]):
                    after[at], class_[at] = time[o] - start_ms, inputs.synapse_class[k]
                    position[at], increment[at] = inputs.position[k], inputs.increment_uS[k] * weight[o]
                    at += 1
                e += 1
        first[c, grid.blocks] = at
    return SynapticEvents(first, after, class_, position, increment)


@compiled
def taken(ring: Ring, slot: int) -> tuple[Ints, Ints, Floats, Floats]:
    """Take the events of a queue, whose chunks are free then.

    Args:
        ring: of the cells.
        slot: of the queue.

    Returns:
        (events,) cell, input, time [ms] and weight of each.
    """
    before, free = ring.before, ring.free
    many, chunk = ring.waiting[slot], ring.last[slot]
    cell, input = np.empty(many, np.int32), np.empty(many, np.int32)
    time, weight = np.empty(many), np.empty(many)
    stop = many
    while stop > 0:
        start = (stop - 1) // CHUNK * CHUNK
        here = stop - start
        cell[start:stop], input[start:stop] = ring.cell[chunk, :here], ring.input[chunk, :here]
        time[start:stop], weight[start:stop] = ring.time_ms[chunk, :here], ring.weight[chunk, :here]
        following = before[chunk]
        before[chunk], free[0], free[1] = free[0], chunk, free[1] + 1
        chunk, stop = following, start
    ring.waiting[slot] = 0
    return cell, input, time, weight


@compiled
def _order(cell: Ints, input: Ints, time: Floats, weight: Floats, cells: int) -> Indices:
    """By cell, then time, then input, then weight."""
    start = np.zeros(cells + 1, np.int64)
    for e in range(len(cell)):
        start[cell[e] + 1] += 1
    for c in range(cells):
        start[c + 1] += start[c]
    found, filled = np.empty(len(cell), np.int64), start.copy()
    by_time = np.argsort(time)
    for e in by_time:
        found[filled[cell[e]]] = e
        filled[cell[e]] += 1
    for c in range(cells):
        for e in range(start[c] + 1, start[c + 1]):
            moved, at = found[e], e
            while at > start[c] and _before(moved, found[at - 1], input, time, weight):
                found[at] = found[at - 1]
                at -= 1
            found[at] = moved
    return found


@compiled
def _before(one: int, other: int, input: Ints, time: Floats, weight: Floats) -> bool:
    """Whether an event comes before another one of its cell."""
    if time[one] != time[other]:
        found: bool = time[one] < time[other]
    elif input[one] != input[other]:
        found = input[one] < input[other]
    else:
        found = weight[one] < weight[other]
    return found


@compiled
def crossings(crossing_ms: Floats, grid: Grid) -> tuple[Indices, Floats]:
    """Output spikes of a slice.

    Args:
        crossing_ms: (cells, blocks, CROSSINGS) see `Output`.
        grid: of the slice.

    Returns:
        (s,) the cells, and (s,) the times [ms].
    """
    cells, blocks, most = crossing_ms.shape
    many = 0
    for c in range(cells):
        for b in range(blocks):
            for k in range(most):
                many += crossing_ms[c, b, k] >= 0.0
    who, when, at = np.empty(many, np.int64), np.empty(many), 0
    for c in range(cells):
        for b in range(blocks):
            for k in range(most):
                if crossing_ms[c, b, k] >= 0.0:
                    who[at], when[at] = c, grid.start_ms + b * grid.block_ms + crossing_ms[c, b, k]
                    at += 1
    return who, when
