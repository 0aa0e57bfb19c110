"""MMoE with the paper's sizes on the paper's cell: dense evaluation, window by window with loops, and NEURON.

    python benchmarks/paper_speed.py [--window-steps 20] [--repeats 3]

One thread. The same weights are evaluated densely over a simulated second (all tasks batched), and as the published
code does it: for every millisecond a window, expert by expert and task by task (`tests/slow_networks.py`). Then the
memory of a training step of 32 windows of 1 s. The cell's reconstruction must be at hand
(docs/tutorials/paper-cell.md). Results are in docs/measurements/speed.md.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from dendrotwin.cell.stimuli import Modulated
from dendrotwin.cell.tree import Tree
from dendrotwin.cells import load_cell
from dendrotwin.evaluation.timing import median_seconds, time_neuron
from dendrotwin.models import build_model
from dendrotwin.models.base import Batch
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.training.losses import Balance, Objective
from slow_networks import SlowNetwork, binned, event_counts

STEPS = 1000


def _tree() -> Tree:
    from dendrotwin.neuron.build import NeuronCell

    return NeuronCell(load_cell("l5pc", {})).tree


def _training_memory(tree: Tree, options: dict, micro_batch: int) -> float:
    """Peak memory of a process that makes one training step of 32 windows of 1 s [GB]."""
    torch.set_num_threads(1)
    _, network = build_model("mmoe", options, tree)
    objective = Objective(network, Balance(tree.n + 1, "equal", 2.0))
    optimiser = torch.optim.AdamW(objective.parameters(), 1e-3)
    size, context = 32, network.context
    events = (torch.rand(size, tree.n_inputs, context + STEPS) < 0.005).float()
    v_mV, spikes = torch.randn(size, STEPS, tree.n), torch.zeros(size, STEPS)
    for start in range(0, size, micro_batch):
        part = slice(start, start + micro_batch)
        loss, _ = objective(Batch(binned(events[part]), v_mV[part], spikes[part]))
        (loss * micro_batch / size).backward()
    optimiser.step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window-steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--micro-batch", type=int, default=2)
    arguments = parser.parse_args()
    options = {"preset": "paper"}
    torch.set_num_threads(1)
    simulation = Simulation(cell="l5pc", duration_ms=STEPS, seed=1, inputs=Modulated())
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        tree = pool.submit(_tree).result()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        memory = pool.submit(_training_memory, tree, options, arguments.micro_batch).result()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        events, neuron = pool.submit(time_neuron, simulation, STEPS, arguments.repeats).result()

    torch.manual_seed(0)
    config, network = build_model("mmoe", options, tree)
    network.eval()
    print(f"mmoe {config.model_dump()}, {sum(p.numel() for p in network.parameters())} parameters")

    def dense(cells: int) -> np.ndarray:
        return network.predict([events] * cells, STEPS)[0]  # untrained, so that mV are z-scores

    z = dense(1)
    seconds = {f"dense, batch {cells}": median_seconds(lambda c=cells: dense(c), arguments.repeats) / cells
               for cells in (1, 8)}  # fmt: skip
    slow = SlowNetwork(network, config)
    counts = torch.from_numpy(event_counts(events, tree.n_inputs, -network.context, STEPS))
    began, worst = time.perf_counter(), 0.0
    for t in np.linspace(0, STEPS - 1, arguments.window_steps).astype(int):
        found, _ = slow.step(counts[:, t : t + network.context + 1])
        worst = max(worst, float(np.abs(found.numpy() - z[0, t]).max()))
    seconds["window by window, loops"] = (time.perf_counter() - began) / arguments.window_steps * STEPS
    print(f"largest difference between the two: {worst:.2g} (z-scores)")
    seconds |= neuron
    print("wall seconds per simulated second, one thread:")
    for name, value in seconds.items():
        ratio = seconds["window by window, loops"] / value
        print(f"  {name:<26} {value:9.4f}   {ratio:9.1f} x loops   {neuron['NEURON default'] / value:7.1f} x NEURON")
    print(f"training step of 32 windows of 1 s, {arguments.micro_batch} at a time: {memory:.2f} GB at most")


if __name__ == "__main__":
    main()
