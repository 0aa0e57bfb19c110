"""What a twin of l5pc does with input of all kinds, beside NEURON.

    python benchmarks/generalise.py TWIN OUT [--seconds 60] [--trials 4] [--minutes 10]

Steps of current into the soma; a short pulse there, alone (BAP) and with a current as of a synaptic potential 620 um
up the apical tree (BAC; Hay et al. 2011); a synchronous volley on one branch of the tuft; input rates of 0.5 to 2 times
the usual ones; a constant input for a minute (rate and CV of intervals). Current is held over each millisecond.
Then minutes at five times the rates, by the twin alone: are all potentials finite, and does it come back to rest?
Writes generalise.json and generalise.png into OUT, and what NEURON gave into OUT/neuron, where another run with the
same cell finds it. TWIN is a twin's folder, or a cell, of which a twin is read. The cell's reconstruction must be at
hand (docs/tutorials/paper-cell.md).
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch
from numpy.typing import NDArray

import dendrotwin
from dendrotwin.cell.spikes import predicted_spikes
from dendrotwin.cell.stimuli import Modulated, Poisson, draw_events, trial_rng
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cells import load_cell
from dendrotwin.evaluation.metrics import VoltageErrors, count_matches, spike_errors
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.neuron.trial import run_trial
from dendrotwin.plot import save
from dendrotwin.recording import SETTLE_MS, trial_identity
from dendrotwin.support.atomic_files import whole_file
from dendrotwin.twin import Twin

NO_EVENTS = Events.sort(np.zeros(0), np.zeros(0))
RATES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
APICAL_UM = 620.0
PEAK = 1.435055  # makes the peak of the difference of exponentials 1

Trial = tuple[Events, int, Injection | None]


def twin_at(path: str) -> Twin:
    """The twin in a folder, or one that is read from the cell of this name."""
    return dendrotwin.load(path) if (Path(path) / "config.json").is_file() else dendrotwin.twin_of(path)


def current_pulses(compartments: list[int], steps: int, *pulses: tuple[int, int, float]) -> Injection:
    """Pulses (start, stop, nA) into the first compartment, one electrode for each compartment."""
    current = np.zeros((steps, len(compartments)))
    for start, stop, nA in pulses:
        current[start:stop, 0] += nA
    return Injection(np.array(compartments, dtype=np.int32), current)


def sites(tree: Tree) -> tuple[int, int]:
    """The thickest apical compartment about 620 um from the soma, and the tip of a tuft branch beyond it."""
    apical = np.flatnonzero(tree.in_region("trunk", "tuft"))
    near = apical[np.abs(tree.distance_um[apical] - APICAL_UM) < 15]
    tuft = np.flatnonzero(tree.in_region("tuft"))
    tip = tuft[np.argsort(tree.distance_um[tuft])[int(0.7 * len(tuft))]]
    return int(near[np.argmax(tree.diameter_um[near])]), int(tip)


def synaptic_course(steps: int, onset_ms: int) -> NDArray[np.float64]:
    """(steps,) current as of a synaptic potential, relative to its peak (Hay et al. 2011)."""
    t = np.maximum(np.arange(steps) - float(onset_ms), 0.0)
    return np.asarray(PEAK * (np.exp(-t / 5.0) - np.exp(-t / 0.5)))


def protocols(tree: Tree, trials: int, seconds: int) -> dict[str, Trial]:
    """All trials by name."""
    site, tip = sites(tree)
    soma = tree.soma
    found: dict[str, Trial] = {}
    for nA in (0.4, 0.793, 1.2):
        found[f"step {nA} nA"] = (NO_EVENTS, 1500, current_pulses([soma], 1500, (700, 1500, nA)))
    for name, nA in (("BAP", 0.0), ("EPSP", 0.5), ("BAC", 0.5)):
        both = current_pulses([soma, site], 600, (295, 300, 0.0 if name == "EPSP" else 1.9))
        both.current_nA[:, 1] = nA * synaptic_course(600, 300)
        found[name] = (NO_EVENTS, 600, both)
    excitatory = np.array([synapse.excitatory for synapse in tree.synapses])[tree.input_synapse]
    branch = tree.section == tree.section[tip]
    inputs = np.flatnonzero(excitatory & branch[tree.input_compartment])
    for many in (5, 20):
        volley = np.repeat(inputs, many)
        found[f"volley of {len(volley)} synapses"] = (Events.sort(volley, np.full(len(volley), 300)), 600, None)
    for rate in RATES:
        for k in range(trials):
            events = draw_events(tree, Modulated(rate_scale=rate), 6000, trial_rng(77, k))
            found[f"rate {rate} trial {k}"] = (events, 6000, None)
    steady = draw_events(tree, Poisson(excitatory_hz=12.0, inhibitory_hz=5.0), 1000 * seconds, trial_rng(78, 0))
    found["constant"] = (steady, 1000 * seconds, None)
    return found


def in_neuron(
    simulation: Simulation, trials: dict[str, Trial], folder: Path
) -> dict[str, tuple[NDArray[np.float32], NDArray]]:
    """V and output spikes of every trial; kept in the folder, for the next twin."""
    folder.mkdir(parents=True, exist_ok=True)
    cell, found = None, {}
    for name, (events, steps, injection) in trials.items():
        path = folder / f"{trial_identity(events, injection, steps)}.npz"
        if not path.exists():
            cell = cell or NeuronCell(load_cell(simulation.cell, simulation.cell_options))
            v, spikes = run_trial(cell, events, steps, injection=injection)
            with whole_file(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, v=v.astype(np.float32), spikes=spikes)
            print(f"NEURON: {name}, {len(spikes)} spikes", flush=True)
        with np.load(path) as kept:
            found[name] = (kept["v"], kept["spikes"])
    return found


def _intervals(spikes: NDArray) -> dict[str, float]:
    late = spikes[spikes >= SETTLE_MS]
    gaps = np.diff(late)
    return {"spikes": len(late), "cv": float(gaps.std() / gaps.mean()) if len(gaps) > 1 else float("nan")}


def compare(tree: Tree, twin: Twin, trials: dict[str, Trial], truth: dict, folder: Path) -> dict[str, dict]:
    """Spikes and errors of the twin by trial; rates pooled over trials of one scale."""
    found: dict[str, dict] = {}
    potentials: dict[str, NDArray[np.float32]] = {}
    pooled: dict[str, list] = {}
    for name, (events, steps, injection) in trials.items():
        v, score = twin.predict_batch([events], steps, injections=[injection])
        true, spikes = truth[name]
        ours = predicted_spikes(score[0], twin.threshold)
        potentials[name] = v[0]
        if name.startswith("rate"):
            pooled.setdefault(name.split(" trial")[0], []).append((true, v[0], spikes, score[0]))
            continue
        row = {"NEURON": _intervals(spikes), "twin": _intervals(ours)} if name == "constant" else {}
        row |= {"spikes": [len(spikes), len(ours)], "hits": count_matches(spikes, ours)}
        late = slice(SETTLE_MS if steps > 1000 else 280, None)
        row["rms_mV"] = float(np.sqrt(np.mean((v[0, late] - true[late]) ** 2)))
        found[name] = row
    for name, rows in pooled.items():
        errors = VoltageErrors(tree.n)
        for true, v, _, _ in rows:
            errors.add(true, v)
        ev = errors.explained_variance()
        fired = spike_errors([spikes for *_, spikes, _ in rows], [score for *_, score in rows], twin.threshold)
        found[name] = {
            "spikes": [fired.true_spikes, fired.predicted_spikes], "f1": fired.f1, "ev_soma": float(ev[tree.soma]),
            "ev_dendrite_median": float(np.median(ev[tree.dendrites])),
            "ev_dendrite_5th": float(np.percentile(ev[tree.dendrites], 5)),
        }  # fmt: skip
    save(_draw(tree, trials, truth, potentials), folder / "generalise.png")
    return found


def stability(twin: Twin, minutes: int) -> dict[str, float]:
    """Extreme potentials at five times the rates, and the distance from rest two seconds after the input stops."""
    rest = twin.predict_batch([NO_EVENTS], 2000)[0][0, -1]
    lowest, highest, away = np.inf, -np.inf, 0.0
    for minute in range(minutes):  # one by one: ten minutes would fill the memory
        events = draw_events(twin.tree, Modulated(rate_scale=5.0), 60_000, trial_rng(79, minute))
        (v,), _ = twin.predict_batch([events], 62_000)
        assert np.isfinite(v).all(), "a potential is not finite"
        lowest, highest = min(lowest, float(v.min())), max(highest, float(v.max()))
        away = max(away, float(np.abs(v[-1] - rest).max()))
    return {"lowest_mV": lowest, "highest_mV": highest, "from_rest_mV": away}


def _draw(tree: Tree, trials: dict[str, Trial], truth: dict, potentials: dict) -> matplotlib.figure.Figure:
    site, tip = sites(tree)
    panels = [(name, tree.soma, "soma") for name in trials if name.startswith("step")]
    panels += [(name, place, label) for name in ("BAP", "EPSP", "BAC") for place, label in
               ((tree.soma, "soma"), (site, "apical, 620 um"))]  # fmt: skip
    volleys = [name for name in trials if name.startswith("volley")]
    panels += [(name, place, label) for name in volleys for place, label in ((tip, "branch"), (tree.soma, "soma"))]
    figure = matplotlib.figure.Figure(figsize=(13, 14), layout="constrained")
    axes = figure.subplots(-(-len(panels) // 2), 2).ravel()
    for ax, (name, place, label) in zip(axes, panels, strict=False):
        start = 650 if name.startswith("step") else 280
        stop = 1100 if name.startswith("step") else 420
        time = np.arange(start, stop)
        ax.plot(time, truth[name][0][start:stop, place], color="black", label="NEURON")
        ax.plot(time, potentials[name][start:stop, place], color="#D55E00", label="twin", linewidth=1)
        ax.set_title(f"{name}: {label}", fontsize=9, loc="left")
        ax.set_ylabel("V (mV)")
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    axes[0].legend(frameon=False)
    for ax in axes[max(0, len(panels) - 2) : len(panels)]:
        ax.set_xlabel("time (ms)")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("twin", help="folder, or cell")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--minutes", type=int, default=10)
    arguments = parser.parse_args()
    twin = twin_at(arguments.twin)
    trials = protocols(twin.tree, arguments.trials, arguments.seconds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        truth = pool.submit(
            in_neuron, Simulation(**twin.training["simulation"]), trials, arguments.out / "neuron"
        ).result()
    torch.set_num_threads(1)
    found = compare(twin.tree, twin, trials, truth, arguments.out)
    found[f"{arguments.minutes:g} minutes at five times the rates"] = stability(twin, arguments.minutes)
    (arguments.out / "generalise.json").write_text(json.dumps(found, indent=2) + "\n")
    for name, row in found.items():
        print(name, json.dumps(row))


if __name__ == "__main__":
    main()
