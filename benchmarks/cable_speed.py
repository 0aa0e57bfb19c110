"""Cost of twins against the number of compartments, whole trials and step by step, beside NEURON.

    python benchmarks/cable_speed.py OUT TWIN [TWIN ...] [--largest 8]

TWIN is a twin's folder, or a cell, of which a twin is read. One thread. NEURON runs a second of the usual input with
its default (dt 0.025 ms) and its tuned setting; the twin the same input, in batches, and a cable twin also in calls of
1 ms. Writes cable_speed.json and cable_speed.png into OUT.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch

from dendrotwin.cell.tree import Events
from dendrotwin.evaluation.timing import median_seconds, time_neuron
from dendrotwin.models.cable import Cable
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.plot import save
from generalise import twin_at

STEPS, REPEATS = 1000, 3


def time_stepping(cable: Cable, events: Events) -> float:
    """Seconds for a simulated second of one cell in calls of 1 ms."""
    first = np.searchsorted(events.time_ms, np.arange(STEPS + 1))
    each = [Events(events.input[a:b], events.time_ms[a:b] - t) for t, (a, b) in enumerate(pairwise(first))]

    def run() -> None:
        state = cable.stepper.start()
        for one in each:
            cable.stepper.advance(state, one, 1)

    run()
    return median_seconds(run, REPEATS) / (STEPS / 1000)


def measure(path: str, largest: int) -> dict:
    """All timings of one twin [s per simulated second of one cell]."""
    twin = twin_at(path)
    simulation = Simulation(**twin.training["simulation"])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        events, neuron = pool.submit(time_neuron, simulation, STEPS, REPEATS).result()
    found = {"cell": simulation.cell, "compartments": twin.tree.n, **neuron}
    for batch in [2**k for k in range(11) if 2**k <= largest]:
        many = [events] * batch
        twin.predict_batch(many, STEPS)  # compiles
        seconds = median_seconds(lambda many=many: twin.predict_batch(many, STEPS), REPEATS)
        found[f"batch {batch}"] = seconds / batch / (STEPS / 1000)
    if isinstance(twin.model, Cable):
        found["step by step"] = time_stepping(twin.model, events)
    print(f"{simulation.cell}, {twin.tree.n} compartments")
    for name in list(found)[2:]:
        ratio = found["NEURON default"] / found[name]
        print(f"  {name:<16} {found[name]:.4f} s   {ratio:6.1f} x NEURON default", flush=True)
    return found


def draw(rows: list[dict]) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, mark in (("NEURON default", "s"), ("batch 1", "o"), ("step by step", "x")):
        of = [row for row in rows if name in row]
        axes.plot([row["compartments"] for row in of], [row[name] for row in of], mark, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("compartments")
    axes.set_ylabel("s per simulated second")
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("twins", nargs="+", help="folders, or cells")
    parser.add_argument("--largest", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(path, arguments.largest) for path in arguments.twins]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "cable_speed.json").write_text(json.dumps(rows, indent=2) + "\n")
    save(draw(rows), arguments.out / "cable_speed.png")


if __name__ == "__main__":
    main()
