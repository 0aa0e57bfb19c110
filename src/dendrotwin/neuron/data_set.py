"""The folder of a data set: a file for each trial, the configuration that made them, and how they are split."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dendrotwin.cell.tree import Events, Floats, Injection
from dendrotwin.errors import CellError, FileError
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.recording import RecordingFile
from dendrotwin.recording.one_simulation import CONFIG_FILE, OneSimulation, differing, read_configuration
from dendrotwin.recording.trials import SPLIT_FILE, HeldOut, read_held_out
from dendrotwin.support.atomic_files import remove_dead_partials, whole_file
from dendrotwin.support.folder_lock import FolderLock

BUILD_FILE = "build.json"  # how the cell was built for the first trial
MOST_TRIALS = 1_000_000  # files are sorted by names that hold six digits
# A cell fires all the time if so large a share of so many stretches of 100 ms has an output spike: modulated input has
# silences of several 100 ms.
WINDOW_MS, LEAST_WINDOWS, ALL_THE_TIME = 100, 5, 0.95


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


@contextmanager
def claimed(out: Path, simulation: Simulation, held_out: HeldOut | None, *, overwrite: bool) -> Iterator[None]:
    """Make a folder that of this simulation with this split, or see that it is, and keep it so while the block runs.

    Several processes may simulate trials of one simulation into it at a time, but none of another one.

    Args:
        out: the folder.
        simulation: with its digests; see `with_digests`.
        held_out: the split; None leaves it open.
        overwrite: remove the data set that is there first.

    Raises:
        FileError: it holds another simulation, another split, or something else; or another process writes there.
    """
    if out.is_file():
        raise FileError(f"{out} exists and is no data set of `simulate`; name another folder, or use --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    with FolderLock(out) as lock:
        while not (alone := lock.try_alone()):
            lock.share()  # waits for a process that decides what the folder is of, for that moment
            if (out / CONFIG_FILE).exists():
                break
            time.sleep(0.05)
        if overwrite and not alone:
            raise FileError(f"another process is simulating into {out}; wait for it, or name another folder")
        if overwrite:
            remove(out)
        _claim(out, simulation, held_out, alone=alone)
        lock.share()
        check_claim(out, simulation)
        yield


def _claim(out: Path, simulation: Simulation, held_out: HeldOut | None, *, alone: bool) -> None:
    """See `claimed`; a folder without trials, of a run that failed, is free where no other process is in it."""
    shards = any(out.glob("*.h5"))
    there = read_configuration(out)
    if there is not None and (shards or not alone):
        check_claim(out, simulation)
    elif shards:
        raise FileError(f"{out} exists and is no data set of `simulate`; name another folder, or use --overwrite")
    else:
        (out / SPLIT_FILE).unlink(missing_ok=True)
        (out / BUILD_FILE).unlink(missing_ok=True)
        with whole_file(out / CONFIG_FILE) as temporary:
            temporary.write_text(json.dumps(simulation.model_dump(mode="json"), indent=2) + "\n")
    if held_out is not None:
        split = read_held_out(out)
        if split not in (None, held_out):
            raise FileError(f"{out} is split in another way ({split}); name another folder, or use --overwrite")
        with whole_file(out / SPLIT_FILE) as temporary:
            temporary.write_text(held_out.model_dump_json() + "\n")
    remove_dead_partials(out)


def check_claim(out: Path, simulation: Simulation) -> None:
    """See that a folder is of a simulation.

    Args:
        out: the folder.
        simulation: with its digests.

    Raises:
        FileError: it is of another one, or says nothing.
    """
    there = read_configuration(out)
    if there is None:
        raise FileError(f"{out / CONFIG_FILE} was deleted meanwhile; run the same command again")
    if different := differing(there, json.loads(simulation.model_dump_json())):
        raise FileError(f"{out} holds another simulation (other {different}); name another, or use --overwrite")


def check_build(out: Path, name: str, parameters: dict[str, Floats]) -> None:
    """See that a cell was built as it was for the other trials of a data set, in this process or another.

    Args:
        out: folder of the data set.
        name: of the cell.
        parameters: (k,) of each name, of the cell as it is built; see `check_start.parameters`.

    Raises:
        CellError: something in it is another: says what.
    """
    # Sums with and without weights that depend on the place tell any difference, and are no more than a line.
    mine = {
        key: [float(len(x)), float(x.sum()), float(x @ np.cos(np.arange(len(x)))), float(np.abs(x).sum())]
        for key, x in parameters.items()
    }
    try:
        theirs = json.loads((out / BUILD_FILE).read_text())
    except FileNotFoundError:
        with whole_file(out / BUILD_FILE) as temporary:
            temporary.write_text(json.dumps(mine) + "\n")
        return
    differing = [
        key
        for key in sorted({*mine, *theirs})
        if key not in mine or key not in theirs or not np.allclose(mine[key], theirs[key], 1e-9, 1e-9 * mine[key][3])
    ]
    if differing:
        raise CellError(
            f"two builds of the cell {name} differ in {', '.join(differing)}: `build` draws it at random, or takes it "
            "from the time, the process, or the order of a set; give random numbers a seed, and sort sets"
        )


def check_shards(out: Path, paths: Sequence[Path]) -> None:
    """See that trials are whole, and of the simulation of their folder.

    Args:
        out: the folder.
        paths: files of trials.

    Raises:
        FileError: one is damaged, or of another simulation.
    """
    simulation = OneSimulation(out)
    for path in paths:
        with RecordingFile(path) as file:
            simulation.check(path, file.attributes)


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
    (out / BUILD_FILE).unlink(missing_ok=True)
    (out / CONFIG_FILE).unlink(missing_ok=True)
