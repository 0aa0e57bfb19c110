"""Membrane currents, from potentials and axial conductances alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.signals.placing import position_columns
from dendrotwin.solver.axial import axial_matrix


def membrane_currents(
    tree: Tree, v_mV: NDArray[np.floating], injection: Injection | None = None
) -> NDArray[np.float64]:
    """Transmembrane current of every compartment, from potentials and axial conductances alone.

    Kirchhoff's current law: what flows into a compartment along the tree and through electrodes leaves it through its
    membrane. With g[i, j] the axial conductance between neighbours i and j,

    I_m[i] = sum over j of g[i, j] (V[j] - V[i]) + I_electrode[i].

    Args:
        tree: the cell.
        v_mV: (samples, n) potentials of all compartments [mV].
        injection: current through electrodes at the same samples, or None.

    Returns:
        (samples, n) currents, outward positive [nA]. Each row sums to the injected current, without electrodes to zero.

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
    """The membrane currents of all compartments of one cell as a signal, to write them into a file.

    Attributes:
        tree: the cell at its place.
        name, unit, acts_on: see `LinearInstrument`.
    """

    tree: Tree
    name: str = "currents"
    unit: ClassVar[str] = "nA"
    acts_on: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """The (n, n) identity [1]: a channel for each compartment.

        Args:
            tree: the cell at its place.
        """
        return np.eye(tree.n)

    def channels(self) -> dict[str, Any]:
        """The compartments' names, and where their middles are [um]."""
        return {"compartment": np.array(self.tree.names), **position_columns(self.tree.ends_um.mean(axis=1))}


def check_potentials(tree: Tree, v_mV: NDArray[np.floating]) -> None:
    """Check that potentials are finite and of all compartments, so that membrane currents follow from them.

    Args:
        tree: the cell.
        v_mV: (samples, n) potentials [mV].

    Raises:
        InputError: a compartment is missing, or a potential is NaN or infinite.
    """
    if v_mV.ndim != 2 or v_mV.shape[1] != tree.n:
        raise InputError(
            f"V has shape {v_mV.shape}, and the cell has {tree.n} compartments; membrane currents follow only from the "
            "potentials of all of them, the axon's too: simulate again and record all"
        )
    if not np.isfinite(v_mV).all():
        sample, compartment = np.argwhere(~np.isfinite(v_mV))[0]
        raise InputError(f"V of compartment {compartment} is not finite at sample {sample}; make the recording again")
