"""The coarse cable: a passive tree with Ih and synapses, in one implicit step per millisecond, batched over cells.

    (C/dt + g_leak + g_ih m + g_syn) V' - axial coupling = C/dt V + g_leak E_leak + g_ih m E_ih + g_syn E_syn + I,

with the synaptic conductances averaged over the step, Ih's gate taken at V, and NMDA's current linearised about V. It
is a baseline: what the cell would do without any other channel.

Arrays are node-major with the cells contiguous, (nodes, cells), so that the inner loops run over cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import BLOCK_MV
from dendrotwin.cell.tree import Events, Floats, Injection, Ints, Tree
from dendrotwin.errors import InputError
from dendrotwin.solver.axial import EliminationOrder
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.conductances import (
    CHUNK_MS,
    DT_MS,
    E_MV,
    MG_MM,
    SLOPE_PER_MV,
    blocks,
    components,
    synaptic_conductances,
)

LAST_BLOCK = np.uint32(len(BLOCK_MV) - 2)


class _Cable(NamedTuple):
    """The cell, node by node in an `EliminationOrder`: each (nodes,), 0 at joints where there is no membrane."""

    parent: Ints
    axial_uS: Floats
    capacitance_nF: Floats
    leak_uS: Floats
    leak_mV: Floats
    ih_uS: Floats
    ih_mV: Floats


class _Synapses(NamedTuple):
    """Its synaptic conductances: node, values of `components`, which of the blocks, and their values."""

    node: Ints
    values: Floats
    block: Ints
    block_values: Floats


@compiled
def hines(parent: Ints, axial_uS: Floats, diagonal: Floats, right: Floats) -> None:
    """Solve A V = b for every cell, in place (Hines 1984, doi:10.1016/0020-7101(84)90008-4).

    A is symmetric: A[i, i] = diagonal[i] + the conductances of all edges at i, A[i, parent] = -axial[i].

    Args:
        parent, axial_uS: (nodes,) of an `EliminationOrder` [uS].
        diagonal: (nodes, cells) what each node has besides its edges [uS]; overwritten.
        right: (nodes, cells) b [nA]; becomes V [mV].
    """
    nodes, cells = right.shape
    for i in range(1, nodes):
        p, g = parent[i], axial_uS[i]
        for c in range(cells):
            diagonal[i, c] += g
            diagonal[p, c] += g
    for i in range(nodes - 1, 0, -1):
        p, g = parent[i], axial_uS[i]
        for c in range(cells):
            share = g / diagonal[i, c]
            diagonal[p, c] -= share * g
            right[p, c] += share * right[i, c]
    for c in range(cells):
        right[0, c] /= diagonal[0, c]
    for i in range(1, nodes):
        p, g = parent[i], axial_uS[i]
        for c in range(cells):
            right[i, c] = (right[i, c] + g * right[p, c]) / diagonal[i, c]


@compiled
def _ih_rates(v: float) -> tuple[float, float]:
    """alpha and beta [1/ms] of Ih (Kole et al. 2006, doi:10.1523/JNEUROSCI.3664-05.2006)."""
    x = (v + 154.9) / 11.9
    alpha = 0.00643 * 11.9 * (1.0 - 0.5 * x if abs(x) < 1e-6 else x / (np.exp(x) - 1.0))
    return alpha, 0.193 * np.exp(v / 33.1)


@compiled
def _add_membrane(
    cable: _Cable, injected: Floats, v: Floats, m: Floats, diagonal: Floats, right: Floats
) -> None:  # fmt: skip
    """Capacitance, leak, injected current, and Ih, whose gate goes on."""
    nodes, cells = v.shape
    capacitance, leak, leak_mV, ih, ih_mV = (
        cable.capacitance_nF, cable.leak_uS, cable.leak_mV, cable.ih_uS, cable.ih_mV
    )  # fmt: skip
    for i in range(nodes):
        for c in range(cells):
            g = capacitance[i] / DT_MS
            diagonal[i, c] = g + leak[i]
            right[i, c] = g * v[i, c] + leak[i] * leak_mV[i] + injected[i, c]
        if ih[i] > 0.0:
            for c in range(cells):
                alpha, beta = _ih_rates(v[i, c])
                steady = alpha / (alpha + beta)
                m[i, c] = steady + (m[i, c] - steady) * np.exp(-DT_MS * (alpha + beta))
                diagonal[i, c] += ih[i] * m[i, c]
                right[i, c] += ih[i] * m[i, c] * ih_mV[i]


@compiled
def _add_synapses(
    synapses: _Synapses, conductance: NDArray[np.float32], v: Floats, diagonal: Floats, right: Floats
) -> None:  # fmt: skip
    """Currents g B(V) (V - e), linearised about V: the slope of NMDA's is negative at rest."""
    nodes, values, of_block, block_values = synapses
    k_all, cells = conductance.shape
    for k in range(k_all):
        i, e, mg, slope = nodes[k], values[k, E_MV], values[k, MG_MM], values[k, SLOPE_PER_MV]
        for c in range(cells):
            g = conductance[k, c]
            if of_block[k] >= 0:
                # B(V) on the straight line between two of its values.
                place = min(max(v[i, c] - BLOCK_MV[0], 0.0), len(BLOCK_MV) - 1.0)
                left = min(np.uint32(place), LAST_BLOCK)  # bounded as a whole number: V may be NaN
                rise = block_values[of_block[k], left + 1] - block_values[of_block[k], left]
                block = block_values[of_block[k], left] + rise * (place - left)
                steep = g * (block + rise * (v[i, c] - e))
                diagonal[i, c] += steep
                right[i, c] += steep * v[i, c] - g * block * (v[i, c] - e)
            elif mg > 0.0:
                block = 1.0 / (1.0 + mg * np.exp(-slope * v[i, c]) / 3.57)
                steep = g * block * (1.0 + slope * (1.0 - block) * (v[i, c] - e))
                diagonal[i, c] += steep
                right[i, c] += steep * v[i, c] - g * block * (v[i, c] - e)
            else:
                diagonal[i, c] += g
                right[i, c] += g * e


@compiled
def _cable_steps(
    cable: _Cable, synapses: _Synapses, conductance: NDArray[np.float32], injected: Floats, v: Floats, m: Floats,
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Linearly implicit Euler steps of 1 ms about the potential that each starts from."""
    nodes, cells = v.shape
    capacitance = cable.capacitance_nF
    diagonal, right = np.empty((nodes, cells)), np.empty((nodes, cells))
    for t in range(len(conductance)):
        _add_membrane(cable, injected[t], v, m, diagonal, right)
        _add_synapses(synapses, conductance[t], v, diagonal, right)
        for i in range(nodes):
            # However many NMDA channels are open, a step at most doubles what the capacitance alone would let it move.
            smallest = 0.5 * capacitance[i] / DT_MS
            for c in range(cells):
                if diagonal[i, c] < smallest:
                    right[i, c] += (smallest - diagonal[i, c]) * v[i, c]
                    diagonal[i, c] = smallest
        hines(cable.parent, cable.axial_uS, diagonal, right)
        for i in range(nodes):
            for c in range(cells):
                v[i, c] = right[i, c]
                out[t, i, c] = right[i, c]


def _cable(tree: Tree, order: EliminationOrder) -> _Cable:
    inside = order.compartment >= 0

    def by_node(of_compartment: Floats) -> Floats:
        found = np.zeros(len(order.parent))
        found[inside] = of_compartment[order.compartment[inside]]
        return found

    of_membrane = (tree.capacitance_nF, tree.leak_uS, tree.leak_mV, tree.ih_uS, tree.ih_mV)
    return _Cable(order.parent, order.axial_uS, *map(by_node, of_membrane))


def coarse_cable(
    tree: Tree, events: Sequence[Events], duration_ms: int, injections: Sequence[Injection | None] | None = None
) -> NDArray[np.float32]:
    """The cable without learning: passive tree, Ih and exact synaptic conductances, one implicit step per ms.

    Args:
        tree: the cell.
        events: of each trial.
        duration_ms: of all trials [ms].
        injections: injected current of each trial.

    Returns:
        V (trials, duration_ms, n) at the end of each step, from `tree.v_init_mV` [mV].

    Raises:
        InputError: events or injections do not fit the cell and the duration, or drive V beyond all numbers.
    """
    order = EliminationOrder.of(tree)
    inputs, values = components(tree)
    cable = _cable(tree, order)
    synapses = _Synapses(order.position[tree.input_compartment[inputs]], values, *blocks(tree))
    nodes, cells = len(order.parent), len(events)
    injected = np.zeros((CHUNK_MS, nodes, cells))
    electrodes = []
    for c, injection in enumerate(injections or []):
        if injection is not None:
            injection.check(tree.n, duration_ms)
            electrodes.append((c, order.position[injection.compartment], injection.current_nA))
    v = np.full((nodes, cells), tree.v_init_mV)
    alpha, beta = _ih_rates(tree.v_init_mV)
    m = np.full((nodes, cells), alpha / (alpha + beta))
    result = np.empty((cells, duration_ms, tree.n), dtype=np.float32)
    begin = 0
    for conductance in synaptic_conductances(tree, events, duration_ms):
        end = begin + len(conductance)
        out = np.empty((end - begin, nodes, cells), dtype=np.float32)
        for c, positions, current in electrodes:
            injected[: end - begin, :, c] = 0.0
            for e, position in enumerate(positions):
                injected[: end - begin, position, c] += current[begin:end, e]
        _cable_steps(cable, synapses, conductance, injected[: end - begin], v, m, out)
        result[:, begin:end] = out[:, order.position].transpose(2, 0, 1)
        begin = end
    if not np.isfinite(result).all():
        _, step, compartment = np.argwhere(~np.isfinite(result))[0]
        raise InputError(
            f"the potential of compartment {compartment} is no number at {step + 1} ms in the coarse cable; "
            "inject less current"
        )
    return result
