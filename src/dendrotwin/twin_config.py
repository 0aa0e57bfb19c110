"""config.json of a twin's folder: what it must hold, and the seal by which a change of the folder is noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dendrotwin.errors import TwinError
from dendrotwin.models import code_digest
from dendrotwin.support.options import said_plainly

FORMAT_VERSION = 5  # of a twin's folder
SEALED = ("model.safetensors", "tree.h5")  # whose digests config.json holds; README.md gets the measured error later
LARGEST_CONFIG = 2**26  # bytes of config.json; that of a long training has some million
RESTORE = "restore it or make it again"


class _Training(BaseModel):
    """What every twin knows of the data that it is from."""

    model_config = ConfigDict(extra="allow")
    simulation: dict[str, Any]
    train_trials: list[str]
    validation_trials: list[str]
    test_trials: list[str]


class TwinConfig(BaseModel):
    """config.json without its seal."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format_version: int
    """FORMAT_VERSION of the dendrotwin that wrote it."""
    architecture: str
    """Name of the architecture, or the Python file that defines it."""
    architecture_sha256: str
    """Of that file; "" of one of dendrotwin's."""
    options: dict[str, Any]
    """Full configuration of the model."""
    threshold: float = Field(ge=0.0, le=float(np.nextafter(1.0, 2.0)))  # a little above 1: no spikes
    """Probability at which a step holds an output spike."""
    one_step_ahead: bool
    """Whether the twin sees past potentials."""
    sha256: dict[str, str]
    """Of the files in SEALED."""
    training: _Training
    """What the twin was made from, how, and how it went."""
    model: dict[str, Any]
    """What JSON holds of the model."""


def read_config(path: Path) -> TwinConfig:
    """config.json of a twin, once it is seen that neither it nor the files beside it were altered.

    Args:
        path: the twin's folder.

    Raises:
        TwinError: it was altered, or is of another version.
    """
    text = (path / "config.json").read_bytes()
    if len(text) > LARGEST_CONFIG:
        raise TwinError(f"{path}: config.json has {len(text)} bytes, no twin has so many; {RESTORE}")
    content = json.loads(text)
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise TwinError(
            f"{path} has format version {version!r:.40}, this dendrotwin reads {FORMAT_VERSION}; make it again: "
            "`dendrotwin twin` from the cell, `dendrotwin train` from data"
        )
    seal = content.pop("seal")
    if seal != seal_of(content):
        raise TwinError(f"{path}: config.json was altered after it was saved; {RESTORE}")
    for name in SEALED:
        if sha256_of((path / name).read_bytes()) != content["sha256"][name]:
            raise TwinError(f"{path}: {name} was altered after it was saved; {RESTORE}")
    try:
        return TwinConfig(**content)
    except ValidationError as error:
        place, what = said_plainly(error, TwinConfig)
        raise TwinError(f"{path}: {place} in config.json: {what}; {RESTORE}") from error


def architecture_of(path: Path, config: TwinConfig, named: str | None) -> str:
    """The architecture that may be loaded: one of dendrotwin's, or the file that the user names and the twin had.

    Args:
        path: the twin's folder, for errors.
        config: what its config.json holds.
        named: the Python file that the user names, or None.

    Raises:
        TwinError: the user has named none, or another one than the twin's.
    """
    own = config.architecture
    if not own.endswith(".py"):
        if named not in (None, own):
            raise TwinError(f"{path} is of the architecture {own}, not of {named}; leave that away")
        return own
    if named is None:
        raise TwinError(
            f"{path} is of an architecture in a Python file, {own}, and a twin does not choose code that is run; name "
            "the file, if you trust it: --architecture FILE, or architecture=FILE in Python"
        )
    if code_digest(named) != config.architecture_sha256:
        raise TwinError(
            f"{named} is not the architecture that {path} was saved with (its SHA-256 differs); name that of {own}"
        )
    return named


def sha256_of(content: bytes) -> str:
    """SHA-256.

    Args:
        content: of a file.
    """
    return hashlib.sha256(content).hexdigest()


def seal_of(config: dict[str, Any]) -> str:
    """Digest of all that config.json holds, whatever the order and the spaces.

    Args:
        config: what it holds, without the seal.
    """
    return sha256_of(json.dumps(config, sort_keys=True).encode())
