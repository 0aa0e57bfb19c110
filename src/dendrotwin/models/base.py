"""What every model of a cell offers, so that training, prediction and evaluation need to know no architecture.

Outside a model potentials are in mV and events are sparse; inside, each architecture scales and bins them as it needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import nn

from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.models.scaling import Scaling
from dendrotwin.recording.trials import TrialIndex

Piece = tuple[NDArray[np.float32], NDArray[np.float32]]  # V (trials, k, n) [mV] and logits (trials, k)
State = tuple[Mapping[str, Any], Mapping[str, torch.Tensor]]  # what JSON can hold, and tensors by name
CHUNK_MS = 1000  # of a trial that a network evaluates at once: memory does not grow with the trial


class Potentials(Protocol):
    """Potentials (trials, steps, n) [mV], an array or what can be cut like one: `true_mV[:, 3:5]`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(trials, steps, n)."""

    def __getitem__(self, part: tuple[slice, slice], /) -> NDArray[Any]: ...


class BinnedEvents:
    """Events of several windows, counted in steps of 1 ms; only steps and inputs with events are kept.

    No dataclass: in mixed precision Fabric would round the tensors of one.

    Attributes:
        shape: windows, inputs and steps.
        step: (k,) window * steps + step in it, rising.
        input: (k,) the input, rising within a step.
        count: (k,) how many events there are.
    """

    def __init__(
        self, shape: tuple[int, int, int], step: torch.Tensor, input: torch.Tensor, count: torch.Tensor
    ) -> None:
        """Args: see the class."""
        self.shape, self.step, self.input, self.count = shape, step, input, count

    @classmethod
    def from_windows(cls, windows: Sequence[tuple[Events, int]], n_inputs: int, steps: int) -> BinnedEvents:
        """Count the events of some windows.

        Args:
            windows: events of a trial, and the step of it at which the window starts; before 0 it is silent.
            n_inputs: inputs of the cell.
            steps: length of all windows [ms].
        """
        places = []
        for window, (events, start) in enumerate(windows):
            first, last = np.searchsorted(events.time_ms, [start, start + steps])
            step = window * steps + events.bins()[first:last].astype(np.int64) - start
            places.append(step * n_inputs + events.input[first:last])
        place, count = np.unique(np.concatenate(places), return_counts=True)
        step, channel = np.divmod(place, n_inputs)
        parts = (torch.from_numpy(part) for part in (step, channel, count.astype(np.float32)))
        return cls((len(windows), n_inputs, steps), *parts)

    def counts(self) -> torch.Tensor:
        """(windows, inputs, steps) number of events."""
        steps = self.shape[2]
        dense = self.count.new_zeros(self.shape)
        dense[self.step // steps, self.input, self.step % steps] = self.count
        return dense

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> BinnedEvents:
        """The same with a function applied to every tensor, such as one that moves it to a GPU.

        Args:
            function: of a tensor (k,), to one of the same shape.
        """
        return BinnedEvents(self.shape, function(self.step), function(self.input), function(self.count))

    def part(self, windows: slice) -> BinnedEvents:
        """Some of the windows.

        Args:
            windows: which, with a step of 1.
        """
        start, stop, _ = windows.indices(self.shape[0])
        steps = self.shape[2]
        limits = torch.tensor([start, stop], device=self.step.device) * steps
        first, last = torch.searchsorted(self.step, limits).tolist()
        chosen = slice(first, last)
        shape = (stop - start, *self.shape[1:])
        return BinnedEvents(shape, self.step[chosen] - start * steps, self.input[chosen], self.count[chosen])


class Batch:
    """Windows for a training step.

    No dataclass: in mixed precision Fabric would round the tensors of one, the true potentials with them.

    Attributes:
        events: input of the model's `context` steps before each window, and of the window.
        v_mV: (batch, window, n) potentials at the end of each step [mV]; for an autoregressive model also those of the
            `context` + 1 steps before.
        spikes: (batch, window) 1 where an output spike is.
    """

    def __init__(self, events: BinnedEvents, v_mV: torch.Tensor, spikes: torch.Tensor) -> None:
        """Args: see the class."""
        self.events, self.v_mV, self.spikes = events, v_mV, spikes

    def __len__(self) -> int:
        return len(self.spikes)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The same with a function applied to every tensor, such as one that moves it to a GPU.

        Args:
            function: of a tensor (batch, ...), to one of the same shape.
        """
        return Batch(self.events.map(function), function(self.v_mV), function(self.spikes))

    def part(self, windows: slice) -> Batch:
        """Some of its windows.

        Args:
            windows: which, with a step of 1.
        """
        return Batch(self.events.part(windows), self.v_mV[windows], self.spikes[windows])


class Losses(NamedTuple):
    """The errors of a model on a batch.

    Attributes:
        tasks: (n + 1,) mean squared error of each compartment's potential, in its variances over the training trials;
            then the mean cross-entropy of the output spikes.
        residual: (batch, window, n) predicted minus true potential, in the same standard deviations.
    """

    tasks: torch.Tensor
    residual: torch.Tensor


class Model(nn.Module, ABC):
    """A model of a cell: input events in, the potential of every compartment and the output spikes out.

    Attributes:
        tree: the cell.
        autoregressive: whether it also sees potentials of earlier steps: the true ones, one step ahead (teacher
            forcing), or its own, free-running.
    """

    tree: Tree
    autoregressive: bool = False

    @abstractmethod
    def pieces(
        self,
        events: Sequence[Events],
        duration_ms: int,
        true_mV: Potentials | None = None,
        injections: Sequence[Injection | None] | None = None,
        chunk_ms: int = CHUNK_MS,
    ) -> Iterator[Piece]:
        """Whole trials from rest, as one batch, piece by piece of their time.

        Args:
            events: of each trial.
            duration_ms: of all trials [ms].
            true_mV: (trials, steps, n) true potentials [mV], for an autoregressive model one step ahead.
            injections: current injected in each trial.
            chunk_ms: how much is evaluated at once [ms], where the model works in chunks; results are the same.

        Yields:
            V (trials, k, n) [mV], and the logit of an output spike in each step (trials, k), of the next k steps.

        Raises:
            InputError: current is injected into a model that cannot take it.
        """

    def predict(
        self,
        events: Sequence[Events],
        duration_ms: int,
        true_mV: Potentials | None = None,
        injections: Sequence[Injection | None] | None = None,
        chunk_ms: int = CHUNK_MS,
    ) -> Piece:
        """All of `pieces`.

        Args:
            events: of each trial.
            duration_ms, chunk_ms: see `pieces` [ms].
            true_mV: (trials, steps, n), see `pieces` [mV].
            injections: see `pieces`.

        Returns:
            V (trials, steps, n) [mV], and the logit of an output spike in each step (trials, steps).

        Raises:
            InputError: see `pieces`.
        """
        v = np.empty((len(events), duration_ms, self.tree.n), np.float32)
        logit = np.empty(v.shape[:2], np.float32)
        done = 0
        for v_now, logit_now in self.pieces(events, duration_ms, true_mV, injections, chunk_ms):
            now = slice(done, done + v_now.shape[1])
            v[:, now], logit[:, now] = v_now, logit_now
            done = now.stop
        return v, logit

    def state(self) -> State:
        """What a file keeps of it, beside the cell and the configuration.

        Returns:
            What JSON can hold, and tensors (...,) of any shape by name.
        """
        return {}, self.state_dict()

    @classmethod
    @abstractmethod
    def restore(cls, tree: Tree, config: Any, autoregressive: bool, state: State) -> Model:
        """The inverse of `state`.

        Args:
            tree: the cell.
            config: an instance of the architecture's configuration class.
            autoregressive: see the class.
            state: what `state` gave; tensors (...,) of any shape by name.

        Returns:
            The model.

        Raises:
            TwinError: a tensor is missing, unknown, or of another shape.
        """


class Trainable(Model):
    """A model that learns from recordings.

    Attributes:
        context: steps of input before a window that `loss` needs.
    """

    context: int

    @classmethod
    @abstractmethod
    def untrained(cls, tree: Tree, config: Any, autoregressive: bool) -> Trainable:
        """A new model, as it is before its first training step.

        Args:
            tree: the cell.
            config: its sizes, an instance of the architecture's configuration class.
            autoregressive: see `Model`.

        Raises:
            InputError: the sizes do not fit the cell.
        """

    @classmethod
    def count_activations(cls, tree: Tree, config: Any, autoregressive: bool) -> int:
        """How many numbers a training step keeps of each millisecond of a window at least, until its gradient is known.

        Args:
            tree: the cell.
            config: the sizes.
            autoregressive: whether past potentials are seen.

        Returns:
            Their number; that of the outputs where an architecture does not say.
        """
        return tree.n + 1

    @abstractmethod
    def prepare(self, trials: Sequence[TrialIndex], scaling: Scaling) -> list[nn.Parameter]:
        """What is done once before the first step of a training.

        Args:
            trials: of the training split.
            scaling: of the training split.

        Returns:
            Parameters that hold a solution already, and are to learn more slowly.
        """

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """How wrong it is on a batch; gradients flow through the result.

        Args:
            batch: windows, with the true potentials before them for an autoregressive model.
        """

    def diagnose(self, batch: Batch) -> dict[str, Any]:
        """What else there is to know of it in each round of a training, such as how far its experts are apart.

        Args:
            batch: a window of a validation trial.

        Returns:
            What JSON can hold; nothing where there is nothing to say.
        """
        return {}


@dataclass(frozen=True)
class Architecture:
    """A kind of model. A file that defines one is all that a new one takes.

    Attributes:
        name: what users call it.
        config: configuration class of its sizes.
        model: its class.
        presets: named sets of options.
    """

    name: str
    config: type[BaseModel]
    model: type[Model]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
