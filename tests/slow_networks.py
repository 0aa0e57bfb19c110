"""The networks of experts and towers as one would first write them: one window, expert and task after the other."""

from __future__ import annotations

import torch
from torch.nn import functional

from dendrotwin.models.experts import ACTIVATIONS, ExpertConfig


class SlowNetwork:
    """The weights of a network of experts and towers, evaluated for one millisecond at a time in loops."""

    def __init__(self, network: torch.nn.Module, config: ExpertConfig) -> None:
        self.network, self.config = network.eval(), config
        self.tasks = network.towers.tasks
        self.channels = config.channels[-1]

    @torch.no_grad()
    def step(self, events: torch.Tensor, past: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Potentials (n,) and spike logit at the end of a window.

        Args: events (n_inputs, history + 1), past (n, history + 1) if the network sees it.
        """
        network, config = self.network, self.config
        x = self._inputs(events, past)
        experts = [self._expert(x, e) for e in range(network.experts.experts)]
        gated = hasattr(network, "gate")
        y = []
        for task in range(self.tasks):
            if gated:
                allowed = [e for e in range(config.experts) if not hasattr(network, "mask") or network.mask[e, task]]
                logits = torch.stack([self._gate(experts[-1], e, task) for e in allowed])
                weights = torch.softmax(logits, 0)
                mixed = sum(weight * experts[e] for weight, e in zip(weights, allowed, strict=True))
            else:
                mixed = experts[0]
            y.append(self._tower(mixed, task))
        z = torch.stack(y[:-1])
        readout = network.readout
        if past is not None:
            z = z + readout.past.weight @ past[:, -1]
        return z, y[-1] + readout.spike_gain * z[readout.soma] + readout.spike_offset

    def _inputs(self, events: torch.Tensor, past: torch.Tensor | None) -> torch.Tensor:
        experts, config = self.network.experts, self.config
        x = events
        if config.synapse_ms:
            features = []
            for weigh, members, course in zip(
                experts.synapses.weigh, experts.synapses._members, experts.synapses.course, strict=True
            ):
                weighed = weigh.weight[:, :, 0] @ events[members]
                for t in range(config.synapse_ms - 1, events.shape[1]):
                    recent = weighed[:, t - config.synapse_ms + 1 : t + 1].flip(1)  # the newest first
                    features.append(recent @ course)
            time = events.shape[1] - config.synapse_ms + 1
            stacked = torch.cat([torch.stack(features[i : i + time], 1) for i in range(0, len(features), time)])
            x = experts.synapses.mix.weight[:, :, 0] @ stacked + experts.synapses.mix.bias[:, None]
        if past is not None:
            seen = experts.past.weight[:, :, 0] @ past[:, -x.shape[1] :] + experts.past.bias[:, None]
            x = torch.cat([x, seen])
        return x

    def _expert(self, x: torch.Tensor, expert: int) -> torch.Tensor:
        activation = ACTIVATIONS[self.config.activation]
        for block, channels in zip(self.network.experts.blocks, self.config.channels, strict=True):
            rows = slice(expert * channels, (expert + 1) * channels)
            inside = x
            for layer in (block.first, block.second):
                dilation = layer.dilation[0]
                inside = activation(functional.conv1d(inside, layer.weight[rows], layer.bias[rows], dilation=dilation))
            kept = x[:, -inside.shape[1] :]
            if not isinstance(block.fit, torch.nn.Identity):
                kept = functional.conv1d(kept, block.fit.weight[rows], block.fit.bias[rows])
            x = kept + inside
        return x

    def _gate(self, x: torch.Tensor, expert: int, task: int) -> torch.Tensor:
        row = expert * self.tasks + task
        return (self.network.gate.weight[row] * x).sum() + self.network.gate.bias[row]

    def _tower(self, x: torch.Tensor, task: int) -> torch.Tensor:
        towers = self.network.towers
        first = [
            (towers.read.weight[task * towers.units + u] * x).sum() + towers.bias[task, u] for u in range(towers.units)
        ]
        hidden = functional.elu(torch.stack(first[: towers.hidden]))
        if towers.second is not None:
            hidden = functional.elu(towers.second[task] @ hidden + towers.second_bias[task])
        y = towers.out[task] @ hidden
        return y + first[-1] if towers.units > towers.hidden else y
