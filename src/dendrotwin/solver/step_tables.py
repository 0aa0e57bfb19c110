"""Tables of what a step does to gates, kinetic schemes and concentrations, for all pairs of lengths of steps.

Gates and schemes go from the middle of one step to the middle of the next, exactly, at the potential between them
(Hines 1984, doi:10.1016/0020-7101(84)90008-4), so that a table belongs to the two lengths, of which each counts half.
Steps of a scheme bend more than its rates do, where fast states follow the potential as powers of exponentials, so
that they are made at every point of the grid; between the points at which rates are known these are cubic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from dendrotwin.cell.membrane import (
    BOTH_V_MV,
    C_GRID_MM,
    PLANE_C_MM,
    PLANE_V_MV,
    SCHEME_C_STRIDE,
    SCHEME_V_STRIDE,
    V_BIN_MV,
    V_GRID_MV,
    Gate,
    Scheme,
)
from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import Ions, Single, StepTables


@dataclass(frozen=True, eq=False)
class Kinetics:
    """The gates and schemes that tables are made of, in the order in which rows count them.

    Attributes:
        gates_v, gates_c, gates_vc: gates over V, over a concentration, and over both.
        coupled_gates: which of `gates_v` follow the potential within a step, and so have a sensitivity.
        schemes: kinetic schemes.
        coupled_states: of `schemes`, scheme and state of those that have one.
    """

    gates_v: tuple[Gate, ...]
    gates_c: tuple[Gate, ...]
    gates_vc: tuple[Gate, ...]
    coupled_gates: tuple[int, ...]
    schemes: tuple[Scheme, ...]
    coupled_states: tuple[tuple[int, int], ...]

    def step_tables(self, lengths_ms: Sequence[float], ions: Ions) -> StepTables:
        """Tables for steps of some lengths; pair (i, j), a step j after a step i, is i * len(lengths_ms) + j.

        Args:
            lengths_ms: of the steps [ms].
            ions: pools of the cell.
        """
        pairs = [(before / 2, after / 2) for before in lengths_ms for after in lengths_ms]
        v = [[_gate_step(gate, sum(pair)) for gate in self.gates_v] for pair in pairs]
        c = [[_gate_step(gate, sum(pair)) for gate in self.gates_c] for pair in pairs]
        vc = [[_gate_step(gate, sum(pair)) for gate in self.gates_vc] for pair in pairs]
        of_gates = [[gate_sensitivity(self.gates_v[k], *pair)[:, None] for k in self.coupled_gates] for pair in pairs]
        schemes, of_schemes = self._scheme_tables(pairs)
        sizes = [_points(s) * len(s.names) * (len(s.names) + 1) for s in self.schemes]
        count, rate = len(pairs), ions.rate_per_ms
        decay = np.array([-np.expm1(-h * rate) for h in lengths_ms])
        with np.errstate(invalid="ignore"):
            inflow = np.array([np.where(rate > 0, part / rate, h) for part, h in zip(decay, lengths_ms, strict=True)])
        return StepTables(
            gate_v=with_changes(np.array(v).reshape(count, len(self.gates_v), len(V_GRID_MV), 2)),
            gate_c=with_changes(np.array(c).reshape(count, len(self.gates_c), len(C_GRID_MM), 2)),
            gate_vc=level_plane(
                np.array(vc).reshape(count, len(self.gates_vc), len(PLANE_C_MM), len(PLANE_V_MV), 2), 0
            ).astype(np.float32),
            gate_sensitivity=with_changes(
                np.array(of_gates).reshape(count, len(self.coupled_gates), len(V_GRID_MV), 1)
            ),
            scheme_matrix=schemes,
            scheme_first=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            scheme_sensitivity=of_schemes,
            pool_decay=decay * ions.has_pool,
            pool_inflow_ms=inflow * ions.has_pool,
        )

    def _scheme_tables(self, pairs: Sequence[tuple[float, float]]) -> tuple[Single, Single]:
        """Steps and sensitivities of schemes, (pairs, all entries) each."""
        coupled = [[q for of, q in self.coupled_states if of == k] for k in range(len(self.schemes))]
        # Exponentials, which take long, only once for each sum of lengths.
        steps = {sum(pair): [np.zeros(0)] for pair in pairs}
        integrals: dict[tuple[float, int, int], Floats] = {}
        for length in steps:
            for k, scheme in enumerate(self.schemes):
                step, of_states = scheme_step(scheme, coupled[k], length)
                if scheme.over == "vc":
                    steps[length].append(level_plane(step.reshape(-1, len(BOTH_V_MV), *step.shape[1:]), 1).ravel())
                else:
                    steps[length].append(level(step, 0, 2).ravel())
                integrals |= {(length, k, q): of_states[:, n] for n, q in enumerate(coupled[k])}
        sensitivities = [
            [
                scheme_sensitivity(self.schemes[k], integrals[sum(pair), k, q], *pair).ravel()
                for k, q in self.coupled_states
            ]
            for pair in pairs
        ]
        return (
            np.array([np.concatenate(steps[sum(pair)]) for pair in pairs], np.float32),
            np.array([np.concatenate([np.zeros(0), *of]) for of in sensitivities], np.float32),
        )


def _points(scheme: Scheme) -> int:
    """How many points the table of a scheme's steps has."""
    return {"v": len(V_GRID_MV), "c": len(C_GRID_MM)}.get(scheme.over, scheme.inflow.size // len(scheme.names))


def _bend(f: Floats, together: int) -> Floats:
    """Second differences of a table along its first axis; 0 at its ends, kinks and jumps. See `level`."""
    bend, uneven = np.zeros_like(f), np.zeros_like(f)
    bend[1:-1] = np.diff(f, 2, axis=0)
    uneven[1:-1] = np.diff(bend, 2, axis=0)
    last = tuple(range(-together, 0))
    size, rough = (np.abs(x).max(last, keepdims=True) for x in (bend, uneven))
    size[1:-1] = np.maximum(size[1:-1], np.maximum(size[:-2], size[2:]))
    return np.where(2.0 * rough < size, bend, 0.0)


def level(table: Floats, axis: int, together: int = 0) -> Floats:
    """Values between which straight lines are too high as often as too low.

    Straight lines between values of f, d apart, are above it by d^2 f'' / 12 on average where it is convex: a potential
    that creeps along the grid would always see too much of a gate that opens. Lines between f - d^2 f'' / 12 are the
    best ones in the sense of least squares (de Boor 1978, A Practical Guide to Splines, doi:10.1007/978-1-4612-6333-3)
    where f is smooth: where second differences around a point lie on a line, to half of the largest. At kinks and jumps
    values stay as they are; none leaves the range of its column.

    Args:
        table: (..., points, ...).
        axis: of the points.
        together: how many of the last axes hold numbers that are changed together or not at all, such as a matrix whose
            columns have sums that must last; 0 for none.
    """
    f = np.moveaxis(table, axis, 0)
    found = f - _bend(f, together) / 12.0
    if not together:
        found = np.clip(found, f.min(0), f.max(0))
    return np.ascontiguousarray(np.moveaxis(found, 0, axis))


def level_plane(table: Floats, together: int) -> Floats:
    """The same of a table over both, along either.

    Args:
        table: (..., points of c, points of V, columns), or of a scheme (points of c, points of V, K, K + 1).
        together: see `level`; 1 for a scheme.
    """
    c, v = (0, 1) if together else (-3, -2)
    return level(level(table, c, 2 * together), v, 2 * together)


def with_changes(table: Floats) -> Single:
    """(..., points, 2 * columns) the table, made level, and how much each column changes to the next point.

    Args:
        table: (..., points, columns).
    """
    table = level(table, -2)
    change = np.diff(table, axis=-2, append=table[..., -1:, :])
    return np.concatenate([table, change], -1).astype(np.float32)


def _gate_step(gate: Gate, length_ms: float) -> Floats:
    with np.errstate(over="ignore"):  # of a time constant next to 0: nothing is left
        return np.stack([gate.steady, np.exp(-length_ms / gate.tau_ms)], -1)


def gate_sensitivity(gate: Gate, before_ms: float, after_ms: float) -> Floats:
    """(V_BINS,) dx/dV: how much a gate is further on for each mV by which V moves in the step after [1/mV].

    While V moves evenly, by D over the step and as fast before it, the gate in the middle of the step is by
    steady' D / (2 after) (after - tau + (before + tau) keep) further on than it would be at the V between.

    Args:
        gate: over V.
        before_ms, after_ms: half of each step [ms].
    """
    keep = np.exp(-(before_ms + after_ms) / gate.tau_ms)
    with np.errstate(invalid="ignore"):
        further = (after_ms - gate.tau_ms + (before_ms + gate.tau_ms) * keep) / (2 * after_ms)
    return np.where(np.isfinite(further), np.gradient(gate.steady, V_BIN_MV) * further, 0.0)


def _with_inflow(scheme: Scheme) -> Floats:
    """(points, K + 1, K + 1) rates of the states, and of 1, which flows in [1/ms]: at all points of V or c."""
    k = len(scheme.names)
    whole = np.zeros((scheme.inflow.size // k, k + 1, k + 1))
    whole[:, :k, :k], whole[:, :k, k] = scheme.rates.reshape(-1, k, k), scheme.inflow.reshape(-1, k)
    stride = {"v": SCHEME_V_STRIDE, "c": SCHEME_C_STRIDE}.get(scheme.over, 1)
    share = (np.arange(stride) / stride)[:, None, None]
    straight, bend = whole[:-1, None] + share * np.diff(whole, axis=0)[:, None], _bend(whole, 2)[:, None]
    between = straight - share * (1.0 - share) / 6.0 * ((2.0 - share) * bend[:-1] + (1.0 + share) * bend[1:])
    return np.concatenate([between.reshape(-1, k + 1, k + 1), whole[-1:]])


def scheme_step(scheme: Scheme, coupled: Sequence[int], length_ms: float) -> tuple[Floats, Floats]:
    """A step of the K states of a scheme, and integrals that `scheme_sensitivity` is made of.

    Args:
        scheme: its table has some points.
        coupled: states that have a sensitivity.
        length_ms: of the step [ms].

    Returns:
        (points, K, K + 1) a matrix, and what flows in; and (points, coupled, 2, K + 1) the row of each coupled state
        in the matrix of a step of w, as an integral over w from 0 to the length, and the integral of (length - w) times
        it.
    """
    whole = _with_inflow(scheme)
    points, k, _ = whole.shape
    wide = np.zeros((points, *[k + 2 * len(coupled)] * 2))
    wide[:, :k, :k] = whole.transpose(0, 2, 1)
    for column, state in zip(range(k, wide.shape[-1], 2), coupled, strict=True):
        wide[:, state, column] = wide[:, column, column + 1] = 1.0
    found = np.asarray(expm(length_ms * wide).transpose(0, 2, 1)[:, :, :k], dtype=np.float64)
    return found[:, : k - 1], found[:, k:].reshape(points, len(coupled), 2, k)


def scheme_sensitivity(scheme: Scheme, integrals: Floats, before_ms: float, after_ms: float) -> Floats:
    """(V_BINS, K + 1) dx/dV of a state, by each state as it is and by itself [1/mV].

    While V moves evenly, by D over the step and as fast before it, the rates Q change by Q' D u / (2 after) at the time
    u from its start. By the middle of the step the states z, with 1 for what flows in, are further on by

        D / (2 after) integral of u exp((after - u) Q) Q' z from -before to after,

    where z, which hardly moves meanwhile, is that of the middle of the step. Of two states this is what a gate has.

    Args:
        scheme: over V.
        integrals: (V_BINS, 2, K + 1) of the state, from `scheme_step`.
        before_ms, after_ms: half of each step [ms].
    """
    row = (integrals[:, 1] - before_ms * integrals[:, 0]) / (2 * after_ms)
    slope = np.gradient(_with_inflow(scheme), V_BIN_MV, axis=0)
    return np.asarray(np.einsum("nk,nkl->nl", row, slope))
