"""Experts: causal temporal convolutional networks on the synaptic input, any number of them as one batched operation.

Bai, Kolter and Koltun 2018 (arXiv:1803.01271) for the network; Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728)
for experts on a neuron. No layer pads: the input is preceded by its context once, so that every output sees the true
input of its context, and a pass over a long trial equals evaluation window by window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from dendrotwin.cell.tree import Tree
from dendrotwin.models.base import BinnedEvents
from dendrotwin.solver.conductances import mean_time_course

TYPICAL_HZ = 5.0  # a cortical rate; it only sets the scale of the initial features
BLOCK_MS = 64  # outputs of one matrix product: longer ones waste work on overlaps, shorter ones on calls
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"gelu": functional.gelu, "sigmoid": torch.sigmoid}


def split_commas(value: Any) -> Any:
    """Sizes as they come from a command line.

    Args:
        value: a text such as "32,16,8", or anything else.

    Returns:
        The parts of the text, which pydantic makes numbers of; anything else as it is.
    """
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


MOST_UNITS = 2**16  # of any layer, and of any other number of parts
LONGEST_MS = 20_000  # that a network looks back: no cell remembers longer, and all of it is in memory at once
Count = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Channels = Annotated[tuple[Count, ...], BeforeValidator(split_commas), Field(min_length=1, max_length=16)]


class ExpertConfig(BaseModel):
    """Sizes of experts and towers; the defaults were chosen on validation trials (docs/measurements/defaults.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    synapse_ms: int = Field(default=300, ge=0, le=LONGEST_MS)
    """How long the response of a synapse is followed [ms]; 0 feeds bare events to the experts."""
    features: Count = 160
    """Mixtures of synaptic conductances that experts get, and of past potentials where they are seen; 32 to 256."""
    channels: Channels = (128, 128, 128, 128)
    """Of each residual block of an expert; block b has dilation 2^b, so that they see 2 (kernel - 1) (2^blocks - 1) ms
    back."""
    kernel: int = Field(default=3, ge=2, le=LONGEST_MS)
    """Taps of each convolution, 2 to 10."""
    activation: Literal["gelu", "sigmoid"] = "gelu"
    """Nonlinearity of the blocks: gelu or sigmoid."""
    dropout: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of the features dropped in training."""
    tower: Count = 2
    """Hidden units in each layer of each task's tower."""
    tower_layers: Literal[1, 2] = 1
    """Hidden layers of a tower, 1 or 2."""
    tower_ms: int = Field(default=1, ge=1, le=LONGEST_MS)
    """How much of the experts' recent output a tower sees [ms]."""
    tower_linear: bool = True
    """Whether a tower has a linear path beside its hidden units."""
    ridge_trials: Count = 60
    """Training trials of the ridge regression that training starts from; reading 60 takes half a minute."""
    ridge_every_ms: int = Field(default=5, ge=1, le=LONGEST_MS)
    """Distance between the samples of that regression [ms]; neighbouring milliseconds say nearly the same."""
    ridge_penalty: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    """Penalty of that regression, relative to the mean square of the conductances."""

    @model_validator(mode="after")
    def _looks_back(self) -> Self:
        back = 2 * (self.kernel - 1) * (2 ** len(self.channels) - 1) + self.synapse_ms + self.tower_ms
        if back > LONGEST_MS:
            raise ValueError(f"the network would look {back} ms back, at most {LONGEST_MS} can be")
        return self


# Sizes of the paper's public configuration (https://github.com/Jonas-Verhellen/LFDeep, configs/ and the comments in
# temporal_convolution.py); numbers of experts and units, which differ between its files, are with each architecture.
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

    Attributes:
        weights: for each conductance (inputs that open it, features), learned.
        weight_row: (conductances, inputs) row of each input in `weights`, -1 where it does not open the conductance.
        time_course: (conductances, synapse_ms) response to an event, so scaled that inputs at TYPICAL_HZ make features
            of variance 1.
        toeplitz: (conductances, context + BLOCK_MS, BLOCK_MS) the convolution with it, as a matrix.
        context: steps of input before the first output, synapse_ms - 1.
    """

    weight_row: torch.Tensor
    time_course: torch.Tensor
    toeplitz: torch.Tensor

    def __init__(self, tree: Tree, features: int, synapse_ms: int) -> None:
        """Start with random weights.

        Args:
            tree: the cell.
            features: how many there are.
            synapse_ms: how long the response of a synapse is followed [ms], 1 or more.
        """
        super().__init__()
        self.context = synapse_ms - 1
        conductances = [(synapse, g) for synapse, model in enumerate(tree.synapses) for g in model.conductances]
        opening = [np.flatnonzero(tree.input_synapse == synapse) for synapse, _ in conductances]
        weight_row = np.full((len(conductances), tree.n_inputs), -1)
        for row, inputs in zip(weight_row, opening, strict=True):
            row[inputs] = np.arange(len(inputs))
        self.register_buffer("weight_row", torch.from_numpy(weight_row), persistent=False)
        self.weights = nn.ParameterList(
            (2.0 * torch.rand(len(inputs), features) - 1.0) / math.sqrt(len(inputs)) for inputs in opening
        )
        courses = torch.stack([torch.from_numpy(mean_time_course(g, synapse_ms)).float() for _, g in conductances])
        # Features of variance 1, without which learning is slow.
        courses /= courses.norm(dim=1, keepdim=True) * math.sqrt(TYPICAL_HZ / 1000.0)
        self.register_buffer("time_course", courses, persistent=False)
        # As products with a Toeplitz matrix, BLOCK_MS outputs each, the convolution is several times faster than as one
        # with a long kernel.
        lag = self.context + torch.arange(BLOCK_MS) - torch.arange(self.context + BLOCK_MS)[:, None]
        inside = (lag >= 0) & (lag < synapse_ms)
        self.register_buffer("toeplitz", courses[:, lag.clamp(0, self.context)] * inside, persistent=False)

    def forward(self, events: BinnedEvents) -> torch.Tensor:
        """What the experts get of the synapses.

        Args:
            events: of context + time steps.

        Returns:
            (batch, features, time) features.
        """
        features: torch.Tensor = sum(self._convolved(events, list(self.weights)), start=torch.zeros(()))
        return features

    def conductances(self, events: BinnedEvents) -> torch.Tensor:
        """Every input's own conductances; features are linear in them, with `weights`.

        Args:
            events: of context + time steps.

        Returns:
            (batch, conductances of all inputs, time), in the order of the rows of `weights`, scaled as `time_course`.
        """
        return torch.cat([*self._convolved(events, [torch.eye(len(w), device=w.device) for w in self.weights])], 1)

    def _convolved(self, events: BinnedEvents, weights: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """For each conductance the events, summed with weights (inputs, features), as features in time."""
        batch, _, time = events.shape
        wanted = time - self.context
        length = self.context + -(-wanted // BLOCK_MS) * BLOCK_MS
        # Most of the input is silent, and only what is not costs time.
        step = events.step // time * length + events.step % time
        for weight, weight_row, toeplitz in zip(weights, self.weight_row, self.toeplitz, strict=True):
            row = weight_row[events.input]
            opens = row >= 0
            starts = torch.searchsorted(step[opens], torch.arange(batch * length, device=step.device))
            arriving = functional.embedding_bag(
                row[opens], weight, starts, mode="sum", per_sample_weights=events.count[opens].to(weight.dtype)
            ).view(batch, length, -1)
            pieces = arriving.unfold(1, self.context + BLOCK_MS, BLOCK_MS) @ toeplitz
            yield pieces.transpose(1, 2).flatten(2)[..., :wanted]


class _Block(nn.Module):
    """Two dilated convolutions in each expert, added to what came in; `context` is 2 (kernel - 1) dilation."""

    def __init__(self, experts: int, shared: bool, inputs: int, channels: int, dilation: int, c: ExpertConfig) -> None:
        """A block of all experts.

        Args:
            experts: how many there are.
            shared: whether all experts get the same input.
            inputs: channels of the input; of each expert's where it is not shared.
            channels: of each expert's output.
            dilation: distance of the taps [ms].
            c: kernel, activation and dropout.
        """
        super().__init__()
        groups = 1 if shared else experts
        inputs = inputs if shared else experts * inputs
        self.context = 2 * (c.kernel - 1) * dilation
        self.first = weight_norm(nn.Conv1d(inputs, experts * channels, c.kernel, dilation=dilation, groups=groups))
        self.second = weight_norm(
            nn.Conv1d(experts * channels, experts * channels, c.kernel, dilation=dilation, groups=experts)
        )
        same = not shared and inputs == experts * channels
        self.shortcut = nn.Identity() if same else nn.Conv1d(inputs, experts * channels, 1, groups=groups)
        self.activation = ACTIVATIONS[c.activation]
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, context + time) to (batch, experts * channels, time)."""
        change = self.dropout(self.activation(self.first(x)))
        change = self.dropout(self.activation(self.second(change)))
        out: torch.Tensor = self.shortcut(x[..., self.context :]) + change
        return out


class Experts(nn.Module):
    """Several experts on the same input, evaluated together by grouped convolutions.

    Attributes:
        n_experts: how many there are.
        features: of the synapses; 0 where experts get bare events.
        context: steps of input before the first output that it depends on.
        conv_context: those of them that the convolutions see, after the synapses; past potentials are seen as far back.
    """

    def __init__(self, tree: Tree, config: ExpertConfig, n_experts: int, autoregressive: bool) -> None:
        """Start with random weights.

        Args:
            tree: the cell.
            config: the sizes.
            n_experts: how many experts.
            autoregressive: whether they see past potentials too.
        """
        super().__init__()
        self.n_experts = n_experts
        self.synapses = Synapses(tree, config.features, config.synapse_ms) if config.synapse_ms else None
        self.features = config.features if config.synapse_ms else 0
        self.past_features = nn.Conv1d(tree.n, config.features, 1) if autoregressive else None
        blocks, inputs = [], (self.features or tree.n_inputs) + (config.features if autoregressive else 0)
        for b, channels in enumerate(config.channels):
            blocks.append(_Block(n_experts, b == 0, inputs, channels, 2**b, config))
            inputs = channels
        self.blocks = nn.ModuleList(blocks)
        self.conv_context = sum(block.context for block in blocks)
        self.context = self.conv_context + max(config.synapse_ms - 1, 0)

    def forward(self, events: BinnedEvents, past: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the experts make of the input, and the synapses' features.

        Args:
            events: of context + time steps.
            past: (batch, n, context + time) z-scored potentials at the start of each step, where they are seen.

        Returns:
            (batch, experts, channels, time), and (batch, features, conv_context + time), None where experts get bare
            events.
        """
        # (batch, features, conv_context + time): which synapses are open, and what the potentials were.
        synaptic = None if self.synapses is None else self.synapses(events)
        x = events.counts() if synaptic is None else synaptic
        if self.past_features is not None and past is not None:
            x = torch.cat([x, self.past_features(past[..., past.shape[-1] - x.shape[-1] :])], 1)
        for block in self.blocks:
            x = block(x)
        return x.unflatten(1, (self.n_experts, -1)), synaptic
