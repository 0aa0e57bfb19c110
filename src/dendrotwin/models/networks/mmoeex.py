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
    """Sizes of the network: those of `MMoEConfig`, and which experts are exclusive.

    Attributes:
        kind: "exclusivity": an exclusive expert serves one task; "exclusion": all tasks but one.
        probability: that an expert is exclusive, 0 to 1.
        of: what counts as one task there: "task", each compartment and the spikes, or "region", all compartments of a
            region together, and the spikes.
        exclusive_seed: of the draw.
    """

    kind: Literal["exclusivity", "exclusion"] = "exclusivity"
    probability: float = Field(default=0.5, ge=0.0, le=1.0)
    of: Literal["task", "region"] = "region"
    exclusive_seed: int = Field(default=0, ge=0)


def draw_mask(config: MMoEExConfig, groups: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which expert each task may use.

    Each expert is exclusive with the configured probability, to a group of tasks drawn at random, or excludes it. A
    task that no expert would be left for gets one back, of those drawn last.

    Args:
        config: the kind, the probability, the number of experts and the seed.
        groups: (tasks,) what counts as one task.

    Returns:
        (experts, tasks), True where allowed; every task is allowed at least one expert.
    """
    rng = np.random.default_rng(config.exclusive_seed)
    mask = np.ones((config.experts, len(groups)), dtype=bool)
    for allowed in mask:
        if rng.random() < config.probability:
            chosen = groups == rng.choice(np.unique(groups))
            allowed[:] = chosen if config.kind == "exclusivity" else ~chosen
    mask[-1, ~mask.any(0)] = True
    return mask


class MMoEEx(MMoE):
    """MMoE whose gates are closed, before the softmax, where an expert is not for a task."""

    mask: torch.Tensor

    def __init__(self, tree: Tree, config: MMoEExConfig, autoregressive: bool) -> None:
        super().__init__(tree, config, autoregressive)
        spikes = int(tree.region.max()) + 1
        groups = np.append(tree.region, spikes) if config.of == "region" else np.arange(tree.n + 1)
        self.register_buffer("mask", torch.from_numpy(draw_mask(config, groups)))

    def _gate_logits(self, seen: torch.Tensor) -> torch.Tensor:
        return super()._gate_logits(seen).masked_fill(~self.mask, -torch.inf)


ARCHITECTURE = Architecture(
    "mmoeex", MMoEExConfig, MMoEEx, {"paper": {**PAPER, "experts": 5, "tower": 10, "of": "task"}}
)
