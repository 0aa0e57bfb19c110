"""Where a recorded cell is: turned and moved copies of its tree."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dendrotwin.cell.tree import APICAL, Floats, Tree
from dendrotwin.errors import InputError
from dendrotwin.recording import RecordingFile

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PlacedCell:
    """One recorded trial of a cell, and where the cell is. A population is a list of these.

    Attributes:
        recording: a file of recordings.
        trial: which of its trials.
        position_um: where the soma's centre is [um].
        rotation_deg: turns about the fixed axes x, then y, then z, around the soma's centre [degrees].
        as_built: begin from the coordinates that the cell was built with, not from the upright cell (see `upright`).
    """

    recording: Path
    trial: int = 0
    position_um: Triple = (0.0, 0.0, 0.0)
    rotation_deg: Triple = (0.0, 0.0, 0.0)
    as_built: bool = False

    def tree(self) -> Tree:
        """Its tree, where it is.

        Raises:
            FileError: the recording is missing or damaged.
            InputError: see `place`.
        """
        with RecordingFile(self.recording) as file:
            return self.place(file.tree())

    def place(self, tree: Tree) -> Tree:
        """The tree, turned and moved to where this cell is.

        Raises:
            InputError: position or rotation are not three finite numbers each.
        """
        if not np.isfinite([*self.position_um, *self.rotation_deg]).all() or (
            (len(self.position_um), len(self.rotation_deg)) != (3, 3)
        ):
            raise InputError(
                f"a cell at {self.position_um} um, turned by {self.rotation_deg} degrees; give three numbers each"
            )
        start = tree if self.as_built else upright(tree)
        rotation = Rotation.from_euler("xyz", self.rotation_deg, degrees=True).as_matrix()
        return move(turn(start, rotation), np.asarray(self.position_um) - soma_centre(start))


def soma_centre(tree: Tree) -> Floats:
    """(3,) centre of the soma, area-weighted over its compartments [um]; the root's where there is none."""
    soma = np.flatnonzero(tree.in_region("soma"))
    of = soma if len(soma) else np.array([0])
    return np.asarray(np.average(tree.ends_um[of].mean(axis=1), axis=0, weights=tree.area_um2[of]))


def move(tree: Tree, by_um: Floats) -> Tree:
    """The tree, moved by (3,) [um]."""
    return dataclasses.replace(tree, ends_um=tree.ends_um + by_um)


def turn(tree: Tree, rotation: Floats) -> Tree:
    """The tree, turned around its soma's centre by a rotation matrix (3, 3)."""
    centre = soma_centre(tree)
    return dataclasses.replace(tree, ends_um=(tree.ends_um - centre) @ np.asarray(rotation).T + centre)


def upright(tree: Tree) -> Tree:
    """The tree with its soma's centre at the origin and its apical dendrites up, along +z.

    Up is the mean direction from the soma to the apical compartments, weighted by their lengths; a cell without them is
    moved and not turned.
    """
    centred = move(tree, -soma_centre(tree))
    apical = tree.in_region(*APICAL)
    direction = tree.length_um[apical] @ centred.ends_um[apical].mean(axis=1)
    length = float(np.linalg.norm(direction))
    if length == 0.0:
        return centred
    up = direction / length
    axis = np.cross(up, [0.0, 0.0, 1.0])
    if np.linalg.norm(axis) < 1e-12:  # it stands already, or on its head
        axis = np.array([1.0, 0.0, 0.0])
    axis *= np.arccos(np.clip(up[2], -1.0, 1.0)) / np.linalg.norm(axis)
    return turn(centred, Rotation.from_rotvec(axis).as_matrix())


def coordinates(places_um: Floats) -> dict[str, Floats]:
    """Columns `x_um`, `y_um` and `z_um` of places (m, 3) [um], as signals say where their channels are."""
    x, y, z = np.asarray(places_um, dtype=np.float64).T
    return {"x_um": x, "y_um": y, "z_um": z}
