"""The mechanisms in tests/mechanisms and benchmarks/cells: named for their files, described, all different."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dendrotwin.cells import MECHANISMS, load_cell
from dendrotwin.neuron.build import SYNAPSE_FILES
from dendrotwin.neuron.nmodl import mechanism_names

ZOO = Path(__file__).parent / "mechanisms"
CELLS = Path(__file__).parents[1] / "benchmarks" / "cells"


def test_mechanisms_are_named_for_their_files_and_say_what_they_are() -> None:
    files = sorted(ZOO.glob("*.mod")) + sorted(CELLS.glob("mod/*/*.mod"))
    assert len(files) >= 100
    names = mechanism_names(files)
    assert names == [file.stem for file in files]
    assert len(set(names)) == len(names)
    assert all(file.read_text().startswith(": ") and file.read_text().isascii() for file in files)


def test_the_table_names_every_mechanism() -> None:
    rows = re.findall(r"^\| `(z_\w+)` \| (.+) \| (.+) \|$", (ZOO / "README.md").read_text(), re.MULTILINE)
    assert sorted(row[0] for row in rows) == sorted(file.stem for file in ZOO.glob("*.mod"))
    assert all(expected.startswith(("read", "refused")) for _, _, expected in rows)
    assert sum(expected.startswith("refused") for _, _, expected in rows) >= 7


@pytest.mark.parametrize("file", sorted(CELLS.glob("*.py")), ids=lambda file: file.stem)
def test_cells_of_the_benchmarks_have_their_mechanisms(file: Path) -> None:
    described = load_cell(str(file))
    assert described.name == file.stem
    assert all(name.startswith(f"{file.stem}_") for name in mechanism_names(described.mechanisms()))


def test_mechanism_names() -> None:
    files = [*SYNAPSE_FILES, MECHANISMS / "l5pc" / "NaTa_t.mod"]
    assert mechanism_names(files) == ["DendrotwinAmpaNmda", "DendrotwinGabaA", "NaTa_t"]
