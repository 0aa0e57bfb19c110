"""The images that a camera takes of a cell stained with a voltage-sensitive dye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import erf

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import InputError

FINEST = 64  # parts of a pixel that the blur may be, at most: the work grows with them
ROUNDING = 1e-6  # of a length in files: a compartment of two pieces that is so much longer has two as well
NODES, WEIGHTS = np.polynomial.legendre.leggauss(4)  # in each piece


@dataclass(frozen=True, eq=False)
class Dye:
    """Fluorescence of a voltage-sensitive dye: membrane area times potential, through the tissue, on a camera.

    The dye stains all membrane equally and follows the potential without delay. Light from depth d reaches the camera
    weaker by exp(-d / attenuation) and spread over a Gaussian of standard deviation blur + spread d (scattering; Tian
    et al. 2011, doi:10.1117/1.3533263); weighting by area and depth is that of Chemla and Chavane 2010
    (doi:10.1016/j.neuroimage.2010.06.026):

    F[p] = sum over i of area_i exp(-d_i / attenuation) (share of the Gaussian about i within pixel p) V_i  [mV um2].

    `matrix(tree).sum(axis=1)` [um2] is the membrane area that a pixel collects light from. The change of F over it is
    the mean change of the potential there [mV], to which the relative change of fluorescence dF/F is proportional.

    The defaults are round numbers of our choice, not those of a set-up.

    Attributes:
        rows, columns: pixels along y and along x. The camera looks down, along -z.
        pixel_um: side of a pixel [um].
        centre_um: x, y of the middle of the image [um].
        surface_um: z of the surface of the tissue [um]; None for the highest point of all cells that are recorded
            together.
        attenuation_um: depth from which 1/e of the light reaches the camera [um], infinite for no attenuation.
        blur_um: standard deviation of the point-spread function at the surface [um].
        spread: by how much it grows with depth [um/um].
        name, unit, acts_on: see `LinearInstrument`.
    """

    rows: int = 32
    columns: int = 32
    pixel_um: float = 20.0
    centre_um: tuple[float, float] = (0.0, 0.0)
    surface_um: float | None = None
    attenuation_um: float = 200.0
    blur_um: float = 10.0
    spread: float = 0.2
    name: str = "dye"
    unit: ClassVar[str] = "mV um2"
    acts_on: ClassVar[str] = "potentials"

    def __post_init__(self) -> None:
        """Raise InputError where the camera has no pixel, or a length is not positive."""
        if self.rows < 1 or self.columns < 1:
            raise InputError(f"a camera of {self.rows} by {self.columns} pixels; give at least one of each")
        if not np.isfinite([self.pixel_um, self.blur_um, self.spread]).all():
            raise InputError("a camera's pixel_um, blur_um and spread must be finite")
        if 0.0 < self.blur_um < self.pixel_um / FINEST:
            raise InputError(
                f"a blur of {self.blur_um:g} um is below 1/{FINEST} of a pixel and would need too many points; give "
                f"blur_um={self.pixel_um / FINEST:g} or more, or smaller pixels"
            )
        if not (self.pixel_um > 0.0 and self.attenuation_um > 0.0 and self.blur_um > 0.0 and self.spread >= 0.0):
            raise InputError("a camera's pixel_um, attenuation_um and blur_um must be positive, its spread 0 or more")

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of an image: (rows, columns)."""
        return self.rows, self.columns

    def edges_um(self) -> tuple[Floats, Floats]:
        """Borders of the pixels: (rows + 1,) y and (columns + 1,) x [um]."""
        y = self.centre_um[1] + (np.arange(self.rows + 1) - self.rows / 2) * self.pixel_um
        x = self.centre_um[0] + (np.arange(self.columns + 1) - self.columns / 2) * self.pixel_um
        return np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)

    def matrix(self, tree: Tree) -> Floats:
        """The membrane area of each compartment that each pixel collects light from; times V [mV] it is F [mV um2].

        The mean over a compartment is a Gauss-Legendre rule with four points on each piece of it. Pieces are no longer
        than the standard deviation at the surface, so that a pixel's share is within 1e-5 of the compartment's area.

        Args:
            tree: the cell at its place.

        Returns:
            (rows columns, n) [um2].

        Raises:
            InputError: a compartment is above the surface.
        """
        longest = float(np.linalg.norm(tree.ends_um[:, 1] - tree.ends_um[:, 0], axis=1).max())
        pieces = max(1, int(np.ceil((1.0 - ROUNDING) * longest / self.blur_um)))
        shares = ((np.arange(pieces)[:, None] + (NODES + 1.0) / 2.0) / pieces).ravel()
        weights = np.tile(WEIGHTS / 2.0, pieces) / pieces
        start, along = tree.ends_um[:, 0], tree.ends_um[:, 1] - tree.ends_um[:, 0]
        surface = float(tree.ends_um[:, :, 2].max()) if self.surface_um is None else self.surface_um
        rows, columns = self.edges_um()
        highest = float(tree.ends_um[:, :, 2].max())
        if highest > surface:
            raise InputError(
                f"a compartment is {highest - surface:.3g} um above the surface at z = {surface:g} um; raise "
                "surface_um, or move the cell"
            )
        matrix = np.zeros((self.rows, self.columns, tree.n))
        for share, weight in zip(shares, weights, strict=True):
            x, y, z = (start + share * along).T
            depth = np.maximum(surface - z, 0.0)  # rounding
            sigma = self.blur_um + self.spread * depth
            across, down = _share_between(columns, x, sigma), _share_between(rows, y, sigma)
            light = weight * tree.area_um2 * np.exp(-depth / self.attenuation_um)
            matrix += np.einsum("rn,cn->rcn", down * light, across)
        return matrix.reshape(-1, tree.n)

    def share_in_view(self, trees: Sequence[Tree]) -> float:
        """Share of the membrane of all cells that is in front of the camera, whatever of its light is scattered.

        Args:
            trees: the cells at their places.
        """
        rows, columns = self.edges_um()
        seen = total = 0.0
        for tree in trees:
            y, x = tree.ends_um[:, :, 1].mean(axis=1), tree.ends_um[:, :, 0].mean(axis=1)
            inside = (y >= rows[0]) & (y <= rows[-1]) & (x >= columns[0]) & (x <= columns[-1])
            seen, total = seen + float(tree.area_um2[inside].sum()), total + float(tree.area_um2.sum())
        return seen / total

    def channels(self) -> dict[str, Any]:
        """The middles of the pixels, row by row [um]."""
        y, x = ((edges[1:] + edges[:-1]) / 2 for edges in self.edges_um())
        return {"x_um": np.tile(x, self.rows), "y_um": np.repeat(y, self.columns)}


def _share_between(edges: Floats, centre: Floats, sigma: Floats) -> Floats:
    """(pixels, n) share of Gaussians between neighbouring borders."""
    below = 0.5 * (1.0 + erf((edges[:, None] - centre) / (np.sqrt(2.0) * sigma)))
    return np.asarray(np.diff(below, axis=0))
