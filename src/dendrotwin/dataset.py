"""Windows out of recordings: split by trial, scaled by the training split, balanced around output spikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dendrotwin.errors import FileError, InputError
from dendrotwin.measures import SETTLE_MS
from dendrotwin.recording import (
    SPLIT_FILE,
    RecordingFile,
    TrialIndex,
    check_each_ms,
    index_trials,
    read_held_out,
    spike_train,
)
from dendrotwin.tree import Events, Tree

MIN_SD_MV = 1e-3


@dataclass(frozen=True)
class Split:
    """The trials of a data set, each in one part only."""

    train: list[TrialIndex]
    validation: list[TrialIndex]
    test: list[TrialIndex]


def split_trials(
    path: Path, validation: float = 0.1, test: float = 0.2, train_trials: int | None = None
) -> tuple[Tree, Split]:
    """Split a data set by trial: the first ones test, then validation, the rest training.

    Where the data set has a `split.json`, that says which trials are held out, by the number that `simulate` gave
    them: trials may still be missing behind them, or come later, and none changes its part.

    Args:
        path: the data set.
        validation, test: share of the trials, at least one each; not looked at where there is a `split.json`.
        train_trials: use only so many training trials, the first ones; None means all.

    Returns:
        The cell, and the split.

    Raises:
        FileError: see `recording.index_trials` and `recording.read_held_out`.
        InputError: too few or too short trials, finer samples than each ms, injected current, or the shares leave none
            for training.
    """
    if not (0 < validation < 1 and 0 < test < 1):
        raise InputError(f"the shares of validation ({validation}) and test ({test}) must lie between 0 and 1")
    tree, trials = index_trials(path)
    check_each_ms(trials)
    held_out = read_held_out(path)
    by_number = {}
    for position, trial in enumerate(trials):
        if trial.steps <= SETTLE_MS:
            raise InputError(
                f"{trial.path} lasts {trial.steps} ms, the first {SETTLE_MS} do not count; simulate longer ones"
            )
        with RecordingFile(trial.path) as file:
            injection = file.injection(trial.number)
            by_number[position if held_out is None else _number(file)] = trial
        if injection is not None and np.any(injection.current_nA):
            raise InputError(f"{trial.path} has injected current, which training does not use; use trials without it")
    trials = [by_number[number] for number in sorted(by_number)]
    if held_out is None:
        n_test, n_validation = (max(1, round(share * len(trials))) for share in (test, validation))
        if n_test + n_validation >= len(trials):
            raise InputError(
                f"{path} holds {len(trials)} trials; with {n_validation} for validation and {n_test} for test none is "
                "left for training: simulate more, or lower the shares"
            )
    else:
        n_test, n_validation = held_out.test, held_out.validation
        missing = set(range(n_test + n_validation)) - by_number.keys()
        if missing or n_test + n_validation >= len(trials):
            raise InputError(
                f"{path} holds {len(trials)} trials; {SPLIT_FILE} keeps the first {n_test + n_validation} for test and "
                f"validation, of which {len(missing)} are missing, and the rest for training: simulate more"
            )
    train = trials[n_test + n_validation :]
    if train_trials is not None and not 1 <= train_trials <= len(train):
        raise InputError(
            f"{path} has {len(train)} training trials, {train_trials} are asked for; ask for fewer, or simulate more"
        )
    return tree, Split(train[:train_trials], trials[n_test : n_test + n_validation], trials[:n_test])


def _number(file: RecordingFile) -> int:
    """The number of a shard's trial in its data set."""
    if "trial" not in file.attributes:
        raise FileError(f"{file.path} was not made by `simulate`, and {SPLIT_FILE} cannot place it; keep it elsewhere")
    return int(file.attributes["trial"])


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation (n,) of each compartment's potential over the training split [mV]."""

    mean_mV: torch.Tensor
    sd_mV: torch.Tensor

    def normalise(self, v_mV: torch.Tensor) -> torch.Tensor:
        """mV to z-scores, (..., n)."""
        return (v_mV - self.mean_mV) / self.sd_mV

    def restore(self, z: torch.Tensor) -> torch.Tensor:
        """z-scores to mV, (..., n)."""
        return z * self.sd_mV + self.mean_mV


def measure_scaling(trials: list[TrialIndex]) -> Scaling:
    """The scaling of these (training) trials, without their first SETTLE_MS where they are longer."""
    count = 0
    total = squares = shift = np.zeros(0)
    for trial in trials:
        with RecordingFile(trial.path) as file:
            v = file.v(trial.number, SETTLE_MS if trial.steps > SETTLE_MS else 0).astype(np.float64)
        if count == 0:
            shift = v.mean(axis=0)  # sums of squares of small numbers lose fewer digits
            total, squares = np.zeros_like(shift), np.zeros_like(shift)
        count, total, squares = count + len(v), total + (v - shift).sum(0), squares + ((v - shift) ** 2).sum(0)
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, MIN_SD_MV**2))
    return Scaling(*(torch.as_tensor(a, dtype=torch.float32) for a in (mean + shift, sd)))


def event_counts(events: Events, n_inputs: int, start: int, stop: int) -> NDArray[np.float32]:
    """Number of events (n_inputs, stop - start) in each 1 ms step; steps before 0 are silent."""
    counts = np.zeros((n_inputs, stop - start), dtype=np.float32)
    first, last = np.searchsorted(events.time_ms, [start, stop])
    np.add.at(counts, (events.input[first:last], events.bins()[first:last] - start), 1.0)
    return counts


class Batch:
    """Windows for a training step.

    No dataclass: in mixed precision Fabric would round the tensors of one, the true potentials with them.

    Attributes:
        events: (batch, n_inputs, context + window) event counts; the first `context` steps come before the window.
        past: (batch, n, context + window) z-scored potentials at the start of each of these steps, or None.
        z: (batch, window, n) z-scored potentials at the end of each step of the window.
        spikes: (batch, window) 1 where an output spike is.
    """

    def __init__(self, events: torch.Tensor, past: torch.Tensor | None, z: torch.Tensor, spikes: torch.Tensor) -> None:
        self.events, self.past, self.z, self.spikes = events, past, z, spikes

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The batch with every tensor changed."""
        past = None if self.past is None else change(self.past)
        return Batch(change(self.events), past, change(self.z), change(self.spikes))

    def part(self, windows: slice) -> Batch:
        """Some of its windows."""
        return self.map(lambda tensor: tensor[windows])


class Windows:
    """Random windows of the training trials.

    A share of them holds an output spike, at a random place; the rest lies anywhere after the start of the trial.
    The same `rng` state gives the same windows.

    Attributes:
        spikes: number of output spikes of all the trials.
    """

    def __init__(
        self,
        tree: Tree,
        trials: list[TrialIndex],
        scaling: Scaling,
        context: int,
        window: int,
        spike_share: float,
        past: bool = False,
    ) -> None:
        """Read the events and spikes of the trials; potentials are read window by window.

        Args:
            tree: the cell.
            trials: of the training split.
            scaling: of the training split.
            context: steps of input that come before a window.
            window: length of a window [ms].
            spike_share: share of the windows that are placed around an output spike, 0..1.
            past: whether a batch holds past potentials too.

        Raises:
            InputError: a trial is shorter than the window.
        """
        short = [trial for trial in trials if trial.steps < window]
        if short:
            raise InputError(
                f"{short[0].path} lasts {short[0].steps} ms, a window {window} ms; shorten it or simulate longer"
            )
        self._tree, self._scaling = tree, scaling
        self._context, self._window, self._spike_share = context, window, spike_share
        self._trials, self._past = trials, past
        self._latest = np.array([trial.steps for trial in trials]) - window
        self._earliest = np.minimum(SETTLE_MS, self._latest)
        self._events, self._spikes = [], []
        for trial in trials:
            with RecordingFile(trial.path) as file:
                self._events.append(file.events(trial.number))
                self._spikes.append(file.spikes_ms(trial.number))
        self._spike_at = [
            (trial, int(time)) for trial, times in enumerate(self._spikes) for time in times if time >= SETTLE_MS
        ]
        self.spikes = len(self._spike_at)

    def draw(self, size: int, rng: np.random.Generator, rank: int = 0, ranks: int = 1) -> Batch:
        """A batch of `size` windows, or the share of it that is the rank's among several processes."""
        events, potentials, spikes = [], [], []
        before = self._context + 1 if self._past else 0  # potentials at the start of a step are those of the one before
        for trial, start in [self._place(rng) for _ in range(size)][rank::ranks]:
            stop = start + self._window
            events.append(event_counts(self._events[trial], self._tree.n_inputs, start - self._context, stop))
            with RecordingFile(self._trials[trial].path) as file:  # a data set has more files than may be open
                v = file.v(self._trials[trial].number, max(start - before, 0), stop)
            rest = np.full((self._window + before - len(v), self._tree.n), self._tree.v_init_mV, dtype=np.float32)
            potentials.append(np.concatenate([rest, v]))
            spikes.append(spike_train(self._spikes[trial], stop)[start:].astype(np.float32))
        z = self._scaling.normalise(torch.from_numpy(np.stack(potentials)))
        past = z[:, :-1].transpose(1, 2) if self._past else None
        return Batch(torch.from_numpy(np.stack(events)), past, z[:, before:], torch.from_numpy(np.stack(spikes)))

    def _place(self, rng: np.random.Generator) -> tuple[int, int]:
        around_spike = rng.random() < self._spike_share and len(self._spike_at) > 0
        if around_spike:
            trial, at = self._spike_at[int(rng.integers(len(self._spike_at)))]
        else:
            places = self._latest - self._earliest + 1
            trial = int(rng.choice(len(places), p=places / places.sum()))
        earliest, latest = int(self._earliest[trial]), int(self._latest[trial])
        if not around_spike:
            return trial, int(rng.integers(earliest, latest + 1))
        start = at - int(rng.integers(self._window))
        return trial, int(np.clip(start, earliest, latest))
