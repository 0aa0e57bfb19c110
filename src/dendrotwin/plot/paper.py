"""Figures after those of Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728): several panels on a page.

NEURON is black, the twin coloured; cells that are compared have one scale of colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.plot.cells import cell_inches, draw_cell, height_um, project
from dendrotwin.plot.errors import draw_distributions, draw_ev, lowest_drawn
from dendrotwin.plot.style import (
    BASELINE,
    BELOW,
    LEGEND_MARKER,
    MEDIAN,
    RULE,
    STYLE,
    TRUE,
    TWIN,
    Real,
    colour_scale,
    legend_above,
    series_colours,
)
from dendrotwin.plot.training import draw_curves

EXCITATORY, INHIBITORY = "#D55E00", "#56B4E9"
SITE_LINES: Any = ({"color": "#D55E00"}, {"color": "#009E73", "linestyle": (0, (4, 1.5))})
SITE_LETTERS, ELECTRODE_NUMBERS = "abcdefghij", "123456789"  # marks on the cell and of the panels
DOTTED: Any = {"color": BASELINE, "linewidth": 1.0, "linestyle": (0, (1, 1.5)), "zorder": 0}


@dataclass(frozen=True, eq=False)
class TracePair:
    """One quantity over time, as NEURON recorded it and as the twin predicts it.

    Attributes:
        name: of the panel, such as the place of a compartment.
        true, predicted: (steps,) values of NEURON and of the twin.
        note: on their difference, such as "EV 0.981".
    """

    name: str
    true: Real
    predicted: Real
    note: str = ""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The whole cell at one moment: its potentials, and the input just before.

    Attributes:
        time_ms: the moment, the end of a 1 ms step [ms].
        true_mV, predicted_mV: (n,) potentials of NEURON and of the twin [mV].
        input_ms: synaptic events of so many milliseconds before the moment are drawn on the cell [ms].
    """

    time_ms: int
    true_mV: Real
    predicted_mV: Real
    input_ms: int


@matplotlib.rc_context(STYLE)
def figure_paper_1(
    tree: Tree,
    events: Events,
    sites: Mapping[int, TracePair],
    electrodes_um: Real,
    lfp: Sequence[TracePair],
    snapshot: Snapshot,
    window_ms: tuple[int, int],
) -> Figure:
    """After figure 1, B to D: a cell with its input and potentials, traces of some compartments, and the LFP beside it.

    Args:
        tree: the cell.
        events: its input.
        sites: V in the window by compartment [mV], from top to bottom.
        electrodes_um: (electrodes, 2) where the electrodes are on the page (see `project`), from top to bottom [um].
        lfp: the LFP in the window at each of them [uV].
        snapshot: what is drawn on the whole cell.
        window_ms: the part to draw, from and to [ms].
    """
    rows = max(len(sites) + 1, len(lfp))
    cell_in = cell_inches(tree, 7.2) + 0.2
    figure = Figure(figsize=(3 * cell_in + 8.6, 8.4), layout="constrained")
    grid = figure.add_gridspec(rows, 5, width_ratios=(cell_in, cell_in, cell_in, 4.0, 4.0))
    cells = [figure.add_subplot(grid[:, column]) for column in range(3)]
    potentials = [snapshot.true_mV, snapshot.predicted_mV]
    colours, norm = colour_scale((float(np.min(potentials)), float(np.max(potentials))))
    draw_cell(cells[0], tree, np.full(tree.n, np.nan), colours, norm)
    _draw_input(cells[0], tree, events, snapshot.time_ms - snapshot.input_ms, snapshot.time_ms)
    _draw_markers(cells[0], project(tree)[list(sites)].mean(axis=1), SITE_LETTERS, "o")
    _draw_markers(cells[0], electrodes_um, ELECTRODE_NUMBERS, "s")
    cells[0].set_title(f"input of {snapshot.input_ms} ms")
    for axes, name, v in zip(cells[1:], ("NEURON", "twin"), potentials, strict=True):
        draw_cell(axes, tree, v, colours, norm)
        axes.set_title(name)
    for axes in cells[1:]:
        axes.set_xlim(cells[0].get_xlim())
        axes.set_ylim(cells[0].get_ylim())
    _draw_colour_bar(cells[1], ScalarMappable(norm, colours), f"V at {snapshot.time_ms} ms (mV)")

    raster = figure.add_subplot(grid[0, 3])
    _draw_raster(raster, tree, events, window_ms)
    of_sites = [figure.add_subplot(grid[row, 3], sharex=raster) for row in range(1, len(sites) + 1)]
    of_contacts = [figure.add_subplot(grid[row, 4], sharex=raster) for row in range(len(lfp))]
    time = np.arange(window_ms[0], window_ms[1]) + 1.0
    for letter, axes, pair in zip(SITE_LETTERS, of_sites, sites.values(), strict=False):
        _draw_traces(axes, time, pair)
        _title_traces(axes, letter, pair)
    for number, axes, pair in zip(ELECTRODE_NUMBERS, of_contacts, lfp, strict=False):
        _draw_traces(axes, time, pair)
        _title_traces(axes, number, pair)
    for column in ([raster, *of_sites], of_contacts):
        for axes in column:
            axes.axvline(snapshot.time_ms, **DOTTED)
            axes.tick_params(labelbottom=axes is column[-1])
        column[-1].set_xlabel("time (ms)")
        figure.align_ylabels(column)
    raster.set_xlim(*window_ms)
    raster.set_title("synaptic input", loc="left", pad=3)
    of_sites[len(of_sites) // 2].set_ylabel("membrane potential (mV)")
    of_contacts[len(of_contacts) // 2].set_ylabel("LFP (µV)")
    for letter, axes in (("B", cells[0]), ("C", raster), ("D", of_contacts[0])):
        _letter_panel(axes, letter)
    dots = [Line2D([], [], marker="o", color=colour, label=name, **LEGEND_MARKER)
            for name, colour in (("excitatory input", EXCITATORY), ("inhibitory input", INHIBITORY))]  # fmt: skip
    figure.legend(handles=[*_legend_of_traces(), *dots], loc="outside upper center", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def figure_paper_2(
    tree: Tree,
    curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    ev: Mapping[str, Real],
    auc: Mapping[str, Sequence[float]],
) -> Figure:
    """After figure 2: the loss of architectures over training, their errors in all compartments, their output spikes.

    Args:
        tree: the cell.
        curves: of each architecture one curve for each seed; points with `minutes` and `validation`, the loss.
        ev: (n,) EV of each architecture and baseline; those without a curve are baselines, drawn in grey.
        auc: of each of them, the area under the ROC curve of output spikes for each seed.
    """
    grey = [name for name in ev if name not in curves]
    colours = series_colours(list(ev), grey)
    cell_in = cell_inches(tree, 4.6) + 0.3
    columns = max(1, min(len(curves), int(12.0 / cell_in)))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(13.0, 8.2 + 5.0 * rows), layout="constrained")
    above, middle, below = figure.subfigures(3, 1, squeeze=False, height_ratios=(4.0, 4.2, 5.0 * rows)).ravel()
    loss, spikes = above.subplots(1, 2, width_ratios=(1.3, 1.0))
    draw_curves(loss, curves, "validation", colours)
    loss.set_ylabel("loss on validation trials\n(normalised)")
    _draw_auc(spikes, auc, colours)
    lanes = middle.subplots()
    lowest = lowest_drawn(ev, -0.5)
    draw_distributions(lanes, tree, ev, lowest, colours)
    lanes.axhline(0.0, color=RULE, linewidth=0.8, zorder=0)
    lanes.set_ylim(lowest, 1.0)
    lanes.set_ylabel("explained variance\nEV (1: exact)")
    scale, norm = colour_scale((0.0, 1.0))
    grid = below.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(grid, curves, strict=False):
        draw_ev(axes, tree, name, ev[name], scale, norm)
    for axes in grid[len(curves) :]:
        axes.set_axis_off()
    bar = below.colorbar(ScalarMappable(norm, scale), ax=grid.tolist(), shrink=0.7, aspect=30, extend="min")
    bar.set_label("explained variance EV (1: exact)")
    for letter, axes in (("A", loss), ("B", spikes), ("C", lanes), ("D", grid[0])):
        _letter_panel(axes, letter)
    legend_above(figure, colours)
    return figure


@matplotlib.rc_context(STYLE)
def figure_paper_3(
    tree: Tree,
    injections: Mapping[str, Injection],
    sites: Mapping[str, int],
    true_mV: Sequence[Real],
    predicted_mV: Sequence[Real],
    start_ms: int,
    snapshot_step: int,
) -> Figure:
    """After figure 3: currents into the cell, the potentials of its sites, and the whole cell in the last trial.

    Args:
        tree: the cell.
        injections: the current of each trial, by the trial's name.
        sites: compartments with an electrode by name, from top to bottom.
        true_mV, predicted_mV: (steps, n) potentials of each trial [mV].
        start_ms: beginning of their first step [ms].
        snapshot_step: the step of the last trial whose potentials are drawn on the cell.
    """
    cell_in = cell_inches(tree, 6.0) + 0.2
    figure = Figure(figsize=(2 * cell_in + 10.6, 7.6), layout="constrained")
    heights = (0.6, *[1.0] * len(sites))
    widths = (*[10.0 / len(injections)] * len(injections), cell_in, cell_in)
    grid = figure.add_gridspec(len(heights), len(widths), height_ratios=heights, width_ratios=widths)
    panels = np.empty((len(heights), len(injections)), dtype=object)
    for row, column in np.ndindex(panels.shape):
        panels[row, column] = axes = figure.add_subplot(grid[row, column], sharex=panels[0, 0], sharey=panels[row, 0])
        axes.tick_params(labelbottom=row == len(heights) - 1, labelleft=column == 0)
    steps = np.arange(len(true_mV[0]) + 1.0)
    time = start_ms + steps
    for column, (name, injection) in enumerate(injections.items()):
        panels[0, column].set_title(name, pad=8)
        for row, site in enumerate(sites.values(), 1):
            current = injection.current_nA[:, np.flatnonzero(injection.compartment == site)[0]]
            # A current holds for the whole step, a potential is that of its end.
            panels[0, column].stairs(current, time, baseline=None, linewidth=2.0, **SITE_LINES[row - 1])
            pair = TracePair(name, true_mV[column][:, site], predicted_mV[column][:, site])
            _draw_traces(panels[row, column], time[1:], pair)
        panels[-1, column].set_xlabel("time (ms)")
    for axes in panels[:, -1]:
        axes.axvline(time[1 + snapshot_step], **DOTTED)
    panels[0, 0].set_xlim(time[0], time[-1])
    panels[0, 0].set_ylabel("current\n(nA)")
    for letter, axes, name in zip(SITE_LETTERS, panels[1:, 0], sites, strict=False):
        axes.set_ylabel(f"{letter}: {name}\nV (mV)")
    figure.align_ylabels(panels[:, 0])

    cells = [figure.add_subplot(grid[:, len(injections) + k]) for k in range(2)]
    potentials = [true_mV[-1][snapshot_step], predicted_mV[-1][snapshot_step]]
    colours, norm = colour_scale((float(np.min(potentials)), float(np.max(potentials))))
    for axes, name, v in zip(cells, ("NEURON", "twin"), potentials, strict=True):
        draw_cell(axes, tree, v, colours, norm)
        _draw_markers(axes, project(tree)[list(sites.values())].mean(axis=1), SITE_LETTERS, "o")
        axes.set_title(name)
    _draw_colour_bar(cells[0], ScalarMappable(norm, colours), f"V at {time[1 + snapshot_step]:.0f} ms (mV)")
    for letter, axes in (("A", panels[0, 0]), ("B", cells[0])):
        _letter_panel(axes, letter)
    lines = [Line2D([], [], label=f"current, {name}", linewidth=2.0, **style)
             for name, style in zip(sites, SITE_LINES, strict=False)]  # fmt: skip
    figure.legend(handles=[*_legend_of_traces(), *lines], loc="outside upper center", ncols=2 + len(lines))
    return figure


def _legend_of_traces() -> list[Line2D]:
    """Black for NEURON, the twin's colour for the twin."""
    return [
        Line2D([], [], color=colour, linewidth=2.5, label=name) for name, colour in (("NEURON", TRUE), ("twin", TWIN))
    ]


def _draw_colour_bar(axes: Axes, scale: ScalarMappable, label: str) -> None:
    """A colour bar to the right of the cell's trunk, where no branches are."""
    bar = axes.figure.colorbar(scale, cax=axes.inset_axes((0.72, 0.5, 0.06, 0.28)))
    bar.set_label(label)


def _letter_panel(axes: Axes, letter: str) -> None:
    """The letter of a panel, left of its title."""
    axes.annotate(letter, (0.0, 1.0), (-28, 6), "axes fraction", "offset points", weight="bold", fontsize=17)


def _draw_traces(axes: Axes, time_ms: Real, pair: TracePair) -> None:
    axes.plot(time_ms, pair.true, color=TRUE, linewidth=2.6)
    axes.plot(time_ms, pair.predicted, color=TWIN, linewidth=1.3)
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))


def _title_traces(axes: Axes, mark: str, pair: TracePair) -> None:
    axes.set_title(f"{mark}  {pair.name}", loc="left", pad=3)
    axes.set_title(pair.note, loc="right", pad=3, color=MEDIAN, fontsize=11)


def _events_by_sign(tree: Tree, events: Events, start_ms: int, stop_ms: int) -> list[tuple[str, Any, Any]]:
    """Colour, compartments and times [ms] of the excitatory and of the inhibitory events in a stretch of time."""
    here = slice(*np.searchsorted(events.time_ms, (start_ms, stop_ms)))
    inputs, time = events.input[here], events.time_ms[here]
    excitatory = np.array([synapse.excitatory for synapse in tree.synapses], dtype=bool)[tree.input_synapse[inputs]]
    by_sign = ((EXCITATORY, excitatory), (INHIBITORY, ~excitatory))
    return [(colour, tree.input_compartment[inputs[chosen]], time[chosen]) for colour, chosen in by_sign]


def _draw_input(axes: Axes, tree: Tree, events: Events, start_ms: int, stop_ms: int) -> None:
    """A dot on the cell where an event has arrived; excitatory ones in front."""
    middles = project(tree).mean(axis=1)
    for order, (colour, compartments, _) in zip((5, 4), _events_by_sign(tree, events, start_ms, stop_ms), strict=True):
        axes.plot(
            *middles[compartments].T, "o", color=colour, markersize=4.5, markeredgewidth=0, alpha=0.85, zorder=order
        )


def _draw_raster(axes: Axes, tree: Tree, events: Events, window_ms: tuple[int, int]) -> None:
    """Every event at its time and at the height of its compartment."""
    height = height_um(tree)
    for colour, compartments, time in _events_by_sign(tree, events, *window_ms):
        axes.plot(time + 0.5, height[compartments], ".", color=colour, markersize=2.0, markeredgewidth=0)
    axes.set_ylabel("height\n(µm)")
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))


def _draw_markers(axes: Axes, places_um: Real, names: str, marker: str) -> None:
    """Sites (round) or electrodes (square) with their names in them."""
    for name, (x, y) in zip(names, places_um, strict=False):
        face, ink = ("white", "black") if marker == "o" else (BELOW, "white")
        axes.plot(x, y, marker, color=face, markeredgecolor="black", markersize=12, markeredgewidth=0.9, zorder=6)
        middle: Any = {"textcoords": "offset points", "ha": "center", "va": "center_baseline"}
        axes.annotate(name, (x, y), (0, -0.5), fontsize=10, color=ink, zorder=7, **middle)


def _draw_auc(axes: Axes, auc: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> None:
    """AUC of each predictor from top to bottom, a dot for each seed, the mean as a number."""
    edge: Any = ("axes fraction", "data")
    style: Any = {"textcoords": "offset points", "va": "center", "color": MEDIAN}
    for row, (name, values) in enumerate(auc.items()):
        axes.plot(values, [row] * len(values), "o", color=colours[name], markersize=9, markeredgewidth=0, alpha=0.8)
        axes.annotate(f"{np.mean(values):.3f}", (1.0, row), (10, 0), edge, **style)
    axes.annotate("mean", (1.0, -0.5), (10, 8), edge, **style)
    axes.set_yticks(range(len(auc)), [name.replace(":", "\n") for name in auc])
    axes.set_ylim(len(auc) - 0.5, -0.5)
    axes.set_xlim(right=1.0)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("output spikes, AUC (1: exact, 0.5: chance)")
