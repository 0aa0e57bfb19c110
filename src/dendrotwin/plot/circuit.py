"""What a network does: spikes and rates of populations, field potentials over depth, potentials on all of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from dendrotwin.cell.tree import Tree
from dendrotwin.plot.signals import COLOUR_PERCENTILE, DIVERGING, draw_bar, round_down
from dendrotwin.plot.style import SERIES, STYLE, Floats, Real, series_colours

RATE_BIN_MS = 1.0
MOST_TRACES = 24  # of contacts above each other that can be told apart
MOST_ABOVE = 4.0  # spacings of contacts that the uppermost trace may take above its place
TRACE_PERCENTILE = 99.8  # of absolute values that stay within their contact's room: spikes nearby would hide all else
V_LIMITS_MV = (-75.0, -35.0)  # of the colours: what dendrites do; a spike is above
COLUMNS, FRAME_IN = 4, 4.4  # frames of a movie beside each other, and the height of each [inches]
Spikes = tuple[Real, Real]
"""(s,) times of a population's spikes [ms], and (s,) where each is drawn: the depth [um] or the number of its cell."""


@matplotlib.rc_context(STYLE)
def figure_raster(
    spikes: Mapping[str, Spikes],
    cells: Mapping[str, int],
    span_ms: tuple[float, float],
    smooth_ms: float = 5.0,
    label: str = "z of the soma (µm)",
) -> Figure:
    """Spikes of populations over depth, and below them the rate of each.

    Args:
        spikes: of each population, (s,) times [ms] and (s,) heights; see `Spikes`.
        cells: how many each population has.
        span_ms: from when to when [ms].
        smooth_ms: standard deviation of the Gauss function that smooths the rates [ms].
        label: of the heights, with their unit.
    """
    colours = series_colours(list(spikes))
    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    raster, rates = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])
    start, stop = span_ms
    edges = np.arange(start, stop + RATE_BIN_MS / 2, RATE_BIN_MS)
    many = sum(len(time_ms) for time_ms, _ in spikes.values())
    size = float(np.clip(4000.0 / max(many, 1), 0.8, 6.0))
    for name, (time_ms, height) in spikes.items():
        raster.scatter(time_ms, height, s=size**1.5, color=colours[name], linewidths=0, rasterized=True)
        counts = np.histogram(time_ms, edges)[0] * (1000.0 / RATE_BIN_MS / max(cells[name], 1))
        smooth = gaussian_filter1d(counts.astype(np.float64), smooth_ms / RATE_BIN_MS, mode="nearest")
        rates.plot(edges[:-1] + RATE_BIN_MS / 2, smooth, color=colours[name], linewidth=1.6)
    raster.set_ylabel(label)
    rates.set_ylabel("rate (spikes/s)")
    rates.set_xlabel("time (ms)")
    rates.set_xlim(start, stop)
    rates.set_ylim(bottom=0.0)
    _legend(raster, {f"{name} ({cells[name]} cells)": colours[name] for name in spikes})
    return figure


def _legend(axes: Axes, colours: Mapping[str, str]) -> None:
    """One line above the panel."""
    handles = [axes.scatter([], [], s=60, color=colour, linewidths=0, label=name) for name, colour in colours.items()]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.2, handletextpad=0.2
    )


@matplotlib.rc_context(STYLE)
def figure_field(
    time_ms: Real,
    z_um: Real,
    lfp_uV: Real,
    csd: Real | None = None,
    csd_z_um: Real | None = None,
    up: str = "z",
) -> Figure:
    """Extracellular potentials at contacts over depth, and current sources (red) and sinks (blue) at their depths.

    Args:
        time_ms: (samples,) [ms].
        z_um: (contacts,) where they are [um].
        lfp_uV: (samples, contacts) [uV]; each trace is drawn at its contact's depth, about its own mean. Of more than
            24 contacts evenly chosen ones are drawn, as the title says. Spikes of cells nearby may leave their
            contact's room.
        csd: (samples, layers) current source density [uA/mm3], or None.
        csd_z_um: (layers,) evenly spaced, rising, where they are [um].
        up: the axis of depth, "x", "y" or "z".
    """
    panels = 1 if csd is None else 2
    figure = Figure(figsize=(3.5 + 3.5 * panels, 5.5), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, panels, sharey=True))
    _draw_traces(axes[0], np.asarray(time_ms), np.asarray(z_um), np.asarray(lfp_uV, np.float64))
    if csd is not None and csd_z_um is not None:
        limit = float(np.percentile(np.abs(csd), COLOUR_PERCENTILE)) or 1.0
        image = axes[1].pcolormesh(
            time_ms, csd_z_um, np.asarray(csd).T, cmap=DIVERGING, vmin=-limit, vmax=limit, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        figure.colorbar(image, ax=axes[1], extend="both", pad=0.02).set_label("CSD (µA/mm³)")
        axes[1].set_title("current source density", loc="left")
    axes[0].set_ylabel(f"{up} in the tissue (µm)")
    for panel in axes:
        panel.set_xlabel("time (ms)")
        panel.set_xlim(float(time_ms[0]), float(time_ms[-1]))
    return figure


def _draw_traces(axes: Axes, time_ms: Real, z_um: Real, lfp_uV: Floats) -> None:
    order = np.argsort(z_um, kind="stable")
    shown = order[:: -(-len(order) // MOST_TRACES)]
    traces = lfp_uV[:, shown] - lfp_uV[:, shown].mean(axis=0)
    spacing = float(np.diff(z_um[shown]).mean()) if len(shown) > 1 else 100.0
    largest = 2.0 * float(np.percentile(np.abs(traces), TRACE_PERCENTILE)) or 1.0
    scale = 1.5 * spacing / largest
    drawn = z_um[shown] + scale * traces
    axes.plot(time_ms, drawn, color=SERIES[0], linewidth=0.9)
    low, right = float(z_um[shown[0]]) - 2.2 * spacing, float(time_ms[-1])
    high = float(np.clip(drawn.max() - z_um[shown[-1]], spacing, MOST_ABOVE * spacing))
    axes.set_ylim(low - 0.2 * spacing, z_um[shown[-1]] + high + 0.2 * spacing)
    bar = round_down(1.5 * spacing / scale)
    axes.plot([right, right], [low, low + scale * bar], color="black", linewidth=2.5, solid_capstyle="butt")
    axes.annotate(
        f"{bar:g} µV", (right, low + scale * bar / 2), (-6, 0), textcoords="offset points", ha="right", va="center"
    )
    some = f", {len(shown)} of {len(order)} contacts" if len(shown) < len(order) else ""
    axes.set_title(f"extracellular potential{some}", loc="left")


@matplotlib.rc_context(STYLE)
def figure_potentials(
    trees: Sequence[Tree],
    v_mV: Real,
    time_ms: Sequence[float],
    limits_mV: tuple[float, float] = V_LIMITS_MV,
    up: str = "z",
) -> Figure:
    """Frames of a movie: the potential of every compartment of all cells at their places, seen from the side.

    x is to the right. Compartments are drawn from the most hyperpolarised to the most depolarised one, so that
    no cell at rest hides one that is not.

    Args:
        trees: the cells at their places.
        v_mV: (frames, compartments) potentials of the first cell, then those of the second, ... [mV].
        time_ms: (frames,) [ms].
        limits_mV: ends of the colours [mV]; what is above, such as a spike, has a colour of its own.
        up: the axis that is drawn upwards, "y" or "z".
    """
    ends = np.concatenate([tree.ends_um[:, :, [0, "xyz".index(up)]] for tree in trees])
    widths = np.concatenate([0.4 + 0.35 * np.clip(tree.diameter_um, 0.0, 10.0) for tree in trees])
    low, high = ends.min(axis=(0, 1)), ends.max(axis=(0, 1))
    wide, tall = high - low + 1.0
    columns = min(len(time_ms), COLUMNS)
    rows = -(-len(time_ms) // columns)
    frame_in = float(np.clip(FRAME_IN * wide / tall, 1.4, 6.0))
    figure = Figure(figsize=(frame_in * columns + 1.5, (FRAME_IN + 0.4) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    shades = ListedColormap(matplotlib.colormaps["magma_r"](np.linspace(0.04, 0.75, 256)), name="magma, cut")
    colours, norm = shades.with_extremes(over="black"), Normalize(*limits_mV)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, values, at in zip(grid.flat, np.asarray(v_mV), time_ms, strict=False):
        order = np.argsort(values, kind="stable")
        lines = LineCollection(
            list(ends[order]), cmap=colours, norm=norm, linewidths=widths[order], capstyle="round", rasterized=True
        )  # fmt: skip
        lines.set_array(values[order])
        axes.add_collection(lines)
        axes.set_aspect("equal")
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1] - 0.08 * tall, high[1])
        axes.set_title(f"{at:g} ms")
    bar_um = round_down(0.5 * float(wide))
    draw_bar(
        grid[0, 0], (float(low[0]), low[1] - 0.03 * tall), (low[0] + bar_um, low[1] - 0.03 * tall), f"{bar_um:g} µm"
    )
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=grid, extend="both", shrink=0.8, pad=0.02)
    bar.set_label("potential (mV)")
    return figure
