"""The steps of `membrane` on a GPU: a Triton kernel, with one program for each cell.

A program goes through the milliseconds of its cell alone, so that each cell takes the substeps that it needs: one in a
quiet millisecond, and many if fast channels would exceed their threshold in this one. Inside it the compartments of a
tile, of one kind of membrane, run side by side, and the nodes of a round of `solve.Rounds`.
Arithmetic is as precise as in predictions on the CPU: double for potentials, the tree and calcium, single for the rest.

What bounds it is the number of instructions: each kind of membrane begins in a new tile, so that no lane asks whether
it has a compartment before it reads, and sizes are known when it is compiled, once for a cell.

Without a GPU, Triton's interpreter runs the same code slowly (TRITON_INTERPRET=1), which is how it is tested.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from dendrotwin import membrane
from dendrotwin.errors import InputError
from dendrotwin.membrane import Known, strides
from dendrotwin.solve import Rounds

TILE = 64  # compartments or nodes at a time
WARPS = 2

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
# Rows of the arrays below.
CAPACITANCE, LEAK, LEAK_nA, SK_uS, SK_mV = (tl.constexpr(row) for row in range(5))
GATES, CHANNELS, QUICK_GATES, QUICK_CHANNELS, POOL, SK = (tl.constexpr(row) for row in range(6))
SLOW_uS, SLOW_nA, INWARD_uS, CALCIUM_mV, CALCIUM_nA, BEYOND = (tl.constexpr(row) for row in range(6))
DIAGONAL, FROM_PARENT, RIGHT, RIGHT_FROM_PARENT, AXIAL, TO_CHILD = (tl.constexpr(row) for row in range(6))


class Sizes(NamedTuple):
    """How many of each there are.

    Attributes:
        n, nodes: compartments and nodes of the cell.
        slots: places for compartments; each kind begins at a multiple of TILE.
        places: for nodes and, beyond them, a tile that is read and not used; the first stands for a missing child.
        kinds, classes, rounds: of membrane, of synapses, of the solve.
        deep, wide: gates and channels of the kind that has most.
        soma: its slot.
    """

    n: int
    nodes: int
    slots: int
    places: int
    kinds: int
    classes: int
    rounds: int
    deep: int
    wide: int
    soma: int


class OnGPU(NamedTuple):
    """What a prediction needs, as tensors on one device (see `membrane.Cell`, `Learned` and `Known`).

    Nodes are numbered as they are eliminated, the root last.

    Attributes:
        of_compartment: (5, slots) capacitance, leak, current of the leak at 0 mV, density and reversal of SK.
        calcium: (2, slots) gain and decay.
        density_uS, reversal_mV: (wide, slots).
        tables: (7, kinds, deep, BINS, 3).
        kind: (kinds, 6) as the rows above.
        channel: (kinds, wide, 5) activation, power, inactivation, whether calcium flows, and whether it is fast.
        kind_of_tile: (slots / TILE,).
        substeps: (2, 2) how many in a millisecond, few and many, and after how many the slow changes.
        synapse: (2, classes, 4) of a substep, few and many: its means of rise and decay, and what these keep.
        driving: (classes, 2) reversal and slope of the block.
        block: (classes, BINS).
        constants: (2,) calcium's E for one e-fold, and the threshold of fast conductance to capacitance.
        scale: (2, slots) mean of the z-scores, and 1 / their standard deviation.
        original: (slots,) where each compartment stands in the cell, n where there is none.
        node: (slots,) of each compartment, `nodes` where there is none.
        joined_uS, axial_uS: (places,) sum of the axial conductances at each node, and that to its parent.
        bare: (places,) whether there is no compartment.
        first: (rounds + 1,) of the nodes.
        parent, child: (places,) neighbours of each node when it is eliminated; `nodes` for no child.
    """

    of_compartment: Any
    calcium: Any
    density_uS: Any
    reversal_mV: Any
    tables: Any
    kind: Any
    channel: Any
    kind_of_tile: Any
    substeps: Any
    synapse: Any
    driving: Any
    block: Any
    constants: Any
    scale: Any
    original: Any
    node: Any
    joined_uS: Any
    axial_uS: Any
    bare: Any
    first: Any
    parent: Any
    child: Any


class Input(NamedTuple):
    """What a call brings.

    Attributes:
        first: (cells * steps + 1,) where the arrivals of each step begin; one conductance and compartment once a step.
        at: (arrivals,) class times slots plus slot.
        uS: (arrivals, 2) added to rise and decay.
        injected_nA: (cells, steps, slots), if there is current; else anything.
    """

    first: Any
    at: Any
    uS: Any
    injected_nA: Any


class Room(NamedTuple):
    """State and work of every cell, and what comes out.

    Attributes:
        double: (cells, 2, slots) potential and calcium.
        single: (cells, deep + 1 + 2 classes, slots) gates, SK, rise and decay.
        level: (cells,) of the last millisecond.
        slow: (cells, 6, slots) conductance and current of slow channels, of it what calcium flows through, calcium's E
            and current, 1 / theta.
        tree: (cells, 6, places) diagonal and right side, each with what came from the parent apart, conductances to the
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
def _place(v):
    """Where potentials lie in tables: bin, and how far they are in it."""
    p = (tl.minimum(tl.maximum(v, LOW), HIGH) - LOW) * PER_MV
    at = p.to(tl.int32)
    return at, (p - at).to(tl.float32)


@triton.jit
def _between(row, f, apart: tl.constexpr):
    """Between neighbouring bins of a table, which stand so far apart."""
    low = tl.load(row)
    return low + f * (tl.load(row + apart) - low)


@triton.jit
def _table(known, sizes: tl.constexpr, which, q, k, at):
    """Of a gate of a kind: steady state, what a step keeps, and lead, at some bins."""
    return known.tables + ((which * sizes.kinds + q) * sizes.deep + k) * (BINS * 3) + at * 3


@triton.jit
def _stepped(table, x, f):
    """A gate at the end of a step."""
    steady = _between(table, f, 3)
    return steady + (x - steady) * _between(table + 1, f, 3)


@triton.jit
def _arrive(sizes: tl.constexpr, given, step, rise, TILE: tl.constexpr):
    """Adds what the events of a step open."""
    decay = rise + sizes.classes * sizes.slots
    stop = tl.load(given.first + step + 1)
    for begin in range(tl.load(given.first + step), stop, TILE):
        k = begin + tl.arange(0, TILE)
        on = k < stop
        at = tl.load(given.at + k, mask=on, other=0)
        up, down = tl.load(rise + at, mask=on, other=0.0), tl.load(decay + at, mask=on, other=0.0)
        tl.store(rise + at, up + tl.load(given.uS + 2 * k, mask=on, other=0.0), mask=on)
        tl.store(decay + at, down + tl.load(given.uS + 2 * k + 1, mask=on, other=0.0), mask=on)


@triton.jit
def _gates(known, sizes: tl.constexpr, which, q, start, stop, gate, i, at, f):
    """Some gates of a kind to the end of a step."""
    row = _table(known, sizes, which, q, start, at)
    own = gate + start * sizes.slots + i
    for _ in range(start, stop):
        tl.store(own, _stepped(row, tl.load(own), f))
        row += BINS * 3
        own += sizes.slots


@triton.jit
def _exceeds(known, sizes: tl.constexpr, which, v_mV, gate, TILE: tl.constexpr):
    """In how many compartments fast channels would exceed the threshold after a step of their gates."""
    exceeding = 0
    for begin in range(0, sizes.slots, TILE):
        i = begin + tl.arange(0, TILE)
        q = tl.load(known.kind_of_tile + begin // TILE)
        fast = tl.zeros((TILE,), tl.float32)
        at, f = _place(tl.load(v_mV + i))
        for k in range(0, tl.load(known.kind + 6 * q + QUICK_CHANNELS)):
            channel = known.channel + (q * sizes.wide + k) * 5
            if tl.load(channel + 4) > 0:
                first, second = tl.load(channel), tl.load(channel + 2)
                x = tl.load(gate + first * sizes.slots + i)
                m = _stepped(_table(known, sizes, which, q, first, at), x, f)
                opened = tl.load(known.density_uS + k * sizes.slots + i)
                for _ in range(0, tl.load(channel + 1)):
                    opened *= m
                if second >= 0:
                    x = tl.load(gate + second * sizes.slots + i)
                    opened *= _stepped(_table(known, sizes, which, q, second, at), x, f)
                fast += opened
        least = tl.load(known.constants + 1) * tl.load(known.of_compartment + CAPACITANCE * sizes.slots + i)
        exceeding += tl.sum((fast > least).to(tl.int32), 0)
    return exceeding


@triton.jit
def _calcium(known, sizes: tl.constexpr, kind, slow_ms, v, gate, slow, i):
    """SK's gate after `slow_ms` at this concentration of calcium, and calcium's E."""
    depth = -tl.log(tl.load(v + sizes.slots + i).to(tl.float32)) + LOG_OUTSIDE
    tl.store(slow + CALCIUM_mV * sizes.slots + i, tl.load(known.constants) * depth)
    if tl.load(kind + SK) > 0:
        steady = 1.0 / (1.0 + tl.exp(tl.minimum((depth - SK_FOLDS) * SK_POWER, 80.0)))
        own = gate + sizes.deep * sizes.slots + i
        tl.store(own, steady + (tl.load(own) - steady) * tl.exp(-slow_ms / SK_MS))


@triton.jit
def _open(known, sizes: tl.constexpr, channel, k, gate, i):
    """Conductance of a channel, its activation and the power of it."""
    power, second = tl.load(channel + 1), tl.load(channel + 2)
    m = tl.load(gate + tl.load(channel) * sizes.slots + i)
    opened = tl.load(known.density_uS + k * sizes.slots + i) * m
    if second >= 0:
        opened *= tl.load(gate + second * sizes.slots + i)
    for _ in range(1, power):
        opened *= m
    return opened, m, power


@triton.jit
def _slow_channels(known, sizes: tl.constexpr, q, kind, gate, slow, i, TILE: tl.constexpr):
    """Conductance and current of the slow channels and of SK; of those that calcium flows through also apart."""
    total, current = tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32)
    inward = tl.zeros((TILE,), tl.float32)
    for k in range(tl.load(kind + QUICK_CHANNELS), tl.load(kind + CHANNELS)):
        channel = known.channel + (q * sizes.wide + k) * 5
        g, _, _ = _open(known, sizes, channel, k, gate, i)
        total += g
        if tl.load(channel + 3) > 0:
            inward += g
        else:
            current += g * tl.load(known.reversal_mV + k * sizes.slots + i)
    if tl.load(kind + POOL) > 0:
        current += inward * tl.load(slow + CALCIUM_mV * sizes.slots + i)
    if tl.load(kind + SK) > 0:
        g = tl.load(known.of_compartment + SK_uS * sizes.slots + i) * tl.load(gate + sizes.deep * sizes.slots + i)
        total += g
        current += g * tl.load(known.of_compartment + SK_mV * sizes.slots + i)
    tl.store(slow + SLOW_uS * sizes.slots + i, total)
    tl.store(slow + SLOW_nA * sizes.slots + i, current)
    tl.store(slow + INWARD_uS * sizes.slots + i, inward)
    tl.store(slow + CALCIUM_nA * sizes.slots + i, tl.zeros((TILE,), tl.float32))


@triton.jit
def _channels(known, sizes: tl.constexpr, q, kind, which, gate, slow, v_mV, i, at, f):
    """Conductance and current of leak and all channels.

    A fast channel's lead is a conductance too, see `membrane`.
    """
    total = tl.load(known.of_compartment + LEAK * sizes.slots + i) + tl.load(slow + SLOW_uS * sizes.slots + i)
    current = tl.load(known.of_compartment + LEAK_nA * sizes.slots + i) + tl.load(slow + SLOW_nA * sizes.slots + i)
    for k in range(0, tl.load(kind + QUICK_CHANNELS)):
        channel = known.channel + (q * sizes.wide + k) * 5
        g, m, power = _open(known, sizes, channel, k, gate, i)
        e = tl.load(known.reversal_mV + k * sizes.slots + i)
        total += g
        current += g * e
        if tl.load(channel + 4) > 0:
            row = _table(known, sizes, which, q, tl.load(channel), at)
            gain = power.to(tl.float32) * PER_THETA
            steep = g * gain * _between(row + 2, f, 3) / tl.maximum(m, GATE_LEAST) * (e - v_mV)
            total -= steep
            current -= steep * v_mV
    return total, current


@triton.jit
def _synapses(known, sizes: tl.constexpr, level, rise, v_mV, i, at, f, total, current):
    """Adds the mean conductance of each class over a substep; its exponentials go to the end of it."""
    for m in range(0, sizes.classes):
        of_class = known.synapse + (level * sizes.classes + m) * 4
        own = rise + m * sizes.slots + i
        up, down = tl.load(own), tl.load(own + sizes.classes * sizes.slots)
        g = down * tl.load(of_class + 1) - up * tl.load(of_class)
        tl.store(own, up * tl.load(of_class + 2))
        tl.store(own + sizes.classes * sizes.slots, down * tl.load(of_class + 3))
        e, s = tl.load(known.driving + m * 2), tl.load(known.driving + m * 2 + 1)
        if s > 0.0:
            # g B(V) (V - e), linearised about V.
            block = _between(known.block + m * BINS + at, f, 1)
            flow, u = g * block, v_mV - e
            steep = flow * (1.0 + s * (1.0 - block) * u)
            total += steep
            current += steep * v_mV - flow * u
        else:
            total += g
            current += g * e
    return total, current


@triton.jit
def _balance(
    known, sizes: tl.constexpr, given, step, level, which, which_slow, slow_ms, begins, many, stride,
    v_mV, gate, slow, tree, has_current: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Gates to the end of a substep, where a stride begins what is slow, then diagonal and right side of the tree."""
    per_ms, of_stride = many.to(tl.float32), 1.0 / stride.to(tl.float32)
    for begin in range(0, sizes.slots, TILE):
        i = begin + tl.arange(0, TILE)
        q = tl.load(known.kind_of_tile + begin // TILE)
        kind = known.kind + 6 * q
        v = tl.load(v_mV + i)
        single_v = v.to(tl.float32)
        at, f = _place(v)
        quick = tl.load(kind + QUICK_GATES)
        if begins:
            if tl.load(kind + POOL) > 0:
                _calcium(known, sizes, kind, slow_ms, v_mV, gate, slow, i)
            _gates(known, sizes, which_slow, q, quick, tl.load(kind + GATES), gate, i, at, f)
        _gates(known, sizes, which, q, 0, quick, gate, i, at, f)
        # With more lanes than a tile has places, one of them stores what others load.
        tl.debug_barrier()
        if begins:
            _slow_channels(known, sizes, q, kind, gate, slow, i, TILE)
            tl.debug_barrier()
        total, current = _channels(known, sizes, q, kind, which, gate, slow, single_v, i, at, f)
        if tl.load(kind + POOL) > 0:
            away = single_v - tl.load(slow + CALCIUM_mV * sizes.slots + i)
            flow = tl.load(slow + INWARD_uS * sizes.slots + i) * of_stride * away
            tl.store(slow + CALCIUM_nA * sizes.slots + i, tl.load(slow + CALCIUM_nA * sizes.slots + i) + flow)
        rise = gate + (sizes.deep + 1) * sizes.slots
        total, current = _synapses(known, sizes, level, rise, single_v, i, at, f, total, current)
        capacitance = tl.load(known.of_compartment + CAPACITANCE * sizes.slots + i)
        x = tl.maximum(total / (per_ms * capacitance), 0.0)
        beyond = tl.minimum(PER_THETA, (24.0 + x * (6.0 + x)) / (12.0 + x * (5.0 + x)))  # `membrane.beyond`
        scaled = capacitance * per_ms * beyond
        total += scaled
        # However many NMDA channels are open, a step at most doubles what the capacitance alone would let it move.
        bounded = tl.maximum(total, 0.5 * scaled)
        right = (bounded - total + scaled) * v + current
        if has_current:
            right += tl.load(given.injected_nA + step * sizes.slots + i)
        node = tl.load(known.node + i)
        on = node < sizes.nodes
        tl.store(tree + DIAGONAL * sizes.places + node, bounded.to(tl.float64), mask=on)
        tl.store(tree + RIGHT * sizes.places + node, right, mask=on)
        tl.store(slow + BEYOND * sizes.slots + i, beyond)


@triton.jit
def _clear(known, sizes: tl.constexpr, tree, TILE: tl.constexpr):
    """What the tree has beside its compartments before it is solved."""
    for begin in range(0, sizes.places, TILE):
        k = begin + tl.arange(0, TILE)
        bare = tl.load(known.bare + k) > 0
        nothing = tl.zeros((TILE,), tl.float64)
        tl.store(tree + DIAGONAL * sizes.places + k, nothing, mask=bare)
        tl.store(tree + RIGHT * sizes.places + k, nothing, mask=bare)
        tl.store(tree + FROM_PARENT * sizes.places + k, tl.load(known.joined_uS + k))
        tl.store(tree + RIGHT_FROM_PARENT * sizes.places + k, nothing)
        tl.store(tree + AXIAL * sizes.places + k, tl.load(known.axial_uS + k))


@triton.jit
def _solve(known, sizes: tl.constexpr, tree, TILE: tl.constexpr):
    """Solves the whole tree, in place: the right side becomes potentials."""
    for r in range(0, sizes.rounds):
        stop = tl.load(known.first + r + 1)
        for begin in range(tl.load(known.first + r), stop, TILE):
            k = begin + tl.arange(0, TILE)
            on = k < stop
            own, p, c = tree + k, tree + tl.load(known.parent + k), tree + tl.load(known.child + k)
            # No two of a round have one parent, nor one child, so that none of these sums has two who add at once.
            right = tl.load(own + RIGHT * sizes.places) + tl.load(own + RIGHT_FROM_PARENT * sizes.places)
            inverse = 1.0 / (tl.load(own + DIAGONAL * sizes.places) + tl.load(own + FROM_PARENT * sizes.places))
            up, down = tl.load(own + AXIAL * sizes.places), tl.load(c + AXIAL * sizes.places)
            to_parent, to_child = up * inverse, down * inverse
            of_parent = tl.load(p + DIAGONAL * sizes.places) - to_parent * up
            right_of_parent = tl.load(p + RIGHT * sizes.places) + to_parent * right
            of_child = tl.load(c + FROM_PARENT * sizes.places) - to_child * down
            right_of_child = tl.load(c + RIGHT_FROM_PARENT * sizes.places) + to_child * right
            tl.store(own + DIAGONAL * sizes.places, inverse, mask=on)
            tl.store(own + RIGHT * sizes.places, right, mask=on)
            tl.store(own + TO_CHILD * sizes.places, down, mask=on)
            tl.store(p + DIAGONAL * sizes.places, of_parent, mask=on)
            tl.store(p + RIGHT * sizes.places, right_of_parent, mask=on)
            tl.store(c + FROM_PARENT * sizes.places, of_child, mask=on)
            tl.store(c + RIGHT_FROM_PARENT * sizes.places, right_of_child, mask=on)
            tl.store(c + AXIAL * sizes.places, to_child * up, mask=on)
        tl.debug_barrier()
    root = tree + sizes.nodes - 1
    v = tl.load(root + RIGHT * sizes.places)
    v /= tl.load(root + DIAGONAL * sizes.places) + tl.load(root + FROM_PARENT * sizes.places)
    tl.debug_barrier()
    tl.store(root + RIGHT * sizes.places, v)
    tl.debug_barrier()
    for back in range(0, sizes.rounds):
        start = tl.load(known.first + (sizes.rounds - 1 - back))
        stop = tl.load(known.first + (sizes.rounds - back))
        for begin in range(start, stop, TILE):
            k = begin + tl.arange(0, TILE)
            own, p, c = tree + k, tree + tl.load(known.parent + k), tree + tl.load(known.child + k)
            w = tl.load(own + RIGHT * sizes.places)
            w += tl.load(own + AXIAL * sizes.places) * tl.load(p + RIGHT * sizes.places)
            w += tl.load(own + TO_CHILD * sizes.places) * tl.load(c + RIGHT * sizes.places)
            tl.store(own + RIGHT * sizes.places, w * tl.load(own + DIAGONAL * sizes.places), mask=k < stop)
        tl.debug_barrier()


@triton.jit
def _move(known, sizes: tl.constexpr, ends, stride_ms, v_mV, slow, tree, TILE: tl.constexpr):
    """Potentials to the end of a substep; where a stride ends, calcium to its end."""
    for begin in range(0, sizes.slots, TILE):
        i = begin + tl.arange(0, TILE)
        node = tl.load(known.node + i)
        v = tl.load(v_mV + i)
        w = tl.load(tree + RIGHT * sizes.places + node)
        moved = v + (w - v) * tl.load(slow + BEYOND * sizes.slots + i)
        tl.store(v_mV + i, moved, mask=node < sizes.nodes)
        if ends & (tl.load(known.kind + 6 * tl.load(known.kind_of_tile + begin // TILE) + POOL) > 0):
            tau = tl.load(known.calcium + sizes.slots + i)
            inflow = tl.load(slow + CALCIUM_nA * sizes.slots + i) * tl.load(known.calcium + i)
            steady = tl.maximum(-inflow * tau + REST, LEAST_CALCIUM)
            x = stride_ms / tau
            keep = (12.0 - x * (6.0 - x)) / (12.0 + x * (6.0 + x))  # `membrane._keep`
            calcium = v_mV + sizes.slots + i
            tl.store(calcium, steady + (tl.load(calcium) - steady) * keep)


@triton.jit
def _milliseconds(
    known, sizes: tl.constexpr, given, room, steps, has_current: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """Some milliseconds of one cell; see `membrane.steps`."""
    cell = tl.program_id(0).to(tl.int64)
    gate = room.single + cell * ((sizes.deep + 1 + 2 * sizes.classes) * sizes.slots)
    v_mV = room.double + cell * (2 * sizes.slots)
    slow, tree = room.slow + cell * (6 * sizes.slots), room.tree + cell * (6 * sizes.places)
    last = tl.load(room.level + cell)
    # Of a millisecond of many substeps, a stride: what is slow changes after it.
    short = tl.load(known.substeps + 3).to(tl.float32) / tl.load(known.substeps + 2).to(tl.float32)
    for t in range(0, steps):
        step = cell * steps + t
        _arrive(sizes, given, step, gate + (sizes.deep + 1) * sizes.slots, TILE)
        tl.debug_barrier()
        level = tl.where(_exceeds(known, sizes, 4 * last, v_mV, gate, TILE) > 0, 1, 0)
        many, stride = tl.load(known.substeps + 2 * level), tl.load(known.substeps + 2 * level + 1)
        peak = tl.full((), LOW, tl.float64)
        for s in range(0, many):
            changes = (s == 0) & (level != last)
            which = tl.where(changes, 4 - level, level)
            which_slow = tl.where(changes, 5, tl.where(level > 0, 6, 2))
            slow_ms = tl.where(changes, 0.5 + 0.5 * short, tl.where(level > 0, short, 1.0))
            _balance(
                known, sizes, given, step, level, which, which_slow, slow_ms, s % stride == 0, many, stride,
                v_mV, gate, slow, tree, has_current, TILE,
            )  # fmt: skip
            _clear(known, sizes, tree, TILE)
            tl.debug_barrier()
            _solve(known, sizes, tree, TILE)
            _move(known, sizes, s % stride == stride - 1, stride.to(tl.float64) / many, v_mV, slow, tree, TILE)
            tl.debug_barrier()
            peak = tl.maximum(peak, tl.load(v_mV + sizes.soma))
        last = level
        for begin in range(0, sizes.slots, TILE):
            i = begin + tl.arange(0, TILE)
            original = tl.load(known.original + i)
            z = (tl.load(v_mV + i) - tl.load(known.scale + i)) * tl.load(known.scale + sizes.slots + i)
            tl.store(room.z + step * sizes.n + original, z.to(tl.float32), mask=original < sizes.n)
        tl.store(room.soma + step * 2, tl.load(v_mV + sizes.soma))
        tl.store(room.soma + step * 2 + 1, peak)
    tl.store(room.level + cell, last)


class GPUCell:
    """A cell on a device, ready for predictions.

    Args:
        known: of a twin, see `membrane.predict`.
        device: of the tensors; the CPU for Triton's interpreter.

    Raises:
        InputError: a quiet millisecond has several substeps.
    """

    def __init__(self, known: Known, device: torch.device) -> None:
        if known.substeps[0] != 1:
            few, many = known.substeps
            raise InputError(
                f"on a GPU a quiet millisecond is one step, here it has {few}; set substeps={few},{many} to 1,{many}, "
                "or let the twin compute on the CPU"
            )
        cell, learned, n = known.cell, known.learned, len(known.back)
        single, double, whole = torch.float32, torch.float64, torch.int32

        def put(array: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)

        tiles = -(-np.diff(cell.first) // TILE)
        begin = np.append(0, np.cumsum(tiles) * TILE)
        slots = int(begin[-1])
        slot = np.arange(n) + np.repeat(begin[:-1] - cell.first[:-1], np.diff(cell.first))

        def spread(array: Any, fill: float) -> np.ndarray:
            array = np.asarray(array)
            wide = np.full((*array.shape[:-1], slots), fill, array.dtype)
            wide[..., slot] = array
            return wide

        nodes = len(cell.parent)
        rounds, places = Rounds.of(cell.parent), TILE * (nodes // TILE + 2)
        order = np.append(rounds.node, 0)
        position = np.append(np.argsort(order), nodes)  # the last for a child that is not there

        def ordered(array: Any, fill: float) -> np.ndarray:
            return np.append(array, np.full(places - len(array), fill))

        bare = np.ones(places)
        bare[position[cell.node]] = 0
        substeps = np.array([(many, strides(known.substeps, level)) for level, many in enumerate(known.substeps)])
        tau_ms, per_ms = np.stack([cell.rise_ms, cell.decay_ms], 1), substeps[:, 0, None, None]
        keep = np.exp(-1.0 / per_ms / tau_ms)
        original = np.argsort(known.back)
        of_compartment = np.stack([cell.capacitance_nF, cell.leak_uS, cell.leak_nA, learned.sk_uS, learned.sk_mV])
        of_kind = [cell.gates, cell.channels, cell.quick_gates, cell.quick_channels, cell.pool, cell.sk]
        of_channel = [cell.activation, cell.power, cell.inactivation, cell.calcium, cell.fast]
        self.known = OnGPU(
            of_compartment=put(spread(of_compartment, 1.0), single),
            calcium=put(spread(np.stack([learned.calcium_gain, learned.calcium_ms]), 1.0), double),
            density_uS=put(spread(learned.density_uS, 0.0), single),
            reversal_mV=put(spread(learned.reversal_mV, 0.0), single),
            tables=put(learned.tables, single),
            kind=put(np.stack(of_kind, 1), whole),
            channel=put(np.stack(of_channel, 2), whole),
            kind_of_tile=put(np.repeat(np.arange(len(tiles)), tiles), whole),
            substeps=put(substeps, whole),
            synapse=put(np.concatenate([tau_ms * per_ms * (1.0 - keep), keep], 2), single),
            driving=put(np.stack([cell.e_mV, cell.slope], 1), single),
            block=put(cell.block, single),
            constants=put([learned.nernst_mV[0], known.threshold], single),
            scale=put(spread(np.stack([known.mean_mV, known.per_sd])[:, original], 0.0), double),
            original=put(spread(original, n), whole),
            node=put(spread(position[cell.node], nodes), whole),
            joined_uS=put(ordered(cell.joined_uS[order], 0.0), double),
            axial_uS=put(ordered(cell.axial_uS[order], 0.0), double),
            bare=put(bare, whole),
            first=put(rounds.first, whole),
            parent=put(ordered(position[rounds.parent], nodes), whole),
            child=put(ordered(position[rounds.child], nodes), whole),
        )
        self.sizes = Sizes(
            n=n, nodes=nodes, slots=slots, places=places, kinds=len(tiles), classes=len(cell.rise_ms),
            rounds=len(rounds.first) - 1, deep=learned.tables.shape[2], wide=cell.activation.shape[1],
            soma=int(slot[cell.soma]),
        )  # fmt: skip
        self.slot, self.first, self.of_class, self.at = (
            put(x, torch.int64) for x in (slot, known.first, known.classes, slot[known.at])
        )
        self.opens_uS = put(known.opens_uS[:, None] * cell.onset[known.classes], double)

    def _arrivals(self, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The first three of `Input`: what opens at one compartment in one step is one arrival."""
        cells, _, steps = counts.shape
        rows = self.sizes.classes * self.sizes.slots
        cell, one, t = counts.nonzero(as_tuple=True)
        many = (self.first[1:] - self.first[:-1])[one]
        event = torch.repeat_interleave(many)
        k = torch.arange(len(event), device=counts.device) - (many.cumsum(0) - many)[event] + self.first[one][event]
        place = (cell * steps + t)[event] * rows + self.of_class[k] * self.sizes.slots + self.at[k]
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
            counts: (cells, m, steps) input events, on the device.
            injected_nA: (cells, steps, n) by kind, or None.
            packed: (cells, ...) state, see `membrane.predict`, on the device.

        Returns:
            (cells, steps, n) z-scores, (cells, steps, 2) the soma's potential and its peak in the millisecond [mV], and
            the new state.
        """
        cells, _, steps = counts.shape
        sizes = self.sizes
        parts = [1, sizes.deep, 1, 1, 2 * sizes.classes]
        rows = packed[:, :-1].view(cells, sum(parts), sizes.n)
        v, gate, calcium, sk, synapses = rows.split(parts, 1)

        def filled(dtype: torch.dtype, fill: float, *parts: torch.Tensor) -> torch.Tensor:
            joined = torch.cat(parts, 1).to(dtype)
            wide = joined.new_full((*joined.shape[:2], sizes.slots), fill)
            wide[..., self.slot] = joined
            return wide

        def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype, device=packed.device)

        room = Room(
            # Where there is no compartment, calcium has a logarithm.
            double=filled(torch.float64, 1.0, v, calcium),
            single=filled(torch.float32, 0.0, gate, sk, synapses),
            level=packed[:, -1].int(),
            slow=empty(cells, 6, sizes.slots, dtype=torch.float32),
            tree=empty(cells, 6, sizes.places, dtype=torch.float64),
            z=empty(cells, steps, sizes.n, dtype=torch.float32),
            soma=empty(cells, steps, 2, dtype=torch.float64),
        )
        current = None if injected_nA is None else filled(torch.float64, 0.0, injected_nA)
        given = Input(*self._arrivals(counts), room.z if current is None else current)
        with torch.cuda.device_of(packed):
            _milliseconds[(cells,)](
                self.known,
                sizes,
                given,
                room,
                steps,
                has_current=current is not None,
                TILE=TILE,
                num_warps=WARPS,
            )
        double, single = room.double[..., self.slot], room.single[..., self.slot]
        v, calcium = double.split(1, 1)
        gate, sk, synapses = single.split([sizes.deep, 1, 2 * sizes.classes], 1)
        rows = torch.cat([v, gate, calcium, sk, synapses], 1).flatten(1)
        return room.z, room.soma, torch.cat([rows, room.level[:, None]], 1)
