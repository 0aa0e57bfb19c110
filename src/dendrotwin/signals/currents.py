"""Membrane currents, from potentials and axial conductances alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.signals.placing import coordinates
from dendrotwin.solver.axial import axial_matrix


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
        (time, n) outward positive [nA]; without electrodes each row sums to zero, with them to what they inject.

    Raises:
        InputError: see `check_potentials`.
    """
    check_potentials(tree, v_mV)
    current = np.asarray(v_mV, dtype=np.float64) @ axial_matrix(tree)
    if injection is not None:
        np.add.at(current.T, injection.compartment, injection.current_nA.T)
    return np.asarray(current)


@dataclass(frozen=True, eq=False)
class Currents:
    """The membrane currents of all compartments of one cell, as an instrument: to stream them into a file [nA].

    Attributes:
        tree: the cell, where it is.
    """

    tree: Tree
    name: str = "currents"
    unit: ClassVar[str] = "nA"
    of: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """(n, n), which leaves currents as they are."""
        return np.eye(tree.n)

    def channels(self) -> dict[str, Any]:
        """The compartments: names, and where their middles are."""
        return {"compartment": np.array(self.tree.names), **coordinates(self.tree.ends_um.mean(axis=1))}


def check_potentials(tree: Tree, v_mV: NDArray[np.floating]) -> None:
    """Raise InputError unless V is finite and of all compartments, without which the currents do not close."""
    if v_mV.ndim != 2 or v_mV.shape[1] != tree.n:
        raise InputError(
            f"V has shape {v_mV.shape}, the cell has {tree.n} compartments; the currents close only if all of them are "
            "recorded, the axon too: simulate again with all"
        )
    if not np.isfinite(v_mV).all():
        step, compartment = np.argwhere(~np.isfinite(v_mV))[0]
        raise InputError(f"V of compartment {compartment} is not finite at sample {step}; make the recording again")
