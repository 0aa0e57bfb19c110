"""A circuit in time: all cells of a model as one batch, slice by slice, and their spikes on their way.

A slice is no longer than the smallest delay between cells, so that no spike of a slice arrives in the same slice (as in
NEURON's and NEST's parallel simulations: Morrison et al. 2005, doi:10.1162/0899766054026648). In a slice

    background, trains   of the slice into the queues
    events               of each cell, sorted
    cells                go on, on their own
    output spikes        of all processes, sorted by time and node, into the queues
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import SPIKE_MV, Floats
from dendrotwin.circuit.description import Description, Population
from dendrotwin.circuit.wiring import BackgroundHere, ModelHere, Numbering, joined, models_of
from dendrotwin.errors import CircuitError
from dendrotwin.models.cable import TABLES_MV, Cable, first_outside_tables
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.solver.batch import Batch
from dendrotwin.solver.delivery import Connections, Grid, Ring, collect, crossings, make_ring, send
from dendrotwin.solver.integrator.state import Output, Watch
from dendrotwin.solver.stepper import Stepper, no_watch
from dendrotwin.support.memory import require_memory

BLOCK_MS = 1.0  # of the solver, where no delay asks for less
LONGEST_SLICE_MS = 16.0
SHORTEST_DELAY_MS = 2.0**-8  # between cells: the shortest step of the solver
SLOT_BYTES = 16  # of a queue without events
BACKGROUND_MS = 64.0  # drawn at once, and waiting in queues: a whole number of slices, whatever their length
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """How a circuit is run.

    Attributes:
        duration_ms: how long [ms].
        threshold_mV: the soma's potential makes an output spike where it crosses this upwards [mV].
        accuracy: of the cells' steps.
        seed: of all backgrounds.
        threads: of this process.
    """

    duration_ms: float
    threshold_mV: float = SPIKE_MV
    accuracy: CableConfig = field(default_factory=CableConfig)
    seed: int = 0
    threads: int = 1

    @property
    def of_results(self) -> Settings:
        """Those on which results depend: threads change none."""
        return replace(self, threads=1)


def shortest_delay(circuit: Description) -> float:
    """The shortest delay between cells [ms]; infinite where no cell is connected to another.

    Args:
        circuit: its description, or a part of it.
    """
    cells = {population.name for population in circuit.populations}
    return min((float(p.delay_ms.min()) for p in circuit.projections if p.source in cells and len(p)), default=np.inf)


def slice_of(shortest_ms: float) -> float:
    """Length of a slice: the largest power of 2 [ms] that is no longer than any delay between cells.

    Args:
        shortest_ms: of these delays [ms].

    Raises:
        CircuitError: it is shorter than the shortest step.
    """
    if shortest_ms < SHORTEST_DELAY_MS:
        raise CircuitError(
            f"a connection between cells has a delay of {shortest_ms:g} ms; the shortest that can be is "
            f"{SHORTEST_DELAY_MS} ms, a step of the solver: lengthen it"
        )
    return float(2.0 ** np.floor(np.log2(min(shortest_ms, LONGEST_SLICE_MS))))


@dataclass(eq=False)
class Cells:
    """The cells of one model in this process.

    Attributes:
        here: what they are and what arrives at them.
        batch: their states.
        ring: their events on the way.
        clamps: currents into them.
    """

    here: ModelHere
    batch: Batch
    ring: Ring
    clamps: ClampsHere


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a slice gives of the cells of one model; compartments are in positions (`Stepper.layout`).

    Attributes:
        cells: the model.
        v_mV: (cells, samples, watched) [mV].
        c_mM: (cells, samples, ions, watched) concentrations inside [mM]; no samples where nothing asks for them.
        injected_nA: (cells, samples, n) current of clamps in the blocks of the samples [nA], or None.
    """

    cells: Cells
    v_mV: NDArray[np.float32]
    c_mM: NDArray[np.float32]
    injected_nA: Floats | None


@dataclass(frozen=True)
class Sampling:
    """What is recorded of every model's cells.

    Attributes:
        every_ms: how often [ms].
        somata_only: whether the soma alone is recorded, or all compartments.
        concentrations: whether concentrations are recorded too.
    """

    every_ms: float = 1.0
    somata_only: bool = False
    concentrations: bool = False

    def times_ms(self, start_ms: float, stop_ms: float) -> Floats:
        """(samples,) times after the start of a span, up to its end [ms].

        Args:
            start_ms, stop_ms: of the span [ms].
        """
        first, last = (int(np.floor(t / self.every_ms + 1e-9)) for t in (start_ms, stop_ms))
        return np.arange(first + 1, last + 1, dtype=np.float64) * self.every_ms

    def within_steps(self, block_ms: float) -> bool:
        """Whether the ends of blocks are not enough.

        Args:
            block_ms: length of a block [ms].
        """
        return self.concentrations or self.every_ms % block_ms != 0.0

    def watch(self, grid: Grid, threshold_mV: float, times_ms: Floats, position: Indices) -> Watch:
        """What the solver looks at in a slice.

        Args:
            grid: of the slice.
            threshold_mV: of output spikes [mV].
            times_ms: of the samples [ms].
            position: (watched,) compartments.
        """
        if not self.within_steps(grid.block_ms):
            return no_watch(grid.blocks, threshold_mV)
        block = _blocks_of(times_ms, grid)
        after_ms = np.clip(times_ms - (grid.start_ms + block * grid.block_ms), 0.0, grid.block_ms)
        return Watch(threshold_mV, np.searchsorted(block, np.arange(grid.blocks + 1)), after_ms, position)


def _blocks_of(times_ms: Floats, grid: Grid) -> Indices:
    """The block in which each sample is; one at the end of a block is in that."""
    return np.ceil((times_ms - grid.start_ms) / grid.block_ms - 1e-9).astype(np.int64) - 1


class Engine:
    """A circuit that runs, or the part of it that one process has.

    Args:
        circuit: its description, checked, or what of it ends in the cells of this process.
        settings: see there.
        sampling: what is recorded.
        rank, processes: which process this is, of how many.
        shortest_ms: the shortest delay between cells, of all processes; of this description where it is None [ms].

    Attributes:
        slice_ms: length of a slice [ms].
        block_ms: that of the solver's blocks [ms].
        slice: which comes next.
        models: this process's cells.
    """

    def __init__(
        self, circuit: Description, settings: Settings, sampling: Sampling, rank: int = 0, processes: int = 1,
        shortest_ms: float | None = None,
    ) -> None:  # fmt: skip
        self.circuit, self.settings, self.sampling, self.numbers = circuit, settings, sampling, Numbering.of(circuit)
        self.slice_ms = slice_of(shortest_delay(circuit) if shortest_ms is None else shortest_ms)
        self.block_ms = min(BLOCK_MS, self.slice_ms)
        self.slice = 0
        self.models = [self._cells(here) for here in models_of(circuit, settings.duration_ms, rank, processes)]
        self.train_node, self.train_ms = _sorted_trains(circuit, self.numbers)

    def _cells(self, here: ModelHere) -> Cells:
        model = cast(Cable, here.twin.model)
        stepper = Stepper(here.tree, model.membrane, self.settings.accuracy.steps, self.block_ms)
        ahead = int(here.delay_ms / self.slice_ms) + 2
        slots = max(ahead, int(BACKGROUND_MS / self.slice_ms)) if here.backgrounds else ahead
        require_memory(
            SLOT_BYTES * slots, f"a queue for each slice of {self.slice_ms:g} ms in a delay of {here.delay_ms:g} ms",
            "shorten the longest delay, or lengthen the shortest one between cells",
        )  # fmt: skip
        ring = make_ring(slots)
        clamps = ClampsHere.of(self.circuit, self.numbers, here, stepper.layout.position)
        return Cells(here, Batch(stepper, len(here.node), self.settings.threads), ring, clamps)

    @property
    def time_ms(self) -> float:
        """Start of the next slice [ms]."""
        return self.slice * self.slice_ms

    @property
    def slices(self) -> int:
        """How many slices the run has."""
        return int(np.ceil(self.settings.duration_ms / self.slice_ms))

    def advance(self, gather: Callable[[Indices, Floats], tuple[Indices, Floats]]) -> tuple[Floats, list[Recorded]]:
        """One slice.

        Args:
            gather: gets this process's output spikes, nodes (s,) and times (s,) [ms], and gives those of all processes
                sorted by time and then by node.

        Returns:
            (samples,) when something was recorded [ms], and what, of each model, valid until the next call.

        Raises:
            CircuitError: a potential leaves the tables of the membrane.
        """
        left_ms = self.settings.duration_ms - self.time_ms
        blocks = min(round(self.slice_ms / self.block_ms), int(np.ceil(left_ms / self.block_ms)))
        grid = Grid(self.time_ms, self.block_ms, blocks)
        stop_ms = self.time_ms + min(left_ms, blocks * self.block_ms)
        times_ms = self.sampling.times_ms(self.time_ms, stop_ms)
        nodes, spikes_ms, found = [np.zeros(0, np.int64)], [np.zeros(0)], []
        for cells in self.models:
            self._send_input(cells, grid)
            stepper, count = cells.batch.stepper, len(cells.here.node)
            events = collect(cells.ring, self.slice % len(cells.ring.waiting), stepper.layout.inputs, count, grid)
            watch = self.sampling.watch(grid, self.settings.threshold_mV, times_ms, self.watched(cells))
            injected = cells.clamps.mean_nA(grid, count, stepper.tree.n)
            output = cells.batch.advance(events, blocks, watch, injected)
            self._refuse_outside_tables(cells, output.v_mV)
            who, when = crossings(output.crossing_ms, grid)
            inside = when < self.settings.duration_ms
            nodes.append(cells.here.node[who[inside]])
            spikes_ms.append(when[inside])
            found.append(self._recorded(cells, output, injected, grid, times_ms))
        node, time_ms = gather(np.concatenate(nodes), np.concatenate(spikes_ms))
        for cells in self.models:
            self._send(cells, node, time_ms)
        self.slice += 1
        return times_ms, found

    def watched(self, cells: Cells) -> Indices:
        """(watched,) positions of the compartments that are recorded.

        Args:
            cells: of a model.
        """
        arrays = cells.batch.stepper.layout.arrays
        if self.sampling.somata_only:
            return np.array([arrays.soma], np.int64)
        return np.arange(len(arrays.capacitance_nF), dtype=np.int64)

    def place(self, number: int) -> tuple[Population, int]:
        """The population of a cell, and which of its nodes it is.

        Args:
            number: of the cell in the circuit.
        """
        for population in self.circuit.populations:
            node = number - self.numbers.first[population.name]
            if 0 <= node < len(population):
                return population, node
        raise IndexError(number)

    def _recorded(
        self, cells: Cells, output: Output, injected: Floats | None, grid: Grid, times_ms: Floats
    ) -> Recorded:  # fmt: skip
        block = _blocks_of(times_ms, grid)
        current = None if injected is None else injected[:, block]
        if self.sampling.within_steps(self.block_ms):
            return Recorded(cells, output.sample_mV, output.sample_mM, current)
        v = output.v_mV if len(block) == output.v_mV.shape[1] else output.v_mV[:, block]
        if self.sampling.somata_only:
            v = v[:, :, self.watched(cells)]
        return Recorded(cells, v, output.sample_mM, current)

    def _send_input(self, cells: Cells, grid: Grid) -> None:
        """Events of backgrounds and trains of a slice."""
        if grid.start_ms % BACKGROUND_MS == 0.0:
            for k, background in enumerate(cells.here.backgrounds):
                seed = (self.settings.seed, background.seed, k, int(grid.start_ms / BACKGROUND_MS))
                cells.ring = _draw(cells, background, seed, grid.start_ms, self.slice_ms)
        first, last = np.searchsorted(self.train_ms, (grid.start_ms, grid.start_ms + self.slice_ms))
        self._send(cells, self.train_node[first:last], self.train_ms[first:last])

    def _send(self, cells: Cells, node: Indices, time_ms: Floats) -> None:
        here = cells.here
        cells.ring = send(cells.ring, here.connections, here.plasticity, node, time_ms, self.slice_ms)

    def _refuse_outside_tables(self, cells: Cells, v_mV: NDArray[np.float32]) -> None:
        outside = first_outside_tables(v_mV)
        if outside is None:
            return
        cell, block, position = outside
        layout, node = cells.batch.stepper.layout, int(cells.here.node[cell])
        raise CircuitError(
            f"the potential of compartment {layout.compartment[position]} of {self.numbers.name(node)} is "
            f"{v_mV[cell, block, position]:.3g} mV at {self.time_ms + (block + 1) * self.block_ms:g} ms, outside of "
            f"{TABLES_MV}, where its channels are known; correct the weights or the currents into it"
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the run needs to go on from here, arrays by name: (cells, ...) of each model's states."""
        found: dict[str, NDArray[Any]] = {"slice": np.array(self.slice)}
        for k, cells in enumerate(self.models):
            parts = {**cells.batch.states._asdict(), **cells.ring._asdict()}
            parts |= cells.here.plasticity.state()
            found |= {f"{k}.{name}": array for name, array in parts.items()}
        return found

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of the same circuit, settings and processes.

        Args:
            state: from `state`, (cells, ...) of each model.
        """
        self.slice = int(state["slice"])
        for k, cells in enumerate(self.models):
            cells.ring = Ring(*(state[f"{k}.{name}"] for name in Ring._fields))
            changed = cells.batch.states._asdict() | cells.here.plasticity.state()
            for name, array in changed.items():
                array[...] = state[f"{k}.{name}"]


@dataclass(frozen=True, eq=False)
class ClampsHere:
    """Current steps into the cells of one model here, K of them.

    Attributes:
        cell: (K,) counted in the cells here.
        position: (K,) of the compartment.
        start_ms, stop_ms: (K,) from when to when [ms].
        current_nA: (K,) [nA].
    """

    cell: Indices
    position: Indices
    start_ms: Floats
    stop_ms: Floats
    current_nA: Floats

    @classmethod
    def of(cls, circuit: Description, numbers: Numbering, here: ModelHere, position: Indices) -> ClampsHere:
        """Those of a circuit that end here.

        Args:
            circuit: its description.
            numbers: of its nodes.
            here: the cells.
            position: (n,) of each compartment.
        """
        cell = np.full(numbers.total, -1, np.int64)
        cell[here.node] = np.arange(len(here.node))
        parts: list[list[Any]] = [[np.zeros(0)] for _ in range(5)]
        for clamps in circuit.clamps:
            found = cell[clamps.node + numbers.first[clamps.population]]
            columns = (found, clamps.compartment, clamps.start_ms, clamps.stop_ms, clamps.current_nA)
            for part, column in zip(parts, columns, strict=True):
                part.append(np.asarray(column)[found >= 0])
        which, compartment, start, stop, current = (np.concatenate(part) for part in parts)
        return cls(which.astype(np.int64), position[compartment.astype(np.int64)], start, stop, current)

    def mean_nA(self, grid: Grid, cells: int, n: int) -> Floats | None:
        """(cells, blocks, n) mean current of each block into each position [nA], or None where there is none.

        Args:
            grid: of the slice.
            cells: how many there are.
            n: compartments of a cell.
        """
        begin = grid.start_ms + grid.block_ms * np.arange(grid.blocks)[:, None]
        inside_ms = np.minimum(self.stop_ms, begin + grid.block_ms) - np.maximum(self.start_ms, begin)
        share = np.clip(inside_ms / grid.block_ms, 0.0, 1.0)
        if not share.any():
            return None
        found = np.zeros((cells, grid.blocks, n))
        np.add.at(found.swapaxes(1, 2), (self.cell, self.position), (share * self.current_nA).T)
        return found


def _sorted_trains(circuit: Description, numbers: Numbering) -> tuple[Indices, Floats]:
    """Spikes of all trains, by time and then by node."""
    parts = [(part.node + numbers.first[part.name], part.time_ms) for part in circuit.trains]
    node, time_ms = (np.concatenate([np.zeros(0), *column]) for column in zip(*parts, strict=True)) if parts else (
        np.zeros(0), np.zeros(0)
    )  # fmt: skip
    order = np.lexsort((node, time_ms))
    return node[order].astype(np.int64), time_ms[order]


def _draw(
    cells: Cells, background: BackgroundHere, seed: tuple[int, ...], start_ms: float, slice_ms: float
) -> Ring:  # fmt: skip
    """The queues with the next events of a background: each cell has random numbers of its own."""
    who, place, when = [], [], []
    for cell, node in enumerate(cells.here.node):
        first, stop = background.first[cell], background.first[cell + 1]
        expected = np.cumsum(background.rate_hz[first:stop]) * (BACKGROUND_MS * 1e-3)
        if first == stop or expected[-1] == 0.0:
            continue
        random = np.random.default_rng((*seed, int(node)))
        many = random.poisson(expected[-1])
        when.append(start_ms + BACKGROUND_MS * random.random(many))
        place.append(first + np.searchsorted(expected, expected[-1] * random.random(many), side="right"))
        who.append(np.full(many, cell))
    target, at = joined(who).astype(np.int32), joined(place)
    time_ms, many = np.concatenate([np.zeros(0), *when]), len(target)
    at_once, fixed = np.zeros(many), np.full(many, -1, np.int32)
    weight, input = background.weight[at], background.input[at]
    one_each = Connections(np.arange(many + 1), target, input, weight, at_once, fixed)
    return send(cells.ring, one_each, cells.here.plasticity, np.arange(many), time_ms, slice_ms)
