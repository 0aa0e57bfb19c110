"""The file of signals: HDF5, whole or not there."""

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
from dendrotwin.signals.streaming import (
    Instrument,
    Recordings,
    Signal,
    check_together,
    placed,
    sampling_hz,
    shape_of,
    stream,
)
from dendrotwin.support.atomic_files import whole_file

FORMAT_VERSION = 1
CHUNK_VALUES = 1 << 20  # of a data set at most
KIND = "dendrotwin signals"


def write_signals(path: Path, recordings: Recordings, instruments: Sequence[Instrument]) -> None:
    """Record with all instruments into one file, chunk by chunk, under a temporary name until it is whole.

    `/NAME/values` (samples, channels) float32 with the attribute `unit`; `/NAME/channels/...` a column for each thing
    known about the channels, its unit in its name. The file's attributes say which recordings it is of, how
    often they were sampled, where the cells were, and the versions that made it.

    Args, Raises: see `streaming.stream`.
    """
    cells = placed(recordings)
    check_together(cells, instruments)
    rate = sampling_hz(cells)
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
    with whole_file(Path(path)) as temporary, h5py.File(temporary, "w", track_order=True) as out:
        out.attrs.update(kind=KIND, format_version=FORMAT_VERSION, sampling_hz=rate, sources=json.dumps(sources))
        out.attrs.update(provenance())
        datasets = []
        for instrument in instruments:
            group = out.create_group(instrument.name)
            shape = shape_of(instrument)
            images = max(1, min(256, CHUNK_VALUES // math.prod(shape)))
            values = group.create_dataset("values", (0, *shape), "f4", maxshape=(None, *shape), chunks=(images, *shape))
            values.attrs["unit"] = instrument.unit
            for name, column in instrument.channels().items():
                group[f"channels/{name}"] = column.astype(bytes) if column.dtype.kind == "U" else column
            datasets.append(values)
        for chunk in stream(cells, instruments):
            for dataset, values in zip(datasets, chunk, strict=True):
                start = len(dataset)
                dataset.resize(start + len(values), axis=0)
                dataset[start:] = values.reshape(len(values), *dataset.shape[1:])


def read_signals(path: Path) -> dict[str, Signal]:
    """The signals of a file by their names.

    Raises:
        FileError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} does not exist; `dendrotwin signals` makes such files")
    try:
        with h5py.File(path, "r") as file:
            version = (file.attrs.get("kind"), file.attrs.get("format_version"))
            if version != (KIND, FORMAT_VERSION):
                raise FileError(f"{path} holds no signals of format {FORMAT_VERSION}; `dendrotwin signals` makes them")
            rate = float(file.attrs["sampling_hz"])
            return {name: _read(group, rate) for name, group in file.items()}
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} is truncated or is no HDF5 file; make it again") from error


def _read(group: Any, rate: float) -> Signal:
    columns = {name: dataset[()] for name, dataset in group["channels"].items()}
    texts = {name: column.astype(str) for name, column in columns.items() if column.dtype.kind == "S"}
    values = np.asarray(group["values"][()])
    return Signal(group.name.strip("/"), str(group["values"].attrs["unit"]), values, columns | texts, rate)
