"""The trials of a data set: where each of them is, how it was made, and how many are held out from training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording import DEFAULT_RECORD_DT_MS, SETTLE_MS, Recording, RecordingFile, per_ms
from dendrotwin.recording.checks import no_such_file
from dendrotwin.recording.one_simulation import OneSimulation
from dendrotwin.support.hdf5 import damage_as_file_error

SPLIT_FILE = "split.json"  # in the folder of a data set: how many of its trials are held out


def recording_files(path: str | Path) -> list[Path]:
    """The recordings of a data set: the file itself, or every `*.h5` in the folder, by name.

    Args:
        path: the file or the folder.

    Raises:
        FileError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise no_such_file(path, "`dendrotwin simulate` makes a data set")
    files = sorted(path.glob("*.h5"))
    if not files:
        raise FileError(f"{path} holds no recording (*.h5); `dendrotwin simulate` makes a data set")
    return files


@dataclass(frozen=True)
class TrialIndex:
    """Where a trial of a data set is.

    Attributes:
        path: the file.
        number: of the trial in the file.
        trial_id: which trial it is; see `trial_identity`.
        duration_ms: of the trial [ms].
        record_dt_ms: time from one sample to the next [ms].
    """

    path: Path
    number: int
    trial_id: str
    duration_ms: int
    record_dt_ms: float = DEFAULT_RECORD_DT_MS


def index_trials(path: str | Path) -> tuple[Tree, list[TrialIndex]]:
    """The cell and the trials of a data set, in the order of the files' names.

    Args:
        path: a file or a folder.

    Raises:
        FileError: no recording, a damaged one, or recordings of different cells or simulations.
    """
    tree: Tree | None = None
    fingerprint = ""
    trials = []
    files = recording_files(path)
    simulation = OneSimulation(Path(path))
    for file_path in files:
        with RecordingFile(file_path) as file:
            if tree is None:
                tree, fingerprint = file.tree(), file.fingerprint
            elif file.fingerprint != fingerprint:
                raise FileError(
                    f"{file_path} is a recording of another cell than its neighbours; keep one cell in a directory"
                )
            simulation.check(file_path, file.attributes)
            trials += [
                TrialIndex(file_path, i, file.trial_id(i), file.duration_ms(i), file.record_dt_ms(i))
                for i in range(len(file))
            ]
    assert tree is not None
    return tree, trials


def trials_of_cell(path: str | Path, tree: Tree, of: str) -> list[TrialIndex]:
    """The trials of a data set, which must be of one cell.

    Args:
        path: a file or a folder.
        tree: the cell.
        of: whose it is, for the error, such as "the twin's".

    Raises:
        FileError: see `index_trials`, or they are of another cell.
    """
    found, trials = index_trials(path)
    if found.fingerprint() != tree.fingerprint():
        raise FileError(f"{path} holds recordings of another cell than {of}; use recordings of one cell")
    return trials


def check_each_ms(trials: Iterable[TrialIndex]) -> None:
    """See that trials have one sample each ms, which training and evaluation go by.

    Args:
        trials: the trials.

    Raises:
        InputError: one has more.
    """
    for trial in trials:
        if trial.record_dt_ms != DEFAULT_RECORD_DT_MS:
            raise InputError(
                f"{trial.path} is sampled every {trial.record_dt_ms:g} ms, training and evaluation take one sample "
                "each ms; simulate it again without --record-dt, which gives the same trials"
            )


def made_by(trial: TrialIndex) -> dict[str, Any]:
    """The configuration of the simulation that made a trial, {} for recordings that `simulate` did not make.

    Args:
        trial: the trial.

    Raises:
        FileError: it is damaged.
    """
    with RecordingFile(trial.path) as file, damage_as_file_error(trial.path):
        return dict(json.loads(file.attributes.get("simulation", "{}")))


class HeldOut(BaseModel):
    """How many trials of a data set are not for training, whatever its size."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    test: int = Field(ge=1)
    """Number of trials for the test, the first ones of the data set."""
    validation: int = Field(ge=1)
    """Number of trials for validation, those that follow the test."""


def read_held_out(path: str | Path) -> HeldOut | None:
    """What the split file in the folder of a data set says; None where there is no such file.

    Args:
        path: the folder.

    Raises:
        FileError: the file is damaged.
    """
    file = Path(path) / SPLIT_FILE
    if not file.is_file():
        return None
    try:
        return HeldOut.model_validate_json(file.read_bytes())
    except ValueError as error:
        raise FileError(f'{file} is damaged; it must read {{"test": 50, "validation": 30}}, or so') from error


def count_output_spikes(trial: TrialIndex) -> int:
    """Output spikes of a trial after SETTLE_MS.

    Args:
        trial: the trial; its potentials are not read.
    """
    with RecordingFile(trial.path) as file:
        return int((file.spikes_ms(trial.number) >= SETTLE_MS).sum())


def read_input(trial: TrialIndex) -> tuple[Events, Injection | None]:
    """The input of a trial, without its potentials.

    Args:
        trial: the trial.
    """
    with RecordingFile(trial.path) as file:
        return file.events(trial.number), file.injection(trial.number)


@dataclass(frozen=True)
class StoredPotentials:
    """Potentials (1, duration_ms, n) of a trial at the end of each ms, read as they are asked for: `stored[:, 3:5]`.

    Attributes:
        trial: the trial.
        n: compartments of the cell.
    """

    trial: TrialIndex
    n: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(1, duration_ms, n)."""
        return 1, self.trial.duration_ms, self.n

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.float32]:
        """(1, k, n) some milliseconds [mV].

        Args:
            part: all trials, and which milliseconds, without a step.

        Raises:
            FileError: they are damaged.
        """
        start, stop, _ = part[1].indices(self.trial.duration_ms)
        every = per_ms(self.trial.record_dt_ms, "record_dt_ms")
        with RecordingFile(self.trial.path) as file:
            return file.v(self.trial.number, start * every, stop * every)[None, every - 1 :: every]


def read_trial(trial: TrialIndex, tree: Tree) -> Recording:
    """One trial of a data set, read whole.

    Args:
        trial: the trial.
        tree: the cell, which `index_trials` gives.
    """
    with RecordingFile(trial.path) as file:
        return file.read(trial.number, tree)
