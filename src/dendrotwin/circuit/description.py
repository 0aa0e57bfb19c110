"""What a circuit is: populations of twins, sources of spikes, projections between them, and current clamps.

Every number in it is an array, so that a circuit of a million connections is described in a few of them. Nothing here
runs anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Synapse
from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.twin import Twin


@dataclass(frozen=True, eq=False)
class Population:
    """Cells under one name, N of them, each a twin.

    Attributes:
        name: of the population.
        twins: the twins that its cells are of; read twins (`twin_of`).
        model: (N,) which of `twins` each cell is.
        position_um: (N, 3) where the soma of each cell is [um].
        rotation: (N, 3, 3) matrix by which each cell is turned about its soma.
    """

    name: str
    twins: tuple[Twin, ...]
    model: Ints
    position_um: Floats
    rotation: Floats

    def __len__(self) -> int:
        return len(self.model)


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Nodes without a membrane, whose spikes are given.

    Attributes:
        name: of the population.
        count: of its nodes.
        node: (k,) which node fires, in any order.
        time_ms: (k,) when [ms].
    """

    name: str
    count: int
    node: NDArray[np.int64]
    time_ms: Floats

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True, eq=False)
class Projection:
    """Connections from one population (or `SpikeTrains`) to one population, K of them, in any order.

    Attributes:
        source, target: names of the populations.
        source_node, target_node: (K,) nodes, counted in their populations.
        compartment: (K,) where it ends, in the tree of the target's twin.
        synapses: the kinds of synapse.
        synapse: (K,) of which kind it is.
        weight: (K,) factor on the conductances of its kind.
        delay_ms: (K,) from a spike of the source to the event at the target [ms].
        plasticity: (K, 5) those of `TsodyksMarkram`, in its order; rows of NaN where there is none. Or None.
    """

    source: str
    target: str
    source_node: NDArray[np.int64]
    target_node: NDArray[np.int64]
    compartment: Ints
    synapses: tuple[Synapse, ...]
    synapse: Ints
    weight: Floats
    delay_ms: Floats
    plasticity: Floats | None = None

    def __len__(self) -> int:
        return len(self.source_node)


@dataclass(frozen=True, eq=False)
class Background:
    """Poisson input at K places of cells of one population: each place has a train of its own.

    Attributes:
        population: its name.
        node: (K,) the cells.
        compartment: (K,) of the cell's tree.
        synapses: the kinds of synapse.
        synapse: (K,) of which kind it is.
        weight: (K,) factor on the conductances of its kind.
        rate_hz: (K,) mean rate of its events [Hz].
        seed: trains of different seeds have nothing to do with each other.
    """

    population: str
    node: NDArray[np.int64]
    compartment: Ints
    synapses: tuple[Synapse, ...]
    synapse: Ints
    weight: Floats
    rate_hz: Floats
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Clamps:
    """Current steps into cells of one population, K of them.

    Attributes:
        population: its name.
        node: (K,) the cells.
        compartment: (K,) of the cell's tree.
        start_ms, stop_ms: (K,) from when to when [ms].
        current_nA: (K,) positive depolarises [nA].
    """

    population: str
    node: NDArray[np.int64]
    compartment: Ints
    start_ms: Floats
    stop_ms: Floats
    current_nA: Floats


@dataclass(frozen=True, eq=False)
class Description:
    """A circuit.

    Attributes:
        populations, trains, projections, clamps, backgrounds: its parts.
    """

    populations: tuple[Population, ...]
    trains: tuple[SpikeTrains, ...] = ()
    projections: tuple[Projection, ...] = ()
    clamps: tuple[Clamps, ...] = ()
    backgrounds: tuple[Background, ...] = ()
