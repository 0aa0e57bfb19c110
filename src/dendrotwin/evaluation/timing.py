"""Wall seconds per simulated second: NEURON, the coarse cable and a twin, on the same input, in one run, one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from dendrotwin.cell.stimuli import draw_events, trial_rng
from dendrotwin.cell.tree import Events
from dendrotwin.cells import load_cell
from dendrotwin.errors import InputError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.cell_of_data import simulation_of_data
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.neuron.trial import run_trial
from dendrotwin.solver.coarse import coarse_cable
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import run_apart
from dendrotwin.twin import Twin

# Step [ms] and method: NEURON's own default, and a setting that is more accurate in half the time.
NEURON_SETTINGS = {"NEURON default": (0.025, "backward-euler"), "NEURON tuned": (0.05, "crank-nicolson")}
BATCH = 8  # cells at once of the second timing
CLOSED_LOOP_MS = 50  # in closed loop a twin goes step by step, each of the same cost, and slowly
TIMED_TRIAL = 1_000_000  # number of the trial whose input is used; no data set is that long


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Time a call.

    Args:
        run: what is timed.
        repeats: how often.

    Returns:
        Median wall time [s].
    """
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def time_neuron(simulation: Simulation, duration_ms: int, repeats: int) -> tuple[Events, dict[str, float]]:
    """Time NEURON on one trial, without building the cell; to be run in a process of its own.

    Args:
        simulation: the cell and its input.
        duration_ms: simulated time [ms].
        repeats: of each timing.

    Returns:
        The events, and the median wall time of each of NEURON_SETTINGS [s].
    """
    cell = NeuronCell(load_cell(simulation.cell, simulation.cell_options))
    events = draw_events(cell.tree, simulation.inputs, duration_ms, trial_rng(simulation.seed, TIMED_TRIAL))
    run_trial(cell, Events.sort(np.zeros(0), np.zeros(0)), 20)
    seconds = {
        name: median_seconds(lambda setting=setting: run_trial(cell, events, duration_ms, *setting), repeats)  # type: ignore[misc]
        for name, setting in NEURON_SETTINGS.items()
    }
    return events, seconds


def measure_speed(
    twins: Mapping[str, Twin], simulation: Simulation, *, duration_ms: int = 1000, repeats: int = 3, batch: int = BATCH
) -> dict[str, float]:
    """Median wall seconds per simulated second of one cell, free-running, on one thread.

    Args:
        twins: by name, of one cell.
        simulation: of the cell, and of the input that they are timed on.
        duration_ms: simulated time [ms]; of a twin that predicts one step ahead, which goes in closed loop,
            `CLOSED_LOOP_MS`.
        repeats: of each timing.
        batch: cells that a twin and the cable evaluate at once; a row for 1 and one for this.

    Returns:
        Wall seconds by name: of NEURON_SETTINGS; of the coarse cable and each twin with "batch 1" and the batch.
    """
    events, of_neuron = run_apart(time_neuron, simulation, duration_ms, repeats)
    seconds = {name: value / (duration_ms / 1000.0) for name, value in of_neuron.items()}
    tree = next(iter(twins.values())).tree
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        timings = [(name, cells) for cells in (1, batch) for name in ("coarse cable", *twins)]
        with progress("timing", len(timings), "timings") as advance:
            for name, cells in timings:
                twin = twins.get(name)
                ms = CLOSED_LOOP_MS if twin is not None and twin.one_step_ahead else duration_ms
                early = events.time_ms < ms
                many = [Events(events.input[early], events.time_ms[early])] * cells

                def run(twin: Twin | None = twin, many: list[Events] = many, ms: int = ms) -> object:
                    return coarse_cable(tree, many, ms) if twin is None else twin.predict_batch(many, ms)

                run()  # compiles, and fills the caches
                label = f"{name}, batch {cells}"
                seconds[label] = median_seconds(run, repeats) / cells / (ms / 1000.0)
                advance(1, label)
    finally:
        torch.set_num_threads(threads)
    return seconds


def speed_beside_neuron(twin: Twin, cell: str | Path | None = None) -> dict[str, float]:
    """`measure_speed` of one twin, on the simulation that its data came from.

    Args:
        twin: the twin, which is called "twin" in the result.
        cell: the Python file of the cell, if it is none of dendrotwin's; see `neuron.cell_of_data`.

    Returns:
        Wall seconds per simulated second by name.

    Raises:
        InputError: its data were not simulated, or of a cell that is not named.
    """
    if not twin.training["simulation"]:
        raise InputError(
            "the twin's data were not made by `simulate`, so NEURON cannot be timed; evaluate without --speed"
        )
    simulation = simulation_of_data(twin.training["simulation"], cell, str(twin.folder or "the twin"))
    return measure_speed({"twin": twin}, simulation)
