"""What hard sharing and mixtures of experts have in common: experts, task heads, and what is made of their outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from dendrotwin.cell.tree import Tree
from dendrotwin.models.base import BinnedEvents
from dendrotwin.models.networks.experts import ExpertConfig, Experts
from dendrotwin.models.networks.network import Network
from dendrotwin.models.networks.ridge_init import start_from_linear
from dendrotwin.models.networks.task_heads import Readout, TaskHeads, in_pieces
from dendrotwin.models.scaling import Scaling
from dendrotwin.recording.trials import TrialIndex


class ExpertNetwork(Network):
    """Experts on the input, and a head for every compartment and one for the output spikes on what they say."""

    def __init__(self, tree: Tree, config: ExpertConfig, experts: int, autoregressive: bool) -> None:
        """Args: the cell, the sizes, how many experts, and whether past potentials are seen."""
        super().__init__(tree, autoregressive, 0)
        self.tower_ms = config.tower_ms
        self.experts = Experts(tree, config, experts, autoregressive)
        self.heads = TaskHeads(tree.n + 1, config.channels[-1], config)
        self.readout = Readout(tree.n, tree.soma, autoregressive, self.experts.features)
        if autoregressive:  # begin at persistence
            self.heads.silence()
            self.readout.silence()
        self.context = self.experts.context + config.tower_ms - 1

    def forward(
        self, events: BinnedEvents, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """See `Network`."""
        outputs, synaptic = self.experts(events, past)
        y = in_pieces(self.tasks, outputs, self.tower_ms)
        return *self.readout(y, past, synaptic), None

    def tasks(self, seen: torch.Tensor) -> torch.Tensor:
        """Recent outputs of the experts (batch, experts, time, channels * tower_ms) to tasks (batch, time, n + 1)."""
        raise NotImplementedError

    def linear_paths(self) -> list[nn.Parameter]:
        """What the ridge regression sets: weights of synapses, and of the paths past the experts."""
        if self.experts.synapses is None:
            return []
        paths = [part for part in (self.readout.direct, self.readout.past) if part is not None]
        return [*self.experts.synapses.weigh, *(p for part in paths for p in part.parameters())]

    def prepare(self, trials: Sequence[TrialIndex], scaling: Scaling) -> list[nn.Parameter]:
        """See `Trainable`: the linear paths start from a ridge regression."""
        super().prepare(trials, scaling)
        start_from_linear(self, trials)
        return self.linear_paths()
