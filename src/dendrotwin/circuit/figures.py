"""Figures of a run: its spikes and rates, its fields over depth, the potentials of all its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin import plot
from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.description import Population
from dendrotwin.circuit.fields import Field
from dendrotwin.circuit.places import placed_trees
from dendrotwin.circuit.recorders import Parts, Potentials
from dendrotwin.circuit.run import Result
from dendrotwin.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Indices = NDArray[np.int64]
MV_TO_UV, NA_UM3_TO_UA_MM3 = 1e3, 1e6


def raster(result: Result) -> Figure:
    """Spikes of each population at the depths of their somas, and rates.

    Args:
        result: of a run.
    """
    spikes = {population.name: result.spikes(population.name) for population in result.circuit.populations}
    return raster_of(result.circuit.populations, spikes, result.settings.duration_ms)


def raster_of(
    populations: Sequence[Population],
    spikes: Mapping[str, tuple[Indices, Floats]],
    duration_ms: float,
    up: str = "z",
) -> Figure:
    """The same of any spikes; cells that are all at one depth are drawn by their numbers.

    Args:
        populations: the cells.
        spikes: of each population, (s,) nodes and (s,) times [ms].
        duration_ms: of the run [ms].
        up: the axis of depth, "x", "y" or "z".
    """
    depth_um = {population.name: population.position_um[:, "xyz".index(up)] for population in populations}
    level = len(np.unique(np.concatenate(list(depth_um.values())))) == 1
    height, below = {}, 0
    for population in populations:
        node, time_ms = spikes[population.name]
        height[population.name] = (time_ms, node + float(below) if level else depth_um[population.name][node])
        below += len(population)
    cells = {population.name: len(population) for population in populations}
    label = "number of the cell" if level else f"{up} of the soma (µm)"
    return plot.figure_raster(height, cells, (0.0, duration_ms), label=label)


def field(result: Result) -> Figure:
    """LFP over depth, and CSD where that was recorded, too.

    Args:
        result: of a run with `Field(signals.LFP(probe))`, and perhaps `Field(signals.CSD(...))`.

    Raises:
        InputError: no LFP was recorded.
    """
    found: dict[str, tuple[dict[str, Any], Parts]] = {}
    for recorder, parts in zip(result.recorders, result.parts, strict=True):
        if isinstance(recorder, Field):
            found.setdefault(recorder.name.partition("-")[0], (recorder.instrument.channels(), parts))
    if "lfp" not in found:
        raise InputError("no LFP was recorded in this run; give record=[Field(signals.LFP(probe))]")
    channels, parts = found["lfp"]
    lfp_uV = parts["values"].sum(axis=0) * MV_TO_UV
    csd, layers_um = None, None
    if "csd" in found:
        csd, layers_um = found["csd"][1]["values"].sum(axis=0) * NA_UM3_TO_UA_MM3, found["csd"][0]["z_um"]
    return plot.figure_field(parts["time_ms"], channels["z_um"], lfp_uV, csd, layers_um)


def potentials(result: Result, times_ms: Sequence[float]) -> Figure:
    """The potentials of all compartments of the cells of which they were recorded, at some times.

    Args:
        result: of a run with `Potentials(population, compartments="all")`, of one population or several.
        times_ms: of the frames; the samples nearest to them are shown [ms].

    Raises:
        InputError: no potentials of all compartments were recorded.
    """
    trees, columns, shown_ms = [], [], np.zeros(0)
    populations = {population.name: population for population in result.circuit.populations}
    for recorder, parts in zip(result.recorders, result.parts, strict=True):
        if not isinstance(recorder, Potentials) or recorder.variable != "v" or recorder.somata_only:
            continue
        if not isinstance(recorder.compartments, str):
            continue
        nodes = np.unique(parts["node"])
        trees += placed_trees(populations[recorder.population], nodes)
        at = np.abs(parts["time_ms"][:, None] - np.asarray(times_ms)).argmin(axis=0)
        columns.append(parts["values"][at])
        shown_ms = parts["time_ms"][at]
    if not trees:
        raise InputError(
            'no potentials of whole cells were recorded; give record=[Potentials(name, compartments="all")]'
        )
    return plot.figure_potentials(trees, np.concatenate(columns, axis=1), shown_ms.tolist())
