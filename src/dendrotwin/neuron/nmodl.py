"""What the text of .mod files says before anything is compiled: names of mechanisms, and files that they include."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dendrotwin.errors import CellError

ENCODING = "latin-1"  # every byte is a character of it, so that a file is copied as it is
FUNCTIONS_ALONE = "nothing"  # SUFFIX of a file that gives hoc some functions, and no mechanism
# Parts in which INCLUDE is no statement of NMODL, or that statement itself.
_TOKEN = re.compile(
    r"COMMENT\b.*?\bENDCOMMENT|(?P<verbatim>VERBATIM\b.*?\bENDVERBATIM)|[:?][^\n]*"
    r'|\bINCLUDE[ \t]*"(?P<include>[^"\n]+)"',
    re.DOTALL,
)
_C_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"(?P<header>[^"\n]+)"', re.MULTILINE)


def mechanism_files(files: Sequence[Path]) -> list[Path]:
    """Those of a cell's files that are compiled by themselves: .mod files. Others are there to be included.

    Args:
        files: see `CellModel.mechanisms`.
    """
    return [file for file in files if file.suffix.lower() == ".mod"]


def mechanism_names(files: Sequence[Path]) -> list[str]:
    """The mechanisms that .mod files define; files of functions alone (`SUFFIX nothing`) define none.

    Args:
        files: see `CellModel.mechanisms`.

    Raises:
        CellError: a file is no NMODL, or includes one that is not there.
    """
    return [name for name in mechanism_of(files).values() if name != FUNCTIONS_ALONE]


def mechanism_of(files: Sequence[Path]) -> dict[Path, str]:
    """Each .mod file's mechanism, `nothing` for a file of functions alone.

    Args:
        files: see `CellModel.mechanisms`.

    Raises:
        CellError: a file is no NMODL, or includes one that is not there.
    """
    names = {}
    for file in mechanism_files(files):
        block = re.search(r"\bNEURON\s*\{([^}]*)\}", code(file, files))
        match = re.search(r"\b(?:SUFFIX|POINT_PROCESS|ARTIFICIAL_CELL)\s+(\w+)", block[1]) if block else None
        if match is None:
            raise CellError(f"{file} names no SUFFIX, POINT_PROCESS or ARTIFICIAL_CELL; it is no NMODL mechanism")
        names[file] = match[1]
    return names


def code(file: Path, files: Sequence[Path] = ()) -> str:
    """A .mod file with what it includes, without comments and without C.

    Args:
        file: the file.
        files: all of the cell.

    Raises:
        CellError: it includes a file that is not there.
    """
    return _TOKEN.sub("", with_includes(file, files))


def with_includes(file: Path, files: Sequence[Path] = ()) -> str:
    """A .mod file's text, with the text of x for each `INCLUDE "x"`, and full paths of headers of C that are there.

    Args:
        file: the file.
        files: all of the cell, among which files are looked for by name too.

    Raises:
        CellError: it includes a file that is not there, or one that includes itself.
    """
    return _Includes(file, files).text(file, ())


def included_files(file: Path, files: Sequence[Path] = ()) -> list[Path]:
    """All files that a .mod file includes, and that these include, as NMODL or as headers of C.

    Args:
        file: the file.
        files: all of the cell.

    Raises:
        CellError: see `with_includes`.
    """
    includes = _Includes(file, files)
    includes.text(file, ())
    return sorted(includes.found)


class _Includes:
    """Of one .mod file."""

    def __init__(self, file: Path, files: Sequence[Path]) -> None:
        self.file, self.companions = file, files
        self.found: set[Path] = set()

    def text(self, file: Path, outer: tuple[Path, ...]) -> str:
        """A file of NMODL with what it includes, which the files `outer` include."""
        if file in outer:
            raise CellError(f"{file} includes itself; take one INCLUDE away")

        def replaced(match: re.Match[str]) -> str:
            if match["verbatim"]:
                return self._headers(match[0], file)
            name = match["include"]
            if not name:
                return match[0]
            included = self._look_up(name, file)
            if included is None:
                raise CellError(f'{file} has INCLUDE "{name}", which is not there; put that file beside it')
            self.found.add(included)
            return self.text(included, (*outer, file))

        return _TOKEN.sub(replaced, file.read_bytes().decode(ENCODING))

    def _headers(self, c: str, file: Path) -> str:
        def replaced(match: re.Match[str]) -> str:
            header = self._look_up(match["header"], file)
            if header is None:  # of NEURON or of the system
                return match[0]
            if header not in self.found:
                self.found.add(header)
                self._headers(header.read_bytes().decode(ENCODING), header)  # those that it includes
            return match[0].replace(match["header"], str(header))

        return _C_INCLUDE.sub(replaced, c)

    def _look_up(self, name: str, file: Path) -> Path | None:
        """A file that another names: beside it, beside the mechanism, where NMODL looks, or among the cell's files."""
        folders = [file.parent, self.file.parent]
        folders += [Path(folder) for folder in os.environ.get("MODL_INCLUDE", "").split(os.pathsep) if folder]
        for path in [folder / name for folder in folders] + [one for one in self.companions if one.name == name]:
            if path.is_file():
                return path.resolve()
        return None
