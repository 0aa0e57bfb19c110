"""Numbers that describe the spikes of a population: rates, their spectrum, irregularity, synchrony."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import InputError
from dendrotwin.signals.instruments import MS_PER_S, Signal
from dendrotwin.signals.spectrum import power_spectrum

SYNCHRONY_MS = 5.0  # bins of `synchrony`, our choice: about the time constant of a membrane that is bombarded
FEWEST_INTERVALS = 2  # of which a variance says anything
Whole = NDArray[np.integer]


class Summary(NamedTuple):
    """Numbers of a population.

    Attributes:
        rate_hz: mean over cells [1/s = Hz].
        silent: share of the cells that never fire.
        cv_isi: mean over cells of the coefficient of variation of their intervals; NaN where there are too few.
        synchrony: see there.
    """

    rate_hz: float
    silent: float
    cv_isi: float
    synchrony: float

    def __str__(self) -> str:
        return (
            f"{self.rate_hz:.2f} spikes/s, {100.0 * self.silent:.0f} % silent, CV of intervals {self.cv_isi:.2f}, "
            f"synchrony {self.synchrony:.2f}"
        )


def mean_rates(node: Whole, count: int, duration_ms: float) -> Floats:
    """Mean rate of each cell.

    Args:
        node: (s,) which cell fired.
        count: of the cells.
        duration_ms: of the run [ms].

    Returns:
        (count,) [1/s].

    Raises:
        InputError: a node is not one of the cells, or the duration is none.
    """
    _check(node, count)
    if not duration_ms > 0.0:
        raise InputError(f"a run of {duration_ms:g} ms has no rates; give its duration")
    return np.asarray(np.bincount(node, minlength=count) * (MS_PER_S / duration_ms), np.float64)


def population_rate(time_ms: Floats, count: int, duration_ms: float, bin_ms: float = 1.0) -> Signal:
    """Rate of a population in bins of time, per cell.

    Args:
        time_ms: (s,) spikes of all cells [ms].
        count: of the cells.
        duration_ms: of the run; a last bin that is not whole is left away [ms].
        bin_ms: width of a bin [ms].

    Returns:
        Signal (bins, 1) [1/s]; each value is that of the bin that ends at its time.

    Raises:
        InputError: there is not one whole bin.
    """
    bins = int(duration_ms / bin_ms + 1e-9) if bin_ms > 0.0 else 0
    if bins < 1:
        raise InputError(f"bins of {bin_ms:g} ms in {duration_ms:g} ms; a bin must be above 0 and within the run")
    spikes = np.bincount(_bins(time_ms, bin_ms, bins), minlength=bins + 1)[:bins]
    rate = spikes[:, None] * (MS_PER_S / bin_ms / count)
    return Signal("rate", "1/s", rate, {"population": np.array([0])}, MS_PER_S / bin_ms)


def rate_spectrum(
    time_ms: Floats, count: int, duration_ms: float, bin_ms: float = 1.0, window_ms: int = 500
) -> tuple[Floats, Floats]:
    """Power spectral density of the rate of a population; see `signals.power_spectrum`.

    Args:
        time_ms, count, duration_ms, bin_ms: see `population_rate`; (s,) spikes [ms].
        window_ms: length of a window of Welch's method [ms].

    Returns:
        Frequencies (frequencies,) [Hz] and power (frequencies,) [(1/s)^2/Hz].

    Raises:
        InputError: see `population_rate`.
    """
    hz, power = power_spectrum(population_rate(time_ms, count, duration_ms, bin_ms), window_ms)
    return hz, power[:, 0]


def cv_isi(node: Whole, time_ms: Floats, count: int) -> Floats:
    """Coefficient of variation of the intervals between the spikes of each cell: 0 of a clock, 1 of a Poisson train.

    Args:
        node, time_ms: (s,) which cell fired, and when [ms], in any order.
        count: of the cells.

    Returns:
        (count,) standard deviation over mean; NaN of cells with fewer than two intervals.

    Raises:
        InputError: a node is not one of the cells.
    """
    _check(node, count)
    order = np.lexsort((time_ms, node))
    cell, same = node[order], np.diff(node[order]) == 0
    interval, of = np.diff(np.asarray(time_ms)[order])[same], cell[1:][same]
    many = np.bincount(of, minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(of, interval, count) / many
        variance = np.bincount(of, (interval - mean[of]) ** 2, count) / many
        return np.where(many >= FEWEST_INTERVALS, np.sqrt(variance) / mean, np.nan)


def synchrony(
    node: Whole, time_ms: Floats, count: int, duration_ms: float, bin_ms: float = SYNCHRONY_MS
) -> float:  # fmt: skip
    """How far the cells fire together (Golomb 2007, doi:10.4249/scholarpedia.1347).

    chi^2 = Var_t(mean over cells of n_i(t)) / mean over cells of Var_t(n_i(t)), with n_i(t) the spikes of cell i in
    bins of time. chi is 1 where all cells fire alike, and about 1/sqrt(count) where they have nothing to do with each
    other.

    Args:
        node, time_ms: (s,) which cell fired, and when [ms], in any order.
        count: of the cells.
        duration_ms: of the run; a last bin that is not whole is left away [ms].
        bin_ms: width of a bin [ms].

    Returns:
        chi; NaN where the rate of no cell changes.

    Raises:
        InputError: there is not one whole bin, or a node is not one of the cells.
    """
    _check(node, count)
    rate = population_rate(time_ms, count, duration_ms, bin_ms).values[:, 0]
    bins = len(rate)
    at = _bins(time_ms, bin_ms, bins)
    inside = at < bins
    # Most pairs of a cell and a bin have no spike; only those that have some are counted.
    pair, many = np.unique(np.asarray(node, np.int64)[inside] * bins + at[inside], return_counts=True)
    first, second = (np.bincount(pair // bins, many.astype(float) ** power, count) / bins for power in (1, 2))
    alone = float((second - first**2).mean())
    together = float((rate * (bin_ms / MS_PER_S)).var())
    return float(np.sqrt(together / alone)) if alone > 0.0 else float("nan")


def summary(node: Whole, time_ms: Floats, count: int, duration_ms: float) -> Summary:
    """The numbers of a population, of one run.

    Args:
        node, time_ms: (s,) which cell fired, and when [ms], in any order.
        count: of the cells.
        duration_ms: of the run [ms].

    Raises:
        InputError: a node is not one of the cells.
    """
    rates, cv = mean_rates(node, count, duration_ms), cv_isi(node, time_ms, count)
    known = cv[~np.isnan(cv)]
    together = synchrony(node, time_ms, count, duration_ms, min(SYNCHRONY_MS, duration_ms))
    return Summary(
        float(rates.mean()), float((rates == 0.0).mean()), float(known.mean()) if len(known) else float("nan"), together
    )


def _bins(time_ms: Floats, bin_ms: float, bins: int) -> NDArray[np.int64]:
    """The bin of each spike; `bins` of those after the last one."""
    return np.minimum(np.floor(np.asarray(time_ms) / bin_ms + 1e-9), bins).astype(np.int64)


def _check(node: Whole, count: int) -> None:
    if count < 1 or (len(node) and not (np.min(node) >= 0 and np.max(node) < count)):
        raise InputError(f"a spike is of node {np.max(node, initial=-1)} of {count} cells; correct the number of cells")
