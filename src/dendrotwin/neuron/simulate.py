"""A cell and its inputs to recordings: in NEURON, on one core, on all cores, or on a cluster."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.signal import find_peaks

from dendrotwin.cell.stimuli import Modulated, Protocol, draw_events, trial_rng
from dendrotwin.cell.tree import SPIKE_MV, Events, Injection
from dendrotwin.cells import CellModel, load_cell
from dendrotwin.errors import CellError, FileError, InputError
from dendrotwin.neuron.build import SYNAPSE_FILES, NeuronCell
from dendrotwin.neuron.compile import build_mechanisms
from dendrotwin.recording import (
    EACH_MS,
    SPLIT_FILE,
    HeldOut,
    Recording,
    RecordingFile,
    per_ms,
    provenance,
    read_held_out,
    trial_identity,
    write_recordings,
)
from dendrotwin.support.atomic_files import remove_dead_partials, whole_file
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import cores, worker_pool

MAX_CRANK_NICOLSON_MS = 0.05
SPIKE_DISTANCE_MS = 1.0  # two output spikes are at least this far apart ...
SPIKE_SAMPLING_MS = 0.125  # ... looked at about this often (doi:10.1016/j.neuron.2021.07.002)
CONFIG_FILE = "simulation.json"
# What a user knows these fields of `Simulation` by.
NAMED = {
    "cell_digest": "mechanisms or file of the cell",
    "own_input": "events or injected current",
    "dt_ms": "--dt",
    "duration_ms": "--duration",
    "record_dt_ms": "--record-dt",
}
CORE_CHUNK_MS = 200  # each call hands the whole cell to CoreNEURON and back


class Simulation(BaseModel):
    """What determines every trial of a data set; with a trial's number, all of its bits.

    Attributes:
        cell: name of the cell, or path of a file that defines it.
        cell_options: options of that cell.
        duration_ms: of a trial [ms].
        seed: trial k draws from child k of `SeedSequence(seed)`.
        inputs: the input protocol; ignored where events are given.
        dt_ms: step of the integration [ms], a divisor of 1 ms.
        method: NEURON's fixed-step method.
        engine: "neuron", or "coreneuron", two to four times faster, with other roundings (see docs/measurements.md);
            it needs no injected current.
        record_dt_ms: potentials are stored every so many ms, a divisor of 1 ms and a multiple of dt_ms.
        cell_digest: hash of what defines the cell: its Python file and its mechanisms; `simulate` fills it in.
        own_input: hash of the user's own events and injected currents, where there are some; likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    cell: str
    cell_options: dict[str, str] = {}
    duration_ms: int = Field(gt=0)
    seed: int = Field(default=0, ge=0)
    inputs: Protocol = Modulated()
    dt_ms: float = Field(default=0.05, gt=0, le=1)
    method: Literal["crank-nicolson", "backward-euler"] = "crank-nicolson"
    engine: Literal["neuron", "coreneuron"] = "neuron"
    record_dt_ms: float = EACH_MS
    cell_digest: str = ""
    own_input: str = ""


@dataclass(frozen=True)
class Preset:
    """A published data set, of any cell: the first trials are for the test, then come validation and training.

    Attributes:
        test, validation, train: how many trials.
        duration_ms: of a trial [ms].
        seed: see `Simulation`.
    """

    test: int
    validation: int
    train: int
    duration_ms: int
    seed: int = 2024

    @property
    def trials(self) -> int:
        """All of them."""
        return self.test + self.validation + self.train

    @property
    def held_out(self) -> HeldOut:
        """Those that are not for training."""
        return HeldOut(test=self.test, validation=self.validation)


# bench and paper have the same test and validation trials.
PRESETS = {
    "tiny": Preset(test=2, validation=2, train=8, duration_ms=1500),
    "bench": Preset(test=50, validation=30, train=300, duration_ms=6000),
    "paper": Preset(test=50, validation=30, train=6000, duration_ms=6000),
}


def sampling(dt_ms: float, record_dt_ms: float) -> tuple[int, int]:
    """Integration steps, and stored samples, in 1 ms.

    Raises:
        InputError: one of them does not divide 1 ms, or record_dt_ms is no multiple of dt_ms.
    """
    steps, samples = per_ms(dt_ms, "dt"), per_ms(record_dt_ms, "record-dt")
    if steps % samples:
        possible = ", ".join(f"{1.0 / n:g}" for n in range(1, steps + 1) if steps % n == 0)
        raise InputError(
            f"record-dt is {record_dt_ms:g} ms; it must be a multiple of dt, {dt_ms:g} ms: choose one of {possible}, "
            "or another dt"
        )
    return steps, samples


def _check_steps(dt_ms: float, method: str, record_dt_ms: float) -> None:
    sampling(dt_ms, record_dt_ms)
    if method == "crank-nicolson" and dt_ms > MAX_CRANK_NICOLSON_MS:
        raise InputError(
            f"Crank-Nicolson rings after spikes with dt {dt_ms} ms; use {MAX_CRANK_NICOLSON_MS} ms or less, "
            "or the method backward-euler"
        )


def run_trial(
    cell: NeuronCell,
    events: Events,
    steps: int,
    dt_ms: float = 0.05,
    method: str = "crank-nicolson",
    injection: Injection | None = None,
    record_dt_ms: float = EACH_MS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simulate one trial in NEURON.

    Args:
        cell: built in this process.
        events: input events, each delivered at its own time, to the nearest dt_ms.
        steps: duration [ms].
        dt_ms, method: see `Simulation`.
        injection: current through electrodes, held over each ms.
        record_dt_ms: see `Simulation`.

    Returns:
        V (samples, n) at the end of each record_dt_ms [mV], and the times of the output spikes [ms].

    Raises:
        InputError: events or injection do not fit the cell and the duration, or see `sampling`.
    """
    from neuron import h

    events.check(cell.tree.n_inputs, steps)
    steps_per_ms, samples_per_ms = sampling(dt_ms, record_dt_ms)
    h.celsius = cell.model.celsius
    h.dt = 1.0 / steps_per_ms
    h.secondorder = 2 if method == "crank-nicolson" else 0
    clamps = []
    current = np.zeros((steps, 0))
    if injection is not None:
        injection.check(cell.tree.n, steps)
        current = injection.current_nA
        for compartment in injection.compartment:
            clamp = h.IClamp(cell.segments[compartment])
            clamp.delay, clamp.dur = 0.0, 1e12
            clamps.append(clamp)

    potentials = h.PtrVector(len(cell.segments))
    for i, segment in enumerate(cell.segments):
        potentials.pset(i, segment._ref_v)
    sample = h.Vector(len(cell.segments))
    view = sample.as_numpy()  # once: each call leaks some 450 bytes (NEURON 9.0.2)
    soma = h.Vector().record(cell.segments[cell.tree.soma]._ref_v)
    context = h.ParallelContext()
    context.set_maxstep(10)
    h.finitialize(cell.tree.v_init_mV)

    v = np.empty((steps, samples_per_ms, len(cell.segments)))
    start_of = np.searchsorted(events.time_ms, np.arange(steps + 1))
    arrivals = list(zip(events.input.tolist(), events.time_ms.tolist(), strict=True))
    for step in range(steps):
        # One ms at a time: the event queue stays short, and one call gathers all potentials.
        for i, time in arrivals[start_of[step] : start_of[step + 1]]:
            cell.connections[i].event(time)
        for clamp, amplitude in zip(clamps, current[step], strict=True):
            clamp.amp = amplitude
        for k in range(samples_per_ms):
            # t is a sum of steps, some 1e-11 of it off: aim a quarter of a step behind the last one.
            context.psolve(step + (k + 1) / samples_per_ms + 0.25 * h.dt)
            potentials.gather(sample)
            v[step, k] = view
    return v.reshape(-1, len(cell.segments)), _spike_times(np.array(soma), h.dt)


def run_trial_core(
    cell: NeuronCell,
    events: Events,
    steps: int,
    dt_ms: float = 0.05,
    method: str = "crank-nicolson",
    record_dt_ms: float = EACH_MS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simulate one trial in CoreNEURON (Kumbhar et al. 2019, doi:10.3389/fninf.2019.00063).

    Args:
        cell: built in this process, with `core`.
        events, steps, dt_ms, method, record_dt_ms: see `run_trial`.

    Returns:
        As `run_trial`.

    Raises:
        InputError: events do not fit the cell and the duration, or see `sampling`.
    """
    from neuron import coreneuron, h

    events.check(cell.tree.n_inputs, steps)
    steps_per_ms, samples_per_ms = sampling(dt_ms, record_dt_ms)
    stride = steps_per_ms // samples_per_ms
    h.celsius = cell.model.celsius
    h.dt = 1.0 / steps_per_ms
    h.secondorder = 2 if method == "crank-nicolson" else 0
    h.CVode().cache_efficient(True)
    # CoreNEURON records every step or nothing.
    records = [h.Vector().record(segment._ref_v) for segment in cell.segments]
    context = h.ParallelContext()
    context.set_maxstep(10)
    h.finitialize(cell.tree.v_init_mV)
    v, soma = np.empty((steps * samples_per_ms, len(records))), np.empty(steps * steps_per_ms + 1)
    inputs, times = events.input.tolist(), events.time_ms.tolist()
    with coreneuron(enable=True, verbose=0):
        for start in range(0, steps, CORE_CHUNK_MS):
            stop = min(start + CORE_CHUNK_MS, steps)
            first, last = np.searchsorted(events.time_ms, [start, stop])
            for i, time in zip(inputs[first:last], times[first:last], strict=True):
                cell.connections[i].event(time)
            # t is a sum of steps, some 1e-12 of it off: aim a quarter of a step behind the last one.
            context.psolve(stop + 0.25 * h.dt)
            chunk = np.array([np.array(record)[-(stop - start) * steps_per_ms :] for record in records])
            v[start * samples_per_ms : stop * samples_per_ms] = chunk[:, stride - 1 :: stride].T
            soma[start * steps_per_ms + 1 : stop * steps_per_ms + 1] = chunk[cell.tree.soma]
            for record in records:
                record.resize(0)
    soma[0] = cell.tree.v_init_mV
    return v, _spike_times(soma, h.dt)


def _spike_times(soma_mV: NDArray[np.float64], dt_ms: float) -> NDArray[np.float64]:
    """Times of local maxima above the threshold [ms], from the soma's potential at every step."""
    stride = max(1, round(SPIKE_SAMPLING_MS / dt_ms))
    apart = max(1, round(SPIKE_DISTANCE_MS / (stride * dt_ms)))
    peaks, _ = find_peaks(soma_mV[::stride], height=np.nextafter(SPIKE_MV, 0.0), distance=apart)
    return np.asarray(peaks * stride * dt_ms, dtype=np.float64)


# NEURON is not thread-safe, and a Dask worker may have several threads.
_lock = threading.Lock()
_cells: dict[tuple[str, str], NeuronCell] = {}


def built_cell(simulation: Simulation) -> NeuronCell:
    """The cell, built once in each process."""
    key = (simulation.cell, json.dumps([simulation.cell_options, simulation.engine], sort_keys=True))
    if key not in _cells:
        if _cells:
            built = next(iter(_cells))[0]
            raise InputError(f"this worker has built the cell {built} before; use fresh workers for {simulation.cell}")
        core = simulation.engine == "coreneuron"
        _cells[key] = NeuronCell(load_cell(simulation.cell, simulation.cell_options), core)
    return _cells[key]


def simulate_trial(
    simulation: Simulation, trial: int, path: Path, events: Events | None = None, injection: Injection | None = None
) -> int:
    """Simulate one trial and write its shard; the unit of work that executors are given.

    Args:
        simulation: what to simulate.
        trial: number of the trial.
        path: the shard.
        events: the user's own events, in place of the protocol's.
        injection: the user's own current.

    Returns:
        The number of output spikes.
    """
    with _lock:
        cell = built_cell(simulation)
        steps = simulation.duration_ms
        if events is None:
            events = draw_events(cell.tree, simulation.inputs, steps, trial_rng(simulation.seed, trial))
        dt_ms, method, record_dt_ms = simulation.dt_ms, simulation.method, simulation.record_dt_ms
        if simulation.engine == "coreneuron":
            v, spikes = run_trial_core(cell, events, steps, dt_ms, method, record_dt_ms)
        else:
            v, spikes = run_trial(cell, events, steps, dt_ms, method, injection, record_dt_ms)
    recording = Recording(
        cell.tree,
        v.astype(np.float32),
        events,
        spikes,
        trial_identity(events, injection, steps),
        injection,
        record_dt_ms=record_dt_ms,
    )
    write_recordings(path, [recording], {**provenance(), "simulation": simulation.model_dump_json(), "trial": trial})
    return len(spikes)


def shard_path(out: Path, trial: int) -> Path:
    """The file of a trial in the data set `out`."""
    return Path(out) / f"trial-{trial:06d}.h5"


def simulate(
    simulation: Simulation,
    trials: int,
    out: Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    events: Events | None = None,
    injection: Injection | None = None,
    held_out: HeldOut | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Simulate the trials of a data set that are not there yet.

    Args:
        simulation: what to simulate.
        trials: how many.
        out: folder of the data set; trials in it are kept, if they are of the same simulation.
        executor: where to run, such as `distributed.Client(...).get_executor()`; None means processes on this machine.
        workers: number of those processes; None means one for each core.
        events, injection: the user's own input; events make one trial.
        held_out: how many of the first trials `dataset.split_trials` keeps from training; None leaves that open.
        overwrite: remove the data set that is in `out` first.

    Returns:
        The shards, in the order of the trials.

    Raises:
        FileError: `out` holds another simulation or another split, or a worker died.
        InputError: dt_ms or record_dt_ms are none that can be had (see `sampling`), or the input fits neither.
        DendrotwinError: whatever building or running the cell raises.
    """
    _check_steps(simulation.dt_ms, simulation.method, simulation.record_dt_ms)
    if injection is not None and simulation.engine == "coreneuron":
        raise InputError("injected current is simulated by the engine neuron alone; use that")
    if events is not None and trials > 1:
        raise InputError(f"the same events in {trials} trials make the same trial {trials} times; use --trials 1")
    out = Path(out).resolve()  # workers of a cluster may run elsewhere
    model = load_cell(simulation.cell, simulation.cell_options)
    missing = model.missing()
    if missing:
        raise CellError(f"the cell {model.name} cannot be built here: {missing}")
    if executor is None:
        # Once, not in every worker.
        build_mechanisms(model.mechanisms() + SYNAPSE_FILES, simulation.engine == "coreneuron")
    own = "" if events is None and injection is None else _own_input_digest(events, injection)
    simulation = simulation.model_copy(update={"cell_digest": _cell_digest(simulation, model), "own_input": own})
    if overwrite:
        _clear(out)
    _claim(out, simulation, held_out)
    paths = [shard_path(out, trial) for trial in range(trials)]
    todo = [trial for trial, path in enumerate(paths) if not path.exists()]
    for path in set(paths) - {paths[trial] for trial in todo}:
        RecordingFile(path).__exit__()  # a damaged shard is named now, not when a training reads it
    if not todo:
        return paths
    ours = executor is None
    if executor is None:
        executor = worker_pool(min(workers or cores(), len(todo)))
    futures: list[Future[int]] = []
    try:
        futures = [executor.submit(simulate_trial, simulation, k, paths[k], events, injection) for k in todo]
        with progress(f"simulating {model.name} into {out}", len(todo), "trials") as advance:
            for future in as_completed(futures):
                spikes = future.result()
                advance(1, f"(last: {spikes} spikes)")
    except Exception as error:
        lost = isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker"  # the latter is Dask's
        if not lost:
            raise
        raise FileError(
            "a worker process died (killed, or out of memory); finished trials are kept: run the same command again"
        ) from error
    finally:
        for future in futures:
            future.cancel()
        if ours:
            executor.shutdown(wait=True, cancel_futures=True)
    return paths


def silent(paths: Sequence[Path]) -> bool:
    """Whether no trial of these files holds an output spike."""
    for path in paths:
        with RecordingFile(path) as file:
            if any(len(file.spikes_ms(i)) for i in range(len(file))):
                return False
    return True


def _own_input_digest(events: Events | None, injection: Injection | None) -> str:
    digest = hashlib.sha256()
    for arrays in (events, injection):
        for name, value in sorted(vars(arrays).items()) if arrays is not None else ():
            if isinstance(arrays, Events) and name == "time_ms" and np.array_equal(arrays.bins(), value):
                value = arrays.bins()  # whole ms, as they were stored before there were others
            digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def _cell_digest(simulation: Simulation, model: CellModel) -> str:
    """Hash of a cell's mechanisms and, for a user's own, of its file: channels do not show in the tree."""
    files = model.mechanisms() + ([Path(simulation.cell)] if simulation.cell.endswith(".py") else [])
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _claim(out: Path, simulation: Simulation, held_out: HeldOut | None) -> None:
    """Make `out` the folder of this simulation with this split, or see that it is."""
    out = Path(out)
    config = out / CONFIG_FILE
    shards = out.is_dir() and any(out.glob("*.h5"))
    if config.exists() and shards:
        try:
            there: Any = {"record_dt_ms": EACH_MS, **json.loads(config.read_text())}  # older data sets do not say
        except ValueError as error:
            raise FileError(f"{config} is damaged; delete {out} or name another folder") from error
        here = json.loads(simulation.model_dump_json())
        different = sorted(NAMED.get(key, key) for key in {*there, *here} if there.get(key) != here.get(key))
        if different:
            raise FileError(
                f"{out} holds another simulation (other {', '.join(different)}); name another, or use --overwrite"
            )
    elif out.is_file() or shards:
        raise FileError(f"{out} exists and is no data set of `simulate`; name another folder, or use --overwrite")
    else:
        (out / SPLIT_FILE).unlink(missing_ok=True)
        with whole_file(config) as temporary:
            temporary.write_text(json.dumps(simulation.model_dump(mode="json"), indent=2) + "\n")
    if held_out is not None:
        there = read_held_out(out)
        if there not in (None, held_out):
            raise FileError(f"{out} is split in another way ({there}); name another folder, or use --overwrite")
        with whole_file(out / SPLIT_FILE) as temporary:
            temporary.write_text(held_out.model_dump_json() + "\n")
    remove_dead_partials(out)


def _clear(out: Path) -> None:
    """Remove a data set: its configuration and its shards. A folder that holds anything else of the kind is left."""
    shards = list(out.glob("*.h5"))
    foreign = [path.name for path in shards if not re.fullmatch(r"trial-\d{6,}\.h5", path.name)]
    if foreign or (shards and not (out / CONFIG_FILE).is_file()):
        raise FileError(f"{out} holds files that `simulate` did not make, and is not overwritten; name another folder")
    for path in shards:
        path.unlink()
    (out / CONFIG_FILE).unlink(missing_ok=True)
