"""Events of a network on their way: from spikes of sources to conductances that open in target cells.

Time goes by slices, none longer than the smallest delay. A spike within a slice makes events in later slices: at each
of its connections one, after the delay of that. Events wait in a ring of queues, one for each slice ahead. When a
slice comes, its queue is sorted by cell and time; events of one time are sorted by what they do, so that neither the
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
    """Queues of events, one for each of the slices ahead.

    Attributes:
        waiting: (slots,) events in each queue.
        cell, input: (slots, room) of each event.
        time_ms: (slots, room) [ms].
        weight: (slots, room).
    """

    waiting: Indices
    cell: Ints
    input: Ints
    time_ms: Floats
    weight: Floats


def make_ring(slots: int, room: int = 64) -> Ring:
    """An empty ring.

    Args:
        slots: slices ahead, this one included.
        room: of each queue.
    """
    cell, input = np.zeros((2, slots, room), np.int32)
    time_ms, weight = np.zeros((2, slots, room))
    return Ring(np.zeros(slots, np.int64), cell, input, time_ms, weight)


def larger(ring: Ring, room: int) -> Ring:
    """The same ring with more room.

    Args:
        ring: with less.
        room: of each queue.
    """
    found = make_ring(len(ring.waiting), room)
    found.waiting[:] = ring.waiting
    for name in ("cell", "input", "time_ms", "weight"):
        getattr(found, name)[:, : ring.cell.shape[1]] = getattr(ring, name)
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
    if not len(source):
        return ring
    needed = _count(ring.waiting, connections, source, time_ms, slice_ms)
    if needed > ring.cell.shape[1]:
        ring = larger(ring, needed + needed // 4)
    _send(ring, connections, plasticity, source, time_ms, slice_ms)
    return ring


@compiled
def _slot(time_ms: float, slice_ms: float, slots: int) -> int:
    return int(time_ms / slice_ms) % slots


@compiled
def _count(count: Indices, connections: Connections, source: Indices, time_ms: Floats, slice_ms: float) -> int:
    """The most events that any queue will hold."""
    first, delay_ms, found, slots = connections.first, connections.delay_ms, count.copy(), len(count)
    for s in range(len(source)):
        for k in range(first[source[s]], first[source[s] + 1]):
            found[_slot(time_ms[s] + delay_ms[k], slice_ms, slots)] += 1
    most: int = found.max()
    return most


@compiled
def _send(
    ring: Ring, connections: Connections, plasticity: Plasticity, source: Indices, time_ms: Floats, slice_ms: float
) -> None:  # fmt: skip
    count, cell, input, time, weight = ring
    slots, first = len(count), connections.first
    for s in range(len(source)):
        for k in range(first[source[s]], first[source[s] + 1]):
            factor = connections.weight[k]
            if connections.plastic[k] >= 0:
                factor *= _use(plasticity, connections.plastic[k], time_ms[s])
            if factor == 0.0:
                continue
            due_ms = time_ms[s] + connections.delay_ms[k]
            slot = _slot(due_ms, slice_ms, slots)
            at = count[slot]
            cell[slot, at], input[slot, at] = connections.cell[k], connections.input[k]
            time[slot, at], weight[slot, at] = due_ms, factor
            count[slot] = at + 1


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
    many = ring.waiting[slot]
    cell, input, time, weight = ring.cell[slot], ring.input[slot], ring.time_ms[slot], ring.weight[slot]
    order = _order(cell[:many], input[:many], time[:many], weight[:many], cells)
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
    ring.waiting[slot] = 0
    return SynapticEvents(first, after, class_, position, increment)


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
