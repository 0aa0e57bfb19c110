"""Whether the compartments of a tree are cylinders in space, as all that is measured outside a cell needs."""

from __future__ import annotations

import numpy as np

from dendrotwin.cell.tree import Tree


def geometry_fault(tree: Tree) -> str | None:
    """What is wrong with the first compartment that is no cylinder; None where all are.

    Ends must be finite and apart, length, diameter and area finite and positive.

    Args:
        tree: as it was read or made.
    """
    shape = np.shape(tree.ends_um)
    if shape != (tree.n, 2, 3):
        return f"the ends of its compartments have shape {shape}, not {(tree.n, 2, 3)}"
    finite = np.isfinite(tree.ends_um).all(axis=(1, 2))
    apart = (tree.ends_um[:, 0] != tree.ends_um[:, 1]).any(axis=1)
    faults = [(~finite, "has an end that is not finite"), (~apart, "has both ends at one point")]
    for name, what in (("length_um", "a length"), ("diameter_um", "a diameter"), ("area_um2", "an area")):
        values = np.asarray(getattr(tree, name), dtype=np.float64)
        if values.shape != (tree.n,):
            return f"it has {values.size} values of {name} for {tree.n} compartments"
        faults.append((~((values > 0.0) & (values < np.inf)), f"has {what} that is not positive and finite"))
    for wrong, what in faults:
        if wrong.any():
            compartment = int(np.flatnonzero(wrong)[0])
            return f"compartment {compartment}, {tree.names[compartment]}, {what}"
    return None
