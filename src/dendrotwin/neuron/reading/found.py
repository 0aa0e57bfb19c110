"""What stands in a cell: mechanisms, their parameters, ions and pools, before anything is probed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.neuron.reading.bench import Bench, Globals, Places, elements, gather, ion_style, pointers

PASSED_OVER = {"morphology", "capacitance"}


@dataclass(frozen=True, eq=False)
class Found:
    """A mechanism of the cell.

    Attributes:
        name: NEURON's.
        at: (m,) its compartments.
        places: what they are like.
        start: (states, m) after `finitialize`.
        writes: ions whose inside concentration it writes.
    """

    name: str
    at: Ints
    places: Places
    start: Floats
    writes: list[str]


@dataclass(frozen=True, eq=False)
class Inventory:
    """All of a cell.

    Attributes:
        mechanisms: see there.
        inside_mM, outside_mM, e_mV: (n,) of each ion, NaN where it is not.
        live: (n,) of each ion: where it has a pool.
        moves: (n,) of each ion: where its reversal potential follows its concentration too.
        shared: GLOBALs.
        drifts: why mechanisms that `finitialize` changes each time cannot be held, by name.
    """

    mechanisms: list[Found]
    inside_mM: dict[str, Floats]
    outside_mM: dict[str, Floats]
    e_mV: dict[str, Floats]
    live: dict[str, np.ndarray]
    moves: dict[str, np.ndarray]
    shared: Globals
    drifts: dict[str, str]


class _Segments:
    """The cell's segments, of which variables are read section by section."""

    def __init__(self, segments: list[Any]) -> None:
        self.sections = [segment.sec for segment in segments]
        self.places = [int(segment.x * segment.sec.nseg) for segment in segments]

    def values(self, at: list[int], name: str) -> Floats:
        """(len(at),) of a RANGE variable in some of the segments."""
        first: dict[Any, int] = {}
        count = 0
        for k in at:
            if self.sections[k] not in first:
                first[self.sections[k]] = count
                count += self.sections[k].nseg
        return gather(pointers([*first], [name]))[[first[self.sections[k]] + self.places[k] for k in at]]


def take_inventory(segments: list[Any], v_init_mV: float, celsius: float) -> Inventory:
    """What stands in the segments, and what `finitialize` makes of it."""
    from neuron import h

    h.celsius = celsius
    at, ion_at = _where(segments)
    all_segments = _Segments(segments)
    values = {name: _parameters(name, all_segments, places) for name, places in at.items()}
    h.finitialize(v_init_mV)
    drifts = _drifts(at, all_segments, v_init_mV)
    shared = Globals([*at])
    n = len(segments)
    read: dict[str, dict[str, Floats]] = {}
    style: dict[str, np.ndarray] = {}
    for ion, where in ion_at.items():
        read[ion] = {}
        for key, variable in (("i", f"{ion}i"), ("o", f"{ion}o"), ("e", f"e{ion}")):
            read[ion][key] = np.full(n, np.nan)
            read[ion][key][where] = all_segments.values(where, variable)
        advances = {}
        style[ion] = np.zeros(n, dtype=bool)
        for k in where:
            section = all_segments.sections[k]
            if section not in advances:
                advances[section] = bool(ion_style(ion, section)["eadvance"])
            style[ion][k] = advances[section]
    mechanisms = []
    live = {ion: np.zeros(n, dtype=bool) for ion in ion_at}
    for name, compartments in at.items():
        members = np.array(compartments, dtype=np.int32)
        used = sorted(m.name().removesuffix("_ion") for m in segments[compartments[0]] if m.is_ion())
        diam = np.array([segments[k].diam for k in compartments])
        places = Places(values[name], diam, {ion: {key: x[members] for key, x in read[ion].items()} for ion in used})
        states = elements(name, 3)
        start = np.array([all_segments.values(compartments, state) for state in states])
        with Bench(name, places.take([0]), shared) as bench:
            own, writes = bench.ions, bench.writes
        places = Places(values[name], diam, {ion: places.ions[ion] for ion in own})
        for ion in writes:
            live[ion][members] = True
        mechanisms.append(Found(name, members, places, start.reshape(len(states), len(members)), writes))
    moves = {ion: live[ion] & style[ion] for ion in ion_at}
    get = lambda key: {ion: x[key] for ion, x in read.items()}  # noqa: E731
    return Inventory(mechanisms, get("i"), get("o"), get("e"), live, moves, shared, drifts)


def _drifts(at: dict[str, list[int]], segments: _Segments, v_init_mV: float) -> dict[str, str]:
    """Mechanisms of which one `finitialize` after another finds other parameters."""
    from neuron import h

    def now() -> dict[str, dict[str, Floats]]:
        return {
            name: {
                **{key: np.ravel(value) for key, _, value in Globals([name]).values},
                **{key: segments.values(places, key) for key in elements(name, 1)},
            }
            for name, places in at.items()
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
            elif name not in PASSED_OVER:
                at.setdefault(name, []).append(k)
    return at, ions


def _parameters(name: str, segments: _Segments, at: list[int]) -> dict[str, Floats]:
    """(m,) of each RANGE parameter; and of what is ASSIGNED where a user has set it."""
    values = {p: segments.values(at, p) for p in elements(name, 1)}
    for p in elements(name, 2):
        x = segments.values(at, p)
        if np.any(x != 0):
            values[p] = x
    return values
