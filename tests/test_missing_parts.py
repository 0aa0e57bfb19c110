"""Files that lack a part: an error of one line names the file and the part, whoever reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dendrotwin import signals
from dendrotwin.cell.tree import Injection
from dendrotwin.errors import FileError
from dendrotwin.recording import RecordingFile, write_recordings
from test_recording import recording, tree_with_inputs

TRIAL = "trials/000000"
PARTS = ("v", "spikes_ms", "events", "events/input", "events/indptr", "injection/compartment", "injection/current_nA")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole recording, with an injected current."""
    made = recording(tree_with_inputs(), 40)
    object.__setattr__(made, "injection", Injection(np.array([0], np.int32), np.zeros((40, 1))))
    write_recordings(tmp_path / "r.h5", [made], {})
    return tmp_path / "r.h5"


def read_all(path: Path) -> None:
    with RecordingFile(path) as file:
        file.read(0, file.tree())


@pytest.mark.parametrize(
    "part",
    ["tree", "trials", TRIAL, *(f"{TRIAL}/{name}" for name in PARTS)],
)
def test_a_recording_without_a_part(path: Path, part: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[part]
        if part.endswith("indptr"):
            del file[f"{TRIAL}/events/time_ms"]
    said = "holds no trial" if part == TRIAL else f"lacks {part};"
    with pytest.raises(FileError, match=rf"r.h5 {said}"):
        read_all(path)


@pytest.mark.parametrize(
    ("of", "name", "said"),
    [
        ("/", "tree_fingerprint", "the attribute tree_fingerprint of the file"),
        (TRIAL, "trial_id", f"the attribute trial_id of {TRIAL}"),
        (f"{TRIAL}/v", "scale_factor", f"the attribute scale_factor of {TRIAL}/v"),
        (f"{TRIAL}/v", "add_offset", f"the attribute add_offset of {TRIAL}/v"),
    ],
)
def test_a_recording_without_an_attribute(path: Path, of: str, name: str, said: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[of].attrs[name]
    with pytest.raises(FileError, match=f"r.h5 lacks {said}; restore it, or make it again"):
        read_all(path)


def test_a_part_that_is_something_else(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file[f"{TRIAL}/v"]
        file.create_group(f"{TRIAL}/v")
    with pytest.raises(FileError, match=f"a {TRIAL}/v that is no array"):
        read_all(path)


def test_no_samples_and_short_currents(path: Path, tmp_path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file[f"{TRIAL}/injection/current_nA"]
        file[f"{TRIAL}/injection/current_nA"] = np.zeros((10, 1))
    with pytest.raises(FileError, match=rf"{TRIAL}/injection/current_nA has the shape \(10, 1\)"):
        signals.dipole(path)
    with h5py.File(path, "r+") as file:
        scale = dict(file[f"{TRIAL}/v"].attrs)
        columns = file[f"{TRIAL}/v"].shape[1]
        del file[f"{TRIAL}/v"]
        file.create_dataset(f"{TRIAL}/v", (0, columns), "i2").attrs.update(scale)
    for read in (signals.dipole, lambda p: signals.write_signals(tmp_path / "s.h5", p, [signals.Dipole()])):
        with pytest.raises(FileError, match=rf"{TRIAL}/v has the shape \(0, {columns}\)"):
            read(path)
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file["dipole"].__delitem__("values"), "lacks dipole/values"),
        (lambda file: file["dipole"].__delitem__("channels"), "lacks dipole/channels"),
        (lambda file: file["dipole/values"].attrs.__delitem__("unit"), "the attribute unit of dipole/values"),
        (lambda file: file.attrs.__delitem__("sampling_hz"), "the attribute sampling_hz of the file"),
    ],
)
def test_signals_without_a_part(path: Path, tmp_path: Path, damage: Callable[[h5py.File], None], said: str) -> None:
    signals.write_signals(tmp_path / "s.h5", path, [signals.Dipole()])
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        damage(file)
    with pytest.raises(FileError, match=f"s.h5 .*{said}"):
        signals.read_signals(tmp_path / "s.h5")


@pytest.mark.parametrize("name", ["scale_factor", "add_offset"])
@pytest.mark.parametrize("value", [1e300, float("nan"), float("-inf")])
def test_a_scaling_that_gives_no_potentials(path: Path, name: str, value: float) -> None:
    with h5py.File(path, "r+") as file:
        file[f"{TRIAL}/v"].attrs[name] = value
    with pytest.raises(FileError, match=f"{name} of .* is "):
        read_all(path)
