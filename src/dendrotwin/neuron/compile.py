"""Building and loading NEURON mechanisms so that nothing fails silently."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from dendrotwin.errors import CellError
from dendrotwin.neuron.nmodl import (
    ENCODING,
    FUNCTIONS_ALONE,
    included_files,
    mechanism_files,
    mechanism_names,
    mechanism_of,
    with_includes,
)
from dendrotwin.support.cache import cache_folder

# Without this NEURON looks for a display.
os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")

# CoreNEURON gains most from vectorised exponentials, which g++ makes only when it may reorder arithmetic: potentials
# then differ from NEURON's by rounding. Such builds belong to the processor that they were made on.
CORE_FLAGS = "-O3 -ffast-math -march=native -fno-semantic-interposition"
TOOLS = {"g++": "g++", "make": "make", "perl": "perl"}  # program: Debian package that has it
_loaded: Path | None = None


def missing_tools() -> list[str]:
    """The programs that building mechanisms needs and this machine lacks."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def cannot_build(missing: str | None) -> str | None:
    """What keeps this machine from building a cell that lacks `missing` (or nothing) itself, with the fix."""
    tools = missing_tools()
    return missing or (f"{', '.join(tools)} not found; apt-get install {' '.join(tools)}" if tools else None)


def build_mechanisms(files: list[Path], coreneuron: bool = False) -> Path:
    """Compile .mod files to a library, or find it in the cache.

    Args:
        files: the mechanisms, and files that they include.
        coreneuron: make CoreNEURON's library too.

    Returns:
        The folder of the build; the key is a hash of the files with what they include, of the NEURON version and, with
        CoreNEURON, of the processor.

    Raises:
        CellError: a file or a tool is missing, two files have one name, or a file does not compile.
    """
    _check_files(files)
    digest = hashlib.sha256(f"neuron {metadata.version('neuron')} python {sys.version_info[:2]}".encode())
    if coreneuron:
        digest.update(f"{CORE_FLAGS} {_processor()}".encode())
    update_digest(digest, mechanism_files(files), files)
    folder = cache_folder() / "mechanisms" / digest.hexdigest()[:16]
    if folder.is_dir():
        return folder
    missing = missing_tools()
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        raise CellError(
            f"building mechanisms needs {', '.join(missing)}, not found; install them: apt-get install {packages}"
        )
    nrnivmodl = Path(sys.executable).parent / "nrnivmodl"
    if not nrnivmodl.exists():
        raise CellError(f"there is no nrnivmodl beside {sys.executable}; install NEURON there: pip install neuron")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built under a temporary name: several workers may want the same mechanisms at once.
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as temporary:
        source = Path(temporary) / "build"
        source.mkdir()
        for file in mechanism_files(files):
            (source / f"{file.stem}.mod").write_bytes(with_includes(file, files).encode(ENCODING))
        environment = {**os.environ, "PATH": f"{nrnivmodl.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        for name in ("NEURONHOME", "NMODLHOME", "NMODL_PYLIB"):  # set by this process's NEURON; CoreNEURON is misled
            environment.pop(name, None)
        command = [sys.executable, str(nrnivmodl)]
        if coreneuron:
            vector_library = ["-loadflags", "-lmvec -lm"] if platform.system() == "Linux" else []
            command += ["-coreneuron", "-incflags", CORE_FLAGS, *vector_library]
        result = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
        (source / "build.log").write_text(result.stdout + result.stderr)
        if result.returncode != 0 or not _library(source, must_exist=False).exists():
            log = folder.with_suffix(".log")
            shutil.copy(source / "build.log", log)
            raise CellError(f"{_first_error(result.stdout + result.stderr, files)}; the whole log is {log}")
        try:
            source.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another worker was first, and built the same
                raise
    return folder


def _check_files(files: list[Path]) -> None:
    """Raise CellError unless the files are there, and no two define the same."""
    for file in files:
        if not file.is_file():
            raise CellError(f"the mechanism file {file} does not exist; check the cell's `mechanisms`")
    names: dict[str, Path] = {}
    for file, mechanism in mechanism_of(files).items():
        for name in {file.name, *({mechanism} - {FUNCTIONS_ALONE})}:
            if names.setdefault(name, file) != file:
                raise CellError(f"{names[name]} and {file} both are {name}; leave one away, or rename it")


def update_digest(digest: hashlib._Hash, files: list[Path], companions: list[Path]) -> None:
    """Add names and content of files to a hash, in an order that does not depend on theirs.

    Args:
        digest: the hash.
        files: the files; what .mod files among them include is added too.
        companions: all files of the cell's mechanisms, among which included files are looked for.
    """
    included = {path for file in mechanism_files(files) for path in included_files(file, companions)}
    every = {path.resolve(): path for path in [*included, *files]}
    content = [(path.name.encode(), path.read_bytes()) for path in every.values()]
    for name, text in sorted(content):
        digest.update(name + b"\0" + text)


def _first_error(log: str, files: list[Path]) -> str:
    """Which of the files did not compile, and the compiler's first line about it."""
    log = re.sub(r"\x1b\[[0-9;]*m", "", log)
    failed = re.findall(r"make.*\*\*\* \[.*?([^/\s:]+)\.(?:o|cpp|c)\] Error", log)
    named = [file for name in failed for file in files if file.stem == name]
    if not named:
        names = ", ".join(file.name for file in mechanism_files(files))
        return f"the mechanisms {names} do not compile{_colon(_errors(log))}"
    file = named[0]
    of_global = re.findall(r'Incompatibility :: "(\w+)" variable found at \S+ should be defined as a RANGE', log)
    if of_global:
        return (
            f"CoreNEURON does not take {file.name}, which assigns its GLOBAL variables {', '.join(of_global)}: make "
            "them RANGE, or use the default engine, neuron, which takes them"
        )
    if "[NMODL] [error]" in log:
        return (
            f"CoreNEURON does not take {file.name}{_colon(_errors(log))}; change it, or use the default engine, neuron"
        )
    return f"the mechanism {file} does not compile{_colon(_errors(log, file))}"


def _errors(log: str, file: Path | None = None) -> str:
    """The first error in a compiler's output, of a file if one is given; of NMODL's, with the line that it is about."""
    lines = log.splitlines()
    where = rf"at line \d+ in file {re.escape(file.name)}|/{re.escape(file.stem)}\.cpp:\d+:.*error" if file else "error"
    for k, line in enumerate(lines):
        if re.search(where, line, re.IGNORECASE):
            own = re.sub(r"^\S+?:(\d+:)+ *|^\[NMODL\] \[error\] :: |^ *Error: ", "", line).strip()
            follows = lines[k + 1].strip() if "in file" in line and k + 1 < len(lines) else ""
            return own + _colon(follows)
    return _errors(log) if file is not None else ""


def _colon(text: str) -> str:
    return f": {text}" if text else ""


def _processor() -> str:
    """What a build for this processor is good for: its instruction set."""
    try:
        flags = re.search(r"^(?:flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        flags = None
    return f"{platform.machine()} {flags[0] if flags else platform.processor()}"


def _library(folder: Path, *, must_exist: bool = True) -> Path:
    found = list(folder.glob("*/libnrnmech.*")) + list(folder.glob("*/.libs/libnrnmech.*"))
    if found:
        return found[0]
    if must_exist:
        raise CellError(f"the build in {folder} has no library; delete that folder and try again")
    return folder / "libnrnmech.so"


def load_mechanisms(files: list[Path], coreneuron: bool = False) -> None:
    """Make the mechanisms of .mod files known to this process's NEURON, and check that each of them is.

    Args:
        files: the mechanisms.
        coreneuron: make them known to CoreNEURON too.

    Raises:
        CellError: they cannot be built, do not load, or this process has other mechanisms already.
    """
    global _loaded
    folder = build_mechanisms(files, coreneuron)
    if _loaded == folder:
        return
    if _loaded is not None:
        raise CellError(
            "this process holds the mechanisms of another cell, and NEURON loads them once; build the cell in a new one"
        )
    if coreneuron:  # where CoreNEURON looks at its first run
        os.environ["CORENEURONLIB"] = str(_library(folder).with_name("libcorenrnmech.so"))
    from neuron import h

    library = _library(folder)
    taken = {name: file for file, name in mechanism_of(files).items() if name != FUNCTIONS_ALONE and hasattr(h, name)}
    if taken and Path(platform.machine()).is_dir():
        raise CellError(
            f"NEURON knows {', '.join(taken)} already: it loads a folder {platform.machine()} of the current folder by "
            "itself; run elsewhere"
        )
    for name, file in taken.items():
        raise CellError(
            f"{file} defines {name}, a name that NEURON has itself; leave the file away, if NEURON's own is meant, or "
            "rename its mechanism"
        )
    try:
        h.nrn_load_dll(str(library))
    except RuntimeError as error:
        raise CellError(
            f"NEURON refused {library}: {str(error).removeprefix('hocobj_call error: ')}; rename what it names"
        ) from error
    # NEURON says nothing where the library is missing or wrong, so look for every mechanism.
    absent = [name for name in mechanism_names(files) if not hasattr(h, name)]
    if absent:
        raise CellError(f"NEURON did not load {', '.join(absent)} from {library}; delete {folder} and try again")
    _loaded = folder
