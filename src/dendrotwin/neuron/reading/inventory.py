"""What a cell holds before anything is probed: its mechanisms, their parameters, its ions and their pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.neuron.reading.ions import reversal_follows
from dendrotwin.neuron.reading.voltage_clamp import Compartments, VoltageClamp
from dendrotwin.neuron.variables import ASSIGNED, PARAMETERS, STATES, Globals, elements, range_pointers, values_of

NO_CHANNELS = {"morphology", "capacitance"}  # what NEURON lists among a segment's mechanisms besides
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class InsertedMechanism:
    """A mechanism of the cell.

    Attributes:
        name: NEURON's.
        at: (m,) its compartments.
        compartments: what they are like.
        start: (states, m) after `finitialize`.
        writes: ions whose inside concentration it writes.
    """

    name: str
    at: Ints
    compartments: Compartments
    start: Floats
    writes: list[str]


@dataclass(frozen=True, eq=False)
class Inventory:
    """All of a cell.

    Attributes:
        mechanisms: in NEURON's order.
        inside_mM: (n,) inside concentration of each ion [mM], NaN where it is not.
        outside_mM: (n,) outside concentration of each ion [mM], NaN where it is not.
        has_pool: (n,) of each ion: where a mechanism writes its concentration.
        follows_nernst: (n,) of each ion: where its reversal potential follows its concentration too.
        shared: GLOBALs.
        drifts: why mechanisms that `finitialize` changes each time cannot be held, by name.
    """

    mechanisms: list[InsertedMechanism]
    inside_mM: dict[str, Floats]
    outside_mM: dict[str, Floats]
    has_pool: dict[str, Mask]
    follows_nernst: dict[str, Mask]
    shared: Globals
    drifts: dict[str, str]


class _Segments:
    """The cell's segments, of which variables are read section by section."""

    def __init__(self, segments: list[Any]) -> None:
        self.sections = [segment.sec for segment in segments]
        self.index = [int(segment.x * segment.sec.nseg) for segment in segments]  # in the section

    def values(self, at: list[int], name: str) -> Floats:
        """(len(at),) of a RANGE variable in some of the segments."""
        first: dict[Any, int] = {}
        count = 0
        for k in at:
            if self.sections[k] not in first:
                first[self.sections[k]] = count
                count += self.sections[k].nseg
        of_sections = values_of(range_pointers([*first], [name]))
        return of_sections[[first[self.sections[k]] + self.index[k] for k in at]]


def take_inventory(segments: list[Any], v_init_mV: float, celsius: float) -> Inventory:
    """What the segments hold, and what `finitialize` makes of it.

    Args:
        segments: n of NEURON's, in the order of the compartments.
        v_init_mV: potential at the start [mV].
        celsius: temperature [degC].
    """
    from neuron import h

    h.celsius = celsius
    at, ion_at = _where(segments)
    all_segments = _Segments(segments)
    parameters = {name: _parameters(name, all_segments, members) for name, members in at.items()}
    h.finitialize(v_init_mV)
    drifts = _drifts(at, all_segments, v_init_mV)
    shared = Globals([*at])
    ions = {ion: _ion(ion, all_segments, where) for ion, where in ion_at.items()}
    mechanisms = []
    has_pool = {ion: np.zeros(len(segments), dtype=bool) for ion in ion_at}
    for name, members in at.items():
        used = sorted(m.name().removesuffix("_ion") for m in segments[members[0]] if m.is_ion())
        in_members = {ion: {key: x[members] for key, x in ions[ion].values.items()} for ion in used}
        diam = np.array([segments[k].diam for k in members])
        with VoltageClamp(name, Compartments(parameters[name], diam, in_members).take([0]), shared) as clamp:
            own, writes = clamp.ions, clamp.writes
        compartments = Compartments(parameters[name], diam, {ion: in_members[ion] for ion in own})
        states = elements(name, STATES)
        start = np.array([all_segments.values(members, state) for state in states]).reshape(len(states), len(members))
        for ion in writes:
            has_pool[ion][members] = True
        mechanisms.append(InsertedMechanism(name, np.array(members, dtype=np.int32), compartments, start, writes))
    return Inventory(
        mechanisms,
        {ion: x.values["i"] for ion, x in ions.items()},
        {ion: x.values["o"] for ion, x in ions.items()},
        has_pool,
        {ion: has_pool[ion] & x.reversal_follows for ion, x in ions.items()},
        shared,
        drifts,
    )


class _Ion(NamedTuple):
    """An ion in all segments (n,): concentrations "i", "o" [mM], reversal "e" [mV]; whether NEURON moves the latter."""

    values: dict[str, Floats]
    reversal_follows: Mask


def _ion(ion: str, segments: _Segments, where: list[int]) -> _Ion:
    n = len(segments.sections)
    values = {key: np.full(n, np.nan) for key in "ioe"}
    for key, variable in (("i", f"{ion}i"), ("o", f"{ion}o"), ("e", f"e{ion}")):
        values[key][where] = segments.values(where, variable)
    of_section: dict[Any, bool] = {}
    follows = np.zeros(n, dtype=bool)
    for k in where:
        section = segments.sections[k]
        if section not in of_section:
            of_section[section] = reversal_follows(ion, section)
        follows[k] = of_section[section]
    return _Ion(values, follows)


def _drifts(at: dict[str, list[int]], segments: _Segments, v_init_mV: float) -> dict[str, str]:
    """Mechanisms of which one `finitialize` after another finds other parameters."""
    from neuron import h

    def now() -> dict[str, dict[str, Floats]]:
        return {
            name: {
                **{key: np.ravel(value) for key, _, value in Globals([name]).values},
                **{key: segments.values(members, key) for key in elements(name, PARAMETERS)},
            }
            for name, members in at.items()
        }

    before = now()
    h.finitialize(v_init_mV)
    after = now()
    found = {}
    for name, values in before.items():
        changed = [key for key, x in values.items() if not np.array_equal(x, after[name][key], equal_nan=True)]
        if changed:
            own = ", ".join(key.removesuffix(f"_{name}") for key in changed)
            found[name] = f"its INITIAL changes {own} each time, so that two equal starts differ"
    return found


def _where(segments: list[Any]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Compartments of each density mechanism, and of each ion."""
    at: dict[str, list[int]] = {}
    ions: dict[str, list[int]] = {}
    for k, segment in enumerate(segments):
        for mechanism in segment:
            name = mechanism.name()
            if mechanism.is_ion():
                ions.setdefault(name.removesuffix("_ion"), []).append(k)
            elif name not in NO_CHANNELS:
                at.setdefault(name, []).append(k)
    return at, ions


def _parameters(name: str, segments: _Segments, at: list[int]) -> dict[str, Floats]:
    """(m,) of each RANGE parameter; and of what is ASSIGNED where a user has set it."""
    values = {p: segments.values(at, p) for p in elements(name, PARAMETERS)}
    for p in elements(name, ASSIGNED):
        x = segments.values(at, p)
        if np.any(x != 0):
            values[p] = x
    return values
