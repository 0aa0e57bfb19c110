"""Where things are kept that are made or fetched once."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$DENDROTWIN_CACHE, else `dendrotwin` in the user's cache folder."""
    if "DENDROTWIN_CACHE" in os.environ:
        return Path(os.environ["DENDROTWIN_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dendrotwin"
