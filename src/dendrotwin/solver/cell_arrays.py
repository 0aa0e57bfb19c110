"""A cell as flat arrays, which compiled loops run over.

Compartments are sorted so that those of one membrane lie side by side: the *position* of a compartment is where it lies
then. A row of gates, schemes, terms or synapses covers the compartments at the positions `START` to `STOP`; its states,
or its maximal conductances, begin at `OFFSET` of one long array. The equations that these arrays belong to are in
`dendrotwin.solver.integrator`; they are solved in the order of Hines 1984 (doi:10.1016/0020-7101(84)90008-4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats

Single = NDArray[np.float32]
Bins = NDArray[np.uint32]
Rows = NDArray[np.int64]

# What the table of a gate or a scheme is over: potential, concentration, or both.
OVER_V, OVER_C, OVER_VC = 0, 1, 2
# Driving force of a term: V - E with a fixed E, V - E with the Nernst potential of its ion, a table over V, a table
# a + b c over V, and a table over c and V.
FIXED_E, NERNST_E, TABLE_V, TABLE_V_LINEAR_C, TABLE_VC = 0, 1, 2, 3, 4
# Columns of the rows; the first three are those of every row.
START, STOP, OFFSET = 0, 1, 2
GATE_OVER, GATE_TABLE, GATE_ION = 3, 4, 5
SCHEME_SIZE, SCHEME_OVER, SCHEME_TABLE, SCHEME_ION = 3, 4, 5, 6
TERM_STATES, TERM_DRIVE, TERM_TABLE, TERM_ION, TERM_C_ION = 3, 4, 5, 6, 7
SYNAPSE_BLOCK = 2  # densities of synapses are no part of the cell, so that they have no OFFSET
STATE_OFFSET, STATE_SENSITIVITY, STATE_SCHEME_SIZE, STATE_SCHEME_OFFSET = 0, 1, 2, 3


class AxialTree(NamedTuple):
    """The tree; its nodes are the compartments, in their positions, and then the joints.

    Attributes:
        order: (nodes,) every node before its parent.
        parent, axial_uS: (nodes,) of `order`: the parent, and the conductance to it [uS]; 0 and 0 of the root.
        axial_sum_uS: (nodes,) sum of the axial conductances at a node [uS].
    """

    order: Bins
    parent: Bins
    axial_uS: Floats
    axial_sum_uS: Floats


class Terms(NamedTuple):
    """Ionic currents: g_max prod(x^power) times a driving force (see `cell.membrane.Term`).

    Attributes:
        row: (terms, 8) columns START, STOP, OFFSET, TERM_...: how many states it has; its driving force; its table; the
            ion that it carries, if that has a pool, else -1; and the ion of its table, 0 where there is none.
        state: (terms, most states, 4) columns STATE_...: where the state begins; the table of its sensitivity to V, or
            -1 where that is left out; and of a state of a scheme how many states that has, and where the first of them
            begins. Sensitivities of gates are counted, that of a scheme's state is given by its first entry. The
            scheme's size is 0 of a gate.
        power: (terms, most states).
        g_max: (sum over rows,) densities times area [uS], or [nA] for a table in mA/cm2 (that is um2 / 100).
        e_mV: (sum over rows,) fixed reversal potentials [mV].
        table_v: (tables, V_BINS, 2) a and b of a + b c.
        table_vc: (tables, len(PLANE_C_MM), len(PLANE_V_MV)).
        leak_uS, leak_nA: (n,) of all terms that never change [uS], and that times their reversal potential [nA].
        ones, zeros: (n,) the slope of an ohmic term, and a concentration that does not count.
    """

    row: Rows
    state: Rows
    power: Single
    g_max: Single
    e_mV: Single
    table_v: Single
    table_vc: Single
    leak_uS: Single
    leak_nA: Single
    ones: Single
    zeros: Single


class Ions(NamedTuple):
    """Concentrations: c' = (rest - c) rate + gain I.

    Attributes:
        pool_start, pool_stop: (ions,) positions from the first pool to the last.
        has_pool: (ions, n).
        rate_per_ms: (ions, n) [1/ms].
        gain_in, gain_out: (ions, n) of an inward and of an outward current [mM/ms per nA].
        rest_mM: (ions, n) [mM].
        nernst_mV: (ions,) RT / zF [mV].
        log_outside: (ions, n) natural logarithm of the concentration outside in mM.
    """

    pool_start: Rows
    pool_stop: Rows
    has_pool: NDArray[np.bool_]
    rate_per_ms: Floats
    gain_in: Floats
    gain_out: Floats
    rest_mM: Floats
    nernst_mV: Floats
    log_outside: Floats


class Synapses(NamedTuple):
    """Classes of synaptic conductances: all that differ in nothing but their weights are one class.

    Attributes:
        rise_ms, decay_ms: (classes,) time constants [ms]; a single exponential has a rise of 0.
        e_mV: (classes,) reversal potential [mV].
        row: (classes, 3) columns START, STOP, SYNAPSE_BLOCK; without a voltage-dependent block the table is -1.
        block: (tables, V_BINS, 2) share that is open, and how much it changes to the next point.
    """

    rise_ms: Floats
    decay_ms: Floats
    e_mV: Floats
    row: Rows
    block: Single


class CellArrays(NamedTuple):
    """A cell. Tables are counted for each of what they are over.

    Attributes:
        soma: position of the compartment that makes output spikes.
        capacitance_nF: (n,) [nF].
        gate_row: (gates, 6) columns START, STOP, OFFSET, GATE_...: what its table is over, the table, the ion or -1.
        scheme_row: (schemes, 7) columns START, STOP, OFFSET, SCHEME_...: states, what its table is over, the table, the
            ion or -1.
        axial, terms, ions, synapses: see there.
    """

    soma: int
    capacitance_nF: Single
    gate_row: Rows
    scheme_row: Rows
    axial: AxialTree
    terms: Terms
    ions: Ions
    synapses: Synapses


class StepTables(NamedTuple):
    """What a step does to gates, schemes and pools, for every pair of lengths of two steps that follow on each other.

    Gates and schemes go from the middle of the one step to the middle of the other. Points of a table hold values, and
    those that are interpolated in one dimension then how much each value changes to the next point.

    Attributes:
        gate_v: (pairs, tables, V_BINS, 4) steady state, share of the distance from it that a step leaves, and their
            changes.
        gate_c: (pairs, tables, C_BINS, 4) likewise over a concentration.
        gate_vc: (pairs, tables, len(PLANE_C_MM), len(PLANE_V_MV), 2) likewise over both, without changes.
        gate_sensitivity: (pairs, tables, V_BINS, 2) dx/dV: how much a gate is further on for each mV by which the
            potential moves in the very step [1/mV], and its change.
        scheme_matrix: (pairs, all entries): for each table points x K x (K + 1), one after the other: a matrix of the K
            states, and what flows in.
        scheme_first: (tables + 1,) where each begins, and where the last one ends.
        scheme_sensitivity: (pairs, all entries): for each state that has one, points of V x (K + 1), one after the
            other: dx/dV for each of the K states as it is, and by itself [1/mV].
        pool_decay: (lengths, ions, n) share of its distance from rest that a concentration loses in a step.
        pool_inflow_ms: (lengths, ions, n) time for which a current counts [ms]; 0 where there is no pool.
    """

    gate_v: Single
    gate_c: Single
    gate_vc: Single
    gate_sensitivity: Single
    scheme_matrix: Single
    scheme_first: Rows
    scheme_sensitivity: Single
    pool_decay: Floats
    pool_inflow_ms: Floats


class InitialStates(NamedTuple):
    """States at the start of a trial.

    Attributes:
        x: (states,) gates and schemes.
        c_mM: (ions, n) concentrations inside [mM].
    """

    x: Single
    c_mM: Floats


class InputConductances(NamedTuple):
    """The conductances of all inputs, one after the other: K of them.

    Attributes:
        first: (inputs + 1,) where those of each input begin, and where those of the last one end.
        synapse_class: (K,) row of `Synapses`.
        position: (K,) of the compartment.
        increment_uS: (K,) what an event adds to both exponentials [uS].
    """

    first: Rows
    synapse_class: Rows
    position: Rows
    increment_uS: Floats
