"""Power of a signal over frequency."""

from __future__ import annotations

import numpy as np
from scipy.signal import welch

from dendrotwin.cell.tree import Floats
from dendrotwin.signals.streaming import MS_PER_S, Signal

WINDOW_MS = 500


def power_spectrum(signal: Signal, window_ms: int = WINDOW_MS) -> tuple[Floats, Floats]:
    """Power spectral density of each channel (Welch 1967, doi:10.1109/TAU.1967.1161901).

    Hann windows that overlap by half, or one window where the signal is shorter.

    Returns:
        (frequencies,) [Hz] up to half the sampling rate, without the mean, and (frequencies, channels) [unit^2/Hz].
    """
    values = np.asarray(signal.values, dtype=np.float64).reshape(len(signal.values), -1)
    window = round(window_ms * signal.sampling_hz / MS_PER_S)
    hz, power = welch(values, fs=signal.sampling_hz, nperseg=min(window, len(values)), axis=0)
    return np.asarray(hz[1:]), np.asarray(power[1:])
