"""A SONATA simulation as a circuit of twins, and the plan of its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from dendrotwin.circuit.description import Description, Population
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.sonata.config import SonataConfig, read_config
from dendrotwin.circuit.sonata.edges import place, read_edges
from dendrotwin.circuit.sonata.inputs import clamped_cells, read_clamps, read_trains
from dendrotwin.circuit.sonata.nodes import Nodes, read_nodes
from dendrotwin.circuit.sonata.placement import placement
from dendrotwin.circuit.sonata.reports import (
    ExtracellularRecording,
    MembraneRecording,
    chosen_cells,
    elements_of,
    read_clock,
    read_electrode,
    refuse_paths,
)
from dendrotwin.circuit.sonata.rows import Ints
from dendrotwin.circuit.sonata.sections import MembraneReport
from dendrotwin.circuit.wiring import own_nodes
from dendrotwin.errors import InputError
from dendrotwin.signals.placing import soma_centre
from dendrotwin.twin import Twin

DONE = "network.json"
TwinsOf = Callable[[list[dict[str, str]]], list[Twin]]  # a twin for the options of the cell `sonata`, of each type


@dataclass(frozen=True, eq=False)
class RunPlan:
    """What a simulation asks for, beside the circuit.

    Attributes:
        stop_ms, dt_ms: length of the run, and the clock of its reports [ms].
        threshold_mV: of a spike, which the soma's potential crosses upwards [mV].
        v_init_mV, celsius: conditions, which the twins have been read at.
        reports: of variables of the membrane.
        extracellular: of potentials outside.
        folder: of the results.
        spikes, spikes_csv: files; None for none.
        order: of the spikes in their files.
        node_ids: (N,) by which files name the nodes of each population.
        overwrite: whether results that are there may be replaced.
        notes: a line for each part of the config that has no effect.
    """

    stop_ms: float
    dt_ms: float
    threshold_mV: float
    v_init_mV: float
    celsius: float
    reports: tuple[MembraneRecording, ...]
    extracellular: tuple[ExtracellularRecording, ...]
    folder: Path
    spikes: Path | None
    spikes_csv: Path | None
    order: Literal["none", "by_time", "by_id"]
    node_ids: dict[str, Ints]
    overwrite: bool
    notes: tuple[str, ...]

    @property
    def done(self) -> Path:
        """The file that says what was run, once all results are there."""
        return self.folder / DONE


def read_circuit(
    path: str | Path, twins_of: TwinsOf, folder: str | Path | None = None, *, overwrite: bool = False
) -> tuple[Description, RunPlan]:
    """Read a simulation: everything in it is looked at before a twin is made, and before anything is written.

    Of several processes, which read together, each gets the connections and clamps that end in its own cells.

    Args:
        path: of the simulation config.
        twins_of: what reads the cells of node types.
        folder: for the results, in place of `output.output_dir`.
        overwrite: replace results that are there, as `output.overwrite_output_dir` says it.

    Raises:
        FileError: a file is missing or damaged, or in the way.
        InputError: something is wrong, or asks for what is not done here.
        CellError: a cell cannot be built or read.
    """
    config = read_config(path)
    notes = [*config.notes]
    mechanisms = config.components.get("mechanisms_dir")
    if mechanisms is not None and not mechanisms.is_dir():
        notes.append(f"components.mechanisms_dir {mechanisms} does not exist; mechanisms are those in bmtk's wheel")
    nodes = read_nodes(config)
    cell_types = _cell_types(config, nodes)
    models = {name: types.model for name, types in cell_types.items()}
    own = dict(zip(models, own_nodes(list(models.values()), exchange().rank, exchange().size), strict=True))
    edges = read_edges(config, nodes, own, notes)
    trains = read_trains(config, nodes, notes)
    clamped = clamped_cells(config, nodes)
    asked = {
        name: chosen_cells(config, nodes, said.cells, f"{config.path}: reports.{name}")
        for name, said in config.reports.items()
    }
    plan = _plan(config, nodes, asked, Path(folder) if folder is not None else config.output.output_dir, notes)
    plan = replace(plan, overwrite=overwrite or config.output.overwrite_output_dir)
    # Whether results that are complete are those of this very run is known when it has been read.
    refuse_paths(_files(plan), plan.folder, overwrite=plan.overwrite or plan.done.is_file())

    populations = {of.name: of for of in _populations(nodes, cell_types, twins_of)}
    projections = tuple(place(each, populations[each.target]) for each in edges)
    clamps = read_clamps(config, clamped, populations, own)
    reports = []
    for recording in plan.reports:
        said = config.reports[recording.name]
        assert isinstance(said, MembraneReport)
        elements = tuple(
            elements_of(populations[name], nodes[name], of, said.sections) for name, of in asked[recording.name].items()
        )
        reports.append(replace(recording, elements=elements))
    circuit = Description(tuple(populations.values()), tuple(trains), projections, tuple(clamps))
    return circuit, replace(plan, reports=tuple(reports), notes=tuple(notes))


def _plan(
    config: SonataConfig,
    nodes: Mapping[str, Nodes],
    asked: Mapping[str, dict[str, Ints]],
    folder: Path,
    notes: list[str],
) -> RunPlan:
    """The plan, with reports whose elements are not known before the cells are."""
    output = config.output
    reports: list[MembraneRecording] = []
    outside: list[ExtracellularRecording] = []
    for name, said in config.reports.items():
        path, clock = folder / config.file_of_report(name), read_clock(config, name)
        if isinstance(said, MembraneReport):
            reports.append(MembraneRecording(name, path, said.variable_name, clock, ()))
            continue
        contributions = None if said.contributions_dir is None else folder / said.contributions_dir
        electrode = read_electrode(config, name)
        outside.append(ExtracellularRecording(name, path, clock, asked[name], *electrode, contributions))
        if said.minimum_distance is None:
            notes.append(
                f"reports.{name}: a contact inside a cell counts as if it were on the membrane (minimum_distance auto)"
            )
    spikes, spikes_csv = (
        None if name is None else folder / name for name in (output.spikes_file, output.spikes_file_csv)
    )
    return RunPlan(
        config.run.tstop,
        config.run.dt,
        config.run.spike_threshold,
        config.conditions.v_init,
        config.conditions.celsius,
        tuple(reports),
        tuple(outside),
        folder,
        spikes,
        spikes_csv,
        output.order,
        {name: of.id for name, of in nodes.items()},
        False,
        tuple(notes),
    )


def _files(plan: RunPlan) -> list[Path]:
    """All files that a run writes."""
    files = [
        plan.spikes,
        plan.spikes_csv,
        *(of.path for of in plan.reports),
        *(path for of in plan.extracellular for path in of.paths(plan.node_ids)),
    ]
    return [path for path in files if path is not None]


class _CellTypes(NamedTuple):
    """Types of the cells of a population: `different` of all populations, and (N,) which of them each cell is."""

    different: list[dict[str, str]]
    model: Ints


def _cell_types(config: SonataConfig, nodes: Mapping[str, Nodes]) -> dict[str, _CellTypes]:
    """Of each population of cells; types that are the same in several populations are one."""
    biophysical = [of for of in nodes.values() if not of.virtual]
    if not biophysical:
        raise InputError(f"{config.path}: all nodes of the circuit are virtual; a run needs biophysical ones")
    different: list[dict[str, str]] = []
    found = {}
    for of in biophysical:
        types, model = of.cell_types(config)
        different += [each for each in types if each not in different]
        found[of.name] = _CellTypes(different, np.array([different.index(each) for each in types], np.int64)[model])
    return found


def _populations(
    nodes: Mapping[str, Nodes], cell_types: Mapping[str, _CellTypes], twins_of: TwinsOf
) -> list[Population]:
    """The populations of cells; each different type is made once, whatever populations have it."""
    where = {name: (nodes[name].position(), nodes[name].rotation()) for name in cell_types}
    different = next(iter(cell_types.values())).different
    # For each type a twin of its own, also where types are alike: processes have shared out the cells of each type.
    twins = [copy(twin) for twin in twins_of(different)]
    found = []
    for name, (_, of_all) in cell_types.items():
        kinds, model = np.unique(of_all, return_inverse=True)
        own = tuple(twins[kind] for kind in kinds.tolist())
        position, attributes = where[name]
        rotation = placement(attributes, len(model))
        # Files place the origin of the cell's coordinates, a `Population` its soma.
        soma_um = np.stack([soma_centre(twin.tree) for twin in own])[model]
        somata = position + np.einsum("nij,nj->ni", rotation, soma_um)
        found.append(Population(name, own, model.astype(np.int32), somata, rotation))
    return found
