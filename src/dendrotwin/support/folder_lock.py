"""Locks of a folder or a file that other processes see, and that go with the process, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from dendrotwin.errors import FileError

if sys.platform != "win32":
    import fcntl


class FolderLock:
    """A lock of a folder or a file, held by one process alone or shared by several; use it as a context manager.

    Where the file system knows no locks (some networks'), every process is told that it is alone.
    """

    def __init__(self, folder: Path) -> None:
        """Name it.

        Args:
            folder: or file, that exists.
        """
        self._folder = folder

    def __enter__(self) -> FolderLock:
        self._handle = os.open(self._folder, os.O_RDONLY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def try_alone(self) -> bool:
        """Lock it if no other process has; False where one has."""
        if sys.platform == "win32":
            return True
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no locks here
            return True
        return True

    def share(self) -> None:
        """Share it, once no process has it alone."""
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._handle, fcntl.LOCK_SH)
        except OSError:  # no locks here
            return


@contextmanager
def alone(path: Path, doing: str, out: Path) -> Iterator[None]:
    """See that no other process does the same while the block runs.

    Args:
        path: a folder or file that exists as long as they run, and is locked.
        doing: what they do, such as "is training".
        out: what they make.

    Raises:
        FileError: one does.
    """
    with FolderLock(path) as lock:
        if not lock.try_alone():
            raise FileError(f"another process {doing} into {out}; wait for it, or name another folder")
        yield
