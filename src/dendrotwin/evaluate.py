"""How good a predictor is on test trials, beside baselines that learn little or nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from dendrotwin.files import whole_file
from dendrotwin.measures import SETTLE_MS, SpikeErrors, VoltageErrors, best_threshold, spike_errors
from dendrotwin.recording import Recording, TrialIndex, read_trial
from dendrotwin.solve import coarse_cable, components, synaptic_conductances
from dendrotwin.tree import REGIONS, Tree

Floats = NDArray[np.float32]
# A trial to its potentials (steps, n) [mV] and a score for each step (steps,), the higher the likelier a spike.
# Predictors get the whole recording; all but persistence look at its input only.
Predictor = Callable[[Recording], tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of one predictor on the test trials.

    Attributes:
        name: of the predictor.
        one_step_ahead: whether it sees the true potential up to 1 ms before.
        ev, ev_clipped: (n,) explained variance of each compartment, raw and clipped at -55 mV.
        rmse_mV, wasserstein_mV: (n,) [mV].
        spikes: errors of the output spikes.
        threshold: of the score, chosen on validation trials.
    """

    name: str
    one_step_ahead: bool
    ev: NDArray[np.float64]
    ev_clipped: NDArray[np.float64]
    rmse_mV: NDArray[np.float64]
    wasserstein_mV: NDArray[np.float64]
    spikes: SpikeErrors
    threshold: float

    def summary(self, tree: Tree) -> dict[str, float | None]:
        """The row of a table: soma, dendrites (median, 5th percentile, worst), regions, spikes."""
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
        return {name: None if not np.isfinite(value) else float(value) for name, value in row.items()}


def _nan(statistic: Callable[[Any], Any], values: NDArray[np.float64]) -> float:
    """The statistic, or NaN where no value is finite."""
    return float(statistic(values)) if np.isfinite(values).any() else float("nan")


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
    truth, scores = [], []
    for trial in test:
        recording = read_trial(trial, tree)
        v, score = predictor(recording)
        errors.add(recording.v_mV, v)
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
    )


def mean_predictor(mean_mV: NDArray[np.floating]) -> Predictor:
    """Baseline: the mean potential of each compartment over the training trials, whatever happens."""

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = np.broadcast_to(mean_mV.astype(np.float32), recording.v_mV.shape)
        return v, np.zeros(recording.steps, dtype=np.float32)

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

    def filtered(recording: Recording) -> NDArray[np.float64]:
        chunks = [chunk[:, :, 0] for chunk in synaptic_conductances(tree, [recording.events], recording.steps)]
        return np.concatenate(chunks).astype(np.float64)

    size = len(components(tree)[0])
    gram, cross = np.zeros((size + 1, size + 1)), np.zeros((size + 1, tree.n))
    for trial in train:
        recording = read_trial(trial, tree)
        x = np.column_stack([filtered(recording), np.ones(recording.steps)])[SETTLE_MS:]
        gram += x.T @ x
        cross += x.T @ recording.v_mV[SETTLE_MS:]
    scale = np.trace(gram[:size, :size]) / size or 1.0  # silent inputs
    checks = []
    for trial in validation:
        recording = read_trial(trial, tree)
        checks.append((filtered(recording)[SETTLE_MS:], recording.v_mV[SETTLE_MS:]))
    best, best_error = cross, np.inf
    for penalty in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        ridge = np.append(np.full(size, penalty * scale), 0.0)  # the constant is not penalised
        weights = cho_solve(cho_factor(gram + np.diag(ridge)), cross)
        error = sum(float(((x @ weights[:size] + weights[size] - v) ** 2).sum()) for x, v in checks)
        if error < best_error:
            best, best_error = weights, error

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = (filtered(recording) @ best[:size] + best[size]).astype(np.float32)
        return v, v[:, tree.soma]

    return predictor


def baselines(
    tree: Tree,
    train: Sequence[TrialIndex],
    validation: Sequence[TrialIndex],
    test: Sequence[TrialIndex],
    mean_mV: NDArray[np.floating],
) -> Iterable[Evaluation]:
    """The rows that stand beside every predictor: mean, linear, coarse cable, and persistence (one step ahead)."""
    yield evaluate("mean", mean_predictor(mean_mV), tree, test, validation)
    yield evaluate("linear", linear_predictor(tree, train, validation), tree, test, validation)
    yield evaluate("coarse cable", cable_predictor(), tree, test, validation)
    yield evaluate("persistence", persistence_predictor(), tree, test, validation, one_step_ahead=True)


def write_report(out: Path, tree: Tree, evaluations: Sequence[Evaluation], context: dict[str, Any]) -> None:
    """Write `report.json` (a row for each predictor) and `compartments.csv` (a row for each compartment).

    Args:
        out: a folder that exists.
        tree: the cell.
        evaluations: the rows.
        context: what was measured: data, trials, twin, speed.
    """
    rows = [
        {"name": e.name, "one_step_ahead": e.one_step_ahead, "threshold": e.threshold, **e.summary(tree)}
        for e in evaluations
    ]
    with whole_file(out / "report.json") as temporary:
        temporary.write_text(json.dumps({**context, "rows": rows}, indent=2) + "\n")
    columns = ("ev", "ev_clipped", "rmse_mV", "wasserstein_mV")
    with whole_file(out / "compartments.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        header = [f"{column} {e.name}" for e in evaluations for column in columns]
        writer.writerow(["compartment", "name", "region", "distance_um", *header])
        for i, name in enumerate(tree.names):
            values = [f"{getattr(e, column)[i]:.6g}" for e in evaluations for column in columns]
            writer.writerow([i, name, REGIONS[tree.region[i]], f"{tree.distance_um[i]:.3f}", *values])
