"""The cable twin on a GPU: simulated seconds per second against the batch, beside one thread of the CPU in one run.

    python benchmarks/gpu_speed.py OUT CELL [--accuracy standard] [--largest 4096]

CELL is the name of a cell, a Python file that defines one (either is read from NEURON first), or the folder of a twin.
First 16 trials of a second are simulated on the CPU and on the GPU and compared. Then the batch grows: the kernel
alone, with input on the card and potentials left there, and all of it, from events of the host to potentials there.
Writes gpu_speed.json and gpu_speed.png into OUT. Without a card it says so and ends with status 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import torch

import dendrotwin
from dendrotwin.cell.stimuli import draw_events, trial_rng
from dendrotwin.cell.tree import Events
from dendrotwin.evaluation.timing import TIMED_TRIAL, median_seconds
from dendrotwin.models.cable import Cable, gpu_stepper_class
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.plot import save
from dendrotwin.solver.accuracy import CableConfig

STEPS, TRIALS, CHUNK_MS, REPEATS = 1000, 16, 100, 3


def on_gpu(run: Callable[[], object]) -> Callable[[], object]:
    """Until the card is done; once before, for what is made at the first call."""

    def waited() -> None:
        run()
        torch.cuda.synchronize()

    waited()
    return waited


def compare(network: Cable, events: list[Events]) -> tuple[dict[str, Any], float]:
    """Differences between CPU and GPU, and seconds per simulated second on one thread of the CPU."""
    network.simulate(events[:1], 10)
    found: list[Any] = []
    seconds = median_seconds(lambda: found.append(network.simulate(events, STEPS)), 1) / (len(events) * STEPS / 1000)
    v_mV, spikes = found[0]
    again, spikes_again = network.to("cuda").simulate(events, STEPS)
    away = np.abs(again - v_mV)
    same = {
        "median of each trial's largest difference of V [mV]": float(np.median(away.max((1, 2)))),
        "largest difference of V [mV]": float(away.max()),
        "output spikes, CPU": int((spikes > 0.5).sum()),
        "output spikes, GPU": int((spikes_again > 0.5).sum()),
        "trials with the same output spikes": int(((spikes > 0.5) == (spikes_again > 0.5)).all(1).sum()),
        "trials": len(events),
    }
    return same, seconds


def cut(events: Events, start: int, length: int) -> Events:
    a, z = np.searchsorted(events.time_ms, (start, start + length))
    return Events(events.input[a:z], events.time_ms[a:z] - start)


def time_batch(network: Cable, events: list[Events], cells: int) -> dict[str, float]:
    """Simulated seconds per second, and solves in a millisecond of a cell."""
    stepper = network.gpu_stepper
    # Each cell has one of the trials, begun at another time.
    pieces = STEPS // CHUNK_MS - 1
    many = [(events[k % TRIALS], CHUNK_MS * (k // TRIALS % pieces)) for k in range(cells)]
    before, now = ([cut(e, start + more, CHUNK_MS) for e, start in many] for more in (0, CHUNK_MS))
    state, drive = stepper.start(cells), stepper.drive(now, CHUNK_MS)
    stepper.advance(state, before, CHUNK_MS)
    simulated = cells * CHUNK_MS / 1000
    kernel = median_seconds(on_gpu(lambda: stepper.run(state, drive)), REPEATS)
    whole = median_seconds(on_gpu(lambda: stepper.advance(state, now, CHUNK_MS)[0].cpu()), REPEATS)
    counts = state.counts.sum(0).tolist()
    return {"kernel": simulated / kernel, "whole": simulated / whole, "solves per ms": counts[1] / counts[0]}


def draw(found: dict[str, Any]) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    cells = list(found["batch"])
    for name, colour in (("kernel", "#0072B2"), ("whole", "#009E73")):
        axes.loglog(cells, [row[name] for row in found["batch"].values()], "o-", color=colour, label=f"GPU, {name}")
    axes.axhline(1 / found["CPU, one thread"], color="#D55E00", label="one thread of the CPU")
    axes.set_xlabel("cells at once")
    axes.set_ylabel("simulated seconds per second")
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("cell")
    parser.add_argument("--accuracy", default="standard")
    parser.add_argument("--largest", type=int, default=4096)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no CUDA card here, so there is nothing to time", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    folder = (Path(arguments.cell) / "config.json").is_file()
    twin = dendrotwin.load(arguments.cell) if folder else dendrotwin.twin_of(arguments.cell)
    simulation = Simulation(**twin.training["simulation"])
    assert isinstance(twin.model, Cable)
    network = Cable(twin.tree, twin.model.membrane, CableConfig(accuracy=arguments.accuracy))
    rngs = [trial_rng(simulation.seed, TIMED_TRIAL + k) for k in range(TRIALS)]
    events = [draw_events(twin.tree, simulation.inputs, STEPS, rng) for rng in rngs]
    gpu_stepper_class(torch.device("cuda"))  # is Triton there?
    same, cpu = compare(network, events)
    print(
        f"{torch.cuda.get_device_name()}; CPU and GPU: {same}; CPU, one thread: {cpu:.4f} s per simulated s", flush=True
    )
    rows = {}
    for cells in [4**k for k in range(20) if 4**k <= arguments.largest]:
        rows[cells] = row = time_batch(network, events, cells)
        print(
            f"  {cells:>6} cells  {row['kernel']:8.1f} simulated s/s, "
            f"{row['kernel'] * cpu:7.1f} x one thread of the CPU; "
            f"whole {row['whole']:8.1f} s/s; {row['solves per ms']:.2f} solves per ms",
            flush=True,
        )
    found = {
        "card": torch.cuda.get_device_name(), "cell": simulation.cell, "compartments": twin.tree.n,
        "accuracy": arguments.accuracy, "CPU, one thread": cpu, "CPU and GPU": same, "batch": rows,
    }  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu_speed.json").write_text(json.dumps(found, indent=2) + "\n")
    save(draw(found), arguments.out / "gpu_speed.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
