"""One trial on its own: its input, all compartments, the soma."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dendrotwin.errors import InputError
from dendrotwin.plot.cells import cell_inches, draw_cell, height_um
from dendrotwin.plot.style import BELOW, STYLE, TWIN, colour_scale
from dendrotwin.recording import Recording


@matplotlib.rc_context(STYLE)
def figure_recording(recording: Recording, start_ms: int = 0, stop_ms: int | None = None) -> Figure:
    """The cell, and over time its input events, the potentials of all compartments, and the soma with its spikes.

    Args:
        recording: the trial.
        start_ms, stop_ms: which part of it is drawn [ms]; to its end where `stop_ms` is None.

    Raises:
        InputError: the part is empty.
    """
    stop_ms = recording.duration_ms if stop_ms is None else min(stop_ms, recording.duration_ms)
    if not 0 <= start_ms < stop_ms:
        raise InputError(
            f"there is nothing from {start_ms} to {stop_ms} ms of a trial of {recording.duration_ms} ms to draw"
        )
    tree = recording.tree
    height = height_um(tree)
    colours, norm = colour_scale((float(height.min()), float(height.max())))
    figure = Figure(figsize=(12.0, 7.0), layout="constrained")
    cell_in = cell_inches(tree, 6.3) + 1.0
    grid = figure.add_gridspec(3, 2, width_ratios=(cell_in, 12.0 - cell_in), height_ratios=(1.0, 1.6, 1.2))
    cell = figure.add_subplot(grid[:, 0])
    lines = draw_cell(cell, tree, height, colours, norm)
    bar = figure.colorbar(lines, ax=cell, location="left", shrink=0.5, aspect=30, pad=0.02)
    bar.set_label("height above the soma (µm)")

    raster = figure.add_subplot(grid[0, 1])
    excitatory = np.array([synapse.excitatory for synapse in tree.synapses])[tree.input_synapse]
    here = slice(*np.searchsorted(recording.events.time_ms, (start_ms, stop_ms)))
    inputs, arrival = recording.events.input[here], recording.events.time_ms[here]
    for name, colour, chosen in (("excitatory", TWIN, excitatory), ("inhibitory", BELOW, ~excitatory)):
        of_kind = chosen[inputs]
        at = height[tree.input_compartment[inputs[of_kind]]]
        raster.plot(arrival[of_kind], at, ".", color=colour, markersize=2.5, markeredgewidth=0, label=name)
    raster.set_ylabel("input at\nheight (µm)")
    raster.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, markerscale=4, handletextpad=0.2)

    per_ms = recording.v_mV.shape[0] // recording.duration_ms
    part = slice(start_ms * per_ms, stop_ms * per_ms)
    v, time = recording.v_mV[part], (np.arange(part.start, part.stop) + 1.0) / per_ms
    traces = figure.add_subplot(grid[1, 1], sharex=raster)
    order = np.argsort(height, kind="stable")
    all_traces = LineCollection(
        [np.column_stack([time, v[:, i]]) for i in order],
        cmap=colours, norm=norm, linewidths=0.6, alpha=0.7, rasterized=True,
    )  # fmt: skip
    all_traces.set_array(height[order])
    traces.add_collection(all_traces)
    traces.autoscale_view()
    traces.set_ylabel("all compartments,\nV (mV)")

    soma = figure.add_subplot(grid[2, 1], sharex=raster)
    soma.plot(time, v[:, tree.soma], color="black", linewidth=0.9)
    spikes = recording.spikes_ms[(recording.spikes_ms >= start_ms) & (recording.spikes_ms < stop_ms)]
    top = float(v[:, tree.soma].max()) + 5.0
    soma.plot(spikes, np.full(len(spikes), top), "v", color="black", markersize=5)
    soma.set_ylabel("soma,\nV (mV)")
    soma.set_xlabel("time (ms)")
    soma.set_xlim(start_ms, stop_ms)
    for axes in (raster, traces):
        axes.tick_params(labelbottom=False)
    for axes in (raster, traces, soma):
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    figure.align_ylabels([raster, traces, soma])
    return figure
