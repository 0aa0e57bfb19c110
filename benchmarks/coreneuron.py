"""CoreNEURON beside NEURON on the paper's cell: how fast, and how far apart.

    python benchmarks/coreneuron.py [--seconds 2] [--trials 2]

The same trials in both, at dt 0.05 ms with Crank-Nicolson, in one process. The cell's reconstruction must be at hand
(docs/tutorials/paper-cell.md). The results are in docs/measurements/speed.md.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cells import load_cell
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.trial import run_trial, run_trial_coreneuron


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=2)
    arguments = parser.parse_args()
    cell = NeuronCell(load_cell("l5pc", {}), coreneuron=True)
    steps = 1000 * arguments.seconds
    run_trial_coreneuron(cell, draw_events(cell.tree, Modulated(), 50, trial_rng(1, 0)), 50)  # which sets up more
    for trial in range(arguments.trials):
        events = draw_events(cell.tree, Modulated(), steps, trial_rng(2024, trial))
        began = time.perf_counter()
        v, spikes = run_trial(cell, events, steps)
        middle = time.perf_counter()
        v_core, spikes_core = run_trial_coreneuron(cell, events, steps)
        seconds = (middle - began) / arguments.seconds, (time.perf_counter() - middle) / arguments.seconds
        apart = np.abs(v - v_core).max(1)
        print(
            f"trial {trial}: NEURON {seconds[0]:.2f}, CoreNEURON {seconds[1]:.2f} s per simulated second, "
            f"{seconds[0] / seconds[1]:.2f} times faster; spikes {len(spikes)} and {len(spikes_core)}, "
            f"times equal: {np.array_equal(spikes, spikes_core)}; |dV| at most {apart.max():.2g} mV, "
            f"median over ms of the largest {np.median(apart):.2g} mV"
        )


if __name__ == "__main__":
    main()
