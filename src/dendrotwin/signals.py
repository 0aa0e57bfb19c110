"""From potentials to what is measured outside a cell: here, its membrane currents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dendrotwin.solve import axial_currents
from dendrotwin.tree import Injection, Tree


def membrane_currents(
    tree: Tree, v_mV: NDArray[np.floating], injection: Injection | None = None
) -> NDArray[np.float64]:
    """Transmembrane current of every compartment, from potentials and axial conductances alone.

    Kirchhoff: what flows in along the tree, and through electrodes, leaves through the membrane:
    I_m[i] = sum over neighbours j of g[i, j] (V[j] - V[i]) + I_electrode[i].

    Args:
        tree: the cell.
        v_mV: (time, n) potentials [mV].
        injection: current through electrodes, at the same times, or None.

    Returns:
        (time, n) outward positive [nA]; without electrodes each row sums to zero.
    """
    current = axial_currents(tree, v_mV)
    if injection is not None:
        for e, compartment in enumerate(injection.compartment):
            current[:, compartment] += injection.current_nA[:, e]
    return current
