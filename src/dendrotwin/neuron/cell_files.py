"""The files that a cell is made from: its mechanisms, its Python file, and all that it reads while it is built.

A data set is of one cell, so a hash of all of them is part of its configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dendrotwin.cells import NAMES, OF_FILES, CellModel, load_cell
from dendrotwin.neuron.compile import load_mechanisms
from dendrotwin.neuron.nmodl import included_files, mechanism_files
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.support.cache import cache_folder
from dendrotwin.support.workers import WorkerError, run_apart

OPENED = "DENDROTWIN_OPENED"  # names the list that opened.cpp writes
PRELOAD = "LD_PRELOAD"
# Whose files are no part of a cell, unless its own file lies there: Python's, packages', and the system's.
PACKAGE = Path(__file__).parents[1]
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib")
FOREIGN: tuple[str, ...] = (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, str(PACKAGE), *SYSTEM)


def cell_digest(simulation: Simulation, model: CellModel, stored: str | None = None) -> str:
    """Hash of the files that a cell is made from: channels, say, do not show in the tree.

    Args:
        simulation: names the cell.
        model: its description.
        stored: the hash of a data set that is there; kept if it was made by an older version, which knew of
            mechanisms and Python file alone, and these are the same.
    """
    companions = model.files()
    own = [Path(simulation.cell)] if simulation.cell.endswith(".py") else []
    listed = {path.resolve(): (path.name, path.read_bytes()) for path in [*companions, *own]}
    if _hash(listed.values()) == stored:
        return stored
    if model.reads is not None:
        listed = {**{path.resolve(): (path.name, path.read_bytes()) for path in model.reads()}, **listed}
    elif simulation.cell not in NAMES or simulation.cell in OF_FILES:  # else their files are checked by themselves
        read = files_read(simulation.cell, simulation.cell_options)
        listed = {**{Path(path): (Path(path).name, content) for path, content in read.items()}, **listed}
    for file in mechanism_files(companions):
        listed |= {path: (path.name, path.read_bytes()) for path in included_files(file, companions)}
    return _hash(listed.values())


def stored_digest(config: Path) -> str | None:
    """The hash in the configuration of a data set; None where there is none.

    Args:
        config: the file.
    """
    try:
        return str(json.loads(config.read_text())["cell_digest"])
    except (OSError, ValueError, KeyError, TypeError):  # `claim` says what is wrong with it
        return None


def _hash(files: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def files_read(cell: str, options: dict[str, str] | None = None) -> dict[str, bytes]:
    """The files that a user's cell reads when it is described and built, in a process of its own: path and content.

    Args:
        cell: the Python file, or one of `OF_FILES`.
        options: of the cell.

    Raises:
        CellError: the file describes no cell. Other errors are left to the trials.
    """
    with tempfile.TemporaryDirectory() as folder, _preloaded(_library()):
        opened = Path(folder) / "opened"
        opened.touch()
        with suppress(WorkerError):  # building it ends the process; a trial says how
            run_apart(_build, cell, options or {}, opened)
        lines = [line.split(" ", 1) for line in opened.read_text().splitlines()]
    written = {path for mode, path in lines if mode == "w"}
    found = {Path(path) for mode, path in lines if mode == "r"} - {Path(path) for path in written}
    return {str(path): path.read_bytes() for path in sorted(found) if path.is_file() and _is_own(path, Path(cell))}


def _is_own(path: Path, cell: Path) -> bool:
    """Whether a file belongs to a cell."""
    foreign = [Path(root).resolve() for root in (*FOREIGN, str(cache_folder()))]
    return path.suffix != ".pyc" and not any(
        path.is_relative_to(root) and not cell.resolve().is_relative_to(root) for root in foreign
    )


def _build(cell: str, options: dict[str, str], opened: Path) -> None:
    """Describe and build a cell, and list in `opened` what is read."""
    from dendrotwin.neuron.build import SYNAPSE_FILES

    os.environ.pop(PRELOAD, None)
    lines: list[str] = []

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        """Python's own opening of files, seen where opened.cpp is not there too."""
        if event == "open" and OPENED in os.environ and isinstance(arguments[0], str | bytes):
            path, mode, flags = arguments
            written = set(str(mode)) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)
            lines.append(f"{'w' if written else 'r'} {os.path.realpath(os.fsdecode(path))}\n")

    sys.addaudithook(look)
    before = set(sys.modules)
    with _noted(opened):
        model = load_cell(cell, options)
    try:
        load_mechanisms(model.files() + SYNAPSE_FILES)
        with _noted(opened):
            model.build()
    except Exception:  # a user's own function, or no compiler here; the trials say what is wrong
        pass
    modules = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    lines += [f"r {os.path.realpath(path)}\n" for path in modules if path]  # of which perhaps only a .pyc was read
    with opened.open("a") as file:
        file.writelines(lines)


@contextmanager
def _noted(opened: Path) -> Iterator[None]:
    """Let opened.cpp and Python's hook note what is opened."""
    os.environ[OPENED] = str(opened)
    try:
        yield
    finally:
        os.environ.pop(OPENED)


def _library() -> Path | None:
    """The compiled opened.cpp, from the cache; None where it cannot be had: hoc's files are then not seen."""
    source = Path(__file__).with_name("opened.cpp")
    library = cache_folder() / f"opened-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = ["g++", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-O1", "-o", str(made), str(source), "-ldl"]
        try:
            subprocess.run(command, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        made.rename(library)
    return library


@contextmanager
def _preloaded(library: Path | None) -> Iterator[None]:
    """Let processes that start now load a library before all others."""
    before = os.environ.get(PRELOAD)
    if library is not None:
        os.environ[PRELOAD] = f"{library} {before or ''}".strip()
    try:
        yield
    finally:
        os.environ.pop(PRELOAD, None)
        if before is not None:
            os.environ[PRELOAD] = before
