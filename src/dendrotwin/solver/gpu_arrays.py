"""A cell, its input and its state as tensors on a GPU, and where the parts of a trial's memory begin.

Names are those of `cell_arrays`. Triton's functions get these tuples whole: of what is in them pointers are made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from dendrotwin.solver import cell_arrays

TILE = 64  # compartments or nodes at a time
WARPS = 2  # as many lanes as a tile has: no two of them do the same compartment

# Columns of the rows; the first three are those of every row.
START, STOP, OFFSET = (tl.constexpr(getattr(cell_arrays, name)) for name in ("START", "STOP", "OFFSET"))
GATE_WIDTH, SCHEME_WIDTH, TERM_WIDTH, STATE_WIDTH, SYNAPSE_WIDTH = (tl.constexpr(k) for k in (6, 7, 8, 5, 3))
SYNAPSE_BLOCK = tl.constexpr(cell_arrays.SYNAPSE_BLOCK)


class Sizes(NamedTuple):
    """How many of each there are; in `CellTensors` as one tensor.

    Attributes:
        n, nodes, ions, classes, rounds, levels: of the cell.
        soma: position of the compartment that makes output spikes.
        states: numbers of gates and schemes.
        term_states: most states of a term.
        gates_v, gates_c, gates_vc, gate_sensitivities: tables for a pair of lengths.
        scheme_entries, sensitivity_entries: of schemes, likewise.
        state_doubles, state_singles: numbers in a state.
        work_doubles, work_singles: numbers in a trial's workspace.
        blocks_per_ms: blocks of the solver in a millisecond.
    """

    n: Any
    nodes: Any
    ions: Any
    classes: Any
    rounds: Any
    levels: Any
    soma: Any
    states: Any
    term_states: Any
    gates_v: Any
    gates_c: Any
    gates_vc: Any
    gate_sensitivities: Any
    scheme_entries: Any
    sensitivity_entries: Any
    state_doubles: Any
    state_singles: Any
    work_doubles: Any
    work_singles: Any
    blocks_per_ms: Any


class CellTensors(NamedTuple):
    """A cell on one device; see `cell_arrays` for what is named as there.

    Nodes are numbered as they are eliminated, the root last.

    Attributes:
        sizes: (len(Sizes),).
        steps_per_ms: (levels,).
        gate_row, scheme_row, term_row: (rows, columns); the table of a scheme is its first entry.
        state: (terms, term_states, 5) of each state of a term, and its power if that is 1 to 4, else 0.
        power: (terms, term_states).
        gate_first, gate_of, scheme_first, scheme_of: (tiles + 1,) where the rows of each tile begin, and the rows.
        term_first, term_of: (tiles * (ions + 1) + 1,) likewise: in each tile the terms of no ion, then of each ion.
        pool_decay, pool_inflow_ms, gain_in, gain_out, rest_mM, log_outside, nernst_mV: of ions.
        synapse_row: (classes, 3).
        synapse_e_mV: (classes,) [mV].
        synapse_ms: (classes, 2) rise and decay [ms].
        synapse_step: (levels, classes, 4) of rise and decay: share of the mean over a step, then what the step keeps.
        node: (n,) of each compartment.
        axial_sum_uS, axial_uS: (nodes,) sum of the axial conductances at a node, and that to its parent [uS].
        round_first, parent, child: (rounds + 1,), (nodes,) neighbours when a node is eliminated; -1 for no child.
    """

    sizes: Any
    steps_per_ms: Any
    gate_row: Any
    scheme_row: Any
    term_row: Any
    state: Any
    power: Any
    gate_first: Any
    gate_of: Any
    scheme_first: Any
    scheme_of: Any
    term_first: Any
    term_of: Any
    gate_v: Any
    gate_c: Any
    gate_vc: Any
    gate_sensitivity: Any
    scheme_matrix: Any
    scheme_sensitivity: Any
    table_v: Any
    table_vc: Any
    block: Any
    g_max: Any
    e_mV: Any
    capacitance_nF: Any
    leak_uS: Any
    leak_nA: Any
    pool_decay: Any
    pool_inflow_ms: Any
    gain_in: Any
    gain_out: Any
    rest_mM: Any
    log_outside: Any
    nernst_mV: Any
    synapse_row: Any
    synapse_e_mV: Any
    synapse_ms: Any
    synapse_step: Any
    node: Any
    axial_sum_uS: Any
    axial_uS: Any
    round_first: Any
    parent: Any
    child: Any


class StimulusTensors(NamedTuple):
    """What drives some trials.

    Attributes:
        first: (trials * blocks + 1,) where the events of each block begin.
        passes: (trials * blocks,) how many events come to one conductance of one compartment, at most.
        event_pass: (events,) how many came there before in this block: no two of a pass add to one number.
        synapse_class, position: (events,).
        after_ms, increment_uS: (events,) time after the start of the block [ms], and what opens [uS].
        electrode_first: (trials + 1,) where the electrodes of each trial begin; one for a position.
        electrode_position: (electrodes,).
        current_nA: (electrodes, blocks) [nA].
    """

    first: Any
    passes: Any
    event_pass: Any
    synapse_class: Any
    position: Any
    after_ms: Any
    increment_uS: Any
    electrode_first: Any
    electrode_position: Any
    current_nA: Any


class WatchTensors(NamedTuple):
    """What is looked at in all trials; see `integrator.state.Watch`.

    Attributes:
        threshold_mV: (1,) that the soma's potential crosses upwards [mV].
        sample_first, sample_ms: (blocks + 1,), (samples,) when there are samples within steps [ms].
        watched: (1,) how many positions are watched.
        watched_position: (watched,) of which V at the end of each block, and samples, are written.
    """

    threshold_mV: Any
    sample_first: Any
    sample_ms: Any
    watched: Any
    watched_position: Any


class OutputTensors(NamedTuple):
    """What comes out of some trials; see `integrator.state.Output`.

    Attributes:
        v_mV: (trials, blocks, watched) at the end of each block [mV].
        peak: (trials, blocks, 2).
        crossing_ms: (trials, blocks, CROSSINGS).
        sample_mV: (trials, samples, watched).
        sample_mM: (trials, samples, ions, watched).
        outside: (trials, blocks, 2) first position whose potential at the end of the block lies outside of the tables
            of the membrane, or is no number, and that potential [mV]; the number of compartments where there is none.
    """

    v_mV: Any
    peak: Any
    crossing_ms: Any
    sample_mV: Any
    sample_mM: Any
    outside: Any


class BatchState(NamedTuple):
    """State of some trials, which goes on, and their workspaces.

    A state is there twice: a step reads the one and writes the other.

    Attributes:
        double: (trials, 2, state_doubles) potentials and concentrations.
        single: (trials, 2, state_singles) gates, G and J of all ionic currents, curvature, rise and decay of synapses.
        current: (trials,) which of the two is the state.
        control: (trials, 4) as in `integrator.state.State`.
        counts: (trials, 2) blocks and steps.
        work_double, work_single: (trials, ...).
    """

    double: Any
    single: Any
    current: Any
    control: Any
    counts: Any
    work_double: Any
    work_single: Any


class StatePointers(NamedTuple):
    """Where the parts of a state begin; see `integrator.state.State`."""

    v: Any
    c: Any
    x: Any
    ionic: Any
    curvature: Any
    rise: Any
    decay: Any


class WorkPointers(NamedTuple):
    """Where the parts of a workspace begin.

    Attributes:
        slope, inward: (n,) of all currents: slope with gating, and what flows in at V; `slope` is then used for
            C / (gamma h).
        synaptic: (classes, n) mean conductances.
        ion_slope, ion_inward: (ions, n) of each ion.
        states: (most states of a scheme, TILE).
        change: (n,) of the potential.
        diagonal, from_parent: (nodes,) of the tree's equations: own, and what has come from parents.
        right, right_from_parent: (nodes,) right side, likewise.
        axial, to_child: (nodes,) conductances to the neighbours of a node when it is eliminated.
    """

    slope: Any
    inward: Any
    synaptic: Any
    ion_slope: Any
    ion_inward: Any
    states: Any
    change: Any
    diagonal: Any
    from_parent: Any
    right: Any
    right_from_parent: Any
    axial: Any
    to_child: Any


class Memory(NamedTuple):
    """Of a step: the state before it, that after it, and the workspace."""

    old: Any
    new: Any
    work: Any


class Tile(NamedTuple):
    """Some compartments that are done at once.

    Attributes:
        number: of the tile.
        i: positions.
        v: potential in single precision.
        v_bin, v_fraction: where it lies on the grid of the tables.
    """

    number: Any
    i: Any
    v: Any
    v_bin: Any
    v_fraction: Any


class Step(NamedTuple):
    """Which step is taken.

    Attributes:
        trial: number of the trial.
        t, blocks: block, and how many there are.
        level, steps_per_ms: of its length.
        s, steps: number of the step in its block, and how many there are.
    """

    trial: Any
    t: Any
    blocks: Any
    level: Any
    steps_per_ms: Any
    s: Any
    steps: Any


@triton.jit
def read_sizes(cell):
    """The `Sizes` of a cell."""
    s = cell.sizes
    return Sizes(
        tl.load(s), tl.load(s + 1), tl.load(s + 2), tl.load(s + 3), tl.load(s + 4), tl.load(s + 5), tl.load(s + 6),
        tl.load(s + 7), tl.load(s + 8), tl.load(s + 9), tl.load(s + 10), tl.load(s + 11), tl.load(s + 12),
        tl.load(s + 13), tl.load(s + 14), tl.load(s + 15), tl.load(s + 16), tl.load(s + 17), tl.load(s + 18),
        tl.load(s + 19),
    )  # fmt: skip


@triton.jit
def state_pointers(batch, sizes, trial, which):
    """One of the two states of a trial."""
    v = batch.double + (2 * trial + which) * sizes.state_doubles
    x = batch.single + (2 * trial + which) * sizes.state_singles
    ionic = x + sizes.states
    curvature = ionic + 2 * sizes.n
    rise = curvature + sizes.n
    return StatePointers(v, v + sizes.n, x, ionic, curvature, rise, rise + sizes.classes * sizes.n)


@triton.jit
def work_pointers(batch, sizes, trial):
    """A trial's workspace."""
    slope, change = batch.work_single + trial * sizes.work_singles, batch.work_double + trial * sizes.work_doubles
    synaptic = slope + 2 * sizes.n
    ion_slope = synaptic + sizes.classes * sizes.n
    ion_inward = ion_slope + sizes.ions * sizes.n
    tree, k = change + sizes.n, sizes.nodes
    return WorkPointers(
        slope, slope + sizes.n, synaptic, ion_slope, ion_inward, ion_inward + sizes.ions * sizes.n, change,
        tree, tree + k, tree + 2 * k, tree + 3 * k, tree + 4 * k, tree + 5 * k,
    )  # fmt: skip


@triton.jit
def covered(row, i):
    """Whether a row covers each compartment, and where its states or conductances of it are."""
    start = tl.load(row + START)
    return (i >= start) & (i < tl.load(row + STOP)), tl.load(row + OFFSET) + i - start
