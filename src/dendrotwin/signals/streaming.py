"""From recordings to signals: one pass over the potentials, in chunks of time, for all instruments at once.

The signal of a population is the sum of its cells' (linear superposition; Hagen et al. 2018,
doi:10.3389/fninf.2018.00092).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from dendrotwin.cell.tree import Floats, Injection
from dendrotwin.errors import InputError
from dendrotwin.recording import RecordingFile, per_ms
from dendrotwin.signals.currents import Currents, check_potentials
from dendrotwin.signals.instruments import MS_PER_S, Instrument, Recorder, Signal, recorder, sample_shape
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.placing import PlacedCell
from dendrotwin.signals.resampling import ratio_of_rates, resampled

# In a chunk, potentials of 1000 compartments take 16 MB in double.
CHUNK_SAMPLES = 2048
Recordings = Path | str | PlacedCell | Sequence[PlacedCell]
"""A file of recordings (its first trial, the cell upright at the origin), a placed cell, or several of them."""


def as_placed_cells(recordings: Recordings) -> list[PlacedCell]:
    """All recordings as placed cells: a file is its first trial, upright at the origin.

    Args:
        recordings: a file, a placed cell, or several.

    Raises:
        InputError: there is none, or one is held in memory.
    """
    if isinstance(recordings, (str, Path)):
        return [PlacedCell(Path(recordings))]
    if isinstance(recordings, PlacedCell):
        return [recordings]
    if not recordings:
        raise InputError("there is no recording to take signals from; name at least one")
    if not all(isinstance(cell, (str, Path, PlacedCell)) for cell in recordings):
        raise InputError("signals are taken from files or PlacedCells; write recordings in memory to files first")
    return [cell if isinstance(cell, PlacedCell) else PlacedCell(Path(cell)) for cell in recordings]


def check_instruments(cells: Sequence[PlacedCell], instruments: Sequence[Instrument]) -> None:
    """Check that instruments can record together.

    Args:
        cells: what they record.
        instruments: what records.

    Raises:
        InputError: two instruments have one name, or one of them records a single cell and there are several.
    """
    names = [instrument.name for instrument in instruments]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"there are two signals named {repeated[0]}; give each a label of its own (NAME:label=...)")
    of_one_cell = [instrument.name for instrument in instruments if isinstance(instrument, (Patch, Currents))]
    if len(cells) > 1 and of_one_cell:
        raise InputError(f"{of_one_cell[0]} is of one cell; take it from one recording at a time")


def common_sampling_hz(recordings: Recordings) -> float:
    """How often the potentials are sampled, and so all signals of them.

    Args:
        recordings: a file, a placed cell, or several.

    Returns:
        Samples in a second [Hz].

    Raises:
        InputError: a file holds no such trial, or the recordings are sampled differently.
        FileError: a file is missing or damaged.
    """
    intervals_ms = set()
    for cell in as_placed_cells(recordings):
        with RecordingFile(cell.recording) as file:
            if not 0 <= cell.trial < len(file):
                raise InputError(f"{cell.recording} holds trials 0 to {len(file) - 1}, not {cell.trial}; choose one")
            intervals_ms.add(file.record_dt_ms(cell.trial))
    if len(intervals_ms) > 1:
        listed = ", ".join(f"{interval_ms:g}" for interval_ms in sorted(intervals_ms))
        raise InputError(f"the recordings are sampled every {listed} ms; simulate all with one --record-dt")
    return MS_PER_S * per_ms(intervals_ms.pop(), "record_dt_ms")


@dataclass(frozen=True, eq=False)
class _CellRecorder:
    """One cell, with a recorder of each instrument. Its file is open only while it is read: populations are large."""

    cell: PlacedCell
    duration_ms: int
    samples_per_ms: int
    injection: Injection | None
    recorders: list[Recorder]

    @classmethod
    def open(cls, cell: PlacedCell, instruments: Sequence[Instrument], rate_hz: float) -> _CellRecorder:
        with RecordingFile(cell.recording) as file:
            tree = cell.place(file.tree())
            check_potentials(tree, file.v(cell.trial, 0, 1))
            recorders = [recorder(instrument, tree, rate_hz) for instrument in instruments]
            return cls(
                cell, file.duration_ms(cell.trial), round(rate_hz / MS_PER_S), file.injection(cell.trial), recorders
            )

    def record(self, start: int, stop: int) -> list[Floats]:
        """What each instrument records of it from one sample to another; to be called in the order of time."""
        with RecordingFile(self.cell.recording) as file:
            v_mV = file.v(self.cell.trial, start, stop).astype(np.float64)
        injection = self.injection
        if injection is not None:
            in_ms = np.arange(start, stop) // self.samples_per_ms  # injected currents are constant within each ms
            injection = Injection(injection.compartment, injection.current_nA[in_ms])
        return [record(v_mV, injection) for record in self.recorders]


def _with_common_surface(cells: Sequence[PlacedCell], instruments: Sequence[Instrument]) -> list[Instrument]:
    """Cameras without a surface of the tissue get one: the highest point of all the cells."""
    unset = [k for k, each in enumerate(instruments) if isinstance(each, Dye) and each.surface_um is None]
    complete = list(instruments)
    if unset:
        surface_um = max(float(cell.tree().ends_um[:, :, 2].max()) for cell in cells)
        for k in unset:
            complete[k] = dataclasses.replace(cast(Dye, instruments[k]), surface_um=surface_um)
    return complete


def stream(
    recordings: Recordings, instruments: Sequence[Instrument], chunk_samples: int = CHUNK_SAMPLES
) -> Iterator[list[Floats]]:
    """The signals in chunks of time, summed over cells; memory does not grow with the duration.

    Args:
        recordings: a file (its first trial), a placed cell, or several.
        instruments: what records.
        chunk_samples: length of a chunk.

    Yields:
        For each instrument (chunk_samples, channels), fewer samples in the last chunk; pixels of a camera are channels.

    Raises:
        InputError: see `check_instruments` and `common_sampling_hz`; or cells last differently, a chunk is empty,
            potentials are not of all compartments, or an instrument does not fit the cell.
        FileError: a file is missing or damaged, or holds potentials that are not finite.
    """
    if chunk_samples < 1:
        raise InputError(f"chunks of {chunk_samples} samples; give at least one")
    cells = as_placed_cells(recordings)
    check_instruments(cells, instruments)
    rate_hz = common_sampling_hz(cells)
    instruments = _with_common_surface(cells, instruments)
    recorded = [_CellRecorder.open(cell, instruments, rate_hz) for cell in cells]
    durations_ms = {cell.duration_ms for cell in recorded}
    if len(durations_ms) > 1:
        listed = ", ".join(map(str, sorted(durations_ms)))
        raise InputError(f"the recordings last {listed} ms; give cells of one duration")
    samples = durations_ms.pop() * round(rate_hz / MS_PER_S)
    for start in range(0, samples, chunk_samples):
        sums: list[Floats] = []
        for cell in recorded:
            values = cell.record(start, min(start + chunk_samples, samples))
            sums = [a + b for a, b in zip(sums, values, strict=True)] if sums else values
        yield sums


def record(
    recordings: Recordings,
    instruments: Sequence[Instrument],
    chunk_samples: int = CHUNK_SAMPLES,
    rate_hz: float | None = None,
) -> list[Signal]:
    """The signals of all instruments, in memory; `write_signals` writes them into a file instead.

    Args:
        recordings: a file (its first trial), a placed cell, or several.
        instruments: what records.
        chunk_samples: how many samples are computed at once.
        rate_hz: samples of the signals in a second, filtered; None for those of the recording. See `resampling` [Hz].

    Returns:
        A signal for each instrument.

    Raises:
        InputError, FileError: see `stream`.
    """
    recorded_hz = common_sampling_hz(recordings)
    rate_hz = recorded_hz if rate_hz is None else rate_hz
    ratio = ratio_of_rates(recorded_hz, rate_hz)
    chunks = list(resampled(stream(recordings, instruments, chunk_samples), ratio))
    return [
        Signal(i.name, i.unit, np.concatenate(parts).reshape(-1, *sample_shape(i)), i.channels(), rate_hz)
        for i, parts in zip(instruments, zip(*chunks, strict=True), strict=True)
    ]
