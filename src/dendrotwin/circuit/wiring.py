"""From a description to what a process runs: its cells of each model, and all connections that end in them.

Cells of one twin are one model, of whatever population. A process has every P-th cell of each model, P being the number
of processes; nothing that it computes for a cell depends on which others it has. So a description may lack what ends in
cells of other processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Synapse
from dendrotwin.cell.tree import Floats, Ints, Tree
from dendrotwin.circuit.description import Background, Description, Population, SpikeTrains
from dendrotwin.solver.delivery import Connections, Plasticity
from dendrotwin.twin import Twin

Indices = NDArray[np.int64]
Whole = NDArray[np.integer]


@dataclass(frozen=True)
class Numbering:
    """Numbers of all nodes of a circuit, from 0: those of each population and of each `SpikeTrains` follow each other.

    Attributes:
        first: the first number of each name.
        total: how many nodes there are.
        cells: how many of them, the first ones, have a membrane.
    """

    first: dict[str, int]
    total: int
    cells: int

    @classmethod
    def of(cls, circuit: Description) -> Numbering:
        """Of a circuit.

        Args:
            circuit: its description.
        """
        first, total, cells = {}, 0, sum(map(len, circuit.populations))
        parts: list[Population | SpikeTrains] = [*circuit.populations, *circuit.trains]
        for part in parts:
            first[part.name] = total
            total += len(part)
        return cls(first, total, cells)

    def name(self, node: int) -> str:
        """A node as a person would name it.

        Args:
            node: its number.
        """
        population, first = max(((name, at) for name, at in self.first.items() if at <= node), key=lambda pair: pair[1])
        return f"node {node - first} of {population}"


@dataclass(eq=False)
class Ends:
    """Where events arrive in the cells of one process that are of one model, K places, while they are collected.

    Attributes:
        cell: target cells, counted in those of the model here.
        compartment, kind: of each place; the kind counts in `kinds`.
        kinds: of synapses, in the order in which they came.
    """

    cell: list[Indices] = field(default_factory=list)
    compartment: list[Whole] = field(default_factory=list)
    kind: list[Indices] = field(default_factory=list)
    kinds: dict[Synapse, int] = field(default_factory=dict)

    def add(self, cell: Indices, compartment: Whole, synapses: tuple[Synapse, ...], synapse: Whole) -> None:
        """Some places more.

        Args:
            cell, compartment: (k,) of each.
            synapses: kinds.
            synapse: (k,) which of them each is.
        """
        known = np.array([self.kinds.setdefault(kind, len(self.kinds)) for kind in synapses], np.int64)
        self.cell.append(cell)
        self.compartment.append(compartment)
        self.kind.append(known[synapse])

    def inputs(self, tree: Tree) -> tuple[Tree, Ints]:
        """The tree with an input for each pair of a compartment and a kind, and (places,) the input of each.

        Kinds are sorted by what they are, so that a sum over them has the same order in every process.

        Args:
            tree: the model's; its own inputs are left away.
        """
        kinds = sorted(self.kinds, key=repr)
        rank = np.array([kinds.index(kind) for kind in self.kinds], np.int64)
        kind, compartment = rank[joined(self.kind)], joined(self.compartment)
        pairs, which = np.unique(kind * tree.n + compartment, return_inverse=True)
        tree = dataclasses.replace(
            tree,
            synapses=tuple(kinds),
            input_compartment=(pairs % tree.n).astype(np.int32),
            input_synapse=(pairs // tree.n).astype(np.int32),
            input_weight=np.ones(len(pairs)),
        )
        return tree, which.astype(np.int32)


def places_within(group: Whole) -> Indices:
    """(K,) which of its group each is, from 0, in their order.

    Args:
        group: (K,) of each.
    """
    order = np.argsort(group, kind="stable")
    of_sorted = group[order]
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.searchsorted(of_sorted, of_sorted)
    return place


def own_nodes(models: Sequence[Whole], rank: int, processes: int) -> list[NDArray[np.bool_]]:
    """Which nodes of each population a process has.

    Args:
        models: (N,) the model of each node, by a number that is the same in all populations, for each population.
        rank, processes: which process it is, of how many.

    Returns:
        (N,) for each population.
    """
    own = places_within(joined(models)) % processes == rank
    return np.split(own, np.cumsum([len(model) for model in models])[:-1])


def twins_of(populations: Sequence[Population]) -> list[Indices]:
    """The twin of each node, by a number.

    Args:
        populations: of cells.

    Returns:
        (N,) for each population.
    """
    return [np.array([id(twin) for twin in p.twins])[p.model] for p in populations]


def joined(parts: Iterable[NDArray[np.generic]]) -> Indices:
    """Arrays one after the other, as numbers.

    Args:
        parts: (k,) each.
    """
    return np.concatenate([np.zeros(0, np.int64), *(np.asarray(part, np.int64) for part in parts)])


@dataclass(frozen=True, eq=False)
class BackgroundHere:
    """The part of a `Background` that ends in these cells.

    Attributes:
        seed: see there.
        first: (cells + 1,) the first place of each cell, and where those of the last one end.
        input, weight: (K,) of each place.
        rate_hz: (K,) of its events [Hz].
    """

    seed: int
    first: Indices
    input: Ints
    weight: Floats
    rate_hz: Floats


@dataclass(frozen=True, eq=False)
class ModelHere:
    """The cells of one model in one process, and what arrives at them.

    Attributes:
        twin: the model.
        tree: the twin's, with inputs where anything arrives.
        node: (cells,) numbers of the nodes.
        connections, plasticity: to these cells.
        backgrounds: of these cells.
        delay_ms: the longest delay of a connection [ms].
    """

    twin: Twin
    tree: Tree
    node: Indices
    connections: Connections
    plasticity: Plasticity
    backgrounds: tuple[BackgroundHere, ...]
    delay_ms: float


def models_of(circuit: Description, duration_ms: float, rank: int = 0, processes: int = 1) -> list[ModelHere]:
    """What a process runs.

    Args:
        circuit: its description, checked, or what of it ends in the cells of this process.
        duration_ms: of the run; connections whose delay is as long bring nothing [ms].
        rank, processes: which process it is, of how many.
    """
    numbers = Numbering.of(circuit)
    twins: dict[int, Twin] = {id(twin): twin for p in circuit.populations for twin in p.twins}
    of_each = twins_of(circuit.populations)
    model, own = joined(of_each), np.concatenate(own_nodes(of_each, rank, processes))
    found = []
    for key, twin in twins.items():
        node = np.flatnonzero((model == key) & own)
        if len(node):
            found.append(_wire(circuit, numbers, twin, node, duration_ms))
    return found


@dataclass(eq=False)
class _Collected:
    """Connections while they are collected; see `Connections`."""

    source: list[Indices] = field(default_factory=list)
    weight: list[Floats] = field(default_factory=list)
    delay_ms: list[Floats] = field(default_factory=list)
    plasticity: list[Floats] = field(default_factory=list)


def _wire(circuit: Description, numbers: Numbering, twin: Twin, node: Indices, duration_ms: float) -> ModelHere:
    here = np.full(numbers.total, -1, np.int64)
    here[node] = np.arange(len(node))
    ends, found = Ends(), _Collected()
    for p in circuit.projections:
        cell = here[p.target_node + numbers.first[p.target]]
        mine = np.flatnonzero((cell >= 0) & (p.delay_ms < duration_ms))
        ends.add(cell[mine], p.compartment[mine], p.synapses, p.synapse[mine])
        found.source.append(p.source_node[mine] + numbers.first[p.source])
        found.weight.append(p.weight[mine])
        found.delay_ms.append(p.delay_ms[mine])
        found.plasticity.append(np.full((len(mine), 5), np.nan) if p.plasticity is None else p.plasticity[mine])
    many = sum(map(len, ends.cell))
    chosen = [_of_background(b, here, numbers, ends) for b in circuit.backgrounds]
    tree, input = ends.inputs(twin.tree)
    target = joined(ends.cell)[:many].astype(np.int32)
    backgrounds, begin = [], many
    for b, mine in zip(circuit.backgrounds, chosen, strict=True):
        places = input[begin : begin + len(mine)]
        first = np.searchsorted(here[b.node[mine] + numbers.first[b.population]], np.arange(len(node) + 1))
        backgrounds.append(BackgroundHere(b.seed, first.astype(np.int64), places, b.weight[mine], b.rate_hz[mine]))
        begin += len(mine)
    connections, plasticity = _connections(found, target, input[:many], numbers.total)
    longest = float(connections.delay_ms.max()) if many else 0.0
    return ModelHere(twin, tree, node, connections, plasticity, tuple(backgrounds), longest)


def _of_background(b: Background, here: Indices, numbers: Numbering, ends: Ends) -> Indices:
    """Its places that end here, by cell, and then by place."""
    cell = here[b.node + numbers.first[b.population]]
    mine = np.argsort(cell, kind="stable")
    mine = mine[cell[mine] >= 0]
    ends.add(cell[mine], b.compartment[mine], b.synapses, b.synapse[mine])
    return mine


def _connections(found: _Collected, cell: Ints, input: Ints, sources: int) -> tuple[Connections, Plasticity]:
    """Sorted by source, and then as they were."""
    source = joined(found.source)
    order = np.argsort(source, kind="stable")
    first = np.searchsorted(source[order], np.arange(sources + 1)).astype(np.int64)
    weight, delay_ms = (
        np.concatenate([np.zeros(0), *parts])[order].astype(np.float64) for parts in (found.weight, found.delay_ms)
    )
    parameters = np.concatenate([np.zeros((0, 5)), *found.plasticity])[order]
    changes = ~np.isnan(parameters[:, 0])
    plastic = np.where(changes, np.cumsum(changes) - 1, -1).astype(np.int32)
    plasticity = Plasticity.at_rest(parameters[changes], delay_ms[changes])
    return Connections(first, cell[order], input[order], weight, delay_ms, plastic), plasticity
