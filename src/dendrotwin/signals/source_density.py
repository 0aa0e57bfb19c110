"""Current source density: the membrane current in the voxels of a grid, over their volume.

As LFPykit's `VolumetricCurrentSourceDensity` (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), but exact: LFPykit
puts each micrometre's current into the voxel of its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import InputError
from dendrotwin.signals.placing import soma_centre

LAYER_UM = 50.0  # of the default layers, our choice
BEYOND_UM = 1e-6  # what rounding may put outside a grid


def csd_matrix(tree: Tree, x_edges_um: Floats, y_edges_um: Floats, z_edges_um: Floats) -> Floats:
    """Current source density in the voxels of a grid for 1 nA through the membrane of each compartment.

    The current of a compartment is spread evenly along it. A voxel has the share of the compartment's length that lies
    in it, found by cutting the compartment at every border; a compartment within a border is above it. The density is
    the current in a voxel over its volume. What lies outside the grid is in no voxel: look at a part of a cell with
    this, and take a `CSD` where none may be lost.

    Args:
        tree: the cell at its place.
        x_edges_um, y_edges_um, z_edges_um: (edges,) borders of the voxels along each axis, rising [um].

    Returns:
        (voxels, n) [1/um3], voxels with z running fastest; the density is `currents @ matrix.T` [nA/um3].

    Raises:
        InputError: borders do not rise.
    """
    edges = [np.asarray(axis, dtype=np.float64) for axis in (x_edges_um, y_edges_um, z_edges_um)]
    if any(axis.ndim != 1 or len(axis) < 2 or not (np.diff(axis) > 0.0).all() for axis in edges):
        raise InputError("the borders of the voxels must rise along each axis; give at least two of each")
    start, along = tree.ends_um[:, 0], tree.ends_um[:, 1] - tree.ends_um[:, 0]
    cuts = [np.zeros((tree.n, 1)), np.ones((tree.n, 1))]  # (n, .) shares of the length at which a voxel may end
    for axis, borders in enumerate(edges):
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = (borders - start[:, axis, None]) / along[:, axis, None]
        cuts.append(np.clip(np.nan_to_num(crossing, nan=0.0), 0.0, 1.0))
    cut = np.sort(np.concatenate(cuts, axis=1), axis=1)
    middle = (cut[:, 1:] + cut[:, :-1]) / 2.0
    inside = np.ones(middle.shape, dtype=bool)
    voxel = np.zeros(middle.shape, dtype=np.int64)
    for axis, borders in enumerate(edges):
        at = start[:, axis, None] + middle * along[:, axis, None]
        k = np.searchsorted(borders, at, side="right") - 1
        k[at == borders[-1]] = len(borders) - 2
        inside &= (k >= 0) & (k < len(borders) - 1)
        voxel = voxel * (len(borders) - 1) + k
    widths = [np.diff(axis) for axis in edges]
    volume = np.einsum("i,j,k->ijk", *widths).ravel()
    matrix = np.zeros((len(volume), tree.n))
    compartment = np.broadcast_to(np.arange(tree.n)[:, None], middle.shape)
    np.add.at(matrix, (voxel[inside], compartment[inside]), np.diff(cut, axis=1)[inside])
    return np.asarray(matrix / volume[:, None])


def layers_over(trees: Sequence[Tree], layers: int | None = None) -> Floats:
    """Borders of layers that hold all of the cells, none of which cuts through the soma of the first one.

    One layer has that soma's centre in its middle. Layers are 50 um thick, or as thick as the soma, unless their number
    says otherwise.

    Args:
        trees: the cells at their places.
        layers: how many; None for as many as are needed.

    Returns:
        (layers + 1,) rising [um].
    """
    low = min(float(tree.ends_um[:, :, 2].min()) for tree in trees)
    high = max(float(tree.ends_um[:, :, 2].max()) for tree in trees)
    middle = float(soma_centre(trees[0])[2])
    soma = trees[0].ends_um[trees[0].in_region("soma")][:, :, 2]
    least = 2.0 * float(np.abs(soma - middle).max()) if soma.size else 0.0
    if layers == 1:
        return np.array([low - 1.0, high + 1.0])
    thick = max(LAYER_UM, np.ceil(least)) if layers is None else max((high - low) / (layers - 1), least, 1.0)
    below, above = (int(np.ceil(max(0.0, extent / thick - 0.5))) for extent in (middle - low, high - middle))
    if layers is not None:
        above += max(0, layers - below - above - 1)
    return np.asarray(middle + (np.arange(-below, above + 2) - 0.5) * thick)


@dataclass(frozen=True, eq=False)
class CSD:
    """Current source density in layers across z, over a column that holds the cell [nA/um3]; see `csd_matrix`.

    Attributes:
        z_edges_um: (layers + 1,) borders of the layers, rising [um]; see `layers_over`.
        half_width_um: how far the column reaches along x and y from the origin [um]. The default is our choice, wide
            enough for one cell at the origin.
        name, unit, acts_on: see `LinearInstrument`.
    """

    z_edges_um: Floats
    half_width_um: float = 500.0
    name: str = "csd"
    unit: ClassVar[str] = "nA/um3"
    acts_on: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """Density in each layer for 1 nA through each compartment: (layers, n) [1/um3].

        Args:
            tree: the cell at its place.

        Raises:
            InputError: the cell is not within the column and its layers, or see `csd_matrix`.
        """
        reach_um = float(np.abs(tree.ends_um[:, :, :2]).max())
        if reach_um > self.half_width_um:
            raise InputError(
                f"the cell reaches {reach_um:.0f} um from the axis of the column, {self.half_width_um:g} um wide to "
                f"each side, and currents outside are lost; give half_width_um={np.ceil(reach_um / 100.0) * 100.0:.0f}"
            )
        across = np.array([-self.half_width_um, self.half_width_um])
        matrix = csd_matrix(tree, across, across, self.z_edges_um)
        bottom, top = float(self.z_edges_um[0]), float(self.z_edges_um[-1])
        low, high = float(tree.ends_um[:, :, 2].min()), float(tree.ends_um[:, :, 2].max())
        if low < bottom - BEYOND_UM or high > top + BEYOND_UM:
            raise InputError(
                f"the cell reaches from z = {low:.0f} to {high:.0f} um, the layers from {bottom:g} to {top:g} um, and "
                f"currents outside are lost; give start_um={np.floor(min(low, bottom) / 50.0) * 50.0:.0f} and "
                f"stop_um={np.ceil(max(high, top) / 50.0) * 50.0:.0f}, or leave both away"
            )
        return matrix

    def channels(self) -> dict[str, Any]:
        """The middles of the layers [um]."""
        edges = np.asarray(self.z_edges_um, dtype=np.float64)
        return {"z_um": (edges[1:] + edges[:-1]) / 2}
