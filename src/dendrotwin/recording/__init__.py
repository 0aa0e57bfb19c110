"""A recording: one trial of a cell, whether NEURON or a twin made it, and the HDF5 file of many trials.

`recording.trials` finds the trials of a data set of many files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin import __version__
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording.checks import (
    CHUNK_STEPS,
    CURRENTS,
    DEFAULT_RECORD_DT_MS,
    FORMAT_VERSION,
    SCALING,
    check_layout,
    no_such_file,
    per_ms,
    read_array,
    read_events,
    read_injection,
    read_probability,
    read_scaling,
    read_spikes,
    samples_of,
)
from dendrotwin.recording.tree_file import read_tree
from dendrotwin.recording.writing import RecordingStream, write_recordings
from dendrotwin.support.hdf5 import AGAIN, damage_as_file_error, open_hdf5, text_of
from dendrotwin.support.hdf5_parts import Part

SETTLE_MS = 500  # the start of a trial does not count: the cell comes from rest
Volts = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recording:
    """One trial. Steps are 1 ms; sample k of the potentials is the state at the *end* of the k-th record_dt_ms.

    Without a finer record_dt_ms there is one sample for each step.

    Attributes:
        tree: the cell.
        v_mV: (samples, n) membrane potential of every compartment [mV].
        events: the input events.
        spikes_ms: (s,) times of the output spikes, not rounded to steps [ms].
        trial_id: which trial this is; see `trial_identity`.
        injection: current injected, or None.
        spike_probability: (steps,) a twin's probability of an output spike in each step, or None.
        record_dt_ms: time from one sample to the next [ms], a divisor of 1 ms.
    """

    tree: Tree
    v_mV: Volts
    events: Events
    spikes_ms: NDArray[np.float64]
    trial_id: str
    injection: Injection | None = None
    spike_probability: Volts | None = None
    record_dt_ms: float = DEFAULT_RECORD_DT_MS

    @property
    def duration_ms(self) -> int:
        """Duration [ms]."""
        return len(self.v_mV) // per_ms(self.record_dt_ms, "record_dt_ms")

    def __repr__(self) -> str:
        return (
            f"Recording({self.trial_id}: {self.duration_ms} ms, {self.v_mV.shape[1]} compartments, "
            f"{len(self.spikes_ms)} output spikes, {self.events!r})"
        )

    def each_ms(self) -> Recording:
        """The trial with the samples that a recording each ms has."""
        every = per_ms(self.record_dt_ms, "record_dt_ms")
        return dataclasses.replace(self, v_mV=self.v_mV[every - 1 :: every], record_dt_ms=DEFAULT_RECORD_DT_MS)

    def stream(self) -> RecordingStream:
        """The trial as one that comes in a single piece."""
        return RecordingStream(
            self.tree, self.events, self.trial_id, self.injection, len(self.v_mV), iter([self.v_mV]),
            lambda: (self.spikes_ms, self.spike_probability), self.record_dt_ms,
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write a file of this one trial, as `dendrotwin simulate` and `predict` make them, for `signals` and `plot`.

        Args:
            path: the file (.h5); one that is there is replaced.
        """
        write_recordings(path, [self], provenance())

    def spike_train(self) -> NDArray[np.bool_]:
        """(steps,) whether each 1 ms step holds an output spike."""
        return spike_train(self.spikes_ms, self.duration_ms)


def spike_train(spikes_ms: NDArray[np.float64], steps: int) -> NDArray[np.bool_]:
    """(steps,) whether each 1 ms step holds one of the spikes.

    Args:
        spikes_ms: (s,) their times [ms].
        steps: number of 1 ms steps.
    """
    train = np.zeros(steps, dtype=bool)
    bins = np.floor(spikes_ms).astype(int)
    train[bins[(bins >= 0) & (bins < steps)]] = True
    return train


def trial_identity(events: Events, injection: Injection | None, steps: int) -> str:
    """Identity of a trial: a hash of its input, so that equal inputs are one trial, whoever makes it.

    Args:
        events: input events.
        injection: current injected, or None.
        steps: duration [ms].
    """
    digest = hashlib.sha256(str(steps).encode())
    arrays: list[NDArray[Any]] = [events.input, events.time_ms]
    if injection is not None:
        arrays += [injection.compartment, injection.current_nA]
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def provenance() -> dict[str, str]:
    """Versions that make a recording or a twin: an attribute of their files."""
    versions = {"dendrotwin": __version__, "python": platform.python_version()}
    for name in ("neuron", "numpy", "h5py", "torch"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"versions": json.dumps(versions)}


class RecordingFile:
    """A file of trials, open for reading; use it as a context manager.

    Raises:
        FileError: the file is missing, damaged, points outside of itself, or is no recording of this format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise FileError(f"{path} is a folder; name a recording in it, such as {self.path / 'trial-000000.h5'}")
        if not self.path.is_file():
            raise no_such_file(path, "`dendrotwin simulate` makes such files")
        self._file = open_hdf5(self.path, _check_file)
        try:
            with damage_as_file_error(self.path):
                self.attributes: dict[str, Any] = {name: text_of(value) for name, value in self._file.attrs.items()}
                self.fingerprint = str(self.attributes["tree_fingerprint"])
                self._trials = [self._file["trials"][name] for name in sorted(self._file["trials"])]
                (self._n,), (self._n_inputs,) = (self._file["tree"][name].shape for name in ("parent", "input_synapse"))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> RecordingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._trials)

    def tree(self) -> Tree:
        """The cell.

        Raises:
            FileError: it is damaged, or was altered after it was written.
        """
        with damage_as_file_error(self.path):
            tree = read_tree(self._file["tree"])
        if tree.fingerprint() != self.fingerprint:
            raise FileError(f"{self.path}: its tree was altered after it was written; {AGAIN}")
        return tree

    def trial_id(self, trial: int) -> str:
        """Which trial it is."""
        return str(text_of(self._trials[trial].attrs["trial_id"]))

    def record_dt_ms(self, trial: int) -> float:
        """Time from one sample of a trial to the next [ms]; 1 ms where the file does not say."""
        return _record_dt_ms(self._trials[trial])

    def duration_ms(self, trial: int) -> int:
        """Duration of a trial [ms].

        Args:
            trial: its number in the file.
        """
        samples_per_ms = per_ms(self.record_dt_ms(trial), f"record_dt_ms of {self.path}")
        return int(samples_of(self._trials[trial]).shape[0]) // samples_per_ms

    def holds_currents(self, trial: int) -> bool:
        """Whether a trial holds membrane currents in place of potentials."""
        return CURRENTS in self._trials[trial]

    def imem_nA(self, trial: int, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Samples of the membrane currents of a trial that holds them, (stop - start, n) [nA]; arguments as of `v`.

        Raises:
            FileError: they are damaged, or not finite.
        """
        with damage_as_file_error(self.path):
            currents = read_array(self._trials[trial][CURRENTS], start, stop, CHUNK_STEPS)
            if np.isfinite(currents).all():
                return currents
        raise FileError(f"{self.path}: a membrane current is NaN or infinity; import it again")

    def v(self, trial: int, start: int = 0, stop: int | None = None) -> Volts:
        """Samples of the potentials of a trial, (stop - start, n) [mV].

        Args:
            trial: its number in the file.
            start: the first sample.
            stop: the one after the last; None for all.

        Raises:
            FileError: they are damaged, not finite (files of others may store floats), or the trial holds none.
        """
        if self.holds_currents(trial):
            raise FileError(
                f"{self.path} holds membrane currents and no potentials, which this needs; it is for signals alone"
            )
        dataset = self._trials[trial]["v"]
        with damage_as_file_error(self.path):
            whole = dataset.shape[1] == self._n  # else it is not the array that was written, and `read` refuses it
            v = read_array(dataset, start, stop, CHUNK_STEPS) if whole else dataset[start:stop]
            if v.dtype != np.int16:
                with np.errstate(over="ignore"):
                    v = np.asarray(v, dtype=np.float32)
                if not np.isfinite(v).all():
                    raise FileError(
                        f"{self.path}, trial {self.trial_id(trial)}: V holds NaN or infinity; make it again"
                    )
                return v
            scale, offset = read_scaling(dataset)
        return np.asarray(v.astype(np.float32) * scale + offset)

    def events(self, trial: int) -> Events:
        """Input events of a trial; where the file has their steps only, at the start of these.

        Raises:
            FileError: they are damaged, or do not fit the cell or the trial.
        """
        with self._of_file():
            return read_events(self._trials[trial]["events"], self._n_inputs, self.duration_ms(trial))

    def spikes_ms(self, trial: int) -> NDArray[np.float64]:
        """Times (s,) of the output spikes of a trial [ms].

        Args:
            trial: its number in the file.

        Raises:
            FileError: they are damaged, or outside of the trial.
        """
        with self._of_file():
            return read_spikes(self._trials[trial]["spikes_ms"], self.duration_ms(trial))

    def injection(self, trial: int) -> Injection | None:
        """Injected current of a trial, or None.

        Raises:
            FileError: it is damaged, or does not fit the cell or the trial.
        """
        with self._of_file():
            group = self._trials[trial].get("injection")
            return None if group is None else read_injection(group, self._n, self.duration_ms(trial))

    def read(self, trial: int, tree: Tree) -> Recording:
        """The whole trial, of the cell `tree` (this file's own, read once by the caller).

        Raises:
            FileError: a part of it is damaged, or of another cell.
        """
        with self._of_file():
            probability = self._trials[trial].get("spike_probability")
            chances = None if probability is None else read_probability(probability)
        v = self.v(trial)
        if v.shape[1] != tree.n:
            raise FileError(f"{self.path} holds potentials of {v.shape[1]} of {tree.n} compartments; {AGAIN}")
        return Recording(
            tree,
            v,
            self.events(trial),
            self.spikes_ms(trial),
            self.trial_id(trial),
            self.injection(trial),
            chances,
            self.record_dt_ms(trial),
        )

    @contextmanager
    def _of_file(self) -> Iterator[None]:
        """A wrong input, that is the user's own elsewhere, is damage of the file here."""
        with damage_as_file_error(self.path):
            try:
                yield
            except InputError as error:
                raise FileError(f"{self.path} is damaged ({error}); {AGAIN}") from error


def _record_dt_ms(trial: h5py.Group) -> float:
    return float(trial.attrs.get("record_dt_ms", DEFAULT_RECORD_DT_MS))


def _check_file(file: h5py.File) -> None:
    """See that a file is a recording, with all its parts."""
    path = file.filename
    version = file.attrs.get("format_version")
    if "kind" in file.attrs:
        raise FileError(f"{path} holds {text_of(file.attrs['kind'])}, not potentials; name the recording itself")
    if "parent" in file and "trials" not in file:
        raise FileError(f"{path} holds the tree of a cell and no trial; name a file of recordings")
    if version is None:
        raise FileError(f"{path} is no recording; name a file that `simulate`, `predict` or `import` made")
    if version != FORMAT_VERSION:
        raise FileError(
            f"{path} is of format {version!s:.20}, this dendrotwin reads recordings of format {FORMAT_VERSION}; {AGAIN}"
        )
    parts = Part(Path(path), file)
    parts.attribute("tree_fingerprint")
    parts.group("tree")
    trials = parts.group("trials")
    if not trials.names():
        raise parts.error("holds no trial")
    try:
        for name in trials.names():
            trial = trials.group(name)
            _check_parts(trial)
            check_layout(trial.h5, per_ms(_record_dt_ms(trial.h5), f"record_dt_ms of {path}"))
    except InputError as error:
        raise FileError(f"{path} is damaged ({error}); {AGAIN}") from error


def _check_parts(trial: Part) -> None:
    """See that a trial has all that a recording needs, and name what it lacks."""
    trial.attribute("trial_id")
    if CURRENTS not in trial and trial.dataset("v").dtype == np.int16:
        for scale in SCALING:
            trial.attribute(scale, of="v")
    trial.dataset("spikes_ms")
    events = trial.group("events")
    events.dataset("input")
    events.dataset("time_ms" if "time_ms" in events else "indptr")
    if "injection" in trial:
        for name in ("compartment", "current_nA"):
            trial.group("injection").dataset(name)
