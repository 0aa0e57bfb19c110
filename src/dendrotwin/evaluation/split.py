"""Which trials of a data set are for training, for validation and for the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording import SETTLE_MS, RecordingFile
from dendrotwin.recording.trials import (
    SPLIT_FILE,
    TrialIndex,
    check_each_ms,
    index_trials,
    read_held_out,
    trials_of_cell,
)
from dendrotwin.twin import Twin


@dataclass(frozen=True)
class Split:
    """The trials of a data set, each in one part only.

    Attributes:
        train: what a network learns from.
        validation: what its weights and threshold are chosen on.
        test: what it is measured on.
    """

    train: list[TrialIndex]
    validation: list[TrialIndex]
    test: list[TrialIndex]


def split_trials(
    path: str | Path, validation: float = 0.1, test: float = 0.2, train_trials: int | None = None
) -> tuple[Tree, Split]:
    """Split a data set by trial: the first ones test, then validation, the rest training.

    Where the data set has a `split.json`, that says which trials are held out, by the number that `simulate` gave
    them: trials may still be missing behind them, or come later, and none changes its part.

    Args:
        path: the data set.
        validation, test: share of the trials, at least one each; not looked at where there is a `split.json`.
        train_trials: use only so many training trials, the first ones; None means all.

    Returns:
        The cell, and the split.

    Raises:
        FileError: see `recording.trials.index_trials` and `recording.trials.read_held_out`.
        InputError: too few or too short trials, finer samples than each ms, injected current, or the shares leave none
            for training.
    """
    if not (0 < validation < 1 and 0 < test < 1):
        raise InputError(f"the shares of validation ({validation}) and test ({test}) must lie between 0 and 1")
    tree, trials = index_trials(path)
    check_each_ms(trials)
    held_out = read_held_out(path)
    by_number = {}
    for position, trial in enumerate(trials):
        if trial.duration_ms <= SETTLE_MS:
            raise InputError(
                f"{trial.path} lasts {trial.duration_ms} ms, the first {SETTLE_MS} do not count; simulate longer ones"
            )
        with RecordingFile(trial.path) as file:
            injection = file.injection(trial.number)
            by_number[position if held_out is None else _number(file)] = trial
        if injection is not None and np.any(injection.current_nA):
            raise InputError(f"{trial.path} has injected current, which training does not use; use trials without it")
    trials = [by_number[number] for number in sorted(by_number)]
    if held_out is None:
        n_test, n_validation = (max(1, round(share * len(trials))) for share in (test, validation))
        if n_test + n_validation >= len(trials):
            raise InputError(
                f"{path} holds {len(trials)} trials; with {n_validation} for validation and {n_test} for test none is "
                "left for training: simulate more, or lower the shares"
            )
    else:
        n_test, n_validation = held_out.test, held_out.validation
        missing = set(range(n_test + n_validation)) - by_number.keys()
        if missing or n_test + n_validation >= len(trials):
            raise InputError(
                f"{path} holds {len(trials)} trials; {SPLIT_FILE} keeps the first {n_test + n_validation} for test and "
                f"validation, of which {len(missing)} are missing, and the rest for training: simulate more"
            )
    train = trials[n_test + n_validation :]
    if train_trials is not None and not 1 <= train_trials <= len(train):
        raise InputError(
            f"{path} has {len(train)} training trials, {train_trials} are asked for; ask for fewer, or simulate more"
        )
    return tree, Split(train[:train_trials], trials[n_test : n_test + n_validation], trials[:n_test])


def _number(file: RecordingFile) -> int:
    """The number of a shard's trial in its data set."""
    if "trial" not in file.attributes:
        raise FileError(f"{file.path} was not made by `simulate`, and {SPLIT_FILE} cannot place it; keep it elsewhere")
    return int(file.attributes["trial"])


def trials_of_twin(
    twin: Twin, data: str | Path, training_data: str | Path | None = None, *, fit: bool = True
) -> tuple[list[TrialIndex], list[TrialIndex], list[TrialIndex]]:
    """The trials that a twin was trained on, those it was validated on, and those of `data` that it has not seen.

    Args:
        twin: the twin.
        data: a data set of its cell.
        training_data: where the training and validation trials are, if not there.
        fit: whether training and validation trials are needed, for baselines; without, none are given.

    Returns:
        Training, validation and test trials.

    Raises:
        FileError: the data set is not one, or is of another cell.
        InputError: `data` holds no trial that is new, a new one is too short, training trials are missing, or a trial
            has finer samples than each ms.
    """
    trials = trials_of_cell(data, twin.tree, "the twin's")
    pool = trials if training_data is None else trials_of_cell(training_data, twin.tree, "the twin's")
    check_each_ms([*trials, *pool])
    seen = {name: set(twin.training[f"{name}_trials"]) for name in ("train", "validation")}
    if not seen["train"]:  # a twin that was read; the baselines learn from the data set's own training trials
        _check_long_enough(trials)
        if not fit:
            return [], [], trials
        return _trials_of_data(trials, data, training_data)
    train, validation = ([trial for trial in pool if trial.trial_id in seen[name]] for name in ("train", "validation"))
    test = [trial for trial in trials if trial.trial_id not in seen["train"] | seen["validation"]]
    # Where its own data set is given these are its test trials, also if it used a part of the training trials only.
    its_test = set(twin.training["test_trials"])
    test = [trial for trial in test if trial.trial_id in its_test] or test
    if not test:
        raise InputError(f"the twin was trained on every trial in {data}; simulate others, such as with another --seed")
    if not fit:
        _check_long_enough(test)
        return [], [], test
    if len(train) < len(seen["train"]) or len(validation) < len(seen["validation"]):
        raise InputError(
            f"{training_data or data} lacks trials that the twin was trained on, which the baselines need too; "
            "name their folder with --training-data, or use --no-baselines"
        )
    _check_long_enough(test)
    return train, validation, test


def _check_long_enough(trials: Sequence[TrialIndex]) -> None:
    for trial in trials:
        if trial.duration_ms <= SETTLE_MS:
            raise InputError(
                f"{trial.path} lasts {trial.duration_ms} ms; the first {SETTLE_MS} ms do not count: simulate "
                "longer ones"
            )


def _trials_of_data(
    trials: list[TrialIndex], data: str | Path, training_data: str | Path | None
) -> tuple[list[TrialIndex], list[TrialIndex], list[TrialIndex]]:
    """The split of a data set for a twin that was read; all trials are for the test where the data set is too small."""
    try:
        _, split = split_trials(training_data or data)
    except InputError:
        return [], [], trials
    return split.train, split.validation, trials if training_data else split.test
