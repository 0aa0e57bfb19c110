"""The implicit step of the potentials on the tree, and the pools; as `integrator.implicit` and `pools` on the CPU.

The tree is eliminated in rounds of nodes that do not touch (`axial.EliminationRounds`), so that the nodes of a round
run side by side.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dendrotwin.solver.gpu_arrays import Tile
from dendrotwin.solver.gpu_grid import locate_potentials
from dendrotwin.solver.gpu_synapses import add_synaptic_currents
from dendrotwin.solver.integrator import implicit, pools

SECOND_WEIGHT, SMALLEST_MM = tl.constexpr(implicit.SECOND_WEIGHT), tl.constexpr(pools.SMALLEST_MM)


@triton.jit
def assemble(cell, sizes, per_gamma_ms, memory, TILE: tl.constexpr):
    """Diagonal and right side of the tree; C / (gamma h) stays in `work.slope`."""
    old, work = memory.old, memory.work
    for begin in range(0, sizes.nodes, TILE):
        k = begin + tl.arange(0, TILE)
        inside = k < sizes.nodes
        nothing = tl.zeros((TILE,), tl.float64)
        tl.store(work.diagonal + k, nothing, mask=inside)
        tl.store(work.right + k, nothing, mask=inside)
        tl.store(work.right_from_parent + k, nothing, mask=inside)
        tl.store(work.from_parent + k, tl.load(cell.axial_sum_uS + k, mask=inside, other=0.0), mask=inside)
        tl.store(work.axial + k, tl.load(cell.axial_uS + k, mask=inside, other=0.0), mask=inside)
    tl.debug_barrier()
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        v = tl.load(old.v + i, mask=inside, other=0.0)
        v_bin, v_fraction = locate_potentials(v)
        tile = Tile(begin // TILE, i, v.to(tl.float32), v_bin, v_fraction)
        slope = tl.load(work.slope + i, mask=inside, other=0.0)
        inward = tl.load(work.inward + i, mask=inside, other=0.0)
        slope, inward = add_synaptic_currents(cell, sizes, tile, work, slope, inward)
        capacitive = tl.load(cell.capacitance_nF + i, mask=inside, other=1.0) * per_gamma_ms
        # However strong the feedback of a current, it at most doubles what the capacitance alone would let V move.
        own = tl.maximum(slope + capacitive, 0.5 * capacitive)
        node = tl.load(cell.node + i, mask=inside, other=0)
        tl.store(work.diagonal + node, own.to(tl.float64), mask=inside)
        tl.store(work.right + node, inward + own * v, mask=inside)
        tl.store(work.slope + i, capacitive, mask=inside)


@triton.jit
def eliminate(cell, sizes, work, factorise: tl.constexpr, TILE: tl.constexpr):
    """Every node passes on what it has to its neighbours, round after round; with its conductances, or by what these
    have left."""
    for r in range(0, sizes.rounds):
        stop = tl.load(cell.round_first + r + 1)
        for begin in range(tl.load(cell.round_first + r), stop, TILE):
            k = begin + tl.arange(0, TILE)
            on = k < stop
            p, c = tl.load(cell.parent + k, mask=on, other=0), tl.load(cell.child + k, mask=on, other=-1)
            has = on & (c >= 0)
            # No two of a round have one parent, nor one child, so that none of these sums has two who add at once.
            up = tl.load(work.axial + k, mask=on, other=0.0)
            if factorise:
                down = tl.load(work.axial + c, mask=has, other=0.0)
                diagonal = tl.load(work.diagonal + k, mask=on, other=1.0)
                inverse = 1.0 / (diagonal + tl.load(work.from_parent + k, mask=on, other=0.0))
                of_parent = tl.load(work.diagonal + p, mask=on, other=0.0) - up * up * inverse
                of_child = tl.load(work.from_parent + c, mask=has, other=0.0) - down * down * inverse
                tl.store(work.diagonal + k, inverse, mask=on)
                tl.store(work.to_child + k, down, mask=on)
                tl.store(work.diagonal + p, of_parent, mask=on)
                tl.store(work.from_parent + c, of_child, mask=has)
                tl.store(work.axial + c, down * up * inverse, mask=has)
            else:
                inverse = tl.load(work.diagonal + k, mask=on, other=0.0)
                down = tl.load(work.to_child + k, mask=on, other=0.0)
            right = tl.load(work.right + k, mask=on, other=0.0)
            right += tl.load(work.right_from_parent + k, mask=on, other=0.0)
            right_of_parent = tl.load(work.right + p, mask=on, other=0.0) + up * inverse * right
            right_of_child = tl.load(work.right_from_parent + c, mask=has, other=0.0) + down * inverse * right
            tl.store(work.right + k, right, mask=on)
            tl.store(work.right + p, right_of_parent, mask=on)
            tl.store(work.right_from_parent + c, right_of_child, mask=has)
        tl.debug_barrier()


@triton.jit
def substitute_back(cell, sizes, work, factorise: tl.constexpr, TILE: tl.constexpr):
    """The root's solution, and then, backwards, that of each node from its neighbours; in `right`."""
    root = sizes.nodes - 1
    inverse, right = tl.load(work.diagonal + root), tl.load(work.right + root)
    if factorise:
        inverse = 1.0 / (inverse + tl.load(work.from_parent + root))
    tl.debug_barrier()
    tl.store(work.diagonal + root, inverse)
    tl.store(work.right + root, right * inverse)
    tl.debug_barrier()
    for back in range(0, sizes.rounds):
        stop = tl.load(cell.round_first + sizes.rounds - back)
        for begin in range(tl.load(cell.round_first + sizes.rounds - back - 1), stop, TILE):
            k = begin + tl.arange(0, TILE)
            on = k < stop
            p, c = tl.load(cell.parent + k, mask=on, other=0), tl.load(cell.child + k, mask=on, other=-1)
            w = tl.load(work.right + k, mask=on, other=0.0)
            w += tl.load(work.axial + k, mask=on, other=0.0) * tl.load(work.right + p, mask=on, other=0.0)
            below = tl.load(work.right + c, mask=on & (c >= 0), other=0.0)
            w += tl.load(work.to_child + k, mask=on, other=0.0) * below
            tl.store(work.right + k, w * tl.load(work.diagonal + k, mask=on, other=0.0), mask=on)
        tl.debug_barrier()


@triton.jit
def after_first(cell, sizes, memory, TILE: tl.constexpr):
    """What the first solve has changed, and the right side of the second."""
    old, work = memory.old, memory.work
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        node = tl.load(cell.node + i, mask=inside, other=0)
        change = tl.load(work.right + node, mask=inside, other=0.0) - tl.load(old.v + i, mask=inside, other=0.0)
        tl.store(work.change + i, change, mask=inside)
    tl.debug_barrier()
    for begin in range(0, sizes.nodes, TILE):
        k = begin + tl.arange(0, TILE)
        tl.store(work.right + k, tl.zeros((TILE,), tl.float64), mask=k < sizes.nodes)
        tl.store(work.right_from_parent + k, tl.zeros((TILE,), tl.float64), mask=k < sizes.nodes)
    tl.debug_barrier()
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        node = tl.load(cell.node + i, mask=inside, other=0)
        capacitive = tl.load(work.slope + i, mask=inside, other=0.0)
        tl.store(work.right + node, capacitive * tl.load(work.change + i, mask=inside, other=0.0), mask=inside)


@triton.jit
def after_second(cell, sizes, level, memory, TILE: tl.constexpr):
    """The new potentials, and the pools, which the current in the middle of the step fills."""
    old, new, work = memory.old, memory.new, memory.work
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        node = tl.load(cell.node + i, mask=inside, other=0)
        change = tl.load(work.change + i, mask=inside, other=0.0)
        change += SECOND_WEIGHT * tl.load(work.right + node, mask=inside, other=0.0)
        tl.store(new.v + i, tl.load(old.v + i, mask=inside, other=0.0) + change, mask=inside)
        for r in range(0, sizes.ions):
            own, of_step = r * sizes.n + i, (level * sizes.ions + r) * sizes.n + i
            nA = tl.load(work.ion_slope + own, mask=inside, other=0.0) * (0.5 * change)
            nA -= tl.load(work.ion_inward + own, mask=inside, other=0.0)
            gain_in = tl.load(cell.gain_in + own, mask=inside, other=0.0)
            gain = tl.where(nA < 0.0, gain_in, tl.load(cell.gain_out + own, mask=inside, other=0.0))
            c = tl.load(old.c + own, mask=inside, other=1.0)
            decay = tl.load(cell.pool_decay + of_step, mask=inside, other=0.0)
            inflow_ms = tl.load(cell.pool_inflow_ms + of_step, mask=inside, other=0.0)
            c += (tl.load(cell.rest_mM + own, mask=inside, other=0.0) - c) * decay + gain * nA * inflow_ms
            tl.store(new.c + own, tl.maximum(c, SMALLEST_MM), mask=inside)
