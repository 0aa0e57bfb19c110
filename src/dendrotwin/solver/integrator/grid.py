"""Where potentials and concentrations lie on the grids of tables, and Nernst potentials.

    E = RT / zF log(outside / inside)    (as NEURON has it)

Potentials have an even grid, concentrations one that is even in their logarithm. What lies outside of a grid takes the
values of its border.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import C_BINS, C_GRID_MM, C_LOW_MM, V_BIN_MV, V_BINS, V_LOW_MV
from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import Bins, Ions, Single
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.workspace import TableIndex, Workspace, copy

LOG_C_LOW = float(np.log(C_LOW_MM))
LOG_C_BIN = float(np.log(C_GRID_MM[1] / C_GRID_MM[0]))
LOG_2, ROOT_2 = float(np.log(2.0)), float(np.sqrt(2.0))
LAST_V_BIN, LAST_C_BIN = np.uint32(V_BINS - 2), np.uint32(C_BINS - 2)


@compiled
def locate_potentials(v_mV: Floats, index: TableIndex) -> None:
    """Fill the part of the index that is about potentials.

    Args:
        v_mV: (n,) [mV].
        index: is changed.
    """
    single, v_bin, fraction = index.v_mV, index.v_bin, index.v_fraction
    for i in range(len(v_mV)):
        p = min(max((v_mV[i] - V_LOW_MV) * (1.0 / V_BIN_MV), 0.0), V_BINS - 1.001)
        v_bin[i] = min(np.uint32(p), LAST_V_BIN)  # bounded as a whole number: V may be NaN
        fraction[i] = p - v_bin[i]
    for i in range(len(v_mV)):
        single[i] = v_mV[i]


@compiled
def locate_concentrations(
    ions: Ions, ion: int, start: int, stop: int, c_mM: Floats, index: TableIndex, work: Workspace
) -> None:
    """Fill the part of the index that is about one ion, its Nernst potential too.

    Args:
        ions: of the cell.
        ion: which.
        start, stop: positions.
        c_mM: (ions, n) [mM].
        index: is changed.
        work: is used.
    """
    log = work.double[0, : stop - start]
    _logarithms(c_mM[ion, start:stop], work.bits[: stop - start], log)
    _nernst(ions.nernst_mV[ion], ions.log_outside[ion, start:stop], log, index.nernst_mV[ion, start:stop])
    _locate_logarithms(log, index.c_bin[ion, start:stop], index.c_fraction[ion, start:stop])
    copy(c_mM[ion, start:stop], index.c_mM[ion, start:stop])


@compiled
def _logarithms(x: Floats, bits: NDArray[np.int64], out: Floats) -> None:
    """log(x) of positive numbers, to 1e-9, in arithmetic alone, so that it runs over them as vectors.

    Of x = 2^k m, with m from 1 to 2, the series of log((1 + z) / (1 - z)) about the middle.
    """
    whole, mantissa = x.view(np.int64), bits.view(np.float64)
    for i in range(len(x)):
        bits[i] = (whole[i] & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000
    for i in range(len(x)):
        z = (mantissa[i] - ROOT_2) / (mantissa[i] + ROOT_2)
        y = z * z
        series = 1.0 + y * (1.0 / 3.0 + y * (1.0 / 5.0 + y * (1.0 / 7.0 + y / 9.0)))
        out[i] = ((whole[i] >> 52) - 1023 + 0.5) * LOG_2 + 2.0 * z * series


@compiled
def _nernst(nernst_mV: float, log_outside: Floats, log_inside: Floats, e_mV: Single) -> None:
    for i in range(len(e_mV)):
        e_mV[i] = nernst_mV * (log_outside[i] - log_inside[i])


@compiled
def _locate_logarithms(log_c: Floats, c_bin: Bins, fraction: Single) -> None:
    for i in range(len(log_c)):
        p = min(max((log_c[i] - LOG_C_LOW) * (1.0 / LOG_C_BIN), 0.0), C_BINS - 1.001)
        c_bin[i] = min(np.uint32(p), LAST_C_BIN)
        fraction[i] = p - c_bin[i]


@compiled
def on_coarse_grid(fine_bin: Any, fraction: Any, stride: int, last: int) -> tuple[Any, Any]:
    """Where a point of a fine grid lies on one that has every `stride`-th of its points.

    Args:
        fine_bin, fraction: where it lies on the fine grid.
        stride: points of the fine grid in one step of the coarse one.
        last: last bin of the coarse grid.

    Returns:
        Bin and fraction on the coarse grid.
    """
    k = min(fine_bin // stride, last)
    return k, (fine_bin - k * stride + fraction) / np.float32(stride)


@compiled
def interpolate_plane(table: Single, c_bin: int, c_fraction: float, v_bin: int, v_fraction: float) -> float:
    """Between the four corners of a table over c and V.

    Args:
        table: (points of c, points of V).
        c_bin, c_fraction, v_bin, v_fraction: where it is looked up.
    """
    low = table[c_bin, v_bin] + v_fraction * (table[c_bin, v_bin + 1] - table[c_bin, v_bin])
    high = table[c_bin + 1, v_bin] + v_fraction * (table[c_bin + 1, v_bin + 1] - table[c_bin + 1, v_bin])
    found: float = low + c_fraction * (high - low)
    return found
