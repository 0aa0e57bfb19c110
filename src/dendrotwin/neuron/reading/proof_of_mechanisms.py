"""The proof of a reading: NEURON's mechanisms under a rough trace, and the tables by a slow, obvious interpreter.

Each state is stepped by the rule that NEURON steps it with, so that what is compared is the reading, not the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import (
    BOTH_C_MM,
    BOTH_V_MV,
    C_GRID_MM,
    PLANE_C_MM,
    PLANE_V_MV,
    SCHEME_C_MM,
    SCHEME_V_MV,
    V_GRID_MV,
    Term,
)
from dendrotwin.cell.tree import Floats
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.inventory import Inventory
from dendrotwin.neuron.reading.ions import nernst_mV
from dendrotwin.neuron.reading.kinetics import step_scheme
from dendrotwin.neuron.reading.mechanism import MechanismRead
from dendrotwin.neuron.reading.pools import PoolRead
from dendrotwin.neuron.reading.voltage_clamp import Conditions, VoltageClamp


def trace_of_potentials(rng: np.random.Generator) -> Floats:
    """(points,) jumps, ramps and spikes [mV].

    Args:
        rng: random numbers.
    """
    points = READING.mechanism_proof.points
    parts: list[Floats] = []
    while sum(map(len, parts)) < points:
        n = int(rng.integers(8, 40))
        low, high = rng.uniform(-110.0, 45.0, 2)
        course = rng.integers(3)
        if course == 0:
            parts.append(np.full(n, low))
        elif course == 1:
            parts.append(np.linspace(low, high, n))
        else:
            parts.append(-75.0 + 110.0 * np.exp(-0.5 * ((np.arange(n) - n / 2) / (n / 8)) ** 2))
    return np.concatenate(parts)[:points] + rng.normal(0.0, 0.3, points)


def trace_of_concentrations(start_mM: float, rng: np.random.Generator) -> Floats:
    """(points,) steps around a concentration: over decades where it is small, as of calcium [mM].

    Args:
        start_mM: the concentration at the start [mM].
        rng: random numbers.
    """
    points = READING.mechanism_proof.points
    decades = (-0.5, 2.0) if start_mM < 0.01 else (-0.5, 0.5)
    levels = start_mM * 10.0 ** rng.uniform(*decades, points // 16 + 1)
    return np.asarray(np.repeat(levels, 16)[:points])


@dataclass(frozen=True, eq=False)
class _Drive:
    """A class under the trace: (points,) potentials [mV] and concentrations of ions [mM], and its clamp."""

    read: MechanismRead
    member: int
    clamp: VoltageClamp
    v_mV: Floats
    c_mM: dict[str, Floats]
    nernst_ions: list[str]


def prove(mechanisms: list[MechanismRead], pools: list[PoolRead], inventory: Inventory) -> dict[str, float]:
    """The largest error of each mechanism, as a share of its largest current (of a pool: of its largest change).

    Args:
        mechanisms: that were read, class by class.
        pools: that were read.
        inventory: of the cell.
    """
    rng = np.random.default_rng(READING.mechanism_proof.seed)
    v_mV = trace_of_potentials(rng)
    drives = [_drive(read, v_mV, inventory, rng) for read in _some(mechanisms)]
    errors: dict[str, float] = {}
    try:
        for drive, (start, currents) in zip(drives, _run(drives), strict=True):
            expected = interpret(drive.read, drive.member, start, drive.v_mV, drive.c_mM, inventory)
            name = drive.read.mechanism.name
            errors[name] = max(errors.get(name, 0.0), *(_error(expected[ion], currents[ion]) for ion in expected))
    finally:
        for drive in drives:
            drive.clamp.close()
    for one in pools:
        errors[one.pool.name] = max(errors.get(one.pool.name, 0.0), _pool_error(one, inventory, rng))
    return errors


def refusals(errors: dict[str, float]) -> dict[str, str]:
    """Why mechanisms whose error is too large are refused, by name.

    Args:
        errors: by name; see `prove`.
    """
    bound = READING.mechanism_proof.largest_error
    return {
        name: f"its tables differ from NEURON by {error:.1e} of its largest current under a test trace (limit {bound})"
        for name, error in errors.items()
        if not error <= bound
    }


def _some(mechanisms: list[MechanismRead]) -> list[MechanismRead]:
    """At most so many classes of each name as are driven, evenly."""
    chosen = []
    for name in {read.mechanism.name: None for read in mechanisms}:
        own = [read for read in mechanisms if read.mechanism.name == name]
        chosen += [own[k] for k in _evenly(len(own))]
    return chosen


def _evenly(count: int) -> NDArray[np.intp]:
    """At most `most_classes` of so many numbers."""
    return np.unique(np.linspace(0, count - 1, min(count, READING.mechanism_proof.most_classes)).astype(int))


def _drive(read: MechanismRead, v_mV: Floats, inventory: Inventory, rng: np.random.Generator) -> _Drive:
    """Its clamp: of the compartment in which the currents are largest."""
    sizes = [np.abs(term.density) / (np.abs(term.density).max() or 1.0) for term in read.mechanism.terms]
    member = int(np.argmax(np.sum(sizes, axis=0)))
    compartment = read.inserted.compartments.take([read.members[member]])
    at = read.mechanism.at[member]
    clamp = VoltageClamp(read.inserted.name, compartment, inventory.shared, nernst_ions=read.nernst_ions)
    pool_ions = [ion for ion in clamp.ions if inventory.has_pool[ion][at]]
    c_mM = {ion: trace_of_concentrations(float(compartment.ions[ion]["i"][0]), rng) for ion in pool_ions}
    return _Drive(read, member, clamp, v_mV, c_mM, [ion for ion in pool_ions if inventory.follows_nernst[ion][at]])


def _run(drives: list[_Drive]) -> list[tuple[Floats, dict[str, Floats]]]:
    """States at the start, and currents (points,) of each ion and of none, of every class at once in NEURON."""
    from neuron import h

    config = READING.mechanism_proof
    points, capacity = config.points, config.capacity_S_cm2
    if not drives:
        return []
    for drive in drives:
        drive.clamp.prepare(drive.v_mV[0], conditions=Conditions({ion: c[:1] for ion, c in drive.c_mM.items()}))
    h.finitialize()
    drives[0].clamp.restore_shared()
    starts = [drive.clamp.states()[:, 0] for drive in drives]
    put: list[tuple[object, Floats]] = []
    for drive in drives:
        segment = drive.clamp.sections[0](0.5)
        put.append((segment._ref_v, drive.v_mV))
        for section in drive.clamp.sections:
            section.cm = capacity * config.step_ms * 1e3
        for ion in drive.clamp.ions:
            there = {key: float(x[0]) for key, x in drive.clamp.compartments.ions[ion].items()}
            inside = drive.c_mM.get(ion, np.full(points, there["i"]))
            follows = ion in drive.nernst_ions
            e = nernst_mV(ion) * np.log(there["o"] / inside) if follows else np.full(points, there["e"])
            put += [(getattr(segment, f"_ref_{ion}i"), inside), (getattr(segment, f"_ref_e{ion}"), e)]
    where, values = _pointers([ref for ref, _ in put]), np.array([x for _, x in put])
    read = [(k, ion) for k, drive in enumerate(drives) for ion in drive.clamp.ions]
    own = [getattr(drives[k].clamp.sections[0](0.5), f"_ref_i{ion}") for k, ion in read]
    taken = _pointers(own) if read else None
    currents, moved = np.zeros((len(read), points)), np.zeros((len(drives), points))
    potentials_at = _pointers([drive.clamp.sections[0](0.5)._ref_v for drive in drives])
    out, held = h.Vector(len(drives)), h.Vector(max(len(read), 1))
    h.dt = config.step_ms
    for point in range(points):
        now = h.Vector(values[:, point])
        for _ in range(config.steps_per_point):
            where.scatter(now)
            h.fadvance()
        potentials_at.gather(out)
        moved[:, point] = np.array(out) - [drive.v_mV[point] for drive in drives]
        if taken is not None:
            taken.gather(held)
            currents[:, point] = held
    found = []
    for k in range(len(drives)):
        carried = {ion: currents[i] for i, (j, ion) in enumerate(read) if j == k}
        carried[""] = -capacity * moved[k] - sum(carried.values())
        found.append((starts[k], carried))
    return found


def _pointers(references: list[object]) -> Any:
    from neuron import h

    vector = h.PtrVector(len(references))
    for k, one in enumerate(references):
        vector.pset(k, one)
    return vector


def interpret(
    read: MechanismRead, member: int, start: Floats, v_mV: Floats, c_mM: dict[str, Floats], inventory: Inventory
) -> dict[str, Floats]:
    """Current (points,) of each ion by the tables, at the last of the steps for which a point is held [mA/cm2].

    Args:
        read: the class.
        member: which of its compartments.
        start: (states of NEURON,) at the start.
        v_mV: (points,) potentials [mV].
        c_mM: (points,) concentrations of ions [mM].
        inventory: for concentrations outside.
    """
    config = READING.mechanism_proof
    dt_ms, points, last = config.step_ms, config.points, config.steps_per_point - 1
    mechanism, states = read.mechanism, np.zeros((points, len(read.kept)))
    x = start[list(read.kept)]
    steps: list[Callable[[int, Floats], Floats]] = []
    for gate, rule in zip(mechanism.gates, read.rules, strict=False):
        level = c_mM.get(gate.ion)
        steady, tau = _look_up(gate.steady, gate.over, v_mV, level), _look_up(gate.tau_ms, gate.over, v_mV, level)
        remaining = {"implicit": 1 / (1 + dt_ms / tau), "explicit": 1 - dt_ms / tau}.get(rule, np.exp(-dt_ms / tau))
        steps.append(lambda point, y, s=steady, k=remaining: s[point] + (y - s[point]) * k[point])  # type: ignore[misc]
    for scheme, rule in zip(mechanism.schemes, read.rules[len(mechanism.gates) :], strict=True):
        if scheme.over == "vc":
            level = c_mM[scheme.ion]
            rates, inflow = (_over_both(x, BOTH_C_MM, BOTH_V_MV, level, v_mV) for x in (scheme.rates, scheme.inflow))
        else:
            grid, along = (np.log(SCHEME_C_MM), np.log(c_mM[scheme.ion])) if scheme.ion else (SCHEME_V_MV, v_mV)
            rates, inflow = _between(scheme.rates, grid, along), _between(scheme.inflow, grid, along)
        steps.append(lambda point, y, q=rates, b=inflow, r=rule: step_scheme(q[point], b[point], y, dt_ms, r))  # type: ignore[misc]
    widths = [1] * len(mechanism.gates) + [len(scheme.names) for scheme in mechanism.schemes]
    borders = np.concatenate([[0], np.cumsum(widths)]).astype(int)
    for point in range(points):
        for turn in range(config.steps_per_point):
            if turn == last:
                states[point] = x
            parts = [step(point, x[a:b]) for step, a, b in zip(steps, borders[:-1], borders[1:], strict=True)]
            x = np.concatenate(parts) if parts else x
    currents: dict[str, Floats] = {}
    for term in mechanism.terms:
        with np.errstate(invalid="ignore"):
            product = np.prod(states**term.powers, axis=1)
        force = _driving_force(term, member, int(mechanism.at[member]), v_mV, c_mM, inventory)
        currents[term.ion] = currents.get(term.ion, 0.0) + product * term.density[member] * force
    return currents


def _driving_force(
    term: Term, member: int, at: int, v_mV: Floats, c_mM: dict[str, Floats], inventory: Inventory
) -> Floats:
    """(points,) V - E [mV], or what the term's table gives [mA/cm2]."""
    if term.table is None:
        if term.moves:
            outside_mM = inventory.outside_mM[term.ion][at]
            return np.asarray(v_mV - nernst_mV(term.ion) * np.log(outside_mM / c_mM[term.ion]))
        return np.asarray(v_mV - term.e_mV[member])
    level = c_mM.get(term.c_ion)
    if term.table.ndim == 2 and len(term.table) == 2:
        assert level is not None
        constant, slope = (np.interp(v_mV, V_GRID_MV, row) for row in term.table)
        return np.asarray(constant + level * slope)
    return _look_up(term.table, "vc" if term.table.ndim == 2 else "v", v_mV, level)


def _look_up(table: Floats, over: str, v: Floats, c: Floats | None) -> Floats:
    """A table at potentials and concentrations, linear between points (of the logarithm of c)."""
    if over == "v":
        return np.interp(v, V_GRID_MV, table)
    assert c is not None
    if over == "c":
        return np.interp(np.log(c), np.log(C_GRID_MM), table)
    return _over_both(table, PLANE_C_MM, PLANE_V_MV, c, v)


def _over_both(values: Floats, c_mM: Floats, v_mV: Floats, c: Floats, v: Floats) -> Floats:
    """Arrays over concentrations and potentials (the first two axes) at some of both."""
    q, up = _place(np.log(c_mM), np.log(c))
    p, on = (x.reshape(-1, *[1] * (values.ndim - 2)) for x in _place(v_mV, v))
    up, p = up.reshape(on.shape), p.ravel()
    low, high = (values[k, p] * (1 - on) + values[k, p + 1] * on for k in (q, q + 1))
    return np.asarray(low * (1 - up) + high * up)


def _between(values: Floats, grid: Floats, at: Floats) -> Floats:
    """Arrays along the first axis, linear between points of the grid."""
    low, share = _place(grid, at)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[low] * (1 - share) + values[low + 1] * share)


def _place(grid: Floats, at: Floats) -> tuple[np.ndarray, Floats]:
    """The point of the grid below, and how far it is to the next."""
    at = np.clip(at, grid[0], grid[-1])
    low = np.clip(np.searchsorted(grid, at) - 1, 0, len(grid) - 2)
    return low, (at - grid[low]) / (grid[low + 1] - grid[low])


def _error(expected: Floats, current: Floats) -> float:
    scale = float(np.abs(current).max())
    error = float(np.abs(expected - current).max())
    return error / scale if scale > 0 else (0.0 if error == 0 else float("inf"))


def _pool_error(one: PoolRead, inventory: Inventory, rng: np.random.Generator) -> float:
    """Of a pool's concentration under random currents, a share of how much it changes."""
    pool = one.pool
    dt_ms, some = READING.mechanism_proof.step_ms, _evenly(len(pool.at))
    rate, rest = pool.rate_per_ms[some], pool.rest_mM[some]
    start = inventory.inside_mM[pool.ion][pool.at[some]]
    gain = np.maximum(np.abs(pool.gain_in[some]), 1e-30)
    size = 20 * np.maximum(np.abs(rest), start) * np.maximum(rate, 0.02) / gain
    currents = rng.uniform(-1.0, 0.3, (READING.mechanism_proof.points, 1)) * size
    c, worst, change = start.copy(), 0.0, 0.0
    with VoltageClamp(pool.name, one.compartments.take(some), inventory.shared, source=pool.ion) as clamp:
        clamp.prepare(-65.0, conditions=Conditions({pool.ion: start}))
        if clamp.state_names:
            clamp.set_states(np.broadcast_to(start, (len(clamp.state_names), clamp.n)))
        for current in currents:
            clamp.set_source(current)
            clamp.advance(dt_ms)
            influx = np.where(current < 0, pool.gain_in[some], pool.gain_out[some]) * current
            if one.rule == "implicit":
                c = (c + dt_ms * (influx + rate * rest)) / (1 + dt_ms * rate)
            elif one.rule == "explicit":
                c = c + dt_ms * (influx + rate * (rest - c))
            else:
                share = np.where(rate > 0, -np.expm1(-rate * dt_ms) / np.where(rate > 0, rate, 1.0), dt_ms)
                c = c + share * (influx + rate * (rest - c))
            seen = clamp.ion(pool.ion, "i")
            worst = max(worst, float(np.abs(c - seen).max()))
            change = max(change, float(np.abs(seen - start).max()))
    return worst / change if change > 0 else (0.0 if worst == 0 else float("inf"))
