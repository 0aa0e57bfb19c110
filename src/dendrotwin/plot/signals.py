"""What electrodes and cameras record: traces at contacts, depth over time, power spectra, images."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from dendrotwin.cell.tree import Tree
from dendrotwin.plot.style import BASELINE, BELOW, MISSING, SERIES, STYLE, TWIN, Real

VIEWS = {"side": (0, 2), "along x": (1, 2), "from above": (0, 1)}  # axes to the right and up
MOST_ROWS = 24  # of channels above each other
MOST_TRACES = 64  # that can be told apart beside a cell
FEWER_TRACES = 24  # about so many are drawn where there are more contacts
AT_SOMA_UM = 0.5  # from z = 0, where heights are heights above the soma
DIVERGING = "RdBu_r"
COLOUR_PERCENTILE = 99.5  # of absolute values, at which the colours end: an extracellular spike would hide all else


def round_down(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above the value.

    Args:
        value: above 0.
    """
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step for step in (1.0, 2.0, 5.0) if step * power <= value * (1 + 1e-9)) * power)


def draw_bar(axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str) -> None:
    """A scale bar with its label: below a horizontal bar, to the right of a vertical one.

    Args:
        axes: where.
        start, end: of the bar, in data.
        label: what it is, with its unit.
    """
    axes.plot(*zip(start, end, strict=True), color="black", linewidth=2.0, solid_capstyle="butt")
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    if start[1] == end[1]:
        axes.annotate(label, middle, (0, -4), textcoords="offset points", ha="center", va="top")
    else:
        axes.annotate(label, middle, (6, 0), textcoords="offset points", va="center")


def _seen(right: Real, up: Real) -> NDArray[np.intp]:
    """Numbers of the contacts that are not behind an earlier one."""
    return np.sort(np.unique(np.round(np.stack([right, up]), 3), axis=1, return_index=True)[1])


def _view(positions_um: Real) -> str:
    """The first view in which most contacts are seen."""
    return max(VIEWS, key=lambda view: len(_seen(*(positions_um[:, axis] for axis in VIEWS[view]))))


@matplotlib.rc_context(STYLE)
def figure_contacts(
    trees: Sequence[Tree], positions_um: Real, values: Real, unit: str, duration_ms: float, title: str = ""
) -> Figure:
    """The cells and the probe, and the trace of each contact beside it, seen so that contacts do not hide each other.

    That is from the side, x or y to the right and z up, or from above, x to the right and y up. Where some hide others
    even so, those that are seen are drawn, and the title says how many.

    Args:
        trees: the cells at their places.
        positions_um: (contacts, 3) x, y, z [um].
        values: (samples, contacts); each trace is drawn around its own mean, all to one scale. Of more than 64
            contacts evenly chosen heights are drawn.
        unit: of the values.
        duration_ms: of the traces [ms].
        title: of the figure.
    """
    view = _view(np.asarray(positions_um))
    right_axis, up_axis = VIEWS[view]
    x, z = np.asarray(positions_um)[:, right_axis], np.asarray(positions_um)[:, up_axis]
    seen = _seen(x, z)
    order = seen[np.argsort(z[seen], kind="stable")]
    shown = order[:: 1 if len(order) <= MOST_TRACES else -(-len(order) // FEWER_TRACES)]
    ends = np.concatenate([tree.ends_um[:, :, [right_axis, up_axis]] for tree in trees])
    everything = np.concatenate([ends.reshape(-1, 2), np.stack([x, z], axis=1)])
    low, high = everything.min(axis=0), everything.max(axis=0)
    heights = np.diff(np.unique(np.round(z[shown], 3)))
    spacing = float(heights.min()) if len(heights) else 0.2 * float(high[1] - low[1])
    columns = np.diff(np.unique(np.round(x[shown], 3)))
    width = 0.85 * float(columns.min()) if len(columns) else 0.5 * float(max(high - low))
    traces = np.asarray(values, dtype=np.float64)[:, shown]
    traces = traces - traces.mean(axis=0)
    largest = float(np.ptp(traces, axis=0).max()) or 1.0
    scale = 1.4 * spacing / largest
    figure = Figure(figsize=(8.0, 8.5), layout="constrained")
    axes = figure.subplots()
    widths = np.concatenate([0.8 + 0.7 * np.clip(tree.diameter_um, 0.0, 6.0) for tree in trees])
    axes.add_collection(LineCollection(list(ends), colors=MISSING, linewidths=widths, capstyle="round", zorder=1))
    for tree in trees:
        for soma in np.flatnonzero(tree.in_region("soma")):
            x_z = tree.ends_um[soma].mean(axis=0)[[right_axis, up_axis]]
            axes.add_patch(Circle(tuple(x_z), tree.diameter_um[soma] / 2, facecolor=BASELINE, zorder=1))
    across = np.linspace(0.0, width, len(traces))
    lowest = min(float(low[1]), float((z[shown] + scale * traces.min(axis=0)).min()))
    gap = 0.04 * width
    for k, contact in enumerate(shown):
        axes.plot(x[contact] + gap + across, z[contact] + scale * traces[:, k], color=TWIN, linewidth=1.1, zorder=3)
    axes.plot(x, z, "s", color=BELOW, markersize=5, markeredgewidth=0, zorder=4)
    right, bottom = float(x[shown].max() + gap + width), lowest - 0.09 * float(high[1] - low[1])
    time_ms, size, length_um = (round_down(v) for v in (duration_ms / 3, largest / 2, 0.3 * float(max(high - low))))
    draw_bar(axes, (right - time_ms / duration_ms * width, bottom), (right, bottom), f"{time_ms:g} ms")
    draw_bar(axes, (right, bottom), (right, bottom + scale * size), f"{size:g} {unit}")
    draw_bar(axes, (float(low[0]), bottom), (float(low[0]) + length_um, bottom), f"{length_um:g} µm")
    count = f"{len(shown)} of {len(x)} contacts" if len(shown) < len(x) else f"{len(x)} contacts"
    count += "" if view == "side" else f", {view}"
    axes.set_title(f"{title}: {count}" if title else count, loc="left")
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()
    return figure


def _colour_limit(values: Real) -> float:
    """Upper end of a colour scale about zero, without the most extreme values."""
    return float(np.percentile(np.abs(values), COLOUR_PERCENTILE)) or 1.0


@matplotlib.rc_context(STYLE)
def figure_depth(time_ms: Real, z_um: Real, values: Real, label: str, soma_z_um: Sequence[float] = (0.0,)) -> Figure:
    """A signal over depth and time, such as current sources (red) and sinks (blue).

    Args:
        time_ms: (samples,) [ms].
        z_um: (layers,) evenly spaced, rising [um].
        values: (samples, layers); the colours end at the 99.5th percentile of their absolute values.
        label: what it is, with its unit.
        soma_z_um: (cells,) where their somas are [um]; of one cell it is marked.
    """
    limit = _colour_limit(values)
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    axes = figure.subplots()
    image = axes.pcolormesh(
        time_ms, z_um, np.asarray(values).T, cmap=DIVERGING, vmin=-limit, vmax=limit, shading="nearest", rasterized=True
    )
    figure.colorbar(image, ax=axes, extend="both", pad=0.02).set_label(label)
    if len(soma_z_um) == 1:
        axes.axhline(soma_z_um[0], color="black", linewidth=0.8, linestyle=(0, (5, 3)))
        axes.annotate("soma", (1.0, soma_z_um[0]), (-4, 3), ("axes fraction", "data"), "offset points", ha="right")
    axes.set_xlabel("time (ms)")
    at_soma = len(soma_z_um) == 1 and abs(soma_z_um[0]) < AT_SOMA_UM
    axes.set_ylabel("height above the soma (µm)" if at_soma else "z in the tissue (µm)")
    return figure


def _strongest(size: Real, most: int) -> NDArray[np.intp]:
    """Numbers of the channels whose size is largest, in their own order."""
    return np.sort(np.argsort(-np.asarray(size), kind="stable")[:most])


def _say_left_out(axes: Axes, shown: NDArray[np.intp], count: int) -> None:
    """A title that says which channels are drawn, where some are not."""
    if len(shown) < count:
        axes.set_title(f"the {len(shown)} strongest of {count} channels", loc="left", pad=2)


@matplotlib.rc_context(STYLE)
def figure_spectrum(frequency_Hz: Real, power: Real, labels: Sequence[str], unit: str) -> Figure:
    """Power spectral densities, both axes logarithmic.

    Args:
        frequency_Hz: (frequencies,) above 0 [Hz].
        power: (frequencies, channels) [unit^2/Hz]; of more than seven channels the seven strongest are drawn, which the
            title says.
        labels: of the channels.
        unit: of the signal.
    """
    shown = _strongest(np.asarray(power).sum(axis=0), len(SERIES))
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    axes = figure.subplots()
    _say_left_out(axes, shown, power.shape[1])
    for colour, style, channel in zip(SERIES, ("-", "--", "-.", ":") * 2, shown, strict=False):
        axes.semilogx(frequency_Hz, power[:, channel], style, color=colour, linewidth=1.6, label=labels[channel])
    if (power[:, shown] > 0.0).any():  # not of a signal that never changes
        axes.set_yscale("log")
    axes.set_xlabel("frequency (Hz)")
    squared = f"({unit})²" if " " in unit else f"{unit}²"
    axes.set_ylabel(f"power spectral density ({squared}/Hz)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@matplotlib.rc_context(STYLE)
def figure_series(time_ms: Real, values: Real, labels: Sequence[str], unit: str) -> Figure:
    """Traces above each other, all to one scale.

    Args:
        time_ms: (samples,) [ms].
        values: (samples, channels); of more than 24 channels those 24 are drawn that change most, which the title says.
        labels: of the channels.
        unit: what the values are, with their unit.
    """
    shown = _strongest(np.ptp(values, axis=0), MOST_ROWS)
    height = 1.3 if len(shown) <= len(SERIES) else 0.7
    figure = Figure(figsize=(9.0, 1.0 + height * len(shown)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True, sharey=True))
    for axes, channel in zip(panels, shown, strict=True):
        axes.plot(time_ms, values[:, channel], color=TWIN, linewidth=1.2)
        axes.set_title(labels[channel], loc="right", pad=2)  # matplotlib writes an axis' power of ten at the left
        axes.locator_params(axis="y", nbins=3)
        axes.tick_params(labelbottom=axes is panels[-1])
    _say_left_out(panels[0], shown, values.shape[1])
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
        images: (frames, rows, columns), such as changes since the first image.
        time_ms: (frames,) [ms].
        x_um, y_um: borders of the image, from and to [um].
        label: what the colours are, with its unit.
    """
    limit = _colour_limit(images)
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
