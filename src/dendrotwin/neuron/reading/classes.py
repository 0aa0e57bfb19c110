"""Which of a mechanism's compartments are alike: what differs in the size of their currents alone makes no class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.neuron.reading.bench import Bench, Globals, Places, columns, short
from dendrotwin.neuron.reading.found import Found, Inventory
from dendrotwin.neuron.reading.kinetics import DT_MS

FEW_V_MV = np.array([-120.0, -93.0, -71.3, -55.1, -41.7, -22.9, -3.3, 18.7, 47.1]) + 0.0137
STATES = (0.25, 0.4, 0.7)


@dataclass(frozen=True, eq=False)
class Class:
    """Compartments in which a mechanism is the same but for the size of its currents.

    Attributes:
        members: (m,) which of the mechanism's compartments.
        reference: the one that is probed, with the largest of the parameters that scale.
        shaping: values of what makes the class.
        live: ions whose concentration changes there.
        moving: those whose reversal potential, not being that of an ohmic current, changes with it.
    """

    members: Ints
    reference: Places
    shaping: dict[str, float]
    live: tuple[str, ...]
    moving: frozenset[str]


def find_classes(found: Found, inventory: Inventory) -> list[Class]:
    """The classes of a mechanism that is no pool."""
    places, m = found.places, len(found.at)
    live = {ion: inventory.live[ion][found.at] for ion in places.ions}
    moves = {ion: inventory.moves[ion][found.at] for ion in places.ions}
    varying = {name: x for name, x in quantities(places).items() if np.ptp(x) > 0}
    largest = _largest(places)
    for ion in places.ions:  # a reversal potential that moves counts even where it starts the same everywhere
        if moves[ion].any():
            varying[f"e {ion}"] = np.unique([*places.ions[ion]["e"], places.ions[ion]["e"][0] + 7.0])
    shapes = _shaping(found.name, largest, varying, inventory.shared)
    keys = np.zeros((m, 0))
    for name in shapes:
        x = quantities(places)[name].copy()
        kind, _, ion = name.partition(" ")
        if kind == "i":
            x[live[ion]] = np.nan
        elif kind == "e":
            x[moves[ion]] = np.nan
        keys = np.column_stack([keys, x])
    # Liveness itself makes classes where the concentration, or a reversal potential that moves, matters.
    for ion in sorted(places.ions):
        keys = np.column_stack([keys, live[ion], moves[ion]])
    _, first, member = np.unique(np.nan_to_num(keys, nan=1e300), axis=0, return_index=True, return_inverse=True)
    classes = []
    for k in range(len(first)):
        members = np.flatnonzero(member.ravel() == k).astype(np.int32)
        reference = _with(largest, {name: quantities(places)[name][members[0]] for name in [*shapes, *_fixed(places)]})
        shaping = {short(name, found.name): float(quantities(places)[name][members[0]]) for name in shapes}
        alive = tuple(ion for ion in sorted(live) if live[ion][members[0]])
        moving = frozenset(ion for ion in alive if f"e {ion}" in shapes and moves[ion][members[0]])
        classes.append(Class(members, reference, shaping, alive, moving))
    return classes


def _fixed(places: Places) -> list[str]:
    return [f"{key} {ion}" for ion in places.ions for key in "ioe"]


def quantities(places: Places) -> dict[str, Floats]:
    """All that a place is, flat: parameters, "diam", and "i", "o", "e" of each ion."""
    ions = {f"{key} {ion}": x for ion, values in places.ions.items() for key, x in values.items()}
    return {**places.parameters, "diam": places.diam_um, **ions}


def _with(places: Places, values: dict[str, Floats] | dict[str, float]) -> Places:
    """Places with other values of some quantities."""
    parameters, diam = dict(places.parameters), places.diam_um
    ions = {ion: dict(x) for ion, x in places.ions.items()}
    n = len(places)
    for name, value in values.items():
        x = np.broadcast_to(np.asarray(value, dtype=float), n)
        key, _, ion = name.partition(" ")
        if ion:
            ions[ion][key] = x
        elif name == "diam":
            diam = x
        else:
            parameters[name] = x
    return Places(parameters, diam, ions)


def _largest(places: Places) -> Places:
    """One place with the value of each parameter that is furthest from 0."""
    one = places.take([0])
    return _with(one, {name: float(x[np.argmax(np.abs(x))]) for name, x in places.parameters.items()})


def _shaping(name: str, base: Places, varying: dict[str, Floats], shared: Globals) -> list[str]:
    """Which of the varying quantities do more than scale currents, or shift where ohmic ones reverse."""
    if not varying:
        return []
    variants: list[tuple[str, float]] = [("", 0.0)]
    for quantity, x in varying.items():
        different = np.unique(x)
        for k in sorted({0, len(different) // 2, len(different) - 1}):
            variants.append((quantity, float(different[k])))
    rows, v, s = columns(len(variants), len(FEW_V_MV), len(STATES))
    places = base.take(np.zeros(len(rows), dtype=np.intp))
    values = {quantity: quantities(places)[quantity].copy() for quantity in varying}
    for k, (quantity, value) in enumerate(variants):
        if quantity:
            values[quantity][rows == k] = value
    shape = (len(variants), len(FEW_V_MV), len(STATES))
    with Bench(name, _with(places, values), shared) as bench:
        # Every state another, and the same at all potentials.
        states = np.array([np.array(STATES)[s] * (1 + 0.13 * np.cos(j + 2 * s)) for j in range(len(bench.states))])
        states = states.reshape(len(bench.states), bench.n)
        after = bench.step(FEW_V_MV[v], states, DT_MS).reshape(len(bench.states), *shape)
        # A state that follows at once is what a step makes of it.
        states = np.where(_instant(bench, FEW_V_MV[v], states), after.reshape(states.shape), states)
        currents = {ion: x.reshape(shape) for ion, x in bench.currents(FEW_V_MV[v], states).items()}
    found = []
    for k, (quantity, value) in enumerate(variants):
        if not quantity or quantity in found:
            continue
        same = np.allclose(after[:, k], after[:, 0], rtol=1e-9, atol=1e-13, equal_nan=True)
        of = quantity[2:] if quantity.startswith("e ") else None
        shift = value - float(quantities(base)[quantity][0])
        if not same or not all(_plain(x[0], x[k], ion, of, shift) for ion, x in currents.items()):
            found.append(quantity)
    return found


def _instant(bench: Bench, v: Floats, states: Floats) -> np.ndarray:
    """(states, 1) which do not depend on what they were."""
    if not len(states):
        return np.zeros((0, 1), dtype=bool)
    first, second = bench.step(v, states, 1e-4), bench.step(v, states * 0.8 + 0.05, 1e-4)
    return np.asarray((np.abs(first - second).max(axis=1) < 1e-9)[:, None])


def _plain(base: Floats, other: Floats, ion: str, of: str | None, shift: float) -> bool:
    """Whether a current (potentials, states) is another but for its size, or both are ohmic with g and E apart.

    Where the reversal potential of the ion `of` was shifted, E must be shifted alike, to move with it.
    """
    tolerance = 1e-7 if ion else 1e-5
    scale = max(np.abs(base).max(), np.abs(other).max())
    if scale == 0 or np.allclose(base, other, rtol=0, atol=1e-9 * scale):
        return True
    if of is None:
        weight = np.abs(base) > 1e-3 * np.abs(base).max()
        ratio = other[weight] / base[weight]
        if not np.any(other) or (len(ratio) and np.ptp(ratio) < tolerance * np.abs(ratio).max()):
            size = float(ratio.mean()) if len(ratio) else 0.0
            return bool(np.abs(other - size * base).max() <= tolerance * scale)
    if of is not None and of != ion:
        return False
    slope, reversal = [], []
    for x in (base, other):
        fit = np.stack([FEW_V_MV, np.ones_like(FEW_V_MV)], axis=1)
        line, *_ = np.linalg.lstsq(fit, x, rcond=None)  # (2, states)
        if np.abs(fit @ line - x).max() > tolerance * np.abs(x).max() or np.abs(line[0]).min() == 0:
            return False
        slope.append(line[0])
        reversal.append(-line[1] / line[0])
    ratio = slope[1] / slope[0]
    if np.ptp(ratio) > tolerance * np.abs(ratio).max():
        return False
    if np.ptp(reversal[0]) > 1e-4 or np.ptp(reversal[1]) > 1e-4:
        return False
    return of is None or bool(abs(reversal[1][0] - reversal[0][0] - shift) < 1e-4 and abs(ratio[0] - 1) < 1e-5)
