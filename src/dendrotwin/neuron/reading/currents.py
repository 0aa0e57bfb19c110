"""Currents of a mechanism: powers of its states, drives, and how large they are in each compartment."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import qr

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.bench import Bench
from dendrotwin.neuron.reading.kinetics import Structure

LOW, HIGH = 0.31, 0.62  # states between which powers are looked for
MISS, MISS_OF_V = 1e-6, 1e-5  # a current of an ion is read itself, one of none from steps of V
HIGHEST = {1: 8, 2: 6, 3: 5, 4: 4, 5: 4, 6: 3, 7: 3, 8: 2, 9: 2, 10: 2}  # degree of polynomials in so many states

# Currents at (kept, n) states: what is read at a bench's columns.
Read = Callable[[Floats, bool], dict[str, Floats]]


@dataclass(frozen=True, eq=False)
class Form:
    """A current as a sum of products of states, each with a coefficient over V and c.

    Attributes:
        ion: "" for none.
        powers: (terms, kept).
        points: (terms, kept) states at which the current tells all coefficients.
        inverse: (terms, terms) from currents at `points` to coefficients.
    """

    ion: str
    powers: Floats
    points: Floats
    inverse: Floats

    def coefficients(self, read: Read, n: int) -> Floats:
        """(terms, n) [mA/cm2] at the columns that `read` is of."""
        seen = np.array(
            [read(np.broadcast_to(point[:, None], (len(point), n)), self.ion == "")[self.ion] for point in self.points]
        )
        return np.asarray(self.inverse @ seen)


def reader(bench: Bench, v: Floats, structure: Structure, constants: Floats, kinds: dict[str, Any]) -> Read:
    """Currents at given kept states, and whether that of no ion is wanted; others states follow V and c.

    Args:
        bench: whose columns.
        v: (n,) potentials [mV].
        structure: of the states.
        constants: (states, n) or (states, 1) values of states that never change.
        kinds: what `prepare` is given.
    """
    states = np.array(np.broadcast_to(constants, (len(bench.states), bench.n)), dtype=float)
    if structure.instant:
        states[structure.instant] = bench.step(v, states, 1e-4, **kinds)[structure.instant]

    def read(kept: Floats, whole: bool) -> dict[str, Floats]:
        states[structure.kept] = kept
        return bench.currents(v, states, whole, **kinds)

    return read


def forms(read: Read, kept: int, n: int) -> list[Form]:
    """The form of each current, from columns at a few potentials and concentrations.

    Raises:
        CellError: one is no product and no polynomial.
    """
    base = [read(np.full((kept, n), x), True) for x in (LOW, HIGH)]
    size = {ion: max(float(np.nanmax(np.abs(currents[ion]))) for currents in base) for ion in base[0]}
    carriers = [ion for ion, x in size.items() if x > 0]
    if not carriers:
        return []
    moved = {}
    for j, x, factor in itertools.product(range(kept), (0, 1), (1.3, 0.7)):
        states = np.full((kept, n), (LOW, HIGH)[x])
        states[j] *= factor
        moved[j, x, factor] = read(states, "" in carriers)
    found = []
    for ion in carriers:
        tolerance = MISS if ion else MISS_OF_V
        large = [np.abs(currents[ion]) > 1e-4 * size[ion] for currents in base]
        powers, product, matters = [], True, []
        for j in range(kept):
            seen = []
            for x, factor in itertools.product((0, 1), (1.3, 0.7)):
                with np.errstate(all="ignore"):
                    ratio = moved[j, x, factor][ion][large[x]] / base[x][ion][large[x]]
                    seen.append(np.log(ratio) / np.log(factor))
            p = np.concatenate(seen)
            if np.any(np.abs(np.nan_to_num(p, nan=1.0)) > tolerance):
                matters.append(j)
            if not np.isfinite(p).all() or not len(p) or np.ptp(p) > 30 * tolerance:
                product = False
            else:
                power = float(np.median(p))
                powers.append(float(round(power)) if abs(power - round(power)) < 30 * tolerance else power)
        if product:
            found.append(Form(ion, np.array([powers]).reshape(1, kept), np.ones((1, kept)), np.ones((1, 1))))
        else:
            found.append(_polynomial(read, ion, kept, matters, n, tolerance))
    return found


def _polynomial(read: Read, ion: str, kept: int, matters: list[int], n: int, tolerance: float) -> Form:
    rng = np.random.default_rng(1)
    count, degree = len(matters), HIGHEST.get(len(matters), 1)
    if degree > 1:
        exponents = [e for e in itertools.product(range(degree + 1), repeat=count) if sum(e) <= degree]
    else:
        exponents = [(0,) * count, *(tuple(int(i == j) for i in range(count)) for j in range(count))]
    powers = np.zeros((len(exponents), kept))
    powers[:, matters] = exponents
    points = rng.uniform(0.05, 1.0, (2 * len(exponents) + 5, kept))
    values = np.array([read(np.broadcast_to(x[:, None], (kept, n)), ion == "")[ion] for x in points])
    monomials = np.prod(points[:, None, :] ** powers, axis=2)
    coefficients, *_ = np.linalg.lstsq(monomials, values, rcond=None)
    scale = float(np.nanmax(np.abs(values)))
    miss = float(np.nanmax(np.abs(monomials @ coefficients - values))) / scale
    if not miss < tolerance:
        carrier = f"current i{ion}" if ion else "current of no ion"
        raise CellError(f"its {carrier} is neither a product of powers of its states nor a polynomial of them")
    kept_terms = np.abs(coefficients).max(axis=1) > 10 * tolerance * scale
    powers, monomials = powers[kept_terms], monomials[:, kept_terms]
    _, _, order = qr(monomials.T, pivoting=True, mode="economic")
    chosen = points[order[: len(powers)]]
    return Form(ion, powers, chosen, np.linalg.inv(np.prod(chosen[:, None, :] ** powers, axis=2)))


def drive(table: Floats, v: Floats, c: Floats, ion: str) -> str:
    """The kind of a coefficient (concentrations, potentials): "ohmic", "v", "ghk" (linear in c) or "vc"."""
    tolerance = 1e-7 if ion else 1e-6
    scale = float(np.nanmax(np.abs(table)))
    fit = np.stack([v, np.ones_like(v)], axis=1)
    if len(table) == 1 or float(np.nanmax(np.ptp(table, axis=0))) <= tolerance * scale:
        line, *_ = np.linalg.lstsq(fit, table[0], rcond=None)
        straight = float(np.abs(fit @ line - table[0]).max()) < tolerance * scale
        return "ohmic" if straight and abs(line[0]) > 1e-9 * scale else "v"
    share = ((c - c[0]) / (c[-1] - c[0]))[:, None]
    if float(np.nanmax(np.abs(table[0] + (table[-1] - table[0]) * share - table))) < tolerance * scale:
        return "ghk"
    return "vc"
