"""Synapses of a user's own, read from NEURON by what they do, whatever they are called and however they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import CellError
from dendrotwin.neuron.synapse_clamp import SynapseClamp, probe, prove
from dendrotwin.neuron.synapse_conductances import conductances_of
from dendrotwin.neuron.variables import ASSIGNED, PARAMETERS, STATES, pointers, variables


@dataclass(frozen=True, eq=False)
class OwnInputs:
    """A cell's own synapses as m inputs, of few kinds.

    Attributes:
        points: (m) NEURON's point processes.
        weight: (m,) of each input's events.
        kinds: the distinct kinds of synapse.
        kind: (m,) which of them each input is.
    """

    points: list[Any]
    weight: Floats
    kinds: tuple[Synapse, ...]
    kind: Ints


def name_of(point: Any) -> str:
    """A point process's mechanism, such as `Exp2Syn`.

    Args:
        point: NEURON's.
    """
    return str(point.hname()).split("[")[0].split(".")[-1]


def read_synapses(cell: str, given: Sequence[Any], v_init_mV: float, celsius: float) -> OwnInputs:
    """Read what the synapses of a cell do.

    Args:
        cell: its name, for errors.
        given: see `Sections.synapses`.
        v_init_mV: a synapse excites if it reverses above this [mV].
        celsius: temperature [degC].

    Raises:
        CellError: one of them is no synapse, or none that a twin can have: says which, and why.
    """
    points, weights = [], []
    for number, one in enumerate(given):
        point, weight = one if isinstance(one, tuple) and len(one) == 2 else (one, 1.0)
        points.append(point)
        try:
            _check_target(point)
            weights.append(float(weight))
            if not 0.0 < weights[-1] < np.inf:
                raise CellError(f"has the weight {weight}; give a number above 0")
        except (CellError, TypeError, ValueError) as error:
            raise CellError(f"the cell {cell}: synapse {number}, {point}, {error}") from error

    # Synapses with the same parameters are read once, with the smallest and the largest weight that they have.
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault(_settings(point), []).append(number)
    distinct: dict[tuple[Any, ...], int] = {}
    kinds: list[Synapse] = []
    kind = np.zeros(len(points), dtype=np.int32)
    for members in groups.values():
        point = points[members[0]]
        mechanism = name_of(point)
        used = sorted({weights[number] for number in members})
        try:
            conductances = _read(point, used[0], used[-1], celsius)
        except CellError as error:
            raise CellError(
                f"the cell {cell}: the synapse {point.hname()} {error}; take another, such as Exp2Syn"
            ) from error
        if (mechanism, conductances) not in distinct:
            distinct[mechanism, conductances] = len(kinds)
            same = sum(name == mechanism for name, _ in distinct)
            charge = np.array([g.g_max_uS * (g.decay_ms - g.rise_ms) for g in conductances])
            e_mV = float(charge @ [g.e_mV for g in conductances] / charge.sum())
            name = mechanism if same == 1 else f"{mechanism} {same}"
            kinds.append(Synapse(name, e_mV > v_init_mV, conductances))
        kind[members] = distinct[mechanism, conductances]
    return OwnInputs(points, np.array(weights), tuple(kinds), kind)


def _check_target(point: Any) -> None:
    """Raise CellError, without a subject, unless it is a point process to which events of inputs alone come."""
    from neuron import h

    if not hasattr(point, "hname"):
        raise CellError("is no point process of NEURON; list objects such as h.Exp2Syn(dend(0.5))")
    mechanism, types = name_of(point), h.MechanismType(1)
    numbers = {}
    selected = h.ref("")
    for number in range(int(types.count())):
        types.select(number)
        types.selected(selected)
        numbers[selected[0]] = number
    if mechanism not in numbers:
        raise CellError("is no point process of NEURON; list objects such as h.Exp2Syn(dend(0.5))")
    if types.is_artificial(numbers[mechanism]):
        raise CellError("is an artificial cell, which sends events; list the synapses that receive them")
    if not types.is_netcon_target(numbers[mechanism]):
        raise CellError("has no NET_RECEIVE and takes no events; list synapses that do, and leave it away")
    if not point.has_loc():
        raise CellError("stands in no section; place it in one of the cell's")
    if h.CVode().netconlist("", "", point).count():
        raise CellError("gets events from a NetCon of its own; leave NetCons away, the trials' events come to it")


def _settings(point: Any) -> tuple[Any, ...]:
    """What tells a point process from others: its mechanism and its range variables."""
    from neuron import h

    values: list[Any] = [name_of(point)]
    for category in (PARAMETERS, ASSIGNED):
        standard = h.MechanismStandard(values[0], category)
        getattr(standard, "in")(point)
        names = variables(values[0], category)
        values += [standard.get(name, k) for name, size in names.items() for k in range(size)]
    return tuple(values)


def _read(point: Any, least: float, weight: float, celsius: float) -> tuple[Conductance, ...]:
    """The conductances that an event of weight 1 opens, known by events of two weights.

    Raises:
        CellError: there is no such thing; says why, without a subject.
    """
    mechanism = name_of(point)
    foreign = pointers(mechanism)
    if foreign:
        raise CellError(f"has the POINTER or RANDOM {', '.join(foreign)}: what it does depends on more than its events")
    if not variables(mechanism, STATES):
        raise CellError("has no STATE, by which it could be read")
    if max(variables(mechanism, STATES).values()) > 1:
        raise CellError("has states in arrays")
    clamp = SynapseClamp(point, mechanism, celsius)
    try:
        if clamp.ions():
            raise CellError(f"uses the ions {', '.join(clamp.ions())}, which a twin's synapses do not carry apart")
        taus, curves = probe(clamp, least, weight)
        conductances = conductances_of(taus, curves / weight)
        prove(clamp, conductances, weight)
        return conductances
    finally:
        clamp.remove()
