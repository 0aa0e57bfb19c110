"""Conductances of a synapse, from the exponentials by which its states decay and from their currents.

A state is a conductance exp(-t/tau) B(V) (V - e); two that jump alike with opposite signs are a dual exponential. The
block B(V) is that by magnesium (Jahr and Stevens 1990, doi:10.1523/JNEUROSCI.10-09-03178.1990) where it has its form.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dendrotwin.cell.synapse import BLOCK_MV, Conductance
from dendrotwin.cell.tree import Floats
from dendrotwin.errors import CellError
from dendrotwin.neuron.synapse_clamp import SYNAPSE_READING, nearly_equal


def conductances_of(taus_ms: Floats, curves: Floats) -> tuple[Conductance, ...]:
    """From exponentials to conductances.

    Args:
        taus_ms: (s,) their time constants [ms].
        curves: (s, BLOCK_MV) current of each for an event of weight 1 [nA].

    Raises:
        CellError: there are no such; says why, without a subject.
    """
    tolerance = SYNAPSE_READING.current_equality
    left = list(range(len(taus_ms)))
    found: list[Conductance] = []
    while left:  # states whose currents depend on V alike, together
        reference = curves[max(left, key=lambda s: float(np.abs(curves[s]).max()))]
        norm = reference @ reference
        share = {s: float(curves[s] @ reference / norm) for s in left}
        alike = [
            s for s in left if np.abs(curves[s] - share[s] * reference).max() <= tolerance * np.abs(curves[s]).max()
        ]
        left = [s for s in left if s not in alike]
        amount_uS, form = _form(reference)
        amounts = {s: share[s] * amount_uS for s in alike}
        found += [Conductance(rise, decay, peak, **form) for rise, decay, peak in _pairs(taus_ms, amounts)]
    return tuple(sorted(found, key=lambda g: (g.decay_ms, g.rise_ms, g.e_mV)))


def _pairs(taus_ms: Floats, amounts_uS: dict[int, float]) -> list[tuple[float, float, float]]:
    """Exponentials of both signs as (rise, decay, peak): a negative one is the rise of a slower one, or of several."""
    nothing = SYNAPSE_READING.current_equality * max(abs(amount) for amount in amounts_uS.values())
    decays = {s: amount for s, amount in amounts_uS.items() if amount > 0.0}
    found = []
    for rise in sorted((s for s in amounts_uS if s not in decays), key=lambda s: taus_ms[s]):
        wanted = -amounts_uS[rise]
        while wanted > nothing:
            slower = [s for s in decays if taus_ms[s] > taus_ms[rise] and decays[s] > nothing]
            if not slower:
                raise CellError("has a conductance that turns negative")
            decay = min(slower, key=lambda s: abs(decays[s] - wanted))
            taken = min(wanted, decays[decay])
            wanted, decays[decay] = wanted - taken, decays[decay] - taken
            times = _digits(taus_ms[rise], 9), _digits(taus_ms[decay], 9)
            peak = taken / Conductance(*times, 1.0, 0.0).normalisation()
            found.append((*times, _digits(peak, 6)))
    single = [s for s in decays if decays[s] > nothing]
    return found + [(0.0, _digits(taus_ms[s], 9), _digits(decays[s], 6)) for s in single]


def _form(curve: Floats) -> tuple[float, dict[str, Any]]:
    """How a current (BLOCK_MV) depends on V: conductance where the block is 1 [uS], and the fields of `Conductance`."""
    line = np.polynomial.Polynomial.fit(BLOCK_MV, curve, 1)
    if nearly_equal(line(BLOCK_MV), curve, SYNAPSE_READING.current_equality):
        offset, slope = (float(c) for c in line.convert().coef)
        if abs(slope) * 1e4 < abs(offset):
            raise CellError("has a current that does not reverse")
        return slope, {"e_mV": round(-offset / slope, 4) + 0.0}
    crossing = np.flatnonzero(np.sign(curve[:-1]) * np.sign(curve[1:]) <= 0.0)
    if len(crossing) == 0:
        raise CellError(f"has a current that does not reverse between {BLOCK_MV[0]:g} and {BLOCK_MV[-1]:g} mV")
    at = int(max(crossing, key=lambda k: abs(curve[k + 1] - curve[k])))
    first = min(max(at - 3, 0), len(curve) - 8)
    window = slice(first, first + 8)
    middle, volts = BLOCK_MV[at], BLOCK_MV[window]
    roots = np.polynomial.Polynomial.fit(volts - middle, curve[window], 7).roots()
    real = roots[np.abs(roots.imag) < 1e-6].real
    if len(real) == 0:
        raise CellError("has a current that does not reverse")
    e_mV = round(float(middle + real[np.argmin(np.abs(real - 0.5))]), 4) + 0.0
    driving = BLOCK_MV - e_mV
    away = np.abs(driving) > 0.6
    g = np.where(away, curve / np.where(away, driving, 1.0), 0.0)
    around = np.abs(driving) < 5.0
    smooth = np.polynomial.Polynomial.fit(driving[around & away], g[around & away], 5)
    g[~away] = smooth(driving[~away])
    magnesium = _magnesium(g)
    if magnesium is not None:
        return magnesium[0], {"e_mV": e_mV, "mg_mM": magnesium[1], "slope_per_mV": magnesium[2]}
    largest = float(g[np.argmax(np.abs(g))])
    block = np.round(g / largest, 7) + 0.0
    if block.min() < -SYNAPSE_READING.current_equality:
        raise CellError("has a conductance that changes its sign with the potential")
    return largest, {"e_mV": e_mV, "block": tuple(np.maximum(block, 0.0).tolist())}


def _magnesium(g: Floats) -> tuple[float, float, float] | None:
    """Conductance [uS], magnesium [mM] and slope [1/mV], if g(V) is blocked as by magnesium; see `Conductance`."""
    v = np.array([-90.0, -50.0, -10.0])
    inverse = 1.0 / np.interp(v, BLOCK_MV, g)  # a + c exp(-slope V)
    with np.errstate(all="ignore"):
        slope = np.log((inverse[0] - inverse[1]) / (inverse[1] - inverse[2])) / 40.0
        c = (inverse[1] - inverse[2]) / (np.exp(-slope * v[1]) - np.exp(-slope * v[2]))
        a = inverse[2] - c * np.exp(-slope * v[2])
        found = float(1.0 / a), _digits(3.57 * c / a, 5), _digits(slope, 5)
        fits = Conductance(0.0, 1.0, 1.0, 0.0, *found[1:]).open_share(BLOCK_MV) * found[0]
    return found if found[1] > 0.0 and nearly_equal(fits, g, 10 * SYNAPSE_READING.current_equality) else None


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
