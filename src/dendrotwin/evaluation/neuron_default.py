"""NEURON as a predictor: its own default beside the converged recording, on the same input."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.evaluation.predictors import Evaluation, evaluate_predictor
from dendrotwin.neuron.cell_of_data import simulation_of_data
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.neuron.trial import built_cell, run_trial
from dendrotwin.recording import Recording, RecordingFile, spike_train
from dendrotwin.recording.trials import TrialIndex, made_by
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import cores, worker_pool

DEFAULT = "NEURON's default"
DEFAULT_DT_MS, DEFAULT_METHOD = 0.025, "backward-euler"
Floats = NDArray[np.float32]


def _run(simulation: Simulation, trial: TrialIndex) -> tuple[Floats, Floats]:
    """V (steps, n) and, as a score, whether a millisecond holds an output spike."""
    cell = built_cell(simulation)
    with RecordingFile(trial.path) as file:
        events, injection = file.events(trial.number), file.injection(trial.number)
    v, spikes = run_trial(cell, events, trial.duration_ms, DEFAULT_DT_MS, DEFAULT_METHOD, injection)
    return v.astype(np.float32), spike_train(spikes, trial.duration_ms).astype(np.float32)


def neuron_row(tree: Tree, test: Sequence[TrialIndex], cell: str | Path | None = None) -> Evaluation:
    """NEURON's own default (backward Euler, 0.025 ms) on the test trials, against what they hold.

    Args:
        tree: the cell.
        test: trials that NEURON recorded more exactly, such as by Crank-Nicolson in steps of 0.025 ms.
        cell: the Python file of the cell, if it is none of dendrotwin's; see `neuron.cell_of_data`.

    Returns:
        Its row.

    Raises:
        InputError: the trials were not made by `simulate`, were made by NEURON's default itself, or are of a cell that
            is not named.
        FileError: a worker died.
    """
    made = [made_by(trial) for trial in test]
    if not all(made):
        raise InputError(
            "the trials were not made by `simulate`, so that NEURON cannot run them again; evaluate without --neuron"
        )
    simulations = [simulation_of_data(m, cell, str(trial.path)) for m, trial in zip(made, test, strict=True)]
    exact = all((s.dt_ms, s.method) != (DEFAULT_DT_MS, DEFAULT_METHOD) for s in simulations)
    if not exact:
        raise InputError("the trials are NEURON's default themselves; simulate with --dt 0.025 --method crank-nicolson")
    workers = min(cores(), len(test))
    with (
        worker_pool(workers) as pool,
        progress("NEURON's default", len(test), "trials") as advance,
    ):
        # Each trial's result is taken once, in the order of the trials.
        coming = pool.map(_run, simulations, test)

        def predictor(_: Recording) -> tuple[Floats, Floats]:
            advance(1)
            try:
                return next(coming)
            except BrokenProcessPool as error:
                raise FileError(f"a worker process died: {pool.death()}; run the same command again") from error

        return evaluate_predictor(DEFAULT, predictor, tree, test, threshold=0.5)
