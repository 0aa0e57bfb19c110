"""HDF5 files that are whole or not there, and that end in one error where the disk is full.

HDF5 itself keeps a file that it cannot write open, tries again when the process ends, and dies of it. So its bytes go
through a file of ours, which never fails: it keeps the reason why it could not be written, and drops what comes then.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from dendrotwin.support.atomic_files import NO_ROOM, no_room, whole_file


class _Bytes(io.FileIO):
    """The bytes of a file, as h5py writes them; `failure` is why they could not all be written."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self.failure is None:  # a nearly full disk takes a part
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size) if self.failure is None else 0
        except OSError as error:
            self.failure = error
            return 0


class NewFile(h5py.File):
    """An HDF5 file that is being written."""

    def __init__(self, data: _Bytes, name: Path, mode: str, **options: Any) -> None:
        """Begin it.

        Args:
            data: where its bytes go.
            name: what it will be called, for errors.
            mode: "w", or "r+" for one that goes on.
            options: of `h5py.File`.
        """
        self._bytes, self._name = data, name
        super().__init__(data, mode, **options)

    def check_room(self) -> None:
        """See that all could be written so far; who writes for long asks now and then.

        Raises:
            FileError: the disk is full.
            OSError: it could not, for another reason.
        """
        failure = self._bytes.failure
        if failure is not None:
            raise (no_room(self._name, failure) if failure.errno in NO_ROOM else failure) from failure


@contextmanager
def new_hdf5(path: Path, name: Path | None = None, mode: str = "w", **options: Any) -> Iterator[NewFile]:
    """A new HDF5 file, open for writing.

    Args:
        path: the file; replaced if it exists.
        name: what it will be called, for errors; None for `path`.
        mode: "r+" to go on with one that was begun so.
        options: of `h5py.File`.

    Raises:
        FileError: the disk is full.
    """
    with _Bytes(path, "w+" if mode == "w" else mode) as data:
        file = NewFile(data, name or path, mode, **options)
        try:
            with file:
                yield file
        except Exception:
            file.check_room()  # what HDF5 says of bytes that were dropped is no cause
            raise
        file.check_room()


@contextmanager
def whole_hdf5(path: str | Path, **options: Any) -> Iterator[NewFile]:
    """A new HDF5 file, under a temporary name until the block has ended well.

    Args:
        path: the file; replaced if it exists.
        options: of `h5py.File`.

    Raises:
        FileError: the disk is full.
    """
    with whole_file(path) as temporary, new_hdf5(temporary, Path(path), **options) as file:
        yield file
