"""Potentials in a slab of tissue between two half-spaces of other conductivities, by the method of images.

A source is mirrored at both borders without end (Ness et al. 2015, doi:10.1007/s12021-015-9265-6). Near images are
summed one by one. All others together are a series of multipoles, so that nothing is cut off: where a surface
insulates, or is a metal, or the contact is far away, images add up over hundreds of thicknesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_legendre, expn

from dendrotwin.cell.tree import Floats, Tree

# Images nearer than this many times the distance from contact to source are summed one by one, so that multipole
# number l of the others is less than NEAR^-l, and what is beyond the last one less than 1e-12.
NEAR = 3.0
MULTIPOLES = 25
LEAST_IMAGES = 4  # summed one by one in any case: lines may be as long as the slab is thick
DIRECT_TERMS = 20_000  # of the sums over n, of which the rest is an integral with Euler's corrections
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)  # of the mean over a line, in images that are far from it
POINTS_AT_ONCE = 256  # 8 MB in each array, for 4000 compartments


@dataclass(frozen=True)
class Slab:
    """Tissue between two half-spaces of other conductivities, with borders across z.

    The defaults are a slice on the glass of an electrode array, under saline (Ness et al. 2015,
    doi:10.1007/s12021-015-9265-6). The cortex under an ECoG grid is a slab between white matter and what covers it.

    Attributes:
        bottom_um: z of the lower border [um].
        thickness_um: of the tissue [um]; the whole cell must be in it.
        below_S_per_m, tissue_S_per_m, above_S_per_m: conductivities [S/m].
    """

    bottom_um: float = -150.0
    thickness_um: float = 300.0
    below_S_per_m: float = 0.0
    tissue_S_per_m: float = 0.3
    above_S_per_m: float = 1.5

    @property
    def top_um(self) -> float:
        """z of the upper border [um]."""
        return self.bottom_um + self.thickness_um

    @property
    def is_closed(self) -> bool:
        """Whether both borders insulate, so that no current leaves the slab."""
        return self.below_S_per_m == self.above_S_per_m == 0.0

    def reflection(self) -> tuple[float, float]:
        """By how much the images behind the lower and the upper border are weaker than their source, -1 to 1."""
        tissue = self.tissue_S_per_m
        below, above = ((tissue - other) / (tissue + other) for other in (self.below_S_per_m, self.above_S_per_m))
        return below, above


def slab_matrix(tree: Tree, points_um: Floats, slab: Slab, is_line: NDArray[np.bool_]) -> Floats:
    """Potential at points in a slab for 1 nA through the membrane of each compartment.

    With heights z of the point and z' of the source above the bottom, thickness h, the reflections G at the bottom and
    S at the top, and w(a) = 1 / distance where point and source are a apart along z,

    4 pi sigma phi = sum over n >= 0 of (G S)^n [w(2nh + z - z') + G w(2nh + z + z') + S w(2nh + 2h - z - z')]
                   + sum over n > 0 of (G S)^n w(2nh - z + z').

    A distance shorter than the compartment's radius counts as that radius.

    Where both borders insulate (G S = 1) the sums are infinite by a constant, 4 / (2nh) for each n > 0, which is left
    away. It is the same for all points and compartments and of no effect on currents that sum to zero; of others the
    potential is infinite, for they cannot leave.

    Args:
        tree: the cell at its place.
        points_um: (points, 3), in the slab [um].
        slab: the layers.
        is_line: (n,) which compartments are lines; the others are points at their middles.

    Returns:
        (points, n) [mV/nA], within 1e-9 of the infinite sum.
    """
    matrix = np.empty((len(points_um), tree.n))
    bottom = np.array([0.0, 0.0, slab.bottom_um])
    for chosen, lines in ((np.flatnonzero(is_line), True), (np.flatnonzero(~is_line), False)):
        ends, radius = tree.ends_um[chosen] - bottom, tree.diameter_um[chosen] / 2
        for start in range(0, len(points_um), POINTS_AT_ONCE):
            block = slice(start, start + POINTS_AT_ONCE)
            matrix[block, chosen] = _sum_of_images(ends, radius, points_um[block] - bottom, slab, lines)
    return np.asarray(matrix / (4.0 * np.pi * slab.tissue_S_per_m))


def _sum_of_images(ends: Floats, radius: Floats, points: Floats, slab: Slab, lines: bool) -> Floats:
    """(points, n) mean of 1 / distance between points and (n, 2, 3) sources, over all images."""
    h = slab.thickness_um
    below, above = slab.reflection()
    weight = below * above
    middles = ends.mean(axis=1)
    total = np.zeros((len(points), len(ends)))
    if total.size == 0:
        return total
    across = max(
        float(np.linalg.norm(points[:, None, :2] - at[:, :2], axis=2).max()) for at in (ends[:, 0], ends[:, 1])
    )
    near = max(LEAST_IMAGES, int(np.ceil(NEAR * np.hypot(across, 2.0 * h) / (2.0 * h)))) if weight else 1
    z = points[:, 2]
    # It is the same whether sources are mirrored or points; these are fewer.
    for strength, base, way, first in ((1.0, z, 1, 0), (below, -z, -1, 0), (above, 2.0 * h - z, 1, 0), (1.0, z, -1, 1)):
        if strength == 0.0:
            continue
        for n in range(first, near):
            moved = np.column_stack([points[:, :2], base + way * 2.0 * n * h])
            if lines:
                total += strength * weight**n * _mean_over_lines(ends, radius, moved)
            else:
                distance = np.linalg.norm(moved[:, None] - middles, axis=2)
                total += strength * weight**n / np.maximum(distance, radius)
        if not weight:
            continue
        powers = _sums_of_powers(weight, near)
        for node, share in zip(NODES, WEIGHTS / 2.0, strict=True) if lines else ((0.0, 1.0),):
            sources = middles + node / 2.0 * (ends[:, 1] - ends[:, 0])
            x, y = (points[:, None, axis] - sources[:, axis] for axis in (0, 1))
            total += strength * share * _far_images(np.hypot(x, y), way * (base[:, None] - sources[:, 2]), h, powers)
    return total


def _mean_over_lines(ends: Floats, radius: Floats, points: Floats) -> Floats:
    """(points, n) mean of 1 / distance along lines: 2 artanh(L / (d0 + d1)) / L, d0 and d1 to the ends of length L."""
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1)
    from_start = points[:, None] - ends[:, 0]
    t = (from_start * along).sum(axis=2) / length
    across = np.linalg.norm(from_start - (t / length)[:, :, None] * along, axis=2)
    across = np.maximum(across, radius)
    return np.asarray(2.0 * np.arctanh(length / (np.hypot(t, across) + np.hypot(length - t, across))) / length)


def _far_images(across: Floats, offset: Floats, h: float, powers: tuple[float, ...]) -> Floats:
    """(points, n) sum over the far images, n >= N, of W^n / |(across, 2nh + offset)|.

    1 / |(r, D + a)| = sum over l of (-R)^l P_l(a / R) / D^(l + 1), with R = |(r, a)| < D, so that each multipole l
    needs one number of all n, the sum of W^n / n^(l + 1).
    """
    distance = np.hypot(across, offset)
    cosine = offset / np.where(distance > 0.0, distance, 1.0)
    total = np.zeros_like(distance)
    power = np.full_like(distance, 1.0 / (2.0 * h))
    for multipole, of_all_n in enumerate(powers):
        total += of_all_n * power * eval_legendre(multipole, cosine)
        power *= -distance / (2.0 * h)
    return total


@cache
def _sums_of_powers(weight: float, first: int) -> tuple[float, ...]:
    """Sums over n >= first of weight^n / n^s, for s from 1; of weight 1 and s = 1, less the sum over all n > 0."""
    last = first + DIRECT_TERMS
    n = np.arange(first, last, dtype=np.float64)
    decay = -np.log(abs(weight))
    sums = []
    for s in range(1, MULTIPOLES + 1):
        if weight == 1.0 and s == 1:
            sums.append(-float((1.0 / np.arange(1, first)).sum()))
            continue
        sign = np.where(n % 2 == 1, np.sign(weight), 1.0)
        direct = float((sign * np.exp(-decay * n) / n**s).sum())
        g = np.exp(-decay * last) / float(last) ** s  # the first that is left, and its derivative
        slope = -g * (decay + s / last)
        if weight > 0.0:  # Euler and Maclaurin
            rest = float(last) ** (1 - s) * expn(s, decay * last) + g / 2.0 - slope / 12.0
        else:  # Boole: of alternating terms
            rest = (-1.0) ** last * (g / 2.0 - slope / 4.0)
        sums.append(direct + float(rest))
    return tuple(sums)
