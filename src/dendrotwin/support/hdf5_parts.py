"""Parts of an HDF5 file by name: a missing one, or one of another kind, is an error that names file and part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin.errors import FileError

NEAR = 1 << 12  # rows: what lies between two that are nearer than this is read with them
AT_ONCE = 1 << 20  # rows that are in memory, at most


class Part:
    """A group of an open HDF5 file.

    Args:
        path: the file, for errors.
        group: HDF5's.
        advice: how to get a file that is whole, for errors.
    """

    def __init__(self, path: Path, group: h5py.Group, advice: str = "restore it, or make it again") -> None:
        self.path, self.h5, self.advice = path, group, advice

    def error(self, what: str) -> FileError:
        """An error about this file.

        Args:
            what: is wrong with it, such as "lacks trials/000000/v".
        """
        return FileError(f"{self.path} {what}; {self.advice}")

    def _name(self, name: str) -> str:
        return f"{self.h5.name.strip('/')}/{name}".strip("/")

    def _get(self, name: str, of_type: type, called: str) -> Any:
        try:
            found = self.h5.get(name)
        except OSError as error:
            raise self.error(f"is damaged at {self._name(name)}") from error
        except RuntimeError as error:  # a link that leads nowhere
            raise self.error(f"has no {self._name(name)} that can be read") from error
        if found is None:
            raise self.error(f"lacks {self._name(name)}")
        if not isinstance(found, of_type):
            raise self.error(f"has a {self._name(name)} that is no {called}")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self.h5

    def names(self) -> list[str]:
        """Names of its groups and arrays, sorted."""
        return sorted(self.h5)

    def group(self, name: str) -> Part:
        """A group in it.

        Args:
            name: of the group.

        Raises:
            FileError: there is none.
        """
        return Part(self.path, self._get(name, h5py.Group, "group"), self.advice)

    def dataset(self, name: str) -> h5py.Dataset:
        """An array in it, to be read in part.

        Args:
            name: of the array.

        Raises:
            FileError: there is none.
        """
        return self._get(name, h5py.Dataset, "array")

    def array(self, name: str) -> Any:
        """An array in it, or a single value, read whole.

        Args:
            name: of the array.

        Raises:
            FileError: there is none, or it cannot be read.
        """
        dataset = self.dataset(name)
        try:
            return dataset[()]
        except OSError as error:
            raise self.error(f"is damaged at {self._name(name)}") from error

    def rows(self, name: str, row: NDArray[np.integer]) -> NDArray[Any]:
        """Some rows of an array in it; little more is in memory at any time, and what is far from them is not read.

        Args:
            name: of the array.
            row: (k,) which rows, that are there, in any order.

        Returns:
            (k, ...) values.

        Raises:
            FileError: there is no such array, or it cannot be read.
        """
        dataset = self.dataset(name)
        rising = bool((np.diff(row) >= 0).all())
        order = slice(None) if rising else np.argsort(row, kind="stable")
        sought = row[order]
        found = np.empty((len(row), *dataset.shape[1:]), dataset.dtype)
        far = np.append(np.flatnonzero(np.diff(sought) > NEAR) + 1, len(row))
        begin = 0
        while begin < len(row):
            stop = min(far[np.searchsorted(far, begin, side="right")], np.searchsorted(sought, sought[begin] + AT_ONCE))
            try:
                block = dataset[int(sought[begin]) : int(sought[stop - 1]) + 1]
            except OSError as error:
                raise self.error(f"is damaged at {self._name(name)}") from error
            found[begin:stop] = block[sought[begin:stop] - sought[begin]]
            begin = stop
        if rising:
            return found
        out = np.empty_like(found)
        out[order] = found
        return out

    def attribute(self, name: str, of: str = "") -> Any:
        """An attribute of it, or of an array in it.

        Args:
            name: of the attribute.
            of: name of the array; its own attribute without.

        Raises:
            FileError: there is none.
        """
        attributes = self.dataset(of).attrs if of else self.h5.attrs
        if name not in attributes:
            raise self.error(f"lacks the attribute {name} of {self._name(of) or 'the file'}")
        return attributes[name]
