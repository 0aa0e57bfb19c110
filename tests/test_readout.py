"""The read-out of output spikes: the most likely one on what a twin predicts by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dendrotwin import readout
from dendrotwin.dataset import event_counts
from dendrotwin.models import build_network
from dendrotwin.models.cable import Cable
from dendrotwin.readout import learn_read_out
from test_cable import TREE
from test_currents import record


def test_it_expects_as_many_spikes_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bias, the most likely probabilities add up to the spikes; where they are, it says more than their rate."""
    _, truth = build_network("cable", {}, TREE)
    _, network = build_network("cable", {}, TREE)
    assert isinstance(truth, Cable)
    assert isinstance(network, Cable)
    with torch.no_grad():
        network.parts[0] += 0.1  # its spikes are not where the true ones are
    trials = [record(truth, k, 900) for k in range(3)]
    for trial in trials:
        at = np.zeros(trial.steps, np.float32)
        at[trial.spikes_ms.astype(int)] = 1.0
        trial.spike_train = lambda at=at: at
    monkeypatch.setattr(readout, "read_trial", lambda trial, tree: trial)
    monkeypatch.setattr(readout, "SETTLE_MS", 100)
    learn_read_out(network, trials)
    expected, spikes, loss = 0.0, 0.0, []
    for trial in trials:
        counts = torch.from_numpy(event_counts(trial.events, TREE.n_inputs, 0, trial.steps))[None]
        with torch.no_grad():
            logit = network(counts)[1][0, 100:]
        true = torch.from_numpy(trial.spike_train())[100:]
        expected, spikes = expected + float(torch.sigmoid(logit).sum()), spikes + float(true.sum())
        loss.append(torch.nn.functional.binary_cross_entropy_with_logits(logit, true, reduction="sum").item())
    rate = spikes / (3 * 800)
    blind = -spikes * np.log(rate) - (3 * 800 - spikes) * np.log(1 - rate)
    assert spikes > 5
    assert expected == pytest.approx(spikes, rel=0.02)
    assert sum(loss) < 0.7 * blind


def test_without_a_spike_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    _, network = build_network("cable", {}, TREE)
    assert isinstance(network, Cable)
    trial = record(network, 0, 200)
    trial.spike_train = lambda: np.zeros(trial.steps, np.float32)
    monkeypatch.setattr(readout, "read_trial", lambda trial, tree: trial)
    monkeypatch.setattr(readout, "SETTLE_MS", 100)
    before = {name: weight.clone() for name, weight in network.read.state_dict().items()}
    learn_read_out(network, [trial])  # type: ignore[list-item]
    assert all(torch.equal(weight, before[name]) for name, weight in network.read.state_dict().items())
