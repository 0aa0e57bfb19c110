"""Read twins beside NEURON: python benchmarks/read_twins.py OUT [CELL[:key=value,...] ...] [--trials N --duration S].

Of each cell: seconds to read, mechanisms read, largest error of a current; then, against NEURON's Crank-Nicolson of
0.0125 ms on trials of their own seed, NEURON's own default (backward Euler of 0.025 ms), its Crank-Nicolson of 0.025
ms, and the twin at each setting: explained variance, F1, and seconds of one thread's time per simulated second: of all
of them in turn, on half a second of input, the least of three. Let nothing else run meanwhile. A cell that was measured
is kept in OUT; the same command goes on. Writes OUT/table.md and OUT/table.png.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cell.tree import Events
from dendrotwin.cells import load_cell
from dendrotwin.errors import CellError
from dendrotwin.evaluation.metrics import VoltageErrors, spike_errors
from dendrotwin.models.cable import spike_logits
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.reading import read_membrane
from dendrotwin.neuron.reading.proof_of_cell import prove_cell
from dendrotwin.neuron.trial import run_trial
from dendrotwin.recording import spike_train
from dendrotwin.solver.accuracy import SETTINGS
from dendrotwin.solver.stepper import Stepper
from dendrotwin.support.atomic_files import whole_file
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import start_worker

HERE = Path(__file__).parent
SEED = 990001  # of no training or tuning trial
BBP = ("BP", "BTC", "ChC", "DBC", "LBC", "MC", "NBC", "NGC", "SBC", "STPC", "TTPC1", "TTPC2", "UTPC")
CELLS = (
    "l5pc",
    "l5pc:parameters=hay2011",
    "ball_and_stick",
    "allen_l4",
    *(f"allen:model={name}" for name in ("Rorb", "Nr5a1", "Pvalb1", "Pvalb2")),
    *(f"bbp:model=L5_{name}" for name in BBP),
    *sorted(str(path) for path in (HERE / "cells").glob("*.py")),
)
TRUTH = (0.0125, "crank-nicolson")
IN_NEURON = {"NEURON's default": (0.025, "backward-euler"), "NEURON's Crank-Nicolson": (0.025, "crank-nicolson")}
ROWS = (*IN_NEURON, *SETTINGS)
SPEED_MS, TURNS = 500, 3
COLUMNS = ("soma", "clipped", "median", "5th", "F1", "s/s")


def split(spec: str) -> tuple[str, dict[str, str]]:
    """A cell's name and its options."""
    name, _, options = spec.partition(":")
    return name, dict(pair.split("=", 1) for pair in options.split(",") if pair)


def _neuron(
    cell: NeuronCell, events: Events, steps: int, setting: tuple[float, str], folder: Path, trial: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """V and spikes of one trial in NEURON, kept in a file."""
    kept = folder / f"{trial}-{steps}ms-{cell.model.rate_scale:g}-{setting[1]}-{setting[0]:g}.npz"
    if not kept.exists():
        v, spikes = run_trial(cell, events, steps, *setting)
        with whole_file(kept) as temporary, open(temporary, "wb") as file:
            np.savez(file, v=v.astype(np.float32), spikes=spikes)
    with np.load(kept) as arrays:
        return arrays["v"], arrays["spikes"]


def _speed(cell: NeuronCell, steppers: dict[str, Stepper], events: Events) -> dict[str, float]:
    """Seconds of one thread's time per simulated second."""
    least = dict.fromkeys(ROWS, np.inf)
    for _ in range(TURNS):
        for row in ROWS:
            began = time.process_time()
            if row in steppers:
                steppers[row].advance(steppers[row].start(), events, SPEED_MS)
            else:
                run_trial(cell, events, SPEED_MS, *IN_NEURON[row])
            least[row] = min(least[row], (time.process_time() - began) / SPEED_MS * 1000.0)
    return least


def measure(spec: str, trials: int, steps: int, kept: Path) -> dict[str, Any]:
    """Everything about one cell, in a process of its own; what NEURON gave stays in the folder `kept`."""
    name, options = split(spec)
    model = load_cell(name, options)
    try:
        cell = NeuronCell(model)
        reading = read_membrane(cell)
        whole = prove_cell(cell, reading.membrane)
    except CellError as error:
        return {"cell": spec, "refused": str(error)}
    tree, protocol = cell.tree, Modulated(rate_scale=model.rate_scale)
    inputs = [draw_events(tree, protocol, steps, trial_rng(SEED, k)) for k in range(trials)]
    truth, *given = (
        [_neuron(cell, events, steps, setting, kept, k) for k, events in enumerate(inputs)]
        for setting in (TRUTH, *IN_NEURON.values())
    )
    neuron = dict(zip(IN_NEURON, given, strict=True))
    true_spikes = [spikes for _, spikes in truth]
    steppers = {setting: Stepper(tree, reading.membrane, steps_) for setting, steps_ in SETTINGS.items()}
    rows = {}
    for row in ROWS:
        errors, scores = VoltageErrors(tree.n), []
        for k, (events, (v_true, _)) in enumerate(zip(inputs, truth, strict=True)):
            if row in steppers:
                v, peak, _ = steppers[row].advance(steppers[row].start(), events, steps)
                scores.append(spike_logits(v[:, tree.soma], peak[:, 0]))
            else:
                v, spikes = neuron[row][k]
                scores.append(spike_train(spikes, steps).astype(np.float32) - 0.5)
            errors.add(v_true, v)
        ev, clipped = errors.explained_variance(), errors.explained_variance(clipped=True)
        others = ev[np.arange(tree.n) != tree.soma] if tree.n > 1 else ev
        found = spike_errors(true_spikes, scores, 0.0)
        rows[row] = {
            "soma": ev[tree.soma],
            "clipped": clipped[tree.soma],
            "median": np.nanmedian(others),
            "5th": np.nanpercentile(others, 5),
            "F1": found.f1,
            "spikes": found.true_spikes,
        }
    for row, seconds in _speed(cell, steppers, draw_events(tree, protocol, SPEED_MS, trial_rng(SEED, 0))).items():
        rows[row]["s/s"] = seconds
    return {
        "cell": spec,
        "compartments": tree.n,
        "seconds": reading.seconds,
        "mechanisms": len(reading.errors),
        "largest_error": max(reading.errors.values(), default=0.0),
        "whole_mV": [whole.twin_mV, whole.default_mV],
        "trials": trials,
        "duration_ms": steps,
        "rows": {row: {key: float(value) for key, value in numbers.items()} for row, numbers in rows.items()},
    }


def _short(spec: str) -> str:
    return spec if not spec.partition(":")[0].endswith(".py") else Path(spec).name


def table(found: list[dict[str, Any]]) -> str:
    """All cells, in Markdown."""
    lines = ["| cell | | soma | clipped | median | 5th pct | F1 | s/s | x NEURON's default |", "|" + " --- |" * 9]
    for one in found:
        if "refused" in one:
            lines.append(f"| {_short(one['cell'])} | refused: {one['refused']} | | | | | | | |")
            continue
        head = (
            f"{_short(one['cell'])}: {one['compartments']} compartments, read in {one['seconds']:.1f} s, "
            f"{one['mechanisms']} mechanisms, largest error {one['largest_error']:.0e}; "
            f"{one['trials']} trials of {one['duration_ms'] / 1000:g} s, {one['rows'][ROWS[0]]['spikes']:.0f} spikes"
        )
        for row in ROWS:
            numbers = one["rows"][row]
            cells = [f"{numbers[key]:.3f}" for key in COLUMNS[:-1]] + [f"{numbers['s/s']:.4f}"]
            times = one["rows"][ROWS[0]]["s/s"] / numbers["s/s"]
            lines.append(f"| {head if row == ROWS[0] else ''} | {row} | {' | '.join(cells)} | {times:.0f} |")
    return "\n".join(lines) + "\n"


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Work and precision: what is missing of the dendrites' median EV over time, a line for each cell."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharex=True)
    marks = dict(zip(ROWS, ("s", "P", "^", "o", "D"), strict=True))
    colours = plt.get_cmap("cividis")(np.linspace(0, 0.95, len(found)))
    for key, panel, label in (("median", axes[0], "1 - median EV"), ("F1", axes[1], "1 - F1")):
        for one, colour in zip(found, colours, strict=True):
            rows = [one["rows"][row] for row in ROWS]
            missing = [max(1.0 - row[key], 1e-4) for row in rows]
            first = len(IN_NEURON)
            panel.plot([row["s/s"] for row in rows[first:]], missing[first:], color=colour, lw=0.8)
            for row, x, y in zip(ROWS, [row["s/s"] for row in rows], missing, strict=True):
                panel.plot(x, y, marks[row], color=colour, ms=5)
        panel.set(xscale="log", yscale="log", xlabel="seconds of one thread per simulated second", ylabel=label)
    handles = [plt.Line2D([], [], color="0.3", marker=mark, ls="", label=row) for row, mark in marks.items()]
    axes[0].set_title("against NEURON, Crank-Nicolson 0.0125 ms; a line for each cell", fontsize=10, loc="left")
    axes[1].legend(handles=handles, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.02, 1.0), fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure what is not measured yet, one cell after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("cells", nargs="*", default=list(CELLS))
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--duration", type=float, default=3.0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found, steps = [], round(arguments.duration * 1000)
    with progress(f"measuring into {arguments.out}", len(arguments.cells), "cells") as advance:
        for spec in arguments.cells:
            path = arguments.out / (_short(spec).replace(":", "_").replace("=", "-") + ".json")
            settings = [arguments.trials, steps, list(TRUTH), list(ROWS)]
            one = json.loads(path.read_text()) if path.exists() else {}
            if one.get("settings") != settings:
                path.with_suffix("").mkdir(exist_ok=True)
                with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=start_worker) as pool:
                    one = pool.submit(measure, spec, arguments.trials, steps, path.with_suffix("")).result()
                one["settings"] = settings
                with whole_file(path) as temporary:
                    temporary.write_text(json.dumps(one, indent=1))
            found.append(one)
            advance(1, _short(spec))
    (arguments.out / "table.md").write_text(table(found))
    draw([one for one in found if "rows" in one], arguments.out / "table.png")
    print(table(found))


if __name__ == "__main__":
    main()
