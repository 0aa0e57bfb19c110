"""Public docstrings say what each argument is, its shape and its unit, and where physics comes from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import dendrotwin

SOURCE = Path(dendrotwin.__file__).parent
# Commands have a sentence for each option in place of `Args`; kernels on a GPU are in Triton's own language.
FILES = [p for p in sorted(SOURCE.rglob("*.py")) if p.parent.name != "cli" and not p.stem.startswith("gpu_")]
ARRAYS = re.compile(r"NDArray|Tensor|\bFloats\b|\bInts\b|\bReal\b|ArrayLike")
SHAPE = re.compile(r"\((?:[\w.*+/ -]+|\.\.\.)?,[^()]*\)|\bscalar\b|\bempty\b|of the same shape")
UNITS = ("ms", "mV", "um", "nA", "uS", "Hz", "hz", "mM", "deg", "degC", "um3", "nA_um", "uV")
PHYSICS = ("solver", "signals", "neuron/reading", "cell/membrane.py", "cell/stimuli.py", "models/networks")
SOURCED = re.compile(r"doi:10\.|arXiv:\d|NEURON|Kirchhoff")


class Public(NamedTuple):
    """A public function or class, with what its docstring has to speak of."""

    place: str
    text: str
    arguments: dict[str, str]  # with their annotations
    returns: str


def _arguments(function: ast.FunctionDef) -> dict[str, str]:
    spec = function.args
    return {
        a.arg: ast.unparse(a.annotation) if a.annotation else ""
        for a in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
        if a.arg not in ("self", "cls") and not a.arg.startswith("_")
    }


def _fields(node: ast.ClassDef) -> dict[str, str]:
    """Fields of a dataclass, a named tuple or a configuration; those with a docstring of their own are left out."""
    found = {}
    for field, after in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        own = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and not own:
            found[field.target.id] = ast.unparse(field.annotation)
    return {name: kind for name, kind in found.items() if not name.startswith("_")}


def _public(path: Path) -> Iterator[Public]:
    def inside(body: list[ast.stmt], place: str) -> Iterator[Public]:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            text = ast.get_docstring(node) or ""
            where = f"{place}{node.name}"
            if isinstance(node, ast.ClassDef):
                yield Public(where, text, _fields(node), "")
                yield from inside(node.body, f"{where}.")
            else:
                returns = ast.unparse(node.returns) if node.returns else ""
                yield Public(where, text, _arguments(node), returns)

    yield from inside(ast.parse(path.read_text()).body, f"{path.relative_to(SOURCE)}:")


def missing(item: Public) -> list[str]:
    """What a docstring lacks."""
    if not item.text:
        return ["a docstring"]
    if re.match(r"See `", item.text):  # the same as what it implements
        return []
    lacks = [f"the argument {name}" for name in item.arguments if not re.search(rf"\b{name}\b", item.text)]
    annotations = [*item.arguments.values(), item.returns]
    if any(ARRAYS.search(a) for a in annotations) and not SHAPE.search(item.text):
        lacks.append("a shape")
    for name in item.arguments:
        unit = next((u for u in UNITS if name.endswith(f"_{u}")), None)
        if unit and not re.search(rf"\[[^\]]*{'Hz' if unit == 'hz' else unit.split('_')[0]}[^\]]*\]", item.text):
            lacks.append(f"the unit of {name}")
    return lacks


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_public_docstrings_are_whole(path: Path) -> None:
    lacking = {item.place: lacks for item in _public(path) if (lacks := missing(item))}
    assert not lacking, "\n".join(f"{place} lacks {', '.join(lacks)}" for place, lacks in lacking.items())


def test_physics_has_its_source() -> None:
    def physics(path: Path) -> bool:
        return path.name != "__init__.py" and str(path.relative_to(SOURCE)).startswith(PHYSICS)

    without = [path for path in FILES if physics(path) and not SOURCED.search(path.read_text())]
    assert not [str(path.relative_to(SOURCE)) for path in without]


def test_what_is_missing_is_seen() -> None:
    whole = "Shift it.\n\nArgs:\n    v_mV: (n,) potential [mV].\n    by: a name."
    arguments = {"v_mV": "NDArray[np.float64]", "by": "str"}
    assert missing(Public("", whole, arguments, "")) == []
    assert missing(Public("", "", arguments, "")) == ["a docstring"]
    assert missing(Public("", whole.replace("by:", "it:"), arguments, "")) == ["the argument by"]
    assert missing(Public("", whole.replace("(n,)", "its"), arguments, "")) == ["a shape"]
    assert missing(Public("", whole.replace("[mV]", "mV"), arguments, "")) == ["the unit of v_mV"]
