"""Steps of gates and kinetic schemes; as `integrator.gates` and `integrator.schemes` on the CPU."""

from __future__ import annotations

import triton
import triton.language as tl

from dendrotwin.cell import membrane
from dendrotwin.solver import cell_arrays
from dendrotwin.solver.gpu_arrays import GATE_WIDTH, SCHEME_WIDTH, START, STOP, covered
from dendrotwin.solver.gpu_grid import (
    C_BINS,
    PLANE_C,
    PLANE_C_STRIDE,
    PLANE_V,
    PLANE_V_STRIDE,
    V_BINS,
    between_four,
    locate_concentrations,
    on_coarse_grid,
)

OVER_V, OVER_C, OVER_VC = (tl.constexpr(getattr(cell_arrays, f"OVER_{over}")) for over in ("V", "C", "VC"))
GATE_OVER, GATE_TABLE, GATE_ION = (tl.constexpr(getattr(cell_arrays, f"GATE_{k}")) for k in ("OVER", "TABLE", "ION"))
SCHEME_SIZE, SCHEME_OVER, SCHEME_TABLE, SCHEME_ION = (
    tl.constexpr(getattr(cell_arrays, f"SCHEME_{k}")) for k in ("SIZE", "OVER", "TABLE", "ION")
)
BOTH_V, BOTH_C = tl.constexpr(len(membrane.BOTH_V_MV)), tl.constexpr(len(membrane.BOTH_C_MM))
BOTH_V_STRIDE, BOTH_C_STRIDE = tl.constexpr(membrane.BOTH_V_STRIDE), tl.constexpr(membrane.BOTH_C_STRIDE)


@triton.jit
def step_gates(cell, sizes, pair, tile, memory):
    """All gates of a tile from the middle of one step to the middle of the next."""
    i, at, f = tile.i, tile.v_bin, tile.v_fraction
    for e in range(tl.load(cell.gate_first + tile.number), tl.load(cell.gate_first + tile.number + 1)):
        row = cell.gate_row + tl.load(cell.gate_of + e) * GATE_WIDTH
        on, own = covered(row, i)
        over, table, ion = tl.load(row + GATE_OVER), tl.load(row + GATE_TABLE), tl.load(row + GATE_ION)
        if over == OVER_V:
            entry = cell.gate_v + (pair * sizes.gates_v + table) * (V_BINS * 4) + at * 4
            steady = tl.load(entry) + f * tl.load(entry + 2)
            keep = tl.load(entry + 1) + f * tl.load(entry + 3)
        else:
            _, cb, cf = locate_concentrations(sizes, memory.old.c, ion, i, on)
            if over == OVER_C:
                entry = cell.gate_c + (pair * sizes.gates_c + table) * (C_BINS * 4) + cb * 4
                steady = tl.load(entry) + cf * tl.load(entry + 2)
                keep = tl.load(entry + 1) + cf * tl.load(entry + 3)
            else:
                p, fp = on_coarse_grid(at, f, PLANE_V_STRIDE, PLANE_V)
                q, fq = on_coarse_grid(cb, cf, PLANE_C_STRIDE, PLANE_C)
                plane = cell.gate_vc + (pair * sizes.gates_vc + table) * (PLANE_C * PLANE_V * 2)
                entry = plane + (q * PLANE_V + p) * 2
                steady = between_four(entry, fp, 2, fq, PLANE_V * 2)
                keep = between_four(entry + 1, fp, 2, fq, PLANE_V * 2)
        x = tl.load(memory.old.x + own, mask=on, other=0.0)
        tl.store(memory.new.x + own, steady + (x - steady) * keep, mask=on)


@triton.jit
def step_schemes(cell, sizes, pair, tile, memory, TILE: tl.constexpr):
    """All schemes likewise: a matrix times the states of each compartment, and what flows in."""
    i, at, f = tile.i, tile.v_bin, tile.v_fraction
    new_states = memory.work.states + tl.arange(0, TILE)
    for e in range(tl.load(cell.scheme_first + tile.number), tl.load(cell.scheme_first + tile.number + 1)):
        row = cell.scheme_row + tl.load(cell.scheme_of + e) * SCHEME_WIDTH
        on, own = covered(row, i)
        size, ion = tl.load(row + SCHEME_SIZE), tl.load(row + SCHEME_ION)
        length = tl.load(row + STOP) - tl.load(row + START)
        over, entries, row_fraction = tl.load(row + SCHEME_OVER), size * (size + 1), f * 0.0
        row_distance = (over == OVER_VC).to(tl.int64) * BOTH_V * entries  # to the matrix of the next concentration
        if over == OVER_V:
            k, share = at, f
        else:
            _, cb, cf = locate_concentrations(sizes, memory.old.c, ion, i, on)
            k, share = cb, cf
            if over == OVER_VC:
                k, share = on_coarse_grid(at, f, BOTH_V_STRIDE, BOTH_V)
                row_c, row_fraction = on_coarse_grid(cb, cf, BOTH_C_STRIDE, BOTH_C)
                k += row_c * BOTH_V
        matrix = cell.scheme_matrix + pair * sizes.scheme_entries + tl.load(row + SCHEME_TABLE) + k * entries
        for p in range(0, size):
            found = between_four(matrix + p * (size + 1) + size, share, entries, row_fraction, row_distance)
            for q in range(0, size):
                x = tl.load(memory.old.x + own + q * length, mask=on, other=0.0)
                found += between_four(matrix + p * (size + 1) + q, share, entries, row_fraction, row_distance) * x
            tl.store(new_states + p * TILE, found)
        tl.debug_barrier()
        for p in range(0, size):
            tl.store(memory.new.x + own + p * length, tl.load(new_states + p * TILE), mask=on)
        tl.debug_barrier()
