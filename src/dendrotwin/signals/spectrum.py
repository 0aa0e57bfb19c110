"""Power spectral density of a signal."""

from __future__ import annotations

import numpy as np
from scipy.signal import welch

from dendrotwin.cell.tree import Floats
from dendrotwin.signals.instruments import MS_PER_S, Signal


def power_spectrum(signal: Signal, window_ms: int = 500) -> tuple[Floats, Floats]:
    """Power spectral density of each channel (Welch 1967, doi:10.1109/TAU.1967.1161901).

    Hann windows that overlap by half, or one window where the signal is shorter.

    Args:
        signal: any; pixels of a camera are channels.
        window_ms: length of a window [ms]. Frequencies are 1000 / window_ms apart [Hz]; the default, our choice, has
            2 Hz, and several windows in a trial of a few seconds.

    Returns:
        Frequencies (frequencies,) above 0 and up to half the sampling rate [Hz], and power (frequencies, channels)
        [unit^2/Hz].
    """
    values = np.asarray(signal.values, dtype=np.float64).reshape(len(signal.values), -1)
    window = round(window_ms * signal.sampling_hz / MS_PER_S)
    hz, power = welch(values, fs=signal.sampling_hz, nperseg=min(window, len(values)), axis=0)
    return np.asarray(hz[1:]), np.asarray(power[1:])
