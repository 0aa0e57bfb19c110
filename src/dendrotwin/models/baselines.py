"""Baselines: predictors that learn little or nothing, with which every other one is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from dendrotwin.cell.tree import Tree
from dendrotwin.recording import SETTLE_MS, Recording
from dendrotwin.recording.trials import TrialIndex, read_trial
from dendrotwin.solver.coarse import coarse_cable
from dendrotwin.solver.conductances import components, synaptic_conductances

Floats = NDArray[np.float32]
# A trial to its potentials (steps, n) [mV] and a score for each step (steps,), the higher the likelier a spike.
# Predictors get the whole recording; all but persistence look at its input only.
Predictor = Callable[[Recording], tuple[Floats, Floats]]
# Of the linear baseline, relative to the mean square of the conductances; the best is chosen on validation trials.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TYPICAL_US, TYPICAL_MV = 1e-4, -70.0  # what its conductances and potentials are scaled by: numbers near 1


def mean_predictor(mean_mV: NDArray[np.floating]) -> Predictor:
    """Baseline: the mean potential of each compartment over the training trials, whatever the input.

    Args:
        mean_mV: (n,) these means [mV].
    """

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = np.broadcast_to(mean_mV.astype(np.float32), recording.v_mV.shape)
        return v, v[:, recording.tree.soma]

    return predictor


def persistence_predictor() -> Predictor:
    """Baseline of one step ahead: V(t) = V(t - 1), from the true potential."""

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        start = np.full((1, recording.tree.n), recording.tree.v_init_mV, dtype=np.float32)
        v = np.concatenate([start, recording.v_mV[:-1]])
        return v, v[:, recording.tree.soma]

    return predictor


def cable_predictor() -> Predictor:
    """Baseline: the coarse cable, which learns nothing (see `solver.tree_solver.coarse_cable`)."""

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = coarse_cable(recording.tree, [recording.events], recording.duration_ms, [recording.injection])[0]
        return v, v[:, recording.tree.soma]

    return predictor


def linear_predictor(tree: Tree, train: Sequence[TrialIndex], validation: Sequence[TrialIndex]) -> Predictor:
    """Baseline: a ridge regression of all potentials on the synaptic conductances, computed exactly.

    Its one penalty, relative to the mean square of the conductances, is the best of PENALTIES on the validation trials.

    Args:
        tree: the cell.
        train: trials that the weights are from.
        validation: trials that the penalty is chosen on.
    """

    def filtered(recording: Recording) -> Floats:
        chunks = [chunk[:, :, 0] for chunk in synaptic_conductances(tree, [recording.events], recording.duration_ms)]
        return np.concatenate(chunks) / TYPICAL_US

    size = len(components(tree)[0])

    def products(trials: Sequence[TrialIndex]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """X'X, X'V and the sum of V^2: all that the weights and their error need, however many trials there are."""
        gram, cross, squares = np.zeros((size + 1, size + 1)), np.zeros((size + 1, tree.n)), 0.0
        for trial in trials:
            recording = read_trial(trial, tree)
            x = np.column_stack([filtered(recording), np.ones(recording.duration_ms, np.float32)])[SETTLE_MS:]
            # Single precision is enough for the sums of a trial, and twice as fast.
            v = recording.v_mV[SETTLE_MS:] - TYPICAL_MV
            gram, cross, squares = gram + x.T @ x, cross + x.T @ v, squares + float((v.astype(np.float64) ** 2).sum())
        return gram, cross, squares

    gram, cross, _ = products(train)
    check_gram, check_cross, check_squares = products(validation)
    scale = np.trace(gram[:size, :size]) / size or 1.0  # silent inputs
    best, best_error = cross, np.inf
    for penalty in PENALTIES:
        ridge = np.append(np.full(size, penalty * scale), 0.0)  # the constant is not penalised
        weights = cho_solve(cho_factor(gram + np.diag(ridge)), cross)
        error = float((weights * (check_gram @ weights - 2.0 * check_cross)).sum()) + check_squares
        if error < best_error:
            best, best_error = weights, error

    def predictor(recording: Recording) -> tuple[Floats, Floats]:
        v = (filtered(recording) @ best[:size] + best[size] + TYPICAL_MV).astype(np.float32)
        return v, v[:, tree.soma]

    return predictor
