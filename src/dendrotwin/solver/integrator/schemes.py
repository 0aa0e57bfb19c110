"""Steps of kinetic (Markov) schemes: x' = rates x + inflow, several states that depend on each other linearly.

Over a step of h in which the rates stand still, exactly, by the exponential of the matrix with the inflow as one more
column (as gates are: Hines 1984, doi:10.1016/0020-7101(84)90008-4):

    x <- M x + m,    (M m; 0 1) = exp(h (rates inflow; 0 0))

M and m come from tables over V, over c, or over both, interpolated entry by entry.
"""

from __future__ import annotations

import numpy as np

from dendrotwin.cell.membrane import (
    BOTH_C_MM,
    BOTH_C_STRIDE,
    BOTH_V_MV,
    BOTH_V_STRIDE,
)
from dendrotwin.solver.cell_arrays import (
    OFFSET,
    OVER_C,
    OVER_VC,
    SCHEME_ION,
    SCHEME_OVER,
    SCHEME_SIZE,
    SCHEME_TABLE,
    START,
    STOP,
    Bins,
    Rows,
    Single,
    StepTables,
)
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.grid import on_coarse_grid
from dendrotwin.solver.integrator.workspace import TableIndex

LAST_BOTH_V, LAST_BOTH_C = len(BOTH_V_MV) - 2, len(BOTH_C_MM) - 2


@compiled
def step_schemes(rows: Rows, tables: StepTables, pair: int, x: Single, index: TableIndex, states: Single) -> None:
    """All kinetic schemes from the middle of one step to the middle of the next.

    Args:
        rows: (schemes, 7) see `CellArrays.scheme_row`.
        tables: of the steps.
        pair: of lengths of the two steps.
        x: (states,) is changed.
        index: of potentials and concentrations between the two steps.
        states: (most states of a scheme,) is used.
    """
    matrices, first = tables.scheme_matrix[pair], tables.scheme_first
    v_bin, v_fraction, c_bin, c_fraction = index.v_bin, index.v_fraction, index.c_bin, index.c_fraction
    for k in range(len(rows)):
        a, z, offset, size, ion = (
            rows[k, START], rows[k, STOP], rows[k, OFFSET], rows[k, SCHEME_SIZE], rows[k, SCHEME_ION]
        )  # fmt: skip
        which = rows[k, SCHEME_TABLE]
        table = matrices[first[which] : first[which + 1]]
        y = x[offset : offset + size * (z - a)]
        if rows[k, SCHEME_OVER] == OVER_C:
            _multiply(table, size, c_bin[ion, a:z], c_fraction[ion, a:z], y, states)
        elif rows[k, SCHEME_OVER] == OVER_VC:
            _multiply_over_plane(
                table, size, v_bin[a:z], v_fraction[a:z], c_bin[ion, a:z], c_fraction[ion, a:z], y, states
            )  # fmt: skip
        else:
            _multiply(table, size, v_bin[a:z], v_fraction[a:z], y, states)


@compiled
def _multiply(table: Single, size: int, bins: Bins, fraction: Single, x: Single, states: Single) -> None:
    """A matrix times the states of each compartment, and what flows in."""
    entries, length = size * (size + 1), len(bins)
    for i in range(length):
        k, share = bins[i], fraction[i]
        low, high = table[k * entries : (k + 1) * entries], table[(k + 1) * entries : (k + 2) * entries]
        for p in range(size):
            row = p * (size + 1)
            found = low[row + size] + share * (high[row + size] - low[row + size])
            for q in range(size):
                found += (low[row + q] + share * (high[row + q] - low[row + q])) * x[q * length + i]
            states[p] = found
        for p in range(size):
            x[p * length + i] = states[p]


@compiled
def _multiply_over_plane(
    table: Single, size: int, v_bin: Bins, v_fraction: Single, c_bin: Bins, c_fraction: Single, x: Single,
    states: Single,
) -> None:  # fmt: skip
    """The same of a table over c and V."""
    entries, length = size * (size + 1), len(v_bin)
    for i in range(length):
        p, fp = on_coarse_grid(v_bin[i], v_fraction[i], BOTH_V_STRIDE, LAST_BOTH_V)
        q, fq = on_coarse_grid(c_bin[i], c_fraction[i], BOTH_C_STRIDE, LAST_BOTH_C)
        first = (q * (LAST_BOTH_V + 2) + p) * entries
        second = first + (LAST_BOTH_V + 2) * entries
        low, low_next = table[first : first + entries], table[first + entries : first + 2 * entries]
        high, high_next = table[second : second + entries], table[second + entries : second + 2 * entries]
        one = np.float32(1.0)
        a, b, c, d = (one - fq) * (one - fp), (one - fq) * fp, fq * (one - fp), fq * fp
        for row in range(size):
            at = row * (size + 1) + size
            found = a * low[at] + b * low_next[at] + c * high[at] + d * high_next[at]
            for k in range(size):
                at = row * (size + 1) + k
                found += (a * low[at] + b * low_next[at] + c * high[at] + d * high_next[at]) * x[k * length + i]
            states[row] = found
        for row in range(size):
            x[row * length + i] = states[row]
