"""Long trials: predicted and written piece by piece, the same to the last bit, in memory that does not grow."""

from __future__ import annotations

import dataclasses
import hashlib
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest

import dendrotwin
from conftest import in_new_process
from dendrotwin.cell.tree import Events, Injection
from dendrotwin.errors import FileError, InputError
from dendrotwin.models import build_model, cable
from dendrotwin.models.networks.network import Network
from dendrotwin.recording import Recording, RecordingFile, write_recordings
from dendrotwin.recording.trials import StoredPotentials, index_trials
from dendrotwin.twin import Twin
from test_recording import recording, tree_with_inputs

GROWTH_MB = 100.0  # allowed of a trial that is four times as long, whose potentials take 300 MB more


def some_events(n_inputs: int, duration_ms: int) -> Events:
    rng = np.random.default_rng(duration_ms)
    return Events.sort(rng.integers(0, n_inputs, 3 * duration_ms), rng.uniform(0, duration_ms, 3 * duration_ms))


def content(path: Path) -> str:
    """Digest of all arrays and attributes of a file."""
    digest = hashlib.sha256()

    def add(name: str, item: h5py.HLObject) -> None:
        digest.update(name.encode())
        for key, value in sorted(item.attrs.items()):
            digest.update(key.encode() + np.asarray(value).tobytes())
        if isinstance(item, h5py.Dataset):
            digest.update(f"{item.dtype} {item.shape} {item.chunks}".encode() + item[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(add)
    return digest.hexdigest()


@pytest.mark.parametrize("pieces", [[600], [1] * 600, [7, 121, 300, 172], [128, 0, 472]])
def test_a_file_is_the_same_whatever_the_pieces(tmp_path: Path, pieces: list[int]) -> None:
    for record_dt_ms, as_float, compress in ((1.0, False, False), (0.5, True, True)):
        made = recording(tree_with_inputs(), 600, record_dt_ms=record_dt_ms)
        write_recordings(tmp_path / "a.h5", [made], {}, as_float=as_float, compress=compress)
        ends = np.cumsum(pieces) * round(1 / record_dt_ms)
        parts = iter(np.split(made.v_mV, ends[:-1]))
        streamed = dataclasses.replace(made.stream(), pieces=parts)
        write_recordings(tmp_path / "b.h5", [streamed], {}, as_float=as_float, compress=compress)
        assert content(tmp_path / "a.h5") == content(tmp_path / "b.h5")


def test_a_piece_that_cannot_be_stored_is_named_by_its_place_in_the_trial(tmp_path: Path) -> None:
    made = recording(tree_with_inputs(), 400)
    made.v_mV[300, 1] = np.nan
    parts = iter([made.v_mV[:250], made.v_mV[250:]])
    with pytest.raises(FileError, match="compartment 1 is not finite at sample 300"):
        write_recordings(tmp_path / "r.h5", [dataclasses.replace(made.stream(), pieces=parts)], {})
    assert not list(tmp_path.iterdir())


def same(a: Recording, path: Path) -> None:
    """The file holds what the recording is, as it would be written."""
    write_recordings(path.with_name("whole.h5"), [a], {})
    assert content(path.with_name("whole.h5")) == content(path)


def test_a_cable_streams_what_it_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = dendrotwin.load("l5pc")
    events = some_events(twin.tree.n_inputs, 300)
    current = Injection(np.array([0], np.int32), np.random.default_rng(0).normal(0.3, 0.3, (300, 1)))
    whole = twin.predict(events, 300, injection=current)
    assert len(whole.spikes_ms)
    monkeypatch.setattr(cable, "PIECE_POTENTIALS", 1)
    monkeypatch.setattr(cable, "LEAST_MS", 37)
    stream = twin.stream(events, 300, injection=current)
    write_recordings(tmp_path / "r.h5", [stream], {})
    same(whole, tmp_path / "r.h5")
    late = Injection(current.compartment, np.where(np.arange(300)[:, None] >= 40, 1e6, 0.0))
    with pytest.raises(InputError, match=r"at 4[0-9] ms, outside of"):
        write_recordings(tmp_path / "x.h5", [twin.stream(events, 300, injection=late)], {})
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize("feed_back", [False, True])
def test_a_network_streams_what_it_predicts(tmp_path: Path, autoregressive: bool, feed_back: bool) -> None:
    """Of a file of recordings too, of which it reads the potentials only where it sees them, piece by piece."""
    tree = tree_with_inputs()
    true = dataclasses.replace(recording(tree, 2600, record_dt_ms=0.5), injection=None)
    write_recordings(tmp_path / "true.h5", [true], {}, as_float=True)
    options = {"channels": [4], "features": 4, "synapse_ms": 20}
    config, network = build_model("hard-sharing", options, tree, autoregressive)
    assert isinstance(network, Network)
    twin = Twin("hard-sharing", config.model_dump(mode="json"), tree, network, 0.5, {})
    _, (trial,) = index_trials(tmp_path / "true.h5")
    write_recordings(tmp_path / "r.h5", [twin.stream(trial, feed_back=feed_back)], {})
    same(twin.predict(true, feed_back=feed_back), tmp_path / "r.h5")
    stored = StoredPotentials(trial, tree.n)
    assert stored.shape == (1, 2600, tree.n)
    assert np.array_equal(stored[:, 3:8][0], true.each_ms().v_mV[3:8])


def _peak_MB(seconds: int, out: str) -> float:
    """Peak memory of a process that predicts a trial into a file [MB]."""
    twin = dendrotwin.load("l5pc")
    twin.model.config.__dict__["accuracy"] = "fast"
    write_recordings(out, [twin.stream(Events.sort([], []), 1000 * seconds)], {})
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def test_memory_does_not_grow_with_the_duration(tmp_path: Path) -> None:
    short, long = (in_new_process(_peak_MB, seconds, str(tmp_path / f"{seconds}.h5")) for seconds in (40, 160))
    with RecordingFile(tmp_path / "160.h5") as file:
        assert file.duration_ms(0) == 160_000
    assert long < short + GROWTH_MB
