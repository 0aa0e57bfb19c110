"""Hard parameter sharing: one expert that all tasks share, and a tower on it for each of them.

Caruana 1997 (doi:10.1023/A:1007379606734); on a neuron Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728).
"""

from __future__ import annotations

import torch

from dendrotwin.cell.tree import Tree
from dendrotwin.models.base import Architecture
from dendrotwin.models.networks.expert_network import ExpertNetwork
from dendrotwin.models.networks.experts import PAPER, ExpertConfig


class HardSharingConfig(ExpertConfig):
    """Sizes of the network: those of its one expert, and of the towers."""


class HardSharing(ExpertNetwork):
    """One shared network, a head for every compartment and one for the output spikes."""

    def __init__(self, tree: Tree, config: HardSharingConfig, autoregressive: bool) -> None:
        super().__init__(tree, config, 1, autoregressive)

    def tasks(self, seen: torch.Tensor) -> torch.Tensor:
        """See `ExpertNetwork`."""
        outputs: torch.Tensor = self.heads(seen)
        return outputs


ARCHITECTURE = Architecture("hard-sharing", HardSharingConfig, HardSharing, {"paper": PAPER})
