"""Files and folders that are whole or not there: written under a temporary name, renamed when done."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dendrotwin.errors import FileError

_OWNER = f"{socket.gethostname()}-{os.getpid()}"


def remove_dead_partials(folder: Path) -> None:
    """Remove what processes of this machine that are no more have left half-written in a folder.

    Args:
        folder: the folder.
    """
    for partial in folder.glob(".*.partial"):
        match = re.search(rf"\.{re.escape(socket.gethostname())}-(\d+)\.[^.]*\.partial$", partial.name)
        if match and not _alive(int(match[1])):
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    """Whether it runs; one that was killed and that nobody has asked for since (a zombie) does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:  # no such files on this system, or gone since
        return True
    return status.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and rename it to `path` once the block has ended well.

    Args:
        path: the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.{_OWNER}.", suffix=".partial", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def whole_folder(path: str | Path, marker: str, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder beside `path`, and rename it to `path` once the block has ended well.

    Args:
        path: the folder.
        marker: a file that every folder of this kind holds.
        overwrite: replace a folder of this kind that is there.

    Raises:
        FileError: see `refuse_existing`.
    """
    path = Path(path)
    refuse_existing(path, marker, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.{_OWNER}.", suffix=".partial", dir=path.parent))
    try:
        folder.chmod(0o755)
        yield folder
        if path.is_dir():
            old = folder.with_suffix(".old")
            path.rename(old)
            folder.rename(path)
            shutil.rmtree(old)
        else:
            folder.rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_existing_file(path: str | Path, *, overwrite: bool) -> None:
    """See that a file is not there, or may be overwritten.

    Args:
        path: the file.
        overwrite: whether it may.

    Raises:
        FileError: it exists and may not.
    """
    if Path(path).exists() and not overwrite:
        raise FileError(f"{path} exists; name another file, or use --overwrite")


def refuse_existing(path: str | Path, marker: str, *, overwrite: bool) -> None:
    """See that a folder is not there, or may be overwritten.

    Args:
        path: the folder.
        marker: a file that every folder of this kind holds.
        overwrite: whether it may.

    Raises:
        FileError: it exists and may not, or is something else than a folder with the file `marker`.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileError(f"{path} exists; name another one, or use --overwrite")
    if (
        path.exists()
        and not (path.is_dir() and (path / marker).is_file())
        and not (path.is_dir() and not any(path.iterdir()))
    ):
        raise FileError(f"{path} holds something else (no {marker}), which is not overwritten; name another one")
