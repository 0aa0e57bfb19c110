"""A twin over the inputs of many trials, of any length, written in the format of the simulator's recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray

from dendrotwin.cell.spikes import predicted_spikes
from dendrotwin.cell.tree import Events, Injection
from dendrotwin.errors import InputError
from dendrotwin.models.cable import Cable
from dendrotwin.recording import Recording
from dendrotwin.twin import CHUNK_MS, POSSIBLE_MV, Twin, run

Floats = NDArray[np.float32]


def predict(
    twin: Twin,
    events: Sequence[Events],
    steps: int,
    true_mV: NDArray[np.floating] | None = None,
    chunk_ms: int = CHUNK_MS,
    injections: Sequence[Injection | None] | None = None,
) -> tuple[Floats, Floats]:
    """Predict whole trials from rest, as one batch; the result does not depend on `chunk_ms`.

    Free-running, the twin sees input events only, never the true potential: this is what a free-running twin always
    does, and a twin that predicts one step ahead where no truth is given; it then sees its own predictions, held
    within `twin.POSSIBLE_MV`.

    Args:
        twin: the twin.
        events: of each trial.
        steps: duration of all trials [ms].
        true_mV: (trials, steps, n) true potentials [mV]: predict each step from those before it.
        chunk_ms: how much is evaluated at once [ms].
        injections: current injected in each trial, for a twin that takes it (the cable twin).

    Returns:
        V (trials, steps, n) [mV], and the probability of an output spike in each step (trials, steps).

    Raises:
        InputError: events or injections do not fit the cell or the duration, the twin does not look at true
            potentials, or knows no injected current.
    """
    if true_mV is not None and not twin.one_step_ahead:
        raise InputError("this twin is free-running and looks at no true potential; leave it away")
    for trial in events:
        trial.check(twin.tree.n_inputs, steps)
    _check_injections(twin, injections, len(events), steps)
    if isinstance(twin.network, Cable):
        return twin.network.simulate(events, steps, injections)
    v = np.empty((len(events), steps, twin.tree.n), dtype=np.float32)
    probability = np.empty((len(events), steps), dtype=np.float32)
    z_rest = z_true = z_range = None
    if twin.one_step_ahead:
        z_rest, *limits = (
            twin.scaling.normalise(torch.full((twin.tree.n,), mV)) for mV in (twin.tree.v_init_mV, *POSSIBLE_MV)
        )
        z_range = limits[0], limits[1]
    if true_mV is not None:
        z_true = twin.scaling.normalise(torch.from_numpy(true_mV.astype(np.float32)))
    twin.network.eval()
    for time, z, logit in run(twin.network, twin.tree, events, steps, z_rest, z_true, z_range, chunk_ms):  # type: ignore[arg-type]
        v[:, time] = twin.scaling.restore(z.cpu()).numpy()
        probability[:, time] = torch.sigmoid(logit.cpu()).numpy()
    return v, probability


def _check_injections(twin: Twin, injections: Sequence[Injection | None] | None, trials: int, steps: int) -> None:
    """Whether injected currents fit the trials and the twin."""
    if injections is None:
        return
    if len(injections) != trials:
        raise InputError(f"there are {len(injections)} injections for {trials} trials; give one, or None, for each")
    for injection in injections:
        if injection is not None:
            injection.check(twin.tree.n, steps)
    injected = any(injection is not None and np.any(injection.current_nA) for injection in injections)
    if injected and not isinstance(twin.network, Cable):
        raise InputError(
            f"current is injected, which a {twin.architecture} twin does not know; a cable twin does, or predict "
            "trials without it"
        )


def twin_predictor(twin: Twin, feed_back: bool = False) -> Callable[[Recording], tuple[Floats, Floats]]:
    """A twin as `evaluate` takes predictors: a recording to V (steps, n) [mV] and spike probabilities (steps,).

    Args:
        twin: the twin; of the recordings, a free-running one sees the input only.
        feed_back: let a twin that predicts one step ahead see its own predictions in place of the true potential.
    """

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        truth = recording.v_mV if twin.one_step_ahead and not feed_back else None
        trial = (recording.trial_id, recording.events, recording.steps, recording.injection)
        (predicted,) = predict_recordings(twin, [trial], [truth])
        assert predicted.spike_probability is not None
        return predicted.v_mV, predicted.spike_probability

    return predictor


def predict_recordings(
    twin: Twin,
    trials: Sequence[tuple[str, Events, int, Injection | None]],
    true_mV: Iterable[NDArray[np.floating] | None] = repeat(None),
) -> Iterator[Recording]:
    """Predictions as recordings, one after the other; free-running where no truth is given.

    Args:
        twin: the twin.
        trials: identity, input events, duration [ms] and injected current of each trial.
        true_mV: true potentials of each trial (steps, n) [mV], to predict one step ahead, or None.

    Raises:
        InputError: events do not fit, or current is injected into a twin that does not know it.
    """
    for (trial_id, events, steps, injection), truth in zip(trials, true_mV, strict=False):
        v, probability = predict(twin, [events], steps, None if truth is None else truth[None], injections=[injection])
        spikes = predicted_spikes(probability[0], twin.threshold)
        yield Recording(twin.tree, v[0], events, spikes, trial_id, injection, probability[0])
