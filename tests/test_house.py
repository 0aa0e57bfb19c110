"""The plan of the house: who may import whom, what stays out of where, and how long things may get."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dendrotwin

SOURCE = Path(dendrotwin.__file__).parent
# From the ground up. A room imports from the layers below its own, never from its own or above.
LAYERS = (
    {"errors"},
    {"support"},
    {"cell"},
    {"recording", "solver", "cells"},
    {"neuron", "models", "signals"},
    {"plot"},
    {"twin_config"},
    {"twin"},
    {"read_twin"},
    {"evaluation", "circuit"},
    {"training"},
    {"benchmark"},
    {"cli"},
    {"__main__"},
)
HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}
# Rooms that may import a heavy package, also inside a function; every other one may not.
MAY_IMPORT = {
    "neuron": {"neuron", "cells"},
    "torch": {"support", "models", "twin", "read_twin", "circuit", "evaluation", "training", "benchmark", "cli"},
    "triton": set(),
    "matplotlib": {"plot", "benchmark", "twin", "circuit"},
    "typer": {"cli"},
}
ON_GPU = "solver/gpu"  # how the names of the files begin that import torch and Triton there


def _imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
            if node.module == "dendrotwin":
                found |= {f"dendrotwin.{alias.name}" for alias in node.names}
    return found


def _name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def test_the_plan_names_every_room() -> None:
    assert {_room(path) for path in FILES} == set(HEIGHT)
    assert sum(map(len, LAYERS)) == len(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_file_imports_from_below(path: Path) -> None:
    room, names = _room(path), _imports(path)
    ours = {name.split(".")[1] for name in names if name.startswith("dendrotwin.")} - {room}
    for other in ours & HEIGHT.keys():
        assert HEIGHT[other] < HEIGHT[room], f"{_name(path)} imports {other}, which is not below {room}"
    packages = {name.split(".")[0] for name in names}
    for package, rooms in MAY_IMPORT.items():
        allowed = room in rooms or (package in ("torch", "triton") and _name(path).startswith(ON_GPU))
        assert allowed or package not in packages, f"{_name(path)} imports {package}"


def test_forward_models_are_imported_when_they_are_needed() -> None:
    packages = ("lfpykit", "MEAutility", "pynwb", "torch", "neuron")
    code = f"import sys, dendrotwin.signals; print([m for m in {packages} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    heavy = ("torch", "neuron", "numba", "matplotlib")
    code = f"import sys, dendrotwin.cli.app; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS = 450, 80, 8


def _parameters(function: ast.FunctionDef) -> int:
    spec = function.args
    return len([a for a in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs] if a.arg not in ("self", "cls")])


@pytest.mark.parametrize("path", [*FILES, SOURCE / "__init__.py"], ids=_name)
def test_nothing_is_too_long(path: Path) -> None:
    text = path.read_text()
    found = [f"{len(text.splitlines())} lines"] if len(text.splitlines()) > MOST_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            found += [f"{node.name} has {lines} lines"] * (lines > MOST_LINES_OF_A_FUNCTION)
            many = _room(path) != "cli" and _parameters(node) > MOST_PARAMETERS
            found += [f"{node.name} has {_parameters(node)} parameters"] * many
    assert not found, f"{_name(path)}: {'; '.join(found)}"


def test_every_mutant_fits_the_source() -> None:
    """The faults of `benchmarks/mutants.py` are texts of this source, and their tests are there."""
    mutants = Path(__file__).parents[1] / "benchmarks" / "mutants.py"
    result = subprocess.run([sys.executable, mutants, "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
