"""The implicit step of the whole tree, batched over cells, and the coarse cable that is built on it.

Arrays are node-major with the cells contiguous, (nodes, cells), so that the inner loops run over cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from dendrotwin.cell.tree import BLOCK_MV, Conductance, Events, Floats, Injection, Ints, Tree

DT_MS = 1.0
CHUNK_STEPS = 200


@dataclass(frozen=True, eq=False)
class Elimination:
    """The axial network in an order in which every node comes after its parent.

    Attributes:
        parent: (n + j,) position of each node's parent, -1 at the root (position 0).
        axial_uS: (n + j,) conductance to the parent [uS].
        compartment: (n + j,) compartment at each position, or -1 at a joint.
        position: (n,) position of each compartment.
    """

    parent: Ints
    axial_uS: Floats
    compartment: Ints
    position: Ints

    @classmethod
    def of(cls, tree: Tree) -> Elimination:
        """The elimination order of a tree."""
        nodes = len(tree.axial_parent)
        children: list[list[int]] = [[] for _ in range(nodes)]
        for node, parent in enumerate(tree.axial_parent):
            if parent >= 0:
                children[parent].append(node)
        order = [0]
        for node in order:
            order += children[node]
        position = np.empty(nodes, dtype=np.int32)
        position[order] = np.arange(nodes, dtype=np.int32)
        parents = tree.axial_parent[order]
        return cls(
            parent=np.where(parents >= 0, position[parents], -1).astype(np.int32),
            axial_uS=tree.axial_uS[order],
            compartment=np.where(np.array(order) < tree.n, order, -1).astype(np.int32),
            position=position[: tree.n],
        )

    @property
    def joined_uS(self) -> Floats:
        """(n + j,) sum of the axial conductances at each node [uS]."""
        inner = self.axial_uS[1:]
        return np.append(0.0, inner) + np.bincount(self.parent[1:], inner, len(self.parent))


@dataclass(frozen=True, eq=False)
class Rounds:
    """The same elimination in few rounds, each of nodes that do not touch, for machines that work on many at once.

    A node may go as soon as it has no more than one child. It passes its conductance on to its parent and to that
    child, which become neighbours. Of two neighbours one stays for the round, and no node gets something from two
    children: a path loses every other node, and a tree of many hundreds of nodes is gone after some fifteen rounds.

    Attributes:
        node: (nodes - 1,) what is eliminated, round after round: all but the root.
        parent, child: (nodes - 1,) its neighbours then; -1 where there is no child.
        first: (rounds + 1,) where each round begins, and where the last one ends.
    """

    node: Ints
    parent: Ints
    child: Ints
    first: Ints

    @classmethod
    def of(cls, parent: Ints) -> Rounds:
        """The rounds of a tree whose nodes come after their parents, as in an `Elimination`."""
        parent = parent.copy()
        left = np.arange(len(parent))  # of the nodes, children after their parents
        found: list[tuple[int, int, int]] = []
        first = [0]
        while len(left) > 1:
            inner = left[1:]
            children = np.bincount(parent[inner], minlength=len(parent))
            child = np.full(len(parent), -1)
            child[parent[inner]] = inner
            taken, fed = (np.zeros(len(parent), np.bool_) for _ in range(2))
            for i in inner[::-1]:  # leaves first
                if children[i] < 2 and not fed[i] and not fed[parent[i]]:
                    taken[i] = fed[parent[i]] = True
                    found.append((i, parent[i], child[i]))
            for _, p, c in found[first[-1] :]:
                if c >= 0:
                    parent[c] = p
            first.append(len(found))
            left = left[~taken[left]]
        node, above, below = np.array(found, dtype=np.int32).reshape(-1, 3).T.copy()
        return cls(node, above, below, np.array(first, dtype=np.int32))


@numba.njit(cache=True, fastmath=True)
def hines(parent: Ints, axial: Floats, diagonal: Floats, right: Floats) -> None:
    """Solve A V = b for every cell, in place (Hines 1984, doi:10.1016/0020-7101(84)90008-4).

    A is symmetric: A[i, i] = diagonal[i] + the conductances of all edges at i, A[i, parent] = -axial[i].

    Args:
        parent, axial: of an `Elimination`, (nodes,).
        diagonal: (nodes, cells) what each node has besides its edges [uS]; overwritten.
        right: (nodes, cells) b [nA]; becomes V [mV].
    """
    nodes, cells = right.shape
    for i in range(1, nodes):
        p, g = parent[i], axial[i]
        for c in range(cells):
            diagonal[i, c] += g
            diagonal[p, c] += g
    for i in range(nodes - 1, 0, -1):
        p, g = parent[i], axial[i]
        for c in range(cells):
            share = g / diagonal[i, c]
            diagonal[p, c] -= share * g
            right[p, c] += share * right[i, c]
    for c in range(cells):
        right[0, c] /= diagonal[0, c]
    for i in range(1, nodes):
        p, g = parent[i], axial[i]
        for c in range(cells):
            right[i, c] = (right[i, c] + g * right[p, c]) / diagonal[i, c]


def components(tree: Tree) -> tuple[Ints, Floats]:
    """The conductances of all inputs, one after the other: K of them.

    Returns:
        (K,) input of each, and (K, 6) rise [ms], decay [ms], normalised peak g_max f times the input's weight [uS],
        reversal [mV], magnesium [mM] and slope [1/mV]; for blocks that are given by their values see `blocks`.
    """
    inputs, values = [], []
    for i, kind in enumerate(tree.input_synapse):
        for g in tree.synapses[kind].conductances:
            inputs.append(i)
            peak = g.g_max_uS * g.normalisation() * tree.input_weight[i]
            values.append((g.rise_ms, g.decay_ms, peak, g.e_mV, g.mg_mM, g.slope_per_mV))
    return np.array(inputs, dtype=np.int32), np.array(values, dtype=np.float64).reshape(-1, 6)


def blocks(tree: Tree) -> tuple[Ints, Floats]:
    """The blocks that are given by their values.

    Returns:
        (K,) which of them each of the `components` has, -1 where none, and (B, len(BLOCK_MV)) the values.
    """
    distinct: dict[tuple[float, ...], int] = {}
    which = [
        distinct.setdefault(g.block, len(distinct)) if g.block else -1
        for kind in tree.input_synapse
        for g in tree.synapses[kind].conductances
    ]
    return np.array(which, dtype=np.int32), np.array(list(distinct), dtype=np.float64).reshape(-1, len(BLOCK_MV))


def mean_time_course(conductance: Conductance, steps: int) -> Floats:
    """Mean of a conductance over each of the `steps` ms after one event, (steps,) [uS], without magnesium block."""
    begin = np.arange(steps) * DT_MS
    course = np.zeros(steps)
    exponentials = ((conductance.decay_ms, 1.0), (conductance.rise_ms, -1.0))
    for tau, sign in exponentials if conductance.rise_ms > 0.0 else exponentials[:1]:
        course += sign * tau / DT_MS * (1.0 - np.exp(-DT_MS / tau)) * np.exp(-begin / tau)
    return conductance.g_max_uS * conductance.normalisation() * course


@numba.njit(cache=True)
def _filter(
    start: NDArray[np.int64],
    component: Ints,
    cell: Ints,
    rise: Floats,
    decay: Floats,
    values: Floats,
    out: NDArray[np.float32],
) -> None:
    """Mean conductance over each step, exactly: the integral of both exponentials, then their decay."""
    steps, k_all, cells = out.shape
    for t in range(steps):
        for e in range(start[t], start[t + 1]):
            k, c = component[e], cell[e]
            rise[k, c] += values[k, 2]
            decay[k, c] += values[k, 2]
        for k in range(k_all):
            tau_r, tau_d = values[k, 0], values[k, 1]
            keep_r, keep_d = np.exp(-DT_MS / tau_r) if tau_r > 0.0 else 0.0, np.exp(-DT_MS / tau_d)
            mean_r, mean_d = tau_r / DT_MS * (1.0 - keep_r), tau_d / DT_MS * (1.0 - keep_d)
            for c in range(cells):
                out[t, k, c] = decay[k, c] * mean_d - rise[k, c] * mean_r
                rise[k, c] *= keep_r
                decay[k, c] *= keep_d


def synaptic_conductances(tree: Tree, events: Sequence[Events], steps: int) -> Iterator[NDArray[np.float32]]:
    """Conductances that the events of several trials open, without the magnesium block, in chunks of time.

    Args:
        tree: the cell.
        events: of each trial (a cell of the batch).
        steps: duration [ms].

    Yields:
        (chunk, K, cells) mean conductance over each 1 ms step [uS], K as in `components`.
    """
    inputs, values = components(tree)
    k_all, cells = len(inputs), len(events)
    first = np.searchsorted(inputs, np.arange(tree.n_inputs + 1))
    times, members, at = [], [], []
    for c, trial in enumerate(events):
        trial.check(tree.n_inputs, steps)
        per_event = (first[1:] - first[:-1])[trial.input]
        offset = np.arange(per_event.sum()) - np.repeat(np.cumsum(per_event) - per_event, per_event)
        members.append(np.repeat(first[trial.input], per_event) + offset)
        times.append(np.repeat(trial.bins(), per_event))
        at.append(np.full(len(offset), c, dtype=np.int32))
    time, component, cell = (np.concatenate(parts) for parts in (times, members, at))
    order = np.argsort(time, kind="stable")
    time, component, cell = time[order], component[order].astype(np.int32), cell[order]
    rise, decay = np.zeros((k_all, cells)), np.zeros((k_all, cells))
    for begin in range(0, steps, CHUNK_STEPS):
        end = min(begin + CHUNK_STEPS, steps)
        out = np.empty((end - begin, k_all, cells), dtype=np.float32)
        start = np.searchsorted(time, np.arange(begin, end + 1))
        _filter(start, component, cell, rise, decay, values, out)
        yield out


@numba.njit(cache=True, fastmath=True)
def _ih_rates(v: float) -> tuple[float, float]:
    """alpha and beta [1/ms] of Ih (Kole et al. 2006, doi:10.1523/JNEUROSCI.3664-05.2006)."""
    x = (v + 154.9) / 11.9
    alpha = 0.00643 * 11.9 * (1.0 - 0.5 * x if abs(x) < 1e-6 else x / (np.exp(x) - 1.0))
    return alpha, 0.193 * np.exp(v / 33.1)


@numba.njit(cache=True, fastmath=True)
def _cable_steps(
    parent: Ints,
    axial: Floats,
    capacitance: Floats,
    leak: Floats,
    leak_mV: Floats,
    ih: Floats,
    ih_mV: Floats,
    at: Ints,
    values: Floats,
    of_block: Ints,
    block_values: Floats,
    conductance: NDArray[np.float32],
    injected: NDArray[np.float64],
    v: Floats,
    m: Floats,
    out: NDArray[np.float32],
) -> None:
    """Linearly implicit Euler steps of 1 ms about the potential that each starts from."""
    steps, k_all, cells = conductance.shape
    nodes = v.shape[0]
    diagonal, right = np.empty((nodes, cells)), np.empty((nodes, cells))
    for t in range(steps):
        for i in range(nodes):
            for c in range(cells):
                g = capacitance[i] / DT_MS
                diagonal[i, c] = g + leak[i]
                right[i, c] = g * v[i, c] + leak[i] * leak_mV[i] + injected[t, i, c]
            if ih[i] > 0.0:
                for c in range(cells):
                    alpha, beta = _ih_rates(v[i, c])
                    steady = alpha / (alpha + beta)
                    m[i, c] = steady + (m[i, c] - steady) * np.exp(-DT_MS * (alpha + beta))
                    diagonal[i, c] += ih[i] * m[i, c]
                    right[i, c] += ih[i] * m[i, c] * ih_mV[i]
        for k in range(k_all):
            i, e, mg, slope = at[k], values[k, 3], values[k, 4], values[k, 5]
            for c in range(cells):
                g = conductance[t, k, c]
                if of_block[k] >= 0:
                    # Likewise, B(V) on the straight line between two of its values.
                    place = min(max(v[i, c] - BLOCK_MV[0], 0.0), len(BLOCK_MV) - 1.0)
                    left = min(int(place), len(BLOCK_MV) - 2)
                    rise = block_values[of_block[k], left + 1] - block_values[of_block[k], left]
                    block = block_values[of_block[k], left] + rise * (place - left)
                    steep = g * (block + rise * (v[i, c] - e))
                    diagonal[i, c] += steep
                    right[i, c] += steep * v[i, c] - g * block * (v[i, c] - e)
                elif mg > 0.0:
                    # The current g B(V) (V - e), linearised about V: its slope is negative at rest.
                    block = 1.0 / (1.0 + mg * np.exp(-slope * v[i, c]) / 3.57)
                    steep = g * block * (1.0 + slope * (1.0 - block) * (v[i, c] - e))
                    diagonal[i, c] += steep
                    right[i, c] += steep * v[i, c] - g * block * (v[i, c] - e)
                else:
                    diagonal[i, c] += g
                    right[i, c] += g * e
        for i in range(nodes):
            # However many NMDA channels are open, a step at most doubles what the capacitance alone would let it move.
            least = 0.5 * capacitance[i] / DT_MS
            for c in range(cells):
                if diagonal[i, c] < least:
                    right[i, c] += (least - diagonal[i, c]) * v[i, c]
                    diagonal[i, c] = least
        hines(parent, axial, diagonal, right)
        for i in range(nodes):
            for c in range(cells):
                v[i, c] = right[i, c]
                out[t, i, c] = right[i, c]


def coarse_cable(
    tree: Tree, events: Sequence[Events], steps: int, injections: Sequence[Injection | None] | None = None
) -> NDArray[np.float32]:
    """The cable without learning: passive tree, Ih and exact synaptic conductances, one implicit step per ms.

    (C/dt + g_leak + g_ih m + g_syn) V' - axial coupling = C/dt V + g_leak E_leak + g_ih m E_ih + g_syn E_syn + I,
    with the synaptic conductances averaged over the step, Ih's gate taken at V, and NMDA's current linearised about V.

    Args:
        tree: the cell.
        events: of each trial.
        steps: duration of all trials [ms].
        injections: injected current of each trial.

    Returns:
        V (trials, steps, n) at the end of each step, from `tree.v_init_mV` [mV].

    Raises:
        InputError: events or injections do not fit the cell and the duration.
    """
    order = Elimination.of(tree)
    inputs, values = components(tree)
    of_block, block_values = blocks(tree)
    at = order.position[tree.input_compartment[inputs]]
    nodes, cells = len(order.parent), len(events)
    here = order.compartment >= 0

    def by_position(of_compartment: Floats) -> Floats:
        placed = np.zeros(nodes)
        placed[here] = of_compartment[order.compartment[here]]
        return placed

    injected = np.zeros((CHUNK_STEPS, nodes, cells))
    electrodes = []
    for c, injection in enumerate(injections or []):
        if injection is not None:
            injection.check(tree.n, steps)
            electrodes.append((c, order.position[injection.compartment], injection.current_nA))
    v = np.full((nodes, cells), tree.v_init_mV)
    alpha, beta = _ih_rates(tree.v_init_mV)
    m = np.full((nodes, cells), alpha / (alpha + beta))
    result = np.empty((cells, steps, tree.n), dtype=np.float32)
    begin = 0
    for conductance in synaptic_conductances(tree, events, steps):
        end = begin + len(conductance)
        out = np.empty((end - begin, nodes, cells), dtype=np.float32)
        for c, positions, current in electrodes:
            injected[: end - begin, :, c] = 0.0
            for e, position in enumerate(positions):
                injected[: end - begin, position, c] += current[begin:end, e]
        _cable_steps(
            order.parent,
            order.axial_uS,
            by_position(tree.capacitance_nF),
            by_position(tree.leak_uS),
            by_position(tree.leak_mV),
            by_position(tree.ih_uS),
            by_position(tree.ih_mV),
            at,
            values,
            of_block,
            block_values,
            conductance,
            injected[: end - begin],
            v,
            m,
            out,
        )
        result[:, begin:end] = out[:, order.position].transpose(2, 0, 1)
        begin = end
    return result


def axial_matrix(tree: Tree) -> csr_array:
    """Net current that flows into each compartment along the tree, for 1 mV in each: minus the Laplacian of the tree.

    The potential of a joint follows from Kirchhoff's law, for no current leaves the cell there: joints are eliminated.

    Args:
        tree: the cell.

    Returns:
        (n, n) symmetric and sparse [uS], its rows sum to zero; V (time, n) [mV] times it is (time, n) [nA].
    """
    nodes = len(tree.axial_parent)
    child = np.flatnonzero(tree.axial_parent >= 0)
    parent, g = tree.axial_parent[child], tree.axial_uS[child]
    rows, columns = np.concatenate([child, parent, child, parent]), np.concatenate([parent, child, child, parent])
    network = csr_array((np.concatenate([g, g, -g, -g]), (rows, columns)), shape=(nodes, nodes))
    n = tree.n
    # Every edge of a joint leads to a compartment, so that this block is diagonal.
    at_joints = network.diagonal()[n:]
    to_joints = network[:n, n:]
    return csr_array(network[:n, :n] - to_joints @ diags_array(1.0 / at_joints) @ to_joints.T)
