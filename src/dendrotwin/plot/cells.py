"""One cell: all its potentials, a value for each compartment, the soma and its spikes.

The cell is projected on the plane of its mean apical direction, which is up on the page, and of the direction across it
in which its branches spread most.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from dendrotwin.cell.tree import REGIONS, Tree
from dendrotwin.plot.style import (
    BELOW,
    MISSING,
    REGION_COLOURS,
    REGION_MARKERS,
    STYLE,
    TRUE,
    TWIN,
    Floats,
    Real,
    colour_scale,
)
from dendrotwin.recording import Recording

SCALE_BAR_UM = 100.0


def drawing_plane(tree: Tree) -> tuple[Floats, Floats]:
    """The plane that a cell is projected on.

    Up is the mean apical direction from the soma, weighted by the lengths of compartments; right is the direction
    across it in which the branches spread most. For a cell without apical compartments it is the x-y plane.

    Args:
        tree: the cell.

    Returns:
        (3,) the soma, which is drawn at the origin [um], and (2, 3) unit vectors that point right and up on the page.
    """
    middles = np.asarray(tree.ends_um, dtype=np.float64).mean(axis=1)
    soma = tree.in_region("soma")
    centre = middles[soma].mean(axis=0) if soma.any() else middles[0]
    apical = tree.in_region("apical")
    up, right = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    direction = tree.length_um[apical] @ (middles[apical] - centre)
    if np.linalg.norm(direction) > 0.0:
        up = direction / np.linalg.norm(direction)
        spread = (middles - centre) - np.outer((middles - centre) @ up, up)
        scatter = spread.T @ (spread * tree.length_um[:, None])
        # Made negative along `up`, so that the largest eigenvalue is never there, not even in an unbranched cell.
        right = np.linalg.eigh(scatter - (1.0 + np.trace(scatter)) * np.outer(up, up))[1][:, -1]
        right = -right if right[np.argmax(np.abs(right))] < 0.0 else right
    return centre, np.stack([right, up])


def project(tree: Tree) -> Floats:
    """The compartments on the page, see `drawing_plane`.

    Args:
        tree: the cell.

    Returns:
        (n, 2, 2) start and end of each compartment, to the right of the soma and above it [um].
    """
    centre, axes = drawing_plane(tree)
    return np.asarray((tree.ends_um - centre) @ axes.T)


def height_um(tree: Tree) -> Floats:
    """Height of each compartment's middle above the soma along the mean apical direction, see `drawing_plane`.

    Args:
        tree: the cell.

    Returns:
        (n,) [um].
    """
    return np.asarray(project(tree)[:, :, 1].mean(axis=1))


def cell_inches(tree: Tree, height_in: float) -> float:
    """Width that the drawn cell needs, between 2 inches and 0.8 of the height.

    Args:
        tree: the cell.
        height_in: height of the drawing [inches].
    """
    width, height = np.ptp(project(tree).reshape(-1, 2), axis=0)
    return float(np.clip(height_in * width / max(height, 1.0), 2.0, 0.8 * height_in))


def draw_cell(axes: Axes, tree: Tree, value: Real, colours: Colormap, norm: Normalize) -> LineCollection:
    """Draw the compartments as lines, thicker where the dendrite is, the soma as a disc of its area, and a scale bar.

    Args:
        axes: where.
        tree: the cell.
        value: (n,) what the colours show; NaN is grey.
        colours, norm: the colour map and its scale, see `colour_scale`.

    Returns:
        The lines.
    """
    ends = project(tree)
    widths = 0.7 + 0.7 * np.clip(tree.diameter_um, 0.0, 6.0)
    lines = LineCollection(list(ends), cmap=colours, norm=norm, linewidths=widths, capstyle="round")
    lines.set_array(np.ma.masked_invalid(value))
    axes.add_collection(lines)
    soma = np.flatnonzero(tree.in_region("soma"))
    if len(soma):
        radius = float(np.sqrt(tree.area_um2[soma].sum() / (4.0 * np.pi)))
        colour = colours(norm(np.ma.masked_invalid(value[soma[:1]])))[0]
        axes.add_patch(Circle((0.0, 0.0), radius, facecolor=colour, edgecolor="black", linewidth=0.8, zorder=3))
    low, high = ends.min(axis=(0, 1)), ends.max(axis=(0, 1))
    below = low[1] - 0.05 * max(high - low)
    right = max(high[0], low[0] + SCALE_BAR_UM)
    axes.plot([right - SCALE_BAR_UM, right], [below, below], color="black", linewidth=2.0, solid_capstyle="butt")
    label = f"{SCALE_BAR_UM:.0f} µm"
    axes.annotate(label, (right - SCALE_BAR_UM / 2, below), (0, -4), textcoords="offset points", ha="center", va="top")
    axes.set_aspect("equal", anchor="C")
    axes.autoscale_view()
    axes.set_axis_off()
    return lines


@matplotlib.rc_context(STYLE)
def figure_traces(tree: Tree, true_mV: Real, predicted_mV: Real, start_ms: float = 0) -> Figure:
    """The cell and the potentials of all its compartments: true, predicted, and the difference.

    After figure 1 of Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728).

    Args:
        tree: the cell.
        true_mV, predicted_mV: (steps, n) potentials at the end of each 1 ms step [mV].
        start_ms: beginning of the first step [ms].
    """
    height = height_um(tree)
    colours, norm = colour_scale((float(height.min()), float(height.max())))
    figure = Figure(figsize=(12.0, 7.0), layout="constrained")
    cell_in = cell_inches(tree, 6.3) + 1.0
    grid = figure.add_gridspec(3, 2, width_ratios=(cell_in, 12.0 - cell_in))
    cell = figure.add_subplot(grid[:, 0])
    lines = draw_cell(cell, tree, height, colours, norm)
    bar = figure.colorbar(lines, ax=cell, location="left", shrink=0.5, aspect=30, pad=0.02)
    bar.set_label("height above the soma (µm)")

    order = np.argsort(height, kind="stable")
    time = start_ms + 1.0 + np.arange(len(true_mV))
    difference = np.asarray(predicted_mV, dtype=np.float64) - true_mV
    panels: list[Axes] = []
    for row, (name, v) in enumerate((("true", true_mV), ("predicted", predicted_mV), ("predicted - true", difference))):
        axes = figure.add_subplot(grid[row, 1], sharex=panels[0] if panels else None)
        panels.append(axes)
        segments = [np.column_stack([time, v[:, i]]) for i in order]
        traces = LineCollection(segments, cmap=colours, norm=norm, linewidths=0.6, alpha=0.7, rasterized=True)
        traces.set_array(height[order])
        axes.add_collection(traces)
        axes.set_title(name, loc="left", pad=3)
        axes.set_ylabel("V (mV)" if row < 2 else "ΔV (mV)")
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axes.tick_params(labelbottom=row == 2)
    both = np.concatenate([np.ravel(true_mV), np.ravel(predicted_mV)])
    low, high = float(np.nanmin(both)), float(np.nanmax(both))
    margin = 0.04 * (high - low) or 1.0
    panels[0].sharey(panels[1])
    panels[0].set_ylim(low - margin, high + margin)
    largest = 1.05 * float(np.nanmax(np.abs(difference))) or 1.0
    panels[2].set_ylim(-largest, largest)
    panels[2].axhline(0.0, color="black", linewidth=0.6)
    panels[2].set_xlim(start_ms, time[-1])
    panels[2].set_xlabel("time (ms)")
    figure.align_ylabels(panels)
    return figure


@matplotlib.rc_context(STYLE)
def figure_morphology(tree: Tree, value: Real, label: str, limits: tuple[float, float] | None = (0.0, 1.0)) -> Figure:
    """One value per compartment, drawn on the cell and against the path distance from the soma.

    Args:
        tree: the cell.
        value: (n,) such as EV; NaN is grey on the cell and left out beside it.
        label: what it is, with its unit.
        limits: of the colours and of the axis, by default those of EV; a value outside is drawn at the limit, on the
            cell in a colour of its own where it is below, and counted. None for the range of the values.
    """
    value = np.asarray(value, dtype=np.float64)
    finite = np.isfinite(value)
    if limits is None:
        limits = (float(value[finite].min()), float(value[finite].max())) if finite.any() else (0.0, 1.0)
    colours, norm = colour_scale(limits)
    figure = Figure(figsize=(11.0, 6.0), layout="constrained")
    cell_in = cell_inches(tree, 5.0) + 1.0
    cell, beside = figure.subplots(1, 2, width_ratios=(cell_in, 11.0 - cell_in))
    lines = draw_cell(cell, tree, value, colours, norm)
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)  # colour_scale has widened limits that are equal
    below, above = int((value < low).sum()), int((value > high).sum())
    sides = (f"below {low:g}", f"above {high:g}")
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below > 0, above > 0), "both")
    bar = figure.colorbar(lines, ax=cell, location="left", shrink=0.7, aspect=30, extend=extend)
    bar.set_label(label)
    if not finite.all():
        cell.plot([], [], color=MISSING, linewidth=4, label=f"no value ({np.sum(~finite)})")
        cell.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0))
    for region, marker in REGION_MARKERS.items():
        here = tree.in_region(region) & finite
        y = np.clip(value[here], low, high)
        style: Any = {"color": REGION_COLOURS[region], "label": region, "markeredgewidth": 0, "clip_on": False}
        style |= {"markersize": 13, "zorder": 3} if region == "soma" else {"markersize": 5, "alpha": 0.75}
        if here.any():
            beside.plot(tree.distance_um[here], y, marker, **style)
    outside = [f"{count} of {tree.n} {side}" for count, side in zip((below, above), sides, strict=True) if count]
    beside.set_title(", ".join(outside), loc="right", color=BELOW)
    beside.set_ylim(low, high)
    beside.set_xlim(left=0.0)
    beside.set_xlabel("path distance from the soma (µm)")
    beside.set_ylabel(label)
    if finite.any():
        beside.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(REGIONS), columnspacing=1.0)
    return figure


@matplotlib.rc_context(STYLE)
def figure_soma(
    recording_true: Recording,
    v_predicted_mV: Real,
    probability: Real | None,
    threshold: float,
    predicted_spikes_ms: Real,
    window_ms: tuple[int, int] | None = None,
) -> Figure:
    """Soma potential and output spikes of one trial, true and predicted.

    Args:
        recording_true: the trial; compartment 0 is the soma.
        v_predicted_mV: (steps,) predicted potential of the soma at the end of each 1 ms step [mV].
        probability: (steps,) predicted probability of an output spike in each step, or None for no such panel.
        threshold: the probability from which on a step has a spike.
        predicted_spikes_ms: (s,) predicted output spikes [ms].
        window_ms: the part to draw, from and to [ms]; None for the whole trial.
    """
    begin, end = window_ms or (0, recording_true.duration_ms)
    steps = slice(begin, min(end, recording_true.duration_ms))
    time = np.arange(steps.start, steps.stop)
    figure = Figure(figsize=(12.0, 6.0 if probability is not None else 4.5), layout="constrained")
    ratios = (0.5, 3.0, 1.3) if probability is not None else (0.5, 3.0)
    panels = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios)
    ticks, soma = panels[0], panels[1]

    spikes = [recording_true.spikes_ms, np.asarray(predicted_spikes_ms)]
    ticks.eventplot(spikes, lineoffsets=[1.0, 0.0], linelengths=0.75, linewidths=1.5, colors=[TRUE, TWIN])
    ticks.set_yticks([1.0, 0.0], ["true spikes", "predicted spikes"])
    ticks.set_ylim(-0.5, 1.5)
    ticks.tick_params(length=0, labelbottom=False)
    ticks.spines[["left", "bottom"]].set_visible(False)
    soma.plot(time + 1.0, recording_true.v_mV[steps, recording_true.tree.soma], color=TRUE, linewidth=1.2, label="true")
    soma.plot(time + 1.0, v_predicted_mV[steps], color=TWIN, linewidth=1.2, alpha=0.85, label="predicted")
    soma.set_ylabel("V at the soma (mV)")
    soma.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.0)
    if probability is not None:
        shown = probability[steps]
        panels[2].fill_between(time + 0.5, shown, color=TWIN, alpha=0.3, linewidth=0)
        panels[2].plot(time + 0.5, shown, color=TWIN, linewidth=0.9)
        panels[2].axhline(threshold, color=TRUE, linewidth=1.0, linestyle=(0, (5, 3)))
        place: Any = ("axes fraction", "data")
        panels[2].annotate(f"threshold\n{threshold:.3g}", (1.0, threshold), (6, 0), place, "offset points", va="bottom")
        panels[2].set_ylim(0.0, 1.15 * max(float(np.nanmax(shown)), threshold, 1e-6))
        panels[2].set_ylabel("P(spike)\n(per ms)")
    panels[-1].set_xlim(begin, steps.stop)
    panels[-1].set_xlabel("time (ms)")
    figure.align_ylabels(panels[1:])
    return figure
