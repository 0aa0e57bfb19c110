"""The networks of experts and towers as one would first write them: one window, expert and task after the other."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from dendrotwin.cell.tree import Events
from dendrotwin.models.base import BinnedEvents
from dendrotwin.models.networks.experts import ACTIVATIONS, ExpertConfig


def event_counts(events: Events, n_inputs: int, start: int, stop: int) -> np.ndarray:
    """(n_inputs, stop - start) number of events in each 1 ms step; steps before 0 are silent."""
    counts = np.zeros((n_inputs, stop - start), dtype=np.float32)
    first, last = np.searchsorted(events.time_ms, [start, stop])
    np.add.at(counts, (events.input[first:last], events.bins()[first:last] - start), 1.0)
    return counts


def binned(counts: torch.Tensor) -> BinnedEvents:
    """Event counts (batch, inputs, time), of their own type, as networks take them."""
    windows, step, channel = counts.transpose(1, 2).nonzero(as_tuple=True)
    return BinnedEvents(tuple(counts.shape), windows * counts.shape[2] + step, channel, counts[windows, channel, step])


class SlowNetwork:
    """The weights of a network of experts and towers, evaluated for one millisecond at a time in loops."""

    def __init__(self, network: torch.nn.Module, config: ExpertConfig) -> None:
        self.network, self.config = network.eval(), config
        self.tasks = network.heads.n_tasks
        self.channels = config.channels[-1]

    @torch.no_grad()
    def step(self, events: torch.Tensor, past: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Potentials (n,) and spike logit at the end of a window.

        Args: events (n_inputs, context + 1), past (n, context + 1) if the network sees it.
        """
        network, config = self.network, self.config
        x = self._inputs(events, past)
        experts = [self._expert(x, e) for e in range(network.experts.n_experts)]
        gated = hasattr(network, "gate")
        y = []
        for task in range(self.tasks):
            if gated:
                weights = self._gates(experts[-1], task)
                mixed = sum(weights[e] * experts[e] for e in range(config.experts))
            else:
                mixed = experts[0]
            y.append(self._tower(mixed, task))
        readout = network.readout
        if config.synapse_ms:
            now = x[: config.features, -1]
            y = [value + readout.direct.weight[k] @ now + readout.direct.bias[k] for k, value in enumerate(y)]
        z = torch.stack(y[:-1])
        if past is not None:
            z = z + readout.transition.weight @ past[:, -1]
        return z, y[-1] + readout.spike_gain * z[readout.soma] + readout.spike_offset

    def _inputs(self, events: torch.Tensor, past: torch.Tensor | None) -> torch.Tensor:
        experts, config = self.network.experts, self.config
        x = events
        if config.synapse_ms:
            features = []
            synapses = experts.synapses
            for weight, rows, course in zip(synapses.weights, synapses.weight_row, synapses.time_course, strict=True):
                weighed = sum(weight[row][:, None] * events[i] for i, row in enumerate(rows) if row >= 0)
                for t in range(config.synapse_ms - 1, events.shape[1]):
                    recent = weighed[:, t - config.synapse_ms + 1 : t + 1].flip(1)  # the newest first
                    features.append(recent @ course)
            time = events.shape[1] - config.synapse_ms + 1
            x = sum(torch.stack(features[i : i + time], 1) for i in range(0, len(features), time))
        if past is not None:
            mix = experts.past_features
            x = torch.cat([x, mix.weight[:, :, 0] @ past[:, -x.shape[1] :] + mix.bias[:, None]])
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
            if not isinstance(block.shortcut, torch.nn.Identity):
                kept = functional.conv1d(kept, block.shortcut.weight[rows], block.shortcut.bias[rows])
            x = kept + inside
        return x

    def _gates(self, x: torch.Tensor, task: int) -> torch.Tensor:
        """Weights of all experts for a task, 0 where it may not use one."""
        rows = [e * self.tasks + task for e in range(self.config.experts)]
        gate = self.network.gate
        logits = gate.weight[rows] @ x.flatten() + gate.bias[rows]
        weights = torch.zeros_like(logits)
        allowed = self.network.mask[:, task] if hasattr(self.network, "mask") else slice(None)
        weights[allowed] = torch.softmax(logits[allowed], 0)
        return weights

    def _tower(self, x: torch.Tensor, task: int) -> torch.Tensor:
        heads = self.network.heads
        rows = slice(task * heads.hidden, (task + 1) * heads.hidden)
        hidden = functional.elu(heads.first.weight[rows] @ x.flatten() + heads.first_bias[task])
        if heads.second is not None:
            hidden = functional.elu(heads.second[task] @ hidden + heads.second_bias[task])
        y = heads.output[task] @ hidden + heads.output_bias[task]
        return y if heads.linear is None else y + heads.linear.weight[task] @ x.flatten()
