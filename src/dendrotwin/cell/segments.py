"""A tree from the segments of any simulator: where each begins and ends, how thick it is, what it is connected to.

Such a tree has what signals need: places, areas, regions and axial conductances. It has no channels, no leak and no
inputs. A segment is a cylinder whose potential is that of its middle, as in NEURON (Hines and Carnevale 1997,
doi:10.1162/neco.1997.9.6.1179): from there to each end is half of its axial resistance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dendrotwin.cell.apical_tree import apical_regions
from dendrotwin.cell.tree import REGIONS, Floats, Ints, Tree
from dendrotwin.errors import InputError

SAME_PLACE_UM = 1e-3  # ends closer than this are one point: coordinates are often written with three digits
PLACES = (1.0, 0.0, 0.5)  # of a segment to which another may be connected: its end, its start, its middle
CALLED = {"dend": "basal", "dendrite": "basal", "apic": "apical"}  # other names of regions
UF_PER_CM2 = 1.0  # membrane capacitance of a tree whose segments do not say it


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a cell, n of them, in any order.

    Attributes:
        ends_um: (n, 2, 3) 3-D start and end [um].
        diameter_um: (n,) [um].
        axial_ohm_cm: axial resistivity, one for all or (n,) [ohm cm].
        parent: (n,) which segment each is connected to, -1 for the root; None to find it by the places of ends.
        parent_x: (n,) where on its parent: 0 its start, 0.5 its middle, 1 its end; None for ends, or with `parent` None
            to find it.
        region: (n) soma, basal (or dend), apical (or apic) or axon; None for a soma at the root, and basal dendrites.
        length_um: (n,) along the cable [um]; None for the distance of both ends.
        names: (n) such as `dend[3](0.5)`; None for `segment[0]`, ...
    """

    ends_um: Floats
    diameter_um: Floats
    axial_ohm_cm: float | Floats
    parent: Ints | None = None
    parent_x: Floats | None = None
    region: Sequence[str] | None = None
    length_um: Floats | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Raise InputError unless there is one finite and positive value of everything for each segment."""
        ends = _numbers("the ends of segments", self.ends_um)
        n = len(ends)
        if n == 0 or ends.shape != (n, 2, 3):
            raise InputError(f"the ends of segments have shape {ends.shape}; give (segments, 2, 3) in um")
        diameter = _numbers("diameters", self.diameter_um)
        length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        if self.length_um is not None:
            length = _numbers("lengths", self.length_um)
        resistivity = np.broadcast_to(_numbers("axial resistivities", self.axial_ohm_cm), (n,)).copy()
        for name, values in (("diameter", diameter), ("length", length), ("axial resistivity", resistivity)):
            if values.shape != (n,):
                raise InputError(f"there are {n} segments and {values.shape} of {name}; give one for each")
            if not (values > 0.0).all():
                k = int(np.flatnonzero(~(values > 0.0))[0])
                raise InputError(f"segment {k} has the {name} {values[k]:g}; it must be more than 0: correct it")
        for name, given in (("parents", self.parent), ("regions", self.region), ("names", self.names)):
            if given is not None and len(given) != n:
                raise InputError(f"there are {n} segments and {len(given)} {name}; give one for each")
        if self.parent_x is not None and (self.parent is None or len(self.parent_x) != n):
            raise InputError("parent_x says where on its parent each segment is connected; give both, for all segments")
        for name, value in (("ends_um", ends), ("diameter_um", diameter), ("length_um", length)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "axial_ohm_cm", resistivity)

    def tree(self) -> tuple[Tree, Ints]:
        """The tree of the segments, and their order in it: parents before children, otherwise as they were.

        Returns:
            The tree, and (n,) the segment of each of its compartments.

        Raises:
            InputError: a parent cannot be found, or the segments are not one tree.
        """
        parent, at = self._connections()
        order = _parents_first(parent)
        position = np.argsort(order)
        parent = np.where(parent[order] >= 0, position[parent[order]], -1).astype(np.int32)
        at = at[order]
        n, ends = len(order), self.ends_um[order]
        assert self.length_um is not None
        length, diameter = self.length_um[order], self.diameter_um[order]
        area = np.pi * diameter * length
        region = self._regions(parent, order, length)
        axial_parent, axial_uS = _axial_network(parent, at, length, diameter, np.asarray(self.axial_ohm_cm)[order])
        names = tuple(f"segment[{k}]" if self.names is None else str(self.names[k]) for k in order)
        return Tree(
            parent=parent,
            region=region,
            section=np.arange(n, dtype=np.int32),
            section_names=names,
            x=np.full(n, 0.5),
            ends_um=ends,
            length_um=length,
            diameter_um=diameter,
            area_um2=area,
            distance_um=_distances(parent, at, length),
            axial_parent=axial_parent,
            axial_uS=axial_uS,
            capacitance_nF=area * UF_PER_CM2 * 1e-5,
            leak_uS=np.zeros(n),
            leak_mV=np.zeros(n),
            ih_uS=np.zeros(n),
            ih_mV=np.zeros(n),
            v_init_mV=0.0,
            synapses=(),
            input_compartment=np.zeros(0, np.int32),
            input_synapse=np.zeros(0, np.int32),
        ), order

    def _connections(self) -> tuple[Ints, Floats]:
        """(n,) parent of each segment, and (n,) where on it."""
        n = len(self.ends_um)
        if self.parent is None:
            return _find_parents(self.ends_um)
        parent = np.asarray(self.parent)
        if parent.dtype.kind not in "iu" or (parent < -1).any() or (parent >= n).any():
            raise InputError(f"parents of segments are whole numbers from -1, of the root, to {n - 1}; correct them")
        at = np.ones(n) if self.parent_x is None else _numbers("parent_x", self.parent_x)
        if not np.isin(at, PLACES).all():
            raise InputError(f"parent_x is {at[~np.isin(at, PLACES)][0]:g}; it is 0, 0.5 or 1")
        return parent.astype(np.int32), at

    def _regions(self, parent: Ints, order: Ints, length: Floats) -> Ints:
        """(n,) index into REGIONS; the apical tree is divided as that of other cells."""
        if self.region is None:
            return np.where(parent < 0, REGIONS.index("soma"), REGIONS.index("basal")).astype(np.int32)
        names = [CALLED.get(str(self.region[k]), str(self.region[k])) for k in order]
        unknown = sorted(set(names) - {*REGIONS, "apical"})
        if unknown:
            raise InputError(f"there is no region {unknown[0]!r}; choose soma, basal, apical or axon")
        apical = [k for k, name in enumerate(names) if name == "apical"]
        number = {k: i for i, k in enumerate(apical)}
        divided = apical_regions([number.get(int(parent[k]), -1) for k in apical], [float(length[k]) for k in apical])
        for k, name in zip(apical, divided, strict=True):
            names[k] = name
        return np.array([REGIONS.index(name) for name in names], np.int32)


def _numbers(name: str, values: object) -> Floats:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} are not numbers; correct them") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} hold NaN or infinity; correct them")
    return array


def _find_parents(ends_um: Floats) -> tuple[Ints, Floats]:
    """To what each segment is connected: that which ends where it starts, or has its start or its middle there."""
    n = len(ends_um)
    parent, at = np.full(n, -1, np.int32), np.ones(n)
    points = {1.0: ends_um[:, 1], 0.0: ends_um[:, 0], 0.5: ends_um.mean(axis=1)}
    for k in range(1, n):
        for x in PLACES:
            near = np.linalg.norm(points[x] - ends_um[k, 0], axis=1) <= SAME_PLACE_UM
            near[k] = False
            if x == 0.0:
                near[1:] = False  # siblings start at one point too: only the root has children at its start
            found = np.flatnonzero(near)
            if len(found) > 1:
                raise InputError(f"segment {k} starts where {len(found)} others end; give the parents of segments")
            if len(found):
                parent[k], at[k] = found[0], x
                break
        else:
            x, y, z = ends_um[k, 0]
            raise InputError(
                f"segment {k} starts at ({x:g}, {y:g}, {z:g}) um, where no other ends; put the root first, or give "
                "the parents of segments"
            )
    return parent, at


def _parents_first(parent: Ints) -> Ints:
    """The segments in an order in which parents come before children, otherwise as they were."""
    roots = np.flatnonzero(parent < 0)
    if len(roots) != 1:
        raise InputError(f"{len(roots)} segments have no parent; a cell has one root, whose parent is -1")
    if roots[0] == 0 and (parent[1:] < np.arange(1, len(parent))).all():
        return np.arange(len(parent), dtype=np.int32)
    depth = np.full(len(parent), -1)
    depth[roots[0]] = 0
    for _ in range(len(parent)):
        reached = (depth < 0) & (parent >= 0) & (depth[parent] >= 0)
        if not reached.any():
            break
        depth[reached] = depth[parent[reached]] + 1
    if (depth < 0).any():
        raise InputError(f"segment {np.flatnonzero(depth < 0)[0]} does not lead to the root; correct the parents")
    return np.argsort(depth, kind="stable").astype(np.int32)


def _attachment(k: int, parent: Ints, at: Floats) -> tuple[int, float]:
    """The segment, and where on it, at which the start of another is: a child at a start is where that one begins."""
    p, x = int(parent[k]), float(at[k])
    while x == 0.0 and parent[p] >= 0:
        p, x = int(parent[p]), float(at[p])
    return p, x


def _axial_network(
    parent: Ints, at: Floats, length: Floats, diameter: Floats, resistivity: Floats
) -> tuple[Ints, Floats]:
    """axial_parent (n + j,) and axial_uS (n + j,) of `Tree`: joints are where several meet at an end."""
    n = len(parent)
    half_uS = np.pi * diameter**2 / 4.0 / (length / 2.0) / resistivity * 100.0  # from the middle to an end
    meeting: dict[tuple[int, float], list[int]] = {}
    for k in range(1, n):
        meeting.setdefault(_attachment(k, parent, at), []).append(k)
    axial_parent, axial_uS = np.full(n, -1, np.int32), np.zeros(n)
    joint_parent: list[int] = []
    joint_uS: list[float] = []
    for (p, x), children in meeting.items():
        if x == 0.5:
            axial_parent[children], axial_uS[children] = p, half_uS[children]
        elif len(children) == 1:
            axial_parent[children] = p
            axial_uS[children] = 1.0 / (1.0 / half_uS[p] + 1.0 / half_uS[children])
        else:
            axial_parent[children], axial_uS[children] = n + len(joint_parent), half_uS[children]
            joint_parent.append(p)
            joint_uS.append(half_uS[p])
    return (
        np.concatenate([axial_parent, np.array(joint_parent, np.int32)]).astype(np.int32),
        np.concatenate([axial_uS, np.array(joint_uS)]),
    )


def _distances(parent: Ints, at: Floats, length: Floats) -> Floats:
    """(n,) path distance of each middle from the middle of the root [um]."""
    distance = np.zeros(len(parent))
    for k in range(1, len(parent)):
        p, x = _attachment(k, parent, at)
        to_end = 0.0 if x == 0.5 else length[p] / 2.0
        distance[k] = distance[p] + to_end + length[k] / 2.0
    return distance
