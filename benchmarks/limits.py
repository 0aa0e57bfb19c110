"""What limits an architecture: how much data, how wide, how long a memory, how many dimensions of output.

    python benchmarks/limits.py DATA OUT [--arch hard-sharing] [--budget 10] [--workers 2]

Trains one twin for each point, all for the same number of optimiser steps, that of the budget for the widest network,
and evaluates it on the test trials: 1/8, 1/4, 1/2 and all of the training trials; half and twice the width; a history
of a third and two thirds. Beside them, what is left when the true potentials of the test trials are cut to their first
principal components (of the training trials): the best that an output of that rank could do. Finished twins are not
trained again. Writes limits.json and limits.png into OUT; the results are in docs/measurements/limits.md.
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

from dendrotwin.evaluation.predictors import evaluate_predictor, evaluate_twin
from dendrotwin.evaluation.split import split_trials
from dendrotwin.models import load_architecture
from dendrotwin.plot import save
from dendrotwin.recording import SETTLE_MS, Recording
from dendrotwin.recording.trials import read_trial
from dendrotwin.support.workers import cores, start_worker
from dendrotwin.training.loop import Training, measure_time, train
from dendrotwin.twin import Twin

RANKS = (2, 4, 8, 16, 32, 64, 128)
MEASURES = ("EV dendrite median", "EV dendrite 5th percentile", "EV soma clipped", "spikes auc")
EVERY_MS = 20  # principal components come from every so many ms of the training trials


def _points(base: Training, trials: int) -> dict[str, Training]:
    """The trainings by name; the widest network comes first."""
    channels = getattr(load_architecture(base.architecture).config(), "channels", None)

    def with_options(**options: object) -> Training:
        return base.model_copy(update={"options": {**base.options, **options}})

    sizes = {}
    if channels is not None:  # elm has none, and no history
        sizes = {
            "width 2": with_options(channels=tuple(2 * c for c in channels)),
            "width 1/2": with_options(channels=tuple(c // 2 for c in channels)),
            "history 100 ms": with_options(synapse_ms=100),
            "history 200 ms": with_options(synapse_ms=200),
        }
    return {
        **sizes,
        "all": base,
        **{f"data 1/{part}": base.model_copy(update={"train_trials": max(1, trials // part)}) for part in (2, 4, 8)},
    }


def _start(threads: int) -> None:
    start_worker()
    torch.set_num_threads(threads)


def _run(data: Path, out: Path, name: str, training: Training) -> dict[str, float | None]:
    folder = out / "twins" / name.replace(" ", "-").replace("/", "-")
    twin = Twin.load(folder) if folder.exists() else train(data, folder, training)
    tree, split = split_trials(data)
    return evaluate_twin(name, twin, split.test)[0].summary(tree)


def _cut_to_rank(data: Path) -> dict[int, dict[str, float | None]]:
    """Errors of the true potentials after projection on the first principal components of the training trials."""
    tree, split = split_trials(data)
    v = np.concatenate([read_trial(t, tree).v_mV[SETTLE_MS::EVERY_MS] for t in split.train]).astype(np.float64)
    mean, sd = v.mean(0), v.std(0)
    _, axes = np.linalg.eigh(np.cov(((v - mean) / sd).T))

    def cut(rank: int) -> dict[str, float | None]:
        first = axes[:, -rank:]

        def predictor(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
            z = (recording.v_mV - mean) / sd
            found = ((z @ first) @ first.T * sd + mean).astype(np.float32)
            return found, found[:, tree.soma]

        return evaluate_predictor(f"rank {rank}", predictor, tree, split.test, split.validation).summary(tree)

    return {rank: cut(rank) for rank in RANKS if rank < tree.n}


def _draw(results: dict, fractions: dict[str, float]) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    colours = ("#0072B2", "#56B4E9", "#D55E00", "#000000")
    for measure, colour in zip(MEASURES, colours, strict=True):
        data = [(fractions[name], results["twins"][name][measure]) for name in fractions]
        panels[0].plot(*zip(*sorted(data), strict=True), "o-", color=colour, label=measure)
        names = ["width 1/2", "history 100 ms", "history 200 ms", "all", "width 2"]
        names = [name for name in names if name in results["twins"]]
        panels[1].plot(names, [results["twins"][name][measure] for name in names], "o", color=colour)
        ranks = [(int(rank), row[measure]) for rank, row in results["ranks"].items()]
        panels[2].plot(*zip(*ranks, strict=True), "o-", color=colour)
    panels[0].set_xscale("log", base=2)
    panels[0].set_xlabel("share of the training trials")
    panels[0].set_ylabel("EV or AUC, test trials")
    panels[0].legend(frameon=False, fontsize=8)
    panels[1].tick_params(axis="x", rotation=40)
    panels[2].set_xscale("log", base=2)
    panels[2].set_xlabel("rank of the output (true V, projected)")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--arch", default="hard-sharing")
    parser.add_argument("--budget", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    _, split = split_trials(arguments.data)
    points = _points(Training(architecture=arguments.arch), len(split.train))
    threads = max(1, cores() // arguments.workers)
    context = get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context, initializer=_start, initargs=(threads,)) as pool:
        planned = arguments.out / "steps.json"  # a run that goes on trains the rest as long as the first ones
        if not planned.exists():
            before, per_step = pool.submit(measure_time, arguments.data, next(iter(points.values()))).result()
            print(f"{per_step:.3g} s for a step of the widest, {before:.3g} s before the first")
            arguments.out.mkdir(parents=True, exist_ok=True)
            planned.write_text(json.dumps(max(1, int((60 * arguments.budget - before) / per_step))) + "\n")
        steps = json.loads(planned.read_text())
        print(f"{steps} steps each")
        futures = {
            name: pool.submit(_run, arguments.data, arguments.out, name, t.model_copy(update={"steps": steps}))
            for name, t in points.items()
        }
        twins = {name: future.result() for name, future in futures.items()}
    results = {"arch": arguments.arch, "steps": steps, "twins": twins, "ranks": _cut_to_rank(arguments.data)}
    (arguments.out / "limits.json").write_text(json.dumps(results, indent=2) + "\n")
    fractions = {"all": 1.0, "data 1/2": 0.5, "data 1/4": 0.25, "data 1/8": 0.125}
    save(_draw(results, fractions), arguments.out / "limits.png")
    for name, row in [*twins.items(), *((f"rank {rank}", row) for rank, row in results["ranks"].items())]:
        print(f"{name:<16}" + "".join(f"{measure}: {row[measure]:.3f}   " for measure in MEASURES))


if __name__ == "__main__":
    main()
