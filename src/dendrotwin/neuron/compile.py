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


def mechanism_names(files: list[Path]) -> list[str]:
    """The mechanisms that .mod files define."""
    names = []
    for file in files:
        match = re.search(r"^\s*(?:SUFFIX|POINT_PROCESS|ARTIFICIAL_CELL)\s+(\w+)", _code(file), re.MULTILINE)
        if match is None:
            raise CellError(f"{file} names no SUFFIX, POINT_PROCESS or ARTIFICIAL_CELL; it is no NMODL mechanism")
        names.append(match[1])
    return names


def _code(file: Path) -> str:
    """NMODL without comments; NEURON { SUFFIX x } may stand on one line."""
    text = re.sub(r"COMMENT.*?ENDCOMMENT", "", file.read_text(encoding="utf-8", errors="replace"), flags=re.DOTALL)
    return re.sub(r":.*", "", text).replace("{", "{\n")


def build_mechanisms(files: list[Path], coreneuron: bool = False) -> Path:
    """Compile .mod files to a library, or find it in the cache.

    Args:
        files: the mechanisms.
        coreneuron: make CoreNEURON's library too.

    Returns:
        The folder of the build; the key is a hash of the files, of the NEURON version and, with CoreNEURON, of the
        processor.

    Raises:
        CellError: a file or a tool is missing, or a file does not compile.
    """
    for file in files:
        if not file.is_file():
            raise CellError(f"the mechanism file {file} does not exist; check the cell's `mechanisms`")
    digest = hashlib.sha256(f"neuron {metadata.version('neuron')} python {sys.version_info[:2]}".encode())
    if coreneuron:
        digest.update(f"{CORE_FLAGS} {_processor()}".encode())
    for file in sorted(files, key=lambda file: file.name):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
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
        for file in files:
            shutil.copy(file, source)
        environment = {**os.environ, "PATH": f"{nrnivmodl.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        command = [sys.executable, str(nrnivmodl)]
        if coreneuron:
            vector_library = ["-loadflags", "-lmvec -lm"] if platform.system() == "Linux" else []
            command += ["-coreneuron", "-incflags", CORE_FLAGS, *vector_library]
        result = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
        (source / "build.log").write_text(result.stdout + result.stderr)
        if result.returncode != 0 or not _library(source, must_exist=False).exists():
            log = folder.with_suffix(".log")
            shutil.copy(source / "build.log", log)
            names = ", ".join(file.name for file in files)
            raise CellError(f"the mechanisms {names} do not compile; the compiler's words are in {log}")
        try:
            source.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another worker was first, and built the same
                raise
    return folder


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
    try:
        h.nrn_load_dll(str(library))
    except RuntimeError as error:
        raise CellError(
            f"NEURON refused {library}; it loads a folder x86_64 of the current folder by itself: run elsewhere"
        ) from error
    # NEURON says nothing where the library is missing or wrong, so look for every mechanism.
    absent = [name for name in mechanism_names(files) if not hasattr(h, name)]
    if absent:
        raise CellError(f"NEURON did not load {', '.join(absent)} from {library}; delete {folder} and try again")
    _loaded = folder
