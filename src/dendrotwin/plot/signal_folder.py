"""A folder with a figure of each signal, and with power spectra: which figure shows which signal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dendrotwin import plot
from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.recording import SETTLE_MS
from dendrotwin.signals import Signal, power_spectrum
from dendrotwin.signals.placing import soma_centre

WINDOW_MS = 100  # of a figure, where nothing is said
FRAMES = 8  # of a movie: two rows of four
NA_UM3_TO_UA_MM3 = 1e6
MV_TO_UV = 1e3
LEAST_NA = 1e-6  # added before the logarithm, where a compartment has no current at all
NAMES = {
    "lfp": "LFP",
    "ecog": "ECoG",
    "eeg": "EEG",
    "meg": "magnetic field",
    "patch": "pipette potential",
    "dipole": "current dipole moment",
}
WITH_SPECTRUM = ("lfp", "ecog", "dipole", "eeg", "meg", "patch")


def window_around_first_spike(spikes_ms: Floats, duration_ms: int, window_ms: int = WINDOW_MS) -> slice:
    """The part of a trial to draw: around the first output spike once the cell has settled.

    A quarter of the window lies before the spike. Without spikes the window begins where the cell has settled.

    Args:
        spikes_ms: (spikes,) output spikes of the trial [ms].
        duration_ms: of the trial [ms].
        window_ms: length of the window [ms].

    Returns:
        From and to [ms].
    """
    settled = spikes_ms[spikes_ms >= SETTLE_MS]
    start = int(settled[0]) - window_ms // 4 if len(settled) else SETTLE_MS
    start = max(0, min(start, duration_ms - window_ms))
    return slice(start, min(start + window_ms, duration_ms))


def save_signal_figures(folder: Path, signals: Iterable[Signal], trees: Sequence[Tree], window: slice) -> list[str]:
    """Draw each signal in a window of time, and the power spectra over the whole trial of those with few channels.

    Args:
        folder: where the figures are written, as NAME.png and NAME-spectrum.png.
        signals: what to draw.
        trees: the cells at their places.
        window: the part to draw, from and to [ms].

    Returns:
        The files' names.
    """
    written = []
    for signal in signals:
        samples_per_ms = round(signal.sampling_hz / 1000.0)
        samples = slice(window.start * samples_per_ms, window.stop * samples_per_ms)
        figures = {signal.name: _figure(signal, trees, samples)}
        if signal.modality in WITH_SPECTRUM:
            figures[f"{signal.name}-spectrum"] = plot.figure_spectrum(
                *power_spectrum(signal), _labels(signal), _typeset(signal.unit)
            )
        for name, figure in figures.items():
            plot.save(figure, folder / f"{name}.png")
            written.append(f"{name}.png")
    return written


def _figure(signal: Signal, trees: Sequence[Tree], window: slice) -> Figure:
    """The figure that suits the signal: contacts, depth, cell, movie or traces; of a window of samples."""
    time, values, modality = signal.time_ms[window], signal.values[window], signal.modality
    if modality in ("lfp", "ecog"):
        positions = np.stack([signal.channels[name] for name in ("x_um", "y_um", "z_um")], axis=1)
        return plot.figure_contacts(
            trees, positions, values * MV_TO_UV, "µV", len(time) * 1000.0 / signal.sampling_hz,
            f"{NAMES[modality]} from {time[0] - 1000.0 / signal.sampling_hz:g} to {time[-1]:g} ms",
        )  # fmt: skip
    if modality == "csd":
        somas_um = [float(soma_centre(tree)[2]) for tree in trees]
        return plot.figure_depth(time, signal.channels["z_um"], values * NA_UM3_TO_UA_MM3, "CSD (µA/mm³)", somas_um)
    if modality == "currents":
        rms = np.sqrt((values.astype(np.float64) ** 2).mean(axis=0))
        return plot.figure_morphology(trees[0], np.log10(rms + LEAST_NA), "log₁₀ of RMS membrane current (nA)", None)
    if values.ndim == 3:
        return _movie(signal, window)
    return plot.figure_series(time, values, _labels(signal), f"{NAMES[modality]} ({_typeset(signal.unit)})")


def _movie(signal: Signal, window: slice) -> Figure:
    """Frames across the window, as the change since its first sample."""
    first, *frames = np.linspace(window.start, window.stop - 1, FRAMES + 1).astype(int)
    change = signal.values[frames] - signal.values[first]
    x_um, y_um = (_borders(signal.channels[name]) for name in ("x_um", "y_um"))
    label = f"change since {signal.time_ms[first]:g} ms ({_typeset(signal.unit)})"
    return plot.figure_frames(change, signal.time_ms[frames], x_um, y_um, label)


def _borders(middles_um: Floats) -> tuple[float, float]:
    """Where pixels with these middles begin and end."""
    middles = np.unique(middles_um)
    half = float(middles[1] - middles[0]) / 2 if len(middles) > 1 else 0.5
    return float(middles[0]) - half, float(middles[-1]) + half


def _labels(signal: Signal) -> list[str]:
    """A label for each channel: its axis, its compartment, or where it is."""
    channels = signal.channels
    if "compartment" in channels:
        return ["soma" if at < 0 else f"compartment {at}" for at in channels["compartment"]]
    axes = [str(axis) for axis in channels["axis"]] if "axis" in channels else None
    if "x_um" not in channels:
        return axes or [str(i) for i in range(signal.values.shape[1])]
    scale, unit = (1e-3, "mm") if np.abs(channels["z_um"]).max() > 10_000.0 else (1.0, "µm")
    places = [
        f"({', '.join(f'{scale * c:.0f}' for c in place)}) {unit}"
        for place in zip(channels["x_um"], channels["y_um"], channels["z_um"], strict=True)
    ]
    return places if axes is None else [f"{axis} at {place}" for axis, place in zip(axes, places, strict=True)]


def _typeset(unit: str) -> str:
    """A unit as figures write it, with Greek letters and exponents."""
    return {"nA um": "nA µm", "uV": "µV", "mV um2": "mV µm²"}.get(unit, unit)
