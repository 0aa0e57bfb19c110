"""Networks on a GPU, in Triton's interpreter, beside those of the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="there is none for this system")

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.circuit import Circuit, Given, Potentials, Storage, engine
from dendrotwin.circuit.engine import Engine, Settings
from dendrotwin.errors import CircuitError
from dendrotwin.models.cable import Cable
from dendrotwin.solver.accuracy import Accuracy, CableConfig
from dendrotwin.solver.batch import Batch, BatchOutput
from dendrotwin.solver.gpu import GPUStepper
from dendrotwin.solver.gpu_batch import GPUBatch
from dendrotwin.solver.integrator.state import NO_CROSSING, SynapticEvents, Watch
from dendrotwin.solver.stepper import Stepper, no_watch
from dendrotwin.twin import Twin
from test_gpu import a_membrane, a_tree, firing

BLOCK_MS, BLOCKS, CELLS, N = 0.25, 6, 2, 3
FAST = CableConfig(accuracy="fast", tolerance_mV=5.0)
DURATION_MS = 4.5
STRONG = Synapse("strong", True, (Conductance(rise_ms=0.2, decay_ms=1.0, g_max_uS=0.02, e_mV=0.0),))


def with_potassium() -> Membrane:
    """Sodium, and potassium that accumulates."""
    whole = a_membrane(N)
    of_potassium = tuple(each for each in whole.ions if each.name == "k")
    return Membrane(34.0, whole.mechanisms[:3], tuple(p for p in whole.pools if p.ion == "k"), of_potassium)


def some_input(stepper: Stepper, blocks: int) -> tuple[SynapticEvents, np.ndarray]:
    """Events of two cells, and a current into the soma of the second one."""
    rng, arrays = np.random.default_rng(0), stepper.layout.arrays
    counts = rng.integers(0, 4, (CELLS, blocks))
    edges = np.cumsum(np.append(0, counts.ravel()))
    first = np.stack([edges[k * blocks : (k + 1) * blocks + 1] for k in range(CELLS)])
    after = np.concatenate([np.sort(rng.uniform(0, stepper.block_ms, many)) for many in counts.ravel()])
    many, classes = len(after), len(arrays.synapses.rise_ms)
    rows = arrays.synapses.row[rng.integers(0, classes, many)]
    which = np.array([np.flatnonzero((arrays.synapses.row == row).all(1))[0] for row in rows])
    injected = np.zeros((CELLS, blocks, N))
    injected[1, 2:, arrays.soma] = 0.6
    return SynapticEvents(
        first, after, which, rng.integers(rows[:, 0], rows[:, 1]), rng.uniform(0, 1e-3, many)
    ), injected


def part_of(events: SynapticEvents, start: int, stop: int) -> SynapticEvents:
    """Those of some blocks of all cells."""
    first = events.first[:, start : stop + 1]
    mine = np.concatenate([np.arange(row[0], row[-1]) for row in first])
    counts = np.diff(first)
    edges = np.cumsum(np.append(0, counts.ravel()))
    width = stop - start
    again = np.stack([edges[k * width : (k + 1) * width + 1] for k in range(len(first))])
    return SynapticEvents(again, *(part[mine] for part in events[1:]))


def advance(batch: Batch | GPUBatch, *what: Any) -> BatchOutput:
    batch.begin(*what)
    return batch.end()


def test_a_batch_is_that_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a fourth of a millisecond, in two tiles: potentials, output spikes, samples within steps, and states.

    Then in two parts, of which a batch that was restored does the second: that changes no bit.
    """
    monkeypatch.setattr("dendrotwin.solver.gpu.TILE", 2)
    stepper = Stepper(a_tree(N), with_potassium(), Accuracy(2, 8, 0.5), BLOCK_MS)
    events, injected = some_input(stepper, BLOCKS)
    times = np.array([0.1, 0.25, 0.45, 0.9, 1.0, 1.35, 1.36, 1.5])
    block = np.ceil(times / BLOCK_MS - 1e-9).astype(np.int64) - 1
    watch = Watch(-55.0, np.searchsorted(block, np.arange(BLOCKS + 1)), times - BLOCK_MS * block, np.array([2, 0]))
    cpu, gpu = Batch(stepper, CELLS), GPUBatch(GPUStepper(stepper, "cpu"), CELLS)
    true, found = (advance(each, events, BLOCKS, watch, injected) for each in (cpu, gpu))
    assert found.v_mV.shape == (CELLS, BLOCKS, 2)
    assert found.sample_mM.shape == (CELLS, len(times), 1, 2)
    assert np.abs(found.v_mV - true.v_mV).max() < 1e-3
    assert np.abs(found.sample_mV - true.sample_mV).max() < 1e-3
    assert np.allclose(found.sample_mM, true.sample_mM, rtol=1e-5)
    assert np.allclose(found.crossing_ms, true.crossing_ms, atol=1e-4)
    assert np.array_equal(found.sample_mV[:, 1], found.v_mV[:, 0])  # the end of a step is that of a block
    assert (found.crossing_ms >= 0.0).sum() == (found.crossing_ms[1] != NO_CROSSING).sum() == 1
    assert np.ptp(found.sample_mM) > 1e-4
    for one, other in zip(gpu.states, cpu.states, strict=True):
        assert one.dtype == other.dtype
        assert np.allclose(one, other, rtol=1e-3, atol=1e-4)
    whole, batch, parts = found.v_mV.copy(), GPUBatch(gpu.gpu, CELLS), []
    for start, stop in ((0, 3), (3, BLOCKS)):  # the state is there twice, and is in the other place after three
        states, batch = batch.states, GPUBatch(gpu.gpu, CELLS)
        batch.restore(states)
        some, current = part_of(events, start, stop), injected[:, start:stop]
        look = no_watch(stop - start)._replace(position=watch.position)
        parts.append(advance(batch, some, stop - start, look, current).v_mV.copy())
    assert np.array_equal(np.concatenate(parts, 1), whole)
    for one, other in zip(batch.states, gpu.states, strict=True):
        assert np.array_equal(one, other)


def test_a_potential_outside_of_the_tables_is_found() -> None:
    """The first one, wherever it is, watched or not; and what is no number."""
    stepper = Stepper(a_tree(N), firing(N), FAST.steps)
    events, injected = some_input(stepper, 2)
    injected[1, :, 0] = [0.0, 1e4]
    watch = no_watch(2)._replace(position=np.array([N - 1]))
    gpu = GPUBatch(GPUStepper(stepper, "cpu"), CELLS)
    batches: tuple[Batch | GPUBatch, ...] = (Batch(stepper, CELLS), gpu)
    found = [advance(each, events, 2, watch, injected).outside for each in batches]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][:3] == found[1][:3]
    assert found[1].cell == found[1].block == 1
    assert found[1].v_mV == pytest.approx(found[0].v_mV, rel=1e-3)
    states = gpu.states
    states.v_mV[0] = np.nan
    gpu.restore(states)
    outside = advance(gpu, events, 2, watch).outside
    assert outside is not None
    assert outside[:3] == (0, 0, 0)
    assert np.isnan(outside.v_mV)


@pytest.fixture(scope="module", autouse=True)
def _card() -> Iterator[None]:
    """The interpreter takes the place of a card."""

    def batch_of(stepper: Stepper, count: int, device: torch.device, threads: int) -> Batch | GPUBatch:
        return Batch(stepper, count, threads) if device.type == "cpu" else GPUBatch(GPUStepper(stepper, "cpu"), count)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(engine, "batch_of", batch_of)
        for name in ("engine", "check"):
            monkeypatch.setattr(f"dendrotwin.circuit.{name}.device_of", torch.device)
        yield


def chain(order: tuple[int, ...] = (0, 1, 2)) -> Circuit:
    """A current makes the first cell fire, which fires the second, which fires the third; in an order of the nodes.

    Cells are in turn of two models, which are the same. One cell alone has a connection without weight, whose delay
    makes the same blocks.
    """
    tree = a_tree(3)
    circuit = Circuit(seed=2)
    twins = [Twin("cable", {}, tree, Cable(tree, firing(3), CableConfig()), 0.5, {}) for _ in range(2)]
    circuit.add("cells", twins, len(order))
    circuit.clamp("cells", 0.5, 0.1, 2.5, [order[0]])
    source, target = (order[:-1], order[1:]) if len(order) > 1 else (order, order)
    given = Given(np.array(source), np.array(target), np.zeros(len(source), int))
    circuit.connect("cells", "cells", given, STRONG, weight=float(len(order) > 1), delay_ms=0.7)
    return circuit


def of(circuit: Circuit, device: str = "cuda", storage: Storage | None = None) -> tuple[list[Any], np.ndarray]:
    """Output spikes, and V (samples, cells, n) every 0.3 ms."""
    whole_cells = Potentials("cells", compartments="all")
    result = circuit.run(DURATION_MS, [whole_cells], FAST, 0.3, storage=storage, device=device)
    assert result is not None
    recorded = result.recorded("v-cells")
    cells = int(recorded["node"].max()) + 1
    values = recorded["values"].reshape(len(recorded["time_ms"]), cells, -1)
    return list(zip(*(array.tolist() for array in result.spikes()), strict=True)), values


@pytest.fixture(scope="module")
def of_card() -> tuple[list[Any], np.ndarray]:
    return of(chain())


def test_a_chain_fires_as_on_the_cpu(of_card: tuple[list[Any], np.ndarray]) -> None:
    """In blocks of half a millisecond, with samples within steps."""
    spikes, v_mV = of_card
    true_spikes, true_mV = of(chain(), "cpu")
    assert [node for node, _ in spikes] == [node for node, _ in true_spikes] == [0, 1, 2]
    assert np.allclose(spikes, true_spikes, atol=1e-3)
    assert np.abs(v_mV - true_mV).max() < 0.02
    assert np.ptp(v_mV) > 40.0


def test_a_cell_does_not_depend_on_others(of_card: tuple[list[Any], np.ndarray]) -> None:
    spikes, v_mV = of_card
    alone, alone_mV = of(chain((0,)))
    assert alone == spikes[:1]
    assert np.array_equal(alone_mV[:, 0], v_mV[:, 0])


def test_neither_an_order_nor_a_stop_changes_a_bit(of_card: tuple[list[Any], np.ndarray], tmp_path: Path) -> None:
    """Of the same cells in another order, in a run that stops and goes on; on a card, and not on the CPU."""
    spikes, v_mV = of_card
    order, slices = (2, 0, 1), 0

    def advance(engine_: Engine, gather: Any) -> Any:
        nonlocal slices
        slices += 1
        if slices == 6:
            raise KeyboardInterrupt
        return one_slice(engine_, gather)

    one_slice, storage = Engine.advance, Storage(tmp_path, every_s=0.0)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Engine, "advance", advance)
        with pytest.raises(KeyboardInterrupt):
            of(chain(order), storage=storage)
    with pytest.raises(CircuitError, match=r"of other settings \(duration, device, ...\); name another"):
        of(chain(order), "cpu", storage)
    moved, moved_mV = of(chain(order), storage=storage)
    assert sorted((order.index(node), when) for node, when in moved) == sorted(spikes)
    assert np.array_equal(moved_mV[:, list(order)], v_mV)


def test_another_card_is_no_other_run() -> None:
    one, other = Settings(10.0, device="cuda"), Settings(10.0, threads=2, device="cuda:1")
    assert one.of_results == other.of_results != Settings(10.0).of_results
