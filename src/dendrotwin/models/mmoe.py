"""Multi-gate mixture of experts (MMoE): several experts, and for each task a gate that mixes them.

Ma, Zhao, Yi, Chen, Hong and Chi 2018 (doi:10.1145/3219819.3220007); on a neuron Verhellen et al. 2024
(doi:10.1371/journal.pcbi.1011728).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from dendrotwin.models.experts import PAPER, Channels, ExpertConfig, Experts
from dendrotwin.models.towers import Readout, Towers, recent
from dendrotwin.tree import Tree


class MMoEConfig(ExpertConfig):
    """Sizes of the network: those of `ExpertConfig`, and the mixture's.

    Attributes:
        experts: how many, 2 to 16; one more, of the same size, is the input of the gates.
    """

    channels: Channels = (32, 32, 32, 32)
    experts: int = Field(default=4, ge=2)


PRESETS = {"paper": {**PAPER, "experts": 2, "tower": 5}}


class MMoE(nn.Module):
    """Experts, a softmax gate for each task that depends on the input, and a tower for each task on its mixture."""

    def __init__(self, tree: Tree, config: MMoEConfig, history: bool) -> None:
        super().__init__()
        self.n_experts, tasks = config.experts, tree.n + 1
        self.experts = Experts(tree, config, config.experts + 1, history)
        self.gate = nn.Linear(config.channels[-1] * config.tower_ms, config.experts * tasks)
        self.towers = Towers(tasks, config.channels[-1], config)
        self.readout = Readout(tree.n, tree.soma, history)
        self.history = self.experts.history + self.towers.shorter

    def forward(
        self, events: torch.Tensor, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """See `models.Network`."""
        # (batch, experts + 1, channels, tower_ms - 1 + time)
        outputs = self.experts(events, past)
        gates = self._gates(outputs[:, -1])
        return *self.readout(self.towers(outputs[:, :-1], gates), past), None

    def _gates(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, tower_ms - 1 + time) to the weight of each expert, (batch, time, experts, tasks)."""
        return torch.softmax(self._gate_logits(x), 2)

    def _gate_logits(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.gate(recent(x, self.towers.steps)).unflatten(2, (self.n_experts, -1))
        return logits

    def gates(self, events: torch.Tensor, past: torch.Tensor | None = None) -> torch.Tensor:
        """Weight of each expert for each task, (batch, time, experts, tasks); sums to 1 over the experts."""
        return self._gates(self.experts(events, past)[:, -1])

    def expert_outputs(self, events: torch.Tensor, past: torch.Tensor | None = None) -> torch.Tensor:
        """What the experts say, (batch, experts, channels, tower_ms - 1 + time), such as for their diversity."""
        outputs: torch.Tensor = self.experts(events, past)[:, :-1]
        return outputs
