"""Steps of a cell whose membrane is data, on the CPU.

For every compartment i, with C the capacitance, and j its neighbours in the tree,

    C dV/dt = sum_k g_k x_k^p (E_k - V) + sum_s g_s(t) B_s(V) (E_s - V) + sum_j g_ij (V_j - V) + I

Gates and potentials take turns (staggered, Hines 1984, doi:10.1016/0020-7101(84)90008-4). Gates go from the middle of
one step to the middle of the next, exponentially, at the potential between them. Then the whole tree takes a step of h
with these conductances, A its matrix and F the current at V, by two solves of one factorisation (SDIRK2, of second
order and L-stable: Alexander 1977, doi:10.1137/0714068):

    (C / (gamma h) + A) r1 = F,    (C / (gamma h) + A) r2 = C / (gamma h) r1,
    V' = V + r1 + (1 / gamma - 1) r2,    gamma = 1 - 1 / sqrt(2)

Gates that may run away lead: what they gain while the potential moves in the very step is in A, linearly. Synaptic
conductances are exact means over each step, from each event on.

A millisecond takes a few steps, or more. Conductances that change bend the course of a potential,

    b_i = sum_k dg_k / dt (E_k - V_i) / C_i   [mV/ms2],

and what is at stake in a step of h is how much b has changed since the step before. It is short enough where the root
mean square of h^2 (b_i - b_i before), weighed by C, is at most the tolerance [mV]. A millisecond in which it is
not is done again, in as many steps as that asks for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from dendrotwin.membrane import (
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
from dendrotwin.solver.layout import DRIVE_C, FIXED, NERNST, OVER_BOTH, OVER_C, OVER_V, PLANE, Kinetics, Net
from dendrotwin.tree import Floats

JIT: dict[str, Any] = {"cache": True, "fastmath": True, "nogil": True, "error_model": "numpy"}
LOG_C_LOW = float(np.log(C_LOW_MM))
C_BIN = float(np.log(C_GRID_MM[1] / C_GRID_MM[0]))
LOG_2, ROOT_2 = float(np.log(2.0)), float(np.sqrt(2.0))
LEAST_MM = 1e-9
GATE_LEAST = np.float32(1e-9)  # of a gate, to divide by
NO_PEAK_MV = -1e3
HALF, ZERO = np.float32(0.5), np.float32(0.0)
GAMMA, SHARES = 1.0 - 0.5**0.5, np.array([0.5**0.5 / (1.0 - 0.5**0.5)])
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
        g: (densities,) density times gates of every term, as of `x`.
        c_mM: (ions, n).
        rise_uS, decay_uS: (classes, n) the two exponentials of the synaptic conductances.
        course: (4,) level of the last millisecond, level asked for by it, the soma's last potential, and whether it
            was rising.
    """

    v_mV: Floats
    x: Single
    g: Single
    c_mM: Floats
    rise_uS: Single
    decay_uS: Single
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


class _Work(NamedTuple):
    """Room for a step. Loops that fill it touch few arrays each, so that the compiler makes vectors of them."""

    total: Single
    inward: Single
    bend: Single
    open: Single
    spare: Single
    v: Single
    fraction: Single
    bin: NDArray[np.uint32]
    by_step: Single
    own: Single
    c_bin: NDArray[np.uint32]
    c_fraction: Single
    c: Single
    none: Single
    away: Single
    e: Single
    ion_g: Single
    ion_j: Single
    mean: Single
    log: Floats
    moved: Floats
    bits: NDArray[np.int64]
    diagonal: Floats
    right: Floats
    states: Single


@numba.njit(**JIT)
def _room(n: int, nodes: int, ions: int, classes: int, most_states: int) -> _Work:
    rows = np.zeros((12, n), np.float32)
    by_ion = np.empty((5, ions, n), np.float32)
    return _Work(
        rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], np.empty(n, np.uint32), rows[7], rows[8],
        np.zeros((ions, n), np.uint32), by_ion[0], by_ion[1], rows[10], rows[11], by_ion[2], by_ion[3], by_ion[4],
        np.zeros((classes, n), np.float32), np.empty(n), np.empty(n), np.empty(n, np.int64), np.empty(nodes),
        np.empty(nodes), np.empty(most_states, np.float32),
    )  # fmt: skip


@numba.njit(**JIT)
def _eliminate(parent: NDArray[np.int32], axial: Floats, diagonal: Floats, right: Floats) -> None:
    """Hines elimination; `right` becomes the solution, `diagonal` the inverse of what is divided by."""
    n = len(diagonal)
    for k in range(1, n):
        j = np.uint32(n - k)
        g, p = axial[j], np.uint32(parent[j])
        inverse = 1.0 / diagonal[j]
        diagonal[j] = inverse
        share = g * inverse
        diagonal[p] -= share * g
        right[p] += share * right[j]
    diagonal[0] = 1.0 / diagonal[0]
    right[0] *= diagonal[0]
    for i in range(1, n):
        right[i] = (right[i] + axial[i] * right[np.uint32(parent[i])]) * diagonal[i]


@numba.njit(**JIT)
def _again(parent: NDArray[np.int32], axial: Floats, inverse: Floats, right: Floats) -> None:
    """The same with another right side, by what `_eliminate` has left."""
    n = len(inverse)
    for k in range(1, n):
        j = np.uint32(n - k)
        right[np.uint32(parent[j])] += axial[j] * inverse[j] * right[j]
    right[0] *= inverse[0]
    for i in range(1, n):
        right[i] = (right[i] + axial[i] * right[np.uint32(parent[i])]) * inverse[i]


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
def _look_up(v: Floats, w: _Work) -> None:
    """Where each potential lies in the tables, and the potentials as precise as these."""
    for i in range(len(v)):
        p = min(max((v[i] - V_LOW_MV) * (1.0 / V_BIN_MV), 0.0), V_BINS - 1.001)
        w.bin[i] = min(np.uint32(p), LAST_V)
        w.fraction[i] = p - w.bin[i]
    for i in range(len(v)):
        w.v[i] = v[i]


@numba.njit(**JIT)
def _look_up_ions(net: Net, c: Floats, w: _Work) -> None:
    """Where each concentration lies in the tables, and Nernst potentials."""
    for r in range(len(c)):
        _logarithms(c[r], w.bits, w.log)
        log, outside, e, b, f, inside = w.log, net.log_outside[r], w.e[r], w.c_bin[r], w.c_fraction[r], w.c[r]
        for i in range(len(log)):
            e[i] = net.nernst_mV[r] * (outside[i] - log[i])
        for i in range(len(log)):
            p = min(max((log[i] - LOG_C_LOW) * (1.0 / C_BIN), 0.0), C_BINS - 1.001)
            b[i] = min(np.uint32(p), LAST_C)
            f[i] = p - b[i]
        for i in range(len(log)):
            inside[i] = c[r, i]


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
def _gate_row(table: Single, b: NDArray[np.uint32], f: Single, y: Single) -> None:
    for i in range(len(y)):
        at = b[i]
        steady, keep = table[at, 0] + f[i] * table[at, 2], table[at, 1] + f[i] * table[at, 3]
        y[i] = steady + (y[i] - steady) * keep


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
def _gates(net: Net, kin: Kinetics, pair: int, x: Single, w: _Work) -> None:
    """All gates from the middle of one step to the middle of the next."""
    over_v, over_c, over_both = kin.over_v[pair], kin.over_c[pair], kin.over_both[pair]
    for k in range(len(net.gate_start)):
        a, z = net.gate_start[k], net.gate_stop[k]
        y = x[net.gate_at[k] : net.gate_at[k] + z - a]
        over, table, r = net.gate_over[k], net.gate_table[k], net.gate_ion[k]
        if over == OVER_V:
            _gate_row(over_v[table], w.bin[a:z], w.fraction[a:z], y)
        elif over == OVER_C:
            _gate_row(over_c[table], w.c_bin[r, a:z], w.c_fraction[r, a:z], y)
        else:
            _both_row(over_both[table], w.bin[a:z], w.fraction[a:z], w.c_bin[r, a:z], w.c_fraction[r, a:z], y)


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
def _schemes(net: Net, kin: Kinetics, pair: int, x: Single, w: _Work) -> None:
    """All schemes likewise."""
    tables = kin.schemes[pair]
    for k in range(len(net.scheme_start)):
        a, z, size, r = net.scheme_start[k], net.scheme_stop[k], net.scheme_size[k], net.scheme_ion[k]
        table = tables[kin.scheme_first[net.scheme_table[k]] : kin.scheme_first[net.scheme_table[k] + 1]]
        y = x[net.scheme_at[k] : net.scheme_at[k] + size * (z - a)]
        if net.scheme_over[k] == OVER_C:
            _scheme_row(table, size, w.c_bin[r, a:z], w.c_fraction[r, a:z], SCHEME_C_STRIDE, LAST_SCHEME_C, y, w.states)
        elif net.scheme_over[k] == OVER_BOTH:
            _scheme_both(table, size, w.bin[a:z], w.fraction[a:z], w.c_bin[r, a:z], w.c_fraction[r, a:z], y, w.states)
        else:
            _scheme_row(table, size, w.bin[a:z], w.fraction[a:z], SCHEME_V_STRIDE, LAST_SCHEME_V, y, w.states)


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
def _minus(e: Single, v: Single, away: Single) -> None:
    for i in range(len(v)):
        away[i] = e[i] - v[i]


@numba.njit(**JIT)
def _add(g: Single, total: Single) -> None:
    for i in range(len(g)):
        total[i] += g[i]


@numba.njit(**JIT)
def _add_product(g: Single, away: Single, total: Single) -> None:
    for i in range(len(g)):
        total[i] += g[i] * away[i]


@numba.njit(**JIT)
def _bend(g: Single, before: Single, away: Single, bend: Single) -> None:
    for i in range(len(g)):
        bend[i] += (g[i] - before[i]) * away[i]
    for i in range(len(g)):
        before[i] = g[i]


@numba.njit(**JIT)
def _lead(
    table: Single, gain: float, y: Single, g: Single, away: Single, b: NDArray[np.uint32], f: Single, spare: Single,
    total: Single,
) -> None:  # fmt: skip
    """Adds the conductance, mostly negative, that a term's gate gains while the potential moves in this step."""
    for i in range(len(y)):
        at = b[i]
        spare[i] = gain * (table[at, 0] + f[i] * table[at, 1])
    for i in range(len(y)):
        spare[i] *= g[i] / max(y[i], GATE_LEAST)
    for i in range(len(y)):
        total[i] -= spare[i] * away[i]


@numba.njit(**JIT)
def _drive(table: Single, b: NDArray[np.uint32], f: Single, c: Single, away: Single, slope: Single) -> None:
    """Minus the value of a table a + b c, and its slope over V."""
    for i in range(len(b)):
        low = b[i]
        high = low + np.uint32(1)
        below, above = table[low, 0] + table[low, 1] * c[i], table[high, 0] + table[high, 1] * c[i]
        away[i] = -(below + f[i] * (above - below))
        slope[i] = (above - below) * np.float32(1.0 / V_BIN_MV)


@numba.njit(**JIT)
def _plane_drive(
    table: Single, vb: NDArray[np.uint32], vf: Single, cb: NDArray[np.uint32], cf: Single, away: Single, slope: Single
) -> None:  # fmt: skip
    """The same of a table over c and V."""
    for i in range(len(vb)):
        p, fp = _plane_place(vb[i], vf[i], PLANE_V_STRIDE, LAST_PLANE_V)
        q, fq = _plane_place(cb[i], cf[i], PLANE_C_STRIDE, LAST_PLANE_C)
        below, above = _plane(table, q, fq, p, np.float32(0.0)), _plane(table, q, fq, p, np.float32(1.0))
        away[i] = -(below + fp * (above - below))
        slope[i] = (above - below) * np.float32(1.0 / (V_BIN_MV * PLANE_V_STRIDE))


@numba.njit(**JIT)
def _terms(net: Net, kin: Kinetics, pair: int, x: Single, g: Single, w: _Work) -> None:
    """Sums over all terms: slope conductance, current into the cell at V, how they bend; and those of each ion."""
    w.total[:] = net.leak_uS
    w.inward[:] = net.leak_nA
    _take(net.leak_uS, w.v, w.inward)
    w.bend[:] = 0.0
    w.ion_g[:] = 0.0
    w.ion_j[:] = 0.0
    leads = kin.leads[pair]
    for t in range(len(net.term_start)):
        a, z, o = net.term_start[t], net.term_stop[t], net.term_at[t]
        n, kind, r = z - a, net.term_kind[t], net.term_ion[t]
        opened, before, away, slope = w.open[a:z], g[o : o + n], w.away[a:z], w.spare[a:z]
        source = net.size[o : o + n]
        for k in range(net.term_states[t]):
            _times_power(x[net.term_x[t, k] : net.term_x[t, k] + n], net.term_power[t, k], source, opened)
            source = opened
        if net.term_states[t] == 0:
            opened[:] = source
        if kind <= NERNST:
            _minus(net.e_mV[o : o + n] if kind == FIXED else w.e[r, a:z], w.v[a:z], away)
            _add(opened, w.total[a:z])
            if r >= 0:
                _add(opened, w.ion_g[r, a:z])
        else:
            c = max(net.term_c[t], 0)
            if kind == PLANE:
                _plane_drive(
                    net.plane[net.term_table[t]], w.bin[a:z], w.fraction[a:z], w.c_bin[c, a:z], w.c_fraction[c, a:z],
                    away, slope,
                )  # fmt: skip
            else:
                inside = w.c[c, a:z] if kind == DRIVE_C else w.none[a:z]
                _drive(net.drive[net.term_table[t]], w.bin[a:z], w.fraction[a:z], inside, away, slope)
            _add_product(opened, slope, w.total[a:z])
            if r >= 0:
                _add_product(opened, slope, w.ion_g[r, a:z])
        _add_product(opened, away, w.inward[a:z])
        if r >= 0:
            _add_product(opened, away, w.ion_j[r, a:z])
        _bend(opened, before, away, w.bend[a:z])
        for k in range(net.term_states[t]):
            if net.term_lead[t, k] >= 0:
                _lead(
                    leads[net.term_lead[t, k]], net.term_power[t, k] * np.float32(2.0),
                    x[net.term_x[t, k] : net.term_x[t, k] + n], opened, away, w.bin[a:z], w.fraction[a:z],
                    w.spare[a:z], w.total[a:z],
                )  # fmt: skip


@numba.njit(**JIT)
def _take(g: Single, v: Single, inward: Single) -> None:
    for i in range(len(g)):
        inward[i] -= g[i] * v[i]


@numba.njit(**JIT)
def _filter(tau_ms: float, sign: float, h: float, left: Single, mean: Single) -> None:
    """Adds the mean of an exponential over a step, and lets it decay."""
    less = np.exp(-h / tau_ms)
    keep, share = np.float32(less), np.float32(sign * tau_ms / h * (1.0 - less))
    for i in range(len(mean)):
        mean[i] += left[i] * share
    for i in range(len(mean)):
        left[i] *= keep


@numba.njit(**JIT)
def _synapses(net: Net, h: float, rise: Single, decay: Single, w: _Work) -> None:
    """Mean conductance of each class over a step without its events, and its exponentials after it."""
    w.mean[:] = 0.0
    for m in range(len(net.rise_ms)):
        a, z = net.syn_start[m], net.syn_stop[m]
        _filter(net.decay_ms[m], 1.0, h, decay[m, a:z], w.mean[m, a:z])
        if net.rise_ms[m] > 0.0:
            _filter(net.rise_ms[m], -1.0, h, rise[m, a:z], w.mean[m, a:z])


@numba.njit(**JIT)
def _arrive(tau_ms: float, uS: float, rest_ms: float, h: float) -> tuple[float, float]:
    """What an event `rest_ms` before the end of a step adds to an exponential at its end, and to its mean."""
    less = np.exp(-rest_ms / tau_ms)
    return uS * less, uS * tau_ms / h * (1.0 - less)


@numba.njit(**JIT)
def _plain_synapse(g: Single, e: float, v: Single, total: Single, inward: Single) -> None:
    for i in range(len(g)):
        total[i] += g[i]
    for i in range(len(g)):
        inward[i] += g[i] * (e - v[i])


@numba.njit(**JIT)
def _blocked_synapse(
    table: Single, g: Single, e: float, v: Single, b: NDArray[np.uint32], f: Single, block: Single, steep: Single,
    total: Single, inward: Single,
) -> None:  # fmt: skip
    """Linearised about V."""
    for i in range(len(g)):
        at = b[i]
        block[i] = table[at, 0] + f[i] * table[at, 1]
        steep[i] = table[at, 1] * np.float32(1.0 / V_BIN_MV)
    for i in range(len(g)):
        block[i] *= g[i]
    for i in range(len(g)):
        total[i] += block[i] - g[i] * steep[i] * (e - v[i])
    for i in range(len(g)):
        inward[i] += block[i] * (e - v[i])


@numba.njit(**JIT)
def _add_synapses(net: Net, w: _Work) -> None:
    """Synaptic conductance and current."""
    for m in range(len(net.rise_ms)):
        a, z, e = net.syn_start[m], net.syn_stop[m], np.float32(net.e_syn_mV[m])
        if net.block_table[m] < 0:
            _plain_synapse(w.mean[m, a:z], e, w.v[a:z], w.total[a:z], w.inward[a:z])
        else:
            _blocked_synapse(
                net.block[net.block_table[m]], w.mean[m, a:z], e, w.v[a:z], w.bin[a:z], w.fraction[a:z], w.open[a:z],
                w.spare[a:z], w.total[a:z], w.inward[a:z],
            )  # fmt: skip


@numba.njit(**JIT)
def _implicit(
    h: float, capacitance: Single, v: Single, total: Single, right: Single, by_step: Single, own: Single
) -> None:
    """C / (gamma h), the diagonal without the tree (`own`), and the right side, from the current at V (in `right`)."""
    per_step = np.float32(1.0 / (GAMMA * h))
    for i in range(len(total)):
        by_step[i] = capacitance[i] * per_step
    for i in range(len(total)):
        # However fast a current runs away, it at most doubles what the capacitance alone would let V move.
        own[i] = max(total[i] + by_step[i], HALF * by_step[i])
    for i in range(len(total)):
        right[i] += own[i] * v[i]


@numba.njit(**JIT)
def _fill(
    less: Floats, filled: Floats, gain_in: Floats, gain_out: Floats, rest: Floats, g: Single, j: Single, half: Floats,
    c: Floats,
) -> None:  # fmt: skip
    """Concentrations after a step in whose middle the potential had moved by `half`."""
    for i in range(len(c)):
        nA = g[i] * half[i] - j[i]
        gain = gain_in[i] if nA < 0.0 else gain_out[i]
        c[i] = max(c[i] + (rest[i] - c[i]) * less[i] + gain * nA * filled[i], LEAST_MM)


@numba.njit(**JIT)
def _at_nodes(node: NDArray[np.uint32], own: Single, current: Single, diagonal: Floats, right: Floats) -> None:
    for i in range(len(node)):
        diagonal[node[i]] += own[i]
        right[node[i]] = current[i]


@numba.njit(**JIT)
def _of_nodes(node: NDArray[np.uint32], right: Floats, out: Floats) -> None:
    for i in range(len(node)):
        out[i] = right[node[i]]


@numba.njit(**JIT)
def _once_more(node: NDArray[np.uint32], by_step: Single, moved: Floats, right: Floats) -> None:
    right[:] = 0.0
    for i in range(len(node)):
        right[node[i]] = by_step[i] * moved[i]


@numba.njit(**JIT)
def _move(net: Net, kin: Kinetics, level: int, h: float, v: Floats, c: Floats, w: _Work) -> None:
    """The solves, the new potentials, and the pools, which the current in the middle of the step fills."""
    _implicit(h, net.capacitance_nF, w.v, w.total, w.inward, w.by_step, w.own)
    w.diagonal[:] = net.joined_uS
    w.right[:] = 0.0
    _at_nodes(net.node, w.own, w.inward, w.diagonal, w.right)
    _eliminate(net.parent, net.axial_uS, w.diagonal, w.right)
    moved, sum_ = w.log, w.moved
    _of_nodes(net.node, w.right, moved)
    for i in range(len(v)):
        moved[i] -= v[i]
    for i in range(len(v)):
        sum_[i] = moved[i]
    for k in range(len(SHARES)):
        _once_more(net.node, w.by_step, moved, w.right)
        _again(net.parent, net.axial_uS, w.diagonal, w.right)
        _of_nodes(net.node, w.right, moved)
        for i in range(len(v)):
            sum_[i] += SHARES[k] * moved[i]
    for i in range(len(v)):
        v[i] += sum_[i]
    for i in range(len(v)):
        moved[i] = 0.5 * sum_[i]
    for r in range(len(c)):
        _fill(
            kin.pool_less[level, r], kin.pool_filled[level, r], net.gain_in[r], net.gain_out[r], net.rest_mM[r],
            w.ion_g[r], w.ion_j[r], moved, c[r],
        )  # fmt: skip


@numba.njit(**JIT)
def _worst(bend: Single, per_ms: float, before: Single, capacitance: Single) -> float:
    """How much what bends the course of V has changed: root mean square over the membrane [mV / ms2]."""
    for i in range(len(bend)):
        bend[i] *= per_ms / capacitance[i]
    squares, whole = ZERO, ZERO
    for i in range(len(bend)):
        change = bend[i] - before[i]
        squares += capacitance[i] * change * change
        whole += capacitance[i]
    for i in range(len(bend)):
        before[i] = bend[i]
    return float(np.sqrt(squares / whole))


@numba.njit(**JIT)
def _level_for(a: float, tolerance: float, many: NDArray[np.int64]) -> int:
    """The coarsest level whose step h has h^2 a <= tolerance."""
    for level in range(len(many)):
        if a <= tolerance * many[level] * many[level]:
            return level
    return len(many) - 1


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
        peak: (steps,) gets the highest local maximum of the soma's potential that ended in it, else NO_PEAK_MV.
        counts: (2,) milliseconds and solves are added.
    """
    v, x, g, c, rise, decay, bend, course = state
    n, steps, levels = len(v), len(out), len(many)
    most = 1
    for k in range(len(net.scheme_size)):
        most = max(most, net.scheme_size[k])
    w = _room(n, len(net.parent), len(c), len(net.rise_ms), most)
    v0, x0, g0, c0, rise0, decay0 = v.copy(), x.copy(), g.copy(), c.copy(), rise.copy(), decay.copy()
    bend0 = bend.copy()
    for t in range(steps):
        last, level = int(course[0]), int(course[1])
        v0[:], x0[:], g0[:], c0[:], rise0[:], decay0[:], bend0[:] = v, x, g, c, rise, decay, bend
        now = injected[t if len(injected) > 1 else 0]
        while True:
            h = 1.0 / many[level]
            event, end = arrivals.first[t], arrivals.first[t + 1]
            before, rising, highest, worst, redo = course[2], course[3] > 0.0, NO_PEAK_MV, 0.0, False
            for s in range(many[level]):
                previous = last if s == 0 else level
                pair = previous * levels + level
                _look_up(v, w)
                _look_up_ions(net, c, w)
                _gates(net, kin, pair, x, w)
                _schemes(net, kin, pair, x, w)
                _terms(net, kin, pair, x, g, w)
                a = _worst(w.bend, np.float32(2.0 / (h + 1.0 / many[previous])), bend, net.capacitance_nF)
                worst = max(worst, a)
                counts[1] += 1
                if level < levels - 1 and a > tolerance * many[level] * many[level]:
                    level = max(_level_for(a, tolerance, many), level + 1)
                    redo = True
                    break
                _synapses(net, h, rise, decay, w)
                while event < end and (arrivals.after_ms[event] < (s + 1) * h or s == many[level] - 1):
                    m, i, uS = arrivals.kind[event], arrivals.at[event], arrivals.uS[event]
                    rest = (s + 1) * h - arrivals.after_ms[event]
                    left, mean = _arrive(net.decay_ms[m], uS, rest, h)
                    decay[m, i] += left
                    w.mean[m, i] += mean
                    if net.rise_ms[m] > 0.0:
                        left, mean = _arrive(net.rise_ms[m], uS, rest, h)
                        rise[m, i] += left
                        w.mean[m, i] -= mean
                    event += 1
                _add_synapses(net, w)
                for i in range(n):
                    w.inward[i] += now[i]
                _move(net, kin, level, h, v, c, w)
                soma = v[net.soma]
                if soma < before and rising:
                    highest = max(highest, before)
                rising, before = soma > before, soma
            if not redo:
                break
            v[:], x[:], g[:], c[:], rise[:], decay[:], bend[:] = v0, x0, g0, c0, rise0, decay0, bend0
        course[0], course[1] = level, max(_level_for(worst, tolerance, many), level - DOWN)
        course[2], course[3] = before, 1.0 if rising else 0.0
        counts[0] += 1
        peak[t] = highest
        out[t] = v
