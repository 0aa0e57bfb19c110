"""What hard sharing and mixtures of experts have in common: experts, task heads, and what is made of their outputs.

The shape of Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from dendrotwin.cell.tree import Tree
from dendrotwin.models.base import BinnedEvents
from dendrotwin.models.networks.experts import ExpertConfig, Experts
from dendrotwin.models.networks.network import Network
from dendrotwin.models.networks.ridge_init import start_from_linear
from dendrotwin.models.networks.task_heads import Readout, TaskHeads, apply_sliding
from dendrotwin.models.scaling import Scaling
from dendrotwin.recording.trials import TrialIndex


class ExpertNetwork(Network):
    """Experts on the input, and a head for every compartment and one for the output spikes on what they say.

    Attributes:
        config: the sizes.
        experts, heads, readout: the parts, in the order in which the input goes through them.
    """

    def __init__(self, tree: Tree, config: ExpertConfig, n_experts: int, autoregressive: bool) -> None:
        """Start with random weights; an autoregressive network starts at persistence, V(t) = V(t - 1).

        Args:
            tree: the cell.
            config: the sizes.
            n_experts: how many experts.
            autoregressive: whether past potentials are seen.
        """
        super().__init__(tree, autoregressive, 0)
        self.config = config
        self.experts = Experts(tree, config, n_experts, autoregressive)
        self.heads = TaskHeads(tree.n + 1, config.channels[-1], config)
        self.readout = Readout(tree.n, tree.soma, autoregressive, self.experts.features)
        if autoregressive:
            self.heads.zero_init()
            self.readout.zero_init()
        self.context = self.experts.context + config.tower_ms - 1

    @classmethod
    def count_weights(cls, tree: Tree, config: ExpertConfig, autoregressive: bool) -> int:
        """See `Network`."""
        seen = config.features if autoregressive else 0
        inputs = (config.features if config.synapse_ms else tree.n_inputs) + seen
        count = tree.n * (tree.n + seen) if autoregressive else 0
        if config.synapse_ms:
            count += config.features * sum(len(tree.synapses[k].conductances) for k in tree.input_synapse)
        mixed: int = getattr(config, "experts", 0)  # of a mixture, which has one more for its gates
        for channels in config.channels:
            count += (mixed + 1) * channels * (inputs + channels) * config.kernel
            inputs = channels
        units = config.tower + config.tower_linear + mixed  # of each task: on what all experts say at a time
        return count + (tree.n + 1) * units * inputs * config.tower_ms

    @classmethod
    def count_activations(cls, tree: Tree, config: ExpertConfig, autoregressive: bool) -> int:
        """See `Network`."""
        mixed: int = getattr(config, "experts", 0)
        inputs = config.features if config.synapse_ms else tree.n_inputs
        towers = (tree.n + 1) * (config.tower * config.tower_layers + mixed + 1)
        return inputs + 4 * (mixed + 1) * sum(config.channels) + towers  # of two convolutions, before and after

    def forward(
        self, events: BinnedEvents, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """See `Network`."""
        outputs, synaptic = self.experts(events, past)
        y = apply_sliding(self.apply_heads, outputs, self.config.tower_ms)
        return *self.readout(y, past, synaptic), None

    def apply_heads(self, recent: torch.Tensor) -> torch.Tensor:
        """From the experts to the tasks; this is where architectures differ.

        Args:
            recent: (batch, experts, time, channels * tower_ms) the experts' last tower_ms outputs at each step.

        Returns:
            (batch, time, n + 1) outputs of the tasks: compartments, then spikes.
        """
        raise NotImplementedError

    def linear_paths(self) -> list[nn.Parameter]:
        """What the ridge regression sets: weights of synapses, and of the linear paths past the experts."""
        if self.experts.synapses is None:
            return []
        paths = [part for part in (self.readout.direct, self.readout.transition) if part is not None]
        return [*self.experts.synapses.weights, *(p for part in paths for p in part.parameters())]

    def prepare(self, trials: Sequence[TrialIndex], scaling: Scaling) -> list[nn.Parameter]:
        """See `Trainable`: the linear paths start from a ridge regression."""
        super().prepare(trials, scaling)
        start_from_linear(self, trials)
        return self.linear_paths()
