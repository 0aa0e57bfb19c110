"""Mechanisms as people have them: files that include others, functions alone, names that are taken, errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import in_new_process
from dendrotwin.cells import MECHANISMS
from dendrotwin.errors import CellError
from dendrotwin.neuron import compile
from dendrotwin.neuron.nmodl import FUNCTIONS_ALONE, included_files, mechanism_names, mechanism_of, with_includes

LEAK = """NEURON { RANGE g, e SUFFIX leaky NONSPECIFIC_CURRENT i }
PARAMETER { g = 1e-4 (S/cm2) e = -70 (mV) }
ASSIGNED { v (mV) i (mA/cm2) }
BREAKPOINT { i = half(2 * g) * (v - e) }
COMMENT
INCLUDE "of_a_comment.inc"
ENDCOMMENT
: INCLUDE "of_a_line.inc"
INCLUDE "rates.inc"
"""
RATES = 'INCLUDE "deeper/more.inc"\nFUNCTION half(x) { half = third(1.5 * x) }\n'
MORE = """FUNCTION third(x) {
VERBATIM
#include "own.h"
#include <math.h>
    return _lx / OWN_THREE;
ENDVERBATIM
}
"""
FUNCTIONS = "NEURON { SUFFIX nothing }\nFUNCTION twice(x) { twice = 2 * x }\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENDROTWIN_CACHE", str(tmp_path / "cache"))


def _with_includes(folder: Path) -> list[Path]:
    (folder / "deeper").mkdir(exist_ok=True)
    texts = {
        "leaky.mod": LEAK,
        "rates.inc": RATES,
        "deeper/more.inc": MORE,
        "deeper/own.h": "#define OWN_THREE 3.0\n",
        "functions.mod": FUNCTIONS,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / "leaky.mod", folder / "functions.mod"]


def _values(files: list[Path]) -> list[float]:
    from neuron import h

    compile.load_mechanisms(files)
    section = h.Section()
    section.insert("leaky")
    h.finitialize(-60.0)
    h.fcurrent()
    return [section(0.5).leaky.i, h.twice(4.0)]


def test_a_file_that_includes_others_and_one_of_functions_alone(tmp_path: Path) -> None:
    files = _with_includes(tmp_path)
    assert mechanism_names(files) == ["leaky"]
    assert list(mechanism_of(files).values()) == ["leaky", FUNCTIONS_ALONE]
    assert [path.name for path in included_files(files[0])] == ["more.inc", "own.h", "rates.inc"]
    assert in_new_process(_values, files) == pytest.approx([1e-4 * 10.0, 8.0], rel=1e-12)


@pytest.mark.parametrize("name", ["rates.inc", "deeper/more.inc", "deeper/own.h"])
def test_a_build_knows_what_is_included(name: str, tmp_path: Path) -> None:
    files = _with_includes(tmp_path)

    def key() -> str:
        digest = compile.hashlib.sha256()
        compile.update_digest(digest, files, files)
        return digest.hexdigest()

    before = key()
    assert key() == before
    (tmp_path / name).write_text((tmp_path / name).read_text() + "\n")
    assert key() != before


def test_an_included_file_may_be_listed(tmp_path: Path) -> None:
    (file, _) = _with_includes(tmp_path)
    listed = [tmp_path / "elsewhere" / "rates.inc", tmp_path / "elsewhere" / "more.inc"]
    listed[0].parent.mkdir()
    (tmp_path / "rates.inc").unlink()
    listed[0].write_text("FUNCTION half(x) { half = x / 2 }\n")
    listed[1].write_text("")
    assert "half = x / 2" in with_includes(file, [file, *listed])
    assert mechanism_names([file, *listed]) == ["leaky"]


def test_an_included_file_that_is_not_there(tmp_path: Path) -> None:
    (file, _) = _with_includes(tmp_path)
    (tmp_path / "rates.inc").unlink()
    with pytest.raises(CellError, match=r'leaky.mod has INCLUDE "rates.inc", which is not there; put that file beside'):
        compile.build_mechanisms([file])
    (tmp_path / "rates.inc").write_text('INCLUDE "rates.inc"')
    with pytest.raises(CellError, match=r"rates.inc includes itself"):
        compile.build_mechanisms([file])


def test_a_file_without_an_include_is_compiled_as_it_is() -> None:
    for file in sorted((MECHANISMS / "l5pc").glob("*.mod")):
        assert with_includes(file).encode("latin-1") == file.read_bytes()
        assert included_files(file) == []


GOOD = "NEURON { SUFFIX good%d }\nFUNCTION f(x) { f = x }\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NEURON { SUFFIX bad }\nBREAKPOINT { x = }\n",
         r"bad.mod does not compile: Illegal block at line 2 in file bad.mod: BREAKPOINT { x = }; the whole log"),
        ("NEURON { SUFFIX nothing }\nFUNCTION foo(x) { foo = of_nobody(x) }\n",
         r"bad.mod does not compile: error: .of_nobody. was not declared in this scope; the whole"),
    ],
    ids=["nmodl", "c++"],
)  # fmt: skip
def test_the_one_file_that_does_not_compile_is_named(text: str, message: str, tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"good{k}.mod").write_text(GOOD % k)
    (tmp_path / "bad.mod").write_text(text)
    with pytest.raises(CellError, match=message) as refused:
        compile.build_mechanisms(sorted(tmp_path.glob("*.mod")))
    assert "good" not in str(refused.value)


def test_coreneuron_says_which_globals_are_assigned(tmp_path: Path) -> None:
    file = tmp_path / "gate.mod"
    file.write_text(
        "NEURON { SUFFIX gate NONSPECIFIC_CURRENT i GLOBAL minf, mtau }\n"
        "ASSIGNED { v (mV) i (mA/cm2) minf mtau (ms) }\nSTATE { m }\nINITIAL { rates(v) m = minf }\n"
        "BREAKPOINT { SOLVE s METHOD cnexp i = 1e-5 * m * (v + 70) }\n"
        "DERIVATIVE s { rates(v) m' = (minf - m) / mtau }\n"
        "PROCEDURE rates(v) { minf = 1 / (1 + exp(-(v + 40) / 5)) mtau = 5 }\n"
    )
    with pytest.raises(CellError, match=r"gate.mod, which assigns its GLOBAL variables minf, mtau: .*engine, neuron"):
        compile.build_mechanisms([file], coreneuron=True)


@pytest.mark.parametrize("name", ["hh", "ExpSyn"])
def test_names_that_neuron_has_taken(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.mod"
    file.write_text(f"NEURON {{ {'POINT_PROCESS' if name == 'ExpSyn' else 'SUFFIX'} {name} }}\n")
    with pytest.raises(CellError, match=rf"mine.mod defines {name}, a name that NEURON has itself; leave"):
        in_new_process(compile.load_mechanisms, [file])


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for folder, name in (("a", "good"), ("b", "good"), ("b", "other")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.mod").write_text(GOOD % 1)
    with pytest.raises(CellError, match=r"a/good.mod and \S+b/good.mod both are good"):
        compile.build_mechanisms([tmp_path / "a/good.mod", tmp_path / "b/good.mod"])
    with pytest.raises(CellError, match=r"b/good.mod and \S+b/other.mod both are good1; leave one away"):
        compile.build_mechanisms([tmp_path / "b/good.mod", tmp_path / "b/other.mod"])
