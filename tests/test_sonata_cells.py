"""Node types of SONATA as cells: beside BMTK's own building of them, as twins, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin.cells import load_cell
from dendrotwin.cells.sonata import NodeType, bmtk_folder, node_type
from dendrotwin.circuit.sonata.cells import read_twins
from dendrotwin.circuit.sonata.compartments import compartment_at
from dendrotwin.circuit.sonata.placement import placement
from dendrotwin.errors import CellError, InputError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.cell_files import cell_digest
from dendrotwin.neuron.cell_of_data import simulation_of_data
from dendrotwin.neuron.simulate import Simulation

COMPONENTS = Path(__file__).parents[2] / "shared" / "sonata" / "shared_components"
# id, type (1 soma, 2 axon, 3 dendrite, 4 apical), x, y, z, radius, parent
SWC = """1 1 10 -5 3 8 -1
2 3 18 -5 3 1.5 1
3 3 70 -15 3 1 2
4 3 130 10 20 0.7 3
5 3 110 -60 -20 0.6 3
6 4 10 3 3 2 1
7 4 12 90 -4 1.2 6
8 4 -30 170 10 0.8 7
9 4 60 160 10 0.8 7
10 2 10 -13 3 0.9 1
11 2 14 -60 9 0.7 10
12 2 40 -90 20 0.4 11
13 2 -20 -110 -5 0.3 11
14 2 -60 -150 -25 0.3 13
"""
BARE = "\n".join(line for line in SWC.splitlines() if line.split()[1] != "2")  # without an axon
FIT: dict[str, Any] = {
    "passive": [
        {
            "ra": 131.0,
            "e_pas": -77.0,
            "cm": [{"section": s, "cm": c} for s, c in (("soma", 1.0), ("axon", 1.1), ("dend", 2.0), ("apic", 1.7))],
        }
    ],
    "conditions": [{"celsius": 34.0, "v_init": -77.0, "erev": [{"section": "soma", "ena": 53.0, "ek": -97.0}]}],
    "genome": [
        *({"section": s, "name": "g_pas", "value": v, "mechanism": ""} for s, v in (("soma", 3e-5), ("dend", 5e-5))),
        {"section": "axon", "name": "g_pas", "value": 8e-5, "mechanism": ""},
        {"section": "apic", "name": "g_pas", "value": 6e-5, "mechanism": ""},
        {"section": "soma", "name": "gnabar_hh", "value": 0.2, "mechanism": "hh"},
        {"section": "soma", "name": "gkbar_hh", "value": 0.05, "mechanism": "hh"},
    ],
}
NML = """<neuroml xmlns="http://www.neuroml.org/schema/neuroml2"><cell id="c"><biophysicalProperties id="b">
<membraneProperties>
<channelDensity id="gnabar_hh" segmentGroup="soma" ion="na" ionChannel="hh" erev="51.0 mV" condDensity="0.2 S_per_cm2"/>
<channelDensity id="p1" segmentGroup="all" ion="non_specific" ionChannel="pas" erev="-77 mV"
 condDensity="5e-5 S_per_cm2"/>
<channelDensity id="p2" segmentGroup="apical" ion="non_specific" ionChannel="pas" erev="-71 mV"
 condDensity="7e-5 S_per_cm2"/>
<specificCapacitance segmentGroup="all" value="1.0 uF_per_cm2"/>
<specificCapacitance segmentGroup="basal" value="2.12 uF_per_cm2"/>
</membraneProperties>
<intracellularProperties><resistivity segmentGroup="all" value="138.28 ohm_cm"/></intracellularProperties>
</biophysicalProperties></cell></neuroml>
"""
HOC = """begintemplate Tiny
public soma, dend, axon, all
create soma, axon, dend[2]
objref all
proc init() {
    all = new SectionList()
    soma { L = 20 diam = 20 nseg = 1 insert hh }
    dend[0] { L = $1 diam = 2 nseg = 3 insert pas }
    dend[1] { L = 90 diam = 1 nseg = 1 insert pas insert Leaky }
    axon { L = 30 diam = 1 insert pas }
    connect dend[0](0), soma(1)
    connect dend[1](0), dend[0](0.5)
    connect axon(0), soma(0)
    forall { Ra = 120 cm = 1.2 }
    soma all.append()
    axon all.append()
    for i = 0, 1 dend[i] all.append()
}
endtemplate Tiny
"""
LEAKY = """NEURON { SUFFIX Leaky NONSPECIFIC_CURRENT i RANGE g }
PARAMETER { g = 1e-5 (S/cm2) }
ASSIGNED { v (mV) i (mA/cm2) }
BREAKPOINT { i = g * (v + 70) }
"""
TINY = {"dL": "20", "v_init": "-77", "celsius": "34", "morphology": "cell.swc"}


def _type(folder: Path, **options: str) -> dict[str, str]:
    """The files of a tiny cell, and its options."""
    for name, text in (("cell.swc", SWC), ("fit.json", json.dumps(FIT)), ("c.nml", NML)):
        (folder / name).write_text(text)
    said = {**TINY, **options}
    for key in ("morphology", "dynamics_params"):
        if said.get(key):
            said[key] = str(folder / said[key])
    return {k: v.replace("nml:", f"nml:{folder}/") for k, v in said.items() if v}


def _shared(model: int, morphology: str, form: str) -> dict[str, str]:
    fit = form == "json"
    templates = COMPONENTS / "biophysical_neuron_templates"
    return {
        **({"dynamics_params": str(templates / "json" / f"{model}_fit.json")} if fit else {}),
        "model_template": "ctdb:Biophys1.hoc" if fit else f"nml:{templates}/nml/Cell_{model}.cell.nml",
        "morphology": str(COMPONENTS / "morphologies" / f"{morphology}.swc"),
        "model_processing": "aibs_perisomatic",
        **{"dL": "20", "v_init": "-80", "celsius": "34"},
    }


SHARED = {
    "Scnn1a": (472363762, "Scnn1a_473845048_m"),
    "Rorb": (473863510, "Rorb_325404214_m"),
    "Nr5a1": (473863035, "Nr5a1_471087815_m"),
    "PV1": (472912177, "Pvalb_470522102_m"),
    "PV2": (473862421, "Pvalb_469628681_m"),
}


class _PrincipalAxes:
    """What BMTK takes from scikit-learn, which need not be there."""

    def __init__(self, n_components: int) -> None:
        self.n = n_components

    def fit(self, points: np.ndarray) -> None:
        self.components_ = np.linalg.eigh(np.cov(points.T))[1].T[::-1][: self.n]


def _of_bmtk(node: NodeType) -> Any:
    """The hoc object that BMTK 1.2.0 makes, by its own functions."""
    from bmtk.simulator.bionet import nrn
    from bmtk.simulator.bionet.default_setters import cell_models

    nrn.load_neuron_modules(None, None)
    cell_models.PCA = _PrincipalAxes
    directory = SimpleNamespace(get_component=lambda _: str(Path(node.named).parent))
    described = SimpleNamespace(morphology_file=node.morphology, network=directory)
    values = json.loads(Path(node.dynamics_params).read_text()) if node.dynamics_params else None
    make = cell_models.NMLLoad if node.kind == "nml" else cell_models.Biophys1
    made = make(described, Path(node.named).name, values)
    for name in node.processings:
        if name != "extracellular":  # which is there while the potentials outside are recorded
            made = getattr(cell_models, name)(made, described, values)
    return made


def _values(sections: Any) -> list[tuple[str, list[float]]]:
    """Each section's name, and all numbers of its membrane."""
    found = []
    for section in sections:
        numbers = [section.L, section.Ra, section.nseg, section.parentseg().x if section.parentseg() else -1.0]
        for segment in section:
            numbers += [segment.area(), segment.ri(), segment.cm, segment.diam]
            for mechanism in segment:
                for name in sorted(dir(mechanism)):
                    value = getattr(mechanism, name)
                    if isinstance(value, float):
                        numbers.append(value)
        found.append((section.name().split(".")[-1], numbers))
    return found


def _beside_bmtk(options: dict[str, str]) -> dict[str, Any]:
    """A cell of ours beside BMTK's in one NEURON: sections, potentials, and coordinates when moved and turned."""
    from bmtk.simulator.bionet.morphology import Morphology
    from neuron import h

    model = load_cell("sonata", options)
    ours = NeuronCell(model)
    node = node_type(options)
    theirs = _of_bmtk(node)
    morphology = Morphology.load(hobj=theirs, cache_seg_props=False)
    morphology.set_segment_dl(float(node.dL))
    mine = [section for part in ours.sections[:4] for section in part]
    sections = [mine[k] for k in ours.tree.section_order]
    clamps, recorded = [], []
    for soma in (sections[0], next(iter(theirs.all))):
        clamp = h.IClamp(soma(0.5))
        clamp.delay, clamp.dur, clamp.amp = 5.0, 60.0, 0.4
        clamps.append(clamp)
        recorded.append(h.Vector().record(soma(0.5)._ref_v))
    h.celsius, h.dt = model.celsius, 0.025
    h.finitialize(model.v_init_mV)
    values = _values(sections), _values(theirs.all)
    while h.t < 80.0:
        h.fadvance()
    angles, at = [0.3, -1.2, 2.1], np.array([100.0, -40.0, 7.0])
    morphology.move_and_rotate(soma_coords=at, rotation_angles=angles, inplace=True)
    coordinates = np.stack([morphology.seg_coords.p0.T, morphology.seg_coords.p1.T], axis=1)
    turn = placement({f"rotation_angle_{a}axis": np.array([angle]) for a, angle in zip("xyz", angles, strict=True)}, 1)
    ids = np.repeat(np.arange(len(sections)), [section.nseg for section in sections])
    x = np.array([segment.x for section in sections for segment in section])
    placed = (ours.tree.ends_um @ turn[0].T + at)[compartment_at(ours.tree, ids, x)]
    return {"values": values, "v": np.array(recorded), "coordinates": (placed, coordinates), "order": ours.tree}


def _check_beside_bmtk(options: dict[str, str]) -> dict[str, Any]:
    found = in_new_process(_beside_bmtk, options)
    ours, theirs = found["values"]
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    for (name, mine), (_, right) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-12, atol=0, err_msg=name)
    assert np.ptp(found["v"][0]) > 1.0
    np.testing.assert_allclose(found["v"][0], found["v"][1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(*found["coordinates"], rtol=0, atol=1e-6)
    return found


def _needs_bmtk() -> None:
    if bmtk_folder() is None:
        pytest.skip("bmtk is not installed: pip install 'dendrotwin[allen]'")


@pytest.mark.parametrize(
    ("template", "parameters", "processing"),
    [
        ("nml:c.nml", "", ""),
        ("nml:c.nml", "", "aibs_perisomatic"),
        ("ctdb:Biophys1.hoc", "fit.json", "aibs_perisomatic"),
        ("ctdb:Biophys1", "fit.json", "aibs_allactive"),
        ("ctdb:Biophys1", "fit.json", "aibs_perisomatic_directed"),
        ("ctdb:Biophys1", "fit.json", "aibs_allactive_directed,extracellular"),
        ("ctdb:Biophys1", "", ""),
    ],
)
def test_a_tiny_cell_is_that_of_bmtk(template: str, parameters: str, processing: str, tmp_path: Path) -> None:
    _needs_bmtk()
    options = _type(tmp_path, model_template=template, dynamics_params=parameters, model_processing=processing)
    tree = _check_beside_bmtk(options)["order"]
    order = [tree.section_names[k] for k in tree.section_order]
    if template == "ctdb:Biophys1" and not processing:  # the axon stays where it is in the file
        assert order == [
            "soma[0]",
            *(f"axon[{i}]" for i in range(3)),
            *(f"{p}[{i}]" for p in ("dend", "apic") for i in range(3)),
        ]
    else:
        assert order[-2:] == ["axon[0]", "axon[1]"]
        assert order == list(tree.section_names)


def _tree(options: dict[str, str]) -> Any:
    return NeuronCell(load_cell("sonata", options)).tree


def test_an_axon_that_is_replaced_need_not_be_there(tmp_path: Path) -> None:
    """BMTK ends the process here."""
    options = _type(tmp_path, model_template="nml:c.nml")
    whole = in_new_process(_tree, options)
    Path(options["morphology"]).write_text(BARE)
    bare = in_new_process(_tree, options)
    assert bare.section_names == whole.section_names
    np.testing.assert_allclose(bare.ends_um, whole.ends_um, atol=1e-4)
    np.testing.assert_allclose(bare.axial_uS, whole.axial_uS, rtol=1e-6)


@pytest.mark.parametrize("form", ["nml", "json"])
@pytest.mark.parametrize("name", SHARED)
def test_the_cells_of_the_sonata_project_are_those_of_bmtk(name: str, form: str) -> None:
    _needs_bmtk()
    if not COMPONENTS.is_dir():
        pytest.skip(f"the SONATA project's examples are not at {COMPONENTS}")
    _check_beside_bmtk(_shared(*SHARED[name], form))


def _hoc(folder: Path, **options: str) -> dict[str, str]:
    """A hoc template that takes a number, its mechanism, and beside it files that the cell does not use."""
    (folder / "templates").mkdir()
    (folder / "mechanisms" / "modfiles").mkdir(parents=True)
    (folder / "templates" / "tiny.hoc").write_text(HOC)
    (folder / "templates" / "other.hoc").write_text(
        "begintemplate Other\nproc init() { nonsense }\nendtemplate Other\n"
    )
    (folder / "mechanisms" / "modfiles" / "l.mod").write_text(LEAKY)
    (folder / "mechanisms" / "modfiles" / "x.mod").write_text("NEURON { SUFFIX Broken } this is no NMODL\n")
    (folder / "params.json").write_text(json.dumps({"params": [150.0]}))
    folders = {"templates_dir": str(folder / "templates"), "mechanisms_dir": str(folder / "mechanisms")}
    named = {"model_template": "hoc:Tiny", "dynamics_params": str(folder / "params.json")}
    return {**named, **folders, "dL": "20", "v_init": "-70", "celsius": "20", **options}


def _hoc_by_hand(options: dict[str, str]) -> tuple[Any, np.ndarray, list[Any], list[Path]]:
    """The tree of the cell, and the soma's potential in it and in the same cell by hand."""
    from neuron import h

    model = load_cell("sonata", options)
    cell = NeuronCell(model)
    soma, dend, side, axon = (h.Section(name=name) for name in ("soma", "dend", "side", "axon"))
    for section, length, diameter, nseg in ((soma, 20, 20, 1), (dend, 150, 2, 7), (side, 90, 1, 5), (axon, 30, 1, 1)):
        section.L, section.diam, section.nseg, section.Ra, section.cm = length, diameter, nseg, 120.0, 1.2
        section.insert("hh" if section is soma else "pas")
    side.insert("Leaky")
    dend.connect(soma(1.0))
    side.connect(dend(0.5))
    axon.connect(soma(0.0))
    clamps, recorded = [], []
    for one in (cell.sections.soma[0], soma):
        clamps.append(h.IClamp(one(0.5)))
        clamps[-1].delay, clamps[-1].dur, clamps[-1].amp = 2.0, 20.0, 0.3
        recorded.append(h.Vector().record(one(0.5)._ref_v))
    h.celsius, h.dt = model.celsius, 0.025
    h.finitialize(model.v_init_mV)
    while h.t < 30.0:
        h.fadvance()
    return cell.tree, np.array(recorded), [s.nseg for s in (soma, axon, dend, side)], model.mechanisms()


def test_a_hoc_template_is_the_cell_by_hand_and_keeps_its_order(tmp_path: Path) -> None:
    tree, v, nseg, files = in_new_process(_hoc_by_hand, _hoc(tmp_path))
    assert [path.name for path in files] == ["l.mod"]  # the one that does not compile is not used
    assert np.ptp(v[0]) > 50.0
    np.testing.assert_allclose(v[0], v[1], rtol=0, atol=1e-9)
    names = ["soma", "axon", "dend[0]", "dend[1]"]  # as the template made them; the tree has the axon last
    assert [tree.section_names[k] for k in tree.section_order] == names != list(tree.section_names)
    ids = np.repeat(np.arange(4), nseg)
    x = np.concatenate([(np.arange(n) + 0.5) / n for n in nseg])
    found = compartment_at(tree, ids, x)
    assert sorted(found) == list(range(tree.n))
    assert [tree.names[k] for k in found] == [f"{names[i]}({at:f})" for i, at in zip(ids, x, strict=True)]
    within = compartment_at(tree, np.array([2, 2, 2]), np.array([1 / 7 - 1e-9, 1 / 7 + 1e-9, 1 - 1e-9]))
    np.testing.assert_array_equal(within - found[ids == 2][0], [0, 1, 6])
    # dend[1] starts at the middle of dend[0]: its end is that compartment. Other ends are points without membrane.
    assert tree.names[compartment_at(tree, np.array([3]), np.array([0.0]))[0]] == "dend[0](0.500000)"
    for section, end in ((0, 0.0), (0, 1.0), (2, 0.0), (3, 1.0)):
        with pytest.raises(
            InputError, match=rf"the end {end:g} of section {names[section].replace('[', '.')[:4]}.*move"
        ):
            compartment_at(tree, np.array([section]), np.array([end]))
    for wrong in (4, -1):
        with pytest.raises(InputError, match=rf"no section id {wrong}: the cell has the sections 0 to 3"):
            compartment_at(tree, np.array([0, wrong]), np.array([0.5, 0.5]))
    for place in (1.5, -0.1, np.nan):
        with pytest.raises(InputError, match="is no position in a section"):
            compartment_at(tree, np.array([0]), np.array([place]))
    with pytest.raises(InputError, match="2 section ids and 1 positions"):
        compartment_at(tree, np.array([0, 1]), np.array([0.5]))
    assert type(tree).from_dict(tree.to_dict()).section_order.tolist() == tree.section_order.tolist()


def test_node_types_are_read_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = _type(tmp_path, model_template="nml:c.nml")
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path / "cache"))
    twins = read_twins({"100": options, "101": dict(options)})
    assert twins["100"] is twins["101"]
    assert twins["100"].tree.v_init_mV == -77.0
    np.testing.assert_allclose(twins["100"].tree.ends_um[0].mean(axis=0), 0.0, atol=1e-5)  # the soma is the origin
    (kept,) = (tmp_path / "cache" / "sonata").iterdir()
    monkeypatch.setattr("dendrotwin.circuit.sonata.cells._read_all", lambda *_: pytest.fail("it is read again"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = read_twins({"7": _type(elsewhere, model_template="nml:c.nml")})["7"]
    assert again.folder == kept
    assert again.tree.fingerprint() == twins["100"].tree.fingerprint()
    for changed, accuracy in (({}, "fast"), ({"celsius": "30"}, "standard")):
        with pytest.raises(pytest.fail.Exception, match="it is read again"):
            read_twins({"7": {**options, **changed}}, accuracy)
    Path(options["morphology"]).write_text(SWC.replace(" 130 ", " 131 "))
    with pytest.raises(pytest.fail.Exception, match="it is read again"):
        read_twins({"7": options})


REFUSED = [
    ({"model_template": "nrn:IntFire1"}, "model_template 'nrn:IntFire1' is none that is built"),
    ({"model_template": "ctdb:Other.hoc"}, "only Biophys1.hoc, not Other.hoc"),
    ({"model_template": "nml:none.nml"}, "none.nml does not exist"),
    ({"morphology": "none.swc"}, "none.swc does not exist"),
    ({"morphology": ""}, "no morphology; name the SWC file"),
    ({"dynamics_params": "none.json"}, "none.json does not exist"),
    ({"model_processing": "aibs_axon"}, "model_processing aibs_axon is none of BMTK's; there are aibs_perisomatic,"),
    ({"model_processing": "aibs_allactive"}, "aibs_allactive needs dynamics_params"),
    ({"dynamics_params": "cell.swc", "model_processing": "aibs_perisomatic"}, "cell.swc is no JSON"),
    ({"dynamics_params": "empty.json", "model_processing": "aibs_perisomatic"}, "empty.json is no fit of Allen's"),
    ({"dynamics_params": "unknown.json", "model_processing": "aibs_perisomatic"}, "defines Unknown, which"),
    ({"dynamics_params": "fit.json", "model_processing": "aibs_allactive", "morphology": "bare.swc"}, "has no axon"),
    ({"morphology": "empty.swc"}, "is not a whole cell"),
    ({"model_template": "nml:unit.nml"}, "channelDensity p1: erev='-77 V' must be in mV"),
    ({"model_template": "nml:group.nml"}, "has the segmentGroup 'bas_'; it must be one of all, soma"),
    ({"model_template": "nml:cell.swc"}, "cell.swc is no NeuroML"),
    ({"dL": "0"}, "dL=0 must be a positive number"),
    ({"celsius": "warm"}, "celsius=warm must be a number"),
    (
        {"dynamics_params": "unknown.json", "model_processing": "aibs_perisomatic", "mechanisms_dir": "no"},
        "folder of mechanisms no does",
    ),
    ({"weight": "1"}, "no option weight; it knows model_template, morphology"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED, ids=[says[:40] for _, says in REFUSED])
def test_what_is_no_cell_is_refused_with_the_name_of_the_type(
    change: dict[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dendrotwin.circuit.sonata.cells.provenance", lambda: {"versions": str(tmp_path)})  # no cache
    others = {
        "empty.json": "{}",
        "unknown.json": json.dumps(FIT).replace('"hh"', '"Unknown"'),
        "bare.swc": BARE,
        "empty.swc": SWC.splitlines()[0] + "\n",
        "unit.nml": NML.replace("-77 mV", "-77 V"),
        "group.nml": NML.replace("basal", "bas_"),
    }
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    fits = change.get("model_processing") is not None and "model_template" not in change
    options = _type(tmp_path, **{"model_template": "ctdb:Biophys1.hoc" if fits else "nml:c.nml", **change})
    with pytest.raises(CellError, match=rf"(?s)^node type 104: .*{re.escape(says)}") as error:
        read_twins({"104": options})
    assert "\n" not in str(error.value)


def test_a_template_that_does_not_build_is_refused(tmp_path: Path) -> None:
    options = _hoc(tmp_path)
    for change, says in (
        ({"model_template": "hoc:None"}, "defines the template None .there: Other, Tiny"),
        ({"model_template": "hoc:Other"}, "the hoc template Other does not build with|NEURON cannot load"),
        ({"dynamics_params": ""}, "the hoc template Tiny does not build with"),
        ({"mechanisms_dir": str(tmp_path / "templates")}, "no .mod file in .*templates defines Leaky, which Tiny uses"),
    ):
        with pytest.raises(CellError, match=f"node type Tiny0: .*{says}"):
            read_twins({"Tiny0": {key: value for key, value in {**options, **change}.items() if value}})


def test_files_of_a_type_are_part_of_its_data_and_data_do_not_choose_them(tmp_path: Path) -> None:
    for options, file in (
        (_type(tmp_path, model_template="nml:c.nml"), "c.nml"),
        (_hoc(tmp_path), "templates/tiny.hoc"),
    ):
        simulation = Simulation(cell="sonata", cell_options=options, duration_ms=10)
        before = cell_digest(simulation, load_cell("sonata", options))
        made = simulation.model_copy(update={"cell_digest": before}).model_dump(mode="json")
        with pytest.raises(InputError, match=r"data do not choose code that is run: the files .*; .*--cell sonata"):
            simulation_of_data(made, None, "r.h5")
        assert simulation_of_data(made, "sonata", "r.h5").cell_options == options
        changed = tmp_path / file
        changed.write_text(changed.read_text().replace("120", "121").replace("138.28", "139"))
        assert cell_digest(simulation, load_cell("sonata", options)) != before
        with pytest.raises(InputError, match=r"sonata is not the cell that .* was made with"):
            simulation_of_data(made, "sonata", "r.h5")


def test_placement(rng: np.random.Generator) -> None:
    axes = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}
    for axis, (i, j) in axes.items():  # a quarter turn takes the next axis to the one after it
        (turn,) = placement({f"rotation_angle_{axis}axis": np.array([np.pi / 2])}, 1)
        np.testing.assert_allclose(turn @ np.eye(3)[i], np.eye(3)[j], atol=1e-12)
        half = np.array([np.cos(np.pi / 4), np.sin(np.pi / 4)])
        quaternion = {f"orientation_{a}": np.array([0.0]) for a in "xyz"} | {"orientation_w": 3.0 * half[:1]}
        quaternion[f"orientation_{axis}"] = 3.0 * half[1:]
        np.testing.assert_allclose(placement(quaternion, 1)[0], turn, atol=1e-12)
        placement({**quaternion, f"rotation_angle_{axis}axis": np.array([np.pi / 2])}, 1)  # both say the same
        with pytest.raises(InputError, match="are not the same; leave one away"):
            placement({**quaternion, f"rotation_angle_{axis}axis": np.array([0.1])}, 1)
    q = rng.normal(size=(5, 4))
    turns = placement({f"orientation_{a}": q[:, k] for k, a in enumerate("wxyz")}, 5)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)
    np.testing.assert_array_equal(placement({}, 2), np.broadcast_to(np.eye(3), (2, 3, 3)))
    with pytest.raises(InputError, match="only w; give all four"):
        placement({"orientation_w": np.ones(2)}, 2)
    with pytest.raises(InputError, match="orientation of node 1 is 0"):
        placement({f"orientation_{a}": np.array([1.0, 0.0]) for a in "wxyz"}, 2)
    for wrong in (np.array([np.nan, 0.0]), np.zeros(3)):
        with pytest.raises(InputError, match="rotation_angle_xaxis of the nodes must have 2 finite numbers"):
            placement({"rotation_angle_xaxis": wrong}, 2)
