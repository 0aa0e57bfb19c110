"""What this machine's memory holds: asked before arrays are made that it does not hold, for the system may not say."""

from __future__ import annotations

import os
from pathlib import Path

from dendrotwin.errors import InputError

# Where a container, or a job of a cluster, has a limit of its own.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
GB = 1e9


def memory_bytes() -> float:
    """Memory that this process can have at most [bytes]; infinite where the system does not say."""
    try:
        found = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        found = float("inf")
    for limit in LIMITS:
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            found = min(found, float(text))
    return found


def require_memory(size_bytes: float, what: str, fix: str) -> None:
    """See that this machine can hold something.

    Args:
        size_bytes: how much it takes [bytes].
        what: it is, for the error.
        fix: what to do where it does not.

    Raises:
        InputError: it takes more than there is.
    """
    there = memory_bytes()
    if size_bytes > there:
        raise InputError(f"{what} takes {size_bytes / GB:.3g} GB, this machine has {there / GB:.3g} GB; {fix}")
