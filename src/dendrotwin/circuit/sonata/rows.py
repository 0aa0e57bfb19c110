"""A population of nodes or edges: HDF5 with groups of attributes, and a table of types (CSV).

libsonata 0.2 reads neither type ids nor tables of types, and refuses populations of several groups, all of which
circuits of BMTK have; so this is read here, in one place.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin.errors import FileError, InputError
from dendrotwin.support.hdf5 import damage_as_file_error, text_of
from dendrotwin.support.hdf5_parts import Part

NOTHING = {"", "NONE", "NULL", "None", "null", "NaN", "nan", "NA", "N/A"}  # what stands for no value in a table
LIBRARY = "@library"  # texts that an integer attribute of the same name counts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Texts(NamedTuple):
    """A text for each row.

    Attributes:
        code: (N,) index into `values`.
        values: the different texts; "" for none.
    """

    code: Ints
    values: tuple[str, ...]


def combined(*texts: Texts) -> tuple[list[tuple[str, ...]], Ints]:
    """The different combinations of texts, in time linear in the rows.

    Args:
        texts: of the same rows.

    Returns:
        The combinations that rows have, and (N,) which of them each row has.
    """
    code, names = np.zeros(len(texts[0].code), np.int64), [()]  # type: tuple[Ints, list[tuple[str, ...]]]
    for of in texts:
        width = len(of.values)
        joint = code * width + of.code
        present = np.flatnonzero(np.bincount(joint, minlength=len(names) * width))
        number = np.zeros(len(names) * width, np.int64)
        number[present] = np.arange(len(present))
        code, names = number[joint], [(*names[p // width], of.values[p % width]) for p in present.tolist()]
    return names, code


class Types(NamedTuple):
    """A table of types.

    Attributes:
        path: of the file; None where there is none.
        id: (T,) sorted.
        columns: (T,) texts by name, "" for no value.
    """

    path: Path | None
    id: Ints
    columns: dict[str, tuple[str, ...]]


def read_types(path: Path | None, kind: Literal["node", "edge"]) -> Types:
    """A table of types, with spaces (or tabs, or commas) between columns.

    Args:
        path: the CSV file, or None.
        kind: of what.

    Raises:
        FileError: the file is missing or cannot be read.
        InputError: it is no such table, or gives an id twice.
    """
    if path is None:
        return Types(None, np.zeros(0, np.int64), {})
    header, rows = read_table(path, f"table of {kind} types")
    key = f"{kind}_type_id"
    if key not in header:
        raise InputError(f"{path} has no column {key}; it has {', '.join(header)}")
    column = header.index(key)
    try:
        ids = np.array([int(row[column]) for row in rows], np.int64)
    except ValueError as error:
        raise InputError(f"{path}: {error}; every {key} is a whole number") from error
    order = np.argsort(ids)
    twice = ids[order][1:][np.diff(ids[order]) == 0]
    if len(twice):
        raise InputError(f"{path} has {key} {twice[0]} twice; give every type a number of its own")
    texts = {name: tuple(rows[k][c] for k in order) for c, name in enumerate(header) if name != key}
    return Types(path, ids[order], {name: tuple("" if v in NOTHING else v for v in of) for name, of in texts.items()})


def read_table(path: Path, called: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table, with spaces (or tabs, or commas) between columns.

    Args:
        path: the file.
        called: what it is, for errors.

    Raises:
        FileError: it is missing or cannot be read.
        InputError: a row has more or fewer values than the header, or the header has a name twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; it is the {called} that the config names") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read as a {called}: {error}; restore it") from error
    first = text.split("\n", 1)[0]
    separator = next((each for each in (",", "\t") if each in first), " ")
    lines = [line.rstrip() for line in text.splitlines()]
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    header: list[str] = []
    rows: list[list[str]] = []
    for row in reader:
        if not row:
            continue
        row = [value.strip() for value in row]
        if not header:
            header = row
        elif len(row) != len(header):
            raise InputError(
                f"{path}, line {reader.line_num} has {len(row)} values, and the header {len(header)} names; "
                "give one of each"
            )
        else:
            rows.append(row)
    if not header or len(set(header)) < len(header):
        raise InputError(f"{path} has no header with a name for each column, each once; write one")
    return header, rows


@contextmanager
def open_sonata(path: Path, called: str) -> Iterator[Part]:
    """An HDF5 file of a circuit.

    Args:
        path: the file.
        called: what it is, for errors.

    Raises:
        FileError: it is missing, cannot be opened, or is damaged.
    """
    if not path.is_file():
        raise FileError(f"{path} does not exist; it is the {called} that the config names")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "it is truncated or is no HDF5 file"
        raise FileError(f"{path} cannot be opened: {why}; restore it, or make it again") from error
    with file, damage_as_file_error(path):
        yield Part(path, file)


class Rows:
    """Nodes or edges of one population, N of them, with their attributes.

    An attribute of a row is that of its group, or else that of its type.

    Args:
        part: the population's group; open as long as attributes are read, unless they are `kept`.
        kind: of what.
        types: the table of types.
        total: how many the population has.
        chosen: (N,) which of them are meant, rising; None for all.

    Raises:
        FileError: a part is missing or does not fit the others.
        InputError: a type is not in the table, or rows have parameters of their own, which are not read.
    """

    def __init__(
        self, part: Part, kind: Literal["node", "edge"], types: Types, total: int, chosen: Ints | None = None
    ) -> None:  # fmt: skip
        self.part, self.kind, self.types, self.total = part, kind, types, total
        self.number = np.arange(total) if chosen is None else chosen
        self.count = len(self.number)
        self.name = part.h5.name.split("/")[-1]
        self.type_id = self.whole(f"{kind}_type_id")
        self._groups = {int(name): part.group(name) for name in part.names() if name.isdecimal()}
        self._names = {number: set(group.names()) for number, group in self._groups.items()}
        self._kept: dict[tuple[int, str], NDArray[Any]] = {}
        if f"{kind}_group_id" in part:
            self.group, self.index = self.whole(f"{kind}_group_id"), self.whole(f"{kind}_group_index")
        else:
            self.group, self.index = np.zeros(self.count, np.int64), self.number
        self._types = self._type_rows()
        for group in np.unique(self.group).tolist():
            if group not in self._groups and (group or self._groups):
                raise part.error(f"lacks the group {self.name}/{group}, which {kind}_group_id names")
        for number, group in self._groups.items():
            if "dynamics_params" in group and len(group.group("dynamics_params").names()):
                raise InputError(
                    f"{part.path}: {self.name}/{number} has dynamics_params of single {kind}s, which are not read; "
                    f"give them as the dynamics_params of a type"
                )

    def whole(self, name: str) -> Ints:
        """(N,) whole numbers of an array that has one for each row.

        Args:
            name: of the array.

        Raises:
            FileError: there is no such array, or it is another one.
        """
        dataset = self.part.dataset(name)
        if dataset.shape != (self.total,) or dataset.dtype.kind not in "iu":
            raise self.part.error(f"has a {self.name}/{name} that is not {self.total} whole numbers")
        return self.part.rows(name, self.number).astype(np.int64)

    def _type_rows(self) -> Ints:
        """(N,) row of each one's type."""
        if self.types.path is None:
            return np.zeros(self.count, np.int64)
        at = np.searchsorted(self.types.id, self.type_id)
        known = self.types.id[np.minimum(at, len(self.types.id) - 1)] == self.type_id if len(self.types.id) else None
        if known is None or not known.all():
            wrong = self.type_id if known is None else self.type_id[~known]
            if len(wrong):
                raise InputError(
                    f"{self.types.path} has no {self.kind}_type_id {wrong[0]}, of which {self.name} in "
                    f"{self.part.path} has a {self.kind}; add it"
                )
        return at

    @property
    def names(self) -> list[str]:
        """Names of all attributes, sorted."""
        of_groups = set().union(*self._names.values()) - {"dynamics_params", LIBRARY}
        return sorted(of_groups | self.types.columns.keys())

    def keep(self) -> Rows:
        """Read all attributes, so that they are there once the file is closed."""
        for number, group in self._groups.items():
            for name in self._names[number]:
                if isinstance(group.h5[name], h5py.Dataset):
                    self._kept[number, name] = self._values(number, name, np.arange(self._length(number, name)))
        return self

    def _of_groups(self, name: str) -> Iterator[tuple[Ints, NDArray[Any]]]:
        """Each group that has an attribute: which rows are of it, and their values."""
        for number in self._groups:
            if name not in self._names[number]:
                continue
            where = np.flatnonzero(self.group == number)
            index = self.index[where]
            kept = self._kept.get((number, name))
            length = self._length(number, name) if kept is None else len(kept)
            if len(index) and (index.min() < 0 or index.max() >= length):
                raise self.part.error(
                    f"has {length} values of {self.name}/{number}/{name}, and a {self.kind}_group_index of "
                    f"{index.max()}"
                )
            yield where, self._values(number, name, index) if kept is None else kept[index]

    def _length(self, number: int, name: str) -> int:
        shape = self._groups[number].dataset(name).shape
        if not shape:
            raise self.part.error(f"has a {self.name}/{number}/{name} that is no array")
        return int(shape[0])

    def _values(self, number: int, name: str, index: Ints) -> NDArray[Any]:
        group = self._groups[number]
        values = group.rows(name, index)
        if LIBRARY in group and name in group.group(LIBRARY):
            library = np.array([_text(v) for v in group.group(LIBRARY).array(name)], object)
            return np.asarray(library[values])
        return values

    def given(self, name: str) -> NDArray[np.bool_]:
        """(N,) which rows have an attribute, of their group or of their type.

        Args:
            name: of the attribute.
        """
        out = np.zeros(self.count, bool)
        if name in self.types.columns:
            out = np.array([value != "" for value in self.types.columns[name]], bool)[self._types]
        for where, _ in self._of_groups(name):
            out[where] = True
        return out

    def numbers(self, name: str, width: int = 0) -> Any:
        """A number for each row.

        Args:
            name: of the attribute.
            width: how many numbers a row has; 0 for one.

        Returns:
            (N,) or (N, width), NaN where there is none; None where no row has it.

        Raises:
            InputError: a value is no number.
        """
        found = name in self.types.columns and not width
        out = np.full((self.count, width) if width else self.count, np.nan)
        if found:
            out = np.array([self._number(name, v, self.types.path) for v in self.types.columns[name]])[self._types]
        for where, values in self._of_groups(name):
            found = True
            if values.dtype.kind not in "biuf":
                values = np.array([self._number(name, _text(v), self.part.path) for v in values])
            if values.shape[1:] != ((width,) if width else ()):
                raise self.part.error(f"has a {self.name} attribute {name} of another shape than ({self.count},)")
            out[where] = values
        return out if found else None

    def _number(self, name: str, text: str, path: Path | None) -> float:
        try:
            return float(text) if text not in NOTHING else np.nan
        except ValueError as error:
            raise InputError(f"{path}: {name} = {text!r} of {self.name} is no number; correct it") from error

    def texts(self, name: str) -> Texts:
        """A text for each row.

        Args:
            name: of the attribute.
        """
        values = [""]
        code = np.zeros(self.count, np.int64)
        if name in self.types.columns and len(self.types.id):
            values += self.types.columns[name]
            code = 1 + self._types
        for where, of_rows in self._of_groups(name):
            different, which = np.unique(
                of_rows.astype(str) if of_rows.dtype.kind != "O" else _plain(of_rows), return_inverse=True
            )
            code[where] = len(values) + which
            values += ["" if v in NOTHING else v for v in map(_text, different)]
        names = sorted(set(values))
        number = {name: k for k, name in enumerate(names)}
        return Texts(np.array([number[v] for v in values])[code], tuple(names))


def _text(value: Any) -> str:
    return str(text_of(value))


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    return np.array([_text(v) for v in values], str)
