"""Cells: against references and equations, Kirchhoff's law, and what is missing."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import os
import re
import shutil
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import reference_l5pc
from conftest import in_new_process
from dendrotwin.cell.apical_tree import apical_regions
from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cell.tree import REGIONS, Events, Injection
from dendrotwin.cells import INHIBITORY, MECHANISMS, CellModel, Sections, allen, bbp, l5pc, load_cell
from dendrotwin.errors import CellError, InputError
from dendrotwin.neuron import compile
from dendrotwin.neuron.build import SYNAPSE_FILES, NeuronCell, _point_process
from dendrotwin.neuron.trial import run_trial
from dendrotwin.recording.trials import index_trials
from dendrotwin.signals import membrane_currents


def _with_mechanisms(check: str, *arguments: object) -> object:
    compile.load_mechanisms(load_cell("l5pc").mechanisms() + SYNAPSE_FILES)
    return getattr(reference_l5pc, check)(*arguments)


def test_l5pc_compartments(reference: Path) -> None:
    deviation = in_new_process(_with_mechanisms, "compartments", reference)
    assert deviation["names"] == 0
    assert deviation["area"] < 1e-6
    assert deviation["ri"] < 1e-6


def test_l5pc_under_synaptic_input(reference: Path) -> None:
    assert in_new_process(_with_mechanisms, "synaptic", reference) < 1e-3


def test_l5pc_current_step(reference: Path) -> None:
    deviation = in_new_process(_with_mechanisms, "step", reference)
    assert deviation["spikes"] == 12
    assert deviation["spike_times"] < 0.025 / 2  # the same step of 0.025 ms
    assert deviation["V"] < 1e-3


@pytest.mark.parametrize("with_epsp", [False, True], ids=["BAP", "BAC"])
def test_l5pc_back_propagation(reference: Path, with_epsp: bool) -> None:
    deviation = in_new_process(_with_mechanisms, "back_propagation", reference, with_epsp)
    assert set(deviation) == {"soma", "apic620", "apic400"}
    assert max(deviation.values()) < 1e-3


@pytest.mark.parametrize("check", ["nata_current", "ca_lvast_current", "nmda_current", "nata_singular_rates"])
def test_currents_follow_their_equations(check: str) -> None:
    assert in_new_process(_with_mechanisms, check) < 1e-9


def _through_the_package(folder: Path) -> tuple[float, list[str]]:
    """The reference recording again, by the way that `simulate` goes."""
    cell = NeuronCell(load_cell("l5pc", {"morphology": str(folder / "cell1.asc")}))
    reference = np.load(folder / "reference_synaptic.npz")
    exc, inh = reference["exc_events"], reference["inh_events"]
    first = np.flatnonzero(cell.tree.input_synapse == 1)[0]
    events = Events.sort(np.concatenate([exc[:, 0], inh[:, 0] + first]), np.concatenate([exc[:, 1], inh[:, 1]]))
    v, _ = run_trial(cell, events, 400, 0.025, "backward-euler")
    # Our sample t is the end of step t; the reference's is the start.
    return float(np.abs(v[:-1] - reference["V_mV"][1:]).max()), cell.tree.names


def test_simulation_of_l5pc_gives_the_reference(reference: Path) -> None:
    deviation, names = in_new_process(_through_the_package, reference)
    assert deviation < 1e-3
    assert names == np.load(reference / "reference_compartments.npz")["names"].tolist()


def _kirchhoff(name: str, options: dict[str, str], method: str) -> dict[str, float]:
    """Currents from potentials against NEURON's own, while inputs arrive and current is injected."""
    from neuron import h

    model = load_cell(name, options)
    cell = NeuronCell(model)
    h.CVode().use_fast_imem(True)
    h.celsius, h.dt, h.secondorder = model.celsius, 0.025, 2 if method == "crank-nicolson" else 0
    clamp = h.IClamp(cell.segments[0])
    clamp.delay, clamp.dur, clamp.amp = 2.0, 100.0, 0.5
    h.finitialize(cell.tree.v_init_mV)
    for i in range(0, cell.tree.n_inputs, 3):
        cell.connections[i].event(1.0)

    def potentials() -> np.ndarray:
        return np.array([segment.v for segment in cell.segments])

    v, current, injected = [potentials()], [], []
    for _ in range(400):
        h.fadvance()
        v.append(potentials())
        current.append([segment.i_membrane_ for segment in cell.segments])
        injected.append([clamp.i])
    samples, neuron = np.array(v), np.array(current)
    # Backward Euler's currents belong to the end of the step, Crank-Nicolson's to its middle.
    at = samples[1:] if method == "backward-euler" else (samples[1:] + samples[:-1]) / 2
    injection = Injection(np.array([0], dtype=np.int32), np.array(injected))
    ours = membrane_currents(cell.tree, at, injection)
    largest = np.abs(neuron).max()
    without = membrane_currents(cell.tree, at)
    return {
        "difference": float(np.abs(ours - neuron).max() / largest),
        "sum": float(np.abs(without.sum(axis=1)).max() / largest),
        "swing": float(np.ptp(samples)),
    }


@pytest.mark.parametrize("method", ["backward-euler", "crank-nicolson"])
@pytest.mark.parametrize("name", ["ball_and_stick", "allen_l4", "bbp", "l5pc"])
def test_kirchhoff(name: str, method: str, request: pytest.FixtureRequest) -> None:
    options = {"morphology": str(request.getfixturevalue("reference") / "cell1.asc")} if name == "l5pc" else {}
    found = in_new_process(_kirchhoff, name, options, method)
    assert found["swing"] > 10.0  # mV: something happened
    assert found["difference"] < 1e-6
    assert found["sum"] < 1e-6


def _facts(name: str) -> dict[str, object]:
    cell = NeuronCell(load_cell(name))
    tree = cell.tree
    return {
        "n": tree.n,
        "regions": {region: int(tree.in_region(region).sum()) for region in REGIONS},
        "inputs": tree.n_inputs,
        "parents_first": bool((tree.parent[1:] < np.arange(1, tree.n)).all()),
        "area": bool((tree.area_um2 > 0).all()),
        "capacitance": float(tree.capacitance_nF.sum()),
        "neuron_capacitance": sum(s.cm * s.area() * 1e-5 for s in cell.segments),
        "leak": [
            float(tree.leak_uS @ (tree.leak_mV + 100.0)),
            sum(s.pas.g * s.area() * 1e-2 * (s.pas.e + 100.0) for s in cell.segments),
        ],
        "ih": [float(tree.ih_uS.sum()), sum(s.Ih.gbar * s.area() * 1e-2 for s in cell.segments if hasattr(s, "Ih"))],
        "joints": len(tree.axial_parent) - tree.n,
    }


def _step_response(sections: Sections) -> list[float]:
    """Soma's and a distal dendrite's potential at a step of current, after 15, 30, ... ms."""
    from neuron import h

    h.celsius, h.dt, h.secondorder = 34.0, 0.025, 0
    far = max(sections.apical or sections.basal, key=lambda section: h.distance(sections.soma[0](0.5), section(1.0)))
    clamp = h.IClamp(sections.soma[0](0.5))
    clamp.delay, clamp.dur, clamp.amp = 10.0, 100.0, 0.8
    h.finitialize(-75.0)
    found = []
    for _ in range(6):
        h.continuerun(h.t + 15.0)
        found += [sections.soma[0](0.5).v, far(0.5).v]
    return found


def _ours(model: str) -> list[float]:
    return _step_response(NeuronCell(load_cell("bbp", {"model": model})).sections)


def _published(model: str, copy: Path) -> list[float]:
    """With the wheel's own template; without its synapses, whose mechanisms do not compile in NEURON 9."""
    from neuron import h

    folder = bbp._folder(model)
    assert folder is not None
    shutil.copytree(folder, copy)
    os.chdir(copy)  # its files name each other relative to it
    synapses = Path("synapses/synapses.hoc")
    (name,) = re.findall(r"^begintemplate (\w+)", synapses.read_text(), re.MULTILINE)
    synapses.write_text(f"begintemplate {name}\npublic load_synapses\nproc load_synapses() {{}}\nendtemplate {name}\n")
    compile.load_mechanisms(load_cell("bbp", {"model": model}).mechanisms() + SYNAPSE_FILES)
    for file in ("stdrun.hoc", "import3d.hoc", "template.hoc"):
        h.load_file(file)
    (template,) = re.findall(r"^begintemplate (\w+)", Path("template.hoc").read_text(), re.MULTILINE)
    cell = getattr(h, template)(0)
    return _step_response(Sections(list(cell.somatic), list(cell.basal), list(cell.apical), list(cell.axonal)))


@pytest.mark.parametrize("model", ["L5_STPC"])
def test_a_cell_of_the_blue_brain_project_is_as_published(model: str, tmp_path: Path) -> None:
    ours, published = in_new_process(_ours, model), in_new_process(_published, model, tmp_path / "copy")
    assert max(ours) - min(ours) > 10.0  # mV: something happened
    assert ours == pytest.approx(published, abs=1e-9)


def test_cells_of_the_blue_brain_project_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bbp, "_folder", lambda model: None)
    assert "pip install 'dendrotwin" in str(load_cell("bbp").missing())
    monkeypatch.setattr(bbp, "_folder", lambda model: tmp_path)
    assert "lacks its biophysics" in str(load_cell("bbp").missing())


@pytest.mark.parametrize(("name", "module"), [("allen", allen), ("bbp", bbp)])
def test_every_model_of_a_wheel_is_there(name: str, module: ModuleType) -> None:
    assert len(module.MODELS) == {"allen": 5, "bbp": 13}[name]
    for model in module.MODELS:
        described = load_cell(name, {"model": model})
        assert described.missing() is None
        assert len(described.mechanisms()) >= 11
        assert all(path.is_file() for path in described.mechanisms())
        # Synapses are random; no channel is.
        assert not any("rand" in path.read_text() for path in described.mechanisms())
    with pytest.raises(CellError, match=rf"the cell {name} has no model 'L6'; choose {next(iter(module.MODELS))}"):
        load_cell(name, {"model": "L6"})


def test_one_cell_by_two_names() -> None:
    one, other = load_cell("allen_l4"), load_cell("allen")
    assert (
        dataclasses.replace(other, name="allen_l4", build=one.build, mechanisms=one.mechanisms, missing=one.missing)
        == one
    )
    assert one.mechanisms() == other.mechanisms()


def _interneuron(name: str, model: str) -> tuple[int, dict[str, int]]:
    tree = NeuronCell(load_cell(name, {"model": model})).tree
    return tree.n, {region: int(tree.in_region(region).sum()) for region in REGIONS}


@pytest.mark.parametrize(("name", "model", "n"), [("allen", "Pvalb2", 91), ("bbp", "L5_BTC", 160)])
def test_interneurons_have_basal_dendrites_alone(name: str, model: str, n: int) -> None:
    found, regions = in_new_process(_interneuron, name, model)
    assert found == n
    assert load_cell(name, {"model": model}).compartments in (None, n)
    assert regions["soma"] == 1
    assert regions["axon"] == 2
    assert regions["basal"] == n - 3


@pytest.mark.parametrize("name", ["ball_and_stick", "allen_l4"])
def test_cell_is_what_its_description_says(name: str) -> None:
    facts = in_new_process(_facts, name)
    assert facts["n"] == load_cell(name).compartments
    assert facts["regions"]["soma"] == 1
    assert facts["inputs"] == 2 * sum(facts["regions"][r] for r in ("basal", "oblique", "trunk", "tuft"))
    assert facts["parents_first"]
    assert facts["area"]
    assert facts["joints"] > 0
    assert facts["leak"][0] == pytest.approx(facts["leak"][1], rel=1e-12)
    assert facts["ih"][0] == pytest.approx(facts["ih"][1], rel=1e-12)
    assert facts["ih"][0] > 0.0
    assert facts["capacitance"] == pytest.approx(facts["neuron_capacitance"], rel=1e-12)


def test_apical_regions() -> None:
    # 0 is the trunk, 1 a small side branch, 2 goes on, 3 and 4 are the tuft's two halves, 5 sits on 4
    parent, length = [-1, 0, 0, 2, 2, 4], [100.0, 30.0, 200.0, 300.0, 100.0, 150.0]
    assert apical_regions(parent, length) == ["trunk", "oblique", "trunk", "tuft", "tuft", "tuft"]
    assert apical_regions([-1], [10.0]) == ["trunk"]
    assert apical_regions([], []) == []


def test_unknown_cell_and_options() -> None:
    with pytest.raises(CellError, match="no cell 'purkinje'; choose ball_and_stick"):
        load_cell("purkinje")
    with pytest.raises(CellError, match="no parameter set 'hay2012'; choose"):
        load_cell("l5pc", {"parameters": "hay2012"})
    with pytest.raises(CellError, match="does not take the options"):
        load_cell("ball_and_stick", {"colour": "red"})


def _own_file(folder: Path, text: str) -> Path:
    path = folder / "own.py"
    path.write_text(text)
    return path


OWN_CELL = """
from dendrotwin.cells import CellModel, Sections

def build():
    from neuron import h
    soma, dend = h.Section(name="soma"), h.Section(name="dend")
    soma.L = soma.diam = 15
    dend.L, dend.diam, dend.nseg = 100, 1, 3
    dend.connect(soma(1))
    for section in (soma, dend):
        section.insert("pas")
    return Sections(soma=[soma], basal=[dend], apical=[], axon=[])

def linear(soma):
    from neuron import h
    c, g, y, b = h.Matrix(1, 1), h.Matrix(1, 1), h.Vector(1), h.Vector(1)
    return h.LinearMechanism(c, g, y, b, h.SectionList([soma]), h.Vector([0.5])), c, g, y, b

def cell():
    return CellModel("own", "me", "MIT", build, lambda: [], v_init_mV=-70, celsius=34)
"""


def test_own_cell_from_a_file(tmp_path: Path) -> None:
    facts = in_new_process(_facts, str(_own_file(tmp_path, OWN_CELL)))
    assert facts["n"] == 4
    assert facts["inputs"] == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no function `cell"),
        ("def cell(): return 3", "must return a dendrotwin.cells.CellModel"),
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_own_cell_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CellError, match=message):
        load_cell(str(_own_file(tmp_path, text)))


def _build_own(text: str, folder: Path) -> None:
    NeuronCell(load_cell(str(_own_file(folder, OWN_CELL.replace("dend.connect(soma(1))", text)))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pass", "dend is not connected to the soma"),
        ("dend.connect(soma(1)); more = h.Section(name='more'); more.connect(dend(1))",
         r"more, connected to dend\(1\), is in none of the four lists"),
        ("dend.connect(soma(1)); soma = dend", "dend is listed twice"),
        ("dend.connect(soma(1)); stim = h.IClamp(soma(0.5))", r"IClamp\[0\] stands in soma\(0.5\).*leave it away"),
        ("dend.connect(soma(1)); end = h.ExpSyn(dend(1))", r"ExpSyn\[0\] stands in dend\(1\)"),
        ("dend.connect(soma(1)); dend.insert('extracellular')", "dend has the mechanism extracellular"),
        ("dend.connect(soma(1)); both = linear(soma)", "there is a LinearMechanism"),
    ],
)  # fmt: skip
def test_own_cell_that_a_twin_would_not_know(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CellError, match=message):
        in_new_process(_build_own, text, tmp_path)


def _trial_of_own(text: str, folder: Path, replaced: str = "dend.connect(soma(1))") -> np.ndarray:
    """After collecting garbage, as a long simulation does."""
    cell = NeuronCell(load_cell(str(_own_file(folder, OWN_CELL.replace(replaced, text)))))
    gc.collect()
    return run_trial(cell, Events.sort(np.array([0, 2]), np.array([1.0, 1.3])), 20)[0]


def test_a_pointer_that_points_nowhere(tmp_path: Path) -> None:
    """NEURON would end the process with a segmentation fault."""
    (tmp_path / "needs.mod").write_text(
        "NEURON { SUFFIX needs POINTER level NONSPECIFIC_CURRENT i }\n"
        "ASSIGNED { level v (mV) i (mA/cm2) }\nBREAKPOINT { i = 1e-6 * level * v }\n"
    )
    text = OWN_CELL.replace('section.insert("pas")', 'section.insert("pas").insert("needs")')
    text = text.replace("lambda: []", f"lambda: [__import__('pathlib').Path({str(tmp_path / 'needs.mod')!r})]")
    file = _own_file(tmp_path, text)
    with pytest.raises(CellError, match=r"POINTER level_needs of needs in soma\(0.5\) points to nothing.*h.setpointer"):
        in_new_process(_facts, str(file))


@pytest.mark.parametrize(
    "text",
    [
        "h.CVode().active(1)",
        "count = h.APCount(soma(0.5))",
        "other = h.Section(name='other'); c = h.IClamp(other(0.5))",
    ],
)
def test_what_does_not_matter_is_left_alone(tmp_path: Path, text: str) -> None:
    plain = in_new_process(_trial_of_own, "dend.connect(soma(1))", tmp_path)
    assert np.ptp(plain) > 0.1
    assert np.array_equal(in_new_process(_trial_of_own, f"dend.connect(soma(1)); {text}", tmp_path), plain)


@pytest.mark.parametrize(
    "changed", [{"rise_ms": 0.0}, {"rise_ms": 8.0}, {"block": tuple(np.ones(251))}], ids=lambda changed: str(*changed)
)
def test_a_synapse_that_neuron_would_not_simulate(changed: dict[str, object]) -> None:
    (conductance,) = INHIBITORY.conductances
    synapse = dataclasses.replace(INHIBITORY, conductances=(dataclasses.replace(conductance, **changed),))  # type: ignore[arg-type]
    with pytest.raises(CellError, match="'inhibitory' has no mechanism: it takes conductances whose rise is above 0"):
        _point_process(synapse, None)


def _ih_of_own(file: Path) -> np.ndarray:
    text = OWN_CELL.replace('insert("pas")', 'insert("pas").insert("Ih")')
    text = text.replace("lambda: []", f"lambda: [__import__('pathlib').Path({str(file)!r})]")
    tree = NeuronCell(load_cell(str(_own_file(file.parent, text)))).tree
    return np.array([tree.ih_uS / tree.area_um2, tree.ih_mV])


@pytest.mark.parametrize(
    ("published", "changed", "is_kole"),
    [
        ("gbar", "gIhbar", True),
        ("0.193*exp", "0.25*exp", False),
        ("m_tau = 1/", "m_tau = 0.5/", False),  # as at another temperature
        ("ehcn", "e", False),
    ],
)
def test_ih_is_known_by_its_kinetics(published: str, changed: str, is_kole: bool, tmp_path: Path) -> None:
    file = tmp_path / "Ih.mod"
    text = (MECHANISMS / "l5pc" / "Ih.mod").read_text().replace("gbar = 0 ", "gbar = 1e-4 ")
    file.write_text(text.replace(published, changed))
    expected = [1e-6, -45.0] if is_kole else [0.0, 0.0]
    assert in_new_process(_ih_of_own, file) == pytest.approx(np.tile(np.array(expected)[:, None], 4), rel=1e-9)


TEMPLATE = """
    h('''begintemplate Own
    public soma, dend
    create soma, dend
    proc init() {
        soma { L = 15 diam = 15 insert pas }
        dend { L = 100 diam = 1 nseg = 3 insert pas }
        connect dend(0), soma(1)
    }
    endtemplate Own''')
    c = h.Own()
    soma, dend = c.soma, c.dend
    return Sections(soma=[soma], basal=[dend], apical=[], axon=[])
"""


def test_a_hoc_template_lives_as_long_as_its_cell(tmp_path: Path) -> None:
    plain = in_new_process(_trial_of_own, "dend.connect(soma(1))", tmp_path)
    body = OWN_CELL[OWN_CELL.index("soma, dend =") : OWN_CELL.index("\n\ndef linear")]
    template = in_new_process(_trial_of_own, TEMPLATE.strip(), tmp_path, body)
    assert np.abs(template - plain).max() < 1e-9


def _areas(text: str, folder: Path) -> list[list[float]]:
    cell = NeuronCell(load_cell(str(_own_file(folder, OWN_CELL.replace("dend.connect(soma(1))", text)))))
    was = next(frame["was"] for frame in cell.held if isinstance(frame, dict) and "was" in frame)
    return [[s.area() for s in cell.segments], [s.ri() for s in cell.segments], cell.tree.area_um2.tolist(), was]


def test_the_shape_does_not_change_the_membrane(tmp_path: Path) -> None:
    text = (
        "dend.connect(soma(1)); dend(0.5).diam = 3; dend(0.9).diam = 0.5; "
        "all = [*soma, *dend]; was = [s.area() for s in all] + [s.ri() for s in all]"
    )
    area, ri, of_tree, was = in_new_process(_areas, text, tmp_path)
    assert area + ri == pytest.approx(was, rel=1e-9)
    assert of_tree == area


def _kirchhoff_by_end_1(folder: Path) -> dict[str, float]:
    """Two sections by their end 1, one on the other's middle, one on its far end."""
    text = (
        "dend.connect(soma(1), 1); dend(0.1).diam = 0.5; soma.insert('hh'); more = [h.Section(name=n) for n in 'ab']; "
        "more[0].connect(dend(0), 1); more[1].connect(dend(0), 0)\n"
        "    for s in more: s.insert('pas'); s.nseg, s.L = 3, 90"
    )
    own = OWN_CELL.replace("dend.connect(soma(1))", text).replace("basal=[dend]", "basal=[dend, *more]")
    return _kirchhoff(str(_own_file(folder, own)), {}, "crank-nicolson")


def test_sections_connected_by_their_end_1(tmp_path: Path) -> None:
    found = in_new_process(_kirchhoff_by_end_1, tmp_path)
    assert found["swing"] > 10.0
    assert found["difference"] < 1e-6
    assert found["sum"] < 1e-6


def test_missing_and_wrong_reconstruction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(l5pc.MORPHOLOGY_VARIABLE, raising=False)
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path))
    assert "dendrotwin download l5pc" in (load_cell("l5pc").missing() or "")
    wrong = tmp_path / "cell1.asc"
    wrong.write_text("no reconstruction")
    assert "SHA-256 differs" in (load_cell("l5pc", {"morphology": str(wrong)}).missing() or "")
    with pytest.raises(CellError, match=r"cannot be built here: .*SHA-256 differs"):
        NeuronCell(load_cell("l5pc", {"morphology": str(wrong)}))


@pytest.fixture
def server(tmp_path: Path) -> object:
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_download_checks_the_hash(server: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = server
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path / "cache"))
    content = b"a stand-in for the reconstruction"
    monkeypatch.setattr(l5pc, "MORPHOLOGY_SHA256", hashlib.sha256(content).hexdigest())
    with zipfile.ZipFile(folder / "model.zip", "w") as archive:
        archive.writestr("__MACOSX/morphologies/cell1.asc", b"not this one")
        archive.writestr("L5bPCmodelsEH/morphologies/cell1.asc", content)
    assert l5pc.download(f"{url}/model.zip").read_bytes() == content
    l5pc.downloaded().unlink()

    (folder / "other.asc").write_bytes(b"something else")
    with pytest.raises(CellError, match="SHA-256 differs"):
        l5pc.download(f"{url}/other.asc")
    with pytest.raises(CellError, match="does not answer"):
        l5pc.download(f"{url}/nothing.zip")
    assert not list((tmp_path / "cache").glob("*"))  # nothing half-written is left


def test_download_of_the_reconstruction(
    reference: Path, server: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = server
    monkeypatch.delenv(l5pc.MORPHOLOGY_VARIABLE, raising=False)
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path / "cache"))
    shutil.copy(reference / "cell1.asc", folder)
    l5pc.download(f"{url}/cell1.asc")
    assert load_cell("l5pc").missing() is None


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CellError, match=r"needs g\+\+, make, perl, not found; install them: apt-get install"):
        compile.build_mechanisms([MECHANISMS / "l5pc" / "Ih.mod"])


def test_mechanism_that_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "Broken.mod"
    broken.write_text("NEURON { SUFFIX Broken }\nBREAKPOINT { x = }\n")
    with pytest.raises(CellError, match=r"Broken.mod does not compile: .* log is (.*)\.log"):
        compile.build_mechanisms([broken])
    assert [path.suffix for path in (tmp_path / "cache" / "mechanisms").iterdir()] == [".log"]


def _load_with_a_missing_mechanism(cache: Path) -> None:
    """The build lacks a mechanism, as if its cache had been damaged: NEURON itself says nothing."""
    os.environ["DENDROTWIN_CACHE"] = str(cache)
    built = compile.build_mechanisms([MECHANISMS / "l5pc" / "Ih.mod"])
    wanted = [MECHANISMS / "l5pc" / "Ih.mod", MECHANISMS / "l5pc" / "Im.mod"]
    compile.build_mechanisms = lambda files, coreneuron=False: built
    compile.load_mechanisms(wanted)


def test_every_mechanism_is_checked(tmp_path: Path) -> None:
    with pytest.raises(CellError, match="NEURON did not load Im from"):
        in_new_process(_load_with_a_missing_mechanism, tmp_path)


def _two_cells() -> None:
    NeuronCell(load_cell("ball_and_stick"))
    NeuronCell(load_cell("allen_l4"))


def test_one_cell_in_a_process() -> None:
    with pytest.raises(CellError, match="holds the mechanisms of another cell"):
        in_new_process(_two_cells)


def _inject_by_the_ms() -> np.ndarray:
    """Current that `run_trial` holds for each ms against NEURON's own pulse."""
    from neuron import h

    cell = NeuronCell(load_cell("ball_and_stick"))
    current = np.zeros((60, 1))
    current[10:30] = 0.4
    none = Events.sort(np.zeros(0), np.zeros(0))
    ours, _ = run_trial(cell, none, 60, injection=Injection(np.array([5], dtype=np.int32), current))
    clamp = h.IClamp(cell.segments[5])
    clamp.delay, clamp.dur, clamp.amp = 10.0, 20.0, 0.4
    neuron, _ = run_trial(cell, none, 60)
    return ours - neuron


def test_injected_current_is_neurons_pulse() -> None:
    difference = in_new_process(_inject_by_the_ms)
    # NEURON switches a pulse within the step that it begins in, hence not to the last digit.
    assert np.abs(difference).max() < 0.05


def _own_synapses() -> dict[str, float]:
    """A synapse with parameters of its own, as NEURON has it."""
    synapse = Synapse("own", True, (Conductance(0.7, 4.0, 2e-4, -5.0), Conductance(3.0, 50.0, 3e-4, -5.0, 0.5, 0.06)))
    inhibitory = Synapse("gaba", False, (Conductance(0.4, 9.0, 5e-4, -75.0),))
    cell = NeuronCell(dataclasses.replace(load_cell("ball_and_stick"), synapses=(synapse, inhibitory)))
    exc, inh = cell.synapses[0], cell.synapses[-1]
    names = [
        "tau_rise_ampa",
        "tau_decay_ampa",
        "gmax_ampa",
        "tau_rise_nmda",
        "tau_decay_nmda",
        "gmax_nmda",
        "e",
        "mg",
        "slope",
    ]
    found = {name: getattr(exc, name) for name in names}
    return found | {f"inh_{name}": getattr(inh, name) for name in ("tau_rise", "tau_decay", "gmax", "e")}


def test_own_synapses_reach_neuron() -> None:
    found = in_new_process(_own_synapses)
    assert list(found.values()) == [0.7, 4.0, 2e-4, 3.0, 50.0, 3e-4, -5.0, 0.5, 0.06, 0.4, 9.0, 5e-4, -75.0]


def test_build_cache_knows_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "Ih.mod"
    shutil.copy(MECHANISMS / "l5pc" / "Ih.mod", file)
    first = compile.build_mechanisms([file])
    assert compile.build_mechanisms([file]) == first
    file.write_text(file.read_text().replace("33.1", "33.2"))
    assert compile.build_mechanisms([file]) != first


def _same_trial_twice() -> bool:
    cell = NeuronCell(load_cell("ball_and_stick"))
    first, other = (draw_events(cell.tree, Modulated(rate_scale=0.2), 300, trial_rng(0, k)) for k in (0, 1))
    before, _ = run_trial(cell, first, 300)
    run_trial(cell, other, 300)
    after, _ = run_trial(cell, first, 300)
    return bool(np.array_equal(before, after))


def test_a_trial_does_not_depend_on_the_one_before() -> None:
    assert in_new_process(_same_trial_twice)


def test_sections_are_named() -> None:
    assert Sections._fields == ("soma", "basal", "apical", "axon", "synapses", "order", "centre")
    assert isinstance(load_cell("ball_and_stick"), CellModel)


def test_places_of_a_tree_by_name(data: Path) -> None:
    tree = index_trials(next(iter(sorted(data.glob("*.h5")))))[0]
    for k, name in enumerate(tree.names):
        section, x = name.rstrip(")").split("(")
        assert tree.compartment(section, float(x)) == k
    assert [tree.x[tree.compartment("apical[0]", x)] * 22 for x in (0.0, 1.0, 2 / 11 + 1e-9)] == pytest.approx(
        [1, 21, 5]
    )
    assert (tree.in_region("apical") == tree.in_region("oblique", "trunk", "tuft")).all()
    with pytest.raises(InputError, match=r"there is no region 'apic'; choose soma, basal, .*, or apical"):
        tree.in_region("apic")
    with pytest.raises(InputError, match=r"0 sections are named 'apic\[36\]'; see `section_names` \(first: soma"):
        tree.compartment("apic[36]")
    with pytest.raises(InputError, match=r"x is 1.5, the position in soma; give a number from 0 to 1"):
        tree.compartment("soma", 1.5)
