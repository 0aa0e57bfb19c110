"""Signals, drawn: a figure of each, and its power spectrum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dendrotwin import plot
from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.recording import SETTLE_MS, RecordingFile
from dendrotwin.signals import PlacedCell, Signal, power_spectrum

WINDOW_MS = 100
FRAMES = 8
NA_UM3_TO_UA_MM3 = 1e6
MV_TO_UV = 1e3
LEAST_NA = 1e-6  # where there is no current at all
NAMES = {"lfp": "LFP", "ecog": "ECoG", "eeg": "EEG", "meg": "B", "patch": "V, pipette", "dipole": "dipole moment"}
SPECTRA = ("lfp", "ecog", "dipole", "eeg", "meg", "patch")


def telling_window(cell: PlacedCell) -> slice:
    """A stretch worth drawing: around the first output spike of a cell that has settled, or right after it has [ms]."""
    with RecordingFile(cell.recording) as file:
        spikes, steps = file.spikes_ms(cell.trial), file.steps(cell.trial)
    spikes = spikes[spikes >= SETTLE_MS]
    start = int(spikes[0]) - WINDOW_MS // 4 if len(spikes) else SETTLE_MS
    start = max(0, min(start, steps - WINDOW_MS))
    return slice(start, min(start + WINDOW_MS, steps))


def draw_signals(folder: Path, signals: Iterable[Signal], trees: Sequence[Tree], window: slice) -> list[str]:
    """Draw each signal in a window of time, and the spectra of those with few channels over the whole trial.

    Args:
        folder: where.
        signals: what to draw.
        trees: the cells, where they are.
        window: stretch to draw [ms].

    Returns:
        The files' names.
    """
    made = []
    for signal in signals:
        in_ms = round(signal.sampling_hz / 1000.0)
        samples = slice(window.start * in_ms, window.stop * in_ms)
        figures = {signal.name: _figure(signal, trees, samples)}
        if signal.modality in SPECTRA:
            figures[f"{signal.name}-spectrum"] = plot.figure_spectrum(
                *power_spectrum(signal), _labels(signal), _shown(signal.unit)
            )
        for name, figure in figures.items():
            plot.save(figure, folder / f"{name}.png")
            made.append(f"{name}.png")
    return made


def _figure(signal: Signal, trees: Sequence[Tree], window: slice) -> Figure:
    time, values, kind = signal.time_ms[window], signal.values[window], signal.modality
    if kind in ("lfp", "ecog"):
        positions = np.stack([signal.channels[name] for name in ("x_um", "y_um", "z_um")], axis=1)
        return plot.figure_contacts(
            trees, positions, values * MV_TO_UV, "µV", len(time) * 1000.0 / signal.sampling_hz, NAMES[kind]
        )
    if kind == "csd":
        return plot.figure_depth(time, signal.channels["z_um"], values * NA_UM3_TO_UA_MM3, "CSD (µA/mm³)")
    if kind == "currents":
        rms = np.sqrt((values.astype(np.float64) ** 2).mean(axis=0))
        return plot.figure_morphology(trees[0], np.log10(rms + LEAST_NA), "log₁₀ of membrane current, RMS (nA)", None)
    if values.ndim == 3:
        return _movie(signal, window)
    return plot.figure_series(time, values, _labels(signal), f"{NAMES[kind]} ({_shown(signal.unit)})")


def _movie(signal: Signal, window: slice) -> Figure:
    """Frames across the window, as the change since its first sample."""
    at = np.linspace(window.start, window.stop - 1, FRAMES + 1).astype(int)
    change = signal.values[at[1:]] - signal.values[at[0]]
    across, along = (_borders(signal.channels[name]) for name in ("x_um", "y_um"))
    label = f"change since {signal.time_ms[at[0]]:g} ms ({_shown(signal.unit)})"
    return plot.figure_frames(change, signal.time_ms[at[1:]], across, along, label)


def _borders(middles_um: Floats) -> tuple[float, float]:
    """Where pixels with these middles begin and end."""
    places = np.unique(middles_um)
    half = float(places[1] - places[0]) / 2 if len(places) > 1 else 0.5
    return float(places[0]) - half, float(places[-1]) + half


def _labels(signal: Signal) -> list[str]:
    """What each channel is: its axis, or where it is."""
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


def _shown(unit: str) -> str:
    """A unit as figures write it."""
    return {"nA um": "nA µm", "uV": "µV", "mV um2": "mV µm²"}.get(unit, unit)
