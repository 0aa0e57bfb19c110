"""The plan of the house: who may import whom, and what stays out of where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dendrotwin

SOURCE = Path(dendrotwin.__file__).parent
# Every room may use the first four; then what it may import besides, as in docs/design.md.
EVERYWHERE = {"", "errors", "files", "progress"}
MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "progress": set(),
    "workers": set(),
    "tree": set(),
    "recording": {"tree"},
    "measures": set(),
    "inputs": {"tree"},
    "solve": {"tree"},
    "membrane": {"tree"},
    "solver": {"tree", "solve", "membrane"},
    "cells": {"tree", "cells"},
    "simulate": {"cells", "inputs", "recording", "tree", "workers"},
    "reading": {"tree", "cells", "membrane", "solver", "simulate", "inputs", "workers"},
    "read_twin": {"tree", "cells", "membrane", "reading", "simulate", "inputs", "recording", "dataset", "models",
                  "twin"},
    "dataset": {"tree", "recording", "measures"},
    "models": {"tree", "solve", "membrane", "solver"},
    "twin": {"tree", "recording", "membrane", "models", "dataset"},
    "losses": {"dataset"},
    "start": {"tree", "recording", "measures", "dataset", "models"},
    "train": {"tree", "recording", "measures", "solve", "dataset", "models", "twin", "losses", "start"},
    "predict": {"tree", "recording", "measures", "dataset", "models", "twin"},
    "signals": {"tree", "recording", "solve"},
    "electrodes": {"tree", "recording", "measures", "signals"},
    "evaluate": {"tree", "recording", "measures", "solve", "dataset", "twin", "predict", "electrodes"},
    "neuron_rows": {"tree", "recording", "simulate", "evaluate", "workers"},
    "plot": {"tree", "recording"},
    "signal_report": {"tree", "recording", "signals", "plot"},
    "speed": {"tree", "cells", "inputs", "simulate", "solve", "twin", "predict", "workers"},
    "report": {"tree", "recording", "measures", "twin", "predict", "electrodes", "evaluate", "plot"},
    "benchmark": {"tree", "recording", "measures", "dataset", "models", "simulate", "twin", "read_twin", "train",
                  "electrodes", "evaluate", "speed", "report", "workers"},
    "paper_figures": {"tree", "recording", "measures", "twin", "predict", "report", "benchmark", "signals", "plot"},
    "doctor": {"cells"},
    "cli": {"tree", "cells", "inputs", "simulate", "dataset", "recording", "measures", "models", "twin", "train",
            "predict", "read_twin", "evaluate", "neuron_rows", "plot", "signals", "signal_report", "speed", "doctor",
            "report", "benchmark", "paper_figures"},
}  # fmt: skip


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


def _room(path: Path) -> str:
    inside = path.relative_to(SOURCE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_plan(path: Path) -> None:
    room = _room(path)
    ours = {name.removeprefix("dendrotwin").removeprefix(".").split(".")[0] for name in _imports(path)
            if name.split(".")[0] == "dendrotwin"}  # fmt: skip
    ours -= {"__version__"}
    assert ours <= MAY_IMPORT[room] | EVERYWHERE | {room}
    packages = {name.split(".")[0] for name in _imports(path)}
    if room not in ("cells", "reading", "simulate", "speed"):
        assert "neuron" not in packages
    if room in (
        "tree",
        "recording",
        "measures",
        "inputs",
        "solve",
        "membrane",
        "solver",
        "reading",
        "evaluate",
        "signals",
        "electrodes",
        "signal_report",
        "plot",
        "cells",
        "simulate",
    ):
        on_gpu = room == "solver" and path.stem.startswith("gpu")
        assert on_gpu or not packages & {"torch", "triton"}


def test_the_plan_names_every_room() -> None:
    assert {_room(path) for path in FILES} == set(MAY_IMPORT)


def test_forward_models_are_imported_when_they_are_needed() -> None:
    packages = ("lfpykit", "MEAutility", "pynwb", "torch", "neuron")
    code = f"import sys, dendrotwin.signals; print([m for m in {packages} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    code = (
        "import sys, dendrotwin.cli; print([m for m in ('torch', 'neuron', 'numba', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
