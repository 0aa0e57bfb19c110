"""Multi-gate mixture of exclusive experts (MMoEEx): experts that only some tasks may use.

Aoki, Tung and Oliveira 2021 (arXiv:2012.11202); on a neuron Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728).
The second ingredient of that paper, the two-step update that balances tasks, is a way of training any architecture
(`training.config.Training.meta_rate`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from dendrotwin.cell.tree import Tree
from dendrotwin.models.base import Architecture
from dendrotwin.models.networks.experts import PAPER
from dendrotwin.models.networks.mmoe import MMoE, MMoEConfig


class MMoEExConfig(MMoEConfig):
    """Sizes of the network: those of `MMoEConfig`, and which experts are exclusive."""

    rule: Literal["exclusivity", "exclusion"] = "exclusivity"
    """Exclusivity: an exclusive expert serves one group of tasks; exclusion: all groups but one."""
    probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability that an expert is exclusive, 0 to 1."""
    groups: Literal["task", "region"] = "region"
    """What a group is: one task (a compartment, or the spikes), or a region (all its compartments; or the spikes)."""
    exclusive_seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the draw of exclusive experts."""


def draw_mask(config: MMoEExConfig, groups: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which expert each task may use.

    Each expert is exclusive with the configured probability, to a group of tasks drawn at random, or excludes it. A
    task that no expert would be left for gets one back, of those drawn last.

    Args:
        config: the rule, the probability, the number of experts and the seed.
        groups: (tasks,) number of each task's group.

    Returns:
        (experts, tasks), True where allowed; every task is allowed at least one expert.
    """
    rng = np.random.default_rng(config.exclusive_seed)
    mask = np.ones((config.experts, len(groups)), dtype=bool)
    for allowed in mask:
        if rng.random() < config.probability:
            chosen = groups == rng.choice(np.unique(groups))
            allowed[:] = chosen if config.rule == "exclusivity" else ~chosen
    mask[-1, ~mask.any(0)] = True
    return mask


class MMoEEx(MMoE):
    """MMoE whose gates are closed, before the softmax, where an expert is not for a task.

    Attributes:
        mask: (experts, tasks) True where an expert may serve a task.
    """

    mask: torch.Tensor

    def __init__(self, tree: Tree, config: MMoEExConfig, autoregressive: bool) -> None:
        super().__init__(tree, config, autoregressive)
        spikes = int(tree.region.max()) + 1
        groups = np.append(tree.region, spikes) if config.groups == "region" else np.arange(tree.n + 1)
        self.register_buffer("mask", torch.from_numpy(draw_mask(config, groups)))

    def _gate_logits(self, recent: torch.Tensor) -> torch.Tensor:
        return super()._gate_logits(recent).masked_fill(~self.mask, -torch.inf)


ARCHITECTURE = Architecture(
    "mmoeex", MMoEExConfig, MMoEEx, {"paper": {**PAPER, "experts": 5, "tower": 10, "groups": "task"}}
)
