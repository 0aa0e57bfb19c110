"""The steps of `membrane` on a GPU: a Triton kernel, with one program for each cell.

A program goes through the milliseconds of its cell alone, so that each cell takes the substeps that it needs. Inside it
compartments run side by side, in tiles of one kind of membrane, and the tree is solved in the rounds of `solve.Rounds`.
Arithmetic is as precise as in predictions on the CPU: double for potentials, the tree and calcium, single for the rest.

Without a GPU, Triton's interpreter runs the same code slowly (TRITON_INTERPRET=1), which is how it is tested.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from dendrotwin import membrane
from dendrotwin.membrane import Known, strides
from dendrotwin.solve import Rounds

TILE = 64  # compartments that a program has in hand at once, and nodes
NODES = 256
ROWS = 4  # gates, channels or classes of synapses side by side
WARPS = 4
FEW = tl.constexpr(32)  # nodes of a round that one warp takes

LOW = tl.constexpr(membrane.V_LOW_MV)
HIGH = tl.constexpr(membrane.V_HIGH_MV - 1e-6)
PER_MV = tl.constexpr(1.0 / membrane.V_BIN_MV)
BINS = tl.constexpr(membrane.V_BINS)
REST = tl.constexpr(membrane.CALCIUM_REST_MM)
LEAST_CALCIUM = tl.constexpr(membrane.CALCIUM_LEAST_MM)
LOG_OUTSIDE = tl.constexpr(membrane.LOG_OUTSIDE)
SK_FOLDS = tl.constexpr(membrane.SK_HALF_FOLDS)
SK_POWER = tl.constexpr(membrane.SK_POWER)
SK_MS = tl.constexpr(membrane.SK_MS)
GATE_LEAST = tl.constexpr(membrane.GATE_LEAST)
PER_THETA = tl.constexpr(1.0 / membrane.THETA_LEAST)
# Rows of the arrays below, and how many of them stand together.
CAPACITANCE, LEAK, LEAK_nA, SK_uS, SK_mV = (tl.constexpr(row) for row in range(5))
GATES, CHANNELS, QUICK_GATES, QUICK_CHANNELS, POOL, SK = (tl.constexpr(row) for row in range(6))
SLOW_uS, SLOW_nA, INWARD_uS, CALCIUM_mV, CALCIUM_nA, BEYOND = (tl.constexpr(row) for row in range(6))
KIND, CHANNEL = tl.constexpr(6), tl.constexpr(5)
DIAGONAL, FROM_PARENT, RIGHT, RIGHT_FROM_PARENT, AXIAL, TO_CHILD = (tl.constexpr(row) for row in range(6))


class Sizes(NamedTuple):
    """How many of each there are; `deep` gates and `wide` channels in the kind that has most."""

    n: int
    nodes: int
    tiles: int
    kinds: int
    deep: int
    wide: int
    classes: int
    rounds: int
    soma: int
    threshold: float


class OnGPU(NamedTuple):
    """What a prediction needs, as tensors on one device (see `membrane.Cell`, `Learned` and `Known`).

    Attributes:
        of_compartment: (5, n) capacitance, leak, current of the leak at 0 mV, density and reversal of SK.
        calcium: (2, n) gain and decay.
        nernst_mV: (1,).
        density_uS, reversal_mV: (wide, n).
        tables: (7, kinds, deep, BINS, 3).
        kind: (kinds, 6) as the rows above.
        channel: (kinds, wide, 5) activation, power, inactivation, whether calcium flows, and whether it is fast.
        tile: (tiles, 3) first compartment, the one after the last, and kind.
        substeps: (2, 2) how many in a millisecond, few and many, and after how many the slow changes.
        synapse: (2, classes, 4) of a substep, few and many: its means of rise and decay, and what these keep.
        driving: (classes, 2) reversal and slope of the block.
        block: (classes, BINS).
        scale: (2, n) mean of the z-scores, and 1 / their standard deviation.
        original: (n,) where each compartment stands in the cell.
        node: (nodes,) of each compartment, then the joints.
        joined_uS, axial_uS: (nodes,).
        round_first, round_node, round_parent, round_child: see `solve.Rounds`.
    """

    of_compartment: Any
    calcium: Any
    nernst_mV: Any
    density_uS: Any
    reversal_mV: Any
    tables: Any
    kind: Any
    channel: Any
    tile: Any
    substeps: Any
    synapse: Any
    driving: Any
    block: Any
    scale: Any
    original: Any
    node: Any
    joined_uS: Any
    axial_uS: Any
    round_first: Any
    round_node: Any
    round_parent: Any
    round_child: Any


class Input(NamedTuple):
    """What a call brings.

    Attributes:
        first: (cells * steps + 1,) where the arrivals of each step begin; one conductance and compartment once a step.
        at: (arrivals,) class times n plus compartment.
        uS: (arrivals, 2) added to rise and decay.
        injected_nA: (cells, steps, n), or one number that is 0.
    """

    first: Any
    at: Any
    uS: Any
    injected_nA: Any


class Room(NamedTuple):
    """State and work of every cell, and what comes out.

    A millisecond goes from one side of the state to the other, so that it can begin anew.

    Attributes:
        double: (cells, 2, 2, n) potential and calcium.
        single: (cells, 2, deep + 1 + 2 classes, n) gates, SK, rise and decay.
        level: (cells,) of the last millisecond.
        slow: (cells, 6, n) conductance and current of slow channels, of it what calcium flows through, calcium's E and
            current, 1 / theta.
        tree: (cells, 6, nodes) diagonal and right side, each with what came from the parent apart, conductances to the
            parent and, of what is eliminated, to its child.
        z: (cells, steps, n).
        soma: (cells, steps, 2).
    """

    double: Any
    single: Any
    level: Any
    slow: Any
    tree: Any
    z: Any
    soma: Any


@triton.jit
def _tile(known, tile, TILE: tl.constexpr):
    """Kind and compartments of a tile, and which lanes have one."""
    i = tl.load(known.tile + 3 * tile) + tl.arange(0, TILE)
    return tl.load(known.tile + 3 * tile + 2), i, i < tl.load(known.tile + 3 * tile + 1)


@triton.jit
def _place(v):
    """Where potentials lie in tables: bin, and how far they are in it."""
    p = (tl.minimum(tl.maximum(v, LOW), HIGH) - LOW) * PER_MV
    at = p.to(tl.int32)
    return at, (p - at).to(tl.float32)


@triton.jit
def _between(row, f, apart: tl.constexpr, these):
    """Between neighbouring bins of a table, which stand so far apart."""
    low = tl.load(row, mask=these, other=0.0)
    return low + f * (tl.load(row + apart, mask=these, other=0.0) - low)


@triton.jit
def _of_gate(known, sizes, which, q, k, at):
    """Tables of gates at some bins."""
    return known.tables + ((which * sizes.kinds + q) * sizes.deep + k) * (BINS * 3) + at * 3


@triton.jit
def _arrive(sizes, given, step, rise, decay, TILE: tl.constexpr):
    """Adds what the events of a step open."""
    stop = tl.load(given.first + step + 1)
    for begin in range(tl.load(given.first + step), stop, TILE):
        k = begin + tl.arange(0, TILE)
        on = k < stop
        at = tl.load(given.at + k, mask=on, other=0)
        up, down = tl.load(rise + at, mask=on, other=0.0), tl.load(decay + at, mask=on, other=0.0)
        tl.store(rise + at, up + tl.load(given.uS + 2 * k, mask=on, other=0.0), mask=on)
        tl.store(decay + at, down + tl.load(given.uS + 2 * k + 1, mask=on, other=0.0), mask=on)


@triton.jit
def _gates(known, sizes, which, q, start, stop, old, new, i, on, at, f, ROWS: tl.constexpr):
    """Some gates of a kind to the end of a step."""
    for begin in range(start, stop, ROWS):
        k = (begin + tl.arange(0, ROWS))[:, None]
        these = (k < stop) & on[None, :]
        row = _of_gate(known, sizes, which, q, k, at[None, :])
        x = tl.load(old + k * sizes.n + i[None, :], mask=these, other=0.0)
        steady, keep = _between(row, f[None, :], 3, these), _between(row + 1, f[None, :], 3, these)
        tl.store(new + k * sizes.n + i[None, :], steady + (x - steady) * keep, mask=these)


@triton.jit
def _calcium(known, sizes, kind, slow_ms, old, new, old_sk, new_sk, slow, i, on):
    """SK's gate after `slow_ms` at this concentration of calcium, and calcium's E."""
    concentration = tl.load(old + i, mask=on, other=1.0)
    tl.store(new + i, concentration, mask=on)
    depth = LOG_OUTSIDE - tl.log(concentration)
    tl.store(slow + CALCIUM_mV * sizes.n + i, (tl.load(known.nernst_mV) * depth).to(tl.float32), mask=on)
    if tl.load(kind + SK) > 0:
        steady = (1.0 / (1.0 + tl.exp(tl.minimum(SK_POWER * (depth - SK_FOLDS), 700.0)))).to(tl.float32)
        gate = tl.load(old_sk + i, mask=on, other=0.0)
        tl.store(new_sk + i, steady + (gate - steady) * tl.exp(-slow_ms / SK_MS), mask=on)


@triton.jit
def _follow(
    known, sizes, which, which_slow, slow_ms, begins, old_v, old, new_v, new, slow,
    TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Gates, and where a stride begins calcium and what is slow, to the end of a step at the potentials at hand."""
    sk = sizes.deep * sizes.n
    for tile in range(0, sizes.tiles):
        q, i, on = _tile(known, tile, TILE)
        kind = known.kind + KIND * q
        at, f = _place(tl.load(old_v + i, mask=on, other=0.0))
        quick = tl.load(kind + QUICK_GATES)
        if begins:
            if tl.load(kind + POOL) > 0:
                _calcium(known, sizes, kind, slow_ms, old_v + sizes.n, new_v + sizes.n, old + sk, new + sk, slow, i, on)
            _gates(known, sizes, which_slow, q, quick, tl.load(kind + GATES), old, new, i, on, at, f, ROWS)
        _gates(known, sizes, which, q, 0, quick, old, new, i, on, at, f, ROWS)


@triton.jit
def _open(known, sizes, q, k, has, gate, i, on):
    """Conductance of channels side by side, their activation and its power."""
    channel = known.channel + (q * sizes.wide + k) * CHANNEL
    first, power = tl.load(channel, mask=has, other=0)[:, None], tl.load(channel + 1, mask=has, other=1)[:, None]
    second = tl.load(channel + 2, mask=has, other=-1)[:, None]
    these, i = has[:, None] & on[None, :], i[None, :]
    m = tl.load(gate + first * sizes.n + i, mask=these, other=0.0)
    h = tl.load(gate + second * sizes.n + i, mask=these & (second >= 0), other=1.0)
    opened = tl.where(power > 1, m * m, m)
    opened = tl.where(power > 2, opened * m, opened)
    opened = tl.where(power > 3, opened * m, opened)
    density_uS = tl.load(known.density_uS + k[:, None] * sizes.n + i, mask=these, other=0.0)
    return density_uS * opened * h, m, power


@triton.jit
def _slow_channels(known, sizes, gate, slow, TILE: tl.constexpr, ROWS: tl.constexpr):
    """Conductance and current of the slow channels and of SK; of those that calcium flows through also apart."""
    n = sizes.n
    for tile in range(0, sizes.tiles):
        q, i, on = _tile(known, tile, TILE)
        kind = known.kind + KIND * q
        total, current = tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32)
        inward = tl.zeros((TILE,), tl.float32)
        calcium_mV = tl.load(slow + CALCIUM_mV * n + i, mask=on, other=0.0)
        stop = tl.load(kind + CHANNELS)
        for begin in range(tl.load(kind + QUICK_CHANNELS), stop, ROWS):
            k = begin + tl.arange(0, ROWS)
            has = k < stop
            flows = tl.load(known.channel + (q * sizes.wide + k) * CHANNEL + 3, mask=has, other=0)[:, None] > 0
            g, _, _ = _open(known, sizes, q, k, has, gate, i, on)
            e = tl.load(known.reversal_mV + k[:, None] * n + i[None, :], mask=has[:, None] & on[None, :], other=0.0)
            total += tl.sum(g, 0)
            current += tl.sum(g * tl.where(flows, calcium_mV[None, :], e), 0)
            inward += tl.sum(tl.where(flows, g, 0.0), 0)
        if tl.load(kind + SK) > 0:
            g_sk = tl.load(known.of_compartment + SK_uS * n + i, mask=on, other=0.0)
            g_sk *= tl.load(gate + (sizes.deep * n + i), mask=on, other=0.0)
            total += g_sk
            current += g_sk * tl.load(known.of_compartment + SK_mV * n + i, mask=on, other=0.0)
        tl.store(slow + SLOW_uS * n + i, total, mask=on)
        tl.store(slow + SLOW_nA * n + i, current, mask=on)
        tl.store(slow + INWARD_uS * n + i, inward, mask=on)
        tl.store(slow + CALCIUM_nA * n + i, tl.zeros((TILE,), tl.float32), mask=on)


@triton.jit
def _channels(known, sizes, q, kind, which, gate, slow, v_mV, i, on, at, f, ROWS: tl.constexpr):
    """Conductance and current of leak and all channels, and how many compartments exceed the threshold.

    A fast channel's lead is a conductance too, see `membrane`.
    """
    n = sizes.n
    total = tl.load(known.of_compartment + LEAK * n + i, mask=on, other=0.0)
    current = tl.load(known.of_compartment + LEAK_nA * n + i, mask=on, other=0.0)
    total += tl.load(slow + SLOW_uS * n + i, mask=on, other=0.0)
    current += tl.load(slow + SLOW_nA * n + i, mask=on, other=0.0)
    opened = tl.zeros_like(total)
    stop = tl.load(kind + QUICK_CHANNELS)
    for begin in range(0, stop, ROWS):
        k = begin + tl.arange(0, ROWS)
        has = k < stop
        channel = known.channel + (q * sizes.wide + k) * CHANNEL
        these = has[:, None] & on[None, :]
        fast = these & (tl.load(channel + 4, mask=has, other=0) > 0)[:, None]
        g, m, power = _open(known, sizes, q, k, has, gate, i, on)
        e = tl.load(known.reversal_mV + k[:, None] * n + i[None, :], mask=these, other=0.0)
        activation = tl.load(channel, mask=has, other=0)[:, None]
        lead = _between(_of_gate(known, sizes, which, q, activation, at[None, :]) + 2, f[None, :], 3, fast)
        steep = g * (power.to(tl.float32) * PER_THETA) * lead / tl.maximum(m, GATE_LEAST) * (e - v_mV[None, :])
        total += tl.sum(g - steep, 0)
        current += tl.sum(g * e - steep * v_mV[None, :], 0)
        opened += tl.sum(tl.where(fast, g, 0.0), 0)
    capacitance = tl.load(known.of_compartment + CAPACITANCE * n + i, mask=on, other=1.0)
    return total, current, tl.sum((opened > sizes.threshold * capacitance).to(tl.int32), 0)


@triton.jit
def _synapses(known, sizes, level, old, new, v_mV, i, on, at, f, TILE: tl.constexpr, ROWS: tl.constexpr):
    """Mean conductance and current of the synapses over a substep; their exponentials go to the end of it."""
    n, classes = sizes.n, sizes.classes
    total, current = tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32)
    for begin in range(0, classes, ROWS):
        m = begin + tl.arange(0, ROWS)
        has = m < classes
        of_class, these = known.synapse + (level * classes + m) * 4, has[:, None] & on[None, :]
        rise = ((sizes.deep + 1 + m) * n)[:, None] + i[None, :]
        decay = rise + classes * n
        up, down = tl.load(old + rise, mask=these, other=0.0), tl.load(old + decay, mask=these, other=0.0)
        g = down * tl.load(of_class + 1, mask=has, other=0.0)[:, None]
        g -= up * tl.load(of_class, mask=has, other=0.0)[:, None]
        tl.store(new + rise, up * tl.load(of_class + 2, mask=has, other=0.0)[:, None], mask=these)
        tl.store(new + decay, down * tl.load(of_class + 3, mask=has, other=0.0)[:, None], mask=these)
        # g B(V) (V - e), linearised about V; without a block B is 1, and s 0.
        e = tl.load(known.driving + m * 2, mask=has, other=0.0)[:, None]
        s = tl.load(known.driving + m * 2 + 1, mask=has, other=0.0)[:, None]
        block = _between(known.block + m[:, None] * BINS + at[None, :], f[None, :], 1, these & (s > 0.0))
        block = tl.where(s > 0.0, block, 1.0)
        u = v_mV[None, :] - e
        steep = g * block * (1.0 + s * (1.0 - block) * u)
        total += tl.sum(steep, 0)
        current += tl.sum(tl.where(s > 0.0, steep * v_mV[None, :] - g * block * u, g * e), 0)
    return total, current


@triton.jit
def _balance(
    known, sizes, given, step, level, which, many, stride, old_v, old, new, slow, tree,
    has_current: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Diagonal and right side of the tree; how many compartments' fast channels exceed the threshold."""
    n, nodes, exceeding = sizes.n, sizes.nodes, 0
    per_ms = many.to(tl.float32)
    for tile in range(0, sizes.tiles):
        q, i, on = _tile(known, tile, TILE)
        v = tl.load(old_v + i, mask=on, other=0.0)
        at, f = _place(v)
        v_mV = v.to(tl.float32)
        total, current, exceed = _channels(
            known, sizes, q, known.kind + KIND * q, which, new, slow, v_mV, i, on, at, f, ROWS
        )
        exceeding += exceed
        charge = tl.load(slow + CALCIUM_nA * n + i, mask=on, other=0.0)
        inward = tl.load(slow + INWARD_uS * n + i, mask=on, other=0.0) / stride.to(tl.float32)
        charge += inward * (v_mV - tl.load(slow + CALCIUM_mV * n + i, mask=on, other=0.0))
        tl.store(slow + CALCIUM_nA * n + i, charge, mask=on)
        synaptic_uS, synaptic_nA = _synapses(known, sizes, level, old, new, v_mV, i, on, at, f, TILE, ROWS)
        total += synaptic_uS
        current += synaptic_nA
        capacitance = tl.load(known.of_compartment + CAPACITANCE * n + i, mask=on, other=1.0)
        x = tl.maximum(total / (per_ms * capacitance), 0.0)
        beyond = tl.minimum(PER_THETA, (24.0 + x * (6.0 + x)) / (12.0 + x * (5.0 + x)))  # `membrane.beyond`
        scaled = capacitance * per_ms * beyond
        total += scaled
        # However many NMDA channels are open, a step at most doubles what the capacitance alone would let it move.
        bounded = tl.maximum(total, 0.5 * scaled)
        right = (bounded - total + scaled) * v + current
        if has_current:
            right += tl.load(given.injected_nA + step * n + i, mask=on, other=0.0)
        node = tl.load(known.node + i, mask=on, other=0)
        joined = tl.load(known.joined_uS + node, mask=on, other=0.0)
        tl.store(tree + DIAGONAL * nodes + node, joined + bounded, mask=on)
        tl.store(tree + RIGHT * nodes + node, right, mask=on)
        tl.store(slow + BEYOND * n + i, beyond, mask=on)
    return exceeding


@triton.jit
def _clear(known, sizes, tree, TILE: tl.constexpr):
    """What the tree has beside its compartments before it is solved."""
    n, nodes = sizes.n, sizes.nodes
    for begin in range(0, nodes, TILE):
        k = begin + tl.arange(0, TILE)
        on, joint = k < nodes, (k < nodes) & (k >= n)
        node = tl.load(known.node + k, mask=joint, other=0)
        tl.store(tree + DIAGONAL * nodes + node, tl.load(known.joined_uS + node, mask=joint, other=0.0), mask=joint)
        nothing = tl.zeros((TILE,), tl.float64)
        tl.store(tree + RIGHT * nodes + node, nothing, mask=joint)
        tl.store(tree + FROM_PARENT * nodes + k, nothing, mask=on)
        tl.store(tree + RIGHT_FROM_PARENT * nodes + k, nothing, mask=on)
        tl.store(tree + AXIAL * nodes + k, tl.load(known.axial_uS + k, mask=on, other=0.0), mask=on)


@triton.jit
def _eliminate(known, sizes, tree, start, stop, LANES: tl.constexpr):
    """A round: passes what its nodes have on to their neighbours."""
    nodes = sizes.nodes
    for begin in range(start, stop, LANES):
        k = begin + tl.arange(0, LANES)
        on = k < stop
        e = tl.load(known.round_node + k, mask=on, other=0)
        p = tl.load(known.round_parent + k, mask=on, other=0)
        c = tl.load(known.round_child + k, mask=on, other=-1)
        has = c >= 0
        diagonal = tl.load(tree + DIAGONAL * nodes + e, mask=on, other=1.0)
        diagonal += tl.load(tree + FROM_PARENT * nodes + e, mask=on, other=0.0)
        right = tl.load(tree + RIGHT * nodes + e, mask=on, other=0.0)
        right += tl.load(tree + RIGHT_FROM_PARENT * nodes + e, mask=on, other=0.0)
        up = tl.load(tree + AXIAL * nodes + e, mask=on, other=0.0)
        down = tl.load(tree + AXIAL * nodes + c, mask=has, other=0.0)
        # No two of a round have one parent, nor one child, so that none of these sums has two who add at once.
        of_parent = tl.load(tree + DIAGONAL * nodes + p, mask=on, other=0.0)
        right_of_parent = tl.load(tree + RIGHT * nodes + p, mask=on, other=0.0)
        of_child = tl.load(tree + FROM_PARENT * nodes + c, mask=has, other=0.0)
        right_of_child = tl.load(tree + RIGHT_FROM_PARENT * nodes + c, mask=has, other=0.0)
        inverse = 1.0 / diagonal
        tl.store(tree + DIAGONAL * nodes + e, inverse, mask=on)
        tl.store(tree + RIGHT * nodes + e, right, mask=on)
        tl.store(tree + TO_CHILD * nodes + e, down, mask=on)
        tl.store(tree + DIAGONAL * nodes + p, of_parent - up * inverse * up, mask=on)
        tl.store(tree + RIGHT * nodes + p, right_of_parent + up * inverse * right, mask=on)
        tl.store(tree + FROM_PARENT * nodes + c, of_child - down * inverse * down, mask=has)
        tl.store(tree + RIGHT_FROM_PARENT * nodes + c, right_of_child + down * inverse * right, mask=has)
        tl.store(tree + AXIAL * nodes + c, down * inverse * up, mask=has)


@triton.jit
def _substitute(known, sizes, tree, start, stop, LANES: tl.constexpr):
    """A round, back: potentials of its nodes from those of their neighbours."""
    nodes = sizes.nodes
    for begin in range(start, stop, LANES):
        k = begin + tl.arange(0, LANES)
        on = k < stop
        e = tl.load(known.round_node + k, mask=on, other=0)
        p = tl.load(known.round_parent + k, mask=on, other=0)
        c = tl.load(known.round_child + k, mask=on, other=-1)
        w = tl.load(tree + RIGHT * nodes + e, mask=on, other=0.0)
        up = tl.load(tree + AXIAL * nodes + e, mask=on, other=0.0)
        w += up * tl.load(tree + RIGHT * nodes + p, mask=on, other=0.0)
        down = tl.load(tree + TO_CHILD * nodes + e, mask=on, other=0.0)
        w += down * tl.load(tree + RIGHT * nodes + c, mask=c >= 0, other=0.0)
        tl.store(tree + RIGHT * nodes + e, w * tl.load(tree + DIAGONAL * nodes + e, mask=on, other=0.0), mask=on)


@triton.jit
def _solve(known, sizes, tree, TILE: tl.constexpr):
    """Solves the whole tree, in place: the right side becomes potentials."""
    nodes = sizes.nodes
    for r in range(0, sizes.rounds):
        start, stop = tl.load(known.round_first + r), tl.load(known.round_first + r + 1)
        if stop - start > FEW:
            _eliminate(known, sizes, tree, start, stop, TILE)
        else:
            _eliminate(known, sizes, tree, start, stop, FEW)
        tl.debug_barrier()
    root = tl.load(tree + RIGHT * nodes) / tl.load(tree + DIAGONAL * nodes)
    tl.debug_barrier()
    tl.store(tree + RIGHT * nodes, root)
    tl.debug_barrier()
    for back in range(0, sizes.rounds):
        r = sizes.rounds - 1 - back
        start, stop = tl.load(known.round_first + r), tl.load(known.round_first + r + 1)
        if stop - start > FEW:
            _substitute(known, sizes, tree, start, stop, TILE)
        else:
            _substitute(known, sizes, tree, start, stop, FEW)
        tl.debug_barrier()


@triton.jit
def _move(known, sizes, ends, stride_ms, old_v, new_v, slow, tree, TILE: tl.constexpr):
    """Potentials to the end of a substep; where a stride ends, calcium to its end."""
    n = sizes.n
    for tile in range(0, sizes.tiles):
        q, i, on = _tile(known, tile, TILE)
        v = tl.load(old_v + i, mask=on, other=0.0)
        node = tl.load(known.node + i, mask=on, other=0)
        w = tl.load(tree + RIGHT * sizes.nodes + node, mask=on, other=0.0)
        tl.store(new_v + i, v + (w - v) * tl.load(slow + BEYOND * n + i, mask=on, other=1.0), mask=on)
        if ends & (tl.load(known.kind + KIND * q + POOL) > 0):
            tau = tl.load(known.calcium + n + i, mask=on, other=1.0)
            gain = tl.load(known.calcium + i, mask=on, other=0.0)
            flow = tl.load(slow + CALCIUM_nA * n + i, mask=on, other=0.0)
            steady = tl.maximum(REST - flow * gain * tau, LEAST_CALCIUM)
            x = stride_ms / tau
            keep = (12.0 - x * (6.0 - x)) / (12.0 + x * (6.0 + x))  # `membrane._keep`
            concentration = tl.load(new_v + n + i, mask=on, other=0.0)
            tl.store(new_v + n + i, steady + (concentration - steady) * keep, mask=on)


@triton.jit
def _milliseconds(
    known, sizes, given, room, steps, has_current: tl.constexpr, TILE: tl.constexpr, NODES: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    """Some milliseconds of one cell; see `membrane.steps`."""
    n = sizes.n
    cell = tl.program_id(0).to(tl.int64)
    rows = sizes.deep + 1 + 2 * sizes.classes
    rise = (sizes.deep + 1) * n
    slow, tree = room.slow + cell * 6 * n, room.tree + cell * 6 * sizes.nodes
    last = tl.load(room.level + cell)
    # Of the substeps of a millisecond of many, a stride: what is slow changes after it.
    short = tl.load(known.substeps + 3).to(tl.float32) / tl.load(known.substeps + 2).to(tl.float32)
    for t in range(0, steps):
        step = cell * steps + t
        here, there = cell * 2 + t % 2, cell * 2 + 1 - t % 2
        first, first_v = room.single + here * rows * n, room.double + here * 2 * n
        new, new_v = room.single + there * rows * n, room.double + there * 2 * n
        _arrive(sizes, given, step, first + rise, first + rise + sizes.classes * n, TILE)
        tl.debug_barrier()
        level, running = 0, 1
        peak = tl.full((), LOW, tl.float64)
        while running > 0:
            many, stride = tl.load(known.substeps + 2 * level), tl.load(known.substeps + 2 * level + 1)
            peak = tl.full((), LOW, tl.float64)
            s, exceeding = 0, 0
            while (s < many) & (exceeding == 0):
                old, old_v = first, first_v
                if s > 0:
                    old, old_v = new, new_v
                changes, slow_changes = (s == 0) & (level != last), (s < stride) & (level != last)
                which = tl.where(changes, 4 - level, level)
                which_slow = tl.where(slow_changes, 5, tl.where(level > 0, 6, 2))
                slow_ms = tl.where(slow_changes, 0.5 + 0.5 * short, tl.where(level > 0, short, 1.0))
                begins = s % stride == 0
                _follow(known, sizes, which, which_slow, slow_ms, begins, old_v, old, new_v, new, slow,
                        TILE, ROWS)  # fmt: skip
                tl.debug_barrier()
                if begins:
                    _slow_channels(known, sizes, new, slow, TILE, ROWS)
                    tl.debug_barrier()
                # A millisecond of few substeps is given up for one of many where sodium channels open.
                exceeding = (1 - level) * _balance(
                    known, sizes, given, step, level, which, many, stride, old_v, old, new, slow, tree,
                    has_current, TILE, ROWS,
                )  # fmt: skip
                if exceeding == 0:
                    _clear(known, sizes, tree, NODES)
                    tl.debug_barrier()
                    _solve(known, sizes, tree, NODES)
                    ends, stride_ms = s % stride == stride - 1, stride.to(tl.float64) / many
                    _move(known, sizes, ends, stride_ms, old_v, new_v, slow, tree, TILE)
                    tl.debug_barrier()
                    peak = tl.maximum(peak, tl.load(new_v + sizes.soma))
                s += 1
            running = exceeding
            level = tl.where(exceeding > 0, 1, level)
        last = level
        for begin in range(0, n, TILE):
            i = begin + tl.arange(0, TILE)
            on = i < n
            v = tl.load(new_v + i, mask=on, other=0.0)
            mean_mV = tl.load(known.scale + i, mask=on, other=0.0)
            z = (v - mean_mV) * tl.load(known.scale + n + i, mask=on, other=0.0)
            tl.store(room.z + step * n + tl.load(known.original + i, mask=on, other=0), z.to(tl.float32), mask=on)
        tl.store(room.soma + step * 2, tl.load(new_v + sizes.soma))
        tl.store(room.soma + step * 2 + 1, peak)
    tl.store(room.level + cell, last)


class GPUCell:
    """A cell on a device, ready for predictions.

    Args:
        known: of a twin, see `membrane.predict`.
        device: of the tensors; the CPU for Triton's interpreter.
    """

    def __init__(self, known: Known, device: torch.device) -> None:
        cell, learned, n = known.cell, known.learned, len(known.back)
        single, double, whole = torch.float32, torch.float64, torch.int32

        def put(array: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)

        rounds = Rounds.of(cell.parent)
        tiles = [
            (start, min(start + TILE, stop), q)
            for q, (begin, stop) in enumerate(zip(cell.first[:-1], cell.first[1:], strict=True))
            for start in range(begin, stop, TILE)
        ]
        substeps = np.array([(many, strides(known.substeps, level)) for level, many in enumerate(known.substeps)])
        tau_ms, per_ms = np.stack([cell.rise_ms, cell.decay_ms], 1), substeps[:, 0, None, None]
        keep = np.exp(-1.0 / per_ms / tau_ms)
        original = np.argsort(known.back)
        of_compartment = [cell.capacitance_nF, cell.leak_uS, cell.leak_nA, learned.sk_uS, learned.sk_mV]
        of_kind = [cell.gates, cell.channels, cell.quick_gates, cell.quick_channels, cell.pool, cell.sk]
        of_channel = [cell.activation, cell.power, cell.inactivation, cell.calcium, cell.fast]
        self.known = OnGPU(
            of_compartment=put(np.stack(of_compartment), single),
            calcium=put(np.stack([learned.calcium_gain, learned.calcium_ms]), double),
            nernst_mV=put(learned.nernst_mV, double),
            density_uS=put(learned.density_uS, single),
            reversal_mV=put(learned.reversal_mV, single),
            tables=put(learned.tables, single),
            kind=put(np.stack(of_kind, 1), whole),
            channel=put(np.stack(of_channel, 2), whole),
            tile=put(tiles, whole),
            substeps=put(substeps, whole),
            synapse=put(np.concatenate([tau_ms * per_ms * (1.0 - keep), keep], 2), single),
            driving=put(np.stack([cell.e_mV, cell.slope], 1), single),
            block=put(cell.block, single),
            scale=put(np.stack([known.mean_mV, known.per_sd])[:, original], double),
            original=put(original, whole),
            node=put(np.append(cell.node, np.setdiff1d(np.arange(len(cell.parent)), cell.node)), whole),
            joined_uS=put(cell.joined_uS, double),
            axial_uS=put(cell.axial_uS, double),
            round_first=put(rounds.first, whole),
            round_node=put(rounds.node, whole),
            round_parent=put(rounds.parent, whole),
            round_child=put(rounds.child, whole),
        )
        self.sizes = Sizes(
            n=n, nodes=len(cell.parent), tiles=len(tiles), kinds=len(cell.gates), deep=learned.tables.shape[2],
            wide=cell.activation.shape[1], classes=len(cell.rise_ms), rounds=len(rounds.first) - 1, soma=cell.soma,
            threshold=float(known.threshold),
        )  # fmt: skip
        self.first, self.of_class, self.at = (put(x, torch.int64) for x in (known.first, known.classes, known.at))
        self.opens_uS = put(known.opens_uS[:, None] * cell.onset[known.classes], double)

    def _arrivals(self, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The first three of `Input`: what opens at one compartment in one step is one arrival."""
        cells, _, steps = counts.shape
        rows = self.sizes.classes * self.sizes.n
        cell, one, t = counts.nonzero(as_tuple=True)
        many = (self.first[1:] - self.first[:-1])[one]
        event = torch.repeat_interleave(many)
        k = torch.arange(len(event), device=counts.device) - (many.cumsum(0) - many)[event] + self.first[one][event]
        place = (cell * steps + t)[event] * rows + self.of_class[k] * self.sizes.n + self.at[k]
        uS = counts[cell, one, t].double()[event, None] * self.opens_uS[k]
        place, same = torch.unique(place, return_inverse=True)
        uS = torch.zeros(len(place), 2, dtype=torch.float64, device=counts.device).index_add(0, same, uS)
        first = torch.searchsorted(place, torch.arange(cells * steps + 1, device=counts.device) * rows)
        return first, (place % rows).int(), uS.float()

    def predict(
        self, counts: torch.Tensor, injected_nA: torch.Tensor | None, packed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Steps of many cells from input alone, each on its own.

        Args:
            counts: (cells, m, steps) input events.
            injected_nA: (cells, steps, n) by kind, or None.
            packed: (cells, ...) state, see `membrane.predict`.

        Returns:
            (cells, steps, n) z-scores, (cells, steps, 2) the soma's potential and its peak in the millisecond [mV], and
            the new state.
        """
        cells, _, steps = counts.shape
        n, nodes, classes, deep = self.sizes.n, self.sizes.nodes, self.sizes.classes, self.sizes.deep
        rows = packed[:, :-1].view(cells, -1, n)
        v, gate, calcium, sk, synapses = rows.split([1, deep, 1, 1, 2 * classes], 1)

        def two(*parts: torch.Tensor) -> torch.Tensor:
            return torch.cat(parts, 1)[:, None].repeat(1, 2, 1, 1)

        def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype, device=packed.device)

        room = Room(
            double=two(v, calcium),
            single=two(gate, sk, synapses).float(),
            level=packed[:, -1].int(),
            slow=empty(cells, 6, n, dtype=torch.float32),
            tree=empty(cells, 6, nodes, dtype=torch.float64),
            z=empty(cells, steps, n, dtype=torch.float32),
            soma=empty(cells, steps, 2, dtype=torch.float64),
        )
        has_current = injected_nA is not None
        given = Input(*self._arrivals(counts), injected_nA if has_current else room.z)
        _milliseconds[(cells,)](
            self.known, self.sizes, given, room, steps, has_current=has_current, TILE=TILE, NODES=NODES,
            ROWS=ROWS, num_warps=WARPS,
        )
        v, calcium = room.double[:, steps % 2].split(1, 1)
        gate, sk, synapses = room.single[:, steps % 2].split([deep, 1, 2 * classes], 1)
        rows = torch.cat([v, gate, calcium, sk, synapses], 1).flatten(1)
        return room.z, room.soma, torch.cat([rows, room.level[:, None]], 1)
