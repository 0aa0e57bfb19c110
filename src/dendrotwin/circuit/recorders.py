"""What is recorded of a circuit while it runs: it is reduced slice by slice, so that memory does not grow with time.

What a recorder has found since it was last asked are its *parts*: arrays whose first axis is time, or spikes. A process
records its own cells; `join` puts the parts of all processes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.description import Description, Population
from dendrotwin.circuit.engine import Cells, Engine, Recorded
from dendrotwin.circuit.wiring import joined
from dendrotwin.errors import InputError

Indices = NDArray[np.int64]
Parts = dict[str, NDArray[Any]]


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
            raise InputError(
                f"{self.name} names node {node.max()} of {population.name}, which has {len(population)}; correct it"
            )
        number = node + engine.numbers.first[population.name]
        self._columns = [self._column(engine, cells, number, compartment) for cells in engine.models]
        self.element = joined(element for element, *_ in self._columns)
        self.node, self.compartment = node[self.element], compartment[self.element]

    def _elements(self, population: Population) -> tuple[Indices, Indices]:
        """Nodes and compartments, one by one."""
        nodes = np.arange(len(population)) if self.nodes is None else np.unique(np.asarray(self.nodes, np.int64))
        if len(nodes) and not (nodes[0] >= 0 and nodes[-1] < len(population)):
            raise InputError(
                f"{self.name} names node {nodes[-1]} of {population.name}, which has {len(population)}; correct it"
            )
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
