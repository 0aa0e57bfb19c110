"""Synaptic conductances and injected current; as `integrator.synapses` on the CPU."""

from __future__ import annotations

import triton
import triton.language as tl

from dendrotwin.solver.gpu_arrays import START, STOP, SYNAPSE_BLOCK, SYNAPSE_WIDTH
from dendrotwin.solver.gpu_grid import PER_MV, V_BINS


@triton.jit
def decay_synapses(cell, sizes, level, memory, TILE: tl.constexpr):
    """Mean conductance of each class over a step without its events, and its exponentials after it."""
    old, new, work = memory.old, memory.new, memory.work
    for m in range(0, sizes.classes):
        row, of_step = cell.synapse_row + m * SYNAPSE_WIDTH, cell.synapse_step + (level * sizes.classes + m) * 4
        stop = tl.load(row + STOP)
        for begin in range(tl.load(row + START), stop, TILE):
            i = begin + tl.arange(0, TILE)
            on, own = i < stop, m * sizes.n + i
            rise, decay = tl.load(old.rise + own, mask=on, other=0.0), tl.load(old.decay + own, mask=on, other=0.0)
            tl.store(work.synaptic + own, decay * tl.load(of_step + 1) - rise * tl.load(of_step), mask=on)
            tl.store(new.rise + own, rise * tl.load(of_step + 2), mask=on)
            tl.store(new.decay + own, decay * tl.load(of_step + 3), mask=on)


@triton.jit
def _add(here, more, on):
    """Adds to some numbers in single precision."""
    tl.store(here, (tl.load(here, mask=on, other=0.0).to(tl.float64) + more).to(tl.float32), mask=on)


@triton.jit
def add_events(cell, sizes, stimulus, step, memory, TILE: tl.constexpr):
    """Adds what the events of a step open; one after the other where they come to one conductance."""
    new, work, bin_ = memory.new, memory.work, step.trial * step.blocks + step.t
    per_ms = step.steps_per_ms.to(tl.float64)
    h = 1.0 / per_ms
    stop = tl.load(stimulus.first + bin_ + 1)
    for number in range(0, tl.load(stimulus.passes + bin_)):
        for begin in range(tl.load(stimulus.first + bin_), stop, TILE):
            e = begin + tl.arange(0, TILE)
            on = e < stop
            after = tl.load(stimulus.after_ms + e, mask=on, other=0.0)
            on = on & (tl.load(stimulus.event_pass + e, mask=on, other=-1) == number)
            on = on & (tl.minimum((after * per_ms).to(tl.int32), step.steps - 1) == step.s)
            m = tl.load(stimulus.synapse_class + e, mask=on, other=0)
            uS = tl.load(stimulus.increment_uS + e, mask=on, other=0.0)
            own = m * sizes.n + tl.load(stimulus.position + e, mask=on, other=0)
            rest = (step.s + 1) * h - after
            decay_ms = tl.load(cell.synapse_ms + 2 * m + 1, mask=on, other=1.0)
            keep = tl.exp(-rest / decay_ms)
            _add(new.decay + own, uS * keep, on)
            mean = uS * decay_ms * per_ms * (1.0 - keep)
            rise_ms = tl.load(cell.synapse_ms + 2 * m, mask=on, other=0.0)
            rises = on & (rise_ms > 0.0)
            rise_ms = tl.where(rises, rise_ms, 1.0)
            keep = tl.exp(-rest / rise_ms)
            _add(new.rise + own, uS * keep, rises)
            mean -= tl.where(rises, uS * rise_ms * per_ms * (1.0 - keep), 0.0)
            _add(work.synaptic + own, mean, on)
        tl.debug_barrier()


@triton.jit
def add_injected(stimulus, step, work, TILE: tl.constexpr):
    """Adds the current of the trial's electrodes in a block."""
    stop = tl.load(stimulus.electrode_first + step.trial + 1)
    for begin in range(tl.load(stimulus.electrode_first + step.trial), stop, TILE):
        k = begin + tl.arange(0, TILE)
        on = k < stop
        at = tl.load(stimulus.electrode_position + k, mask=on, other=0)
        nA = tl.load(stimulus.current_nA + k.to(tl.int64) * step.blocks + step.t, mask=on, other=0.0)
        _add(work.inward + at, nA, on)


@triton.jit
def add_synaptic_currents(cell, sizes, tile, work, slope, inward):
    """Adds slope, and current into the cell at V, linearised about V."""
    i, at, f = tile.i, tile.v_bin, tile.v_fraction
    for m in range(0, sizes.classes):
        row = cell.synapse_row + m * SYNAPSE_WIDTH
        on = (i >= tl.load(row + START)) & (i < tl.load(row + STOP))
        g, e = tl.load(work.synaptic + m * sizes.n + i, mask=on, other=0.0), tl.load(cell.synapse_e_mV + m)
        table = tl.load(row + SYNAPSE_BLOCK)
        if table >= 0:
            entry = cell.block + (table * V_BINS + at) * 2
            change = tl.load(entry + 1)
            slope -= g * change * PER_MV * (e - tile.v)
            g *= tl.load(entry) + f * change
        slope += g
        inward += g * (e - tile.v)
    return slope, inward
