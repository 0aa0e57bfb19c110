"""How many steps a millisecond takes.

Conductances that change bend the course of a potential: they add to its second derivative

    b_i = (dJ_i / dt - V_i dG_i / dt) / C_i   [mV/ms2],    G = sum_k g_k x_k^p,    J = sum_k g_k x_k^p E_k,

the sums going over all ionic currents. Steps of second order follow a constant curvature, so that the error of a step
of h is about as large as h^2 times the change of b since the step before. It is short enough where the root mean square
of h^2 (b_i - b_i before), weighed by C, is at most the tolerance [mV]. A millisecond in which it is not is done again,
in as many steps as that asks for. Lengths come in levels, each a fixed factor shorter than the one before. The
steps are those of Alexander 1977 (doi:10.1137/0714068).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.solver.cell_arrays import Single
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.workspace import CurrentSums, copy

# Levels by which a millisecond may be coarser than the one before: steps sixteen times as long, with a refinement of 4.
# After a spike that is often in order; where it is not, the millisecond is done again.
LEVELS_DOWN = 2
ZERO = np.float32(0.0)


class StepControl(NamedTuple):
    """Which lengths of steps there are, and when they are short enough.

    Attributes:
        block_ms: what is advanced, and done again, as one: 1 ms, or a half, a fourth, ... of it [ms].
        steps_per_ms: (levels,) rising, each a whole number in a block [1/ms].
        tolerance_mV: largest h^2 times change of curvature, root mean square over the membrane [mV].
    """

    block_ms: float
    steps_per_ms: NDArray[np.int64]
    tolerance_mV: float


@compiled
def curvature_change(
    capacitance_nF: Single, per_ms: float, v_mV: Single, sums: CurrentSums, ionic: Single, before: Single,
    curvature: Single,
) -> float:  # fmt: skip
    """How much the curvature has changed since the step before, root mean square over the membrane [mV/ms2].

    Args:
        capacitance_nF: (n,) [nF].
        per_ms: 1 / (time between the middles of both steps) [1/ms].
        v_mV: (n,) [mV].
        sums: of all ionic currents.
        ionic: (2, n) G [uS] and J [nA] of the step before, become those of this one.
        before: (n,) curvature of the step before, becomes that of this one [mV/ms2].
        curvature: (n,) is used.
    """
    g, j = ionic[0], ionic[1]
    _curvature(sums, g, j, v_mV, capacitance_nF, per_ms, curvature)
    found: float = _root_mean_square_change(curvature, before, capacitance_nF)
    copy(curvature, before)
    copy(sums.slope_uS, g)
    copy(sums.zero_nA, j)
    return found


@compiled
def _curvature(
    sums: CurrentSums, g: Single, j: Single, v: Single, capacitance: Single, per_ms: float, out: Single
) -> None:  # fmt: skip
    slope, zero = sums.slope_uS, sums.zero_nA
    for i in range(len(v)):
        out[i] = (zero[i] - j[i] - (slope[i] - g[i]) * v[i]) * per_ms / capacitance[i]


@compiled
def _root_mean_square_change(now: Single, before: Single, capacitance: Single) -> float:
    squares, whole = ZERO, ZERO
    for i in range(len(now)):
        change = now[i] - before[i]
        squares += capacitance[i] * change * change
        whole += capacitance[i]
    return float(np.sqrt(squares / whole))


@compiled
def is_too_coarse(control: StepControl, level: int, change: float) -> bool:
    """Whether a step is too long for the tolerance, and there are shorter ones.

    Args:
        control: of the steps.
        level: of the step.
        change: of the curvature [mV/ms2].
    """
    many = control.steps_per_ms[level]
    return level < len(control.steps_per_ms) - 1 and change > control.tolerance_mV * many * many


@compiled
def coarsest_level(control: StepControl, change: float) -> int:
    """The level of the longest steps of h that have h^2 change <= tolerance, else that of the shortest steps.

    Args:
        control: of the steps.
        change: of the curvature [mV/ms2].
    """
    steps_per_ms, tolerance = control.steps_per_ms, control.tolerance_mV
    for level in range(len(steps_per_ms)):
        if change <= tolerance * steps_per_ms[level] * steps_per_ms[level]:
            return level
    return len(steps_per_ms) - 1
