"""Steps of concentrations inside: c' = (rest - c) rate + gain I, with I the current of the ion.

The current is that of the middle of the step, and decay and gain are exact for it (exponential Euler, as for gates;
Hines 1984, doi:10.1016/0020-7101(84)90008-4). Some mechanisms of NEURON count an inward current alone, so that gain
depends on its sign.
"""

from __future__ import annotations

from typing import NamedTuple

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import Ions, Single, StepTables
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.workspace import CurrentSums

SMALLEST_MM = 1e-9  # a concentration is positive, whatever a step makes of it: its logarithm is taken


class _Pools(NamedTuple):
    """Of one ion, each (m,); see `StepTables` and `Ions`."""

    decay: Floats
    inflow_ms: Floats
    gain_in: Floats
    gain_out: Floats
    rest_mM: Floats


@compiled
def step_pools(
    ions: Ions, tables: StepTables, level: int, v_mV: Floats, change_mV: Floats, c_mM: Floats, sums: CurrentSums
) -> None:  # fmt: skip
    """All concentrations over a step.

    Args:
        ions: of the cell.
        tables: of the steps.
        level: of the length of the step.
        v_mV: (n,) after the step [mV].
        change_mV: (n,) of the potential over it [mV].
        c_mM: (ions, n) is changed [mM].
        sums: currents of each ion.
    """
    slope, zero, start, stop = sums.ion_slope_uS, sums.ion_zero_nA, ions.pool_start, ions.pool_stop
    for r in range(len(c_mM)):
        a, z = start[r], stop[r]
        pools = _Pools(
            tables.pool_decay[level, r, a:z], tables.pool_inflow_ms[level, r, a:z], ions.gain_in[r, a:z],
            ions.gain_out[r, a:z], ions.rest_mM[r, a:z],
        )  # fmt: skip
        _step(pools, slope[r, a:z], zero[r, a:z], v_mV[a:z], change_mV[a:z], c_mM[r, a:z])


@compiled
def _step(pools: _Pools, slope: Single, zero: Single, v: Floats, change: Floats, c: Floats) -> None:
    decay, inflow_ms, gain_in, gain_out, rest_mM = pools
    for i in range(len(c)):
        nA = slope[i] * (v[i] - 0.5 * change[i]) - zero[i]
        gain = gain_in[i] if nA < 0.0 else gain_out[i]
        c[i] = max(c[i] + (rest_mM[i] - c[i]) * decay[i] + gain * nA * inflow_ms[i], SMALLEST_MM)
