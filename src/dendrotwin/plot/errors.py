"""Predictors side by side: their errors in every compartment and at electrodes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator

from dendrotwin.cell.tree import REGIONS, Tree
from dendrotwin.plot.cells import cell_inches, draw_cell
from dendrotwin.plot.style import (
    BASELINE,
    BELOW,
    LEGEND_MARKER,
    MEDIAN,
    MISSING,
    REGION_COLOURS,
    REGION_MARKERS,
    RULE,
    STYLE,
    TWIN,
    Real,
    colour_scale,
    legend_above,
    series_colours,
)


@matplotlib.rc_context(STYLE)
def figure_errors(tree: Tree, evs: Mapping[str, Real], twin: str = "twin", low: float = -0.5) -> Figure:
    """EV of every compartment by predictor and region: a dot each, a bar at the median, the median as a number.

    Args:
        tree: the cell.
        evs: (n,) EV of each predictor, drawn from top to bottom; NaN is left out and counted.
        twin: the predictor drawn in colour; the others are grey.
        low: the axis begins no lower than this; how many compartments are below is written beside.
    """
    regions = [region for region in REGIONS if tree.in_region(region).any()]
    lanes = len(regions) + 1  # one stays empty between two predictors
    figure = Figure(figsize=(11.0, 1.2 + 0.21 * lanes * len(evs)), layout="constrained")
    axes = figure.subplots()
    every = np.concatenate([np.ravel(ev) for ev in evs.values()])
    left = max(low, np.floor(10.0 * np.nanmin(every, initial=0.9)) / 10.0)
    rng = np.random.default_rng(0)
    edge: Any = ("axes fraction", "data")
    for row, (name, ev) in enumerate(evs.items()):
        top, ours, missing = row * lanes, name == twin, int(np.isnan(ev).sum())
        text = f"{name}\n{missing} without EV" if missing else name
        place = (0.0, top + (lanes - 2) / 2)
        style: Any = {"ha": "right", "va": "center", "weight": "bold", "color": TWIN if ours else MEDIAN}
        axes.annotate(text, place, (-70, 0), edge, "offset points", **style)
        if row:
            axes.axhline(top - 1, color=RULE, linewidth=0.8)
        for y, region in enumerate(regions, top):
            here = np.asarray(ev)[tree.in_region(region) & np.isfinite(ev)]
            if len(here):
                _draw_lane(axes, y, here, left, REGION_COLOURS[region] if ours else BASELINE, rng)
    axes.axvline(0.0, color=RULE, linewidth=0.8, zorder=0)
    places = [row * lanes + lane for row in range(len(evs)) for lane in range(len(regions))]
    axes.set_yticks(places, regions * len(evs), fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(lanes * len(evs) - 1, -1.0)
    axes.set_xlim(left, 1.0)
    axes.annotate("median", (1.0, -1.0), (10, 0), edge, "offset points", va="center", fontsize=10, color=MEDIAN)
    axes.set_xlabel("explained variance EV (1: exact, 0: no better than the mean)")
    return figure


def _draw_lane(axes: Axes, y: float, ev: Real, left: float, colour: str, rng: np.random.Generator) -> None:
    """One region of one predictor: dots, median, and the count of those left of the axis."""
    inside, median = ev[ev >= left], float(np.median(ev))
    jitter = rng.uniform(-0.28, 0.28, len(inside)) * (len(ev) > 1)
    size = 4.5 if len(ev) > 1 else 8.0
    axes.plot(inside, y + jitter, "o", color=colour, markersize=size, markeredgewidth=0, alpha=0.5, clip_on=False)
    if len(ev) > 1 and median >= left:
        axes.plot([median, median], [y - 0.42, y + 0.42], color=MEDIAN, linewidth=2.2, clip_on=False)
    edge: Any = ("axes fraction", "data")
    text, below = f"{round(median, 3) + 0.0:.3f}", len(ev) - len(inside)
    if below:
        text += f" ({below} of {len(ev)} off axis)"
        axes.annotate("◂", (left, y), (3, 0), textcoords="offset points", va="center_baseline", color=colour)
    axes.annotate(text, (1.0, y), (10, 0), edge, "offset points", va="center_baseline", fontsize=10, color=MEDIAN)


@matplotlib.rc_context(STYLE)
def figure_distributions(
    tree: Tree, ev: Mapping[str, Real], rmse_mV: Mapping[str, Real], grey: Sequence[str] = (), low: float = -0.5
) -> Figure:
    """EV and RMSE of the compartments by region and predictor: a dot each, their distribution, a bar at the median.

    After figure 2 of Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728).

    Args:
        tree: the cell.
        ev, rmse_mV: (n,) EV [1] and RMSE [mV] of each predictor; NaN is left out.
        grey: predictors drawn in grey, such as baselines.
        low: the axis of EV begins no lower than this; how many compartments are below is written there.
    """
    colours = series_colours(list(ev), grey)
    figure = Figure(figsize=(12.0, 8.5), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    bottom = lowest_drawn(ev, low)
    draw_distributions(panels[0], tree, ev, bottom, colours)
    draw_distributions(panels[1], tree, rmse_mV, 0.0, colours)
    panels[0].axhline(0.0, color=RULE, linewidth=0.8, zorder=0)
    panels[0].set_ylim(bottom, 1.0)
    panels[0].set_ylabel("explained variance\nEV (1: exact)")
    panels[1].set_ylim(bottom=0.0)
    panels[1].set_ylabel("RMSE (mV)")
    panels[0].set_xlabel("")
    legend_above(figure, colours)
    figure.align_ylabels(panels)
    return figure


def lowest_drawn(ev: Mapping[str, Real], low: float) -> float:
    """Where an axis of EV begins: at the tenth below the lowest value, but not below `low`.

    Args:
        ev: (n,) EV of each predictor.
        low: the least that the axis may begin at.
    """
    every = np.concatenate([np.ravel(values) for values in ev.values()])
    return float(max(low, np.floor(10.0 * np.nanmin(every, initial=0.9)) / 10.0))


def draw_distributions(
    axes: Axes, tree: Tree, errors: Mapping[str, Real], lowest: float, colours: Mapping[str, str]
) -> None:
    """Draw the errors of each predictor by region, side by side; what is below the axis is counted.

    Args:
        axes: where.
        tree: the cell.
        errors: (n,) of each predictor, such as EV; NaN is left out.
        lowest: where the axis begins.
        colours: of each predictor.
    """
    regions = [region for region in REGIONS if tree.in_region(region).any()]
    rng = np.random.default_rng(0)
    width = 0.86 / len(errors)
    for group, region in enumerate(regions):
        for place, (name, values) in enumerate(errors.items()):
            here = np.asarray(values)[tree.in_region(region) & np.isfinite(values)]
            x = group + (place - (len(errors) - 1) / 2) * width
            if len(here):
                draw_violin(axes, x, width, here, lowest, colours[name], rng)
    for border in range(1, len(regions)):
        axes.axvline(border - 0.5, color=RULE, linewidth=0.8)
    counts = [f"{region}\n({tree.in_region(region).sum()})" for region in regions]
    axes.set_xticks(range(len(regions)), counts)
    axes.set_xlim(-0.5, len(regions) - 0.5)
    axes.set_xlabel("region (number of compartments)")
    axes.tick_params(axis="x", length=0)


def draw_violin(
    axes: Axes, x: float, width: float, values: Real, lowest: float, colour: str, rng: np.random.Generator
) -> None:
    """Draw the values of one predictor in one region: their distribution, a dot each, a bar at the median.

    Args:
        axes: where.
        x: the middle of the strip for them.
        width: of the strip.
        values: (compartments,) what is drawn.
        lowest: where the axis begins; values below are counted.
        colour: of the predictor.
        rng: of the dots' scatter across the strip.
    """
    inside, below = values[values >= lowest], int((values < lowest).sum())
    if len(inside) >= 5 and np.ptp(inside) > 0.0:
        for body in axes.violinplot(inside, [x], widths=0.95 * width, showextrema=False)["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=colour, alpha=0.3, edgecolor="none")
    few = len(values) < 5
    jitter = rng.uniform(-0.25, 0.25, len(inside)) * width * (len(values) > 1)
    style: Any = {"markersize": 6.0, "alpha": 0.9} if few else {"markersize": 3.0, "alpha": 0.45}
    axes.plot(x + jitter, inside, "o", color=colour, markeredgewidth=0, **style)
    median = float(np.median(values))
    if not few and median >= lowest:
        axes.plot([x - 0.4 * width, x + 0.4 * width], [median, median], color="black", linewidth=2.0)
    if below:
        paper: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
        place: Any = {"textcoords": "offset points", "ha": "center", "linespacing": 0.9}
        axes.annotate(f"{below}\n▾", (x, lowest), (0, 2), fontsize=9, color=MEDIAN, bbox=paper, **place)


@matplotlib.rc_context(STYLE)
def figure_cells(tree: Tree, ev: Mapping[str, Real], limits: tuple[float, float] = (0.0, 1.0)) -> Figure:
    """EV of every compartment drawn on the cell, one cell for each predictor, all to one scale.

    Args:
        tree: the cell.
        ev: (n,) of each predictor; NaN is grey.
        limits: EV at both ends of the colours; what is below has a colour of its own and is counted.
    """
    colours, norm = colour_scale(limits)
    width = cell_inches(tree, 5.0)
    columns = min(len(ev), max(1, int(12.0 / (width + 0.4))))
    rows = -(-len(ev) // columns)
    figure = Figure(figsize=(max(columns * (width + 0.4), 4.0) + 1.2, 5.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, values) in zip(grid, ev.items(), strict=False):
        draw_ev(axes, tree, name, values, colours, norm)
    for axes in grid[len(ev) :]:
        axes.set_axis_off()
    scale = ScalarMappable(norm, colours)
    bar = figure.colorbar(scale, ax=grid.tolist(), location="right", shrink=0.7, aspect=30, extend="min")
    bar.set_label("explained variance EV (1: exact)")
    return figure


def draw_ev(axes: Axes, tree: Tree, name: str, ev: Real, colours: Colormap, norm: Normalize) -> None:
    """Draw EV of one predictor on the cell, under its name, the median, and how many compartments are off the scale.

    Args:
        axes: where.
        tree: the cell.
        name: of the predictor.
        ev: (n,) EV; NaN is grey.
        colours, norm: the colour map and its scale, see `colour_scale`.
    """
    draw_cell(axes, tree, ev, colours, norm)
    low = float(norm.vmin or 0.0)
    below, missing = int((ev < low).sum()), int(np.isnan(ev).sum())
    notes = [f"{below} of {tree.n} below {low:g}"] * (below > 0) + [f"{missing} without EV"] * (missing > 0)
    median = f"median {np.nanmedian(ev):.3f}" if missing < tree.n else "no value"
    axes.set_title("\n".join([name.replace(":", "\n"), median, *notes]), fontsize=11)


@matplotlib.rc_context(STYLE)
def figure_distances(tree: Tree, ev: Mapping[str, Real], low: float = -0.5) -> Figure:
    """EV of every compartment against its path distance from the soma, all predictors in one panel.

    A line joins the medians of a predictor over dendritic compartments of similar distance.

    Args:
        tree: the cell.
        ev: (n,) of each predictor; NaN is left out.
        low: the axis begins no lower than this; what is below is drawn at its lower end, and counted.
    """
    colours = series_colours(list(ev))
    every = np.concatenate([np.ravel(values) for values in ev.values()])
    bottom = lowest_drawn(ev, low)
    figure = Figure(figsize=(12.0, 6.5), layout="constrained")
    axes = figure.subplots()
    markers = {region: marker for region, marker in REGION_MARKERS.items() if tree.in_region(region).any()}
    for name, values in ev.items():
        for region, marker in markers.items():
            here = tree.in_region(region) & np.isfinite(values)
            style: Any = {"color": colours[name], "markeredgewidth": 0, "clip_on": False, "linestyle": "none"}
            style |= {"markersize": 15, "zorder": 4} if region == "soma" else {"markersize": 4.5, "alpha": 0.4}
            axes.plot(tree.distance_um[here], np.maximum(values[here], bottom), marker=marker, **style)
        dendrites = np.flatnonzero(tree.dendrites & np.isfinite(values))
        by_distance = dendrites[np.argsort(tree.distance_um[dendrites])]
        groups = np.array_split(by_distance, min(12, len(dendrites) // 5) or 1) if len(dendrites) else []
        x, y = ([float(np.median(array[group])) for group in groups] for array in (tree.distance_um, values))
        outline = [withStroke(linewidth=4.5, foreground="white")]
        axes.plot(x, np.maximum(y, bottom), color=colours[name], linewidth=2.5, zorder=3, path_effects=outline)
    below = int((every < bottom).sum())
    if below:
        axes.set_title(f"{below} of {len(every)} points below {bottom:g}", loc="right", color=BELOW)
    axes.set_ylim(bottom, 1.0)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("path distance from the soma (µm)")
    axes.set_ylabel("explained variance EV (1: exact)")
    handles = [
        Line2D([], [], marker=marker, color=MEDIAN, label=name, **LEGEND_MARKER) for name, marker in markers.items()
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(handles))
    legend_above(figure, colours)
    return figure


@matplotlib.rc_context(STYLE)
def figure_electrodes(
    tree: Tree,
    positions_um: Real,
    ve: Mapping[str, Mapping[str, Real]],
    grey: Sequence[str] = (),
    low: float = -0.5,
) -> Figure:
    """Explained variance of the LFP at each contact, at its height beside the cell.

    Args:
        tree: the cell, upright.
        positions_um: (contacts, 3) [um].
        ve: explained variance (contacts,) of each predictor, by panel such as "silent"; NaN is left out.
        grey: predictors drawn in grey, such as baselines.
        low: where the axes begin; a value below is drawn at the edge and written beside.
    """
    names = list(next(iter(ve.values())))
    colours = series_colours(names, grey)
    markers = dict(zip(names, itertools.cycle("osD^vPX"), strict=False))
    height = np.asarray(positions_um)[:, 2]
    figure = Figure(figsize=(12.0, max(6.5, 2.0 + 0.16 * len(names) * len(height))), layout="constrained")
    cell, *panels = figure.subplots(1, 1 + len(ve), sharey=True, width_ratios=(0.7, *(1.0 for _ in ve)))
    _draw_contacts(cell, tree, positions_um)
    spacing = float(np.diff(np.unique(height)).min(initial=np.ptp(height) or 1.0))
    offsets = 0.75 * spacing * (0.5 - (np.arange(len(names)) + 0.5) / len(names))  # the first on top
    for axes, (title, values) in zip(panels, ve.items(), strict=True):
        for z in height:
            axes.axhspan(z - 0.42 * spacing, z + 0.42 * spacing, color=RULE, alpha=0.25, linewidth=0)
        for name, offset in zip(names, offsets, strict=True):
            for z, value in zip(height + offset, values[name], strict=True):
                style: Any = {"color": colours[name], "markersize": 8, "markeredgewidth": 0, "clip_on": False}
                axes.plot(max(value, low), z, "<" if value < low else markers[name], zorder=3, **style)
                if value < low:
                    place: Any = {"xytext": (7, 0), "textcoords": "offset points", "va": "center_baseline"}
                    axes.annotate(f"{value:.3g}", (low, z), fontsize=10, color=MEDIAN, **place)
        axes.axvline(0.0, color=MEDIAN, linewidth=0.8, zorder=0)
        axes.set_title(title, loc="left")
        axes.set_xlim(low, 1.0)
        axes.xaxis.set_major_locator(MultipleLocator(0.5))
        axes.set_xlabel("explained variance of the LFP (1: exact)")
    legend_above(figure, colours, markers)
    return figure


def _draw_contacts(axes: Axes, tree: Tree, positions_um: Real) -> None:
    """The cell seen from the side, in the vertical plane through its axis and the mean of the contacts, and these."""
    towards = np.mean(positions_um, axis=0) * (1.0, 1.0, 0.0)
    plane = np.stack([towards / (np.linalg.norm(towards) or 1.0), (0.0, 0.0, 1.0)], axis=1)
    widths = 0.8 + 0.5 * np.clip(tree.diameter_um, 0.0, 6.0)
    axes.add_collection(LineCollection(list(tree.ends_um @ plane), colors=MISSING, linewidths=widths, capstyle="round"))
    axes.plot(*(np.asarray(positions_um) @ plane).T, "s", color=BELOW, markersize=7, markeredgewidth=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("distance towards the contacts (µm)")
    axes.set_ylabel("height above the soma (µm)")
