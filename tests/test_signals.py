"""Signals: against NEURON and LFPy, laws of physics, limiting cases, and every mistake."""

from __future__ import annotations

import dataclasses
import resource
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from conftest import in_new_process
from dendrotwin import signals
from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cells import load_cell
from dendrotwin.errors import FileError, InputError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.neuron.trial import run_trial
from dendrotwin.recording import Recording, RecordingFile, read_tree, write_recordings
from dendrotwin.recording.checks import OFFSET_MV, SCALE_MV, to_int16
from dendrotwin.signals.extracellular import dipole_matrix, lfp_matrix
from dendrotwin.signals.placing import PlacedCell, rotate, soma_centre, translate, upright
from dendrotwin.signals.probes import RINGS, ring_weights
from test_recording import recording, tree_with_inputs

BESIDE = signals.point_electrodes([[60.0, 20.0, z] for z in (-150.0, -50.0, 30.0, 120.0, 220.0, 320.0)])
ROTATION = Rotation.from_euler("xyz", [40.0, -25.0, 110.0], degrees=True).as_matrix()


@pytest.fixture(scope="module")
def shard(data: Path) -> Path:
    """A trial of the small cell with output spikes."""
    for trial in range(10):
        with RecordingFile(shard_path(data, trial)) as file:
            if len(file.spikes_ms(0)):
                return shard_path(data, trial)
    raise AssertionError


@pytest.fixture(scope="module")
def tree(shard: Path) -> Tree:
    with RecordingFile(shard) as file:
        return upright(file.tree())


@pytest.fixture(scope="module")
def currents(shard: Path, tree: Tree) -> np.ndarray:
    """(steps, n) [nA]."""
    with RecordingFile(shard) as file:
        return signals.membrane_currents(tree, file.v(0))


def stored(path: Path, tree: Tree, v_mV: np.ndarray, injection: Injection | None = None) -> Path:
    """A file with one recording of these potentials."""
    none = np.zeros(0, dtype=np.int32)
    made = Recording(tree, v_mV.astype(np.float32), Events(none, none), np.zeros(0), "x", injection)
    write_recordings(path, [made], {})
    return path


# ------------------------------------------------------------------------------------------ beside NEURON and LFPy


def _ve_after_storage(name: str, options: dict[str, str]) -> dict[str, float]:
    """VE of the LFP while the cell is silent under its own protocol, of potentials stored as int16 and as float16."""
    model = load_cell(name, options)
    cell = NeuronCell(model)
    events = draw_events(cell.tree, Modulated(rate_scale=model.rate_scale), 900, trial_rng(2024, 1))
    v, spikes = run_trial(cell, events, 900)
    borders = np.array([200.0, *spikes[spikes > 200.0], 900.0])
    longest = int(np.argmax(np.diff(borders)))
    v = v[int(borders[longest]) + 100 : int(borders[longest + 1]) - 5]  # long after a spike, before the next
    matrix = lfp_matrix(upright(cell.tree), BESIDE)
    stored = {"int16": to_int16(v, "x") * SCALE_MV + OFFSET_MV, "float16": v.astype(np.float16).astype(np.float64)}
    true = signals.membrane_currents(cell.tree, v) @ matrix.T
    found = {"ms": float(len(v))}
    for key, again in stored.items():
        error = signals.membrane_currents(cell.tree, again) @ matrix.T - true
        ve = 1.0 - (error**2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
        found[key] = float(ve.min())
    return found


@pytest.mark.parametrize("name", ["ball_and_stick", "allen_l4", "bbp", "l5pc"])
def test_stored_potentials_keep_the_lfp_of_a_silent_cell(name: str, request: pytest.FixtureRequest) -> None:
    options = {"morphology": str(request.getfixturevalue("reference") / "cell1.asc")} if name == "l5pc" else {}
    found = in_new_process(_ve_after_storage, name, options)
    assert found["ms"] > 100
    assert 1.0 > found["int16"] >= 0.998
    assert found["float16"] < found["int16"]


def _lfpy(name: str, folder: Path) -> dict[str, float]:
    """LFPy's own simulation of a cell, and our signals from its potentials each ms: in double, and through our file."""
    cell = NeuronCell(load_cell(name))
    import LFPy
    import lfpykit
    from neuron import h

    sections = h.SectionList()
    for section in (section for part in cell.sections[:4] for section in part):
        sections.append(section)
    theirs = LFPy.Cell(
        morphology=sections, v_init=cell.tree.v_init_mV, celsius=cell.model.celsius, dt=0.025, tstop=60.0,
        passive=False, nsegs_method=None, delete_sections=False, pt3d=False, Ra=None, cm=None,
    )  # fmt: skip
    excitatory = np.flatnonzero(cell.tree.input_synapse == 0)
    handler = h.FInitializeHandler(lambda: [cell.connections[i].event(t) for i in excitatory for t in (2.0, 10.0)])
    x, y, z = BESIDE.positions_um.T
    lfp = lfpykit.RecExtElectrode(theirs, x=x, y=y, z=z, sigma=0.3, method="root_as_point")
    dipole = lfpykit.CurrentDipoleMoment(theirs)
    theirs.simulate(probes=[lfp, dipole], rec_vmem=True)
    del handler
    at = slice(40, None, 40)
    placed = PlacedCell(stored(folder / "r.h5", cell.tree, theirs.vmem.T[at]), 0, (0.0, 0.0, 0.0), as_built=True)
    here = translate(cell.tree, -soma_centre(cell.tree))
    currents = signals.membrane_currents(here, theirs.vmem.T[at])
    found = {"soma reaches": float(theirs.vmem[cell.tree.soma].max())}
    for key, data, values in (
        ("lfp in double", lfp.data, currents @ lfp_matrix(here, BESIDE).T),
        ("dipole in double", dipole.data, currents @ dipole_matrix(here).T),
        ("lfp", lfp.data, signals.lfp(placed, BESIDE).values),
        ("dipole", dipole.data, signals.dipole(placed).values),
    ):
        found[key] = float(np.abs(values - data.T[at]).max() / np.abs(data.T[at]).max())
    return found


@pytest.mark.parametrize("name", ["ball_and_stick", "allen_l4"])
def test_beside_lfpy(name: str, tmp_path: Path) -> None:
    pytest.importorskip("LFPy")
    found = in_new_process(_lfpy, name, tmp_path)
    assert found["soma reaches"] > 0.0  # mV: an output spike
    assert found["lfp in double"] < 1e-5
    assert found["dipole in double"] < 1e-5
    assert found["lfp"] < 0.01
    assert found["dipole"] < 0.01


# ------------------------------------------------------------------------------------------ laws


def test_currents_sum_to_what_is_injected(rng: np.random.Generator) -> None:
    tree = tree_with_inputs()
    v = rng.normal(-70.0, 10.0, (20, tree.n))
    injection = Injection(np.array([1, 3, 1], dtype=np.int32), rng.normal(size=(20, 3)))  # two electrodes in one place
    without, current = signals.membrane_currents(tree, v), signals.membrane_currents(tree, v, injection)
    assert np.abs(without).max() > 0.1
    assert np.abs(without.sum(axis=1)).max() < 1e-12
    assert np.allclose(current.sum(axis=1), injection.current_nA.sum(axis=1), atol=1e-12)
    difference = current - without
    assert np.allclose(difference[:, 1], injection.current_nA[:, [0, 2]].sum(axis=1), atol=1e-12)


@pytest.mark.parametrize("chunk_steps", [1, 7, 2048])
def test_streamed_is_whole(chunk_steps: int, tmp_path: Path) -> None:
    """All instruments at once, with injected current, in chunks of any length."""
    tree = tree_with_inputs()
    made = recording(tree, 100)
    write_recordings(tmp_path / "r.h5", [made], {})
    with RecordingFile(tmp_path / "r.h5") as file:
        v = file.v(0)
    standing = upright(tree)
    camera = signals.Dye(rows=4, columns=5)
    instruments = [signals.LFP(BESIDE), signals.Dipole(), camera, signals.Patch(seed=3), signals.Currents(standing)]
    lfp, dipole, dye, patch, currents = signals.record(tmp_path / "r.h5", instruments, chunk_steps)
    current = signals.membrane_currents(standing, v, made.injection)
    assert np.allclose(lfp.values, current @ lfp_matrix(standing, BESIDE).T, rtol=0, atol=1e-9)
    assert np.allclose(dipole.values, current @ dipole_matrix(standing).T, rtol=0, atol=1e-9)
    assert dye.values.shape == (100, 4, 5)
    assert np.allclose(dye.values.reshape(100, -1), v @ camera.matrix(standing).T)
    assert np.allclose(currents.values, current, rtol=0, atol=1e-9)
    assert np.array_equal(patch.values, signals.patch(tmp_path / "r.h5", seed=3).values)
    assert lfp.time_ms[[0, -1]].tolist() == [1.0, 100.0]


@pytest.mark.parametrize("chunk_samples", [7, 2048])
def test_signals_have_the_samples_of_the_recording(chunk_samples: int, tmp_path: Path) -> None:
    """Every 0.05 ms, with current that is held over each ms; each 20th sample is that of a recording each ms."""
    tree = tree_with_inputs()
    made = recording(tree, 30, record_dt_ms=0.05)
    write_recordings(tmp_path / "fine.h5", [made], {})
    write_recordings(tmp_path / "each.h5", [made.each_ms()], {})
    with RecordingFile(tmp_path / "fine.h5") as file:
        v = file.v(0)
    standing = upright(tree)
    instruments = [signals.LFP(BESIDE), signals.Dipole(), signals.Dye(rows=4, columns=5), signals.Currents(standing)]
    fine = signals.record(tmp_path / "fine.h5", instruments, chunk_samples)
    each = signals.record(tmp_path / "each.h5", instruments, chunk_samples)
    held = Injection(made.injection.compartment, np.repeat(made.injection.current_nA, 20, axis=0))
    current = signals.membrane_currents(standing, v, held)
    assert np.allclose(fine[3].values, current, rtol=0, atol=1e-9)
    assert np.allclose(fine[0].values, current @ lfp_matrix(standing, BESIDE).T, rtol=0, atol=1e-9)
    for a, b in zip(fine, each, strict=True):
        assert (len(a.values), a.sampling_hz, len(b.values), b.sampling_hz) == (600, 20_000.0, 30, 1000.0)
        assert a.time_ms[[0, 1, -1]] == pytest.approx([0.05, 0.1, 30.0])
        assert np.allclose(a.values[19::20], b.values, rtol=0, atol=1e-9 * np.abs(b.values).max())
        assert np.allclose(a.time_ms[19::20], b.time_ms)
    signals.write_signals(tmp_path / "s.h5", tmp_path / "fine.h5", instruments)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["sampling_hz"] == 20_000.0
    again = signals.read_signals(tmp_path / "s.h5")
    assert {signal.sampling_hz for signal in again.values()} == {20_000.0}
    assert again["lfp"].values.shape == (600, 6)


@pytest.mark.parametrize("record_dt_ms", [1.0, 0.05])
def test_a_pipette_charges_with_its_time_constant(record_dt_ms: float, tmp_path: Path) -> None:
    """1 - exp(-t / tau) after a jump of V, whatever the sampling."""
    tree = tree_with_inputs()
    v = np.full((round(40 / record_dt_ms), tree.n), -70.0, dtype=np.float32)
    jump = round(10 / record_dt_ms)
    v[jump:] = -20.0
    none = np.zeros(0, dtype=np.int32)
    made = Recording(tree, v, Events(none, none), np.zeros(0), "x", record_dt_ms=record_dt_ms)
    write_recordings(tmp_path / "r.h5", [made], {})
    found = signals.patch(tmp_path / "r.h5", series_MOhm=400.0, capacitance_pF=5.0, noise_mV=0.0)  # tau 2 ms
    left = found.values[jump:, 0] + 20.0
    since = found.time_ms[jump:] - found.time_ms[jump]
    assert np.allclose(left, left[0] * np.exp(-since / 2.0), rtol=1e-4, atol=1e-4)
    assert left[0] < -35.0
    assert np.abs(found.values[:jump] + 70.0).max() < 1e-4


def test_equal_layers_are_a_homogeneous_medium(tree: Tree) -> None:
    slab = signals.Slab(-400.0, 1200.0, 0.3, 0.3, 0.3)
    layered = lfp_matrix(tree, BESIDE, source="point", slab=slab)
    assert np.allclose(layered, lfp_matrix(tree, BESIDE, 0.3, "point"), rtol=1e-9)
    three = lfp_matrix(tree, BESIDE, (0.3, 0.3, 0.3), "point")
    assert np.allclose(three, lfp_matrix(tree, BESIDE, 0.3, "point"), rtol=1e-9)


def test_an_insulating_floor_doubles_the_potential_on_it(tree: Tree) -> None:
    floor = float(tree.ends_um[:, :, 2].min()) - 10.0
    probe = signals.point_electrodes([[25.0, 0.0, floor], [30.0, 10.0, floor]])  # beside the axis of the soma
    for source in ("point", "line"):
        on_glass = lfp_matrix(tree, probe, source=source, slab=signals.Slab(floor, 1000.0, 0.0, 0.3, 0.3))
        assert np.allclose(on_glass, 2.0 * lfp_matrix(tree, probe, source=source), rtol=1e-6)


def test_conductivity_scales_the_potential(tree: Tree) -> None:
    assert np.allclose(lfp_matrix(tree, BESIDE, 0.6), lfp_matrix(tree, BESIDE, 0.3) / 2.0)


def test_anisotropic_point_source(tree: Tree) -> None:
    """phi = I / (4 pi sqrt(sy sz x^2 + sx sz y^2 + sx sy z^2))."""
    sx, sy, sz = 0.2, 0.3, 0.45
    dx, dy, dz = np.moveaxis(BESIDE.positions_um[:, None] - tree.ends_um.mean(axis=1), 2, 0)
    expected = 1.0 / (4.0 * np.pi * np.sqrt(sy * sz * dx**2 + sx * sz * dy**2 + sx * sy * dz**2))
    assert np.allclose(lfp_matrix(tree, BESIDE, (sx, sy, sz), "point"), expected, rtol=1e-9)


def test_line_source_is_the_mean_of_its_points(tree: Tree) -> None:
    start, along = tree.ends_um[:, 0], np.diff(tree.ends_um, axis=1)[:, 0]
    share = (np.arange(2000) + 0.5) / 2000
    line = lfp_matrix(tree, BESIDE, 0.3, "line")
    for i in range(tree.n):
        r = np.linalg.norm(BESIDE.positions_um[:, None] - (start[i] + share[:, None] * along[i]), axis=2)
        assert np.allclose(line[:, i], (1.0 / (4.0 * np.pi * 0.3 * r)).mean(axis=1), rtol=1e-4)


def test_soma_is_a_sphere_and_the_rest_lines(tree: Tree) -> None:
    matrix = lfp_matrix(tree, BESIDE)
    soma = tree.in_region("soma")
    r = np.linalg.norm(BESIDE.positions_um - soma_centre(tree), axis=1)
    assert np.allclose(matrix[:, soma][:, 0], 1.0 / (4.0 * np.pi * 0.3 * r))
    assert np.allclose(matrix[:, ~soma], lfp_matrix(tree, BESIDE, source="line")[:, ~soma])


def test_a_slab_has_its_own_conductivity(tree: Tree) -> None:
    slab = signals.Slab(-1000.0, 3000.0, 0.3, 0.3, 0.3)
    assert lfp_matrix(tree, BESIDE, 0.3, "point", slab).shape == (len(BESIDE), tree.n)
    with pytest.raises(InputError, match="set the slab's tissue_S_per_m"):
        lfp_matrix(tree, BESIDE, 30.0, "point", slab)


def test_three_equal_conductivities_are_one(tree: Tree) -> None:
    """The soma's sphere in an anisotropic medium, which LFPykit has for one root only."""
    alike = lfp_matrix(tree, BESIDE, (0.3, 0.3, 0.3))
    assert alike == pytest.approx(lfp_matrix(tree, BESIDE, 0.3), rel=1e-9)
    assert not np.allclose(lfp_matrix(tree, BESIDE, (0.3, 0.3, 0.4)), alike, rtol=1e-3)


def test_far_field_is_that_of_the_dipole(tree: Tree, currents: np.ndarray) -> None:
    """At 100 times the cell's size, where the next term is some hundredth; nearer it is not."""
    moment = currents @ dipole_matrix(tree).T
    size = float(np.ptp(tree.ends_um, axis=(0, 1)).max())
    for distance, close in ((100.0, True), (1.0, False)):
        r = distance * size * np.array([[1.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.0, -0.6, -0.8]])
        lfp = currents @ lfp_matrix(tree, signals.point_electrodes(r)).T
        far = moment @ r.T / (4.0 * np.pi * 0.3 * np.linalg.norm(r, axis=1) ** 3)
        assert (np.abs(lfp - far).max() < 0.03 * np.abs(far).max()) == close


def test_turning_cell_and_electrodes_together_changes_nothing(tree: Tree, currents: np.ndarray) -> None:
    shift = np.array([100.0, -30.0, 7.0])
    turned = translate(rotate(tree, ROTATION), shift)
    centre = soma_centre(tree)
    with_it = signals.point_electrodes((BESIDE.positions_um - centre) @ ROTATION.T + centre + shift)
    assert np.allclose(lfp_matrix(turned, with_it), lfp_matrix(tree, BESIDE), rtol=1e-6)
    assert not np.allclose(lfp_matrix(turned, BESIDE), lfp_matrix(tree, BESIDE), rtol=0.1)
    moment = currents @ dipole_matrix(tree).T
    assert np.allclose(currents @ dipole_matrix(turned).T, moment @ ROTATION.T, atol=1e-9 * np.abs(moment).max())


def test_an_upright_cell_has_its_apical_tree_above(tree: Tree) -> None:
    apical = tree.in_region("trunk", "oblique", "tuft")
    direction = tree.length_um[apical] @ tree.ends_um[apical].mean(axis=1)
    assert np.allclose(soma_centre(tree), 0.0, atol=1e-9)
    assert np.allclose(direction[:2], 0.0, atol=1e-6 * direction[2])
    assert direction[2] > 0.0
    assert np.allclose(np.linalg.norm(np.diff(tree.ends_um, axis=1), axis=2)[:, 0], tree.length_um, rtol=1e-3)
    for flipped in (tree, rotate(tree, np.diag([1.0, -1.0, -1.0]))):  # upright, or upside down
        assert np.allclose(upright(flipped).ends_um, tree.ends_um * np.sign([1.0, 1.0, 1.0]), atol=1e-6)


def test_a_population_is_the_sum_of_its_cells(data: Path) -> None:
    cells = [
        PlacedCell(shard_path(data, 0), position_um=(-80.0, 0.0, 40.0), rotation_deg=(0.0, 0.0, 70.0)),
        PlacedCell(shard_path(data, 1), position_um=(10.0, 90.0, -20.0)),
    ]
    together = signals.lfp(cells, BESIDE).values
    assert np.allclose(together, sum(signals.lfp(cell, BESIDE).values for cell in cells), rtol=0, atol=1e-12)
    assert not np.allclose(signals.lfp(cells[0], BESIDE).values, signals.lfp(cells[0].recording, BESIDE).values)


def test_a_population_may_have_more_cells_than_files_can_be_open(shard: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        many = signals.dipole([PlacedCell(shard)] * 80).values
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert np.allclose(many, 80.0 * signals.dipole(shard).values)


def test_source_density_holds_all_current(tree: Tree, currents: np.ndarray) -> None:
    """Summed over the boxes it is the currents' sum, and its first moment along z is the dipole's."""
    edges = np.arange(-400.0, 601.0, 2.0)
    matrix = signals.CSD(edges, half_width_um=400.0).matrix(tree)
    volume = 800.0 * 800.0 * 2.0
    assert np.allclose(matrix.sum(axis=0) * volume, 1.0)
    middles = (edges[1:] + edges[:-1]) / 2
    assert np.allclose(middles @ matrix * volume, dipole_matrix(tree)[2], atol=1.0)


def test_contacts_with_a_size_see_the_mean_over_them(tree: Tree) -> None:
    small, large, point = (
        lfp_matrix(tree, signals.linear_probe((40.0, 0.0, -30.0), (40.0, 0.0, 200.0), 3, radius_um))
        for radius_um in (0.01, 15.0, 0.0)
    )
    assert np.allclose(small, point, rtol=1e-4)
    assert not np.allclose(large, point, rtol=1e-2)
    probe = signals.Probe(np.array([[5.0, 6.0, 7.0]]), 10.0, (0.0, 1.0, 1.0))
    from_centre = probe.points_um()[0] - probe.positions_um
    assert np.allclose(from_centre @ [0.0, 1.0, 1.0], 0.0)
    assert np.linalg.norm(from_centre, axis=1).max() <= 10.0
    mean = (np.linalg.norm(from_centre, axis=1) ** 2) @ ring_weights(RINGS)
    assert mean == pytest.approx(50.0)  # r^2 / 2 over a disc


def test_layouts() -> None:
    line = signals.linear_probe(contacts=4)
    assert line.positions_um[:, 2].tolist() == [-300.0, 200.0, 700.0, 1200.0]
    square = signals.square_array(3, 5, 10.0, (1.0, 2.0, 3.0))
    assert square.positions_um.mean(axis=0).tolist() == [1.0, 2.0, 3.0]
    assert np.ptp(square.positions_um, axis=0).tolist() == [40.0, 0.0, 20.0]
    grid = signals.ecog_grid(900.0, contacts=3, pitch_um=100.0)
    assert np.ptp(grid.positions_um, axis=0).tolist() == [200.0, 200.0, 0.0]
    assert grid.positions_um.mean(axis=0).tolist() == [0.0, 0.0, 900.0]
    shank = signals.neuropixels("Neuropixels-384")
    assert len(shank) == 384
    assert np.pi * shank.radius_um**2 == pytest.approx(12.0**2)  # contacts of 12 um by 12 um
    assert np.ptp(shank.positions_um[:, 2]) == pytest.approx(3820.0)  # rows 20 um apart


def test_eeg_of_a_head_that_is_all_alike(tree: Tree) -> None:
    """With one conductivity everywhere, against the potential of a dipole on an insulated sphere's surface.

    (2 cos + ...) for a dipole in its centre: phi = 3 p cos / (4 pi sigma R^2) (Nunez and Srinivasan 2006).
    """
    head = signals.FourSpheres((0.0, 0.0, 20.0), (79_000.0, 80_000.0, 85_000.0, 90_000.0), (0.3, 0.3, 0.3, 0.3))
    electrodes = signals.sensors_on_meridian()
    expected = 3e3 * electrodes @ dipole_matrix(tree) / 90_000.0 / (4.0 * np.pi * 0.3 * 90_000.0**2)
    found = signals.eeg_matrix(tree, electrodes, head)
    assert np.allclose(found, expected, atol=0.01 * np.abs(expected).max())


def test_meg_of_a_tangential_dipole(tree: Tree) -> None:
    """Radially above, B is across, mu0 p / (4 pi) times Sarvas' factor; none of a radial dipole outside."""
    sensors = np.array([[0.0, 0.0, 110_000.0]])
    head = signals.FourSpheres()
    place = head.dipole_um(tree)
    matrix = signals.meg_matrix(tree, sensors, head).reshape(3, tree.n)
    a = 110_000.0 - np.linalg.norm(place)
    # Sarvas' F at a sensor above the dipole is a (r a + r^2 - r0 r) = 2 r a^2; B = mu0 (p x r0) / (4 pi F).
    strength = 4e-7 * np.pi * 1e-3 * 1e15 * np.linalg.norm(place) / (4.0 * np.pi * 2.0 * 110_000.0 * a**2)
    moment = dipole_matrix(tree)
    assert np.allclose(matrix[0], strength * moment[1], atol=0.01 * np.abs(matrix).max())
    assert np.allclose(matrix[1], -strength * moment[0], atol=0.01 * np.abs(matrix).max())
    # Off the axis it has three components, but of the two tangential directions alone.
    off_axis = signals.meg_matrix(tree, signals.sensors_on_meridian((30.0,), 110_000.0)).reshape(3, tree.n)
    radial = place / np.linalg.norm(place)
    of_moment = off_axis @ np.linalg.pinv(moment)
    assert np.linalg.norm(of_moment @ radial) < 1e-3 * np.linalg.norm(of_moment)


def test_all_light_of_a_clear_tissue(tree: Tree) -> None:
    """On a large camera, without attenuation, the pixels share all membrane; depth takes its part of it."""
    camera = signals.Dye(60, 60, 20.0, attenuation_um=np.inf)
    assert np.allclose(camera.matrix(tree).sum(axis=0), tree.area_um2, rtol=1e-6)
    deep = dataclasses.replace(camera, attenuation_um=100.0, surface_um=500.0).matrix(tree).sum(axis=0) / tree.area_um2
    depth = 500.0 - tree.ends_um[:, :, 2].mean(axis=1)
    assert np.allclose(deep, np.exp(-depth / 100.0), rtol=0.05)
    seen = camera.matrix(tree).reshape(60, 60, -1)
    x = camera.channels()["x_um"].reshape(60, 60)
    assert np.allclose(
        (seen * x[..., None]).sum(axis=(0, 1)) / tree.area_um2, tree.ends_um[:, :, 0].mean(axis=1), atol=0.1
    )


def test_a_cell_that_lies_deeper_gives_less_light(shard: Path) -> None:
    """Below another one; by itself its highest compartment is at the surface, unless that is said to be elsewhere."""
    dye = signals.Dye(rows=4, columns=4, pixel_um=100.0, attenuation_um=100.0)
    deep = signals.PlacedCell(shard, position_um=(0.0, 0.0, -200.0))
    at_top, below = (signals.record(cell, [dye])[0].values.sum() for cell in (shard, deep))
    assert below == pytest.approx(at_top, rel=1e-5)
    both = signals.record([signals.PlacedCell(shard), deep], [dye])[0].values.sum()
    assert both - at_top == pytest.approx(np.exp(-2.0) * at_top, rel=0.3)
    with RecordingFile(shard) as file:
        top = float(upright(file.tree()).ends_um[:, :, 2].max())
    told = dataclasses.replace(dye, surface_um=top)
    assert signals.record(deep, [told])[0].values.sum() == pytest.approx(both - at_top, rel=1e-3)


def test_patch_is_a_low_pass_with_the_drop_of_the_injected_current(tmp_path: Path) -> None:
    """A step of injected current: R I at once through a fast pipette, slowly through a slow one."""
    tree = tree_with_inputs()
    current = np.where(np.arange(200) < 100, 0.0, 0.5)[:, None]
    path = stored(tmp_path / "r.h5", tree, np.full((200, tree.n), -70.0), Injection(np.array([0], np.int32), current))
    fast = signals.patch(path, series_MOhm=20.0, capacitance_pF=0.0, noise_mV=0.0).values[:, 0]
    assert np.allclose(fast, -70.0 + 20.0 * current[:, 0], atol=1e-5)
    slow = signals.patch(path, series_MOhm=20.0, capacitance_pF=500.0, noise_mV=0.0).values[:, 0]
    t = np.arange(1.0, 101.0)
    assert np.allclose(slow[100:], -60.0 - 10.0 * np.exp(-t / 10.0), atol=1e-5)  # the current is held, from the start
    assert np.allclose(signals.patch(path, compartment=2, noise_mV=0.0).values, -70.0, atol=1e-5)


def test_noise_of_a_patch_is_seeded(shard: Path) -> None:
    a, b, c = (signals.patch(shard, noise_mV=0.5, seed=seed).values for seed in (1, 1, 2))
    clean = signals.patch(shard, noise_mV=0.0).values
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.std(a - clean) == pytest.approx(0.5, rel=0.1)


# ------------------------------------------------------------------------------------------ files


def test_what_is_written_is_read(shard: Path, tmp_path: Path) -> None:
    instruments = [signals.LFP(BESIDE), signals.Dipole(), signals.Dye(rows=3, columns=4), signals.MEG()]
    signals.write_signals(tmp_path / "s.h5", shard, instruments)
    read = signals.read_signals(tmp_path / "s.h5")
    for made in signals.record(shard, instruments):
        found = read[made.name]
        assert found.unit == made.unit
        assert found.values.shape == made.values.shape
        assert np.allclose(found.values, made.values, rtol=1e-6, atol=1e-7 * np.abs(made.values).max())
        assert found.channels.keys() == made.channels.keys()
        assert all(np.array_equal(found.channels[name], made.channels[name]) for name in made.channels)
    with h5py.File(tmp_path / "s.h5") as file:
        assert shard.name.encode() in file.attrs["sources"]
        assert file.attrs["sampling_hz"] == 1000.0


def test_cells_placed_with_arrays_are_written(shard: Path, tmp_path: Path) -> None:
    cell = signals.PlacedCell(shard, np.int64(0), np.array([0.0, 0.0, 5.0]))  # type: ignore[arg-type]
    signals.write_signals(tmp_path / "s.h5", cell, [signals.Dipole()])
    assert signals.read_signals(tmp_path / "s.h5")["dipole"].values.shape[1] == 3
    both = signals.dipole([shard, shard]).values  # type: ignore[list-item]
    assert both == pytest.approx(2.0 * signals.dipole(shard).values)


def test_what_is_no_recording(shard: Path, tmp_path: Path, tree: Tree) -> None:
    signals.write_signals(tmp_path / "s.h5", shard, [signals.Dipole()])
    with pytest.raises(FileError, match="holds dendrotwin signals, not potentials"):
        signals.dipole(tmp_path / "s.h5")
    with pytest.raises(FileError, match="is a folder; name a recording in it"):
        signals.dipole(tmp_path)
    with pytest.raises(InputError, match="write recordings in memory to files first"):
        signals.dipole([tree])  # type: ignore[list-item]


def test_half_a_file_is_none(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies inside the compartment soma"):
        signals.write_signals(tmp_path / "s.h5", shard, [signals.LFP(signals.point_electrodes([[0.0, 0.0, 0.0]]))])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "s.h5").write_bytes(b"x")
    with pytest.raises(FileError, match="is truncated or is no HDF5 file"):
        signals.read_signals(tmp_path / "s.h5")
    with pytest.raises(FileError, match="holds no signals of format"):
        signals.read_signals(shard)


# ------------------------------------------------------------------------------------------ mistakes


def test_recordings_of_different_sampling(tmp_path: Path) -> None:
    made = recording(tree_with_inputs(), 30, record_dt_ms=0.05)
    write_recordings(tmp_path / "fine.h5", [made], {})
    write_recordings(tmp_path / "each.h5", [made.each_ms()], {})
    pair = [PlacedCell(tmp_path / "fine.h5"), PlacedCell(tmp_path / "each.h5", position_um=(300.0, 0.0, 0.0))]
    with pytest.raises(InputError, match=r"sampled every 0.05, 1 ms; simulate all with one --record-dt"):
        signals.write_signals(tmp_path / "s.h5", pair, [signals.Dipole()])
    with pytest.raises(InputError, match=r"sampled every 0.05, 1 ms; simulate all with one --record-dt"):
        signals.dipole(pair)


def test_electrode_in_a_compartment(tree: Tree) -> None:
    middle = tree.ends_um[20].mean(axis=0)
    with pytest.raises(InputError, match=r"contact 1 at .* lies inside the compartment " + tree.names[20][:5]):
        lfp_matrix(tree, signals.point_electrodes([[500.0, 0.0, 0.0], middle]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma_S_per_m": -0.3}, "the conductivity is -0.3 S/m; it must be positive"),
        ({"sigma_S_per_m": (0.3, 0.0, 0.3)}, "it must be positive"),
        ({"sigma_S_per_m": (0.3, 0.3)}, "give one number or three"),
        ({"source": "cube"}, "no source 'cube'; choose soma-point"),
        ({"slab": signals.Slab(-400.0, 900.0, tissue_S_per_m=-1.0)}, "none negative"),
        ({"slab": signals.Slab(-400.0, 900.0)}, "insulating floor; choose point"),
        ({"slab": signals.Slab(np.nan, 300.0)}, "give a bottom and a positive thickness"),
        ({"slab": signals.Slab(0.0, -300.0)}, "give a bottom and a positive thickness"),
        ({"slab": signals.Slab(0.0, 300.0)}, "the cell reaches from z = .* the slab from 0 to 300 um"),
    ],
)
def test_wrong_conductor(tree: Tree, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lfp_matrix(tree, BESIDE, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: signals.point_electrodes([]), "the probe has no contacts"),
        (lambda: signals.point_electrodes(np.zeros((0, 3))), "has no contacts"),
        (lambda: signals.point_electrodes([1.0, 2.0, 3.0]), r"have shape \(3,\)"),
        (lambda: signals.point_electrodes([[np.nan, 0.0, 0.0]]), "NaN or infinity"),
        (lambda: signals.point_electrodes([["a", "b", "c"]]), "are not numbers"),
        (lambda: signals.linear_probe(contacts=0), "with 0 contacts"),
        (lambda: signals.linear_probe(radius_um=-1.0), "have a radius of -1"),
        (lambda: signals.square_array(0, 3), "0 by 3 contacts"),
        (lambda: signals.square_array(plane="yz"), "choose xz or xy"),
        (lambda: signals.neuropixels("Neuropixels-7"), "no probe 'Neuropixels-7'; choose"),
        (lambda: signals.Dye(rows=0), "0 by 32 pixels"),
        (lambda: signals.Dye(blur_um=0.0), "must be positive"),
        (lambda: signals.Patch(series_MOhm=-1.0), "are 0 or more"),
        (lambda: signals.Patch(seed=-1), "are 0 or more"),
        (lambda: signals.FourSpheres(radii_um=(1.0, 2.0, 3.0)), "four that increase"),
        (lambda: signals.FourSpheres(sigmas_S_per_m=(1.0, 2.0, 3.0, -1.0)), "four positive"),
        (lambda: signals.lfp([], BESIDE), "no recording to take signals from"),
    ],
)
def test_wrong_instruments(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_sensors_in_the_head_and_values_that_are_none(tree: Tree) -> None:
    with pytest.raises(InputError, match="80000 um from the head's centre, the scalp 90000 um"):
        signals.meg_matrix(tree, np.array([[0.0, 0.0, 80000.0]]))
    with pytest.raises(InputError, match="0 or more"):
        signals.Patch(capacitance_pF=float("nan"))
    with pytest.raises(InputError, match="must be finite"):
        signals.Dye(spread=float("inf"))
    with pytest.raises(InputError, match="a probe with 0 contacts"):
        signals.shank_beside(tree, 0)


def test_a_flat_cell_has_contacts_apart(tree: Tree) -> None:
    flat = dataclasses.replace(tree, ends_um=tree.ends_um * [1.0, 1.0, 0.0])
    z = signals.shank_beside(flat).positions_um[:, 2]
    assert z == pytest.approx(np.linspace(-50.0, 50.0, 6))
    farther = signals.shank_beside(tree, 4, distance_um=200.0, clearance_um=150.0).positions_um
    assert np.hypot(farther[0, 0], farther[0, 1]) >= 200.0
    assert len(farther) == 4


def test_wrong_places(tree: Tree, shard: Path) -> None:
    with pytest.raises(InputError, match="put electrodes on the scalp"):
        signals.eeg_matrix(tree, np.array([[0.0, 0.0, 95_000.0]]))
    with pytest.raises(InputError, match="farther out than the cell"):
        signals.meg_matrix(tree, np.array([[0.0, 0.0, 50_000.0]]))
    with pytest.raises(InputError, match=r"give \(sensors, 3\), in um, at least one"):
        signals.eeg_matrix(tree, np.zeros((0, 3)))
    with pytest.raises(InputError, match="the brain reaches from 0 to 79000 um"):
        signals.eeg_matrix(tree, signals.sensors_on_meridian(), signals.FourSpheres((0.0, 0.0, 79_500.0)))
    with pytest.raises(InputError, match="above the surface at z = 0 um"):
        signals.dye(shard, surface_um=0.0)
    with pytest.raises(InputError, match="patch at compartment 99"):
        signals.patch(shard, compartment=99)
    with pytest.raises(InputError, match=r"rotated by .* give three finite numbers each"):
        signals.dipole(PlacedCell(shard, rotation_deg=(0.0, np.nan, 0.0)))
    with pytest.raises(InputError, match="must rise"):
        signals.csd(shard, np.array([1.0, 0.0]))
    with pytest.raises(
        InputError, match=r"the cell reaches \d+ um from the axis of the column, 1 um wide.*half_width_um"
    ):
        signals.csd(shard, np.array([0.0, 1.0]), half_width_um=1.0)
    with pytest.raises(InputError, match="chunks of 0 samples; give at least one"):
        signals.record(shard, [signals.Dipole()], chunk_samples=0)


def test_cells_that_do_not_go_together(shard: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.h5"
    write_recordings(short, [recording(tree_with_inputs(), 50)], {})
    with pytest.raises(InputError, match="last 50, 1500 ms; give cells of one duration"):
        signals.lfp([PlacedCell(shard), PlacedCell(short)], BESIDE)
    with pytest.raises(InputError, match="there are two signals named lfp"):
        signals.record(shard, [signals.LFP(BESIDE), signals.LFP(BESIDE, source="line")])
    with pytest.raises(InputError, match="patch is of one cell"):
        signals.patch([PlacedCell(shard), PlacedCell(shard)])
    with pytest.raises(InputError, match="holds trials 0 to 0, not 5"):
        signals.dipole(PlacedCell(shard, trial=5))
    with pytest.raises(FileError, match="does not exist"):
        signals.dipole(tmp_path / "nothing.h5")


def test_a_recording_without_the_axon(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    path.write_bytes(shard.read_bytes())
    with h5py.File(path, "r+") as file:
        tree, v = read_tree(file["tree"]), file["trials/000000/v"]
        kept, attributes = (
            v[:, ~tree.in_region("axon")],
            {name: v.attrs[name] for name in ("scale_factor", "add_offset")},
        )
        del file["trials/000000/v"]
        file["trials/000000/v"] = kept
        file["trials/000000/v"].attrs.update(attributes)
    with pytest.raises(InputError, match=r"potentials of all of them, the axon's too: simulate again"):
        signals.lfp(path, BESIDE)


def test_potentials_that_are_not_finite(shard: Path, tree: Tree, tmp_path: Path) -> None:
    v = np.full((5, tree.n), -70.0)
    v[3, 2] = np.nan
    with pytest.raises(InputError, match="V of compartment 2 is not finite at sample 3"):
        signals.membrane_currents(tree, v)
    path = tmp_path / "r.h5"
    path.write_bytes(shard.read_bytes())
    with h5py.File(path, "r+") as file:
        v = file["trials/000000/v"][()].astype(np.float32)
        v[1400, 3] = np.inf
        del file["trials/000000/v"]
        file["trials/000000/v"] = v
    with pytest.raises(FileError, match="V holds NaN or infinity"):
        signals.lfp(path, BESIDE)


@pytest.mark.parametrize(("module", "use"), [("lfpykit", lambda t: lfp_matrix(t, BESIDE)),
                                             ("MEAutility", lambda t: signals.neuropixels())])  # fmt: skip
def test_missing_extra(tree: Tree, monkeypatch: pytest.MonkeyPatch, module: str, use: object) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        InputError, match=rf"needs {module}, which is not installed; pip install 'dendrotwin\[signals\]'"
    ):
        use(tree)


def test_a_probe_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "probe.csv"
    path.write_text("x,y,z\n50,0,-100\n50,0,100.5\n")
    assert signals.read_contacts(path).positions_um.tolist() == [[50.0, 0.0, -100.0], [50.0, 0.0, 100.5]]
    for text, error, message in (
        ("x,y,z\n", InputError, "has no contacts"),
        ("a,b\n1,2\n", FileError, "is no table of contacts"),
        ("x,y,z\n1,2\n1,2,3\n", FileError, "is no table of contacts"),
        ("", FileError, "is no table of contacts"),
    ):
        path.write_text(text)
        with pytest.raises(error, match=message):
            signals.read_contacts(path)
    with pytest.raises(FileError, match="does not exist; a probe is a CSV file"):
        signals.read_contacts(tmp_path / "none.csv")


@pytest.fixture(scope="module")
def new_york(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the format of the New York head, with three vertices and four electrodes."""
    path = tmp_path_factory.mktemp("head") / "sa_nyhead.mat"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        cortex = file.create_group("sa/cortex75K")
        cortex["vc"] = np.array([[0.0, 0.0, 70.0], [50.0, 0.0, 30.0], [0.0, 60.0, 10.0]]).T
        cortex["normals"] = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).T
        cortex["V_fem"] = rng.normal(size=(3, 3, 4))
        cortex["V_fem_normal"] = rng.normal(size=(3, 4))
        file["sa/locs_3D"] = rng.normal(size=(6, 4))
    return path


def test_new_york_head(new_york: Path, tree: Tree, shard: Path, tmp_path: Path) -> None:
    """The lead field at the nearest vertex, the cell's z along its normal; uV of nA um, in the file V of A m."""
    with h5py.File(new_york) as file:
        lead = file["sa/cortex75K/V_fem"][()]
    moment = dipole_matrix(tree)
    up = signals.NewYorkEEG(new_york, (0.0, 0.5, 70.0)).matrix(tree)
    assert np.allclose(up, 1e-9 * 1e3 * lead[:, 0].T @ moment)
    aside = signals.NewYorkEEG(new_york, (50.0, 0.0, 30.0)).matrix(tree)
    along_x = np.array([moment[2], moment[1], -moment[0]])
    assert np.allclose(aside, 1e-9 * 1e3 * lead[:, 1].T @ along_x)
    (eeg,) = signals.record(shard, [signals.NewYorkEEG(new_york, (0.0, 0.0, 70.0))])
    assert eeg.values.shape == (1500, 4)
    with pytest.raises(InputError, match="is more than 2 mm from the cortex"):
        signals.NewYorkEEG(new_york, (0.0, 0.0, 0.0)).matrix(tree)
    with pytest.raises(InputError, match="is not a place in the head"):
        signals.NewYorkEEG(new_york, (0.0, np.nan, 0.0)).matrix(tree)
    with pytest.raises(FileError, match=r"fetch sa_nyhead\.mat from"):
        signals.NewYorkEEG(tmp_path / "none.mat").matrix(tree)
    with pytest.raises(FileError, match="is not the file of the New York head"):
        signals.NewYorkEEG(shard).matrix(tree)
