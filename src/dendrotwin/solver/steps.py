"""Steps of a cell whose membrane is data, on the CPU.

For every compartment i, with C the capacitance, and j its neighbours in the tree,

    C dV/dt = sum_k g_k x_k^p (E_k - V) + sum_s g_s(t) B_s(V) (E_s - V) + sum_j g_ij (V_j - V) + I

Gates and potentials take turns (staggered, Hines 1984, doi:10.1016/0020-7101(84)90008-4). Gates go from the middle of
one step to the middle of the next, exponentially, at the potential between them. Then the whole tree takes a step of h
with these conductances, A its matrix and F the current at V, by two solves of one factorisation (SDIRK2, of second
order and L-stable: Alexander 1977, doi:10.1137/0714068):

    (C / (gamma h) + A) r1 = F,    (C / (gamma h) + A) r2 = C / (gamma h) r1,
    V' = V + r1 + (1 / gamma - 1) r2,    gamma = 1 - 1 / sqrt(2)

Gates that may run away lead, and so do states of schemes over V: what they gain while the potential moves in the very
step is in A, linearly. Synaptic conductances are exact means over each step, from each event on.

A millisecond takes a few steps, or more. Conductances that change bend the course of a potential,

    b_i = (dJ_i / dt - V_i dG_i / dt) / C_i   [mV/ms2],    G = sum_k g_k x_k^p,    J = sum_k g_k x_k^p E_k,

and what is at stake in a step of h is how much b has changed since the step before. It is short enough where the root
mean square of h^2 (b_i - b_i before), weighed by C, is at most the tolerance [mV]. A millisecond in which it is
not is done again, in as many steps as that asks for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import (
    BOTH_C_MM,
    BOTH_C_STRIDE,
    BOTH_V_MV,
    BOTH_V_STRIDE,
    C_BINS,
    C_GRID_MM,
    C_LOW_MM,
    PLANE_C_MM,
    PLANE_C_STRIDE,
    PLANE_V_MV,
    PLANE_V_STRIDE,
    SCHEME_C_MM,
    SCHEME_C_STRIDE,
    SCHEME_V_MV,
    SCHEME_V_STRIDE,
    V_BIN_MV,
    V_BINS,
    V_LOW_MV,
)
from dendrotwin.cell.tree import Floats
from dendrotwin.solver.layout import (
    AT,
    CLASS_BLOCK,
    DRIVE_C,
    FIXED,
    GATE_ION,
    GATE_OVER,
    GATE_TABLE,
    NERNST,
    OVER_BOTH,
    OVER_C,
    OVER_V,
    PLANE,
    SCHEME_ION,
    SCHEME_OVER,
    SCHEME_SIZE,
    SCHEME_TABLE,
    START,
    STATE_FIRST,
    STATE_LEAD,
    STATE_SIZE,
    STATE_X,
    STOP,
    TERM_C,
    TERM_ION,
    TERM_KIND,
    TERM_STATES,
    TERM_TABLE,
    Branches,
    Classes,
    Ions,
    Kinetics,
    Net,
    Terms,
)
from dendrotwin.solver.lookup import JIT, go_nearer, look_up

LOG_C_LOW = float(np.log(C_LOW_MM))
C_BIN = float(np.log(C_GRID_MM[1] / C_GRID_MM[0]))
LOG_2, ROOT_2 = float(np.log(2.0)), float(np.sqrt(2.0))
LEAST_MM = 1e-9
GATE_LEAST = np.float32(1e-9)  # of a gate, to divide by
NO_PEAK_MV = -1e3
NONE_US = np.float32(1e-20)  # less is no conductance: numbers near the least that there is cost a hundred times more
HALF, ZERO = np.float32(0.5), np.float32(0.0)
GAMMA, SHARE = 1.0 - 0.5**0.5, 0.5**0.5 / (1.0 - 0.5**0.5)
LAST_V, LAST_C = np.uint32(V_BINS - 2), np.uint32(C_BINS - 2)
LAST_PLANE_V, LAST_PLANE_C = len(PLANE_V_MV) - 2, len(PLANE_C_MM) - 2
LAST_SCHEME_V, LAST_SCHEME_C = len(SCHEME_V_MV) - 2, len(SCHEME_C_MM) - 2
LAST_BOTH_V, LAST_BOTH_C = len(BOTH_V_MV) - 2, len(BOTH_C_MM) - 2
DOWN = 2  # levels by which a millisecond may be coarser than the one before
Single = NDArray[np.float32]


class State(NamedTuple):
    """All that a cell remembers, at the end of a millisecond.

    Attributes:
        v_mV: (n,).
        x: (states,) gates and schemes, half a step behind.
        c_mM: (ions, n).
        rise_uS, decay_uS: (classes, n) the two exponentials of the synaptic conductances.
        pull: (2, n) of all terms in the last step: conductance [uS], and current at 0 mV [nA].
        bend: (n,) how they bent the course of V then [mV/ms2].
        course: (4,) level of the last millisecond, level asked for by it, the soma's last potential, and whether it
            was rising.
    """

    v_mV: Floats
    x: Single
    c_mM: Floats
    rise_uS: Single
    decay_uS: Single
    pull: Single
    bend: Single
    course: Floats

    def copy(self) -> State:
        """One that does not share memory."""
        parts: list[Any] = [array.copy() for array in self]
        return State(*parts)


class Arrivals(NamedTuple):
    """What events open of the synaptic conductances.

    Attributes:
        first: (steps + 1,) the first arrival of each millisecond, and where those of the last one end.
        after_ms: (arrivals,) time after the start of its millisecond, rising in it [ms].
        kind, at: (arrivals,) class of the conductance, and place of the compartment.
        uS: (arrivals,) what is added to both exponentials.
    """

    first: NDArray[np.int64]
    after_ms: Floats
    kind: NDArray[np.int64]
    at: NDArray[np.int64]
    uS: Floats


class _Place(NamedTuple):
    """Potentials and concentrations of a step, and where they lie in tables."""

    v: Single
    bin: NDArray[np.uint32]
    fraction: Single
    c: Single
    c_bin: NDArray[np.uint32]
    c_fraction: Single
    e: Single


class _Sums(NamedTuple):
    """Over all terms: slope conductance, current at 0 mV, conductance of what leads; the first two of each ion."""

    total: Single
    zero_nA: Single
    lead: Single
    ion_g: Single
    ion_j: Single


class _Work(NamedTuple):
    """Room for a step."""

    single: Single
    double: Floats
    bits: NDArray[np.int64]
    mean: Single
    diagonal: Floats
    right: Floats
    states: Single


@numba.njit(**JIT)
def _room(net: Net) -> tuple[_Place, _Sums, _Work]:
    n, nodes, ions, most = len(net.capacitance_nF), len(net.branches.order), len(net.ions.nernst_mV), 1
    for k in range(len(net.scheme)):
        most = max(most, net.scheme[k, SCHEME_SIZE])
    bins = np.zeros((1 + ions, n), np.uint32)
    v, of_ion = np.zeros((2, n), np.float32), np.zeros((3, ions, n), np.float32)
    sums, of_ions = np.zeros((3, n), np.float32), np.zeros((2, ions, n), np.float32)
    return (
        _Place(v[0], bins[0], v[1], of_ion[0], bins[1:], of_ion[1], of_ion[2]),
        _Sums(sums[0], sums[1], sums[2], of_ions[0], of_ions[1]),
        _Work(
            np.zeros((5, n), np.float32), np.zeros((2, n)), np.zeros(n, np.int64),
            np.zeros((len(net.classes.rise_ms), n), np.float32), np.zeros(nodes), np.zeros(nodes),
            np.zeros(most, np.float32),
        ),
    )  # fmt: skip


@numba.njit(**JIT)
def _copy(given: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = given[i]


@numba.njit(**JIT)
def _clear(out: Any) -> None:
    for i in range(len(out)):
        out[i] = 0.0


@numba.njit(**JIT)
def _eliminate(
    order: NDArray[np.uint32], parent: NDArray[np.uint32], axial: Floats, diagonal: Floats, right: Floats
) -> None:  # fmt: skip
    """Hines elimination; `right` becomes the solution, `diagonal` the inverse of what is divided by."""
    last = len(order) - 1
    for k in range(last):
        j, p, g = order[k], parent[k], axial[k]
        inverse = 1.0 / diagonal[j]
        diagonal[j] = inverse
        share = g * inverse
        diagonal[p] -= share * g
        right[p] += share * right[j]
    root = order[last]
    diagonal[root] = 1.0 / diagonal[root]
    _back(order, parent, axial, diagonal, right)


@numba.njit(**JIT)
def _back(
    order: NDArray[np.uint32], parent: NDArray[np.uint32], axial: Floats, inverse: Floats, right: Floats
) -> None:  # fmt: skip
    """From the root to the ends."""
    last = len(order) - 1
    right[order[last]] *= inverse[order[last]]
    for i in range(last):
        k = np.uint32(last - 1 - i)
        j = order[k]
        right[j] = (right[j] + axial[k] * right[parent[k]]) * inverse[j]


@numba.njit(**JIT)
def _again(
    order: NDArray[np.uint32], parent: NDArray[np.uint32], axial: Floats, inverse: Floats, right: Floats
) -> None:  # fmt: skip
    """The same with another right side, by what `_eliminate` has left."""
    for k in range(len(order) - 1):
        j = order[k]
        right[parent[k]] += axial[k] * inverse[j] * right[j]
    _back(order, parent, axial, inverse, right)


@numba.njit(**JIT)
def _logarithms(x: Floats, bits: NDArray[np.int64], out: Floats) -> None:
    """log(x) of positive numbers, to 1e-9, in arithmetic alone, so that it runs over them as vectors.

    Of x = 2^k m, with m from 1 to 2, the series of log((1 + z) / (1 - z)) about the middle.
    """
    whole, parts = x.view(np.int64), bits.view(np.float64)
    for i in range(len(x)):
        bits[i] = (whole[i] & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000
    for i in range(len(x)):
        z = (parts[i] - ROOT_2) / (parts[i] + ROOT_2)
        y = z * z
        series = 1.0 + y * (1.0 / 3.0 + y * (1.0 / 5.0 + y * (1.0 / 7.0 + y / 9.0)))
        out[i] = ((whole[i] >> 52) - 1023 + 0.5) * LOG_2 + 2.0 * z * series


@numba.njit(**JIT)
def _look_up(v: Floats, single: Single, b: NDArray[np.uint32], fraction: Single) -> None:
    """Where each potential lies in the tables, and the potentials as precise as these."""
    for i in range(len(v)):
        p = min(max((v[i] - V_LOW_MV) * (1.0 / V_BIN_MV), 0.0), V_BINS - 1.001)
        b[i] = min(np.uint32(p), LAST_V)
        fraction[i] = p - b[i]
    for i in range(len(v)):
        single[i] = v[i]


@numba.njit(**JIT)
def _place_c(log: Floats, b: NDArray[np.uint32], fraction: Single) -> None:
    for i in range(len(log)):
        p = min(max((log[i] - LOG_C_LOW) * (1.0 / C_BIN), 0.0), C_BINS - 1.001)
        b[i] = min(np.uint32(p), LAST_C)
        fraction[i] = p - b[i]


@numba.njit(**JIT)
def _nernst(nernst_mV: float, outside: Floats, log: Floats, e: Single) -> None:
    for i in range(len(log)):
        e[i] = nernst_mV * (outside[i] - log[i])


@numba.njit(**JIT)
def _look_up_ion(ions: Ions, r: int, a: int, z: int, c: Floats, place: _Place, work: _Work) -> None:
    """Where each concentration of an ion lies in the tables, and its Nernst potential, at the places a to z."""
    log = work.double[0, : z - a]
    _logarithms(c[r, a:z], work.bits[: z - a], log)
    _nernst(ions.nernst_mV[r], ions.log_outside[r, a:z], log, place.e[r, a:z])
    _place_c(log, place.c_bin[r, a:z], place.c_fraction[r, a:z])
    _copy(c[r, a:z], place.c[r, a:z])


@numba.njit(**JIT)
def _plane_place(b: Any, f: Any, stride: int, last: int) -> tuple[Any, Any]:
    """A place of a fine grid on a coarse one."""
    k = min(b // stride, last)
    return k, (b - k * stride + f) / np.float32(stride)


@numba.njit(**JIT)
def _plane(table: Single, cb: int, cf: float, vb: int, vf: float) -> float:
    """Between the four corners of a plane (points of c, points of V)."""
    low = table[cb, vb] + vf * (table[cb, vb + 1] - table[cb, vb])
    high = table[cb + 1, vb] + vf * (table[cb + 1, vb + 1] - table[cb + 1, vb])
    found: float = low + cf * (high - low)
    return found


@numba.njit(**JIT)
def _both_row(
    table: Single, vb: NDArray[np.uint32], vf: Single, cb: NDArray[np.uint32], cf: Single, y: Single
) -> None:  # fmt: skip
    for i in range(len(y)):
        p, fp = _plane_place(vb[i], vf[i], PLANE_V_STRIDE, LAST_PLANE_V)
        q, fq = _plane_place(cb[i], cf[i], PLANE_C_STRIDE, LAST_PLANE_C)
        steady = _plane(table[:, :, 0], q, fq, p, fp)
        y[i] = steady + (y[i] - steady) * _plane(table[:, :, 1], q, fq, p, fp)


@numba.njit(**JIT)
def _gates(rows: NDArray[np.int64], kin: Kinetics, pair: int, x: Single, place: _Place) -> None:
    """All gates from the middle of one step to the middle of the next."""
    over_v, over_c, over_both = kin.over_v[pair], kin.over_c[pair], kin.over_both[pair]
    b, f, c_bin, c_fraction = place.bin, place.fraction, place.c_bin, place.c_fraction
    for k in range(len(rows)):
        a, z, at, r, table = rows[k, START], rows[k, STOP], rows[k, AT], rows[k, GATE_ION], rows[k, GATE_TABLE]
        y = x[at : at + z - a]
        if rows[k, GATE_OVER] == OVER_V:
            go_nearer(over_v[table], b[a:z], f[a:z], y)
        elif rows[k, GATE_OVER] == OVER_C:
            go_nearer(over_c[table], c_bin[r, a:z], c_fraction[r, a:z], y)
        else:
            _both_row(over_both[table], b[a:z], f[a:z], c_bin[r, a:z], c_fraction[r, a:z], y)


@numba.njit(**JIT)
def _scheme_row(
    table: Single, size: int, b: NDArray[np.uint32], f: Single, stride: int, last: int, x: Single, states: Single
) -> None:  # fmt: skip
    """A matrix times the states of each compartment, and what flows in."""
    entries, length = size * (size + 1), len(b)
    for i in range(length):
        k, share = _plane_place(b[i], f[i], stride, last)
        low, high = table[k * entries : (k + 1) * entries], table[(k + 1) * entries : (k + 2) * entries]
        for p in range(size):
            row = p * (size + 1)
            found = low[row + size] + share * (high[row + size] - low[row + size])
            for q in range(size):
                found += (low[row + q] + share * (high[row + q] - low[row + q])) * x[q * length + i]
            states[p] = found
        for p in range(size):
            x[p * length + i] = states[p]


@numba.njit(**JIT)
def _scheme_both(
    table: Single, size: int, vb: NDArray[np.uint32], vf: Single, cb: NDArray[np.uint32], cf: Single, x: Single,
    states: Single,
) -> None:  # fmt: skip
    """The same of a table over c and V."""
    entries, length = size * (size + 1), len(vb)
    for i in range(length):
        p, fp = _plane_place(vb[i], vf[i], BOTH_V_STRIDE, LAST_BOTH_V)
        q, fq = _plane_place(cb[i], cf[i], BOTH_C_STRIDE, LAST_BOTH_C)
        first = (q * (LAST_BOTH_V + 2) + p) * entries
        second = first + (LAST_BOTH_V + 2) * entries
        low, low_next = table[first : first + entries], table[first + entries : first + 2 * entries]
        high, high_next = table[second : second + entries], table[second + entries : second + 2 * entries]
        one = np.float32(1.0)
        a, b, c, d = (one - fq) * (one - fp), (one - fq) * fp, fq * (one - fp), fq * fp
        for row in range(size):
            at = row * (size + 1) + size
            found = a * low[at] + b * low_next[at] + c * high[at] + d * high_next[at]
            for k in range(size):
                at = row * (size + 1) + k
                found += (a * low[at] + b * low_next[at] + c * high[at] + d * high_next[at]) * x[k * length + i]
            states[row] = found
        for row in range(size):
            x[row * length + i] = states[row]


@numba.njit(**JIT)
def _schemes(rows: NDArray[np.int64], kin: Kinetics, pair: int, x: Single, place: _Place, states: Single) -> None:
    """All schemes likewise."""
    tables, first = kin.schemes[pair], kin.scheme_first
    b, f, c_bin, c_fraction = place.bin, place.fraction, place.c_bin, place.c_fraction
    for k in range(len(rows)):
        a, z, at, size, r = rows[k, START], rows[k, STOP], rows[k, AT], rows[k, SCHEME_SIZE], rows[k, SCHEME_ION]
        which = rows[k, SCHEME_TABLE]
        table = tables[first[which] : first[which + 1]]
        y = x[at : at + size * (z - a)]
        if rows[k, SCHEME_OVER] == OVER_C:
            _scheme_row(table, size, c_bin[r, a:z], c_fraction[r, a:z], SCHEME_C_STRIDE, LAST_SCHEME_C, y, states)
        elif rows[k, SCHEME_OVER] == OVER_BOTH:
            _scheme_both(table, size, b[a:z], f[a:z], c_bin[r, a:z], c_fraction[r, a:z], y, states)
        else:
            _scheme_row(table, size, b[a:z], f[a:z], SCHEME_V_STRIDE, LAST_SCHEME_V, y, states)


@numba.njit(**JIT)
def _times_power(y: Single, power: float, size: Single, out: Single) -> None:
    """out = size y^power; `out` may be `size`."""
    if power == 1.0:
        for i in range(len(out)):
            out[i] = size[i] * y[i]
    elif power == 2.0:
        for i in range(len(out)):
            out[i] = size[i] * (y[i] * y[i])
    elif power == 3.0:
        for i in range(len(out)):
            out[i] = size[i] * (y[i] * y[i] * y[i])
    elif power == 4.0:
        for i in range(len(out)):
            square = y[i] * y[i]
            out[i] = size[i] * (square * square)
    else:
        for i in range(len(out)):
            out[i] = size[i] * max(y[i], ZERO) ** power


@numba.njit(**JIT)
def _add(given: Floats, out: Single) -> None:
    for i in range(len(out)):
        out[i] += given[i]


@numba.njit(**JIT)
def _ohmic(g: Single, e: Single, total: Single, zero_nA: Single) -> None:
    """Adds conductances, and their currents at 0 mV."""
    for i in range(len(g)):
        total[i] += g[i]
        zero_nA[i] += g[i] * e[i]


@numba.njit(**JIT)
def _sloped(g: Single, slope: Single, zero: Single, total: Single, zero_nA: Single) -> None:
    """The same of currents that follow a table, by its slope and where that meets 0 mV."""
    for i in range(len(g)):
        total[i] += g[i] * slope[i]
        zero_nA[i] += g[i] * zero[i]


@numba.njit(**JIT)
def _drive(
    table: Single, b: NDArray[np.uint32], f: Single, c: Single, v: Single, slope: Single, zero: Single
) -> None:  # fmt: skip
    """Of a table a + b c about V, its slope, and the current into the cell to which it goes on at 0 mV."""
    for i in range(len(b)):
        low = b[i]
        high = low + np.uint32(1)
        below, above = table[low, 0] + table[low, 1] * c[i], table[high, 0] + table[high, 1] * c[i]
        slope[i] = (above - below) * np.float32(1.0 / V_BIN_MV)
        zero[i] = slope[i] * v[i] - (below + f[i] * (above - below))


@numba.njit(**JIT)
def _plane_drive(
    table: Single, vb: NDArray[np.uint32], vf: Single, cb: NDArray[np.uint32], cf: Single, v: Single, slope: Single,
    zero: Single,
) -> None:  # fmt: skip
    """The same of a table over c and V."""
    for i in range(len(vb)):
        p, fp = _plane_place(vb[i], vf[i], PLANE_V_STRIDE, LAST_PLANE_V)
        q, fq = _plane_place(cb[i], cf[i], PLANE_C_STRIDE, LAST_PLANE_C)
        below, above = _plane(table, q, fq, p, np.float32(0.0)), _plane(table, q, fq, p, np.float32(1.0))
        slope[i] = (above - below) * np.float32(1.0 / (V_BIN_MV * PLANE_V_STRIDE))
        zero[i] = slope[i] * v[i] - (below + fp * (above - below))


@numba.njit(**JIT)
def _lead(gained: Single, gain: float, y: Single, inward: Single, lead: Single) -> None:
    """Adds the conductance, mostly negative, that a current gains by its gate while V moves in this step."""
    for i in range(len(y)):
        lead[i] -= gain * gained[i] * inward[i] / max(y[i], GATE_LEAST)


@numba.njit(**JIT)
def _scheme_lead(
    table: Single, size: int, gain: float, y: Single, states: Single, inward: Single, b: NDArray[np.uint32], f: Single,
    lead: Single,
) -> None:  # fmt: skip
    """The same by a state of a scheme, which gains from all of its states."""
    entries, length = size + 1, len(y)
    for i in range(length):
        k, share = _plane_place(b[i], f[i], SCHEME_V_STRIDE, LAST_SCHEME_V)
        low, high = table[k * entries : (k + 1) * entries], table[(k + 1) * entries : (k + 2) * entries]
        gained = low[size] + share * (high[size] - low[size])
        for q in range(size):
            gained += (low[q] + share * (high[q] - low[q])) * states[q * length + i]
        lead[i] -= gain * gained * inward[i] / max(y[i], GATE_LEAST)


@numba.njit(**JIT)
def _inward(g: Single, slope: Single, zero: Single, v: Single, out: Single) -> None:
    """Current into the cell at V."""
    for i in range(len(g)):
        out[i] = g[i] * (zero[i] - slope[i] * v[i])


@numba.njit(**JIT)
def _terms(
    terms: Terms, leads: Single, scheme_leads: Single, x: Single, place: _Place, sums: _Sums, work: _Work
) -> None:  # fmt: skip
    """Sums over all terms about V."""
    v, b, f, c, c_bin, c_fraction, e_ion = (
        place.v, place.bin, place.fraction, place.c, place.c_bin, place.c_fraction, place.e
    )  # fmt: skip
    total, zero_nA, lead, ion_g, ion_j = sums.total, sums.zero_nA, sums.lead, sums.ion_g, sums.ion_j
    opened, slope, zero, now, gained = (
        work.single[0], work.single[1], work.single[2], work.single[3], work.single[4]
    )  # fmt: skip
    rows, states, powers, size, e_mV = terms.term, terms.state, terms.power, terms.size, terms.e_mV
    drive, plane, one, none = terms.drive, terms.plane, terms.one, terms.none
    _copy(terms.leak_uS, total)
    _copy(terms.leak_nA, zero_nA)
    _clear(lead)
    for r in range(len(ion_g)):
        _clear(ion_g[r])
        _clear(ion_j[r])
    for t in range(len(rows)):
        a, z, o = rows[t, START], rows[t, STOP], rows[t, AT]
        n, kind, r, r_c, table = z - a, rows[t, TERM_KIND], rows[t, TERM_ION], rows[t, TERM_C], rows[t, TERM_TABLE]
        g = size[o : o + n]
        for k in range(rows[t, TERM_STATES]):
            at = states[t, k, STATE_X]
            _times_power(x[at : at + n], powers[t, k], g, opened[:n])
            g = opened[:n]
        if kind <= NERNST:
            to = e_mV[o : o + n] if kind == FIXED else e_ion[r, a:z]
            _ohmic(g, to, total[a:z], zero_nA[a:z])
            if r >= 0:
                _ohmic(g, to, ion_g[r, a:z], ion_j[r, a:z])
            by = one[:n]
        else:
            to, by = zero[:n], slope[:n]
            if kind == PLANE:
                _plane_drive(plane[table], b[a:z], f[a:z], c_bin[r_c, a:z], c_fraction[r_c, a:z], v[a:z], by, to)
            else:
                inside = c[r_c, a:z] if kind == DRIVE_C else none[:n]
                _drive(drive[table], b[a:z], f[a:z], inside, v[a:z], by, to)
            _sloped(g, by, to, total[a:z], zero_nA[a:z])
            if r >= 0:
                _sloped(g, by, to, ion_g[r, a:z], ion_j[r, a:z])
        for k in range(rows[t, TERM_STATES]):
            at, which = states[t, k, STATE_X], states[t, k, STATE_LEAD]
            if which >= 0:
                _inward(g, by, to, v[a:z], now[:n])
                gain, y, of = np.float32(2.0) * powers[t, k], x[at : at + n], states[t, k, STATE_SIZE]
                if of == 0:
                    look_up(leads[which], b[a:z], f[a:z], gained[:n])
                    _lead(gained[:n], gain, y, now[:n], lead[a:z])
                else:
                    first = states[t, k, STATE_FIRST]
                    _scheme_lead(
                        scheme_leads[which:], of, gain, y, x[first : first + of * n], now[:n], b[a:z], f[a:z], lead[a:z]
                    )


@numba.njit(**JIT)
def _step_of(tau_ms: float, h: float) -> tuple[Any, Any]:
    """Of an exponential: what a step keeps, and its mean over the step, both of what it was."""
    less = np.exp(-h / tau_ms)
    return np.float32(less), np.float32(tau_ms / h * (1.0 - less))


@numba.njit(**JIT)
def _fall(keep: float, share: float, left: Single, mean: Single) -> None:
    for i in range(len(mean)):
        mean[i] = left[i] * share
        rest = left[i] * keep
        left[i] = rest if rest > NONE_US else ZERO


@numba.njit(**JIT)
def _rise(keep: float, share: float, left: Single, mean: Single) -> None:
    for i in range(len(mean)):
        mean[i] -= left[i] * share
        rest = left[i] * keep
        left[i] = rest if rest > NONE_US else ZERO


@numba.njit(**JIT)
def _synapses(classes: Classes, h: float, rise: Single, decay: Single, mean: Single) -> None:
    """Mean conductance of each class over a step without its events, and its exponentials after it."""
    rows, rise_ms, decay_ms = classes.synapse, classes.rise_ms, classes.decay_ms
    for m in range(len(rows)):
        a, z = rows[m, START], rows[m, STOP]
        keep, share = _step_of(decay_ms[m], h)
        _fall(keep, share, decay[m, a:z], mean[m, a:z])
        if rise_ms[m] > 0.0:
            keep, share = _step_of(rise_ms[m], h)
            _rise(keep, share, rise[m, a:z], mean[m, a:z])


@numba.njit(**JIT)
def _arrive(tau_ms: float, uS: float, rest_ms: float, h: float) -> tuple[float, float]:
    """What an event `rest_ms` before the end of a step adds to an exponential at its end, and to its mean."""
    less = np.exp(-rest_ms / tau_ms)
    return uS * less, uS * tau_ms / h * (1.0 - less)


@numba.njit(**JIT)
def _plain_synapse(g: Single, e: float, total: Single, zero_nA: Single) -> None:
    for i in range(len(g)):
        total[i] += g[i]
        zero_nA[i] += g[i] * e


@numba.njit(**JIT)
def _between(table: Single, b: NDArray[np.uint32], f: Single, found: Single, gain: Single) -> None:
    """Of a table with two columns its value, and what it gains to the next place."""
    for i in range(len(b)):
        at = b[i]
        gain[i] = table[at, 1]
        found[i] = table[at, 0] + f[i] * table[at, 1]


@numba.njit(**JIT)
def _blocked_synapse(
    g: Single, block: Single, gain: Single, e: float, v: Single, total: Single, zero_nA: Single
) -> None:  # fmt: skip
    """Linearised about V."""
    for i in range(len(g)):
        opened, away = g[i] * block[i], e - v[i]
        slope = opened - g[i] * gain[i] * np.float32(1.0 / V_BIN_MV) * away
        total[i] += slope
        zero_nA[i] += opened * away + slope * v[i]


@numba.njit(**JIT)
def _add_synapses(
    classes: Classes, mean: Single, place: _Place, total: Single, zero_nA: Single, room: Single
) -> None:  # fmt: skip
    """Synaptic conductance, and current at 0 mV."""
    rows, e_mV, blocks, v, b, f = classes.synapse, classes.e_syn_mV, classes.block, place.v, place.bin, place.fraction
    for m in range(len(rows)):
        a, z, e, block = rows[m, START], rows[m, STOP], np.float32(e_mV[m]), rows[m, CLASS_BLOCK]
        if block < 0:
            _plain_synapse(mean[m, a:z], e, total[a:z], zero_nA[a:z])
        else:
            opened, gain = room[0, : z - a], room[1, : z - a]
            _between(blocks[block], b[a:z], f[a:z], opened, gain)
            _blocked_synapse(mean[m, a:z], opened, gain, e, v[a:z], total[a:z], zero_nA[a:z])


@numba.njit(**JIT)
def _implicit(
    per_step: float, capacitance: Single, total: Single, lead: Single, zero_nA: Single, v: Single, joined: Floats,
    diagonal: Floats, right: Floats,
) -> None:  # fmt: skip
    """Diagonal and right side of the compartments."""
    for i in range(len(v)):
        by_step = capacitance[i] * per_step
        # However fast a current runs away, it at most doubles what the capacitance alone would let V move.
        own = max(total[i] + lead[i] + by_step, HALF * by_step)
        diagonal[i] = joined[i] + own
        right[i] = zero_nA[i] + (own - total[i]) * v[i]


@numba.njit(**JIT)
def _fill(
    less: Floats, filled: Floats, gain_in: Floats, gain_out: Floats, rest: Floats, g: Single, j: Single, v: Floats,
    moved: Floats, c: Floats,
) -> None:  # fmt: skip
    """Concentrations after a step in which the potential has moved to V."""
    for i in range(len(c)):
        nA = g[i] * (v[i] - 0.5 * moved[i]) - j[i]
        gain = gain_in[i] if nA < 0.0 else gain_out[i]
        c[i] = max(c[i] + (rest[i] - c[i]) * less[i] + gain * nA * filled[i], LEAST_MM)


@numba.njit(**JIT)
def _first_move(per_step: float, capacitance: Single, v: Floats, right: Floats, moved: Floats) -> None:
    """What the first solve moves, and the right side of the second."""
    for i in range(len(v)):
        moved[i] = right[i] - v[i]
        right[i] = per_step * capacitance[i] * moved[i]


@numba.njit(**JIT)
def _second_move(right: Floats, moved: Floats, v: Floats) -> None:
    for i in range(len(v)):
        moved[i] += SHARE * right[i]
        v[i] += moved[i]


@numba.njit(**JIT)
def _move(
    branches: Branches, h: float, capacitance: Single, v: Floats, single: Single, sums: _Sums, work: _Work
) -> Floats:  # fmt: skip
    """The solves, and the new potentials; returns by what they have moved."""
    order, parent, axial, joined = branches
    moved: Floats = work.double[0]
    per_step, n = np.float32(1.0 / (GAMMA * h)), len(v)
    diagonal, right = work.diagonal, work.right
    _implicit(per_step, capacitance, sums.total, sums.lead, sums.zero_nA, single, joined, diagonal, right)
    _copy(joined[n:], diagonal[n:])
    _clear(right[n:])
    _eliminate(order, parent, axial, diagonal, right)
    _first_move(per_step, capacitance, v, right, moved)
    _clear(right[n:])
    _again(order, parent, axial, diagonal, right)
    _second_move(right, moved, v)
    return moved


@numba.njit(**JIT)
def _pools(ions: Ions, kin: Kinetics, level: int, v: Floats, moved: Floats, c: Floats, sums: _Sums) -> None:
    """What the current in the middle of the step fills."""
    less, filled, gain_in, gain_out, rest = kin.pool_less, kin.pool_filled, ions.gain_in, ions.gain_out, ions.rest_mM
    g, j, start, stop = sums.ion_g, sums.ion_j, ions.pool_start, ions.pool_stop
    for r in range(len(c)):
        a, z = start[r], stop[r]
        _fill(
            less[level, r, a:z], filled[level, r, a:z], gain_in[r, a:z], gain_out[r, a:z], rest[r, a:z], g[r, a:z],
            j[r, a:z], v[a:z], moved[a:z], c[r, a:z],
        )  # fmt: skip


@numba.njit(**JIT)
def _bends(
    total: Single, zero_nA: Single, before: Single, before_nA: Single, v: Single, capacitance: Single, per_ms: float,
    bends: Single,
) -> None:  # fmt: skip
    for i in range(len(v)):
        bends[i] = (zero_nA[i] - before_nA[i] - (total[i] - before[i]) * v[i]) * per_ms / capacitance[i]


@numba.njit(**JIT)
def _changed(bends: Single, before: Single, capacitance: Single) -> float:
    """Root mean square over the membrane."""
    squares, whole = ZERO, ZERO
    for i in range(len(bends)):
        change = bends[i] - before[i]
        squares += capacitance[i] * change * change
        whole += capacitance[i]
    return float(np.sqrt(squares / whole))


@numba.njit(**JIT)
def _worst(
    capacitance: Single, per_ms: float, v: Single, sums: _Sums, pull: Single, bend: Single, bends: Single
) -> float:  # fmt: skip
    """How much what bends the course of V has changed [mV / ms2]."""
    _bends(sums.total, sums.zero_nA, pull[0], pull[1], v, capacitance, per_ms, bends)
    found: float = _changed(bends, bend, capacitance)
    _copy(bends, bend)
    _copy(sums.total, pull[0])
    _copy(sums.zero_nA, pull[1])
    return found


@numba.njit(**JIT)
def _level_for(a: float, tolerance: float, many: NDArray[np.int64]) -> int:
    """The coarsest level whose step h has h^2 a <= tolerance."""
    for level in range(len(many)):
        if a <= tolerance * many[level] * many[level]:
            return level
    return len(many) - 1


@numba.njit(**JIT)
def begin(net: Net, kin: Kinetics, state: State) -> None:
    """Sets what all terms pull at the start."""
    place, sums, work = _room(net)
    _look_up(state.v_mV, place.v, place.bin, place.fraction)
    for r in range(len(state.c_mM)):
        _look_up_ion(net.ions, r, 0, len(state.v_mV), state.c_mM, place, work)
    _terms(net.terms, kin.leads[0], kin.scheme_leads[0], state.x, place, sums, work)
    _copy(sums.total, state.pull[0])
    _copy(sums.zero_nA, state.pull[1])


@numba.njit(**JIT)
def _keep(state: State, kept: State) -> None:
    """Copies a state."""
    _copy(state.v_mV, kept.v_mV)
    _copy(state.x, kept.x)
    _copy(state.c_mM.ravel(), kept.c_mM.ravel())
    _copy(state.rise_uS.ravel(), kept.rise_uS.ravel())
    _copy(state.decay_uS.ravel(), kept.decay_uS.ravel())
    _copy(state.pull.ravel(), kept.pull.ravel())
    _copy(state.bend, kept.bend)


@numba.njit(**JIT)
def _arrivals(
    classes: Classes, arrivals: Arrivals, event: int, end: int, s: int, h: float, last: bool, rise: Single,
    decay: Single, mean: Single,
) -> int:  # fmt: skip
    """Adds what the events of a step open; returns the first event after it."""
    rise_ms, decay_ms = classes.rise_ms, classes.decay_ms
    after, kind, at, opens = arrivals.after_ms, arrivals.kind, arrivals.at, arrivals.uS
    while event < end and (last or after[event] < (s + 1) * h):
        m, i, uS, rest = kind[event], at[event], opens[event], (s + 1) * h - after[event]
        left, share = _arrive(decay_ms[m], uS, rest, h)
        decay[m, i] += left
        mean[m, i] += share
        if rise_ms[m] > 0.0:
            left, share = _arrive(rise_ms[m], uS, rest, h)
            rise[m, i] += left
            mean[m, i] -= share
        event += 1
    return event


@numba.njit(**JIT)
def run(
    net: Net, kin: Kinetics, many: NDArray[np.int64], tolerance: float, state: State, arrivals: Arrivals,
    injected: Floats, out: Single, peak: Floats, counts: NDArray[np.int64],
) -> None:  # fmt: skip
    """Some milliseconds; the state goes on.

    Args:
        net, kin: see `layout`; tables are for steps of 1 / many.
        many: (levels,) steps of a millisecond, rising.
        tolerance: see the module [mV].
        state: at the start; changed.
        arrivals: of these milliseconds.
        injected: (steps, n) current into each place [nA], or (1, n) where it is always the same.
        out: (steps, n) gets V at the end of each millisecond [mV].
        peak: (steps, 2) gets the highest local maximum of the soma's potential that ended in it, else NO_PEAK_MV, and
            when that was after the start of the millisecond [ms].
        counts: (2,) milliseconds and solves are added.
    """
    v, x, c, rise, decay, pull, bend, course = state
    soma, capacitance, gates, schemes, branches, terms, ions, classes = net
    first, leads, scheme_leads = arrivals.first, kin.leads, kin.scheme_leads
    kept = State(
        v.copy(), x.copy(), c.copy(), rise.copy(), decay.copy(), pull.copy(), bend.copy(), course.copy()
    )  # fmt: skip
    n, steps, levels, pool_start, pool_stop = len(v), len(out), len(many), ions.pool_start, ions.pool_stop
    place, sums, work = _room(net)
    for r in range(len(c)):
        _look_up_ion(ions, r, 0, n, c, place, work)
    for t in range(steps):
        last, level = int(course[0]), int(course[1])
        _keep(state, kept)
        now = injected[t if len(injected) > 1 else 0]
        while True:
            h = 1.0 / many[level]
            event, end = first[t], first[t + 1]
            before, rising, worst, redo = course[2], course[3] > 0.0, 0.0, False
            highest, when = NO_PEAK_MV, 0.0
            for s in range(many[level]):
                previous = last if s == 0 else level
                pair = previous * levels + level
                _look_up(v, place.v, place.bin, place.fraction)
                for r in range(len(c)):
                    _look_up_ion(ions, r, pool_start[r], pool_stop[r], c, place, work)
                _gates(gates, kin, pair, x, place)
                _schemes(schemes, kin, pair, x, place, work.states)
                _terms(terms, leads[pair], scheme_leads[pair], x, place, sums, work)
                per_ms = np.float32(2.0 / (h + 1.0 / many[previous]))
                a = _worst(capacitance, per_ms, place.v, sums, pull, bend, work.single[0])
                worst = max(worst, a)
                counts[1] += 1
                if level < levels - 1 and a > tolerance * many[level] * many[level]:
                    level = max(_level_for(a, tolerance, many), level + 1)
                    redo = True
                    break
                _synapses(classes, h, rise, decay, work.mean)
                event = _arrivals(classes, arrivals, event, end, s, h, s == many[level] - 1, rise, decay, work.mean)
                _add_synapses(classes, work.mean, place, sums.total, sums.zero_nA, work.single)
                _add(now, sums.zero_nA)
                moved = _move(branches, h, capacitance, v, place.v, sums, work)
                _pools(ions, kin, level, v, moved, c, sums)
                if v[soma] < before and rising and before > highest:
                    highest, when = before, s * h
                rising, before = v[soma] > before, v[soma]
            if not redo:
                break
            _keep(kept, state)
        course[0], course[1] = level, max(_level_for(worst, tolerance, many), level - DOWN)
        course[2], course[3] = before, 1.0 if rising else 0.0
        counts[0] += 1
        peak[t, 0], peak[t, 1] = highest, when
        _copy(v, out[t])
