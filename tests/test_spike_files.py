"""Spikes in the forms in which people have them, as events of a cell's inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dendrotwin.cell.spike_files import holds_spikes, read_spikes
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording import write_recordings
from test_recording import recording, tree_with_inputs

NODES, TIMES = [0, 3, 1, 2], [5.0, 3.0, 20.5, 10.0]


def sonata(path: Path, populations: dict[str, tuple[Any, Any]], units: str | bytes | None = "ms") -> Path:
    """Spikes of populations, each of node ids and times."""
    with h5py.File(path, "w") as file:
        for name, (nodes, times) in populations.items():
            file[f"spikes/{name}/node_ids"] = np.array(nodes, np.uint64)
            file[f"spikes/{name}/timestamps"] = np.array(times, np.float64)
            if units is not None:
                file[f"spikes/{name}/timestamps"].attrs["units"] = units
    return path


def pairs(events: Any) -> list[tuple[int, float]]:
    return [(int(i), pytest.approx(t)) for i, t in zip(events.input, events.time_ms, strict=True)]


@pytest.mark.parametrize(("units", "factor"), [("ms", 1.0), (None, 1.0), ("s", 1e-3), (b"seconds", 1e-3)])
def test_sonata(tmp_path: Path, units: str | bytes | None, factor: float) -> None:
    path = sonata(tmp_path / "s.h5", {"exc": (NODES, np.array(TIMES) * factor)}, units)
    assert holds_spikes(path)
    assert pairs(read_spikes(path)) == [(3, 3.0), (0, 5.0), (2, 10.0), (1, 20.5)]
    assert pairs(read_spikes(path, {0: [7, 8], 3: 5, 1: [], 2: -1})) == [(5, 3.0), (7, 5.0), (8, 5.0)]
    assert pairs(read_spikes(path, [10, 11, 12, 13])) == [(13, 3.0), (10, 5.0), (12, 10.0), (11, 20.5)]
    assert pairs(read_spikes(path, [[0, 4], [3, 4], [1, 4], [2, 6]]))[2] == (6, 10.0)


def test_several_populations(tmp_path: Path) -> None:
    path = sonata(tmp_path / "s.h5", {"exc": ([0, 1], [5.0, 2.0]), "inh": ([0], [3.0])})
    with pytest.raises(InputError, match="holds spikes of exc, inh; give a table of population,node_id,input"):
        read_spikes(path)
    expected = [(1, 2.0), (9, 3.0), (0, 5.0)]
    assert pairs(read_spikes(path, {("exc", 0): 0, ("exc", 1): 1, ("inh", 0): 9})) == expected
    table = tmp_path / "t.csv"
    table.write_text("population,node_id,input\nexc,0,0\nexc,1,1\ninh,0,9\n")
    assert pairs(read_spikes(path, table)) == expected
    with pytest.raises(InputError, match="let the table of inputs name the population"):
        read_spikes(path, {0: 1, 1: 2})
    table.write_text("population,node_id,input\nexc,0,0\nexc,1,\n")
    with pytest.raises(InputError, match="node 0 of inh fires and is not in the table"):
        read_spikes(path, table)


def test_older_sonata_and_nothing_at_all(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["spikes/gids"], file["spikes/timestamps"] = [0, 3], [5.0, 3.0]
    assert pairs(read_spikes(tmp_path / "old.h5")) == [(3, 3.0), (0, 5.0)]
    assert len(read_spikes(sonata(tmp_path / "none.h5", {"exc": ([], [])}))) == 0


@pytest.mark.parametrize(
    "text",
    [
        "timestamps population node_ids\n5.0 exc 0\n3.2 exc 3\n",
        "node_ids,timestamps\n0,5.0\n3,3.2\n",
    ],
)
def test_tables_of_bmtk(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    assert pairs(read_spikes(tmp_path / "s.csv")) == [(3, 3.2), (0, 5.0)]


def test_units_of_nwb(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "u.nwb", "w") as file:
        file["units/id"], file["units/spike_times_index"] = [4, 9], [2, 3]
        file["units/spike_times"] = [0.02, 0.001, 0.5]
    assert pairs(read_spikes(tmp_path / "u.nwb", {4: 0, 9: 1})) == [(0, 1.0), (0, 20.0), (1, 500.0)]
    with h5py.File(tmp_path / "u.nwb", "r+") as file:
        file["units/spike_times_index"][...] = [2, 7]
    with pytest.raises(FileError, match="does not fit units/spike_times"):
        read_spikes(tmp_path / "u.nwb")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input,time,weight\n0,20.5,1\n", "has a column 'weight', which would not count"),
        ("timestamps,node_ids,weight\n0,20.5,1\n", "has the columns timestamps, node_ids, weight"),
        ("timestamps,population\n0,a\n", "has the columns timestamps, population"),
        ("input,time\n0,0.0205\n1,0.1\n", "all times are below 1, as in seconds"),
        ("timestamps node_ids\n0.2 0\n", "all times are below 1, as in seconds"),
        ("timestamps node_ids\nx 0\n", "every row needs numbers"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_spikes(tmp_path / "s.csv")


def test_the_unit_of_times_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("input,time\n0,0.0205\n1,0.1\n")
    assert pairs(read_spikes(tmp_path / "s.csv", unit="s")) == [(0, 20.5), (1, 100.0)]
    assert pairs(read_spikes(tmp_path / "s.csv", unit="ms")) == [(0, 0.0205), (1, 0.1)]
    path = sonata(tmp_path / "s.h5", {"exc": (NODES, TIMES)})
    with pytest.raises(InputError, match="says that its times are in ms, not in s"):
        read_spikes(path, unit="s")
    with pytest.raises(InputError, match="times in 'us'; choose ms or s"):
        read_spikes(path, unit="us")


def test_files_that_are_refused(tmp_path: Path) -> None:
    write_recordings(tmp_path / "r.h5", [recording(tree_with_inputs())], {})
    assert not holds_spikes(tmp_path / "r.h5")
    with pytest.raises(InputError, match=r"r.h5 is a recording"):
        read_spikes(tmp_path / "r.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(FileError, match="holds no spikes"):
        read_spikes(tmp_path / "other.h5")
    (tmp_path / "half.h5").write_bytes(b"\x89HDF")
    with pytest.raises(FileError, match="is truncated or is no HDF5 file"):
        read_spikes(tmp_path / "half.h5")
    for nodes, times, message in (([0, 1], [1.0], "has 2 node ids and 1 times"), ([0], [np.nan], "not finite")):
        with pytest.raises(FileError, match=message):
            read_spikes(sonata(tmp_path / "s.h5", {"exc": (nodes, times)}))
    path = sonata(tmp_path / "s.h5", {"exc": (NODES, TIMES)})
    with h5py.File(path, "r+") as file:
        del file["spikes/exc/node_ids"]
    with pytest.raises(FileError, match=r"s.h5 lacks spikes/exc/node_ids"):
        read_spikes(path)
    with pytest.raises(FileError, match="neither ms nor s"):
        read_spikes(sonata(path, {"exc": (NODES, TIMES)}, "us"))


def test_tables_of_inputs_that_are_refused(tmp_path: Path) -> None:
    path = sonata(tmp_path / "s.h5", {"exc": (NODES, TIMES)})
    table = tmp_path / "t.csv"
    for text, message in (
        ("node,input\n0,1\n", "has the columns node,input; a table of inputs has"),
        ("node_id,input\n0,x\n", "'x' in the table of inputs is no whole number"),
        ("node_id,input\n0,1\n", "node 1 of exc fires and is not in the table"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            read_spikes(path, table)
    with pytest.raises(InputError, match="has shape"):
        read_spikes(path, np.zeros((2, 3)))
    (tmp_path / "e.csv").write_text("input,time\n0,5\n")
    with pytest.raises(InputError, match="name inputs themselves"):
        read_spikes(tmp_path / "e.csv", {0: 1})
