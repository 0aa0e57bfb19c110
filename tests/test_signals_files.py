"""Files of signals: what was damaged or altered in them is refused, however it is read."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dendrotwin import signals
from dendrotwin.cell.tree import Events
from dendrotwin.errors import FileError
from dendrotwin.recording import Recording, write_recordings
from test_recording import tree_with_inputs


@pytest.fixture
def recorded(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Signals of 3000 ms: two pieces of the stream, twelve blocks with a checksum each."""
    tree = tree_with_inputs()
    none = np.zeros(0, np.int32)
    v = rng.normal(-70.0, 3.0, (3000, tree.n)).astype(np.float32)
    write_recordings(tmp_path / "r.h5", [Recording(tree, v, Events(none, none), np.zeros(0), "x")], {})
    return tmp_path / "r.h5"


def test_values_are_compared_however_they_are_read(recorded: Path, tmp_path: Path) -> None:
    path, instruments = tmp_path / "s.h5", [signals.Dipole(), signals.Dye(rows=2, columns=3, pixel_um=200.0)]
    signals.write_signals(path, recorded, instruments, chunk_samples=700)
    whole = signals.read_signals(path)
    with signals.open_signals(path) as opened:
        for name, signal in opened.items():
            lazy, values = signal.values, np.asarray(whole[name].values)
            assert (len(lazy), lazy.shape, lazy.dtype) == (3000, values.shape, values.dtype)
            for wanted in (
                (), slice(None), slice(700, 1300), 5, -1, slice(-3, None), slice(10, 5), slice(0, 99, 7), [3, 2900],
                (slice(255, 257), 1), (slice(None), 0), Ellipsis, slice(2999, 5000),
            ):  # fmt: skip
                assert np.array_equal(lazy[wanted], values[wanted]), (name, wanted)
            assert np.array_equal(np.asarray(lazy), values)
    with h5py.File(path, "r+") as file:
        file["dipole/values"][2900, 1] *= 1.5
    with signals.open_signals(path) as opened:
        assert np.isfinite(opened["dipole"].values[:2800]).all()  # what is whole can be read
        for use in (
            lambda: signals.read_signals(path),
            lambda: opened["dipole"].values[-101:-99, 0],
            lambda: signals.write_nwb(tmp_path / "n.nwb", [opened["dipole"]], "x"),
        ):
            with pytest.raises(FileError, match="dipole/values was altered after it was written"):
                use()
    assert not (tmp_path / "n.nwb").exists()


def test_every_byte_of_a_signal_file(recorded: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    path, other = tmp_path / "s.h5", tmp_path / "o.h5"
    signals.write_signals(path, recorded, [signals.Dipole(label) for label in ("dipole", "dipole-b")], made_by="m")

    def content(which: Path) -> list[object]:
        read = signals.read_signals(which)
        return [
            (name, s.unit, s.settings, s.sampling_hz, np.asarray(s.values).tobytes(), s.channels["axis"].tobytes())
            for name, s in read.items()
        ]

    whole, expected = path.read_bytes(), content(path)
    places = np.unique(np.r_[np.arange(0, len(whole), 97), rng.integers(0, len(whole), 300)])
    missed = []
    for at in places:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(at) % 8
        other.write_bytes(changed)
        try:
            if content(other) != expected:
                missed.append(int(at))
        except FileError:
            pass
    assert missed == []
