"""Towers: a small network for each task on what the experts say, all tasks as one batched operation."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from dendrotwin.models.experts import ExpertConfig


class Towers(nn.Module):
    """For each task k: y_k = w_k . h_k + l_k, with h_k = f(sum_e g_ke W_k * x_e + b_k), x_e the output of expert e.

    The convolution W_k * x_e looks `tower_ms` steps back; with two layers h_k = f(V_k f(...) + c_k). l_k is the linear
    path: one more row of W_k, without f. The first layer is linear in the experts, so that mixing its outputs is the
    same as mixing the experts, as Ma et al. 2018 (doi:10.1145/3219819.3220007) do, and costs one convolution each.
    """

    def __init__(self, tasks: int, channels: int, config: ExpertConfig) -> None:
        """Args: how many tasks, channels of an expert, and the sizes."""
        super().__init__()
        self.tasks, self.hidden, self.shorter = tasks, config.tower, config.tower_ms - 1
        self.units = config.tower + config.tower_linear
        self.read = nn.Conv1d(channels, tasks * self.units, config.tower_ms, bias=False)
        self.bias = nn.Parameter(torch.zeros(tasks, self.units))
        self.second = None
        if config.tower_layers == 2:
            self.second = nn.Parameter(torch.randn(tasks, config.tower, config.tower) / math.sqrt(config.tower))
            self.second_bias = nn.Parameter(torch.zeros(tasks, config.tower))
        self.out = nn.Parameter(torch.randn(tasks, config.tower) / math.sqrt(config.tower))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, gates: torch.Tensor | None = None) -> torch.Tensor:
        """All tasks' outputs.

        Args:
            x: (batch, experts, channels, tower_ms - 1 + time) output of the experts; a single one where there are no
                gates.
            gates: (batch, experts, tasks, time) weight of each expert for each task.

        Returns:
            (batch, tasks, time).
        """
        # (batch, experts, tasks, units, time): each task's first layer on each expert ...
        first = self.read(self.dropout(x).flatten(0, 1)).unflatten(0, x.shape[:2])
        first = first.unflatten(2, (self.tasks, self.units))
        # ... mixed as the gates say: (batch, tasks, units, time).
        mixed = first[:, 0] if gates is None else (first * gates.unsqueeze(3)).sum(1)
        mixed = mixed + self.bias[..., None]
        hidden = functional.elu(mixed[:, :, : self.hidden])
        if self.second is not None:
            hidden = functional.elu(torch.einsum("bkut,kwu->bkwt", hidden, self.second) + self.second_bias[..., None])
        y = (hidden * self.out[..., None]).sum(2)
        return y + mixed[:, :, self.hidden] if self.units > self.hidden else y


class Readout(nn.Module):
    """From the tasks' outputs to potentials and spike logits.

    The spikes are one more task. To its tower's output comes a calibrated reading of the soma's predicted potential,
    whose gradient ends there: output spikes are what the soma does, and their loss must not bend it.

    Where past potentials are known (one step ahead), all potentials of the step before reach every compartment through
    a linear map that starts as the identity, so that an untrained network begins near persistence.
    """

    def __init__(self, n: int, soma: int, history: bool) -> None:
        super().__init__()
        self.n, self.soma = n, soma
        self.spike_gain = nn.Parameter(torch.tensor(2.0))
        self.spike_offset = nn.Parameter(torch.tensor(-6.0))
        self.past = nn.Linear(n, n, bias=False) if history else None
        if self.past is not None:
            nn.init.eye_(self.past.weight)

    def forward(self, y: torch.Tensor, past: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Potentials and spike logits.

        Args:
            y: (batch, n + 1, time) outputs of the tasks, the spikes' last.
            past: (batch, n, at least time) z-scored potentials at the start of each step, where they are seen.

        Returns:
            z-scored potentials (batch, time, n), and spike logits (batch, time).
        """
        z = y[:, : self.n].transpose(1, 2)
        if self.past is not None and past is not None:
            z = z + self.past(past[..., past.shape[-1] - z.shape[1] :].transpose(1, 2))
        return z, y[:, self.n] + self.spike_gain * z[..., self.soma].detach() + self.spike_offset
