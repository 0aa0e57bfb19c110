"""One trial of a cell, in NEURON or in CoreNEURON: input events and injected current in, potentials and spikes out."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from dendrotwin.cell.stimuli import draw_events, trial_rng
from dendrotwin.cell.tree import SPIKE_MV, Events, Injection
from dendrotwin.cells import load_cell
from dendrotwin.errors import InputError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.check_cell import in_order
from dendrotwin.neuron.check_start import parameters
from dendrotwin.neuron.data_set import check_build, check_claim
from dendrotwin.neuron.random_numbers import seed_mechanisms
from dendrotwin.neuron.simulation import Simulation, steps_and_samples_per_ms
from dendrotwin.recording import DEFAULT_RECORD_DT_MS, Recording, provenance, trial_identity, write_recordings
from dendrotwin.recording.one_simulation import CONFIG_FILE

# Output spikes as in the public data set (doi:10.1016/j.neuron.2021.07.002): at least so far apart, looked at so often.
SPIKE_DISTANCE_MS, SPIKE_SAMPLING_MS = 1.0, 0.125
CORENEURON_CHUNK_MS = 200  # each call hands the whole cell to CoreNEURON and back; it records every step in memory


def run_trial(
    cell: NeuronCell,
    events: Events,
    duration_ms: int,
    dt_ms: float = 0.05,
    method: str = "crank-nicolson",
    injection: Injection | None = None,
    record_dt_ms: float = DEFAULT_RECORD_DT_MS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simulate one trial in NEURON.

    Args:
        cell: built in this process.
        events: input events, each delivered at its own time, to the nearest dt_ms.
        duration_ms: whole number of ms [ms].
        dt_ms: step of the integration [ms]; see `Simulation`.
        method: see `Simulation`.
        injection: current through electrodes, held over each ms.
        record_dt_ms: time from one sample of the potentials to the next [ms].

    Returns:
        V (samples, n) at the end of each record_dt_ms [mV], and the times (s,) of the output spikes [ms].

    Raises:
        InputError: events or injection do not fit the cell and the duration, or see `steps_and_samples_per_ms`.
    """
    from neuron import h

    events.check(cell.tree.n_inputs, duration_ms)
    steps_per_ms, samples_per_ms = steps_and_samples_per_ms(dt_ms, record_dt_ms)
    _set_integration(cell, steps_per_ms, method)
    clamps = []
    current = np.zeros((duration_ms, 0))
    if injection is not None:
        injection.check(cell.tree.n, duration_ms)
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
    context = _initialized(cell)

    v = np.empty((duration_ms, samples_per_ms, len(cell.segments)))
    first_event = np.searchsorted(events.time_ms, np.arange(duration_ms + 1))
    arrivals = list(zip(events.input.tolist(), events.time_ms.tolist(), strict=True))
    for ms in range(duration_ms):
        # One ms at a time: the event queue stays short, and one call gathers all potentials.
        for i, time in arrivals[first_event[ms] : first_event[ms + 1]]:
            cell.connections[i].event(time)
        for clamp, amplitude in zip(clamps, current[ms], strict=True):
            clamp.amp = amplitude
        for k in range(samples_per_ms):
            # t is a sum of steps, some 1e-11 of it off: aim a quarter of a step behind the last one.
            context.psolve(ms + (k + 1) / samples_per_ms + 0.25 * h.dt)
            potentials.gather(sample)
            v[ms, k] = view
    return v.reshape(-1, len(cell.segments)), _spike_times(np.array(soma), h.dt)


def run_trial_coreneuron(
    cell: NeuronCell,
    events: Events,
    duration_ms: int,
    dt_ms: float = 0.05,
    method: str = "crank-nicolson",
    record_dt_ms: float = DEFAULT_RECORD_DT_MS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simulate one trial in CoreNEURON (Kumbhar et al. 2019, doi:10.3389/fninf.2019.00063).

    Args:
        cell: built in this process, with `coreneuron`.
        events: input events, as `run_trial` takes them.
        duration_ms: whole number of ms [ms].
        dt_ms: step of the integration [ms]; see `Simulation`.
        method: see `Simulation`.
        record_dt_ms: time from one sample of the potentials to the next [ms].

    Returns:
        V (samples, n) [mV] and the times (s,) of the output spikes [ms], as `run_trial`.

    Raises:
        InputError: events do not fit the cell and the duration, or see `steps_and_samples_per_ms`.
    """
    from neuron import coreneuron, h

    events.check(cell.tree.n_inputs, duration_ms)
    steps_per_ms, samples_per_ms = steps_and_samples_per_ms(dt_ms, record_dt_ms)
    stride = steps_per_ms // samples_per_ms
    _set_integration(cell, steps_per_ms, method)
    h.CVode().cache_efficient(True)
    # CoreNEURON records every step or nothing.
    records = [h.Vector().record(segment._ref_v) for segment in cell.segments]
    context = _initialized(cell)
    v = np.empty((duration_ms * samples_per_ms, len(records)))
    soma = np.empty(duration_ms * steps_per_ms + 1)
    inputs, times = events.input.tolist(), events.time_ms.tolist()
    with coreneuron(enable=True, verbose=0):
        for start in range(0, duration_ms, CORENEURON_CHUNK_MS):
            stop = min(start + CORENEURON_CHUNK_MS, duration_ms)
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


def _set_integration(cell: NeuronCell, steps_per_ms: int, method: str) -> None:
    """Temperature of the cell, and NEURON's step and method."""
    from neuron import h

    h.celsius = cell.model.celsius
    h.dt = 1.0 / steps_per_ms
    h.secondorder = 2 if method == "crank-nicolson" else 0


def _initialized(cell: NeuronCell) -> Any:
    """NEURON's ParallelContext, which integrates, with the cell at the start of a trial."""
    from neuron import h

    context = h.ParallelContext()
    context.set_maxstep(10)
    h.finitialize(cell.tree.v_init_mV)
    return context


def _spike_times(soma_mV: NDArray[np.float64], dt_ms: float) -> NDArray[np.float64]:
    """Times of local maxima above the threshold [ms], from the soma's potential at every step."""
    stride = max(1, round(SPIKE_SAMPLING_MS / dt_ms))
    apart = max(1, round(SPIKE_DISTANCE_MS / (stride * dt_ms)))
    peaks, _ = find_peaks(soma_mV[::stride], height=np.nextafter(SPIKE_MV, 0.0), distance=apart)
    return np.asarray(peaks * stride * dt_ms, dtype=np.float64)


# NEURON is not thread-safe, and a Dask worker may have several threads.
_lock = threading.Lock()
_cells: dict[str, NeuronCell] = {}  # the one that this process has built, under its configuration


def built_cell(simulation: Simulation) -> NeuronCell:
    """The cell of a simulation, built once in each process.

    Args:
        simulation: names the cell, its options and the engine.

    Raises:
        InputError: this process has built another cell before.
        CellError: see `NeuronCell`.
    """
    key = json.dumps([simulation.cell, simulation.cell_options, simulation.engine], sort_keys=True)
    if key not in _cells:
        for other in _cells:
            built = json.loads(other)[0]
            raise InputError(f"this worker has built the cell {built} before; use fresh workers for {simulation.cell}")
        model = load_cell(simulation.cell, simulation.cell_options)
        _cells[key] = NeuronCell(model, coreneuron=simulation.engine == "coreneuron")
    return _cells[key]


def simulate_trial(
    simulation: Simulation, trial: int, path: Path, events: Events | None = None, injection: Injection | None = None
) -> int:
    """Simulate one trial and write its file; the unit of work that workers are given.

    Args:
        simulation: what to simulate.
        trial: number of the trial.
        path: the file.
        events: the user's own events, in place of the protocol's.
        injection: the user's own current.

    Returns:
        The number of output spikes.

    Raises:
        FileError: the folder is that of another simulation by now, or the disk is full.
        CellError: see `NeuronCell`; or the cell was built in another way for other trials.
    """
    duration_ms, record_dt_ms = simulation.duration_ms, simulation.record_dt_ms
    with _lock:
        cell = built_cell(simulation)
        built = parameters(in_order(cell.sections))
        if (path.parent / CONFIG_FILE).exists():
            check_build(path.parent, cell.model.name, built)
        if events is None:
            events = draw_events(cell.tree, simulation.inputs, duration_ms, trial_rng(simulation.seed, trial))
        seed_mechanisms(cell.segments, simulation.seed, trial)
        given = cell, events, duration_ms, simulation.dt_ms, simulation.method
        if simulation.engine == "coreneuron":
            v, spikes = run_trial_coreneuron(*given, record_dt_ms)
        else:
            v, spikes = run_trial(*given, injection, record_dt_ms)
    recording = Recording(
        cell.tree,
        v.astype(np.float32),
        events,
        spikes,
        trial_identity(events, injection, duration_ms),
        injection,
        record_dt_ms=record_dt_ms,
    )
    if (path.parent / CONFIG_FILE).exists():  # the folder may have become that of another simulation meanwhile
        check_claim(path.parent, simulation)
        check_build(path.parent, cell.model.name, built)  # again: two workers may have been the first at once
    write_recordings(path, [recording], {**provenance(), "simulation": simulation.model_dump_json(), "trial": trial})
    return len(spikes)
