"""Sums over all ionic currents, each linear about the present V.

A term (`cell.membrane.Term`) is a current  g_max prod(x^p) (V - E),  or with a table in place of V - E. Into the cell
flows  zero - slope V,  with, where the driving force is a table T,

    slope = g_max prod(x^p) T'(V),    zero = g_max prod(x^p) (T'(V) V - T(V)).

Gates that give positive feedback within a step, and states of schemes over V, follow the potential within the very
step, as in a linearly implicit method (Rosenbrock 1963, doi:10.1093/comjnl/5.4.329): their part of the Jacobian, by
dx/dV from a table,

    gating = g_max p prod(x^p) / x  dx/dV  (T or V - E),

is added to the slope where the potential is stepped.
"""

from __future__ import annotations

import numpy as np

from dendrotwin.cell.membrane import (
    PLANE_C_STRIDE,
    PLANE_V_STRIDE,
    V_BIN_MV,
)
from dendrotwin.solver.cell_arrays import (
    FIXED_E,
    NERNST_E,
    OFFSET,
    START,
    STATE_OFFSET,
    STATE_SCHEME_OFFSET,
    STATE_SCHEME_SIZE,
    STATE_SENSITIVITY,
    STOP,
    TABLE_V_LINEAR_C,
    TABLE_VC,
    TERM_C_ION,
    TERM_DRIVE,
    TERM_ION,
    TERM_STATES,
    TERM_TABLE,
    Bins,
    Single,
    Terms,
)
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.gates import LAST_PLANE_C, LAST_PLANE_V
from dendrotwin.solver.integrator.grid import interpolate_plane, on_coarse_grid
from dendrotwin.solver.integrator.lookup import interpolate
from dendrotwin.solver.integrator.workspace import CurrentSums, TableIndex, Workspace, clear, copy

SMALLEST_GATE = np.float32(1e-9)  # divides in place of a gate that is shut
ZERO = np.float32(0.0)


@compiled
def sum_currents(
    terms: Terms, of_gates: Single, of_schemes: Single, x: Single, index: TableIndex, sums: CurrentSums, work: Workspace
) -> None:  # fmt: skip
    """Sums over all terms about V.

    Args:
        terms: of the cell.
        of_gates: (tables, V_BINS, 2) see `StepTables.gate_sensitivity`.
        of_schemes: (all entries,) see `StepTables.scheme_sensitivity`.
        x: (states,) gates and schemes in the middle of the step.
        index: of potentials and concentrations.
        sums: gets the sums.
        work: is used.
    """
    v, v_bin, v_fraction = index.v_mV, index.v_bin, index.v_fraction
    c, c_bin, c_fraction, nernst = index.c_mM, index.c_bin, index.c_fraction, index.nernst_mV
    slope, zero, gating = sums.slope_uS, sums.zero_nA, sums.gating_uS
    ion_slope, ion_zero = sums.ion_slope_uS, sums.ion_zero_nA
    open_g, table_slope, table_zero, inward, sensitivity = (
        work.single[0], work.single[1], work.single[2], work.single[3], work.single[4]
    )  # fmt: skip
    rows, states, powers, g_max, e_mV = terms.row, terms.state, terms.power, terms.g_max, terms.e_mV
    table_v, table_vc, ones, zeros = terms.table_v, terms.table_vc, terms.ones, terms.zeros
    copy(terms.leak_uS, slope)
    copy(terms.leak_nA, zero)
    clear(gating)
    for ion in range(len(ion_slope)):
        clear(ion_slope[ion])
        clear(ion_zero[ion])
    for t in range(len(rows)):
        a, z, offset, drive = rows[t, START], rows[t, STOP], rows[t, OFFSET], rows[t, TERM_DRIVE]
        n, ion, c_ion, table = z - a, rows[t, TERM_ION], rows[t, TERM_C_ION], rows[t, TERM_TABLE]
        g = g_max[offset : offset + n]
        for k in range(rows[t, TERM_STATES]):
            at = states[t, k, STATE_OFFSET]
            _times_power(x[at : at + n], powers[t, k], g, open_g[:n])
            g = open_g[:n]
        if drive <= NERNST_E:
            to = e_mV[offset : offset + n] if drive == FIXED_E else nernst[ion, a:z]
            _add_ohmic(g, to, slope[a:z], zero[a:z])
            if ion >= 0:
                _add_ohmic(g, to, ion_slope[ion, a:z], ion_zero[ion, a:z])
            by = ones[:n]
        else:
            to, by = table_zero[:n], table_slope[:n]
            if drive == TABLE_VC:
                _linearise_plane(
                    table_vc[table], v_bin[a:z], v_fraction[a:z], c_bin[c_ion, a:z], c_fraction[c_ion, a:z], v[a:z],
                    by, to,
                )  # fmt: skip
            else:
                inside = c[c_ion, a:z] if drive == TABLE_V_LINEAR_C else zeros[:n]
                _linearise(table_v[table], v_bin[a:z], v_fraction[a:z], inside, v[a:z], by, to)
            _add_linear(g, by, to, slope[a:z], zero[a:z])
            if ion >= 0:
                _add_linear(g, by, to, ion_slope[ion, a:z], ion_zero[ion, a:z])
        for k in range(rows[t, TERM_STATES]):
            at, which = states[t, k, STATE_OFFSET], states[t, k, STATE_SENSITIVITY]
            if which >= 0:
                _inward_current(g, by, to, v[a:z], inward[:n])
                factor, y, size = np.float32(2.0) * powers[t, k], x[at : at + n], states[t, k, STATE_SCHEME_SIZE]
                if size == 0:
                    interpolate(of_gates[which], v_bin[a:z], v_fraction[a:z], sensitivity[:n])
                    _add_gating(sensitivity[:n], factor, y, inward[:n], gating[a:z])
                else:
                    first = states[t, k, STATE_SCHEME_OFFSET]
                    _add_scheme_gating(
                        of_schemes[which:], factor, y, x[first : first + size * n], inward[:n], v_bin[a:z],
                        v_fraction[a:z], gating[a:z],
                    )  # fmt: skip


@compiled
def _times_power(x: Single, power: float, g: Single, out: Single) -> None:
    """out = g x^power; `out` may be `g`."""
    if power == 1.0:
        for i in range(len(out)):
            out[i] = g[i] * x[i]
    elif power == 2.0:
        for i in range(len(out)):
            out[i] = g[i] * (x[i] * x[i])
    elif power == 3.0:
        for i in range(len(out)):
            out[i] = g[i] * (x[i] * x[i] * x[i])
    elif power == 4.0:
        for i in range(len(out)):
            square = x[i] * x[i]
            out[i] = g[i] * (square * square)
    else:
        for i in range(len(out)):
            out[i] = g[i] * max(x[i], ZERO) ** power


@compiled
def _add_ohmic(g: Single, e_mV: Single, slope: Single, zero: Single) -> None:
    """Conductances, and their currents at 0 mV."""
    for i in range(len(g)):
        slope[i] += g[i]
        zero[i] += g[i] * e_mV[i]


@compiled
def _add_linear(g: Single, table_slope: Single, table_zero: Single, slope: Single, zero: Single) -> None:
    """The same of currents whose driving force is a table, linearised."""
    for i in range(len(g)):
        slope[i] += g[i] * table_slope[i]
        zero[i] += g[i] * table_zero[i]


@compiled
def _linearise(
    table: Single, v_bin: Bins, v_fraction: Single, c: Single, v: Single, slope: Single, zero: Single
) -> None:  # fmt: skip
    """Of a table a + b c its slope at V, and the current into the cell to which its tangent goes on at 0 mV."""
    for i in range(len(v_bin)):
        low = v_bin[i]
        high = low + np.uint32(1)
        below, above = table[low, 0] + table[low, 1] * c[i], table[high, 0] + table[high, 1] * c[i]
        slope[i] = (above - below) * np.float32(1.0 / V_BIN_MV)
        zero[i] = slope[i] * v[i] - (below + v_fraction[i] * (above - below))


@compiled
def _linearise_plane(
    table: Single, v_bin: Bins, v_fraction: Single, c_bin: Bins, c_fraction: Single, v: Single, slope: Single,
    zero: Single,
) -> None:  # fmt: skip
    """The same of a table over c and V."""
    for i in range(len(v_bin)):
        p, fp = on_coarse_grid(v_bin[i], v_fraction[i], PLANE_V_STRIDE, LAST_PLANE_V)
        q, fq = on_coarse_grid(c_bin[i], c_fraction[i], PLANE_C_STRIDE, LAST_PLANE_C)
        below = interpolate_plane(table, q, fq, p, np.float32(0.0))
        above = interpolate_plane(table, q, fq, p, np.float32(1.0))
        slope[i] = (above - below) * np.float32(1.0 / (V_BIN_MV * PLANE_V_STRIDE))
        zero[i] = slope[i] * v[i] - (below + fp * (above - below))


@compiled
def _inward_current(g: Single, slope: Single, zero: Single, v: Single, out: Single) -> None:
    """Current into the cell at V."""
    for i in range(len(g)):
        out[i] = g[i] * (zero[i] - slope[i] * v[i])


@compiled
def _add_gating(sensitivity: Single, factor: float, x: Single, inward: Single, gating: Single) -> None:
    """By a gate: `factor` is its power, times 2, for the tables are for the middle of the step."""
    for i in range(len(x)):
        gating[i] -= factor * sensitivity[i] * inward[i] / max(x[i], SMALLEST_GATE)


@compiled
def _add_scheme_gating(
    table: Single, factor: float, x: Single, states: Single, inward: Single, v_bin: Bins, v_fraction: Single,
    gating: Single,
) -> None:  # fmt: skip
    """By a state of a scheme, whose sensitivity depends on all states of that."""
    length = len(x)
    size = len(states) // length
    entries = size + 1
    for i in range(length):
        k, share = v_bin[i], v_fraction[i]
        low, high = table[k * entries : (k + 1) * entries], table[(k + 1) * entries : (k + 2) * entries]
        sensitivity = low[size] + share * (high[size] - low[size])
        for q in range(size):
            sensitivity += (low[q] + share * (high[q] - low[q])) * states[q * length + i]
        gating[i] -= factor * sensitivity * inward[i] / max(x[i], SMALLEST_GATE)
