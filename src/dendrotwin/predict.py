"""A twin over the inputs of many trials, of any length, written in the format of the simulator's recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dendrotwin.dataset import event_counts
from dendrotwin.errors import InputError
from dendrotwin.measures import predicted_spikes
from dendrotwin.recording import Recording
from dendrotwin.tree import Events, Injection
from dendrotwin.twin import Twin

CHUNK_MS = 1000


def predict(
    twin: Twin, events: Sequence[Events], steps: int, chunk_ms: int = CHUNK_MS
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Free-running prediction: the twin sees input events only, never the true potential.

    Time is cut into chunks, each evaluated with the history before it, so that memory does not grow with the
    duration; the result does not depend on where it is cut.

    Args:
        twin: the twin.
        events: of each trial; all trials are evaluated as one batch.
        steps: duration of all trials [ms].
        chunk_ms: duration of a chunk [ms].

    Returns:
        V (trials, steps, n) [mV], and the probability of an output spike in each step (trials, steps).

    Raises:
        InputError: events do not fit the cell or the duration.
    """
    for trial in events:
        trial.check(twin.tree.n_inputs, steps)
    v = np.empty((len(events), steps, twin.tree.n), dtype=np.float32)
    probability = np.empty((len(events), steps), dtype=np.float32)
    for start in range(0, steps, chunk_ms):
        stop = min(start + chunk_ms, steps)
        counts = np.stack([event_counts(t, twin.tree.n_inputs, start - twin.history, stop) for t in events])
        v[:, start:stop], probability[:, start:stop] = twin.forward(counts)
    return v, probability


def predict_recordings(twin: Twin, trials: Sequence[tuple[str, Events, int, Injection | None]]) -> Iterator[Recording]:
    """Predictions as recordings, one after the other.

    Args:
        twin: the twin.
        trials: identity, input events, duration [ms] and injected current of each trial.

    Raises:
        InputError: events do not fit, or current is injected: the networks here know synaptic events only.
    """
    for trial_id, events, steps, injection in trials:
        if injection is not None and np.any(injection.current_nA):
            raise InputError(
                f"trial {trial_id} has injected current, which a {twin.architecture} twin does not know; "
                "predict trials without it"
            )
        v, probability = predict(twin, [events], steps)
        spikes = predicted_spikes(probability[0], twin.threshold)
        yield Recording(twin.tree, v[0], events, spikes, trial_id, None, probability[0])
