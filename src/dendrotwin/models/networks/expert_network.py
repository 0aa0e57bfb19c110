"""What hard sharing and the mixtures of experts have in common: experts, towers, and what is made of their outputs."""

from __future__ import annotations

import torch
from torch import nn

from dendrotwin.cell.tree import Tree
from dendrotwin.models.networks.experts import ExpertConfig, Experts
from dendrotwin.models.networks.task_heads import Readout, Towers, in_pieces


class ExpertNetwork(nn.Module):
    """Experts on the input, and a tower for every compartment and one for the output spikes on what they say."""

    def __init__(self, tree: Tree, config: ExpertConfig, experts: int, history: bool) -> None:
        """Args: the cell, the sizes, how many experts, and whether past potentials are seen."""
        super().__init__()
        self.tower_ms = config.tower_ms
        self.experts = Experts(tree, config, experts, history)
        self.towers = Towers(tree.n + 1, config.channels[-1], config)
        self.readout = Readout(tree.n, tree.soma, history, self.experts.features)
        if history:  # begin at persistence
            self.towers.silence()
            self.readout.silence()
        self.context = self.experts.context + config.tower_ms - 1

    def forward(
        self, events: torch.Tensor, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """See `models.Network`."""
        outputs, synaptic = self.experts(events, past)
        y = in_pieces(self.tasks, outputs, self.tower_ms)
        return *self.readout(y, past, synaptic), None

    def tasks(self, seen: torch.Tensor) -> torch.Tensor:
        """Recent outputs of the experts (batch, experts, time, channels * tower_ms) to tasks (batch, time, n + 1)."""
        raise NotImplementedError
