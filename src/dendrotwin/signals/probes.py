"""Electrodes: where their contacts are, and how large."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.signals.extras import need
from dendrotwin.signals.placing import coordinates, soma_centre

POINTS = 24  # on a contact of finite size
BESIDE_UM, CLEAR_UM, DIRECTIONS = 50.0, 10.0, 36  # of a shank beside a cell
GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True, eq=False)
class Probe:
    """Contacts in space.

    Attributes:
        positions_um: (contacts, 3) their centres [um].
        radius_um: of the contacts, discs over which the potential is averaged [um]; 0: points.
        normal: (3,) direction in which the discs look.
        name: what it is called in files.
    """

    positions_um: Floats
    radius_um: float = 0.0
    normal: tuple[float, float, float] = (1.0, 0.0, 0.0)
    name: str = "probe"

    def __post_init__(self) -> None:
        """Raise InputError unless it is a probe with contacts."""
        try:
            positions = np.array(self.positions_um, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"the contacts of {self.name} are no numbers; give (contacts, 3) x, y, z in um") from error
        object.__setattr__(self, "positions_um", positions)
        if positions.size == 0:
            raise InputError(f"{self.name} has no contacts; give at least one x, y, z in um")
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise InputError(f"the contacts of {self.name} have shape {positions.shape}; give (contacts, 3), in um")
        if not np.isfinite(positions).all():
            raise InputError(f"a contact of {self.name} is at NaN or infinity; correct its position")
        if not 0.0 <= self.radius_um < np.inf:
            raise InputError(f"the contacts of {self.name} have a radius of {self.radius_um} um; give 0 or more")
        if len(self.normal) != 3 or not np.linalg.norm(self.normal) > 0.0:
            raise InputError(f"the contacts of {self.name} look in direction {self.normal}; give a vector x, y, z")

    def __len__(self) -> int:
        return len(self.positions_um)

    def points_um(self) -> Floats:
        """(contacts, points, 3) where the potential is taken [um]: evenly spread over each disc, or its centre.

        The points lie on the spiral of a sunflower (Vogel 1979, doi:10.1016/0025-5564(79)90080-4), each for the same
        area, so that their mean is the mean over the disc, without a random number.
        """
        if self.radius_um == 0.0:
            return self.positions_um[:, None, :]
        along = np.asarray(self.normal) / np.linalg.norm(self.normal)
        first = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
        first /= np.linalg.norm(first)
        k = np.arange(POINTS)
        radius, angle = self.radius_um * np.sqrt((k + 0.5) / POINTS), k * GOLDEN_ANGLE
        disc = np.outer(radius * np.cos(angle), first) + np.outer(radius * np.sin(angle), np.cross(along, first))
        return np.asarray(self.positions_um[:, None, :] + disc)

    def channels(self) -> dict[str, Any]:
        """A column for each coordinate of the contacts: what a file of signals says about its channels."""
        return coordinates(self.positions_um)


def points(positions_um: ArrayLike) -> Probe:
    """Point electrodes at (contacts, 3) x, y, z [um]."""
    return Probe(positions_um, name="points")  # type: ignore[arg-type]  # made an array at the door


def linear_probe(
    start_um: Sequence[float] = (50.0, 0.0, -300.0),
    stop_um: Sequence[float] = (50.0, 0.0, 1200.0),
    contacts: int = 16,
    radius_um: float = 0.0,
) -> Probe:
    """A linear (laminar) probe: contacts evenly along a line, both ends included.

    Args:
        start_um, stop_um: x, y, z of the first and the last contact [um]; as they are, a shank 50 um beside an upright
            cell, from 300 um below its soma to 1200 um above it.
        contacts: how many.
        radius_um: of each contact [um], 0: points.
    """
    if contacts < 1:
        raise InputError(f"a linear probe with {contacts} contacts; give at least one")
    return Probe(np.linspace(start_um, stop_um, contacts), radius_um, name="linear probe")


def shank_beside(tree: Tree, contacts: int = 6) -> Probe:
    """Point electrodes on a line along z beside any cell, evenly from its lowest to its highest end.

    The line is 50 um from the soma's centre, on that of 36 sides on which its contacts are farthest from the cell. If
    on every side the cell comes nearer than 10 um to a contact, it is 10 um farther away, and so on. The same tree has
    the same contacts always.

    Args:
        tree: the cell, where it is; one that stands upright (see `upright`) has contacts from its basal dendrites to
            its tuft, a flat one from 50 um below to 50 um above it.
        contacts: how many.

    Raises:
        InputError: it is less than one.
    """
    if contacts < 1:
        raise InputError(f"a probe with {contacts} contacts; give at least one")
    lowest, highest = float(tree.ends_um[:, :, 2].min()), float(tree.ends_um[:, :, 2].max())
    flat_um = BESIDE_UM if highest - lowest < BESIDE_UM else 0.0
    z = np.linspace(lowest - flat_um, highest + flat_um, contacts)
    angle = 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    side = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for distance_um in itertools.count(BESIDE_UM, 10.0):
        sites = np.empty((DIRECTIONS, contacts, 3))
        sites[:, :, :2] = (soma_centre(tree)[:2] + distance_um * side)[:, None, :]
        sites[:, :, 2] = z
        room_um = _room(tree, sites.reshape(-1, 3)).reshape(DIRECTIONS, contacts).min(axis=1)
        best = int(np.argmax(np.round(room_um, 6)))  # of equally good ones the first, whatever the last digit
        if room_um[best] >= CLEAR_UM:
            break
    return Probe(sites[best], name="shank beside the cell")


def _room(tree: Tree, points_um: Floats) -> Floats:
    """(points,) distance of (points, 3) [um] from the nearest membrane; negative within a compartment [um]."""
    start, along = tree.ends_um[:, 0], tree.ends_um[:, 1] - tree.ends_um[:, 0]
    from_start = points_um[:, None, :] - start
    share = np.clip((from_start * along).sum(axis=2) / np.maximum((along**2).sum(axis=1), 1e-12), 0.0, 1.0)
    distance = np.linalg.norm(from_start - share[:, :, None] * along, axis=2)
    return np.asarray((distance - tree.diameter_um / 2).min(axis=1))


def square_array(
    rows: int = 8,
    columns: int = 8,
    pitch_um: float = 50.0,
    centre_um: Sequence[float] = (0.0, 50.0, 0.0),
    radius_um: float = 0.0,
    plane: str = "xz",
) -> Probe:
    """A square array of contacts in a plane, row by row.

    Args:
        rows, columns: how many of each.
        pitch_um: distance of neighbours [um].
        centre_um: of the array [um].
        radius_um: of each contact [um], 0: points.
        plane: the axes along which columns and rows go, "xz" (beside an upright cell) or "xy" (under or above it).
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


def neuropixels(model: str = "Neuropixels-128", centre_um: Sequence[float] = (50.0, 0.0, 400.0)) -> Probe:
    """The contacts of a Neuropixels probe (Jun et al. 2017, doi:10.1038/nature24636), as MEAutility lays them out.

    Its shank stands along z and its contacts look along x. They are squares; here they are discs of the same area.

    Args:
        model: a layout of MEAutility with a plane "yz", such as Neuropixels-24, -64, -128, -384, Neuropixels2-384.
        centre_um: where its middle is [um].

    Raises:
        InputError: MEAutility is not installed, or knows no such layout.
    """
    layouts = need("MEAutility", "signals")
    known = [name for name in layouts.return_mea_list() if name.startswith("Neuro")]
    if model not in known:
        raise InputError(f"MEAutility has no probe {model!r}; choose {', '.join(known)}")
    layout = layouts.return_mea(model)
    # MEAutility's size of a square is half of its side.
    radius = 2.0 * float(np.ravel(layout.size)[0]) / np.sqrt(np.pi)
    positions = layout.positions - layout.positions.mean(axis=0) + np.asarray(centre_um)
    return Probe(positions, radius, name=model)


def read_probe(path: Path) -> Probe:
    """Point electrodes from a CSV file with a header of the columns x, y, z [um].

    Raises:
        FileError: the file is missing, or is no such table.
        InputError: it has no contact.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} does not exist; a probe is a CSV file of x,y,z in um, with that header")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if [name.strip() for name in lines[0].split(",")] != ["x", "y", "z"]:
            raise ValueError
        rows = [[float(value) for value in line.split(",")] for line in lines[1:] if line.strip()]
        positions = np.array(rows, dtype=np.float64)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no table of contacts; give the header x,y,z, then three numbers a line") from error
    return Probe(positions, name=path.name)
