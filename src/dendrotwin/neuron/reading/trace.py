"""The proof of a reading: NEURON's mechanisms under a rough trace, and the tables by a slow, obvious interpreter.

Each state is stepped by the rule that NEURON steps it with, so that what is compared is the reading, not the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
from dendrotwin.neuron.reading.bench import Bench, nernst_mV
from dendrotwin.neuron.reading.found import Inventory
from dendrotwin.neuron.reading.kinetics import stepped
from dendrotwin.neuron.reading.mechanism import MechanismRead
from dendrotwin.neuron.reading.pools import PoolRead

BOUND = 2e-3
DT_MS, POINTS, TWICE = 0.025, 400, 2  # each point is held for two steps: some currents are those of the step before
MOST_CLASSES = 12  # of a mechanism, and members of a pool
CAPACITY = 1e5  # [S/cm2] so large that V hardly moves, so small that how it moves tells the current


def potentials(rng: np.random.Generator) -> Floats:
    """(POINTS,) jumps, ramps and spikes [mV]."""
    parts: list[Floats] = []
    while sum(map(len, parts)) < POINTS:
        n = int(rng.integers(8, 40))
        low, high = rng.uniform(-110.0, 45.0, 2)
        kind = rng.integers(3)
        if kind == 0:
            parts.append(np.full(n, low))
        elif kind == 1:
            parts.append(np.linspace(low, high, n))
        else:
            parts.append(-75.0 + 110.0 * np.exp(-0.5 * ((np.arange(n) - n / 2) / (n / 8)) ** 2))
    return np.concatenate(parts)[:POINTS] + rng.normal(0.0, 0.3, POINTS)


def concentrations(start_mM: float, rng: np.random.Generator) -> Floats:
    """(POINTS,) steps around a concentration: over decades where it is small, as of calcium [mM]."""
    widest = (-0.5, 2.0) if start_mM < 0.01 else (-0.5, 0.5)
    levels = start_mM * 10.0 ** rng.uniform(*widest, POINTS // 16 + 1)
    return np.asarray(np.repeat(levels, 16)[:POINTS])


@dataclass(frozen=True, eq=False)
class _Drive:
    """A class under the trace: potentials and, of an ion, concentrations (POINTS,), and the bench."""

    read: MechanismRead
    member: int
    bench: Bench
    v: Floats
    c: dict[str, Floats]
    moves: list[str]


def prove(mechanisms: list[MechanismRead], pools: list[PoolRead], inventory: Inventory) -> dict[str, float]:
    """The largest error of each mechanism."""
    rng = np.random.default_rng(5)
    v = potentials(rng)
    drives = [_drive(read, v, inventory, rng) for read in _some(mechanisms)]
    errors: dict[str, float] = {}
    try:
        for drive, (start, currents) in zip(drives, _run(drives), strict=True):
            expected = interpret(drive.read, drive.member, start, drive.v, drive.c, inventory)
            name = drive.read.mechanism.name
            errors[name] = max(errors.get(name, 0.0), *(_error(expected[ion], currents[ion]) for ion in expected))
    finally:
        for drive in drives:
            drive.bench.close()
    for one in pools:
        errors[one.pool.name] = max(errors.get(one.pool.name, 0.0), _pool_error(one, inventory, rng))
    return errors


def check(errors: dict[str, float]) -> dict[str, str]:
    """Why mechanisms whose error is above BOUND are refused, by name."""
    return {
        name: f"its tables differ from NEURON by {error:.1e} of its largest current under a test trace (limit {BOUND})"
        for name, error in errors.items()
        if not error <= BOUND
    }


def _some(mechanisms: list[MechanismRead]) -> list[MechanismRead]:
    """At most MOST_CLASSES of each name, evenly."""
    chosen = []
    for name in {read.mechanism.name: None for read in mechanisms}:
        own = [read for read in mechanisms if read.mechanism.name == name]
        chosen += [own[k] for k in np.unique(np.linspace(0, len(own) - 1, min(len(own), MOST_CLASSES)).astype(int))]
    return chosen


def _drive(read: MechanismRead, v: Floats, inventory: Inventory, rng: np.random.Generator) -> _Drive:
    """Its bench: the compartment in which the currents are largest."""
    sizes = [np.abs(term.density) / (np.abs(term.density).max() or 1.0) for term in read.mechanism.terms]
    member = int(np.argmax(np.sum(sizes, axis=0)))
    place = read.found.places.take([read.members[member]])
    at = read.mechanism.at[member]
    bench = Bench(read.found.name, place, inventory.shared, moving=read.moving)
    live = [ion for ion in bench.ions if inventory.live[ion][at]]
    c = {ion: concentrations(float(place.ions[ion]["i"][0]), rng) for ion in live}
    moves = [ion for ion in live if inventory.moves[ion][at]]
    return _Drive(read, member, bench, v, c, moves)


def _run(drives: list[_Drive]) -> list[tuple[Floats, dict[str, Floats]]]:
    """States at the start, and currents (POINTS,) of each ion and of none, of every class at once in NEURON."""
    from neuron import h

    if not drives:
        return []
    for drive in drives:
        drive.bench.prepare(drive.v[0], conc={ion: c[0] for ion, c in drive.c.items()})
    h.finitialize()
    drives[0].bench.restore_shared()
    starts = [drive.bench.states_now()[:, 0] for drive in drives]
    put: list[tuple[object, Floats]] = []
    for drive in drives:
        segment = drive.bench.sections[0](0.5)
        put.append((segment._ref_v, drive.v))
        for section in drive.bench.sections:
            section.cm = CAPACITY * DT_MS * 1e3
        for ion in drive.bench.ions:
            there = {key: float(x[0]) for key, x in drive.bench.places.ions[ion].items()}
            inside = drive.c.get(ion, np.full(POINTS, there["i"]))
            moving = ion in drive.moves
            e = nernst_mV(ion) * np.log(there["o"] / inside) if moving else np.full(POINTS, there["e"])
            put += [(getattr(segment, f"_ref_{ion}i"), inside), (getattr(segment, f"_ref_e{ion}"), e)]
    where, values = _pointers([ref for ref, _ in put]), np.array([x for _, x in put])
    read = [(k, ion) for k, drive in enumerate(drives) for ion in drive.bench.ions]
    own = [getattr(drives[k].bench.sections[0](0.5), f"_ref_i{ion}") for k, ion in read]
    taken = _pointers(own) if read else None
    currents, moved = np.zeros((len(read), POINTS)), np.zeros((len(drives), POINTS))
    potentials_at = _pointers([drive.bench.sections[0](0.5)._ref_v for drive in drives])
    out, held = h.Vector(len(drives)), h.Vector(max(len(read), 1))
    h.dt = DT_MS
    for point in range(POINTS):
        now = h.Vector(values[:, point])
        for _ in range(TWICE):
            where.scatter(now)
            h.fadvance()
        potentials_at.gather(out)
        moved[:, point] = np.array(out) - [drive.v[point] for drive in drives]
        if taken is not None:
            taken.gather(held)
            currents[:, point] = held
    found = []
    for k in range(len(drives)):
        carried = {ion: currents[i] for i, (j, ion) in enumerate(read) if j == k}
        carried[""] = -CAPACITY * moved[k] - sum(carried.values())
        found.append((starts[k], carried))
    return found


def _pointers(references: list[object]) -> Any:
    from neuron import h

    vector = h.PtrVector(len(references))
    for k, one in enumerate(references):
        vector.pset(k, one)
    return vector


def interpret(
    read: MechanismRead, member: int, start: Floats, v: Floats, c: dict[str, Floats], inventory: Inventory
) -> dict[str, Floats]:
    """Current (POINTS,) of each ion by the tables, at the second of the two steps for which a point is held.

    Args:
        read: the class.
        member: which of its compartments.
        start: (states of NEURON,) at the start.
        v, c: (POINTS,) potentials, and concentrations of ions.
        inventory: for concentrations outside.
    """
    mechanism, states = read.mechanism, np.zeros((POINTS, len(read.kept)))
    x = start[list(read.kept)]
    steps: list[Callable[[int, Floats], Floats]] = []
    for gate, rule in zip(mechanism.gates, read.rules, strict=False):
        level = c.get(gate.ion)
        steady, tau = _look_up(gate.steady, gate.over, v, level), _look_up(gate.tau_ms, gate.over, v, level)
        keep = {"implicit": 1 / (1 + DT_MS / tau), "explicit": 1 - DT_MS / tau}.get(rule, np.exp(-DT_MS / tau))
        steps.append(lambda point, y, s=steady, k=keep: s[point] + (y - s[point]) * k[point])  # type: ignore[misc]
    for scheme, rule in zip(mechanism.schemes, read.rules[len(mechanism.gates) :], strict=True):
        if scheme.over == "vc":
            level = c[scheme.ion]
            rates, inflow = (_over_both(x, BOTH_C_MM, BOTH_V_MV, level, v) for x in (scheme.rates, scheme.inflow))
        else:
            grid, along = (np.log(SCHEME_C_MM), np.log(c[scheme.ion])) if scheme.ion else (SCHEME_V_MV, v)
            rates, inflow = _between(scheme.rates, grid, along), _between(scheme.inflow, grid, along)
        steps.append(lambda point, y, q=rates, b=inflow, r=rule: stepped(q[point], b[point], y, DT_MS, r))  # type: ignore[misc]
    widths = [1] * len(mechanism.gates) + [len(scheme.names) for scheme in mechanism.schemes]
    borders = np.concatenate([[0], np.cumsum(widths)]).astype(int)
    for point in range(POINTS):
        for turn in range(TWICE):
            if turn == TWICE - 1:
                states[point] = x
            parts = [step(point, x[a:b]) for step, a, b in zip(steps, borders[:-1], borders[1:], strict=True)]
            x = np.concatenate(parts) if parts else x
    currents: dict[str, Floats] = {}
    for term in mechanism.terms:
        with np.errstate(invalid="ignore"):
            product = np.prod(states**term.powers, axis=1)
        size = product * term.density[member] * _driving(term, member, int(mechanism.at[member]), v, c, inventory)
        currents[term.ion] = currents.get(term.ion, 0.0) + size
    return currents


def _driving(term: Term, member: int, at: int, v: Floats, c: dict[str, Floats], inventory: Inventory) -> Floats:
    if term.table is None:
        if term.moves:
            return np.asarray(v - nernst_mV(term.ion) * np.log(inventory.outside_mM[term.ion][at] / c[term.ion]))
        return np.asarray(v - term.e_mV[member])
    level = c.get(term.c_ion)
    if term.table.ndim == 2 and len(term.table) == 2:
        assert level is not None
        return np.asarray(np.interp(v, V_GRID_MV, term.table[0]) + level * np.interp(v, V_GRID_MV, term.table[1]))
    return _look_up(term.table, "vc" if term.table.ndim == 2 else "v", v, level)


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
    miss = float(np.abs(expected - current).max())
    return miss / scale if scale > 0 else (0.0 if miss == 0 else float("inf"))


def _pool_error(one: PoolRead, inventory: Inventory, rng: np.random.Generator) -> float:
    """Of a pool's concentration under random currents, a share of how much it changes."""
    pool = one.pool
    some = np.unique(np.linspace(0, len(pool.at) - 1, min(len(pool.at), MOST_CLASSES)).astype(int))
    rate, rest = pool.rate_per_ms[some], pool.rest_mM[some]
    start = inventory.inside_mM[pool.ion][pool.at[some]]
    gain = np.maximum(np.abs(pool.gain_in[some]), 1e-30)
    size = 20 * np.maximum(np.abs(rest), start) * np.maximum(rate, 0.02) / gain
    amps = rng.uniform(-1.0, 0.3, (POINTS, 1)) * size
    c, worst, change = start.copy(), 0.0, 0.0
    with Bench(pool.name, one.places.take(some), inventory.shared, source=pool.ion) as bench:
        bench.prepare(-65.0, conc={pool.ion: start})
        if bench.states:
            bench.set_states(np.broadcast_to(start, (len(bench.states), bench.n)))
        for amp in amps:
            bench.set_amp(amp)
            bench.advance(DT_MS)
            influx = np.where(amp < 0, pool.gain_in[some], pool.gain_out[some]) * amp
            if one.rule == "implicit":
                c = (c + DT_MS * (influx + rate * rest)) / (1 + DT_MS * rate)
            elif one.rule == "explicit":
                c = c + DT_MS * (influx + rate * (rest - c))
            else:
                share = np.where(rate > 0, -np.expm1(-rate * DT_MS) / np.where(rate > 0, rate, 1.0), DT_MS)
                c = c + share * (influx + rate * (rest - c))
            seen = bench.ion(pool.ion, "i")
            worst = max(worst, float(np.abs(c - seen).max()))
            change = max(change, float(np.abs(seen - start).max()))
    return worst / change if change > 0 else (0.0 if worst == 0 else float("inf"))
