"""A circuit in Python, built step by step: populations of twins, connections, and what drives them.

Under `torchrun` each process draws only what ends in its own cells, and keeps how the rest would be drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from dendrotwin.cell.synapse import Synapse
from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.check import (
    check,
    check_background,
    check_clamps,
    check_parts,
    check_population,
    check_projection,
    check_settings,
    check_trains,
    signs_of,
    warn_of_both_signs,
)
from dendrotwin.circuit.description import Background, Clamps, Description, Population, Projection, SpikeTrains
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.places import Column, rotations
from dendrotwin.circuit.project import Link, TsodyksMarkram, kinds_of, whole
from dendrotwin.circuit.recorders import Recorder
from dendrotwin.circuit.rules import Drawn, Place, Rule, chances
from dendrotwin.circuit.run import Result, Storage, run
from dendrotwin.circuit.wiring import Indices, joined, own_nodes, twins_of
from dendrotwin.errors import InputError
from dendrotwin.models import configure
from dendrotwin.models.cable import ARCHITECTURE
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.twin import Twin


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Connections, background or clamps: those of this process's cells, and how those of any cells are made."""

    own: Projection | Background | Clamps
    cells: Population
    of: Callable[[Indices], Any]


class Circuit:
    """A circuit that is built step by step. Several processes build the same one together.

    Args:
        seed: of all that is drawn: places, connections, background.

    Attributes:
        seed: see there.

    Raises:
        InputError: the seed is no whole number from 0; each method: names, numbers or arrays do not fit. What one
            process finds wrong is raised in all.

    Example, 80 excitatory and 20 inhibitory cells in a column:

        circuit = Circuit(seed=1)
        circuit.add("e", twin, 80, Column(radius_um=100, z_um=(-100, 100)))
        circuit.add("i", twin, 20, Column(radius_um=100, z_um=(-100, 100)))
        circuit.connect("e", "i", Probability(0.1), "excitatory", delay_ms=1.5)
        circuit.poisson("e", rate_hz=2.0, synapse="excitatory", places=200)
        result = circuit.run(duration_ms=500)
    """

    def __init__(self, seed: int = 0) -> None:
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise InputError(f"the seed of a circuit is a whole number from 0, not {seed!r}")
        self.seed = int(seed)
        self._populations: dict[str, Population] = {}
        self._trains: dict[str, SpikeTrains] = {}
        self._parts: list[_Drawn] = []
        self._drawn = 0  # how often random numbers were used: each time has its own

    def __repr__(self) -> str:
        nodes: list[Population | SpikeTrains] = [*self._populations.values(), *self._trains.values()]
        parts = [f"{len(each)} {each.name}" for each in nodes]
        synapses = sum(len(each.own) for each in self._parts if isinstance(each.own, Projection))
        here = " in this process" if exchange().size > 1 else ""
        return f"Circuit({', '.join(parts)}; {synapses} synapses{here})"

    @property
    def description(self) -> Description:
        """What has been built, as arrays; checked. Of several processes, each that asks draws all of it.

        Raises:
            InputError: see `check`.
        """
        if exchange().size == 1:
            found = self._described([each.own for each in self._parts])
        else:
            found = self._described([each.of(np.arange(len(each.cells))) for each in self._parts])
        check(found)
        return found

    @property
    def part(self) -> Description:
        """What `run` gets: all populations and trains, and of the rest what ends in the cells of this process."""
        return self._described([each.own for each in self._parts])

    def _described(self, parts: Sequence[Projection | Background | Clamps]) -> Description:
        return Description(
            tuple(self._populations.values()), tuple(self._trains.values()),
            tuple(each for each in parts if isinstance(each, Projection)),
            tuple(each for each in parts if isinstance(each, Clamps)),
            tuple(each for each in parts if isinstance(each, Background)),
        )  # fmt: skip

    def add(
        self,
        name: str,
        twin: Twin | Sequence[Twin],
        count: int,
        position_um: Column | ArrayLike = (0.0, 0.0, 0.0),
        turn: str | ArrayLike = "spun",
    ) -> None:
        """Add a population of cells.

        Args:
            name: of the population.
            twin: that all cells are of; or several, which the cells take in turn.
            count: N, how many cells.
            position_um: where their somas are: (N, 3) or (3,) for all [um], or a `Column` to draw from.
            turn: "spun", "upright", "as built", or matrices; see `places.rotations`.
        """
        self._new(name, count)
        twins = tuple(twin) if isinstance(twin, Sequence) else (twin,)
        where: object = position_um
        if isinstance(position_um, Column):
            where = position_um.draw(self._random(), count)
        try:
            place = np.array(np.broadcast_to(np.asarray(where, np.float64), (count, 3)))
        except (TypeError, ValueError) as error:
            raise InputError(f"population {name}: position_um must be ({count}, 3), (3,) or a Column") from error
        model = (np.arange(count) % max(1, len(twins))).astype(np.int32)
        still = np.repeat(np.eye(3)[None], count, 0)
        check_population(Population(name, twins, model, place, still))
        turned = rotations(turn, [one.tree for one in twins], model, self._random())
        population = Population(name, twins, model, place, turned)
        check_population(population)
        self._populations[name] = population

    def trains(self, name: str, node: ArrayLike, time_ms: ArrayLike, count: int | None = None) -> None:
        """Add nodes without a membrane, whose spikes are given.

        Args:
            name: of these nodes.
            node: (k,) which of them fires, from 0, in any order.
            time_ms: (k,) when [ms].
            count: how many nodes; None for as many as fire.
        """
        who, when = whole("node", node), _column("time_ms", time_ms)
        many = (int(who.max()) + 1 if len(who) else 0) if count is None else count
        self._new(name, many)
        trains = SpikeTrains(name, many, who, when)
        check_trains(trains)
        self._trains[name] = trains

    def connect(
        self,
        source: str,
        target: str,
        rule: Rule,
        synapse: str | Synapse | None = None,
        where: Place | None = None,
        weight: Drawn = 1.0,
        delay_ms: Drawn = 1.0,
        plasticity: TsodyksMarkram | None = None,
    ) -> None:
        """Connect a population, or trains, to a population.

        Args:
            source, target: their names.
            rule: who is connected to whom: `Probability`, `InDegree` or `Given`.
            synapse: the kind, or the name of one of the target's twin; None where `Given.input` says it.
            where: the connections end on the target, a region, a `Where`, or an array of compartments; None for the
                dendrites. See `Place`.
            weight: factor on the conductances of the kind; see `Drawn`.
            delay_ms: from the spike to the event [ms]; see `Drawn`.
            plasticity: of each connection; None for none.
        """
        name = f"connections {source} -> {target}"
        cells = self._cells(name, target)
        origin = self._populations.get(source) or self._trains.get(source)
        if origin is None:
            raise InputError(f"{name}: there are no population and no trains called {source!r}; add them first")
        link, seed = Link(rule, synapse, where, weight, delay_ms, plasticity), (self.seed, self._number())

        def of(targets: Indices) -> Projection:
            try:
                projection = link.projection(origin, cells, seed, targets)
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
            check_projection(projection, cells, origin)
            return projection

        self._draw(cells, of)

    def poisson(
        self,
        population: str,
        rate_hz: ArrayLike,
        synapse: str | Synapse,
        places: int = 1,
        where: Place | None = None,
        weight: float = 1.0,
    ) -> None:
        """Drive each cell of a population at places of its own, each with a Poisson train of its own.

        Args:
            population: its name.
            rate_hz: of each train, one number or (N,) for each cell [1/s = Hz].
            synapse: the kind, or the name of one of the population's twin.
            places: of each cell.
            where: they are; see `connect`.
            weight: factor on the conductances of the kind.
        """
        name = f"background of {population}"
        cells = self._cells(name, population)
        if not isinstance(places, int | np.integer) or places < 1:
            raise InputError(f"{name}: {places!r} places of each cell; give a whole number from 1")
        try:
            sums = [chances("dendrites" if where is None else where, twin.tree) for twin in cells.twins]
            rate = _for_each("rate_hz", rate_hz, len(cells))
            kinds = kinds_of(synapse, cells)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        number = self._number()

        def of(targets: Indices) -> Background:
            node = np.repeat(targets, places)
            compartment = [
                sums[cells.model[cell]].searchsorted(self._random(number, cell).random(places), side="right")
                for cell in targets.tolist()
            ]
            background = Background(
                population, node, joined(compartment).astype(np.int32), kinds, cells.model[node],
                _for_each("weight", weight, len(node)), rate[node], self.seed,
            )  # fmt: skip
            check_background(background, cells)
            return background

        self._draw(cells, of)

    def clamp(
        self,
        population: str,
        current_nA: ArrayLike,
        start_ms: ArrayLike,
        stop_ms: ArrayLike,
        nodes: ArrayLike | None = None,
        compartment: int | None = None,
    ) -> None:
        """Inject current into cells of a population, from one time to another.

        Args:
            population: its name.
            current_nA: one number for all, or (k,) for each cell; positive depolarises [nA].
            start_ms, stop_ms: from when to when, as `current_nA` [ms].
            nodes: (k,) the cells; None for all.
            compartment: of each of them; None for the soma.
        """
        name = f"clamps of {population}"
        cells = self._cells(name, population)
        try:
            node = whole("nodes", np.arange(len(cells)) if nodes is None else nodes)
            start, stop, current = (
                _for_each(what, value, len(node))
                for what, value in (("start_ms", start_ms), ("stop_ms", stop_ms), ("current_nA", current_nA))
            )
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        of_model = np.array([twin.tree.soma if compartment is None else compartment for twin in cells.twins])
        there = (node >= 0) & (node < len(cells))  # the others are refused
        at = of_model[cells.model[np.where(there, node, 0)]].astype(np.int32)
        check_clamps(Clamps(population, node, at, start, stop, current), cells)

        def of(targets: Indices) -> Clamps:
            mine = np.isin(node, targets)
            return Clamps(population, node[mine], at[mine], start[mine], stop[mine], current[mine])

        self._draw(cells, of)

    def run(
        self,
        duration_ms: float,
        record: Sequence[Recorder] = (),
        accuracy: str | CableConfig = "standard",
        sample_ms: float = 1.0,
        threads: int = 1,
        storage: Storage | None = None,
        device: str = "cpu",
    ) -> Result | None:
        """Run the circuit from rest; see `run.run`.

        Args:
            duration_ms: how long [ms].
            record: what is recorded beside the spikes: `Potentials`, `Field`.
            accuracy: of the cells' steps: fast, standard, exact, or a `CableConfig`.
            sample_ms: how often potentials and fields are sampled [ms].
            threads: of this process.
            storage: where checkpoints are kept, so that a run that was stopped goes on.
            device: that the cells are on: "cpu", "cuda", or "cuda:1" for the second card.

        Returns:
            What was recorded; its `circuit` is `part`. Under `torchrun`, in another process than the first, None.

        Raises:
            InputError: there is no such accuracy, no such duration, or no such device; or see `check`.
            CircuitError: see `run.run`.
        """
        config = accuracy
        if not isinstance(config, CableConfig):
            config = cast(CableConfig, configure(ARCHITECTURE, {"accuracy": config}))
        settings = Settings(duration_ms, accuracy=config, seed=self.seed, threads=threads, device=device)
        check_settings(settings, sample_ms)
        part = self.part
        check_parts(part)
        signs = {name: exchange().any(of_part) for name, of_part in signs_of(part).items()}
        if exchange().rank == 0:
            warn_of_both_signs(signs)
        return run(part, settings, record, sample_ms, storage)

    def _draw(self, cells: Population, of: Callable[[Indices], Any]) -> None:
        """Draw what ends in the cells of this process."""
        with exchange().together():
            models = twins_of(list(self._populations.values()))
            own = dict(zip(self._populations, own_nodes(models, exchange().rank, exchange().size), strict=True))
            part = of(np.flatnonzero(own[cells.name]))
        self._parts.append(_Drawn(part, cells, of))  # nothing of it where one process has failed

    def _new(self, name: str, count: int) -> None:
        if not isinstance(name, str):
            raise InputError(f"a population is called {name!r}; a name is a text")
        if name in self._populations or name in self._trains:
            raise InputError(f"there are a population or trains called {name!r} already; give another name")
        if not isinstance(count, int | np.integer) or count < 1:
            raise InputError(f"population {name}: {count!r} nodes; give a whole number from 1")

    def _cells(self, what: str, name: str) -> Population:
        if name not in self._populations:
            there = ", ".join(self._populations) or "none"
            raise InputError(f"{what}: there is no population of cells {name!r}; there are {there}")
        return self._populations[name]

    def _number(self) -> int:
        self._drawn += 1
        return self._drawn

    def _random(self, *numbers: int) -> np.random.Generator:
        """A generator of these numbers, or one that is used for nothing else."""
        return np.random.default_rng((self.seed, *(numbers or (self._number(),))))


def _for_each(name: str, values: ArrayLike, count: int) -> Floats:
    """One number for all, or (count,)."""
    try:
        return np.array(np.broadcast_to(np.asarray(values, np.float64), (count,)))
    except (TypeError, ValueError) as error:
        raise InputError(f"`{name}` has shape {np.shape(values)}; give one number, or ({count},)") from error


def _column(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise InputError(f"`{name}` has shape {array.shape} of {array.dtype}; give (k,) numbers")
    return array.astype(np.float64)
