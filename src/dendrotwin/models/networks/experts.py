"""Experts: causal temporal convolutional networks on the synaptic input, any number of them as one batched operation.

Bai, Kolter and Koltun 2018 (arXiv:1803.01271) for the network; Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728)
for experts on a neuron. No layer pads: the input is preceded by its history once, so that every output sees the true
input of its whole history, and a pass over a long trial equals evaluation window by window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from dendrotwin.cell.tree import Tree
from dendrotwin.models.base import BinnedEvents
from dendrotwin.solver.tree_solver import mean_time_course

TYPICAL_HZ = 5.0
BLOCK_MS = 64
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"gelu": functional.gelu, "sigmoid": torch.sigmoid}


def numbers(value: Any) -> Any:
    """Sizes from a command line: "32,16,8"."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


Channels = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(numbers), Field(min_length=1)]


class ExpertConfig(BaseModel):
    """Sizes of experts and towers; the defaults were chosen on validation trials (docs/measurements/defaults.md).

    Attributes:
        synapse_ms: how long the response of a synapse is followed; 0 feeds bare events to the experts.
        features: mixtures of synaptic conductances that the experts get, and of past potentials where they are seen,
            32 to 256.
        channels: of each residual block of an expert; block b has dilation 2^b, so that they reach
            2 (kernel - 1) (2^blocks - 1) ms back.
        kernel: taps of each convolution, 2 to 10.
        activation: of the blocks, "gelu" or "sigmoid".
        dropout: share of the features dropped in training.
        tower: hidden units in each layer of each task's tower.
        tower_layers: hidden layers of a tower, 1 or 2.
        tower_ms: how much of the experts' recent output a tower sees.
        tower_linear: whether a tower has a linear path beside its hidden units.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    synapse_ms: int = Field(default=300, ge=0)
    features: int = Field(default=160, ge=1)
    channels: Channels = (128, 128, 128, 128)
    kernel: int = Field(default=3, ge=2)
    activation: Literal["gelu", "sigmoid"] = "gelu"
    dropout: float = Field(default=0.05, ge=0.0, lt=1.0)
    tower: int = Field(default=2, ge=1)
    tower_layers: Literal[1, 2] = 1
    tower_ms: int = Field(default=1, ge=1)
    tower_linear: bool = True


# Sizes of the paper's public configuration (https://github.com/Jonas-Verhellen/LFDeep, configs/ and the comments in
# temporal_convolution.py); the experts and units that differ between its files stand with each architecture.
PAPER = {
    "synapse_ms": 0,
    "channels": (32, 16, 8),
    "kernel": 10,
    "activation": "sigmoid",
    "dropout": 0.2,
    "tower": 10,
    "tower_layers": 2,
    "tower_ms": 100,
    "tower_linear": False,
}


class Synapses(nn.Module):
    """Events to features, through the known time course of the synapses' conductances.

    For each conductance (AMPA, NMDA, GABA_A) the events of the inputs that open it are summed with learned weights into
    `features` features, which are then convolved with its dual exponential, averaged over each step, and added up over
    the conductances. The weights are learned, the time courses are not.
    """

    place: torch.Tensor
    course: torch.Tensor
    bands: torch.Tensor

    def __init__(self, tree: Tree, features: int, synapse_ms: int) -> None:
        super().__init__()
        self.shorter = synapse_ms - 1
        kinds = [(kind, g) for kind, synapse in enumerate(tree.synapses) for g in synapse.conductances]
        # The inputs that do not open a conductance have no weight in it: `place` is their row there, -1 for none.
        members = [np.flatnonzero(tree.input_synapse == kind) for kind, _ in kinds]
        place = np.full((len(kinds), tree.n_inputs), -1)
        for row, opened in zip(place, members, strict=True):
            row[opened] = np.arange(len(opened))
        self.register_buffer("place", torch.from_numpy(place), persistent=False)
        self.weigh = nn.ParameterList(
            (2.0 * torch.rand(len(opened), features) - 1.0) / math.sqrt(len(opened)) for opened in members
        )
        courses = torch.stack([torch.from_numpy(mean_time_course(g, synapse_ms)).float() for _, g in kinds])
        # Scaled so that inputs at TYPICAL_HZ make features of variance 1, without which learning is slow.
        courses /= courses.norm(dim=1, keepdim=True) * math.sqrt(TYPICAL_HZ / 1000.0)
        self.register_buffer("course", courses, persistent=False)
        # A piece of input to BLOCK_MS outputs, (synapse_ms - 1 + BLOCK_MS, BLOCK_MS), for each conductance: as products
        # with these the convolution is several times faster than as one with a long kernel.
        lag = self.shorter + torch.arange(BLOCK_MS) - torch.arange(self.shorter + BLOCK_MS)[:, None]
        inside = (lag >= 0) & (lag < synapse_ms)
        self.register_buffer("bands", courses[:, lag.clamp(0, self.shorter)] * inside, persistent=False)

    def forward(self, events: BinnedEvents) -> torch.Tensor:
        """Events of time steps to features (batch, features, time - shorter)."""
        features: torch.Tensor = sum(self._convolved(events, list(self.weigh)), start=torch.zeros(()))
        return features

    def conductances(self, events: BinnedEvents) -> torch.Tensor:
        """Events of time steps to every input's own conductances (batch, conductances, time - shorter).

        In the order of the rows of `weigh`: features are linear in them with these weights.
        """
        return torch.cat([*self._convolved(events, [torch.eye(len(w), device=w.device) for w in self.weigh])], 1)

    def _convolved(self, events: BinnedEvents, weights: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """For each conductance the events, summed with weights (inputs, features), as features in time."""
        batch, _, time = events.shape
        wanted = time - self.shorter
        length = self.shorter + -(-wanted // BLOCK_MS) * BLOCK_MS
        # Most of the input is silent, and only what is not costs time.
        step = events.step // time * length + events.step % time
        for weigh, place, band in zip(weights, self.place, self.bands, strict=True):
            row = place[events.input]
            opens = row >= 0
            starts = torch.searchsorted(step[opens], torch.arange(batch * length, device=step.device))
            arriving = functional.embedding_bag(
                row[opens], weigh, starts, mode="sum", per_sample_weights=events.count[opens].to(weigh.dtype)
            ).view(batch, length, -1)
            pieces = arriving.unfold(1, self.shorter + BLOCK_MS, BLOCK_MS) @ band
            yield pieces.transpose(1, 2).flatten(2)[..., :wanted]


class _Block(nn.Module):
    """Two dilated convolutions in each expert, added to what came in; shortens its input by 2 (kernel - 1) dilation."""

    def __init__(self, experts: int, shared: bool, inputs: int, channels: int, dilation: int, c: ExpertConfig) -> None:
        """Args: whether all experts get the same input, its channels (per expert where not), and what it becomes."""
        super().__init__()
        groups = 1 if shared else experts
        inputs = inputs if shared else experts * inputs
        self.shorter = 2 * (c.kernel - 1) * dilation
        self.first = weight_norm(nn.Conv1d(inputs, experts * channels, c.kernel, dilation=dilation, groups=groups))
        self.second = weight_norm(
            nn.Conv1d(experts * channels, experts * channels, c.kernel, dilation=dilation, groups=experts)
        )
        same = not shared and inputs == experts * channels
        self.fit = nn.Identity() if same else nn.Conv1d(inputs, experts * channels, 1, groups=groups)
        self.activation = ACTIVATIONS[c.activation]
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, time) to (batch, experts * channels, time - shorter)."""
        change = self.dropout(self.activation(self.first(x)))
        change = self.dropout(self.activation(self.second(change)))
        out: torch.Tensor = self.fit(x[..., self.shorter :]) + change
        return out


class Experts(nn.Module):
    """Several experts on the same input, evaluated together by grouped convolutions.

    Attributes:
        context: steps of input before the first output that it depends on.
        reach: how many of them the experts proper look at, behind the synapses; past potentials are seen that far.
    """

    def __init__(self, tree: Tree, config: ExpertConfig, experts: int, autoregressive: bool) -> None:
        """Args: the cell, the sizes, how many experts, and whether they see past potentials too."""
        super().__init__()
        self.experts = experts
        self.synapses = Synapses(tree, config.features, config.synapse_ms) if config.synapse_ms else None
        self.features = config.features if config.synapse_ms else 0
        self.past = nn.Conv1d(tree.n, config.features, 1) if autoregressive else None
        blocks, inputs = [], (self.features or tree.n_inputs) + (config.features if autoregressive else 0)
        for b, channels in enumerate(config.channels):
            blocks.append(_Block(experts, b == 0, inputs, channels, 2**b, config))
            inputs = channels
        self.blocks = nn.ModuleList(blocks)
        self.reach = sum(block.shorter for block in blocks)
        self.context = self.reach + max(config.synapse_ms - 1, 0)

    def forward(self, events: BinnedEvents, past: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the experts make of the input, and the synapses' features.

        Args:
            events: of context + time steps.
            past: (batch, n, context + time) z-scored potentials at the start of each step, where they are seen.

        Returns:
            (batch, experts, channels, time), and (batch, features, reach + time), None without known time courses.
        """
        # (batch, features, reach + time): which synapses are open, and what the potentials were.
        synaptic = None if self.synapses is None else self.synapses(events)
        x = events.counts() if synaptic is None else synaptic
        if self.past is not None and past is not None:
            x = torch.cat([x, self.past(past[..., past.shape[-1] - x.shape[-1] :])], 1)
        for block in self.blocks:
            x = block(x)
        return x.unflatten(1, (self.experts, -1)), synaptic
