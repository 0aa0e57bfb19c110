"""A bench: many isolated segments of NEURON with one mechanism, each at its own potential and concentrations.

The segments share no current (Ra is huge) and their potentials stand still (cm is huge), so that one call of NEURON
fills a whole table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import CellError
from dendrotwin.neuron.compile import build_mechanisms
from dendrotwin.support.cache import cache_folder

STILL_OHM_CM, STILL_UF_CM2 = 1e20, 1e12
LENGTH_UM, SEGMENTS_PER_SECTION = 10.0, 1000
SETTLE_MS = 1e-3  # a step before a current is read: some mechanisms compute in SOLVE what their current needs
# Two capacitances [S/cm2, of a step of 1 ms] tell the whole current and its slope from the steps of V.
CAPACITIES = (3.0, 6.0)
SOURCE = "DendrotwinSource_{}"
_fills: dict[str, str] = {}  # NEURON's procedure that fills a PtrVector, by variable


@dataclass(frozen=True, eq=False)
class Places:
    """What NEURON's segments are like, for n of them.

    Attributes:
        parameters: (n,) of each RANGE parameter of the mechanism, by NEURON's name; `name[k]` of an array's element.
        diam_um: (n,).
        ions: (n,) of each ion's inside "i" and outside "o" concentration [mM] and reversal potential "e" [mV].
    """

    parameters: dict[str, Floats]
    diam_um: Floats
    ions: dict[str, dict[str, Floats]]

    def __len__(self) -> int:
        return len(self.diam_um)

    def take(self, at: ArrayLike) -> Places:
        """Those of the given numbers, which may come several times."""
        at = np.asarray(at, dtype=np.intp)
        ions = {ion: {key: x[at] for key, x in values.items()} for ion, values in self.ions.items()}
        return Places({name: x[at] for name, x in self.parameters.items()}, self.diam_um[at], ions)


class Globals:
    """GLOBAL variables of all mechanisms, as the cell's `finitialize` leaves them: name, size and value."""

    def __init__(self, mechanisms: list[str]) -> None:
        from neuron import h

        self.values: list[tuple[str, int, float | list[float]]] = []
        for mechanism in mechanisms:
            for name, size in variables(mechanism, -1):
                value = getattr(h, name)
                self.values.append((name, size, float(value) if size == 1 else [float(value[k]) for k in range(size)]))

    def restore(self) -> None:
        """Put them back."""
        from neuron import h

        for name, size, value in self.values:
            if size > 1 and isinstance(value, list):
                array = getattr(h, name)
                for k in range(size):
                    array[k] = value[k]
            elif getattr(h, name) != value:
                setattr(h, name, value)


def variables(mechanism: str, kind: int) -> list[tuple[str, int]]:
    """NEURON's name and size of a mechanism's variables: 1 parameters, 2 assigned, 3 states; -1 globals."""
    from neuron import h

    standard, name = h.MechanismStandard(mechanism, kind), h.ref("")
    found = []
    for k in range(int(standard.count())):
        size = standard.name(name, k)
        found.append((str(name[0]), int(size)))
    return found


def elements(mechanism: str, kind: int) -> list[str]:
    """As `variables`, each element of an array for itself, as `name[k]`."""
    return [name if size == 1 else f"{name}[{k}]" for name, size in variables(mechanism, kind) for k in range(size)]


def short(name: str, mechanism: str) -> str:
    """A RANGE variable's name in NMODL: without its mechanism's."""
    stem, bracket, index = name.partition("[")
    return stem.removesuffix(f"_{mechanism}") + bracket + index


def pointers(sections: list[Any], names: list[str]) -> Any:
    """A PtrVector to RANGE variables (`name[k]` of an array's element) of all segments: name after name.

    NEURON's own language makes them, which is ten times as fast.
    """
    from neuron import h

    sizes = [section.nseg for section in sections]
    vector, at = h.PtrVector(max(len(names) * sum(sizes), 1)), 0
    for name in names:
        if name not in _fills:
            fill = f"dendrotwin_fill_{len(_fills)}"
            h(f"proc {fill}() {{ local i\ni = $2\nfor (x, 0) {{ $o1.pset(i, &{name}(x))\ni += 1 }} }}")
            _fills[name] = fill
        fill_it = getattr(h, _fills[name])
        for section, size in zip(sections, sizes, strict=True):
            fill_it(vector, at, sec=section)
            at += size
    return vector


def gather(vector: Any) -> Floats:
    """What a PtrVector points to."""
    from neuron import h

    values = h.Vector(vector.size())
    vector.gather(values)
    return np.array(values)


def load_sources(ions: list[str]) -> None:
    """Make a source of current for each ion known to NEURON, to see what a pool makes of a current."""
    from neuron import h

    ions = [ion for ion in ions if not hasattr(h, SOURCE.format(ion))]
    folder = cache_folder() / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    for ion in ions:
        name, charge = SOURCE.format(ion), int(h.ion_charge(f"{ion}_ion"))
        text = (
            f"NEURON {{\n SUFFIX {name}\n USEION {ion} WRITE i{ion} VALENCE {charge}\n RANGE amp\n}}\n"
            f"PARAMETER {{ amp = 0 }}\nASSIGNED {{ i{ion} }}\nBREAKPOINT {{ i{ion} = amp }}\n"
        )
        file = folder / f"{name}_{charge}.mod"
        if not file.is_file() or file.read_text() != text:
            file.write_text(text)
        build = build_mechanisms([file])
        libraries = [*build.glob("*/libnrnmech.*"), *build.glob("*/.libs/libnrnmech.*")]
        h.nrn_load_dll(str(libraries[0]))


def ion_style(ion: str, section: Any) -> dict[str, int]:
    """What NEURON does with an ion's concentration and reversal potential in a section."""
    from neuron import h

    bits = int(h.ion_style(f"{ion}_ion", sec=section))
    return {"c": bits & 3, "eadvance": bits >> 6 & 1}


class Bench:
    """n isolated segments with one mechanism.

    Attributes:
        states: NEURON's names of its states, an element of an array each.
        ions: those that the mechanism uses.
        writes: those whose concentration it writes.
    """

    def __init__(
        self,
        mechanism: str,
        places: Places,
        shared: Globals,
        source: str = "",
        moving: frozenset[str] = frozenset(),
    ) -> None:
        """Build it.

        Args:
            mechanism: NEURON's name.
            places: what each segment is like.
            shared: GLOBALs to restore at each probe.
            source: an ion that gets a source of current.
            moving: ions whose reversal potential follows their concentration.
        """
        from neuron import h

        self.h, self.mechanism, self.n, self.places, self._shared = h, mechanism, len(places), places, shared
        self.moving = moving
        self.sections: list[Any] = []
        diam = places.diam_um
        for first in range(0, self.n, SEGMENTS_PER_SECTION):
            section = h.Section(name=f"bench_{mechanism}_{first}")
            section.nseg = min(SEGMENTS_PER_SECTION, self.n - first)
            section.L, section.Ra, section.cm = LENGTH_UM * section.nseg, STILL_OHM_CM, STILL_UF_CM2
            section.diam = float(diam[first])
            section.insert(mechanism)
            if np.ptp(diam[first : first + section.nseg]) > 0:
                for segment, d in zip(section, diam[first:], strict=False):
                    segment.diam = float(d)
            self.sections.append(section)
        first_section = self.sections[0]
        self.ions = sorted(m.name().removesuffix("_ion") for m in first_section(0.5) if m.is_ion())
        self.writes = [ion for ion in self.ions if ion_style(ion, first_section)["c"] == 3]
        for section in self.sections:
            if source:
                section.insert(SOURCE.format(source))
            for ion in self.ions:  # what we set stays
                written = ion in self.writes
                h.ion_style(f"{ion}_ion", 3 if written else 1, 1, 0, 0, int(written), sec=section)
        self.states = elements(mechanism, 3)
        self._states = [self._pointers(name) for name in self.states]
        self._v = self._pointers("v")
        self._ions = {ion: {"i": f"{ion}i", "o": f"{ion}o", "e": f"e{ion}", "current": f"i{ion}"} for ion in self.ions}
        self._ion_pointers: dict[tuple[str, str], Any] = {}
        self._ion_now: dict[tuple[str, str], Floats] = {}
        self._amp = self._pointers(f"amp_{SOURCE.format(source)}") if source else None
        self._initialized = False

    def _pointers(self, name: str) -> Any:
        return pointers(self.sections, [name])

    def _ion(self, ion: str, key: str) -> Any:
        if (ion, key) not in self._ion_pointers:
            self._ion_pointers[ion, key] = self._pointers(self._ions[ion][key])
        return self._ion_pointers[ion, key]

    def _put(self, where: Any, values: ArrayLike) -> None:
        where.scatter(self.h.Vector(np.array(np.broadcast_to(np.asarray(values, dtype=float), self.n))))

    def _put_ion(self, ion: str, key: str, values: Floats) -> None:
        # What a mechanism writes is another after each step.
        if not self.writes and np.array_equal(values, self._ion_now.get((ion, key), np.zeros(0))):
            return
        self._ion_now[ion, key] = values
        if (values == values[0]).all():
            for section in self.sections:
                setattr(section, self._ions[ion][key], float(values[0]))
        else:
            self._put(self._ion(ion, key), values)

    def ion(self, ion: str, key: str) -> Floats:
        """(n,) of an ion: its "i" or "o" [mM], "e" [mV] or "current" [mA/cm2]."""
        return gather(self._ion(ion, key))

    def states_now(self) -> Floats:
        """(states, n)."""
        return np.array([gather(p) for p in self._states]).reshape(len(self._states), self.n)

    def set_states(self, states: Floats) -> None:
        """Put (states, n) or what becomes that."""
        for where, x in zip(self._states, states, strict=True):
            self._put(where, x)

    def set_v(self, v_mV: ArrayLike) -> None:
        """Put potentials (n,)."""
        self._put(self._v, v_mV)

    def v(self) -> Floats:
        """(n,) potentials [mV]."""
        return gather(self._v)

    def set_amp(self, amp: ArrayLike) -> None:
        """Put the source's current (n,) [mA/cm2]."""
        self._put(self._amp, amp)

    def set_ions(self, conc: dict[str, ArrayLike] | None = None, e: dict[str, ArrayLike] | None = None) -> None:
        """Put concentrations and reversal potentials: those given, else those of the places."""
        conc, e = conc or {}, e or {}
        for ion in self.ions:
            there = self.places.ions[ion]
            inside = np.broadcast_to(np.asarray(conc.get(ion, there["i"]), dtype=float), self.n)
            self._put_ion(ion, "i", inside)
            self._put_ion(ion, "o", there["o"])
            reversal: ArrayLike = e.get(ion, there["e"])
            if ion in self.moving:
                reversal = nernst_mV(ion) * np.log(there["o"] / inside)
            self._put_ion(ion, "e", np.broadcast_to(np.asarray(reversal, dtype=float), self.n))

    def restore_shared(self) -> None:
        """Put GLOBALs back, as after each `finitialize`."""
        self._shared.restore()

    def set_parameters(self) -> None:
        """Put the places' parameters."""
        for name, values in self.places.parameters.items():
            if "[" not in name and (values == values[0]).all():
                for section in self.sections:
                    setattr(section, name, float(values[0]))
            else:
                self._put(self._pointers(name), values)

    def prepare(
        self,
        v_mV: ArrayLike,
        states: Floats | None = None,
        conc: dict[str, ArrayLike] | None = None,
        e: dict[str, ArrayLike] | None = None,
        amp: ArrayLike = 0.0,
        t_ms: float = 0.0,
    ) -> None:
        """Set potentials, states, concentrations, E and the time; NEURON initializes the segments the first time.

        Later times it does not, so that what a mechanism remembers beside its states is seen.
        """
        if not self._initialized:
            self.set_parameters()
            self.set_ions(conc, e)
            self.set_v(v_mV)
            try:
                self.h.finitialize()
            except RuntimeError as error:
                raise CellError(f"NEURON fails in INITIAL ({error})") from error
            self._shared.restore()
            self._initialized = True
            self._ion_now = {}
        self.h.secondorder = 0
        self.set_v(v_mV)
        if self._amp is not None:
            self._put(self._amp, amp)
        if states is not None:
            self.set_states(states)
        self.set_ions(conc, e)
        self.h.t = t_ms

    def advance(self, dt_ms: float) -> None:
        """One step of NEURON."""
        self.h.dt = dt_ms
        try:
            self.h.fadvance()
        except RuntimeError as error:
            raise CellError(f"NEURON fails in a step of {dt_ms:g} ms ({error})") from error

    def step(self, v_mV: ArrayLike, states: Floats, dt_ms: float, **kinds: Any) -> Floats:
        """(states, n) after one step; `kinds` as `prepare` takes them."""
        self.prepare(v_mV, states, **kinds)
        self.advance(dt_ms)
        return self.states_now()

    def _settle(self, v_mV: ArrayLike, states: Floats, **kinds: Any) -> None:
        self.prepare(v_mV, states, **kinds)
        self.advance(SETTLE_MS)
        self.set_states(states)
        self.set_v(v_mV)
        self.set_ions(kinds.get("conc"), kinds.get("e"))

    def currents(self, v_mV: ArrayLike, states: Floats, whole: bool = True, **kinds: Any) -> dict[str, Floats]:
        """(n,) current [mA/cm2] of each ion, and of none ("") where `whole`."""
        self._settle(v_mV, states, **kinds)
        self.h.fcurrent()
        found = {ion: self.ion(ion, "current") for ion in self.ions}
        if not whole:
            return found
        moved = []
        for k, capacity in enumerate(CAPACITIES):
            if k:
                self._settle(v_mV, states, **kinds)
            for section in self.sections:
                section.cm = capacity * 1e3
            self.advance(1.0)
            for section in self.sections:
                section.cm = STILL_UF_CM2
            moved.append(self.v() - np.broadcast_to(np.asarray(v_mV, dtype=float), self.n))
        first, second = moved
        with np.errstate(all="ignore"):
            apart = first - second
            total = -(CAPACITIES[1] - CAPACITIES[0]) * first * second / apart
            # Too small to tell the slope: it does not matter then.
            total = np.where(np.abs(apart) > 1e-9, total, -CAPACITIES[0] * first)
        rest = total - sum(found.values())
        scale = np.abs(total) + sum(np.abs(x) for x in found.values())
        # The rounding of V bounds what can be seen.
        found[""] = np.where(np.abs(rest) > 1e-9 * scale + 1e-11, rest, 0.0)
        return found

    def close(self) -> None:
        """Remove it from NEURON."""
        self._states, self._ion_pointers, self._v, self._amp = [], {}, None, None
        for section in self.sections:
            self.h.delete_section(sec=section)
        self.sections = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def nernst_mV(ion: str) -> float:
    """RT / zF at NEURON's temperature [mV]."""
    from neuron import h

    return float(h.nernst(1.0, np.e, h.ion_charge(f"{ion}_ion")))


def columns(*sizes: int) -> tuple[Ints, ...]:
    """Indices of a mesh of these sizes, each flat, the last running fastest."""
    return tuple(x.ravel() for x in np.meshgrid(*(np.arange(n, dtype=np.int32) for n in sizes), indexing="ij"))
