"""One mechanism of a cell, in all its classes: from the bench to `Mechanism`."""

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
from dendrotwin.neuron.reading.bench import Bench, Places, columns, elements, load_sources, nernst_mV, short
from dendrotwin.neuron.reading.classes import FEW_V_MV, Class, find_classes, quantities
from dendrotwin.neuron.reading.currents import Form, Read, drive, forms, reader
from dendrotwin.neuron.reading.found import Found, Inventory
from dendrotwin.neuron.reading.kinetics import Gates, Schemes, Structure, gate_tables, look, scheme_tables

MOST_COLUMNS, PLANE_COLUMNS = 60_000, 4000  # of a bench; of one that a plane is made on
FEW_C = (0.01, 0.3, 1.0, 5.0, 100.0)  # times the concentration at the start
V_OF_C_MV = -64.7863  # where what depends on a concentration alone is read
SIZES_V_MV = np.array([-103.7863, -71.2863, -44.0363, -21.5363, 3.2137, 34.4637])
SIZE_C = 10.0  # times the concentration at the start


# Tables from a bench, its potentials, what `prepare` is given, and the shape of its columns.
Make = Callable[[Bench, Floats, dict[str, Any], tuple[int, int, int]], list[Floats]]


@dataclass(frozen=True, eq=False)
class MechanismRead:
    """A class, and what the proof needs to know besides.

    Attributes:
        mechanism: see there.
        found: of which it is a class.
        rules: NEURON's rule for each gate, then for each scheme.
        constants: (states of NEURON, m) values of states that never change.
        kept: numbers in NEURON of the mechanism's states.
        moving: see `Class`.
        members: (m,) which of the compartments of `found`.
    """

    mechanism: Mechanism
    found: Found
    rules: tuple[str, ...]
    kept: tuple[int, ...]
    moving: frozenset[str]
    members: Ints


def read_mechanism(found: Found, inventory: Inventory) -> list[MechanismRead]:
    """A mechanism that is no pool, class by class.

    Raises:
        CellError: it cannot be held; the message is the reason.
    """
    read: list[MechanismRead] = []
    groups: dict[tuple[Any, ...], list[Class]] = {}
    for one in find_classes(found, inventory):
        groups.setdefault((one.live, one.moving), []).append(one)
    most = MOST_COLUMNS // len(V_GRID_MV)
    for classes in groups.values():
        for first in range(0, len(classes), most):
            read += _Reader(found, inventory, classes[first : first + most]).read()
    return read


class _Reader:
    """Classes that depend on the same concentrations, read together: a bench's columns are (classes, c, V)."""

    def __init__(self, found: Found, inventory: Inventory, classes: list[Class]) -> None:
        self.found, self.inventory, self.classes = found, inventory, classes
        every = [one.reference for one in classes]
        first = every[0]
        stack = lambda pick: np.concatenate([pick(p) for p in every])  # noqa: E731
        self.references = Places(
            {k: stack(lambda p, k=k: p.parameters[k]) for k in first.parameters},
            stack(lambda p: p.diam_um),
            {i: {k: stack(lambda p, i=i, k=k: p.ions[i][k]) for k in "ioe"} for i in first.ions},
        )
        self.ion = ""
        self.structure = Structure()
        self._benches: dict[tuple[int, int], Bench] = {}

    def read(self) -> list[MechanismRead]:
        try:
            live = self._matters()
            if len(live) > 1:
                raise CellError(f"it depends on the changing concentrations of {' and '.join(live)} at once")
            self.ion = live[0] if live else ""
            self._look()
            gates, schemes = self._kinetics()
            terms = self._terms()
            return self._assemble(gates, schemes, terms)
        finally:
            for bench in self._benches.values():
                bench.close()

    def _bench(self, c: Floats | None, v: Floats) -> tuple[Bench, Floats, dict[str, Any], tuple[int, int, int]]:
        """Columns (classes, c, V), their potentials, what `prepare` is given, and their shape."""
        count = 1 if c is None else c.shape[-1]
        which, i, j = columns(len(self.classes), count, len(v))
        key = (count, len(v))
        if key not in self._benches:
            moving, shared = self.classes[0].moving, self.inventory.shared
            self._benches[key] = Bench(self.found.name, self.references.take(which), shared, moving=moving)
        kinds: dict[str, Any] = {}
        if c is not None:
            c = np.broadcast_to(c, (len(self.classes), count))
            kinds = {"conc": {self.ion: c[which, i]}}
        return self._benches[key], v[j], kinds, (len(self.classes), count, len(v))

    def _over_plane(self, make: Make, axis: int, c: Floats = PLANE_C_MM, v: Floats = PLANE_V_MV) -> list[Floats]:
        """Tables over concentrations (along `axis`) and potentials, made some concentrations at a time on one bench."""
        some = max(1, PLANE_COLUMNS // (len(self.classes) * len(v)))
        made = []
        for first in range(0, len(c), some):
            made.append(make(*self._bench(c[None, np.minimum(np.arange(first, first + some), len(c) - 1)], v)))
        return [np.take(np.concatenate(x, axis=axis), range(len(c)), axis=axis) for x in zip(*made, strict=True)]

    def _start(self, ion: str) -> Floats:
        """(classes, 1) concentration at the start."""
        return self.references.ions[ion]["i"][:, None]

    def _matters(self) -> list[str]:
        """Live concentrations that change its states or its currents."""
        bench, v, _, _ = self._bench(None, FEW_V_MV)
        self._benches.pop((1, len(FEW_V_MV)))
        states = np.random.default_rng(2).uniform(0.2, 0.8, (len(bench.states), bench.n))
        with bench:
            base = bench.step(v, states, 0.05), bench.currents(v, states)
            found = []
            for ion in self.classes[0].live:
                for factor in FEW_C:
                    c = {ion: bench.places.ions[ion]["i"] * factor}
                    after, currents = bench.step(v, states, 0.05, conc=c), bench.currents(v, states, conc=c)
                    same = np.allclose(after, base[0], rtol=1e-9, atol=1e-13, equal_nan=True)
                    for carrier, x in currents.items():
                        scale = np.nanmax(np.abs(base[1][carrier])) + np.nanmax(np.abs(x))
                        same = same and np.allclose(x, base[1][carrier], rtol=0, atol=1e-8 * scale, equal_nan=True)
                    if not same:
                        found.append(ion)
                        break
            quiet = [ion for ion in bench.ions if not np.any(base[1][ion])]
            later = bench.currents(v, states, t_ms=137.3)
            for carrier, x in later.items():
                if not np.allclose(x, base[1][carrier], rtol=1e-6, atol=1e-12, equal_nan=True):
                    raise CellError("its current depends on the time t, or is random")
            bench.prepare(v)
            bench.advance(0.05)
            for ion in bench.ions:
                if not np.allclose(bench.ion(ion, "e"), self._expected_e(bench, ion), rtol=1e-9, atol=1e-9):
                    raise CellError(f"it writes the reversal potential e{ion}")
        for ion in quiet:
            self._deaf(ion, v, states)
        return found

    def _deaf(self, ion: str, v: Floats, states: Floats) -> None:
        """See that the current of an ion that it carries nothing of does not matter to it."""
        load_sources([ion])
        which = np.repeat(np.arange(len(self.classes)), len(FEW_V_MV))
        with Bench(self.found.name, self.references.take(which), self.inventory.shared, source=ion) as bench:
            still, driven = (bench.step(v, states, 0.05, amp=amp) for amp in (0.0, -0.01))
            if not np.allclose(still, driven, rtol=1e-9, atol=1e-13, equal_nan=True):
                raise CellError(f"its states depend on the current i{ion} of other mechanisms")
            still, driven = (bench.currents(v, states, amp=amp)[""] for amp in (0.0, -0.01))
            if not np.allclose(still, driven, rtol=1e-6, atol=1e-9, equal_nan=True):
                raise CellError(f"its current depends on the current i{ion} of other mechanisms")

    def _expected_e(self, bench: Bench, ion: str) -> Floats:
        there = bench.places.ions[ion]
        return nernst_mV(ion) * np.log(there["o"] / there["i"]) if ion in bench.moving else there["e"]

    def _few(self) -> tuple[Bench, Floats, dict[str, Any], tuple[int, int, int]]:
        return self._bench(self._start(self.ion) * np.array(FEW_C) if self.ion else None, FEW_V_MV)

    def _look(self) -> None:
        bench, v, kinds, shape = self._few()
        self.structure = look(bench, v, shape, kinds)
        # A state that never changes keeps what INITIAL gave it, or a nonzero stand-in where that is 0.
        start = self.found.start
        self.constants = np.zeros((len(bench.states), len(self.classes)))
        for k, one in enumerate(self.classes):
            values = start[:, one.members]
            if values.size:
                self.constants[:, k] = values[np.arange(len(values)), np.argmax(np.abs(values), axis=1)]
        self.constants[(self.constants == 0).all(axis=1)] = 1.0

    def _kinetics(self) -> tuple[list[Gates], list[Schemes]]:
        s, gates, schemes = self.structure, [], []
        count = len(self.classes)
        for over in ("v", "c", "vc"):
            here = [j for j in s.gates if (s.over[j] or "v") == over]
            grouped = [x for x in s.schemes if (s.over[x[0]] or "v") == over]
            if not here and not grouped:
                continue
            if over == "vc":
                gates += self._gates_of_both(here)
                schemes += self._schemes_of_both(grouped)
                continue
            if over == "v":
                bench, v, kinds, _ = self._bench(self._start(self.ion) if self.ion else None, V_GRID_MV)
            else:
                bench, v, kinds, _ = self._bench(C_GRID_MM[None], np.array([V_OF_C_MV]))
            gates += gate_tables(bench, v, (count, bench.n // count), here, over, s.rules, kinds)
            stride = SCHEME_V_STRIDE if over == "v" else SCHEME_C_STRIDE
            for one in scheme_tables(bench, v, count, s, grouped, over, kinds):
                schemes.append(Schemes(one.states, over, one.rule, one.rates[:, ::stride], one.inflow[:, ::stride]))
        gates.sort(key=lambda gate: s.gates.index(gate.state))
        return gates, sorted(schemes, key=lambda scheme: s.schemes.index(scheme.states))

    def _gates_of_both(self, which: list[int]) -> list[Gates]:
        def make(bench: Bench, v: Floats, kinds: dict[str, Any], shape: tuple[int, int, int]) -> list[Floats]:
            tables = gate_tables(bench, v, shape, which, "vc", self.structure.rules, kinds)
            return [x for gate in tables for x in (gate.steady, gate.tau_ms)]

        made = self._over_plane(make, 1) if which else []
        rules = self.structure.rules
        return [Gates(j, "vc", rules[j], made[2 * k], made[2 * k + 1]) for k, j in enumerate(which)]

    def _schemes_of_both(self, which: list[tuple[int, ...]]) -> list[Schemes]:
        def make(bench: Bench, v: Floats, kinds: dict[str, Any], shape: tuple[int, int, int]) -> list[Floats]:
            tables = scheme_tables(bench, v, len(self.classes), self.structure, which, "vc", kinds)
            return [x.reshape(*shape, *x.shape[2:]) for one in tables for x in (one.rates, one.inflow)]

        made = self._over_plane(make, 1, BOTH_C_MM, BOTH_V_MV) if which else []
        rules = self.structure.rules
        return [Schemes(x, "vc", rules[x[0]], made[2 * k], made[2 * k + 1]) for k, x in enumerate(which)]

    def _reader(self, bench: Bench, v: Floats, kinds: dict[str, Any]) -> Read:
        per_class = np.repeat(self.constants, bench.n // len(self.classes), axis=1)
        return reader(bench, v, self.structure, per_class, kinds)

    def _terms(self) -> list[tuple[Form, list[str], list[Floats | None]]]:
        """Form of each current; of each of its terms the kind of drive, and its table (classes, ...)."""
        bench, v, kinds, shape = self._few()
        read = self._reader(bench, v, kinds)
        self.forms = forms(read, len(self.structure.kept), bench.n)
        result = []
        for form in self.forms:
            table = form.coefficients(read, bench.n).reshape(-1, *shape)
            drives: list[str] = []
            for term in table:
                c = self._start(self.ion) * np.array(FEW_C) if self.ion else np.zeros((len(self.classes), 1))
                seen = {drive(x, FEW_V_MV, c[k], form.ion) for k, x in enumerate(term) if np.any(x)}
                kind = seen.pop() if len(seen) == 1 else next((k for k in ("vc", "ghk") if k in seen), "v")
                drives.append(kind)
            tables: list[Floats | None] = [None] * len(drives)
            for kind in {*drives} - {"ohmic"}:
                whole = self._table(form, kind)
                for k, own in enumerate(drives):
                    if own == kind:
                        tables[k] = whole[k]
            result.append((form, drives, tables))
        return result

    def _table(self, form: Form, kind: str) -> Floats:
        """(terms, classes, ...) coefficients on the grids of a kind of drive."""

        def make(bench: Bench, v: Floats, kinds: dict[str, Any], shape: tuple[int, int, int]) -> list[Floats]:
            return [form.coefficients(self._reader(bench, v, kinds), bench.n).reshape(-1, *shape)]

        start = self._start(self.ion) if self.ion else None
        if kind == "vc":
            (x,) = self._over_plane(make, 2)
        else:
            (x,) = make(*self._bench(start, V_GRID_MV))
        if kind == "v":
            x = x[:, :, 0]
        elif kind == "ghk":
            assert start is not None
            (y,) = make(*self._bench(start * 10.0, V_GRID_MV))
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

    def _sizes(self) -> dict[str, Floats]:
        """(terms, columns, V) coefficients of each current at all members, class by class, then at the references."""
        places = self.found.places
        order = np.concatenate([one.members for one in self.classes])
        count, few = len(self.classes), len(SIZES_V_MV)
        both = Places(
            {k: np.concatenate([x[order], self.references.parameters[k]]) for k, x in places.parameters.items()},
            np.concatenate([places.diam_um[order], self.references.diam_um]),
            {
                i: {k: np.concatenate([x[order], self.references.ions[i][k]]) for k, x in values.items()}
                for i, values in places.ions.items()
            },
        )
        fixed = np.concatenate([self.found.start[:, order], self.constants], axis=1)
        owner = np.concatenate([np.repeat(np.arange(count), [len(x.members) for x in self.classes]), np.arange(count)])
        # Compartments that are all alike are looked at once.
        rows = np.column_stack([owner, *quantities(both).values(), *fixed[self.structure.fixed]])
        _, first, again = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        again = again.ravel()
        row, j = columns(len(first), few)
        which = first[row]
        constants = fixed[:, which]
        kinds: dict[str, Any] = {}
        if self.ion:  # the same in all members of a class
            c = self._start(self.ion)[owner, 0] * SIZE_C
            kinds = {"conc": {self.ion: c[which]}}
        with Bench(self.found.name, both.take(which), self.inventory.shared, moving=self.classes[0].moving) as bench:
            read = reader(bench, SIZES_V_MV[j], self.structure, constants, kinds)
            seen = {f.ion: f.coefficients(read, bench.n).reshape(-1, len(first), few) for f in self.forms}
        return {ion: x[:, again] for ion, x in seen.items()}

    def _assemble(
        self, gates: list[Gates], schemes: list[Schemes], terms: list[tuple[Form, list[str], list[Floats | None]]]
    ) -> list[MechanismRead]:
        if not terms:
            return []
        names = [name.removesuffix(f"_{self.found.name}") for name in self._names()]
        sizes, m = self._sizes(), sum(len(one.members) for one in self.classes)
        read, first = [], 0
        for k, one in enumerate(self.classes):
            mine = slice(first, first + len(one.members))
            first += len(one.members)
            made = []
            for form, drives, tables in terms:
                for i, kind in enumerate(drives):
                    at, reference = sizes[form.ion][i, mine], sizes[form.ion][i, m + k]
                    made.append(self._term(form, i, kind, tables[i], at, reference, k, one))
            made = [term for term in made if np.any(term.density != 0)]
            if not made:
                continue
            anywhere = np.any([term.density != 0 for term in made], axis=0)
            members = one.members[anywhere]
            order = np.argsort(self.found.at[members], kind="stable")
            members = members[order]
            pick = np.flatnonzero(anywhere)[order].astype(np.int32)
            made = [Term(t.ion, t.powers, t.density[pick], t.e_mV[pick], t.moves, t.table, t.c_ion) for t in made]
            mechanism = Mechanism(
                self.found.name,
                one.shaping,
                self.found.at[members],
                tuple(Gate(names[g.state], g.steady[k], g.tau_ms[k], self._ion_of(g.over)) for g in gates),
                tuple(
                    Scheme(tuple(names[j] for j in x.states), x.rates[k], x.inflow[k], self._ion_of(x.over))
                    for x in schemes
                ),
                tuple(made),
                self.found.start[self.structure.kept][:, members].reshape(len(self.structure.kept), len(members)),
            )
            rules = (*(g.rule for g in gates), *(x.rule for x in schemes))
            read.append(MechanismRead(mechanism, self.found, rules, tuple(self.structure.kept), one.moving, members))
        return read

    def _ion_of(self, over: str) -> str:
        return self.ion if "c" in over else ""

    def _names(self) -> list[str]:
        return [short(name, self.found.name) for name in elements(self.found.name, 3)]

    def _term(
        self, form: Form, i: int, kind: str, table: Floats | None, at: Floats, reference: Floats, k: int, one: Class
    ) -> Term:
        """A term from its coefficients at the members (m, V) and at the class's reference (V,)."""
        m = len(at)
        if kind == "ohmic":
            fit = np.stack([SIZES_V_MV, np.ones_like(SIZES_V_MV)], axis=1)
            line, *_ = np.linalg.lstsq(fit, at.T, rcond=None)
            slope = np.where(np.abs(at).max(axis=1) > 0, line[0], 0.0)
            with np.errstate(all="ignore"):
                e = np.where(slope != 0, -line[1] / slope, 0.0)
            moves = False
            if form.ion in one.live and bool(self.inventory.moves[form.ion][self.found.at[one.members]].all()):
                known = self.found.places.ions[form.ion]["e"][one.members]
                moves = bool(np.all((np.abs(e - known) < 1e-5) | (slope == 0)))
            if form.ion in self.found.places.ions:  # without the rounding of the fit
                known = self.found.places.ions[form.ion]["e"][one.members]
                e = np.where(np.abs(e - known) < 1e-6, known, e)
            return Term(form.ion, form.powers[i], slope, e, moves)
        best = int(np.argmax(np.abs(reference)))
        density = at[:, best] / reference[best] if reference[best] else np.zeros(m)
        assert table is not None
        return Term(form.ion, form.powers[i], density, np.zeros(m), False, table[k], self.ion if kind != "v" else "")
