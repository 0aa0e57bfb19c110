"""One mechanism of a cell, in all its classes: from the voltage clamp to `Mechanism`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dendrotwin.cell.membrane import (
    BOTH_C_MM,
    BOTH_V_MV,
    C_GRID_MM,
    SCHEME_C_STRIDE,
    SCHEME_V_STRIDE,
    V_GRID_MV,
    Gate,
    Mechanism,
    Scheme,
    Term,
)
from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.compartment_classes import CompartmentClass, find_classes, quantities
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.currents import (
    CurrentForm,
    ReadCurrents,
    current_forms,
    current_reader,
    driving_force,
)
from dendrotwin.neuron.reading.inventory import InsertedMechanism, Inventory
from dendrotwin.neuron.reading.ions import load_sources, nernst_mV
from dendrotwin.neuron.reading.kinetics import GateTables, SchemeTables, gate_tables, scheme_tables
from dendrotwin.neuron.reading.reference_clamps import Clamped, ReferenceClamps, joined
from dendrotwin.neuron.reading.state_structure import StateStructure, find_structure
from dendrotwin.neuron.reading.voltage_clamp import AS_BUILT, Conditions, VoltageClamp, mesh_indices
from dendrotwin.neuron.variables import STATES, elements, short_name

TEST_SOURCE_MA_CM2 = -0.01  # current of an ion that a mechanism must not react to


class _Term(NamedTuple):
    """A term of a current: its driving force (see `driving_force`), and its table (classes, ...) if not ohmic."""

    force: str
    table: Floats | None


@dataclass(frozen=True, eq=False)
class MechanismRead:
    """A class of a mechanism that was read, and what its proof needs.

    Attributes:
        mechanism: what was read.
        inserted: of which it is a class.
        rules: NEURON's rule of integration for each gate, then for each scheme.
        kept: numbers in NEURON of the mechanism's states.
        nernst_ions: see `CompartmentClass`.
        members: (m,) which of the compartments of `inserted`.
    """

    mechanism: Mechanism
    inserted: InsertedMechanism
    rules: tuple[str, ...]
    kept: tuple[int, ...]
    nernst_ions: frozenset[str]
    members: Ints


def read_mechanism(inserted: InsertedMechanism, inventory: Inventory) -> list[MechanismRead]:
    """A mechanism that is no pool, class by class.

    Args:
        inserted: the mechanism.
        inventory: of the cell.

    Raises:
        CellError: it cannot be held; the message is the reason.
    """
    read: list[MechanismRead] = []
    groups: dict[tuple[Any, ...], list[CompartmentClass]] = {}
    for one in find_classes(inserted, inventory):
        groups.setdefault((one.pool_ions, one.nernst_ions), []).append(one)
    most = READING.clamp.most_compartments // len(V_GRID_MV)
    for classes in groups.values():
        for first in range(0, len(classes), most):
            read += _Reader(inserted, inventory, classes[first : first + most]).read()
    return read


class _Reader:
    """Classes that depend on the same concentrations, read together."""

    def __init__(self, inserted: InsertedMechanism, inventory: Inventory, classes: list[CompartmentClass]) -> None:
        self.inserted, self.inventory, self.classes = inserted, inventory, classes
        self.nernst_ions = classes[0].nernst_ions
        references = joined([one.reference for one in classes])
        self.clamps = ReferenceClamps(inserted.name, references, inventory.shared, self.nernst_ions)
        self.ion = ""  # the one whose changing concentration matters
        self.structure = StateStructure()
        self.constants = np.zeros((0, len(classes)))  # (states, classes) of states that never change

    def read(self) -> list[MechanismRead]:
        """All classes."""
        try:
            ions = self._ions_that_matter()
            if len(ions) > 1:
                raise CellError(f"it depends on the changing concentrations of {' and '.join(ions)} at once")
            self.ion = self.clamps.ion = ions[0] if ions else ""
            self._find_structure()
            gates, schemes = self._kinetics()
            forms, terms = self._terms()
            return self._assemble(gates, schemes, forms, terms) if forms else []
        finally:
            self.clamps.close()

    def _ions_that_matter(self) -> list[str]:
        """Ions whose changing concentration changes its states or its currents."""
        few_mV, step_ms = READING.probe.few_mV, READING.kinetics.step_ms
        clamp, v_mV, _, _ = self.clamps.new(None, few_mV)
        states = np.random.default_rng(2).uniform(0.2, 0.8, (len(clamp.state_names), clamp.n))
        with clamp:
            base = clamp.step(v_mV, states, step_ms), clamp.currents(v_mV, states)
            found = []
            for ion in self.classes[0].pool_ions:
                for factor in READING.probe.few_concentrations:
                    conditions = Conditions({ion: clamp.compartments.ions[ion]["i"] * factor})
                    after = clamp.step(v_mV, states, step_ms, conditions)
                    currents = clamp.currents(v_mV, states, conditions)
                    same = np.allclose(after, base[0], rtol=1e-9, atol=1e-13, equal_nan=True)
                    for carrier, x in currents.items():
                        scale = np.nanmax(np.abs(base[1][carrier])) + np.nanmax(np.abs(x))
                        same = same and np.allclose(x, base[1][carrier], rtol=0, atol=1e-8 * scale, equal_nan=True)
                    if not same:
                        found.append(ion)
                        break
            carries_nothing = [ion for ion in clamp.ions if not np.any(base[1][ion])]
            later = clamp.currents(v_mV, states, Conditions(t_ms=READING.probe.other_time_ms))
            for carrier, x in later.items():
                if not np.allclose(x, base[1][carrier], rtol=1e-6, atol=1e-12, equal_nan=True):
                    raise CellError("its current depends on the time t, or is random")
            clamp.prepare(v_mV)
            clamp.advance(step_ms)
            for ion in clamp.ions:
                if not np.allclose(clamp.ion(ion, "e"), self._reversal_mV(clamp, ion), rtol=1e-9, atol=1e-9):
                    raise CellError(f"it writes the reversal potential e{ion}")
        for ion in carries_nothing:
            self._check_other_currents(ion, v_mV, states)
        return found

    def _check_other_currents(self, ion: str, v_mV: Floats, states: Floats) -> None:
        """See that the current of an ion that it carries nothing of does not matter to it."""
        load_sources([ion])
        step_ms, currents = READING.kinetics.step_ms, [Conditions(source_mA_cm2=x) for x in (0.0, TEST_SOURCE_MA_CM2)]
        which = np.repeat(np.arange(len(self.classes)), len(READING.probe.few_mV))
        references = self.clamps.references.take(which)
        with VoltageClamp(self.inserted.name, references, self.inventory.shared, source=ion) as clamp:
            without, driven = (clamp.step(v_mV, states, step_ms, one) for one in currents)
            if not np.allclose(without, driven, rtol=1e-9, atol=1e-13, equal_nan=True):
                raise CellError(f"its states depend on the current i{ion} of other mechanisms")
            without, driven = (clamp.currents(v_mV, states, one)[""] for one in currents)
            if not np.allclose(without, driven, rtol=1e-6, atol=1e-9, equal_nan=True):
                raise CellError(f"its current depends on the current i{ion} of other mechanisms")

    def _reversal_mV(self, clamp: VoltageClamp, ion: str) -> Floats:
        there = clamp.compartments.ions[ion]
        if ion not in clamp.nernst_ions:
            return there["e"]
        return np.asarray(nernst_mV(ion) * np.log(there["o"] / there["i"]))

    def _find_structure(self) -> None:
        clamp, v_mV, conditions, shape = self.clamps.few()
        self.structure = find_structure(clamp, v_mV, shape, conditions)
        # A state that never changes keeps what INITIAL gave it, or a nonzero stand-in where that is 0.
        start = self.inserted.start
        self.constants = np.zeros((len(clamp.state_names), len(self.classes)))
        for k, one in enumerate(self.classes):
            values = start[:, one.members]
            if values.size:
                self.constants[:, k] = values[np.arange(len(values)), np.argmax(np.abs(values), axis=1)]
        self.constants[(self.constants == 0).all(axis=1)] = 1.0

    def _kinetics(self) -> tuple[list[GateTables], list[SchemeTables]]:
        s, gates, schemes = self.structure, [], []
        count = len(self.classes)
        for over in ("v", "c", "vc"):
            single = [j for j in s.gates if (s.over[j] or "v") == over]
            grouped = [x for x in s.schemes if (s.over[x[0]] or "v") == over]
            if not single and not grouped:
                continue
            if over == "vc":
                gates += self._gates_of_both(single)
                schemes += self._schemes_of_both(grouped)
                continue
            if over == "v":
                made = self.clamps.at(self.clamps.start(), V_GRID_MV)
            else:
                made = self.clamps.at(C_GRID_MM[None], np.array([READING.probe.v_beside_concentration_mV]))
            clamp, v_mV, conditions, _ = made
            gates += gate_tables(clamp, v_mV, (count, clamp.n // count), single, over, s.rules, conditions)
            stride = SCHEME_V_STRIDE if over == "v" else SCHEME_C_STRIDE
            for x in scheme_tables(clamp, v_mV, count, s, grouped, over, conditions):
                schemes.append(SchemeTables(x.states, over, x.rule, x.rates[:, ::stride], x.inflow[:, ::stride]))
        gates.sort(key=lambda gate: s.gates.index(gate.state))
        return gates, sorted(schemes, key=lambda scheme: s.schemes.index(scheme.states))

    def _gates_of_both(self, gates: list[int]) -> list[GateTables]:
        rules = self.structure.rules

        def make(at: Clamped) -> list[Floats]:
            tables = gate_tables(at.clamp, at.v_mV, at.shape, gates, "vc", rules, at.conditions)
            return [x for gate in tables for x in (gate.steady, gate.tau_ms)]

        made = self.clamps.over_plane(make, 1) if gates else []
        return [GateTables(j, "vc", rules[j], made[2 * k], made[2 * k + 1]) for k, j in enumerate(gates)]

    def _schemes_of_both(self, schemes: list[tuple[int, ...]]) -> list[SchemeTables]:
        rules, count = self.structure.rules, len(self.classes)

        def make(at: Clamped) -> list[Floats]:
            tables = scheme_tables(at.clamp, at.v_mV, count, self.structure, schemes, "vc", at.conditions)
            return [x.reshape(*at.shape, *x.shape[2:]) for one in tables for x in (one.rates, one.inflow)]

        made = self.clamps.over_plane(make, 1, BOTH_C_MM, BOTH_V_MV) if schemes else []
        return [SchemeTables(x, "vc", rules[x[0]], made[2 * k], made[2 * k + 1]) for k, x in enumerate(schemes)]

    def _current_reader(self, at: Clamped) -> ReadCurrents:
        per_class = np.repeat(self.constants, at.clamp.n // len(self.classes), axis=1)
        return current_reader(at.clamp, at.v_mV, self.structure, per_class, at.conditions)

    def _terms(self) -> tuple[list[CurrentForm], list[list[_Term]]]:
        """Form of each current, and its terms."""
        few = self.clamps.few()
        read = self._current_reader(few)
        forms = current_forms(read, len(self.structure.kept), few.clamp.n)
        c_mM = self.clamps.few_concentrations()
        if c_mM is None:
            c_mM = np.zeros((len(self.classes), 1))
        result = []
        for form in forms:
            forces = []
            for term in form.coefficients(read, few.clamp.n).reshape(-1, *few.shape):
                seen = {
                    driving_force(x, READING.probe.few_mV, c_mM[k], form.ion) for k, x in enumerate(term) if np.any(x)
                }
                forces.append(seen.pop() if len(seen) == 1 else next((f for f in ("vc", "ghk") if f in seen), "v"))
            tables = {force: self._table(form, force) for force in sorted({*forces} - {"ohmic"})}
            result.append([_Term(f, None if f == "ohmic" else tables[f][i]) for i, f in enumerate(forces)])
        return forms, result

    def _table(self, form: CurrentForm, force: str) -> Floats:
        """(terms, classes, ...) coefficients on the grids of a driving force."""

        def make(at: Clamped) -> list[Floats]:
            return [form.coefficients(self._current_reader(at), at.clamp.n).reshape(-1, *at.shape)]

        start = self.clamps.start()
        if force == "vc":
            (x,) = self.clamps.over_plane(make, 2)
        else:
            (x,) = make(self.clamps.at(start, V_GRID_MV))
        if force == "v":
            x = x[:, :, 0]
        elif force == "ghk":
            assert start is not None
            (y,) = make(self.clamps.at(start * 10.0, V_GRID_MV))
            slope = (y[:, :, 0] - x[:, :, 0]) / (9.0 * start)
            x = np.stack([x[:, :, 0] - slope * start, slope], axis=2)
        bad = ~np.isfinite(x)
        if bad.mean() > 0.02:
            raise CellError(f"its current of {form.ion or 'no ion'} is infinite or NaN at many potentials")
        for row in x.reshape(-1, x.shape[-1]):
            hole = ~np.isfinite(row)
            if hole.any() and not hole.all():
                at = np.arange(len(row))
                row[hole] = np.interp(at[hole], at[~hole], row[~hole])
        return np.asarray(x)

    def _sizes(self, forms: list[CurrentForm]) -> dict[str, Floats]:
        """(terms, members, V) coefficients of each current at all members, class by class, then at the references."""
        order = np.concatenate([one.members for one in self.classes])
        count, few_mV = len(self.classes), np.array(READING.probe.density_v_mV)
        both = joined([self.inserted.compartments.take(order), self.clamps.references])
        fixed = np.concatenate([self.inserted.start[:, order], self.constants], axis=1)
        owner = np.concatenate([np.repeat(np.arange(count), [len(x.members) for x in self.classes]), np.arange(count)])
        # Compartments that are all alike are looked at once.
        rows = np.column_stack([owner, *quantities(both).values(), *fixed[self.structure.fixed]])
        _, first, again = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        again = again.ravel()
        row, j = mesh_indices(len(first), len(few_mV))
        which = first[row]
        constants, conditions = fixed[:, which], AS_BUILT
        start = self.clamps.start()
        if start is not None:  # the same in all members of a class
            c_mM = start[owner, 0] * READING.probe.density_concentration
            conditions = Conditions({self.ion: c_mM[which]})
        shared = self.inventory.shared
        with VoltageClamp(self.inserted.name, both.take(which), shared, nernst_ions=self.nernst_ions) as clamp:
            read = current_reader(clamp, few_mV[j], self.structure, constants, conditions)
            seen = {f.ion: f.coefficients(read, clamp.n).reshape(-1, len(first), len(few_mV)) for f in forms}
        return {ion: x[:, again] for ion, x in seen.items()}

    def _assemble(
        self,
        gates: list[GateTables],
        schemes: list[SchemeTables],
        forms: list[CurrentForm],
        terms: list[list[_Term]],
    ) -> list[MechanismRead]:
        sizes, m = self._sizes(forms), sum(len(one.members) for one in self.classes)
        read, first = [], 0
        for k, one in enumerate(self.classes):
            mine = slice(first, first + len(one.members))
            first += len(one.members)
            made = []
            for form, of_form in zip(forms, terms, strict=True):
                for i, term in enumerate(of_form):
                    at, reference = sizes[form.ion][i, mine], sizes[form.ion][i, m + k]
                    if term.table is None:
                        made.append(self._ohmic(form, i, at, one))
                    else:
                        c_ion = self.ion if term.force != "v" else ""
                        made.append(_tabulated(form, i, at, reference, term.table[k], c_ion))
            made = [term for term in made if np.any(term.density != 0)]
            if made:
                read.append(self._mechanism(k, gates, schemes, made))
        return read

    def _mechanism(
        self, k: int, gates: list[GateTables], schemes: list[SchemeTables], terms: list[Term]
    ) -> MechanismRead:
        """Class k, in the compartments in which it has a current."""
        inserted, one, kept = self.inserted, self.classes[k], self.structure.kept
        names = [short_name(name, inserted.name) for name in elements(inserted.name, STATES)]
        anywhere = np.any([term.density != 0 for term in terms], axis=0)
        order = np.argsort(inserted.at[one.members[anywhere]], kind="stable")
        members = one.members[anywhere][order]
        pick = np.flatnonzero(anywhere)[order].astype(np.int32)
        mechanism = Mechanism(
            inserted.name,
            one.shaping,
            inserted.at[members],
            tuple(Gate(names[g.state], g.steady[k], g.tau_ms[k], self._ion_of(g.over)) for g in gates),
            tuple(
                Scheme(tuple(names[j] for j in x.states), x.rates[k], x.inflow[k], self._ion_of(x.over))
                for x in schemes
            ),
            tuple(replace(term, density=term.density[pick], e_mV=term.e_mV[pick]) for term in terms),
            inserted.start[kept][:, members].reshape(len(kept), len(members)),
        )
        rules = (*(g.rule for g in gates), *(x.rule for x in schemes))
        return MechanismRead(mechanism, inserted, rules, tuple(kept), one.nernst_ions, members)

    def _ion_of(self, over: str) -> str:
        return self.ion if "c" in over else ""

    def _ohmic(self, form: CurrentForm, i: int, at: Floats, one: CompartmentClass) -> Term:
        """An ohmic term from its coefficients at the members (m, V): their slope is the density, their zero is E."""
        few_mV = np.array(READING.probe.density_v_mV)
        fit = np.stack([few_mV, np.ones_like(few_mV)], axis=1)
        line, *_ = np.linalg.lstsq(fit, at.T, rcond=None)
        slope = np.where(np.abs(at).max(axis=1) > 0, line[0], 0.0)
        with np.errstate(all="ignore"):
            e_mV = np.where(slope != 0, -line[1] / slope, 0.0)
        follows = False
        if form.ion in self.inserted.compartments.ions:
            of_ion = self.inserted.compartments.ions[form.ion]["e"][one.members]
            nernst = self.inventory.follows_nernst[form.ion][self.inserted.at[one.members]]
            if form.ion in one.pool_ions and nernst.all():
                follows = bool(np.all((np.abs(e_mV - of_ion) < 1e-5) | (slope == 0)))
            e_mV = np.where(np.abs(e_mV - of_ion) < 1e-6, of_ion, e_mV)  # without the rounding of the fit
        return Term(form.ion, form.powers[i], slope, e_mV, follows)


def _tabulated(form: CurrentForm, i: int, at: Floats, reference: Floats, table: Floats, c_ion: str) -> Term:
    """A term with a table, from its coefficients at the members (m, V) and at the class's reference (V,)."""
    best = int(np.argmax(np.abs(reference)))
    density = at[:, best] / reference[best] if reference[best] else np.zeros(len(at))
    return Term(form.ion, form.powers[i], density, np.zeros(len(at)), False, table, c_ion)
