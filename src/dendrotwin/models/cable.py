"""The cable twin: the cell's own tree and synapses, with active membrane whose channels are learned from recordings.

Everything that physics fixes comes from the tree: capacitance, leak, axial conductances, Ih, kinetics and strength of
the synapses. What is learned is the active membrane: the density of every channel of `models.channels` in every
compartment, its kinetics in soma, axon and dendrites, how calcium comes and goes, reversal potentials, and a gain of
each synaptic conductance. The steps are those of `membrane`: one implicit solve of the whole tree after the other.

A training window is guided: it starts at the true potentials, its gates have followed them for a while, and at the
start of each millisecond its potentials are nudged towards the true ones, by a share that differs from window to
window, from all the way (each millisecond is predicted from the true potentials: well-conditioned, no error adds up) to
`nudge[0]` of it.
"""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

from dendrotwin.errors import InputError
from dendrotwin.membrane import (
    CALCIUM_START_MM,
    NO_TAPE,
    SK_HALF_MM,
    SK_POWER,
    V_BIN_MV,
    V_BINS,
    V_LOW_MV,
    Arrivals,
    Cell,
    Known,
    Learned,
    State,
    Tape,
    adjoint,
    arrive,
    box,
    predict,
    steps,
    strides,
)
from dendrotwin.models.channels import (
    CHANNELS,
    E_K_MV,
    E_NA_MV,
    GATES,
    QUICK_CHANNELS,
    QUICK_GATES,
    SK_DENSITY,
    tables,
)
from dendrotwin.models.experts import numbers
from dendrotwin.solve import Elimination, components
from dendrotwin.tree import Floats, Ints, Tree

if TYPE_CHECKING:
    from dendrotwin.membrane_gpu import GPUCell

Arrays = TypeVar("Arrays", Cell, Learned, State)

FARADAY = 96485.33212  # C/mol
SHELL_UM = 0.1  # depth under the membrane that calcium flows into
NERNST_MV = 13.24  # R T / 2 F at 34 degC
CALCIUM_GAMMA, CALCIUM_DECAY_MS = 5e-4, 80.0  # units of its gain and decay
DECAY_START_MS = (300.0, 300.0, 100.0)  # in soma, axon, dendrites: some hundred (Hay et al. 2011 have 460 and 122)
DISTANCE_UM = 50.0  # compartments of a region this close to each other share a part of their densities
SHARES = (1.0, 1.0, 1.0, 0.3)  # how fast the parts of a density are learned: region, distance, section, compartment
FINE = (4, 16)  # substeps, few and many, where recorded potentials are followed
FOUND_AT, TRAINED_AT = 0.2, 0.1  # from when many, where channels are found and in training
CALCIUM_E_FOLDS = (-2.5, 4.5)  # between which the logarithms of gain and decay stay: decay from 6 ms to 7 s
FLOOR = math.log(1e-9)  # of a density [S/cm2]
CEILING = math.log(20.0)
REVERSAL_MV = 10.0  # what a unit of a reversal potential's parameter means
ACROSS_MV, ALONG = 3.0, 0.3  # what a unit of a kinetic parameter means: mV of shift, e-folds of a time constant
SMALL = 3e-5  # S/cm2: a channel that stays below at a whole distance of a region is left out there
A_LOOP = 40  # compartments that a loop over compartments could do in the time that it takes to begin
LAGS = 8  # ms of the soma's potential that the spikes are read from
SOMA_MV, SOMA_SPREAD_MV = -60.0, 20.0  # its scale there


def _two(pair: tuple[float, ...]) -> tuple[float, ...]:
    if not 1 <= pair[0] <= pair[1]:
        raise ValueError("the first must be at least 1, the second not below it")
    return pair


def _share(pair: tuple[float, ...]) -> tuple[float, ...]:
    if not 0 < pair[0] <= pair[1] <= 1:
        raise ValueError("both must lie above 0 and not above 1, the second not below the first")
    return pair


class CableConfig(BaseModel):
    """Of the steps and of the guidance in training.

    Attributes:
        substeps: of a millisecond of a prediction, where it is quiet and where sodium channels are open.
        refine_at: sodium conductance relative to capacitance [1/ms] from which a millisecond of it takes many.
        nudge: least and largest share of the difference to the true potentials by which a training window is nudged at
            the start of each millisecond; drawn for each window, evenly on a logarithmic scale, from the largest alone
            until `alone` of the training is over to the whole range at its end.
        alone: see there.
        settle_ms: how long gates follow the true potentials before a training window.
        filter_ms: how long synaptic conductances are followed before that.
        units: of the small network that reads output spikes from the soma's potential.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    substeps: Annotated[tuple[int, int], BeforeValidator(numbers), AfterValidator(_two)] = (1, 16)
    refine_at: float = Field(default=0.1, gt=0)
    nudge: Annotated[tuple[float, float], BeforeValidator(numbers), AfterValidator(_share)] = (1.0, 1.0)
    alone: float = Field(default=0.4, ge=0, lt=1)
    settle_ms: int = Field(default=800, ge=1)
    filter_ms: int = Field(default=300, ge=0)
    units: int = Field(default=16, ge=1)


def _windows(soma: torch.Tensor, steps_ms: int) -> torch.Tensor:
    """(batch, steps, 2 LAGS) the soma's last potentials and peaks as the read-out takes them, of (batch, .., 2) mV."""
    seen = torch.cat([soma[:, lag : lag + steps_ms] for lag in range(LAGS)], 2)
    return ((seen - SOMA_MV) / SOMA_SPREAD_MV).float()


@numba.njit(cache=True, nogil=True)
def _logits(read: tuple[NDArray[np.float32], ...], soma: Floats, found: NDArray[np.float32]) -> None:
    """What `Cable.read` makes of (LAGS - 1 + steps, 2) potentials and peaks of the soma, for each step."""
    first, first_bias, last, last_bias = read
    for t in range(len(found)):
        found[t] = last_bias[0]
        for unit in range(len(first)):
            x = first_bias[unit]
            for lag in range(LAGS):
                for k in range(2):
                    x += first[unit, 2 * lag + k] * (soma[t + lag, k] - SOMA_MV) / SOMA_SPREAD_MV
            found[t] += last[0, unit] * (x if x > 0.0 else np.expm1(x))


def _single(of: Arrays, *names: str) -> Arrays:
    """With some of its arrays in single precision."""
    return of._replace(**{name: getattr(of, name).astype(np.float32) for name in names})


def _kinds(
    has: NDArray[np.bool_], part: NDArray[np.integer], size: NDArray[np.integer]
) -> tuple[list[int], NDArray[np.bool_]]:
    """Which neighbouring groups of compartments are one kind of membrane: those that are less work as one.

    A channel of a kind takes as long as it has compartments, and some more for being one.

    Args:
        has: (groups, channels) whether a group has a channel.
        part, size: (groups,) only groups of the same part may be one; number of compartments.

    Returns:
        The first group of each kind, and (kinds, channels) whether it has a channel.
    """
    kinds = [(k, row, int(n)) for k, (row, n) in enumerate(zip(has, size, strict=True))]

    def both(k: int) -> tuple[int, NDArray[np.bool_], int]:
        (first, one, few), (_, other, more) = kinds[k : k + 2]
        return first, one | other, few + more

    def work(kind: tuple[int, NDArray[np.bool_], int]) -> int:
        return int(1 + kind[1].sum()) * (kind[2] + A_LOOP)

    while True:
        spared = [
            (work(kinds[k]) + work(kinds[k + 1]) - work(both(k)), -k)
            for k in range(len(kinds) - 1)
            if part[kinds[k][0]] == part[kinds[k + 1][0]]
        ]
        most, at = max(spared, default=(0, 0))
        if most <= 0:
            return [kind[0] for kind in kinds], np.stack([kind[1] for kind in kinds])
        kinds[-at : 2 - at] = [both(-at)]


class _Steps(torch.autograd.Function):
    """`membrane.steps` of several windows, each on its own; the backward pass is `membrane.adjoint`."""

    @staticmethod
    def forward(
        ctx: Any,
        substeps: Any,
        cell: Cell,
        threshold: float,
        states: list[State],
        events: list[Arrivals],
        truth: list[Floats],
        nudge: list[float],
        log_gain: torch.Tensor,
        *learned: torch.Tensor,
    ) -> Any:
        arrays = Learned(*(tensor.detach().numpy() for tensor in learned))
        length, n = truth[0].shape
        silent = np.zeros((1, n))

        def one(k: int) -> tuple[Floats, Floats, Tape]:
            tape = Tape.empty(length, int(substeps[1]), n, arrays.tables.shape[2])
            out, peak = np.empty((length, n)), np.empty(length)
            steps(
                cell, arrays, substeps, threshold, states[k].copy(), events[k], silent, truth[k], nudge[k], tape,
                out, peak,
            )  # fmt: skip
            return out, peak, tape

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            v, peak, tapes = zip(*pool.map(one, range(len(events))), strict=True)
        ctx.known = substeps, cell, arrays, states, events, nudge, tapes
        found = torch.from_numpy(np.stack(v)), torch.from_numpy(np.stack(peak))
        ctx.mark_non_differentiable(found[1])
        return found

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        substeps, cell, arrays, states, events, nudge, tapes = ctx.known
        seed = outputs[0].numpy()
        silent = np.zeros((1, seed.shape[2]))

        def one(k: int) -> tuple[Floats, Learned]:
            gain = np.zeros(len(cell.rise_ms))
            grad = Learned(*(np.zeros_like(array) for array in arrays))
            adjoint(
                cell, arrays, substeps, states[k], events[k], silent, nudge[k], tapes[k],
                np.ascontiguousarray(seed[k]), grad, gain,
            )  # fmt: skip
            return gain, grad

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            found = list(pool.map(one, range(len(events))))
        gain = torch.from_numpy(sum(gain for gain, _ in found))
        grads = [torch.from_numpy(sum(parts)) for parts in zip(*(grad for _, grad in found), strict=True)]
        return None, None, None, None, None, None, None, gain, *grads


def _on_gpu(known: Known, device: torch.device) -> GPUCell:
    try:
        from dendrotwin.membrane_gpu import GPUCell
    except ImportError as error:
        raise InputError(
            f"a cable twin needs Triton on {device} ({error}); install triton, or let it compute on the CPU"
        ) from error
    return GPUCell(known, device)


class _Compiled(NamedTuple):
    """What predictions are made of, and what that is made of.

    Attributes:
        counters, values, config: of the weights, how often they were changed and a hash of them; the configuration.
        known, boxed: see `membrane.predict`; the latter is a list of the former.
        read: weights and biases of the read-out.
        start: state at rest, as one array, and at its end the soma's recent potentials.
        on_gpu: the cell there, if the network is.
    """

    counters: tuple[int, ...]
    values: int
    config: CableConfig
    known: Known
    boxed: list[Known]
    read: tuple[NDArray[np.float32], ...]
    start: Floats
    on_gpu: GPUCell | None


class Cable(nn.Module):
    """The cable twin; see the module."""

    mean_mV: torch.Tensor
    sd_mV: torch.Tensor
    late_ms: torch.Tensor
    start: torch.Tensor

    def __init__(self, tree: Tree, config: CableConfig, history: bool) -> None:
        super().__init__()
        if history:
            raise InputError("the cable twin is free-running by nature; leave --history away")
        self.context = 0
        self.lead = config.filter_ms + config.settle_ms
        self.config, self.tree, self.soma = config, tree, tree.soma
        self.order = Elimination.of(tree)
        inner, parent = self.order.axial_uS[1:], self.order.parent[1:]
        self.joined_uS: Floats = np.append(0.0, inner) + np.bincount(parent, inner, len(inner) + 1)
        self.register_buffer("mean_mV", torch.full((tree.n,), tree.v_init_mV))
        self.register_buffer("sd_mV", torch.ones(tree.n))
        # Compartments sorted by region, as `membrane` wants them: their kind of membrane; and in it by distance.
        distance = (tree.distance_um // DISTANCE_UM).astype(np.int64)
        self.sorted = np.lexsort((distance, tree.region))
        self.first = np.unique(tree.region[self.sorted], return_index=True)[1]  # of each kind
        self.back = torch.from_numpy(np.argsort(self.sorted))
        inputs, values = components(tree)
        self.of_input = np.searchsorted(inputs, np.arange(tree.n_inputs + 1)).astype(np.int32)  # the first of each
        self.at = self.back.numpy()[tree.input_compartment[inputs]].astype(np.int32)
        self.peak_uS = values[:, 2]
        # Half of the simulation's step, by which an event acts late: conductance is that at the start of a step.
        self.register_buffer("late_ms", torch.tensor(0.0, dtype=torch.float64))
        self.classes, of_class = np.unique(values[:, [0, 1, 3, 4, 5]], axis=0, return_inverse=True)
        self.of_class = of_class.astype(np.int32).reshape(-1)
        self.kind = np.where(tree.in_region("soma"), 0, np.where(tree.in_region("axon"), 1, 2))
        near = np.stack([tree.region, distance], 1)
        groups = (tree.region, near, tree.section, np.arange(tree.n))
        self.groups = [
            torch.from_numpy(np.unique(g, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)) for g in groups
        ]
        self.first_at_distance = np.unique(self.groups[1].numpy(), return_index=True)[1]
        many = len(CHANNELS) + 1  # and SK
        self.parts = nn.ParameterList([torch.zeros(many, int(g.max()) + 1) for g in self.groups])
        start = torch.tensor([*(channel.density for channel in CHANNELS), SK_DENSITY]).log()
        self.register_buffer("start", start[:, torch.from_numpy(self.kind)])
        self.shift = nn.Parameter(torch.zeros(3, len(GATES)))
        self.log_tau = nn.Parameter(torch.zeros(3, len(GATES)))
        self.reversal = nn.Parameter(torch.zeros(2))  # of sodium and potassium
        self.calcium = nn.Parameter(torch.zeros(3, 2))  # log of gain and decay, relative to the unit
        with torch.no_grad():
            self.calcium[:, 1] = (torch.tensor(DECAY_START_MS) / CALCIUM_DECAY_MS).log()
        self.nernst = nn.Parameter(torch.zeros(1))
        self.log_gain = nn.Parameter(torch.zeros(len(self.classes)))
        self.read = nn.Sequential(nn.Linear(2 * LAGS, config.units), nn.ELU(), nn.Linear(config.units, 1))
        with torch.no_grad():
            self.read[-1].bias.fill_(-6.0)  # type: ignore[operator]
        self.read.requires_grad_(False)  # learned on its own (`readout`)
        self._weights = self._all_weights()
        self.progress = 1.0  # share of a training that is over
        self._compiled: _Compiled | None = None

    def _all_weights(self) -> tuple[torch.Tensor, ...]:
        """What `_compile` depends on."""
        return (*self.parameters(), self.start, self.late_ms, self.mean_mV, self.sd_mV)

    def _apply(self, fn: Any, recurse: bool = True) -> Cable:
        """To another device buffers go as new tensors."""
        with torch.inference_mode(False):  # tensors made in it do not count their versions
            super()._apply(fn, recurse)
        self._weights, self._compiled = self._all_weights(), None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What is compiled is neither copied nor saved."""
        return {**super().__getstate__(), "_compiled": None}

    def set_scaling(self, mean_mV: torch.Tensor, sd_mV: torch.Tensor) -> None:
        """The z-scores that the network speaks in: mean and standard deviation (n,) of each compartment [mV]."""
        self.mean_mV.copy_(mean_mV)
        self.sd_mV.copy_(sd_mV)

    def log_density(self) -> torch.Tensor:
        """(channels + 1, n) logarithm of each channel's density, then SK's [S/cm2]."""
        total = self.start
        for part, group, share in zip(self.parts, self.groups, SHARES, strict=True):
            total = total + share * part[:, group]
        return total.double().clamp(FLOOR, CEILING)

    def at_distances(self) -> Floats:
        """(channels + 1, distances) as `log_density`, of the first compartment at each distance of a region."""
        found: Floats = self.log_density().detach().numpy()[:, self.first_at_distance]
        return found

    @torch.no_grad()
    def set_at_distances(self, log_density: Floats) -> None:
        """Densities that are the same everywhere at a distance of a region.

        Args:
            log_density: (channels + 1, distances) as from `at_distances`.
        """
        for part in self.parts:
            part.zero_()
        self.parts[1].copy_(torch.from_numpy(log_density) - self.start[:, self.first_at_distance])

    def fine_substeps(self) -> Ints:
        """Few and many substeps of a millisecond where what is learned follows recorded potentials.

        Those of predictions are fewer; densities that made up for them would not be the cell's. Many are those of the
        simulation, but not fewer than in `FINE`.
        """
        late_ms, (few, many) = float(self.late_ms), FINE
        return np.array([few, max(many, round(0.5 / late_ms)) if late_ms > 0 else many], np.int32)

    def kinetics(self, substeps: Ints, gates: list[str], shift: torch.Tensor, log_tau: torch.Tensor) -> torch.Tensor:
        """(7, gates, bins, 3) `channels.tables` for each pair of steps that `membrane.steps` takes.

        Args:
            substeps: few and many.
            gates: names.
            shift, log_tau: (gates,) as in the parameters of these names.
        """
        grid = V_LOW_MV + V_BIN_MV * torch.arange(V_BINS, dtype=torch.float64)
        few, many = (0.5 / float(n) for n in substeps)
        slow, late = many * strides(substeps, 1), float(self.late_ms)
        halves = [(few, few), (many, many), (0.5, 0.5), (few, many), (many, few), (0.5, slow), (slow, slow)]
        across, along = ACROSS_MV * shift.double(), ALONG * log_tau.double()
        return torch.stack([tables(grid, pair, late, across, along, gates) for pair in halves])

    def learned(self, substeps: Ints) -> list[torch.Tensor]:
        """The fields of `membrane.Learned`, differentiable, for steps of these numbers (see `membrane.steps`)."""
        kinetics = [self.kinetics(substeps, list(GATES), self.shift[part], self.log_tau[part]) for part in range(3)]
        tree, kind, by_kind = self.tree, torch.from_numpy(self.kind), torch.from_numpy(self.sorted)
        area = torch.from_numpy(tree.area_um2) * 1e-2  # S/cm2 times this is uS
        density = torch.exp(self.log_density()) * area
        e_na, e_k = (e + REVERSAL_MV * r for e, r in zip((E_NA_MV, E_K_MV), self.reversal.double(), strict=True))
        ones = torch.ones_like(area)
        reversal = [e_na * ones if c.reversal_mV == E_NA_MV else e_k * ones for c in CHANNELS]
        uS = torch.cat([density[:-1], torch.from_numpy(tree.ih_uS)[None]])
        mV = torch.stack([*reversal, torch.from_numpy(tree.ih_mV)])
        gain, decay = torch.exp(self.calcium.double().clamp(*CALCIUM_E_FOLDS))[kind].unbind(1)
        per_nA = CALCIUM_GAMMA * gain * 1e4 / (2 * FARADAY * SHELL_UM) / area
        return [
            torch.stack(kinetics, 1)[:, torch.from_numpy(self.kind[self.sorted][self.first])].contiguous(),
            uS[:, by_kind].contiguous(),
            mV[:, by_kind].contiguous(),
            density[-1, by_kind],
            (e_k * ones)[by_kind],
            per_nA[by_kind],
            (CALCIUM_DECAY_MS * decay)[by_kind],
            NERNST_MV * torch.exp(self.nernst.double()),
        ]

    def cell(self) -> Cell:
        """What is known, with all channels in all kinds of membrane."""
        tree, names, by_kind = self.tree, list(GATES), self.sorted
        first = np.append(self.first, tree.n).astype(np.int32)
        kinds, many = len(first) - 1, len(CHANNELS) + 1  # and Ih
        of_gate = [
            (names.index(c.activation), c.power, -1 if c.inactivation is None else names.index(c.inactivation))
            for c in CHANNELS
        ] + [(names.index("Ih m"), 1, -1)]
        activation, power, inactivation = (
            np.tile(np.array(x, dtype=np.int32), (kinds, 1)) for x in zip(*of_gate, strict=True)
        )
        calcium = np.tile([c.reversal_mV is None for c in CHANNELS] + [False], (kinds, 1))
        fast = np.tile([c.fast for c in CHANNELS] + [False], (kinds, 1))
        rise, decay, e, mg, slope = self.classes.T.copy()
        onset = np.exp(float(self.late_ms) / self.classes[:, :2])
        grid = V_LOW_MV + V_BIN_MV * np.arange(V_BINS)
        block = 1.0 / (1.0 + mg[:, None] * np.exp(-slope[:, None] * grid) / 3.57)
        return Cell(
            self.order.parent, self.order.axial_uS, self.joined_uS, self.order.position[by_kind],
            int(self.back[tree.soma]),
            tree.capacitance_nF[by_kind], tree.leak_uS[by_kind], (tree.leak_uS * tree.leak_mV)[by_kind], first,
            np.full(kinds, len(names), np.int32), np.full(kinds, many, np.int32),
            np.full(kinds, QUICK_GATES, np.int32), np.full(kinds, QUICK_CHANNELS, np.int32), np.ones(kinds, np.bool_),
            np.ones(kinds, np.bool_), activation, power, inactivation, calcium, fast, rise, decay, e, onset, block,
            np.where(mg > 0, slope, 0.0),
        )  # fmt: skip

    def rest(self, cell: Cell, learned: Learned, v_mV: Floats) -> State:
        """Everything at its steady state at potentials (n,) [mV], sorted by kind; no synapse open.

        But calcium's concentration, which begins as NEURON has it.
        """
        n, classes = len(v_mV), len(self.classes)
        b = np.clip((v_mV - V_LOW_MV) / V_BIN_MV, 0, V_BINS - 1).astype(int)
        kind = np.repeat(np.arange(len(cell.gates)), np.diff(cell.first))
        gate = learned.tables[0, kind, :, b, 0].T.astype(np.float64)
        steady = 1.0 / (1.0 + (SK_HALF_MM / CALCIUM_START_MM) ** SK_POWER)
        silent = np.zeros((classes, n))
        return State(v_mV.copy(), gate.copy(), np.full(n, CALCIUM_START_MM), np.full(n, steady), silent, silent.copy(),
                     np.zeros(1))  # fmt: skip

    def opened(self, counts: NDArray[np.float32]) -> Arrivals:
        """What events (m, steps) open of the synaptic conductances."""
        found: Arrivals = arrive(counts, self.of_input, self.of_class, self.at, self._opens())
        return found

    def _opens(self) -> Floats:
        """(K,) what an event adds to both exponentials of each conductance of its input [uS]."""
        gain: Floats = torch.exp(self.log_gain.detach().double()).numpy()
        return self.peak_uS * gain[self.of_class]

    def _filtered(self, events: Arrivals, state: State) -> State:
        """The state with the synaptic conductances that events leave after their steps."""
        many = np.diff(events.first)
        age = np.repeat(len(many) - np.arange(len(many)), many)
        own = slice(events.first[0], events.first[-1])
        kind, at, uS = events.kind[own], events.at[own], events.uS[own]
        for left, tau in zip((state.rise_uS, state.decay_uS), self.classes.T, strict=False):
            np.add.at(left, (kind, at), uS * np.exp((float(self.late_ms) - age) / tau[kind]))
        return state

    def _guided(self, events: torch.Tensor, past: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """V (batch, window, n) [mV] and the soma's peaks (batch, window), nudged towards the truth.

        Args: events and past as for `forward`, with `lead` steps before the window.
        """
        config = self.config
        substeps = self.fine_substeps()
        cell, learned = self.lean(substeps)
        arrays = Learned(*(tensor.detach().numpy() for tensor in learned))
        mV = (past.transpose(1, 2) * self.sd_mV + self.mean_mV).double().numpy()
        true = np.ascontiguousarray(mV[:, :, self.sorted])
        low, high = (math.log(share) for share in config.nudge)
        low = high + (low - high) * max(0.0, (self.progress - config.alone) / (1.0 - config.alone))
        nudge = torch.exp(low + (high - low) * torch.rand(len(past), dtype=torch.float64)).tolist()

        def settle(k: int) -> tuple[State, Arrivals]:
            added = self.opened(events[k].numpy())
            before, after = config.filter_ms, self.lead
            state = self._filtered(added.part(0, before), self.rest(cell, arrays, true[k, before]))
            out, peak = np.empty((config.settle_ms, true.shape[2])), np.empty(config.settle_ms)
            steps(
                cell, arrays, substeps, TRAINED_AT, state, added.part(before, after),
                np.zeros((1, true.shape[2])), true[k, before:after], 1.0, NO_TAPE, out, peak,
            )  # fmt: skip
            return state, added.part(after, len(added.first) - 1)

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            states, added = zip(*pool.map(settle, range(len(past))), strict=True)
        v, peak = _Steps.apply(
            substeps, cell, TRAINED_AT, list(states), list(added), list(true[:, self.lead :]), nudge,
            self.log_gain.double(), *learned,
        )  # fmt: skip
        return v[:, :, self.back], peak

    def lean(self, substeps: Ints) -> tuple[Cell, list[torch.Tensor]]:
        """`cell` and `learned` without the channels that are nowhere at a distance; differentiable in what is left.

        Neighbours of the same kinetics are one kind where that is less work (`_kinds`).
        """
        cell, (tables, uS, mV, sk_uS, *others) = self.cell(), self.learned(substeps)
        area = self.tree.area_um2[self.sorted] * 1e-2  # S/cm2 times this is uS
        there = torch.cat([uS, sk_uS[None]]).detach().numpy() / area > SMALL
        starts = np.unique(self.groups[1].numpy()[self.sorted], return_index=True)[1]
        has = np.stack([group.any(1) for group in np.split(there, starts[1:], 1)])
        region = np.searchsorted(cell.first, starts, side="right") - 1
        own, has = _kinds(has, self.kind[self.sorted[starts]], np.diff(np.append(starts, self.tree.n)))
        ends = np.append(starts[own], self.tree.n).astype(np.int32)
        channels, sk = [np.flatnonzero(row[:-1]) for row in has], has[:, -1]
        gates = [
            np.unique(np.append(cell.activation[0, c], [g for g in cell.inactivation[0, c] if g >= 0])).astype(int)
            for c in channels
        ]
        width, deep, kinds = max(1, *(len(c) for c in channels)), max(1, *(len(g) for g in gates)), len(own)
        activation, power, inactivation = (np.zeros((kinds, width), np.int32) for _ in range(3))
        calcium, fast = (np.zeros((kinds, width), np.bool_) for _ in range(2))
        new_uS, new_mV = uS.new_zeros(width, uS.shape[1]), mV.new_zeros(width, mV.shape[1])
        new_tables = tables.new_zeros(len(tables), kinds, deep, *tables.shape[3:])
        for q, (some, used) in enumerate(zip(channels, gates, strict=True)):
            left, here = slice(0, len(some)), slice(ends[q], ends[q + 1])
            activation[q, left] = np.searchsorted(used, cell.activation[0, some])
            power[q, left], calcium[q, left], fast[q, left] = (
                field[0, some] for field in (cell.power, cell.calcium, cell.fast)
            )
            second = cell.inactivation[0, some]
            inactivation[q, left] = np.where(second >= 0, np.searchsorted(used, second), -1)
            new_uS[left, here], new_mV[left, here] = uS[some, here], mV[some, here]
            new_tables[:, q, : len(used)] = tables[:, region[own[q]], used]
        lean = cell._replace(
            first=ends, gates=np.array([len(g) for g in gates], np.int32),
            channels=np.array([len(c) for c in channels], np.int32),
            quick_gates=np.array([(g < QUICK_GATES).sum() for g in gates], np.int32),
            quick_channels=np.array([(c < QUICK_CHANNELS).sum() for c in channels], np.int32),
            pool=calcium.any(1) | sk, sk=sk,
            activation=activation, power=power, inactivation=inactivation, calcium=calcium, fast=fast,
        )  # fmt: skip
        return lean, [new_tables, new_uS, new_mV, sk_uS, *others]

    def _compile(self, running: bool) -> _Compiled:
        """`lean` and what else does not change from call to call, kept until a weight or the configuration does.

        Args:
            running: a state is at hand, so that the weights are those of the call before unless they were set in the
                usual ways; a hash of all their values would cost as much as a millisecond of the tree.
        """
        unknown = any(p.is_inference() for p in self._weights)  # how often they were changed
        counters, kept = () if unknown else tuple(p._version for p in self._weights), self._compiled
        if kept is not None and running and counters and kept.counters == counters and kept.config is self.config:
            return kept
        weights = b"".join(p.detach().cpu().numpy().tobytes() for p in self._weights)
        values = hash(weights)
        if kept is None or kept.values != values or kept.config != self.config:
            kept = self._compiled_anew(counters, values)
        self._compiled = kept._replace(counters=counters, config=self.config)
        return self._compiled

    def _compiled_anew(self, counters: tuple[int, ...], values: int) -> _Compiled:
        device = self.start.device
        with torch.inference_mode(False):  # see `_apply`
            here = self if device.type == "cpu" else copy.deepcopy(self).cpu()
        substeps = np.array(self.config.substeps, np.int32)
        cell, learned = here.lean(substeps)
        arrays = Learned(*(tensor.detach().numpy() for tensor in learned))
        # In single precision, but for potentials, the solve of the tree and calcium.
        arrays = _single(arrays, "tables", "density_uS", "reversal_mV", "sk_uS", "sk_mV")
        cell = _single(cell, "capacitance_nF", "leak_uS", "leak_nA", "block")
        mean_mV, per_sd = (x.double().numpy() for x in (here.mean_mV, 1.0 / here.sd_mV.double()))
        known = Known(
            cell, arrays, substeps, self.config.refine_at, self.of_input,
            self.of_class, self.at, here._opens(), self.back.numpy(), mean_mV, per_sd,
        )  # fmt: skip
        read = tuple(weight.detach().numpy().copy() for weight in here.read.parameters())
        rest = self.rest(cell, arrays, np.full(self.tree.n, self.tree.v_init_mV))
        recent = np.full(2 * (LAGS - 1), self.tree.v_init_mV)
        start = np.concatenate([*(array.reshape(-1) for array in rest), recent])
        on_gpu = None if device.type == "cpu" else _on_gpu(known, device)
        return _Compiled(counters, values, self.config, known, box(known), read, start, on_gpu)

    def _free(
        self, events: torch.Tensor, state: torch.Tensor | None, injected: NDArray[np.floating] | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """z (batch, time, n), the soma's (batch, LAGS - 1 + time, 2) [mV], and the state; from input alone."""
        compiled = self._compile(state is not None)
        current: Floats | None = None
        if injected is not None:
            current = np.ascontiguousarray(injected[:, :, self.sorted], dtype=np.float64)
        if state is None:
            state = torch.from_numpy(compiled.start).to(events.device).expand(len(events), -1)
        if compiled.on_gpu is None:
            return self._on_cpu(compiled, events.numpy(), state.numpy().copy(), current)
        there = None if current is None else torch.from_numpy(current).to(events.device)
        of_cell, recent = state.split([state.shape[1] - 2 * (LAGS - 1), 2 * (LAGS - 1)], 1)
        z, soma, of_cell = compiled.on_gpu.predict(events, there, of_cell)
        soma = torch.cat([recent.unflatten(1, (LAGS - 1, 2)), soma], 1)
        return z, soma, torch.cat([of_cell, soma[:, 1 - LAGS :].flatten(1)], 1)

    def _on_cpu(
        self, compiled: _Compiled, counts: NDArray[np.float32], packed: Floats, injected: Floats | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`_free`, one cell of the batch on each thread."""
        batch, time, n = len(counts), counts.shape[2], self.tree.n
        recent = packed[:, -2 * (LAGS - 1) :].reshape(batch, LAGS - 1, 2)
        z, soma = np.empty((batch, time, n), np.float32), np.empty((batch, LAGS - 1 + time, 2))
        soma[:, : LAGS - 1] = recent
        silent = np.zeros((1, n))

        def one(k: int) -> None:
            current = silent if injected is None else injected[k]
            of_cell = packed[k, : -2 * (LAGS - 1)]
            predict(compiled.boxed, np.ascontiguousarray(counts[k]), current, of_cell, z[k], soma[k, LAGS - 1 :])

        if batch == 1:
            one(0)
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(one, range(batch)))
        recent[:] = soma[:, -(LAGS - 1) :]
        return torch.from_numpy(z), torch.from_numpy(soma), torch.from_numpy(packed)

    def soma_course(self, events: torch.Tensor) -> torch.Tensor:
        """(batch, time, 2 LAGS) what the read-out sees of free-running predictions of events, as for `forward`."""
        return _windows(self._free(events, None, None)[1], events.shape[2])

    def forward(
        self,
        events: torch.Tensor,
        past: torch.Tensor | None = None,
        state: torch.Tensor | None = None,
        injected: NDArray[np.floating] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """See `models.Network`. With `past`, a guided window of training, `lead` steps before it, on the CPU.

        Args:
            events, state: on the network's device.
            injected: (batch, time, n) current into each compartment [nA].

        Raises:
            InputError: on a GPU, a quiet millisecond has several substeps, or Triton is missing.
        """
        if past is None:
            z, seen, new = self._free(events, state, injected)
            if z.device.type != "cpu":
                return z, self.read(_windows(seen, z.shape[1]))[..., 0], new
            assert self._compiled is not None
            logit = np.empty(z.shape[:2], np.float32)
            for k in range(len(z)):
                _logits(self._compiled.read, seen[k].numpy(), logit[k])
            return z, torch.from_numpy(logit), new
        v, peak = self._guided(events, past)
        first = past[:, self.soma, self.lead] * self.sd_mV[self.soma] + self.mean_mV[self.soma]
        soma = torch.stack([v[..., self.soma].detach(), peak], 2)
        soma = torch.cat([first.to(soma)[:, None, None].expand(-1, LAGS - 1, 2), soma], 1)
        logit = self.read(_windows(soma, v.shape[1]))[..., 0]
        return (v.float() - self.mean_mV) / self.sd_mV, logit, None
