"""What electrodes and cameras see: traces at their contacts, depth over time, power, images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from dendrotwin.cell.tree import Tree
from dendrotwin.plot.style import BASELINE, BELOW, MISSING, SERIES, STYLE, TWIN, Real

MOST, SOME = 64, 24  # contacts that can be told apart in a grid; of more than that, so many heights
DIVERGING = "RdBu_r"
EXTREME = 99.5  # percentile at which the colours end


def _short(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above the value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step for step in (1.0, 2.0, 5.0) if step * power <= value * (1 + 1e-9)) * power)


@matplotlib.rc_context(STYLE)
def figure_contacts(
    trees: Sequence[Tree], positions_um: Real, values: Real, unit: str, duration_ms: float, title: str = ""
) -> Figure:
    """The cells from the side (x to the right, z up), the probe, and the trace of each contact beside it.

    Args:
        trees: the cells, where they are.
        positions_um: (contacts, 3) [um].
        values: (steps, contacts); each trace is drawn about its own mean, all to one scale.
        unit: of the values.
        duration_ms: of the traces [ms].
        title: of the figure.
    """
    x, z = np.asarray(positions_um)[:, 0], np.asarray(positions_um)[:, 2]
    shown = np.argsort(z, kind="stable")[:: 1 if len(z) <= MOST else -(-len(z) // SOME)]
    ends = np.concatenate([tree.ends_um[:, :, [0, 2]] for tree in trees])
    every = np.concatenate([ends.reshape(-1, 2), np.stack([x, z], axis=1)])
    low, high = every.min(axis=0), every.max(axis=0)
    heights = np.diff(np.unique(np.round(z[shown], 3)))
    room = float(heights.min()) if len(heights) else 0.2 * float(high[1] - low[1])
    columns = np.diff(np.unique(np.round(x[shown], 3)))
    width = 0.85 * float(columns.min()) if len(columns) else 0.5 * float(max(high - low))
    traces = np.asarray(values, dtype=np.float64)[:, shown]
    traces = traces - traces.mean(axis=0)
    largest = float(np.ptp(traces, axis=0).max()) or 1.0
    scale = 1.4 * room / largest
    figure = Figure(figsize=(8.0, 8.5), layout="constrained")
    axes = figure.subplots()
    widths = np.concatenate([0.8 + 0.7 * np.clip(tree.diameter_um, 0.0, 6.0) for tree in trees])
    axes.add_collection(LineCollection(list(ends), colors=MISSING, linewidths=widths, capstyle="round", zorder=1))
    for tree in trees:
        for at in np.flatnonzero(tree.in_region("soma")):
            x_z = tree.ends_um[at].mean(axis=0)[[0, 2]]
            axes.add_patch(Circle(tuple(x_z), tree.diameter_um[at] / 2, facecolor=BASELINE, zorder=1))
    across = np.linspace(0.0, width, len(traces))
    gap = 0.04 * width
    for k, contact in enumerate(shown):
        axes.plot(x[contact] + gap + across, z[contact] + scale * traces[:, k], color=TWIN, linewidth=1.1, zorder=3)
    axes.plot(x, z, "s", color=BELOW, markersize=5, markeredgewidth=0, zorder=4)
    right, bottom = float(x[shown].max() + gap + width), float(low[1]) - 0.09 * float(high[1] - low[1])
    time, size, length = _short(duration_ms / 3), _short(largest / 2), _short(0.3 * float(max(high - low)))
    style: Any = {"color": "black", "linewidth": 2.0, "solid_capstyle": "butt"}
    axes.plot([right - time / duration_ms * width, right], [bottom, bottom], **style)
    axes.plot([right, right], [bottom, bottom + scale * size], **style)
    axes.annotate(f"{time:g} ms", (right - time / duration_ms * width / 2, bottom), (0, -4), textcoords="offset points",
                  ha="center", va="top")  # fmt: skip
    axes.annotate(
        f"{size:g} {unit}", (right, bottom + scale * size / 2), (6, 0), textcoords="offset points", va="center"
    )
    axes.plot([low[0], low[0] + length], [bottom, bottom], **style)
    axes.annotate(
        f"{length:g} µm", (low[0] + length / 2, bottom), (0, -4), textcoords="offset points", ha="center", va="top"
    )
    some = f"{len(shown)} of {len(x)} contacts" if len(shown) < len(x) else f"{len(x)} contacts"
    axes.set_title(f"{title}: {some}" if title else some, loc="left")
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()
    return figure


def _symmetric(values: Real) -> float:
    """The end of a scale about zero that leaves out the most extreme."""
    return float(np.percentile(np.abs(values), EXTREME)) or 1.0


@matplotlib.rc_context(STYLE)
def figure_depth(time_ms: Real, z_um: Real, values: Real, label: str) -> Figure:
    """A signal over depth and time, such as current sources (red) and sinks (blue).

    Args:
        time_ms: (steps,) [ms].
        z_um: (layers,) evenly spaced, rising [um].
        values: (steps, layers); beyond their 99.5th percentile the colours end.
        label: what it is, with its unit.
    """
    limit = _symmetric(values)
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    axes = figure.subplots()
    image = axes.pcolormesh(
        time_ms, z_um, np.asarray(values).T, cmap=DIVERGING, vmin=-limit, vmax=limit, shading="nearest", rasterized=True
    )
    figure.colorbar(image, ax=axes, extend="both", pad=0.02).set_label(label)
    axes.axhline(0.0, color="black", linewidth=0.8, linestyle=(0, (5, 3)))
    axes.annotate("soma", (1.0, 0.0), (-4, 3), ("axes fraction", "data"), "offset points", ha="right")
    axes.set_xlabel("time (ms)")
    axes.set_ylabel("height above the soma (µm)")
    return figure


@matplotlib.rc_context(STYLE)
def figure_spectrum(frequency_Hz: Real, power: Real, labels: Sequence[str], unit: str) -> Figure:
    """Power spectral densities, both axes logarithmic.

    Args:
        frequency_Hz: (frequencies,) above 0 [Hz].
        power: (frequencies, channels) [unit^2/Hz]; of more than seven channels evenly chosen ones.
        labels: of the channels.
        unit: of the signal.
    """
    shown = np.unique(np.linspace(0, power.shape[1] - 1, min(power.shape[1], len(SERIES))).astype(int))
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    axes = figure.subplots()
    for colour, style, channel in zip(SERIES, ("-", "--", "-.", ":") * 2, shown, strict=False):
        axes.semilogx(frequency_Hz, power[:, channel], style, color=colour, linewidth=1.6, label=labels[channel])
    if (power[:, shown] > 0.0).any():  # not of a signal that never changes
        axes.set_yscale("log")
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel(f"power (({unit})²/Hz)" if " " in unit else f"power ({unit}²/Hz)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@matplotlib.rc_context(STYLE)
def figure_series(time_ms: Real, values: Real, labels: Sequence[str], unit: str) -> Figure:
    """Traces above each other, each with its own axis.

    Args:
        time_ms: (steps,) [ms].
        values: (steps, channels), of more than seven channels evenly chosen ones.
        labels: of the channels.
        unit: of the values.
    """
    shown = np.unique(np.linspace(0, values.shape[1] - 1, min(values.shape[1], len(SERIES))).astype(int))
    figure = Figure(figsize=(9.0, 1.0 + 1.3 * len(shown)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    for axes, channel in zip(panels, shown, strict=True):
        axes.plot(time_ms, values[:, channel], color=TWIN, linewidth=1.2)
        axes.set_title(labels[channel], loc="right", pad=2)  # left is where matplotlib puts a power of ten
        axes.locator_params(axis="y", nbins=3)
        axes.tick_params(labelbottom=axes is panels[-1])
    figure.supylabel(unit)
    panels[-1].set_xlim(float(time_ms[0]), float(time_ms[-1]))
    panels[-1].set_xlabel("time (ms)")
    return figure


@matplotlib.rc_context(STYLE)
def figure_frames(
    images: Real, time_ms: Real, x_um: tuple[float, float], y_um: tuple[float, float], label: str
) -> Figure:
    """Frames of a movie, all to one scale about zero.

    Args:
        images: (frames, rows, columns), such as changes since the first.
        time_ms: (frames,) [ms].
        x_um, y_um: borders of the image [um].
        label: what the colours are, with its unit.
    """
    limit = _symmetric(images)
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.6 * columns + 1.4, 2.6 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_visible(False)
    for axes, image, at in zip(grid.flat, images, time_ms, strict=False):
        shown = axes.imshow(image, origin="lower", extent=(*x_um, *y_um), cmap=DIVERGING, vmin=-limit, vmax=limit)
        text = axes.text(0.04, 0.95, f"{at:g} ms", transform=axes.transAxes, va="top")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
        axes.spines[:].set_visible(True)
        axes.locator_params(nbins=3)
    figure.colorbar(shown, ax=grid, extend="both", shrink=0.8, pad=0.02).set_label(label)
    figure.supxlabel("x (µm)")
    figure.supylabel("y (µm)")
    return figure
