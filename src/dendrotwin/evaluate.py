"""How good a predictor is on test trials, beside baselines that learn little or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from dendrotwin.dataset import measure_scaling, split_trials
from dendrotwin.electrodes import ElectrodeErrors, Electrodes, can_see
from dendrotwin.errors import InputError
from dendrotwin.measures import SETTLE_MS, SpikeErrors, VoltageErrors, best_threshold, spike_errors
from dendrotwin.predict import twin_predictor
from dendrotwin.recording import Recording, TrialIndex, check_each_ms, read_trial, trials_of_cell
from dendrotwin.solve import coarse_cable, components, synaptic_conductances
from dendrotwin.tree import REGIONS, SPIKE_MV, Tree
from dendrotwin.twin import Twin

Floats = NDArray[np.float32]
# A trial to its potentials (steps, n) [mV] and a score for each step (steps,), the higher the likelier a spike.
# Predictors get the whole recording; all but persistence look at its input only.
Predictor = Callable[[Recording], tuple[Floats, Floats]]
FED_BACK = ", fed back"
FED_BACK_TRIALS = 3  # a closed loop goes millisecond by millisecond
BASELINES = ("mean", "linear", "coarse cable", "persistence")
LEARNED = ("mean", "linear")  # from training trials
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the linear baseline
TYPICAL_US, TYPICAL_MV = 1e-4, -70.0  # so that its numbers are near 1


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of one predictor on the test trials.

    Attributes:
        name: of the predictor.
        one_step_ahead: whether it sees the true potential up to 1 ms before.
        ev, ev_clipped: (n,) explained variance of each compartment, raw and clipped at -55 mV.
        rmse_mV, wasserstein_mV: (n,) [mV].
        spikes: errors of the output spikes.
        threshold: of the score, chosen on validation trials; infinite where these hold no spike after SETTLE_MS.
        electrodes: errors of LFP and dipole; None where LFPykit is not installed.
    """

    name: str
    one_step_ahead: bool
    ev: NDArray[np.float64]
    ev_clipped: NDArray[np.float64]
    rmse_mV: NDArray[np.float64]
    wasserstein_mV: NDArray[np.float64]
    spikes: SpikeErrors
    threshold: float
    electrodes: ElectrodeErrors | None = None

    def head(self) -> dict[str, str | bool | float | None]:
        """Name, mode and threshold, as JSON holds them: no threshold where it is infinite."""
        threshold = self.threshold if np.isfinite(self.threshold) else None
        return {"name": self.name, "one_step_ahead": self.one_step_ahead, "threshold": threshold}

    def summary(self, tree: Tree) -> dict[str, float | None]:
        """The row of a table: soma, dendrites (median, 5th percentile, worst), regions, spikes, electrodes."""
        dendrites = tree.dendrites
        row = {
            "EV soma": self.ev[tree.soma],
            "EV soma clipped": self.ev_clipped[tree.soma],
            "EV dendrite median": _nan(np.nanmedian, self.ev[dendrites]),
            "EV dendrite 5th percentile": _nan(lambda ev: np.nanpercentile(ev, 5), self.ev[dendrites]),
            "EV dendrite worst": _nan(np.nanmin, self.ev[dendrites]),
            "EV dendrite median clipped": _nan(np.nanmedian, self.ev_clipped[dendrites]),
            "RMSE soma mV": self.rmse_mV[tree.soma],
            "RMSE dendrite median mV": np.median(self.rmse_mV[dendrites]),
            "Wasserstein dendrite median mV": np.median(self.wasserstein_mV[dendrites]),
        }
        for region in REGIONS:
            if tree.in_region(region).any():
                row[f"EV {region} median"] = _nan(np.nanmedian, self.ev[tree.in_region(region)])
        row |= {f"spikes {name}": value for name, value in asdict(self.spikes).items()}
        if self.electrodes is not None:
            row |= self.electrodes.summary()
        return {name: None if not np.isfinite(value) else float(value) for name, value in row.items()}


def _nan(statistic: Callable[[Any], Any], values: NDArray[np.float64]) -> float:
    """The statistic, or NaN where no value is finite."""
    return float(statistic(values)) if np.isfinite(values).any() else float("nan")


def trials_of_twin(
    twin: Twin, data: Path, training_data: Path | None = None
) -> tuple[list[TrialIndex], list[TrialIndex], list[TrialIndex]]:
    """The trials that a twin was trained on, those it was validated on, and those of `data` that it has not seen.

    Args:
        twin: the twin.
        data: a data set of its cell.
        training_data: where the training and validation trials are, if not there.

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
        return _trials_of_data(trials, data, training_data)
    train, validation = ([trial for trial in pool if trial.trial_id in seen[name]] for name in ("train", "validation"))
    test = [trial for trial in trials if trial.trial_id not in seen["train"] | seen["validation"]]
    # Where its own data set is given these are its test trials, also if it used a part of the training trials only.
    kept = set(twin.training["test_trials"])
    test = [trial for trial in test if trial.trial_id in kept] or test
    if not test:
        raise InputError(f"the twin was trained on every trial in {data}; simulate others, such as with another --seed")
    if len(train) < len(seen["train"]) or len(validation) < len(seen["validation"]):
        raise InputError(
            f"{training_data or data} lacks trials that the twin was trained on, which the baselines need too; "
            "name their folder with --training-data"
        )
    _check_long_enough(test)
    return train, validation, test


def _check_long_enough(trials: Sequence[TrialIndex]) -> None:
    for trial in trials:
        if trial.steps <= SETTLE_MS:
            raise InputError(
                f"{trial.path} lasts {trial.steps} ms; the first {SETTLE_MS} ms of a trial do not count: simulate "
                "longer ones"
            )


def _trials_of_data(
    trials: list[TrialIndex], data: Path, training_data: Path | None
) -> tuple[list[TrialIndex], list[TrialIndex], list[TrialIndex]]:
    """The split of a data set for a twin that was read; all trials are for the test where the data set is too small."""
    try:
        _, split = split_trials(training_data or data)
    except InputError:
        return [], [], trials
    return split.train, split.validation, trials if training_data else split.test


def evaluate(
    name: str,
    predictor: Predictor,
    tree: Tree,
    test: Sequence[TrialIndex],
    validation: Sequence[TrialIndex] = (),
    *,
    threshold: float | None = None,
    one_step_ahead: bool = False,
) -> Evaluation:
    """Measure a predictor on the test trials, one trial in memory at a time.

    Args:
        name: of the row.
        predictor: see `Predictor`.
        tree: the cell.
        test: trials that the predictor never saw.
        validation: trials on which the threshold of the score is chosen, where it is not given.
        threshold: the predictor's own threshold.
        one_step_ahead: whether it sees the true potential up to 1 ms before.
    """
    if threshold is None:
        truth, scores = [], []
        for trial in validation:
            recording = read_trial(trial, tree)
            truth.append(recording.spikes_ms)
            scores.append(predictor(recording)[1])
        threshold = best_threshold(truth, scores)
    errors = VoltageErrors(tree.n)
    electrodes = Electrodes(tree) if can_see() else None
    truth, scores = [], []
    for trial in test:
        recording = read_trial(trial, tree)
        v, score = predictor(recording)
        errors.add(recording.v_mV, v)
        if electrodes is not None:
            electrodes.add(recording, v)
        truth.append(recording.spikes_ms)
        scores.append(score)
    return Evaluation(
        name,
        one_step_ahead,
        errors.explained_variance(),
        errors.explained_variance(clipped=True),
        errors.rmse_mV(),
        errors.wasserstein_mV(),
        spike_errors(truth, scores, threshold),
        threshold,
        None if electrodes is None else electrodes.errors(),
    )


def mean_predictor(mean_mV: NDArray[np.floating]) -> Predictor:
    """Baseline: the mean potential of each compartment over the training trials, whatever happens."""

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = np.broadcast_to(mean_mV.astype(np.float32), recording.v_mV.shape)
        return v, v[:, recording.tree.soma]

    return predictor


def persistence_predictor() -> Predictor:
    """Baseline of one step ahead: V(t) = V(t - 1), from the true potential."""

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        start = np.full((1, recording.tree.n), recording.tree.v_init_mV, dtype=np.float32)
        v = np.concatenate([start, recording.v_mV[:-1]])
        return v, v[:, recording.tree.soma]

    return predictor


def cable_predictor() -> Predictor:
    """Baseline: the coarse cable, which learns nothing (see `solve.coarse_cable`)."""

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = coarse_cable(recording.tree, [recording.events], recording.steps, [recording.injection])[0]
        return v, v[:, recording.tree.soma]

    return predictor


def linear_predictor(tree: Tree, train: Sequence[TrialIndex], validation: Sequence[TrialIndex]) -> Predictor:
    """Baseline: a ridge regression of all potentials on the exactly filtered synaptic conductances.

    Its one penalty, relative to the mean square of the conductances, is the best of a few on the validation trials.
    """

    def filtered(recording: Recording) -> Floats:
        chunks = [chunk[:, :, 0] for chunk in synaptic_conductances(tree, [recording.events], recording.steps)]
        return np.concatenate(chunks) / TYPICAL_US

    size = len(components(tree)[0])

    def products(trials: Sequence[TrialIndex]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """X'X, X'V and the sum of V^2: all that the weights and their error need, however many trials there are."""
        gram, cross, squares = np.zeros((size + 1, size + 1)), np.zeros((size + 1, tree.n)), 0.0
        for trial in trials:
            recording = read_trial(trial, tree)
            x = np.column_stack([filtered(recording), np.ones(recording.steps, np.float32)])[SETTLE_MS:]
            v = (
                recording.v_mV[SETTLE_MS:] - TYPICAL_MV
            )  # single precision of a trial's sums is enough, and twice as fast
            gram, cross, squares = gram + x.T @ x, cross + x.T @ v, squares + float((v.astype(np.float64) ** 2).sum())
        return gram, cross, squares

    gram, cross, _ = products(train)
    check_gram, check_cross, check_squares = products(validation)
    scale = np.trace(gram[:size, :size]) / size or 1.0  # silent inputs
    best, best_error = cross, np.inf
    for penalty in PENALTIES:
        ridge = np.append(np.full(size, penalty * scale), 0.0)  # the constant is not penalised
        weights = cho_solve(cho_factor(gram + np.diag(ridge)), cross)
        error = float((weights * (check_gram @ weights - 2.0 * check_cross)).sum()) + check_squares
        if error < best_error:
            best, best_error = weights, error

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = (filtered(recording) @ best[:size] + best[size] + TYPICAL_MV).astype(np.float32)
        return v, v[:, tree.soma]

    return predictor


def evaluate_twin(
    name: str, twin: Twin, test: Sequence[TrialIndex], fed_back_trials: int = FED_BACK_TRIALS
) -> list[Evaluation]:
    """Measure a twin with its own threshold.

    Args:
        name: of the row.
        twin: the twin.
        test: trials that it never saw.
        fed_back_trials: run a twin that sees past potentials freely on the first so many trials only.

    Returns:
        The row of a free-running twin. Of a twin that sees past potentials two: one step ahead from the true ones, and
        free-running on its own predictions, held within `twin.POSSIBLE_MV`, named with FED_BACK and how many trials.
    """
    if not twin.one_step_ahead:
        return [evaluate(name, twin_predictor(twin), twin.tree, test, threshold=twin.threshold)]
    ahead, closed_loop = twin_predictor(twin), twin_predictor(twin, feed_back=True)
    few = test[:fed_back_trials]
    return [
        evaluate(name, ahead, twin.tree, test, threshold=twin.threshold, one_step_ahead=True),
        evaluate(f"{name}{FED_BACK} ({len(few)} trials)", closed_loop, twin.tree, few, threshold=twin.threshold),
    ]


def baselines(
    tree: Tree,
    train: Sequence[TrialIndex],
    validation: Sequence[TrialIndex],
    test: Sequence[TrialIndex],
    names: Sequence[str] = BASELINES,
) -> Iterable[Evaluation]:
    """The rows that stand beside every predictor: mean, linear, coarse cable, and persistence (one step ahead).

    Their scores are potentials of the soma. Without validation trials the simulator's own threshold of an output spike
    is theirs.
    """
    threshold = None if validation else SPIKE_MV
    predictors: dict[str, Callable[[], Predictor]] = {
        "mean": lambda: mean_predictor(measure_scaling(list(train)).mean_mV.numpy()),
        "linear": lambda: linear_predictor(tree, train, validation),
        "coarse cable": cable_predictor,
        "persistence": persistence_predictor,
    }
    for name in names:
        if name in LEARNED and not train:
            continue
        yield evaluate(
            name, predictors[name](), tree, test, validation, threshold=threshold, one_step_ahead=name == "persistence"
        )
