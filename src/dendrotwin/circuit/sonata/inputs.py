"""Inputs of a simulation: spike trains of virtual populations, and current clamps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.spike_files import NO_NAME, Spikes, spikes_of_populations
from dendrotwin.cell.tree import Tree
from dendrotwin.circuit.description import Clamps, Population, SpikeTrains
from dendrotwin.circuit.sonata.config import SonataConfig
from dendrotwin.circuit.sonata.nodes import Nodes, select
from dendrotwin.circuit.sonata.rows import Ints
from dendrotwin.circuit.sonata.sections import ClampInput, SpikeInput
from dendrotwin.errors import InputError

NAMELESS = (NO_NAME, "units")  # populations of files that do not name them: old SONATA, CSV without a column, NWB


def read_trains(config: SonataConfig, nodes: Mapping[str, Nodes], notes: list[str]) -> list[SpikeTrains]:
    """The spikes of all virtual populations: those of the files of their inputs, together, before the run's end.

    Args:
        config: of the simulation.
        nodes: all populations.
        notes: gets a line for each population that stays silent.

    Returns:
        One of each virtual population; files may hold spikes in any order.

    Raises:
        FileError: a file is damaged or no file of spikes.
        InputError: a file is missing, is of another population, or has a spike before 0 ms or of a node that is not
            there; or an input drives biophysical nodes.
    """
    virtual = {name: of for name, of in nodes.items() if of.virtual}
    found: dict[str, list[tuple[Ints, np.ndarray]]] = {name: [] for name in virtual}
    for key, said in config.inputs.items():
        if not isinstance(said, SpikeInput):
            continue
        where = f"inputs.{key}"
        chosen = select(nodes, config.node_sets, said.node_set, where)
        if said.node_set == "all":  # of a file of spikes that says itself whose they are
            chosen = {name: of for name, of in chosen.items() if name in virtual}
        for name in chosen:
            if name not in virtual:
                raise InputError(
                    f"{where}: the nodes of {name} are biophysical, and make their own spikes; "
                    "name a virtual population"
                )
        of_file = _by_population(said.input_file, list(chosen), where)
        for name, spikes in of_file.items():
            found[name].append(_spikes(spikes, nodes[name], chosen[name], said.input_file, config.run.tstop))
    notes += [f"the virtual population {name} has no spikes" for name, parts in found.items() if not parts]
    none = (np.zeros(0, np.int64), np.zeros(0))
    return [
        SpikeTrains(
            name,
            len(virtual[name]),
            np.concatenate([none[0], *(p[0] for p in parts)]),
            np.concatenate([none[1], *(p[1] for p in parts)]),
        )
        for name, parts in found.items()
    ]


def _by_population(path: Path, names: list[str], where: str) -> dict[str, Spikes]:
    """Spikes of a file of the populations that an input drives."""
    populations = spikes_of_populations(path)
    nameless = (
        len(populations) == 1 and populations[0].population in NAMELESS and populations[0].population not in names
    )
    if nameless and len(names) == 1:
        return {names[0]: populations[0]}
    found = {spikes.population: spikes for spikes in populations if spikes.population in names}
    if not found:
        there = ", ".join(spikes.population or "one without a name" for spikes in populations)
        raise InputError(
            f"{where}: {path} holds spikes of {there}, and the input drives {', '.join(names)}; correct its node_set, "
            "or name another file"
        )
    return found


def _spikes(spikes: Spikes, nodes: Nodes, chosen: Ints, path: Path, stop_ms: float) -> tuple[Ints, np.ndarray]:
    """Nodes, as indices, and times of the spikes that count."""
    at = nodes.index(spikes.node)
    if (at < 0).any():
        raise InputError(
            f"{path}: node {spikes.node[at < 0][0]} fires, which {nodes.name} does not have; it has {len(nodes)} nodes"
        )
    if (spikes.time < 0).any():
        raise InputError(f"{path}: a spike is at {spikes.time.min():g} ms, before the run starts; shift it to t >= 0")
    count = np.isin(at, chosen) & (spikes.time < stop_ms)
    return at[count], spikes.time[count]


def clamped_cells(config: SonataConfig, nodes: Mapping[str, Nodes]) -> dict[str, dict[str, Ints]]:
    """The biophysical cells of each input of current.

    Args:
        config: of the simulation.
        nodes: all populations.

    Returns:
        By name of the input: (k,) indices of each population.

    Raises:
        InputError: a set is not there, or has no biophysical node.
    """
    found = {}
    for key, said in config.inputs.items():
        if isinstance(said, ClampInput):
            chosen = select(nodes, config.node_sets, said.node_set, f"inputs.{key}")
            found[key] = {name: of for name, of in chosen.items() if not nodes[name].virtual}
            if not found[key]:
                raise InputError(f"inputs.{key}: no node of the set is biophysical; currents go into biophysical cells")
    return found


def read_clamps(
    config: SonataConfig, clamped: Mapping[str, dict[str, Ints]], populations: Mapping[str, Population],
    own: Mapping[str, NDArray[np.bool_]],
) -> list[Clamps]:  # fmt: skip
    """The current steps of all inputs, into those of the biophysical cells of their node sets that a process has.

    Args:
        config: of the simulation.
        clamped: (k,) indices of the cells, of each input and population; see `clamped_cells`.
        populations: the biophysical ones.
        own: (N,) which cells of each population.

    Raises:
        InputError: a cell lacks the section.
    """
    made = []
    for key, chosen in clamped.items():
        said = config.inputs[key]
        assert isinstance(said, ClampInput)
        for name, of in chosen.items():
            cells, node = populations[name], of[own[name][of]]
            model = np.asarray(cells.model)[node]
            at = {m: _compartment(cells.twins[m].tree, said, f"inputs.{key}") for m in np.unique(model).tolist()}
            compartment = np.array([at[m] for m in model.tolist()], np.int32)
            steps, count = len(said.amp), len(model)
            made.append(
                Clamps(
                    name,
                    np.repeat(node, steps),
                    np.repeat(compartment, steps),
                    np.tile(np.array(said.delay), count),
                    np.tile(np.array(said.delay) + np.array(said.duration), count),
                    np.tile(np.array(said.amp), count),
                )
            )
    return made


def _compartment(tree: Tree, said: ClampInput, where: str) -> int:
    """Where an electrode is in a cell: `section_name`[`section_index`](`section_dist`)."""
    names = [name.split(".")[-1] for name in tree.section_names]
    full = f"{said.section_name}[{said.section_index}]"
    if full not in names and not (said.section_index == 0 and said.section_name in names):
        like = sum(name.split("[")[0] == said.section_name for name in names)
        raise InputError(f"{where}: a cell has no section {full}; it has {like} of that name, counted from 0")
    section = tree.section_names[names.index(full if full in names else said.section_name)]
    return tree.compartment(section, said.section_dist)
