"""Figures of a SONATA run, from the files of its results."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from dendrotwin import plot
from dendrotwin.circuit.figures import MV_TO_UV, raster_of
from dendrotwin.circuit.sonata.simulate import Simulation


def draw(simulation: Simulation, folder: Path) -> list[Path]:
    """Spikes by population and depth with rates, and each extracellular report over depth.

    Args:
        simulation: that has run and has written its spikes.
        folder: for the figures, which are made anew.

    Returns:
        The files.
    """
    plan, circuit = simulation.plan, simulation.circuit
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    if plan.spikes is not None:
        spikes = {}
        with h5py.File(plan.spikes) as file:
            for population in circuit.populations:
                group, ids = file[f"spikes/{population.name}"], plan.node_ids[population.name]
                order = np.argsort(ids)
                node = order[np.searchsorted(ids[order], group["node_ids"][()].astype(np.int64))]
                spikes[population.name] = (node, group["timestamps"][()])
        found.append(folder / "raster.png")
        plot.save(raster_of(circuit.populations, spikes, plan.stop_ms), found[-1])
    for outside in plan.extracellular:
        with h5py.File(outside.path) as file:
            values_uV = file["ecp/data"][()] * MV_TO_UV
        found.append(folder / f"{outside.name}.png")
        depth_um = outside.position_um
        axis = int((depth_um.max(axis=0) - depth_um.min(axis=0)).argmax())
        plot.save(plot.figure_field(outside.clock.times_ms(), depth_um[:, axis], values_uV), found[-1])
    return found


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
