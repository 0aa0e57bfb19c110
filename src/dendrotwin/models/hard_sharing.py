"""Hard parameter sharing: one expert that all tasks share, and a tower on it for each of them.

Caruana 1997 (doi:10.1023/A:1007379606734); on a neuron Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728).
"""

from __future__ import annotations

import torch
from torch import nn

from dendrotwin.models.experts import PAPER, ExpertConfig, Experts
from dendrotwin.models.towers import Readout, Towers, in_pieces
from dendrotwin.tree import Tree


class HardSharingConfig(ExpertConfig):
    """Sizes of the network: those of its one expert, and of the towers."""


PRESETS = {"paper": PAPER}


class HardSharing(nn.Module):
    """One shared network, a tower for every compartment and one for the output spikes."""

    def __init__(self, tree: Tree, config: HardSharingConfig, history: bool) -> None:
        super().__init__()
        self.tower_ms = config.tower_ms
        self.experts = Experts(tree, config, 1, history)
        self.towers = Towers(tree.n + 1, config.channels[-1], config)
        self.readout = Readout(tree.n, tree.soma, history)
        self.history = self.experts.history + config.tower_ms - 1

    def forward(
        self, events: torch.Tensor, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """See `models.Network`."""
        y = in_pieces(self.towers, self.experts(events, past), self.tower_ms)
        return *self.readout(y, past), None
