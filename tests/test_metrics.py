"""Measures against their definitions, and on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

from dendrotwin.cell.spikes import predicted_spikes
from dendrotwin.evaluation.metrics import (
    VoltageErrors,
    best_threshold,
    count_matches,
    roc_auc,
    spike_errors,
)
from dendrotwin.recording import SETTLE_MS


def _pair(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    true = [rng.normal(-65, 8, (SETTLE_MS + length, 3)) for length in (400, 700)]
    return true, [v + rng.normal(0, 3, v.shape) for v in true]


def test_explained_variance_is_the_definition_over_all_trials(rng: np.random.Generator) -> None:
    true, predicted = _pair(rng)
    errors = VoltageErrors(3)
    for t, p in zip(true, predicted, strict=True):
        errors.add(t, p)
    t, p = (np.concatenate([v[SETTLE_MS:] for v in parts]) for parts in (true, predicted))
    assert errors.explained_variance() == pytest.approx(1 - ((t - p) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0))
    assert errors.rmse_mV() == pytest.approx(np.sqrt(((t - p) ** 2).mean(0)))
    assert errors.wasserstein_mV() == pytest.approx(
        [wasserstein_distance(t[:, i], p[:, i]) for i in range(3)], abs=0.05
    )
    t, p = np.minimum(t, -55), np.minimum(p, -55)
    clipped = 1 - ((t - p) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)
    assert errors.explained_variance(clipped=True) == pytest.approx(clipped)


def test_perfect_constant_and_settling(rng: np.random.Generator) -> None:
    true, _ = _pair(rng)
    true[0][:, 1] = true[1][:, 1] = -70.0
    wrong_at_first = [v.copy() for v in true]
    for v in wrong_at_first:
        v[:SETTLE_MS] = 0.0
    errors = VoltageErrors(3)
    for t, p in zip(true, wrong_at_first, strict=True):
        errors.add(t, p)
    ev = errors.explained_variance()
    assert ev[[0, 2]] == pytest.approx(1.0)
    assert np.isnan(ev[1])  # a potential that never changes has no variance to explain
    assert errors.wasserstein_mV() == pytest.approx(0.0)


def test_auc_is_the_probability_of_the_right_order(rng: np.random.Generator) -> None:
    label, score = rng.random(300) < 0.1, rng.integers(0, 20, 300).astype(float)
    pairs = [(p > n) + 0.5 * (p == n) for p in score[label] for n in score[~label]]
    assert roc_auc(label, score) == pytest.approx(np.mean(pairs))
    assert np.isnan(roc_auc(np.zeros(5, bool), np.arange(5.0)))


def test_matching_is_one_to_one() -> None:
    assert count_matches(np.array([10.9, 20.0]), np.array([12.0, 12.9])) == 1
    assert count_matches(np.array([10.0, 11.0]), np.array([10.5])) == 1
    assert count_matches(np.array([10.0, 13.0]), np.array([12.0, 15.0])) == 2
    assert count_matches(np.array([10.0]), np.array([12.01])) == 0
    assert count_matches(np.array([]), np.array([1.0])) == 0


def test_as_many_spikes_are_matched_as_can_be(rng: np.random.Generator) -> None:
    """Against the best of all assignments; many are exactly 2 ms apart, which counts."""
    for _ in range(50):
        true, predicted = (
            np.sort(rng.choice(np.arange(0.0, 40.0, 0.5), rng.integers(1, 12), replace=False)) for _ in "ab"
        )
        near = np.abs(true[:, None] - predicted) <= 2.0
        rows, columns = linear_sum_assignment(near, maximize=True)
        assert count_matches(true, predicted) == near[rows, columns].sum()


def test_predicted_spikes_are_peaks() -> None:
    score = np.zeros(40)
    score[[0, 10, 11, 20, 22, 39]] = [0.9, 0.6, 0.8, 0.9, 0.7, 0.8]
    assert predicted_spikes(score, 0.5).tolist() == [0.5, 11.5, 20.5, 39.5]
    assert predicted_spikes(score, 0.95).tolist() == []
    score[10:13] = 1.0  # saturated: one spike, in the middle
    assert 11.5 in predicted_spikes(score, 0.5)


def test_spike_errors_and_threshold(rng: np.random.Generator) -> None:
    steps = SETTLE_MS + 2000
    true = [np.array([SETTLE_MS + 100.3, SETTLE_MS + 900.0]), np.array([100.0, SETTLE_MS + 1500.2])]
    scores = [rng.uniform(0, 0.3, steps) for _ in true]
    for times, score in zip(true, scores, strict=True):
        score[times.astype(int)] = 0.8
    threshold = best_threshold(true, scores)
    assert threshold == pytest.approx(0.8)  # from 0.3 on all are as good; the strictest
    found = spike_errors(true, scores, threshold)
    assert (found.f1, found.precision, found.recall, found.auc) == (1.0, 1.0, 1.0, 1.0)
    assert (found.true_spikes, found.predicted_spikes, found.rate_error_hz) == (3, 3, 0.0)
    scores[1][SETTLE_MS + 1700] = 0.9  # a spike too many, and one 3 ms late
    scores[0][SETTLE_MS + 900], scores[0][SETTLE_MS + 903] = 0.0, 0.8
    found = spike_errors(true, scores, threshold)
    assert found.precision == pytest.approx(2 / 4)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 * 2 / 7)
    assert found.rate_error_hz == pytest.approx((0 + 0.5) / 2)
    scores[0][SETTLE_MS + 903] = 0.0  # one too few in one trial, one too many in the other
    assert spike_errors(true, scores, threshold).rate_error_hz == pytest.approx(0.5)


def test_no_threshold_is_better_and_none_as_good_is_stricter(rng: np.random.Generator) -> None:
    """Than the chosen one, among all scores of spikes; what comes while the cell settles does not matter."""
    for _ in range(5):
        true = [np.sort(rng.choice(np.arange(10, SETTLE_MS + 400, 4), 40, replace=False)) + 0.5 for _ in range(2)]
        scores = [rng.random(SETTLE_MS + 400) ** 4 for _ in true]
        for times, score in zip(true, scores, strict=True):
            score[times.astype(int)] += rng.choice([0.0, 1.0], len(times), p=[0.3, 0.7])
            score[: SETTLE_MS - 5] = 3.0 * rng.random(SETTLE_MS - 5)
        chosen = best_threshold(true, scores)
        f1 = spike_errors(true, scores, chosen).f1
        for other in np.concatenate([np.linspace(0.01, 2.0, 60), chosen + np.array([0.005, 0.05])]):
            against = spike_errors(true, scores, other).f1
            assert against < f1 + 0.03  # candidates are a few
            assert against < f1 or other <= chosen + 0.02


def test_without_spikes_nothing_is_called_one(rng: np.random.Generator) -> None:
    scores = [rng.random(SETTLE_MS + 300)]
    threshold = best_threshold([np.array([])], scores)
    found = spike_errors([np.array([])], scores, threshold)
    assert found.predicted_spikes == 0
    assert np.isnan(found.f1)
    assert np.isnan(found.auc)


def test_a_score_that_never_changes_calls_nothing_a_spike() -> None:
    true, scores = [np.array([SETTLE_MS + 100.0])], [np.full(SETTLE_MS + 200, 0.3)]
    assert spike_errors(true, scores, best_threshold(true, scores)).predicted_spikes == 0
