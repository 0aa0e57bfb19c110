"""What reaches the cell: seeded synaptic input protocols, and files of a user's own events and currents."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cell.trial_numbers import LONGEST_MS, check_duration
from dendrotwin.errors import InputError
from dendrotwin.support.memory import require_memory
from dendrotwin.support.options import Options

# The protocol of the public data set (Beniaguev, Segev and London 2021, doi:10.1016/j.neuron.2021.07.002), in ms.
RENEWAL_MS = (25, 30, 35, 40, 45, 55, 60, 65, 70, 75, 80, 85, 90, 100, 150, 200, 300, 450)
SMOOTHING_MS = (25, 30, 35, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500, 600)
JITTER_MS = 20
MAX_EXCITATORY_PER_100_MS = 800.0
INHIBITORY_BELOW, INHIBITORY_ABOVE = 600.0, 200.0  # inhibition lies between excitation - 600 and excitation + 200
EXTRA_LENGTH_UM = 10.0
CHUNK_MS = 1000  # of a trial whose rates are computed at once
EVENT_BYTES = 40  # of an event while events are drawn and sorted: its input, its time, their order
RATE_BYTES = 2  # of an input in a ms at least, while rates are drawn: a fourth of the inputs at a time, in float32
# A rate [Hz] or a factor on rates; with a thousand events a ms at each input none is beyond what numbers hold.
Rate = Annotated[float, Field(ge=0, le=1e6)]
MS_PER_UNIT = {"ms": 1.0, "s": 1000.0}


class Modulated(Options):
    """Rates that change in time, the protocol of Beniaguev, Segev and London 2021 (doi:10.1016/j.neuron.2021.07.002).

    Basal and apical trees have their own rates, redrawn every few tens of ms and smoothed, so that a trial passes
    through silence, excitation and inhibition of either tree. Inputs of soma and axon count to the basal tree. At a
    `rate_scale` of 1, the published protocol, the excitatory inputs of each of the two trees (basal, apical) together
    get 4000 events/s on average (0 to 8000), however many they are, the inhibitory ones some 3100.
    """

    protocol: Literal["modulated"] = "modulated"
    """Name of the protocol: modulated, rates that change in time."""
    rate_scale: Rate = 1.0
    """Factor on all rates of the modulated protocol, 1 for the published ones; `simulate` takes the cell's own where
    none is given."""


class Poisson(Options):
    """Every input fires as a stationary Poisson process."""

    protocol: Literal["poisson"] = "poisson"
    """Name of the protocol: poisson, rates that stay."""
    excitatory_hz: Rate = 1.0
    """Rate of each excitatory input in the Poisson protocol [Hz]."""
    inhibitory_hz: Rate = 1.0
    """Rate of each inhibitory input in the Poisson protocol [Hz]."""


Protocol = Annotated[Modulated | Poisson, Field(discriminator="protocol")]


def trial_rng(seed: int, trial: int) -> np.random.Generator:
    """The random numbers of one trial: the child number `trial` of `SeedSequence(seed)`, whoever asks for it.

    Args:
        seed: of the data set.
        trial: its number.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(trial,)))


def draw_events(tree: Tree, protocol: Modulated | Poisson, duration_ms: int, rng: np.random.Generator) -> Events:
    """Input events of one trial.

    Args:
        tree: the cell; its inputs say how many trains there are, and of which kind.
        protocol: which protocol, with its parameters.
        duration_ms: whole number of ms [ms].
        rng: see `trial_rng`.

    Raises:
        InputError: the duration is none, or there are more events than memory holds.
    """
    duration_ms = check_duration(duration_ms)
    if isinstance(protocol, Poisson):
        return _poisson(tree, protocol, duration_ms, rng)
    return _modulated(tree, protocol, duration_ms, rng)


def _excitatory(tree: Tree) -> NDArray[np.bool_]:
    return np.array([synapse.excitatory for synapse in tree.synapses])[tree.input_synapse]


def _poisson(tree: Tree, protocol: Poisson, duration_ms: int, rng: np.random.Generator) -> Events:
    hz = np.where(_excitatory(tree), protocol.excitatory_hz, protocol.inhibitory_hz)
    require_memory(EVENT_BYTES * float(hz.sum()) * duration_ms / 1000.0, "the input", "use lower rates")
    counts = rng.poisson(hz * duration_ms / 1000.0)
    inputs = np.repeat(np.arange(tree.n_inputs), counts)
    return Events.sort(inputs, rng.integers(0, duration_ms, size=len(inputs)))


def _modulated(tree: Tree, protocol: Modulated, duration_ms: int, rng: np.random.Generator) -> Events:
    renewal = int(rng.choice(RENEWAL_MS)) + int(rng.integers(-JITTER_MS, JITTER_MS + 1))
    smoothing = int(rng.choice(SMOOTHING_MS)) + int(rng.integers(-JITTER_MS, JITTER_MS + 1))
    n_draws = -(-duration_ms // renewal)
    excitatory = _excitatory(tree)
    require_memory(RATE_BYTES * duration_ms * tree.n_inputs, f"the input of {duration_ms} ms", "use shorter trials")
    inputs, times = [], []
    for regions in (("basal", "soma", "axon"), ("apical",)):
        on_tree = tree.in_region(*regions)[tree.input_compartment]
        exc = rng.uniform(0.0, MAX_EXCITATORY_PER_100_MS, n_draws)
        inh = rng.uniform(np.maximum(0.0, exc - INHIBITORY_BELOW), exc + INHIBITORY_ABOVE)
        for per_100_ms, of_kind in ((exc, excitatory), (inh, ~excitatory)):
            members = np.flatnonzero(on_tree & of_kind)
            share = tree.length_um[tree.input_compartment[members]] + EXTRA_LENGTH_UM
            share = share / share.sum() if len(members) else share
            drawn = (per_100_ms / 100.0)[:, None] * share * rng.uniform(0.5, 1.5, (n_draws, len(members)))
            rate = _smoothed(
                drawn.astype(np.float32) * np.float32(protocol.rate_scale), renewal, smoothing, duration_ms
            )
            rate *= rng.standard_exponential(rate.shape, dtype=np.float32)
            time, member = np.nonzero(rng.random(rate.shape, dtype=np.float32) < rate)
            inputs.append(members[member])
            times.append(time)
    return Events.sort(np.concatenate(inputs), np.concatenate(times))


def _smoothed(drawn: NDArray[np.float32], hold: int, sd: int, duration_ms: int) -> NDArray[np.float32]:
    """Rates that are held for `hold` ms each, smoothed by a Gaussian of standard deviation `sd` [ms].

    What `scipy.ndimage.gaussian_filter1d` with mode "nearest" gives of each ms, up to rounding: the share of the
    Gaussian that lies over a held rate is a difference of two of its sums, and there are far fewer held rates than ms.
    `drawn` is (draws, members) [events/ms], the result (duration_ms, members), of each ms.
    """
    radius = int(4.0 * sd + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sd) ** 2)
    below = np.concatenate([[0.0], np.cumsum(weights / weights.sum())])  # of offsets less than -radius, ... radius + 1
    out = np.empty((duration_ms, drawn.shape[1]), np.float32)
    for start in range(0, duration_ms, CHUNK_MS):
        t = np.arange(start, min(start + CHUNK_MS, duration_ms))
        first, last = max(t[0] - radius, 0) // hold, min(t[-1] + radius, duration_ms - 1) // hold
        edges = np.arange(first, last + 2) * hold
        share = below[np.clip(edges - t[:, None] + radius, 0, 2 * radius + 1)]
        share[:, 0], share[:, -1] = 0.0, 1.0  # the first and the last rate go on beyond the trial
        out[t] = np.diff(share, axis=1) @ drawn[first : last + 1]
    return out


def to_ms(time: NDArray[np.float64], unit: str | None, name: str) -> NDArray[np.float64]:
    """Times in ms.

    Args:
        time: (k,) in their unit.
        unit: ms or s; None where nothing says it, which is ms, unless the times look like seconds.
        name: whose they are, for the error.

    Returns:
        (k,) [ms].

    Raises:
        InputError: there is no such unit; or nothing says it, and all times are below 1.
    """
    if unit is not None and unit not in MS_PER_UNIT:
        raise InputError(f"times in {unit!r}; choose {' or '.join(MS_PER_UNIT)}")
    if unit is None and time.size and 0.0 < time.max() < 1.0:
        raise InputError(f"{name}: all times are below 1, as in seconds; say their unit: --time-unit s, or ms")
    return time * MS_PER_UNIT[unit or "ms"]


def read_events(path: Path, unit: str | None = None) -> Events:
    """A user's own events: CSV with the columns `input` and `time`, or npz with the arrays `input` and `time` [ms].

    A time may lie anywhere within its millisecond. Spikes in other formats are read by `read_spikes`.

    Args:
        path: the file.
        unit: of the times, ms or s; None for ms, unless all are below 1.

    Raises:
        InputError: the file is missing, or holds something else or more; or see `to_ms`.
    """
    columns = _read_npz(path, ("input", "time")) if _is_npz(path) else _read_columns(path, ("input", "time"))
    inputs, times = columns
    if not (np.isfinite(inputs).all() and np.isfinite(times).all()):
        raise InputError(f"{path}: an input or a time is not a finite number; correct that row")
    times = to_ms(times, unit, str(path))
    try:
        return Events.sort(inputs, times)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_injection(path: Path, duration_ms: int) -> Injection:
    """A user's own injected current, held for each 1 ms step; zero after the file's end.

    npz: `compartment` (e,) and `current_nA` (rows, e). CSV: a header `time,C1,C2,...` with the compartments' numbers,
    then a row for each ms: its number, and the current at each electrode [nA].

    Args:
        path: the file.
        duration_ms: duration of the trial [ms].

    Raises:
        InputError: the file is missing, holds something else, or is longer than the trial; or the trial's current is
            more than memory holds.
    """
    duration_ms = check_duration(duration_ms)
    if _is_npz(path):
        compartment, current = _read_npz(path, ("compartment", "current_nA"))
    else:
        rows = rows_of_csv(path)
        if len(rows) < 2 or rows[0][0].strip() != "time":
            raise InputError(
                f"{path}: the first line must be `time,` and the compartments' numbers, then a row for each ms"
            )
        try:
            compartment = np.array([float(int(name)) for name in rows[0][1:]])
            table = np.array([[float(cell) for cell in row] for row in rows[1:]])
        except (ValueError, OverflowError) as error:
            raise InputError(f"{path}: {error}; compartments are whole numbers, currents are numbers in nA") from error
        if not np.array_equal(table[:, 0], np.arange(len(table))):
            raise InputError(f"{path}: the column `time` must count the milliseconds 0, 1, 2, ...")
        current = table[:, 1:]
    whole = compartment.ndim == 1 and (compartment == np.rint(compartment)).all()
    if not whole or (np.abs(compartment) > LONGEST_MS).any():
        raise InputError(f"{path}: compartments are whole numbers, counted from 0")
    if current.ndim != 2 or current.shape[1] != len(compartment):
        raise InputError(f"{path}: the current needs a column for each of the {len(compartment)} compartments")
    if len(current) > duration_ms:
        raise InputError(f"{path}: the current lasts {len(current)} ms, the trial {duration_ms} ms; lengthen the trial")
    size = 8.0 * duration_ms * len(compartment)
    require_memory(size, f"the current of {duration_ms} ms", "inject into fewer compartments, or for less time")
    padded = np.zeros((duration_ms, len(compartment)))
    padded[: len(current)] = current
    return Injection(compartment.astype(np.int32), padded)


def _is_npz(path: Path) -> bool:
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; name a CSV or npz file")
    return Path(path).suffix == ".npz"


def _read_npz(path: Path, names: tuple[str, ...]) -> list[NDArray[np.float64]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            further = sorted(set(arrays) - set(names))
            if further:
                raise InputError(f"{path} has an array {further[0]!r}, which would not count; leave it away")
            columns = [np.asarray(arrays[name]) for name in names]
    except InputError:
        raise
    except Exception as error:  # what numpy and zipfile raise of files that are none has no end
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} must be an npz file with the number arrays {' and '.join(names)} ({cause}); make it with np.savez"
        ) from error
    for name, column in zip(names, columns, strict=True):
        if column.dtype.kind not in "iuf":
            raise InputError(f"{path}: `{name}` holds {column.dtype}; store real numbers")
    return [column.astype(np.float64) for column in columns]


def rows_of_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV file, its header first; columns are separated by commas, else semicolons, tabs or spaces.

    Args:
        path: the file.

    Raises:
        InputError: it is no text, or a row has more or less columns than the header.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
        lines = [line for line in lines if line.strip()]
        between = next((mark for mark in ",;\t" if mark in (lines or [""])[0]), None)
        rows = [line.split() for line in lines] if between is None else list(csv.reader(lines, delimiter=between))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV text in UTF-8 ({error}); name a CSV or npz file") from error
    if rows and any(len(row) != len(rows[0]) for row in rows):
        raise InputError(f"{path}: every row must have the {len(rows[0])} columns of the header")
    return rows


def _read_columns(path: Path, names: tuple[str, ...]) -> list[NDArray[np.float64]]:
    rows = rows_of_csv(path)
    header = [name.strip() for name in rows[0]] if rows else []
    if any(name not in header for name in names):
        raise InputError(
            f"{path}: the first line must name the columns {' and '.join(names)}, it says {','.join(header)!r}"
        )
    further = [name for name in header if name not in names]
    if further:
        raise InputError(
            f"{path} has a column {further[0]!r}, which would not count; leave it away (weights are the cell's own)"
        )
    try:
        table = np.array([[float(row[header.index(name)]) for name in names] for row in rows[1:]]).reshape(
            -1, len(names)
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}; every row needs two numbers") from error
    return [table[:, i] for i in range(len(names))]
