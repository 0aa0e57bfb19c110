"""States of a mechanism: which depend on each other, by which rule NEURON steps them, and their tables.

One step of NEURON is x -> map x + offset where the states are linear; from it and the rule come rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import expm
from scipy.sparse.csgraph import connected_components

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.bench import Bench

DT_MS, OTHER_DT_MS = 0.05, 0.4
# The step that keeps about half of a state tells its time constant best.
STEPS_MS = (1e-4, 3e-3, 0.1, 3.0)
START, AWAY = 0.3, 0.37  # states from which steps are made
NONLINEAR, CROSS = 1e-6, 1e-8  # beyond Newton's errors
FASTEST_MS = 1e-6
SCHEME_STEPS_MS, FORGETS = (DT_MS, 1e-3, 1e-5, 1e-7), 1e6  # how close to singular the map of a step may be


@dataclass(frozen=True, eq=False)
class Gates:
    """A gate in all classes: tables over `over` ("v", "c" or "vc"), (classes, ...)."""

    state: int
    over: str
    rule: str
    steady: Floats
    tau_ms: Floats


@dataclass(frozen=True, eq=False)
class Schemes:
    """A scheme in all classes: rates (classes, points, K, K), inflow (classes, points, K); "vc": points are c, V."""

    states: tuple[int, ...]
    over: str
    rule: str
    rates: Floats
    inflow: Floats


@dataclass
class Structure:
    """What the states of a mechanism are, seen on a few potentials and concentrations.

    Attributes:
        gates, schemes: numbers of states that stand alone, and of those that depend on each other.
        instant: those that follow at once; fixed: those that never change.
        over: for each state what it depends on, of "v", "c", "vc" ("" for a constant).
        rules: for each state NEURON's rule: "exact", "implicit", "explicit" or "unknown".
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


def affine(bench: Bench, v_mV: Floats, dt_ms: float, groups: list[list[int]], **kinds: Any) -> tuple[Floats, Floats]:
    """Map (states, states, n) and offset (states, n) of one step; states of a group are moved at once."""
    k = len(bench.states)
    start = np.full((k, bench.n), START)
    base = bench.step(v_mV, start, dt_ms, **kinds)
    matrix = np.zeros((k, k, bench.n))
    for group in groups:
        moved = start.copy()
        moved[group] += AWAY
        change = (bench.step(v_mV, moved, dt_ms, **kinds) - base) / AWAY
        if len(group) == 1:
            matrix[:, group[0]] = change
        else:  # each acts on itself alone
            for j in group:
                matrix[j, j] = change[j]
    return matrix, base - np.einsum("ijn,jn->in", matrix, start)


def rate_of(keep: Floats, dt_ms: float, rule: str) -> Floats:
    with np.errstate(all="ignore"):
        if rule == "implicit":
            return (1.0 / keep - 1.0) / dt_ms
        if rule == "explicit":
            return (1.0 - keep) / dt_ms
        return -np.log(np.maximum(keep, 0.0)) / dt_ms


def distance_of_half(keep: Floats) -> Floats:
    """How far what a step leaves is from one half, at which it tells a rate best."""
    left = np.abs(np.log(np.clip(1.0 - keep, 1e-300, 1e300)) - np.log(0.5))
    return np.asarray(left + np.where(keep < 0.01, 50.0, 0.0))


def rule_of(keep: Floats, other: Floats) -> str:
    """The rule by which steps of two lengths agree on a rate."""
    told = (keep > 0.02) & (keep < 1 - 1e-6) & (other > 0.02) & (other < 1 - 1e-5)
    explicit = (np.abs(keep) < 3) & (np.abs(other) < 30) & (np.abs(1 - keep) > 1e-6)
    best, found = 1e-4, "unknown"
    for rule, where in (("exact", told), ("implicit", told), ("explicit", explicit)):
        if where.sum() < 1:
            continue
        first, second = rate_of(keep[where], DT_MS, rule), rate_of(other[where], OTHER_DT_MS, rule)
        miss = float(np.nanmedian(np.abs(first / second - 1)))
        if miss < best:
            found, best = rule, max(miss, 1e-7)
    return found if found != "unknown" or told.sum() else "exact"


def look(bench: Bench, v: Floats, shape: tuple[int, int, int], kinds: dict[str, Any]) -> Structure:
    """What the states are.

    Args:
        bench: columns (classes, concentrations, potentials), flat.
        v: (n,) potentials [mV].
        shape: of the columns.
        kinds: what `prepare` is given.

    Raises:
        CellError: states are such as cannot be held; the message is the reason.
    """
    k, found = len(bench.states), Structure()
    if not k:
        return found
    single = [[j] for j in range(k)]
    matrix, offset = affine(bench, v, DT_MS, single, **kinds)
    _check(bench, v, matrix, offset, kinds)
    other, other_offset = affine(bench, v, OTHER_DT_MS, single, **kinds)
    scale = 1.0 + np.abs(offset)
    links = np.max(np.abs(matrix) / scale[:, None], axis=2) > CROSS
    count, member = connected_components(links | links.T, directed=False)
    for part in range(count):
        inside = tuple(int(j) for j in np.flatnonzero(member == part))
        over = _over(np.concatenate([matrix[np.ix_(inside, inside)].reshape(-1, bench.n), offset[list(inside)]]), shape)
        found.over.update(dict.fromkeys(inside, over))
        if len(inside) > 1:
            found.schemes.append(inside)
            rule = _scheme_rule(matrix[np.ix_(inside, inside)], other[np.ix_(inside, inside)])
            found.rules.update(dict.fromkeys(inside, rule))
            continue
        (j,) = inside
        keep = matrix[j, j]
        if np.abs(keep).max() < 1e-9 and np.abs(other[j, j]).max() < 1e-9:
            found.instant.append(j)
        elif max(np.abs(keep - 1).max(), np.abs(offset[j]).max(), np.abs(other_offset[j]).max()) < 1e-12:
            found.fixed.append(j)
        else:
            found.gates.append(j)
            found.rules[j] = rule_of(keep, other[j, j])
    return found


def _check(bench: Bench, v: Floats, matrix: Floats, offset: Floats, kinds: dict[str, Any]) -> None:
    k = len(bench.states)
    states = np.broadcast_to(np.random.default_rng(0).uniform(0.1, 0.9, (k, 1)), (k, bench.n))
    after = bench.step(v, states, DT_MS, **kinds)
    if not np.isfinite(after).mean() > 0.98:
        raise CellError("its states become infinite or NaN within a step")
    again = bench.step(v, states, DT_MS, **kinds)
    if not np.allclose(after, again, rtol=1e-12, atol=1e-15, equal_nan=True):
        raise CellError("two equal steps of it differ; it draws random numbers, or keeps a memory that is no STATE")
    later = bench.step(v, states, DT_MS, t_ms=137.3, **kinds)
    if not np.allclose(after, later, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise CellError("its states depend on the time t")
    miss = np.abs(np.einsum("ijn,jn->in", matrix, states) + offset - after)
    scale = 1.0 + np.nanmax(np.abs(after), axis=1, keepdims=True)
    bad = np.nanmax(miss / scale, axis=1) > NONLINEAR
    if bad.any():
        names = ", ".join(bench.states[j] for j in np.flatnonzero(bad))
        raise CellError(f"{names} change in a way that is not linear in its states")


def _over(values: Floats, shape: tuple[int, int, int]) -> str:
    x = values.reshape(-1, *shape)
    scale = 1e-9 * np.nanmax(np.abs(x))
    by_c = bool(np.nanmax(np.ptp(x, axis=2)) > scale)
    by_v = bool(np.nanmax(np.ptp(x, axis=3)) > scale)
    return ("v" if by_v else "") + ("c" if by_c else "")


def _scheme_rule(matrix: Floats, other: Floats) -> str:
    """Whether the maps of two steps are of implicit Euler or of a matrix exponential; else "unknown"."""
    for rule in ("implicit", "exact", "explicit"):
        misses = []
        for column in np.linspace(0, matrix.shape[2] - 1, 7).astype(int):
            live = _live(matrix[:, :, column])
            a, b = (x[np.ix_(live, live)][..., column] for x in (matrix, other))
            try:
                inverse = np.linalg.inv(a)
                eye = np.eye(len(live))
                if rule == "implicit":
                    guess = np.linalg.inv(eye + (inverse - eye) * OTHER_DT_MS / DT_MS)
                elif rule == "explicit":
                    guess = eye + (a - eye) * OTHER_DT_MS / DT_MS
                else:
                    guess = np.linalg.matrix_power(a, round(OTHER_DT_MS / DT_MS))
            except np.linalg.LinAlgError:
                continue
            misses.append(np.abs(guess - b).max())
        if misses and np.median(misses) < 1e-6:
            return rule
    return "unknown"


def _live(matrix: Floats) -> list[int]:
    """States that a step looks at; of one that it takes from the others (CONSERVE) the column is empty."""
    size = np.abs(matrix).reshape(len(matrix), len(matrix), -1).max(axis=(0, 2))
    return [j for j in range(len(matrix)) if size[j] > 1e-7]


def gate_tables(
    bench: Bench,
    v: Floats,
    shape: tuple[int, ...],
    gates: list[int],
    over: str,
    rules: dict[int, str],
    kinds: dict[str, Any],
) -> list[Gates]:
    """Tables of gates that depend on `over`; the bench's columns are (classes, points of that), flat."""
    if not gates:
        return []
    n = bench.n
    size = (len(gates), n)
    steady, tau, best = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.inf)
    still = np.ones((len(gates), n), dtype=bool)
    exactly = all(rules[j] != "unknown" for j in gates)
    for dt in STEPS_MS if exactly else STEPS_MS[:1]:
        matrix, offset = affine(bench, v, dt, [list(range(len(bench.states)))], **kinds)
        if len(bench.states) == 1:
            matrix = matrix.reshape(1, 1, n)
        for i, j in enumerate(gates):
            keep = matrix[j, j]
            rate = rate_of(keep, dt, rules[j])
            with np.errstate(all="ignore"):
                x = offset[j] / (1.0 - keep)
                worth = distance_of_half(keep)
            still[i] &= np.abs(keep - 1) < 1e-13
            worth = np.where(np.isfinite(rate) & (rate > 0) & np.isfinite(x) & (1 - keep > 1e-14), worth, np.inf)
            take = worth < best[i]
            steady[i, take], tau[i, take], best[i, take] = x[take], 1.0 / rate[take], worth[take]
            at_once = ~np.isfinite(best[i]) & (np.abs(keep) < 1e-9)
            steady[i, at_once], tau[i, at_once] = offset[j, at_once], FASTEST_MS
    found = []
    for i, j in enumerate(gates):
        tau[i, still[i]] = np.inf
        x, t = _filled(steady[i].reshape(shape)), _filled(tau[i].reshape(shape))
        found.append(Gates(j, over, rules[j], x, np.maximum(t, FASTEST_MS)))
    return found


def _filled(table: Floats) -> Floats:
    """Without its few holes, where NEURON has 0/0 or overflows."""
    out = table.copy()
    for row in out.reshape(-1, out.shape[-1]):
        bad = np.isnan(row)
        if bad.all():
            row[:] = 0.0
        elif bad.any():
            index = np.arange(len(row))
            finite = np.where(np.isinf(row), 1e30, row)
            row[bad] = np.interp(index[bad], index[~bad], finite[~bad])
    return out


def scheme_tables(
    bench: Bench,
    v: Floats,
    classes: int,
    structure: Structure,
    which: list[tuple[int, ...]],
    over: str,
    kinds: dict[str, Any],
) -> list[Schemes]:
    """Rates of schemes; the bench's columns are (classes, points), flat."""
    if not which:
        return []
    groups = [[j] for scheme in which for j in scheme]
    found = []
    maps: dict[float, tuple[Floats, Floats]] = {}
    for scheme in which:

        def step(dt: float, scheme: tuple[int, ...] = scheme) -> tuple[Floats, Floats]:
            if dt not in maps:
                maps[dt] = affine(bench, v, dt, groups, **kinds)
            matrix, offset = maps[dt]
            return matrix[np.ix_(scheme, scheme)].transpose(2, 0, 1), offset[list(scheme)].T

        rule = structure.rules[scheme[0]]
        if rule == "unknown":
            live = _live(step(1e-5)[0].transpose(1, 2, 0))
            (r1, i1), (r2, i2) = (_generator(*step(dt), dt, "explicit", live) for dt in (2e-5, 1e-5))
            rates, inflow = 2 * r2 - r1, 2 * i2 - i1
        else:
            rates, inflow = _rates(step, rule)
        k = len(scheme)
        found.append(Schemes(scheme, over, rule, rates.reshape(classes, -1, k, k), inflow.reshape(classes, -1, k)))
    return found


def _rates(step: Callable[[float], tuple[Floats, Floats]], rule: str) -> tuple[Floats, Floats]:
    """Rates (n, K, K) and inflow (n, K), at each point from the longest step that tells what it began with."""
    matrix, offset = step(SCHEME_STEPS_MS[0])
    live = _live(matrix.transpose(1, 2, 0))
    rates, inflow, left = np.zeros(matrix.shape), np.zeros(offset.shape), np.arange(len(offset))
    for dt in SCHEME_STEPS_MS:
        matrix, offset = step(dt)
        told = np.linalg.cond(matrix[left][:, live][:, :, live]) < FORGETS
        told |= dt == SCHEME_STEPS_MS[-1]
        some, left = left[told], left[~told]
        if len(some):
            rates[some], inflow[some] = _generator(matrix[some], offset[some], dt, rule, live)
        if not len(left):
            break
    return rates, inflow


def _generator(matrix: Floats, offset: Floats, dt: float, rule: str, live: list[int]) -> tuple[Floats, Floats]:
    """Rates (n, K, K) and inflow (n, K) of x' = rates x + inflow, from a step's map (n, K, K) and offset (n, K)."""
    n, k = offset.shape
    dead = [j for j in range(k) if j not in live]
    part = matrix[:, live][:, :, live]
    eye = np.eye(len(live))
    if rule == "implicit":
        inverse = np.linalg.inv(part)
        inner, drive = (eye - inverse) / dt, np.einsum("nij,nj->ni", inverse, offset[:, live]) / dt
    elif rule == "explicit":
        inner, drive = (part - eye) / dt, offset[:, live] / dt
    else:
        inner, drive = _logarithm(part, offset[:, live], dt)
    rates, inflow = np.zeros((n, k, k)), np.zeros((n, k))
    rates[np.ix_(range(n), live, live)], inflow[:, live] = inner, drive
    if dead:
        # x of a dead one = share x of the live ones + constant, the same everywhere: that is what CONSERVE does.
        followed = matrix[:, dead][:, :, live].transpose(0, 2, 1)
        share = np.linalg.solve(part.transpose(0, 2, 1), followed).transpose(0, 2, 1)
        if np.ptp(share, axis=0).max() > 1e-6:
            raise CellError("a state follows others at once, in a way that changes with V or a concentration")
        rates[np.ix_(range(n), dead, live)] = share @ inner
        inflow[:, dead] = np.einsum("nij,nj->ni", share, drive)
    return rates, inflow


def _logarithm(part: Floats, offset: Floats, dt: float) -> tuple[Floats, Floats]:
    """Generator of a step that is a matrix exponential."""
    n, k = offset.shape
    whole = np.zeros((n, k + 1, k + 1))
    whole[:, :k, :k], whole[:, :k, k], whole[:, k, k] = part, offset, 1.0
    values, vectors = np.linalg.eig(whole)
    generator = np.real((vectors * np.log(values)[:, None, :]) @ np.linalg.inv(vectors)) / dt
    return generator[:, :k, :k], generator[:, :k, k]


def stepped(rates: Floats, inflow: Floats, x: Floats, dt_ms: float, rule: str) -> Floats:
    """States (K,) of one scheme after a step by NEURON's rule."""
    k = len(x)
    if rule == "implicit":
        return np.asarray(np.linalg.solve(np.eye(k) - dt_ms * rates, x + dt_ms * inflow))
    if rule == "explicit":
        return np.asarray(x + dt_ms * (rates @ x + inflow))
    whole = np.zeros((k + 1, k + 1))
    whole[:k, :k], whole[:k, k] = rates, inflow
    return np.asarray((expm(dt_ms * whole) @ np.append(x, 1.0))[:k])
