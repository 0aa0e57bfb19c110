"""Rows of a table: what the baselines see, where thresholds come from, and what a twin that sees the past is asked."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from dendrotwin.cell.tree import Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.evaluation.metrics import SpikeErrors, best_threshold
from dendrotwin.evaluation.predictors import (
    BASELINES,
    CLOSED_LOOP,
    Evaluation,
    baseline_rows,
    evaluate_predictor,
    evaluate_twin,
    twin_predictor,
)
from dendrotwin.evaluation.split import Split, split_trials
from dendrotwin.models import build_model
from dendrotwin.models.baselines import PENALTIES, cable_predictor, linear_predictor, persistence_predictor
from dendrotwin.models.scaling import measure_scaling
from dendrotwin.recording import Recording
from dendrotwin.recording.trials import read_trial
from dendrotwin.solver.coarse import coarse_cable
from dendrotwin.solver.conductances import synaptic_conductances
from dendrotwin.twin import Twin


@pytest.fixture(scope="module")
def tree_and_split(data: Path) -> tuple[Tree, Split]:
    return split_trials(data, 0.2, 0.2)


def test_thresholds_come_from_the_validation_trials(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    predictors = {
        "linear": linear_predictor(tree, split.train, split.validation),
        "coarse cable": cable_predictor(),
        "persistence": persistence_predictor(),
    }
    rows = {e.name: e for e in baseline_rows(tree, split.train, split.validation, split.test)}
    assert tuple(rows) == BASELINES
    for name, predictor in predictors.items():
        best = {}
        for part in ("validation", "test"):
            trials = [read_trial(trial, tree) for trial in getattr(split, part)]
            best[part] = best_threshold([r.spikes_ms for r in trials], [predictor(r)[1] for r in trials])
        assert rows[name].threshold == pytest.approx(best["validation"], abs=1e-4)
        assert abs(best["validation"] - best["test"]) > 1e-3  # else this test could not fail


def test_persistence_is_the_potential_of_the_step_before(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    recording = read_trial(split.test[0], tree)
    v, score = persistence_predictor()(recording)
    assert v.shape == recording.v_mV.shape
    assert np.array_equal(v[1:], recording.v_mV[:-1])
    assert np.all(v[0] == np.float32(tree.v_init_mV))
    assert np.array_equal(score, v[:, tree.soma])


def test_the_cable_gets_events_and_injected_current(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    recording = read_trial(split.test[0], tree)
    current = np.zeros((recording.duration_ms, 1))
    current[700:900] = 0.05
    injection = Injection(np.array([3], dtype=np.int32), current)
    v, score = cable_predictor()(dataclasses.replace(recording, injection=injection))
    assert np.array_equal(v, coarse_cable(tree, [recording.events], recording.duration_ms, [injection])[0])
    assert np.array_equal(score, v[:, tree.soma])
    without, _ = cable_predictor()(recording)
    assert np.array_equal(v[:700], without[:700])
    assert (v - without)[890, 3] > 1.0


def test_the_linear_baseline_is_chosen_as_if_all_was_kept_in_memory(tree_and_split: tuple[Tree, Split]) -> None:
    """Against a loop over the penalties with the validation errors themselves."""
    tree, split = tree_and_split

    def features(r: Recording) -> np.ndarray:
        g = np.concatenate(list(synaptic_conductances(tree, [r.events], r.duration_ms)))[:, :, 0].astype(float)
        return np.column_stack([g, np.ones(r.duration_ms)])

    for train, validation in ((split.train, split.validation), (split.train[:1], split.train[1:4])):
        x, v = ([f(read_trial(t, tree))[500:] for t in train] for f in (features, lambda r: r.v_mV.astype(float)))
        gram, cross = sum(a.T @ a for a in x), sum(a.T @ b for a, b in zip(x, v, strict=True))
        size = len(gram) - 1
        weights = []
        for penalty in PENALTIES:
            ridge = np.append(np.full(size, penalty * np.trace(gram[:size, :size]) / size), 0.0)
            weights.append(np.linalg.solve(gram + np.diag(ridge), cross))
        checks = [read_trial(t, tree) for t in validation]
        errors = [sum((((features(r) @ w - r.v_mV)[500:]) ** 2).sum() for r in checks) for w in weights]
        found, _ = linear_predictor(tree, train, validation)(checks[0])
        differences = [np.abs(found - features(checks[0]) @ w).max() for w in weights]
        assert int(np.argmin(differences)) == int(np.argmin(errors))
        assert min(differences) < 1e-2


def test_memory_of_the_linear_baseline_does_not_grow_with_the_trials(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    peaks = []
    for times in (1, 1, 30):  # the first fills caches
        tracemalloc.start()
        linear_predictor(tree, split.train[:1], split.validation * times)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


def test_summary_is_of_the_right_compartments(tree_and_split: tuple[Tree, Split]) -> None:
    tree, _ = tree_and_split
    ev = np.linspace(0.2, 0.9, tree.n)
    ev[tree.in_region("soma")], ev[tree.in_region("axon")] = -7.0, -9.0
    spikes = SpikeErrors(0.5, 0.1, 0.2, 0.3, 4.0, 10, 9)
    row = Evaluation("x", False, ev, ev - 1.0, 1.0 - ev, 2.0 - ev, spikes, 0.5).summary(tree)
    dendrites = np.isin(tree.region, np.unique(tree.region[tree.in_region("basal", "trunk", "oblique", "tuft")]))
    assert row["EV dendrite 5th percentile"] == pytest.approx(np.percentile(ev[dendrites], 5))
    assert row["EV dendrite median"] == pytest.approx(np.median(ev[dendrites]))
    assert row["EV dendrite worst"] == pytest.approx(ev[dendrites].min())
    assert row["EV soma"] == -7.0
    assert row["EV tuft median"] == pytest.approx(np.median(ev[tree.in_region("tuft")]))
    assert row["RMSE dendrite median mV"] == pytest.approx(np.median(1.0 - ev[dendrites]))
    assert (row["spikes auc"], row["spikes recall"], row["spikes rate_error_hz"]) == (0.5, 0.2, 4.0)


def _twin(tree: Tree, split: Split, *, autoregressive: bool, gain: float = 0.3) -> Twin:
    torch.manual_seed(0)
    options = {"channels": "4,4", "features": 4, "synapse_ms": 30}
    config, network = build_model("hard-sharing", options, tree, autoregressive)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= gain
    training = {"simulation": {}, "train_trials": [], "validation_trials": []}
    network.scaling.load_state_dict(measure_scaling(split.train).state_dict())
    return Twin("hard-sharing", config.model_dump(mode="json"), tree, network, 0.4, training)


def test_a_twin_that_sees_the_past_has_two_rows(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    twin = _twin(tree, split, autoregressive=True)
    ahead, in_loop = evaluate_twin("x", twin, split.test, 1)
    assert (ahead.name, in_loop.name) == ("x", f"x{CLOSED_LOOP} (1 trials)")
    assert (ahead.one_step_ahead, in_loop.one_step_ahead) == (True, False)
    direct = evaluate_predictor("x", twin_predictor(twin), tree, split.test, threshold=0.4)
    assert np.array_equal(ahead.ev, direct.ev)
    closed = evaluate_predictor("x", twin_predictor(twin, feed_back=True), tree, split.test[:1], threshold=0.4)
    assert np.array_equal(in_loop.ev, closed.ev)
    assert not np.allclose(ahead.ev, in_loop.ev)
    (free,) = evaluate_twin("y", _twin(tree, split, autoregressive=False), split.test)
    assert (free.name, free.one_step_ahead, free.threshold) == ("y", False, 0.4)


def test_a_twin_is_not_measured_on_current_that_it_does_not_see(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    recording = read_trial(split.test[0], tree)
    injection = Injection(np.array([0], dtype=np.int32), np.ones((recording.duration_ms, 1)))
    predictor = twin_predictor(_twin(tree, split, autoregressive=False))
    with pytest.raises(InputError, match="current is injected, which a network cannot take"):
        predictor(dataclasses.replace(recording, injection=injection))


def test_a_closed_loop_that_diverges_is_a_bad_row_not_an_error(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    _, in_loop = evaluate_twin("x", _twin(tree, split, autoregressive=True, gain=4.0), split.test, 1)
    assert np.nanmax(in_loop.ev) < -10.0
    assert np.isfinite(in_loop.rmse_mV).all()
    assert in_loop.rmse_mV.max() < 300.0
