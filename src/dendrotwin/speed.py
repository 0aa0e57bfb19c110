"""Wall seconds per simulated second: NEURON, the coarse cable and a twin, on the same input, in one run, one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from dendrotwin.cells import load_cell
from dendrotwin.cells.build import NeuronCell
from dendrotwin.inputs import draw_events, trial_rng
from dendrotwin.predict import predict
from dendrotwin.simulate import Simulation, run_trial
from dendrotwin.solve import coarse_cable
from dendrotwin.tree import Events
from dendrotwin.twin import Twin

# NEURON's own default, and the tuned setting that is more accurate at half the price.
SETTINGS = {"NEURON default": (0.025, "backward-euler"), "NEURON tuned": (0.05, "crank-nicolson")}
TRIAL = 1_000_000  # number of the trial whose input is used; no data set is that long


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def time_neuron(simulation: Simulation, steps: int, repeats: int) -> tuple[Events, dict[str, float]]:
    """Median wall seconds of each setting, building and compiling not counted; runs in a process of its own."""
    cell = NeuronCell(load_cell(simulation.cell, simulation.cell_options))
    events = draw_events(cell.tree, simulation.inputs, steps, trial_rng(simulation.seed, TRIAL))
    run_trial(cell, Events.sort(np.zeros(0), np.zeros(0)), 20)
    seconds = {
        name: median_seconds(lambda setting=setting: run_trial(cell, events, steps, *setting), repeats)  # type: ignore[misc]
        for name, setting in SETTINGS.items()
    }
    return events, seconds


def measure_speed(
    twin: Twin, simulation: Simulation, *, steps: int = 1000, repeats: int = 3, batch: int = 8
) -> dict[str, float]:
    """Median wall seconds per simulated second of one cell, on one thread.

    Args:
        twin: the twin.
        simulation: of the data that it was trained on.
        steps: simulated time [ms].
        repeats: of each timing.
        batch: cells that the twin and the cable evaluate at once; a row for 1 and one for this.

    Returns:
        Seconds by name; the ratio to NEURON is theirs to divide.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        events, seconds = pool.submit(time_neuron, simulation, steps, repeats).result()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for cells in (1, batch):
            many = [events] * cells
            contenders: dict[str, Callable[[], object]] = {
                f"coarse cable, batch {cells}": lambda many=many: coarse_cable(twin.tree, many, steps),  # type: ignore[misc]
                f"twin, batch {cells}": lambda many=many: predict(twin, many, steps),  # type: ignore[misc]
            }
            for name, run in contenders.items():
                run()  # compiles, and fills the caches
                seconds[name] = median_seconds(run, repeats) / cells
    finally:
        torch.set_num_threads(threads)
    return {name: value / (steps / 1000.0) for name, value in seconds.items()}
