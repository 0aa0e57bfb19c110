"""Recordings of anybody's simulation: its potentials, and the segments of its cell, from arrays or an npz file.

With them the cell has all signals of `dendrotwin.signals`. Membrane currents follow from potentials and axial
conductances by Kirchhoff's law; current of electrodes, unless it is given as an injection, counts as membrane current.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import find_peaks

from dendrotwin.cell.segments import Segments
from dendrotwin.cell.tree import SPIKE_MV, Events, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.recording import Recording, per_ms

ARRAYS = ("v_mV", "time_ms", "ends_um", "diameter_um", "axial_ohm_cm")  # of an npz file
MORE_ARRAYS = ("parent", "parent_x", "region", "length_um", "names")
UNEVEN = 1e-4  # of an interval of time, by which samples may be off: rounded times


def recording_of_segments(
    segments: Segments, v_mV: ArrayLike, time_ms: ArrayLike, injection: Injection | None = None
) -> Recording:
    """A recording of a cell that is given by its segments.

    Args:
        segments: the cell.
        v_mV: (samples, n) potential in the middle of each segment [mV].
        time_ms: (samples,) when [ms]; see `recording_of_tree`.
        injection: current of electrodes, by segment, or None.

    Raises:
        InputError: the segments are no tree, or see `recording_of_tree`.
    """
    tree, order = segments.tree()
    v = _potentials(v_mV, tree.n)
    if injection is not None:
        position = np.argsort(order).astype(np.int32)
        injection.check(tree.n, len(injection.current_nA))
        injection = Injection(position[injection.compartment], injection.current_nA)
    return recording_of_tree(tree, v[:, order], time_ms, injection)


def recording_of_tree(tree: Tree, v_mV: ArrayLike, time_ms: ArrayLike, injection: Injection | None = None) -> Recording:
    """A recording of a cell whose tree is there.

    The first sample of a recording is one interval after its start. So where the first time is not that of one
    interval, the first sample is the initial state and is left out, and time begins there; an incomplete last
    millisecond is left out too.

    Args:
        tree: the cell.
        v_mV: (samples, n) potentials of its compartments [mV].
        time_ms: (samples,) evenly spaced times of the samples, by a divisor of 1 ms [ms].
        injection: current of electrodes in each whole ms of the recording, or None.

    Returns:
        The recording; its output spikes are the peaks of the soma's samples above -25 mV.

    Raises:
        InputError: potentials are not finite, not of all compartments, shorter than 1 ms or not evenly spaced in time.
    """
    v = _potentials(v_mV, tree.n)
    time = np.asarray(time_ms, np.float64)
    if time.shape != (len(v),) or len(v) < 2 or not np.isfinite(time).all():
        raise InputError(
            f"there are {len(v)} samples and times of shape {time.shape}; give a finite time for each of two or more"
        )
    interval_ms = float(time[-1] - time[0]) / (len(time) - 1)
    if not interval_ms > 0.0 or np.abs(np.diff(time) - interval_ms).max() > UNEVEN * interval_ms + 1e-9 * abs(time[-1]):
        raise InputError("the samples are not evenly spaced in time; interpolate them, or simulate with a fixed step")
    samples_per_ms = per_ms(interval_ms, "the interval of the samples")
    if abs(time[0] - interval_ms) > 1e-3 * interval_ms:
        v = v[1:]
    duration = len(v) // samples_per_ms
    if duration == 0:
        raise InputError(f"the samples last {len(v) * interval_ms:g} ms; a recording lasts 1 ms or longer")
    v = v[: duration * samples_per_ms]
    if injection is not None:
        injection.check(tree.n, duration)
    peaks, _ = find_peaks(v[:, tree.soma], height=SPIKE_MV)
    none = np.zeros(0, np.int32)
    digest = hashlib.sha256(np.ascontiguousarray(v).tobytes()).hexdigest()[:16]
    spikes_ms = (peaks + 1.0) / samples_per_ms
    events = Events(none, np.zeros(0))
    return Recording(tree, v, events, spikes_ms, digest, injection, record_dt_ms=1.0 / samples_per_ms)


def read_npz(path: str | Path) -> Recording:
    """A recording of the arrays in an npz file.

    Args:
        path: with the arrays v_mV (samples, n), time_ms (samples,), ends_um (n, 2, 3), diameter_um (n,) and
            axial_ohm_cm (one or n); perhaps parent, parent_x, region, length_um and names, each (n,); see `Segments`.

    Raises:
        InputError: the file is missing, lacks one of these, holds another array, or see `recording_of_segments`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; name an npz file with {', '.join(ARRAYS)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            given: dict[str, Any] = {name: file[name] for name in file}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no npz file of numbers; write it with numpy.savez") from error
    missing = [name for name in ARRAYS if name not in given]
    unknown = sorted(given.keys() - {*ARRAYS, *MORE_ARRAYS})
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has an array {unknown[0]!r}, which would not count"
        raise InputError(f"{path} {what}; it holds {', '.join(ARRAYS)}, and perhaps {', '.join(MORE_ARRAYS)}")
    v, time = given.pop("v_mV"), given.pop("time_ms")
    return recording_of_segments(Segments(**given), v, time)


def _potentials(v_mV: ArrayLike, n: int) -> NDArray[np.float32]:
    try:
        v = np.asarray(v_mV, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError("the potentials are not numbers; give (samples, segments) in mV") from error
    if v.ndim != 2 or v.shape[1] != n:
        raise InputError(f"the potentials have shape {v.shape}; give (samples, {n}) in mV, of all segments of the cell")
    if not np.isfinite(v).all():
        sample, segment = np.argwhere(~np.isfinite(v))[0]
        raise InputError(f"the potential of segment {segment} is not finite at sample {sample}; correct it")
    return v
