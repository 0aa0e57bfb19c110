"""Files and folders that are whole or not there: written under a temporary name, renamed when done.

A symbolic link is followed: what it points to is written.
"""

from __future__ import annotations

import errno
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
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def remove_dead_partials(folder: Path) -> None:
    """Remove what processes of this machine that are no more have left half-written in a folder.

    A folder that one of them was replacing, and that was complete, gets its name.

    Args:
        folder: the folder.
    """
    left = re.compile(rf"\.(?P<name>.+)\.{re.escape(socket.gethostname())}-(?P<process>\d+)\.[^.]*\.(?:partial|old)")
    for path in [*folder.glob(".*.old"), *folder.glob(".*.partial")]:  # the old ones say what became of the others
        match = left.fullmatch(path.name)
        if match is None or _alive(int(match["process"])):
            continue
        target = path.with_name(match["name"])
        if path.suffix == ".old" and not target.exists():  # it died between two renames
            complete = path.with_suffix(".partial")
            (complete if complete.exists() else path).rename(target)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    """Whether it runs; one that was killed and that nobody has asked for since (a zombie) does not."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:  # no such files on this system, or gone since
        return True
    return status.rpartition(")")[2].split()[0] != "Z"


def _target(path: str | Path) -> Path:
    """Where to write: what a symbolic link points to.

    Raises:
        FileError: links point to each other.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise FileError(f"{path} is a symbolic link that leads back to itself; name another one")
    return target


def no_room(path: str | Path, error: OSError) -> FileError:
    """The error that says that a file could not be written for want of room.

    Args:
        path: what was to be written.
        error: what the system said; its `errno` is one of NO_ROOM.
    """
    said = os.strerror(error.errno or 0).lower()
    return FileError(f"{path} cannot be written: the disk is full ({said}); make room and give the same command again")


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Say what the matter is where there is no room for what the block writes."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(path, error) from error
        raise


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and rename it to `path` once the block has ended well.

    Args:
        path: the file.

    Raises:
        FileError: the disk is full.
    """
    path = _target(path)
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_dead_partials(path.parent)
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
        FileError: see `refuse_existing`, or the disk is full.
    """
    refuse_existing(path, marker, overwrite=overwrite)
    path = _target(path)
    mounted = os.path.ismount(path)  # such a folder cannot be renamed, nor can others be renamed to it
    beside = path if mounted else path.parent
    with _room_for(path):
        beside.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.{_OWNER}.", suffix=".partial", dir=beside))
        try:
            folder.chmod(0o777 & ~_umask())
            yield folder
            if mounted:
                _move_into(folder, path, marker)
            elif path.is_dir():
                old = folder.with_suffix(".old")
                path.rename(old)
                folder.rename(path)
                shutil.rmtree(old)
            else:
                folder.rename(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _move_into(folder: Path, path: Path, marker: str) -> None:
    """Replace the files in a folder by those of another one; the marker is there only while they are complete."""
    (path / marker).unlink(missing_ok=True)
    new = sorted(folder.iterdir(), key=lambda file: file.name == marker)
    for there in path.iterdir():
        if there.is_file():
            there.unlink()
    for file in new:
        os.replace(file, path / file.name)


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """Give a temporary folder, whose files move into `folder` once the block has ended well; what is there stays.

    Args:
        folder: for the files.

    Raises:
        FileError: the disk is full.
    """
    folder = _target(folder)
    beside = folder if folder.is_dir() else folder.parent
    with _room_for(folder):
        beside.mkdir(parents=True, exist_ok=True)
        remove_dead_partials(beside)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.{_OWNER}.", suffix=".partial", dir=beside))
        try:
            yield temporary
            folder.mkdir(exist_ok=True)
            for file in sorted(temporary.iterdir()):
                os.replace(file, folder / file.name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing_file(path: str | Path, *, overwrite: bool) -> None:
    """See that a file is not there, or may be overwritten.

    Args:
        path: the file.
        overwrite: whether it may.

    Raises:
        FileError: it exists and may not, or is a folder.
    """
    remove_dead_partials(_target(path).parent)
    if Path(path).is_dir():
        raise FileError(f"{path} is a folder; name a file")
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
    remove_dead_partials(_target(path).parent)
    if path.exists() and not overwrite:
        raise FileError(f"{path} exists; name another one, or use --overwrite")
    if (
        path.exists()
        and not (path.is_dir() and (path / marker).is_file())
        and not (path.is_dir() and not any(path.iterdir()))
    ):
        raise FileError(f"{path} holds something else (no {marker}), which is not overwritten; name another one")
