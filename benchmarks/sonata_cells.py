"""The five cells of the SONATA project's examples: how long reading them takes, and their twins beside NEURON.

    python benchmarks/sonata_cells.py shared_components [--current 0.2] [--dL 20]

A current step into the soma from 100 to 900 ms of one second. The truth is NEURON's Crank-Nicolson of 0.003125 ms on
the cell that BMTK makes (`tests/test_sonata_cells.py` holds the two equal); beside the twin, NEURON's Crank-Nicolson
and backward Euler of 0.025 ms, and backward Euler of 0.1 ms, the step of the examples. Potentials are compared each ms.
The results are in docs/measurements/read-twins.md.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dendrotwin.cell.tree import Events, Injection
from dendrotwin.cells import load_cell
from dendrotwin.evaluation.metrics import count_matches
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.trial import run_trial
from dendrotwin.read_twin import twin_of

CELLS = {
    "Scnn1a": (472363762, "Scnn1a_473845048_m"),
    "Rorb": (473863510, "Rorb_325404214_m"),
    "Nr5a1": (473863035, "Nr5a1_471087815_m"),
    "PV1": (472912177, "Pvalb_470522102_m"),
    "PV2": (473862421, "Pvalb_469628681_m"),
}
SILENCE, DURATION_MS, STEP = Events.sort(np.array([]), np.array([])), 1000, slice(100, 900)
NEURON = (  # method and step [ms]; the first is the truth
    ("crank-nicolson", 0.003125),
    ("crank-nicolson", 0.025),
    ("backward-euler", 0.025),
    ("backward-euler", 0.1),
)


def pulse(soma: int, current_nA: float) -> Injection:
    """The step of current."""
    injected = Injection(np.array([soma]), np.zeros((DURATION_MS, 1)))
    injected.current_nA[STEP] = current_nA
    return injected


def neuron_trials(options: dict[str, str], current_nA: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """The soma's potential and the output spikes, of each of NEURON."""
    cell = NeuronCell(load_cell("sonata", options))
    injected = pulse(cell.tree.soma, current_nA)
    trials = [run_trial(cell, SILENCE, DURATION_MS, dt, method, injected) for method, dt in NEURON]
    return [(v[:, cell.tree.soma], spikes) for v, spikes in trials]


def row(name: str, truth: tuple[np.ndarray, np.ndarray], v: np.ndarray, spikes: np.ndarray) -> None:
    """One line of the table."""
    right, times = truth
    ev = 1.0 - np.var(right - v) / np.var(right)
    f1 = 2.0 * count_matches(times, spikes) / max(len(times) + len(spikes), 1) if len(times) or len(spikes) else 1.0
    shift = max((np.abs(spikes - t).min() for t in times), default=0.0) if len(spikes) else np.nan
    print(f"| {name} | {len(times)} | {len(spikes)} | {ev:.4f} | {f1:.3f} | {shift:.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("components", type=Path, help="the folder shared_components")
    parser.add_argument("--current", type=float, default=0.2, help="[nA]")
    parser.add_argument("--dL", default="20", help="[um]")
    arguments = parser.parse_args()
    print("| cell | true spikes | spikes | EV soma | F1, 2 ms | latest spike [ms] |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (model, morphology) in CELLS.items():
        options = {
            "model_template": f"nml:{arguments.components}/biophysical_neuron_templates/nml/Cell_{model}.cell.nml",
            "morphology": str(arguments.components / "morphologies" / f"{morphology}.swc"),
            **{"model_processing": "aibs_perisomatic", "dL": arguments.dL, "v_init": "-80", "celsius": "34"},
        }
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            truth, *others = pool.submit(neuron_trials, options, arguments.current).result()
        for accuracy in ("fast", "standard", "exact"):
            began = time.perf_counter()
            twin = twin_of("sonata", options, accuracy)
            seconds = time.perf_counter() - began
            recording = twin.predict(SILENCE, DURATION_MS, injection=pulse(twin.tree.soma, arguments.current))
            said = f"{name}, `{accuracy}` (read in {seconds:.1f} s)"
            row(said, truth, recording.v_mV[:, twin.tree.soma].astype(np.float64), recording.spikes_ms)
        for (method, dt), (v, spikes) in zip(NEURON[1:], others, strict=True):
            row(f"{name}, *NEURON, {method} {dt:g} ms*", truth, v, spikes)


if __name__ == "__main__":
    main()
