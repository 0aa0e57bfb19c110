"""The scale of the input rates at which a cell fires as often as is wanted, found on a few short trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cells import load_cell
from dendrotwin.errors import InputError
from dendrotwin.neuron.build import SYNAPSE_FILES
from dendrotwin.neuron.compile import build_mechanisms
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.neuron.trial import built_cell, run_trial
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import cores, worker_pool

TRIALS, DURATION_MS = 6, 2000  # of a rate scale that is tried: rates are then known to a few tenths of a Hz
FIRST_TRIAL = 1_000_000  # their numbers: other input than that of the data set
LEAST, MOST = 2.0**-8, 2.0**5  # rate scales between which it is looked for
HALVINGS = 5  # of the interval of a factor of 2


class RateScale(NamedTuple):
    """What was found.

    Attributes:
        rate_scale: see `Modulated`.
        rate_hz: output rate that it gives [Hz].
        seconds: simulated time that this was measured in [s].
    """

    rate_scale: float
    rate_hz: float
    seconds: float


def find_rate_scale(simulation: Simulation, target_hz: float, workers: int | None = None) -> RateScale:
    """The rate scale of the modulated protocol that gives an output rate.

    Found from below, because too much input silences a cell (depolarisation block): doubled until the rate is reached,
    then halved in between. The same simulation always has the same one.

    Args:
        simulation: of the cell.
        target_hz: mean output rate [Hz].
        workers: processes; None means one for each core.

    Raises:
        InputError: no rate scale gives this rate.
        DendrotwinError: whatever building or running the cell raises.
    """
    model = load_cell(simulation.cell, simulation.cell_options)
    build_mechanisms(model.files() + SYNAPSE_FILES)
    pool = worker_pool(min(workers or cores(), TRIALS))
    try:
        most = round(math.log2(MOST / LEAST)) + HALVINGS
        with progress(f"finding the input of {model.name} for {target_hz:g} Hz", most, "rate scales") as advance:
            return _search(lambda scale: _rate_hz(pool, simulation, scale), target_hz, advance)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _search(rate_of: Callable[[float], float], target_hz: float, advance: Callable[[int, str], None]) -> RateScale:
    tried: list[tuple[float, float]] = []  # rates by scale

    def measure(scale: float) -> float:
        scale = float(f"{scale:.3g}")
        tried.append((scale, rate_of(scale)))
        advance(1, f"({scale:g}: {tried[-1][1]:.3g} Hz)")
        return tried[-1][1]

    scale = LEAST
    while measure(scale) < target_hz:
        scale *= 2.0
        if scale > MOST:
            best, rate_hz = max(tried, key=lambda one: one[1])
            raise InputError(
                f"no rate scale up to {MOST:g} makes the cell fire at {target_hz:g} Hz; {best:g} gives most, "
                f"{rate_hz:.3g} Hz: use a lower --target-hz"
            )
    low, high = scale / 2.0, scale
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if measure(middle) < target_hz:
            low = middle
        else:
            high = middle
    best, rate_hz = min(tried, key=lambda one: (abs(one[1] - target_hz), one[0]))
    return RateScale(best, rate_hz, TRIALS * DURATION_MS / 1000.0)


def _rate_hz(pool: ProcessPoolExecutor, simulation: Simulation, rate_scale: float) -> float:
    """Mean output rate over the short trials [Hz]."""
    tried = simulation.model_copy(update={"inputs": Modulated(rate_scale=rate_scale), "engine": "neuron"})
    spikes = list(pool.map(_spikes, [tried] * TRIALS, range(FIRST_TRIAL, FIRST_TRIAL + TRIALS)))
    return 1000.0 * sum(spikes) / (TRIALS * DURATION_MS)


def _spikes(simulation: Simulation, trial: int) -> int:
    """Output spikes of a short trial, in a worker."""
    cell = built_cell(simulation)
    events = draw_events(cell.tree, simulation.inputs, DURATION_MS, trial_rng(simulation.seed, trial))
    return len(run_trial(cell, events, DURATION_MS, simulation.dt_ms, simulation.method)[1])
