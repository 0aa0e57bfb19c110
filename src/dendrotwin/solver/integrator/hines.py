"""Linear equations on a tree, in as many operations as it has nodes (Hines 1984, doi:10.1016/0020-7101(84)90008-4).

    diagonal_i x_i - sum_j g_ij x_j = right_i,    j over the neighbours of i

Every node is eliminated before its parent; then the solution goes from the root to the ends.
"""

from __future__ import annotations

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import AxialTree, Bins
from dendrotwin.solver.compiled import compiled


@compiled
def solve(axial: AxialTree, diagonal: Floats, right: Floats) -> None:
    """Factorise, and solve.

    Args:
        axial: of the cell.
        diagonal: (nodes,) becomes the inverse of what is divided by, for `solve_again` [uS].
        right: (nodes,) becomes the solution [nA].
    """
    order, parent, axial_uS, _ = axial
    last = len(order) - 1
    for k in range(last):
        j, p, g = order[k], parent[k], axial_uS[k]
        inverse = 1.0 / diagonal[j]
        diagonal[j] = inverse
        share = g * inverse
        diagonal[p] -= share * g
        right[p] += share * right[j]
    root = order[last]
    diagonal[root] = 1.0 / diagonal[root]
    _substitute_back(order, parent, axial_uS, diagonal, right)


@compiled
def solve_again(axial: AxialTree, inverse: Floats, right: Floats) -> None:
    """Solve with the same matrix and another right side.

    Args:
        axial: of the cell.
        inverse: (nodes,) as `solve` has left it.
        right: (nodes,) becomes the solution [nA].
    """
    order, parent, axial_uS, _ = axial
    for k in range(len(order) - 1):
        j = order[k]
        right[parent[k]] += axial_uS[k] * inverse[j] * right[j]
    _substitute_back(order, parent, axial_uS, inverse, right)


@compiled
def _substitute_back(order: Bins, parent: Bins, axial_uS: Floats, inverse: Floats, right: Floats) -> None:
    """From the root to the ends."""
    last = len(order) - 1
    right[order[last]] *= inverse[order[last]]
    for i in range(last):
        k = np.uint32(last - 1 - i)
        j = order[k]
        right[j] = (right[j] + axial_uS[k] * right[parent[k]]) * inverse[j]
