"""From a cell's description to NEURON sections, synapses, and the tree."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import APICAL, REGIONS, Synapse, Tree, apical_regions
from dendrotwin.cells import MECHANISMS, CellModel, Sections
from dendrotwin.errors import CellError
from dendrotwin.neuron.compile import load_mechanisms
from dendrotwin.neuron.synapses import OwnInputs, name_of, pointers, read_synapses

SYNAPSE_FILES = [MECHANISMS / "synapses" / name for name in ("AmpaNmda.mod", "GabaA.mod")]
PARTS = ("soma", "basal", "apical", "axon")
# What NEURON says of a density mechanism, and of a point process, that is not loaded.
NOT_THERE = ("not a density mechanism", "'hoc.HocObject' object has no attribute")
HARMLESS = ("APCount",)  # point processes that only look
IH_MV = -45.0
IH = "Ih"  # mechanisms of this name are Kole et al. 2006, with the density `gbar`


class NeuronCell:
    """A cell built in this process's NEURON.

    Attributes:
        model: its description.
        sections: its NEURON sections.
        segments: NEURON's segment of each compartment; in a section that is connected by its end 1, from there on.
        tree: its compartments and inputs.
        synapses: NEURON's point process of each input.
        connections: a NetCon without a source for each input, with its weight; `connections[i].event(t)` is an event
            at t.
        held: what else `build` made, which NEURON forgets when Python does.
    """

    def __init__(self, model: CellModel, coreneuron: bool = False) -> None:
        """Build `model`, for CoreNEURON too if `coreneuron`.

        Raises:
            CellError: this machine lacks something, the sections are no cell that can be handled, or there is something
                in them that NEURON would simulate and a twin would not know.
        """
        missing = model.missing()
        if missing:
            raise CellError(f"the cell {model.name} cannot be built here: {missing}")
        load_mechanisms(model.mechanisms() + SYNAPSE_FILES, coreneuron)
        from neuron import h

        self.model = model
        try:
            sections, self.held = _hold(model.build)
            self.sections = Sections(*sections)
        except CellError:
            raise
        except Exception as error:  # a user's own function
            fix = "correct it"
            if any(text in str(error) for text in NOT_THERE):
                files = ", ".join(path.name for path in model.mechanisms()) or "none"
                fix = f"a mechanism that it uses is not there: give its .mod file in `mechanisms` (now: {files})"
            raise CellError(f"`build` of {model.name} failed: {type(error).__name__}: {error}; {fix}") from error
        h.CVode().active(0)  # a trial has fixed steps, whatever a published file switches on
        every = [section for part in self.sections[:4] for section in part]
        self.held += [section.cell() for section in every]
        _check(model, self.sections, every)
        given = list(self.sections.synapses)
        own = read_synapses(model.name, given, model.v_init_mV, model.celsius) if given else None
        ends = _shape(every)
        self.segments = [segment for section in every for segment in _outwards(section)]
        self.tree = _tree(model, self.sections, self.segments, ends, own)
        if own is None:
            self.synapses = [
                _point_process(model.synapses[kind], self.segments[compartment])
                for compartment, kind in zip(self.tree.input_compartment, self.tree.input_synapse, strict=True)
            ]
        else:
            self.synapses = own.points
        # Events are put in with `event`, which does not look at the delay; CoreNEURON wants one.
        self.connections = [
            h.NetCon(None, synapse, 0.0, 1.0, weight)
            for synapse, weight in zip(self.synapses, self.tree.input_weight.tolist(), strict=True)
        ]


def _hold(build: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """Call a function; gives its result, and what the functions of its file had in their variables when they returned.

    Sections of a hoc template go with its object, and a clamp without a name goes at once.
    """
    held: list[Any] = []
    files: list[str] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and not files:
            files.append(frame.f_code.co_filename)
        elif event == "return" and frame.f_code.co_filename in files:
            held.append(dict(frame.f_locals))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        made = build()
    finally:
        sys.setprofile(before)
    return made, held


def _outwards(section: Any) -> list[Any]:
    """The segments of a section, from the end that is connected on."""
    segments = list(section)
    return segments if section.orientation() == 0 else segments[::-1]


def _point_process(synapse: Synapse, segment: Any) -> Any:
    """NEURON's mechanism for a kind of synapse, at a segment."""
    from neuron import h

    match synapse.conductances:
        case (ampa, nmda) if ampa.mg_mM == 0 and nmda.mg_mM > 0 and ampa.e_mV == nmda.e_mV:
            point = h.DendrotwinAmpaNmda(segment)
            point.tau_rise_ampa, point.tau_decay_ampa, point.gmax_ampa = ampa.rise_ms, ampa.decay_ms, ampa.g_max_uS
            point.tau_rise_nmda, point.tau_decay_nmda, point.gmax_nmda = nmda.rise_ms, nmda.decay_ms, nmda.g_max_uS
            point.e, point.mg, point.slope = ampa.e_mV, nmda.mg_mM, nmda.slope_per_mV
        case (gaba,) if gaba.mg_mM == 0:
            point = h.DendrotwinGabaA(segment)
            point.tau_rise, point.tau_decay, point.gmax, point.e = gaba.rise_ms, gaba.decay_ms, gaba.g_max_uS, gaba.e_mV
        case _:
            raise CellError(
                f"the synapse {synapse.name!r} has no mechanism; use one conductance without magnesium block, "
                "or one without and one with it, of the same reversal potential"
            )
    return point


def _proximal_node(section: Any, nodes: dict[Any, int], joints: dict[Any, int], n: int) -> int:
    """The axial node to which the first segment of a section is connected; makes its joint if it has none yet."""
    parent = section.parentseg()
    if parent is None:
        return -1
    parent_section = parent.sec
    if 0.0 < parent.x < 1.0:
        return nodes[(parent_section, int(parent.x * parent_section.nseg))]
    if parent.x == parent_section.orientation() and parent_section.parentseg() is not None:
        return _proximal_node(parent_section, nodes, joints, n)
    # The end of a section (or the free end of the root): NEURON has a node without area there.
    return joints.setdefault((parent_section, parent.x), n + len(joints))


def _tree(
    model: CellModel, sections: Sections, segments: list[Any], ends: dict[Any, NDArray[Any]], own: OwnInputs | None
) -> Tree:
    from neuron import h

    parts = [part for part, members in zip(PARTS, sections[:4], strict=True) for _ in members]
    every = [section for members in sections[:4] for section in members]
    number = {section: i for i, section in enumerate(every)}
    n = len(segments)
    nodes, first = {}, 0
    for section in every:
        for i in range(section.nseg):
            nodes[(section, i if section.orientation() == 0 else section.nseg - 1 - i)] = first + i
        first += section.nseg

    apical = [number[section] for section in sections.apical]
    parent_section = [-1 if s.parentseg() is None else number[s.parentseg().sec] for s in every]
    among = {section: i for i, section in enumerate(apical)}
    names = apical_regions([among.get(parent_section[s], -1) for s in apical], [every[s].L for s in apical])
    region_name = list(parts)
    for section, name in zip(apical, names, strict=True):
        region_name[section] = name

    joints: dict[Any, int] = {}
    parent = np.full(n, -1, dtype=np.int32)
    axial_parent = np.full(n, -1, dtype=np.int32)
    axial = np.zeros(n)
    node = 0
    for section in every:
        for i, segment in enumerate(_outwards(section)):
            if i > 0:
                parent[node] = axial_parent[node] = node - 1
            else:
                axial_parent[node] = _proximal_node(section, nodes, joints, n)
                at = section.parentseg()
                if at is not None:
                    parent[node] = nodes[(at.sec, min(int(at.x * at.sec.nseg), at.sec.nseg - 1))]
            if axial_parent[node] >= 0:
                axial[node] = 1.0 / segment.ri()
            node += 1
    joint_parent, joint_axial = np.zeros(len(joints), dtype=np.int32), np.zeros(len(joints))
    for (section, x), joint in joints.items():
        joint_parent[joint - n] = nodes[(section, section.nseg - 1 if x == 1.0 else 0)]
        # NEURON keeps the resistance to a section's far end at its last node, to the root's near end at its first.
        far = x != section.orientation()
        joint_axial[joint - n] = 1.0 / (section(x).ri() if far else section(0.5 / section.nseg).ri())

    h.distance(0, sections.soma[0](0.5))
    area = np.array([segment.area() for segment in segments])
    ih = np.array([_ih_density(segment) for segment in segments])
    ih_mV = np.array([_ih_reversal(segment) for segment in segments])
    if own is None:
        dendrites = np.flatnonzero(np.isin([region_name[number[s.sec]] for s in segments], ("basal", *APICAL)))
        kinds = len(model.synapses)
        at_compartment = np.tile(dendrites, kinds)
        of_kind = np.repeat(np.arange(kinds, dtype=np.int32), len(dendrites))
        weight = np.ones(len(of_kind))
    else:
        at_compartment = np.array([_compartment(model, point, nodes) for point in own.points])
        of_kind, weight = own.kind, own.weight
    uS = area * 1e-8 * 1e6  # um2 -> cm2, S -> uS
    return Tree(
        parent=parent,
        region=np.array([REGIONS.index(region_name[number[s.sec]]) for s in segments], dtype=np.int32),
        section=np.array([number[s.sec] for s in segments], dtype=np.int32),
        section_names=tuple(section.hname().split(".")[-1] for section in every),
        x=np.array([s.x for s in segments]),
        ends_um=np.concatenate([ends[section] for section in every]),
        length_um=np.array([s.sec.L / s.sec.nseg for s in segments]),
        diameter_um=np.array([s.diam for s in segments]),
        area_um2=area,
        distance_um=np.array([h.distance(s) for s in segments]),
        axial_parent=np.concatenate([axial_parent, joint_parent]),
        axial_uS=np.concatenate([axial, joint_axial]),
        capacitance_nF=area * 1e-8 * np.array([s.cm for s in segments]) * 1e3,
        leak_uS=uS * np.array([s.pas.g if hasattr(s, "pas") else 0.0 for s in segments]),
        leak_mV=np.array([s.pas.e if hasattr(s, "pas") else 0.0 for s in segments]),
        ih_uS=uS * ih,
        ih_mV=ih_mV,
        v_init_mV=float(model.v_init_mV),
        synapses=model.synapses if own is None else own.kinds,
        input_compartment=at_compartment.astype(np.int32),
        input_synapse=of_kind,
        input_weight=weight,
    )


def _compartment(model: CellModel, point: Any, nodes: dict[Any, int]) -> int:
    """The compartment in which a point process stands."""
    segment = point.get_segment()
    if (segment.sec, 0) not in nodes:
        raise CellError(
            f"the cell {model.name}: the synapse {point.hname()} stands in {segment}, which is none of the cell's "
            "sections; place it in one"
        )
    if not 0.0 < segment.x < 1.0:
        raise CellError(
            f"the cell {model.name}: the synapse {point.hname()} stands at the end {segment}, which has no membrane; "
            f"place it inside, such as at {segment.sec.name()}(0.5)"
        )
    return nodes[(segment.sec, int(segment.x * segment.sec.nseg))]


def _ih_density(segment: Any) -> float:
    """Density [S/cm2] of Ih, by either of the names in use."""
    if not hasattr(segment, IH):
        return 0.0
    for name in ("gbar", "gIhbar"):
        if hasattr(getattr(segment, IH), name):
            return float(getattr(getattr(segment, IH), name))
    raise CellError(f"the mechanism {IH} has no density `gbar` or `gIhbar`; rename it, or the mechanism")


def _ih_reversal(segment: Any) -> float:
    from neuron import h

    if not hasattr(segment, IH):
        return 0.0
    mechanism = getattr(segment, IH)
    if hasattr(mechanism, "ehcn"):
        return float(mechanism.ehcn)
    return float(h.ehcn_Ih if hasattr(h, "ehcn_Ih") else IH_MV)


def _check(model: CellModel, sections: Sections, every: list[Any]) -> None:
    """Raise CellError unless the sections are one cell, with nothing in it that NEURON alone would know."""
    from neuron import h

    if not sections.soma or sections.soma[0].parentseg() is not None:
        raise CellError(f"the cell {model.name}: the first soma section must exist and be the root of the tree")
    known = set(every)
    for section in every:
        if len(known) < len(every) and every.count(section) > 1:
            raise CellError(
                f"the cell {model.name}: {section.name()} is listed twice; name each section in one list, once"
            )
        if section.parentseg() is None and section != sections.soma[0]:
            raise CellError(
                f"the cell {model.name}: {section.name()} is not connected to the soma; connect or delete it"
            )
    whole = sections.soma[0].wholetree()
    for section in whole:
        if section not in known:
            raise CellError(
                f"the cell {model.name}: {section.name()}, connected to {section.parentseg()}, is in none of the four "
                "lists of sections; add it, or disconnect it"
            )
    apart = [section for section in every if section not in set(whole)]
    if apart:
        raise CellError(f"the cell {model.name}: {apart[0].name()} is not connected to the soma; connect or delete it")
    if not sections.basal and not sections.apical and not sections.synapses:
        raise CellError(
            f"the cell {model.name} has no dendrite, where inputs arrive if nothing is said; list synapses of its own "
            "(`Sections.synapses`)"
        )
    given = {one[0] if isinstance(one, tuple) else one for one in sections.synapses}
    for section in every:
        if section.has_membrane("extracellular"):
            raise CellError(
                f"the cell {model.name}: {section.name()} has the mechanism extracellular, which a twin does not know; "
                "leave it away"
            )
        for segment in section.allseg():
            _check_segment(model, segment, given)
    if h.List("LinearMechanism").count():
        raise CellError(
            f"the cell {model.name}: there is a LinearMechanism, whose currents a twin does not know; leave it away"
        )


def _check_segment(model: CellModel, segment: Any, given: set[Any]) -> None:
    for point in segment.point_processes():
        if point not in given and name_of(point) not in HARMLESS:
            raise CellError(
                f"the cell {model.name}: {point.hname()} stands in {segment}, which a twin would not know; leave it "
                "away, give its current with --inject, or list it in `Sections.synapses` if events drive it"
            )
    if 0.0 < segment.x < 1.0:
        for mechanism in segment:
            if mechanism.is_ion():
                continue
            for pointer in pointers(mechanism.name()):
                try:
                    getattr(mechanism, pointer.removesuffix(f"_{mechanism.name()}"))
                except AttributeError as error:
                    raise CellError(
                        f"the cell {model.name}: the POINTER {pointer} of {mechanism.name()} in {segment} points to "
                        "nothing, of which NEURON dies; set it with h.setpointer"
                    ) from error


def _shape(every: list[Any]) -> dict[Any, NDArray[Any]]:
    """3-D start and end (nseg, 2, 3) of each section's segments, from the connected end on [um].

    `define_shape` gives 3-D points to sections without, and NEURON makes their membrane from these: where that
    is another one than before, it is made what it was.
    """
    from neuron import h

    def membrane(section: Any) -> NDArray[Any]:
        return np.array([[segment.area(), segment.ri()] for segment in section])

    before = {s: (membrane(s), s.L, [segment.diam for segment in s]) for s in every if s.n3d() == 0}
    h.define_shape()
    ends = {section: _ends(section) for section in every}
    for section, (was, length, diameters) in before.items():
        if not np.allclose(membrane(section), was, rtol=1e-6, atol=0.0):
            section.pt3dclear()
            section.L = length
            for segment, diameter in zip(section, diameters, strict=True):
                segment.diam = diameter
    return ends


def _ends(section: Any) -> np.ndarray:
    """3-D start and end (nseg, 2, 3) of the section's segments [um]."""
    points = np.array([[section.x3d(i), section.y3d(i), section.z3d(i)] for i in range(section.n3d())])
    arc = np.array([section.arc3d(i) for i in range(section.n3d())])
    borders = np.linspace(0.0, arc[-1], section.nseg + 1)
    at = np.stack([np.interp(borders, arc, points[:, axis]) for axis in range(3)], axis=1)
    ends = np.stack([at[:-1], at[1:]], axis=1)
    return ends if section.orientation() == 0 else ends[::-1, ::-1]
