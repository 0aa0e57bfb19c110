"""How far a prediction is from the truth: per compartment, for output spikes, for signals of electrodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch
from scipy.stats import rankdata

from dendrotwin.cell.spikes import predicted_spikes
from dendrotwin.errors import InputError
from dendrotwin.recording import SETTLE_MS

CLIP_MV = -55.0
MATCH_MS = 2.0
BIN_MV = 0.25
BINS_MV = np.arange(-250.0, 150.0 + BIN_MV, BIN_MV)
BEFORE_MS, AFTER_MS = 10.0, 150.0  # the cell is firing so long before and after each output spike, else silent
STRETCHES = ("all", "silent", "firing")
SAMPLING_HZ = 1000.0
SPECTRUM_MS = 1000  # a window of the spectrum: 1 Hz apart, so that delta has three frequencies
# The usual bands of the field, from the first frequency up to but without the second; their borders differ between
# laboratories. Above gamma it is everything that samples of 1 ms can hold.
BANDS_HZ = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 80.0),
    "high gamma": (80.0, 500.0),
}
NOTHING = 1e-12  # as a share of a signal's mean square, it is rounding

Floats = NDArray[np.float64]


class VoltageErrors:
    """Sums over trials from which the errors of all compartments follow; add trials one after the other."""

    def __init__(self, n: int) -> None:
        self.count = 0
        self._sums = {clipped: np.zeros((3, n)) for clipped in (False, True)}
        self._histograms = np.zeros((2, n, len(BINS_MV) - 1))

    def add(self, true_mV: NDArray[np.floating], predicted_mV: NDArray[np.floating]) -> None:
        """Add a trial, (steps, n) both; its first SETTLE_MS do not count."""
        true, predicted = (np.asarray(v[SETTLE_MS:], dtype=np.float64) for v in (true_mV, predicted_mV))
        if not np.isfinite(predicted).all():
            raise InputError("the predicted potential holds NaN or infinity: the predictor diverged; train it again")
        self.count += len(true)
        for clipped, sums in self._sums.items():
            t, p = (np.minimum(v, CLIP_MV) if clipped else v for v in (true, predicted))
            t, p = t - CLIP_MV, p - CLIP_MV  # sums of squares of small numbers lose fewer digits
            sums += np.stack([t.sum(0), (t**2).sum(0), ((t - p) ** 2).sum(0)])
        for histogram, v in zip(self._histograms, (true, predicted), strict=True):
            column = np.clip(((v - BINS_MV[0]) / BIN_MV).astype(np.int64), 0, histogram.shape[1] - 1)
            flat = column + np.arange(histogram.shape[0]) * histogram.shape[1]
            histogram += np.bincount(flat.ravel(), minlength=histogram.size).reshape(histogram.shape)

    def explained_variance(self, *, clipped: bool = False) -> Floats:
        """(n,) 1 - sum (V - V^)^2 / sum (V - mean V)^2, over all trials; NaN where V never changes.

        With `clipped`, both potentials are cut at CLIP_MV first: fidelity below threshold.
        """
        total, squares, errors = self._sums[clipped]
        variance = squares - total**2 / max(self.count, 1)
        varies = variance > 1e-9 * max(self.count, 1)
        return np.where(varies, 1.0 - errors / np.where(varies, variance, 1.0), np.nan)

    def rmse_mV(self) -> Floats:
        """(n,) root of the mean squared error [mV]."""
        return np.asarray(np.sqrt(self._sums[False][2] / self.count))

    def wasserstein_mV(self) -> Floats:
        """(n,) distance between the distributions of true and predicted V (W1, on bins of BIN_MV) [mV]."""
        cumulative = np.cumsum(self._histograms, axis=2) / self.count
        return np.asarray(np.abs(cumulative[0] - cumulative[1]).sum(axis=1) * BIN_MV)


def firing(spikes_ms: NDArray[np.floating], steps: int) -> NDArray[np.bool_]:
    """(steps,) whether a sample lies up to BEFORE_MS before or AFTER_MS after an output spike.

    Args:
        spikes_ms: true output spikes, sorted [ms]; those that are predicted do not matter.
        steps: samples, sample t at t + 1 ms.
    """
    time_ms = np.arange(1.0, steps + 1.0)
    over = np.searchsorted(spikes_ms, time_ms - AFTER_MS, side="left")
    begun = np.searchsorted(spikes_ms, time_ms + BEFORE_MS, side="right")
    return np.asarray(begun > over)


class SignalVariance:
    """Sums over trials from which the explained variance of signals follows, silent and firing stretches apart."""

    def __init__(self, channels: int) -> None:
        self._counts = dict.fromkeys(STRETCHES, 0)
        self._sums = {stretch: np.zeros((3, channels)) for stretch in STRETCHES}

    def add(self, true: NDArray[np.floating], predicted: NDArray[np.floating], spikes_ms: NDArray[np.floating]) -> None:
        """Add a trial, (steps, channels) both in any unit, with its true output spikes [ms].

        Its first SETTLE_MS do not count, but a spike in them makes what follows it a firing stretch.
        """
        fires = firing(spikes_ms, len(true))[SETTLE_MS:]
        t, p = (np.asarray(x[SETTLE_MS:], dtype=np.float64) for x in (true, predicted))
        for stretch, here in zip(STRETCHES, (np.ones_like(fires), ~fires, fires), strict=True):
            self._counts[stretch] += int(here.sum())
            self._sums[stretch] += np.stack([t[here].sum(0), (t[here] ** 2).sum(0), ((t - p)[here] ** 2).sum(0)])

    def explained_variance(self) -> dict[str, Floats]:
        """(channels,) for each stretch: VE = 1 - sum (x - x^)^2 / sum (x - mean x)^2, over all trials.

        The mean is that of the stretch. NaN where a signal never changes, or there is no such stretch.
        """
        found = {}
        for stretch, (total, squares, errors) in self._sums.items():
            variance = squares - total**2 / max(self._counts[stretch], 1)
            varies = variance > NOTHING * squares
            found[stretch] = np.where(varies, 1.0 - errors / np.where(varies, variance, 1.0), np.nan)
        return found


class BandPower:
    """Power of true and predicted signals in the bands of BANDS_HZ, summed over trials."""

    def __init__(self, channels: int) -> None:
        self._power = np.zeros((2, len(BANDS_HZ), channels))
        self._squares = np.zeros((2, 1, channels))  # the mean with them, of which rounding is a share

    def add(self, true: NDArray[np.floating], predicted: NDArray[np.floating]) -> None:
        """Add a trial, (steps, channels) both, without its first SETTLE_MS; one shorter than a window adds nothing.

        Periodograms of Hann windows of SPECTRUM_MS that overlap by half, each without its mean (Welch 1967,
        doi:10.1109/TAU.1967.1161901).
        """
        windows = (len(true) - SETTLE_MS) // (SPECTRUM_MS // 2) - 1
        if windows < 1:
            return
        for sums, squares, signal in zip(self._power, self._squares, (true, predicted), strict=True):
            x = np.asarray(signal[SETTLE_MS:], dtype=np.float64)
            hz, density = welch(x, fs=SAMPLING_HZ, nperseg=SPECTRUM_MS, axis=0)
            squares += windows * (x**2).mean(axis=0)
            for band, (low, high) in zip(sums, BANDS_HZ.values(), strict=True):
                band += windows * density[(hz >= low) & (hz < high)].sum(axis=0)

    def errors_dB(self) -> dict[str, Floats]:
        """(channels,) for each band: 10 log10(P^ / P) of the powers in it [dB], positive where too much is predicted.

        NaN where the true or the predicted signal has none.
        """
        true, predicted = self._power
        both = (self._power > NOTHING * self._squares).all(axis=0)
        ratio = np.where(both, predicted, 1.0) / np.where(both, true, 1.0)
        return dict(zip(BANDS_HZ, np.where(both, 10.0 * np.log10(ratio), np.nan), strict=True))


@dataclass(frozen=True)
class SpikeErrors:
    """How well output spikes are predicted.

    Attributes:
        auc: area under the ROC curve of the score over 1 ms bins; NaN without spikes.
        precision, recall, f1: with a match within MATCH_MS; NaN without spikes.
        rate_error_hz: mean over trials of the absolute difference of the firing rates [Hz].
        true_spikes, predicted_spikes: counts.
    """

    auc: float
    precision: float
    recall: float
    f1: float
    rate_error_hz: float
    true_spikes: int
    predicted_spikes: int


def matched(true_ms: Floats, predicted_ms: Floats, within_ms: float = MATCH_MS) -> int:
    """How many spikes can be paired one to one, within a distance; the times are sorted."""
    i = j = pairs = 0
    while i < len(true_ms) and j < len(predicted_ms):
        gap = predicted_ms[j] - true_ms[i]
        if abs(gap) <= within_ms:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif gap < 0:
            j += 1
        else:
            i += 1
    return pairs


def _settled(spikes_ms: Floats) -> Floats:
    return spikes_ms[spikes_ms >= SETTLE_MS]


def spike_errors(true_ms: Sequence[Floats], scores: Sequence[NDArray[np.floating]], threshold: float) -> SpikeErrors:
    """Compare a score for each 1 ms step with the true output spikes, over several trials.

    Args:
        true_ms: true output spikes of each trial [ms].
        scores: (steps,) of each trial; the higher, the likelier a spike.
        threshold: at which a score is a spike, chosen on other trials (see `best_threshold`).
    """
    settled = [np.asarray(score[SETTLE_MS:], dtype=np.float64) for score in scores]
    labels = []
    pairs = n_true = n_predicted = 0
    rate_errors = []
    for true, score in zip(true_ms, scores, strict=True):
        true, guess = _settled(true), _settled(predicted_spikes(score, threshold))
        label = np.zeros(len(score), dtype=bool)
        label[np.floor(true[true < len(score)]).astype(int)] = True
        labels.append(label[SETTLE_MS:])
        pairs += matched(true, guess)
        n_true, n_predicted = n_true + len(true), n_predicted + len(guess)
        rate_errors.append(1000.0 * abs(len(true) - len(guess)) / max(len(score) - SETTLE_MS, 1))
    spikes = n_true > 0
    return SpikeErrors(
        auc=roc_auc(np.concatenate(labels), np.concatenate(settled)),
        precision=pairs / n_predicted if n_predicted else (0.0 if spikes else np.nan),
        recall=pairs / n_true if spikes else np.nan,
        f1=2.0 * pairs / (n_true + n_predicted) if spikes else np.nan,
        rate_error_hz=float(np.mean(rate_errors)),
        true_spikes=n_true,
        predicted_spikes=n_predicted,
    )


def roc_auc(label: NDArray[np.bool_], score: Floats) -> float:
    """Probability that a bin with a spike scores higher than one without (ties count half)."""
    positive = int(label.sum())
    negative = len(label) - positive
    if positive == 0 or negative == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[label].sum() - positive * (positive + 1) / 2) / (positive * negative))


def best_threshold(true_ms: Sequence[Floats], scores: Sequence[NDArray[np.floating]]) -> float:
    """The threshold of the score with the highest F1 on these (validation) trials.

    Without true spikes after SETTLE_MS, and for a score that never changes, it is infinite: nothing is called a spike.
    """
    n_true = sum(len(_settled(true)) for true in true_ms)
    if n_true == 0:
        return float("inf")
    every = np.concatenate([np.asarray(score[SETTLE_MS:], dtype=np.float64) for score in scores])
    if every.min() == every.max():
        return float("inf")
    # Around the score that as many bins reach as there are spikes, from a tenth of the count to ten times it.
    share = np.geomspace(0.1, 10.0, 41) * n_true / len(every)
    candidates = np.unique(np.quantile(every, 1.0 - np.clip(share, 0.0, 1.0)))
    candidates = candidates[::-1]  # of equally good ones the strictest
    f1 = [spike_errors(true_ms, scores, float(candidate)).f1 for candidate in candidates]
    return float(candidates[int(np.argmax(f1))])
