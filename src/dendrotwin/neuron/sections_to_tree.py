"""From a cell's NEURON sections to its `Tree`: regions, axial conductances, membrane constants, and inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.apical_tree import apical_regions
from dendrotwin.cell.geometry import geometry_fault
from dendrotwin.cell.tree import APICAL, REGIONS, Floats, Ints, Tree
from dendrotwin.cells import CellModel, Sections
from dendrotwin.cells.neurolucida import points_of
from dendrotwin.errors import CellError
from dendrotwin.neuron.check_cell import in_order
from dendrotwin.neuron.ih import kole_ih
from dendrotwin.neuron.leak import leak_of
from dendrotwin.neuron.synapses import OwnInputs

PARTS = ("soma", "basal", "apical", "axon")  # of `Sections`, in the order in which compartments are counted
CM2_PER_UM2 = 1e-8
INPUT_REGIONS = (("basal", *APICAL), ("soma",), ("axon",))  # the first that a cell has gets the inputs


def outwards(section: Any) -> list[Any]:
    """The segments of a section, from the end that is connected on.

    Args:
        section: NEURON's.
    """
    segments = list(section)
    return segments if section.orientation() == 0 else segments[::-1]


def make_tree(
    model: CellModel, sections: Sections, ends_um: dict[Any, NDArray[np.float64]], own: OwnInputs | None
) -> Tree:
    """The tree of a cell whose sections are connected.

    Args:
        model: its description.
        sections: its NEURON sections.
        ends_um: (nseg, 2, 3) 3-D start and end of each section's segments [um]; see `shape`.
        own: its own synapses; None for one of each of the model's kinds in every dendritic compartment.

    Raises:
        CellError: a synapse stands in no compartment of the cell, or a compartment is no cylinder.
    """
    from neuron import h

    every = in_order(sections)
    segments = [segment for section in every for segment in outwards(section)]
    number = {section: i for i, section in enumerate(every)}
    section_of = np.array([number[s.sec] for s in segments], dtype=np.int32)
    regions = _regions(sections)
    region = np.array([REGIONS.index(regions[s.sec]) for s in segments], dtype=np.int32)
    at_segment = _compartment_numbers(every)
    axial = _axial_network(every, at_segment)
    inputs = _own_inputs(model, own, at_segment) if own is not None else _inputs(model, region)
    h.distance(0, (sections.soma or every)[0](0.5))
    area_um2 = np.array([segment.area() for segment in segments])
    ih, ih_mV = kole_ih(segments, model.celsius)
    leak = leak_of(segments, model.celsius)
    uS = area_um2 * CM2_PER_UM2 * 1e6  # of 1 S/cm2
    tree = Tree(
        parent=axial.parent,
        region=region,
        section=section_of,
        section_names=tuple(section.hname().split(".")[-1] for section in every),
        x=np.array([s.x for s in segments]),
        ends_um=np.concatenate([ends_um[section] for section in every]) - _origin(sections),
        length_um=np.array([s.sec.L / s.sec.nseg for s in segments]),
        diameter_um=np.array([s.diam for s in segments]),
        area_um2=area_um2,
        distance_um=np.array([h.distance(s) for s in segments]),
        axial_parent=axial.axial_parent,
        axial_uS=axial.axial_uS,
        capacitance_nF=area_um2 * CM2_PER_UM2 * np.array([s.cm for s in segments]) * 1e3,
        leak_uS=uS * leak.conductance,
        leak_mV=leak.reversal_mV,
        ih_uS=uS * ih,
        ih_mV=ih_mV,
        v_init_mV=float(model.v_init_mV),
        synapses=model.synapses if own is None else own.kinds,
        input_compartment=inputs.compartment,
        input_synapse=inputs.synapse,
        input_weight=inputs.weight,
        section_order=np.array([number[section] for section in sections.order], dtype=np.int32),
    )
    fault = geometry_fault(tree)
    if fault is not None:
        raise CellError(f"of the cell, {fault}; correct its 3-D points, lengths and diameters")
    return tree


def _origin(sections: Sections) -> NDArray[np.float64]:
    """(3,) where the tree has its origin [um]."""
    if not sections.centre:
        return np.zeros(3)
    return np.asarray(np.concatenate([points_of(section) for section in sections.centre]).mean(axis=0))


def _regions(sections: Sections) -> dict[Any, str]:
    """Region of each section, the apical ones by their place in the apical tree, seen from the soma."""
    regions = {section: part for part, members in zip(PARTS, sections[:4], strict=True) for section in members}
    inwards, depth = _seen_from_the_soma(sections)
    apical = sorted(sections.apical, key=lambda section: depth[section])
    number = {section: i for i, section in enumerate(apical)}
    names = apical_regions([number.get(inwards[s], -1) for s in apical], [s.L for s in apical])
    return regions | dict(zip(apical, names, strict=True))


def _seen_from_the_soma(sections: Sections) -> tuple[dict[Any, Any], dict[Any, int]]:
    """Each section's next one on the way to the soma, wherever the root of the tree is, and how many are on the way."""
    every = in_order(sections)
    beside: dict[Any, list[Any]] = {section: [] for section in every}
    for section in every[1:]:
        parent = section.parentseg().sec
        beside[section].append(parent)
        beside[parent].append(section)
    here = (sections.soma or every)[:1]
    inwards, depth = {here[0]: None}, {here[0]: 0}
    for section in here:  # grows
        for other in beside[section]:
            if other not in depth:
                inwards[other], depth[other] = section, depth[section] + 1
                here.append(other)
    return inwards, depth


def _compartment_numbers(every: list[Any]) -> dict[Any, int]:
    """Number of the compartment at (section, index of NEURON's segment in it)."""
    numbers, first = {}, 0
    for section in every:
        for i in range(section.nseg):
            numbers[(section, i if section.orientation() == 0 else section.nseg - 1 - i)] = first + i
        first += section.nseg
    return numbers


class _AxialNetwork(NamedTuple):
    """See `Tree`: parent (n,) compartments; axial_parent and axial_uS (n + joints,) nodes."""

    parent: Ints
    axial_parent: Ints
    axial_uS: Floats


def _axial_network(every: list[Any], at_segment: dict[Any, int]) -> _AxialNetwork:
    """Compartments and joints, and the conductances between them."""
    n = len(at_segment)
    joints: dict[Any, int] = {}
    parent = np.full(n, -1, dtype=np.int32)
    axial_parent = np.full(n, -1, dtype=np.int32)
    axial = np.zeros(n)
    node = 0
    for section in every:
        for i, segment in enumerate(outwards(section)):
            if i > 0:
                parent[node] = axial_parent[node] = node - 1
            else:
                axial_parent[node] = _proximal_node(section, at_segment, joints, n)
                at = section.parentseg()
                if at is not None:
                    parent[node] = at_segment[(at.sec, min(int(at.x * at.sec.nseg), at.sec.nseg - 1))]
            if axial_parent[node] >= 0:
                axial[node] = 1.0 / segment.ri()
            node += 1
    joint_parent, joint_axial = np.zeros(len(joints), dtype=np.int32), np.zeros(len(joints))
    for (section, x), joint in joints.items():
        joint_parent[joint - n] = at_segment[(section, section.nseg - 1 if x == 1.0 else 0)]
        # NEURON keeps the resistance to a section's far end at its last node, to the root's near end at its first.
        far = x != section.orientation()
        joint_axial[joint - n] = 1.0 / (section(x).ri() if far else section(0.5 / section.nseg).ri())
    return _AxialNetwork(parent, np.concatenate([axial_parent, joint_parent]), np.concatenate([axial, joint_axial]))


def _proximal_node(section: Any, at_segment: dict[Any, int], joints: dict[Any, int], n: int) -> int:
    """The axial node to which the first segment of a section is connected; makes its joint if it has none yet."""
    parent = section.parentseg()
    if parent is None:
        return -1
    parent_section = parent.sec
    if 0.0 < parent.x < 1.0:
        return at_segment[(parent_section, int(parent.x * parent_section.nseg))]
    if parent.x == parent_section.orientation() and parent_section.parentseg() is not None:
        return _proximal_node(parent_section, at_segment, joints, n)
    # The end of a section (or the free end of the root): NEURON has a node without area there.
    return joints.setdefault((parent_section, parent.x), n + len(joints))


class _Inputs(NamedTuple):
    """Of each input (m,): its compartment, its kind of synapse, its weight."""

    compartment: Ints
    synapse: Ints
    weight: Floats


def _inputs(model: CellModel, region: Ints) -> _Inputs:
    """One synapse of each kind in every dendritic compartment, kind after kind; without dendrites, of soma or axon."""
    parts = [np.isin(region, [REGIONS.index(name) for name in names]) for names in INPUT_REGIONS]
    at, kinds = np.flatnonzero(next(part for part in parts if part.any())), len(model.synapses)
    kind = np.repeat(np.arange(kinds, dtype=np.int32), len(at))
    return _Inputs(np.tile(at, kinds).astype(np.int32), kind, np.ones(len(kind)))


def _own_inputs(model: CellModel, own: OwnInputs, at_segment: dict[Any, int]) -> _Inputs:
    """The cell's own synapses, in their order."""
    compartment = np.array([_compartment(model, point, at_segment) for point in own.points])
    return _Inputs(compartment.astype(np.int32), own.kind, own.weight)


def _compartment(model: CellModel, point: Any, at_segment: dict[Any, int]) -> int:
    """The compartment in which a point process stands."""
    segment = point.get_segment()
    if (segment.sec, 0) not in at_segment:
        raise CellError(
            f"the cell {model.name}: the synapse {point.hname()} stands in {segment}, which is none of the cell's "
            "sections; place it in one"
        )
    if not 0.0 < segment.x < 1.0:
        raise CellError(
            f"the cell {model.name}: the synapse {point.hname()} stands at the end {segment}, which has no membrane; "
            f"place it inside, such as at {segment.sec.name()}(0.5)"
        )
    return at_segment[(segment.sec, int(segment.x * segment.sec.nseg))]


def shape(every: list[Any]) -> dict[Any, NDArray[np.float64]]:
    """3-D start and end (nseg, 2, 3) of each section's segments, from the connected end on [um].

    `define_shape` gives 3-D points to sections without, and NEURON makes their membrane from these: where that
    is another one than before, it is made what it was.

    Args:
        every: all sections of the cell.

    Raises:
        CellError: area, axial resistance or diameter of a segment is another one nevertheless.
    """
    from neuron import h

    def membrane(section: Any) -> NDArray[np.float64]:
        return np.array([[segment.area(), segment.ri()] for segment in section])

    before = {s: (membrane(s), s.L, [segment.diam for segment in s]) for s in every if s.n3d() == 0}
    whole = {s: np.column_stack([membrane(s), [segment.diam for segment in s]]) for s in every}
    h.define_shape()
    ends = {section: _ends(section) for section in every}
    for section, (was, length, diameters) in before.items():
        if not np.allclose(membrane(section), was, rtol=1e-6, atol=0.0):
            section.pt3dclear()
            section.L = length
            for segment, diameter in zip(section, diameters, strict=True):
                segment.diam = diameter
    for section, values in whole.items():
        now = np.column_stack([membrane(section), [segment.diam for segment in section]])
        if not np.allclose(now, values, rtol=1e-6, atol=0.0):
            raise CellError(
                f"finding the 3-D points of {section.name()} changes its membrane; give it pt3d points in `build`"
            )
    return ends


def _ends(section: Any) -> NDArray[np.float64]:
    """3-D start and end (nseg, 2, 3) of the section's segments [um]."""
    points = points_of(section)
    arc = np.array([section.arc3d(i) for i in range(section.n3d())])
    borders = np.linspace(0.0, arc[-1], section.nseg + 1)
    at = np.stack([np.interp(borders, arc, points[:, axis]) for axis in range(3)], axis=1)
    ends = np.stack([at[:-1], at[1:]], axis=1)
    return ends if section.orientation() == 0 else ends[::-1, ::-1]
