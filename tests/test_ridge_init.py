"""The start of a training, against ordinary least squares on the exact conductances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dendrotwin.cell.tree import Tree
from dendrotwin.evaluation.split import Split, split_trials
from dendrotwin.models import build_model
from dendrotwin.models.networks.experts import ExpertConfig
from dendrotwin.models.scaling import Scaling, measure_scaling
from dendrotwin.recording import SETTLE_MS
from dendrotwin.recording.trials import TrialIndex, read_trial
from dendrotwin.solver.conductances import synaptic_conductances
from dendrotwin.training.config import Training
from dendrotwin.training.loop import _step
from dendrotwin.training.run import Run

SIZES = {"channels": (8, 8), "synapse_ms": 700, "ridge_penalty": 1e-9}  # long enough to be exact
EVERY_MS = ExpertConfig().ridge_every_ms


@pytest.fixture(scope="module")
def parts(data: Path) -> tuple[Tree, Split, Scaling]:
    tree, split = split_trials(data)
    return tree, split, measure_scaling(split.train)


def _least_squares(parts: tuple[Tree, Split, Scaling], trials: list[TrialIndex], autoregressive: bool) -> np.ndarray:
    """Predictions at the steps that the start looks at, (trials x steps, n), fitted to the training trials."""
    tree, split, scaling = parts

    def rows(trial: TrialIndex) -> tuple[np.ndarray, np.ndarray]:
        r = read_trial(trial, tree)
        x = np.concatenate(list(synaptic_conductances(tree, [r.events], r.duration_ms)))[:, :, 0].astype(float)
        z = scaling.normalise(torch.from_numpy(r.v_mV)).numpy().astype(float)
        at = np.arange(SETTLE_MS, r.duration_ms, EVERY_MS)
        known = np.column_stack([x[at] * 1e4, np.ones(len(at)), *([z[at - 1]] if autoregressive else [])])
        return known, z[at]

    known, asked = (np.concatenate(part) for part in zip(*map(rows, split.train), strict=True))
    weights = np.linalg.lstsq(known, asked, rcond=1e-9)[0]
    return np.concatenate([rows(trial)[0] for trial in trials]) @ weights


def _started(
    parts: tuple[Tree, Split, Scaling], trials: list[TrialIndex], autoregressive: bool, features: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the started network says there, (trials x steps, n), the truth, and the truth 1 ms before."""
    tree, split, scaling = parts
    _, network = build_model("hard-sharing", {**SIZES, "features": features}, tree, autoregressive)
    network.prepare(split.train, scaling)
    found, truth, before = [], [], []
    for trial in trials:
        r = read_trial(trial, tree)
        true = scaling.normalise(torch.from_numpy(r.v_mV))
        v, _ = network.predict([r.events], r.duration_ms, r.v_mV[None] if autoregressive else None)
        z = scaling.normalise(torch.from_numpy(v[0]))
        at = np.arange(SETTLE_MS, r.duration_ms, EVERY_MS)
        found.append(z.numpy()[at])
        truth.append(true.numpy()[at])
        before.append(true.numpy()[at - 1])
    return np.concatenate(found), np.concatenate(truth), np.concatenate(before)


def test_start_is_least_squares_on_the_conductances(parts: tuple[Tree, Split, Scaling]) -> None:
    tree, split, _ = parts
    trials = split.train[:2] + split.validation
    found, truth, _ = _started(parts, trials, False, features=tree.n)
    expected = _least_squares(parts, trials, False)
    assert found == pytest.approx(expected, abs=2e-2)
    assert float(((found - expected) ** 2).mean()) < 1e-4 * float(((found - truth) ** 2).mean())


def test_start_one_step_ahead_is_as_good_as_least_squares(parts: tuple[Tree, Split, Scaling]) -> None:
    """Potentials of neighbours are nearly the same, so that weights are not comparable, but errors are."""
    tree, split, _ = parts
    found, truth, before = _started(parts, split.train, True, features=tree.n)
    best = ((_least_squares(parts, split.train, True) - truth) ** 2).mean()
    persistence = ((before - truth) ** 2).mean()
    assert best <= ((found - truth) ** 2).mean() < 1.05 * best < 0.9 * persistence


def test_rank_is_that_of_the_features_and_keeps_the_mean(parts: tuple[Tree, Split, Scaling]) -> None:
    """The best projection of the full prediction, as principal components of that give it."""
    _, split, _ = parts
    found, truth, _ = _started(parts, split.train, False, features=3)
    full = _least_squares(parts, split.train, False)
    _, _, axes = np.linalg.svd(full - full.mean(0), full_matrices=False)
    expected = full.mean(0) + (full - full.mean(0)) @ axes[:3].T @ axes[:3]
    assert found == pytest.approx(expected, abs=2e-2)
    assert found.mean(0) == pytest.approx(truth.mean(0), abs=1e-3)
    assert np.linalg.matrix_rank(found - found.mean(0), tol=1e-2) == 3


def test_start_rate_holds_the_linear_paths_back(data: Path) -> None:
    """With rate 0 nothing of what the start has set moves, and all else does."""
    options = {"channels": (8, 8), "features": 8, "synapse_ms": 40}
    work = Run(data, Training(options=options, autoregressive=True, start_rate=0.0, steps=5, batch=2, window_ms=100))
    held = {id(p) for p in work.model.linear_paths()}
    assert len(held) == len(work.model.experts.synapses.weights) + 3
    before = {p: p.detach().clone() for p in work.model.parameters()}
    for step, batch in enumerate(work.batches(0, 3)):
        _step(work, step, batch)
    for p, old in before.items():
        assert torch.equal(p, old) == (id(p) in held)


def test_networks_without_a_linear_path_are_left_as_they_are(parts: tuple[Tree, Split, Scaling]) -> None:
    tree, split, scaling = parts
    for architecture, options in (("mmoe", {"preset": "paper"}), ("elm", {"memory": 4, "branches": 2})):
        _, network = build_model(architecture, options, tree)
        before = {name: tensor.clone() for name, tensor in network.named_parameters()}
        assert network.prepare(split.train, scaling) == []
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.named_parameters())
        assert torch.equal(network.scaling.sd_mV, scaling.sd_mV)
