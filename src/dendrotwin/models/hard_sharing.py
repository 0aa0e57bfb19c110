"""Hard parameter sharing: one causal temporal convolutional network, and a tower on it for every compartment.

Caruana 1997 (doi:10.1023/A:1007379606734) for the sharing, Bai, Kolter and Koltun 2018 (arXiv:1803.01271) for the
network, Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728) for both on a neuron.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from dendrotwin.solve import mean_time_course
from dendrotwin.tree import Tree

TYPICAL_HZ = 5.0


class HardSharingConfig(BaseModel):
    """Sizes of the network.

    Attributes:
        channels: features that all tasks share, 32 to 256.
        synapse_ms: how long the response of a synapse is followed; 0 feeds bare events to the network.
        kernel: taps of each convolution, 2 to 10.
        blocks: residual blocks; block b has dilation 2^b, so they reach (kernel - 1)(2^blocks - 1) ms back.
        tower: hidden units of each task's tower.
        dropout: share of the features dropped in training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    channels: int = Field(default=96, ge=1)
    synapse_ms: int = Field(default=300, ge=0)
    kernel: int = Field(default=3, ge=2)
    blocks: int = Field(default=5, ge=1)
    tower: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.15, ge=0.0, lt=1.0)


class _Entrance(nn.Module):
    """Events to features, through the known time course of the synapses' conductances.

    For each conductance (AMPA, NMDA, GABA_A) the events of the inputs that open it are summed with learned weights into
    `channels` features, which are then convolved with its dual exponential, averaged over each step. The weights are
    learned, the time courses are not. All features are mixed to `channels`.
    """

    kernel: torch.Tensor

    def __init__(self, tree: Tree, channels: int, synapse_ms: int) -> None:
        super().__init__()
        self.shorter = synapse_ms - 1
        kinds = [(kind, g) for kind, synapse in enumerate(tree.synapses) for g in synapse.conductances]
        self._members = [torch.from_numpy(np.flatnonzero(tree.input_synapse == kind)) for kind, _ in kinds]
        self.weigh = nn.ModuleList(nn.Conv1d(len(members), channels, 1, bias=False) for members in self._members)
        courses = torch.stack([torch.from_numpy(mean_time_course(g, synapse_ms)).float() for _, g in kinds])
        # Scaled so that inputs at TYPICAL_HZ make features of variance 1, without which learning is slow.
        courses /= courses.norm(dim=1, keepdim=True) * math.sqrt(TYPICAL_HZ / 1000.0)
        # Newest last, as a convolution wants it: (conductances * channels, 1, synapse_ms).
        kernel = courses.flip(1).repeat_interleave(channels, 0)[:, None]
        self.register_buffer("kernel", kernel, persistent=False)
        self.mix = nn.Conv1d(len(kinds) * channels, channels, 1)

    def forward(self, events: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs, time) to (batch, channels, time - shorter)."""
        weighed = [weigh(events[:, members]) for weigh, members in zip(self.weigh, self._members, strict=True)]
        features = torch.cat(weighed, 1)
        mixed: torch.Tensor = self.mix(functional.conv1d(features, self.kernel, groups=features.shape[1]))
        return mixed


class _Block(nn.Module):
    """A dilated convolution and a mixing of channels, added to what came in.

    The convolution pads nothing: a block shortens its input by (kernel - 1) dilation steps. So every output sees the
    true input of its whole history, and evaluation over a long trial equals evaluation window by window.
    """

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.shorter = (kernel - 1) * dilation
        self.convolve = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, time) to (batch, channels, time - shorter)."""
        change: torch.Tensor = self.mix(self.dropout(functional.gelu(self.convolve(x))))
        return x[..., self.shorter :] + change


class HardSharing(nn.Module):
    """One shared network s, and for every compartment a tower: V_i = w_i . s + u_i . gelu(W_i s + b_i) + c_i.

    The towers of all compartments are one batched operation. The spikes' logit is a calibrated
    reading of the soma's potential.
    """

    def __init__(self, tree: Tree, config: HardSharingConfig) -> None:
        super().__init__()
        self.soma = tree.soma
        n, channels, hidden = tree.n, config.channels, config.tower
        self.history = max(config.synapse_ms - 1, 0) + (config.kernel - 1) * (2**config.blocks - 1)
        if config.synapse_ms > 0:
            self.enter: nn.Module = _Entrance(tree, channels, config.synapse_ms)
        else:
            self.enter = nn.Conv1d(tree.n_inputs, channels, 1)
        self.blocks = nn.ModuleList(_Block(channels, config.kernel, 2**b, config.dropout) for b in range(config.blocks))
        self.tower_linear = nn.Linear(channels, n)
        self.tower_in = nn.Parameter(torch.randn(n, hidden, channels) / math.sqrt(channels))
        self.tower_bias = nn.Parameter(torch.zeros(n, hidden))
        self.tower_out = nn.Parameter(torch.randn(n, hidden) / math.sqrt(hidden))
        self.dropout = nn.Dropout(config.dropout)
        # A tower of its own on the shared features learns the training spikes by heart (docs/measurements.md).
        self.spike_gain = nn.Parameter(torch.tensor(2.0))
        self.spike_offset = nn.Parameter(torch.tensor(-6.0))

    def forward(self, events: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Potentials and spike logits.

        Args:
            events: (batch, n_inputs, history + time) event counts.

        Returns:
            z-scored potentials (batch, time, n), and spike logits (batch, time).
        """
        # (batch, channels, time and the blocks' share of the history): which synapses are open.
        shared = self.enter(events)
        # (batch, channels, time): what they amount to over the history.
        for block in self.blocks:
            shared = block(shared)
        shared = self.dropout(shared.transpose(1, 2))
        # (batch, time, n, hidden) -> (batch, time, n): each compartment's own reading of it.
        hidden = functional.gelu(torch.einsum("btc,nhc->btnh", shared, self.tower_in) + self.tower_bias)
        z = torch.einsum("btnh,nh->btn", hidden, self.tower_out) + self.tower_linear(shared)
        # (batch, time): output spikes are what the soma's potential does; their task must not bend it.
        return z, self.spike_gain * z[..., self.soma].detach() + self.spike_offset
