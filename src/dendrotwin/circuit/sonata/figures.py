"""Figures of a SONATA run, from the files of its results."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from dendrotwin import plot
from dendrotwin.circuit.description import Population
from dendrotwin.circuit.figures import MV_TO_UV, raster_of
from dendrotwin.circuit.places import placed_tree
from dendrotwin.circuit.sonata.reports import MembraneRecording
from dendrotwin.circuit.sonata.rows import Floats, Ints
from dendrotwin.circuit.sonata.simulate import Simulation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SAMPLES = 1000  # of a report, among which the moment is looked for
MOST_COMPARTMENTS = 100_000  # that are drawn; of more, those of evenly chosen cells
FRAMES_MS = (-1.0, 0.0, 1.0, 3.0)  # about the moment that is shown


def draw(simulation: Simulation, folder: Path) -> list[Path]:
    """Spikes by population and depth with rates, each extracellular report over depth, and V of whole cells in frames.

    Depth is along the axis in which the contacts of the first extracellular report reach farthest; along y without one,
    as in the Allen Institute's circuits.

    Args:
        simulation: that has run and has written its results.
        folder: for the figures, which are made anew.

    Returns:
        The files.
    """
    plan, populations = simulation.plan, simulation.circuit.populations
    folder.mkdir(parents=True, exist_ok=True)
    up = "xyz"[int(np.ptp(plan.extracellular[0].position_um, axis=0).argmax())] if plan.extracellular else "y"
    found: dict[str, Figure | None] = {}
    if plan.spikes is not None:
        found["raster"] = raster_of(populations, _spikes(simulation, plan.spikes), plan.stop_ms, up)
    for outside in plan.extracellular:
        with h5py.File(outside.path) as file:
            values_uV = file["ecp/data"][()] * MV_TO_UV
        depth_um = outside.position_um[:, "xyz".index(up)]
        found[outside.name] = plot.figure_field(outside.clock.times_ms(), depth_um, values_uV, up=up)
    for report in plan.reports:
        if report.variable == "v":
            found[report.name] = _whole_cells(report, populations, "y" if up == "x" else up)
    paths = []
    for name, figure in found.items():
        if figure is not None:
            paths.append(folder / f"{name}.png")
            plot.save(figure, paths[-1])
    return paths


def _spikes(simulation: Simulation, path: Path) -> dict[str, tuple[Ints, Floats]]:
    """Nodes and times [ms] of each population."""
    found = {}
    with h5py.File(path) as file:
        for population in simulation.circuit.populations:
            group, ids = file[f"spikes/{population.name}"], simulation.plan.node_ids[population.name]
            order = np.argsort(ids)
            node = order[np.searchsorted(ids[order], group["node_ids"][()].astype(np.int64))]
            found[population.name] = (node, group["timestamps"][()])
    return found


def _whole_cells(report: MembraneRecording, populations: Sequence[Population], up: str) -> Figure | None:
    """V on the cells of which the report has all compartments, about the moment at which it is highest on the whole."""
    of_name = {population.name: population for population in populations}
    whole = [
        (elements, slice(a, z))
        for elements in report.elements
        for a, z in itertools.pairwise(elements.pointer.tolist())
        if z - a == _tree_size(of_name[elements.population], int(elements.node[a]))
    ]
    if not whole:
        return None
    shown = whole[:: -(-sum(part.stop - part.start for _, part in whole) // MOST_COMPARTMENTS)]
    trees = [placed_tree(of_name[elements.population], int(elements.node[part.start])) for elements, part in shown]
    time_ms = report.clock.times_ms()
    sampled = np.unique(np.linspace(0, len(time_ms) - 1, MOST_SAMPLES).astype(int))
    with h5py.File(report.path) as file:
        data = {elements.population: file[f"report/{elements.population}/data"] for elements in report.elements}
        sums_mV = [sum(float(values[row].sum()) for values in data.values()) for row in sampled.tolist()]
        peak_ms = time_ms[sampled[np.argmax(sums_mV)]]
        rows = np.unique(np.abs(time_ms[:, None] - (peak_ms + np.array(FRAMES_MS))).argmin(axis=0))
        frames = [
            data[elements.population][rows, part][:, np.argsort(elements.compartment[part])] for elements, part in shown
        ]
    v_mV = np.concatenate(frames, axis=1)
    return plot.figure_potentials(trees, v_mV, [round(t, 3) for t in time_ms[rows].tolist()], up=up)


def _tree_size(population: Population, node: int) -> int:
    return population.twins[int(population.model[node])].tree.n


def rates(simulation: Simulation) -> list[str]:
    """Spikes and mean rate of each population, a line each.

    Args:
        simulation: that has run and has written its spikes.
    """
    plan, lines = simulation.plan, list[str]()
    if plan.spikes is None:
        return lines
    with h5py.File(plan.spikes) as file:
        for population in simulation.circuit.populations:
            many = len(file[f"spikes/{population.name}/node_ids"])
            rate_hz = many / len(population) / plan.stop_ms * 1e3
            lines.append(f"{population.name}: {many} spikes, {rate_hz:.3g} spikes/s a cell")
    return lines
