"""What a run will take: its memory, counted, and its time, measured on its first milliseconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.circuit.run import engine_of, sampling_of
from dendrotwin.circuit.sonata.simulate import Simulation, recorders_of

MEASURED_S = 3.0  # of the run's first milliseconds


@dataclass(frozen=True)
class Estimate:
    """Of one process.

    Attributes:
        memory_bytes: of states, events, connections and matrices of fields.
        seconds: of the whole run, if it goes on as in its first milliseconds [s].
        measured_ms: how many these were [ms].
    """

    memory_bytes: int
    seconds: float
    measured_ms: float


def estimate(simulation: Simulation) -> Estimate:
    """What a run will take, by running a little of it.

    Args:
        simulation: read.
    """
    plan = simulation.plan
    sampling = sampling_of(recorders_of(plan), simulation.sample_ms)
    engine = engine_of(simulation.circuit, simulation.settings, sampling)
    memory = 0
    for cells in engine.models:
        here, many = cells.here, len(cells.here.node)
        parts: list[NDArray[Any]] = [*cells.batch.states, *here.connections, *here.plasticity, *cells.ring]
        memory += sum(part.nbytes for part in parts)
        channels = sum(len(of.channel) for of in plan.extracellular)
        per_cell = channels * here.tree.n * np.dtype(np.float32).itemsize
        memory += many * per_cell
    engine.advance(lambda node, time_ms: (node, time_ms))  # compiles
    began, first = time.monotonic(), engine.slice
    while engine.slice < engine.slices and (time.monotonic() - began < MEASURED_S or engine.slice == first):
        engine.advance(lambda node, time_ms: (node, time_ms))
    measured_ms = max((engine.slice - first) * engine.slice_ms, engine.slice_ms)
    seconds = (time.monotonic() - began) * simulation.settings.duration_ms / measured_ms
    return Estimate(memory, seconds, measured_ms)


def summary(simulation: Simulation) -> list[str]:
    """What a simulation has and asks for, a line each.

    Args:
        simulation: read.
    """
    circuit, plan = simulation.circuit, simulation.plan
    lines = [
        f"population {population.name}: {len(population)} cells of {len(population.twins)} kinds, "
        f"{', '.join(str(twin.tree.n) for twin in population.twins)} compartments"
        for population in circuit.populations
    ]
    lines += [f"trains {trains.name}: {len(trains)} nodes, {len(trains.node)} spikes" for trains in circuit.trains]
    of_projections = len(circuit.projections)
    lines += [
        f"connections {projection.source} to {projection.target}: {size.many}, delays "
        f"{size.shortest_ms:g} to {size.longest_ms:g} ms"
        for projection, size in zip(circuit.projections, simulation.sizes[:of_projections], strict=True)
        if size.many
    ]
    lines += [
        f"clamps into {clamps.population}: {size.many}"
        for clamps, size in zip(circuit.clamps, simulation.sizes[of_projections:], strict=True)
    ]
    lines += [f"report {report.name}: {report.variable} to {report.path}" for report in plan.reports]
    lines += [f"report {of.name}: {len(of.channel)} contacts to {of.path}" for of in plan.extracellular]
    lines.append(f"{plan.stop_ms:g} ms, results in {plan.folder}")
    return [*lines, *(f"note: {note}" for note in plan.notes)]
