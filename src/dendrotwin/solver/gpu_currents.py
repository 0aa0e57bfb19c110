"""Sums over all ionic currents, and the curvature of V that they make.

As `integrator.currents` and `integrator.adaptive` on the CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from dendrotwin.solver import cell_arrays
from dendrotwin.solver.gpu_arrays import START, STATE_WIDTH, STOP, TERM_WIDTH, Tile, covered
from dendrotwin.solver.gpu_gates import step_gates, step_schemes
from dendrotwin.solver.gpu_grid import (
    PER_MV,
    PLANE_C,
    PLANE_C_STRIDE,
    PLANE_V,
    PLANE_V_STRIDE,
    V_BINS,
    between,
    locate_concentrations,
    locate_potentials,
    on_coarse_grid,
)
from dendrotwin.solver.integrator import currents

FIXED_E, NERNST_E, TABLE_V_LINEAR_C, TABLE_VC = (
    tl.constexpr(getattr(cell_arrays, name)) for name in ("FIXED_E", "NERNST_E", "TABLE_V_LINEAR_C", "TABLE_VC")
)
TERM_STATES, TERM_DRIVE, TERM_TABLE, TERM_ION, TERM_C_ION = (
    tl.constexpr(getattr(cell_arrays, f"TERM_{k}")) for k in ("STATES", "DRIVE", "TABLE", "ION", "C_ION")
)
STATE_OFFSET, STATE_SENSITIVITY, STATE_SCHEME_SIZE, STATE_SCHEME_OFFSET = (
    tl.constexpr(getattr(cell_arrays, f"STATE_{k}")) for k in ("OFFSET", "SENSITIVITY", "SCHEME_SIZE", "SCHEME_OFFSET")
)
STATE_INTEGER_POWER = tl.constexpr(4)  # a power from 1 to 4, else 0
SMALLEST_GATE = tl.constexpr(float(currents.SMALLEST_GATE))


class TermRow(NamedTuple):
    """A term in a tile.

    Attributes:
        number, row: of the term, and where its row begins.
        on, own: whether it covers each compartment, and where its conductances are.
        start, states: position where it begins, and how many states it has.
    """

    number: Any
    row: Any
    on: Any
    own: Any
    start: Any
    states: Any


@triton.jit
def _open_conductance(cell, sizes, term, tile, x):
    """g_max prod(x^p)."""
    g = tl.load(cell.g_max + term.own, mask=term.on, other=0.0)
    for k in range(0, term.states):
        state = cell.state + (term.number * sizes.term_states + k) * STATE_WIDTH
        y = tl.load(x + tl.load(state + STATE_OFFSET) + tile.i - term.start, mask=term.on, other=1.0)
        power, product = tl.load(state + STATE_INTEGER_POWER), y
        for _ in range(1, power):
            product *= y
        if power == 0:
            exponent = tl.load(cell.power + term.number * sizes.term_states + k)
            product = tl.exp2(exponent * tl.log2(tl.maximum(y, 0.0)))
        g *= product
    return g


@triton.jit
def _driving_force(cell, sizes, term, tile, c):
    """E - V, or minus the table in its place, and how it falls with V."""
    v, at, f, on = tile.v, tile.v_bin, tile.v_fraction, term.on
    drive, c_ion = tl.load(term.row + TERM_DRIVE), tl.load(term.row + TERM_C_ION)
    table, ion = tl.load(term.row + TERM_TABLE), tl.load(term.row + TERM_ION)
    slope = tl.full(v.shape, 1.0, tl.float32)
    if drive == FIXED_E:
        force = tl.load(cell.e_mV + term.own, mask=on, other=0.0) - v
    elif drive == NERNST_E:
        log, _, _ = locate_concentrations(sizes, c, ion, tile.i, on)
        outside = tl.load(cell.log_outside + ion * sizes.n + tile.i, mask=on, other=0.0)
        force = (tl.load(cell.nernst_mV + ion) * (outside - log)).to(tl.float32) - v
    elif drive == TABLE_VC:
        _, cb, cf = locate_concentrations(sizes, c, c_ion, tile.i, on)
        p, fp = on_coarse_grid(at, f, PLANE_V_STRIDE, PLANE_V)
        q, fq = on_coarse_grid(cb, cf, PLANE_C_STRIDE, PLANE_C)
        corner = cell.table_vc + table * (PLANE_C * PLANE_V) + q * PLANE_V + p
        below, above = between(corner, fq, PLANE_V), between(corner + 1, fq, PLANE_V)
        force = -(below + fp * (above - below))
        slope = (above - below) * (PER_MV / PLANE_V_STRIDE)
    else:
        linear = drive == TABLE_V_LINEAR_C
        inside = tl.load(c + c_ion * sizes.n + tile.i, mask=on & linear, other=0.0).to(tl.float32)
        entry = cell.table_v + (table * V_BINS + at) * 2
        below = tl.load(entry) + tl.load(entry + 1) * inside
        above = tl.load(entry + 2) + tl.load(entry + 3) * inside
        force = -(below + f * (above - below))
        slope = (above - below) * PER_MV
    return force, slope


@triton.jit
def _scheme_sensitivity(cell, sizes, pair, term, state, tile, x):
    """dx/dV of a state of a scheme, from all of its states."""
    size, length = tl.load(state + STATE_SCHEME_SIZE), tl.load(term.row + STOP) - term.start
    first = tl.load(state + STATE_SCHEME_OFFSET) - term.start
    k, share = tile.v_bin, tile.v_fraction
    table = cell.scheme_sensitivity + pair * sizes.sensitivity_entries + tl.load(state + STATE_SENSITIVITY)
    entry = table + k * (size + 1)
    found = between(entry + size, share, size + 1)
    for q in range(0, size):
        z = tl.load(x + first + q * length + tile.i, mask=term.on, other=0.0)
        found += between(entry + q, share, size + 1) * z
    return found


@triton.jit
def _sensitivity(cell, sizes, pair, term, state, tile, x):
    """dx/dV of a state of a term, which has one."""
    if tl.load(state + STATE_SCHEME_SIZE) == 0:
        table = pair * sizes.gate_sensitivities + tl.load(state + STATE_SENSITIVITY)
        entry = cell.gate_sensitivity + table * (V_BINS * 2) + tile.v_bin * 2
        found = tl.load(entry) + tile.v_fraction * tl.load(entry + 1)
    else:
        found = _scheme_sensitivity(cell, sizes, pair, term, state, tile, x)
    return found


@triton.jit
def _sum_terms(cell, sizes, pair, tile, memory, TILE: tl.constexpr):
    """Sums over all terms of a tile about V: slope, current at 0 mV, what gates add to the slope; those of each ion."""
    i, inside, x = tile.i, tile.i < sizes.n, memory.new.x
    slope_uS = tl.load(cell.leak_uS + i, mask=inside, other=0.0)
    zero_nA = tl.load(cell.leak_nA + i, mask=inside, other=0.0)
    gating_uS = tl.zeros((TILE,), tl.float32)
    for r in range(0, sizes.ions + 1):
        ion_slope, ion_inward = tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32)
        group = cell.term_first + tile.number * (sizes.ions + 1) + r
        for e in range(tl.load(group), tl.load(group + 1)):
            t = tl.load(cell.term_of + e)
            row = cell.term_row + t * TERM_WIDTH
            on, own = covered(row, i)
            term = TermRow(t, row, on, own, tl.load(row + START), tl.load(row + TERM_STATES))
            g = _open_conductance(cell, sizes, term, tile, x)
            force, slope = _driving_force(cell, sizes, term, tile, memory.old.c)
            slope_uS += g * slope
            zero_nA += g * (force + slope * tile.v)
            ion_slope += g * slope
            ion_inward += g * force
            for k in range(0, term.states):
                state = cell.state + (t * sizes.term_states + k) * STATE_WIDTH
                if tl.load(state + STATE_SENSITIVITY) >= 0:
                    y = tl.load(x + tl.load(state + STATE_OFFSET) + i - term.start, mask=on, other=1.0)
                    sensitivity = _sensitivity(cell, sizes, pair, term, state, tile, x)
                    sensitivity *= 2.0 * tl.load(cell.power + t * sizes.term_states + k)
                    gating_uS -= sensitivity * (g / tl.maximum(y, SMALLEST_GATE)) * force
        if r > 0:
            tl.store(memory.work.ion_slope + (r - 1) * sizes.n + i, ion_slope, mask=inside)
            tl.store(memory.work.ion_inward + (r - 1) * sizes.n + i, ion_inward, mask=inside)
    return slope_uS, zero_nA, gating_uS


@triton.jit
def step_membrane(cell, sizes, pair, per_ms, memory, TILE: tl.constexpr):
    """Gates and currents of the whole cell; root mean square change of the curvature of V [mV/ms2]."""
    old, new, work = memory.old, memory.new, memory.work
    squares, whole = tl.full((), 0.0, tl.float32), tl.full((), 0.0, tl.float32)
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        v = tl.load(old.v + i, mask=inside, other=0.0)
        v_bin, v_fraction = locate_potentials(v)
        tile = Tile(begin // TILE, i, v.to(tl.float32), v_bin, v_fraction)
        step_gates(cell, sizes, pair, tile, memory)
        step_schemes(cell, sizes, pair, tile, memory, TILE)
        tl.debug_barrier()
        slope_uS, zero_nA, gating_uS = _sum_terms(cell, sizes, pair, tile, memory, TILE)
        capacitance = tl.load(cell.capacitance_nF + i, mask=inside, other=0.0)
        more_nA = zero_nA - tl.load(old.ionic + sizes.n + i, mask=inside, other=0.0)
        more_uS = slope_uS - tl.load(old.ionic + i, mask=inside, other=0.0)
        curvature = (more_nA - more_uS * tile.v) * per_ms / tl.where(inside, capacitance, 1.0)
        change = tl.where(inside, curvature - tl.load(old.curvature + i, mask=inside, other=0.0), 0.0)
        squares += tl.sum(capacitance * change * change, 0)
        whole += tl.sum(capacitance, 0)
        tl.store(new.curvature + i, curvature, mask=inside)
        tl.store(new.ionic + i, slope_uS, mask=inside)
        tl.store(new.ionic + sizes.n + i, zero_nA, mask=inside)
        tl.store(work.slope + i, slope_uS + gating_uS, mask=inside)
        tl.store(work.inward + i, zero_nA - slope_uS * tile.v, mask=inside)
    return tl.sqrt(squares / whole)
