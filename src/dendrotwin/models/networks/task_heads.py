"""Task heads (towers): a small network for each task on what the experts say, all tasks as one batched operation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from dendrotwin.models.networks.experts import ExpertConfig

PIECE_STEPS = 256  # cells times milliseconds


def in_pieces(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, steps: int) -> torch.Tensor:
    """A function of the recent past, at each time.

    Args:
        function: of the last steps, (batch, experts, time, channels * steps), to (batch, time, ...).
        x: (batch, experts, channels, steps - 1 + time).
        steps: how many it sees.

    Returns:
        (batch, time, ...); evaluated some steps at a time, which stay in a processor's cache, or all at once on a GPU.
    """
    seen = x.unfold(3, steps, 1).transpose(2, 3)
    length = seen.shape[2] if x.is_cuda else max(1, PIECE_STEPS // len(x))
    return torch.cat([function(piece.flatten(3)) for piece in seen.split(length, 2)], 1)


class TaskHeads(nn.Module):
    """For each task k: y_k = w_k . h_k + l_k, with h_k = f(sum_e g_ke W_k x_e + b_k), x_e the output of expert e.

    x_e are the last `tower_ms` steps of it; with two layers h_k = f(V_k f(...) + c_k). The linear path
    l_k = sum_e g_ke u_k . x_e + d_k has no f. The first layer is linear in the experts, so that mixing its outputs is
    the same as mixing the experts, as Ma et al. 2018 (doi:10.1145/3219819.3220007) do.
    """

    def __init__(self, tasks: int, channels: int, config: ExpertConfig) -> None:
        """Args: how many tasks, channels of an expert, and the sizes."""
        super().__init__()
        self.tasks, self.hidden = tasks, config.tower
        inputs = channels * config.tower_ms
        self.read = nn.Linear(inputs, tasks * config.tower, bias=False)
        self.linear = nn.Linear(inputs, tasks, bias=False) if config.tower_linear else None
        self.bias = nn.Parameter(torch.zeros(tasks, config.tower))
        self.second = None
        if config.tower_layers == 2:
            self.second = nn.Parameter(torch.randn(tasks, config.tower, config.tower) / math.sqrt(config.tower))
            self.second_bias = nn.Parameter(torch.zeros(tasks, config.tower))
        self.out = nn.Parameter(torch.randn(tasks, config.tower) / math.sqrt(config.tower))
        self.offset = nn.Parameter(torch.zeros(tasks))
        self.dropout = nn.Dropout(config.dropout)

    @torch.no_grad()
    def silence(self) -> None:
        """Let all outputs be 0, until the first step of a training."""
        self.out.zero_()
        self.offset.zero_()
        if self.linear is not None:
            self.linear.weight.zero_()

    def forward(self, x: torch.Tensor, gates: torch.Tensor | None = None) -> torch.Tensor:
        """All tasks' outputs.

        Args:
            x: (batch, experts, time, channels * tower_ms) recent output of the experts; a single one where there are
                no gates.
            gates: (batch, time, experts, tasks) weight of each expert for each task.

        Returns:
            (batch, time, tasks).
        """
        # Each task's first layer on each expert, mixed as the gates say: (batch, time, tasks, units).
        first: torch.Tensor = self.bias
        y: torch.Tensor = self.offset
        for e, seen in enumerate(self.dropout(x).unbind(1)):
            units = self.read(seen).unflatten(2, (self.tasks, self.hidden))
            first = first + (units if gates is None else gates[:, :, e, :, None] * units)
            if self.linear is not None:
                y = y + (self.linear(seen) if gates is None else gates[:, :, e] * self.linear(seen))
        hidden = functional.elu(first)
        if self.second is not None:
            second: torch.Tensor = self.second_bias
            for u in range(self.hidden):  # a few units: faster than 643 products with tiny matrices
                second = torch.addcmul(second, hidden[..., u : u + 1], self.second[:, :, u])
            hidden = functional.elu(second)
        return y + (hidden * self.out).sum(3)


class Readout(nn.Module):
    """From the tasks' outputs to potentials and spike logits.

    Where the synapses' time courses are known, all tasks have a direct path from their features, past the experts. The
    spikes are one more task. To its
    tower's output comes a calibrated reading of the soma's predicted potential,
    whose gradient ends there: output spikes are what the soma does, and their loss must not bend it.

    Where past potentials are known (one step ahead), all potentials of the step before reach every compartment through
    a linear map that starts as the identity, so that an untrained network with silent towers is persistence.
    """

    def __init__(self, n: int, soma: int, autoregressive: bool, features: int = 0) -> None:
        """Args: compartments, which is the soma, whether past potentials are seen, and features of the linear path."""
        super().__init__()
        self.n, self.soma = n, soma
        self.direct = nn.Linear(features, n + 1) if features else None
        self.spike_gain = nn.Parameter(torch.tensor(2.0))
        self.spike_offset = nn.Parameter(torch.tensor(-6.0))
        self.past = nn.Linear(n, n, bias=False) if autoregressive else None
        if self.past is not None:
            nn.init.eye_(self.past.weight)

    @torch.no_grad()
    def silence(self) -> None:
        """Let the direct path be 0, until the first step of a training."""
        if self.direct is not None:
            self.direct.weight.zero_()
            self.direct.bias.zero_()

    def forward(
        self, y: torch.Tensor, past: torch.Tensor | None, synaptic: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Potentials and spike logits.

        Args:
            y: (batch, time, n + 1) outputs of the tasks, the spikes' last.
            past: (batch, n, at least time) z-scored potentials at the start of each step, where they are seen.
            synaptic: (batch, features, at least time) features of the linear path, where there is one.

        Returns:
            z-scored potentials (batch, time, n), and spike logits (batch, time).
        """
        if self.direct is not None and synaptic is not None:
            y = y + self.direct(synaptic[..., synaptic.shape[-1] - y.shape[1] :].transpose(1, 2))
        z = y[..., : self.n]
        if self.past is not None and past is not None:
            with torch.autocast(z.device.type, enabled=False):  # next to the identity, half a digit would show
                z = z + self.past(past[..., past.shape[-1] - z.shape[1] :].transpose(1, 2))
        return z, y[..., self.n] + self.spike_gain * z[..., self.soma].detach() + self.spike_offset
