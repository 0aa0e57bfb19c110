"""Step, BAP and BAC of Hay et al. 2011 (doi:10.1371/journal.pcbi.1002107): NEURON, its default, and the read twin.

    python benchmarks/hay2011.py [ACCURACY ...]

Step: 0.793 nA into the soma from 700 ms; BAP: 1.9 nA from 295 to 300 ms; BAC: also a current as of a synaptic
potential, 0.5 nA, 620 um up the apical tree. All is compared with NEURON's Crank-Nicolson of 0.0125 ms. Current is held
over each millisecond; potentials of the site are those at the end of each, and straight between them. A spike is where
the soma's potential is highest. The cell's reconstruction must be at hand (docs/tutorials/paper-cell.md).
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

import dendrotwin
from dendrotwin.cell.tree import SPIKE_MV, Events, Injection, Tree
from dendrotwin.cells import load_cell
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.trial import run_trial
from dendrotwin.solver.accuracy import SETTINGS
from dendrotwin.solver.stepper import Stepper

DT_MS, PEAK = 0.025, 1.435055
NEURON = {
    "converged": ("crank-nicolson", 0.0125),
    "Crank-Nicolson": ("crank-nicolson", 0.025),
    "default": ("backward-euler", 0.025),
}
SECTION, SITE_X = "apic[36]", 0.9723
CALCIUM_MV = -40.0  # a calcium spike lasts while the site is above


def pulse(steps: int, start: int, stop: int, nA: float) -> NDArray[np.float64]:
    """(steps,) a current that is on from `start` to `stop` [nA]."""
    current = np.zeros(steps)
    current[start:stop] = nA
    return current


def synaptic(steps: int, onset_ms: int) -> NDArray[np.float64]:
    """(steps,) mean over each millisecond of a current as of a synaptic potential, 0.5 nA at its peak [nA]."""
    t = np.arange(0.0, steps - onset_ms, DT_MS)
    course = 0.5 * PEAK * (np.exp(-t / 5.0) - np.exp(-t / 0.5))
    return np.concatenate([np.zeros(onset_ms), course.reshape(-1, round(1 / DT_MS)).mean(1)])


def protocols(tree: Tree, site: int) -> dict[str, Injection]:
    """The three of them: currents into the soma, and into the apical site."""
    both = np.array([tree.soma, site], np.int32)
    bap, epsp = pulse(600, 295, 300, 1.9), synaptic(600, 300)
    return {
        "step": Injection(both, np.stack([pulse(1500, 700, 1500, 0.793), np.zeros(1500)], 1)),
        "BAP": Injection(both, np.stack([bap, np.zeros(600)], 1)),
        "BAC": Injection(both, np.stack([bap, epsp], 1)),
    }


def spikes_ms(peak: NDArray[np.floating]) -> NDArray[np.float64]:
    """Times of the twin's spikes [ms]."""
    there = np.flatnonzero(peak[:, 0] > SPIKE_MV)
    return np.asarray(there + peak[there, 1])


def above_ms(v_mV: NDArray[np.floating], threshold_mV: float) -> float:
    """How long potentials, straight between samples of each ms, are above a threshold [ms]."""
    t = np.arange(0.0, len(v_mV) - 1, 0.01)
    return float((np.interp(t, np.arange(len(v_mV)), v_mV) > threshold_mV).sum() * 0.01)


def describe(spikes: NDArray[np.floating], true: NDArray[np.floating], site_mV: NDArray[np.floating]) -> str:
    """Spikes beside the true ones [ms], and what the apical site does."""
    paired = len(spikes) == len(true)
    apart = " ".join(f"{x:.2f}" for x in spikes - true) if paired else "not to be paired"
    site = f"site {site_mV.max():6.2f} mV, {above_ms(site_mV, CALCIUM_MV):.1f} ms above {CALCIUM_MV:g}"
    return f"{len(spikes):2d} spikes, apart {apart} ms; {site}"


def main() -> None:
    """Print what NEURON and the twin do, protocol by protocol."""
    twin = dendrotwin.load("l5pc-hay2011")
    tree, membrane = twin.tree, twin.model.membrane  # type: ignore[union-attr]
    there = np.flatnonzero(np.array([tree.section_names[k] == SECTION for k in tree.section]))
    site = int(there[np.argmin(np.abs(tree.x[there] - SITE_X))])
    silence = Events.sort(np.zeros(0), np.zeros(0))
    cell = NeuronCell(load_cell("l5pc", {"parameters": "hay2011"}))
    for name, injection in protocols(tree, site).items():
        steps = len(injection.current_nA)
        true = np.zeros(0)
        for row, (method, dt_ms) in NEURON.items():
            v, times = run_trial(cell, silence, steps, dt_ms, method, injection)
            true = times if row == "converged" else true
            print(f"{name:5s}NEURON, {row:15s}{describe(times, true, v[:, site])}", flush=True)
        for accuracy in sys.argv[1:] or SETTINGS:
            stepper = Stepper(tree, membrane, SETTINGS[accuracy])
            found, peak, _ = stepper.advance(stepper.start(), silence, steps, injection)
            print(
                f"{name:5s}twin, {accuracy:17s}{describe(spikes_ms(peak), true, found[:, site])}",
                flush=True,
            )


if __name__ == "__main__":
    main()
