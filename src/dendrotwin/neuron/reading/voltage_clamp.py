"""A voltage clamp: many isolated compartments of NEURON with one mechanism, each at its own potential and ions.

The compartments share no current (their axial resistivity is huge) and their potentials stand still (their capacitance
is huge), so that one call of NEURON fills a whole table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.ions import SOURCE, nernst_mV, writes_concentration
from dendrotwin.neuron.variables import STATES, Globals, elements, range_pointers, values_of


@dataclass(frozen=True, eq=False)
class Compartments:
    """What n compartments are like, for a mechanism in them.

    Attributes:
        parameters: (n,) of each RANGE parameter of the mechanism, by NEURON's name; `name[k]` of an array's element.
        diam_um: (n,) diameter [um].
        ions: (n,) of each ion's inside "i" and outside "o" concentration [mM] and reversal potential "e" [mV].
    """

    parameters: dict[str, Floats]
    diam_um: Floats
    ions: dict[str, dict[str, Floats]]

    def __len__(self) -> int:
        return len(self.diam_um)

    def take(self, at: ArrayLike) -> Compartments:
        """Some of them.

        Args:
            at: (k,) their numbers, which may come several times.
        """
        at = np.asarray(at, dtype=np.intp)
        ions = {ion: {key: x[at] for key, x in values.items()} for ion, values in self.ions.items()}
        return Compartments({name: x[at] for name, x in self.parameters.items()}, self.diam_um[at], ions)


@dataclass(frozen=True, eq=False)
class Conditions:
    """What is held beside the potential while a mechanism is probed; what is not given is as in the compartments.

    Attributes:
        inside_mM: (n,) inside concentrations of ions, by name [mM].
        source_mA_cm2: (n,) current of the ion that has a source [mA/cm2].
        t_ms: time [ms].
    """

    inside_mM: dict[str, Floats] = field(default_factory=dict)
    source_mA_cm2: ArrayLike = 0.0
    t_ms: float = 0.0


AS_BUILT = Conditions()


class VoltageClamp:
    """n isolated compartments with one mechanism.

    Attributes:
        state_names: NEURON's names of its states, an element of an array each.
        ions: those that the mechanism uses.
        writes: those whose concentration it writes.
    """

    def __init__(
        self,
        mechanism: str,
        compartments: Compartments,
        shared: Globals,
        source: str = "",
        nernst_ions: frozenset[str] = frozenset(),
    ) -> None:
        """Build it.

        Args:
            mechanism: NEURON's name.
            compartments: what each is like.
            shared: GLOBALs to restore at each probe.
            source: an ion that gets a source of current.
            nernst_ions: ions whose reversal potential follows their concentration.
        """
        from neuron import h

        self.h, self.mechanism, self.n = h, mechanism, len(compartments)
        self.compartments, self._shared, self.nernst_ions = compartments, shared, nernst_ions
        self.sections = _sections(mechanism, compartments.diam_um)
        first_section = self.sections[0]
        self.ions = sorted(m.name().removesuffix("_ion") for m in first_section(0.5) if m.is_ion())
        self.writes = [ion for ion in self.ions if writes_concentration(ion, first_section)]
        for section in self.sections:
            if source:
                section.insert(SOURCE.format(source))
            for ion in self.ions:  # what we set stays
                written = ion in self.writes
                h.ion_style(f"{ion}_ion", 3 if written else 1, 1, 0, 0, int(written), sec=section)
        self.state_names = elements(mechanism, STATES)
        self._states = [self._pointers(name) for name in self.state_names]
        self._v = self._pointers("v")
        self._ions = {ion: {"i": f"{ion}i", "o": f"{ion}o", "e": f"e{ion}", "current": f"i{ion}"} for ion in self.ions}
        self._ion_pointers: dict[tuple[str, str], Any] = {}
        self._ion_now: dict[tuple[str, str], Floats] = {}
        self._source = self._pointers(f"amp_{SOURCE.format(source)}") if source else None
        self._initialized = False

    def _pointers(self, name: str) -> Any:
        return range_pointers(self.sections, [name])

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
        """(n,) of an ion.

        Args:
            ion: its name.
            key: "i" or "o" for a concentration [mM], "e" for the reversal potential [mV], "current" [mA/cm2].
        """
        return values_of(self._ion(ion, key))

    def states(self) -> Floats:
        """(states, n) as they are."""
        return np.array([values_of(p) for p in self._states]).reshape(len(self._states), self.n)

    def set_states(self, states: Floats) -> None:
        """Put states.

        Args:
            states: (states, n), or what becomes that.
        """
        for where, x in zip(self._states, states, strict=True):
            self._put(where, x)

    def set_v(self, v_mV: ArrayLike) -> None:
        """Put potentials.

        Args:
            v_mV: (n,) or scalar [mV].
        """
        self._put(self._v, v_mV)

    def v(self) -> Floats:
        """(n,) potentials [mV]."""
        return values_of(self._v)

    def set_source(self, current: ArrayLike) -> None:
        """Put the source's current.

        Args:
            current: (n,) or scalar, outward positive [mA/cm2].
        """
        self._put(self._source, current)

    def set_ions(self, inside_mM: dict[str, Floats]) -> None:
        """Put concentrations and reversal potentials.

        Args:
            inside_mM: (n,) inside concentrations of some ions [mM]; all else is as in the compartments, but for the
                reversal potentials that follow.
        """
        for ion in self.ions:
            there = self.compartments.ions[ion]
            inside = np.broadcast_to(np.asarray(inside_mM.get(ion, there["i"]), dtype=float), self.n)
            self._put_ion(ion, "i", inside)
            self._put_ion(ion, "o", there["o"])
            follows = ion in self.nernst_ions
            reversal = nernst_mV(ion) * np.log(there["o"] / inside) if follows else there["e"]
            self._put_ion(ion, "e", np.broadcast_to(np.asarray(reversal, dtype=float), self.n))

    def restore_shared(self) -> None:
        """Put GLOBALs back, as after each `finitialize`."""
        self._shared.restore()

    def _set_parameters(self) -> None:
        for name, values in self.compartments.parameters.items():
            if "[" not in name and (values == values[0]).all():
                for section in self.sections:
                    setattr(section, name, float(values[0]))
            else:
                self._put(self._pointers(name), values)

    def prepare(self, v_mV: ArrayLike, states: Floats | None = None, conditions: Conditions = AS_BUILT) -> None:
        """Set potentials, states, concentrations and the time; NEURON initializes the compartments the first time.

        Later times it does not, so that what a mechanism remembers beside its states is seen.

        Args:
            v_mV: (n,) or scalar potentials [mV].
            states: (states, n), or None to leave them.
            conditions: what else is held.

        Raises:
            CellError: NEURON fails in the mechanism's INITIAL.
        """
        if not self._initialized:
            self._set_parameters()
            self.set_ions(conditions.inside_mM)
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
        if self._source is not None:
            self.set_source(conditions.source_mA_cm2)
        if states is not None:
            self.set_states(states)
        self.set_ions(conditions.inside_mM)
        self.h.t = conditions.t_ms

    def advance(self, dt_ms: float) -> None:
        """One step of NEURON.

        Args:
            dt_ms: its length [ms].

        Raises:
            CellError: NEURON fails in it.
        """
        self.h.dt = dt_ms
        try:
            self.h.fadvance()
        except RuntimeError as error:
            raise CellError(f"NEURON fails in a step of {dt_ms:g} ms ({error})") from error

    def step(self, v_mV: ArrayLike, states: Floats, dt_ms: float, conditions: Conditions = AS_BUILT) -> Floats:
        """(states, n) after one step.

        Args:
            v_mV: (n,) or scalar potentials [mV].
            states: (states, n) before it.
            dt_ms: its length [ms].
            conditions: what else is held.
        """
        self.prepare(v_mV, states, conditions)
        self.advance(dt_ms)
        return self.states()

    def _settle(self, v_mV: ArrayLike, states: Floats, conditions: Conditions) -> None:
        self.prepare(v_mV, states, conditions)
        self.advance(READING.clamp.settling_ms)
        self.set_states(states)
        self.set_v(v_mV)
        self.set_ions(conditions.inside_mM)

    def currents(
        self, v_mV: ArrayLike, states: Floats, conditions: Conditions = AS_BUILT, nonspecific: bool = True
    ) -> dict[str, Floats]:
        """(n,) current [mA/cm2] of each ion, and of none ("") where that is wanted.

        Args:
            v_mV: (n,) or scalar potentials [mV].
            states: (states, n) of the mechanism.
            conditions: what else is held.
            nonspecific: whether the current of no ion is wanted, which takes two steps more.
        """
        self._settle(v_mV, states, conditions)
        self.h.fcurrent()
        found = {ion: self.ion(ion, "current") for ion in self.ions}
        if not nonspecific:
            return found
        first_capacity, second_capacity = READING.clamp.capacities_S_cm2
        first = self._change_of_v(v_mV, first_capacity)
        self._settle(v_mV, states, conditions)
        second = self._change_of_v(v_mV, second_capacity)
        with np.errstate(all="ignore"):
            apart = first - second
            total = -(second_capacity - first_capacity) * first * second / apart
            # Too small to tell the slope: it does not matter then.
            total = np.where(np.abs(apart) > 1e-9, total, -first_capacity * first)
        rest = total - sum(found.values())
        scale = np.abs(total) + sum(np.abs(x) for x in found.values())
        # The rounding of V bounds what can be seen.
        found[""] = np.where(np.abs(rest) > 1e-9 * scale + 1e-11, rest, 0.0)
        return found

    def _change_of_v(self, v_mV: ArrayLike, capacity_S_cm2: float) -> Floats:
        """(n,) change of V in a step of 1 ms with this capacitance per step [mV]."""
        for section in self.sections:
            section.cm = capacity_S_cm2 * 1e3
        self.advance(1.0)
        for section in self.sections:
            section.cm = READING.clamp.capacitance_uF_cm2
        return np.asarray(self.v() - np.broadcast_to(np.asarray(v_mV, dtype=float), self.n))

    def close(self) -> None:
        """Remove it from NEURON."""
        self._states, self._ion_pointers, self._v, self._source = [], {}, None, None
        for section in self.sections:
            self.h.delete_section(sec=section)
        self.sections = []

    def __enter__(self) -> VoltageClamp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sections(mechanism: str, diam_um: Floats) -> list[Any]:
    """NEURON sections with a compartment for each of the diameters, and the mechanism in them."""
    from neuron import h

    config, n = READING.clamp, len(diam_um)
    sections = []
    for first in range(0, n, config.compartments_per_section):
        section = h.Section(name=f"dendrotwin_clamp_{mechanism}_{first}")
        section.nseg = min(config.compartments_per_section, n - first)
        section.L, section.Ra = config.length_um * section.nseg, config.axial_resistivity_ohm_cm
        section.cm, section.diam = config.capacitance_uF_cm2, float(diam_um[first])
        section.insert(mechanism)
        if np.ptp(diam_um[first : first + section.nseg]) > 0:
            for segment, d in zip(section, diam_um[first:], strict=False):
                segment.diam = float(d)
        sections.append(section)
    return sections


def mesh_indices(*sizes: int) -> tuple[Ints, ...]:
    """Indices of a mesh of these sizes, each flat, (product of sizes,), the last running fastest.

    Args:
        sizes: number of points along each axis.
    """
    return tuple(x.ravel() for x in np.meshgrid(*(np.arange(n, dtype=np.int32) for n in sizes), indexing="ij"))
