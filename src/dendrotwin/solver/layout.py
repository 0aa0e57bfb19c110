"""A tree and its membrane as flat arrays, in the order in which the steps of `solver.steps` want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from dendrotwin.cell.membrane import (
    C_GRID_MM,
    PLANE_C_MM,
    PLANE_V_MV,
    SCHEME_V_MV,
    SCHEME_V_STRIDE,
    V_BIN_MV,
    V_GRID_MV,
    Gate,
    Mechanism,
    Membrane,
    Scheme,
    Term,
)
from dendrotwin.cell.tree import Conductance, Floats, Tree
from dendrotwin.solver.tree_solver import Elimination

Single = NDArray[np.float32]
OVER_V, OVER_C, OVER_BOTH = 0, 1, 2
FIXED, NERNST, DRIVE, DRIVE_C, PLANE = 0, 1, 2, 3, 4
# Columns of the rows of a `Net`.
START, STOP, AT = 0, 1, 2
GATE_OVER, GATE_TABLE, GATE_ION = 3, 4, 5
SCHEME_SIZE, SCHEME_OVER, SCHEME_TABLE, SCHEME_ION = 3, 4, 5, 6
TERM_STATES, TERM_KIND, TERM_TABLE, TERM_ION, TERM_C = 3, 4, 5, 6, 7
STATE_X, STATE_LEAD, STATE_SIZE, STATE_FIRST = 0, 1, 2, 3
CLASS_BLOCK = 2
GAP = 40  # compartments that a loop does in the time that it takes to begin: shorter gaps are filled
QUICK_MS = 1.0  # a gate that is faster may run away within a step
PARTLY = (0.005, 0.995)  # where a gate is neither shut nor open


class Branches(NamedTuple):
    """The tree; its nodes are the compartments, in their places, and then the joints.

    Attributes:
        order: (nodes,) every node before its parent.
        parent, axial_uS: (nodes,) of `order`: the parent, and the conductance to it; 0 and 0 of the root.
        joined_uS: (nodes,) sum of the axial conductances at a node.
    """

    order: NDArray[np.uint32]
    parent: NDArray[np.uint32]
    axial_uS: Floats
    joined_uS: Floats


class Terms(NamedTuple):
    """Currents of the membrane.

    Attributes:
        term: (terms, 8) columns START, STOP, AT, TERM_...: TERM_ION is the row of the ion that it carries, if that has
            a pool, else -1; TERM_C that of its table, 0 where there is none.
        state: (terms, most states, 4) columns STATE_...: where the state begins; its lead, or -1 if it has none; and
            of a state of a scheme how many states that has, and where the first of them begins. The lead of a gate is
            counted, that of a scheme's state is its first entry; SIZE of a gate is 0.
        power: (terms, most states).
        size: all densities times area [uS], or [nA] for a table in mA/cm2 (that is um2 / 100).
        e_mV: reversal potentials, as `size`.
        drive: (tables, V_BINS, 2) a and b of a + b c.
        plane: (tables, len(PLANE_C_MM), len(PLANE_V_MV)).
        leak_uS, leak_nA: (n,) of what stands still; the last is leak times its reversal potential.
        one, none: (n,) the slope of a conductance; a concentration that does not count.
    """

    term: NDArray[np.int64]
    state: NDArray[np.int64]
    power: Single
    size: Single
    e_mV: Single
    drive: Single
    plane: Single
    leak_uS: Single
    leak_nA: Single
    one: Single
    none: Single


class Ions(NamedTuple):
    """Concentrations.

    Attributes:
        pool_start, pool_stop: (ions,) where there are pools.
        pool, rate, gain_in, gain_out, rest_mM: (ions, n) whether there is a pool; [1/ms], [mM/ms per nA] of inward and
            of outward current, [mM].
        nernst_mV, log_outside: (ions,), (ions, n).
    """

    pool_start: NDArray[np.int64]
    pool_stop: NDArray[np.int64]
    pool: NDArray[np.bool_]
    rate: Floats
    gain_in: Floats
    gain_out: Floats
    rest_mM: Floats
    nernst_mV: Floats
    log_outside: Floats


class Classes(NamedTuple):
    """Synaptic conductances.

    Attributes:
        rise_ms, decay_ms, e_syn_mV: (classes,) no rise is 0 ms.
        synapse: (classes, 3) columns START, STOP, CLASS_BLOCK; no block is table -1.
        block: (tables, V_BINS, 2) with what it gains to the next place.
    """

    rise_ms: Floats
    decay_ms: Floats
    e_syn_mV: Floats
    synapse: NDArray[np.int64]
    block: Single


class Net(NamedTuple):
    """A cell; compartments sorted so that those of one membrane lie side by side.

    A row of gates, schemes, terms or synapses covers the compartments `START` to `STOP`; its states, or its densities,
    begin at `AT`. Tables are counted for each kind.

    Attributes:
        soma: the compartment that makes output spikes.
        capacitance_nF: (n,).
        gate: (gates, 6) columns START, STOP, AT, GATE_...
        scheme: (schemes, 7) likewise, SCHEME_...
        branches, terms, ions, classes: see there.
    """

    soma: int
    capacitance_nF: Single
    gate: NDArray[np.int64]
    scheme: NDArray[np.int64]
    branches: Branches
    terms: Terms
    ions: Ions
    classes: Classes


class Kinetics(NamedTuple):
    """Tables of the steps of gates and schemes, for every pair of lengths of two steps that follow on each other.

    Attributes:
        over_v: (pairs, tables, V_BINS, 4) steady state, what a step keeps of the distance from it, and what each of
            them gains to the next place of the grid.
        leads: (pairs, leads, V_BINS, 2) what a gate gains for 1 mV by which the potential moves in the very step
            [1/mV], likewise.
        scheme_leads: (pairs, all entries): for each state of a scheme that leads, points of V x (K + 1), one after the
            other: what it gains for 1 mV by each of the K states, and by itself.
        over_c: (pairs, tables, C_BINS, 4) as over V.
        over_both: (pairs, tables, len(PLANE_C_MM), len(PLANE_V_MV), 2).
        schemes: (pairs, all entries): for each scheme table, points x K x (K + 1), one after the other.
        scheme_first: (tables + 1,) where each begins, and where the last one ends.
        pool_less, pool_filled: (lengths, ions, n) share of its distance from rest that a concentration loses in a step,
            and time for which a current counts [ms]; 0 where there is no pool.
    """

    over_v: Single
    leads: Single
    scheme_leads: Single
    over_c: Single
    over_both: Single
    schemes: Single
    scheme_first: NDArray[np.int64]
    pool_less: Floats
    pool_filled: Floats


class Start(NamedTuple):
    """State at the start of a trial, in the order of the net: gates (x,), concentrations (ions, n)."""

    x: Single
    c_mM: Floats


@dataclass(frozen=True, eq=False)
class Layout:
    """A cell laid out.

    Attributes:
        net: its arrays.
        sorted: (n,) compartment at each place.
        back: (n,) place of each compartment.
        gates_v, gates_c, gates_both: the gates that tables are made of.
        leading: which of `gates_v` lead.
        schemes: likewise.
        leading_states: of `schemes`, scheme and state.
        start: at the start of a trial.
        of_input: (inputs + 1,) first conductance of each input, and where those of the last end.
        of_class, place, opens_uS: (K,) of each conductance: its class, the place of its compartment, and what an event
            adds to it.
    """

    net: Net
    sorted: NDArray[np.int64]
    back: NDArray[np.int64]
    gates_v: tuple[Gate, ...]
    gates_c: tuple[Gate, ...]
    gates_both: tuple[Gate, ...]
    leading: tuple[int, ...]
    schemes: tuple[Scheme, ...]
    leading_states: tuple[tuple[int, int], ...]
    start: Start
    of_input: NDArray[np.int64]
    of_class: NDArray[np.int64]
    place: NDArray[np.int64]
    opens_uS: Floats

    def kinetics(self, lengths_ms: Sequence[float]) -> Kinetics:
        """Tables for steps of these lengths; pair (i, j), a step j after a step i, is i * len(lengths_ms) + j.

        A gate goes from the middle of the one step to the middle of the other at the potential between them.
        """
        pairs = [(before / 2, after / 2) for before in lengths_ms for after in lengths_ms]
        v = [[_gate(gate, sum(pair)) for gate in self.gates_v] for pair in pairs]
        leads = [[_lead(self.gates_v[k], *pair)[:, None] for k in self.leading] for pair in pairs]
        c = [[_gate(gate, sum(pair)) for gate in self.gates_c] for pair in pairs]
        both = [[_gate(gate, sum(pair)) for gate in self.gates_both] for pair in pairs]
        schemes, ahead = self._schemes(pairs)
        sizes = [s.inflow.size * (len(s.names) + 1) for s in self.schemes]
        first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        count, rate = len(pairs), self.net.ions.rate
        less = np.array([-np.expm1(-h * rate) for h in lengths_ms])
        with np.errstate(invalid="ignore"):
            filled = np.array([np.where(rate > 0, part / rate, h) for part, h in zip(less, lengths_ms, strict=True)])
        return Kinetics(
            _with_gain(np.array(v).reshape(count, len(self.gates_v), len(V_GRID_MV), 2)),
            _with_gain(np.array(leads).reshape(count, len(self.leading), len(V_GRID_MV), 1)),
            ahead,
            _with_gain(np.array(c).reshape(count, len(self.gates_c), len(C_GRID_MM), 2)),
            np.array(both, np.float32).reshape(count, len(self.gates_both), len(PLANE_C_MM), len(PLANE_V_MV), 2),
            schemes,
            first,
            less * self.net.ions.pool,
            filled * self.net.ions.pool,
        )

    def _schemes(self, pairs: Sequence[tuple[float, float]]) -> tuple[Single, Single]:
        """Steps and leads of schemes, (pairs, all entries) each."""
        leading = [[q for of, q in self.leading_states if of == k] for k in range(len(self.schemes))]
        # Exponentials, which take long, only once for each sum of lengths.
        sums = {sum(pair): [np.zeros(0)] for pair in pairs}
        rows: dict[tuple[float, int, int], Floats] = {}
        for length in sums:
            for k, scheme in enumerate(self.schemes):
                step, of_states = _scheme(scheme, leading[k], length)
                sums[length].append(step.ravel())
                rows |= {(length, k, q): of_states[:, n] for n, q in enumerate(leading[k])}
        leads = [
            [_scheme_lead(self.schemes[k], rows[sum(pair), k, q], *pair).ravel() for k, q in self.leading_states]
            for pair in pairs
        ]
        return (
            np.array([np.concatenate(sums[sum(pair)]) for pair in pairs], np.float32),
            np.array([np.concatenate([np.zeros(0), *of]) for of in leads], np.float32),
        )


def _gate(gate: Gate, length_ms: float) -> Floats:
    return np.stack([gate.steady, np.exp(-length_ms / gate.tau_ms)], -1)


def _with_gain(table: Floats) -> Single:
    """(..., points, columns) with what each column gains to the next point beside it."""
    gain = np.diff(table, axis=-2, append=table[..., -1:, :])
    return np.concatenate([table, gain], -1).astype(np.float32)


def _lead(gate: Gate, before_ms: float, after_ms: float) -> Floats:
    """(V_BINS,) what a gate gains for 1 mV by which V moves in the step after.

    While V moves evenly, by D over the step and as fast before it, the gate in the middle of the step is by
    steady' D / (2 after) (after - tau + (before + tau) keep) further on than it would be at the V between.
    """
    keep = np.exp(-(before_ms + after_ms) / gate.tau_ms)
    with np.errstate(invalid="ignore"):
        further = (after_ms - gate.tau_ms + (before_ms + gate.tau_ms) * keep) / (2 * after_ms)
    return np.where(np.isfinite(further), np.gradient(gate.steady, V_BIN_MV) * further, 0.0)


def _with_inflow(scheme: Scheme) -> Floats:
    """(points, K + 1, K + 1) rates of the states, and of 1, which flows in [1/ms]."""
    k = len(scheme.names)
    whole = np.zeros((scheme.inflow.size // k, k + 1, k + 1))
    whole[:, :k, :k], whole[:, :k, k] = scheme.rates.reshape(-1, k, k), scheme.inflow.reshape(-1, k)
    return whole


def _scheme(scheme: Scheme, leading: Sequence[int], length_ms: float) -> tuple[Floats, Floats]:
    """(points, K, K + 1) a step of the states: a matrix, and what flows in.

    And, (points, leading, 2, K + 1), the row of each state that leads in the matrix of a step of w, as an integral over
    w from 0 to the length; and the integral of (length - w) times it.
    """
    whole = _with_inflow(scheme)
    points, k, _ = whole.shape
    wide = np.zeros((points, *[k + 2 * len(leading)] * 2))
    wide[:, :k, :k] = whole.transpose(0, 2, 1)
    for column, state in zip(range(k, wide.shape[-1], 2), leading, strict=True):
        wide[:, state, column] = wide[:, column, column + 1] = 1.0
    found = np.asarray(expm(length_ms * wide).transpose(0, 2, 1)[:, :, :k], dtype=np.float64)
    return found[:, : k - 1], found[:, k:].reshape(points, len(leading), 2, k)


def _scheme_lead(scheme: Scheme, rows: Floats, before_ms: float, after_ms: float) -> Floats:
    """(points, K + 1) what a state gains for 1 mV by which V moves in the step after, by each state and by itself.

    While V moves evenly, by D over the step and as fast before it, the rates Q change by Q' D u / (2 after) at the time
    u from its start. By the middle of the step the states z, with 1 for what flows in, are further on by

        D / (2 after) integral of u exp((after - u) Q) Q' z from -before to after,

    where z, which hardly moves meanwhile, is that of the middle of the step. Of two steady states this is `_lead`.

    Args:
        scheme: over V.
        rows: (points, 2, K + 1) of the state, from `_scheme`.
        before_ms, after_ms: half of each step.
    """
    row = (rows[:, 1] - before_ms * rows[:, 0]) / (2 * after_ms)
    slope = np.gradient(_with_inflow(scheme), V_BIN_MV * SCHEME_V_STRIDE, axis=0)
    return np.asarray(np.einsum("nk,nkl->nl", row, slope))


def runs_of(places: NDArray[np.integer], gap: int = GAP) -> list[tuple[int, int]]:
    """Places (sorted) as runs (start, stop); gaps that are cheaper filled than left out are filled."""
    if not len(places):
        return []
    cut = np.flatnonzero(np.diff(places) > gap)
    starts = places[np.concatenate([[0], cut + 1])]
    stops = places[np.concatenate([cut, [len(places) - 1]])] + 1
    return [(int(a), int(b)) for a, b in zip(starts, stops, strict=True)]


def leads(gate: Gate, term: Term) -> bool:
    """Whether a gate may run away within a step: it is quick, and what it does moves V on in the same direction."""
    if gate.over != "v" or not np.any(term.density):
        return False
    partly = (gate.steady > PARTLY[0]) & (gate.steady < PARTLY[1]) & (gate.tau_ms < QUICK_MS)
    if term.table is None:
        drive = V_GRID_MV - np.mean(term.e_mV)
    else:
        table = term.table if term.table.ndim == 1 else term.table[0]
        if table.shape != V_GRID_MV.shape:
            return False
        drive = table * np.sign(np.mean(term.density))
    return bool(np.any(partly & (np.gradient(gate.steady, V_BIN_MV) * drive < 0)))


class _Rows:
    """Rows of gates, schemes and terms while they are collected."""

    def __init__(self, tree: Tree, membrane: Membrane, back: NDArray[np.int64]) -> None:
        self.tree, self.back = tree, back
        self.ions = {ion.name: k for k, ion in enumerate(membrane.ions)}
        self.gates: list[tuple[int, ...]] = []
        self.schemes: list[tuple[int, ...]] = []
        self.terms: list[tuple[int, ...]] = []
        self.states: list[list[tuple[int, ...]]] = []
        self.powers: list[list[float]] = []
        self.x: list[Floats] = []
        self.size: list[Floats] = []
        self.e: list[Floats] = []
        self.x_at = self.size_at = 0
        self.leading: list[int] = []  # gates over V
        self.of_gates: dict[str, list[Gate]] = {"v": [], "c": [], "vc": []}
        self.of_schemes: list[Scheme] = []
        self.leading_states: list[tuple[int, int]] = []  # of schemes
        self.drives: list[Floats] = []
        self.planes: list[Floats] = []

    def add(self, mechanism: Mechanism) -> None:
        """All rows of a mechanism."""
        where = np.argsort(self.back[mechanism.at])
        places = self.back[mechanism.at][where]
        tables = []
        for gate in mechanism.gates:
            self.of_gates[gate.over].append(gate)
            tables.append(len(self.of_gates[gate.over]) - 1)
        first_scheme = len(self.of_schemes)
        self.of_schemes += mechanism.schemes
        term_tables = [self._table(term) for term in mechanism.terms]
        for start, stop in runs_of(places):
            inside = (places >= start) & (places < stop)
            member, at = where[inside], places[inside] - start
            self._states(mechanism, tables, first_scheme, start, stop, member, at, term_tables)

    def _leading(self, gate: int) -> int:
        """The lead of a gate."""
        if gate not in self.leading:
            self.leading.append(gate)
        return self.leading.index(gate)

    def _leading_state(self, scheme: int, state: int) -> int:
        """The first entry of the lead of a scheme's state."""
        if (scheme, state) not in self.leading_states:
            self.leading_states.append((scheme, state))
        before = self.leading_states[: self.leading_states.index((scheme, state))]
        return sum(len(SCHEME_V_MV) * (len(self.of_schemes[k].names) + 1) for k, _ in before)

    def _table(self, term: Term) -> tuple[int, int]:
        """Kind and table of a term."""
        if term.table is None:
            return (NERNST if term.moves else FIXED), 0
        if term.table.ndim == 2 and term.table.shape[0] == len(PLANE_C_MM):
            self.planes.append(term.table)
            return PLANE, len(self.planes) - 1
        both = term.table if term.table.ndim == 2 else np.stack([term.table, np.zeros_like(term.table)])
        self.drives.append(both.T)
        return (DRIVE_C if term.table.ndim == 2 else DRIVE), len(self.drives) - 1

    def _states(
        self, mechanism: Mechanism, tables: list[int], first_scheme: int, start: int, stop: int,
        member: NDArray[np.int64], at: NDArray[np.int64], term_tables: list[tuple[int, int]],
    ) -> None:  # fmt: skip
        length, offsets = stop - start, []
        over = {"v": OVER_V, "c": OVER_C, "vc": OVER_BOTH}
        begin = np.zeros((len(mechanism.states), length))
        begin[:, at] = mechanism.start[:, member]
        for j in range(len(mechanism.states)):
            offsets.append(self.x_at)
            self.x.append(begin[j])
            self.x_at += length
        for j, gate in enumerate(mechanism.gates):
            ion = self.ions.get(gate.ion, -1)
            self.gates.append((start, stop, offsets[j], over[gate.over], tables[j], ion))
        j = len(mechanism.gates)
        of_scheme: dict[int, tuple[int, int]] = {}  # of a state over V, its scheme and the first state of that
        for k, scheme in enumerate(mechanism.schemes):
            if scheme.over == "v":
                of_scheme |= dict.fromkeys(range(j, j + len(scheme.names)), (first_scheme + k, j))
            ion = self.ions.get(scheme.ion, -1)
            self.schemes.append((start, stop, offsets[j], len(scheme.names), over[scheme.over], first_scheme + k, ion))
            j += len(scheme.names)
        for term, (kind, table) in zip(mechanism.terms, term_tables, strict=True):
            size, e = np.zeros(length), np.zeros(length)
            size[at] = term.density[member] * self.tree.area_um2[mechanism.at[member]] * 1e-2
            e[at] = term.e_mV[member] if term.table is None and not term.moves else 0.0
            if not size.any():
                continue
            used = [k for k in range(len(mechanism.states)) if term.powers[k] != 0]
            columns: list[tuple[int, ...]] = []
            for q in used:
                if q < len(tables) and leads(mechanism.gates[q], term):
                    columns.append((offsets[q], self._leading(tables[q]), 0, 0))
                elif q in of_scheme and kind != PLANE:
                    which, first = of_scheme[q]
                    lead = self._leading_state(which, q - first)
                    columns.append((offsets[q], lead, len(self.of_schemes[which].names), offsets[first]))
                else:
                    columns.append((offsets[q], -1, 0, 0))
            ion, c_ion = self.ions.get(term.ion, -1), self.ions.get(term.c_ion, 0)
            self.terms.append((start, stop, self.size_at, len(used), kind, table, ion, c_ion))
            self.states.append(columns)
            self.powers.append([float(term.powers[k]) for k in used])
            self.size.append(size)
            self.e.append(e)
            self.size_at += length


def _table(rows: list[tuple[int, ...]], width: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, width)


def _sorted_by_membrane(tree: Tree, membrane: Membrane) -> NDArray[np.int64]:
    """Compartments of the same mechanisms side by side; in it as they were."""
    member: list[list[int]] = [[] for _ in range(tree.n)]
    for k, mechanism in enumerate(membrane.mechanisms):
        if mechanism.gates or mechanism.schemes or any(t.table is not None for t in mechanism.terms):
            for i in mechanism.at:
                member[i].append(k)
    return np.array(sorted(range(tree.n), key=lambda i: (member[i], i)), np.int64)


def lay_out(tree: Tree, membrane: Membrane) -> Layout:
    """The arrays of a cell.

    Args:
        tree: compartments, axial conductances, capacitance, synapses; its leak is not looked at.
        membrane: everything else.
    """
    n = tree.n
    order = _sorted_by_membrane(tree, membrane)
    back = np.argsort(order)
    rows = _Rows(tree, membrane, back)
    leak, leak_nA = np.zeros(n), np.zeros(n)
    for mechanism in membrane.mechanisms:
        moving = []
        for term in mechanism.terms:
            fixed = term.table is None and not term.moves and not np.any(term.powers) and term.ion not in rows.ions
            if fixed:  # a conductance that stands still
                uS = term.density * tree.area_um2[mechanism.at] * 1e-2
                leak[mechanism.at] += uS
                leak_nA[mechanism.at] += uS * term.e_mV
            else:
                moving.append(term)
        if moving:
            rows.add(Mechanism(**{**vars(mechanism), "terms": tuple(moving)}))
    width = max([len(powers) for powers in rows.powers] + [1])
    state = np.array([[*of, *[(0, -1, 0, 0)] * (width - len(of))] for of in rows.states], np.int64)
    state = state.reshape(-1, width, 4)
    power = np.array([[*of, *[0.0] * (width - len(of))] for of in rows.powers], np.float32).reshape(-1, width)
    ions, inside = _ions(tree, membrane, order, back)
    classes, of = _synapses(tree, back)
    flat = [np.concatenate([np.zeros(0), *part]) for part in (rows.size, rows.e, rows.x)]
    drive = np.array(rows.drives, np.float32).reshape(-1, len(V_GRID_MV), 2)
    plane = np.array(rows.planes, np.float32).reshape(-1, len(PLANE_C_MM), len(PLANE_V_MV))
    net = Net(
        int(back[tree.soma]),
        tree.capacitance_nF[order].astype(np.float32),
        _table(rows.gates, 6),
        _table(rows.schemes, 7),
        _branches(tree, back),
        Terms(
            _table(rows.terms, 8), state, power, flat[0].astype(np.float32), flat[1].astype(np.float32), drive, plane,
            leak[order].astype(np.float32), leak_nA[order].astype(np.float32), np.ones(n, np.float32),
            np.zeros(n, np.float32),
        ),
        ions,
        classes,
    )  # fmt: skip
    start = Start(flat[2].astype(np.float32), inside)
    v, c, both = (tuple(rows.of_gates[over]) for over in ("v", "c", "vc"))
    leading, schemes, leading_states = tuple(rows.leading), tuple(rows.of_schemes), tuple(rows.leading_states)
    return Layout(net, order, back, v, c, both, leading, schemes, leading_states, start, *of)


def _branches(tree: Tree, back: NDArray[np.int64]) -> Branches:
    elimination = Elimination.of(tree)
    joints = elimination.compartment < 0
    node = np.where(joints, tree.n - 1 + np.cumsum(joints), back[elimination.compartment])
    parent, axial = np.append(0, node[elimination.parent[1:]]), np.append(0.0, elimination.axial_uS[1:])
    joined = np.zeros(len(node))
    joined[node] = elimination.joined_uS
    return Branches(node[::-1].astype(np.uint32), parent[::-1].astype(np.uint32), axial[::-1].copy(), joined)


def _ions(
    tree: Tree, membrane: Membrane, order: NDArray[np.int64], back: NDArray[np.int64]
) -> tuple[Ions, Floats]:  # fmt: skip
    """Pools, and inside concentrations at the start."""
    count, n = len(membrane.ions), tree.n
    pool, rate, gain_in, gain_out, rest = (np.zeros((count, n)) for _ in range(5))
    for p in membrane.pools:
        k = [ion.name for ion in membrane.ions].index(p.ion)
        at, per_nA = back[p.at], 1.0 / (tree.area_um2[p.at] * 1e-2)  # a density in mA/cm2 is this times nA
        pool[k, at], rate[k, at], rest[k, at] = 1.0, p.rate_per_ms, p.rest_mM
        gain_in[k, at], gain_out[k, at] = p.gain_in * per_nA, p.gain_out * per_nA
    nernst = np.array([ion.nernst_mV for ion in membrane.ions])
    outside, inside = (
        np.array([getattr(ion, name)[order] for ion in membrane.ions]).reshape(count, n)
        for name in ("outside_mM", "inside_mM")
    )
    where = [np.flatnonzero(row) for row in pool]
    start, stop = (np.array([at[k] - k if len(at) else 0 for at in where], np.int64) for k in (0, -1))
    log_outside = np.log(np.maximum(outside, 1e-300))
    return Ions(start, stop, pool.astype(np.bool_), rate, gain_in, gain_out, rest, nernst, log_outside), inside


def _synapses(tree: Tree, back: NDArray[np.int64]) -> tuple[Classes, list[NDArray[Any]]]:
    """Classes of synaptic conductances, and what each input opens (see `Net` and `Layout`)."""
    classes: dict[Conductance, int] = {}
    kinds = []
    for synapse in tree.synapses:
        alike = [dataclasses.replace(g, g_max_uS=1.0) for g in synapse.conductances]
        kinds.append([classes.setdefault(g, len(classes)) for g in alike])
    of_class = np.array([m for kind in tree.input_synapse for m in kinds[kind]], np.int64)
    counts = np.array([len(kinds[kind]) for kind in tree.input_synapse], np.int64)
    place = np.repeat(back[tree.input_compartment], counts)
    opens = [
        g.g_max_uS * g.normalisation() * weight
        for kind, weight in zip(tree.input_synapse, tree.input_weight, strict=True)
        for g in tree.synapses[kind].conductances
    ]
    members = [place[of_class == m] for m in range(len(classes))]
    start = np.array([m.min() if len(m) else 0 for m in members], np.int64)
    stop = np.array([m.max() + 1 if len(m) else 0 for m in members], np.int64)
    blocked = np.array([bool(g.block) or g.mg_mM > 0 for g in classes], np.bool_)
    block = np.array([g.open_share(V_GRID_MV) for g, b in zip(classes, blocked, strict=True) if b])
    table = np.where(blocked, np.cumsum(blocked) - 1, -1).astype(np.int64)
    rise, decay, e = (np.array([getattr(g, f) for g in classes], np.float64) for f in ("rise_ms", "decay_ms", "e_mV"))
    of_input = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    gained = _with_gain(block.reshape(-1, len(V_GRID_MV), 1))
    made = Classes(rise, decay, e, np.stack([start, stop, table], 1), gained)
    return made, [of_input, of_class, place, np.array(opens)]
