"""Expressive Leaky Memory neuron (ELM): leaky memory units that a small network drives, read out in every compartment.

The branch variant of Spieler, Rahaman, Martius, Schölkopf and Levina 2024 (arXiv:2306.16922), which predicts the soma
and the output spikes; the read-out of all compartments is ours.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import InputError
from dendrotwin.models.base import Architecture, BinnedEvents
from dendrotwin.models.networks.experts import MOST_UNITS, Count, split_commas
from dendrotwin.models.networks.network import Network
from dendrotwin.models.networks.task_heads import Readout

BRANCH_INPUTS = 100  # the published number
LONGEST_TAU_MS = 1e6  # hours of memory: longer than any trial
LONGEST_BURN_IN_MS = 5000  # the sums of branches over it are a matrix of its square


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 < pair[0] < pair[1] <= LONGEST_TAU_MS:
        raise ValueError(f"the first must be above 0, the second above the first and at most {LONGEST_TAU_MS:g}")
    return pair


class ELMConfig(BaseModel):
    """Sizes of the network; the defaults are the published ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    memory: Count = 100
    """Memory units, 1 to 100."""
    branches: Count = 45
    """Groups of neighbouring inputs that are summed first."""
    branch_inputs: Count | None = None
    """Inputs of a branch; neighbours share some. None is the published 100, or all inputs of a cell that has fewer."""
    hidden: int = Field(default=0, ge=0, le=MOST_UNITS)
    """Units of the network that drives the memory; 0 means twice the memory units."""
    branch_ms: float = Field(default=5.0, gt=0, le=LONGEST_TAU_MS)
    """Time constant of a branch [ms]."""
    memory_ms: Annotated[tuple[float, float], BeforeValidator(split_commas), AfterValidator(_ascending)] = (1.0, 150.0)
    """Shortest and longest time constant of the memory units [ms]."""
    rate: float = Field(default=5.0, gt=0, le=1000.0)
    """Lambda of the paper: how fast a memory unit may change, relative to its time constant."""
    features: Count = 32
    """Linear mixtures of past potentials, where they are seen."""
    burn_in: int = Field(default=150, ge=1, le=LONGEST_BURN_IN_MS)
    """Steps before a training window in which the memory forgets that it started from zero."""


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


class _Weights(NamedTuple):
    """Weights of the memory's recurrence."""

    decay: torch.Tensor  # (units,)
    change: torch.Tensor  # (units,)
    memory_to_hidden: torch.Tensor  # (hidden, units)
    hidden_to_memory: torch.Tensor  # (units, hidden)
    bias: torch.Tensor  # (units,)


def _recur(drive: torch.Tensor, memory: torch.Tensor, w: _Weights) -> torch.Tensor:
    """The memory after each step: m <- decay m + change tanh(W_hm relu(drive_t + W_mh decay m) + bias).

    This recurrence is the one thing that has to go step by step.

    Args:
        drive: (time, batch, hidden) what comes from the branches.
        memory: (batch, units) at the start.
        w: its weights.

    Returns:
        (time, batch, units).
    """
    memories: list[torch.Tensor] = []
    for step in drive.unbind(0):
        decayed = w.decay * memory
        hidden = torch.relu(step + torch.mm(decayed, w.memory_to_hidden.t()))
        memory = decayed + w.change * torch.tanh(torch.addmm(w.bias, hidden, w.hidden_to_memory.t()))
        memories.append(memory)
    return torch.stack(memories)


class ELM(Network):
    """Branches b_t = k_b b_(t-1) + sum w x_t and memory m_t = k_m m_(t-1) + (1 - k_l) tanh(MLP(b_t, k_m m_(t-1))).

    k_b = exp(-1/tau_b), k_m = exp(-1/tau_m) and k_l = exp(-rate/tau_m) for steps of 1 ms; tau_m is learned. All
    potentials and the spikes are linear in m.

    Attributes:
        config: the sizes.
        routing: (branches, n_inputs) 1 where an excitatory input reaches a branch, -1 where an inhibitory one does.
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
        self.synapse_weight = nn.Parameter(torch.full((config.branches, tree.n_inputs), 0.5))
        self.past_features = nn.Linear(tree.n, config.features) if autoregressive else None
        hidden = config.hidden or 2 * config.memory
        self.input_to_hidden = nn.Linear(config.branches + (config.features if autoregressive else 0), hidden)
        self.memory_to_hidden = nn.Linear(config.memory, hidden, bias=False)
        self.hidden_to_memory = nn.Linear(hidden, config.memory)
        low, high = config.memory_ms
        tau = torch.logspace(math.log10(low), math.log10(high), config.memory + 2)[1:-1]
        self.tau_logit = nn.Parameter(torch.logit((tau - low) / (high - low)))
        self.output = nn.Linear(config.memory, tree.n + 1)
        if autoregressive:  # begin at persistence
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)
        self.readout = Readout(tree.n, tree.soma, autoregressive)

    @classmethod
    def count_weights(cls, tree: Tree, config: ELMConfig, autoregressive: bool) -> int:
        """See `Network`."""
        hidden = config.hidden or 2 * config.memory
        arriving = config.branches + (config.features if autoregressive else 0)
        count = 2 * config.branches * tree.n_inputs + hidden * (arriving + 2 * config.memory)
        return count + config.memory * (tree.n + 1) + (tree.n * (tree.n + config.features) if autoregressive else 0)

    @classmethod
    def count_activations(cls, tree: Tree, config: ELMConfig, autoregressive: bool) -> int:
        """See `Network`."""
        hidden = config.hidden or 2 * config.memory
        return tree.n_inputs + 2 * config.branches + 2 * hidden + 3 * config.memory + tree.n + 1

    def forward(
        self, events: BinnedEvents, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Network`; the state is (batch, branches + memory)."""
        low, high = self.config.memory_ms
        tau = low + (high - low) * torch.sigmoid(self.tau_logit)
        # (time, batch, branches): what reaches each branch, then its leaky sum.
        arriving = torch.einsum("bit,ri->tbr", events.counts(), self.synapse_weight * self.routing)
        from_zero = state is None
        if state is None:
            state = arriving.new_zeros(arriving.shape[1], self.config.branches + self.config.memory)
        branch, memory = state.split((self.config.branches, self.config.memory), 1)
        branches = _leaky_sum(arriving, branch, math.exp(-1.0 / self.config.branch_ms))
        inputs = branches
        if self.past_features is not None and past is not None:
            inputs = torch.cat([branches, self.past_features(past.permute(2, 0, 1))], 2)
        weights = _Weights(
            torch.exp(-1.0 / tau),
            1.0 - torch.exp(-self.config.rate / tau),
            self.memory_to_hidden.weight,
            self.hidden_to_memory.weight,
            self.hidden_to_memory.bias,
        )
        memories = _recur(self.input_to_hidden(inputs), memory, weights)
        state = torch.cat([branches[-1], memories[-1]], 1)
        y = self.output(memories[self.context :] if from_zero else memories).transpose(0, 1)
        return *self.readout(y, past), state


def _leaky_sum(x: torch.Tensor, start: torch.Tensor, decay: float) -> torch.Tensor:
    """y_t = decay y_(t-1) + x_t from y_(-1) = start, along the first axis."""
    steps = x.shape[0]
    age = torch.arange(steps, device=x.device)
    age = age[:, None] - age
    of_inputs = torch.where(age >= 0, decay ** age.clamp(min=0).to(x.dtype), 0.0)
    of_start = decay ** torch.arange(1, steps + 1, device=x.device, dtype=x.dtype)
    return torch.einsum("st,tbr->sbr", of_inputs, x) + of_start[:, None, None] * start


ARCHITECTURE = Architecture("elm", ELMConfig, ELM)
