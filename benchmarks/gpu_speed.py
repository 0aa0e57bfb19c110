"""The cable twin on a GPU: simulated seconds per second against the batch, beside NEURON and one thread of the CPU.

    python benchmarks/gpu_speed.py OUT TWIN [--largest 16384]

NEURON runs a second of the input of the twin's training protocol with its default and its tuned setting, the twin the
same protocol. First 16 trials of a second are predicted on the CPU and on the GPU and compared. The bandwidth of the
card is that of a copy; what the twin moves is counted as if its state went from memory and back once in each substep.
Writes gpu_speed.json and gpu_speed.png into OUT.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch

import dendrotwin
from dendrotwin.dataset import event_counts
from dendrotwin.inputs import draw_events, trial_rng
from dendrotwin.measures import predicted_spikes
from dendrotwin.membrane import strides
from dendrotwin.models.cable import LAGS
from dendrotwin.plot import save
from dendrotwin.simulate import Simulation
from dendrotwin.speed import TRIAL, median_seconds, time_neuron
from dendrotwin.twin import Twin

STEPS, TRIALS, CHUNK_MS, REPEATS = 1000, 16, 50, 3


def on_gpu(run: Callable[[], object]) -> Callable[[], object]:
    """Until the card is done."""

    def waited() -> None:
        run()
        torch.cuda.synchronize()

    waited()
    return waited


def compare(twin: Twin, counts: torch.Tensor) -> tuple[dict, float]:
    """Differences between CPU and GPU, and seconds per simulated second on one thread of the CPU."""
    cpu = twin.network(counts)
    seconds = median_seconds(lambda: twin.network(counts), 1) / (counts.shape[0] * counts.shape[2] / 1000)
    twin.network.to("cuda")
    gpu = [part.cpu() for part in twin.network(counts.cuda())]
    away = (gpu[0] - cpu[0]).abs() * twin.scaling.sd_mV
    spikes = [[predicted_spikes(p, twin.threshold) for p in torch.sigmoid(logit).numpy()] for _, logit, _ in (cpu, gpu)]
    found = {
        "median of each trial's largest difference of V [mV]": float(away.amax((1, 2)).median()),
        "largest difference of V [mV]": float(away.max()),
        "output spikes, CPU": sum(len(trial) for trial in spikes[0]),
        "output spikes, GPU": sum(len(trial) for trial in spikes[1]),
        "trials with the same output spikes": sum(np.array_equal(*pair) for pair in zip(*spikes, strict=True)),
        "trials": len(counts),
    }
    return found, seconds


def copied() -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * len(source) / median_seconds(on_gpu(lambda: target.copy_(source)), 5)


def bytes_moved(twin: Twin, counts: torch.Tensor) -> tuple[float, float]:
    """Share of milliseconds of many substeps, and bytes of state that a cell reads and writes in a millisecond."""
    state, levels = None, []
    for t in range(200):
        _, _, state = twin.network(counts[..., t : t + 1].cuda(), state=state)
        levels.append(state[:, -2 * (LAGS - 1) - 1])
    share = float(torch.stack(levels).mean())
    cell, many = twin.network._compiled.known.cell, twin.network.config.substeps[1]
    sizes = np.diff(cell.first)
    quick = float(cell.quick_gates @ sizes) * 4 + len(cell.rise_ms) * 2 * twin.tree.n * 4 + twin.tree.n * 8
    slow = float((cell.gates - cell.quick_gates) @ sizes) * 4 + float(cell.pool @ sizes) * (4 + 8)
    steps = 1 - share + share * many
    changes = 1 - share + share * many / strides(np.array(twin.network.config.substeps), 1)
    return share, 2 * (steps * quick + changes * slow) + 4 * twin.tree.n


def time_batch(twin: Twin, counts: torch.Tensor, cells: int) -> float:
    """Simulated seconds per second."""
    # Each cell has one of the trials, begun at another time.
    trial, begin = torch.arange(cells) % len(counts), 37 * (torch.arange(cells) // len(counts))
    at = ((begin[:, None] + torch.arange(2 * CHUNK_MS)) % counts.shape[2]).cuda()
    here = counts.cuda()
    before, now = torch.stack([here[k, :, t] for k, t in zip(trial.tolist(), at, strict=True)]).split(CHUNK_MS, 2)
    state = twin.network(before)[2]
    seconds = median_seconds(on_gpu(lambda: twin.network(now, state=state)), REPEATS)
    return cells * CHUNK_MS / 1000 / seconds


def draw(found: dict) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    cells = list(found["simulated seconds per second"])
    rate = list(found["simulated seconds per second"].values())
    left.loglog(cells, rate, "o-", color="#0072B2", label=found["card"])
    cpu, neuron = found["CPU, one thread"], found["NEURON"]["NEURON default"]
    left.axhline(1 / cpu, color="#D55E00", label="the twin, one thread of the CPU")
    left.axhline(1 / neuron, color="black", label="NEURON default, one thread")
    left.set_xlabel("cells at once")
    left.set_ylabel("simulated seconds per second")
    left.legend(frameon=False, fontsize=8)
    right.semilogx(cells, [100 * share for share in found["share of bandwidth"].values()], "o-", color="#0072B2")
    right.set_xlabel("cells at once")
    right.set_ylabel("state moved [% of a copy's bandwidth]")
    right.set_ylim(bottom=0)
    return figure


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("twin")
    parser.add_argument("--largest", type=int, default=16384)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    twin = dendrotwin.load(arguments.twin)
    twin.network.eval()
    simulation = Simulation(**twin.training["simulation"])
    seeds = [trial_rng(simulation.seed, TRIAL + k) for k in range(TRIALS)]
    events = [draw_events(twin.tree, simulation.inputs, STEPS, rng) for rng in seeds]
    counts = torch.from_numpy(np.stack([event_counts(trial, twin.tree.n_inputs, 0, STEPS) for trial in events]))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        neuron = pool.submit(time_neuron, simulation, STEPS, 1)
        same, cpu = compare(twin, counts)
        print(f"{torch.cuda.get_device_name()}; CPU and GPU: {same}", flush=True)
        bandwidth = copied()
        share, moved = bytes_moved(twin, counts)
        print(f"{100 * share:.1f} % of milliseconds take many substeps; {moved / 1e3:.0f} kB of state per ms of a cell")
        print(f"a copy moves {bandwidth / 1e12:.2f} TB/s", flush=True)
        sizes = [4**k for k in range(20) if 4**k <= arguments.largest]
        rates, shares = {}, {}
        for cells in sizes:
            rates[cells] = time_batch(twin, counts, cells)
            shares[cells] = rates[cells] * 1000 * moved / bandwidth
            print(
                f"  {cells:>6} cells  {rates[cells]:8.1f} simulated s/s   "
                f"{rates[cells] * cpu:7.1f} x one thread of the CPU   {100 * shares[cells]:5.1f} % of the bandwidth",
                flush=True,
            )
        _, neuron_s = neuron.result()
    print(f"NEURON {neuron_s} s per simulated second, the twin on one thread {cpu:.4f}; "
          f"{rates[sizes[-1]] * neuron_s['NEURON default']:.0f} x NEURON default at {sizes[-1]} cells; "
          f"{time.perf_counter() - begin:.0f} s in all", flush=True)  # fmt: skip
    found = {
        "card": torch.cuda.get_device_name(), "cell": simulation.cell, "compartments": twin.tree.n, "NEURON": neuron_s,
        "CPU, one thread": cpu, "CPU and GPU": same, "share of milliseconds of many substeps": share,
        "bytes of state per ms": moved, "copy [bytes/s]": bandwidth, "simulated seconds per second": rates,
        "share of bandwidth": shares,
    }  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu_speed.json").write_text(json.dumps(found, indent=2) + "\n")
    save(draw(found), arguments.out / "gpu_speed.png")


if __name__ == "__main__":
    main()
