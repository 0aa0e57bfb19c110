"""Rows of gates, schemes and terms, from the mechanisms of a membrane.

A mechanism lies in runs of positions; each run makes one row of each of its gates, schemes and terms, which compiled
loops go through. A gate that gives positive feedback fast is marked to follow the potential within a step (linearly
implicit: Rosenbrock 1963, doi:10.1093/comjnl/5.4.329), and so is every state of a scheme over V.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import (
    PLANE_C_MM,
    PLANE_V_MV,
    V_BIN_MV,
    V_GRID_MV,
    Gate,
    Ion,
    Mechanism,
    Scheme,
    Term,
)
from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import (
    FIXED_E,
    NERNST_E,
    OVER_C,
    OVER_V,
    OVER_VC,
    TABLE_V,
    TABLE_V_LINEAR_C,
    TABLE_VC,
    Rows,
    Single,
    Terms,
)
from dendrotwin.solver.step_tables import Kinetics, level, level_plane

OVER = {"v": OVER_V, "c": OVER_C, "vc": OVER_VC}
# Compartments that a loop does in the time that it takes to begin, measured: shorter gaps in a row are filled.
GAP = 40
# A gate that is slower than the longest step, of 1 ms, cannot give much feedback within it; nor can one that is shut or
# open, where its steady state hardly depends on V.
FEEDBACK_TAU_MS = 1.0
FEEDBACK_STEADY = (0.005, 0.995)


def runs_of(positions: NDArray[np.integer], gap: int = GAP) -> list[tuple[int, int]]:
    """Positions as runs (start, stop); gaps that are cheaper filled than left out are filled.

    Args:
        positions: (m,) rising.
        gap: largest distance of two neighbours in a run.
    """
    if not len(positions):
        return []
    cut = np.flatnonzero(np.diff(positions) > gap)
    starts = positions[np.concatenate([[0], cut + 1])]
    stops = positions[np.concatenate([cut, [len(positions) - 1]])] + 1
    return [(int(a), int(b)) for a, b in zip(starts, stops, strict=True)]


def gives_feedback(gate: Gate, term: Term) -> bool:
    """Whether a gate may give positive feedback within a step: it is fast, and its current moves V on the same way.

    Args:
        gate: of a mechanism.
        term: a current that it gates.
    """
    if gate.over != "v" or not np.any(term.density):
        return False
    partly = (gate.steady > FEEDBACK_STEADY[0]) & (gate.steady < FEEDBACK_STEADY[1]) & (gate.tau_ms < FEEDBACK_TAU_MS)
    if term.table is None:
        drive = V_GRID_MV - np.mean(term.e_mV)
    else:
        table = term.table if term.table.ndim == 1 else term.table[0]
        if table.shape != V_GRID_MV.shape:
            return False
        drive = table * np.sign(np.mean(term.density))
    return bool(np.any(partly & (np.gradient(gate.steady, V_BIN_MV) * drive < 0)))


class _Run(NamedTuple):
    """A run of positions of a mechanism.

    Attributes:
        start, stop: positions.
        member: (m,) which of the mechanism's compartments lie in it.
        at: (m,) where in it.
    """

    start: int
    stop: int
    member: NDArray[np.int64]
    at: NDArray[np.int64]

    def spread(self, values: Floats) -> Floats:
        """(..., stop - start) values of all compartments of the mechanism, 0 in gaps."""
        found = np.zeros((*values.shape[:-1], self.stop - self.start))
        found[..., self.at] = values[..., self.member]
        return found


class _Tables(NamedTuple):
    """Tables of a mechanism: of each gate, the first scheme's, and driving force and table of each term."""

    gates: list[int]
    first_scheme: int
    terms: list[tuple[int, int]]


class RowCollector:
    """Rows while they are collected.

    Args:
        area_um2: (n,) areas of the compartments [um2].
        ions: that have a pool somewhere.
        position: (n,) of each compartment.
    """

    def __init__(self, area_um2: Floats, ions: tuple[Ion, ...], position: NDArray[np.int64]) -> None:
        self.area_um2, self.position = area_um2, position
        self.ions = {ion.name: k for k, ion in enumerate(ions)}
        self.gates: list[tuple[int, ...]] = []
        self.schemes: list[tuple[int, ...]] = []
        self.terms: list[tuple[int, ...]] = []
        self.states: list[list[tuple[int, ...]]] = []
        self.powers: list[list[float]] = []
        self.x: list[Floats] = []
        self.g_max: list[Floats] = []
        self.e_mV: list[Floats] = []
        self.x_length = self.g_length = 0
        self.table_gates: dict[str, list[Gate]] = {"v": [], "c": [], "vc": []}
        self.table_schemes: list[Scheme] = []
        self.coupled_gates: list[int] = []  # of the gates over V
        self.coupled_states: list[tuple[int, int]] = []
        self.tables_v: list[Floats] = []
        self.tables_vc: list[Floats] = []

    def add(self, mechanism: Mechanism) -> None:
        """Collect all rows of a mechanism.

        Args:
            mechanism: of the cell.
        """
        order = np.argsort(self.position[mechanism.at])
        positions = self.position[mechanism.at][order]
        gates = []
        for gate in mechanism.gates:
            self.table_gates[gate.over].append(gate)
            gates.append(len(self.table_gates[gate.over]) - 1)
        tables = _Tables(gates, len(self.table_schemes), [self._term_table(term) for term in mechanism.terms])
        self.table_schemes += mechanism.schemes
        for start, stop in runs_of(positions):
            inside = (positions >= start) & (positions < stop)
            run = _Run(start, stop, order[inside], positions[inside] - start)
            offsets = self._add_states(mechanism, run)
            self._add_gates(mechanism, run, tables, offsets)
            self._add_schemes(mechanism, run, tables, offsets)
            self._add_terms(mechanism, run, tables, offsets)

    def initial_states(self) -> Single:
        """(states,) at the start of a trial."""
        return np.concatenate([np.zeros(0), *self.x]).astype(np.float32)

    def rows(self) -> tuple[Rows, Rows]:
        """(gates, 6) and (schemes, 7) as in `CellArrays`."""
        return _array(self.gates, 6), _array(self.schemes, 7)

    def kinetics(self) -> Kinetics:
        """What tables of steps are made of."""
        v, c, vc = (tuple(self.table_gates[over]) for over in ("v", "c", "vc"))
        return Kinetics(v, c, vc, tuple(self.coupled_gates), tuple(self.table_schemes), tuple(self.coupled_states))

    def term_arrays(self, leak_uS: Floats, leak_nA: Floats) -> Terms:
        """All terms.

        Args:
            leak_uS, leak_nA: (n,) of terms that never change, by position [uS], [nA].
        """
        n, width = len(leak_uS), max([len(powers) for powers in self.powers] + [1])
        state = np.array([[*of, *[(0, -1, 0, 0)] * (width - len(of))] for of in self.states], np.int64)
        power = np.array([[*of, *[0.0] * (width - len(of))] for of in self.powers], np.float32)
        table_vc = np.array(self.tables_vc).reshape(-1, len(PLANE_C_MM), len(PLANE_V_MV), 1)
        g_max, e_mV = (np.concatenate([np.zeros(0), *part]).astype(np.float32) for part in (self.g_max, self.e_mV))
        return Terms(
            row=_array(self.terms, 8),
            state=state.reshape(-1, width, 4),
            power=power.reshape(-1, width),
            g_max=g_max,
            e_mV=e_mV,
            table_v=level(np.array(self.tables_v).reshape(-1, len(V_GRID_MV), 2), -2).astype(np.float32),
            table_vc=level_plane(table_vc, 0)[..., 0].astype(np.float32),
            leak_uS=leak_uS.astype(np.float32),
            leak_nA=leak_nA.astype(np.float32),
            ones=np.ones(n, np.float32),
            zeros=np.zeros(n, np.float32),
        )

    def _term_table(self, term: Term) -> tuple[int, int]:
        """Driving force and table of a term."""
        if term.table is None:
            return (NERNST_E if term.moves else FIXED_E), 0
        if _over_plane(term):
            self.tables_vc.append(term.table)
            return TABLE_VC, len(self.tables_vc) - 1
        both = term.table if term.table.ndim == 2 else np.stack([term.table, np.zeros_like(term.table)])
        self.tables_v.append(both.T)
        return (TABLE_V_LINEAR_C if term.table.ndim == 2 else TABLE_V), len(self.tables_v) - 1

    def _add_states(self, mechanism: Mechanism, run: _Run) -> list[int]:
        """Where each state of the mechanism begins."""
        length, first = run.stop - run.start, self.x_length
        self.x += list(run.spread(mechanism.start))
        self.x_length += length * len(mechanism.states)
        return [first + length * j for j in range(len(mechanism.states))]

    def _add_gates(self, mechanism: Mechanism, run: _Run, tables: _Tables, offsets: list[int]) -> None:
        for j, gate in enumerate(mechanism.gates):
            ion = self.ions.get(gate.ion, -1)
            self.gates.append((run.start, run.stop, offsets[j], OVER[gate.over], tables.gates[j], ion))

    def _add_schemes(self, mechanism: Mechanism, run: _Run, tables: _Tables, offsets: list[int]) -> None:
        j = len(mechanism.gates)
        for k, scheme in enumerate(mechanism.schemes, tables.first_scheme):
            ion = self.ions.get(scheme.ion, -1)
            self.schemes.append((run.start, run.stop, offsets[j], len(scheme.names), OVER[scheme.over], k, ion))
            j += len(scheme.names)

    def _add_terms(self, mechanism: Mechanism, run: _Run, tables: _Tables, offsets: list[int]) -> None:
        area_um2 = self.area_um2[mechanism.at]
        for term, (drive, table) in zip(mechanism.terms, tables.terms, strict=True):
            g_max = run.spread(term.density * area_um2 * 1e-2)  # S/cm2 um2 = 1e-2 uS
            if not g_max.any():
                continue
            fixed = term.table is None and not term.moves
            used = [q for q in range(len(mechanism.states)) if term.powers[q] != 0]
            columns: list[tuple[int, ...]] = [
                (offsets[q], *self._sensitivity(mechanism, term, tables, q, offsets)) for q in used
            ]
            ion, c_ion = self.ions.get(term.ion, -1), self.ions.get(term.c_ion, 0)
            self.terms.append((run.start, run.stop, self.g_length, len(used), drive, table, ion, c_ion))
            self.states.append(columns)
            self.powers.append([float(term.powers[q]) for q in used])
            self.g_max.append(g_max)
            self.e_mV.append(run.spread(term.e_mV) if fixed else np.zeros_like(g_max))
            self.g_length += len(g_max)

    def _sensitivity(
        self, mechanism: Mechanism, term: Term, tables: _Tables, state: int, offsets: list[int]
    ) -> tuple[int, int, int]:
        """Columns STATE_SENSITIVITY, STATE_SCHEME_SIZE and STATE_SCHEME_OFFSET of a state of a term."""
        first = len(mechanism.gates)
        if state < first:
            feeds_back = gives_feedback(mechanism.gates[state], term)
            return (self._coupled_gate(tables.gates[state]) if feeds_back else -1), 0, 0
        for k, scheme in enumerate(mechanism.schemes, tables.first_scheme):
            stop = first + len(scheme.names)
            if state < stop:
                if scheme.over == "v" and not _over_plane(term):
                    return self._coupled_state(k, state - first), len(scheme.names), offsets[first]
                break
            first = stop
        return -1, 0, 0

    def _coupled_gate(self, gate: int) -> int:
        """The table of a gate's sensitivity."""
        if gate not in self.coupled_gates:
            self.coupled_gates.append(gate)
        return self.coupled_gates.index(gate)

    def _coupled_state(self, scheme: int, state: int) -> int:
        """The first entry of the sensitivity of a scheme's state."""
        if (scheme, state) not in self.coupled_states:
            self.coupled_states.append((scheme, state))
        before = self.coupled_states[: self.coupled_states.index((scheme, state))]
        return sum(len(V_GRID_MV) * (len(self.table_schemes[k].names) + 1) for k, _ in before)


def _over_plane(term: Term) -> bool:
    return term.table is not None and term.table.ndim == 2 and term.table.shape[0] == len(PLANE_C_MM)


def _array(rows: list[tuple[int, ...]], width: int) -> Rows:
    return np.array(rows, np.int64).reshape(-1, width)
