"""The files of a run: spikes, reports of the membrane and extracellular potentials, as BMTK and libsonata read them.

Every file is written under a temporary name while the run goes on, and gets its own when it is whole.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin.circuit.sonata.load import RunPlan
from dendrotwin.circuit.sonata.reports import Elements, ExtracellularRecording, MembraneRecording
from dendrotwin.circuit.sonata.rows import Floats, Ints
from dendrotwin.circuit.sonata.sections import UNITS
from dendrotwin.errors import FileError
from dendrotwin.support.atomic_files import whole_file, whole_files
from dendrotwin.support.disk import new_hdf5, whole_hdf5

MAGIC, VERSION = np.uint32(0x0A7A), np.array([0, 1], np.uint32)
# libsonata reads the order of spikes as an enumeration, BMTK as the same enumeration's text or number.
ORDERS = {"none": 0, "by_id": 1, "by_time": 2}
CHUNK_VALUES = 1 << 16  # of a part of an array that is written at once
COLUMNS = ("timestamps", "population", "node_ids")


class Series:
    """An array (samples, width) of a file, written from its start to its end.

    Args:
        group: that holds it.
        name: of the array.
        count: of samples.
        width: of a sample.
        attributes: of the array.
    """

    def __init__(self, group: h5py.Group, name: str, count: int, width: int, **attributes: str) -> None:
        rows = min(max(CHUNK_VALUES // max(width, 1), 1), count)
        chunks = (rows, min(width, CHUNK_VALUES)) if width else None
        self.array = group.create_dataset(name, (count, width), "f4", chunks=chunks)
        for key, value in attributes.items():
            self.array.attrs[key] = value
        self.count, self.done = count, 0

    def add(self, values: NDArray[np.floating]) -> None:
        """Write the next samples.

        Args:
            values: (k, width) of them.
        """
        self.array[self.done : self.done + len(values)] = values
        self.done += len(values)


@contextmanager
def _new_file(path: Path) -> Iterator[h5py.File]:
    with whole_hdf5(path) as file:
        _stamp(file)
        yield file


def _stamp(file: h5py.File) -> None:
    file.attrs["magic"], file.attrs["version"] = MAGIC, VERSION


class SpikeFile:
    """The spikes of a run, by population.

    Args:
        file: HDF5's.
        names: of all populations with cells, also of those that will not fire.
        node_ids: (N,) ids of each population's nodes.
    """

    def __init__(self, file: h5py.File, names: list[str], node_ids: Mapping[str, Ints]) -> None:
        self.node_ids = node_ids
        self.groups = {name: file.create_group(f"spikes/{name}") for name in names}
        for group in self.groups.values():
            group.create_dataset("timestamps", (0,), "f8", maxshape=(None,), chunks=True).attrs["units"] = "ms"
            group.create_dataset("node_ids", (0,), "u8", maxshape=(None,), chunks=True)

    def add(self, population: str, node: Ints, time_ms: Floats) -> None:
        """Write spikes.

        Args:
            population: its name.
            node: (k,) indices in the population.
            time_ms: (k,) when [ms].
        """
        group = self.groups[population]
        for name, values in (("timestamps", time_ms), ("node_ids", self.node_ids[population][node])):
            array = group[name]
            array.resize(len(array) + len(values), axis=0)
            array[len(array) - len(values) :] = values

    def sort(self, order: str) -> None:
        """Put the spikes of each population in order, and say which.

        Args:
            order: of ORDERS.
        """
        kind = h5py.enum_dtype(ORDERS, basetype="u1")
        for group in self.groups.values():
            group.attrs.create("sorting", ORDERS[order], dtype=kind)
            if order != "none":
                time, node = group["timestamps"][()], group["node_ids"][()]
                by = np.lexsort((node, time) if order == "by_time" else (time, node))
                group["timestamps"][...], group["node_ids"][...] = time[by], node[by]


@contextmanager
def spike_file(plan: RunPlan, names: list[str]) -> Iterator[SpikeFile]:
    """Write the spikes of a run: HDF5, CSV, both or none, as the plan has it.

    Args:
        plan: of the run.
        names: of the populations with cells.

    Raises:
        FileError: the disk is full.
    """
    with ExitStack() as stack:
        if plan.spikes is None:
            file = stack.enter_context(h5py.File("spikes", "w", driver="core", backing_store=False))
        else:
            file = stack.enter_context(_new_file(plan.spikes))
        spikes = SpikeFile(file, names, plan.node_ids)
        yield spikes
        spikes.sort(plan.order)
        if plan.spikes_csv is not None:
            with whole_file(plan.spikes_csv) as temporary, open(temporary, "w", newline="") as text:
                writer = csv.writer(text, delimiter=" ", lineterminator="\n")
                writer.writerow(COLUMNS)
                for name, group in spikes.groups.items():
                    for time, node in zip(
                        group["timestamps"][()].tolist(), group["node_ids"][()].tolist(), strict=True
                    ):
                        writer.writerow((time, name, node))


@contextmanager
def membrane_file(recording: MembraneRecording) -> Iterator[dict[str, Series]]:
    """Write a report of the membrane.

    Args:
        recording: the report.

    Yields:
        For each population the series that takes its samples (k, E), float32, at `recording.clock.times_ms()`.

    Raises:
        FileError: the disk is full, or samples are missing at the end.
    """
    unit, clock = UNITS[recording.variable], recording.clock
    with _new_file(recording.path) as file:
        made = {}
        for elements in recording.elements:
            group = file.create_group(f"report/{elements.population}")
            made[elements.population] = Series(
                group, "data", clock.count, len(elements), units=unit, variable=recording.variable
            )
            _write_mapping(group.create_group("mapping"), elements)
            time = group["mapping"].create_dataset("time", data=[clock.start_ms, clock.stop_ms, clock.step_ms])
            time.attrs["units"] = "ms"
        yield made
        _all_there(recording.path, made.values())


def _write_mapping(group: h5py.Group, elements: Elements) -> None:
    ids = group.create_dataset("node_ids", data=elements.node_id.astype(np.uint64))
    ids.attrs.create("sorted", int((np.diff(elements.node_id) > 0).all()), dtype=np.uint8)
    group.create_dataset("element_ids", data=elements.section_id.astype(np.uint32))
    group.create_dataset("element_pos", data=elements.x.astype(np.float64))
    group.create_dataset("index_pointer", data=elements.pointer.astype(np.uint64))
    group["index_pointers"] = group["index_pointer"]  # the same array, by the name that libsonata has for it


class ExtracellularFile:
    """The extracellular potential of a run.

    Args:
        file: HDF5's.
        recording: the report.
    """

    def __init__(self, file: h5py.File, recording: ExtracellularRecording) -> None:
        count, width = recording.clock.count, len(recording.channel)
        group = file.create_group("ecp")
        group.create_dataset("channel_id", data=recording.channel)
        group.create_dataset("position", data=recording.position_um).attrs["units"] = "um"
        clock = recording.clock
        group.create_dataset("time", data=[clock.start_ms, clock.stop_ms, clock.step_ms]).attrs["units"] = "ms"
        self.total = Series(group, "data", count, width, units="mV")
        parts = group.create_group("populations")
        self.parts = {name: Series(parts, name, count, width, units="mV") for name in recording.cells}

    def add(self, values: Mapping[str, NDArray[np.floating]]) -> None:
        """Write the next samples; the whole potential is their sum.

        Args:
            values: (k, c) by the cells of each population [mV].
        """
        for name, series in self.parts.items():
            series.add(values[name])
        self.total.add(np.sum([values[name] for name in self.parts], axis=0))


@contextmanager
def extracellular_file(recording: ExtracellularRecording) -> Iterator[ExtracellularFile]:
    """Write a report of the extracellular potential.

    Args:
        recording: the report.

    Raises:
        FileError: the disk is full, or samples are missing at the end.
    """
    with _new_file(recording.path) as file:
        made = ExtracellularFile(file, recording)
        yield made
        _all_there(recording.path, [made.total])


class Contributions:
    """The extracellular potential of each cell alone, a file for each, of which one is open at a time.

    Args:
        folder: of the files while they are written.
        recording: the report.
        node_ids: (N,) ids of each population's nodes.
    """

    def __init__(self, folder: Path, recording: ExtracellularRecording, node_ids: Mapping[str, Ints]) -> None:
        self.count, self.width, self.done = recording.clock.count, len(recording.channel), 0
        self.paths = {
            name: [folder / recording.path_of(name, node_id).name for node_id in node_ids[name][index].tolist()]
            for name, index in recording.cells.items()
        }

    def add(self, values: Mapping[str, NDArray[np.floating]]) -> None:
        """Write the next samples.

        Args:
            values: (cells, k, c) of each population [mV].

        Raises:
            FileError: the disk is full.
        """
        stop = self.done
        for name, paths in self.paths.items():
            stop = self.done + values[name].shape[1]
            for path, of_cell in zip(paths, values[name], strict=True):
                with new_hdf5(path, mode="r+" if self.done else "w") as file:
                    if not self.done:
                        _stamp(file)
                        Series(file.create_group("ecp"), "data", self.count, self.width, units="mV")
                    file["ecp/data"][self.done : stop] = of_cell
        self.done = stop


@contextmanager
def contributions(recording: ExtracellularRecording, node_ids: Mapping[str, Ints]) -> Iterator[Contributions]:
    """Write the extracellular potential of each cell alone.

    Args:
        recording: a report that asks for it.
        node_ids: (N,) ids of each population's nodes.

    Raises:
        FileError: the disk is full, or samples are missing at the end.
    """
    assert recording.contributions is not None
    with whole_files(recording.contributions) as folder:
        made = Contributions(folder, recording, node_ids)
        yield made
        _all_there(recording.contributions, [made])


def _all_there(path: Path, made: Iterable[Series | Contributions]) -> None:
    for series in made:
        if series.done < series.count:
            raise FileError(f"{path} would have {series.done} of {series.count} samples; run the circuit to its end")
