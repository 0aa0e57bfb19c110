"""How the cells of a SONATA population are turned about their somata."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import InputError

SAME = 1e-6  # largest difference of two rotation matrices that are taken for one


def placement(nodes: Mapping[str, NDArray[np.float64]], count: int) -> Floats:
    """The rotation of the nodes of a population, as in BMTK 1.2.0.

    A point p of the tree of a `sonata` cell, whose origin is the mean of the soma's 3-D points, is at R p + (x, y, z).
    R = Rx(a) Ry(b) Rz(c): first about z, each counterclockwise as seen from the axis' tip,

        Rx(a) = [[1, 0, 0], [0, cos a, -sin a], [0, sin a, cos a]], and so on.

    A quaternion q = w + xi + yj + zk of SONATA, which BMTK does not read, turns p to q p q* / |q|^2.

    Args:
        nodes: columns of (N,) numbers: rotation_angle_xaxis, _yaxis, _zaxis [rad] (0 where there is no column),
            orientation_w, _x, _y, _z. Other columns are not looked at.
        count: N.

    Returns:
        (N, 3, 3) matrices R.

    Raises:
        InputError: a column has another length or a number that is not finite, a quaternion is 0 or incomplete, or
            quaternions and angles say different things.
    """

    def column(name: str) -> Floats:
        values = np.asarray(nodes.get(name, np.zeros(count)), dtype=np.float64)
        if values.shape != (count,) or not np.isfinite(values).all():
            raise InputError(f"the column {name} of the nodes must have {count} finite numbers; correct it")
        return values

    turns = [_about(k, column(f"rotation_angle_{axis}axis")) for k, axis in enumerate("xyz")]
    rotation = turns[0] @ turns[1] @ turns[2]
    given = [axis for axis in "wxyz" if f"orientation_{axis}" in nodes]
    if given:
        if len(given) < 4:
            raise InputError(f"of orientation_w, _x, _y, _z there are only {', '.join(given)}; give all four")
        turned = _of_quaternions(np.stack([column(f"orientation_{axis}") for axis in given], axis=1))
        angles = any(f"rotation_angle_{axis}axis" in nodes for axis in "xyz")
        if angles and np.abs(turned - rotation).max(initial=0.0) > SAME:
            raise InputError("the orientation of the nodes and their rotation angles are not the same; leave one away")
        rotation = turned
    return np.asarray(rotation)


def _about(axis: int, angle: Floats) -> Floats:
    """Matrices (N, 3, 3) that turn about one axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((len(angle), 3, 3))
    turn[:, axis, axis] = 1.0
    turn[:, i, i] = turn[:, j, j] = np.cos(angle)
    turn[:, j, i] = np.sin(angle)
    turn[:, i, j] = -turn[:, j, i]
    return turn


def _of_quaternions(q: Floats) -> Floats:
    """Matrices (N, 3, 3) of quaternions (N, 4), w first."""
    length = np.linalg.norm(q, axis=1)
    if (length == 0.0).any():
        raise InputError(f"the orientation of node {int(np.flatnonzero(length == 0.0)[0])} is 0; give a quaternion")
    w, *v = (q / length[:, None]).T
    x, y, z = v
    cross = np.zeros((len(q), 3, 3))  # the matrix of v x p
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
    cross -= np.transpose(cross, (0, 2, 1))
    return np.asarray(np.eye(3) + 2.0 * (w[:, None, None] * cross + cross @ cross))
