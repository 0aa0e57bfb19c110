"""Measures of spikes equal slow, obvious versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import welch

from dendrotwin.circuit import cv_isi, mean_rates, population_rate, rate_spectrum, summary, synchrony
from dendrotwin.errors import InputError

COUNT, DURATION_MS = 12, 4003.0


@pytest.fixture
def spikes(rng: np.random.Generator) -> Any:
    """Poisson trains, but for a silent cell, one with one spike, and one with two."""
    node = np.concatenate([rng.integers(0, 9, 600), [10], [11, 11]])
    time_ms = rng.random(len(node)) * DURATION_MS
    return node, time_ms


def test_rates(spikes: Any) -> None:
    node, time_ms = spikes
    expected = [1000.0 * (node == cell).sum() / DURATION_MS for cell in range(COUNT)]
    np.testing.assert_allclose(mean_rates(node, COUNT, DURATION_MS), expected)
    rate = population_rate(time_ms, COUNT, DURATION_MS, 5.0)
    expected = [1000.0 * ((time_ms >= 5 * k) & (time_ms < 5 * k + 5)).sum() / 5.0 / COUNT for k in range(800)]
    np.testing.assert_allclose(rate.values[:, 0], expected)
    assert rate.time_ms[0] == 5.0
    # A spike at the end of a bin of a width that has no exact number is of the next one.
    assert population_rate(np.array([0.3, 0.6]), 1, 1.0, 0.1).values[:, 0].nonzero()[0].tolist() == [3, 6]


def test_spectrum(spikes: Any) -> None:
    _, time_ms = spikes
    hz, power = rate_spectrum(time_ms, COUNT, DURATION_MS, 2.0, 400)
    counts = np.histogram(time_ms, np.arange(0.0, 4003.0, 2.0))[0] / 0.002 / COUNT
    expected_hz, expected = welch(counts, fs=500.0, nperseg=200)
    np.testing.assert_allclose(hz, expected_hz[1:])
    np.testing.assert_allclose(power, expected[1:])


def test_intervals(spikes: Any) -> None:
    node, time_ms = spikes
    found = cv_isi(node, time_ms, COUNT)
    for cell in range(9):
        interval = np.diff(np.sort(time_ms[node == cell]))
        assert found[cell] == pytest.approx(interval.std() / interval.mean())
    assert np.isnan(found[9:]).all()
    assert cv_isi(np.zeros(50, int), np.arange(50.0), 1) == pytest.approx(0.0, abs=1e-9)


def test_synchrony(spikes: Any, rng: np.random.Generator) -> None:
    node, time_ms = spikes
    inside = time_ms < 4000.0
    each = np.histogram2d(node[inside], time_ms[inside], [np.arange(COUNT + 1), np.arange(0.0, 4001.0, 8.0)])[0]
    expected = np.sqrt(each.mean(axis=0).var() / each.var(axis=1).mean())
    assert synchrony(node, time_ms, COUNT, DURATION_MS, 8.0) == pytest.approx(expected)
    together = np.sort(rng.random(40) * 1000.0)
    assert synchrony(np.repeat(np.arange(5), 40), np.tile(together, 5), 5, 1000.0) == pytest.approx(1.0)
    alone = synchrony(rng.integers(0, 100, 20000), rng.random(20000) * 1e5, 100, 1e5)
    assert alone == pytest.approx(0.1, rel=0.2)
    assert np.isnan(synchrony(np.zeros(0, int), np.zeros(0), 5, 1000.0))


def test_summary(spikes: Any) -> None:
    node, time_ms = spikes
    found = summary(node, time_ms, COUNT, DURATION_MS)
    assert found.rate_hz == pytest.approx(1000.0 * len(node) / DURATION_MS / COUNT)
    assert found.silent == pytest.approx(1 / COUNT)
    assert found.cv_isi == pytest.approx(cv_isi(node, time_ms, COUNT)[:9].mean())
    silent = summary(np.zeros(0, int), np.zeros(0), 3, 2.0)
    assert silent.rate_hz == 0.0
    assert silent.silent == 1.0
    assert np.isnan(silent.cv_isi)


@pytest.mark.parametrize("act", [
    lambda: mean_rates(np.array([3]), 3, 10.0), lambda: cv_isi(np.array([-1]), np.array([1.0]), 3),
    lambda: synchrony(np.array([3]), np.array([1.0]), 3, 10.0),
])  # fmt: skip
def test_other_nodes_are_refused(act: Any) -> None:
    with pytest.raises(InputError, match=r"a spike is of node .* of 3 cells; correct the number of cells"):
        act()


@pytest.mark.parametrize("bin_ms", [0.0, -1.0, 11.0, np.nan])
def test_bins_that_cannot_be_are_refused(bin_ms: float) -> None:
    with pytest.raises(InputError, match="a bin must be above 0 and within the run"):
        population_rate(np.array([1.0]), 1, 10.0, bin_ms)
