"""What is recorded of a circuit while it runs: it is reduced slice by slice, so that memory does not grow with time.

What a recorder has found since it was last asked are its *parts*: arrays whose first axis is time, or spikes. A process
records its own cells; `join` puts the parts of all processes together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.description import Description, Population
from dendrotwin.circuit.engine import Cells, Engine, Recorded
from dendrotwin.circuit.places import placed_tree
from dendrotwin.circuit.wiring import joined
from dendrotwin.errors import InputError, MissingPackageError
from dendrotwin.signals.instruments import LinearInstrument, settings_of
from dendrotwin.solver.axial_currents import Neighbours, membrane_currents

Indices = NDArray[np.int64]
Parts = dict[str, NDArray[Any]]
# Samples whose field is computed at once: the matrix of a cell, which is larger than its cache, is read once for them.
FIELD_SAMPLES = 16
FIELD_CELLS = 64  # whose fields are summed in single precision


class Recorder(Protocol):
    """Records something of a circuit.

    Attributes:
        name: of what it records.
        somata_only: whether potentials of the somata are enough.
        concentrations: whether it asks for concentrations.
        held_bytes: about how much memory its parts have so far.
        asked: all that its parts depend on: a run that goes on records the same.
    """

    name: str
    somata_only: bool
    concentrations: bool
    held_bytes: int

    @property
    def asked(self) -> list[Any]:
        """See the class."""

    def begin(self, engine: Engine) -> None:
        """Get ready for the cells of this process.

        Args:
            engine: that runs them.
        """

    def take(self, time_ms: Floats, recorded: Sequence[Recorded]) -> None:
        """Take what a slice gives.

        Args:
            time_ms: (samples,) when [ms].
            recorded: of each model.
        """

    def parts(self) -> Parts:
        """What was found since it was last asked, by name."""

    def join(self, parts: Sequence[Parts]) -> Parts:
        """The parts of all processes, in their order, as one."""


class Potentials:
    """Potentials, or concentrations, of compartments of a population.

    Its parts: `time_ms` (samples,), `values` (samples, elements) in mV or mM, and `node` and `compartment` (elements,).

    Args:
        population: its name.
        nodes: (k,) of the population; None for all.
        compartments: "soma", "all", or (m,) numbers, the same of each cell.
        variable: "v", or the concentration inside of an ion, such as "cai".
        name: of what is recorded.
        elements: (e,) nodes and (e,) compartments, in place of `nodes` and `compartments`.
    """

    def __init__(
        self, population: str, nodes: Sequence[int] | NDArray[np.integer] | None = None,
        compartments: str | Sequence[int] | NDArray[np.integer] = "soma", variable: str = "v", name: str | None = None,
        elements: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
    ) -> None:  # fmt: skip
        self.population, self.nodes, self.compartments, self.variable = population, nodes, compartments, variable
        self.name = name or f"{variable}-{population}"
        self.elements = elements
        self.somata_only = elements is None and isinstance(compartments, str) and compartments == "soma"
        self.concentrations = variable != "v"
        self.held_bytes = 0
        self._found: list[tuple[Floats, NDArray[np.float32]]] = []

    @property
    def asked(self) -> list[Any]:
        """See `Recorder`."""
        return [self.name, self.population, self.nodes, self.compartments, self.variable, self.elements]

    def begin(self, engine: Engine) -> None:
        """See `Recorder`.

        Raises:
            InputError: there is no such population, node or compartment; or a cell has no such ion.
        """
        population = named(engine.circuit, self.population)
        node, compartment = self._elements(population) if self.elements is None else self.elements
        node, compartment = np.asarray(node, np.int64), np.asarray(compartment, np.int64)
        if len(node) and not (node.min() >= 0 and node.max() < len(population)):
            raise InputError(f"{self.name} names node {node.max()} of {population.name}, which has {len(population)}")
        number = node + engine.numbers.first[population.name]
        self._columns = [self._column(engine, cells, number, compartment) for cells in engine.models]
        self.element = joined(element for element, *_ in self._columns)
        self.node, self.compartment = node[self.element], compartment[self.element]

    def _elements(self, population: Population) -> tuple[Indices, Indices]:
        """Nodes and compartments, one by one."""
        nodes = np.arange(len(population)) if self.nodes is None else np.unique(np.asarray(self.nodes, np.int64))
        if len(nodes) and not (nodes[0] >= 0 and nodes[-1] < len(population)):
            raise InputError(f"{self.name} names node {nodes[-1]} of {population.name}, which has {len(population)}")
        if isinstance(self.compartments, str):
            if self.compartments not in ("soma", "all"):
                raise InputError(f"{self.name}: compartments are soma, all or numbers, not {self.compartments!r}")
            trees = [twin.tree for twin in population.twins]
            of_model = [np.array([t.soma]) if self.compartments == "soma" else np.arange(t.n) for t in trees]
        else:
            of_model = [np.asarray(self.compartments, np.int64)] * len(population.twins)
        where = [of_model[m] for m in population.model[nodes]]
        return np.repeat(nodes, [len(each) for each in where]), joined(where)

    def _column(
        self, engine: Engine, cells: Cells, number: Indices, compartment: Indices
    ) -> tuple[Indices, Indices, Indices, int]:  # fmt: skip
        """Which elements are of a model's cells, of which cells, at which places of those watched; and which ion."""
        tree, layout, node = cells.here.tree, cells.batch.stepper.layout, cells.here.node
        cell = np.minimum(np.searchsorted(node, number), len(node) - 1)
        mine = np.flatnonzero(node[cell] == number)
        where = compartment[mine]
        if len(where) and not (where.min() >= 0 and where.max() < tree.n):
            raise InputError(f"{self.name} names compartment {where.max()}, and a cell has {tree.n}; correct it")
        ion = -1
        if self.variable != "v" and len(mine):
            ions = [f"{each.name}i" for each in cells.batch.stepper.membrane.ions]
            if self.variable not in ions:
                known = ", ".join(["v", *ions])
                raise InputError(f"{self.name}: a cell of {self.population} has no {self.variable}; it has {known}")
            ion = ions.index(self.variable)
        place = np.zeros(tree.n, np.int64)
        place[engine.watched(cells)] = np.arange(len(engine.watched(cells)))
        return mine, cell[mine], place[layout.position[where]], ion

    def take(self, time_ms: Floats, recorded: Sequence[Recorded]) -> None:
        """See `Recorder`."""
        parts = [np.zeros((len(time_ms), 0), np.float32)]
        for one, (_, cell, at, ion) in zip(recorded, self._columns, strict=True):
            if len(cell):
                values = one.v_mV if ion < 0 else one.c_mM[:, :, ion]
                parts.append(values[cell, :, at].T)
        self._found.append((time_ms, np.concatenate(parts, axis=1)))
        self.held_bytes += self._found[-1][1].nbytes

    def parts(self) -> Parts:
        """See `Recorder`."""
        found, self._found, self.held_bytes = self._found, [], 0
        return {
            "time_ms": np.concatenate([np.zeros(0), *(time_ms for time_ms, _ in found)]),
            "values": np.concatenate([np.zeros((0, len(self.node)), np.float32), *(values for _, values in found)]),
            "node": self.node,
            "compartment": self.compartment,
            "element": self.element,
        }

    def join(self, parts: Sequence[Parts]) -> Parts:
        """See `Recorder`."""
        names = ("node", "compartment", "element")
        node, compartment, element = (np.concatenate([part[name] for part in parts]) for name in names)
        order = np.argsort(element)
        values = np.concatenate([part["values"] for part in parts], axis=1)[:, order]
        return {
            "time_ms": parts[0]["time_ms"], "values": values, "node": node[order], "compartment": compartment[order]
        }  # fmt: skip


class Field:
    """The signal of a linear instrument, such as an LFP probe, summed over all cells and over those of populations.

    With M the instrument's matrix of a cell at its place, the signal is the sum over cells of M I, I being their
    membrane currents (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), or of M V. Its parts: `time_ms` (samples,),
    and `values` (populations, samples, channels), the sum being that over populations.

    Args:
        instrument: what records; see `signals`.
        nodes: (k,) the cells that count, of each population; None for all.
        name: of what is recorded; the instrument's where nothing is said.
    """

    somata_only, concentrations, held_bytes = False, False, 0

    def __init__(
        self, instrument: LinearInstrument, nodes: Mapping[str, NDArray[np.integer]] | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        self.instrument, self.nodes, self.name = instrument, nodes, name or instrument.name
        self._found: list[tuple[Floats, Floats]] = []

    @property
    def asked(self) -> list[Any]:
        """See `Recorder`."""
        return [self.name, settings_of(self.instrument), self.instrument.channels(), self.nodes]

    def begin(self, engine: Engine) -> None:
        """See `Recorder`.

        Raises:
            InputError: the instrument does not fit a cell.
        """
        self._time: list[Floats] = []
        self._sources: list[list[NDArray[np.float32]]] = [[] for _ in engine.models]
        self._channels = len(next(iter(self.instrument.channels().values())))
        self._matrices = [self._of_model(engine, cells) for cells in engine.models]
        self._neighbours = [
            Neighbours.of(cells.here.twin.tree, cells.batch.stepper.layout.compartment) for cells in engine.models
        ]
        bounds = np.cumsum([0, *map(len, engine.circuit.populations)])
        self._populations = len(engine.circuit.populations)
        self._of_cell = [np.searchsorted(bounds, cells.here.node, side="right") - 1 for cells in engine.models]

    def _of_model(self, engine: Engine, cells: Cells) -> NDArray[np.float32]:
        """(cells, n, channels) by position."""
        order = cells.batch.stepper.layout.compartment
        found = np.zeros((len(cells.here.node), len(order), self._channels), np.float32)
        for k, number in enumerate(cells.here.node):
            population, node = engine.place(int(number))
            if self.nodes is not None and node not in self.nodes.get(population.name, ()):
                continue
            try:
                found[k] = self.instrument.matrix(placed_tree(population, node)).T[order]
            except MissingPackageError:
                raise
            except InputError as error:
                raise InputError(f"node {node} of {population.name}: {error}") from error
        return found

    def take(self, time_ms: Floats, recorded: Sequence[Recorded]) -> None:
        """See `Recorder`."""
        for one, sources, neighbours in zip(recorded, self._sources, self._neighbours, strict=True):
            source = np.empty((one.v_mV.shape[1], one.v_mV.shape[0], one.v_mV.shape[2]), np.float32)
            if self.instrument.acts_on == "potentials":
                source[:] = one.v_mV.swapaxes(0, 1)
            else:
                membrane_currents(neighbours, one.v_mV, source)
                if one.injected_nA is not None:
                    source += one.injected_nA.swapaxes(0, 1)
            sources.append(source)
        self._time.append(time_ms)
        if sum(map(len, self._time)) >= FIELD_SAMPLES:
            self._sum()

    def _sum(self) -> None:
        """The field of all samples that wait."""
        time_ms = np.concatenate([np.zeros(0), *self._time])
        values = np.zeros((self._populations, len(time_ms), self._channels))
        for sources, matrix, population in zip(self._sources, self._matrices, self._of_cell, strict=True):
            if not sources:
                continue
            for p in np.unique(population):
                mine = np.flatnonzero(population == p)  # nodes of a population follow each other, and so do its cells
                for begin in range(mine[0], mine[-1] + 1, FIELD_CELLS):
                    some = slice(begin, min(begin + FIELD_CELLS, mine[-1] + 1))
                    part = np.concatenate([source[:, some] for source in sources])  # (samples, cells, n)
                    values[p] += part.reshape(len(time_ms), -1) @ matrix[some].reshape(-1, self._channels)
            sources.clear()
        self._time = []
        self._found.append((time_ms, values))

    def parts(self) -> Parts:
        """See `Recorder`."""
        self._sum()
        found, self._found = self._found, []
        return {
            "time_ms": np.concatenate([time_ms for time_ms, _ in found]),
            "values": np.concatenate([values for _, values in found], axis=1),
        }

    def join(self, parts: Sequence[Parts]) -> Parts:
        """See `Recorder`."""
        return {"time_ms": parts[0]["time_ms"], "values": np.sum([part["values"] for part in parts], axis=0)}


@dataclass(eq=False)
class Spikes:
    """Output spikes: its parts are `node` (s,), numbered in the circuit, and `time_ms` (s,), by time and then node.

    Attributes:
        name, somata_only, concentrations, held_bytes: see `Recorder`.
    """

    name: str = "spikes"
    somata_only: bool = True
    concentrations: bool = False
    held_bytes: int = 0

    @property
    def asked(self) -> list[Any]:
        """See `Recorder`."""
        return [self.name]

    def begin(self, engine: Engine) -> None:
        """See `Recorder`."""
        self._found: list[tuple[Indices, Floats]] = []

    def add(self, node: Indices, time_ms: Floats) -> None:
        """Spikes of this process's cells.

        Args:
            node: (s,) numbers.
            time_ms: (s,) [ms].
        """
        self._found.append((node, time_ms))

    def take(self, time_ms: Floats, recorded: Sequence[Recorded]) -> None:
        """See `Recorder`: spikes come by `add`."""

    def parts(self) -> Parts:
        """See `Recorder`."""
        found, self._found = self._found, []
        time_ms = np.concatenate([np.zeros(0), *(time_ms for _, time_ms in found)])
        return {"node": joined(node for node, _ in found), "time_ms": time_ms}

    def join(self, parts: Sequence[Parts]) -> Parts:
        """See `Recorder`."""
        node, time_ms = (np.concatenate([part[name] for part in parts]) for name in ("node", "time_ms"))
        order = np.lexsort((node, time_ms))
        return {"node": node[order], "time_ms": time_ms[order]}


def spikes_of(spikes: Parts, first: int, count: int) -> tuple[Indices, Floats]:
    """The spikes of one population.

    Args:
        spikes: parts of `Spikes`.
        first: number of the population's first node in the circuit.
        count: of its nodes.

    Returns:
        (s,) nodes, counted in the population, and (s,) times [ms].
    """
    node = spikes["node"] - first
    mine = (node >= 0) & (node < count)
    return node[mine], spikes["time_ms"][mine]


def named(circuit: Description, name: str) -> Population:
    """A population of cells.

    Args:
        circuit: its description.
        name: of the population.

    Raises:
        InputError: there is none of that name.
    """
    for population in circuit.populations:
        if population.name == name:
            return population
    known = ", ".join(population.name for population in circuit.populations)
    raise InputError(f"there is no population of cells {name!r}; the circuit has {known}")
