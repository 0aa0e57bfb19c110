"""Windows out of recordings: split by trial, scaled by the training split, balanced around output spikes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dendrotwin.errors import InputError
from dendrotwin.measures import SETTLE_MS
from dendrotwin.recording import RecordingFile, TrialIndex, index_trials
from dendrotwin.tree import Events, Tree

MIN_SD_MV = 1e-3


@dataclass(frozen=True)
class Split:
    """The trials of a data set, each in one part only."""

    train: list[TrialIndex]
    validation: list[TrialIndex]
    test: list[TrialIndex]


def split_trials(path: Path, validation: float = 0.1, test: float = 0.2) -> tuple[Tree, Split]:
    """Split a data set by trial: first training, then validation, the last ones test.

    Args:
        path: the data set.
        validation, test: share of the trials, at least one each.

    Returns:
        The cell, and the split.

    Raises:
        FileError: see `recording.index_trials`.
        InputError: too few or too short trials, injected current, or the shares leave none for training.
    """
    if not (0 < validation < 1 and 0 < test < 1):
        raise InputError(f"the shares of validation ({validation}) and test ({test}) must lie between 0 and 1")
    tree, trials = index_trials(path)
    for trial in trials:
        if trial.steps <= SETTLE_MS:
            raise InputError(
                f"{trial.path} lasts {trial.steps} ms, the first {SETTLE_MS} do not count; simulate longer ones"
            )
        with RecordingFile(trial.path) as file:
            injection = file.injection(trial.number)
        if injection is not None and np.any(injection.current_nA):
            raise InputError(f"{trial.path} has injected current, which the networks do not see; use trials without it")
    n_test, n_validation = (max(1, round(share * len(trials))) for share in (test, validation))
    n_train = len(trials) - n_test - n_validation
    if n_train < 1:
        raise InputError(
            f"{path} holds {len(trials)} trials; with {n_validation} for validation and {n_test} for test none is left "
            "for training: simulate more, or lower the shares"
        )
    return tree, Split(trials[:n_train], trials[n_train : n_train + n_validation], trials[n_train + n_validation :])


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
    np.add.at(counts, (events.input[first:last], events.time_ms[first:last] - start), 1.0)
    return counts


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows for a training step.

    Attributes:
        events: (batch, n_inputs, history + window) event counts; the first `history` steps come before the window.
        z: (batch, window, n) z-scored potentials.
        spikes: (batch, window) 1 where an output spike is.
    """

    events: torch.Tensor
    z: torch.Tensor
    spikes: torch.Tensor


class Windows:
    """Random windows of the training trials.

    A share of them holds an output spike, at a random place; the rest lies anywhere after the start of the trial.
    The same `rng` state gives the same windows.
    """

    def __init__(
        self, tree: Tree, trials: list[TrialIndex], scaling: Scaling, history: int, window: int, spike_share: float
    ) -> None:
        """Read the events and spikes of the trials; potentials are read window by window.

        Args:
            tree: the cell.
            trials: of the training split.
            scaling: of the training split.
            history: steps of input that come before a window.
            window: length of a window [ms].
            spike_share: share of the windows that are placed around an output spike, 0..1.

        Raises:
            InputError: a trial is shorter than the window.
        """
        short = [trial for trial in trials if trial.steps < window]
        if short:
            raise InputError(
                f"{short[0].path} lasts {short[0].steps} ms, a window {window} ms; shorten it or simulate longer"
            )
        self._tree, self._scaling = tree, scaling
        self._history, self._window, self._spike_share = history, window, spike_share
        self._trials = trials
        self._steps = np.array([trial.steps for trial in trials])
        self._events, self._spikes = [], []
        for trial in trials:
            with RecordingFile(trial.path) as file:
                self._events.append(file.events(trial.number))
                self._spikes.append(file.spikes_ms(trial.number))
        self._spike_at = [
            (trial, int(time)) for trial, times in enumerate(self._spikes) for time in times if time >= SETTLE_MS
        ]

    def draw(self, size: int, rng: np.random.Generator) -> Batch:
        """A batch of `size` windows."""
        events, potentials, spikes = [], [], []
        for _ in range(size):
            trial, start = self._place(rng)
            stop = start + self._window
            events.append(event_counts(self._events[trial], self._tree.n_inputs, start - self._history, stop))
            with RecordingFile(self._trials[trial].path) as file:  # a data set has more files than may be open
                potentials.append(file.v(self._trials[trial].number, start, stop))
            train = np.zeros(self._window, dtype=np.float32)
            bins = np.floor(self._spikes[trial]).astype(int) - start
            train[bins[(bins >= 0) & (bins < self._window)]] = 1.0
            spikes.append(train)
        z = self._scaling.normalise(torch.from_numpy(np.stack(potentials)))
        return Batch(torch.from_numpy(np.stack(events)), z, torch.from_numpy(np.stack(spikes)))

    def _place(self, rng: np.random.Generator) -> tuple[int, int]:
        around_spike = rng.random() < self._spike_share and len(self._spike_at) > 0
        if around_spike:
            trial, at = self._spike_at[int(rng.integers(len(self._spike_at)))]
        else:
            trial = int(rng.choice(len(self._steps), p=self._steps / self._steps.sum()))
        earliest = min(SETTLE_MS, int(self._steps[trial]) - self._window)
        latest = int(self._steps[trial]) - self._window
        if not around_spike:
            return trial, int(rng.integers(earliest, latest + 1))
        start = at - int(rng.integers(self._window))
        return trial, int(np.clip(start, earliest, latest))
