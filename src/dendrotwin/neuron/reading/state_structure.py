"""States of a mechanism: which depend on each other and on what, and by which rule NEURON integrates them.

One step of NEURON is x -> map x + offset where the states are linear; steps of two lengths agree on rates by the rule
alone that NEURON steps with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.sparse.csgraph import connected_components

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.voltage_clamp import Conditions, VoltageClamp


@dataclass
class StateStructure:
    """What the states of a mechanism are, seen at a few potentials and concentrations.

    Attributes:
        gates: numbers of states that depend on no other.
        schemes: numbers of those that depend on each other, scheme by scheme.
        instant: those that follow at once.
        fixed: those that never change.
        over: for each state what it depends on, of "v", "c", "vc" ("" for a constant).
        rules: for each state NEURON's rule of integration: "exact", "implicit", "explicit" or "unknown".
    """

    gates: list[int] = field(default_factory=list)
    schemes: list[tuple[int, ...]] = field(default_factory=list)
    instant: list[int] = field(default_factory=list)
    fixed: list[int] = field(default_factory=list)
    over: dict[int, str] = field(default_factory=dict)
    rules: dict[int, str] = field(default_factory=dict)

    @property
    def kept(self) -> list[int]:
        """States of the `Mechanism`, in its order."""
        return [*self.gates, *(j for scheme in self.schemes for j in scheme)]


def linear_step(
    clamp: VoltageClamp, v_mV: Floats, dt_ms: float, groups: list[list[int]], conditions: Conditions
) -> tuple[Floats, Floats]:
    """Map (states, states, n) and offset (states, n) of one step, x -> map x + offset.

    Args:
        clamp: with n compartments.
        v_mV: (n,) potentials [mV].
        dt_ms: length of the step [ms].
        groups: states that are moved at once, because each acts on itself alone.
        conditions: what else is held.
    """
    k = len(clamp.state_names)
    config = READING.kinetics
    start = np.full((k, clamp.n), config.state)
    base = clamp.step(v_mV, start, dt_ms, conditions)
    matrix = np.zeros((k, k, clamp.n))
    for group in groups:
        moved = start.copy()
        moved[group] += config.state_shift
        change = (clamp.step(v_mV, moved, dt_ms, conditions) - base) / config.state_shift
        if len(group) == 1:
            matrix[:, group[0]] = change
        else:  # each acts on itself alone
            for j in group:
                matrix[j, j] = change[j]
    return matrix, base - np.einsum("ijn,jn->in", matrix, start)


def decay_rate(remaining: Floats, dt_ms: float, rule: str) -> Floats:
    """Rate (n,) [1/ms] of a state of which a step leaves a share, by a rule of integration.

    Args:
        remaining: (n,) share of a difference in the state that a step leaves.
        dt_ms: length of the step [ms].
        rule: "exact", "implicit" or "explicit".
    """
    with np.errstate(all="ignore"):
        if rule == "implicit":
            return (1.0 / remaining - 1.0) / dt_ms
        if rule == "explicit":
            return (1.0 - remaining) / dt_ms
        return -np.log(np.maximum(remaining, 0.0)) / dt_ms


def distance_from_half(remaining: Floats) -> Floats:
    """How far (n,) what a step leaves is from one half, at which it tells a rate best.

    Args:
        remaining: (n,) share of a difference in the state that a step leaves.
    """
    distance = np.abs(np.log(np.clip(1.0 - remaining, 1e-300, 1e300)) - np.log(0.5))
    return np.asarray(distance + np.where(remaining < 0.01, 50.0, 0.0))


def integration_rule(remaining: Floats, other: Floats) -> str:
    """The rule by which steps of two lengths agree on a rate, or "unknown".

    Args:
        remaining: (n,) share that a step of `step_ms` leaves.
        other: (n,) share that one of `other_step_ms` leaves; see `KineticsConfig`.
    """
    step_ms, other_step_ms = READING.kinetics.step_ms, READING.kinetics.other_step_ms
    told = (remaining > 0.02) & (remaining < 1 - 1e-6) & (other > 0.02) & (other < 1 - 1e-5)
    explicit = (np.abs(remaining) < 3) & (np.abs(other) < 30) & (np.abs(1 - remaining) > 1e-6)
    best, found = 1e-4, "unknown"
    for rule, where in (("exact", told), ("implicit", told), ("explicit", explicit)):
        if where.sum() < 1:
            continue
        first, second = decay_rate(remaining[where], step_ms, rule), decay_rate(other[where], other_step_ms, rule)
        error = float(np.nanmedian(np.abs(first / second - 1)))
        if error < best:
            found, best = rule, max(error, 1e-7)
    return found if found != "unknown" or told.sum() else "exact"


def find_structure(
    clamp: VoltageClamp, v_mV: Floats, shape: tuple[int, int, int], conditions: Conditions
) -> StateStructure:
    """What the states are.

    Args:
        clamp: n compartments, (classes, concentrations, potentials) flat.
        v_mV: (n,) potentials [mV].
        shape: (classes, concentrations, potentials).
        conditions: what else is held.

    Raises:
        CellError: states are such as cannot be held; the message is the reason.
    """
    config = READING.kinetics
    k, found = len(clamp.state_names), StateStructure()
    if not k:
        return found
    single = [[j] for j in range(k)]
    matrix, offset = linear_step(clamp, v_mV, config.step_ms, single, conditions)
    _check(clamp, v_mV, matrix, offset, conditions)
    other, other_offset = linear_step(clamp, v_mV, config.other_step_ms, single, conditions)
    scale = 1.0 + np.abs(offset)
    links = np.max(np.abs(matrix) / scale[:, None], axis=2) > config.coupling
    count, member = connected_components(links | links.T, directed=False)
    for part in range(count):
        inside = tuple(int(j) for j in np.flatnonzero(member == part))
        over = _over(np.concatenate([matrix[np.ix_(inside, inside)].reshape(-1, clamp.n), offset[list(inside)]]), shape)
        found.over.update(dict.fromkeys(inside, over))
        if len(inside) > 1:
            found.schemes.append(inside)
            rule = _scheme_rule(matrix[np.ix_(inside, inside)], other[np.ix_(inside, inside)])
            found.rules.update(dict.fromkeys(inside, rule))
            continue
        (j,) = inside
        remaining = matrix[j, j]
        if np.abs(remaining).max() < 1e-9 and np.abs(other[j, j]).max() < 1e-9:
            found.instant.append(j)
        elif max(np.abs(remaining - 1).max(), np.abs(offset[j]).max(), np.abs(other_offset[j]).max()) < 1e-12:
            found.fixed.append(j)
        else:
            found.gates.append(j)
            found.rules[j] = integration_rule(remaining, other[j, j])
    return found


def _check(clamp: VoltageClamp, v_mV: Floats, matrix: Floats, offset: Floats, conditions: Conditions) -> None:
    config, k = READING.kinetics, len(clamp.state_names)
    states = np.broadcast_to(np.random.default_rng(0).uniform(0.1, 0.9, (k, 1)), (k, clamp.n))
    after = clamp.step(v_mV, states, config.step_ms, conditions)
    if not np.isfinite(after).mean() > 0.98:
        raise CellError("its states become infinite or NaN within a step")
    again = clamp.step(v_mV, states, config.step_ms, conditions)
    if not np.allclose(after, again, rtol=1e-12, atol=1e-15, equal_nan=True):
        raise CellError("two equal steps of it differ; it draws random numbers, or keeps a memory that is no STATE")
    later = clamp.step(v_mV, states, config.step_ms, replace(conditions, t_ms=READING.probe.other_time_ms))
    if not np.allclose(after, later, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise CellError("its states depend on the time t")
    error = np.abs(np.einsum("ijn,jn->in", matrix, states) + offset - after)
    scale = 1.0 + np.nanmax(np.abs(after), axis=1, keepdims=True)
    bad = np.nanmax(error / scale, axis=1) > config.nonlinearity
    if bad.any():
        names = ", ".join(clamp.state_names[j] for j in np.flatnonzero(bad))
        raise CellError(f"{names} change in a way that is not linear in its states")


def _over(values: Floats, shape: tuple[int, int, int]) -> str:
    x = values.reshape(-1, *shape)
    scale = 1e-9 * np.nanmax(np.abs(x))
    by_c = bool(np.nanmax(np.ptp(x, axis=2)) > scale)
    by_v = bool(np.nanmax(np.ptp(x, axis=3)) > scale)
    return ("v" if by_v else "") + ("c" if by_c else "")


def _scheme_rule(matrix: Floats, other: Floats) -> str:
    """The rule of integration by which the maps of two steps agree on a scheme's rates; else "unknown"."""
    step_ms, other_step_ms = READING.kinetics.step_ms, READING.kinetics.other_step_ms
    for rule in ("implicit", "exact", "explicit"):
        errors = []
        for column in np.linspace(0, matrix.shape[2] - 1, 7).astype(int):
            independent = independent_states(matrix[:, :, column])
            a, b = (x[np.ix_(independent, independent)][..., column] for x in (matrix, other))
            try:
                inverse = np.linalg.inv(a)
                eye = np.eye(len(independent))
                if rule == "implicit":
                    guess = np.linalg.inv(eye + (inverse - eye) * other_step_ms / step_ms)
                elif rule == "explicit":
                    guess = eye + (a - eye) * other_step_ms / step_ms
                else:
                    guess = np.linalg.matrix_power(a, round(other_step_ms / step_ms))
            except np.linalg.LinAlgError:
                continue
            errors.append(np.abs(guess - b).max())
        if errors and np.median(errors) < 1e-6:
            return rule
    return "unknown"


def independent_states(matrix: Floats) -> list[int]:
    """States that a step looks at; of one that it takes from the others (CONSERVE) the column is empty.

    Args:
        matrix: (K, K) or (K, K, n) map of a step.
    """
    size = np.abs(matrix).reshape(len(matrix), len(matrix), -1).max(axis=(0, 2))
    return [j for j in range(len(matrix)) if size[j] > 1e-7]
