"""How trials are written: their potentials piece by piece, so that memory does not grow with their duration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording.checks import (
    CHECKSUMS,
    CHUNK_STEPS,
    DEFAULT_RECORD_DT_MS,
    FORMAT_VERSION,
    SCALING,
    checksums,
    per_ms,
    to_int16,
    write_array,
)
from dendrotwin.recording.tree_file import write_tree
from dendrotwin.support.disk import NewFile, whole_hdf5
from dendrotwin.support.hdf5 import WRITTEN_AS, text_attribute, write_attributes

if TYPE_CHECKING:
    from dendrotwin.recording import Recording

BLOCK_SAMPLES = 32 * CHUNK_STEPS  # of the potentials that are rounded and written at a time
Outcome = tuple[NDArray[np.float64], NDArray[np.float32] | None]


@dataclass(frozen=True, eq=False)
class RecordingStream:
    """A trial whose potentials come piece by piece, once; `write_recordings` writes it as it writes a `Recording`.

    Attributes:
        tree, events, trial_id, injection: see `Recording`.
        samples: of the potentials, in all pieces.
        pieces: (k, n) the next k samples of the membrane potential of every compartment [mV].
        outcome: after the last piece, the times of the output spikes (s,) [ms], and a twin's probability of one in each
            step (steps,), or None.
        record_dt_ms: time from one sample to the next [ms].
    """

    tree: Tree
    events: Events
    trial_id: str
    injection: Injection | None
    samples: int
    pieces: Iterator[NDArray[Any]]
    outcome: Callable[[], Outcome]
    record_dt_ms: float = DEFAULT_RECORD_DT_MS


def write_recordings(
    path: str | Path,
    recordings: Iterable[Recording | RecordingStream],
    attributes: dict[str, Any],
    *,
    compress: bool = False,
    as_float: bool = False,
) -> None:
    """Write trials of one cell to one HDF5 file, under a temporary name until it is whole.

    Args:
        path: the file; replaced if it exists.
        recordings: the trials, taken one after the other.
        attributes: what made them (cell, configuration, seeds, versions), stored as the file's attributes.
        compress: gzip and shuffle, for publishing; reading windows of it is slower.
        as_float: store potentials as they are, in float32; without, in steps of SCALE_MV.

    Raises:
        FileError: a potential cannot be stored (see `to_int16`), the trials are of different cells, or the disk is
            full.
        InputError: a record_dt_ms does not divide 1 ms, or the samples are no whole number of ms.
    """
    options = {"compression": "gzip", "shuffle": True} if compress else {}
    with whole_hdf5(path, libver=WRITTEN_AS) as file:
        tree = None
        for index, recording in enumerate(recordings):
            trial = recording if isinstance(recording, RecordingStream) else recording.stream()
            if tree is None:
                tree = trial.tree
                write_tree(file.create_group("tree"), tree)
            elif trial.tree is not tree and trial.tree.fingerprint() != tree.fingerprint():
                raise FileError(f"trial {trial.trial_id} is of another cell; write one file for each cell")
            group = file.create_group(f"trials/{index:06d}")
            _write_trial(file, group, trial, as_float, options)
        if tree is None:
            raise FileError(f"there is no trial to write to {path}")
        write_attributes(file, {**attributes, "tree_fingerprint": tree.fingerprint(), "format_version": FORMAT_VERSION})


def _write_trial(
    file: NewFile, group: h5py.Group, trial: RecordingStream, as_float: bool, options: dict[str, Any]
) -> None:
    """A trial, in a group of an open file."""
    samples_per_ms = per_ms(trial.record_dt_ms, "record_dt_ms")
    if trial.samples % samples_per_ms:
        raise InputError(
            f"trial {trial.trial_id} has {trial.samples} samples, one every {trial.record_dt_ms:g} ms, which is no "
            "whole number of ms; cut them to whole ones"
        )
    group.attrs["trial_id"] = text_attribute(trial.trial_id)
    group.attrs["record_dt_ms"] = trial.record_dt_ms
    shape, found, done = (trial.samples, trial.tree.n), [], 0
    chunks = (min(CHUNK_STEPS, trial.samples), trial.tree.n)
    stored_as = np.float32 if as_float else np.int16
    dataset = group.create_dataset("v", shape, stored_as, chunks=chunks, **options)
    for block in _blocks(trial.pieces):
        stored = np.asarray(block, np.float32) if as_float else to_int16(block, trial.trial_id, done)
        dataset[done : done + len(stored)] = stored
        found.append(checksums(stored, CHUNK_STEPS))
        done += len(stored)
        file.flush()
        file.check_room()
    dataset.attrs[CHECKSUMS] = np.concatenate(found)
    dataset.attrs.update({**({} if as_float else SCALING), "units": text_attribute("mV")})
    spikes_ms, probability = trial.outcome()
    write_array(group, "spikes_ms", spikes_ms)
    # Events by step: those of step t are input[indptr[t]:indptr[t + 1]].
    first = np.searchsorted(trial.events.time_ms, np.arange(trial.samples // samples_per_ms + 1))
    write_array(group, "events/indptr", first)
    write_array(group, "events/input", trial.events.input)
    write_array(group, "events/time_ms", np.asarray(trial.events.time_ms, dtype=np.float64))
    if trial.injection is not None:
        write_array(group, "injection/compartment", trial.injection.compartment)
        write_array(group, "injection/current_nA", trial.injection.current_nA)
    if probability is not None:
        write_array(group, "spike_probability", probability)
    file.check_room()


def _blocks(pieces: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The same samples in blocks that end where stored chunks do, whatever the pieces."""
    left: NDArray[Any] | None = None
    for piece in pieces:
        left = piece if left is None or not len(left) else np.concatenate([left, piece])
        whole = len(left) - len(left) % CHUNK_STEPS
        for start in range(0, whole, BLOCK_SAMPLES):
            yield left[start : min(start + BLOCK_SAMPLES, whole)]
        left = left[whole:]
    if left is not None and len(left):
        yield left
