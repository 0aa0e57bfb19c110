"""Recordings of anybody's simulation: its potentials or membrane currents and its segments, from arrays or an npz file.

With potentials the cell has all signals of `dendrotwin.signals`, with membrane currents those that need no more.
Membrane currents follow from potentials and axial
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
from dendrotwin.recording.membrane_currents import MembraneCurrents

CELL_ARRAYS = ("ends_um", "diameter_um")  # of an npz file, which describe the cell
MORE_ARRAYS = ("parent", "parent_x", "region", "length_um", "names")
UNEVEN = 1e-4  # of an interval of time, by which samples may be off: rounded times
ANY_OHM_CM = 100.0  # where there are currents: nothing that they give depends on the axial resistivity


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
    v = _samples(v_mV, tree.n, "potential", np.float32)
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
    v, samples_per_ms = _whole_ms(_samples(v_mV, tree.n, "potential", np.float32), time_ms)
    duration = len(v) // samples_per_ms
    if injection is not None:
        injection.check(tree.n, duration)
    peaks, _ = find_peaks(v[:, tree.soma], height=SPIKE_MV)
    none = np.zeros(0, np.int32)
    spikes_ms = (peaks + 1.0) / samples_per_ms
    events = Events(none, np.zeros(0))
    return Recording(tree, v, events, spikes_ms, _digest(v), injection, record_dt_ms=1.0 / samples_per_ms)


def currents_of_segments(segments: Segments, imem_nA: ArrayLike, time_ms: ArrayLike) -> MembraneCurrents:
    """A recording of the membrane currents of a cell that is given by its segments.

    Args:
        segments: the cell.
        imem_nA: (samples, n) current through the membrane of each segment, outward positive [nA].
        time_ms: (samples,) when [ms]; see `recording_of_tree`.

    Raises:
        InputError: the segments are no tree, or see `recording_of_tree`.
    """
    tree, order = segments.tree()
    return currents_of_tree(tree, _samples(imem_nA, tree.n, "membrane current", np.float64)[:, order], time_ms)


def currents_of_tree(tree: Tree, imem_nA: ArrayLike, time_ms: ArrayLike) -> MembraneCurrents:
    """A recording of the membrane currents of a cell whose tree is there.

    Args:
        tree: the cell.
        imem_nA: (samples, n) current through the membrane of each of its compartments, outward positive [nA].
        time_ms: (samples,) when [ms]; see `recording_of_tree`.

    Raises:
        InputError: see `recording_of_tree`.
    """
    currents, samples_per_ms = _whole_ms(_samples(imem_nA, tree.n, "membrane current", np.float64), time_ms)
    return MembraneCurrents(tree, currents, _digest(currents), 1.0 / samples_per_ms)


def read_npz(path: str | Path) -> Recording | MembraneCurrents:
    """A recording of the arrays in an npz file: of potentials, or of membrane currents.

    Args:
        path: with the arrays v_mV or imem_nA (samples, n), time_ms (samples,), ends_um (n, 2, 3) and diameter_um (n,);
            with v_mV also axial_ohm_cm (one or n); perhaps parent, parent_x, region, length_um and names, each (n,);
            see `Segments`.

    Raises:
        InputError: the file is missing, lacks one of these, holds another array, or see `recording_of_segments`.
    """
    path = Path(path)
    needed: tuple[str, ...] = ("v_mV", "time_ms", *CELL_ARRAYS, "axial_ohm_cm")
    known = f"it holds {', '.join(needed)} (or imem_nA in place of the first), and perhaps {', '.join(MORE_ARRAYS)}"
    if not path.is_file():
        raise InputError(f"{path} does not exist; name an npz file; {known}")
    try:
        with np.load(path, allow_pickle=False) as file:
            given: dict[str, Any] = {name: file[name] for name in file}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no npz file of numbers; write it with numpy.savez") from error
    if "imem_nA" in given and "v_mV" in given:
        raise InputError(f"{path} has both v_mV and imem_nA; keep v_mV, from which currents follow, or imem_nA alone")
    if "imem_nA" in given:
        needed = ("imem_nA", "time_ms", *CELL_ARRAYS)
        given.setdefault("axial_ohm_cm", ANY_OHM_CM)
    missing = [name for name in needed if name not in given]
    unknown = sorted(given.keys() - {*needed, "axial_ohm_cm", *MORE_ARRAYS})
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has an array {unknown[0]!r}, which would not count"
        raise InputError(f"{path} {what}; {known}")
    samples, time = given.pop(needed[0]), given.pop("time_ms")
    make = currents_of_segments if needed[0] == "imem_nA" else recording_of_segments
    return make(Segments(**given), samples, time)


def _whole_ms(samples: NDArray[Any], time_ms: ArrayLike) -> tuple[NDArray[Any], int]:
    """The samples of the whole ms that they last, and how many there are in each; see `recording_of_tree`."""
    time = np.asarray(time_ms, np.float64)
    if time.shape != (len(samples),) or len(samples) < 2 or not np.isfinite(time).all():
        raise InputError(
            f"there are {len(samples)} samples and times of shape {time.shape}; give a finite time for each of two or "
            "more"
        )
    interval_ms = float(time[-1] - time[0]) / (len(time) - 1)
    if not interval_ms > 0.0 or np.abs(np.diff(time) - interval_ms).max() > UNEVEN * interval_ms + 1e-9 * abs(time[-1]):
        raise InputError("the samples are not evenly spaced in time; interpolate them, or simulate with a fixed step")
    samples_per_ms = per_ms(interval_ms, "the interval of the samples")
    if abs(time[0] - interval_ms) > 1e-3 * interval_ms:
        samples = samples[1:]
    duration = len(samples) // samples_per_ms
    if duration == 0:
        raise InputError(f"the samples last {len(samples) * interval_ms:g} ms; a recording lasts 1 ms or longer")
    return samples[: duration * samples_per_ms], samples_per_ms


def _digest(samples: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()[:16]


def _samples(given: ArrayLike, n: int, what: str, dtype: type[np.floating]) -> NDArray[Any]:
    """(samples, n) finite numbers of all segments."""
    unit = "mV" if what == "potential" else "nA"
    try:
        samples = np.asarray(given, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"the {what}s are not numbers; give (samples, segments) in {unit}") from error
    if samples.ndim != 2 or samples.shape[1] != n:
        raise InputError(
            f"the {what}s have shape {samples.shape}; give (samples, {n}) in {unit}, of all segments of the cell"
        )
    if not np.isfinite(samples).all():
        sample, segment = np.argwhere(~np.isfinite(samples))[0]
        raise InputError(f"the {what} of segment {segment} is not finite at sample {sample}; correct it")
    return samples
