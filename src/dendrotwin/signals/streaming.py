"""From recordings to signals: one pass over the potentials, in chunks of time, for all instruments at once.

The signal of a population is the sum of its cells' (linear superposition; Hagen et al. 2018,
doi:10.3389/fninf.2018.00092).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dendrotwin.cell.tree import Floats, Injection, Tree
from dendrotwin.errors import InputError, InputWarning, MissingPackageError
from dendrotwin.recording import RecordingFile, per_ms
from dendrotwin.recording.membrane_currents import is_balanced
from dendrotwin.signals.currents import Currents, check_potentials
from dendrotwin.signals.extracellular import LFP, Dipole
from dendrotwin.signals.instruments import (
    MS_PER_S,
    Instrument,
    Recorder,
    Signal,
    recorder,
    recorder_of_currents,
    sample_shape,
    settings_of,
)
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.placing import PlacedCell
from dendrotwin.signals.population import check_apart, groups_of
from dendrotwin.signals.resampling import ratio_of_rates, resampled

# In a chunk, potentials of 1000 compartments take 16 MB in double.
CHUNK_SAMPLES = 2048
NOTICED_SHARE = 0.02  # of the membrane outside a camera's frame, above which it is said: less are tips of branches
MOST_LISTED = 5  # of cells in a message
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


def fit_instruments(cells: Sequence[PlacedCell], instruments: Sequence[Instrument]) -> list[Instrument]:
    """The instruments, complete and checked for these cells.

    A camera without a surface of the tissue gets one, the highest point of all cells.

    Args:
        cells: what they record.
        instruments: what records.

    Raises:
        InputError: two signals have one name, an instrument of a single cell has several, or no cell is in front of a
            camera.
    """
    check_names([name for name, _ in signals_of(cells, instruments)])
    of_one_cell = [instrument.name for instrument in instruments if isinstance(instrument, (Patch, Currents))]
    if len(cells) > 1 and of_one_cell:
        raise InputError(f"{of_one_cell[0]} is of one cell; take it from one recording at a time")
    if not any(isinstance(instrument, Dye) for instrument in instruments):
        return list(instruments)
    trees = [cell.tree() for cell in cells]
    highest_um = max(float(tree.ends_um[:, :, 2].max()) for tree in trees)
    return [_fit_camera(each, trees, highest_um) if isinstance(each, Dye) else each for each in instruments]


def _fit_camera(dye: Dye, trees: Sequence[Tree], highest_um: float) -> Dye:
    share = dye.share_in_view(trees)
    rows, columns = dye.edges_um()
    frame = f"x = {columns[0]:g} to {columns[-1]:g} um and y = {rows[0]:g} to {rows[-1]:g} um"
    if share == 0.0:
        raise InputError(f"no cell is in front of the camera of {dye.name}, {frame}; move the cells or the camera")
    if share < 1.0 - NOTICED_SHARE:
        warnings.warn(
            f"{100.0 * (1.0 - share):.2g} % of the membrane is outside the frame of {dye.name}, {frame}; give the "
            "camera more or larger pixels to see all",
            InputWarning,
            stacklevel=4,
        )
    return dye if dye.surface_um is not None else dataclasses.replace(dye, surface_um=highest_um)


def signals_of(cells: Sequence[PlacedCell], instruments: Sequence[Instrument]) -> list[tuple[str, Instrument]]:
    """Names of the signals with their instruments: of all cells, then of each group, for one instrument after another.

    Args:
        cells: what is recorded.
        instruments: what records.

    Raises:
        InputError: some cells have a group and others have none.
    """
    groups = groups_of(cells)
    return [(f"{i.name}-{group}" if group else i.name, i) for i in instruments for group in ("", *groups)]


def check_names(names: Sequence[str]) -> None:
    """Check that no two signals have one name.

    Args:
        names: of the signals.

    Raises:
        InputError: two have.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"there are two signals named {repeated[0]}; give each a label of its own (NAME:label=...)")


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
    left_out: list[str]  # names of the instruments that leave the cell out
    closed: list[str]  # and of those in a slab that no current leaves

    @classmethod
    def open(cls, cell: PlacedCell, instruments: Sequence[Instrument], rate_hz: float) -> _CellRecorder:
        with RecordingFile(cell.recording) as file:
            injection = file.injection(cell.trial)
            try:
                tree = cell.place(file.tree())
                if file.holds_currents(cell.trial):
                    recorders = [recorder_of_currents(instrument, tree) for instrument in instruments]
                else:
                    check_potentials(tree, file.v(cell.trial, 0, 1))
                    recorders = [recorder(instrument, tree, rate_hz) for instrument in instruments]
                closed = [i.name for i in instruments if isinstance(i, LFP) and i.slab is not None and i.slab.is_closed]
                _check_closed(closed, injection is not None and bool(injection.current_nA.any()))
            except MissingPackageError:
                raise
            except InputError as error:
                raise InputError(f"{cell}: {error}") from error
            return cls(
                cell, file.duration_ms(cell.trial), round(rate_hz / MS_PER_S), injection, recorders,
                [i.name for i in instruments if isinstance(i, LFP) and i.leaves_out(tree)], closed,
            )  # fmt: skip

    def record(self, start: int, stop: int) -> list[Floats]:
        """What each instrument records of it from one sample to another; to be called in the order of time."""
        with RecordingFile(self.cell.recording) as file:
            if file.holds_currents(self.cell.trial):
                samples = file.imem_nA(self.cell.trial, start, stop)
                if self.closed:
                    _check_closed(self.closed, not is_balanced(samples))
            else:
                samples = file.v(self.cell.trial, start, stop).astype(np.float64)
        injection = self.injection
        if injection is not None:
            in_ms = np.arange(start, stop) // self.samples_per_ms  # injected currents are constant within each ms
            injection = Injection(injection.compartment, injection.current_nA[in_ms])
        return [record(samples, injection) for record in self.recorders]


def _check_closed(closed: Sequence[str], any_injected: bool) -> None:
    """Raise InputError where current is injected into a slab that it cannot leave."""
    if closed and any_injected:
        raise InputError(
            f"current is injected, and the slab of {closed[0]} insulates below and above, so that it cannot leave and "
            "the potential is infinite; give one side a conductivity"
        )


def _say_who_is_left_out(recorded: Sequence[_CellRecorder], instruments: Sequence[Instrument]) -> None:
    """Warn of the cells that instruments leave out; raise InputError where these are all."""
    for name in (instrument.name for instrument in instruments):
        without = [str(each.cell) for each in recorded if name in each.left_out]
        if len(without) == len(recorded):
            raise InputError(f"contacts of {name} lie inside every cell and leave all of them out; move the probe")
        if without:
            listed = "; ".join(without[:MOST_LISTED]) + ("; ..." if len(without) > MOST_LISTED else "")
            warnings.warn(
                f"{name} leaves out {len(without)} of {len(recorded)} cells, in which its contacts lie: {listed}",
                InputWarning,
                stacklevel=4,
            )


def stream(
    recordings: Recordings, instruments: Sequence[Instrument], chunk_samples: int = CHUNK_SAMPLES
) -> Iterator[list[Floats]]:
    """The signals in chunks of time, summed over cells; memory does not grow with the duration.

    Args:
        recordings: a file (its first trial), a placed cell, or several.
        instruments: what records.
        chunk_samples: length of a chunk.

    Yields:
        For each signal (see `signals_of`) (chunk_samples, channels), fewer samples in the last chunk; pixels of a
        camera are channels.

    Raises:
        InputError: see `fit_instruments` and `common_sampling_hz`; or cells last differently or stand
            in each other, a chunk is empty, potentials are not of all compartments, or an instrument does not fit the
            cell.
        FileError: a file is missing or damaged, or holds potentials that are not finite.
    """
    cells = as_placed_cells(recordings)
    yield from stream_fitted(cells, fit_instruments(cells, instruments), chunk_samples)


def stream_fitted(
    cells: Sequence[PlacedCell], instruments: Sequence[Instrument], chunk_samples: int = CHUNK_SAMPLES
) -> Iterator[list[Floats]]:
    """`stream` with instruments that `fit_instruments` gave.

    Args:
        cells: what is recorded.
        instruments: what records.
        chunk_samples: length of a chunk.

    Yields:
        For each signal (chunk_samples, channels); see `stream`.

    Raises:
        InputError, FileError: see `stream`.
    """
    if chunk_samples < 1:
        raise InputError(f"chunks of {chunk_samples} samples; give at least one")
    groups = groups_of(cells)
    rate_hz = common_sampling_hz(cells)
    recorded = [_CellRecorder.open(cell, instruments, rate_hz) for cell in cells]
    _say_who_is_left_out(recorded, instruments)
    durations_ms = {cell.duration_ms for cell in recorded}
    if len(durations_ms) > 1:
        listed = ", ".join(map(str, sorted(durations_ms)))
        raise InputError(f"the recordings last {listed} ms; give cells of one duration")
    if not all(isinstance(instrument, Dipole) for instrument in instruments):  # a moment is the same anywhere
        check_apart(cells)
    samples = durations_ms.pop() * round(rate_hz / MS_PER_S)
    for start in range(0, samples, chunk_samples):
        sums: dict[str, list[Floats]] = {}
        for cell in recorded:
            values = cell.record(start, min(start + chunk_samples, samples))
            for group in {"", cell.cell.group}:
                sums[group] = [a + b for a, b in zip(sums[group], values, strict=True)] if group in sums else values
        yield [sums[group][k] for k in range(len(instruments)) for group in ("", *groups)]


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
        A signal for each instrument; where cells have groups, followed by that of each group.

    Raises:
        InputError, FileError: see `stream`.
    """
    cells = as_placed_cells(recordings)
    fitted = fit_instruments(cells, instruments)
    recorded_hz = common_sampling_hz(cells)
    rate_hz = recorded_hz if rate_hz is None else rate_hz
    ratio = ratio_of_rates(recorded_hz, rate_hz)
    chunks = list(resampled(stream_fitted(cells, fitted, chunk_samples), ratio))
    return [
        Signal(name, i.unit, np.concatenate(parts).reshape(-1, *sample_shape(i)), i.channels(), rate_hz, settings_of(i))
        for (name, i), parts in zip(signals_of(cells, fitted), zip(*chunks, strict=True), strict=True)
    ]
