"""Architectures side by side: each trained for the same wall time with several seeds, on the same trials.

The cable twin is not trained but read from the cell, once.

A killed benchmark goes on when it is called again: `plan.json` holds the steps of every training, `twins/` the finished
twins, `rows/` the finished evaluations, `speed.json` the times.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import torch

import dendrotwin
from dendrotwin.benchmark.plan import (
    Job,
    check_data,
    check_entry,
    code_of,
    is_read,
    open_plan,
    simulation_of,
    with_steps,
    write_json,
)
from dendrotwin.benchmark.rows import (
    load_or_measure_speed,
    row_path,
    rows_of_baselines,
    rows_of_twins,
    save_evaluations,
    with_speed,
)
from dendrotwin.errors import DendrotwinError, FileError, InputError, TwinError
from dendrotwin.evaluation.figures import draw_comparison
from dendrotwin.evaluation.predictors import BASELINES, CLOSED_LOOP_TRIALS, evaluate_twin
from dendrotwin.evaluation.report import Row, describe_missing, describe_test, write_comparison, write_measured_error
from dendrotwin.evaluation.split import split_trials
from dendrotwin.recording import provenance
from dendrotwin.recording.trials import TrialIndex
from dendrotwin.support.folder_lock import alone
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import cores, worker_pool
from dendrotwin.training.config import Training
from dendrotwin.training.loop import measure_time, train
from dendrotwin.twin import Twin


def benchmark(
    data: Path,
    out: Path,
    entries: Mapping[str, Training],
    *,
    budget_minutes: float,
    seeds: int,
    workers: int = 1,
    speed: bool = True,
    cell: str | Path | None = None,
) -> Path:
    """Train every entry with every seed for the same wall time, evaluate all, and write tables and figures.

    Each training's step is timed in the worker, and under the load, that it will run in; its steps fill the budget.

    Args:
        data: the data set.
        out: folder of the benchmark; what is done in it already is not done again.
        entries: how to train, by label; `steps` and `seed` are set here, the rest must agree on what twins see. Of the
            architecture "cable", which is read, the option `accuracy` alone counts.
        budget_minutes: wall time of each training [min].
        seeds: trainings of each entry, with seeds from 0.
        workers: trainings at a time, each in a process with an equal share of the cores.
        speed: also time the first twin of each entry beside NEURON.
        cell: the Python file of the cell, if it is none of dendrotwin's, and NEURON is to build it: data do not choose
            code that is run.

    Returns:
        The file of the tables, `table.md`.

    Raises:
        InputError: the data have no output spikes, an option is wrong, the budget is none or too short, or the data
            were not simulated here and a cell is to be read or timed.
        FileError: `out` holds another benchmark, another process makes one there, or the data are of different cells.
        TwinError: a training cannot go on, or a worker died.
    """
    data, out = Path(data), Path(out)
    if not (math.isfinite(budget_minutes) and budget_minutes > 0):
        raise InputError(f"a budget of {budget_minutes:g} min is none; give --budget a number above 0")
    tree, split, first = check_data(data, entries)
    simulation = simulation_of(split.train[0], "NEURON cannot be timed; use --no-speed", cell) if speed else None
    for training in entries.values():  # names what is wrong now
        check_entry(training, tree, split.train[0], cell)
    jobs = [
        Job(label, f"{label}-seed{seed}", training.model_copy(update={"seed": seed}), code_of(training), _text(cell))
        for label, training in entries.items()
        for seed in range(1 if is_read(training.architecture) else seeds)
    ]
    if not out.exists():
        out.mkdir(parents=True, exist_ok=True)
    with alone(out, "is benchmarking", out):
        plan = open_plan(out, tree, split, first, budget_minutes, workers)
        train_all(data, out, jobs, plan, workers)
        rows = rows_of_twins(out, jobs)
        names = BASELINES if first.autoregressive else BASELINES[:-1]  # persistence is for one step ahead
        rows += rows_of_baselines(out, tree, split, names)
        if simulation is not None:
            rows = with_speed(rows, load_or_measure_speed(out, jobs, simulation))
        measured = describe_test(rows[0].evaluations[0], split.test)
        context = {
            "data": str(data),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": _machine(),
            "budget_minutes": budget_minutes,
            "workers": workers,
            "train_trials": len(split.train),
            **provenance(),
        }
        write_comparison(out, tree, rows, measured, _notes(context, first, seeds, rows), context)
        draw_comparison(out, tree, [r for r in rows if r.one_step_ahead == first.autoregressive and r.name != "mean"])
        return out / "table.md"


def train_all(data: Path, out: Path, jobs: Sequence[Job], plan: dict[str, Any], workers: int) -> None:
    """Time, train and evaluate what has no row yet.

    Args:
        data: the data set.
        out: folder of the benchmark.
        jobs: all trainings and readings.
        plan: see `plan.open_plan`; steps are added to it, and written.
        workers: how many at a time, each in a process.

    Raises:
        FileError: a job was begun with other options.
        InputError: the budget is too short for one step.
        TwinError: a training cannot go on, or a worker died.
    """
    for job in jobs:
        begun = plan["runs"].get(job.name)
        if begun is not None and {**begun["training"], "steps": 0} != with_steps(job.training, 0):
            raise FileError(f"{out} holds {job.name} with other options; name another folder")
    todo = [job for job in jobs if not row_path(out, job.name).exists()]
    if not todo:
        return
    threads = max(1, cores() // workers)
    others = set(active_children())
    pool = worker_pool(min(workers, len(todo)), threads)
    try:
        coming: dict[Future[tuple[float, float] | None], Job] = {}

        def submit(job: Job) -> None:
            if job.is_read:
                plan["runs"][job.name] = {"training": job.training.model_dump(mode="json")}
                write_json(out / "plan.json", plan)
            if job.name in plan["runs"]:
                training = Training(**plan["runs"][job.name]["training"])
                coming[pool.submit(_train_and_evaluate, data, out, job, training)] = job
            else:
                coming[pool.submit(_time_training, data, job.name, job.training)] = job

        for job in todo:
            submit(job)
        with progress(f"benchmark in {out}", len(todo), "twins") as advance:
            while coming:
                for future in wait(coming, return_when=FIRST_COMPLETED).done:
                    job, seconds = coming.pop(future), future.result()
                    if seconds is None:
                        advance(1, job.name)
                        continue
                    before, per_step = seconds
                    steps = int((60.0 * plan["budget_minutes"] - before) / per_step)
                    if steps < 1:
                        raise InputError(
                            f"a budget of {plan['budget_minutes']:g} min is too short for one step of {job.label}, "
                            f"which takes {per_step:.3g} s, {before:.3g} s after the start; give it a longer --budget"
                        )
                    plan["runs"][job.name] = {
                        "seconds_before": before,
                        "seconds_per_step": per_step,
                        "threads": threads,
                        "training": with_steps(job.training, steps),
                    }
                    write_json(out / "plan.json", plan)
                    submit(job)
    except BaseException as error:
        for process in set(active_children()) - others:  # a training may have an hour to go, and can be resumed
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise TwinError(
                f"a worker process died: {pool.death()}; what is finished is kept: the same command does the rest"
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _job_in_errors(job: str) -> Iterator[None]:
    """Say in an error which training it is about."""
    try:
        yield
    except DendrotwinError as error:
        raise type(error)(f"{job}: {error}") from error


def _time_training(data: Path, name: str, training: Training) -> tuple[float, float]:
    """Wall seconds before the first step, and of each; runs in a worker."""
    with _job_in_errors(name):
        return measure_time(data, training)


def _train_and_evaluate(data: Path, out: Path, job: Job, training: Training) -> None:
    """The twin and its row, what is there already not again; runs in a worker, whose progress goes to a log."""
    name = job.name
    folder = out / "twins" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.log").open("a") as log, redirect_stderr(log), _job_in_errors(name):
        tree, split = split_trials(data, training.validation, training.test, training.train_trials)
        if not folder.exists() and is_read(training.architecture):
            _read(folder, training, split.train[0], job.cell)
        elif not folder.exists():
            try:
                train(data, folder, training)
            except TwinError as error:
                if not folder.exists():
                    raise
                print(error, file=log)  # it diverged, and the best weights before that count
        evaluations = evaluate_twin(name, Twin.load(folder, job.code), split.test)
        write_measured_error(folder, tree, evaluations[:1], split.test, data)  # the row on all of the trials
        save_evaluations(out, name, evaluations)


def _read(folder: Path, entry: Training, trial: TrialIndex, cell: str | None) -> None:
    """The cable twin of the cell that a trial was simulated with."""
    simulation = simulation_of(trial, "there is no cell to read", cell)
    twin = dendrotwin.twin_of(simulation.cell, simulation.cell_options, **entry.options)
    twin.save(folder)


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def _notes(context: Mapping[str, Any], first: Training, seeds: int, rows: Sequence[Row]) -> str:
    """What the reader of the tables must know."""
    lines = [
        f"# Benchmark of {context['date']}\n",
        f"Wall time of each training: {context['budget_minutes']:g} min. Seeds: {seeds} (mean ± standard deviation). "
        f"Training trials: {context['train_trials']} of `{context['data']}`. Trainings at once: {context['workers']}. "
        f"Machine: {context['machine']}. Versions: {context['versions']}.",
    ]
    if first.autoregressive:
        lines.append(
            "Closed loop: the same twins on their own predictions in place of the true potentials, on the first "
            f"{CLOSED_LOOP_TRIALS} test trials; all else is on all of them. Their speed is that of this closed loop."
        )
    stopped = {
        f"{row.name}, seed {k}"
        for row in rows
        for k, training in enumerate(row.trainings)
        if training["steps"] < training["configuration"]["steps"]
    }
    if stopped:
        lines.append(f"Stopped before the last step, best weights kept: {'; '.join(sorted(stopped))}.")
    if missing := describe_missing([e for row in rows for e in row.evaluations]):
        lines.append(missing)
    return "\n".join(lines) + "\n"


def _machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {cores()} cores, {gpu}"
