"""Predictors side by side: their errors in every compartment, and how they were trained."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
from matplotlib.ticker import LogLocator, MultipleLocator, NullFormatter, StrMethodFormatter

from dendrotwin.cell.tree import REGIONS, Tree
from dendrotwin.plot.cells import cell_inches, draw_cell
from dendrotwin.plot.style import (
    BASELINE,
    BELOW,
    MEDIAN,
    MISSING,
    REGION_COLOURS,
    REGION_MARKERS,
    RULE,
    STYLE,
    TWIN,
    Real,
    colour_scale,
    series_colours,
)


@matplotlib.rc_context(STYLE)
def figure_errors(tree: Tree, evs: Mapping[str, Real], twin: str = "twin", low: float = -0.5) -> Figure:
    """EV of every compartment by predictor and region: a dot each, a bar at the median, the median in figures.

    Args:
        tree: the cell.
        evs: (n,) EV by predictor, drawn from top to bottom; NaN is left out and counted.
        twin: the predictor drawn in colour, the others are grey.
        low: where the axis begins at the lowest; how many compartments are below is written beside.
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
def figure_training(curve: Sequence[Mapping[str, float]], unit: str = "normalised") -> Figure:
    """Loss over training: on the last training batch and on the validation trials, the best one marked.

    Args:
        curve: points with `step`, `training` and `validation`.
        unit: of the loss.
    """
    step = np.array([point["step"] for point in curve])
    figure = Figure(figsize=(10.0, 4.5), layout="constrained")
    axes = figure.subplots()
    values = {name: np.array([point[name] for point in curve], dtype=np.float64) for name in ("training", "validation")}
    axes.plot(step, values["training"], color="#8c8c8c", linewidth=1.0, label="training")
    axes.plot(step, values["validation"], color=TWIN, linewidth=2.0, label="validation")
    if np.isfinite(values["validation"]).any():
        best = int(np.nanargmin(values["validation"]))
        label = f"best: {values['validation'][best]:.4g} at step {step[best]:,}"
        axes.plot(step[best], values["validation"][best], "o", color=TWIN, markersize=8, label=label, clip_on=False)
    _log_where_it_helps(axes, np.concatenate(list(values.values())))
    axes.set_xlabel("step (optimiser updates)")
    axes.set_ylabel(f"loss ({unit})")
    axes.legend(loc="upper right")
    return figure


def _log_where_it_helps(axes: Axes, values: Real) -> None:
    """A logarithmic axis, where all values are positive and spread over more than a factor of three."""
    every = values[np.isfinite(values)]
    if len(every) and every.min() > 0.0 and every.max() > 3.0 * every.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if every.max() < 100.0 * every.min() else (1.0,)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


@matplotlib.rc_context(STYLE)
def figure_distributions(
    tree: Tree, ev: Mapping[str, Real], rmse_mV: Mapping[str, Real], grey: Sequence[str] = (), low: float = -0.5
) -> Figure:
    """EV and RMSE of the compartments by region and predictor: a dot each, their distribution, a bar at the median.

    After figure 2 of Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728).

    Args:
        tree: the cell.
        ev, rmse_mV: (n,) of each predictor; NaN is left out.
        grey: predictors that are only there to compare with.
        low: where the axis of EV begins at the lowest; how many compartments are below is written there.
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
    """Where an axis of EV begins: at the tenth below the lowest value, but not below `low`."""
    every = np.concatenate([np.ravel(values) for values in ev.values()])
    return float(max(low, np.floor(10.0 * np.nanmin(every, initial=0.9)) / 10.0))


def draw_distributions(
    axes: Axes, tree: Tree, errors: Mapping[str, Real], lowest: float, colours: Mapping[str, str]
) -> None:
    """The errors (n,) of each predictor by region, a lane for each; what is below `lowest` is counted."""
    regions = [region for region in REGIONS if tree.in_region(region).any()]
    rng = np.random.default_rng(0)
    lane = 0.86 / len(errors)
    for group, region in enumerate(regions):
        for place, (name, values) in enumerate(errors.items()):
            here = np.asarray(values)[tree.in_region(region) & np.isfinite(values)]
            x = group + (place - (len(errors) - 1) / 2) * lane
            if len(here):
                draw_violin(axes, x, lane, here, lowest, colours[name], rng)
    for border in range(1, len(regions)):
        axes.axvline(border - 0.5, color=RULE, linewidth=0.8)
    counts = [f"{region}\n({tree.in_region(region).sum()})" for region in regions]
    axes.set_xticks(range(len(regions)), counts)
    axes.set_xlim(-0.5, len(regions) - 0.5)
    axes.set_xlabel("region (number of compartments)")
    axes.tick_params(axis="x", length=0)


def draw_violin(
    axes: Axes, x: float, lane: float, values: Real, lowest: float, colour: str, rng: np.random.Generator
) -> None:
    """One region of one predictor, in a lane of its own around x."""
    inside, below = values[values >= lowest], int((values < lowest).sum())
    if len(inside) >= 5 and np.ptp(inside) > 0.0:
        for body in axes.violinplot(inside, [x], widths=0.95 * lane, showextrema=False)["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=colour, alpha=0.3, edgecolor="none")
    few = len(values) < 5
    jitter = rng.uniform(-0.25, 0.25, len(inside)) * lane * (len(values) > 1)
    style: Any = {"markersize": 6.0, "alpha": 0.9} if few else {"markersize": 3.0, "alpha": 0.45}
    axes.plot(x + jitter, inside, "o", color=colour, markeredgewidth=0, **style)
    median = float(np.median(values))
    if not few and median >= lowest:
        axes.plot([x - 0.4 * lane, x + 0.4 * lane], [median, median], color="black", linewidth=2.0)
    if below:
        paper: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
        place: Any = {"textcoords": "offset points", "ha": "center", "linespacing": 0.9}
        axes.annotate(f"{below}\n▾", (x, lowest), (0, 2), fontsize=9, color=MEDIAN, bbox=paper, **place)


def draw_curves(
    axes: Axes, curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], part: str, colours: Mapping[str, str]
) -> None:
    """The loss of every predictor and seed over time, on the "training" windows or the "validation" trials."""
    every = []
    for name, seeds in curves.items():
        for curve in seeds:
            loss = np.array([point[part] for point in curve], dtype=np.float64)
            dots: Any = {"marker": "o", "markersize": 3} if len(curve) < 20 else {}
            axes.plot([point["minutes"] for point in curve], loss, color=colours[name], linewidth=1.3, **dots)
            every.append(loss)
    _log_where_it_helps(axes, np.concatenate(every))
    axes.set_xlim(left=0.0)
    axes.set_xlabel("time of training (min)")


HANDLE: Any = {"linestyle": "none", "markeredgewidth": 0, "markersize": 9}


def legend_above(figure: Figure, colours: Mapping[str, str], markers: Mapping[str, str] = MappingProxyType({})) -> None:
    """One legend of all predictors, above the panels; squares, where no other marker is named."""
    handles = [
        Line2D([], [], marker=markers.get(name, "s"), color=colour, label=name, **HANDLE)
        for name, colour in colours.items()
    ]
    longest = max(len(name) for name in colours)
    figure.legend(handles=handles, loc="outside upper center", ncols=max(1, min(len(handles), 110 // (longest + 5))))


@matplotlib.rc_context(STYLE)
def figure_cells(tree: Tree, ev: Mapping[str, Real], limits: tuple[float, float] = (0.0, 1.0)) -> Figure:
    """EV of every compartment drawn on the cell, one cell for each predictor, with one scale.

    Args:
        tree: the cell.
        ev: (n,) of each predictor; NaN is grey.
        limits: of the colours; what is below has a colour of its own and is counted.
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
    """EV (n,) of one predictor on the cell; its name, the median, and how many are off the scale are written above."""
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
        low: where the axis begins at the lowest; what is below is drawn at its foot, and counted.
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
    handles = [Line2D([], [], marker=marker, color=MEDIAN, label=name, **HANDLE) for name, marker in markers.items()]
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
        ve: (contacts,) of each predictor, by panel such as "silent"; NaN is left out.
        grey: predictors that are only there to compare with.
        low: where the axes begin; what is below stands at the edge, in figures.
    """
    names = list(next(iter(ve.values())))
    colours = series_colours(names, grey)
    markers = dict(zip(names, itertools.cycle("osD^vPX"), strict=False))
    height = np.asarray(positions_um)[:, 2]
    figure = Figure(figsize=(12.0, max(6.5, 2.0 + 0.16 * len(names) * len(height))), layout="constrained")
    cell, *panels = figure.subplots(1, 1 + len(ve), sharey=True, width_ratios=(0.7, *(1.0 for _ in ve)))
    _draw_contacts(cell, tree, positions_um)
    room = float(np.diff(np.unique(height)).min(initial=np.ptp(height) or 1.0))
    lanes = 0.75 * room * (0.5 - (np.arange(len(names)) + 0.5) / len(names))  # the first on top
    for axes, (title, values) in zip(panels, ve.items(), strict=True):
        for z in height:
            axes.axhspan(z - 0.42 * room, z + 0.42 * room, color=RULE, alpha=0.25, linewidth=0)
        for name, lane in zip(names, lanes, strict=True):
            for z, value in zip(height + lane, values[name], strict=True):
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
    """The cell as it stands, seen from where the contacts are to its right, and the contacts."""
    side = np.mean(positions_um, axis=0) * (1.0, 1.0, 0.0)
    seen = np.stack([side / (np.linalg.norm(side) or 1.0), (0.0, 0.0, 1.0)], axis=1)
    widths = 0.8 + 0.5 * np.clip(tree.diameter_um, 0.0, 6.0)
    axes.add_collection(LineCollection(list(tree.ends_um @ seen), colors=MISSING, linewidths=widths, capstyle="round"))
    axes.plot(*(np.asarray(positions_um) @ seen).T, "s", color=BELOW, markersize=7, markeredgewidth=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("towards the contacts (µm)")
    axes.set_ylabel("height above the soma (µm)")


@matplotlib.rc_context(STYLE)
def figure_curves(curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> Figure:
    """Loss over training, of every predictor and seed: on the training windows, and on the validation trials.

    Args:
        curves: of each predictor one curve for each seed; points with `minutes`, `training` and `validation`.
    """
    colours = series_colours(list(curves))
    figure = Figure(figsize=(12.0, 5.5), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, part in zip(panels, ("training", "validation"), strict=True):
        draw_curves(axes, curves, part, colours)
        axes.set_title(part, loc="left")
    panels[0].set_ylabel("loss (normalised)")
    legend_above(figure, colours)
    return figure


@matplotlib.rc_context(STYLE)
def figure_experts(diversity: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """How different the experts of a mixture are: their distances at the end, determinant and permanent over training.

    Args:
        diversity: points with `step`, `distances` (E, E), their `determinant` and `permanent`.
        title: whose experts.
    """
    distances = np.array(diversity[-1]["distances"], dtype=np.float64)
    experts = len(distances)
    figure = Figure(figsize=(12.0, 5.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.1))
    matrix = figure.add_subplot(grid[:, 0])
    colours, norm = colour_scale((0.0, float(np.nanmax(distances, initial=0.0)) or 1.0))
    image = matrix.imshow(distances, cmap=colours, norm=norm)
    for i, j in np.ndindex(experts, experts):
        if experts <= 10:
            ink = "white" if norm(distances[i, j]) < 0.6 else "black"
            matrix.text(j, i, f"{distances[i, j]:.2g}", ha="center", va="center", color=ink, fontsize=10)
    ticks = range(experts)
    matrix.set_xticks(ticks, [str(k + 1) for k in ticks])
    matrix.set_yticks(ticks, [str(k + 1) for k in ticks])
    matrix.tick_params(length=0)
    matrix.set_xlabel("expert (number)")
    matrix.set_ylabel("expert (number)")
    matrix.set_title(f"after step {diversity[-1]['step']:,}", loc="left")
    figure.colorbar(image, ax=matrix, shrink=0.8).set_label("distance of outputs (1: the largest)")
    step = [point["step"] for point in diversity]
    first = None
    for row, name in enumerate(("determinant", "permanent")):
        axes = figure.add_subplot(grid[row, 1], sharex=first)
        values = np.array([point[name] for point in diversity], dtype=np.float64)
        axes.plot(step, values, color=TWIN, linewidth=2.0, marker="o" if len(step) < 20 else None, markersize=4)
        _log_where_it_helps(axes, values)
        axes.set_ylabel(f"{name} (1)")
        axes.tick_params(labelbottom=row == 1)
        first = first or axes
    axes.set_xlabel("step (optimiser updates)")
    return figure
