"""Packages that only some commands need: imported on use, named with their pip extra where they are missing.

The forward models of this folder are LFPykit's (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), in the extra
`signals`; pynwb is in the extra `nwb`.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from dendrotwin.errors import MissingPackageError


def import_extra(module: str, extra: str) -> Any:
    """Import an optional package.

    Args:
        module: its name, such as "lfpykit".
        extra: the extra of dendrotwin that installs it, such as "signals".

    Returns:
        The module.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"this needs {module}, which is not installed; pip install 'dendrotwin[{extra}]'"
        ) from error


def is_installed(module: str) -> bool:
    """Whether a package is installed, without importing it.

    Args:
        module: its name, such as "lfpykit".
    """
    return importlib.util.find_spec(module) is not None
