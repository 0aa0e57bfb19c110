"""A run on disk while it goes: what was recorded between two checkpoints, and the last states, of each process.

A process writes its segment first and its state then, each whole or not at all. A run that was killed goes on from the
last state that all processes have; what they recorded later is recorded again, and is the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.errors import CircuitError
from dendrotwin.support.atomic_files import whole_file

RUN = "run.json"
Arrays = Mapping[str, NDArray[Any]]


class Segments:
    """The folder in which a process keeps its part of a run that goes on.

    Args:
        folder: of the run, for all processes.
        rank, processes: which process this is, of how many.
        digest: of what is run.
    """

    def __init__(self, folder: Path, rank: int, processes: int, digest: str) -> None:
        self.folder, self.rank, self.processes = folder, rank, processes
        self.mine = folder / f"process-{rank:05d}"
        self.mine.mkdir(parents=True, exist_ok=True)
        said = {"digest": digest, "processes": processes}
        path = folder / RUN
        if path.is_file():
            there = json.loads(path.read_text())
            if there["digest"] != digest:
                raise CircuitError(
                    f"{folder.parent} holds a run of another circuit or of other settings (duration, device, ...); "
                    "name another folder"
                )
            if there["processes"] != processes:
                raise CircuitError(
                    f"{folder.parent} holds a run of {there['processes']} processes, and these are {processes}; go on "
                    "with as many"
                )
        elif rank == 0:
            with whole_file(path) as new:
                new.write_text(json.dumps(said))

    def last(self) -> int:
        """Number of the last state that all processes have, or -1."""
        of_all = [self._states(self.folder / f"process-{rank:05d}") for rank in range(self.processes)]
        shared = set.intersection(*of_all)
        return max(shared, default=-1)

    @staticmethod
    def _states(folder: Path) -> set[int]:
        names = (re.fullmatch(r"state-(\d+)\.npz", path.name) for path in folder.glob("state-*.npz"))
        return {int(name[1]) for name in names if name}

    def forget_after(self, number: int) -> None:
        """Remove what this process wrote after a state: when it is recorded again, segments may end at other times.

        Args:
            number: of the state that the run goes on from; -1 for its start.
        """
        for path in self.mine.glob("*.npz"):
            name = re.fullmatch(r"(?:state|segment)-(\d+)\.npz", path.name)
            if name and int(name[1]) > number:
                path.unlink()

    def save(self, number: int, recorded: Arrays, state: Arrays) -> None:
        """Write a segment and the state at its end.

        Args:
            number: of the segment.
            recorded: what was recorded in it.
            state: see `Engine.state`.

        Raises:
            FileError: the disk is full.
        """
        for name, arrays in (("segment", recorded), ("state", state)):
            with whole_file(self.mine / f"{name}-{number:06d}.npz") as path, open(path, "wb") as file:
                np.savez(file, **dict(arrays))  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
        for old in sorted(self._states(self.mine))[:-2]:  # others may not have the last one yet
            (self.mine / f"state-{old:06d}.npz").unlink(missing_ok=True)

    def state(self, number: int) -> dict[str, NDArray[Any]]:
        """A state of this process: arrays (cells, ...) by name.

        Args:
            number: of the segment that it is at the end of.
        """
        with np.load(self.mine / f"state-{number:06d}.npz") as file:
            return dict(file)

    def segments(self, last: int) -> Iterator[list[dict[str, NDArray[Any]]]]:
        """What all processes recorded, segment by segment: arrays by name, such as (samples, elements).

        Args:
            last: number of the last segment.

        Yields:
            The arrays of each process.
        """
        for number in range(last + 1):
            found = []
            for rank in range(self.processes):
                with np.load(self.folder / f"process-{rank:05d}" / f"segment-{number:06d}.npz") as file:
                    found.append(dict(file))
            yield found

    def remove(self) -> None:
        """Remove all of it: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
