"""What others need of an NWB file: places in a plane, a subject, a stimulus, series where they look for them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from dendrotwin import signals
from dendrotwin.cell.tree import Events, Injection
from dendrotwin.errors import InputError
from dendrotwin.recording import Recording, write_recordings
from dendrotwin.signals.nwb import plane_of_contacts
from dendrotwin.signals.placing import PlacedCell
from test_recording import tree_with_inputs

pynwb = pytest.importorskip("pynwb")


def series(name: str, samples: int = 6, **channels: object) -> signals.Signal:
    columns = {key: np.asarray(column) for key, column in channels.items()}
    values = np.arange(samples * len(next(iter(columns.values()))), dtype=np.float32).reshape(samples, -1)
    return signals.Signal(name, "mV", values, columns)


def lfp(positions: np.ndarray, name: str = "lfp") -> signals.Signal:
    return series(name, **dict(zip(("x_um", "y_um", "z_um"), np.asarray(positions, float).T, strict=True)))


@pytest.mark.parametrize(
    ("positions", "places"),
    [
        ([[50, 0, -100], [50, 0, 100]], [[50, -100], [50, 100]]),
        ([[5, 7, 0], [5, 9, 3]], [[7, 0], [9, 3]]),
        ([[1, 2, 9], [3, 4, 9]], [[1, 2], [3, 4]]),
        ([[1, 2, 3]], [[1, 3]]),
    ],
)
def test_contacts_in_a_plane_of_coordinates(positions: list[list[int]], places: list[list[int]]) -> None:
    assert plane_of_contacts(np.array(positions, float)).places_um.tolist() == places


def test_contacts_in_any_plane_are_as_far_apart_as_they_are(rng: np.random.Generator) -> None:
    along, across = np.array([0.6, 0.0, 0.8]), np.array([0.0, 1.0, 0.0])
    slanted = rng.uniform(-200, 200, (9, 1)) * along + rng.uniform(-50, 50, (9, 1)) * across
    flat = plane_of_contacts(slanted).places_um
    of = [np.linalg.norm(a[:, None] - a[None], axis=2) for a in (slanted, flat)]
    assert np.allclose(*of)
    block = np.stack(np.meshgrid(*[[0.0, 20.0, 40.0]] * 3), axis=-1).reshape(-1, 3)
    assert len(np.unique(np.round(plane_of_contacts(block).places_um, 3), axis=0)) == 27


def test_contacts_and_series_are_where_others_look_for_them(tmp_path: Path) -> None:
    here = np.array([[50.0, 1.0, -100.0], [50.0, 1.0, 100.0]])
    signals.write_nwb(tmp_path / "s.nwb", [lfp(here), lfp(here[::-1] + 4.0, "ecog")], "x", subject={"sex": "F"})
    assert not pynwb.validate(path=str(tmp_path / "s.nwb"))
    with pynwb.NWBHDF5IO(str(tmp_path / "s.nwb"), "r") as io:
        file = io.read()
        table = file.electrodes.to_dataframe()
        assert table[["rel_x", "rel_y"]].values.tolist() == [[50, -100], [50, 100], [54, 104], [54, -96]]
        assert table[["x_um", "y_um", "z_um"]].values[:2].tolist() == here.tolist()
        assert "rel_z" not in table
        electrical = file.processing["ecephys"]["LFP"]["lfp"]
        for name in ("lfp", "ecog"):
            plain = file.acquisition[name]
            assert type(plain) is pynwb.TimeSeries
            assert (plain.unit, plain.rate, plain.conversion) == ("volts", 1000.0, 1e-3)
        assert np.array_equal(file.acquisition["lfp"].data[:], electrical.data[:])
        subject = file.subject
        assert (subject.sex, subject.age, subject.subject_id) == ("F", "P0D/", "simulated-cell")
        assert subject.species.endswith("NCBITaxon_32644")
    with h5py.File(tmp_path / "s.nwb") as raw:  # the data are there once, and in this file
        assert raw["acquisition/lfp"].get("data", getlink=True).path == "/processing/ecephys/LFP/lfp/data"
    with pytest.raises(InputError, match="its fields are subject_id"):
        signals.write_nwb(tmp_path / "t.nwb", [], "x", subject={"colour": "grey"})
    assert not (tmp_path / "t.nwb").exists()


@pytest.mark.parametrize(("rate_hz", "expected"), [(1000.0, 1), (500.0, 1), (10_000.0, 10)])
def test_a_patch_has_its_stimulus(tmp_path: Path, rate_hz: float, expected: int) -> None:
    tree, none = tree_with_inputs(), np.zeros(0, np.int32)
    current = np.zeros((20, 2))
    current[4:10, 0], current[:, 1] = 0.5, 9.0
    injection = Injection(np.array([tree.soma, 3], np.int32), current)
    per_ms = 10 if rate_hz > 1000.0 else 1
    v = np.full((20 * per_ms, tree.n), -70.0, np.float32)
    made = Recording(tree, v, Events(none, none), np.zeros(0), "trial-x", injection, record_dt_ms=1.0 / per_ms)
    write_recordings(tmp_path / "r.h5", [made], {})
    cell = PlacedCell(tmp_path / "r.h5")
    signals.write_signals(tmp_path / "s.h5", cell, [signals.Patch(series_MOhm=12.0)], rate_hz=rate_hz)
    with signals.open_signals(tmp_path / "s.h5") as stored:
        signals.write_nwb(tmp_path / "s.nwb", stored.values(), "x", cell)
    assert not pynwb.validate(path=str(tmp_path / "s.nwb"))
    with pynwb.NWBHDF5IO(str(tmp_path / "s.nwb"), "r") as io:
        file = io.read()
        response, stimulus = file.acquisition["patch"], file.stimulus["patch-stimulus"]
        ends_ms = np.arange(1, len(stimulus.data) + 1) * 1000.0 / rate_hz
        # The first sample with current is that at the end of the step that has it.
        assert np.allclose(stimulus.data[:], np.where((ends_ms > 4.0 + 1e-6) & (ends_ms < 10.0 + 1e-6), 0.5, 0.0))
        assert (stimulus.unit, stimulus.conversion, stimulus.rate) == ("amperes", 1e-9, rate_hz)
        assert len(response.data) == len(stimulus.data) == round(20 * rate_hz / 1000.0)
        electrode = response.electrode
        assert "12 MOhm" in electrode.resistance
        assert "5 pF" in electrode.filtering
        assert "trial-x" in electrode.cell_id
        assert response.bridge_balance == 0.0
        assert len(file.intracellular_recordings) == 1


def test_each_series_says_what_made_it(tmp_path: Path) -> None:
    """Beside the values, in other programs: neo opens the file, pynwb's comments are those settings."""
    tree, none = tree_with_inputs(), np.zeros(0, np.int32)
    made = Recording(tree, np.full((20, tree.n), -70.0, np.float32), Events(none, none), np.zeros(0), "x")
    write_recordings(tmp_path / "r.h5", [made], {})
    contacts = signals.Probe([[90.0, 0.0, 5.0], [90.0, 0.0, 90.0]], 7.0)
    slab = signals.Slab(-2000.0, 4000.0, 0.1)
    instruments = [
        signals.LFP(contacts, sigma_S_per_m=0.4, source="line"),
        signals.LFP(contacts, source="point", slab=slab, name="ecog"),
        signals.EEG(), signals.Patch(seed=5), signals.Dipole(), signals.Dye(rows=2, columns=2, pixel_um=400.0),
    ]  # fmt: skip
    signals.write_signals(tmp_path / "s.h5", tmp_path / "r.h5", instruments)
    with signals.open_signals(tmp_path / "s.h5") as stored:
        signals.write_nwb(tmp_path / "s.nwb", stored.values(), "x", PlacedCell(tmp_path / "r.h5"))
    assert not pynwb.validate(path=str(tmp_path / "s.nwb"))
    with pynwb.NWBHDF5IO(str(tmp_path / "s.nwb"), "r") as io:
        file = io.read()
        every = [
            *file.acquisition.values(),
            file.processing["ecephys"]["dipole"],
            file.processing["ecephys"]["LFP"]["lfp"],
        ]
        said = {each.name: json.loads(each.comments.removeprefix("settings: ")) for each in every}
    assert said == {name: signal.settings for name, signal in signals.read_signals(tmp_path / "s.h5").items()}
    assert (said["lfp"]["sigma_S_per_m"], said["lfp"]["source"], said["lfp"]["probe_radius_um"]) == (0.4, "line", 7.0)
    assert (said["ecog"]["slab_below_S_per_m"], said["patch"]["seed"]) == (0.1, 5)
    assert said["eeg"]["head_origin_um"] == [0.0, 0.0, 77_000.0]
    neo = pytest.importorskip("neo")
    (block,) = neo.io.NWBIO(str(tmp_path / "s.nwb"), mode="r").read_all_blocks()
    assert {"lfp", "ecog", "eeg"} <= {each.name for each in block.segments[0].analogsignals}


def test_a_long_file_is_written_in_little_memory(tmp_path: Path) -> None:
    samples = 1_000_000
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.attrs.update(kind="dendrotwin signals", format_version=1, sampling_hz=1000.0)
        group = file.create_group("lfp")
        values = group.create_dataset("values", (samples, 16), "f4", chunks=(4096, 16))
        for start in range(0, samples, 4096):
            values[start : start + 4096] = 0.0
        values[-1] = 7.0
        group["values"].attrs["unit"] = "mV"
        for k, name in enumerate(("x_um", "y_um", "z_um")):
            group[f"channels/{name}"] = np.arange(16.0) * (k == 2)
    tracemalloc.start()
    with signals.open_signals(tmp_path / "s.h5") as stored:
        signals.write_nwb(tmp_path / "s.nwb", stored.values(), "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # of 64 MB
    with h5py.File(tmp_path / "s.nwb") as file:
        data = file["processing/ecephys/LFP/lfp/data"]
        assert data.shape == (samples, 16)
        assert data[-1].tolist() == [7.0] * 16
