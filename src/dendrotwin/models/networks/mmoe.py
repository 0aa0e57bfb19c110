"""Multi-gate mixture of experts (MMoE): several experts, and for each task a gate that mixes them.

Ma, Zhao, Yi, Chen, Hong and Chi 2018 (doi:10.1145/3219819.3220007); on a neuron Verhellen et al. 2024
(doi:10.1371/journal.pcbi.1011728).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import nn

from dendrotwin.cell.tree import Tree
from dendrotwin.models.base import Architecture, Batch, BinnedEvents
from dendrotwin.models.networks.diversity import expert_diversity
from dendrotwin.models.networks.expert_network import ExpertNetwork
from dendrotwin.models.networks.experts import MOST_UNITS, PAPER, Channels, ExpertConfig
from dendrotwin.models.networks.task_heads import apply_sliding

GATE_SCALE = 0.2  # small logits: no expert is out of the game at the start, however strong the input


class MMoEConfig(ExpertConfig):
    """Sizes of the network: those of `ExpertConfig`, and the mixture's."""

    channels: Channels = (64, 64, 64, 64)
    """Of each residual block of an expert, as in `ExpertConfig`; smaller, as there are several."""
    experts: int = Field(default=4, ge=2, le=MOST_UNITS)
    """How many experts, 2 to 16; one more, of the same size, is the input of the gates."""


class MMoE(ExpertNetwork):
    """Experts, a softmax gate for each task that depends on the input, and a tower for each task on its mixture."""

    def __init__(self, tree: Tree, config: MMoEConfig, autoregressive: bool) -> None:
        super().__init__(tree, config, config.experts + 1, autoregressive)
        self.n_experts = config.experts
        self.gate = nn.Linear(config.channels[-1] * config.tower_ms, config.experts * (tree.n + 1))
        with torch.no_grad():
            self.gate.weight *= GATE_SCALE

    def apply_heads(self, recent: torch.Tensor) -> torch.Tensor:
        """See `ExpertNetwork`; the last of the experts is the input of the gates."""
        outputs: torch.Tensor = self.heads(recent[:, :-1], self._gates(recent))
        return outputs

    def _gates(self, recent: torch.Tensor) -> torch.Tensor:
        """(batch, experts + 1, time, channels * tower_ms) to the experts' weights (batch, time, experts, tasks)."""
        return torch.softmax(self._gate_logits(recent[:, -1]), 2)

    def _gate_logits(self, recent: torch.Tensor) -> torch.Tensor:
        """(batch, time, channels * tower_ms) to (batch, time, experts, tasks)."""
        logits: torch.Tensor = self.gate(recent).unflatten(2, (self.n_experts, -1))
        return logits

    def gates(self, events: BinnedEvents, past: torch.Tensor | None = None) -> torch.Tensor:
        """Weight of each expert for each task.

        Args:
            events: of context + time steps.
            past: (batch, n, context + time) z-scored potentials at the start of each step, where they are seen.

        Returns:
            (batch, time, experts, tasks) weights, which sum to 1 over the experts.
        """
        return apply_sliding(self._gates, self.experts(events, past)[0], self.config.tower_ms)

    def expert_outputs(self, events: BinnedEvents, past: torch.Tensor | None = None) -> torch.Tensor:
        """What the experts say, such as for their diversity.

        Args:
            events: of context + time steps.
            past: (batch, n, context + time) z-scored potentials at the start of each step, where they are seen.

        Returns:
            (batch, experts, channels, tower_ms - 1 + time) outputs, without those of the gates' input.
        """
        outputs: torch.Tensor = self.experts(events, past)[0][:, :-1]
        return outputs

    @torch.no_grad()
    def diagnose(self, batch: Batch) -> dict[str, Any]:
        """See `Trainable`: how far apart the experts are on the first window."""
        self.eval()
        outputs = self.expert_outputs(batch.events, self._windows(batch)[1])
        return expert_diversity(outputs[0].flatten(1).float().cpu().numpy())


ARCHITECTURE = Architecture("mmoe", MMoEConfig, MMoE, {"paper": {**PAPER, "experts": 2, "tower": 5}})
