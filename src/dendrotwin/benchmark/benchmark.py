"""Architectures side by side: each trained for the same wall time with several seeds, on the same trials.

The cable twin is not trained but read from the cell, once.

A killed benchmark goes on when it is called again: `plan.json` holds the steps of every training, `twins/` the finished
twins, `rows/` the finished evaluations, `speed.json` the times.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dendrotwin
from dendrotwin.cell.tree import Tree
from dendrotwin.errors import DendrotwinError, FileError, InputError, TwinError
from dendrotwin.evaluation.evaluate import BASELINES, FED_BACK, FED_BACK_TRIALS, Evaluation, baselines, evaluate_twin
from dendrotwin.evaluation.lfp_metrics import ElectrodeErrors
from dendrotwin.evaluation.metrics import SpikeErrors
from dendrotwin.evaluation.report import (
    Row,
    describe_missing,
    describe_test,
    draw_comparison,
    write_comparison,
    write_measured_error,
)
from dendrotwin.evaluation.split import Split, split_trials
from dendrotwin.evaluation.timing import BATCH, measure_speed
from dendrotwin.models import build_network
from dendrotwin.models.cable import CABLE
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.read_twin import card
from dendrotwin.recording import SETTLE_MS, RecordingFile, TrialIndex, made_by, provenance
from dendrotwin.support.atomic_files import remove_dead_partials, whole_file
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import cores, worker_pool
from dendrotwin.training.loop import Training, measure_time, train
from dendrotwin.twin import Twin

ERRORS = ("ev", "ev_clipped", "rmse_mV", "wasserstein_mV")


@dataclass(frozen=True)
class _Job:
    """One training, whose number of steps is not yet known, or one reading."""

    label: str
    name: str
    training: Training

    @property
    def read(self) -> bool:
        """Whether the twin is read from the cell."""
        return self.training.architecture == CABLE


def benchmark(
    data: Path,
    out: Path,
    entries: Mapping[str, Training],
    *,
    budget_minutes: float,
    seeds: int,
    workers: int = 1,
    speed: bool = True,
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

    Returns:
        The file of the tables, `table.md`.

    Raises:
        InputError: the data have no output spikes, an option is wrong, the budget is none or too short, or the data
            were not simulated here and a cell is to be read or timed.
        FileError: `out` holds another benchmark, or the data are of different cells.
        TwinError: a training cannot go on, or a worker died.
    """
    data, out = Path(data), Path(out)
    if not (math.isfinite(budget_minutes) and budget_minutes > 0):
        raise InputError(f"a budget of {budget_minutes:g} min is none; give --budget a number above 0")
    tree, split, first = _check_data(data, entries)
    simulation = _simulation(split.train[0], "NEURON cannot be timed; use --no-speed") if speed else None
    for training in entries.values():  # names what is wrong now
        if training.architecture == CABLE:
            _check_cable(training, split.train[0])
        else:
            build_network(training.architecture, training.options, tree, training.history)
    jobs = [
        _Job(label, f"{label}-seed{seed}", training.model_copy(update={"seed": seed}))
        for label, training in entries.items()
        for seed in range(1 if training.architecture == CABLE else seeds)
    ]
    plan = _claim(out, tree, split, first, budget_minutes, workers)
    _train_all(data, out, jobs, plan, workers)

    rows = _rows_of_twins(out, jobs)
    names = BASELINES if first.history else BASELINES[:-1]  # persistence is for one step ahead
    rows += _rows_of_baselines(out, tree, split, names)
    if simulation is not None:
        rows = _with_speed(rows, _speed(out, jobs, simulation))
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
    draw_comparison(out, tree, [r for r in rows if r.one_step_ahead == first.history and r.name != "mean"])
    return out / "table.md"


def _check_data(data: Path, entries: Mapping[str, Training]) -> tuple[Tree, Split, Training]:
    """The cell, the split, and one of the entries, which agree on both and on what a twin sees."""
    first = next(iter(entries.values()))
    shared = ("history", "train_trials", "validation", "test")
    if any(getattr(training, name) != getattr(first, name) for training in entries.values() for name in shared):
        raise InputError(f"the entries differ in {', '.join(shared)}; give all of them the same, or run two benchmarks")
    tree, split = split_trials(data, first.validation, first.test, first.train_trials)
    for part, trials in vars(split).items():
        if not any(_spikes(trial) for trial in trials):
            raise InputError(
                f"the {len(trials)} {part} trials of {data} have no output spike after {SETTLE_MS} ms, and spikes are "
                "compared too; simulate more trials, or with a higher --rate-scale"
            )
    return tree, split, first


def _spikes(trial: TrialIndex) -> bool:
    with RecordingFile(trial.path) as file:
        return bool((file.spikes_ms(trial.number) >= SETTLE_MS).any())


def _simulation(trial: TrialIndex, otherwise: str) -> Simulation:
    made = made_by(trial)
    if not made:
        raise InputError(f"{trial.path} was not made by `simulate`, so {otherwise}")
    return Simulation.model_validate(made)


def _check_cable(entry: Training, trial: TrialIndex) -> None:
    if entry.history:
        raise InputError("the cable twin is free-running and looks at no true potential; leave cable or --history away")
    if unknown := entry.options.keys() - {"accuracy"}:
        raise InputError(f"the cable twin has no option {min(unknown)!r}; its only one here is accuracy")
    _simulation(trial, "there is no cell to read; leave cable away")


# ---------------------------------------------------------------------------------------------------- trainings


def _claim(out: Path, tree: Tree, split: Split, first: Training, budget_minutes: float, workers: int) -> dict[str, Any]:
    """The plan in `out`, begun where there is none."""
    trials = [[trial.trial_id for trial in part] for part in (split.train, split.validation, split.test)]
    here = {
        "cell": tree.fingerprint(),
        "trials": hashlib.sha256(json.dumps(trials).encode()).hexdigest()[:16],
        "history": first.history,
        "budget_minutes": budget_minutes,
        "workers": workers,  # who trains alone has more steps in the same time
    }
    path = out / "plan.json"
    plan: dict[str, Any] = {}
    if path.exists():
        try:
            plan = dict(json.loads(path.read_text()))
        except ValueError as error:
            raise FileError(f"{path} is damaged; delete {out} or name another folder") from error
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileError(f"{out} exists and is no benchmark (no plan.json); name another folder")
    if not plan.get("runs"):  # nothing has begun
        plan = {**here, "runs": {}}
        _write_json(path, plan)
        return plan
    different = [name for name, value in here.items() if plan.get(name) != value]
    if different:
        raise FileError(f"{out} holds another benchmark (other {', '.join(different)}); name another folder")
    for folder in (out, out / "twins", out / "rows"):
        remove_dead_partials(folder)
    return plan


def _train_all(data: Path, out: Path, jobs: Sequence[_Job], plan: dict[str, Any], workers: int) -> None:
    """Time, train and evaluate what has no row yet, `workers` at a time."""
    for job in jobs:
        known = plan["runs"].get(job.name)
        if known is not None and {**known["training"], "steps": 0} != _dumped(job.training, 0):
            raise FileError(f"{out} holds {job.name} with other options; name another folder")
    todo = [job for job in jobs if not _row_path(out, job.name).exists()]
    if not todo:
        return
    threads = max(1, cores() // workers)
    others = set(active_children())
    pool = worker_pool(min(workers, len(todo)), threads)
    try:
        coming: dict[Future[tuple[float, float] | None], _Job] = {}

        def submit(job: _Job) -> None:
            if job.read:
                plan["runs"][job.name] = {"training": job.training.model_dump(mode="json")}
                _write_json(out / "plan.json", plan)
            if job.name in plan["runs"]:
                training = Training(**plan["runs"][job.name]["training"])
                coming[pool.submit(_train_and_evaluate, data, out, job.name, training)] = job
            else:
                coming[pool.submit(_time, data, job.name, job.training)] = job

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
                        "training": _dumped(job.training, steps),
                    }
                    _write_json(out / "plan.json", plan)
                    submit(job)
    except BaseException as error:
        for process in set(active_children()) - others:  # a training may have an hour to go, and can be resumed
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise TwinError(
                "a worker process died (killed, or out of memory); what is finished is kept: run the same command again"
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _dumped(training: Training, steps: int) -> dict[str, Any]:
    return {**training.model_dump(mode="json"), "steps": steps}


@contextmanager
def _naming(job: str) -> Iterator[None]:
    """Say in an error which training it is about."""
    try:
        yield
    except DendrotwinError as error:
        raise type(error)(f"{job}: {error}") from error


def _time(data: Path, name: str, training: Training) -> tuple[float, float]:
    """Wall seconds before the first step, and of each; runs in a worker."""
    with _naming(name):
        return measure_time(data, training)


def _train_and_evaluate(data: Path, out: Path, name: str, training: Training) -> None:
    """The twin and its row, what is there already not again; runs in a worker, whose progress goes to a log."""
    folder = out / "twins" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.log").open("a") as log, redirect_stderr(log), _naming(name):
        tree, split = split_trials(data, training.validation, training.test, training.train_trials)
        if not folder.exists() and training.architecture == CABLE:
            _read(folder, training, split.train[0])
        elif not folder.exists():
            try:
                train(data, folder, training)
            except TwinError as error:
                if not folder.exists():
                    raise
                print(error, file=log)  # it diverged, and the best weights before that count
        evaluations = evaluate_twin(name, Twin.load(folder), split.test)
        write_measured_error(folder, tree, evaluations[:1], split.test, data)  # the row on all of the trials
        _keep(out, name, evaluations)


def _read(folder: Path, entry: Training, trial: TrialIndex) -> None:
    """The cable twin of the cell that a trial was simulated with."""
    simulation = Simulation.model_validate(made_by(trial))
    twin = dendrotwin.twin_of(simulation.cell, simulation.cell_options, **entry.options)
    twin.save(folder, card(twin))


# --------------------------------------------------------------------------------------------------------- rows


def _row_path(out: Path, name: str) -> Path:
    return out / "rows" / f"{name}.json"


def _keep(out: Path, name: str, evaluations: Sequence[Evaluation]) -> None:
    """Store evaluations: numbers as JSON, written last, and errors of the compartments as npz."""
    path = _row_path(out, name)
    with whole_file(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {error: np.stack([getattr(e, error) for e in evaluations]) for error in ERRORS}
        np.savez(file, **arrays)
    numbers = [
        {
            **e.head(),
            "spikes": asdict(e.spikes),
            "electrodes": None if e.electrodes is None else asdict(e.electrodes),
        }
        for e in evaluations
    ]
    _write_json(path, numbers)


def _kept(out: Path, name: str) -> list[Evaluation]:
    path = _row_path(out, name)
    numbers = json.loads(path.read_text())
    with np.load(path.with_suffix(".npz")) as arrays:
        errors = {error: arrays[error] for error in ERRORS}
    evaluations = []
    for i, row in enumerate(numbers):
        row["spikes"] = SpikeErrors(**row["spikes"])
        row["threshold"] = math.inf if row["threshold"] is None else row["threshold"]
        if row.get("electrodes"):  # there are none in rows of older versions, and where LFPykit is not installed
            row["electrodes"] = ElectrodeErrors(**row["electrodes"])
        evaluations.append(Evaluation(**row, **{error: errors[error][i] for error in ERRORS}))
    return evaluations


def finished_rows(out: Path) -> tuple[Tree, list[Row]]:
    """The cell and what a benchmark has finished: architectures by name, then baselines, in the mode of the trainings.

    Args:
        out: folder of the benchmark, which may still be running.

    Raises:
        FileError: it is no benchmark, is damaged, or has no finished twin.
    """
    out = Path(out)
    try:
        plan = dict(json.loads((out / "plan.json").read_text()))
        history, runs = plan["history"], plan["runs"]
    except OSError as error:
        raise FileError(f"{out} is no benchmark (no plan.json); `dendrotwin benchmark` makes one") from error
    except (ValueError, KeyError) as error:
        raise FileError(f"{out / 'plan.json'} is damaged; run the benchmark again in another folder") from error
    jobs = [
        _Job(name.rpartition("-seed")[0], name, Training(**run["training"]))
        for name, run in runs.items()
        if _row_path(out, name).exists()
    ]
    jobs.sort(key=lambda job: (job.label, job.training.seed))  # the plan has them as their timings came back
    if not jobs:
        raise FileError(f"{out} has no finished twin yet; let `dendrotwin benchmark` go on")
    rows = _rows_of_twins(out, jobs)
    rows += [Row(name, _kept(out, name)) for name in BASELINES if _row_path(out, name).exists()]
    return Twin.load(out / "twins" / jobs[0].name).tree, [row for row in rows if row.one_step_ahead == history]


def _rows_of_twins(out: Path, jobs: Sequence[_Job]) -> list[Row]:
    """One row for each entry and mode."""
    rows = []
    for label in dict.fromkeys(job.label for job in jobs):
        names = [job.name for job in jobs if job.label == label]
        twins = [Twin.load(out / "twins" / name) for name in names]
        costs = [_cost(twin) for twin in twins]
        trainings = [twin.training for twin in twins if twin.architecture != CABLE]
        for evaluations in zip(*(_kept(out, name) for name in names), strict=True):  # one or two modes
            mode = evaluations[0].name.removeprefix(names[0])
            rows.append(Row(label + mode, evaluations, costs, trainings))
    return rows


def _cost(twin: Twin) -> dict[str, float]:
    """What is known before its speed; see `report.COSTS`."""
    minutes = {"training_minutes": twin.training["minutes"]}
    if twin.architecture == CABLE:
        return minutes
    parameters = sum(p.numel() for p in twin.network.parameters())
    return {"parameters": parameters, **minutes, **{name: twin.training[name] for name in ("steps", "windows")}}


def _rows_of_baselines(out: Path, tree: Tree, split: Split, names: Sequence[str]) -> list[Row]:
    missing = [name for name in names if not _row_path(out, name).exists()]
    if missing:
        with progress("measuring the baselines", len(missing), "baselines") as advance:
            for evaluation in baselines(tree, split.train, split.validation, split.test, missing):
                _keep(out, evaluation.name, [evaluation])
                advance(1, evaluation.name)
    return [Row(name, _kept(out, name)) for name in names]


def _speed(out: Path, jobs: Sequence[_Job], simulation: Simulation) -> dict[str, float]:
    """Wall seconds by name, of the first twin of each entry; taken again, all in one run, where one is missing."""
    path = out / "speed.json"
    first = {job.label: job.name for job in reversed(jobs)}
    seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    if not all(f"{label}, batch 1" in seconds for label in first):
        twins = {label: Twin.load(out / "twins" / name) for label, name in first.items()}
        seconds = measure_speed(twins, simulation)
        _write_json(path, seconds)
    return seconds


def _with_speed(rows: Sequence[Row], seconds: Mapping[str, float]) -> list[Row]:
    """The rows with their speed, as a ratio to NEURON's default, on the first seed.

    A twin of one step ahead is timed in closed loop, as nothing else can take NEURON's place.
    """
    timed = []
    for row in rows:
        label = row.name.split(FED_BACK)[0]
        ratios = {
            f"x_neuron_batch_{cells}": seconds["NEURON default"] / seconds[f"{label}, batch {cells}"]
            for cells in (1, BATCH)
            if f"{label}, batch {cells}" in seconds and not row.one_step_ahead
        }
        costs = [dict(cost) for cost in row.costs] or [{}]
        costs[0] |= ratios
        timed.append(Row(row.name, row.evaluations, costs, row.trainings))
    return timed


# ------------------------------------------------------------------------------------------------------- words


def _notes(context: Mapping[str, Any], first: Training, seeds: int, rows: Sequence[Row]) -> str:
    """What the reader of the tables must know."""
    lines = [
        f"# Benchmark of {context['date']}\n",
        f"Wall time of each training: {context['budget_minutes']:g} min. Seeds: {seeds} (mean ± standard deviation). "
        f"Training trials: {context['train_trials']} of `{context['data']}`. Trainings at once: {context['workers']}. "
        f"Machine: {context['machine']}. Versions: {context['versions']}.",
    ]
    if first.history:
        lines.append(
            "Fed back: the same twins on their own predictions in place of the true potentials, on the first "
            f"{FED_BACK_TRIALS} test trials; all else is on all of them. Their speed is that of this closed loop."
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


def _write_json(path: Path, content: Any) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
