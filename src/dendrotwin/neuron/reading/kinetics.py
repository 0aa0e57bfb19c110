"""Tables of gates and kinetic schemes, from steps of NEURON and the rule of integration by which it makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.state_structure import (
    StateStructure,
    decay_rate,
    distance_from_half,
    independent_states,
    linear_step,
)
from dendrotwin.neuron.reading.voltage_clamp import Conditions, VoltageClamp


@dataclass(frozen=True, eq=False)
class GateTables:
    """A gate in all classes.

    Attributes:
        state: its number in NEURON.
        over: what it depends on, "v", "c" or "vc".
        rule: by which NEURON steps it.
        steady: (classes, ...) steady state over that.
        tau_ms: (classes, ...) time constant over that [ms].
    """

    state: int
    over: str
    rule: str
    steady: Floats
    tau_ms: Floats


@dataclass(frozen=True, eq=False)
class SchemeTables:
    """A kinetic scheme of K states in all classes.

    Attributes:
        states: their numbers in NEURON.
        over: what it depends on, "v", "c" or "vc".
        rule: by which NEURON steps it.
        rates: (classes, points, K, K) over that [1/ms]; where it is "vc", points are c, V.
        inflow: (classes, points, K) [1/ms].
    """

    states: tuple[int, ...]
    over: str
    rule: str
    rates: Floats
    inflow: Floats


def gate_tables(
    clamp: VoltageClamp,
    v_mV: Floats,
    shape: tuple[int, ...],
    gates: list[int],
    over: str,
    rules: dict[int, str],
    conditions: Conditions,
) -> list[GateTables]:
    """Tables of gates that depend on the same.

    Args:
        clamp: n compartments, (classes, points of what they depend on) flat.
        v_mV: (n,) potentials [mV].
        shape: (classes, points), or (classes, points of c, points of V).
        gates: numbers of their states.
        over: what they depend on, "v", "c" or "vc".
        rules: NEURON's rule of integration, by state.
        conditions: what else is held.
    """
    if not gates:
        return []
    config, n = READING.kinetics, clamp.n
    size = (len(gates), n)
    steady, tau, best = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.inf)
    constant = np.ones(size, dtype=bool)
    known = all(rules[j] != "unknown" for j in gates)
    for dt_ms in config.gate_steps_ms if known else config.gate_steps_ms[:1]:
        together = [list(range(len(clamp.state_names)))]
        matrix, offset = linear_step(clamp, v_mV, dt_ms, together, conditions)
        if len(clamp.state_names) == 1:
            matrix = matrix.reshape(1, 1, n)
        for i, j in enumerate(gates):
            remaining = matrix[j, j]
            rate = decay_rate(remaining, dt_ms, rules[j])
            with np.errstate(all="ignore"):
                x = offset[j] / (1.0 - remaining)
                distance = distance_from_half(remaining)
            constant[i] &= np.abs(remaining - 1) < 1e-13
            told = np.isfinite(rate) & (rate > 0) & np.isfinite(x) & (1 - remaining > 1e-14)
            distance = np.where(told, distance, np.inf)
            take = distance < best[i]
            steady[i, take], tau[i, take], best[i, take] = x[take], 1.0 / rate[take], distance[take]
            at_once = ~np.isfinite(best[i]) & (np.abs(remaining) < 1e-9)
            steady[i, at_once], tau[i, at_once] = offset[j, at_once], config.fastest_ms
    found = []
    for i, j in enumerate(gates):
        tau[i, constant[i]] = np.inf
        x, t = _filled(steady[i].reshape(shape)), _filled(tau[i].reshape(shape))
        found.append(GateTables(j, over, rules[j], x, np.maximum(t, config.fastest_ms)))
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
    clamp: VoltageClamp,
    v_mV: Floats,
    classes: int,
    structure: StateStructure,
    schemes: list[tuple[int, ...]],
    over: str,
    conditions: Conditions,
) -> list[SchemeTables]:
    """Rates of kinetic schemes that depend on the same.

    Args:
        clamp: n compartments, (classes, points of what they depend on) flat.
        v_mV: (n,) potentials [mV].
        classes: their number.
        structure: of the mechanism's states.
        schemes: numbers of the states of each.
        over: what they depend on, "v", "c" or "vc".
        conditions: what else is held.
    """
    if not schemes:
        return []
    groups = [[j] for scheme in schemes for j in scheme]
    found = []
    maps: dict[float, tuple[Floats, Floats]] = {}
    for scheme in schemes:

        def step(dt: float, scheme: tuple[int, ...] = scheme) -> tuple[Floats, Floats]:
            if dt not in maps:
                maps[dt] = linear_step(clamp, v_mV, dt, groups, conditions)
            matrix, offset = maps[dt]
            return matrix[np.ix_(scheme, scheme)].transpose(2, 0, 1), offset[list(scheme)].T

        rule = structure.rules[scheme[0]]
        if rule == "unknown":
            # Two short steps, from whose explicit rates the error that goes with the step is taken away.
            independent = independent_states(step(1e-5)[0].transpose(1, 2, 0))
            (r1, i1), (r2, i2) = (_generator(*step(dt), dt, "explicit", independent) for dt in (2e-5, 1e-5))
            rates, inflow = 2 * r2 - r1, 2 * i2 - i1
        else:
            rates, inflow = _rates(step, rule)
        k = len(scheme)
        found.append(SchemeTables(scheme, over, rule, rates.reshape(classes, -1, k, k), inflow.reshape(classes, -1, k)))
    return found


def _rates(step: Callable[[float], tuple[Floats, Floats]], rule: str) -> tuple[Floats, Floats]:
    """Rates (n, K, K) and inflow (n, K), at each point from the longest step that tells what it began with."""
    steps_ms, limit = READING.kinetics.scheme_steps_ms, READING.kinetics.scheme_condition
    matrix, offset = step(steps_ms[0])
    independent = independent_states(matrix.transpose(1, 2, 0))
    rates, inflow, left = np.zeros(matrix.shape), np.zeros(offset.shape), np.arange(len(offset))
    for dt in steps_ms:
        matrix, offset = step(dt)
        told = np.linalg.cond(matrix[left][:, independent][:, :, independent]) < limit
        told |= dt == steps_ms[-1]
        some, left = left[told], left[~told]
        if len(some):
            rates[some], inflow[some] = _generator(matrix[some], offset[some], dt, rule, independent)
        if not len(left):
            break
    return rates, inflow


def _generator(matrix: Floats, offset: Floats, dt: float, rule: str, independent: list[int]) -> tuple[Floats, Floats]:
    """Rates (n, K, K) and inflow (n, K) of x' = rates x + inflow, from a step's map (n, K, K) and offset (n, K)."""
    n, k = offset.shape
    dependent = [j for j in range(k) if j not in independent]
    part = matrix[:, independent][:, :, independent]
    eye = np.eye(len(independent))
    if rule == "implicit":
        inverse = np.linalg.inv(part)
        inner, drive = (eye - inverse) / dt, np.einsum("nij,nj->ni", inverse, offset[:, independent]) / dt
    elif rule == "explicit":
        inner, drive = (part - eye) / dt, offset[:, independent] / dt
    else:
        inner, drive = _logarithm(part, offset[:, independent], dt)
    rates, inflow = np.zeros((n, k, k)), np.zeros((n, k))
    rates[np.ix_(range(n), independent, independent)], inflow[:, independent] = inner, drive
    if dependent:
        # A dependent state = share x independent states + constant, the same everywhere: that is what CONSERVE does.
        followed = matrix[:, dependent][:, :, independent].transpose(0, 2, 1)
        share = np.linalg.solve(part.transpose(0, 2, 1), followed).transpose(0, 2, 1)
        if np.ptp(share, axis=0).max() > 1e-6:
            raise CellError("a state follows others at once, in a way that changes with V or a concentration")
        rates[np.ix_(range(n), dependent, independent)] = share @ inner
        inflow[:, dependent] = np.einsum("nij,nj->ni", share, drive)
    return rates, inflow


def _logarithm(part: Floats, offset: Floats, dt: float) -> tuple[Floats, Floats]:
    """Generator of a step that is a matrix exponential."""
    n, k = offset.shape
    whole = np.zeros((n, k + 1, k + 1))
    whole[:, :k, :k], whole[:, :k, k], whole[:, k, k] = part, offset, 1.0
    values, vectors = np.linalg.eig(whole)
    generator = np.real((vectors * np.log(values)[:, None, :]) @ np.linalg.inv(vectors)) / dt
    return generator[:, :k, :k], generator[:, :k, k]


def step_scheme(rates: Floats, inflow: Floats, x: Floats, dt_ms: float, rule: str) -> Floats:
    """States (K,) of one scheme after a step by NEURON's rule: x' = rates x + inflow.

    Args:
        rates: (K, K) [1/ms].
        inflow: (K,) [1/ms].
        x: (K,) states before it.
        dt_ms: length of the step [ms].
        rule: "exact", "implicit" or "explicit".
    """
    k = len(x)
    if rule == "implicit":
        return np.asarray(np.linalg.solve(np.eye(k) - dt_ms * rates, x + dt_ms * inflow))
    if rule == "explicit":
        return np.asarray(x + dt_ms * (rates @ x + inflow))
    whole = np.zeros((k + 1, k + 1))
    whole[:k, :k], whole[:k, k] = rates, inflow
    return np.asarray((expm(dt_ms * whole) @ np.append(x, 1.0))[:k])
