"""What a trial in a file has to be, and checksums by which bytes that changed on a disk are noticed."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Events, Injection
from dendrotwin.errors import FileError, InputError

FORMAT_VERSION = 1  # of a file of recordings
DEFAULT_RECORD_DT_MS = 1.0  # time from one sample to the next where nothing is said; training and evaluation need it
LEAST_MS = 1e-6  # a shorter interval is none that a simulation can have
LEAST_DIGITS = 4  # of an interval that divides 1 ms and is no short decimal number
CHUNK_STEPS = 128  # samples of the potentials that are stored, and have a checksum, together
POTENTIALS, CURRENTS = "v", "imem_nA"  # what the samples of a trial are: its array of the one name or of the other
CHECKSUMS = "crc32"  # the attribute of a data set; older files have none
SCALE_MV, OFFSET_MV = 0.005, -75.0  # int16 then spans -238.8 ... 88.8 mV; float16 of raw mV ruins a silent cell's LFP
DIVERGED = (
    "a simulation diverged: use a smaller dt, or look at the injected current; a network is far from what it was "
    "trained on: look at the input"
)
LARGEST_SCALING = 1e6  # of a factor or an offset: potentials then stay finite numbers in single precision
SCALING = {"scale_factor": SCALE_MV, "add_offset": OFFSET_MV}


def per_ms(interval_ms: float, name: str) -> int:
    """How often an interval of time goes into 1 ms.

    Args:
        interval_ms: the interval [ms].
        name: of it, for the error.

    Raises:
        InputError: it does not divide 1 ms, and is not 1 / n in four digits or more, such as 0.03333.
    """
    count = round(1.0 / interval_ms) if LEAST_MS <= interval_ms <= 1.0 else 0
    rounded = count > 0 and interval_ms in [float(f"{1.0 / count:.{digits}g}") for digits in range(LEAST_DIGITS, 17)]
    if not rounded and not abs(count * interval_ms - 1.0) < 1e-9:  # NaN too
        raise InputError(
            f"{name} is {interval_ms} ms; it must divide 1 ms, such as 0.05 or 0.025, or 0.03333 for 30 kHz "
            "(signals of other rates: dendrotwin signals --rate)"
        )
    return count


def checksums(values: NDArray[Any], rows: int | None = None) -> NDArray[np.uint32]:
    """CRC-32 of an array's bytes.

    Args:
        values: (k, ...) as they are stored.
        rows: how many of the k have one checksum; None for all.

    Returns:
        (ceil(k / rows),) of each block of rows.
    """
    values = np.ascontiguousarray(values)
    rows = rows or max(len(values), 1)
    return np.array([zlib.crc32(values[a : a + rows].tobytes()) for a in range(0, len(values), rows)], np.uint32)


def write_array(group: h5py.Group, name: str, values: NDArray[Any], rows: int | None = None, **options: Any) -> None:
    """Store an array with its checksums.

    Args:
        group: of the file.
        name: of the array.
        values: (k, ...) the array.
        rows: see `checksums`.
        options: how HDF5 stores it.
    """
    values = np.asarray(values)
    dataset = group.create_dataset(name, data=values, **options)
    dataset.attrs[CHECKSUMS] = checksums(values, rows)


def read_array(dataset: h5py.Dataset, start: int = 0, stop: int | None = None, rows: int | None = None) -> NDArray[Any]:
    """Read an array, or some of its rows, and compare the checksums.

    Args:
        dataset: of the file.
        start, stop: which rows; None for all that follow.
        rows: see `checksums`.

    Returns:
        (stop - start, ...) the rows.

    Raises:
        ValueError: the values are others than those that were written.
    """
    start, stop, _ = slice(start, stop).indices(len(dataset))
    stop = max(start, stop)
    if CHECKSUMS not in dataset.attrs:
        return np.asarray(dataset[start:stop])
    block = rows or max(len(dataset), 1)
    first, last = start // block, -(-stop // block)
    expected = np.atleast_1d(dataset.attrs[CHECKSUMS])
    values = np.asarray(dataset[first * block : last * block])
    found = checksums(values, block)
    if len(expected) != -(-len(dataset) // block) or not np.array_equal(found, expected[first:last][: len(found)]):
        raise ValueError(f"{dataset.name} was altered after it was written")
    return values[start - first * block : stop - first * block]


def no_such_file(path: Any, instead: str) -> FileError:
    """The error of a recording that is not there.

    Args:
        path: what was named.
        instead: what to do.
    """
    file, colon, trial = str(path).rpartition(":")
    if colon and trial.isdigit() and Path(file).is_file():
        return FileError(
            f"{path} names a trial of {file}, which is said apart: --trial {trial} of signals and plot, trial={trial} "
            "of a PlacedCell, or a column `trial` in --places"
        )
    return FileError(f"{path} does not exist; {instead}")


def samples_of(trial: h5py.Group) -> h5py.Dataset:
    """The samples of a trial: potentials, or membrane currents of one that holds no potentials.

    Args:
        trial: of the file.
    """
    return trial[CURRENTS if CURRENTS in trial else POTENTIALS]


def check_layout(trial: h5py.Group, samples_per_ms: int) -> None:
    """See that a trial has all its parts, in shapes that agree.

    Args:
        trial: of the file; nothing but shapes is read.
        samples_per_ms: of its potentials [1/ms].

    Raises:
        ValueError, KeyError: it has not.
    """
    v = samples_of(trial)
    if v.ndim != 2 or 0 in v.shape or v.shape[0] % samples_per_ms:
        raise ValueError(f"{v.name} has the shape {v.shape}")
    if v.dtype == np.int16:
        read_scaling(v)
    elif v.dtype.kind != "f":
        raise ValueError(f"{v.name} holds {v.dtype}")
    duration_ms, events = v.shape[0] // samples_per_ms, trial["events"]
    expected = {"spikes_ms": (None,), "events/input": (None,)}
    if "time_ms" in events:
        expected["events/time_ms"] = events["input"].shape
    else:
        expected["events/indptr"] = (duration_ms + 1,)
    if "injection" in trial:
        expected["injection/compartment"] = (None,)
        expected["injection/current_nA"] = (duration_ms, *trial["injection/compartment"].shape)
    if "spike_probability" in trial:
        expected["spike_probability"] = (duration_ms,)
    for name, shape in expected.items():
        found = trial[name].shape
        if len(found) != len(shape) or any(b not in (None, a) for a, b in zip(found, shape, strict=True)):
            raise ValueError(f"{trial.name}/{name} has the shape {found}")


def read_events(group: h5py.Group, n_inputs: int, duration_ms: int) -> Events:
    """The events of a trial; where the file has their steps only, at the start of these.

    Args:
        group: of the trial's events.
        n_inputs: of the cell.
        duration_ms: of the trial [ms].

    Raises:
        ValueError: they are altered, no numbers, or do not fit the cell or the trial.
    """
    inputs = read_array(group["input"])
    if inputs.dtype.kind not in "iu":
        raise ValueError(f"{group.name}/input holds no whole numbers")
    if "time_ms" in group:
        times = read_array(group["time_ms"])
    else:
        first = read_array(group["indptr"]).astype(np.int64)
        counts = np.diff(first)
        if (counts < 0).any() or first[0] != 0 or first[-1] != len(inputs):
            raise ValueError(f"{group.name}/indptr does not count the events")
        times = np.repeat(np.arange(len(counts), dtype=np.float64), counts)
    if times.dtype.kind not in "iuf":
        raise ValueError(f"{group.name}/time_ms holds no numbers")
    events = Events(inputs, times)
    events.check(n_inputs, duration_ms)
    return events


def read_spikes(dataset: h5py.Dataset, duration_ms: int) -> NDArray[np.float64]:
    """(s,) times of the output spikes of a trial [ms].

    Args:
        dataset: of the file.
        duration_ms: of the trial [ms].

    Raises:
        ValueError: they are altered, no numbers, or outside of the trial.
    """
    spikes = read_array(dataset)
    if spikes.dtype.kind not in "iuf" or not ((spikes >= 0) & (spikes <= duration_ms)).all():  # NaN too
        raise ValueError(f"{dataset.name} holds a time outside of the trial")
    return np.asarray(spikes, np.float64)


def read_injection(group: h5py.Group, n: int, duration_ms: int) -> Injection:
    """The injected current of a trial.

    Args:
        group: of the file.
        n: compartments of the cell.
        duration_ms: of the trial [ms].

    Raises:
        ValueError: it is altered, not finite, or does not fit the cell or the trial.
    """
    injection = Injection(read_array(group["compartment"]), read_array(group["current_nA"]))
    injection.check(n, duration_ms)
    return injection


def read_probability(dataset: h5py.Dataset) -> NDArray[np.float32]:
    """(steps,) a twin's probability of an output spike in each step.

    Args:
        dataset: of the file.

    Raises:
        ValueError: it is altered, or no probability.
    """
    probability = read_array(dataset)
    if probability.dtype.kind != "f" or not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"{dataset.name} holds no probabilities")
    return np.asarray(probability, np.float32)


def read_scaling(dataset: h5py.Dataset) -> tuple[np.float32, np.float32]:
    """By how much stored whole numbers are multiplied, and what is added, to be potentials [mV].

    Args:
        dataset: of the potentials.

    Raises:
        ValueError, KeyError: one is missing, or no number that gives potentials.
    """
    found = []
    for name in SCALING:
        value = float(dataset.attrs[name])
        if not abs(value) <= LARGEST_SCALING:  # NaN too
            raise ValueError(f"{name} of {dataset.name} is {value:g}")
        found.append(np.float32(value))
    return found[0], found[1]


def to_int16(v_mV: NDArray[Any], trial_id: str, first: int = 0) -> NDArray[np.int16]:
    """Potentials as the files store them: whole multiples of SCALE_MV from OFFSET_MV.

    Args:
        v_mV: (samples, n) potentials [mV].
        trial_id: of the trial, for the error.
        first: which sample of the trial the first one is, for the error.

    Returns:
        (samples, n) whole numbers.

    Raises:
        FileError: a potential is not finite, or outside what int16 holds.
    """
    limits = np.iinfo(np.int16)
    if not np.isfinite(v_mV).all():
        step, compartment = np.argwhere(~np.isfinite(v_mV))[0]
        raise FileError(
            f"trial {trial_id}: V of compartment {compartment} is not finite at sample {first + step}; {DIVERGED}"
        )
    whole = np.rint((v_mV - OFFSET_MV) / SCALE_MV)
    if whole.size and (whole.min() < limits.min or whole.max() > limits.max):
        step, compartment = np.argwhere((whole < limits.min) | (whole > limits.max))[0]
        raise FileError(
            f"trial {trial_id}: V of compartment {compartment} is {v_mV[step, compartment]:.3g} mV at sample "
            f"{first + step}, the file holds -238 ... 88 mV; {DIVERGED}"
        )
    return whole.astype(np.int16)
