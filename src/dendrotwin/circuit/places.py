"""Where the cells of a population are, and how they are turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from dendrotwin.cell.tree import Floats, Ints, Tree
from dendrotwin.circuit.description import Population
from dendrotwin.errors import InputError
from dendrotwin.signals.placing import rotate, soma_centre, translate, upright_rotation

TURNS = ("spun", "upright", "as built")


@dataclass(frozen=True)
class Column:
    """Somas anywhere in an upright cylinder, evenly in its volume.

    Attributes:
        radius_um: of the cylinder [um].
        z_um: from and to [um]; z rises towards the surface of the cortex.
        centre_um: x and y of its axis [um].
    """

    radius_um: float
    z_um: tuple[float, float]
    centre_um: tuple[float, float] = (0.0, 0.0)

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """(count, 3) places [um].

        Args:
            random: what they are drawn with.
            count: how many.
        """
        radius = self.radius_um * np.sqrt(random.random(count))
        angle = 2.0 * np.pi * random.random(count)
        low, high = self.z_um
        x, y = self.centre_um
        z = low + (high - low) * random.random(count)
        return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), z], 1)


def rotations(
    turn: str | ArrayLike, trees: Sequence[Tree], model: Ints, random: np.random.Generator
) -> Floats:  # fmt: skip
    """How the cells of a population are turned about their somas.

    Args:
        turn: "upright", apical dendrites along +z; "spun", the same and turned about z by any angle; "as built", as
            the cell was made; or matrices (3, 3) for all or (N, 3, 3), of the cells as built.
        trees: the cells' models.
        model: (N,) of which model each cell is.
        random: what angles are drawn with.

    Returns:
        (N, 3, 3) matrices.

    Raises:
        InputError: it is none of these.
    """
    count = len(model)
    if not isinstance(turn, str):
        try:
            return np.array(np.broadcast_to(np.asarray(turn, np.float64), (count, 3, 3)))
        except (TypeError, ValueError) as error:
            raise InputError(f"a rotation is a matrix (3, 3), or ({count}, 3, 3) with one for each cell") from error
    if turn not in TURNS:
        raise InputError(f"cells are turned {', '.join(TURNS)}, or by matrices; not {turn!r}")
    if turn == "as built":
        return np.repeat(np.eye(3)[None], count, 0)
    up = np.stack([upright_rotation(tree) for tree in trees])[model]
    if turn == "upright":
        return up
    return Rotation.from_euler("z", 2.0 * np.pi * random.random((count, 1))).as_matrix() @ up


def placed_trees(population: Population, nodes: Ints | None = None) -> list[Tree]:
    """Cells of a population at their places.

    Args:
        population: of the cells.
        nodes: (k,) which of them; None for all.
    """
    chosen = range(len(population)) if nodes is None else nodes.tolist()
    return [placed_tree(population, node) for node in chosen]


def placed_tree(population: Population, node: int) -> Tree:
    """A cell of a population at its place.

    Args:
        population: of the cell.
        node: which of its cells.
    """
    tree = rotate(population.twins[population.model[node]].tree, population.rotation[node])
    return translate(tree, population.position_um[node] - soma_centre(tree))
