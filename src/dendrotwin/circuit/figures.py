"""Figures of a run: its spikes and rates, its fields over depth, the potentials of all its cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dendrotwin import plot
from dendrotwin.circuit.places import placed_trees
from dendrotwin.circuit.recorders import Field, Parts, Potentials
from dendrotwin.circuit.run import Result
from dendrotwin.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MV_TO_UV, NA_UM3_TO_UA_MM3 = 1e3, 1e6


def raster(result: Result) -> Figure:
    """Spikes of each population at the depths of their somas, and rates.

    Args:
        result: of a run.
    """
    spikes, cells = {}, {}
    for population in result.circuit.populations:
        node, time_ms = result.spikes(population.name)
        spikes[population.name] = (time_ms, population.position_um[node, 2])
        cells[population.name] = len(population)
    return plot.figure_raster(spikes, cells, (0.0, result.settings.duration_ms))


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
