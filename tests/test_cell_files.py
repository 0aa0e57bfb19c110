"""A data set is of one cell: whatever `build` reads is part of its configuration."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from dendrotwin.cells import load_cell
from dendrotwin.errors import CellError, FileError
from dendrotwin.neuron.cell_files import cell_digest, files_read
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.recording.trials import index_trials

CELL = """
import json
from pathlib import Path
import lengths
from dendrotwin.cells import CellModel, Sections

HERE = Path(__file__).parent

def build():
    from neuron import h
    (HERE / "written.txt").write_text(str(__import__("time").time()))
    (HERE / "written.txt").read_text()
    h.load_file(str(HERE / "template.hoc"))
    h.load_file("import3d.hoc")
    c = h.Template()
    c.dend.L, c.dend.diam = lengths.DEND, json.loads((HERE / "diameter.json").read_text())
    reader = h.Import3d_SWC_read()
    reader.input(str(HERE / f"{'mor'}phology.swc"))
    h.Import3d_GUI(reader, False).instantiate(None)
    soma = h.soma[0]
    c.dend.connect(soma(1))
    soma.insert("leaky")
    return Sections(soma=[soma], basal=[c.dend], apical=[], axon=[])

def cell():
    return CellModel("own", "me", "MIT", build, lambda: [HERE / "leaky.mod"], v_init_mV=-70, celsius=34)
"""
FILES = {
    "own.py": CELL,
    "lengths.py": "DEND = 100\n",
    "template.hoc": '{xopen("inner.hoc")}\nbegintemplate Template\npublic dend\ncreate dend\nendtemplate Template\n',
    "inner.hoc": "// read by the template\n",
    "diameter.json": "2",
    "morphology.swc": "1 1 0 0 0 10 -1\n2 1 0 10 0 10 1\n",
    "leaky.mod": """NEURON { SUFFIX leaky NONSPECIFIC_CURRENT i }
ASSIGNED { v (mV) i (mA/cm2) }
INCLUDE "current.inc"
""",
    "current.inc": "BREAKPOINT { i = 1e-4 * (v + 70) }\n",
    "of_nobody.hoc": "// not read\n",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "own.py"


def test_all_that_build_reads_is_found(own: Path) -> None:
    before = dict(os.environ)
    read = files_read(str(own))
    assert {Path(path).name for path in read} == {*FILES} - {"of_nobody.hoc", "current.inc", "leaky.mod"}
    assert dict(os.environ) == before


def test_each_of_them_is_part_of_the_digest(own: Path) -> None:
    simulation = Simulation(cell=str(own), duration_ms=20)

    def digest() -> str:
        return cell_digest(simulation, load_cell(str(own)))

    before = digest()
    assert digest() == before
    for name in ("inner.hoc", "morphology.swc", "current.inc", "lengths.py"):
        kept = (own.parent / name).read_text()
        (own.parent / name).write_text(
            kept.replace("10 -1", "11 -1").replace("70", "71").replace("read", "seen").replace("100", "101")
        )
        assert digest() != before, name
        (own.parent / name).write_text(kept)
    (own.parent / "of_nobody.hoc").write_text("edited")
    assert digest() == before


def test_an_edited_file_makes_another_data_set(own: Path, tmp_path: Path) -> None:
    simulation = Simulation(cell=str(own), duration_ms=20)
    simulate(simulation, 1, tmp_path / "data", workers=1)
    (tmp_path / "diameter.json").write_text("3")
    with pytest.raises(FileError, match="other mechanisms or files of the cell"):
        simulate(simulation, 2, tmp_path / "data", workers=1)


def test_a_data_set_of_an_older_version_is_continued(own: Path) -> None:
    simulation = Simulation(cell=str(own), duration_ms=20)
    model = load_cell(str(own))
    digest = hashlib.sha256()
    for file in (own.with_name("leaky.mod"), own):  # mechanisms and Python file alone, by name
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    older = digest.hexdigest()[:16]
    assert cell_digest(simulation, model, stored=older) == older
    assert cell_digest(simulation, model) != older


def test_shipped_cells_have_the_digests_that_they_had() -> None:
    """Of data sets that are there."""
    for name, digest in {"ball_and_stick": "ec35e90d755b10f8", "l5pc": "f550ebc559ea1c2b"}.items():
        assert cell_digest(Simulation(cell=name, duration_ms=1), load_cell(name)) == digest


def test_modules_beside_a_cell_are_its_own_and_as_they_are_now(tmp_path: Path) -> None:
    """Two cells with helpers of one name, one of which is edited, in one process."""
    text = "import helpers\nfrom dendrotwin.cells import CellModel\n\ndef cell():\n    return CellModel("
    text += "helpers.NAME, 'me', 'MIT', lambda: None, lambda: [], v_init_mV=-70, celsius=34)\n"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cell.py").write_text(text)
        (tmp_path / name / "helpers.py").write_text(f"NAME = {name!r}\n")

    def name_of(folder: str) -> str:
        return load_cell(str(tmp_path / folder / "cell.py")).name

    before = list(sys.path)
    assert [name_of("one"), name_of("two"), name_of("one")] == ["one", "two", "one"]
    (tmp_path / "one" / "helpers.py").write_text("NAME = 'six'\n")  # within the same second, and as long
    assert name_of("one") == "six"
    assert len(sys.path) <= len(before) + 1


BY_CHANCE = """
from dendrotwin.cells import CellModel, Sections

def build():
    import random
    import numpy
    from neuron import h
    soma, dend = h.Section(name="soma"), h.Section(name="dend")
    dend.connect(soma(1))
    dend.L = 100 + random.random() + numpy.random.rand()
    dend.cm = {drawn}
    return Sections([soma], [dend], [], [])

def cell():
    return CellModel("own", "me", "MIT", build, lambda: [], v_init_mV=-70, celsius=34)
"""


def test_every_process_builds_the_same_cell(tmp_path: Path) -> None:
    for drawn in ("random.uniform(1, 2)", "numpy.random.default_rng().uniform(1, 2)"):
        cell = tmp_path / "own.py"
        cell.write_text(BY_CHANCE.format(drawn=drawn))
        simulation = Simulation(cell=str(cell), duration_ms=20)
        simulate(simulation, 1, tmp_path / "data", workers=1, overwrite=True)
        if "default_rng" not in drawn:
            first, second = (
                index_trials(path)[0].fingerprint() for path in simulate(simulation, 2, tmp_path / "data", workers=1)
            )
            assert first == second
        else:
            with pytest.raises(CellError, match=r"two builds of the cell own differ in cm: .*give random numbers a se"):
                simulate(simulation, 2, tmp_path / "data", workers=1)
