"""The HDF5 file of signals. It appears under its name only when it is complete.

Its values have checksums, as those of recordings, and are compared with them wherever they are read. Signals in it are
those of LFPykit (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), a dye and a pipette.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.errors import FileError
from dendrotwin.recording import RecordingFile, provenance
from dendrotwin.recording.checks import CHECKSUMS, read_array, write_array
from dendrotwin.signals.instruments import Instrument, Signal, sample_shape, settings_of
from dendrotwin.signals.resampling import PASS, STOP_DB, ratio_of_rates, resampled
from dendrotwin.signals.streaming import (
    CHUNK_SAMPLES,
    Recordings,
    as_placed_cells,
    common_sampling_hz,
    fit_instruments,
    signals_of,
    stream_fitted,
)
from dendrotwin.support.disk import whole_hdf5
from dendrotwin.support.hdf5 import (
    WRITTEN_AS,
    damage_as_file_error,
    open_hdf5,
    text_attribute,
    text_of,
    write_attributes,
)
from dendrotwin.support.hdf5_parts import Part

FORMAT_VERSION = 1
AGAIN = "make it again"
FILE_KIND = "dendrotwin signals"  # the attribute `kind`, by which readers tell our files apart
# HDF5 reads whole chunks: small ones (4 MB of float32 at most), so that a stretch of time is read without the rest.
HDF5_CHUNK_VALUES, HDF5_CHUNK_SAMPLES, HDF5_CHUNK_SIDE = 1 << 20, 256, 4096


def write_signals(
    path: Path,
    recordings: Recordings,
    instruments: Sequence[Instrument],
    chunk_samples: int = CHUNK_SAMPLES,
    rate_hz: float | None = None,
    made_by: str = "",
) -> None:
    """Record with all instruments into one file, chunk by chunk, under a temporary name until it is complete.

    `/NAME/values` (samples, channels) float32 with the attribute `unit`; `/NAME/channels/...` a column for each thing
    known about the channels, its unit in its name; attributes of `/NAME` all that made it (see `settings_of`). Where
    cells have groups, `/NAME-GROUP` is the signal of each. The file's attributes say which recordings it is of, how
    often they were sampled, where the cells were, and the versions that made it.

    Args:
        path: the file; replaced if it exists.
        recordings: a file (its first trial), a placed cell, or several.
        instruments: what records.
        chunk_samples: how many samples are computed at once.
        rate_hz: samples of the signals in a second, filtered; None for those of the recording. See `resampling` [Hz].
        made_by: digest of the command, see `support.made_by`; kept as an attribute.

    Raises:
        InputError, FileError: see `stream`; or the disk is full.
    """
    cells = as_placed_cells(recordings)
    recorded_hz = common_sampling_hz(cells)
    rate_hz = recorded_hz if rate_hz is None else rate_hz
    ratio = ratio_of_rates(recorded_hz, rate_hz)
    instruments = fit_instruments(cells, instruments)
    sources = []
    for cell in cells:
        with RecordingFile(cell.recording) as file:
            sources.append(
                {
                    "recording": str(cell.recording),
                    "trial": int(cell.trial),
                    "trial_id": file.trial_id(cell.trial),
                    "tree_fingerprint": file.fingerprint,
                    "position_um": [float(x) for x in cell.soma_um()],
                    "rotation_deg": [float(x) for x in cell.rotation_deg],
                    "as_built": cell.as_built,
                    "group": cell.group,
                }
            )
    with whole_hdf5(path, track_order=True, libver=WRITTEN_AS) as out:
        out.attrs.update(kind=text_attribute(FILE_KIND), format_version=FORMAT_VERSION, sampling_hz=rate_hz)
        if ratio != 1:
            filtered = (
                f"Kaiser's window, pass band to {PASS:g} of half of sampling_hz, {STOP_DB:g} dB less from there on"
            )
            out.attrs.update(recorded_hz=recorded_hz, anti_alias_filter=text_attribute(filtered))
        write_attributes(out, {"sources": json.dumps(sources), **provenance(), "made_by": made_by})
        appended = []
        for name, instrument in signals_of(cells, instruments):
            group = out.create_group(name)
            write_attributes(group, settings_of(instrument))
            shape = sample_shape(instrument)
            samples = max(1, min(HDF5_CHUNK_SAMPLES, HDF5_CHUNK_VALUES // math.prod(shape)))
            chunks = (samples, *(min(side, HDF5_CHUNK_SIDE) for side in shape))
            values = group.create_dataset("values", (0, *shape), "f4", maxshape=(None, *shape), chunks=chunks)
            values.attrs["unit"] = text_attribute(instrument.unit)
            for column_name, column in instrument.channels().items():
                column = column.astype(bytes) if column.dtype.kind == "U" else column
                write_array(group, f"channels/{column_name}", column)
            appended.append(_Appended(values))
        for chunk in resampled(stream_fitted(cells, instruments, chunk_samples), ratio):
            for dataset, values in zip(appended, chunk, strict=True):
                dataset.append(values)
            out.check_room()
        for dataset in appended:
            dataset.finish()


class _Appended:
    """An array of a file that grows along time, and the checksums of its HDF5 chunks."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset, self._rows, self._sums = dataset, dataset.chunks[0], [0]

    def append(self, values: Floats) -> None:
        """Add samples (samples, channels)."""
        start = len(self._dataset)
        stored = np.ascontiguousarray(values.reshape(len(values), *self._dataset.shape[1:]), np.float32)
        self._dataset.resize(start + len(stored), axis=0)
        self._dataset[start:] = stored
        while len(stored):
            room = self._rows - start % self._rows
            if start % self._rows == 0 and start:
                self._sums.append(0)
            self._sums[-1] = zlib.crc32(stored[:room].tobytes(), self._sums[-1])
            start, stored = start + len(stored[:room]), stored[room:]

    def finish(self) -> None:
        """Store the checksums."""
        self._dataset.attrs[CHECKSUMS] = np.array(self._sums, np.uint32)


class StoredValues:
    """The values of a signal in an open file: what is asked for is read and compared with its checksums.

    Attributes:
        shape: (samples, channels), of a camera (samples, rows, columns).
        dtype: of the values.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        """Of an array of a file.

        Args:
            path: the file, for errors.
            dataset: the array.
        """
        self._path, self._dataset = path, dataset
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._rows = dataset.chunks[0] if dataset.chunks else None

    def __len__(self) -> int:
        return int(self.shape[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __getitem__(self, wanted: Any) -> Any:
        """Samples, as of an array.

        Args:
            wanted: as of an array.

        Raises:
            FileError: the file is damaged there.
        """
        first, *others = (wanted or (slice(None),)) if isinstance(wanted, tuple) else (wanted,)
        at_once = isinstance(first, slice) and first.step in (None, 1)
        rows = (first.start, first.stop) if at_once else (None, None)
        with damage_as_file_error(self._path, AGAIN):
            values = read_array(self._dataset, rows[0] or 0, rows[1], self._rows)
        return values[(slice(None), *others)] if at_once else values[wanted]


@contextmanager
def open_signals(path: Path) -> Iterator[dict[str, Signal]]:
    """The signals of a file, their values still in it: slices of them are read when they are asked for.

    Args:
        path: the file, made by `write_signals` or `dendrotwin signals`.

    Yields:
        Each signal by its name, until the block ends.

    Raises:
        FileError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} does not exist; `dendrotwin signals` makes such files")
    with open_hdf5(path, again=AGAIN) as file:
        version = (text_of(file.attrs.get("kind")), file.attrs.get("format_version"))
        if version != (FILE_KIND, FORMAT_VERSION):
            raise FileError(f"{path} holds no signals of format {FORMAT_VERSION}; `dendrotwin signals` makes them")
        parts = Part(path, file)
        rate_hz = float(parts.attribute("sampling_hz"))
        with damage_as_file_error(path, AGAIN):
            found = {name: _read(parts.group(name), rate_hz) for name in file}
        yield found


def read_signals(path: Path) -> dict[str, Signal]:
    """The signals of a file, in memory.

    Args:
        path: the file, made by `write_signals` or `dendrotwin signals`.

    Returns:
        Each signal by its name.

    Raises:
        FileError: the file is missing, damaged, or holds something else.
    """
    with damage_as_file_error(path, AGAIN), open_signals(path) as signals:
        return {name: dataclasses.replace(each, values=each.values[()]) for name, each in signals.items()}


def _read(group: Part, rate_hz: float) -> Signal:
    channels = group.group("channels")
    columns = {name: read_array(channels.dataset(name)) for name in channels.names()}
    texts = {name: column.astype(str) for name, column in columns.items() if column.dtype.kind == "S"}
    settings = {
        name: text_of(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
        for name, value in group.h5.attrs.items()
    }
    unit = str(text_of(group.attribute("unit", of="values")))
    name = group.h5.name.strip("/")
    values: Any = StoredValues(group.path, group.dataset("values"))
    return Signal(name, unit, values, columns | texts, rate_hz, settings)
