"""dendrotwin: twins of biophysically detailed neuron models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dendrotwin.twin import Twin

__version__ = "0.1.0"

TWINS = Path(__file__).parent / "twins"


def load(name: str | Path) -> Twin:
    """A twin that comes with the package, by its name, or one's own, by its folder.

    Args:
        name: such as "l5pc", or a path; where both are there, the folder.

    Raises:
        TwinError: there is none of this name, or the folder is no twin.
    """
    from dendrotwin.errors import TwinError
    from dendrotwin.twin import Twin

    ours = {path.name: path for path in TWINS.glob("*") if path.is_dir()}
    if str(name) in ours and not (Path(name) / "config.json").is_file():
        return Twin.load(ours[str(name)])
    if not Path(name).exists():
        known = ", ".join(sorted(ours)) or "none"
        raise TwinError(
            f"{name} is no twin: there is no such folder, and of those that come with dendrotwin ({known}) none has "
            "this name; `dendrotwin train` makes one"
        )
    return Twin.load(Path(name))
