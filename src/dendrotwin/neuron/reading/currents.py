"""Currents of a mechanism: a sum of products of powers of its states, each times a driving force.

As of Hodgkin and Huxley (1952, doi:10.1113/jphysiol.1952.sp004764): I = g m^3 h (V - E). Where the driving force is
none of V - E it is a table over V, linear in the concentration as in the constant field equation (Goldman 1943,
doi:10.1085/jgp.27.1.37), or a table over both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.state_structure import StateStructure
from dendrotwin.neuron.reading.voltage_clamp import Conditions, VoltageClamp

# Currents (n,) of a clamp's compartments at (kept, n) states, by ion; that of no ion only where it is wanted.
ReadCurrents = Callable[[Floats, bool], dict[str, Floats]]


@dataclass(frozen=True, eq=False)
class CurrentForm:
    """A current as a sum of products of states, each with a coefficient over V and c.

    Attributes:
        ion: "" for none.
        powers: (terms, kept) of each state in each product.
        points: (terms, kept) states at which the current tells all coefficients.
        inverse: (terms, terms) from currents at `points` to coefficients.
    """

    ion: str
    powers: Floats
    points: Floats
    inverse: Floats

    def coefficients(self, read: ReadCurrents, n: int) -> Floats:
        """(terms, n) coefficients [mA/cm2].

        Args:
            read: gives the currents of a clamp.
            n: number of its compartments.
        """
        seen = np.array(
            [read(np.broadcast_to(point[:, None], (len(point), n)), self.ion == "")[self.ion] for point in self.points]
        )
        return np.asarray(self.inverse @ seen)


def current_reader(
    clamp: VoltageClamp, v_mV: Floats, structure: StateStructure, constants: Floats, conditions: Conditions
) -> ReadCurrents:
    """Currents at given kept states, and whether that of no ion is wanted; other states follow V and c.

    Args:
        clamp: whose compartments.
        v_mV: (n,) potentials [mV].
        structure: of the states.
        constants: (states, n) or (states, 1) values of states that never change.
        conditions: what else is held.
    """
    states = np.array(np.broadcast_to(constants, (len(clamp.state_names), clamp.n)), dtype=float)
    if structure.instant:
        states[structure.instant] = clamp.step(v_mV, states, 1e-4, conditions)[structure.instant]

    def read(kept: Floats, nonspecific: bool) -> dict[str, Floats]:
        states[structure.kept] = kept
        return clamp.currents(v_mV, states, conditions, nonspecific)

    return read


def current_forms(read: ReadCurrents, kept: int, n: int) -> list[CurrentForm]:
    """The form of each current, from compartments at a few potentials and concentrations.

    Args:
        read: gives the currents of a clamp.
        kept: number of states that they may depend on.
        n: number of the clamp's compartments.

    Raises:
        CellError: one is no product and no polynomial.
    """
    config = READING.current
    base = [read(np.full((kept, n), x), True) for x in config.states]
    size = {ion: max(float(np.nanmax(np.abs(currents[ion]))) for currents in base) for ion in base[0]}
    carriers = [ion for ion, x in size.items() if x > 0]
    if not carriers:
        return []
    moved = {}
    for j, x, factor in itertools.product(range(kept), (0, 1), config.factors):
        states = np.full((kept, n), config.states[x])
        states[j] *= factor
        moved[j, x, factor] = read(states, "" in carriers)
    found = []
    for ion in carriers:
        tolerance = config.tolerance if ion else config.tolerance_nonspecific
        large = [np.abs(currents[ion]) > 1e-4 * size[ion] for currents in base]
        powers, product, matters = [], True, []
        for j in range(kept):
            seen = []
            for x, factor in itertools.product((0, 1), config.factors):
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
            found.append(CurrentForm(ion, np.array([powers]).reshape(1, kept), np.ones((1, kept)), np.ones((1, 1))))
        else:
            found.append(_polynomial(read, ion, kept, matters, n, tolerance))
    return found


def _polynomial(read: ReadCurrents, ion: str, kept: int, matters: list[int], n: int, tolerance: float) -> CurrentForm:
    """A current as a polynomial in the states that matter to it, from its values at random states."""
    rng = np.random.default_rng(1)
    count, degree = len(matters), READING.current.highest_degree(len(matters))
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
    error = float(np.nanmax(np.abs(monomials @ coefficients - values))) / scale
    if not error < tolerance:
        carrier = f"current i{ion}" if ion else "current of no ion"
        raise CellError(f"its {carrier} is neither a product of powers of its states nor a polynomial of them")
    kept_terms = np.abs(coefficients).max(axis=1) > 10 * tolerance * scale
    powers, monomials = powers[kept_terms], monomials[:, kept_terms]
    _, _, order = qr(monomials.T, pivoting=True, mode="economic")
    chosen = points[order[: len(powers)]]
    return CurrentForm(ion, powers, chosen, np.linalg.inv(np.prod(chosen[:, None, :] ** powers, axis=2)))


def driving_force(coefficient: Floats, v_mV: Floats, c: Floats, ion: str) -> str:
    """What a coefficient is: "ohmic", a table over V "v", "ghk" (linear in c, as Goldman's equation), or "vc".

    Args:
        coefficient: (concentrations, potentials) of a term of a current [mA/cm2].
        v_mV: (potentials,) [mV].
        c: (concentrations,) inside concentrations [mM].
        ion: which carries the current, "" for none.
    """
    tolerance = 1e-7 if ion else 1e-6  # a current of no ion is seen in changes of V alone
    scale = float(np.nanmax(np.abs(coefficient)))
    fit = np.stack([v_mV, np.ones_like(v_mV)], axis=1)
    if len(coefficient) == 1 or float(np.nanmax(np.ptp(coefficient, axis=0))) <= tolerance * scale:
        line, *_ = np.linalg.lstsq(fit, coefficient[0], rcond=None)
        straight = float(np.abs(fit @ line - coefficient[0]).max()) < tolerance * scale
        return "ohmic" if straight and abs(line[0]) > 1e-9 * scale else "v"
    share = ((c - c[0]) / (c[-1] - c[0]))[:, None]
    line_in_c = coefficient[0] + (coefficient[-1] - coefficient[0]) * share
    if float(np.nanmax(np.abs(line_in_c - coefficient))) < tolerance * scale:
        return "ghk"
    return "vc"
