"""The steps of `integrator` on a GPU: a Triton kernel, with one program for each trial.

A program goes through the milliseconds of its trial by itself, so that each takes the steps that it needs and none
waits for another. Inside it the compartments of a tile run side by side, through the rows of gates, schemes and terms
that reach into the tile; and the nodes of a round of elimination. The rows are data that the program loops over: what
is compiled serves every cell.

The state is there twice. The first step of a millisecond goes from the one to the other, further steps stay there, and
where a millisecond has to be done again in more steps, the first still has what it started from.

Arithmetic is as precise as on the CPU: double for potentials, the tree and concentrations, single for the rest.

Without a GPU, Triton's interpreter runs the same code slowly (TRITON_INTERPRET=1), which is how it is tested.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dendrotwin.solver.gpu_arrays import Memory, Step, read_sizes, state_pointers, work_pointers
from dendrotwin.solver.gpu_currents import step_membrane
from dendrotwin.solver.gpu_synapses import add_events, add_injected, decay_synapses
from dendrotwin.solver.gpu_tree import after_first, after_second, assemble, eliminate, substitute_back
from dendrotwin.solver.integrator import adaptive, implicit, state, time_loop

PER_GAMMA, LEVELS_DOWN = tl.constexpr(1.0 / implicit.GAMMA), tl.constexpr(adaptive.LEVELS_DOWN)
NO_PEAK = tl.constexpr(time_loop.NO_PEAK_MV)
LEVEL, NEXT_LEVEL, SOMA_MV, RISING = (
    tl.constexpr(getattr(state, name)) for name in ("LEVEL", "NEXT_LEVEL", "SOMA_MV", "RISING")
)


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


@triton.jit(do_not_specialize=["duration"])
def run(cell, stimulus, batch, v_out, peak_out, duration, tolerance, TILE: tl.constexpr):
    """Some milliseconds of one trial; see `integrator.time_loop.run`.

    Args:
        cell, stimulus, batch: `CellTensors`, `StimulusTensors` and `BatchState`.
        v_out: (trials, duration, n) gets V at the end of each millisecond, in the order of the tree [mV].
        peak_out: (trials, duration, 2) gets the highest local maximum of the soma's potential that ended in it, and
            when that was after its start [ms].
        duration: how many milliseconds.
        tolerance: see `integrator.adaptive` [mV].
        TILE: compartments or nodes at a time.
    """
    trial = tl.program_id(0).to(tl.int64)
    sizes = read_sizes(cell)
    work, control = work_pointers(batch, sizes, trial), batch.control + 4 * trial
    current = tl.load(batch.current + trial)
    last, asked = tl.load(control + LEVEL).to(tl.int32), tl.load(control + NEXT_LEVEL).to(tl.int32)
    before, rising = tl.load(control + SOMA_MV), (tl.load(control + RISING) > 0.0).to(tl.int32)
    taken = tl.load(batch.counts + 2 * trial + 1)
    tl.debug_barrier()
    for t in range(0, duration):
        level, largest = asked, tl.full((), 0.0, tl.float32)
        many = tl.load(cell.steps_per_ms + level)
        soma, rises = before, rising
        highest, when = tl.full((), NO_PEAK, tl.float64), tl.full((), 0.0, tl.float32)
        s = 0
        new = state_pointers(batch, sizes, trial, 1 - current)
        while s < many:
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
                s = 0
                largest = tl.full((), 0.0, tl.float32)
                soma, rises = before, rising
                highest, when = tl.full((), NO_PEAK, tl.float64), tl.full((), 0.0, tl.float32)
            else:
                _finish_step(cell, sizes, stimulus, Step(trial, t, duration, level, many, s), memory, TILE)
                v = tl.load(new.v + sizes.soma)
                higher = (v < soma) & (rises > 0) & (soma > highest)
                highest = tl.where(higher, soma, highest)
                when = tl.where(higher, s / many.to(tl.float32), when)
                soma, rises = v, (v > soma).to(tl.int32)
                s += 1
        last, current = level, 1 - current
        asked = tl.maximum(_coarsest_level(cell, sizes, largest, tolerance), level - LEVELS_DOWN)
        before, rising = soma, rises
        tl.store(peak_out + (trial * duration + t) * 2, highest.to(tl.float32))
        tl.store(peak_out + (trial * duration + t) * 2 + 1, when)
        for begin in range(0, sizes.n, TILE):
            i = begin + tl.arange(0, TILE)
            inside = i < sizes.n
            to = (trial * duration + t) * sizes.n + tl.load(cell.compartment + i, mask=inside, other=0)
            tl.store(v_out + to, tl.load(new.v + i, mask=inside, other=0.0).to(tl.float32), mask=inside)
    tl.store(batch.current + trial, current)
    tl.store(control + LEVEL, last.to(tl.float64))
    tl.store(control + NEXT_LEVEL, asked.to(tl.float64))
    tl.store(control + SOMA_MV, before)
    tl.store(control + RISING, rising.to(tl.float64))
    tl.store(batch.counts + 2 * trial, tl.load(batch.counts + 2 * trial) + duration)
    tl.store(batch.counts + 2 * trial + 1, taken)
