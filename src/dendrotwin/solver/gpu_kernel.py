"""The steps of `solver.steps` on a GPU: a Triton kernel, with one program for each cell.

A program goes through the milliseconds of its cell alone, so that each cell takes the steps that it needs and none
waits for another. Inside it the compartments of a tile run side by side, through the rows of gates, schemes and terms
that reach into the tile; and the nodes of a round of `solve.Rounds`. The rows are data that the program loops over:
what is compiled serves every cell.

The state is there twice. The first step of a millisecond goes from the one half to the other, further steps stay
there, and where a millisecond has to be done again in more steps, the first half still has what it started from.

Arithmetic is as precise as on the CPU: double for potentials, the tree and concentrations, single for the rest.

Without a GPU, Triton's interpreter runs the same code slowly (TRITON_INTERPRET=1), which is how it is tested.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dendrotwin.solver import steps
from dendrotwin.solver.gpu_membrane import (
    BINS,
    CLASS_BLOCK,
    CLASS_WIDE,
    LEAST_MM,
    PER_MV,
    START,
    STOP,
    Sizes,
    currents,
    half_of,
    place,
    room_of,
)

PER_GAMMA, SHARE = tl.constexpr(1.0 / steps.GAMMA), tl.constexpr(steps.SHARE)
NO_PEAK, DOWN = tl.constexpr(steps.NO_PEAK_MV), tl.constexpr(steps.DOWN)


@triton.jit
def _sizes(known):
    s = known.sizes
    return Sizes(
        tl.load(s), tl.load(s + 1), tl.load(s + 2), tl.load(s + 3), tl.load(s + 4), tl.load(s + 5), tl.load(s + 6),
        tl.load(s + 7), tl.load(s + 8), tl.load(s + 9), tl.load(s + 10), tl.load(s + 11), tl.load(s + 12),
        tl.load(s + 13), tl.load(s + 14), tl.load(s + 15), tl.load(s + 16), tl.load(s + 17), tl.load(s + 18),
    )  # fmt: skip


@triton.jit
def _decay(known, sizes, level, was, now, room, TILE: tl.constexpr):
    """Mean conductance of each class over a step without its events, and its exponentials after it."""
    for m in range(0, sizes.classes):
        row, of_step = known.class_row + m * CLASS_WIDE, known.class_step + (level * sizes.classes + m) * 4
        stop = tl.load(row + STOP)
        for begin in range(tl.load(row + START), stop, TILE):
            i = begin + tl.arange(0, TILE)
            on, own = i < stop, m * sizes.n + i
            up, down = tl.load(was.rise + own, mask=on, other=0.0), tl.load(was.decay + own, mask=on, other=0.0)
            tl.store(room.mean + own, down * tl.load(of_step + 1) - up * tl.load(of_step), mask=on)
            tl.store(now.rise + own, up * tl.load(of_step + 2), mask=on)
            tl.store(now.decay + own, down * tl.load(of_step + 3), mask=on)


@triton.jit
def _add(here, more, on):
    """Adds to some numbers in single precision."""
    tl.store(here, (tl.load(here, mask=on, other=0.0).to(tl.float64) + more).to(tl.float32), mask=on)


@triton.jit
def _arrive(known, sizes, given, t, s, many, now, room, TILE: tl.constexpr):
    """Adds what the events of a step open; one after the other where they come to one place."""
    per_ms = many.to(tl.float64)
    h = 1.0 / per_ms
    stop = tl.load(given.first + t + 1)
    for turn in range(0, tl.load(given.most + t)):
        for begin in range(tl.load(given.first + t), stop, TILE):
            e = begin + tl.arange(0, TILE)
            on = e < stop
            after = tl.load(given.after_ms + e, mask=on, other=0.0)
            on = on & (tl.load(given.turn + e, mask=on, other=-1) == turn)
            on = on & (tl.minimum((after * per_ms).to(tl.int32), many - 1) == s)
            m, uS = tl.load(given.kind + e, mask=on, other=0), tl.load(given.uS + e, mask=on, other=0.0)
            own = m * sizes.n + tl.load(given.at + e, mask=on, other=0)
            rest = (s + 1) * h - after
            decay_ms = tl.load(known.class_ms + 2 * m + 1, mask=on, other=1.0)
            less = tl.exp(-rest / decay_ms)
            _add(now.decay + own, uS * less, on)
            mean = uS * decay_ms * per_ms * (1.0 - less)
            rise_ms = tl.load(known.class_ms + 2 * m, mask=on, other=0.0)
            rises = on & (rise_ms > 0.0)
            rise_ms = tl.where(rises, rise_ms, 1.0)
            less = tl.exp(-rest / rise_ms)
            _add(now.rise + own, uS * less, rises)
            mean -= tl.where(rises, uS * rise_ms * per_ms * (1.0 - less), 0.0)
            _add(room.mean + own, mean, on)
        tl.debug_barrier()


@triton.jit
def _inject(given, cell, t, steps, room, TILE: tl.constexpr):
    """Adds the current of the cell's electrodes in a millisecond."""
    stop = tl.load(given.electrode_first + cell + 1)
    for begin in range(tl.load(given.electrode_first + cell), stop, TILE):
        k = begin + tl.arange(0, TILE)
        on = k < stop
        at = tl.load(given.electrode_at + k, mask=on, other=0)
        nA = tl.load(given.current_nA + k.to(tl.int64) * steps + t, mask=on, other=0.0)
        _add(room.inward + at, nA, on)


@triton.jit
def _synapses(known, sizes, i, v, at, f, room, total, inward):
    """Adds synaptic conductance and current, linearised about V."""
    for m in range(0, sizes.classes):
        row = known.class_row + m * CLASS_WIDE
        on = (i >= tl.load(row + START)) & (i < tl.load(row + STOP))
        g, e = tl.load(room.mean + m * sizes.n + i, mask=on, other=0.0), tl.load(known.class_e + m)
        table = tl.load(row + CLASS_BLOCK)
        if table >= 0:
            entry = known.block + (table * BINS + at) * 2
            gain = tl.load(entry + 1)
            total -= g * gain * PER_MV * (e - v)
            g *= tl.load(entry) + f * gain
        total += g
        inward += g * (e - v)
    return total, inward


@triton.jit
def _balance(known, sizes, per_gamma_ms, was, room, TILE: tl.constexpr):
    """Diagonal and right side of the tree; C / (gamma h) stays in `total`."""
    for begin in range(0, sizes.nodes, TILE):
        k = begin + tl.arange(0, TILE)
        inside = k < sizes.nodes
        nothing = tl.zeros((TILE,), tl.float64)
        tl.store(room.diagonal + k, nothing, mask=inside)
        tl.store(room.right + k, nothing, mask=inside)
        tl.store(room.right_from_parent + k, nothing, mask=inside)
        tl.store(room.from_parent + k, tl.load(known.joined_uS + k, mask=inside, other=0.0), mask=inside)
        tl.store(room.axial + k, tl.load(known.axial_uS + k, mask=inside, other=0.0), mask=inside)
    tl.debug_barrier()
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        v = tl.load(was.v + i, mask=inside, other=0.0)
        at, f = place(v)
        total = tl.load(room.total + i, mask=inside, other=0.0)
        inward = tl.load(room.inward + i, mask=inside, other=0.0)
        total, inward = _synapses(known, sizes, i, v.to(tl.float32), at, f, room, total, inward)
        by_step = tl.load(known.capacitance_nF + i, mask=inside, other=1.0) * per_gamma_ms
        # However fast a current runs away, it at most doubles what the capacitance alone would let V move.
        own = tl.maximum(total + by_step, 0.5 * by_step)
        node = tl.load(known.node + i, mask=inside, other=0)
        tl.store(room.diagonal + node, own.to(tl.float64), mask=inside)
        tl.store(room.right + node, inward + own * v, mask=inside)
        tl.store(room.total + i, by_step, mask=inside)


@triton.jit
def _down(known, sizes, room, eliminate: tl.constexpr, TILE: tl.constexpr):
    """Every node passes on what it has to its neighbours, round after round; with its conductances, or by what these
    have left."""
    for r in range(0, sizes.rounds):
        stop = tl.load(known.round_first + r + 1)
        for begin in range(tl.load(known.round_first + r), stop, TILE):
            k = begin + tl.arange(0, TILE)
            on = k < stop
            p, c = tl.load(known.parent + k, mask=on, other=0), tl.load(known.child + k, mask=on, other=-1)
            has = on & (c >= 0)
            # No two of a round have one parent, nor one child, so that none of these sums has two who add at once.
            up = tl.load(room.axial + k, mask=on, other=0.0)
            if eliminate:
                down = tl.load(room.axial + c, mask=has, other=0.0)
                diagonal = tl.load(room.diagonal + k, mask=on, other=1.0)
                inverse = 1.0 / (diagonal + tl.load(room.from_parent + k, mask=on, other=0.0))
                of_parent = tl.load(room.diagonal + p, mask=on, other=0.0) - up * up * inverse
                of_child = tl.load(room.from_parent + c, mask=has, other=0.0) - down * down * inverse
                tl.store(room.diagonal + k, inverse, mask=on)
                tl.store(room.to_child + k, down, mask=on)
                tl.store(room.diagonal + p, of_parent, mask=on)
                tl.store(room.from_parent + c, of_child, mask=has)
                tl.store(room.axial + c, down * up * inverse, mask=has)
            else:
                inverse = tl.load(room.diagonal + k, mask=on, other=0.0)
                down = tl.load(room.to_child + k, mask=on, other=0.0)
            right = tl.load(room.right + k, mask=on, other=0.0)
            right += tl.load(room.right_from_parent + k, mask=on, other=0.0)
            right_of_parent = tl.load(room.right + p, mask=on, other=0.0) + up * inverse * right
            right_of_child = tl.load(room.right_from_parent + c, mask=has, other=0.0) + down * inverse * right
            tl.store(room.right + k, right, mask=on)
            tl.store(room.right + p, right_of_parent, mask=on)
            tl.store(room.right_from_parent + c, right_of_child, mask=has)
        tl.debug_barrier()


@triton.jit
def _up(known, sizes, room, eliminate: tl.constexpr, TILE: tl.constexpr):
    """The root's potential, and then, backwards, what each node hears from its neighbours; in `right`."""
    root = sizes.nodes - 1
    inverse, right = tl.load(room.diagonal + root), tl.load(room.right + root)
    if eliminate:
        inverse = 1.0 / (inverse + tl.load(room.from_parent + root))
    tl.debug_barrier()
    tl.store(room.diagonal + root, inverse)
    tl.store(room.right + root, right * inverse)
    tl.debug_barrier()
    for back in range(0, sizes.rounds):
        stop = tl.load(known.round_first + sizes.rounds - back)
        for begin in range(tl.load(known.round_first + sizes.rounds - back - 1), stop, TILE):
            k = begin + tl.arange(0, TILE)
            on = k < stop
            p, c = tl.load(known.parent + k, mask=on, other=0), tl.load(known.child + k, mask=on, other=-1)
            w = tl.load(room.right + k, mask=on, other=0.0)
            w += tl.load(room.axial + k, mask=on, other=0.0) * tl.load(room.right + p, mask=on, other=0.0)
            below = tl.load(room.right + c, mask=on & (c >= 0), other=0.0)
            w += tl.load(room.to_child + k, mask=on, other=0.0) * below
            tl.store(room.right + k, w * tl.load(room.diagonal + k, mask=on, other=0.0), mask=on)
        tl.debug_barrier()


@triton.jit
def _once_more(known, sizes, was, room, TILE: tl.constexpr):
    """What the first solve moved, and the right side of the second."""
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        node = tl.load(known.node + i, mask=inside, other=0)
        moved = tl.load(room.right + node, mask=inside, other=0.0) - tl.load(was.v + i, mask=inside, other=0.0)
        tl.store(room.moved + i, moved, mask=inside)
    tl.debug_barrier()
    for begin in range(0, sizes.nodes, TILE):
        k = begin + tl.arange(0, TILE)
        tl.store(room.right + k, tl.zeros((TILE,), tl.float64), mask=k < sizes.nodes)
        tl.store(room.right_from_parent + k, tl.zeros((TILE,), tl.float64), mask=k < sizes.nodes)
    tl.debug_barrier()
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        node = tl.load(known.node + i, mask=inside, other=0)
        by_step = tl.load(room.total + i, mask=inside, other=0.0)
        tl.store(room.right + node, by_step * tl.load(room.moved + i, mask=inside, other=0.0), mask=inside)


@triton.jit
def _move(known, sizes, level, was, now, room, TILE: tl.constexpr):
    """The new potentials, and the pools, which the current in the middle of the step fills."""
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        node = tl.load(known.node + i, mask=inside, other=0)
        moved = tl.load(room.moved + i, mask=inside, other=0.0)
        moved += SHARE * tl.load(room.right + node, mask=inside, other=0.0)
        tl.store(now.v + i, tl.load(was.v + i, mask=inside, other=0.0) + moved, mask=inside)
        for r in range(0, sizes.ions):
            own, of_step = r * sizes.n + i, (level * sizes.ions + r) * sizes.n + i
            nA = tl.load(room.ion_g + own, mask=inside, other=0.0) * (0.5 * moved)
            nA -= tl.load(room.ion_j + own, mask=inside, other=0.0)
            gain_in = tl.load(known.gain_in + own, mask=inside, other=0.0)
            gain = tl.where(nA < 0.0, gain_in, tl.load(known.gain_out + own, mask=inside, other=0.0))
            c = tl.load(was.c + own, mask=inside, other=1.0)
            less = tl.load(known.pool_less + of_step, mask=inside, other=0.0)
            filled = tl.load(known.pool_filled + of_step, mask=inside, other=0.0)
            c += (tl.load(known.rest_mM + own, mask=inside, other=0.0) - c) * less + gain * nA * filled
            tl.store(now.c + own, tl.maximum(c, LEAST_MM), mask=inside)


@triton.jit
def _level_for(known, sizes, worst, tolerance):
    """The coarsest level whose step h has h^2 worst <= tolerance."""
    level = 0
    many = tl.load(known.many)
    while (level < sizes.levels - 1) & (worst > tolerance * many * many):
        level += 1
        many = tl.load(known.many + level)
    return level


@triton.jit
def _step(known, sizes, given, cell, t, steps, level, many, s, was, now, room, TILE: tl.constexpr):
    """A step after its gates and terms: synapses, injected current, the solves, potentials and pools."""
    _decay(known, sizes, level, was, now, room, TILE)
    tl.debug_barrier()
    _arrive(known, sizes, given, cell * steps + t, s, many, now, room, TILE)
    _inject(given, cell, t, steps, room, TILE)
    _balance(known, sizes, many.to(tl.float32) * PER_GAMMA, was, room, TILE)
    tl.debug_barrier()
    _down(known, sizes, room, True, TILE)
    _up(known, sizes, room, True, TILE)
    _once_more(known, sizes, was, room, TILE)
    tl.debug_barrier()
    _down(known, sizes, room, False, TILE)
    _up(known, sizes, room, False, TILE)
    _move(known, sizes, level, was, now, room, TILE)
    tl.debug_barrier()


@triton.jit(do_not_specialize=["steps"])
def milliseconds(known, given, batch, v_out, peak_out, steps, tolerance, TILE: tl.constexpr):
    """Some milliseconds of one cell; see `solver.steps.run`.

    Args:
        known, given, batch: see there.
        v_out: (cells, steps, n) gets V at the end of each millisecond, in the order of the tree [mV].
        peak_out: (cells, steps, 2) gets the highest local maximum of the soma's potential that ended in it, and when
            that was after its start [ms].
        steps: how many.
        tolerance: see `solver.steps` [mV].
        TILE: compartments or nodes at a time.
    """
    cell = tl.program_id(0).to(tl.int64)
    sizes = _sizes(known)
    room, course = room_of(batch, sizes, cell), batch.course + 4 * cell
    half = tl.load(batch.half + cell)
    last, asked = tl.load(course).to(tl.int32), tl.load(course + 1).to(tl.int32)
    before, rising = tl.load(course + 2), (tl.load(course + 3) > 0.0).to(tl.int32)
    solves = tl.load(batch.counts + 2 * cell + 1)
    tl.debug_barrier()
    for t in range(0, steps):
        level, worst = asked, tl.full((), 0.0, tl.float32)
        many = tl.load(known.many + level)
        soma, rises = before, rising
        highest, when = tl.full((), NO_PEAK, tl.float64), tl.full((), 0.0, tl.float32)
        s = 0
        now = half_of(batch, sizes, cell, 1 - half)
        while s < many:
            previous = tl.where(s == 0, last, level)
            was = half_of(batch, sizes, cell, tl.where(s == 0, half, 1 - half))
            per_ms = 2.0 / (1.0 / many + 1.0 / tl.load(known.many + previous))
            a = currents(known, sizes, previous * sizes.levels + level, per_ms, was, now, room, TILE)
            tl.debug_barrier()
            worst = tl.maximum(worst, a)
            solves += 1
            if (level < sizes.levels - 1) & (a > tolerance * many * many):
                level = tl.maximum(_level_for(known, sizes, a, tolerance), level + 1)
                many = tl.load(known.many + level)
                s = 0
                worst = tl.full((), 0.0, tl.float32)
                soma, rises = before, rising
                highest, when = tl.full((), NO_PEAK, tl.float64), tl.full((), 0.0, tl.float32)
            else:
                _step(known, sizes, given, cell, t, steps, level, many, s, was, now, room, TILE)
                v = tl.load(now.v + sizes.soma)
                higher = (v < soma) & (rises > 0) & (soma > highest)
                highest = tl.where(higher, soma, highest)
                when = tl.where(higher, s / many.to(tl.float32), when)
                soma, rises = v, (v > soma).to(tl.int32)
                s += 1
        last, half = level, 1 - half
        asked = tl.maximum(_level_for(known, sizes, worst, tolerance), level - DOWN)
        before, rising = soma, rises
        tl.store(peak_out + (cell * steps + t) * 2, highest.to(tl.float32))
        tl.store(peak_out + (cell * steps + t) * 2 + 1, when)
        for begin in range(0, sizes.n, TILE):
            i = begin + tl.arange(0, TILE)
            inside = i < sizes.n
            to = (cell * steps + t) * sizes.n + tl.load(known.compartment + i, mask=inside, other=0)
            tl.store(v_out + to, tl.load(now.v + i, mask=inside, other=0.0).to(tl.float32), mask=inside)
    tl.store(batch.half + cell, half)
    tl.store(course, last.to(tl.float64))
    tl.store(course + 1, asked.to(tl.float64))
    tl.store(course + 2, before)
    tl.store(course + 3, rising.to(tl.float64))
    tl.store(batch.counts + 2 * cell, tl.load(batch.counts + 2 * cell) + steps)
    tl.store(batch.counts + 2 * cell + 1, solves)
