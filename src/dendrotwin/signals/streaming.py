"""From recordings to signals: one pass over the potentials, in chunks of time, for all instruments at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.recording import RecordingFile, per_ms
from dendrotwin.signals.currents import Currents, check_potentials
from dendrotwin.signals.extracellular import CSD, LFP, Dipole, Slab
from dendrotwin.signals.head import EEG, MEG
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.placing import PlacedCell
from dendrotwin.signals.probes import Probe
from dendrotwin.solver.axial import axial_matrix

CHUNK_SAMPLES = 2048
MS_PER_S = 1000.0
Recorder = Callable[[NDArray[np.floating], Injection | None], Floats]
Recordings = Path | str | PlacedCell | Sequence[PlacedCell]


class Linear(Protocol):
    """An instrument whose signal is a matrix times the membrane currents or the potentials of a cell."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def of(self) -> str: ...  # "currents" or "potentials"

    def matrix(self, tree: Tree) -> Floats: ...  # (channels, n)

    def channels(self) -> dict[str, Any]: ...  # a column (channels,) for each thing known about them


Instrument = Linear | Patch


@dataclass(frozen=True, eq=False)
class Signal:
    """What one instrument recorded, at the times of the recording's own samples: the first one interval after 0.

    Attributes:
        name: of the instrument, and of the one of its kind: lfp, or lfp-deep.
        unit: of the values.
        values: (samples, channels), of a camera (samples, rows, columns).
        channels: columns (channels,) such as `x_um`: where each channel is.
        sampling_hz: samples in a second [Hz].
    """

    name: str
    unit: str
    values: NDArray[np.floating]
    channels: dict[str, NDArray[Any]]
    sampling_hz: float = MS_PER_S

    @property
    def kind(self) -> str:
        """What recorded it, whatever label its name ends with."""
        return self.name.partition("-")[0]

    @property
    def time_ms(self) -> Floats:
        """(samples,) time of each sample [ms]."""
        return np.asarray(np.arange(1.0, len(self.values) + 1.0) * (MS_PER_S / self.sampling_hz))


def placed(recordings: Recordings) -> list[PlacedCell]:
    """The cells that are named: a file is its first trial, upright at the origin.

    Raises:
        InputError: there is none.
    """
    if isinstance(recordings, (str, Path)):
        return [PlacedCell(Path(recordings))]
    if isinstance(recordings, PlacedCell):
        return [recordings]
    if not recordings:
        raise InputError("there is no recording to take signals from; name one at least")
    if not all(isinstance(cell, (str, Path, PlacedCell)) for cell in recordings):
        raise InputError("recordings are named by their files, or placed as PlacedCell; write one held in memory first")
    return [cell if isinstance(cell, PlacedCell) else PlacedCell(Path(cell)) for cell in recordings]


def _double(values: NDArray[np.floating]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def recorder(instrument: Instrument, tree: Tree, sampling_hz: float) -> Recorder:
    """The instrument at one cell: potentials and injection in, (time, channels) out."""
    if isinstance(instrument, Patch):
        return instrument.recorder(tree, MS_PER_S / sampling_hz)
    matrix = instrument.matrix(tree)
    if instrument.of == "potentials":
        return lambda v_mV, injection: _double(v_mV @ matrix.T)
    of_potentials = _double((axial_matrix(tree) @ matrix.T).T)  # (channels, n): the currents themselves are not needed

    def record(v_mV: NDArray[np.floating], injection: Injection | None) -> Floats:
        values = _double(v_mV @ of_potentials.T)
        if injection is not None:
            values += injection.current_nA @ matrix[:, injection.compartment].T
        return values

    return record


def check_together(cells: Sequence[PlacedCell], instruments: Sequence[Instrument]) -> None:
    """Raise InputError where two instruments have one name, or one of them is of one cell and there are several."""
    names = [instrument.name for instrument in instruments]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"there are two signals named {twice[0]}; give each a label of its own (NAME:label=...)")
    alone = [instrument.name for instrument in instruments if isinstance(instrument, (Patch, Currents))]
    if len(cells) > 1 and alone:
        raise InputError(f"{alone[0]} is of one cell; take it from one recording at a time")


@dataclass(frozen=True, eq=False)
class _Taken:
    """One cell, with a recorder of each instrument. Its file is open only while it is read: populations are large."""

    cell: PlacedCell
    steps: int
    in_ms: int
    injection: Injection | None
    recorders: list[Recorder]

    @classmethod
    def of(cls, cell: PlacedCell, instruments: Sequence[Instrument], rate_hz: float) -> _Taken:
        with RecordingFile(cell.recording) as file:
            tree = cell.place(file.tree())
            check_potentials(tree, file.v(cell.trial, 0, 1))
            recorders = [recorder(instrument, tree, rate_hz) for instrument in instruments]
            return cls(cell, file.steps(cell.trial), round(rate_hz / MS_PER_S), file.injection(cell.trial), recorders)

    def between(self, start: int, stop: int) -> list[Floats]:
        """What each instrument records of it from one sample to another; to be asked for in the order of time."""
        with RecordingFile(self.cell.recording) as file:
            v_mV = file.v(self.cell.trial, start, stop).astype(np.float64)
        injection = self.injection
        if injection is not None:
            injection = Injection(injection.compartment, injection.current_nA[np.arange(start, stop) // self.in_ms])
        return [record(v_mV, injection) for record in self.recorders]


def _under_one_surface(cells: Sequence[PlacedCell], instruments: Sequence[Instrument]) -> list[Instrument]:
    """Cameras that are not told where the tissue's surface is have it above the highest of all the cells."""
    unknown = [k for k, each in enumerate(instruments) if isinstance(each, Dye) and each.surface_um is None]
    found = list(instruments)
    if unknown:
        top_um = max(float(cell.tree().ends_um[:, :, 2].max()) for cell in cells)
        for k in unknown:
            found[k] = dataclasses.replace(cast(Dye, instruments[k]), surface_um=top_um)
    return found


def sampling_hz(recordings: Recordings) -> float:
    """How often the potentials are sampled [Hz], and so are all signals of them.

    Raises:
        InputError: a file holds no such trial, or the recordings are sampled differently.
        FileError: a file is missing or damaged.
    """
    found = set()
    for cell in placed(recordings):
        with RecordingFile(cell.recording) as file:
            if not 0 <= cell.trial < len(file):
                raise InputError(f"{cell.recording} holds trials 0 to {len(file) - 1}, not {cell.trial}; choose one")
            found.add(file.record_dt_ms(cell.trial))
    if len(found) > 1:
        names = ", ".join(f"{interval_ms:g}" for interval_ms in sorted(found))
        raise InputError(f"the recordings are sampled every {names} ms; simulate all with one --record-dt")
    return MS_PER_S * per_ms(found.pop(), "record_dt_ms")


def stream(
    recordings: Recordings, instruments: Sequence[Instrument], chunk_samples: int = CHUNK_SAMPLES
) -> Iterator[list[Floats]]:
    """The signals in chunks of time, summed over cells; memory does not grow with the duration.

    Args:
        recordings: a file (its first trial), or placed cells.
        instruments: what records.
        chunk_samples: length of a chunk.

    Yields:
        (chunk, channels) for each instrument.

    Raises:
        InputError: see `check_together` and `sampling_hz`, cells of different durations, chunks of nothing, potentials
            that are not of all compartments, or see the instruments.
        FileError: a file is missing, damaged, holds no such trial, or potentials that are not finite.
    """
    if chunk_samples < 1:
        raise InputError(f"chunks of {chunk_samples} samples; give at least one")
    cells = placed(recordings)
    check_together(cells, instruments)
    rate = sampling_hz(cells)
    instruments = _under_one_surface(cells, instruments)
    taken = [_Taken.of(cell, instruments, rate) for cell in cells]
    durations = {one.steps for one in taken}
    if len(durations) > 1:
        names = ", ".join(map(str, sorted(durations)))
        raise InputError(f"the recordings last {names} ms; give cells of one duration")
    samples = durations.pop() * round(rate / MS_PER_S)
    for start in range(0, samples, chunk_samples):
        sums: list[Floats] = []
        for one in taken:
            values = one.between(start, min(start + chunk_samples, samples))
            sums = [a + b for a, b in zip(sums, values, strict=True)] if sums else values
        yield sums


def shape_of(instrument: Instrument) -> tuple[int, ...]:
    """Of one sample: rows and columns of a camera, the number of channels of everything else."""
    return instrument.shape if isinstance(instrument, Dye) else (len(next(iter(instrument.channels().values()))),)


def record(
    recordings: Recordings, instruments: Sequence[Instrument], chunk_samples: int = CHUNK_SAMPLES
) -> list[Signal]:
    """The signals of all instruments, in memory; `write_signals` puts them into a file instead.

    Args, Raises: see `stream`.
    """
    chunks = list(stream(recordings, instruments, chunk_samples))
    rate = sampling_hz(recordings)
    return [
        Signal(i.name, i.unit, np.concatenate(parts).reshape(-1, *shape_of(i)), i.channels(), rate)
        for i, parts in zip(instruments, zip(*chunks, strict=True), strict=True)
    ]


def _one(recordings: Recordings, instrument: Instrument) -> Signal:
    return record(recordings, [instrument])[0]


def lfp(recordings: Recordings, probe: Probe, **options: Any) -> Signal:
    """Local field potential at the contacts of a probe [mV].

    A file is read as its first trial, of a cell that stands upright with its soma at the origin; `PlacedCell` says
    otherwise, several of them are summed.

    Args:
        recordings: a file of recordings, a placed cell, or several.
        probe: the contacts.
        options: `sigma_S_per_m`, `source`, `slab`; see `LFP` and `lfp_matrix`.

    Raises:
        InputError, FileError: see `stream` and `lfp_matrix`.
    """
    return _one(recordings, LFP(probe, **options))


def ecog(recordings: Recordings, probe: Probe, slab: Slab, **options: Any) -> Signal:
    """Potential at electrodes on the surface of the cortex, a slab between white matter and what covers it [mV].

    As `lfp`, with point sources: lines cannot be mirrored there.
    """
    return _one(recordings, LFP(probe, slab=slab, **{"source": "point", "name": "ecog", **options}))


def csd(recordings: Recordings, z_edges_um: Floats, **options: Any) -> Signal:
    """Current source density in layers across z [nA/um3]; options: see `CSD`."""
    return _one(recordings, CSD(z_edges_um, **options))


def dipole(recordings: Recordings) -> Signal:
    """Current dipole moment [nA um]."""
    return _one(recordings, Dipole())


def eeg(recordings: Recordings, **options: Any) -> Signal:
    """EEG in the four-sphere model [uV]; options: `electrodes_um`, `head`, see `EEG`."""
    return _one(recordings, EEG(**options))


def meg(recordings: Recordings, **options: Any) -> Signal:
    """MEG outside a spherical head [fT]; options: `sensors_um`, `head`, see `MEG`."""
    return _one(recordings, MEG(**options))


def dye(recordings: Recordings, **options: Any) -> Signal:
    """Image stack of a voltage-sensitive dye [mV um2]; options: see `Dye`."""
    return _one(recordings, Dye(**options))


def patch(recordings: Recordings, **options: Any) -> Signal:
    """Potential behind a patch pipette [mV]; options: see `Patch`."""
    return _one(recordings, Patch(**options))
