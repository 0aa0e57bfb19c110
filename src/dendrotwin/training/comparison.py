"""What a training is worth: its validation loss beside those of predictors that learn little or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dendrotwin.models.baselines import linear_predictor, mean_predictor
from dendrotwin.recording import SETTLE_MS
from dendrotwin.recording.trials import count_output_spikes, read_trial
from dendrotwin.training.run import Run

LINEAR_TRIALS = 10  # training trials of the linear regression: a yardstick, which may not take longer than a round


def baseline_losses(run: Run) -> dict[str, float]:
    """Validation losses of the mean potentials, and of a linear regression on the synaptic conductances.

    Both with the training trials' mean rate of output spikes in each step, and weighted as the training's own loss.

    Args:
        run: the training.

    Returns:
        "mean" and "linear".
    """
    train, validation, tree = run.split.train, run.split.validation, run.tree
    predictors: dict[str, Callable[..., Any]] = {
        "mean": mean_predictor(run.scaling.mean_mV.cpu().numpy()),
        "linear": linear_predictor(tree, train[:LINEAR_TRIALS], validation),
    }
    sd_mV = run.scaling.sd_mV.cpu().numpy()
    squares, spikes, count = dict.fromkeys(predictors, 0.0), 0, 0
    for trial in validation:
        recording = read_trial(trial, tree)
        count += recording.duration_ms - SETTLE_MS
        spikes += int(recording.spike_train()[SETTLE_MS:].sum())
        for name, predictor in predictors.items():
            residual = (predictor(recording)[0][SETTLE_MS:] - recording.v_mV[SETTLE_MS:]) / sd_mV
            squares[name] += float(np.square(residual, dtype=np.float64).sum(axis=0).mean())
    with_spikes = run.training.spike_weight * _cross_entropy(_spike_rate(run), spikes / count)
    return {name: value / count + with_spikes for name, value in squares.items()}


def _spike_rate(run: Run) -> float:
    """Output spikes per ms of the training trials, never none."""
    trials = run.split.train
    duration_ms = sum(trial.duration_ms - SETTLE_MS for trial in trials)
    return (1.0 + sum(map(count_output_spikes, trials))) / (2.0 + duration_ms)


def _cross_entropy(predicted: float, true: float) -> float:
    """Of a constant probability, per step, where a share `true` of the steps has a spike."""
    return float(-true * np.log(predicted) - (1.0 - true) * np.log1p(-predicted))


def verdict(training: Mapping[str, Any]) -> str:
    """One sentence: the validation loss of a twin beside those of the baselines.

    Args:
        training: what the twin keeps of its training.
    """
    loss, baselines = best_loss(training), training["baselines"]
    mean, linear = baselines["mean"], baselines["linear"]
    beside = f"validation loss {loss:.4g}; of the mean {mean:.4g}, of a linear regression {linear:.4g}"
    if failed(training):
        return f"the training failed: predicting the mean is better ({beside}); use a lower learning rate or more data"
    if loss > linear:
        return f"a linear regression is better ({beside}); train longer, or on more data"
    return beside


def failed(training: Mapping[str, Any]) -> bool:
    """Whether predicting the mean is better than the twin.

    Args:
        training: what the twin keeps of its training.
    """
    return not best_loss(training) <= training["baselines"]["mean"]


def best_loss(training: Mapping[str, Any]) -> float:
    """The validation loss of the weights that were kept.

    Args:
        training: what the twin keeps of its training.
    """
    return float(min(point["validation"] for point in training["curve"]))
