"""Which of a mechanism's compartments are alike.

NEURON's RANGE parameters may be others in each compartment. Those that scale currents alone, such as a density, make
no class; those that shape the kinetics, such as a shift of the activation curve, do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.inventory import InsertedMechanism, Inventory
from dendrotwin.neuron.reading.voltage_clamp import Compartments, VoltageClamp, mesh_indices
from dendrotwin.neuron.variables import Globals, short_name


@dataclass(frozen=True, eq=False)
class CompartmentClass:
    """Compartments in which a mechanism is the same but for the size of its currents.

    Attributes:
        members: (m,) which of the mechanism's compartments.
        reference: the one that is probed, with the largest of the parameters that scale.
        shaping: values of what makes the class.
        pool_ions: ions whose concentration changes there.
        nernst_ions: those whose reversal potential, not being that of an ohmic current, changes with it.
    """

    members: Ints
    reference: Compartments
    shaping: dict[str, float]
    pool_ions: tuple[str, ...]
    nernst_ions: frozenset[str]


def find_classes(inserted: InsertedMechanism, inventory: Inventory) -> list[CompartmentClass]:
    """The classes of a mechanism that is no pool.

    Args:
        inserted: the mechanism.
        inventory: of the cell.
    """
    compartments, m = inserted.compartments, len(inserted.at)
    has_pool = {ion: inventory.has_pool[ion][inserted.at] for ion in compartments.ions}
    follows = {ion: inventory.follows_nernst[ion][inserted.at] for ion in compartments.ions}
    varying = {name: x for name, x in quantities(compartments).items() if np.ptp(x) > 0}
    largest = _largest(compartments)
    for ion in compartments.ions:  # a reversal potential that moves counts even where it starts the same everywhere
        if follows[ion].any():
            e_mV = compartments.ions[ion]["e"]
            varying[f"e {ion}"] = np.unique([*e_mV, e_mV[0] + 7.0])
    shapes = _shaping(inserted.name, largest, varying, inventory.shared)
    keys = np.zeros((m, 0))
    for name in shapes:
        x = quantities(compartments)[name].copy()
        key, _, ion = name.partition(" ")
        if key == "i":
            x[has_pool[ion]] = np.nan
        elif key == "e":
            x[follows[ion]] = np.nan
        keys = np.column_stack([keys, x])
    # Having a pool itself makes classes where the concentration, or a reversal potential that follows, matters.
    for ion in sorted(compartments.ions):
        keys = np.column_stack([keys, has_pool[ion], follows[ion]])
    _, first, member = np.unique(np.nan_to_num(keys, nan=1e300), axis=0, return_index=True, return_inverse=True)
    classes = []
    for k in range(len(first)):
        members = np.flatnonzero(member.ravel() == k).astype(np.int32)
        values = {name: float(x[members[0]]) for name, x in quantities(compartments).items()}
        reference = _with(largest, {name: values[name] for name in [*shapes, *_of_ions(compartments)]})
        shaping = {short_name(name, inserted.name): values[name] for name in shapes}
        pool_ions = tuple(ion for ion in sorted(has_pool) if has_pool[ion][members[0]])
        nernst_ions = frozenset(ion for ion in pool_ions if f"e {ion}" in shapes and follows[ion][members[0]])
        classes.append(CompartmentClass(members, reference, shaping, pool_ions, nernst_ions))
    return classes


def _of_ions(compartments: Compartments) -> list[str]:
    return [f"{key} {ion}" for ion in compartments.ions for key in "ioe"]


def quantities(compartments: Compartments) -> dict[str, Floats]:
    """All that n compartments are like, (n,) each: parameters, "diam", and "i ion", "o ion", "e ion" of each ion.

    Args:
        compartments: the n.
    """
    ions = {f"{key} {ion}": x for ion, values in compartments.ions.items() for key, x in values.items()}
    return {**compartments.parameters, "diam": compartments.diam_um, **ions}


def _with(compartments: Compartments, values: dict[str, Floats] | dict[str, float]) -> Compartments:
    """Compartments with other values of some quantities."""
    parameters, diam = dict(compartments.parameters), compartments.diam_um
    ions = {ion: dict(x) for ion, x in compartments.ions.items()}
    n = len(compartments)
    for name, value in values.items():
        x = np.broadcast_to(np.asarray(value, dtype=float), n)
        key, _, ion = name.partition(" ")
        if ion:
            ions[ion][key] = x
        elif name == "diam":
            diam = x
        else:
            parameters[name] = x
    return Compartments(parameters, diam, ions)


def _largest(compartments: Compartments) -> Compartments:
    """One compartment with the value of each parameter that is furthest from 0."""
    one = compartments.take([0])
    return _with(one, {name: float(x[np.argmax(np.abs(x))]) for name, x in compartments.parameters.items()})


def _shaping(name: str, base: Compartments, varying: dict[str, Floats], shared: Globals) -> list[str]:
    """Which of the varying quantities do more than scale currents, or shift where ohmic ones reverse."""
    if not varying:
        return []
    few_mV, few_states = READING.probe.few_mV, np.array(READING.probe.few_states)
    variants: list[tuple[str, float]] = [("", 0.0)]
    for quantity, x in varying.items():
        different = np.unique(x)
        for k in sorted({0, len(different) // 2, len(different) - 1}):
            variants.append((quantity, float(different[k])))
    rows, v, s = mesh_indices(len(variants), len(few_mV), len(few_states))
    compartments = base.take(np.zeros(len(rows), dtype=np.intp))
    values = {quantity: quantities(compartments)[quantity].copy() for quantity in varying}
    for k, (quantity, value) in enumerate(variants):
        if quantity:
            values[quantity][rows == k] = value
    shape = (len(variants), len(few_mV), len(few_states))
    with VoltageClamp(name, _with(compartments, values), shared) as clamp:
        # Every state another, and the same at all potentials.
        count = len(clamp.state_names)
        states = np.array([few_states[s] * (1 + 0.13 * np.cos(j + 2 * s)) for j in range(count)])
        states = states.reshape(count, clamp.n)
        after = clamp.step(few_mV[v], states, READING.kinetics.step_ms).reshape(count, *shape)
        # A state that follows at once is what a step makes of it.
        states = np.where(_instant(clamp, few_mV[v], states), after.reshape(states.shape), states)
        currents = {ion: x.reshape(shape) for ion, x in clamp.currents(few_mV[v], states).items()}
    found = []
    for k, (quantity, value) in enumerate(variants):
        if not quantity or quantity in found:
            continue
        same = np.allclose(after[:, k], after[:, 0], rtol=1e-9, atol=1e-13, equal_nan=True)
        shifted = quantity[2:] if quantity.startswith("e ") else None
        shift = value - float(quantities(base)[quantity][0])
        if not same or not all(_scales(x[0], x[k], ion, shifted, shift) for ion, x in currents.items()):
            found.append(quantity)
    return found


def _instant(clamp: VoltageClamp, v_mV: Floats, states: Floats) -> np.ndarray:
    """(states, 1) which do not depend on what they were."""
    if not len(states):
        return np.zeros((0, 1), dtype=bool)
    first, second = clamp.step(v_mV, states, 1e-4), clamp.step(v_mV, states * 0.8 + 0.05, 1e-4)
    return np.asarray((np.abs(first - second).max(axis=1) < 1e-9)[:, None])


def _scales(base: Floats, other: Floats, ion: str, shifted: str | None, shift_mV: float) -> bool:
    """Whether a current (potentials, states) is another but for its size, or both are ohmic with g and E apart.

    Where the reversal potential of the ion `shifted` was shifted, E must be shifted alike, to move with it.
    """
    tolerance = 1e-7 if ion else 1e-5
    scale = max(np.abs(base).max(), np.abs(other).max())
    if scale == 0 or np.allclose(base, other, rtol=0, atol=1e-9 * scale):
        return True
    if shifted is None:
        large = np.abs(base) > 1e-3 * np.abs(base).max()
        ratio = other[large] / base[large]
        if not np.any(other) or (len(ratio) and np.ptp(ratio) < tolerance * np.abs(ratio).max()):
            size = float(ratio.mean()) if len(ratio) else 0.0
            return bool(np.abs(other - size * base).max() <= tolerance * scale)
    if shifted is not None and shifted != ion:
        return False
    slope, reversal = [], []
    fit = np.stack([READING.probe.few_mV, np.ones(base.shape[0])], axis=1)
    for x in (base, other):
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
    moved_mV = reversal[1][0] - reversal[0][0]
    return shifted is None or bool(abs(moved_mV - shift_mV) < 1e-4 and abs(ratio[0] - 1) < 1e-5)
