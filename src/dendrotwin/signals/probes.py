"""Electrodes: where their contacts are, and how large.

A contact of finite size records the mean potential over its disc, as in LFPykit (Hagen et al. 2018,
doi:10.3389/fninf.2018.00092).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dendrotwin.cell.tree import Floats, Ints, Tree
from dendrotwin.errors import InputError
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.placing import position_columns, soma_centre

RINGS = 4  # of points on a disc, where nothing says how near the cell is
LEAST_RINGS, MOST_RINGS, MISSED = 2, 12, np.log(1e5)  # see `Probe.rings_for`
FAR = 4.2  # radii from a disc, from where the fewest rings are enough
THIRDS = 20  # steps in which a place along a compartment is sought: to 3e-4 of its length
SHANK_DIRECTIONS = 36  # every 10 degrees around the cell: finer ones gain micrometres
SHANK_STEP_UM = 10.0  # by which a shank moves away until it is clear of the cell


@dataclass(frozen=True, eq=False)
class Probe:
    """The contacts of an electrode.

    Attributes:
        positions_um: (contacts, 3) centres of the contacts [um].
        radius_um: of the contacts, discs over which the potential is averaged [um]; 0: points. One for all, or
            (contacts,).
        normal: (3,) direction in which the discs face; one for all, or (contacts, 3).
        name: what error messages call it.
    """

    positions_um: Floats
    radius_um: float | Floats = 0.0
    normal: tuple[float, float, float] | Floats = (1.0, 0.0, 0.0)
    name: str = "probe"

    def __post_init__(self) -> None:
        """Raise InputError unless it is a probe with contacts."""
        try:
            positions = np.array(self.positions_um, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the contacts of {self.name} are not numbers; give (contacts, 3) x, y, z in um"
            ) from error
        object.__setattr__(self, "positions_um", positions)
        if positions.size == 0:
            raise InputError(f"{self.name} has no contacts; give at least one x, y, z in um")
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise InputError(f"the contacts of {self.name} have shape {positions.shape}; give (contacts, 3), in um")
        if not np.isfinite(positions).all():
            raise InputError(f"a contact of {self.name} is at NaN or infinity; correct its position")
        radius, normal = np.asarray(self.radius_um, np.float64), np.asarray(self.normal, np.float64)
        if radius.shape not in ((), (len(positions),)) or not ((radius >= 0.0) & (radius < np.inf)).all():
            raise InputError(f"the contacts of {self.name} have a radius of {self.radius_um} um; give 0 or more")
        if normal.shape not in ((3,), (len(positions), 3)) or not (np.linalg.norm(normal, axis=-1) > 0.0).all():
            raise InputError(f"the contacts of {self.name} face the direction {self.normal}; give a vector x, y, z")

    def __len__(self) -> int:
        return len(self.positions_um)

    def points_um(self, rings: int = RINGS) -> Floats:
        """Where the potential is taken: the centre of a point contact, rings of points over the disc of another.

        The mean over the points is that over the disc, exactly for polynomials of degree 4 rings - 2: Gauss' rule in
        the square of the radius, and 4 rings - 1 points evenly around each ring, so that all points of a ring have one
        weight; see `ring_weights`.

        Args:
            rings: how many.

        Returns:
            (contacts, points, 3) ring by ring [um].
        """
        if not np.any(self.radius_um):
            return self.positions_um[:, None, :]
        around = 4 * rings - 1
        spread = np.repeat(np.sqrt((np.polynomial.legendre.leggauss(rings)[0] + 1.0) / 2.0), around)
        angle = np.tile(2.0 * np.pi * np.arange(around) / around, rings)
        radius = np.asarray(self.radius_um)[..., None] * spread  # (points,) or (contacts, points)
        frames = np.array([_axes_of_disc(normal) for normal in np.atleast_2d(self.normal)])
        disc = (radius * np.cos(angle))[..., None] * frames[:, None, 0] + (radius * np.sin(angle))[..., None] * (
            frames[:, None, 1]
        )
        return np.asarray(self.positions_um[:, None, :] + disc)

    def rings_for(self, tree: Tree) -> Ints:
        """(contacts,) rings of points by which each disc has its mean of the potentials of a cell.

        With sources no nearer to the disc than d of its radii, Gauss' rule in the square of the radius misses
        q^(-2 rings), q = 1 + 2 d^2 + 2 d sqrt(1 + d^2), as the potential of a source in front of the disc is analytic
        up to there, and the points around the rim (1 + d)^(1 - 4 rings) of one beside it. Rings are so many that both
        are below 1e-5, and 12 at most, which is enough for d = 0.28; a membrane cannot be nearer than its compartment
        is thick.

        Args:
            tree: the cell at its place.
        """
        radius = np.broadcast_to(np.asarray(self.radius_um, np.float64), (len(self),))
        rings = np.ones(len(self), np.int32)
        discs = np.flatnonzero(radius)
        if len(discs):
            normals = np.broadcast_to(np.asarray(self.normal, np.float64), (len(self), 3))
            d = np.empty(len(discs))
            away = _distances_from_axes(tree, self.positions_um[discs]) - radius[discs, None]  # at least
            for k, contact in enumerate(discs):
                d[k] = FAR
                near = np.flatnonzero(away[k] < FAR * radius[contact])
                if len(near):
                    exact = _distances_from_disc(
                        tree.ends_um[near], self.positions_um[contact], normals[contact], radius[contact]
                    )
                    d[k] = np.maximum(exact, tree.diameter_um[near] / 2).min() / radius[contact]
            q = 1.0 + 2.0 * d**2 + 2.0 * d * np.sqrt(1.0 + d**2)
            needed = np.maximum(MISSED / (2.0 * np.log(q)), (MISSED / np.log1p(d) + 1.0) / 4.0)
            rings[discs] = np.clip(np.ceil(needed), LEAST_RINGS, MOST_RINGS)
        return rings

    def channels(self) -> dict[str, Any]:
        """Where the contacts are: a column for each coordinate [um]."""
        return position_columns(self.positions_um)


def ring_weights(rings: int) -> Floats:
    """(points,) weights of the points of `Probe.points_um`, whose sum is 1.

    Args:
        rings: how many.
    """
    around = 4 * rings - 1
    return np.repeat(np.polynomial.legendre.leggauss(rings)[1] / (2.0 * around), around)


def _distances_from_disc(ends_um: Floats, centre: Floats, normal: Floats, radius: float) -> Floats:
    """(n,) distance of each axis (n, 2, 3) from a disc, by bisection: along a line it is convex [um]."""
    normal = normal / np.linalg.norm(normal)
    start, along = ends_um[:, 0] - centre, ends_um[:, 1] - ends_um[:, 0]

    def distance(t: Floats) -> Floats:
        at = start + t[:, None] * along
        height = at @ normal
        across = np.sqrt(np.maximum((at**2).sum(axis=1) - height**2, 0.0))
        return np.asarray(np.hypot(height, np.maximum(across - radius, 0.0)))

    low, high = np.zeros(len(ends_um)), np.ones(len(ends_um))
    for _ in range(THIRDS):
        third = (high - low) / 3.0
        nearer_low = distance(low + third) < distance(high - third)
        low, high = np.where(nearer_low, low, low + third), np.where(nearer_low, high - third, high)
    return np.asarray(distance((low + high) / 2.0))


def _axes_of_disc(normal: Floats) -> tuple[Floats, Floats]:
    """Two axes of length 1 across a normal."""
    along = np.asarray(normal) / np.linalg.norm(normal)
    first = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    first /= np.linalg.norm(first)
    return first, np.cross(along, first)


def radius_of_area(shape: str, size_um: Sequence[float]) -> float:
    """Radius of the disc that has the area of a contact: what is averaged over is a disc.

    Args:
        shape: circle, square or rect.
        size_um: the radius of a circle, the side of a square, width and height of a rect [um].

    Returns:
        The radius [um].

    Raises:
        InputError: there is no such shape, or a size is not positive.
    """
    sizes = {"circle": 1, "square": 1, "rect": 2}
    if shape not in sizes or len(size_um) != sizes[shape]:
        raise InputError(f"a contact of the shape {shape!r} with {len(size_um)} sizes; give circle, square or rect")
    if not all(0.0 < size < np.inf for size in size_um):
        raise InputError(
            f"a contact of the shape {shape} is {' by '.join(map(str, size_um))} um large; give more than 0"
        )
    if shape == "circle":
        return float(size_um[0])
    return float(size_um[0] / np.sqrt(np.pi) if shape == "square" else np.sqrt(size_um[0] * size_um[1] / np.pi))


def point_electrodes(positions_um: ArrayLike) -> Probe:
    """Point electrodes anywhere.

    Args:
        positions_um: (contacts, 3) x, y, z [um].

    Raises:
        InputError: the positions are not finite numbers of this shape.
    """
    return Probe(positions_um, name="the probe")  # type: ignore[arg-type]  # Probe makes an array of it, or refuses


def linear_probe(
    start_um: Sequence[float] = (50.0, 0.0, -300.0),
    stop_um: Sequence[float] = (50.0, 0.0, 1200.0),
    contacts: int = 16,
    radius_um: float = 0.0,
) -> Probe:
    """A linear (laminar) probe: contacts evenly spaced along a line, both ends included.

    The defaults are a shank 50 um beside an upright cell, from 300 um below its soma to 1200 um above it: our choice,
    to span the height of a layer 5 pyramidal cell.

    Args:
        start_um, stop_um: (3,) x, y, z of the first and the last contact [um].
        contacts: how many.
        radius_um: of each contact [um]; 0: points.

    Raises:
        InputError: there is less than one contact, or see `Probe`.
    """
    if contacts < 1:
        raise InputError(f"a linear probe with {contacts} contacts; give at least one")
    return Probe(np.linspace(start_um, stop_um, contacts), radius_um, name="linear probe")


def shank_beside(tree: Tree, contacts: int = 6, distance_um: float = 50.0, clearance_um: float = 10.0) -> Probe:
    """Point electrodes on a line along z beside any cell, evenly spaced from its lowest to its highest point.

    Of 36 directions around the soma's centre, the line takes that in which its contacts are farthest from the cell. If
    in every direction a contact is too near a membrane, the line moves 10 um farther away, and so on. The same tree
    always has the same contacts. Six contacts are after figure 1D of Verhellen et al. 2024
    (doi:10.1371/journal.pcbi.1011728); the two distances are our choice.

    Args:
        tree: the cell at its place; an upright one (see `upright`) has contacts from its basal dendrites to its tuft. A
            cell less than `distance_um` high has contacts from so far below it to so far above it.
        contacts: how many.
        distance_um: of the line from the soma's centre [um].
        clearance_um: what a contact keeps from the nearest membrane [um].

    Raises:
        InputError: there is less than one contact.
    """
    if contacts < 1:
        raise InputError(f"a probe with {contacts} contacts; give at least one")
    lowest, highest = float(tree.ends_um[:, :, 2].min()), float(tree.ends_um[:, :, 2].max())
    margin_um = distance_um if highest - lowest < distance_um else 0.0
    z_um = np.linspace(lowest - margin_um, highest + margin_um, contacts)
    sites_um = _clear_line([tree], soma_centre(tree)[:2], z_um, distance_um, clearance_um)
    return Probe(sites_um, name="shank beside the cell")


def default_probe(trees: Sequence[Tree], clearance_um: float = 10.0) -> Probe:
    """The linear probe of `linear_probe`, or, where a contact of it would be inside a cell, one that is clear of all.

    The latter has the same heights, on a line around the origin as `shank_beside` finds it.

    Args:
        trees: the cells at their places.
        clearance_um: what a contact of a probe that moved keeps from the nearest membrane [um].
    """
    probe = linear_probe()
    if all((_distance_from_membrane(tree, probe.positions_um) > 0.0).all() for tree in trees):
        return probe
    x_um, y_um, _ = probe.positions_um[0]
    sites_um = _clear_line(trees, np.zeros(2), probe.positions_um[:, 2], float(np.hypot(x_um, y_um)), clearance_um)
    return Probe(sites_um, name="linear probe clear of the cells")


def _clear_line(
    trees: Sequence[Tree], centre_um: Floats, z_um: Floats, distance_um: float, clearance_um: float
) -> Floats:
    """(contacts, 3) sites at heights `z_um`, on the line along z around a centre that is farthest from the cells."""
    angle = 2.0 * np.pi * np.arange(SHANK_DIRECTIONS) / SHANK_DIRECTIONS
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for radius_um in itertools.count(distance_um, SHANK_STEP_UM):
        sites = np.empty((SHANK_DIRECTIONS, len(z_um), 3))
        sites[:, :, :2] = (centre_um + radius_um * direction)[:, None, :]
        sites[:, :, 2] = z_um
        distances = [_distance_from_membrane(tree, sites.reshape(-1, 3)) for tree in trees]
        nearest_um = np.min(distances, axis=0).reshape(SHANK_DIRECTIONS, len(z_um)).min(axis=1)
        best = int(np.argmax(np.round(nearest_um, 6)))  # rounded, so that the first of equally good ones is taken
        if nearest_um[best] >= clearance_um:
            break
    return np.asarray(sites[best])


def _distance_from_membrane(tree: Tree, points_um: Floats) -> Floats:
    """(points,) distance of (points, 3) [um] from the nearest membrane; negative within a compartment [um]."""
    return np.asarray((_distances_from_axes(tree, points_um) - tree.diameter_um / 2).min(axis=1))


def _distances_from_axes(tree: Tree, points_um: Floats) -> Floats:
    """(points, n) distance of (points, 3) [um] from the axis of each compartment [um]."""
    start, along = tree.ends_um[:, 0], tree.ends_um[:, 1] - tree.ends_um[:, 0]
    from_start = points_um[:, None, :] - start
    share = np.clip((from_start * along).sum(axis=2) / np.maximum((along**2).sum(axis=1), 1e-12), 0.0, 1.0)
    return np.asarray(np.linalg.norm(from_start - share[:, :, None] * along, axis=2))


def square_array(
    rows: int = 8,
    columns: int = 8,
    pitch_um: float = 50.0,
    centre_um: Sequence[float] = (0.0, 50.0, 0.0),
    radius_um: float = 0.0,
    plane: str = "xz",
) -> Probe:
    """A square array of contacts in a plane, row by row. Its defaults are our choice.

    Args:
        rows, columns: how many of each.
        pitch_um: distance of neighbours [um].
        centre_um: (3,) x, y, z of the middle of the array [um].
        radius_um: of each contact [um]; 0: points.
        plane: the axes along which columns and rows go, "xz" (beside an upright cell) or "xy" (under or above it).

    Raises:
        InputError: there is no row or column, another plane, or see `Probe`.
    """
    if rows < 1 or columns < 1:
        raise InputError(f"a square array of {rows} by {columns} contacts; give at least one of each")
    if plane not in ("xz", "xy"):
        raise InputError(f"a square array in the plane {plane!r}; choose xz or xy")
    up, normal = ((2, (0.0, 1.0, 0.0)) if plane == "xz" else (1, (0.0, 0.0, 1.0)))  # fmt: skip
    positions = np.tile(np.asarray(centre_um, dtype=np.float64), (rows, columns, 1))
    positions[:, :, 0] += (np.arange(columns) - (columns - 1) / 2) * pitch_um
    positions[:, :, up] += ((np.arange(rows) - (rows - 1) / 2) * pitch_um)[:, None]
    return Probe(positions.reshape(-1, 3), radius_um, normal, name="square array")


def ecog_grid(surface_um: float, contacts: int = 4, pitch_um: float = 400.0) -> Probe:
    """A square grid of point contacts on the surface of the cortex, above the origin. Its defaults are our choice.

    Args:
        surface_um: z of the surface [um].
        contacts: along each side.
        pitch_um: distance of neighbours [um].

    Raises:
        InputError: there is no contact.
    """
    return square_array(contacts, contacts, pitch_um, (0.0, 0.0, surface_um), plane="xy")


def neuropixels(model: str = "Neuropixels-128", centre_um: Sequence[float] = (50.0, 0.0, 400.0)) -> Probe:
    """The contacts of a Neuropixels probe (Jun et al. 2017, doi:10.1038/nature24636), as MEAutility lays them out.

    Its shank is along z and its contacts face along x. Squares are discs of the same area here.

    Args:
        model: a layout of MEAutility with a plane "yz", such as Neuropixels-24, -64, -128, -384, Neuropixels2-384.
        centre_um: (3,) x, y, z of the mean of its contacts [um].

    Raises:
        InputError: MEAutility is not installed, or has no such layout.
    """
    layouts = import_extra("MEAutility", "signals")
    known = [name for name in layouts.return_mea_list() if name.startswith("Neuro")]
    if model not in known:
        raise InputError(f"MEAutility has no probe {model!r}; choose {', '.join(known)}")
    layout = layouts.return_mea(model)
    radius = radius_of_mea_contact(layout.electrodes[0])
    positions = layout.positions - layout.positions.mean(axis=0) + np.asarray(centre_um)
    return Probe(positions, radius, name=model)


def radius_of_mea_contact(electrode: Any) -> float:
    """Radius of the disc that has the area of a contact of MEAutility [um]; see `radius_of_area`.

    Its size is the radius of a circle, but half the side of a square, and half of each side of a rect.

    Args:
        electrode: MEAutility's, with `shape` and `size`.

    Raises:
        InputError: see `radius_of_area`.
    """
    half = [float(size) for size in np.ravel(electrode.size)]
    return radius_of_area(electrode.shape, half if electrode.shape == "circle" else [2.0 * size for size in half])
