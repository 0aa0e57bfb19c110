"""Arrays that a step needs for itself, and loops that fill them.

They are made once for many milliseconds: memory that is asked for in every step costs more than the step. The order in
which they are filled is that of Hines 1984 (doi:10.1016/0020-7101(84)90008-4); see `time_loop`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import SCHEME_SIZE, Bins, CellArrays, Single
from dendrotwin.solver.compiled import compiled


class TableIndex(NamedTuple):
    """Potentials and concentrations of a step, and where they lie on the grids of the tables.

    Attributes:
        v_mV: (n,) in the precision of the tables [mV].
        v_bin, v_fraction: (n,) point of `V_GRID_MV` below, and how far it is to the next one.
        c_mM: (ions, n) likewise [mM].
        c_bin, c_fraction: (ions, n) likewise on `C_GRID_MM`.
        nernst_mV: (ions, n) Nernst potential [mV].
    """

    v_mV: Single
    v_bin: Bins
    v_fraction: Single
    c_mM: Single
    c_bin: Bins
    c_fraction: Single
    nernst_mV: Single


class CurrentSums(NamedTuple):
    """Sums over currents, each linear in V: outward current = slope V - (current into the cell at 0 mV).

    Attributes:
        slope_uS: (n,) slope at fixed gates [uS].
        zero_nA: (n,) current into the cell at 0 mV [nA].
        gating_uS: (n,) what gates add to the slope that follow V within the step; mostly negative [uS].
        ion_slope_uS, ion_zero_nA: (ions, n) the first two for the currents of each ion [uS], [nA].
    """

    slope_uS: Single
    zero_nA: Single
    gating_uS: Single
    ion_slope_uS: Single
    ion_zero_nA: Single


class Workspace(NamedTuple):
    """Other arrays of a step.

    Attributes:
        single: (5, n).
        double: (2, n).
        bits: (n,) of numbers whose logarithm is taken.
        synaptic_uS: (classes, n) mean synaptic conductances over the step [uS].
        diagonal, right: (nodes,) of the linear equations of the tree [uS], [nA].
        states: (most states of a scheme,).
    """

    single: Single
    double: Floats
    bits: NDArray[np.int64]
    synaptic_uS: Single
    diagonal: Floats
    right: Floats
    states: Single


@compiled
def make_workspace(cell: CellArrays) -> tuple[TableIndex, CurrentSums, Workspace]:
    """All arrays of a step, filled with zeros.

    Args:
        cell: gives their sizes.
    """
    n, nodes, ions, largest = len(cell.capacitance_nF), len(cell.axial.order), len(cell.ions.nernst_mV), 1
    for k in range(len(cell.scheme_row)):
        largest = max(largest, cell.scheme_row[k, SCHEME_SIZE])
    bins = np.zeros((1 + ions, n), np.uint32)
    v, of_ion = np.zeros((2, n), np.float32), np.zeros((3, ions, n), np.float32)
    sums, of_ions = np.zeros((3, n), np.float32), np.zeros((2, ions, n), np.float32)
    return (
        TableIndex(v[0], bins[0], v[1], of_ion[0], bins[1:], of_ion[1], of_ion[2]),
        CurrentSums(sums[0], sums[1], sums[2], of_ions[0], of_ions[1]),
        Workspace(
            np.zeros((5, n), np.float32), np.zeros((2, n)), np.zeros(n, np.int64),
            np.zeros((len(cell.synapses.rise_ms), n), np.float32), np.zeros(nodes), np.zeros(nodes),
            np.zeros(largest, np.float32),
        ),
    )  # fmt: skip


@compiled
def copy(source: Any, target: Any) -> None:
    """target = source.

    Args:
        source, target: (m,) of any precision.
    """
    for i in range(len(target)):
        target[i] = source[i]


@compiled
def clear(target: Any) -> None:
    """target = 0.

    Args:
        target: (m,).
    """
    for i in range(len(target)):
        target[i] = 0.0


@compiled
def add(source: Floats, target: Single) -> None:
    """target = target + source.

    Args:
        source, target: (m,).
    """
    for i in range(len(target)):
        target[i] += source[i]
