"""Expressive Leaky Memory neuron (ELM): leaky memory units that a small network drives, read out in every compartment.

The branch variant of Spieler, Rahaman, Martius, Schölkopf and Levina 2024 (arXiv:2306.16922), which predicts the soma
and the output spikes; the read-out of all compartments is ours.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import InputError
from dendrotwin.models.base import Architecture, BinnedEvents
from dendrotwin.models.networks.experts import numbers
from dendrotwin.models.networks.network import Network
from dendrotwin.models.networks.task_heads import Readout

BRANCH_INPUTS = 100


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 < pair[0] < pair[1]:
        raise ValueError("the first must be above 0, the second above the first")
    return pair


class ELMConfig(BaseModel):
    """Sizes of the network; the defaults are the published ones.

    Attributes:
        memory: memory units, 1 to 100.
        branches: groups of neighbouring inputs that are summed first.
        branch_inputs: inputs of a branch; neighbouring branches overlap. None means the published 100, or all inputs
            of a cell that has fewer.
        hidden: units of the network that drives the memory; 0 means twice the memory units.
        branch_ms: time constant of a branch [ms].
        memory_ms: shortest and longest time constant of the memory units [ms].
        rate: lambda of the paper, how fast a memory unit may change relative to its time constant.
        features: of past potentials, where they are seen.
        burn_in: steps before a training window in which the memory forgets that it started from zero.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    memory: int = Field(default=100, ge=1)
    branches: int = Field(default=45, ge=1)
    branch_inputs: int | None = Field(default=None, ge=1)
    hidden: int = Field(default=0, ge=0)
    branch_ms: float = Field(default=5.0, gt=0)
    memory_ms: Annotated[tuple[float, float], BeforeValidator(numbers), AfterValidator(_rising)] = (1.0, 150.0)
    rate: float = Field(default=5.0, gt=0)
    features: int = Field(default=32, ge=1)
    burn_in: int = Field(default=150, ge=1)


def _routing(tree: Tree, branches: int, inputs: int) -> torch.Tensor:
    """(branches, n_inputs): windows that cover all inputs in the order of their compartments, +1, -1 if inhibitory."""
    order = np.argsort(tree.input_compartment, kind="stable")
    excitatory = np.array([synapse.excitatory for synapse in tree.synapses])[tree.input_synapse]
    routing = np.zeros((branches, tree.n_inputs), dtype=np.float32)
    starts = np.linspace(0, tree.n_inputs - inputs, branches).round().astype(int)
    for branch, start in zip(routing, starts, strict=True):
        members = order[start : start + inputs]
        branch[members] = np.where(excitatory[members], 1.0, -1.0)
    return torch.from_numpy(routing)


def _remember(
    drive: torch.Tensor, memory: torch.Tensor, keep: torch.Tensor, change: torch.Tensor,
    inward: torch.Tensor, outward: torch.Tensor, bias: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """The memory after each step: m <- keep m + change tanh(outward relu(drive_t + inward keep m) + bias).

    Args: drive (time, batch, hidden), memory (batch, units), weights (hidden, units), (units, hidden). This recurrence
    is the one thing that has to go step by step. Returns (time, batch, units).
    """
    memories: list[torch.Tensor] = []
    for step in drive.unbind(0):
        kept = keep * memory
        hidden = torch.relu(step + torch.mm(kept, inward.t()))
        memory = kept + change * torch.tanh(torch.addmm(bias, hidden, outward.t()))
        memories.append(memory)
    return torch.stack(memories)


class ELM(Network):
    """Branches b_t = k_b b_(t-1) + sum w x_t and memory m_t = k_m m_(t-1) + (1 - k_l) tanh(MLP(b_t, k_m m_(t-1))).

    k_b = exp(-1/tau_b), k_m = exp(-1/tau_m) and k_l = exp(-rate/tau_m) for steps of 1 ms; tau_m is learned. All
    potentials and the spikes are linear in m.
    """

    routing: torch.Tensor

    def __init__(self, tree: Tree, config: ELMConfig, autoregressive: bool) -> None:
        super().__init__(tree, autoregressive, config.burn_in)
        inputs = config.branch_inputs or min(BRANCH_INPUTS, tree.n_inputs)
        if inputs > tree.n_inputs:
            raise InputError(f"branch_inputs is {inputs}, the cell has {tree.n_inputs} inputs; choose fewer")
        if config.branches * inputs < tree.n_inputs:
            raise InputError(
                f"{config.branches} branches of {inputs} inputs leave out some of the cell's {tree.n_inputs}; "
                "choose more branches or branch_inputs"
            )
        self.config = config
        self.register_buffer("routing", _routing(tree, config.branches, inputs))
        # The paper's start: equal weights, so that a branch sums what its synapses get.
        self.weight = nn.Parameter(torch.full((config.branches, tree.n_inputs), 0.5))
        self.past = nn.Linear(tree.n, config.features) if autoregressive else None
        hidden = config.hidden or 2 * config.memory
        self.drive = nn.Linear(config.branches + (config.features if autoregressive else 0), hidden)
        self.inward = nn.Linear(config.memory, hidden, bias=False)
        self.outward = nn.Linear(hidden, config.memory)
        low, high = config.memory_ms
        tau = torch.logspace(math.log10(low), math.log10(high), config.memory + 2)[1:-1]
        self.tau = nn.Parameter(torch.logit((tau - low) / (high - low)))
        self.read = nn.Linear(config.memory, tree.n + 1)
        if autoregressive:  # begin at persistence
            nn.init.zeros_(self.read.weight)
            nn.init.zeros_(self.read.bias)
        self.readout = Readout(tree.n, tree.soma, autoregressive)

    def forward(
        self, events: BinnedEvents, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Network`; the state is (batch, branches + memory)."""
        low, high = self.config.memory_ms
        tau = low + (high - low) * torch.sigmoid(self.tau)
        # (time, batch, branches): what reaches each branch, then its leaky sum.
        arriving = torch.einsum("bit,ri->tbr", events.counts(), self.weight * self.routing)
        fresh = state is None
        if state is None:
            state = arriving.new_zeros(arriving.shape[1], self.config.branches + self.config.memory)
        branch, memory = state.split((self.config.branches, self.config.memory), 1)
        branches = _leaky_sum(arriving, branch, math.exp(-1.0 / self.config.branch_ms))
        seen = branches
        if self.past is not None and past is not None:
            seen = torch.cat([branches, self.past(past.permute(2, 0, 1))], 2)
        memories = _remember(
            self.drive(seen), memory, torch.exp(-1.0 / tau), 1.0 - torch.exp(-self.config.rate / tau),
            self.inward.weight, self.outward.weight, self.outward.bias,
        )  # fmt: skip
        state = torch.cat([branches[-1], memories[-1]], 1)
        y = self.read(memories[self.context :] if fresh else memories).transpose(0, 1)
        return *self.readout(y, past), state


def _leaky_sum(x: torch.Tensor, start: torch.Tensor, keep: float) -> torch.Tensor:
    """y_t = keep y_(t-1) + x_t from y_(-1) = start, along the first axis."""
    steps = x.shape[0]
    age = torch.arange(steps, device=x.device)
    age = age[:, None] - age
    band = torch.where(age >= 0, keep ** age.clamp(min=0).to(x.dtype), 0.0)
    decay = keep ** torch.arange(1, steps + 1, device=x.device, dtype=x.dtype)
    return torch.einsum("st,tbr->sbr", band, x) + decay[:, None, None] * start


ARCHITECTURE = Architecture("elm", ELMConfig, ELM)
