"""Membrane currents of many cells, from their potentials: Kirchhoff's law, in compiled code.

What flows into a compartment along the tree leaves it through its membrane: I_i = sum_j g_ij (V_j - V_i). Differences
are taken first, so that single precision is enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Tree
from dendrotwin.solver.axial import axial_matrix
from dendrotwin.solver.cell_arrays import Single
from dendrotwin.solver.compiled import compiled


class Neighbours(NamedTuple):
    """Which compartments are joined to which, in positions.

    Attributes:
        first: (n + 1,) the first neighbour of each, and where those of the last one end.
        other: (pairs,) the neighbours.
        axial_uS: (pairs,) the conductance between both [uS].
    """

    first: NDArray[np.int64]
    other: NDArray[np.int64]
    axial_uS: Single

    @classmethod
    def of(cls, tree: Tree, compartment: NDArray[np.int64]) -> Neighbours:
        """Those of a tree.

        Args:
            tree: the cell.
            compartment: (n,) the one at each position.
        """
        axial = axial_matrix(tree)[compartment][:, compartment].tocsr()
        axial.setdiag(0.0)
        axial.eliminate_zeros()
        return cls(axial.indptr.astype(np.int64), axial.indices.astype(np.int64), axial.data.astype(np.float32))


@compiled
def membrane_currents(neighbours: Neighbours, v_mV: Single, out: Single) -> None:
    """Outward membrane currents of cells without electrodes.

    Args:
        neighbours: of the cells' tree.
        v_mV: (cells, samples, n) [mV].
        out: (samples, cells, n) gets the currents [nA].
    """
    first, other, uS = neighbours.first, neighbours.other, neighbours.axial_uS
    for c in range(v_mV.shape[0]):
        for s in range(v_mV.shape[1]):
            v, current = v_mV[c, s], out[s, c]
            for i in range(len(v)):
                into = np.float32(0.0)
                for k in range(first[i], first[i + 1]):
                    into += uS[k] * (v[other[k]] - v[i])
                current[i] = into
