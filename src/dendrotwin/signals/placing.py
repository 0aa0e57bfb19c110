"""Where a recorded cell is in the tissue: rotated and translated copies of its tree.

Coordinates are those of LFPykit (Hagen et al. 2018, doi:10.3389/fninf.2018.00092): x, y, z in um. An upright cell has
its apical dendrites along +z, towards the surface of the cortex.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import InputError
from dendrotwin.recording import RecordingFile

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PlacedCell:
    """One recorded trial of a cell, and where the cell is. A population is a list of these.

    Attributes:
        recording: a file of recordings.
        trial: which of its trials, counted from 0.
        position_um: x, y, z of the soma's centre [um]; None for the origin, or for where it was built (`as_built`).
        rotation_deg: rotations about the fixed axes x, then y, then z, around the soma's centre [deg].
        as_built: rotate the coordinates that the cell was built with; otherwise the cell is first made upright, see
            `upright`.
        group: of a population, such as "exc"; signals are then given of each group, too.
    """

    recording: Path
    trial: int = 0
    position_um: Triple | None = None
    rotation_deg: Triple = (0.0, 0.0, 0.0)
    as_built: bool = False
    group: str = ""

    def __str__(self) -> str:
        place = "" if self.position_um is None else " at ({:g}, {:g}, {:g}) um".format(*self.position_um)
        return f"{self.recording}, trial {self.trial}{place}"

    def tree(self) -> Tree:
        """The cell's tree, read from the recording, at this cell's place.

        Raises:
            FileError: the recording is missing or damaged.
            InputError: see `place`.
        """
        with RecordingFile(self.recording) as file:
            return self.place(file.tree())

    def place(self, tree: Tree) -> Tree:
        """The tree, rotated and translated to this cell's place.

        Args:
            tree: the cell as it was built.

        Raises:
            InputError: position or rotation are not three finite numbers each.
        """
        position_um = (0.0, 0.0, 0.0) if self.position_um is None else self.position_um
        if (len(position_um), len(self.rotation_deg)) != (3, 3) or (
            not np.isfinite([*position_um, *self.rotation_deg]).all()
        ):
            raise InputError(
                f"a cell at {position_um} um, rotated by {self.rotation_deg} degrees; give three finite numbers each"
            )
        start = tree if self.as_built else upright(tree)
        turned = rotate(start, Rotation.from_euler("xyz", self.rotation_deg, degrees=True).as_matrix())
        if self.as_built and self.position_um is None:
            return turned
        return translate(turned, np.asarray(position_um) - soma_centre(start))

    def soma_um(self) -> Floats:
        """(3,) where the soma's centre is; the recording is read only where nothing else says it [um].

        Raises:
            FileError: the recording is missing or damaged.
            InputError: see `place`.
        """
        if self.as_built and self.position_um is None:
            return soma_centre(self.tree())
        return np.asarray((0.0, 0.0, 0.0) if self.position_um is None else self.position_um, dtype=np.float64)


def soma_centre(tree: Tree) -> Floats:
    """Centre of the soma, the mean over its compartments weighted by their areas; of the root where there is no soma.

    Args:
        tree: the cell.

    Returns:
        (3,) x, y, z [um].
    """
    soma = np.flatnonzero(tree.in_region("soma"))
    averaged = soma if len(soma) else np.array([0])
    return np.asarray(np.average(tree.ends_um[averaged].mean(axis=1), axis=0, weights=tree.area_um2[averaged]))


def translate(tree: Tree, by_um: Floats) -> Tree:
    """The tree, translated.

    Args:
        tree: the cell.
        by_um: (3,) x, y, z [um].
    """
    return dataclasses.replace(tree, ends_um=tree.ends_um + by_um)


def rotate(tree: Tree, rotation: Floats) -> Tree:
    """The tree, rotated around its soma's centre.

    Args:
        tree: the cell.
        rotation: (3, 3) rotation matrix.
    """
    centre = soma_centre(tree)
    return dataclasses.replace(tree, ends_um=(tree.ends_um - centre) @ np.asarray(rotation).T + centre)


def upright(tree: Tree) -> Tree:
    """The tree with its soma's centre at the origin and its apical dendrites along +z; see `upright_rotation`.

    Args:
        tree: the cell.
    """
    return rotate(translate(tree, -soma_centre(tree)), upright_rotation(tree))


def upright_rotation(tree: Tree) -> Floats:
    """The rotation that brings the apical dendrites along +z, the shortest one.

    The apical direction is the mean of the directions from the soma to the apical compartments, weighted by their
    lengths. A cell without apical dendrites is not rotated.

    Args:
        tree: the cell.

    Returns:
        (3, 3) matrix.
    """
    apical = tree.in_region("apical")
    direction = tree.length_um[apical] @ (tree.ends_um[apical].mean(axis=1) - soma_centre(tree))
    length = float(np.linalg.norm(direction))
    if length == 0.0:
        return np.eye(3)
    up = direction / length
    axis = np.cross(up, [0.0, 0.0, 1.0])
    if np.linalg.norm(axis) < 1e-12:  # along +z or -z already: any horizontal axis does
        axis = np.array([1.0, 0.0, 0.0])
    axis *= np.arccos(np.clip(up[2], -1.0, 1.0)) / np.linalg.norm(axis)
    return np.asarray(Rotation.from_rotvec(axis).as_matrix())


def position_columns(positions_um: Floats) -> dict[str, Floats]:
    """Positions as the columns with which signals and their files say where each channel is.

    Args:
        positions_um: (channels, 3) x, y, z [um].

    Returns:
        `x_um`, `y_um` and `z_um`, (channels,) each [um].
    """
    x, y, z = np.asarray(positions_um, dtype=np.float64).T
    return {"x_um": x, "y_um": y, "z_um": z}
