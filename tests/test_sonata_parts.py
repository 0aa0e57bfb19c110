"""A process reads the edges and clamps of its own cells, by the index of the targets or without one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dendrotwin.circuit import identity
from dendrotwin.circuit.description import Description
from dendrotwin.circuit.exchange import Exchange
from dendrotwin.circuit.sonata import edges, load, simulate
from dendrotwin.circuit.sonata.load import read_circuit
from dendrotwin.circuit.wiring import own_nodes
from dendrotwin.errors import DendrotwinError, InputError
from dendrotwin.support import hdf5_parts
from dendrotwin.support.hdf5_parts import Part
from sonata_files import StubCells, config_of, make_circuit, write_config
from test_circuit_parts import rows

COUNT = 300


class Meeting:
    """Processes that are threads of this one."""

    def __init__(self, size: int) -> None:
        self.size, self.said = size, [None] * size
        self.barrier, self.here = threading.Barrier(size, timeout=60), threading.local()

    def exchange(self) -> Exchange:
        return self.here.exchange

    def run(self, act: Callable[[], Any]) -> list[Any]:
        """What each process gives, or the error that it ends with."""
        found: list[Any] = [None] * self.size

        def one(rank: int) -> None:
            self.here.exchange = Friend(self, rank)
            try:
                found[rank] = act()
            except DendrotwinError as error:
                found[rank] = error

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


class Friend(Exchange):
    """One of them."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size, self._known = meeting, rank, meeting.size, None

    def gather(self, value: Any) -> list[Any]:
        self.meeting.said[self.rank] = value
        self.meeting.barrier.wait()
        found = list(self.meeting.said)
        self.meeting.barrier.wait()
        for each in found:
            if isinstance(each, DendrotwinError):
                self._known = each
                raise each
        return found


def meet(monkeypatch: pytest.MonkeyPatch, size: int) -> Meeting:
    meeting = Meeting(size)
    for module in (edges, load, identity, simulate):
        monkeypatch.setattr(module, "exchange", meeting.exchange)
    return meeting


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Edges of four cells in no order, some with a section and some that are drawn; blocks are short."""
    path = make_circuit(tmp_path)
    for module in (edges, hdf5_parts):
        monkeypatch.setattr(module, "AT_ONCE", 17)
    monkeypatch.setattr(hdf5_parts, "NEAR", 3)
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "network" / "edges.h5", "w") as file:
        group = file.create_group("edges/source_to_cells")
        target, of_group = random.integers(10, 14, COUNT), random.integers(0, 2, COUNT)
        group["source_node_id"], group["target_node_id"] = random.integers(0, 3, COUNT), target
        for end, name in (("source", "source"), ("target", "cells")):
            group[f"{end}_node_id"].attrs["node_population"] = name
        group["edge_type_id"] = np.where(of_group == 1, 3, random.integers(3, 5, COUNT))
        index = np.zeros(COUNT, int)
        for k in (0, 1):
            index[of_group == k] = random.permutation((of_group == k).sum())
        group["edge_group_id"], group["edge_group_index"] = of_group, index
        many = [(of_group == k).sum() for k in (0, 1)]
        group["0/afferent_section_id"] = random.integers(0, 4, many[0]).astype(np.uint32)
        group["0/afferent_section_pos"] = random.random(many[0])
        group["0/syn_weight"] = random.random(many[0])
        group["1/nsyns"] = random.integers(0, 5, many[1])
        edge = np.argsort(target, kind="stable")
        ranges = np.stack([edge, edge + 1], 1)
        ends = np.searchsorted(target[edge], [np.arange(14), np.arange(1, 15)]).T
        group["indices/target_to_source/range_to_edge_id"], group["indices/target_to_source/node_id_to_range"] = (
            ranges, ends
        )  # fmt: skip
    return path


def without_index(file: h5py.Group) -> None:
    del file["indices"]


def of_a_node_too_few(file: h5py.Group) -> None:
    file["indices/target_to_source/node_id_to_range"][12] = [0, 0]


def of_another_node(file: h5py.Group) -> None:
    spans = file["indices/target_to_source/node_id_to_range"]
    spans[12], spans[13] = spans[13], spans[12]


def of_edges_that_are_not_there(file: h5py.Group) -> None:
    file["indices/target_to_source/range_to_edge_id"][7] = [COUNT, COUNT + 1]


def of_another_shape(file: h5py.Group) -> None:
    del file["indices/target_to_source/range_to_edge_id"]
    file["indices/target_to_source/range_to_edge_id"] = np.arange(COUNT)


def of_edges_twice(file: h5py.Group) -> None:
    ranges = file["indices/target_to_source/range_to_edge_id"]
    first = file["indices/target_to_source/node_id_to_range"][10, 0]
    ranges[first + 1] = ranges[first]


WRONG = (
    without_index, of_a_node_too_few, of_another_node, of_edges_that_are_not_there, of_another_shape, of_edges_twice
)  # fmt: skip


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("change", [None, *WRONG])
def test_parts_are_together_the_whole(made: Path, change: Any, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(made.parent)
    config["inputs"]["step"]["node_set"] = "bio"
    write_config(made.parent, config)
    whole, _ = read_circuit(made, StubCells())
    if change is not None:
        with h5py.File(made.parent / "network" / "edges.h5", "a") as file:
            change(file["edges/source_to_cells"])
    looked_at: list[int] = []
    of_part = Part.rows

    def counted(part: Part, name: str, row: Any) -> Any:
        if name == "target_node_id":
            looked_at.append(len(row))
        return of_part(part, name, row)

    monkeypatch.setattr(Part, "rows", counted)
    found: list[Description] = [
        circuit for circuit, _ in meet(monkeypatch, size).run(lambda: read_circuit(made, StubCells()))
    ]
    assert rows(found, "clamps", 0, "node") == rows([whole], "clamps", 0, "node")
    one, many = rows([whole], "projections", 0, "target_node"), rows(found, "projections", 0, "target_node")
    assert one == many
    assert len(one["weight"]) > COUNT
    # The cells have models 0, 1, 0, 2: every `size`-th cell of a model is the same process's.
    own = own_nodes([np.array([0, 1, 0, 2])], 1, size)[0]
    assert set(found[1].projections[0].target_node) == set(np.flatnonzero(own)) == {2}
    assert set(found[1].clamps[0].node) == {2}
    assert all(part.projections[0].synapses == whole.projections[0].synapses for part in found)
    # By the index, only own edges are looked at, once to see that it is right and once to read them.
    assert (sum(looked_at) == 2 * COUNT) == (change is None)


def test_a_wrong_edge_of_one_process_is_said_by_all(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(made.parent / "network" / "edges.h5", "a") as file:
        group = file["edges/source_to_cells"]
        wrong = np.flatnonzero((group["target_node_id"][()] == 12) & (group["edge_group_id"][()] == 0))[5]
        group["0/afferent_section_pos"][group["edge_group_index"][wrong]] = 1.5
    meeting = meet(monkeypatch, 3)

    def read() -> None:
        with meeting.exchange().together():
            read_circuit(made, StubCells())

    errors = meeting.run(read)
    assert all(isinstance(error, InputError) for error in errors)
    (said,) = {str(error) for error in errors}
    assert f"edge {wrong} has the position in its section 1.5" in said
    monkeypatch.undo()
    with pytest.raises(InputError, match=f"edge {wrong} has the position"):
        read_circuit(made, StubCells())


def test_an_edge_to_nowhere_is_said_by_all(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(made.parent / "network" / "edges.h5", "a") as file:
        file["edges/source_to_cells/target_node_id"][40] = 99
    for error in meet(monkeypatch, 2).run(lambda: read_circuit(made, StubCells())):
        assert "edge 40 has the target node 99, which cells does not have" in str(error)


def test_types_that_are_one_cell_are_models_of_their_own(made: Path) -> None:
    """Cells are shared out by type, before it is known that two types have one twin."""

    class Same(StubCells):
        def __call__(self, node_types: list[dict[str, str]]) -> list[Any]:
            return [super().__call__(node_types)[0]] * len(node_types)

    (cells,) = read_circuit(made, Same())[0].populations
    assert len({id(twin) for twin in cells.twins}) == 3


def test_rows_of_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["numbers"], file["pairs"] = np.arange(500.0), np.arange(1000).reshape(500, 2)
        file["texts"] = np.array([f"t{k}" for k in range(500)], h5py.string_dtype())
        part = Part(tmp_path / "a.h5", file)
        for at_once, near in ((1 << 20, 1 << 12), (10, 3), (1, 0)):
            monkeypatch.setattr(hdf5_parts, "AT_ONCE", at_once)
            monkeypatch.setattr(hdf5_parts, "NEAR", near)
            for row in (np.arange(500), np.zeros(0, int), random.integers(0, 500, 80), np.array([499, 0, 0])):
                for name in ("numbers", "pairs", "texts"):
                    assert np.array_equal(part.rows(name, row), file[name][()][row]), (name, at_once)


def test_sizes_are_of_all_processes(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes() -> Any:
        circuit, plan = read_circuit(made, StubCells())
        # Not the cached property itself, which one thread has at a time.
        return simulate.Simulation.sizes.func(simulate.Simulation(circuit, plan, simulate.Settings(10)))

    alone = sizes()
    assert alone[0][1:] == (1.5, 2.0)
    assert alone[1] == (2, np.inf, 0.0)
    assert meet(monkeypatch, 3).run(sizes) == [alone] * 3
