"""Running a circuit: slices until the end, with checkpoints, and what was recorded.

In one process, or in several that `torchrun` starts: each has its cells, and they exchange their spikes after every
slice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.description import Description
from dendrotwin.circuit.engine import Engine, Sampling, Settings, shortest_delay
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.fields import Field
from dendrotwin.circuit.identity import digest_of_run
from dendrotwin.circuit.recorders import Parts, Recorder, Spikes, named, spikes_of
from dendrotwin.circuit.segments import Segments
from dendrotwin.circuit.wiring import Numbering
from dendrotwin.errors import CircuitError, InputError
from dendrotwin.signals.instruments import Signal, settings_of
from dendrotwin.support.folder_lock import FolderLock
from dendrotwin.support.progress import progress

CHECKPOINT_S = 60.0  # between two checkpoints
SEGMENT_BYTES = 2**28  # of what was recorded since the last one, above which the next one comes at once
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Storage:
    """Where a run keeps what it has while it goes, so that it can go on when it was killed.

    Attributes:
        folder: of the run.
        every_s: seconds between two checkpoints [s].
    """

    folder: Path
    every_s: float = CHECKPOINT_S


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave.

    Attributes:
        circuit: its description, as it was given to `run`.
        settings: how it was run.
        recorders: all, spikes first.
        parts: of each recorder; see there. In memory.
        seconds: that it took, in the last process that did it [s].
    """

    circuit: Description
    settings: Settings
    recorders: tuple[Recorder, ...]
    parts: tuple[Parts, ...]
    seconds: float

    def spikes(self, population: str | None = None) -> tuple[Indices, Floats]:
        """Output spikes, by time.

        Args:
            population: of which cells; None for those of all, numbered through.

        Returns:
            (s,) nodes, and (s,) times [ms].
        """
        if population is None:
            return self.parts[0]["node"], self.parts[0]["time_ms"]
        first = Numbering.of(self.circuit).first[population]
        return spikes_of(self.parts[0], first, len(named(self.circuit, population)))

    def recorded(self, name: str) -> Parts:
        """The parts of a recorder.

        Args:
            name: of the recorder.

        Raises:
            CircuitError: there is none of that name.
        """
        for recorder, parts in zip(self.recorders, self.parts, strict=True):
            if recorder.name == name:
                return parts
        known = ", ".join(recorder.name for recorder in self.recorders)
        raise CircuitError(f"nothing is recorded as {name!r}; there are {known}")

    def signals(self, sampling_hz: float) -> list[Signal]:
        """The signal of each instrument, followed by that of each population where there are several.

        Args:
            sampling_hz: samples in a second [Hz].
        """
        found = []
        for recorder, parts in zip(self.recorders, self.parts, strict=True):
            if isinstance(recorder, Field):
                one = recorder.instrument
                of_each = zip([p.name for p in self.circuit.populations], parts["values"], strict=True)
                named = [(one.name, parts["values"].sum(axis=0)), *((f"{one.name}-{p}", v) for p, v in of_each)]
                for name, values in named[: len(named) if len(self.circuit.populations) > 1 else 1]:
                    found.append(Signal(name, one.unit, values, one.channels(), sampling_hz, settings_of(one)))
        return found


def sampling_of(recorders: Sequence[Recorder], every_ms: float) -> Sampling:
    """What the engine has to record for some recorders.

    Args:
        recorders: all of a run.
        every_ms: how often [ms].
    """
    somata_only = all(recorder.somata_only for recorder in recorders)
    return Sampling(every_ms, somata_only, any(recorder.concentrations for recorder in recorders))


def engine_of(circuit: Description, settings: Settings, sampling: Sampling) -> Engine:
    """The engine of this process; all processes make theirs together.

    Args:
        circuit, settings, sampling: see `Engine`.

    Raises:
        CircuitError: a delay is shorter than the shortest step, or another process has ended.
    """
    processes = exchange()
    shortest_ms = min(processes.gather(shortest_delay(circuit)))
    return Engine(circuit, settings, sampling, processes.rank, processes.size, shortest_ms)


def run(
    circuit: Description, settings: Settings, recorders: Sequence[Recorder] = (), sample_ms: float = 1.0,
    storage: Storage | None = None,
) -> Result | None:  # fmt: skip
    """Run a circuit, and keep in memory what is recorded.

    Args:
        circuit: its description, checked (`check`). In several processes it may be the same in all, or in each that
            part of it that ends in the cells of this process (`Circuit.part`).
        settings: how.
        recorders: of potentials and fields; spikes are always recorded.
        sample_ms: how often potentials and fields are sampled [ms].
        storage: where it keeps its checkpoints; without it, a killed run begins anew.

    Returns:
        What was recorded; in another process than the first, None.

    Raises:
        CircuitError: a potential leaves the tables of a membrane, another process has ended, or the storage belongs to
            another run.
        InputError: a recorder does not fit the circuit, or two have one name.
    """
    started = time.monotonic()
    names = ["spikes", *(recorder.name for recorder in recorders)]
    twice = [name for name, many in Counter(names).items() if many > 1]
    if twice:
        raise InputError(f"two recorders are called {twice[0]!r}, one of which could not be asked for; rename one")
    with Run(circuit, settings, recorders, sample_ms, storage) as running:
        running.finish()
        if running.exchange.rank:
            return None
        segments = list(running.joined())
        parts = tuple(_in_time([segment[k] for segment in segments]) for k in range(len(running.recorders)))
    return Result(circuit, settings, running.recorders, parts, time.monotonic() - started)


def _in_time(segments: Sequence[Parts]) -> Parts:
    """Parts of segments, one after the other along time."""
    found = {}
    for name, first in segments[0].items():
        each = [segment[name] for segment in segments]
        along = {"time_ms": 0, "node": 0, "values": first.ndim - 2}
        fixed = name == "compartment" or (name == "node" and "values" in segments[0])  # the same in all segments
        found[name] = first if fixed else np.concatenate(each, axis=along[name])
    return found


class Run:
    """A run that goes: use it as a context manager, `finish` it, and take what it has recorded by `joined`.

    Args:
        circuit, settings, recorders, sample_ms, storage: see `run`.
    """

    def __init__(
        self, circuit: Description, settings: Settings, recorders: Sequence[Recorder] = (), sample_ms: float = 1.0,
        storage: Storage | None = None,
    ) -> None:  # fmt: skip
        self.circuit, self.settings, self.storage = circuit, settings, storage
        self.spikes = Spikes()
        self.recorders: tuple[Recorder, ...] = (self.spikes, *recorders)
        self.exchange, self.sample_ms = exchange(), sample_ms
        self._kept: list[list[Parts]] = []
        self._segments: Segments | None = None

    def __enter__(self) -> Run:
        with ExitStack() as stack:  # what fails here leaves nothing locked
            with self.exchange.together():
                self._begin(stack)
            self._stack = stack.pop_all()
        return self

    def _begin(self, stack: ExitStack) -> None:
        exchange, storage = self.exchange, self.storage
        if storage is None and exchange.size > 1:
            raise CircuitError("several processes need a folder where they keep what they record; name one")
        self.engine = engine_of(self.circuit, self.settings, sampling_of(self.recorders, self.sample_ms))
        exchange.device = self.engine.device
        for recorder in self.recorders:
            recorder.begin(self.engine)
        self.number = 0
        if storage is None:
            return
        asked = [self.sample_ms, *(recorder.asked for recorder in self.recorders)]
        digest = digest_of_run(self.circuit, self.settings, asked)
        storage.folder.mkdir(parents=True, exist_ok=True)
        if exchange.rank == 0:
            lock = stack.enter_context(FolderLock(storage.folder))
            if not lock.try_alone():
                raise CircuitError(f"another process is running a network in {storage.folder}; name another folder")
        self._segments = segments = Segments(storage.folder / "running", exchange.rank, exchange.size, digest)
        exchange.gather(None)  # all folders are there
        last = segments.last()
        exchange.gather(None)  # and nobody writes before all have looked
        segments.forget_after(last)
        if last >= 0:
            self.engine.restore(segments.state(last))
            self.number = last + 1

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def finish(self) -> None:
        """Run to the end, or on to it.

        Raises:
            CircuitError: see `run`.
        """
        engine, exchange, settings = self.engine, self.exchange, self.settings
        self._saved = time.monotonic()
        fired, began_at = 0, engine.slice

        def gather(node: Indices, time_ms: Floats) -> tuple[Indices, Floats]:
            nonlocal fired
            self.spikes.add(node, time_ms)
            node, time_ms, self._now = exchange.spikes(node, time_ms, self._is_time())
            fired += len(node)
            return node, time_ms

        with ExitStack() as shown:
            advance = None
            if exchange.rank == 0:
                what = f"running {self.engine.numbers.cells} cells"
                advance = shown.enter_context(progress(what, settings.duration_ms, "ms", engine.time_ms))
            while engine.slice < engine.slices:
                before_ms = engine.time_ms
                time_ms, recorded = engine.advance(gather)
                for recorder in self.recorders:
                    recorder.take(time_ms, recorded)
                if self._now and engine.slice < engine.slices:
                    self._save()
                if advance is not None:
                    simulated_s = (engine.slice - began_at) * engine.slice_ms * 1e-3
                    rate_hz = fired / max(engine.numbers.cells, 1) / simulated_s
                    advance(min(engine.time_ms, settings.duration_ms) - before_ms, f"{rate_hz:.3g} spikes/s a cell")
        if began_at < engine.slices or not self.number:
            self._save()
        exchange.end()  # all have written what they recorded

    def _is_time(self) -> bool:
        if self.storage is None:
            return False
        held = sum(recorder.held_bytes for recorder in self.recorders)
        return time.monotonic() - self._saved >= self.storage.every_s or held >= SEGMENT_BYTES

    def _save(self) -> None:
        """A segment, and the state at its end."""
        parts = [recorder.parts() for recorder in self.recorders]
        if self._segments is None:
            self._kept.append(parts)
        else:
            flat = {f"{k}.{name}": array for k, part in enumerate(parts) for name, array in part.items()}
            self._segments.save(self.number, flat, self.engine.state())
            self.number += 1
        self._saved = time.monotonic()

    def joined(self) -> Iterator[list[Parts]]:
        """What was recorded by all processes, segment by segment; for the first process, when the run is done.

        Yields:
            The parts of each recorder.
        """
        if self._segments is None:
            for kept in self._kept:
                yield [recorder.join([part]) for recorder, part in zip(self.recorders, kept, strict=True)]
            return
        for arrays in self._segments.segments(self.number - 1):
            of_all = [[_named_parts(k, one) for k in range(len(self.recorders))] for one in arrays]
            yield [recorder.join([of[k] for of in of_all]) for k, recorder in enumerate(self.recorders)]

    def remove(self) -> None:
        """Remove the checkpoints, once what was recorded is written elsewhere."""
        if self._segments is not None:
            self._segments.remove()


def _named_parts(k: int, arrays: dict[str, Any]) -> Parts:
    prefix = f"{k}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
