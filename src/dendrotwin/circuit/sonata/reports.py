"""Which places and times a report asks for."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dendrotwin.cell.tree import Ints as Ints32
from dendrotwin.circuit.description import Population
from dendrotwin.circuit.sonata.config import SonataConfig
from dendrotwin.circuit.sonata.edges import section_prefix
from dendrotwin.circuit.sonata.nodes import Nodes, select
from dendrotwin.circuit.sonata.rows import Floats, Ints, read_table
from dendrotwin.circuit.sonata.sections import SECTIONS, ExtracellularReport, MembraneReport, NodeSet
from dendrotwin.errors import FileError, InputError

COORDINATES = ("x_pos", "y_pos", "z_pos")


@dataclass(frozen=True)
class Clock:
    """When a report's samples are. As in BMTK, the first is one step of the run after `start_ms`, not at it.

    Attributes:
        start_ms, stop_ms, step_ms: what the file says [ms].
        first_ms: when the first sample is [ms].
        count: of samples.
    """

    start_ms: float
    stop_ms: float
    step_ms: float
    first_ms: float
    count: int

    def times_ms(self) -> Floats:
        """(count,) when the samples are [ms]."""
        return np.asarray(self.first_ms + self.step_ms * np.arange(self.count), np.float64)


@dataclass(frozen=True, eq=False)
class Elements:
    """Compartments of cells of one population, E of them, cell by cell.

    Attributes:
        population: its name.
        node_id: (N,) the cells, by the ids of the files.
        pointer: (N + 1,) where each cell's elements begin.
        node: (E,) index of the cell in its population.
        compartment: (E,) of its tree.
        section_id: (E,) as SONATA counts sections.
        x: (E,) relative position of the compartment's middle in its section.
    """

    population: str
    node_id: Ints
    pointer: Ints
    node: Ints
    compartment: Ints32
    section_id: Ints
    x: Floats

    def __len__(self) -> int:
        return len(self.node)


@dataclass(frozen=True, eq=False)
class MembraneRecording:
    """A report of one variable.

    Attributes:
        name: of the report.
        path: where it goes.
        variable: v [mV] or cai [mM].
        clock: when.
        elements: where, of each population.
    """

    name: str
    path: Path
    variable: str
    clock: Clock
    elements: tuple[Elements, ...]


@dataclass(frozen=True, eq=False)
class ExtracellularRecording:
    """A report of the extracellular potential, in an infinite medium of 0.3 S/m, as in BMTK.

    Attributes:
        name: of the report.
        path: where it goes.
        clock: when.
        cells: (k,) indices of the cells that count, of each population.
        channel: (c,) ids of the contacts.
        position_um: (c, 3) of the contacts [um].
        contributions: folder for the potential of each cell alone, or None.
    """

    name: str
    path: Path
    clock: Clock
    cells: dict[str, Ints]
    channel: Ints
    position_um: Floats
    contributions: Path | None

    def path_of(self, population: str, node_id: int) -> Path:
        """Where the potential of a cell alone goes: ID.h5, or POPULATION_ID.h5 where there are several populations.

        Args:
            population: its population.
            node_id: its id in the files.
        """
        assert self.contributions is not None
        prefix = f"{population}_" if len(self.cells) > 1 else ""
        return self.contributions / f"{prefix}{node_id}.h5"

    def paths(self, node_ids: Mapping[str, Ints]) -> list[Path]:
        """All files of it.

        Args:
            node_ids: (N,) ids of each population's nodes.
        """
        if self.contributions is None:
            return [self.path]
        each = ((name, node_id) for name, index in self.cells.items() for node_id in node_ids[name][index].tolist())
        return [self.path, *(self.path_of(*cell) for cell in each)]


def read_clock(config: SonataConfig, name: str) -> Clock:
    """When the samples of a report are.

    Args:
        config: of the simulation.
        name: of the report.

    Raises:
        InputError: its times are no multiples of the run's dt, or outside the run.
    """
    report, run = config.reports[name], config.run
    said: tuple[float | None, float | None, float | None] = (None, None, None)
    if isinstance(report, MembraneReport):
        said = (report.start_time, report.end_time, report.dt)
    start, stop, step = (v if v is not None else d for v, d in zip(said, (0.0, run.tstop, run.dt), strict=True))
    where = f"{config.path}: reports.{name}"
    if not 0 <= start < stop <= run.tstop:
        raise InputError(
            f"{where}: from {start:g} to {stop:g} ms is no part of the run of {run.tstop:g} ms; correct it"
        )
    for key, value, unit in (("dt", step, run.dt), ("start_time", start, step), ("end_time", stop, step)):
        given = isinstance(report, MembraneReport) and getattr(report, key) is not None
        if given and abs(value / unit - round(value / unit)) > 1e-6:
            raise InputError(f"{where}: {key} = {value:g} ms is no multiple of {unit:g} ms; correct it")
    count = math.floor((stop - start - run.dt) / step + 1e-6) + 1
    if count < 1:
        raise InputError(f"{where}: from {start:g} to {stop:g} ms there is no step of {run.dt:g} ms; lengthen it")
    return Clock(start, stop, step, start + run.dt, count)


def chosen_cells(
    config: SonataConfig, nodes: Mapping[str, Nodes], chosen: NodeSet | None, where: str
) -> dict[str, Ints]:
    """The biophysical cells that a report is of; without a node set, all.

    Args:
        config: of the simulation.
        nodes: all populations.
        chosen: the node set.
        where: what asks, for errors.

    Returns:
        (k,) indices of the cells of each population.

    Raises:
        InputError: there is no such set, or no cell in it.
    """
    if chosen is None:
        found = {name: np.arange(len(of)) for name, of in nodes.items()}
    else:
        found = select(nodes, config.node_sets, chosen, where)
    cells = {name: index for name, index in found.items() if not nodes[name].virtual}
    if not cells:
        raise InputError(f"{where}: no cell of the set is biophysical; name a set of biophysical cells")
    return cells


def elements_of(population: Population, nodes: Nodes, cells: Ints, sections: list[str]) -> Elements:
    """The compartments of cells that a report asks for.

    Args:
        population: the cells.
        nodes: the same, with their ids.
        cells: (k,) indices of those that are asked for.
        sections: `soma` for the middle of the soma alone, `all`, or names such as `dend`.

    Raises:
        InputError: a cell has none of these sections.
    """
    model = np.asarray(population.model)[cells]
    of_model = {}
    for m in np.unique(model).tolist():
        tree = population.twins[m].tree
        ids = np.argsort(tree.section_order)  # SONATA's, of each section
        if sections == ["soma"]:
            chosen = np.array([tree.soma])
            of_model[m] = (chosen, ids[tree.section[chosen]], np.array([0.5]))
            continue
        prefixes = {SECTIONS[name] for name in sections if name != "all"}
        is_asked = np.array(["all" in sections or section_prefix(name) in prefixes for name in tree.section_names])
        chosen = np.flatnonzero(is_asked[tree.section])
        chosen = chosen[np.lexsort((tree.x[chosen], ids[tree.section[chosen]]))]
        of_model[m] = (chosen, ids[tree.section[chosen]], tree.x[chosen])
    parts = [of_model[m] for m in model.tolist()]
    counts = [len(part[0]) for part in parts]
    if not sum(counts):
        raise InputError(f"no cell of {population.name} has a section {', '.join(sections)}; correct the report")
    return Elements(
        population.name,
        nodes.id[cells],
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.repeat(cells, counts),
        np.concatenate([part[0] for part in parts]).astype(np.int32),
        np.concatenate([part[1] for part in parts]).astype(np.int64),
        np.concatenate([part[2] for part in parts]),
    )


def read_electrode(config: SonataConfig, name: str) -> tuple[Ints, Floats]:
    """The contacts of an electrode that a report asks for.

    Args:
        config: of the simulation.
        name: of the report.

    Returns:
        (c,) ids, and (c, 3) positions [um].

    Raises:
        FileError: the file is missing.
        InputError: it lacks a column, a value is no number, or a channel is not there.
    """
    report = config.reports[name]
    assert isinstance(report, ExtracellularReport)
    path = report.electrode_positions
    header, rows = read_table(path, "file of electrode_positions")
    lacking = [each for each in COORDINATES if each not in header]
    if lacking or not rows:
        raise InputError(
            f"{path} {'lacks the columns ' + ', '.join(lacking) if lacking else 'has no contact'}; a file of contacts "
            "has channel x_pos y_pos z_pos, and a row for each"
        )
    try:
        position = np.array([[float(row[header.index(each)]) for each in COORDINATES] for row in rows])
        channel = [int(row[header.index("channel")]) for row in rows] if "channel" in header else range(len(rows))
    except ValueError as error:
        raise InputError(f"{path}: {error}; channels are whole numbers, and positions numbers in um") from error
    ids = np.array(channel, np.int64)
    if len(np.unique(ids)) < len(ids) or not np.isfinite(position).all():
        raise InputError(f"{path}: a channel is there twice, or a position is not finite; correct it")
    if report.electrode_channels == "all":
        return ids, position
    unknown = sorted(set(report.electrode_channels) - set(ids.tolist()))
    if unknown or not report.electrode_channels:
        raise InputError(
            f"{config.path}: reports.{name}.electrode_channels: {path} has no channel {unknown}; correct it"
        )
    at = [int(np.flatnonzero(ids == channel)[0]) for channel in report.electrode_channels]
    return ids[at], position[at]


def refuse_paths(paths: list[Path], folder: Path, *, overwrite: bool) -> None:
    """See that results can be written where the config wants them, and overwrite nothing unasked.

    Args:
        paths: of all files.
        folder: the output folder.
        overwrite: whether files that are there may be replaced.

    Raises:
        FileError: the folder is a file, or a file is there and may not be replaced.
        InputError: two results would go to one file.
    """
    real = [Path(os.path.realpath(path)) for path in paths]  # as folders that are not there yet, and links, lead to it
    for each, where in [(folder, "output.output_dir: "), *((parent, "") for parent in {path.parent for path in real})]:
        above = next((parent for parent in (each, *each.parents) if parent.exists()), each)
        if above.exists() and not above.is_dir():
            raise FileError(f"{where}{above} is a file; name a folder")
    for path, count in Counter(real).items():
        if count > 1:
            raise InputError(f"two results would be written to {path}; give each a file_name of its own")
        if path.is_dir():
            raise FileError(f"{path} is a folder; name a file")
        if path.exists() and not overwrite:
            raise FileError(f"{path} exists; name another folder, or let overwrite_output_dir be true")
