"""Errors of predictors on test trials: twins, and baselines that learn little or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import REGIONS, SPIKE_MV, Tree
from dendrotwin.evaluation.lfp_metrics import LFPComparison, LFPErrors, has_lfpykit
from dendrotwin.evaluation.metrics import SpikeErrors, VoltageErrors, best_threshold, spike_errors
from dendrotwin.models.baselines import (
    Predictor,
    cable_predictor,
    linear_predictor,
    mean_predictor,
    persistence_predictor,
)
from dendrotwin.models.scaling import measure_scaling
from dendrotwin.recording import Recording
from dendrotwin.recording.trials import TrialIndex, read_trial
from dendrotwin.twin import Twin

Floats = NDArray[np.float32]
CLOSED_LOOP = ", closed loop"  # in the name of a row
CLOSED_LOOP_TRIALS = 3  # a closed loop goes millisecond by millisecond, which is slow
BASELINES = ("mean", "linear", "coarse cable", "persistence")
FITTED = ("mean", "linear")  # those that need training trials


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
        lfp: errors of LFP and dipole; None where LFPykit is not installed.
    """

    name: str
    one_step_ahead: bool
    ev: NDArray[np.float64]
    ev_clipped: NDArray[np.float64]
    rmse_mV: NDArray[np.float64]
    wasserstein_mV: NDArray[np.float64]
    spikes: SpikeErrors
    threshold: float
    lfp: LFPErrors | None = None

    def metadata(self) -> dict[str, str | bool | float | None]:
        """Name, mode and threshold, as JSON holds them: no threshold where it is infinite."""
        threshold = self.threshold if np.isfinite(self.threshold) else None
        return {"name": self.name, "one_step_ahead": self.one_step_ahead, "threshold": threshold}

    def summary(self, tree: Tree) -> dict[str, float | None]:
        """The row of a table.

        Args:
            tree: the cell.

        Returns:
            Every number by its name, None where it is not finite: soma, dendrites (median, 5th percentile, worst),
            regions, output spikes, LFP and dipole.
        """
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
        if self.lfp is not None:
            row |= self.lfp.summary()
        return {name: None if not np.isfinite(value) else float(value) for name, value in row.items()}


def _nan(statistic: Callable[[Any], Any], values: NDArray[np.float64]) -> float:
    """The statistic, or NaN where no value is finite."""
    return float(statistic(values)) if np.isfinite(values).any() else float("nan")


def evaluate_predictor(
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

    Returns:
        Its errors.

    Raises:
        InputError: a predicted potential is not finite.
    """
    if threshold is None:
        truth, scores = [], []
        for trial in validation:
            recording = read_trial(trial, tree)
            truth.append(recording.spikes_ms)
            scores.append(predictor(recording)[1])
        threshold = best_threshold(truth, scores)
    errors = VoltageErrors(tree.n)
    lfp = LFPComparison(tree) if has_lfpykit() else None
    truth, scores = [], []
    for trial in test:
        recording = read_trial(trial, tree)
        v, score = predictor(recording)
        errors.add(recording.v_mV, v)
        if lfp is not None:
            lfp.add(recording, v)
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
        None if lfp is None else lfp.errors(),
    )


def twin_predictor(twin: Twin, feed_back: bool = False) -> Predictor:
    """A twin as a predictor.

    Args:
        twin: the twin; of the recordings, a free-running one sees the input only.
        feed_back: let a twin that predicts one step ahead see its own predictions in place of the true potential.

    Returns:
        From a recording to potentials and the probability of an output spike.
    """

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        predicted = twin.predict(recording, feed_back=feed_back)
        assert predicted.spike_probability is not None
        return predicted.v_mV, predicted.spike_probability

    return predictor


def evaluate_twin(
    name: str, twin: Twin, test: Sequence[TrialIndex], closed_loop_trials: int = CLOSED_LOOP_TRIALS
) -> list[Evaluation]:
    """Measure a twin with its own threshold.

    Args:
        name: of the row.
        twin: the twin.
        test: trials that it never saw.
        closed_loop_trials: run a twin that sees past potentials in closed loop on the first so many trials only.

    Returns:
        The row of a free-running twin. Of a twin that sees past potentials two: one step ahead from the true ones, and
        in closed loop on its own predictions, named with CLOSED_LOOP and how many trials.
    """
    if not twin.one_step_ahead:
        return [evaluate_predictor(name, twin_predictor(twin), twin.tree, test, threshold=twin.threshold)]
    ahead, closed_loop = twin_predictor(twin), twin_predictor(twin, feed_back=True)
    few = test[:closed_loop_trials]
    closed_loop_name = f"{name}{CLOSED_LOOP} ({len(few)} trials)"
    return [
        evaluate_predictor(name, ahead, twin.tree, test, threshold=twin.threshold, one_step_ahead=True),
        evaluate_predictor(closed_loop_name, closed_loop, twin.tree, few, threshold=twin.threshold),
    ]


def baseline_rows(
    tree: Tree,
    train: Sequence[TrialIndex],
    validation: Sequence[TrialIndex],
    test: Sequence[TrialIndex],
    names: Sequence[str] = BASELINES,
) -> Iterable[Evaluation]:
    """Measure the baselines: mean, linear, coarse cable, and persistence (one step ahead).

    Their scores are potentials of the soma. Without validation trials the simulator's own threshold of an output spike
    is theirs.

    Args:
        tree: the cell.
        train: trials that mean and linear are fitted to; without them these are left out.
        validation: trials that thresholds, and the penalty of linear, are chosen on.
        test: trials that are measured on.
        names: which of BASELINES.

    Yields:
        Their rows.
    """
    threshold = None if validation else SPIKE_MV
    predictors: dict[str, Callable[[], Predictor]] = {
        "mean": lambda: mean_predictor(measure_scaling(list(train)).mean_mV.numpy()),
        "linear": lambda: linear_predictor(tree, train, validation),
        "coarse cable": cable_predictor,
        "persistence": persistence_predictor,
    }
    for name in names:
        if name in FITTED and not train:
            continue
        yield evaluate_predictor(
            name, predictors[name](), tree, test, validation, threshold=threshold, one_step_ahead=name == "persistence"
        )
