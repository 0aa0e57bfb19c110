"""What a benchmark is to do: its entries, checked, and the plan of its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.evaluation.split import Split, split_trials
from dendrotwin.models import build_model, load_architecture
from dendrotwin.models.base import Trainable
from dendrotwin.neuron.cell_of_data import simulation_of_data
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.recording import SETTLE_MS
from dendrotwin.recording.trials import TrialIndex, count_output_spikes, made_by
from dendrotwin.support.atomic_files import remove_dead_partials, whole_file
from dendrotwin.training.config import Training


def is_read(architecture: str) -> bool:
    """Whether models of an architecture are read from the cell, and learn nothing.

    Args:
        architecture: see `models.load_architecture`.
    """
    return not issubclass(load_architecture(architecture).model, Trainable)


@dataclass(frozen=True)
class Job:
    """One training, whose number of steps is not yet known, or one reading.

    Attributes:
        label: of its entry, which it shares with those of other seeds.
        name: its own, of its folder and files.
        training: how to train; of a reading, its options.
        code: the Python file of its architecture that the user names, if it is none of dendrotwin's.
        cell: the Python file of the cell to be read, likewise.
    """

    label: str
    name: str
    training: Training
    code: str | None = None
    cell: str | None = None

    @property
    def is_read(self) -> bool:
        """Whether the twin is read from the cell."""
        return is_read(self.training.architecture)


def check_data(data: Path, entries: Mapping[str, Training]) -> tuple[Tree, Split, Training]:
    """Look for what the entries share.

    Args:
        data: the data set.
        entries: how to train, by label.

    Returns:
        The cell, the split, and one of the entries, which agree on both and on what a twin sees.

    Raises:
        InputError: they do not agree, or a part of the split has no output spikes.
        FileError: the data set is not one.
    """
    first = next(iter(entries.values()))
    shared = ("autoregressive", "train_trials", "validation", "test")
    if any(getattr(training, name) != getattr(first, name) for training in entries.values() for name in shared):
        raise InputError(f"the entries differ in {', '.join(shared)}; give all of them the same, or run two benchmarks")
    tree, split = split_trials(data, first.validation, first.test, first.train_trials)
    for part, trials in vars(split).items():
        if not any(count_output_spikes(trial) for trial in trials):
            raise InputError(
                f"the {len(trials)} {part} trials of {data} have no output spike after {SETTLE_MS} ms, and spikes are "
                "compared too; simulate more trials, or with a higher --rate-scale"
            )
    return tree, split, first


def code_of(training: Training) -> str | None:
    """The Python file of an architecture that the user names in an entry; None of one of dendrotwin's.

    Args:
        training: how to train.
    """
    return training.architecture if training.architecture.endswith(".py") else None


def simulation_of(trial: TrialIndex, consequence: str, cell: str | Path | None = None) -> Simulation:
    """The simulation that a trial is of.

    Args:
        trial: of a data set.
        consequence: what is not possible without a simulation, for the message.
        cell: the Python file of the cell, if it is none of dendrotwin's.

    Raises:
        InputError: the trial was not made by `simulate`, or is of a cell that is not named.
    """
    made = made_by(trial)
    if not made:
        raise InputError(f"{trial.path} was not made by `simulate`, so {consequence}")
    return simulation_of_data(made, cell, str(trial.path))


def check_entry(entry: Training, tree: Tree, trial: TrialIndex, cell: str | Path | None = None) -> None:
    """Say now what is wrong with an entry.

    Args:
        entry: how to train, or what to read.
        tree: the cell.
        trial: of the data, which says which cell is to be read.
        cell: the Python file of the cell, if it is none of dendrotwin's.

    Raises:
        InputError: an option is wrong, or there is no cell to read.
    """
    if not is_read(entry.architecture):
        build_model(entry.architecture, entry.options, tree, entry.autoregressive)
        return
    if entry.autoregressive:
        raise InputError(
            "the cable twin is free-running and looks at no true potential; use one of cable and --autoregressive"
        )
    if unknown := entry.options.keys() - {"accuracy"}:
        raise InputError(f"the cable twin has no option {min(unknown)!r}; its only one here is accuracy")
    simulation_of(trial, "there is no cell to read; name other architectures than cable", cell)


def open_plan(
    out: Path, tree: Tree, split: Split, first: Training, budget_minutes: float, workers: int
) -> dict[str, Any]:
    """The plan in a folder, begun where there is none.

    Args:
        out: folder of the benchmark.
        tree: the cell.
        split: its trials.
        first: one of the entries.
        budget_minutes: wall time of each training [min].
        workers: trainings at a time.

    Returns:
        What makes it this benchmark, and "runs": what is known of each job by its name.

    Raises:
        FileError: the folder holds another benchmark, something else, or a damaged plan.
    """
    trials = [[trial.trial_id for trial in part] for part in (split.train, split.validation, split.test)]
    here = {
        "cell": tree.fingerprint(),
        "trials": hashlib.sha256(json.dumps(trials).encode()).hexdigest()[:16],
        "autoregressive": first.autoregressive,
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
        write_json(path, plan)
        return plan
    different = [name for name, value in here.items() if plan.get(name) != value]
    if different:
        raise FileError(f"{out} holds another benchmark (other {', '.join(different)}); name another folder")
    for folder in (out, out / "twins", out / "rows"):
        remove_dead_partials(folder)
    return plan


def with_steps(training: Training, steps: int) -> dict[str, Any]:
    """A training with its number of steps, as JSON holds it.

    Args:
        training: how to train.
        steps: in place of its own.
    """
    return {**training.model_dump(mode="json"), "steps": steps}


def write_json(path: Path, content: Any) -> None:
    """Write a file, under a temporary name until it is complete.

    Args:
        path: the file.
        content: what JSON can hold.
    """
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
