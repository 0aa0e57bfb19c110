"""That all in the folder of a data set is of one simulation, which its file `simulation.json` names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dendrotwin.errors import FileError
from dendrotwin.recording import DEFAULT_RECORD_DT_MS

CONFIG_FILE = "simulation.json"
# What a user knows these fields of `neuron.simulation.Simulation` by.
NAMED = {
    "cell_digest": "mechanisms or files of the cell",
    "own_input": "events or injected current",
    "dt_ms": "--dt",
    "duration_ms": "--duration",
    "record_dt_ms": "--record-dt",
}


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In what two simulations differ, as a user knows it; "" where they do not.

    Args:
        there: the configuration of one; older ones do not say how often they are sampled.
        here: that of the other.
    """
    a, b = ({"record_dt_ms": DEFAULT_RECORD_DT_MS, **configuration} for configuration in (there, here))
    return ", ".join(sorted(NAMED.get(key, key) for key in {*a, *b} if a.get(key) != b.get(key)))


def read_configuration(folder: Path) -> dict[str, Any] | None:
    """The simulation that a folder is of; None where it does not say.

    Args:
        folder: of the data set.

    Raises:
        FileError: its `simulation.json` holds something else.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged; restore it, or name another folder") from error
    if not isinstance(content, dict) or "cell" not in content:
        raise FileError(f"{path} is not of `simulate`; restore it, or name another folder")
    return content


class OneSimulation:
    """What simulation the recordings of a folder are of; those that `simulate` did not make may be of any."""

    def __init__(self, folder: Path) -> None:
        """Begin with what the folder says.

        Args:
            folder: of the data set, or a file of recordings.

        Raises:
            FileError: see `read_configuration`.
        """
        self._folder = folder
        self._found = read_configuration(folder) if folder.is_dir() else None

    def check(self, path: Path, attributes: Mapping[str, Any]) -> None:
        """See that a recording is of the same simulation as those before it.

        Args:
            path: its file.
            attributes: of the file.

        Raises:
            FileError: it is of another, or says so in a way that cannot be read.
        """
        if "simulation" not in attributes:
            return
        try:
            simulation = dict(json.loads(attributes["simulation"]))
        except (ValueError, TypeError, RecursionError) as error:
            raise FileError(f"{path} is damaged: its `simulation` cannot be read; make it again") from error
        if self._found is None:
            self._found = simulation
        if different := differing(self._found, simulation):
            raise FileError(
                f"{path} is of another simulation than the rest of {self._folder} (other {different}); keep one "
                "simulation in a folder: delete the file, and simulate again"
            )
