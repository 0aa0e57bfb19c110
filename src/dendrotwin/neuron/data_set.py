"""The folder of a data set: a file for each trial, the configuration that made them, and how they are split."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dendrotwin.cell.tree import Events, Injection
from dendrotwin.errors import FileError
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.recording import DEFAULT_RECORD_DT_MS, RecordingFile
from dendrotwin.recording.trials import SPLIT_FILE, HeldOut, read_held_out
from dendrotwin.support.atomic_files import remove_dead_partials, whole_file

CONFIG_FILE = "simulation.json"
# A cell fires all the time if so large a share of so many stretches of 100 ms has an output spike: modulated input has
# silences of several 100 ms.
WINDOW_MS, LEAST_WINDOWS, ALL_THE_TIME = 100, 5, 0.95
# What a user knows these fields of `Simulation` by.
NAMED = {
    "cell_digest": "mechanisms or files of the cell",
    "own_input": "events or injected current",
    "dt_ms": "--dt",
    "duration_ms": "--duration",
    "record_dt_ms": "--record-dt",
}


def shard_path(out: Path, trial: int) -> Path:
    """The file of a trial in a data set, its shard.

    Args:
        out: folder of the data set.
        trial: number of the trial.
    """
    return Path(out) / f"trial-{trial:06d}.h5"


class OutputRate(NamedTuple):
    """How often a cell fires.

    Attributes:
        hz: mean rate [Hz].
        all_the_time: whether nearly every stretch of WINDOW_MS has an output spike, whatever the input does.
    """

    hz: float
    all_the_time: bool


def output_rate(paths: Sequence[Path]) -> OutputRate:
    """How often the cell of a data set fires.

    Args:
        paths: files of recordings.
    """
    spikes, duration_ms, windows, firing = 0, 0, 0, 0
    for path in paths:
        with RecordingFile(path) as file:
            for trial in range(len(file)):
                times_ms = file.spikes_ms(trial)
                whole = file.duration_ms(trial) // WINDOW_MS
                spikes, duration_ms = spikes + len(times_ms), duration_ms + file.duration_ms(trial)
                windows += whole
                firing += len(np.unique(times_ms[times_ms < whole * WINDOW_MS] // WINDOW_MS))
    all_the_time = windows >= LEAST_WINDOWS and firing >= ALL_THE_TIME * windows
    return OutputRate(1000.0 * spikes / duration_ms, all_the_time)


def with_digests(
    simulation: Simulation, cell_digest: str, events: Events | None, injection: Injection | None
) -> Simulation:
    """A simulation that knows what else decides its bits: the cell's files, and the user's own input.

    Args:
        simulation: as the user gave it.
        cell_digest: see `cell_files.cell_digest`.
        events: the user's own events, if there are some.
        injection: the user's own current, if there is some.
    """
    own = "" if events is None and injection is None else _own_input_digest(events, injection)
    return simulation.model_copy(update={"cell_digest": cell_digest, "own_input": own})


def _own_input_digest(events: Events | None, injection: Injection | None) -> str:
    digest = hashlib.sha256()
    for arrays in (events, injection):
        for name, value in sorted(vars(arrays).items()) if arrays is not None else ():
            if isinstance(arrays, Events) and name == "time_ms" and np.array_equal(arrays.bins(), value):
                value = arrays.bins()  # whole ms, as they were stored before there were others
            digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def claim(out: Path, simulation: Simulation, held_out: HeldOut | None) -> None:
    """Make a folder that of this simulation with this split, or see that it is.

    Args:
        out: the folder.
        simulation: with its digests; see `with_digests`.
        held_out: the split; None leaves it open.

    Raises:
        FileError: it holds another simulation, another split, or something else.
    """
    config = out / CONFIG_FILE
    shards = out.is_dir() and any(out.glob("*.h5"))
    if config.exists() and shards:
        try:
            # Older data sets do not say how often they are sampled.
            there: dict[str, Any] = {"record_dt_ms": DEFAULT_RECORD_DT_MS, **json.loads(config.read_text())}
        except ValueError as error:
            raise FileError(f"{config} is damaged; restore it, or name another folder") from error
        here = json.loads(simulation.model_dump_json())
        different = sorted(NAMED.get(key, key) for key in {*there, *here} if there.get(key) != here.get(key))
        if different:
            raise FileError(
                f"{out} holds another simulation (other {', '.join(different)}); name another, or use --overwrite"
            )
    elif out.is_file() or shards:
        raise FileError(f"{out} exists and is no data set of `simulate`; name another folder, or use --overwrite")
    else:
        (out / SPLIT_FILE).unlink(missing_ok=True)
        with whole_file(config) as temporary:
            temporary.write_text(json.dumps(simulation.model_dump(mode="json"), indent=2) + "\n")
    if held_out is not None:
        split = read_held_out(out)
        if split not in (None, held_out):
            raise FileError(f"{out} is split in another way ({split}); name another folder, or use --overwrite")
        with whole_file(out / SPLIT_FILE) as temporary:
            temporary.write_text(held_out.model_dump_json() + "\n")
    remove_dead_partials(out)


def remove(out: Path) -> None:
    """Remove a data set: its configuration and its trials. A folder that holds other recordings is left as it is.

    Args:
        out: the folder.

    Raises:
        FileError: it holds recordings that `simulate` did not make.
    """
    shards = list(out.glob("*.h5"))
    foreign = [path.name for path in shards if not re.fullmatch(r"trial-\d{6,}\.h5", path.name)]
    if foreign or (shards and not (out / CONFIG_FILE).is_file()):
        raise FileError(f"{out} holds files that `simulate` did not make, and is not overwritten; name another folder")
    for path in shards:
        path.unlink()
    (out / CONFIG_FILE).unlink(missing_ok=True)
