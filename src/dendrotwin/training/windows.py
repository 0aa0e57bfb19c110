"""Random windows out of recordings, balanced around output spikes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import InputError
from dendrotwin.models.scaling import Scaling
from dendrotwin.recording import SETTLE_MS, RecordingFile, TrialIndex, spike_train


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
            events.append(self._events[trial].counts(self._tree.n_inputs, start - self._context, stop))
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
