"""The rows of a benchmark: saved in its folder as they are finished, and loaded again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin.benchmark.plan import Job, code_of, is_read, write_json
from dendrotwin.cell.tree import Tree
from dendrotwin.errors import FileError
from dendrotwin.evaluation.lfp_metrics import LFPErrors
from dendrotwin.evaluation.metrics import SpikeErrors
from dendrotwin.evaluation.predictors import BASELINES, CLOSED_LOOP, Evaluation, baseline_rows
from dendrotwin.evaluation.report import Row
from dendrotwin.evaluation.split import Split
from dendrotwin.evaluation.timing import BATCH, measure_speed
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.support.atomic_files import whole_file
from dendrotwin.support.progress import progress
from dendrotwin.training.config import Training
from dendrotwin.twin import Twin

ERRORS = ("ev", "ev_clipped", "rmse_mV", "wasserstein_mV")  # of `Evaluation`, which have a value for each compartment


def row_path(out: Path, name: str) -> Path:
    """The file of a job's or a baseline's evaluations; where it exists, they are finished.

    Args:
        out: folder of the benchmark.
        name: of the job or baseline.
    """
    return out / "rows" / f"{name}.json"


def save_evaluations(out: Path, name: str, evaluations: Sequence[Evaluation]) -> None:
    """Store evaluations: numbers as JSON, written last, and errors of the compartments as npz.

    Args:
        out: folder of the benchmark.
        name: of the job or baseline.
        evaluations: its rows, one for each mode.
    """
    path = row_path(out, name)
    with whole_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {error: np.stack([getattr(e, error) for e in evaluations]) for error in ERRORS}
        np.savez(file, **arrays)
    numbers = [
        {
            **e.metadata(),
            "spikes": asdict(e.spikes),
            "electrodes": None if e.lfp is None else asdict(e.lfp),
        }
        for e in evaluations
    ]
    write_json(path, numbers)


def load_evaluations(out: Path, name: str) -> list[Evaluation]:
    """The inverse of `save_evaluations`.

    Args:
        out: folder of the benchmark.
        name: of the job or baseline.
    """
    path = row_path(out, name)
    numbers = json.loads(path.read_text())
    with np.load(path.with_suffix(".npz")) as arrays:
        errors = {error: arrays[error] for error in ERRORS}
    evaluations = []
    for i, row in enumerate(numbers):
        row["spikes"] = SpikeErrors(**row["spikes"])
        row["threshold"] = math.inf if row["threshold"] is None else row["threshold"]
        lfp = row.pop("electrodes", None)  # not in rows of older versions, and None where LFPykit is not installed
        row["lfp"] = None if lfp is None else LFPErrors(**lfp)
        evaluations.append(Evaluation(**row, **{error: errors[error][i] for error in ERRORS}))
    return evaluations


def finished_rows(out: Path, code: str | Path | None = None) -> tuple[Tree, list[Row]]:
    """The cell and what a benchmark has finished: architectures by name, then baselines, in the mode of the trainings.

    Args:
        out: folder of the benchmark, which may still be running.
        code: the Python file of the architecture that is none of dendrotwin's, where there is one: a benchmark does
            not choose code that is run.

    Returns:
        Both.

    Raises:
        FileError: it is no benchmark, is damaged, or has no finished twin.
    """
    out = Path(out)
    try:
        plan = dict(json.loads((out / "plan.json").read_text()))
        autoregressive, runs = plan["autoregressive"], plan["runs"]
    except OSError as error:
        raise FileError(f"{out} is no benchmark (no plan.json); `dendrotwin benchmark` makes one") from error
    except (ValueError, KeyError) as error:
        raise FileError(f"{out / 'plan.json'} is damaged; run the benchmark again in another folder") from error
    jobs = [
        Job(name.rpartition("-seed")[0], name, Training(**run["training"]))
        for name, run in runs.items()
        if row_path(out, name).exists()
    ]
    if code is not None:
        jobs = [replace(job, code=str(code)) if code_of(job.training) else job for job in jobs]
    jobs.sort(key=lambda job: (job.label, job.training.seed))  # the plan has them as their timings came back
    if not jobs:
        raise FileError(f"{out} has no finished twin yet; let `dendrotwin benchmark` go on")
    rows = rows_of_twins(out, jobs)
    rows += [Row(name, load_evaluations(out, name)) for name in BASELINES if row_path(out, name).exists()]
    tree = Twin.load(out / "twins" / jobs[0].name, jobs[0].code).tree
    return tree, [row for row in rows if row.one_step_ahead == autoregressive]


def rows_of_twins(out: Path, jobs: Sequence[Job]) -> list[Row]:
    """One row for each entry and mode, with the evaluations of all its seeds.

    Args:
        out: folder of the benchmark.
        jobs: what is finished, the seeds of an entry one after the other.
    """
    rows = []
    for label in dict.fromkeys(job.label for job in jobs):
        chosen = [job for job in jobs if job.label == label]
        names = [job.name for job in chosen]
        twins = [Twin.load(out / "twins" / job.name, job.code) for job in chosen]
        costs = [_cost(twin) for twin in twins]
        trainings = [twin.training for twin in twins if not is_read(twin.architecture)]
        for evaluations in zip(*(load_evaluations(out, name) for name in names), strict=True):  # one or two modes
            mode = evaluations[0].name.removeprefix(names[0])
            rows.append(Row(label + mode, evaluations, costs, trainings))
    return rows


def _cost(twin: Twin) -> dict[str, float]:
    """What is known before its speed; see `report.COSTS`."""
    minutes = {"training_minutes": twin.training["minutes"]}
    if is_read(twin.architecture):
        return minutes
    parameters = sum(p.numel() for p in twin.model.parameters())
    return {"parameters": parameters, **minutes, **{name: twin.training[name] for name in ("steps", "windows")}}


def rows_of_baselines(out: Path, tree: Tree, split: Split, names: Sequence[str]) -> list[Row]:
    """One row for each baseline, measured where it has not been.

    Args:
        out: folder of the benchmark.
        tree: the cell.
        split: its trials.
        names: which of `BASELINES`.
    """
    missing = [name for name in names if not row_path(out, name).exists()]
    if missing:
        with progress("measuring the baselines", len(missing), "baselines") as advance:
            for evaluation in baseline_rows(tree, split.train, split.validation, split.test, missing):
                save_evaluations(out, evaluation.name, [evaluation])
                advance(1, evaluation.name)
    return [Row(name, load_evaluations(out, name)) for name in names]


def load_or_measure_speed(out: Path, jobs: Sequence[Job], simulation: Simulation) -> dict[str, float]:
    """The speed of NEURON, the coarse cable and the first twin of each entry; see `timing.measure_speed`.

    Where one is missing in the folder all are measured again, in one run.

    Args:
        out: folder of the benchmark.
        jobs: what is finished.
        simulation: of the cell, and of the input that they are timed on.

    Returns:
        Wall seconds per simulated second by name.
    """
    path = out / "speed.json"
    first = {job.label: job for job in reversed(jobs)}
    seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    if not all(f"{label}, batch 1" in seconds for label in first):
        twins = {label: Twin.load(out / "twins" / job.name, job.code) for label, job in first.items()}
        seconds = measure_speed(twins, simulation)
        write_json(path, seconds)
    return seconds


def with_speed(rows: Sequence[Row], seconds: Mapping[str, float]) -> list[Row]:
    """The rows with their speed, as a ratio to NEURON's default, on the first seed.

    A twin of one step ahead is timed in closed loop, as nothing else can take NEURON's place.

    Args:
        rows: of the benchmark.
        seconds: wall seconds per simulated second by name, see `load_or_measure_speed`.
    """
    timed = []
    for row in rows:
        label = row.name.split(CLOSED_LOOP)[0]
        ratios = {
            f"x_neuron_batch_{cells}": seconds["NEURON default"] / seconds[f"{label}, batch {cells}"]
            for cells in (1, BATCH)
            if f"{label}, batch {cells}" in seconds and not row.one_step_ahead
        }
        costs = [dict(cost) for cost in row.costs] or [{}]
        costs[0] |= ratios
        timed.append(Row(row.name, row.evaluations, costs, row.trainings))
    return timed
