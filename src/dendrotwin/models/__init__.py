"""Models of a cell: the cable that is read, and networks that learn; one file for each architecture.

A new architecture is a file that defines `ARCHITECTURE`: in `models/networks`, or anywhere, named by its path.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import InputError
from dendrotwin.models import cable, networks
from dendrotwin.models.base import Architecture, Trainable
from dendrotwin.support.options import said_plainly


@cache
def architectures() -> dict[str, Architecture]:
    """Those that come with dendrotwin, by name: the networks, which are trained, and the cable, which is read."""
    names = (module.name for module in pkgutil.iter_modules(networks.__path__))
    modules = [importlib.import_module(f"{networks.__name__}.{name}") for name in names]
    found = [module.ARCHITECTURE for module in (*modules, cable) if hasattr(module, "ARCHITECTURE")]
    return {architecture.name: architecture for architecture in found}


def load_architecture(name: str) -> Architecture:
    """An architecture.

    Args:
        name: of one that comes with dendrotwin, or the path of a Python file that defines `ARCHITECTURE`.

    Returns:
        Its name, configuration, class and presets.

    Raises:
        InputError: there is none of this name, or the file defines none.
    """
    if name in architectures():
        return architectures()[name]
    if not name.endswith(".py"):
        known = ", ".join(name for name, its in architectures().items() if issubclass(its.model, Trainable))
        raise InputError(
            f"there is no architecture {name!r} to train; choose {known}, or name a Python file that defines "
            "ARCHITECTURE"
        )
    found = getattr(_import_file(Path(name)), "ARCHITECTURE", None)
    if not isinstance(found, Architecture):
        raise InputError(f"{name} defines no ARCHITECTURE, a dendrotwin.models.base.Architecture; add one")
    return found


def code_digest(name: str) -> str:
    """SHA-256 of the Python file of an architecture, by which a twin knows it again; "" of one of dendrotwin's.

    Args:
        name: see `load_architecture`; the file is read and not run.

    Raises:
        InputError: there is no such file.
    """
    if not name.endswith(".py"):
        return ""
    if not Path(name).is_file():
        raise InputError(f"{name} does not exist; name a Python file that defines ARCHITECTURE")
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a Python file that defines ARCHITECTURE")
    spec = importlib.util.spec_from_file_location(f"dendrotwin_user_architecture_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported as a Python file; check its name")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's own code
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}; correct it") from error
    return module


def configure(architecture: Architecture, options: dict[str, Any]) -> BaseModel:
    """The full configuration of an architecture.

    Args:
        architecture: the architecture.
        options: of its configuration; `preset` names a set of options that the others change.

    Returns:
        An instance of `architecture.config`.

    Raises:
        InputError: the preset or one of the options is unknown or wrong.
    """
    options = dict(options)
    if "preset" in options:
        preset = options.pop("preset")
        if preset not in architecture.presets:
            known = ", ".join(architecture.presets) or "none"
            raise InputError(f"{architecture.name} has no preset {preset!r}; known: {known}")
        options = {**architecture.presets[preset], **options}
    try:
        return architecture.config(**options)
    except ValidationError as error:
        name, what = said_plainly(error, architecture.config)
        raise InputError(f"the option {name!r} of {architecture.name}: {what}; correct it") from error


def build_model(
    architecture: str, options: dict[str, Any], tree: Tree, autoregressive: bool = False
) -> tuple[BaseModel, Trainable]:
    """A new model of this architecture for this cell, to be trained, with its full configuration.

    Args:
        architecture: see `load_architecture`.
        options: see `configure`.
        tree: the cell.
        autoregressive: whether it also sees past potentials, and predicts one step ahead.

    Returns:
        The configuration and the model.

    Raises:
        InputError: the architecture, its preset or one of its options is unknown, does not fit the cell, or does not
            learn from data.
    """
    chosen = load_architecture(architecture)
    if not issubclass(chosen.model, Trainable):
        raise InputError(
            f"the {chosen.name} is read from the NEURON model and does not learn from data; make it with "
            "`dendrotwin twin`"
        )
    config = configure(chosen, options)
    return config, chosen.model.untrained(tree, config, autoregressive)
