"""Cost of cable twins: against the batch, against the number of compartments, step by step, beside NEURON.

    python benchmarks/cable_speed.py OUT TWIN [TWIN ...] [--largest 1024]

One thread. NEURON runs a second of the input of each twin's training protocol with its default (dt 0.025 ms) and its
tuned setting; the twin the same input, in batches, and one cell in calls of 1 ms. Writes cable_speed.json and
cable_speed.png into OUT.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import matplotlib.figure
import torch

import dendrotwin
from dendrotwin.dataset import event_counts
from dendrotwin.plot import save
from dendrotwin.simulate import Simulation
from dendrotwin.speed import median_seconds, time_neuron
from dendrotwin.twin import Twin

STEPS, CHUNK_MS = 1000, 100
REPEATS = 3


@torch.inference_mode()
def time_twin(twin: Twin, counts: torch.Tensor, batch: int) -> float:
    """Seconds for a simulated second of one cell of a batch."""

    # Each cell of a batch has the same input, begun at another time: small substeps are not taken by all at once.
    many = torch.stack([counts[0].roll(-37 * k, 1) for k in range(batch)])

    def run() -> None:
        state = None
        for start in range(0, STEPS, CHUNK_MS):
            _, _, state = twin.network(many[..., start : start + CHUNK_MS], state=state)

    run()
    return median_seconds(run, REPEATS) / batch / (STEPS / 1000)


@torch.inference_mode()
def time_stepping(twin: Twin, counts: torch.Tensor) -> float:
    """Seconds for a simulated second of one cell in calls of 1 ms."""

    def run() -> None:
        state = None
        for t in range(STEPS):
            _, _, state = twin.network(counts[..., t : t + 1], state=state)

    run()
    return median_seconds(run, REPEATS) / (STEPS / 1000)


def measure(path: str, largest: int) -> dict:
    """All timings of one twin [s per simulated second]."""
    twin = dendrotwin.load(path)
    simulation = Simulation(**twin.training["simulation"])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        events, neuron = pool.submit(time_neuron, simulation, STEPS, REPEATS).result()
    counts = torch.from_numpy(event_counts(events, twin.tree.n_inputs, 0, STEPS))[None]
    twin.network.eval()
    batches = [2**k for k in range(11) if 2**k <= largest]
    found = {
        "cell": simulation.cell, "compartments": twin.tree.n, "NEURON": neuron,
        "step by step": time_stepping(twin, counts),
        "batch": {batch: time_twin(twin, counts, batch) for batch in batches},
    }  # fmt: skip
    default = neuron["NEURON default"]
    print(f"{simulation.cell}, {twin.tree.n} compartments: NEURON {neuron}")
    print(f"  step by step   {found['step by step']:.4f} s   {default / found['step by step']:6.1f} x NEURON default")
    for batch, seconds in found["batch"].items():
        print(f"  batch {batch:<8} {seconds:.4f} s   {default / seconds:6.1f} x NEURON default", flush=True)
    return found


def draw(rows: list[dict]) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row, colour in zip(rows, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=False):
        default = row["NEURON"]["NEURON default"]
        left.plot(list(row["batch"]), [default / s for s in row["batch"].values()], "o-", color=colour,
                  label=f"{row['cell']}, {row['compartments']} compartments")  # fmt: skip
        left.plot([1], [default / row["step by step"]], "x", color=colour)
        right.plot(row["compartments"], default, "s", color="black", label="NEURON default" if row is rows[0] else None)
        right.plot(row["compartments"], row["batch"][min(row["batch"])], "o", color=colour)
        right.plot(row["compartments"], row["step by step"], "x", color=colour)
    left.set_xscale("log", base=2)
    left.set_xlabel("cells at once (x: one, in calls of 1 ms)")
    left.set_ylabel("times faster than NEURON's default")
    left.legend(frameon=False, fontsize=8)
    right.set_yscale("log")
    right.set_xlabel("compartments")
    right.set_ylabel("s per simulated second")
    right.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("twins", nargs="+")
    parser.add_argument("--largest", type=int, default=1024)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(path, arguments.largest) for path in arguments.twins]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "cable_speed.json").write_text(json.dumps(rows, indent=2) + "\n")
    save(draw(rows), arguments.out / "cable_speed.png")


if __name__ == "__main__":
    main()
