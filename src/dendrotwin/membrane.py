"""The tree with active membrane: millisecond steps of gated conductances inside the implicit solve, and their adjoint.

For every compartment i, with C the capacitance, and j its neighbours in the tree,

    C dV/dt = g_leak (E_leak - V) + sum_k g_k m_k^p h_k (E_k - V) + sum_s g_s(t) B_s(V) (E_s - V)
              + sum_j g_ij (V_j - V) + I

Gates go exponentially to their steady state at the potential that a substep begins at; they lead by half a substep, as
in Hines 1984 (doi:10.1016/0020-7101(84)90008-4). Then one linearly implicit solve of the whole tree gives W, the
potential at a share theta of the substep, from which V goes on in a straight line to its end:

    (C / dt theta + sum g) W - sum_j g_ij W_j = C / dt theta V + sum g E + I,   V' = V + (W - V) / theta

theta is that with which a compartment alone would relax as it should, exponentially (see `beyond`): about a half, of
second order, where conductance is small, and near 1, backward Euler, where it is large.

A millisecond takes a few substeps, and many where sodium channels are open: it is tried with the few, and done again
with the many as soon as a compartment's fast conductance exceeds `threshold` times its capacitance. Where the one
follows on the other, the first step of the gates is as long as half of both, so that they go on leading by half a
substep. What is slow changes once in a millisecond of a few substeps, and eight times in one of many: calcium, its
Nernst potential, the gate of SK, and the gates and channels that a kind has after its first `quick_gates` and
`quick_channels`; all channels of calcium are among these. Synaptic conductances are exact means over each substep.

One cell is worked on after the other, for they need different numbers of substeps. Compartments of one kind of membrane
lie side by side, so that the arithmetic of a channel runs over them as vectors; kinetics are tables over the potential.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from dendrotwin.tree import Floats, Ints

V_LOW_MV, V_BIN_MV, V_BINS = -120.0, 0.25, 801
V_HIGH_MV = V_LOW_MV + V_BIN_MV * (V_BINS - 1)
CALCIUM_REST_MM, CALCIUM_LEAST_MM, CALCIUM_OUTSIDE_MM = 1e-4, 1e-5, 2.0
CALCIUM_START_MM = 5e-5  # with which NEURON begins where a mechanism does not say (its cai0_ca_ion)
SK_HALF_MM, SK_POWER = 0.00043, 4.8  # Köhler et al. 1996, doi:10.1126/science.273.5282.1709
SK_HALF_FOLDS = float(np.log(CALCIUM_OUTSIDE_MM / SK_HALF_MM))
LOG_OUTSIDE, LOG_2, ROOT_2 = float(np.log(CALCIUM_OUTSIDE_MM)), float(np.log(2.0)), float(np.sqrt(2.0))
SK_MS = 1.0
GATE_LEAST = 1e-9  # of an activation, to divide by
SLOW_STEPS = 8  # in a millisecond of many substeps
THETA_LEAST = 0.55  # a little above a half, so that differences between close neighbours die away


# Numbers of single precision, which leave arithmetic of single precision what it is.
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
PADE = (np.float32(24.0), np.float32(6.0), np.float32(12.0), np.float32(5.0))


class Cell(NamedTuple):
    """What is known of a cell; compartments sorted by kind of membrane, nodes in the order of `solve.Elimination`.

    Attributes:
        parent, axial_uS: (nodes,).
        joined_uS: (nodes,) sum of the axial conductances at each node.
        node: (n,) node of each compartment.
        soma: the compartment that makes output spikes.
        capacitance_nF, leak_uS, leak_nA: (n,); the last is leak times its reversal potential.
        first: (kinds + 1,) where the compartments of each kind begin and end.
        gates, channels: (kinds,) how many of them a kind has.
        quick_gates, quick_channels: (kinds,) how many of them, the first ones, change in each substep.
        pool, sk: (kinds,) whether it has calcium channels or SK, and whether SK.
        activation, power, inactivation: (kinds, channels) gate, its power, and the other gate or -1.
        calcium, fast: (kinds, channels) whether calcium flows, and whether the channel asks for small substeps.
        rise_ms, decay_ms, e_mV: (classes,) of synaptic conductances.
        onset: (classes, 2) what an event adds to rise and decay, relative to its amplitude: exp(late / tau), where it
            acts somewhat late.
        block: (classes, V_BINS) magnesium block over the potential, 1 where there is none.
        slope: (classes,) of its exponent [1/mV], 0 where there is none.
    """

    parent: Ints
    axial_uS: Floats
    joined_uS: Floats
    node: Ints
    soma: int
    capacitance_nF: Floats
    leak_uS: Floats
    leak_nA: Floats
    first: Ints
    gates: Ints
    channels: Ints
    quick_gates: Ints
    quick_channels: Ints
    pool: NDArray[np.bool_]
    sk: NDArray[np.bool_]
    activation: Ints
    power: Ints
    inactivation: Ints
    calcium: NDArray[np.bool_]
    fast: NDArray[np.bool_]
    rise_ms: Floats
    decay_ms: Floats
    e_mV: Floats
    onset: Floats
    block: Floats
    slope: Floats


class Learned(NamedTuple):
    """What is learned.

    Attributes:
        tables: (7, kinds, gates, V_BINS, 3) over the potential: steady state of each gate, what a step keeps of its
            distance from it, and its lead (see `_channels`); for long substeps, for short ones, and for a whole
            millisecond; from long to short, from short to long, between a millisecond and a short stride, and for a
            short stride.
        density_uS, reversal_mV: (channels, n), reversal not of calcium.
        sk_uS, sk_mV: (n,).
        calcium_gain, calcium_ms: (n,) concentration [mM/ms] that 1 nA of calcium current makes, and its decay.
        nernst_mV: (1,) calcium's E = nernst log(outside / inside).
    """

    tables: NDArray[np.floating]
    density_uS: Floats
    reversal_mV: Floats
    sk_uS: Floats
    sk_mV: Floats
    calcium_gain: Floats
    calcium_ms: Floats
    nernst_mV: Floats


class State(NamedTuple):
    """All that a cell remembers, at the end of a millisecond.

    Attributes:
        v_mV: (n,).
        gate: (gates, n).
        calcium_mM, sk: (n,) concentration, and gate of SK.
        rise_uS, decay_uS: (classes, n) the two exponentials of the synaptic conductances.
        level: (1,) whether the millisecond took few substeps (0) or many (1).
    """

    v_mV: Floats
    gate: Floats
    calcium_mM: Floats
    sk: Floats
    rise_uS: Floats
    decay_uS: Floats
    level: Floats

    def copy(self) -> State:
        """One that does not share memory."""
        return State(*(array.copy() for array in self))


class Arrivals(NamedTuple):
    """What input events open of the synaptic conductances, step by step.

    Attributes:
        first: (steps + 1,) the first arrival of each step, and where those of the last one end.
        kind, at: (arrivals,) class of the conductance, and compartment.
        uS: (arrivals,) what is added to both exponentials at the start of the step.
    """

    first: Ints
    kind: Ints
    at: Ints
    uS: Floats

    def part(self, start: int, stop: int) -> Arrivals:
        """Those of some steps."""
        return self._replace(first=self.first[start : stop + 1])


class Tape(NamedTuple):
    """What the adjoint needs of a window: states at the start of substeps and W of each.

    Calcium and SK stand where they change, at the first substep of each stride (see `strides`), and with them the mean
    calcium current until they change again. `level` is that of each millisecond, `before` that of the one before the
    first.
    """

    v: Floats
    w: Floats
    gate: Floats
    calcium: NDArray[np.floating]
    sk: Floats
    calcium_nA: Floats
    level: Ints
    before: Ints

    @classmethod
    def empty(cls, steps: int, substeps: int, n: int, gates: int) -> Tape:
        """Room for `steps` ms of at most `substeps` substeps."""
        return cls(
            np.empty((steps * substeps, n)),
            np.empty((steps * substeps, n)),
            np.empty((steps * substeps, gates, n)),
            np.empty((steps * substeps, n)),
            np.empty((steps * substeps, n)),
            np.empty((steps * substeps, n)),
            np.zeros(max(steps, 1), np.int32),
            np.zeros(1, np.int32),
        )


NO_TAPE = Tape.empty(0, 0, 0, 0)


class _Work(NamedTuple):
    """Room for a substep: sums of conductance, without the bound and with it, and of current; those of slow channels.

    `beyond` is 1 / theta, and `scaled` C / (dt theta); `calcium` the conductance that calcium flows through; `v`, `bin`
    and `fraction` potentials and where they lie in tables; `open`, `table`, `spare` and `bits` are for what is at hand.

    The loops over compartments that fill it are short ones, each of few arrays: of more, the compiler does not see in
    time that they are not one another, and does not take compartments several at once.
    """

    total: NDArray[np.floating]
    bounded: NDArray[np.floating]
    beyond: NDArray[np.floating]
    scaled: NDArray[np.floating]
    current: NDArray[np.floating]
    fast: NDArray[np.floating]
    open: NDArray[np.floating]
    table: NDArray[np.floating]
    slow_total: NDArray[np.floating]
    slow_current: NDArray[np.floating]
    calcium: Floats
    v: NDArray[np.floating]
    fraction: NDArray[np.floating]
    bin: Ints
    spare: Floats
    bits: NDArray[np.int64]
    diagonal: Floats
    right: Floats


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _work(n: int, nodes: int, gate: NDArray[np.floating]) -> _Work:
    """As precise as gates where these are the rest of it."""
    rows = np.empty((13, n), gate.dtype)
    return _Work(
        rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7], rows[8], rows[9], rows[10], rows[11],
        rows[12], np.empty(n, np.uint32), np.empty(n), np.empty(n, np.int64), np.empty(nodes), np.empty(nodes),
    )  # fmt: skip


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _solve(parent: Ints, axial: Floats, diagonal: Floats, right: Floats) -> None:
    """`solve.hines` for one cell, whose diagonal has the axial conductances already."""
    n = len(diagonal)
    for k in range(1, n):
        j = np.uint32(n - k)
        g, p = axial[j], np.uint32(parent[j])
        inverse = 1.0 / diagonal[j]
        diagonal[j] = inverse
        share = g * inverse
        diagonal[p] -= share * g
        right[p] += share * right[j]
    right[0] /= diagonal[0]
    for i in range(1, n):
        right[i] = (right[i] + axial[i] * right[np.uint32(parent[i])]) * diagonal[i]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def beyond(x: np.floating | float, most: np.floating | float) -> np.floating | float:
    """1 / theta: of 1 / (1 - exp(-x)) - 1 / x, from the Pade approximation of exp(-x), but `most` at most."""
    y = max(x, ZERO)
    return min(most, (PADE[0] + y * (PADE[1] + y)) / (PADE[2] + y * (PADE[3] + y)))


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _beyond_slope(x: float) -> float:
    """Derivative of `beyond`."""
    if x <= 0.0 or beyond(x, 1.0 / THETA_LEAST) == 1.0 / THETA_LEAST:
        return 0.0
    return -(48.0 + x * (24.0 + x)) / (12.0 + x * (5.0 + x)) ** 2


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _arrive(cell: Cell, arrivals: Arrivals, t: int, rise: Floats, decay: Floats) -> None:
    """Adds what the events of step t open."""
    for k in range(arrivals.first[t], arrivals.first[t + 1]):
        m, i = arrivals.kind[k], arrivals.at[k]
        rise[m, i] += cell.onset[m, 0] * arrivals.uS[k]
        decay[m, i] += cell.onset[m, 1] * arrivals.uS[k]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _synapses(cell: Cell, dt: float, rise: Floats, decay: Floats, mean: Floats) -> None:
    """Mean conductance (classes, n) of each class over a substep, and its exponentials after it."""
    real = mean.dtype.type
    for m in range(len(mean)):
        keep_r, keep_d = np.exp(-dt / cell.rise_ms[m]), np.exp(-dt / cell.decay_ms[m])
        mean_r = real(cell.rise_ms[m] / dt * (1.0 - keep_r))
        mean_d = real(cell.decay_ms[m] / dt * (1.0 - keep_d))
        up, down, g, less_r, less_d = rise[m], decay[m], mean[m], real(keep_r), real(keep_d)
        for i in range(len(g)):
            g[i] = down[i] * mean_d - up[i] * mean_r
        for i in range(len(up)):
            up[i] *= less_r
        for i in range(len(down)):
            down[i] *= less_d


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _open(
    m: NDArray[np.floating], power: int, h: NDArray[np.floating], inactivates: bool, out: NDArray[np.floating]
) -> None:
    """Open share of a channel, m^p, p at most 4, times h if it inactivates."""
    if power == 1:
        out[:] = m
    elif power == 2:
        for i in range(len(out)):
            out[i] = m[i] * m[i]
    elif power == 3:
        for i in range(len(out)):
            out[i] = m[i] * m[i] * m[i]
    else:
        for i in range(len(out)):
            square = m[i] * m[i]
            out[i] = square * square
    if inactivates:
        for i in range(len(out)):
            out[i] *= h[i]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def strides(substeps: Ints, level: int) -> int:
    """Substeps after which what is slow changes: a millisecond of few, about an eighth of one of many."""
    many: int = substeps[level]
    if level == 0:
        return many
    stride = max(many // SLOW_STEPS, 1)
    while many % stride:
        stride -= 1
    return stride


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _kinetics(substeps: Ints, level: int, quick_changes: bool, slow_changes: bool) -> tuple[int, int, float]:
    """Which tables quick and slow gates need, and the length of a step of the slow ones [ms].

    Args:
        substeps, level: see `steps`.
        quick_changes, slow_changes: whether the step before was one of another length.
    """
    quick, slow = (4 - level if quick_changes else level), (5 if slow_changes else 6 if level else 2)
    length = strides(substeps, level) / substeps[level]
    return quick, slow, (0.5 + 0.5 * strides(substeps, 1) / substeps[1]) if slow_changes else length


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _look_up(v: Floats, work: _Work) -> None:
    """Where each potential lies in the tables, and the potentials as precise as these."""
    for i in range(len(v)):
        p = (min(max(v[i], V_LOW_MV), V_HIGH_MV - 1e-6) - V_LOW_MV) * (1.0 / V_BIN_MV)
        work.bin[i] = np.uint32(p)
        work.fraction[i] = p - work.bin[i]
    for i in range(len(v)):
        work.v[i] = v[i]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _gate_steps(cell: Cell, tables: NDArray[np.floating], slow: bool, gate: Floats, work: _Work) -> None:
    """The quick gates, or the slow ones, to the end of a step, at the potentials of `_look_up`."""
    for q in range(len(cell.gates)):
        some = slice(cell.first[q], cell.first[q + 1])
        bins, fractions = work.bin[some], work.fraction[some]
        k0, k1 = (cell.quick_gates[q], cell.gates[q]) if slow else (0, cell.quick_gates[q])
        for k in range(k0, k1):
            table, x = tables[q, k], gate[k, some]
            for i in range(len(x)):
                steady = _between(table, bins[i], fractions[i], 0)
                x[i] = steady + (x[i] - steady) * _between(table, bins[i], fractions[i], 1)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
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


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _exponentials(x: Floats, bits: NDArray[np.int64], out: Floats) -> None:
    """exp(x) of numbers between -700 and 700, to 1e-9, in arithmetic alone; `out` may be x.

    Of x = k log 2 + r the series of exp(r), times 2^k.
    """
    scale = bits.view(np.float64)
    for i in range(len(x)):
        k = np.floor(x[i] / LOG_2 + 0.5)
        r = x[i] - k * LOG_2
        half = 1.0 + r / 5.0 * (1.0 + r / 6.0 * (1.0 + r / 7.0 * (1.0 + r / 8.0)))
        out[i] = 1.0 + r * (1.0 + r / 2.0 * (1.0 + r / 3.0 * (1.0 + r / 4.0 * half)))
        bits[i] = (np.int64(k) + 1023) << 52
    for i in range(len(x)):
        out[i] *= scale[i]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _follow_calcium(
    cell: Cell, learned: Learned, dt: float, calcium: Floats, sk: Floats, calcium_mV: Floats, work: _Work
) -> None:
    """SK's gate after dt at this concentration of calcium, and calcium's E."""
    keep = np.exp(-dt / SK_MS)
    for q in range(len(cell.gates)):
        if cell.pool[q]:
            some = slice(cell.first[q], cell.first[q + 1])
            bits, depth, e = work.bits[some], work.spare[some], calcium_mV[some]
            _logarithms(calcium[some], bits, depth)
            for i in range(len(depth)):
                depth[i] = LOG_OUTSIDE - depth[i]
                e[i] = learned.nernst_mV[0] * depth[i]
            if cell.sk[q]:
                gate = sk[some]
                for i in range(len(depth)):
                    depth[i] = min(SK_POWER * (depth[i] - SK_HALF_FOLDS), 700.0)
                _exponentials(depth, bits, depth)
                for i in range(len(depth)):
                    steady = 1.0 / (1.0 + depth[i])
                    gate[i] = steady + (gate[i] - steady) * keep


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _keep(x: float) -> float:
    """exp(-x) of a small x, to x^5 / 720."""
    return (12.0 - x * (6.0 - x)) / (12.0 + x * (6.0 + x))


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _load_calcium(cell: Cell, learned: Learned, dt: float, calcium_nA: Floats, calcium: Floats) -> None:
    """Calcium's concentration after dt with this current."""
    for q in range(len(cell.gates)):
        if cell.pool[q]:
            for i in range(cell.first[q], cell.first[q + 1]):
                tau = learned.calcium_ms[i]
                steady = max(CALCIUM_REST_MM - calcium_nA[i] * learned.calcium_gain[i] * tau, CALCIUM_LEAST_MM)
                calcium[i] = steady + (calcium[i] - steady) * _keep(dt / tau)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _slow_channels(cell: Cell, learned: Learned, gate: Floats, sk: Floats, calcium_mV: Floats, work: _Work) -> None:
    """Conductance and current of the slow channels and of SK; of those that calcium flows through also apart."""
    work.slow_total[:] = 0.0
    work.slow_current[:] = 0.0
    work.calcium[:] = 0.0
    for q in range(len(cell.gates)):
        some = slice(cell.first[q], cell.first[q + 1])
        sums, flow, inward = work.slow_total[some], work.slow_current[some], work.calcium[some]
        opened = work.open[some]
        for k in range(cell.quick_channels[q], cell.channels[q]):
            first, second = cell.activation[q, k], cell.inactivation[q, k]
            _open(gate[first, some], cell.power[q, k], gate[max(second, 0), some], second >= 0, opened)
            density = learned.density_uS[k, some]
            e = calcium_mV[some] if cell.calcium[q, k] else learned.reversal_mV[k, some]
            for i in range(len(opened)):
                opened[i] *= density[i]
            for i in range(len(sums)):
                sums[i] += opened[i]
                flow[i] += opened[i] * e[i]
            if cell.calcium[q, k]:
                for i in range(len(inward)):
                    inward[i] += opened[i]
        if cell.sk[q]:
            density_uS, e_mV, share = learned.sk_uS[some], learned.sk_mV[some], sk[some]
            for i in range(len(sums)):
                g = density_uS[i] * share[i]
                sums[i] += g
                flow[i] += g * e_mV[i]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _between(table: NDArray[np.floating], b: int, f: float, column: int) -> float:
    """From a gate's table: 0 its steady state, 1 what it keeps, 2 its lead [1/mV]."""
    low = table[b, column]
    found: float = low + f * (table[b + np.uint32(1), column] - low)
    return found


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _channels(
    cell: Cell, learned: Learned, tables: NDArray[np.floating], share: float, threshold: float,
    gate: Floats, calcium_mV: Floats, calcium_nA: Floats, work: _Work,
) -> bool:  # fmt: skip
    """Conductance and current of leak and all channels; whether a fast one exceeds its threshold.

    Calcium flows through slow channels alone. What a fast channel's activation gains while the potential moves in this
    very substep is a conductance too, a negative one. Adds that share of the calcium current to `calcium_nA`.
    """
    total, current, fast = work.total, work.current, work.fast
    real = total.dtype.type
    least, share_, threshold_ = real(GATE_LEAST), real(share), real(threshold)
    for i in range(len(total)):
        total[i] = cell.leak_uS[i] + work.slow_total[i]
    for i in range(len(current)):
        current[i] = cell.leak_nA[i] + work.slow_current[i]
    fast[:] = 0.0
    exceeding = 0
    for q in range(len(cell.gates)):
        some = slice(cell.first[q], cell.first[q + 1])
        sums, flow, quick, opened = total[some], current[some], fast[some], work.open[some]
        v_mV, capacitance = work.v[some], cell.capacitance_nF[some]
        for k in range(cell.quick_channels[q]):
            first, second = cell.activation[q, k], cell.inactivation[q, k]
            _open(gate[first, some], cell.power[q, k], gate[max(second, 0), some], second >= 0, opened)
            density = learned.density_uS[k, some]
            for i in range(len(opened)):
                opened[i] *= density[i]
            e = learned.reversal_mV[k, some]
            for i in range(len(sums)):
                sums[i] += opened[i]
                flow[i] += opened[i] * e[i]
            if cell.fast[q, k]:
                m, table, lead = gate[first, some], tables[q, first], work.table[some]
                bins, fractions, gain = work.bin[some], work.fraction[some], real(cell.power[q, k] / THETA_LEAST)
                for i in range(len(quick)):
                    quick[i] += opened[i]
                for i in range(len(lead)):
                    lead[i] = _between(table, bins[i], fractions[i], 2)
                for i in range(len(opened)):
                    opened[i] *= gain * lead[i] / max(m[i], least) * (e[i] - v_mV[i])
                for i in range(len(sums)):
                    sums[i] -= opened[i]
                    flow[i] -= opened[i] * v_mV[i]
        for i in range(len(quick)):
            exceeding += quick[i] > threshold_ * capacitance[i]
        if cell.pool[q]:
            charge, inward, e_ca = calcium_nA[some], work.calcium[some], calcium_mV[some]
            for i in range(len(charge)):
                charge[i] += share_ * inward[i] * (v_mV[i] - e_ca[i])
    return exceeding > 0


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _inputs(cell: Cell, dt: float, v: Floats, mean: Floats, injected: Floats, work: _Work) -> None:
    """Adds synapses, injected current and capacitance, bounds the sum; the solve's diagonal and right side."""
    total, bounded, current, scaled, further = work.total, work.bounded, work.current, work.scaled, work.beyond
    real, mV, block = total.dtype.type, work.v, work.table
    step, per_ms, most = real(dt), real(1.0 / dt), real(1.0 / THETA_LEAST)
    for m in range(len(mean)):
        e, s, g, table = real(cell.e_mV[m]), real(cell.slope[m]), mean[m], cell.block[m]
        if s > ZERO:
            for i in range(len(block)):
                b = work.bin[i]
                block[i] = table[b] + work.fraction[i] * (table[b + np.uint32(1)] - table[b])
            for i in range(len(block)):
                # g B(V) (V - e), linearised about V.
                flow = g[i] * block[i]
                u = mV[i] - e
                steep = flow * (ONE + s * (ONE - block[i]) * u)
                total[i] += steep
                current[i] += steep * mV[i] - flow * u
        else:
            for i in range(len(g)):
                total[i] += g[i]
                current[i] += g[i] * e
    for i in range(len(further)):
        further[i] = beyond(total[i] * step / cell.capacitance_nF[i], most)
    for i in range(len(scaled)):
        scaled[i] = cell.capacitance_nF[i] * per_ms * further[i]
    for i in range(len(total)):
        # However many NMDA channels are open, a step at most doubles what the capacitance alone would let it move.
        total[i] += scaled[i]
        bounded[i] = max(total[i], HALF * scaled[i])
    for i in range(len(v)):
        work.spare[i] = current[i] + injected[i] + (bounded[i] - total[i] + scaled[i]) * v[i]
    work.diagonal[:] = cell.joined_uS
    work.right[:] = 0.0
    for i in range(len(v)):
        node = np.uint32(cell.node[i])
        work.diagonal[node] += bounded[i]
        work.right[node] = work.spare[i]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _copy_gates(cell: Cell, source: Floats, target: Floats) -> None:
    """Of each kind its own."""
    for q in range(len(cell.gates)):
        some = slice(cell.first[q], cell.first[q + 1])
        for k in range(cell.gates[q]):
            target[k, some] = source[k, some]


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def steps(
    cell: Cell, learned: Learned, substeps: Ints, threshold: float, state: State, events: Arrivals, injected: Floats,
    truth: Floats, nudge: float, tape: Tape, out: Floats, peak: Floats,
) -> None:  # fmt: skip
    """Some milliseconds of one cell; `state` goes on.

    Args:
        cell, learned: see there.
        substeps: (2,) of a millisecond, few and many.
        threshold: of fast conductance to capacitance [1/ms] from which there are many.
        state: at the start; changed.
        events: what arrives in each step.
        injected: (steps, n) current [nA], or one row for all.
        truth: (steps, n) potentials towards which each step's first ones are nudged, or no row.
        nudge: by which share of the difference.
        tape: room for the adjoint, or NO_TAPE.
        out: (steps, n) V at the end of each step [mV].
        peak: (steps,) highest potential of the soma at the end of any substep [mV].
    """
    length, n = out.shape
    classes = len(cell.rise_ms)
    work = _work(n, len(cell.parent), state.gate)
    real = state.gate.dtype
    mean, calcium_nA, calcium_mV = np.empty((classes, n), real), np.empty(n, real), np.empty(n, real)
    v, gate, calcium, sk, rise, decay, last = state
    v0, gate0, calcium0, sk0 = np.empty(n), np.empty_like(gate), np.empty(n), np.empty_like(sk)
    rise0, decay0 = np.empty_like(rise), np.empty_like(decay)
    at = 0
    if len(tape.v):
        tape.before[0] = int(last[0])
    for t in range(length):
        now = injected[t if len(injected) > 1 else 0]
        _arrive(cell, events, t, rise, decay)
        if len(truth):
            for i in range(n):
                v[i] += nudge * (truth[t, i] - v[i])
        sk0[:] = sk
        _copy_gates(cell, gate, gate0)
        if substeps[0] > 1:  # of a single one, what is below does not change before it is given up
            v0[:], calcium0[:], rise0[:], decay0[:] = v, calcium, rise, decay
        start = at
        for level in range(2):
            many = substeps[level]
            dt = 1.0 / many
            stride = strides(substeps, level)
            peak[t] = V_LOW_MV
            again = False
            for s in range(many):
                quick, slow, slow_ms = _kinetics(
                    substeps, level, s == 0 and level != last[0], s < stride and level != last[0]
                )
                _look_up(v, work)
                if len(tape.v):
                    tape.v[at], tape.gate[at] = v, gate
                if s % stride == 0:
                    if len(tape.v):
                        tape.calcium[at], tape.sk[at] = calcium, sk
                    calcium_nA[:] = 0.0
                    _follow_calcium(cell, learned, slow_ms, calcium, sk, calcium_mV, work)
                    _gate_steps(cell, learned.tables[slow], True, gate, work)
                    _slow_channels(cell, learned, gate, sk, calcium_mV, work)
                at += 1
                _gate_steps(cell, learned.tables[quick], False, gate, work)
                exceeds = _channels(
                    cell, learned, learned.tables[quick], 1.0 / stride, threshold, gate, calcium_mV, calcium_nA, work
                )
                if exceeds and level == 0:
                    again = True
                    break
                _synapses(cell, dt, rise, decay, mean)
                _inputs(cell, dt, v, mean, now, work)
                _solve(cell.parent, cell.axial_uS, work.diagonal, work.right)
                for i in range(n):
                    work.spare[i] = work.right[np.uint32(cell.node[i])]
                if len(tape.v):
                    tape.w[at - 1] = work.spare
                for i in range(n):
                    v[i] += (work.spare[i] - v[i]) * work.beyond[i]
                peak[t] = max(peak[t], v[cell.soma])
                if s % stride == stride - 1:
                    if len(tape.v):
                        tape.calcium_nA[at - stride] = calcium_nA
                    _load_calcium(cell, learned, stride * dt, calcium_nA, calcium)
            if not again:
                if len(tape.v):
                    tape.level[t] = level
                last[0] = level
                break
            sk[:] = sk0
            _copy_gates(cell, gate0, gate)
            if substeps[0] > 1:
                v[:], calcium[:], rise[:], decay[:] = v0, calcium0, rise0, decay0
            at = start
        out[t] = v


@numba.njit(cache=True, nogil=True)
def arrive(counts: NDArray[np.floating], first: Ints, classes: Ints, at: Ints, peak: Floats) -> Arrivals:
    """What events (m, steps) open of the conductances of each input, `first` of it on."""
    steps = counts.shape[1]
    begin = np.zeros(steps + 1, np.int64)
    inputs, times, many = np.empty(counts.size, np.int32), np.empty(counts.size, np.int32), 0
    for i in range(len(counts)):
        row = counts[i]
        for t in range(steps):
            if row[t] != 0.0:
                inputs[many], times[many] = i, t
                many += 1
                begin[t + 1] += first[i + 1] - first[i]
    begin = np.cumsum(begin)
    kind, where, uS = np.empty(begin[-1], np.int32), np.empty(begin[-1], np.int32), np.empty(begin[-1])
    free = begin[:-1].copy()
    for e in range(many):
        i, t = inputs[e], times[e]
        for k in range(first[i], first[i + 1]):
            kind[free[t]], where[free[t]], uS[free[t]] = classes[k], at[k], counts[i, t] * peak[k]
            free[t] += 1
    return Arrivals(begin, kind, where, uS)


class Known(NamedTuple):
    """What a prediction needs, but for input and state.

    Attributes:
        cell, learned, substeps, threshold: see `steps`.
        first, classes, at, opens_uS: of the inputs, see `arrive`.
        back: (n,) where each compartment is among the sorted ones.
        mean_mV, per_sd: of the z-scores, (n,), the latter 1 / mV.
    """

    cell: Cell
    learned: Learned
    substeps: Ints
    threshold: float
    first: Ints
    classes: Ints
    at: Ints
    opens_uS: Floats
    back: Ints
    mean_mV: Floats
    per_sd: Floats


@numba.njit(cache=True, nogil=True)
def _unpacked(packed: Floats, n: int, classes: int) -> State:
    """The state whose arrays stand one after the other in one; what changes one changes the other."""
    end = len(packed) - 1
    rows = packed[:end].reshape(end // n, n)
    many = len(rows) - 2 * classes
    return State(rows[0], rows[1 : many - 2], rows[many - 2], rows[many - 1], rows[many : many + classes],
                 rows[many + classes :], packed[end:])  # fmt: skip


@numba.njit(cache=True, nogil=True)
def box(known: Known) -> list[Known]:
    """A list of one: to hand over its arrays one by one would cost as much as a millisecond of the tree."""
    boxed: list[Known] = numba.typed.List()
    boxed.append(known)
    return boxed


@numba.njit(cache=True, nogil=True)
def predict(
    known: list[Known], counts: NDArray[np.float32], injected: Floats, packed: Floats, z: NDArray[np.float32],
    soma: Floats,
) -> None:  # fmt: skip
    """Steps of one cell from input alone.

    Args:
        known: see `box`.
        counts: (m, steps) input events.
        injected: as for `steps`.
        packed: the state, see `_unpacked`; goes on.
        z: (steps, n) gets the z-scores.
        soma: (steps, 2) gets the soma's potential and its peak in the millisecond [mV].
    """
    cell, learned, substeps, threshold, first, classes, at, opens_uS, back, mean_mV, per_sd = known[0]
    steps_ms, n = z.shape
    state = _unpacked(packed, n, len(cell.rise_ms))
    v, gate, calcium, sk, rise, decay, level = state
    single = State(v, gate.astype(np.float32), calcium, sk.astype(np.float32), rise.astype(np.float32),
                   decay.astype(np.float32), level)  # fmt: skip
    out, peak = np.empty((steps_ms, n)), np.empty(steps_ms)
    steps(
        cell, learned, substeps, threshold, single, arrive(counts, first, classes, at, opens_uS), injected,
        np.empty((0, n)), 0.0, NO_TAPE, out, peak,
    )  # fmt: skip
    gate[:], sk[:], rise[:], decay[:] = single.gate, single.sk, single.rise_uS, single.decay_uS
    for t in range(steps_ms):
        soma[t, 0], soma[t, 1] = out[t, cell.soma], peak[t]
        for i in range(n):
            z[t, i] = (out[t, np.uint32(back[i])] - mean_mV[i]) * per_sd[i]


class Flows(NamedTuple):
    """What channels did in each millisecond.

    Attributes:
        flow: (steps, channels + 1, n) mean of open share times (E - V) [mV]; that of SK last. Current of a channel is
            its density times this.
        sk_mV: (steps, n) mean of SK's (E - V).
        total_uS: (steps, n) mean conductance of all channels and SK.
        calcium_uS, calcium_nA: (steps, n) mean conductance of all calcium channels, and mean current.
        calcium_mM, sk: (steps, n) concentration at the start, and mean of SK's gate.
    """

    flow: Floats
    sk_mV: Floats
    total_uS: Floats
    calcium_uS: Floats
    calcium_nA: Floats
    calcium_mM: Floats
    sk: Floats

    @classmethod
    def empty(cls, steps: int, channels: int, n: int) -> Flows:
        """Room for `steps` ms and so many channels beside SK."""
        return cls(np.empty((steps, channels + 1, n)), *(np.empty((steps, n)) for _ in range(6)))


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def flows(
    cell: Cell, learned: Learned, substeps: Ints, tape: Tape, wanted: NDArray[np.bool_], found: Flows
) -> None:  # fmt: skip
    """What each channel did in the milliseconds of a tape.

    Args:
        cell, learned, substeps: as for `steps`.
        tape: what `steps` has left.
        wanted: (channels,) those to look at, in a cell whose kinds all have the same; sums are over these and SK.
        found: gets the result.
    """
    length, n = found.sk.shape
    work = _work(n, len(cell.parent), tape.gate)
    gate, calcium_mV, sk, opened = np.empty((tape.gate.shape[1], n)), np.empty(n), np.empty(n), work.open
    for array in (found.sk_mV, found.total_uS, found.calcium_uS, found.calcium_nA, found.sk):
        array[:] = 0.0
    found.flow[:] = 0.0
    at = 0
    for t in range(length):
        level, last = tape.level[t], tape.level[t - 1] if t else tape.before[0]
        many = substeps[level]
        stride = strides(substeps, level)
        found.calcium_mM[t] = tape.calcium[at]
        for s in range(many):
            quick, slow, slow_ms = _kinetics(substeps, level, s == 0 and level != last, s < stride and level != last)
            w = tape.w[at]
            gate[:] = tape.gate[at]
            _look_up(tape.v[at], work)
            if s % stride == 0:
                sk[:] = tape.sk[at]
                _follow_calcium(cell, learned, slow_ms, tape.calcium[at], sk, calcium_mV, work)
                _gate_steps(cell, learned.tables[slow], True, gate, work)
                found.calcium_nA[t] += tape.calcium_nA[at] * (stride / many)
            _gate_steps(cell, learned.tables[quick], False, gate, work)
            at += 1
            for q in range(len(cell.gates)):
                some = slice(cell.first[q], cell.first[q + 1])
                for k in range(cell.channels[q]):
                    if not wanted[k]:
                        continue
                    first, second = cell.activation[q, k], cell.inactivation[q, k]
                    _open(gate[first, some], cell.power[q, k], gate[max(second, 0), some], second >= 0, opened[some])
                    for i in range(cell.first[q], cell.first[q + 1]):
                        e = calcium_mV[i] if cell.calcium[q, k] else learned.reversal_mV[k, i]
                        found.flow[t, k, i] += opened[i] * (e - w[i]) / many
                        g = learned.density_uS[k, i] * opened[i] / many
                        if cell.fast[q, k]:
                            u = tape.v[at - 1, i]
                            lead = _between(learned.tables[quick, q, first], work.bin[i], work.fraction[i], 2)
                            gain = cell.power[q, k] * lead / max(gate[first, i], GATE_LEAST)
                            steep = opened[i] * gain * (e - u) / THETA_LEAST
                            found.flow[t, k, i] += steep * (w[i] - u) / many
                            found.total_uS[t, i] -= learned.density_uS[k, i] * steep / many
                        found.total_uS[t, i] += g
                        if cell.calcium[q, k]:
                            found.calcium_uS[t, i] += g
            for i in range(n):
                away = (learned.sk_mV[i] - w[i]) / many
                found.flow[t, -1, i] += sk[i] * away
                found.sk_mV[t, i] += away
                found.sk[t, i] += sk[i] / many
                found.total_uS[t, i] += learned.sk_uS[i] * sk[i] / many


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _gate_adjoint(
    i0: int, i1: int, k0: int, k1: int, tables: Floats, into: Floats, v: Floats, before: Floats, work: _Work,
    to_gate: Floats, to_v: Floats,
) -> None:  # fmt: skip
    """Adjoint of a step of the gates k0 to k1 in compartments i0 to i1, from what they were before.

    `to_gate` goes from the gates after the step to those before; `into` and `to_v` get their part added.
    """
    for k in range(k0, k1):
        for i in range(i0, i1):
            b, f = work.bin[i], work.fraction[i]
            above = b + np.uint32(1)
            low, keep_low = tables[k, b, 0], tables[k, b, 1]
            up, down = tables[k, above, 0] - low, tables[k, above, 1] - keep_low
            steady, keep = low + f * up, keep_low + f * down
            to_steady = to_gate[k, i] * (1.0 - keep)
            to_keep = to_gate[k, i] * (before[k, i] - steady)
            into[k, b, 0] += to_steady * (1.0 - f)
            into[k, b, 1] += to_keep * (1.0 - f)
            into[k, above, 0] += to_steady * f
            into[k, above, 1] += to_keep * f
            if V_LOW_MV < v[i] < V_HIGH_MV - 1e-6:
                to_v[i] += (to_steady * up + to_keep * down) / V_BIN_MV
            to_gate[k, i] *= keep


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _channel_adjoint(
    cell: Cell, learned: Learned, q: int, k: int, i: int, to_g: float, gate: Floats, to_gate: Floats, grad: Learned
) -> float:
    """Adjoint of a channel's conductance in one compartment; returns its open share."""
    first, power, second = cell.activation[q, k], cell.power[q, k], cell.inactivation[q, k]
    m, h, lower = gate[first, i], 1.0, 1.0  # the last is m^(p-1)
    for _ in range(power - 1):
        lower *= m
    if second >= 0:
        h = gate[second, i]
        to_gate[second, i] += to_g * learned.density_uS[k, i] * lower * m
    to_gate[first, i] += to_g * learned.density_uS[k, i] * power * lower * h
    grad.density_uS[k, i] += to_g * lower * m * h
    opened: float = lower * m * h
    return opened


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _lead_adjoint(
    cell: Cell, learned: Learned, q: int, k: int, i: int, table: Floats, into: Floats, to_d: float, to_r: float,
    v: float, gate: Floats, work: _Work, to_gate: Floats, grad: Learned,
) -> float:  # fmt: skip
    """Adjoint of what a fast channel's lead adds to sum and current in one compartment; returns that of V."""
    first, power, second = cell.activation[q, k], cell.power[q, k], cell.inactivation[q, k]
    b, f = work.bin[i], work.fraction[i]
    above = b + np.uint32(1)
    lead, density = _between(table, b, f, 2), learned.density_uS[k, i]
    m, h, lower = gate[first, i], 1.0, 1.0  # the last is m^(p-2)
    for _ in range(power - 2):
        lower *= m
    if second >= 0:
        h = gate[second, i]
    bend = power * lower * (m if power > 1 else 1.0)  # of the power
    drive = (learned.reversal_mV[k, i] - v) / THETA_LEAST
    to_steep = -(to_d + to_r * v)
    grad.density_uS[k, i] += to_steep * bend * h * lead * drive
    to_gate[first, i] += to_steep * density * power * (power - 1) * lower * h * lead * drive
    if second >= 0:
        to_gate[second, i] += to_steep * density * bend * lead * drive
    to_lead = to_steep * density * bend * h * drive
    into[b, 2] += to_lead * (1.0 - f)
    into[above, 2] += to_lead * f
    grad.reversal_mV[k, i] += to_steep * density * bend * h * lead / THETA_LEAST
    rising = (table[above, 2] - table[b, 2]) / V_BIN_MV if V_LOW_MV < v < V_HIGH_MV - 1e-6 else 0.0
    g = density * bend * h * lead
    to_v: float = to_lead * rising - to_steep * g / THETA_LEAST - to_r * g * drive
    return to_v


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _synapse_adjoint(
    cell: Cell, v: Floats, mean: Floats, to_d: Floats, to_r: Floats, to_v: Floats, grad_gain: Floats, work: _Work
) -> None:
    """Adjoint of the synapses in `_inputs`."""
    for m in range(len(mean)):
        e, s = cell.e_mV[m], cell.slope[m]
        for i in range(len(v)):
            g = mean[m, i]
            if s > 0.0:
                b, u = work.bin[i], v[i] - e
                block = cell.block[m, b] + work.fraction[i] * (cell.block[m, b + 1] - cell.block[m, b])
                inside = V_LOW_MV < v[i] < V_HIGH_MV - 1e-6
                rising = (cell.block[m, b + 1] - cell.block[m, b]) / V_BIN_MV if inside else 0.0
                steep = g * block * (1.0 + s * (1.0 - block) * u)
                bend = g * (rising * (1.0 + s * (1.0 - block) * u) + block * s * (1.0 - block - rising * u))
                to_v[i] += to_d[i] * bend + to_r[i] * (bend * v[i] + steep - g * (rising * u + block))
                grad_gain[m] += to_d[i] * steep + to_r[i] * (steep * v[i] - g * block * u)
            else:
                grad_gain[m] += g * (to_d[i] + to_r[i] * e)


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _calcium_adjoint(
    cell: Cell, learned: Learned, dt: float, calcium: Floats, calcium_nA: Floats, to_calcium: Floats, to_nA: Floats,
    grad: Learned,
) -> None:  # fmt: skip
    """Adjoint of `_load_calcium` from the concentration before it; `to_nA` is set."""
    for q in range(len(cell.gates)):
        if not cell.pool[q]:
            continue
        for i in range(cell.first[q], cell.first[q + 1]):
            inflow, tau = calcium_nA[i], learned.calcium_ms[i]
            keep = _keep(dt / tau)
            rest = CALCIUM_REST_MM - inflow * learned.calcium_gain[i] * tau
            to_rest = to_calcium[i] * (1.0 - keep)
            if rest < CALCIUM_LEAST_MM:
                rest, to_rest = CALCIUM_LEAST_MM, 0.0
            grad.calcium_gain[i] -= to_rest * inflow * tau
            grad.calcium_ms[i] -= to_rest * inflow * learned.calcium_gain[i]
            grad.calcium_ms[i] += to_calcium[i] * (calcium[i] - rest) * keep * dt / (tau * tau)
            to_nA[i] = -to_rest * learned.calcium_gain[i] * tau
            to_calcium[i] *= keep


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def adjoint(
    cell: Cell, learned: Learned, substeps: Ints, state: State, events: Arrivals, injected: Floats, nudge: float,
    tape: Tape, seed: Floats, grad: Learned, grad_gain: Floats,
) -> None:  # fmt: skip
    """Gradient of a loss with respect to what is learned, through `steps`; the solve's adjoint is the same solve.

    Args:
        cell, learned, substeps, events, injected, nudge: as for `steps`; nudge is 0 where there was no truth.
        state: at the start of `steps`; its synaptic part is changed.
        tape: what `steps` has left.
        seed: (steps, n) gradient of the loss with respect to each step's V.
        grad: gets the gradients added.
        grad_gain: (classes,) gets that with respect to the logarithm of each class's conductance.
    """
    length, n = seed.shape
    classes = len(cell.rise_ms)
    gates = tape.gate.shape[1]
    nodes = len(cell.parent)
    total = 0
    for t in range(length):
        total += substeps[tape.level[t]]
    means = np.empty((total, classes, n))
    rise, decay = state.rise_uS, state.decay_uS
    at = 0
    for t in range(length):
        _arrive(cell, events, t, rise, decay)
        many = substeps[tape.level[t]]
        for _ in range(many):
            _synapses(cell, 1.0 / many, rise, decay, means[at])
            at += 1
    work = _work(n, nodes, state.gate)
    away = np.empty(nodes)
    to_v, to_gate, gate = np.zeros(n), np.zeros((gates, n)), np.empty((gates, n))
    to_calcium, to_sk = np.zeros(n), np.zeros(n)
    to_nA, to_mV, to_sk_now = np.zeros(n), np.zeros(n), np.zeros(n)
    to_d, to_r, change = np.empty(n), np.empty(n), np.empty(n)
    to_total, to_current, to_charge = np.empty(n), np.empty(n), np.empty(n)
    calcium_mV, sk, unused = np.zeros(n), np.zeros(n), np.zeros(n)
    for t in range(length - 1, -1, -1):
        level, last = tape.level[t], tape.level[t - 1] if t else tape.before[0]
        many = substeps[level]
        dt, stride = 1.0 / many, strides(substeps, level)
        now = injected[t if len(injected) > 1 else 0]
        for i in range(n):
            to_v[i] += seed[t, i]
        for s in range(many - 1, -1, -1):
            at -= 1
            quick, slow, slow_ms = _kinetics(substeps, level, s == 0 and level != last, s < stride and level != last)
            if s % stride == stride - 1:
                start = at - stride + 1
                _calcium_adjoint(
                    cell, learned, stride * dt, tape.calcium[start], tape.calcium_nA[start], to_calcium, to_nA, grad
                )
                to_mV[:], to_sk_now[:], to_total[:], to_current[:], to_charge[:] = 0.0, to_sk, 0.0, 0.0, 0.0
                sk[:], gate[:] = tape.sk[start], tape.gate[start]
                _look_up(tape.v[start], work)
                _follow_calcium(cell, learned, slow_ms, tape.calcium[start], sk, calcium_mV, work)
                _gate_steps(cell, learned.tables[slow], True, gate, work)
                _slow_channels(cell, learned, gate, sk, calcium_mV, work)
            v, w, before, mean = tape.v[at], tape.w[at], tape.gate[at], means[at]
            for q in range(len(cell.gates)):
                these, some = slice(0, cell.quick_gates[q]), slice(cell.first[q], cell.first[q + 1])
                gate[these, some] = before[these, some]
            _look_up(v, work)
            _gate_steps(cell, learned.tables[quick], False, gate, work)
            _channels(cell, learned, learned.tables[quick], 1.0 / stride, 0.0, gate, calcium_mV, unused, work)
            _inputs(cell, dt, v, mean, now, work)
            away[:] = 0.0
            for i in range(n):
                away[cell.node[i]] = to_v[i] * work.beyond[i]
            _solve(cell.parent, cell.axial_uS, work.diagonal, away)  # away is now the gradient of the right side
            for i in range(n):
                free, c = work.bounded[i] == work.total[i], cell.capacitance_nF[i] / dt
                scaled = work.scaled[i]
                to_r[i] = away[cell.node[i]]
                to_d[i] = -to_r[i] * (w[i] if free else v[i])
                change[i] = to_r[i] * (scaled + work.bounded[i] - work.total[i]) + to_v[i] * (1.0 - work.beyond[i])
                to_scaled = to_d[i] + to_r[i] * (v[i] if free else 1.5 * v[i] - 0.5 * w[i])
                to_beyond = to_v[i] * (w[i] - v[i]) + to_scaled * c
                to_d[i] += to_beyond * _beyond_slope((work.total[i] - scaled) / c) / c
                to_total[i] += to_d[i]
                to_current[i] += to_r[i]
            _synapse_adjoint(cell, v, mean, to_d, to_r, change, grad_gain, work)
            for q in range(len(cell.gates)):
                i0, i1 = cell.first[q], cell.first[q + 1]
                for k in range(cell.quick_channels[q]):
                    first = cell.activation[q, k]
                    for i in range(i0, i1):
                        to_g = to_d[i] + to_r[i] * learned.reversal_mV[k, i]
                        opened = _channel_adjoint(cell, learned, q, k, i, to_g, gate, to_gate, grad)
                        grad.reversal_mV[k, i] += to_r[i] * learned.density_uS[k, i] * opened
                    if cell.fast[q, k]:
                        table, into = learned.tables[quick, q, first], grad.tables[quick, q, first]
                        for i in range(i0, i1):
                            change[i] += _lead_adjoint(
                                cell, learned, q, k, i, table, into, to_d[i], to_r[i], v[i], gate, work, to_gate, grad
                            )
                if cell.pool[q]:
                    for i in range(i0, i1):
                        to_charge[i] += to_nA[i] / stride * v[i]
                        change[i] += to_nA[i] / stride * work.calcium[i]
                _gate_adjoint(
                    i0, i1, 0, cell.quick_gates[q], learned.tables[quick, q], grad.tables[quick, q], v, before, work,
                    to_gate, change,
                )  # fmt: skip
            for i in range(n):
                to_v[i] = change[i]
            if s % stride > 0:
                continue
            for q in range(len(cell.gates)):
                i0, i1 = cell.first[q], cell.first[q + 1]
                for k in range(cell.quick_channels[q], cell.channels[q]):
                    for i in range(i0, i1):
                        if cell.calcium[q, k]:
                            e = calcium_mV[i]
                            to_g = to_total[i] + to_current[i] * e + to_charge[i] - to_nA[i] * e
                            opened = _channel_adjoint(cell, learned, q, k, i, to_g, gate, to_gate, grad)
                            to_mV[i] += (to_current[i] - to_nA[i]) * learned.density_uS[k, i] * opened
                        else:
                            to_g = to_total[i] + to_current[i] * learned.reversal_mV[k, i]
                            opened = _channel_adjoint(cell, learned, q, k, i, to_g, gate, to_gate, grad)
                            grad.reversal_mV[k, i] += to_current[i] * learned.density_uS[k, i] * opened
                _gate_adjoint(
                    i0, i1, cell.quick_gates[q], cell.gates[q], learned.tables[slow, q], grad.tables[slow, q], v,
                    before, work, to_gate, to_v,
                )  # fmt: skip
                if not cell.pool[q]:
                    continue
                keep = np.exp(-slow_ms / SK_MS)
                for i in range(i0, i1):
                    if cell.sk[q]:
                        to_g = to_total[i] + to_current[i] * learned.sk_mV[i]
                        grad.sk_uS[i] += to_g * sk[i]
                        grad.sk_mV[i] += to_current[i] * learned.sk_uS[i] * sk[i]
                        to_sk_now[i] += to_g * learned.sk_uS[i]
                    concentration = tape.calcium[at, i]
                    grad.nernst_mV[0] += to_mV[i] * np.log(CALCIUM_OUTSIDE_MM / concentration)
                    to_calcium[i] -= to_mV[i] * learned.nernst_mV[0] / concentration
                    ratio = (SK_HALF_MM / concentration) ** SK_POWER
                    steady = 1.0 / (1.0 + ratio)
                    to_calcium[i] += to_sk_now[i] * (1.0 - keep) * steady * steady * ratio * SK_POWER / concentration
                    to_sk[i] = to_sk_now[i] * keep
        for i in range(n):
            to_v[i] *= 1.0 - nudge
