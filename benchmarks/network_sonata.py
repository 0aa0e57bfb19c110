"""Twins beside BMTK on the SONATA project's own examples, `9_cells` and `5_cells_iclamp`, with their configs unchanged.

    python benchmarks/network_sonata.py SONATA OUT

SONATA is the folder `examples` of the format's repository (data files: 9_cells, 5_cells_iclamp, shared_components).
BMTK runs at the config's step, where it must give the published spikes, and at those of --steps, the last of which
stands for no step at all; every result is compared with the published one and with that. Spikes are paired within 2 ms.
Prints tables, and writes OUT/rows.json and OUT/CASE.png. The results are in docs/measurements/networks.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import matplotlib
import numpy as np
from matplotlib.figure import Figure

import sonata_runs as runs
from dendrotwin.plot import save
from dendrotwin.plot.style import STYLE, TRUE, TWIN

# By case, the population of its cells, and when the figure begins and ends [ms].
CASES = {"9_cells": ("cortex", (680.0, 880.0)), "5_cells_iclamp": ("biophysical", (2400.0, 3100.0))}
THRESHOLD_MV = -15.0  # of spikes, in both configs
SHOWN = 5  # cells in a figure, at most
PUBLISHED = "published"


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave.

    Attributes:
        spikes: of each cell [ms].
        v_mV: (samples, cells) potentials of the somata, each `dt_ms` [mV].
        cost: None for a published result.
    """

    spikes: list[runs.Floats]
    v_mV: runs.Floats
    cost: runs.Cost | None


def read(folder: Path, population: str, every: int, cost: runs.Cost | None) -> Result:
    v_mV = runs.read_potentials(folder / "membrane_potential.h5", population, every)
    return Result(runs.read_spikes(folder / "spikes.h5", population, v_mV.shape[1]), v_mV, cost)


def against(reference: Result, other: Result) -> dict[str, float]:
    """How far a result is from another."""
    pairs = list(zip(reference.spikes, other.spikes, strict=True))
    ev = runs.explained_variance(reference.v_mV, other.v_mV)
    return {
        "F1": runs.f1(reference.spikes, other.spikes),
        "shift": max((float(runs.shifts(a, b, 2.0).max(initial=0.0)) for a, b in pairs), default=0.0),
        "within": sum(runs.count_matches(a, b, 1.0) for a, b in pairs),
        "of": sum(map(len, reference.spikes)),
        "EV median": float(np.median(ev)),
        "EV worst": float(ev.min()),
    }


def cells_of(reference: Result, other: Result) -> list[dict[str, float]]:
    """The same for each cell."""
    return [
        against(
            Result([reference.spikes[k]], reference.v_mV[:, [k]], None),
            Result([other.spikes[k]], other.v_mV[:, [k]], None),
        )
        for k in range(len(reference.spikes))
    ]


def run_case(folder: Path, out: Path, case: str, steps_ms: list[float]) -> dict[str, Result]:
    """Every run of a case, by name; the published one first, then BMTK's."""
    population = CASES[case][0]
    config = folder / case / "simulation_config.json"
    said = json.loads(config.read_text())
    dt_ms = said["run"]["dt"]
    found = {PUBLISHED: read(folder / case / "output", population, 1, None)}
    for step in (dt_ms, *steps_ms):
        more = ["--without", "ecp", "calcium_concentration"] if step != dt_ms else []
        to = out / f"{case}-bmtk-{step}"
        cost = runs.bmtk(config, to, step, "--population", population, *more)
        found[f"BMTK, {step:g} ms"] = read(to, population, round(dt_ms / step), cost)
    for accuracy in ("fast", "standard", "exact"):
        to = out / f"{case}-{accuracy}"
        cost = runs.twins(config, to, accuracy)
        found[f"twins, {accuracy}"] = read(to, population, 1, cost)
    return found


def converged(found: dict[str, Result]) -> str:
    """The name of BMTK's run with the finest step."""
    return [name for name in found if name.startswith("BMTK")][-1]


def columns(row: dict[str, float]) -> str:
    return (
        f"{row['F1']:.3f} | {row['shift']:.2f} | {row['within']} of {row['of']} | "
        f"{row['EV median']:.4f} | {row['EV worst']:.4f}"
    )


def print_case(case: str, found: dict[str, Result], models: list[str]) -> None:
    names = list(found)
    for reference in (PUBLISHED, converged(found)):
        print(f"\n{case}, against {reference}\n")
        print("| | spikes | F1 | largest shift (ms) | within 1 ms | EV, median | EV, worst |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in names:
            if name != reference:
                many = sum(map(len, found[name].spikes))
                print(f"| {name} | {many} | {columns(against(found[reference], found[name]))} |")
    print(f"\n{case}, each cell: spikes, and EV against {converged(found)}\n")
    print(f"| cell | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    each = {name: cells_of(found[converged(found)], of) for name, of in found.items()}
    for k, model in enumerate(models):
        row = [f"{len(found[name].spikes[k])}, {each[name][k]['EV worst']:.3f}" for name in names]
        print(f"| {k} {model} | {' | '.join(row)} |")
    print(f"\n{case}\n\n| | {runs.COST_COLUMNS} |\n| --- | --- | --- | --- |")
    for name, of in found.items():
        if of.cost is not None:
            print(f"| {name} | {of.cost} |")


def print_verification(folder: Path, case: str, found: dict[str, Result], models: list[str]) -> None:
    """Crossings of the threshold beside those of NEURON alone, which the example verifies its result by."""
    files = sorted((folder / case / "verification").glob("cellvar_gid*.h5"))
    if not files:
        return
    print(f"\n{case}, upward crossings of {THRESHOLD_MV:g} mV, and EV against the verification's NEURON alone\n")
    print(f"| cell | verification | {' | '.join(found)} |\n| --- | --- |{' --- |' * len(found)}")
    for k, path in enumerate(files):
        with h5py.File(path) as file:
            v_mV = np.asarray(file["v/data"][()], np.float64).reshape(-1, 1)
        row = []
        for of in found.values():
            ev = runs.explained_variance(v_mV, of.v_mV[:, [k]])[0]
            row.append(f"{crossings(of.v_mV[:, k])}, {ev:.3f}")
        print(f"| {k} {models[k]} | {crossings(v_mV[:, 0])} | {' | '.join(row)} |")


def crossings(v_mV: runs.Floats) -> int:
    return int(np.count_nonzero((v_mV[:-1] < THRESHOLD_MV) & (v_mV[1:] >= THRESHOLD_MV)))


@matplotlib.rc_context(STYLE)
def draw(case: str, found: dict[str, Result], models: list[str], dt_ms: float) -> Figure:
    """Potentials of somata: published, BMTK's converged and the twins' at exact."""
    names = list(found)
    shown = {PUBLISHED: ("#E69F00", 2.6), converged(found): (TRUE, 1.5), names[-1]: (TWIN, 0.9)}
    cells = list(range(len(models)))
    if len(cells) > SHOWN:
        cells = cells[1 :: -(-len(cells) // SHOWN)]
    figure = Figure(figsize=(10.0, 1.7 * len(cells) + 0.8), layout="constrained")
    axes = figure.subplots(len(cells), 1, sharex=True)
    begin, end = CASES[case][1]
    at = slice(round(begin / dt_ms), round(end / dt_ms))
    time_ms = dt_ms * (1 + np.arange(len(found[PUBLISHED].v_mV)))
    for panel, k in zip(axes, cells, strict=True):
        for name, (colour, width) in shown.items():
            panel.plot(time_ms[at], found[name].v_mV[at, k], color=colour, linewidth=width, label=name)
        panel.set_title(f"cell {k}, {models[k]}", loc="left", fontsize=10, pad=2)
    figure.supylabel("V of the soma (mV)")
    axes[-1].set_xlabel("time (ms)")
    axes[-1].set_xlim(begin, end)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sonata", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument(
        "--steps", type=float, nargs="+", default=[0.0125, 0.003125],
        help="BMTK's finer steps, falling [ms]; a whole number of each in the config's",
    )  # fmt: skip
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = runs.working_copy(arguments.sonata, arguments.out, *arguments.cases)
    rows = {}
    for case in arguments.cases:
        found = run_case(folder, arguments.out, case, arguments.steps)
        population = CASES[case][0]
        models = runs.models_of(folder / case / "network", population)
        print_case(case, found, models)
        print_verification(folder, case, found, models)
        rows[case] = {
            name: {r: against(found[r], of) for r in (PUBLISHED, converged(found))}
            | {"cost": vars(of.cost or runs.Cost(0, 0, 0))}
            for name, of in found.items()
        }
        dt_ms = json.loads((folder / case / "simulation_config.json").read_text())["run"]["dt"]
        save(draw(case, found, models, dt_ms), arguments.out / f"{case}.png")
    (arguments.out / "rows.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
