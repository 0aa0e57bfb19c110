"""By which command, of which inputs, a file was made; and that no command writes over what it reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dendrotwin import __version__
from dendrotwin.errors import FileError, InputError


def command_digest(command: str, options: Mapping[str, Any], inputs: Iterable[Path]) -> str:
    """Hash of all that decides what a command makes, so that it is known again when it is given once more.

    Files count by their place, size and time of change: a copy, or a file that was made again, is another input.

    Args:
        command: its name.
        options: by name, what JSON can hold or text can say.
        inputs: files, and folders, of which the files count.
    """
    files = []
    for path in inputs:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():
                status = file.stat()
                files.append([str(file.resolve()), status.st_size, status.st_mtime_ns])
    said = json.dumps([__version__, command, options, files], default=str, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def described_work(options: Mapping[str, Any], files: Mapping[str, Iterable[Path]]) -> dict[str, Any]:
    """All that decides what a command makes, by name, so that what differs can be said.

    Args:
        options: by name, what JSON can hold or text can say.
        files: what is read, by a name for each kind; see `command_digest`.

    Returns:
        The options, a digest of each kind of file, and the version of dendrotwin, as JSON holds them.
    """
    digests = {name: command_digest(name, {}, paths) for name, paths in files.items()}
    work = {**options, **digests, "version of dendrotwin": __version__}
    return dict(json.loads(json.dumps(work, default=str)))


def is_done(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether the same work has made something already.

    Args:
        path: what was made; there is nothing where it does not exist.
        there: what it was made of; see `described_work`.
        here: what it would be made of.

    Raises:
        FileError: it was made of something else.
    """
    if not path.exists():
        return False
    differ = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    if not differ:
        return True
    what = f"of another {', '.join(differ)}" if there else "of something that it does not say"
    raise FileError(f"{path} exists and was made {what}; name another one, or use --overwrite")


def refuse_writing_over_inputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """See that nothing that is read is written over, removed, or put in among.

    Args:
        outputs: files and folders that are written; None for those that are not.
        inputs: files and folders that are read; None for those that are not.

    Raises:
        InputError: an output is an input, holds one, or lies in a folder that is read.
    """
    read = [path for path in inputs if path is not None and path.exists()]
    for output in outputs:
        if output is None:
            continue
        target = output.resolve()
        for path in read:
            source = path.resolve()
            if target == source or (target.exists() and target.samefile(source)):
                raise InputError(f"{output} is read, and cannot be written; name another one to write to")
            if target in source.parents:
                raise InputError(f"{output} holds {path}, which is read; name another one to write to")
            if source in target.parents:
                raise InputError(f"{output} lies in {path}, which is read; name one elsewhere to write to")
