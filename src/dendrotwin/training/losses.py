"""What training minimises: a loss for each task, and how the tasks are weighed against each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dendrotwin.models.base import Batch, Trainable
from dendrotwin.training.config import Balancing

TEMPERATURE = 2.0  # of dynamic weight average, the published value


class CurrentLoss(nn.Module):
    """Mean squared error of the membrane currents of all compartments, each relative to its standard deviation.

    Errors of potentials that differ from neighbour to neighbour hardly count in the potentials and much in the
    currents, which are what a field outside the cell is made of.
    """

    rows: torch.Tensor

    def __init__(self, rows: NDArray[np.floating], weight: float) -> None:
        """Args:
        rows: (n, n) currents, in their standard deviations, for errors of one in each compartment's z-score.
        weight: of this loss beside the others.
        """
        super().__init__()
        self.weight = weight
        self.register_buffer("rows", torch.as_tensor(rows, dtype=torch.float32), persistent=False)

    def forward(self, residual: torch.Tensor) -> torch.Tensor:
        """The weighed loss of residuals (batch, time, n), in standard deviations of the potentials."""
        return self.weight * (residual.float() @ self.rows.T).square().mean()


class Balance(nn.Module):
    """The loss of all tasks: the mean over compartments plus `spike_weight` times that of the spikes, each weighed.

    "equal": weights 1. "uncertainty" (Kendall, Gal and Cipolla 2018, doi:10.1109/CVPR.2018.00781): exp(-s_k) L_k +
    s_k/2 with learned s_k, the first term halved for compartments, whose losses are Gaussian. "dwa", dynamic weight
    average (Liu, Johns and Davison 2019, doi:10.1109/CVPR.2019.00197): weights proportional to exp(r_k / 2), r_k the
    ratio of the task's loss in the last two rounds, so that tasks which improve least get most.
    """

    share: torch.Tensor
    weight: torch.Tensor
    last: torch.Tensor

    def __init__(self, tasks: int, balancing: Balancing, spike_weight: float) -> None:
        super().__init__()
        self.balancing = balancing
        share = torch.full((tasks,), 1.0 / (tasks - 1))
        share[-1] = spike_weight
        self.register_buffer("share", share, persistent=False)
        self.register_buffer("weight", torch.ones(tasks))
        self.register_buffer("last", torch.zeros(tasks))  # losses of the round before; zero where there was none
        self.log_variance = nn.Parameter(torch.zeros(tasks)) if balancing == "uncertainty" else None

    def forward(self, losses: torch.Tensor, only: torch.Tensor | None = None) -> torch.Tensor:
        """(n + 1,) losses to the one that is minimised, or to the part of it that `only` some tasks (n + 1,) have."""
        weighed = self.weight * losses
        if self.log_variance is not None:
            half = torch.full_like(losses, 0.5)
            half[-1] = 1.0
            weighed = half * torch.exp(-self.log_variance) * losses + 0.5 * self.log_variance
        weighed = self.share * weighed
        return weighed.sum() if only is None else weighed[only].sum()

    @torch.no_grad()
    def end_round(self, losses: torch.Tensor) -> None:
        """Take note of the tasks' mean losses (n + 1,) over a round of training."""
        if self.balancing == "dwa" and bool(self.last.any()):
            self.weight.copy_(len(losses) * torch.softmax(losses / self.last / TEMPERATURE, 0))
        self.last.copy_(losses)


class Objective(nn.Module):
    """A model with its balance, as one module, so that all that is learned is in one place."""

    def __init__(self, model: Trainable, balance: Balance, currents: CurrentLoss | None = None) -> None:
        super().__init__()
        self.model, self.balance, self.currents = model, balance, currents

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of a batch, and the (n + 1,) losses of its tasks."""
        tasks, residual = self.model.loss(batch)
        loss = self.balance(tasks)
        return (loss if self.currents is None else loss + self.currents(residual)), tasks


def meta_gradient(
    objective: Any, batch: Batch, groups: NDArray[np.integer], rate: float, context: Callable[[], Any] = nullcontext
) -> torch.Tensor:
    """The two-step update of MMoEEx (Aoki, Tung and Oliveira 2021, arXiv:2012.11202), in its first-order form.

    For each group of tasks a trial step is taken that lowers its loss on one half of the batch; the gradient of its
    loss on the other half, there, adds to the gradient with which the optimiser then moves from where all started.

    Args:
        objective: an `Objective`, not wrapped by Fabric; its parameters get their gradients.
        batch: the windows, an even number.
        groups: (n + 1,) number of each task's group.
        rate: learning rate of the trial step.
        context: what the objective is evaluated in, such as `Fabric.autocast`.

    Returns:
        The (n + 1,) losses of the tasks before the update, on the second half.
    """
    half = len(batch) // 2
    inner, outer = batch.part(slice(half)), batch.part(slice(half, None))
    parameters = [p for p in objective.parameters() if p.requires_grad]
    total: list[torch.Tensor | None] = [None] * len(parameters)

    def gradients(part: Batch, tasks: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Of the group's part of the whole loss."""
        with context():
            _, losses = objective(part)
        return torch.autograd.grad(objective.balance(losses, tasks), parameters, allow_unused=True)

    with torch.no_grad(), context():
        _, before = objective(outer)
    for group in np.unique(groups):
        tasks = torch.from_numpy(groups == group).to(batch.v_mV.device)
        away = gradients(inner, tasks)
        start = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, g in zip(parameters, away, strict=True):
                if g is not None:
                    p -= rate * g
        here = gradients(outer, tasks)
        with torch.no_grad():
            for i, (p, old, g) in enumerate(zip(parameters, start, here, strict=True)):
                p.copy_(old)
                if g is not None:
                    so_far = total[i]
                    total[i] = g if so_far is None else so_far + g
    for p, gradient in zip(parameters, total, strict=True):
        p.grad = gradient
    losses: torch.Tensor = before
    return losses
