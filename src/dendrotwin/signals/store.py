"""The HDF5 file of signals. It appears under its name only when it is complete.

Signals in it are those of LFPykit (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), a dye and a pipette.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dendrotwin.errors import FileError
from dendrotwin.recording import RecordingFile, provenance
from dendrotwin.signals.instruments import Instrument, Signal, sample_shape
from dendrotwin.signals.streaming import (
    CHUNK_SAMPLES,
    Recordings,
    as_placed_cells,
    check_instruments,
    common_sampling_hz,
    stream,
)
from dendrotwin.support.hdf5 import whole_hdf5

FORMAT_VERSION = 1
FILE_KIND = "dendrotwin signals"  # the attribute `kind`, by which readers tell our files apart
# HDF5 reads whole chunks: small ones (4 MB of float32 at most), so that a stretch of time is read without the rest.
HDF5_CHUNK_VALUES, HDF5_CHUNK_SAMPLES = 1 << 20, 256


def write_signals(
    path: Path,
    recordings: Recordings,
    instruments: Sequence[Instrument],
    chunk_samples: int = CHUNK_SAMPLES,
    made_by: str = "",
) -> None:
    """Record with all instruments into one file, chunk by chunk, under a temporary name until it is complete.

    `/NAME/values` (samples, channels) float32 with the attribute `unit`; `/NAME/channels/...` a column for each thing
    known about the channels, its unit in its name. The file's attributes say which recordings it is of, how
    often they were sampled, where the cells were, and the versions that made it.

    Args:
        path: the file; replaced if it exists.
        recordings: a file (its first trial), a placed cell, or several.
        instruments: what records.
        chunk_samples: how many samples are computed at once.
        made_by: digest of the command, see `support.made_by`; kept as an attribute.

    Raises:
        InputError, FileError: see `stream`; or the disk is full.
    """
    cells = as_placed_cells(recordings)
    check_instruments(cells, instruments)
    rate_hz = common_sampling_hz(cells)
    sources = []
    for cell in cells:
        with RecordingFile(cell.recording) as file:
            sources.append(
                {
                    "recording": str(cell.recording),
                    "trial": int(cell.trial),
                    "trial_id": file.trial_id(cell.trial),
                    "tree_fingerprint": file.fingerprint,
                    "position_um": [float(x) for x in cell.position_um],
                    "rotation_deg": [float(x) for x in cell.rotation_deg],
                    "as_built": cell.as_built,
                }
            )
    with whole_hdf5(path, track_order=True) as out:
        out.attrs.update(kind=FILE_KIND, format_version=FORMAT_VERSION, sampling_hz=rate_hz)
        out.attrs["sources"] = json.dumps(sources)
        out.attrs.update(provenance())
        out.attrs["made_by"] = made_by
        datasets = []
        for instrument in instruments:
            group = out.create_group(instrument.name)
            shape = sample_shape(instrument)
            samples = max(1, min(HDF5_CHUNK_SAMPLES, HDF5_CHUNK_VALUES // math.prod(shape)))
            chunks = (samples, *shape)
            values = group.create_dataset("values", (0, *shape), "f4", maxshape=(None, *shape), chunks=chunks)
            values.attrs["unit"] = instrument.unit
            for name, column in instrument.channels().items():
                group[f"channels/{name}"] = column.astype(bytes) if column.dtype.kind == "U" else column
            datasets.append(values)
        for chunk in stream(cells, instruments, chunk_samples):
            for dataset, values in zip(datasets, chunk, strict=True):
                start = len(dataset)
                dataset.resize(start + len(values), axis=0)
                dataset[start:] = values.reshape(len(values), *dataset.shape[1:])
            out.check_room()


def read_signals(path: Path) -> dict[str, Signal]:
    """The signals of a file.

    Args:
        path: the file, made by `write_signals` or `dendrotwin signals`.

    Returns:
        Each signal by its name.

    Raises:
        FileError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} does not exist; `dendrotwin signals` makes such files")
    try:
        with h5py.File(path, "r") as file:
            version = (file.attrs.get("kind"), file.attrs.get("format_version"))
            if version != (FILE_KIND, FORMAT_VERSION):
                raise FileError(f"{path} holds no signals of format {FORMAT_VERSION}; `dendrotwin signals` makes them")
            rate_hz = float(file.attrs["sampling_hz"])
            return {name: _read(group, rate_hz) for name, group in file.items()}
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} is truncated or is no HDF5 file; make it again") from error


def _read(group: Any, rate_hz: float) -> Signal:
    columns = {name: dataset[()] for name, dataset in group["channels"].items()}
    texts = {name: column.astype(str) for name, column in columns.items() if column.dtype.kind == "S"}
    values = np.asarray(group["values"][()])
    return Signal(group.name.strip("/"), str(group["values"].attrs["unit"]), values, columns | texts, rate_hz)
