"""The coarse cable on silent trials: its error by region, and its time beside NEURON's.

    python benchmarks/coarse_cable.py DATA [--silent 8]

DATA is a data set of `dendrotwin simulate l5pc --trials 30 --duration 6 --seed 1`; its first silent trials are used.
The results are in docs/measurements/cells.md and speed.md.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dendrotwin.cell.tree import APICAL
from dendrotwin.evaluation.metrics import VoltageErrors
from dendrotwin.evaluation.timing import median_seconds, time_neuron
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.recording import RecordingFile
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.solver.coarse import coarse_cable


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--silent", type=int, default=8)
    arguments = parser.parse_args()
    tree, trials = index_trials(arguments.data)
    silent = [r for r in (read_trial(trial, tree) for trial in trials) if len(r.spikes_ms) == 0][: arguments.silent]
    print(f"{len(silent)} silent trials among {len(trials)}")
    v = coarse_cable(tree, [r.events for r in silent], silent[0].duration_ms)
    regions = {
        "soma": tree.in_region("soma"),
        "basal": tree.in_region("basal"),
        "apical": tree.in_region(*APICAL),
        "dendrites": tree.dendrites,
    }
    pooled = VoltageErrors(tree.n)
    for recording, predicted in zip(silent, v, strict=True):
        pooled.add(recording.v_mV, predicted)
        alone = VoltageErrors(tree.n)
        alone.add(recording.v_mV, predicted)
        medians = {name: np.median(alone.explained_variance()[mask]) for name, mask in regions.items()}
        print(f"trial {recording.trial_id}: median EV", ", ".join(f"{k} {m:.3f}" for k, m in medians.items()))
    ev = pooled.explained_variance()
    print("all trials pooled:")
    for name, mask in regions.items():
        fifth, median = np.percentile(ev[mask], [5, 50])
        print(f"EV {name:<10} median {median:.3f}   5th percentile {fifth:.3f}   worst {ev[mask].min():.3f}")

    with RecordingFile(trials[0].path) as file:
        simulation = Simulation(**json.loads(file.attributes["simulation"]))
    steps = 1000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        events, seconds = pool.submit(time_neuron, simulation, steps, 3).result()
    for cells in (1, 8, 32):
        seconds[f"coarse cable, batch {cells}"] = (
            median_seconds(lambda cells=cells: coarse_cable(tree, [events] * cells, steps), 5) / cells
        )
    for name, value in seconds.items():
        ratio = seconds["NEURON default"] / value
        print(f"{name:<24} {value:8.4f} s per simulated second, {ratio:7.1f} x NEURON default")


if __name__ == "__main__":
    main()
