"""From a tree and its membrane to the arrays that the integrator runs over.

Nodes are sorted for Hines' elimination (Hines 1984, doi:10.1016/0020-7101(84)90008-4), and compartments so that those
of one membrane lie side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import V_GRID_MV, Mechanism, Membrane
from dendrotwin.cell.synapse import Conductance
from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.solver.axial import EliminationOrder
from dendrotwin.solver.cell_arrays import (
    AxialTree,
    CellArrays,
    InitialStates,
    InputConductances,
    Ions,
    StepTables,
    Synapses,
)
from dendrotwin.solver.rows import RowCollector
from dendrotwin.solver.step_tables import Kinetics, with_changes


@dataclass(frozen=True, eq=False)
class Layout:
    """A cell laid out.

    Attributes:
        arrays: of the cell.
        compartment: (n,) the one at each position.
        position: (n,) that of each compartment.
        kinetics: gates and schemes that tables are made of.
        initial: states at the start of a trial.
        inputs: the conductances of all inputs.
    """

    arrays: CellArrays
    compartment: NDArray[np.int64]
    position: NDArray[np.int64]
    kinetics: Kinetics
    initial: InitialStates
    inputs: InputConductances

    def step_tables(self, lengths_ms: Sequence[float]) -> StepTables:
        """Tables for steps of some lengths; see `Kinetics.step_tables`.

        Args:
            lengths_ms: of the steps [ms].
        """
        return self.kinetics.step_tables(lengths_ms, self.arrays.ions)


def lay_out(tree: Tree, membrane: Membrane) -> Layout:
    """The arrays of a cell.

    Args:
        tree: compartments, axial conductances, capacitance, synapses; its leak is not looked at.
        membrane: everything else.
    """
    n = tree.n
    compartment = _sorted_by_membrane(tree, membrane)
    position = np.argsort(compartment)
    rows = RowCollector(tree.area_um2, membrane.ions, position)
    leak, leak_nA = np.zeros(n), np.zeros(n)
    for mechanism in membrane.mechanisms:
        changing = []
        for term in mechanism.terms:
            constant = term.table is None and not term.moves and not np.any(term.powers) and term.ion not in rows.ions
            if constant:
                uS = term.density * tree.area_um2[mechanism.at] * 1e-2
                leak[mechanism.at] += uS
                leak_nA[mechanism.at] += uS * term.e_mV
            else:
                changing.append(term)
        if changing:
            rows.add(Mechanism(**{**vars(mechanism), "terms": tuple(changing)}))
    gate_row, scheme_row = rows.rows()
    ions, inside_mM = _ions(tree, membrane, compartment, position)
    synapses, inputs = _synapses(tree, position)
    arrays = CellArrays(
        soma=int(position[tree.soma]),
        capacitance_nF=tree.capacitance_nF[compartment].astype(np.float32),
        gate_row=gate_row,
        scheme_row=scheme_row,
        axial=_axial(tree, position),
        terms=rows.term_arrays(leak[compartment], leak_nA[compartment]),
        ions=ions,
        synapses=synapses,
    )
    initial = InitialStates(rows.initial_states(), inside_mM)
    return Layout(arrays, compartment, position, rows.kinetics(), initial, inputs)


def _sorted_by_membrane(tree: Tree, membrane: Membrane) -> NDArray[np.int64]:
    """Compartments of the same mechanisms side by side; in it as they were."""
    member: list[list[int]] = [[] for _ in range(tree.n)]
    for k, mechanism in enumerate(membrane.mechanisms):
        if mechanism.gates or mechanism.schemes or any(t.table is not None for t in mechanism.terms):
            for i in mechanism.at:
                member[i].append(k)
    return np.array(sorted(range(tree.n), key=lambda i: (member[i], i)), np.int64)


def _axial(tree: Tree, position: NDArray[np.int64]) -> AxialTree:
    elimination = EliminationOrder.of(tree)
    joints = elimination.compartment < 0
    node = np.where(joints, tree.n - 1 + np.cumsum(joints), position[elimination.compartment])
    parent, axial = np.append(0, node[elimination.parent[1:]]), np.append(0.0, elimination.axial_uS[1:])
    axial_sum = np.zeros(len(node))
    axial_sum[node] = elimination.axial_sum_uS
    return AxialTree(node[::-1].astype(np.uint32), parent[::-1].astype(np.uint32), axial[::-1].copy(), axial_sum)


def _ions(
    tree: Tree, membrane: Membrane, compartment: NDArray[np.int64], position: NDArray[np.int64]
) -> tuple[Ions, Floats]:  # fmt: skip
    """Pools, and inside concentrations at the start."""
    count, n = len(membrane.ions), tree.n
    pool, rate, gain_in, gain_out, rest = (np.zeros((count, n)) for _ in range(5))
    for p in membrane.pools:
        k = [ion.name for ion in membrane.ions].index(p.ion)
        at, per_nA = position[p.at], 1.0 / (tree.area_um2[p.at] * 1e-2)  # a density in mA/cm2 is this times nA
        pool[k, at], rate[k, at], rest[k, at] = 1.0, p.rate_per_ms, p.rest_mM
        gain_in[k, at], gain_out[k, at] = p.gain_in * per_nA, p.gain_out * per_nA
    nernst = np.array([ion.nernst_mV for ion in membrane.ions])
    outside, inside = (
        np.array([getattr(ion, name)[compartment] for ion in membrane.ions]).reshape(count, n)
        for name in ("outside_mM", "inside_mM")
    )
    where = [np.flatnonzero(row) for row in pool]
    start, stop = (np.array([at[k] - k if len(at) else 0 for at in where], np.int64) for k in (0, -1))
    log_outside = np.log(np.maximum(outside, 1e-300))
    return Ions(start, stop, pool.astype(np.bool_), rate, gain_in, gain_out, rest, nernst, log_outside), inside


def _synapses(tree: Tree, position: NDArray[np.int64]) -> tuple[Synapses, InputConductances]:
    """Classes of synaptic conductances, and what each input opens."""
    classes: dict[Conductance, int] = {}
    of_synapse = []
    for synapse in tree.synapses:
        alike = [dataclasses.replace(g, g_max_uS=1.0) for g in synapse.conductances]
        of_synapse.append([classes.setdefault(g, len(classes)) for g in alike])
    synapse_class = np.array([m for k in tree.input_synapse for m in of_synapse[k]], np.int64)
    counts = np.array([len(of_synapse[k]) for k in tree.input_synapse], np.int64)
    input_position = np.repeat(position[tree.input_compartment], counts)
    increment_uS = [
        g.g_max_uS * g.normalisation() * weight
        for k, weight in zip(tree.input_synapse, tree.input_weight, strict=True)
        for g in tree.synapses[k].conductances
    ]
    members = [input_position[synapse_class == m] for m in range(len(classes))]
    start = np.array([m.min() if len(m) else 0 for m in members], np.int64)
    stop = np.array([m.max() + 1 if len(m) else 0 for m in members], np.int64)
    blocked = np.array([bool(g.block) or g.mg_mM > 0 for g in classes], np.bool_)
    block = np.array([g.open_share(V_GRID_MV) for g, b in zip(classes, blocked, strict=True) if b])
    table = np.where(blocked, np.cumsum(blocked) - 1, -1).astype(np.int64)
    rise, decay, e = (np.array([getattr(g, f) for g in classes], np.float64) for f in ("rise_ms", "decay_ms", "e_mV"))
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    open_share = with_changes(block.reshape(-1, len(V_GRID_MV), 1))
    return (
        Synapses(rise, decay, e, np.stack([start, stop, table], 1), open_share),
        InputConductances(first, synapse_class, input_position, np.array(increment_uS)),
    )
