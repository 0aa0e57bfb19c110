"""Random windows out of recordings, balanced around output spikes."""

from __future__ import annotations

import numpy as np
import torch

from dendrotwin.errors import InputError
from dendrotwin.models.base import Batch, BinnedEvents, Trainable
from dendrotwin.recording import SETTLE_MS, RecordingFile, spike_train
from dendrotwin.recording.trials import TrialIndex


class Windows:
    """Random windows of the training trials.

    A share of them holds an output spike, at a random place; the rest lies anywhere after the start of the trial.
    The same `rng` state gives the same windows.

    Attributes:
        spikes: number of output spikes of all the trials.
    """

    def __init__(self, model: Trainable, trials: list[TrialIndex], window_ms: int, spike_share: float) -> None:
        """Read the events and spikes of the trials; potentials are read window by window.

        Args:
            model: what the windows are for: its cell, how much comes before a window, and whether it sees potentials.
            trials: of the training split.
            window_ms: length of a window [ms].
            spike_share: share of the windows that are placed around an output spike, 0..1.

        Raises:
            InputError: a trial is shorter than the window.
        """
        short = [trial for trial in trials if trial.duration_ms < window_ms]
        if short:
            raise InputError(
                f"{short[0].path} lasts {short[0].duration_ms} ms, a window {window_ms} ms; shorten it, or simulate "
                "longer trials"
            )
        self._tree, self._context = model.tree, model.context
        # Potentials at the start of a step are those of the one before.
        self._before = model.context + 1 if model.autoregressive else 0
        self._window, self._spike_share, self._trials = window_ms, spike_share, trials
        self._latest = np.array([trial.duration_ms for trial in trials]) - window_ms
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
        """A batch of windows, or the share of it that is a process's among several.

        Args:
            size: windows of all processes together.
            rng: decides where they lie.
            rank: number of this process.
            ranks: how many processes there are.

        Returns:
            The windows, with what comes before them.
        """
        events, potentials, spikes = [], [], []
        for trial, start in [self._draw_window(rng) for _ in range(size)][rank::ranks]:
            stop = start + self._window
            events.append((self._events[trial], start - self._context))
            with RecordingFile(self._trials[trial].path) as file:  # a data set has more files than may be open
                v = file.v(self._trials[trial].number, max(start - self._before, 0), stop)
            missing = self._window + self._before - len(v)
            rest = np.full((missing, self._tree.n), self._tree.v_init_mV, dtype=np.float32)
            potentials.append(np.concatenate([rest, v]))
            spikes.append(spike_train(self._spikes[trial], stop)[start:].astype(np.float32))
        return Batch(
            BinnedEvents.from_windows(events, self._tree.n_inputs, self._context + self._window),
            torch.from_numpy(np.stack(potentials)),
            torch.from_numpy(np.stack(spikes)),
        )

    def _draw_window(self, rng: np.random.Generator) -> tuple[int, int]:
        """Trial and first step of a window."""
        around_spike = rng.random() < self._spike_share and len(self._spike_at) > 0
        if around_spike:
            trial, spike = self._spike_at[int(rng.integers(len(self._spike_at)))]
        else:
            starts = self._latest - self._earliest + 1
            trial = int(rng.choice(len(starts), p=starts / starts.sum()))
        earliest, latest = int(self._earliest[trial]), int(self._latest[trial])
        if not around_spike:
            return trial, int(rng.integers(earliest, latest + 1))
        start = spike - int(rng.integers(self._window))
        return trial, int(np.clip(start, earliest, latest))
