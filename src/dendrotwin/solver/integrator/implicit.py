"""The step of the potentials of the whole tree, implicit, of second order and L-stable.

With these conductances the equations are linear about V: A their matrix, F the current into each compartment at V.
SDIRK2 (Alexander 1977, doi:10.1137/0714068) solves them twice by one factorisation:

    (C / (gamma h) + A) r1 = F,    (C / (gamma h) + A) r2 = C / (gamma h) r1,
    V' = V + r1 + (1 / gamma - 1) r2,    gamma = 1 - 1 / sqrt(2)

Since A includes what gates and blocks gain with V (see `currents`), this is a linearly implicit method (Rosenbrock
1963, doi:10.1093/comjnl/5.4.329).
"""

from __future__ import annotations

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import AxialTree, Single
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.hines import solve, solve_again
from dendrotwin.solver.integrator.workspace import CurrentSums, Workspace, clear, copy

GAMMA = 1.0 - 0.5**0.5
SECOND_WEIGHT = 0.5**0.5 / (1.0 - 0.5**0.5)  # of r2: 1 / gamma - 1
HALF = np.float32(0.5)


@compiled
def step_potentials(
    axial: AxialTree, h_ms: float, capacitance_nF: Single, v_mV: Floats, v_single: Single, sums: CurrentSums,
    work: Workspace,
) -> Floats:  # fmt: skip
    """The potentials after a step.

    Args:
        axial: of the cell.
        h_ms: length of the step [ms].
        capacitance_nF: (n,) [nF].
        v_mV: (n,) is changed [mV].
        v_single: (n,) the same before, in single precision [mV].
        sums: of all currents.
        work: is used.

    Returns:
        (n,) how much they have changed [mV].
    """
    change: Floats = work.double[0]
    per_gamma_ms, n = np.float32(1.0 / (GAMMA * h_ms)), len(v_mV)
    diagonal, right, axial_sum_uS = work.diagonal, work.right, axial.axial_sum_uS
    _assemble(per_gamma_ms, capacitance_nF, sums, v_single, axial_sum_uS, diagonal, right)
    copy(axial_sum_uS[n:], diagonal[n:])  # joints have no membrane
    clear(right[n:])
    solve(axial, diagonal, right)
    _after_first(per_gamma_ms, capacitance_nF, v_mV, right, change)
    clear(right[n:])
    solve_again(axial, diagonal, right)
    _after_second(right, change, v_mV)
    return change


@compiled
def _assemble(
    per_gamma_ms: float, capacitance: Single, sums: CurrentSums, v: Single, axial_sum: Floats, diagonal: Floats,
    right: Floats,
) -> None:  # fmt: skip
    """Diagonal and right side of the compartments, in terms of V + r1."""
    slope, gating, zero = sums.slope_uS, sums.gating_uS, sums.zero_nA
    for i in range(len(v)):
        capacitive = capacitance[i] * per_gamma_ms
        # However strong the feedback of a current, it at most doubles what the capacitance alone would let V move.
        own = max(slope[i] + gating[i] + capacitive, HALF * capacitive)
        diagonal[i] = axial_sum[i] + own
        right[i] = zero[i] + (own - slope[i]) * v[i]


@compiled
def _after_first(per_gamma_ms: float, capacitance: Single, v: Floats, right: Floats, change: Floats) -> None:
    """r1, and the right side of the second solve."""
    for i in range(len(v)):
        change[i] = right[i] - v[i]
        right[i] = per_gamma_ms * capacitance[i] * change[i]


@compiled
def _after_second(right: Floats, change: Floats, v: Floats) -> None:
    for i in range(len(v)):
        change[i] += SECOND_WEIGHT * right[i]
        v[i] += change[i]
