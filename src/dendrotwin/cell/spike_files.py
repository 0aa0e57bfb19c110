"""Spikes of other people's simulations and experiments as input events of a cell.

SONATA's HDF5 (Dai et al. 2020, doi:10.1371/journal.pcbi.1007696), BMTK's CSV, the units of Neurodata Without Borders
(Rübel et al. 2022, doi:10.7554/eLife.78362), and the table or npz file of `read_events`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dendrotwin.cell.stimuli import MS_PER_UNIT, read_events, rows_of_csv, to_ms
from dendrotwin.cell.tree import Events
from dendrotwin.errors import FileError, InputError
from dendrotwin.support.hdf5_parts import Part

NO_NAME = ""  # of the only population of a file that does not name it
InputTable = Path | str | Mapping[Any, Any] | ArrayLike
"""Which inputs a source of spikes drives; see `read_spikes`."""


_Table = dict[tuple[str, int], list[int]]  # inputs of each (population, node id)


class Spikes(NamedTuple):
    """Spikes of one population.

    Attributes:
        population: its name.
        node: (k,) number of the source of each.
        time: (k,) when it fires, in `unit`.
        unit: ms or s, or None where the file does not say.
    """

    population: str
    node: NDArray[Any]
    time: NDArray[Any]
    unit: str | None


def holds_spikes(path: str | Path) -> bool:
    """Whether a file holds spikes or events, rather than recordings.

    Args:
        path: the file.
    """
    path = Path(path)
    if path.suffix in (".csv", ".npz", ".nwb"):
        return True
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return "spikes" in file or ("units" in file and "trials" not in file)


def read_spikes(path: str | Path, inputs: InputTable | None = None, unit: str | None = None) -> Events:
    """Spikes as input events, sorted by time.

    Args:
        path: SONATA (.h5, with /spikes/POPULATION/node_ids and timestamps, or /spikes/gids), CSV of BMTK (columns
            timestamps, node_ids and perhaps population, with spaces or commas), NWB (/units, in seconds from the
            start), or events as `read_events` takes them, which name inputs themselves.
        inputs: which inputs of the cell a source drives. A CSV file with the columns node_id and input, and population
            where there are several, a row for each pair; a dictionary from node id, or (population, node id), to
            an input or several; an array (sources,), the input of each node id, or (pairs, 2) of node id and input.
            A source that drives no input is there too, with an empty input, an empty list, or -1. None where node
            ids of the only population are the numbers of inputs.
        unit: of the times, ms or s, where the file does not say it.

    Returns:
        The events; their times are in ms.

    Raises:
        FileError: the file lacks a part, or is none of these.
        InputError: a source is not in the table, there are several populations and no table, or all times are below
            1 ms and nothing says that they are no seconds.
    """
    path = Path(path)
    if unit is not None and unit not in MS_PER_UNIT:
        raise InputError(f"times in {unit!r}; choose {' or '.join(MS_PER_UNIT)}")
    populations = _read_populations(path)
    if populations is None:
        if inputs is not None:
            raise InputError(f"the events of {path} name inputs themselves; leave the table of inputs away")
        return read_events(path, unit)
    names = [spikes.population for spikes in populations]
    if inputs is None and len(populations) > 1:
        raise InputError(
            f"{path} holds spikes of {', '.join(names)}; give a table of population,node_id,input (--inputs) that says "
            "which input each of their nodes drives"
        )
    table = None if inputs is None else _input_table(inputs, names)
    found_inputs, found_times = [], []
    for spikes in populations:
        node, time = _checked(path, spikes, unit)
        if table is None:
            found_inputs.append(node)
            found_times.append(time)
        else:
            for of_input, times in _driven(path, spikes.population, node, time, table):
                found_inputs.append(np.full(len(times), of_input))
                found_times.append(times)
    none = np.zeros(0)
    return Events.sort(np.concatenate([none, *found_inputs]), np.concatenate([none, *found_times]))


def spikes_of_populations(path: str | Path) -> list[Spikes]:
    """What fires, by population, whatever it drives.

    Args:
        path: SONATA, CSV of BMTK or NWB; see `read_spikes`.

    Returns:
        Spikes of each population, by whole node ids and in ms, in the order of the file. Without a unit times are in
        ms, as the SONATA format has it. An only population without a name is NO_NAME.

    Raises:
        FileError: the file lacks a part, or is none of these.
        InputError: it does not exist, or holds events of inputs.
    """
    path = Path(path)
    populations = _read_populations(path)
    if populations is None:
        raise InputError(f"{path} holds no spikes of nodes; give SONATA (.h5), CSV of BMTK, or NWB")
    return [Spikes(of.population, *_checked(path, of, None if of.unit else "ms"), "ms") for of in populations]


def _read_populations(path: Path) -> list[Spikes] | None:
    """What fires in a file; None where it holds events of inputs."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a file of events or spikes")
    if path.suffix == ".npz":
        return None
    if not h5py.is_hdf5(path):
        if path.suffix in (".h5", ".hdf5", ".nwb"):
            raise FileError(f"{path} is truncated or is no HDF5 file; restore it, or make it again")
        header = _header(path)
        return [*_of_table(path)] if "timestamps" in header or "node_ids" in header else None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "it is truncated"
        raise FileError(f"{path} cannot be opened: {why}") from error
    with file:
        parts = Part(path, file)
        if "spikes" in parts:
            return [*_of_sonata(parts.group("spikes"))]
        if "units" in parts and "trials" not in parts:
            return [_of_nwb(parts.group("units"))]
        if "trials" in parts and "tree" in parts:
            raise InputError(
                f"{path} is a recording; name a file of events or spikes (`predict` takes a recording's input)"
            )
        raise FileError(f"{path} holds no spikes; SONATA has them in /spikes, Neurodata Without Borders in /units")


def _header(path: Path) -> list[str]:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        line = file.readline()
    return [name.strip() for name in (line.split(",") if "," in line else line.split())]


def _of_table(path: Path) -> Iterator[Spikes]:
    """The populations of a CSV of BMTK."""
    header = _header(path)
    further = sorted(set(header) - {"timestamps", "node_ids", "population"})
    if further or len(set(header)) < len(header) or not {"timestamps", "node_ids"} <= set(header):
        raise InputError(
            f"{path} has the columns {', '.join(header)}; spikes of BMTK have timestamps, node_ids and perhaps "
            "population, and nothing else would count: leave it away"
        )
    rows = rows_of_csv(path)[1:]
    try:
        time, node = (np.array([float(row[header.index(name)]) for row in rows]) for name in ("timestamps", "node_ids"))
    except ValueError as error:
        raise InputError(f"{path}: {error}; every row needs numbers as timestamps and node_ids") from error
    of = np.array([row[header.index("population")] if "population" in header else NO_NAME for row in rows], str)
    for population in np.unique(of) if len(of) else [NO_NAME]:
        yield Spikes(str(population), node[of == population], time[of == population], None)


def _of_sonata(spikes: Part) -> Iterator[Spikes]:
    """The populations of a SONATA file; older ones have a single one without a name."""
    if "timestamps" in spikes or "gids" in spikes:
        name = "gids" if "gids" in spikes else "node_ids"
        yield Spikes(NO_NAME, spikes.array(name), spikes.array("timestamps"), _unit(spikes))
        return
    if not spikes.names():
        raise spikes.error("holds no population in spikes")
    for population in spikes.names():
        group = spikes.group(population)
        yield Spikes(population, group.array("node_ids"), group.array("timestamps"), _unit(group))


def _unit(group: Part) -> str | None:
    """The unit of SONATA's times; the format says ms where the file does not."""
    said = group.dataset("timestamps").attrs.get("units")
    if said is None:
        return None
    text = said.decode() if isinstance(said, bytes) else str(said)
    for unit, names in (
        ("ms", ("ms", "msec", "millisecond", "milliseconds")),
        ("s", ("s", "sec", "second", "seconds")),
    ):
        if text.strip().lower() in names:
            return unit
    raise group.error(f"has times in {text!r}, which is neither ms nor s")


def _of_nwb(units: Part) -> Spikes:
    """The units of an NWB file; its times are in seconds."""
    index = np.asarray(units.array("spike_times_index"), np.int64)
    time = np.asarray(units.array("spike_times"), np.float64)
    ids = np.asarray(units.array("id")) if "id" in units else np.arange(len(index))
    counts = np.diff(index, prepend=0)
    if len(ids) != len(index) or (counts < 0).any() or counts.sum() != len(time):
        raise units.error("has a units/spike_times_index that does not fit units/spike_times")
    return Spikes("units", np.repeat(ids, counts), time, "s")


def _checked(path: Path, spikes: Spikes, unit: str | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Node ids as whole numbers, and times in ms."""
    name = f"{path}, population {spikes.population}" if spikes.population else str(path)
    try:
        node, time = np.asarray(spikes.node, np.float64), np.asarray(spikes.time, np.float64)
    except (TypeError, ValueError) as error:
        raise FileError(f"{name}: node ids or times are not numbers; make the file again") from error
    if node.ndim != 1 or node.shape != time.shape:
        raise FileError(f"{name} has {node.size} node ids and {time.size} times; give one of each for every spike")
    whole = np.isfinite(node) & (node == np.rint(node)) & (node >= 0)
    if not (np.isfinite(time).all() and whole.all()):
        raise FileError(f"{name}: a node id is no whole number from 0, or a time is not finite; correct it")
    if unit is not None and spikes.unit is not None and unit != spikes.unit:
        raise InputError(f"{name} says that its times are in {spikes.unit}, not in {unit}; leave the unit away")
    return node.astype(np.int64), to_ms(time, spikes.unit or unit, name)


def _driven(
    path: Path, population: str, node: NDArray[np.int64], time: NDArray[np.float64], table: _Table
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Each input that a population drives, and when."""
    for source in np.unique(node).tolist():
        if (population, source) not in table:
            raise InputError(
                f"{path}: node {source} of {population or 'the population'} fires and is not in the table of inputs; "
                "add it, with an empty input if it drives none"
            )
        for of_input in table[population, source]:
            yield of_input, time[node == source]


def _input_table(inputs: InputTable, populations: list[str]) -> _Table:
    """A table of inputs in any form."""
    only = populations[0] if len(populations) == 1 else None
    rows: list[tuple[Any, Any, Any]]  # population or None, node id, input
    if isinstance(inputs, str | Path):
        rows = _table_of_csv(Path(inputs))
    elif isinstance(inputs, Mapping):
        keys = [key if isinstance(key, tuple) else (None, key) for key in inputs]
        rows = [(*key, value) for key, value in zip(keys, inputs.values(), strict=True)]
    else:
        array = np.asarray(inputs)
        if array.ndim == 1:
            array = np.stack([np.arange(len(array)), array], axis=1)
        if array.ndim != 2 or array.shape[1] != 2:
            raise InputError(
                f"a table of inputs has shape {array.shape}; give (sources,), or (pairs, 2) of node id, input"
            )
        rows = [(None, node, of_input) for node, of_input in array.tolist()]
    made: dict[tuple[str, int], list[int]] = {}
    for population, node, value in rows:
        if population is None and only is None:
            raise InputError(f"the spikes are of {', '.join(populations)}; let the table of inputs name the population")
        of = only if population is None else str(population)
        values: Any = value if isinstance(value, list | tuple | np.ndarray) else [value]
        numbers = [_whole(each) for each in values]
        made.setdefault((str(of), _whole(node)), []).extend(number for number in numbers if number >= 0)
    return made


def _whole(value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if number != np.rint(number):
        raise InputError(f"{value!r} in the table of inputs is no whole number; node ids and inputs are counted from 0")
    return int(number)


def _table_of_csv(path: Path) -> list[tuple[Any, Any, Any]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist; it says which input each source drives: node_id,input")
    header, *rows = rows_of_csv(path) or [[]]
    names = [name.strip() for name in header]
    if sorted(names) not in (["input", "node_id"], ["input", "node_id", "population"]):
        raise InputError(
            f"{path} has the columns {','.join(names)}; a table of inputs has node_id,input or population,node_id,input"
        )
    population = names.index("population") if "population" in names else None
    return [
        (
            None if population is None else row[population].strip(),
            row[names.index("node_id")],
            row[names.index("input")].strip() or -1,
        )
        for row in rows
    ]
