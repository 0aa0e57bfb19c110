"""Potentials of anybody's simulation become recordings: their currents and fields are those of the cell itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin import signals
from dendrotwin.cell.segments import Segments
from dendrotwin.cell.tree import REGIONS, Injection
from dendrotwin.errors import FileError, InputError, InputWarning
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.neuron.report import Reconstruction, recording_of_report
from dendrotwin.recording import Recording, RecordingFile, write_recordings
from dendrotwin.recording.membrane_currents import MembraneCurrents
from dendrotwin.recording.of_simulations import read_npz, recording_of_segments

# A soma of 20 um; three segments of a dendrite that branches at its end; one at the soma's start, one at its middle.
ENDS = np.array(
    [
        [[0, 0, -10], [0, 0, 10]],
        [[0, 0, 10], [0, 0, 60]],
        [[0, 0, 60], [30, 0, 100]],
        [[0, 0, 60], [-30, 0, 100]],
        [[0, 0, -10], [0, 0, -80]],
        [[0, 0, 0], [70, 0, 0]],
    ],
    float,
)
DIAMETERS = np.array([20.0, 3.0, 1.0, 1.5, 2.0, 1.0])
PROBE = [[40.0, 30.0, z] for z in (-60.0, 0.0, 60.0, 200.0)]


def made(**more: Any) -> Segments:
    return Segments(**{"ends_um": ENDS, "diameter_um": DIAMETERS, "axial_ohm_cm": 100.0, **more})


def test_the_lfp_is_that_of_the_simulated_cell(data: Path, tmp_path: Path) -> None:
    """What `simulate` recorded goes out as arrays and comes back: the tree is found again from the places of ends."""
    with RecordingFile(shard_path(data, 0)) as file:
        tree, v = file.tree(), file.v(0)
    regions = ["apical" if REGIONS[r] in ("oblique", "trunk", "tuft") else REGIONS[r] for r in tree.region]
    arrays = {"ends_um": tree.ends_um, "diameter_um": tree.diameter_um, "axial_ohm_cm": 150.0, "region": regions}
    np.savez(tmp_path / "mine.npz", v_mV=v, time_ms=np.arange(1.0, len(v) + 1.0), **arrays)
    again = read_npz(tmp_path / "mine.npz")
    assert np.array_equal(again.tree.region, tree.region)
    write_recordings(tmp_path / "mine.h5", [again], {}, as_float=True)
    probe = signals.shank_beside(tree)
    for take in (lambda path: signals.lfp(path, probe), signals.eeg, signals.dipole, signals.dye):
        direct, ours = take(shard_path(data, 0)).values, take(tmp_path / "mine.h5").values
        assert np.abs(ours - direct).max() <= 1e-6 * np.abs(direct).max()


def test_segments_in_any_order_are_one_cell(rng: np.random.Generator) -> None:
    v, time = rng.normal(-70.0, 5.0, (11, 6)), np.arange(11.0)
    first = recording_of_segments(made(), v, time)
    assert first.tree.parent.tolist() == [-1, 0, 1, 1, 0, 0]
    assert (first.duration_ms, first.tree.names[3]) == (10, "segment[3](0.500000)")
    mixed = np.array([5, 3, 0, 4, 1, 2])
    parent = np.array([-1, 0, 1, 1, 0, 0])
    at = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.5])
    new = np.where(parent[mixed] >= 0, np.argsort(mixed)[parent[mixed]], -1)
    moved = made(ends_um=ENDS[mixed], diameter_um=DIAMETERS[mixed], parent=new, parent_x=at[mixed])
    second = recording_of_segments(moved, v[:, mixed], time)
    a, b = (signals.membrane_currents(each.tree, each.v_mV) for each in (first, second))
    of_second = [[*map(tuple, ENDS[:, 1])].index(tuple(end)) for end in second.tree.ends_um[:, 1]]
    assert np.allclose(b, a[:, of_second])


def test_currents_by_hand() -> None:
    """Segments of 50 um by 3, 1 and 1.5 um meet at a joint; the first hangs at the end of a soma of 20 um."""
    tree, _ = made().tree()
    v = np.zeros((1, 6))
    v[0, 1] = 1.0
    current = signals.membrane_currents(tree, v)[0]
    half = 100.0 * 0.01 * 25.0 / (np.pi * np.array([3.0, 1.0, 1.5]) ** 2 / 4.0)
    joint_mV = (1.0 / half[0]) / (1.0 / half).sum()
    assert current[2:4] == pytest.approx(joint_mV / half[1:])
    soma = 100.0 * 0.01 * 10.0 / (np.pi * 400.0 / 4.0)
    assert current[0] == pytest.approx(1.0 / (half[0] + soma))
    assert current.sum() == pytest.approx(0.0, abs=1e-15)


def test_times_and_injection() -> None:
    v = np.full((41, 6), -70.0)
    v[20, 0] = 0.0
    later = recording_of_segments(made(), v, 500.0 + 0.1 * np.arange(41))
    assert (later.duration_ms, later.record_dt_ms, later.spikes_ms.tolist()) == (4, 0.1, [2.0])
    injected = Injection(np.array([5], np.int32), np.ones((4, 1)))
    at_once = recording_of_segments(made(), v[1:], 0.1 * np.arange(1, 41), injected)
    assert np.array_equal(at_once.v_mV, later.v_mV)
    assert at_once.injection is not None
    for times, message in (
        (0.3 * np.arange(41), "must divide 1 ms"),
        (np.r_[np.arange(40.0), 50.0], "not evenly spaced"),
        (np.arange(40.0), "times of shape"),
        (0.01 * np.arange(41), "last 0.4 ms; a recording lasts 1 ms"),
    ):
        with pytest.raises(InputError, match=message):
            recording_of_segments(made(), v, times)
    v[3, 4] = np.nan
    with pytest.raises(InputError, match="segment 4 is not finite at sample 3"):
        recording_of_segments(made(), v, 0.1 * np.arange(41))
    with pytest.raises(InputError, match=r"give \(samples, 6\) in mV"):
        recording_of_segments(made(), v[:, :4], 0.1 * np.arange(41))


def _moved(k: int, end: int) -> np.ndarray:
    ends = ENDS.copy()
    ends[k, end] += 3.0
    return ends


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ends_um": ENDS[:, 0]}, r"give \(segments, 2, 3\)"),
        ({"diameter_um": DIAMETERS[:3]}, "one for each"),
        ({"diameter_um": [20.0, 3.0, 0.0, 1.5, 2.0, 1.0]}, "segment 2 has the diameter 0; it must be more than 0"),
        ({"axial_ohm_cm": np.nan}, "axial resistivities hold NaN"),
        ({"ends_um": _moved(5, 0)}, r"segment 5 starts at \(3, 3, 3\) um, where no other ends"),
        ({"parent": [-1, 0, 1, 1, 0, 9]}, "whole numbers from -1"),
        ({"parent": [-1, -1, 1, 1, 0, 0]}, "2 segments have no parent"),
        ({"parent": [-1, 0, 3, 2, 0, 0]}, "segment 2 does not lead to the root"),
        ({"parent": [-1, 0, 1, 1, 0, 0], "parent_x": np.full(6, 0.3)}, "parent_x is 0.3"),
        ({"region": ["soma"] * 5 + ["spine"]}, "no region 'spine'"),
    ],
)
def test_segments_that_are_no_cell(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**wrong).tree()


def test_arrays_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match="does not exist"):
        read_npz(path)
    arrays = {"v_mV": np.zeros((9, 6)), "time_ms": np.arange(9.0), "ends_um": ENDS, "diameter_um": DIAMETERS}
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="lacks axial_ohm_cm"):
        read_npz(path)
    np.savez(path, **arrays, axial_ohm_cm=100.0, voltage=1)
    with pytest.raises(InputError, match="an array 'voltage', which would not count"):
        read_npz(path)
    np.savez(path, **arrays, axial_ohm_cm=100.0, imem_nA=np.zeros((9, 6)))
    with pytest.raises(InputError, match="both v_mV and imem_nA"):
        read_npz(path)
    path.write_text("x")
    with pytest.raises(InputError, match="no npz file"):
        read_npz(path)


# ---------------------------------------------------------------------------------------------- membrane currents


def _currents(folder: Path, imem_nA: np.ndarray) -> Path:
    time = 0.25 * np.arange(1, len(imem_nA) + 1)
    np.savez(folder / "i.npz", imem_nA=imem_nA, time_ms=time, ends_um=ENDS, diameter_um=DIAMETERS)
    made = read_npz(folder / "i.npz")
    assert isinstance(made, MembraneCurrents)
    made.write(folder / "i.h5", {})
    return folder / "i.h5"


def test_membrane_currents_give_what_lfpykit_gives(tmp_path: Path, rng: np.random.Generator) -> None:
    lfpykit = pytest.importorskip("lfpykit")
    imem = rng.normal(0.0, 1.0, (40, 6))
    imem -= imem.mean(axis=1, keepdims=True)
    cell = signals.PlacedCell(_currents(tmp_path, imem), as_built=True)
    x, y, z = (ENDS[:, :, axis] for axis in range(3))
    geometry = lfpykit.CellGeometry(x=x, y=y, z=z, d=DIAMETERS)
    points = dict(zip("xyz", np.array(PROBE).T, strict=True))
    electrode = lfpykit.LineSourcePotential(geometry, sigma=0.3, **points)
    moment = lfpykit.CurrentDipoleMoment(geometry).get_transformation_matrix()
    place = np.array([0.0, 0.0, 77_000.0]) + np.average(
        ENDS.mean(axis=1), axis=0, weights=DIAMETERS * np.linalg.norm(ENDS[:, 1] - ENDS[:, 0], axis=1)
    )
    on_scalp, outside = signals.sensors_on_meridian(), signals.sensors_on_meridian(radius_um=110_000.0)
    spheres = lfpykit.eegmegcalc.FourSphereVolumeConductor(on_scalp * (1.0 - 1e-12))
    coils = lfpykit.eegmegcalc.SphericallySymmetricVolCondMEG(outside)
    h_per_moment = coils.get_transformation_matrix(place).reshape(-1, 3)
    expected = {
        "lfp": electrode.get_transformation_matrix(),
        "dipole": moment,
        "eeg": 1e3 * spheres.get_transformation_matrix(place) @ moment,
        "meg": 4e-7 * np.pi * 1e12 * h_per_moment @ moment,
    }
    lines = signals.LFP(np.array(PROBE), source="line")
    got = signals.record(cell, [lines, signals.Dipole(), signals.EEG(), signals.MEG()])
    for signal in got:
        direct = imem @ expected[signal.name].T
        most = 1e-5 if signal.name == "eeg" else 1e-6  # LFPykit stops its sum over n where 6e-6 are left
        assert np.abs(signal.values - direct).max() <= most * np.abs(direct).max(), signal.name
    (layers,) = signals.record(cell, [signals.CSD(np.linspace(-100.0, 150.0, 11))])
    assert np.abs(layers.values.sum(axis=1)).max() < 1e-15  # nothing is lost, and the whole is zero
    tree, order = made().tree()
    (every,) = signals.record(cell, [signals.Currents(tree)])
    assert np.array_equal(every.values, imem[:, order])
    assert every.sampling_hz == 4000.0


def test_membrane_currents_are_no_potentials(tmp_path: Path, rng: np.random.Generator) -> None:
    imem = rng.normal(0.0, 1.0, (40, 6))
    with pytest.warns(InputWarning, match="sum to up to .* no segment is missing"):
        path = _currents(tmp_path, imem)
    for take, name in ((signals.dye, "dye"), (signals.patch, "patch")):
        with pytest.raises(InputError, match=f"{name} needs potentials, and these are membrane currents alone"):
            take(path)
    closed = signals.Slab(-500.0, 1000.0, 0.0, 0.3, 0.0)
    with pytest.raises(InputError, match="insulates below and above"):
        signals.lfp(path, np.array(PROBE), slab=closed, source="point")
    with RecordingFile(path) as file:
        assert (file.holds_currents(0), file.duration_ms(0), len(file.spikes_ms(0))) == (True, 10, 0)
        for read in (file.v, lambda trial: file.read(trial, file.tree())):
            with pytest.raises(FileError, match="holds membrane currents and no potentials"):
                read(0)
    with h5py.File(path, "r+") as file:
        file["trials/000000/imem_nA"][7, 3] += 1e-9
    with pytest.raises(FileError, match="altered after it was written"):
        signals.dipole(path)


# ---------------------------------------------------------------------------------------------- reports of SONATA

SWC = """1 1 0 0 0 8 -1
2 1 0 0 8 8 1
3 1 0 0 16 8 2
4 3 0 0 20 1 3
5 3 0 0 90 0.7 4
6 3 40 0 140 0.5 5
7 3 -40 0 140 0.5 5
8 4 0 0 -5 1.2 1
9 4 0 0 -120 0.8 8
10 2 8 0 8 0.5 2
11 2 60 0 8 0.5 10
"""
COUNTS = [1, 3, 5, 3, 3, 5]  # segments of soma, axon, dend[0..2], apic


def report(path: Path, v: np.ndarray, counts: list[int], **attributes: str) -> Path:
    """A report of two cells, of which the first has one column."""
    element = np.repeat(np.arange(len(counts)), counts)
    position = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
    with h5py.File(path, "w") as file:
        group = file.create_group("report/cortex")
        group["data"] = np.column_stack([np.zeros(len(v)), v])
        group["data"].attrs.update(attributes or {"units": "mV"})
        group["mapping/node_ids"], group["mapping/index_pointer"] = [7, 0], [0, 1, 1 + len(element)]
        group["mapping/element_ids"] = np.append(0, element)
        group["mapping/element_pos"] = np.append(0.5, position)
        group["mapping/time"] = [0.0, len(v) * 0.1, 0.1]
    return path


def _simulated(folder: Path) -> dict[str, Any]:
    """NEURON's potentials and membrane currents of the cell, and what comes out of its report."""
    from neuron import h

    from dendrotwin.neuron.report import _build

    every, _ = _build(Reconstruction(folder / "c.swc", 120.0))
    for section, n in zip(every, COUNTS, strict=True):
        section.nseg, section.Ra = n, 120.0
        section.insert("pas")
    h.CVode().use_fast_imem(1)
    synapse = h.AlphaSynapse(every[4](0.7))
    synapse.onset, synapse.tau, synapse.gmax = 1.0, 1.0, 0.02
    segments = [segment for section in every for segment in section]
    v = [h.Vector().record(s._ref_v) for s in segments]
    im = [h.Vector().record(s._ref_i_membrane_) for s in segments]
    h.dt, h.tstop = 0.1, 10.0
    h.finitialize(-70)
    h.continuerun(10.0)
    made = report(folder / "r.h5", np.array(v).T, COUNTS)
    recording = recording_of_report(made, Reconstruction(folder / "c.swc", 120.0))
    assert isinstance(recording, Recording)
    # BMTK's own: without the initial state, without a unit.
    given = []
    area = np.array([s.area() for s in segments])
    for name, values in (("i_membrane_", np.array(im).T), ("i_membrane", np.array(im).T / (0.01 * area))):
        path = report(folder / "im.h5", values[1:], COUNTS, variable=name)
        with h5py.File(path, "r+") as file:
            file["report/cortex/mapping/swc_ids_beg"] = np.zeros(1 + len(segments))
            file["report/cortex/mapping/seg_types"] = np.append(1, np.repeat([1, 2, 3, 3, 3, 4], COUNTS))
        currents = recording_of_report(path, Reconstruction(folder / "c.swc"))
        assert isinstance(currents, MembraneCurrents)
        given.append(currents.imem_nA)
    names = [f"{s.sec.name().split('.')[-1]}({s.x:f})" for s in segments]
    found = signals.membrane_currents(recording.tree, recording.v_mV)
    return {"names": names, "im": np.array(im).T, "found": found, "of": recording.tree.names, "given": given}


def test_a_report_has_the_currents_of_its_cell(tmp_path: Path) -> None:
    (tmp_path / "c.swc").write_text(SWC)
    got = in_new_process(_simulated, tmp_path)
    assert sorted(got["names"]) == sorted(got["of"])
    expected = got["im"][1:, [got["names"].index(name) for name in got["of"]]]
    assert got["found"].shape == expected.shape == (100, 20)
    assert np.abs(got["found"] - expected).max() < 3e-5 * np.abs(expected).max()  # potentials are float32
    for currents in got["given"]:  # every row of BMTK is one of the recording: its first is that of the first step
        assert np.abs(currents - expected).max() < 1e-12 * np.abs(expected).max()


def _refused(folder: Path) -> list[str]:
    said = []
    cell = Reconstruction(folder / "c.swc", 120.0)
    v = np.full((20, 20), -70.0)
    for counts, options in (
        (COUNTS[:-1], {}),
        (COUNTS, {"node_id": 3}),
        (COUNTS, {"population": "hippocampus"}),
    ):
        try:
            recording_of_report(report(folder / "r.h5", v[:, : sum(counts)], counts), cell, **options)
        except (FileError, InputError) as error:
            said.append(str(error))
    with h5py.File(folder / "r.h5", "r+") as file:
        file["report/cortex/mapping/element_pos"][2] = 0.9
    try:
        recording_of_report(folder / "r.h5", cell)
    except FileError as error:
        said.append(str(error))
    with h5py.File(folder / "r.h5", "r+") as file:
        file["report/cortex/mapping/element_pos"][2] = 1 / 6
        file["report/cortex/mapping/seg_types"] = np.append(1, np.repeat([1, 3, 3, 3, 3, 4], COUNTS))
    try:
        recording_of_report(folder / "r.h5", cell)
    except FileError as error:
        said.append(str(error))
    try:
        recording_of_report(report(folder / "r.h5", v, COUNTS), Reconstruction(folder / "c.swc"))
    except InputError as error:
        said.append(str(error))
    try:
        recording_of_report(report(folder / "r.h5", v, COUNTS, variable="cai"), cell)
    except FileError as error:
        said.append(str(error))
    with h5py.File(folder / "r.h5", "r+") as file:
        file["report/cortex/data"].attrs["variable"] = "v"
        del file["report/cortex/mapping/time"]
    try:
        recording_of_report(folder / "r.h5", cell)
    except FileError as error:
        said.append(str(error))
    return said


def test_reports_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.swc").write_text(SWC)
    sections, node, population, places, kinds, axial, calcium, time = in_new_process(_refused, tmp_path)
    assert "has 5 sections of node 0, up to number 4, and NEURON makes 6" in sections
    assert "reports the nodes 7 to 0, not 3" in node
    assert "reports cortex, not 'hippocampus'" in population
    assert "are not the middles of 3 equal segments" in places
    assert "section 1 of node 0 is of kind dend, and NEURON makes axon" in kinds
    assert "holds potentials, whose currents need --axial-ohm-cm" in axial
    assert "holds 'cai', not potentials in mV nor membrane currents" in calcium
    assert "lacks report/cortex/mapping/time" in time
    for wrong, message in (
        ({"path": tmp_path / "none.swc"}, "does not exist"),
        ({"axial_ohm_cm": 0.0}, "give a positive one"),
        ({"axon": "none"}, "choose file or stub"),
    ):
        with pytest.raises((InputError, FileError), match=message):
            Reconstruction(**{"path": tmp_path / "c.swc", "axial_ohm_cm": 100.0, **wrong})  # type: ignore[arg-type]
