"""Signals at a lower rate than their recording's, such as the 30 kHz and the 2.5 kHz of Neuropixels probes.

A filter of linear phase takes away what the lower rate cannot hold: firwin of scipy (Virtanen et al. 2020,
doi:10.1038/s41592-019-0686-2) with Kaiser's window, the pass band up to 0.8 of half the new rate, 80 dB less from half
the new rate on. It delays nothing. Beyond the ends of a recording the first and the last sample go on, and what is
constant stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from scipy.signal import firwin, kaiserord
from scipy.sparse import csr_array

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import InputError

PASS = 0.8  # of half the new rate: up to here less than 0.01 % is lost
STOP_DB = 80.0  # what is above half the new rate is weaker by this
MOST = 1000  # of the parts of the ratio of two rates, which the length of the filter grows with


def ratio_of_rates(recorded_hz: float, wanted_hz: float) -> Fraction:
    """New rate over the recording's.

    Args:
        recorded_hz: samples of the recording in a second [Hz].
        wanted_hz: those of the signals [Hz].

    Raises:
        InputError: the new rate is none, is above that of the recording, or its ratio has parts above 1000.
    """
    if not 0.0 < wanted_hz < np.inf:
        raise InputError(f"a rate of {wanted_hz:g} Hz; give a positive one, such as 2500")
    if wanted_hz > recorded_hz * (1.0 + 1e-9):
        raise InputError(
            f"{wanted_hz:g} Hz is more than the {recorded_hz:g} Hz of the recording, whose potentials "
            "lack what is above; simulate with a finer --record-dt, such as 0.05 or 0.025"
        )
    ratio = Fraction(wanted_hz / recorded_hz).limit_denominator(MOST)
    if ratio == 0 or abs(float(ratio) * recorded_hz / wanted_hz - 1.0) > 1e-9:
        raise InputError(
            f"{wanted_hz:g} Hz of {recorded_hz:g} Hz is no ratio of whole numbers up to {MOST}; choose a rate nearby"
        )
    return ratio


class Resampler:
    """One signal, chunk after chunk.

    New sample m (from 1) is at m / rate, as the samples of a recording are. With p and q the parts of the ratio of the
    rates, the filter is made for p times the recording's rate, and every q-th of its values is taken.

    Args:
        ratio: see `ratio_of_rates`.
    """

    def __init__(self, ratio: Fraction) -> None:
        self.p, self.q = ratio.numerator, ratio.denominator
        taps, beta = kaiserord(STOP_DB, (1.0 - PASS) / self.q)
        self.half = taps // 2
        self.filter: Floats = firwin(2 * self.half + 1, (1.0 + PASS) / 2.0 / self.q, window=("kaiser", beta))
        self.first, self.made = 0, 0  # number of the first sample that is kept, and of new samples made
        self.kept: Floats | None = None

    def push(self, values: Floats, last: bool = False) -> Floats:
        """New samples that follow from the samples so far.

        Args:
            values: (samples, channels) the next of them.
            last: whether they are the last ones.

        Returns:
            (new samples, channels), perhaps none.
        """
        self.kept = values if self.kept is None else np.concatenate([self.kept, values])
        there = self.first + len(self.kept)
        # In steps of 1/p, sample i (from 0) is at (i + 1) p, and new sample m at m q.
        stop = there * self.p // self.q if last else max((there * self.p - self.half) // self.q, self.made)
        at = np.arange(self.made + 1, stop + 1) * self.q
        made = self._weights(at, there) @ self.kept
        self.made = stop
        needed = max(((stop + 1) * self.q - self.half) // self.p - 1, 0)  # the first sample that the next one needs
        drop = min(max(needed - self.first, 0), len(self.kept) - 1)
        self.kept, self.first = self.kept[drop:].copy(), self.first + drop
        return np.asarray(made)

    def _weights(self, at: np.ndarray, there: int) -> csr_array:
        """(new samples, kept samples) of each new sample, which sum to 1."""
        reach = self.half // self.p + 1
        sample = at[:, None] // self.p - 1 + np.arange(-reach, reach + 1)
        step = at[:, None] - (sample + 1) * self.p
        weight = np.where(np.abs(step) <= self.half, self.filter[np.clip(step + self.half, 0, 2 * self.half)], 0.0)
        weight /= weight.sum(axis=1, keepdims=True)
        column = np.clip(sample, 0, there - 1) - self.first
        weight, column = weight.ravel(), column.ravel()
        row = np.repeat(np.arange(len(at)), sample.shape[1])
        used = weight != 0.0
        return csr_array((weight[used], (row[used], column[used])), shape=(len(at), there - self.first))


def resampled(chunks: Iterable[list[Floats]], ratio: Fraction) -> Iterator[list[Floats]]:
    """Several signals in chunks of time, at another rate.

    Args:
        chunks: (samples, channels) of each signal, chunk after chunk; see `stream`.
        ratio: see `ratio_of_rates`.

    Yields:
        The same at the new rate, in chunks of other lengths, perhaps of none.
    """
    if ratio == 1:
        yield from chunks
        return
    resamplers: list[Resampler] = []
    before: list[Floats] | None = None
    for chunk in chunks:
        if before is None:
            resamplers = [Resampler(ratio) for _ in chunk]
        else:
            yield [each.push(values) for each, values in zip(resamplers, before, strict=True)]
        before = chunk
    if before is not None:
        yield [each.push(values, last=True) for each, values in zip(resamplers, before, strict=True)]
