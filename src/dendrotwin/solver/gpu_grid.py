"""Where potentials and concentrations lie on the grids of tables, and interpolation.

As `integrator.grid` on the CPU.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dendrotwin.cell import membrane
from dendrotwin.solver.integrator import grid

V_LOW, PER_MV, V_BINS = (tl.constexpr(x) for x in (membrane.V_LOW_MV, 1.0 / membrane.V_BIN_MV, membrane.V_BINS))
V_HIGH = tl.constexpr(float(membrane.V_GRID_MV[-1]))
LOG_C_LOW, PER_LOG_C, C_BINS = (tl.constexpr(x) for x in (grid.LOG_C_LOW, 1.0 / grid.LOG_C_BIN, membrane.C_BINS))
PLANE_V, PLANE_C = tl.constexpr(len(membrane.PLANE_V_MV)), tl.constexpr(len(membrane.PLANE_C_MM))
PLANE_V_STRIDE, PLANE_C_STRIDE = (tl.constexpr(x) for x in (membrane.PLANE_V_STRIDE, membrane.PLANE_C_STRIDE))


@triton.jit
def locate_potentials(v):
    """Bin, and how far potentials are in it."""
    p = tl.minimum(tl.maximum((v - V_LOW) * PER_MV, 0.0), V_BINS - 1.001)
    at = tl.maximum(tl.minimum(p.to(tl.int32), V_BINS - 2), 0)  # V may be NaN
    return at, (p - at).to(tl.float32)


@triton.jit
def locate_concentrations(sizes, c, ion, i, on):
    """Logarithm of concentrations, bin, and how far they are in it."""
    log = tl.log(tl.load(c + ion * sizes.n + i, mask=on, other=1.0))
    p = tl.minimum(tl.maximum((log - LOG_C_LOW) * PER_LOG_C, 0.0), C_BINS - 1.001)
    at = tl.maximum(tl.minimum(p.to(tl.int32), C_BINS - 2), 0)
    return log, at, (p - at).to(tl.float32)


@triton.jit
def on_coarse_grid(fine_bin, fraction, stride: tl.constexpr, points: tl.constexpr):
    """Where a point of a fine grid lies on one that has every `stride`-th of its points."""
    k = tl.minimum(fine_bin // stride, points - 2)
    return k, ((fine_bin - k * stride).to(tl.float32) + fraction) / stride


@triton.jit
def between(entry, fraction, distance):
    """Between an entry and the next, which is so far away."""
    low = tl.load(entry)
    return low + fraction * (tl.load(entry + distance) - low)


@triton.jit
def between_four(entry, fraction, distance, row_fraction, row_distance):
    """Between an entry and the next, and the same two of the next row."""
    low = between(entry, fraction, distance)
    return low + row_fraction * (between(entry + row_distance, fraction, distance) - low)
