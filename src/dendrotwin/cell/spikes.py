"""Output spikes: out of the soma's potential, and out of a score for each millisecond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from dendrotwin.cell.tree import SPIKE_MV

REFRACTORY_MS = 3  # two predicted spikes are at least this far apart
SPREAD_MV = 5.0  # a peak of the soma's potential at SPIKE_MV is a spike with a probability of 1/2
NO_PEAK = -20.0  # logit of a millisecond without a peak, where the potential is at SPIKE_MV


def spike_logits(v_soma_mV: NDArray[np.floating], peak_mV: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logit of an output spike in each millisecond: of the highest peak that the soma's potential passed in it.

    logit = max((peak - S) / d, (V - S) / d - 20), with S the threshold SPIKE_MV and d SPREAD_MV.

    Args:
        v_soma_mV: (..., steps) potential at the end of each 1 ms step [mV].
        peak_mV: (..., steps) highest local maximum in each step [mV], or far below where there is none.

    Returns:
        (..., steps) logits.
    """
    peak = (peak_mV - SPIKE_MV) / SPREAD_MV
    without = (v_soma_mV - SPIKE_MV) / SPREAD_MV + NO_PEAK
    return np.asarray(np.maximum(peak, without), np.float32)


def spike_probability(logit: NDArray[np.floating]) -> NDArray[np.float32]:
    """1 / (1 + exp(-logit)), the probability of an output spike.

    Args:
        logit: (...,) of a spike in each step.

    Returns:
        (...,) probabilities.
    """
    with np.errstate(over="ignore"):  # of a logit far below zero: the probability is 0
        return np.asarray(1.0 / (1.0 + np.exp(-logit)), np.float32)


def predicted_spikes(score: NDArray[np.floating], threshold: float) -> NDArray[np.float64]:
    """Output spikes from a score for each 1 ms step: its peaks at or above the threshold, in mid-step.

    Args:
        score: (steps,) such as a probability.
        threshold: of the score.

    Returns:
        (s,) times [ms].
    """
    padded = np.concatenate([[-np.inf], np.asarray(score, dtype=np.float64), [-np.inf]])
    peaks, _ = find_peaks(padded, height=threshold, distance=REFRACTORY_MS)
    return np.asarray(peaks, dtype=np.float64) - 1.0 + 0.5
