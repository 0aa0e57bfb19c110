"""Steps of gates: x' = (steady - x) / tau.

Over a step of h in which steady state and time constant stand still, exactly (exponential Euler; Hines 1984,
doi:10.1016/0020-7101(84)90008-4):

    x <- steady + (x - steady) exp(-h / tau)

The steady state and the exponential come from tables over V, over c, or over both.
"""

from __future__ import annotations

from dendrotwin.cell.membrane import PLANE_C_MM, PLANE_C_STRIDE, PLANE_V_MV, PLANE_V_STRIDE
from dendrotwin.solver.cell_arrays import (
    GATE_ION,
    GATE_OVER,
    GATE_TABLE,
    OFFSET,
    OVER_C,
    OVER_V,
    START,
    STOP,
    Bins,
    Rows,
    Single,
    StepTables,
)
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.grid import interpolate_plane, on_coarse_grid
from dendrotwin.solver.integrator.lookup import relax
from dendrotwin.solver.integrator.workspace import TableIndex

LAST_PLANE_V, LAST_PLANE_C = len(PLANE_V_MV) - 2, len(PLANE_C_MM) - 2


@compiled
def step_gates(rows: Rows, tables: StepTables, pair: int, x: Single, index: TableIndex) -> None:
    """All gates from the middle of one step to the middle of the next.

    Args:
        rows: (gates, 6) see `CellArrays.gate_row`.
        tables: of the steps.
        pair: of lengths of the two steps.
        x: (states,) is changed.
        index: of potentials and concentrations between the two steps.
    """
    over_v, over_c, over_vc = tables.gate_v[pair], tables.gate_c[pair], tables.gate_vc[pair]
    v_bin, v_fraction, c_bin, c_fraction = index.v_bin, index.v_fraction, index.c_bin, index.c_fraction
    for k in range(len(rows)):
        a, z, offset, ion, table = (
            rows[k, START], rows[k, STOP], rows[k, OFFSET], rows[k, GATE_ION], rows[k, GATE_TABLE]
        )  # fmt: skip
        gate = x[offset : offset + z - a]
        if rows[k, GATE_OVER] == OVER_V:
            relax(over_v[table], v_bin[a:z], v_fraction[a:z], gate)
        elif rows[k, GATE_OVER] == OVER_C:
            relax(over_c[table], c_bin[ion, a:z], c_fraction[ion, a:z], gate)
        else:
            _relax_over_plane(
                over_vc[table], v_bin[a:z], v_fraction[a:z], c_bin[ion, a:z], c_fraction[ion, a:z], gate
            )  # fmt: skip


@compiled
def _relax_over_plane(
    table: Single, v_bin: Bins, v_fraction: Single, c_bin: Bins, c_fraction: Single, x: Single
) -> None:  # fmt: skip
    for i in range(len(x)):
        p, fp = on_coarse_grid(v_bin[i], v_fraction[i], PLANE_V_STRIDE, LAST_PLANE_V)
        q, fq = on_coarse_grid(c_bin[i], c_fraction[i], PLANE_C_STRIDE, LAST_PLANE_C)
        steady = interpolate_plane(table[:, :, 0], q, fq, p, fp)
        x[i] = steady + (x[i] - steady) * interpolate_plane(table[:, :, 1], q, fq, p, fp)
