"""Packages that not everybody needs: imported when they are, and named with their extra when they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from dendrotwin.errors import MissingPackageError


def need(module: str, extra: str) -> Any:
    """The module, which the extra of this package installs.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"this needs {module}, which is not installed; pip install 'dendrotwin[{extra}]'"
        ) from error


def has(module: str) -> bool:
    """Whether the module is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None
