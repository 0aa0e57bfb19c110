"""HDF5 files of anybody: opened only where all that they say they hold is in the file itself.

HDF5 can take the values of a data set from other files of the machine, and can say that an array is far larger than the
file. Neither is for recordings, trees or signals, which come from other people.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from dendrotwin.errors import DendrotwinError, FileError

AGAIN = "restore it, or make it again"
MOST_OBJECTS = 10_000_000
# zlib gives at most some 1030 bytes for one, and the other two filters none.
FILTERS = {h5py.h5z.FILTER_DEFLATE: 1100, h5py.h5z.FILTER_SHUFFLE: 1, h5py.h5z.FILTER_FLETCHER32: 1}
# What h5py, numpy and json raise for a damaged file. A user's own mistakes are DendrotwinErrors.
DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
WRITTEN_AS = ("v110", "v110")  # every structure of such a file has a checksum, which HDF5 looks at

Check = Callable[[h5py.File], None]
Identity = tuple[str, int, int, int]
_checked: set[tuple[Identity, Check | None]] = set()  # files in this process, by name, number, size and time


@contextmanager
def damage_as_file_error(path: str | Path, again: str = AGAIN) -> Iterator[None]:
    """Whatever a damaged file raises in the block becomes one line.

    Args:
        path: the file.
        again: what to do.

    Raises:
        FileError: the file is damaged.
    """
    try:
        yield
    except DendrotwinError:
        raise
    except DAMAGE as error:
        said = " ".join(str(error).split())
        cause = "it asks for more memory than there is" if isinstance(error, MemoryError) else said
        raise FileError(f"{path} is damaged ({cause or type(error).__name__}); {again}") from error


def open_hdf5(path: str | Path, check: Check | None = None, again: str = AGAIN) -> h5py.File:
    """Open a file for reading, once it is seen that it holds all that it says.

    Args:
        path: the file.
        check: what else is looked at; as the rest, once for each file in a process.
        again: what to do about a damaged file.

    Returns:
        The file.

    Raises:
        FileError: it cannot be opened, is damaged, or points outside of itself.
    """
    path = Path(path)
    try:
        found = path.stat()
        identity = (str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns)
        if (identity, check) not in _checked and _heap_is_endless(path):
            raise FileError(f"{path} is damaged (a text in it has no end); {again}")
        file = h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, DendrotwinError):
            raise
        if error.errno:  # too many open files, no permission: the file itself may be whole
            raise FileError(f"{path} cannot be opened: {os.strerror(error.errno)}; see to that first") from error
        raise FileError(f"{path} is truncated or is no HDF5 file; {again}") from error
    except DAMAGE as error:
        raise FileError(f"{path} is truncated or is no HDF5 file; {again}") from error
    if (identity, check) in _checked:
        return file
    try:
        with damage_as_file_error(path, again):
            try:
                _check_group(file, found.st_size)
            except _StrangeError as error:
                raise FileError(f"{path}: {error}; {again}") from error
            if check is not None:
                check(file)
    except BaseException:
        file.close()
        raise
    _checked.add((identity, check))
    return file


def text_attribute(text: str) -> Any:
    """A text as an attribute is to hold it: beside its object, where HDF5 keeps a checksum.

    Args:
        text: the text.
    """
    import numpy as np

    return np.bytes_(text.encode() or b"\0")


def write_attributes(of: Any, values: Mapping[str, Any]) -> None:
    """Write attributes, texts as `text_attribute` has them.

    Args:
        of: a file, a group or an array of HDF5.
        values: by name.
    """
    for name, value in values.items():
        of.attrs[name] = text_attribute(value) if isinstance(value, str) else value


def text_of(value: Any) -> Any:
    """The text of an attribute; anything else as it is.

    Args:
        value: of the attribute.
    """
    return value.decode() if isinstance(value, bytes) else value


class _StrangeError(ValueError):
    """What no file of ours has."""


def _check_group(root: h5py.Group, file_size: int) -> None:
    """See that all links lead to objects of this file, in one way, and that these hold what they say."""
    seen: set[Any] = set()
    groups = [root]
    while groups:
        group = groups.pop()
        for name in group:
            if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise _StrangeError(f"{group.name.rstrip('/')}/{name} is a link to elsewhere, which is not followed")
            child = group[name]
            address = h5py.h5o.get_info(child.id).addr
            if address in seen or len(seen) > MOST_OBJECTS:
                raise _StrangeError(f"{child.name} is in the file more than once")
            seen.add(address)
            if isinstance(child, h5py.Group):
                groups.append(child)
            elif isinstance(child, h5py.Dataset):
                _check_dataset(child, file_size)
            else:
                raise _StrangeError(f"{child.name} is no array")


def _check_dataset(dataset: h5py.Dataset, file_size: int) -> None:
    """See that its values lie in the file, and are no more than what it can hold."""
    created = dataset.id.get_create_plist()
    if created.get_external_count() or dataset.is_virtual:
        raise _StrangeError(f"{dataset.name} takes its values from another file, which is not read")
    if dataset.dtype.kind not in "biufS":
        raise _StrangeError(f"{dataset.name} holds no numbers")
    expansion = 1
    for k in range(created.get_nfilters()):
        code = created.get_filter(k)[0]
        if code not in FILTERS:
            raise _StrangeError(f"{dataset.name} is packed by the unknown filter {code}")
        expansion *= FILTERS[code]
    stored = dataset.id.get_storage_size()
    said = math.prod(dataset.shape) * dataset.dtype.itemsize
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize if dataset.chunks else 0
    if stored > file_size or said > stored * expansion or (said and chunk > max(file_size * expansion, 1 << 24)):
        raise _StrangeError(f"{dataset.name} is said to have the shape {dataset.shape}, of which the file holds less")


def _heap_is_endless(path: Path) -> bool:
    """Whether the texts of a file would keep libhdf5 in a loop for ever: free space of size 0 in a global heap.

    Files that are written now keep no text there.
    """
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return False
        with content:
            at = content.find(b"GCOL")
            while at >= 0:
                end = min(at + int.from_bytes(content[at + 8 : at + 16], "little"), len(content))
                entry = at + 16
                while entry + 16 <= end:
                    index = int.from_bytes(content[entry : entry + 2], "little")
                    size = int.from_bytes(content[entry + 8 : entry + 16], "little")
                    if index == 0 and size == 0:
                        return True
                    entry += size if index == 0 else 16 + -(-size // 8) * 8
                at = content.find(b"GCOL", at + 4)
    return False
