"""Laws of networks of twins."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dendrotwin
from dendrotwin import signals
from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cell.tree import Events, Injection
from dendrotwin.cells import EXCITATORY, INHIBITORY
from dendrotwin.circuit.description import (
    Background,
    Clamps,
    Description,
    Population,
    Projection,
    SpikeTrains,
)
from dendrotwin.circuit.engine import BACKGROUND_MS, Engine, Sampling, Settings
from dendrotwin.circuit.fields import Field, FieldOfEach
from dendrotwin.circuit.recorders import Potentials
from dendrotwin.circuit.run import Result, Run, Storage, run
from dendrotwin.circuit.segments import Segments
from dendrotwin.errors import CircuitError, InputError
from dendrotwin.signals.currents import membrane_currents
from dendrotwin.signals.placing import soma_centre, translate
from dendrotwin.signals.probes import Probe
from dendrotwin.solver.cell_arrays import InputConductances
from dendrotwin.solver.delivery import CHUNK, Connections, Grid, Plasticity, collect, make_ring, send
from dendrotwin.support import memory
from dendrotwin.twin import Twin

STRONG = Synapse("strong", True, (Conductance(rise_ms=0.2, decay_ms=3.0, g_max_uS=0.1, e_mV=0.0),))
Spikes = list[tuple[int, float]]


@pytest.fixture(scope="module")
def twin() -> Twin:
    return dendrotwin.twin_of("ball_and_stick")


def population(twin: Twin, count: int, name: str = "cells") -> Population:
    random = np.random.default_rng(3)
    places, upright = random.uniform(-150.0, 150.0, (count, 3)), np.tile(np.eye(3), (count, 1, 1))
    return Population(name, (twin,), np.zeros(count, np.int32), places, upright)


def projection(source: str, target: str, delay_ms: Any, **columns: Any) -> Projection:
    """Of the given columns; of the others what is usual."""
    many = len(columns["target_node"])
    usual = {
        "source_node": np.zeros(many, np.int64), "compartment": np.zeros(many, np.int32), "synapses": (STRONG,),
        "synapse": np.zeros(many, np.int32), "weight": np.ones(many),
    }  # fmt: skip
    return Projection(source, target, delay_ms=np.broadcast_to(np.float64(delay_ms), many).copy(), **usual | columns)


def recurrent(twin: Twin, count: int = 12, shortest_ms: float = 0.5, *, plastic: bool = False) -> Description:
    """Cells that drive each other, with a background; every other connection with plasticity, or none."""
    random, dendrites = np.random.default_rng(1), np.flatnonzero(twin.tree.dendrites)
    many, places = 12 * count, 40 * count
    own = projection(
        "cells", "cells", random.uniform(shortest_ms, 4.0, many), source_node=random.integers(0, count, many),
        target_node=random.integers(0, count, many), compartment=random.choice(dendrites, many), synapses=(EXCITATORY,),
        weight=random.uniform(0.0, 4.0, many),
    )  # fmt: skip
    if plastic:
        parameters = np.tile([0.3, 150.0, 80.0, 4.0, 0.1], (many, 1))
        parameters[::2] = np.nan
        own = dataclasses.replace(own, plasticity=parameters)
    background = Background(
        "cells", np.repeat(np.arange(count), 40), random.choice(dendrites, places), (EXCITATORY, INHIBITORY),
        (random.random(places) < 0.2).astype(np.int32), np.ones(places), np.full(places, 25.0),
    )  # fmt: skip
    return Description((population(twin, count),), (), (own,), (), (background,))


def spikes_of(result: Result | None) -> Spikes:
    assert result is not None
    return list(zip(*(array.tolist() for array in result.spikes()), strict=True))


def test_cells_without_connections_are_cells_alone(twin: Twin) -> None:
    tree, random, many, duration = twin.tree, np.random.default_rng(0), 3, 300
    alone, node, time_ms = [], [], []
    for k in range(many):
        events = Events.sort(random.integers(0, tree.n_inputs, 600), random.random(600) * duration)
        alone.append(twin.predict(events, duration_ms=duration))
        node.append(events.input + k * tree.n_inputs)
        time_ms.append(events.time_ms)
    trains = SpikeTrains("input", many * tree.n_inputs, np.concatenate(node).astype(int), np.concatenate(time_ms))
    from_trains = projection(
        "input", "cells", 0.0, source_node=np.arange(many * tree.n_inputs), synapses=tree.synapses,
        target_node=np.repeat(np.arange(many), tree.n_inputs), compartment=np.tile(tree.input_compartment, many),
        synapse=np.tile(tree.input_synapse, many),
    )  # fmt: skip
    circuit = Description((population(twin, many),), (trains,), (from_trains,))
    result = run(circuit, Settings(duration), [Potentials("cells", compartments="all")])
    assert result is not None
    values = result.recorded("v-cells")["values"].reshape(duration, many, tree.n)
    assert any(len(one.spikes_ms) for one in alone)
    for k, one in enumerate(alone):
        assert np.array_equal(values[:, k], one.v_mV)


def test_clamps_are_injections(twin: Twin) -> None:
    current = np.zeros((60, 1))
    current[10:40] = 0.3
    alone = twin.predict(Events.sort([], []), duration_ms=60, injection=Injection(np.array([0], np.int32), current))
    steps = Clamps("cells", np.array([1]), np.array([0]), np.array([10.0]), np.array([40.0]), np.array([0.3]))
    result = run(Description((population(twin, 2),), clamps=(steps,)), Settings(60), [Potentials("cells")])
    assert result is not None
    values = result.recorded("v-cells")["values"]
    assert np.array_equal(values[:, 1], alone.v_mV[:, twin.tree.soma])
    assert np.ptp(alone.v_mV[:, twin.tree.soma]) > 5.0 > np.ptp(values[:, 0])


def test_a_clamp_between_blocks_brings_the_same_charge(twin: Twin) -> None:
    steps = Clamps("cells", np.array([0]), np.array([0]), np.array([10.3]), np.array([40.9]), np.array([0.3]))
    engine = Engine(Description((population(twin, 1),), clamps=(steps,)), Settings(60), Sampling())
    current = engine.models[0].clamps.mean_nA(Grid(0.0, 1.0, 60), 1, twin.tree.n)
    assert current is not None
    assert current.sum() == pytest.approx(30.6 * 0.3)


def chain(twin: Twin, delay_ms: float) -> Description:
    """A train fires the first cell, which fires the second."""
    trains = SpikeTrains("input", 1, np.array([0]), np.array([205.25]))
    first = projection("input", "cells", 0.0, target_node=np.array([0]))
    second = projection("cells", "cells", delay_ms, source_node=np.array([0]), target_node=np.array([1]))
    return Description((population(twin, 2),), (trains,), (first, second))


@pytest.mark.parametrize(("longer", "within_ms"), [(1.0, 1e-4), (16.0, 1e-4), (0.3, 0.03)])
def test_a_longer_delay_is_a_later_spike(twin: Twin, longer: float, within_ms: float) -> None:
    before, after = (spikes_of(run(chain(twin, delay), Settings(260))) for delay in (1.0, 1.0 + longer))
    assert [node for node, _ in before] == [node for node, _ in after] == [0, 1]
    assert before[0] == after[0]
    assert after[1][1] - before[1][1] == pytest.approx(longer, abs=within_ms)


@pytest.mark.parametrize("delay_ms", [2.0**-8, 0.1, 0.7])
def test_a_short_delay_is_kept(twin: Twin, delay_ms: float) -> None:
    (_, first), (_, second) = spikes_of(run(chain(twin, delay_ms), Settings(240)))
    (_, at_one), (_, late) = spikes_of(run(chain(twin, 1.0 + delay_ms), Settings(240)))
    assert second - first == pytest.approx(late - at_one - 1.0, abs=0.05)


def test_a_delay_below_the_step_is_refused(twin: Twin) -> None:
    with pytest.raises(CircuitError, match=r"a delay of 0.003 ms; the shortest that can be is 0.00390625 ms"):
        Engine(chain(twin, 0.003), Settings(10), Sampling())


def test_a_delay_as_long_as_the_run_takes_no_memory(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues are as many as the longest delay that an event can arrive after; they take little while they are empty."""
    own = projection("cells", "cells", np.array([0.004, 1e300, 4e4, 99.0]), target_node=np.array([1, 1, 1, 0]))
    circuit = Description((population(twin, 2),), (), (own,))
    [cells] = Engine(circuit, Settings(100), Sampling()).models
    assert cells.here.connections.delay_ms.tolist() == [0.004, 99.0]
    assert len(cells.ring.waiting) == 99 * 256 + 2
    assert sum(array.nbytes for array in cells.ring) < 1e6
    events, weights = 40_000, np.ones(1)
    many = Connections(np.array([0, 1]), np.zeros(1, int), np.zeros(1, int), weights, 99.0 * weights, np.full(1, -1))
    none = Plasticity(*(np.zeros(0) for _ in Plasticity._fields))
    ring = send(cells.ring, many, none, np.zeros(events, int), np.linspace(0.0, 0.9, events), 2.0**-8)
    assert sum(array.nbytes for array in ring) < 1e6 + 40 * (events + CHUNK * 99 * 256)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1e6)
    message = "a queue for each slice of 0.00390625 ms in a delay of 40000 ms takes 0.164 GB, .*; shorten the longest"
    with pytest.raises(InputError, match=message):
        Engine(circuit, Settings(1e5), Sampling())


def test_a_weight_of_zero_is_no_connection(twin: Twin) -> None:
    circuit = recurrent(twin)
    own = circuit.projections[0]
    without = dataclasses.replace(circuit, projections=())
    # The shortest delay sets the blocks, so that connections of another source keep them.
    zero = dataclasses.replace(circuit, projections=(dataclasses.replace(own, weight=np.zeros(len(own))),))
    one = dataclasses.replace(own, target_node=own.target_node[:1], **{
        name: getattr(own, name)[:1] for name in ("source_node", "compartment", "synapse", "weight", "delay_ms")
    })  # fmt: skip
    same_blocks = dataclasses.replace(one, weight=np.zeros(1), delay_ms=own.delay_ms[own.delay_ms.argmin()][None])
    nothing = spikes_of(run(dataclasses.replace(circuit, projections=(same_blocks,)), Settings(120)))
    assert spikes_of(run(zero, Settings(120))) == nothing
    assert len(spikes_of(run(without, Settings(120)))) == pytest.approx(len(nothing), abs=2)
    assert spikes_of(run(circuit, Settings(120))) != nothing


@pytest.mark.parametrize("plastic", [False, True])
def test_cells_in_another_order_fire_in_that_order(twin: Twin, plastic: bool) -> None:
    circuit = recurrent(twin, plastic=plastic)
    cells, own = circuit.populations[0], circuit.projections[0]
    order = np.random.default_rng(5).permutation(len(cells))
    moved = np.argsort(order)  # where each cell is now
    # Backgrounds are drawn for nodes, which would be others': trains in their place.
    random = np.random.default_rng(2)
    time_ms = np.sort(np.round(random.uniform(0.0, 100.0, 900)))  # many at one time
    trains = SpikeTrains("input", 30, random.integers(0, 30, 900), time_ms)
    target, dendrites = random.integers(0, 12, 400), np.flatnonzero(twin.tree.dendrites)
    drive = projection(
        "input", "cells", 0.0, source_node=random.integers(0, 30, 400), target_node=target, synapses=(EXCITATORY,),
        compartment=random.choice(dendrites[:5], 400), weight=random.uniform(0.0, 3.0, 400),
    )  # fmt: skip
    here = Description((cells,), (trains,), (own, drive))
    there = Description((cells,), (trains,), (
        dataclasses.replace(own, source_node=moved[own.source_node], target_node=moved[own.target_node]),
        dataclasses.replace(drive, target_node=moved[target]),
    ))  # fmt: skip
    one, other = spikes_of(run(here, Settings(100))), spikes_of(run(there, Settings(100)))
    assert len(one) > 20
    assert sorted((moved[node], time_ms) for node, time_ms in one) == sorted(other)


def in_parts(circuit: Description, duration_ms: float, processes: int) -> Spikes:
    """The spikes of a run of several engines, side by side in this process."""
    engines = [Engine(circuit, Settings(duration_ms), Sampling(), rank, processes) for rank in range(processes)]
    found: list[tuple[int, float]] = []
    while engines[0].slice < engines[0].slices:
        mine: list[Any] = []
        for engine in engines:  # what each has fired, which is sent to all after all are done

            def keep(node: Any, time_ms: Any, mine: list[Any] = mine) -> Any:
                mine.append((node, time_ms))
                return np.zeros(0, np.int64), np.zeros(0)

            engine.advance(keep)
        node, time_ms = (np.concatenate(part) for part in zip(*mine, strict=True))
        order = np.lexsort((node, time_ms))
        for engine in engines:
            for cells in engine.models:
                engine._send(cells, node[order], time_ms[order])
        found += list(zip(node[order].tolist(), time_ms[order].tolist(), strict=True))
    return found


@pytest.mark.parametrize("plastic", [False, True])
def test_the_number_of_processes_changes_nothing(twin: Twin, plastic: bool) -> None:
    circuit = recurrent(twin, plastic=plastic)
    whole = spikes_of(run(circuit, Settings(80)))
    assert len(whole) > 10
    assert in_parts(circuit, 80, 2) == whole
    assert in_parts(circuit, 80, 5) == whole


def test_threads_change_nothing(twin: Twin) -> None:
    circuit = recurrent(twin)
    assert spikes_of(run(circuit, Settings(80, threads=3))) == spikes_of(run(circuit, Settings(80)))


def test_inhibition_takes_spikes_away(twin: Twin) -> None:
    circuit = recurrent(twin)
    own = circuit.projections[0]
    counts = [
        len(spikes_of(run(dataclasses.replace(circuit, projections=(
            dataclasses.replace(own, synapses=(kind,), weight=np.full(len(own), 6.0)),
        )), Settings(150))))
        for kind in (EXCITATORY, INHIBITORY)
    ]  # fmt: skip
    assert counts[0] > 1.5 * counts[1] > 0


def test_backgrounds_have_their_rates_and_seeds(twin: Twin) -> None:
    def events_of(seed: int) -> NDArray[np.int64]:
        circuit = recurrent(twin, 30)
        engine = Engine(circuit, Settings(200, seed=seed), Sampling())
        engine._send_input(engine.models[0], Grid(0.0, engine.block_ms, 1))
        return engine.models[0].ring.waiting.copy()

    one, again, other = (events_of(seed) for seed in (0, 0, 1))
    expected = 30 * 40 * 25.0 * BACKGROUND_MS * 1e-3
    assert abs(one.sum() - expected) < 5.0 * np.sqrt(expected)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_smaller_blocks_change_little(twin: Twin) -> None:
    slow, fast = (recurrent(twin, shortest_ms=shortest) for shortest in (1.0, 1.0))
    own = fast.projections[0]
    tiny = dataclasses.replace(own, weight=np.append(own.weight, 0.0), delay_ms=np.append(own.delay_ms, 0.25), **{
        name: np.append(getattr(own, name), 0) for name in ("source_node", "target_node", "compartment", "synapse")
    })  # fmt: skip
    settings, somata = Settings(20), [Potentials("cells")]
    a, b = (run(c, settings, somata) for c in (slow, dataclasses.replace(fast, projections=(tiny,))))
    assert a is not None
    assert b is not None
    # The standard accuracy is good for some tenths of a millivolt, and for some microseconds of a spike.
    error_mV = a.recorded("v-cells")["values"] - b.recorded("v-cells")["values"]
    assert 0.0 < np.sqrt(np.mean(error_mV**2)) < 0.5


def test_samples_within_steps_lie_between_their_ends(twin: Twin) -> None:
    circuit = recurrent(twin)
    coarse, fine = (run(circuit, Settings(50), [Potentials("cells", [2, 0])], every) for every in (1.0, 0.1))
    assert coarse is not None
    assert fine is not None
    v, dense = coarse.recorded("v-cells"), fine.recorded("v-cells")
    assert np.allclose(dense["time_ms"], 0.1 * np.arange(1, 501))
    assert v["node"].tolist() == [0, 2]
    assert np.abs(dense["values"][9::10] - v["values"]).max() < 1e-4
    assert 0.0 < np.abs(np.diff(dense["values"], axis=0)).max() < 40.0


def test_the_field_is_the_sum_of_the_cells_fields(twin: Twin) -> None:
    circuit = recurrent(twin, 4)
    two_models = {"twins": (twin, dataclasses.replace(twin)), "model": np.array([0, 1, 0, 1], np.int32)}
    circuit = dataclasses.replace(circuit, populations=(dataclasses.replace(circuit.populations[0], **two_models),))
    steps = Clamps("cells", np.array([1]), np.array([3]), np.array([10.0]), np.array([60.0]), np.array([0.2]))
    circuit = dataclasses.replace(circuit, clamps=(steps,))
    lfp = signals.LFP(Probe(np.array([[300.0, 0.0, z] for z in (-200.0, 0.0, 200.0)])))
    some = {"cells": np.array([3, 1])}
    alone = FieldOfEach(lfp, name="alone"), FieldOfEach(lfp, some, "some"), Field(lfp, some, "of some")
    result = run(circuit, Settings(100), [Potentials("cells", compartments="all"), Field(lfp), *alone])
    assert result is not None
    values = result.recorded("v-cells")["values"].reshape(100, 4, twin.tree.n)
    of_each = np.zeros((4, 100, 3))
    for k, place in enumerate(circuit.populations[0].position_um):
        current = np.zeros((100, 1))
        current[10:60] = 0.2 * (k == 1)
        tree = translate(twin.tree, place - soma_centre(twin.tree))
        of_each[k] = membrane_currents(tree, values[:, k], Injection(np.array([3]), current)) @ lfp.matrix(tree).T
    found, found_of_some = result.signals(1000.0)
    for got, right in (
        (found.values, of_each.sum(axis=0)),
        (found_of_some.values, of_each[[1, 3]].sum(axis=0)),
        (result.recorded("alone")["values"], of_each),
        (result.recorded("some")["values"], of_each[[1, 3]]),
    ):
        assert np.abs(got - right).max() < 2e-6 * np.abs(right).max()
    assert result.recorded("some")["node"].tolist() == [1, 3]


def test_a_field_of_cells_that_are_not_there_is_refused(twin: Twin) -> None:
    lfp = signals.LFP(Probe(np.array([[300.0, 0.0, 0.0]])))
    for nodes, message in (
        ({"cells": np.array([4])}, "names node 4 of cells, which has 4; correct it"),
        ({"cell": np.array([0])}, "there is no population of cells 'cell'; the circuit has cells"),
    ):
        for kind in (Field, FieldOfEach):
            with pytest.raises(InputError, match=message):
                run(recurrent(twin, 4), Settings(10), [kind(lfp, nodes)])


@pytest.mark.parametrize("names", [(None, None), ("a", "a"), ("spikes", "a")])
def test_recorders_of_one_name_are_refused(names: tuple[str | None, str | None], twin: Twin) -> None:
    two = [
        Potentials("cells", compartments=where, name=name) for where, name in zip(("soma", "all"), names, strict=True)
    ]
    with pytest.raises(InputError, match=r"two recorders are called '(v-cells|a|spikes)', .*; rename one"):
        run(recurrent(twin, 4), Settings(10), two)


def test_a_potential_that_leaves_the_tables_is_named(twin: Twin) -> None:
    steps = Clamps("cells", np.array([1]), np.array([0]), np.array([3.0]), np.array([9.0]), np.array([1e4]))
    with pytest.raises(CircuitError, match=r"compartment \d+ of node 1 of cells is .* mV at \d+ ms, outside of"):
        run(Description((population(twin, 2),), clamps=(steps,)), Settings(20))


def test_events_arrive_where_and_when_they_are_due() -> None:
    """Against a list of all events, sorted."""
    random, cells, inputs, slice_ms = np.random.default_rng(4), 3, 5, 2.0
    many = 900  # so that a queue has more events than a chunk
    source = np.sort(random.integers(0, 4, many))
    connections = Connections(
        np.searchsorted(source, np.arange(5)), random.integers(0, cells, many), random.integers(0, inputs, many),
        random.uniform(0.0, 2.0, many), random.integers(4, 20, many) / 2.0, np.full(many, -1),
    )  # fmt: skip
    none = Plasticity(*(np.zeros(0) for _ in Plasticity._fields))
    opens = InputConductances(np.arange(inputs + 1) * 2, np.arange(10) % 3, np.arange(10), np.arange(10) + 1.0)
    ring, expected, found = make_ring(6), [], []
    for k in range(14):
        grid = Grid(k * slice_ms, 1.0, 2)
        events = collect(ring, k % 6, opens, cells, grid)
        for cell in range(cells):
            for block in range(2):
                for e in range(events.first[cell, block], events.first[cell, block + 1]):
                    when = grid.start_ms + block + events.after_ms[e]
                    found.append((cell, when, events.position[e], events.synapse_class[e], events.increment_uS[e]))
        if k < 8:
            fired = random.integers(0, 4, 5)
            time_ms = np.sort(grid.start_ms + random.integers(0, 4, 5) / 2.0)
            ring = send(ring, connections, none, fired, time_ms, slice_ms)
            for s, t in zip(fired, time_ms, strict=True):
                for c in np.flatnonzero(source == s):
                    i = connections.input[c]
                    for q in (2 * i, 2 * i + 1):
                        due, uS = t + connections.delay_ms[c], (q + 1.0) * connections.weight[c]
                        expected.append((connections.cell[c], due, q, q % 3, uS))
    assert len(found) == len(expected) > 20 * CHUNK
    # All chunks are free again, each once.
    assert ring.free[1] == len(ring.before)
    chain = [int(ring.free[0])]
    while len(chain) < len(ring.before):
        chain.append(int(ring.before[chain[-1]]))
    assert sorted(chain) == list(range(len(ring.before)))
    assert sorted(found) == sorted(expected)
    by_time = [[event[1] for event in found if event[0] == cell] for cell in range(cells)]
    assert all(times == sorted(times) for times in by_time)


PLASTIC = {  # U, depression, facilitation, inactivation [ms], u0
    "both": (0.5, 120.0, 40.0, 0.0, 0.0),
    "facilitates": (0.1, 30.0, 500.0, 0.0, 0.3),
    "none": (0.4, 0.0, 0.0, 0.0, 0.0),
    "depresses": (0.3, 200.0, 0.0, 0.0, 0.7),
    "stays active": (0.5, 120.0, 40.0, 25.0, 0.2),
    "recovers at once": (0.5, 0.0, 40.0, 25.0, 0.2),
    "active as long as it recovers": (0.5, 40.0, 0.0, 40.0, 0.0),
    "active longer than it recovers": (0.5, 4.0, 100.0, 400.0, 0.0),
}


def shares(parameters: tuple[float, ...], spikes_ms: NDArray[np.float64], delay_ms: float = 1.0) -> list[float]:
    """Of the resources, that each spike uses."""
    connections = Connections(
        np.array([0, 1]), np.zeros(1, int), np.zeros(1, int), np.ones(1), np.array([delay_ms]), np.zeros(1, int)
    )
    plasticity = Plasticity.at_rest(np.array([parameters]), connections.delay_ms)
    ring = send(make_ring(400), connections, plasticity, np.zeros(len(spikes_ms), int), spikes_ms, 1.0)
    return [float(ring.weight[ring.last[int(t + delay_ms)], 0]) for t in spikes_ms]


@pytest.mark.parametrize("kind", PLASTIC)
def test_short_term_plasticity_is_that_of_its_equations(kind: str) -> None:
    """Against a slow integration of the three shares of the resources and of u, all from 0 ms at the target."""
    spikes_ms, delay_ms = np.array([10.0, 30.0, 35.0, 80.0, 300.0]), 2.0
    use, depression_ms, facilitation_ms, inactivation_ms, u = PLASTIC[kind]
    ready, active, recovering, dt, now = 1.0, 0.0, 0.0, 1e-3, 0.0
    expected = []

    def flow(share: float, tau_ms: float) -> float:
        return share * (dt / tau_ms if tau_ms else 1.0)

    for spike in spikes_ms + delay_ms:
        while now < spike - dt / 2:
            inactivated, u = flow(active, inactivation_ms), u - flow(u, facilitation_ms)
            recovered = flow(recovering, depression_ms)
            active, recovering, ready = active - inactivated, recovering + inactivated - recovered, ready + recovered
            now += dt
        u += use * (1.0 - u)
        expected.append(u * ready)
        active, ready = active + u * ready, ready - u * ready
    assert shares(PLASTIC[kind], spikes_ms, delay_ms) == pytest.approx(expected, rel=1e-3)


def test_time_constants_that_are_nearly_the_same_make_no_jump() -> None:
    """The solution has a difference of two exponentials over that of their time constants."""
    spikes_ms = np.array([10.0, 30.0, 35.0, 80.0, 300.0])
    same = shares((0.5, 40.0, 0.0, 40.0, 0.0), spikes_ms)
    for apart in (1e-15, 1e-12, 1e-9):
        assert shares((0.5, 40.0, 0.0, 40.0 * (1.0 + apart), 0.0), spikes_ms) == pytest.approx(same, rel=10 * apart)
    # And those that are far apart make none of inf - inf.
    at_once = shares((0.5, 40.0, 0.0, 0.0, 0.0), spikes_ms)
    assert shares((0.5, 40.0, 0.0, 1e-9, 0.0), spikes_ms) == pytest.approx(at_once, rel=1e-9)
    assert shares((0.5, 1e-9, 0.0, 40.0, 0.0), spikes_ms) == pytest.approx(
        shares((0.5, 0.0, 0.0, 40.0, 0.0), spikes_ms), rel=1e-9
    )


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np
import dendrotwin
from test_circuit import recurrent
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.fields import FieldOfEach
from dendrotwin.circuit.recorders import Potentials
from dendrotwin.circuit.run import Storage, run
from dendrotwin.signals.extracellular import LFP
from dendrotwin.signals.probes import Probe
circuit = recurrent(dendrotwin.Twin.load(Path(sys.argv[1])), plastic=True)
storage = Storage(Path(sys.argv[2]), every_s=0.05)
alone = FieldOfEach(LFP(Probe(np.array([[300.0, 0.0, 0.0]]))), {{"cells": np.array([0, 3, 7, 8])}}, name="alone")
result = run(circuit, Settings(float(sys.argv[3])), [Potentials("cells"), alone], storage=storage)
if result is not None:
    recorded = [result.recorded(name)["values"] for name in ("v-cells", "alone")]
    assert recorded[1].shape == (4, float(sys.argv[3]), 1)
    np.savez(sys.argv[4], *result.spikes(), *recorded)
"""


@pytest.fixture
def command(twin: Twin, tmp_path: Path) -> list[str]:
    """A run in a process of its own: what follows is folder, duration and file of the result."""
    twin.save(tmp_path / "twin")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    return [str(script), str(tmp_path / "twin")]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def are_the_same(one: Path, other: Path) -> bool:
    """Spikes and potentials to the bit, fields but for the rounding of sums."""
    with np.load(one) as a, np.load(other) as b:
        *exact, field = a.keys()
        close = np.abs(a[field] - b[field]).max() < 1e-6 * np.abs(a[field]).max()
        return bool(close and all(np.array_equal(a[name], b[name]) for name in exact))


def test_a_second_process_changes_nothing(command: list[str], tmp_path: Path) -> None:
    alone = [sys.executable, *command, str(tmp_path / "a"), "150", str(tmp_path / "a.npz")]
    subprocess.run(alone, check=True, env=environment(), capture_output=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = [*torchrun, *command, str(tmp_path / "b"), "150", str(tmp_path / "b.npz")]
    subprocess.run(both, check=True, env=environment(), capture_output=True)
    assert are_the_same(tmp_path / "a.npz", tmp_path / "b.npz")


def test_a_killed_run_goes_on_to_the_same_spikes(command: list[str], tmp_path: Path) -> None:
    whole = [sys.executable, *command, str(tmp_path / "a"), "400", str(tmp_path / "a.npz")]
    subprocess.run(whole, check=True, env=environment(), capture_output=True)
    killed = [sys.executable, *command, str(tmp_path / "b"), "400", str(tmp_path / "b.npz")]
    process = subprocess.Popen(killed, env=environment(), stderr=subprocess.DEVNULL)
    states = tmp_path / "b" / "running" / "process-00000"
    while process.poll() is None and not list(states.glob("state-000002.npz")):
        time.sleep(0.005)
    assert process.poll() is None, "it was done before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b.npz").exists()
    subprocess.run(killed, check=True, env=environment(), capture_output=True)
    assert are_the_same(tmp_path / "a.npz", tmp_path / "b.npz")


def test_a_folder_is_of_one_run(twin: Twin, tmp_path: Path) -> None:
    circuit, storage = recurrent(twin), Storage(tmp_path)
    run(circuit, Settings(20), storage=storage)
    run(circuit, Settings(20, threads=2), storage=storage)  # threads change nothing
    with pytest.raises(CircuitError, match="holds a run of another circuit; name another folder"):
        run(circuit, Settings(21), storage=storage)
    probe = [Field(signals.LFP(Probe(np.array([[400.0, 0.0, 0.0]]))))]
    for other in (probe, [Potentials("cells")]):
        with pytest.raises(CircuitError, match="holds a run of another circuit; name another folder"):
            run(circuit, Settings(20), other, storage=storage)
    with (
        Run(circuit, Settings(20), storage=storage),
        pytest.raises(CircuitError, match="another process is running"),
    ):
        run(circuit, Settings(20), storage=storage)


def test_what_was_written_after_the_last_common_state_is_forgotten(tmp_path: Path) -> None:
    """A run that goes on may end its segments at other times: of old and new ones of one number none must mix."""
    first, second = (Segments(tmp_path, rank, 2, "digest") for rank in range(2))
    first.save(0, {}, {"slice": np.array(10)})
    second.save(0, {}, {"slice": np.array(10)})
    first.save(1, {}, {"slice": np.array(20)})  # and the second is killed here
    for process in (first, second):
        assert process.last() == 0
        process.forget_after(0)
    second.save(1, {}, {"slice": np.array(25)})  # and the first is killed here
    assert first.last() == second.last() == 0


LONELY = """
import os, sys
from dendrotwin.circuit.exchange import exchange
import numpy as np
from dendrotwin.errors import CircuitError, InputError
none = np.zeros(0, np.int64), np.zeros(0)
try:
    exchange().barrier()
    print("here", flush=True)
    while True:
        {waits}
except CircuitError as error:
    print(error)
    raise SystemExit(2)
"""


@pytest.mark.parametrize("waits", ["exchange().spikes(*none, False)", "exchange().end()"])
@pytest.mark.parametrize("killed", [0, 1])
def test_who_loses_another_process_ends_at_once_and_says_so(waits: str, killed: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", LONELY.format(waits=waits)], env=environment() | meeting | {"RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
    both[killed].kill()
    began = time.monotonic()
    other = 1 - killed
    said, errors = both[other].communicate(timeout=60)
    assert time.monotonic() - began < 15.0
    assert both[other].returncode == 2
    assert said == (
        f"process {other} of 2 lost another one, which failed or was killed; give the same command again, which goes "
        "on from the last checkpoint\n"
    )
    assert "Traceback" not in errors
    both[killed].communicate()


STOPPED = """
import sys, time
from dendrotwin.cli.network import ends_with_a_line
from dendrotwin.errors import CircuitError, InputError
try:
    with ends_with_a_line():
        print("here", flush=True)
        try:
            time.sleep(60)
        except Exception:  # as of a compiler, which takes it for a fault of the code
            pass
except CircuitError as error:
    print(error)
    time.sleep(2)
    raise SystemExit(2)
"""


def test_a_command_that_is_told_to_stop_says_one_line() -> None:
    process = subprocess.Popen([sys.executable, "-c", STOPPED], env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.terminate()
    said = process.stdout.readline()
    process.terminate()  # once more, while the line is said
    assert process.wait(30) == 2
    assert said == "the run was stopped; give the same command again, which goes on from the last checkpoint\n"
