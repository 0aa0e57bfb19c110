"""The steps of `integrator` on a GPU: a Triton kernel, with one program for each trial.

A program goes through the blocks of its trial by itself, so that each takes the steps that it needs and none
waits for another. Inside it the compartments of a tile run side by side, through the rows of gates, schemes and terms
that reach into the tile; and the nodes of a round of elimination. The rows are data that the program loops over: what
is compiled serves every cell.

The state is there twice. The first step of a block goes from the one to the other, further steps stay there, and
where a block has to be done again in more steps, the first still has what it started from.

Arithmetic is as precise as on the CPU: double for potentials, the tree and concentrations, single for the rest.

Without a GPU, Triton's interpreter runs the same code slowly (TRITON_INTERPRET=1), which is how it is tested.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dendrotwin.solver.gpu_arrays import Memory, Step, read_sizes, state_pointers, work_pointers
from dendrotwin.solver.gpu_currents import step_membrane
from dendrotwin.solver.gpu_grid import V_HIGH, V_LOW
from dendrotwin.solver.gpu_synapses import add_events, add_injected, decay_synapses
from dendrotwin.solver.gpu_tree import after_first, after_second, assemble, eliminate, substitute_back
from dendrotwin.solver.integrator import adaptive, implicit, state, time_loop

PER_GAMMA, LEVELS_DOWN = tl.constexpr(1.0 / implicit.GAMMA), tl.constexpr(adaptive.LEVELS_DOWN)
NO_PEAK = tl.constexpr(time_loop.NO_PEAK_MV)
LEVEL, NEXT_LEVEL, SOMA_MV, RISING = (
    tl.constexpr(getattr(state, name)) for name in ("LEVEL", "NEXT_LEVEL", "SOMA_MV", "RISING")
)
CROSSINGS, NO_CROSSING = tl.constexpr(state.CROSSINGS), tl.constexpr(state.NO_CROSSING)


@triton.jit
def _coarsest_level(cell, sizes, change, tolerance):
    """The level of the longest steps of h that have h^2 change <= tolerance, else that of the shortest steps."""
    level = 0
    many = tl.load(cell.steps_per_ms)
    while (level < sizes.levels - 1) & (change > tolerance * many * many):
        level += 1
        many = tl.load(cell.steps_per_ms + level)
    return level


@triton.jit
def _finish_step(cell, sizes, stimulus, step, memory, TILE: tl.constexpr):
    """A step after its gates and currents: synapses, injected current, the solves, potentials and pools."""
    work = memory.work
    decay_synapses(cell, sizes, step.level, memory, TILE)
    tl.debug_barrier()
    add_events(cell, sizes, stimulus, step, memory, TILE)
    add_injected(stimulus, step, work, TILE)
    assemble(cell, sizes, step.steps_per_ms.to(tl.float32) * PER_GAMMA, memory, TILE)
    tl.debug_barrier()
    eliminate(cell, sizes, work, True, TILE)
    substitute_back(cell, sizes, work, True, TILE)
    after_first(cell, sizes, memory, TILE)
    tl.debug_barrier()
    eliminate(cell, sizes, work, False, TILE)
    substitute_back(cell, sizes, work, False, TILE)
    after_second(cell, sizes, step.level, memory, TILE)
    tl.debug_barrier()


@triton.jit
def _between(sample, end, share, on):
    """Goes on from the start of a step, which is there, to where samples are on the way to its end."""
    start = tl.load(sample, mask=on, other=0.0).to(tl.float64)
    tl.store(sample, (start + share * (end - start)).to(tl.float32), mask=on)


@triton.jit
def _sample(sizes, watch, output, step, state, at_end: tl.constexpr, TILE: tl.constexpr):
    """Samples of a step: at its start what there is then; at its end, on a straight line, what there was between."""
    samples, watched = tl.load(watch.sample_first + step.blocks), tl.load(watch.watched)
    for a in range(tl.load(watch.sample_first + step.t), tl.load(watch.sample_first + step.t + 1)):
        share = tl.load(watch.sample_ms + a) * step.steps_per_ms.to(tl.float64) - step.s
        if ((share > 0.0) | (step.s == 0)) & ((share <= 1.0) | (step.s == step.steps - 1)):
            for begin in range(0, watched, TILE):
                k = begin + tl.arange(0, TILE)
                on = k < watched
                i = tl.load(watch.watched_position + k, mask=on, other=0)
                row = step.trial * samples + a
                to, v = output.sample_mV + row * watched + k, tl.load(state.v + i, mask=on, other=0.0)
                if at_end:
                    _between(to, v, share, on)
                else:
                    tl.store(to, v.to(tl.float32), mask=on)
                for r in range(0, sizes.ions):
                    to = output.sample_mM + (row * sizes.ions + r) * watched + k
                    c = tl.load(state.c + r * sizes.n + i, mask=on, other=0.0)
                    if at_end:
                        _between(to, c, share, on)
                    else:
                        tl.store(to, c.to(tl.float32), mask=on)


@triton.jit
def _end_block(sizes, watch, output, block, v, TILE: tl.constexpr):
    """Writes V at the end of a block, and what is outside of the tables."""
    watched = tl.load(watch.watched)
    for begin in range(0, watched, TILE):
        k = begin + tl.arange(0, TILE)
        on = k < watched
        i = tl.load(watch.watched_position + k, mask=on, other=0)
        tl.store(output.v_mV + block * watched + k, tl.load(v + i, mask=on, other=0.0).to(tl.float32), mask=on)
    outside, outside_mV = sizes.n, tl.full((), 0.0, tl.float64)
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        mV = tl.load(v + i, mask=i < sizes.n, other=0.0)
        first = tl.min(tl.where((mV >= V_LOW) & (mV <= V_HIGH), sizes.n, i), 0)  # neither is true of NaN
        first_mV = tl.sum(tl.where(i == first, mV, 0.0), 0)
        outside_mV = tl.where(first < outside, first_mV, outside_mV)
        outside = tl.minimum(first, outside)
    tl.store(output.outside + 2 * block, outside.to(tl.float32))
    tl.store(output.outside + 2 * block + 1, outside_mV.to(tl.float32))


@triton.jit(do_not_specialize=["blocks"])
def run(cell, stimulus, watch, batch, output, blocks, tolerance, TILE: tl.constexpr):
    """Some blocks of one trial; see `integrator.time_loop.run`.

    Args:
        cell, stimulus, watch, batch, output: `CellTensors`, `StimulusTensors`, `WatchTensors`, `BatchState` and
            `OutputTensors`, which is written.
        blocks: how many.
        tolerance: see `integrator.adaptive` [mV].
        TILE: compartments or nodes at a time.
    """
    trial = tl.program_id(0).to(tl.int64)
    sizes = read_sizes(cell)
    work, control = work_pointers(batch, sizes, trial), batch.control + 4 * trial
    current, threshold = tl.load(batch.current + trial), tl.load(watch.threshold_mV)
    last, asked = tl.load(control + LEVEL).to(tl.int32), tl.load(control + NEXT_LEVEL).to(tl.int32)
    before, rising = tl.load(control + SOMA_MV), (tl.load(control + RISING) > 0.0).to(tl.int32)
    taken = tl.load(batch.counts + 2 * trial + 1)
    tl.debug_barrier()
    for t in range(0, blocks):
        level, largest = asked, tl.full((), 0.0, tl.float32)
        many = tl.load(cell.steps_per_ms + level)
        soma, rises = before, rising
        highest, when = tl.full((), NO_PEAK, tl.float64), tl.full((), 0.0, tl.float32)
        s, crossed = 0, 0
        new, block = state_pointers(batch, sizes, trial, 1 - current), trial * blocks + t
        crossing = output.crossing_ms + block * CROSSINGS
        while s < many // sizes.blocks_per_ms:
            previous = tl.where(s == 0, last, level)
            old = state_pointers(batch, sizes, trial, tl.where(s == 0, current, 1 - current))
            memory = Memory(old, new, work)
            per_ms = 2.0 / (1.0 / many + 1.0 / tl.load(cell.steps_per_ms + previous))
            change = step_membrane(cell, sizes, previous * sizes.levels + level, per_ms, memory, TILE)
            tl.debug_barrier()
            largest = tl.maximum(largest, change)
            taken += 1
            if (level < sizes.levels - 1) & (change > tolerance * many * many):
                level = tl.maximum(_coarsest_level(cell, sizes, change, tolerance), level + 1)
                many = tl.load(cell.steps_per_ms + level)
                s, crossed = 0, 0
                largest = tl.full((), 0.0, tl.float32)
                soma, rises = before, rising
                highest, when = tl.full((), NO_PEAK, tl.float64), tl.full((), 0.0, tl.float32)
            else:
                step = Step(trial, t, blocks, level, many, s, many // sizes.blocks_per_ms)
                _sample(sizes, watch, output, step, old, False, TILE)
                _finish_step(cell, sizes, stimulus, step, memory, TILE)
                _sample(sizes, watch, output, step, new, True, TILE)
                v = tl.load(new.v + sizes.soma)
                higher = (v < soma) & (rises > 0) & (soma > highest)
                highest = tl.where(higher, soma, highest)
                when = tl.where(higher, s / many.to(tl.float32), when)
                crosses = (soma < threshold) & (v >= threshold) & (crossed < CROSSINGS)
                crossing_ms = (s + (threshold - soma) / (v - soma)) / many.to(tl.float64)
                tl.store(crossing + crossed, crossing_ms, mask=crosses)
                crossed += crosses.to(tl.int32)
                soma, rises = v, (v > soma).to(tl.int32)
                s += 1
        last, current = level, 1 - current
        asked = tl.maximum(_coarsest_level(cell, sizes, largest, tolerance), level - LEVELS_DOWN)
        before, rising = soma, rises
        tl.store(output.peak + 2 * block, highest.to(tl.float32))
        tl.store(output.peak + 2 * block + 1, when)
        for k in range(0, CROSSINGS):
            tl.store(crossing + k, tl.full((), NO_CROSSING, tl.float64), mask=k >= crossed)
        _end_block(sizes, watch, output, block, new.v, TILE)
    tl.store(batch.current + trial, current)
    tl.store(control + LEVEL, last.to(tl.float64))
    tl.store(control + NEXT_LEVEL, asked.to(tl.float64))
    tl.store(control + SOMA_MV, before)
    tl.store(control + RISING, rising.to(tl.float64))
    tl.store(batch.counts + 2 * trial, tl.load(batch.counts + 2 * trial) + blocks)
    tl.store(batch.counts + 2 * trial + 1, taken)
