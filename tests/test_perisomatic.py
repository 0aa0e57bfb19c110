"""Soma and axon on their own: the same steps as in the whole tree, and densities that are found again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dendrotwin import currents, perisomatic
from dendrotwin.dataset import event_counts
from dendrotwin.membrane import NO_TAPE, Learned, steps
from dendrotwin.models import build_network
from dendrotwin.models.cable import FINE, FOUND_AT, Cable
from dendrotwin.models.channels import GATES
from dendrotwin.perisomatic import _Near, start_perisomatic
from test_cable import TREE, cable
from test_currents import NAMES, record

AS_FINE = {"substeps": FINE}


def test_soma_and_axon_go_as_in_the_whole_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which all other compartments are led along the same straight lines."""
    _, network = build_network("cable", AS_FINE, TREE)
    assert isinstance(network, Cable)
    trial = record(network, 0, 700)
    monkeypatch.setattr(perisomatic, "read_trial", lambda trial, tree: trial)
    near = _Near(network)
    assert set(near.compartments[: near.own].tolist()) == set(np.flatnonzero(network.kind < 2).tolist())
    missed = near.missed(near.start, near.course(trial))  # type: ignore[arg-type]

    dendrites, learned = network.kind[network.sorted] == 2, network.learned(np.array(FINE, np.int32))
    whole = network.cell()
    cell = whole._replace(capacitance_nF=np.where(dendrites, perisomatic.HEAVY_NF, whole.capacitance_nF))
    arrays = Learned(*(tensor.detach().numpy().copy() for tensor in learned))
    arrays.density_uS[:, dendrites] = arrays.sk_uS[dendrites] = 0.0
    after = trial.v_mV[:, network.sorted].astype(np.float64)
    before = np.concatenate([np.full((1, TREE.n), TREE.v_init_mV), after[:-1]])
    out = np.empty_like(after)
    steps(
        cell, arrays, near.substeps, FOUND_AT, network.rest(cell, arrays, before[0]),
        network.opened(event_counts(trial.events, TREE.n_inputs, 0, 700)),
        np.where(dendrites, perisomatic.HEAVY_NF * (after - before), 0.0), before, 1.0, NO_TAPE, out, np.empty(700),
    )  # fmt: skip
    assert np.abs(missed).max() > 0.5
    assert missed == pytest.approx((after - out)[500:, ~dendrites], abs=0.02)


def test_how_predictions_are_made_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their substeps nor from when there are many: what follows recordings has its own."""
    trial = record(cable(2, substeps=FINE), 0, 700)
    monkeypatch.setattr(perisomatic, "read_trial", lambda trial, tree: trial)
    monkeypatch.setattr(currents, "read_trial", lambda trial, tree: trial)
    highest = 60 + int(trial.v_mV[60:690, TREE.soma].argmax())
    some, found = slice(highest - 50, highest + 10), []  # gates settle until the spike
    for options in ({}, {"substeps": (2, 5), "refine_at": 50.0}):
        network = cable(2, **options)
        near = _Near(network)
        missed = near.missed(near.start, near.course(trial))  # type: ignore[arg-type]
        rows, of_rounds = currents._rows(network, trial, network.groups[1].numpy())  # type: ignore[arg-type]
        torch.manual_seed(0)
        past = torch.from_numpy(trial.v_mV[None, some] - TREE.v_init_mV).float().transpose(1, 2)
        network.lead, network.config = 50, network.config.model_copy(update={"settle_ms": 30, "filter_ms": 20})
        counts = torch.from_numpy(event_counts(trial.events, TREE.n_inputs, some.start, some.stop))[None]
        with torch.no_grad():
            window = network(counts, past)[0]
        found.append([missed, rows, of_rounds, window.numpy()])
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_given_potentials_are_reached() -> None:
    """What stands beside soma and axon goes where the recording says, whatever flows there."""
    network = cable(1)
    near = _Near(network)
    n, rng = len(near.compartments), np.random.default_rng(0)
    after = rng.uniform(-70.0, -50.0, (20, n))
    before = np.concatenate([np.full((1, n), -60.0), after[:-1]])
    current = np.where(np.arange(n) < near.own, 0.0, perisomatic.HEAVY_NF * (after - before))
    opened = network.opened(np.zeros((TREE.n_inputs, 20), np.float32))
    out = np.empty_like(after)
    state = network.rest(near.cell, near.learned, before[0])
    steps(
        near.cell, near.learned, near.substeps, FOUND_AT, state, opened, current, before, 1.0, NO_TAPE,
        out, np.empty(20),
    )  # fmt: skip
    assert out[:, near.own :] == pytest.approx(after[:, near.own :], abs=0.02)


def test_densities_of_soma_and_axon_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a twin that fires, with other ones than those of the start; the error of the start all but goes."""
    _, truth = build_network("cable", AS_FINE, TREE)
    _, found = build_network("cable", {}, TREE)
    assert isinstance(truth, Cable)
    assert isinstance(found, Cable)
    near = np.flatnonzero(truth.kind < 2)
    with torch.no_grad():
        for name, factor in (("SKv3_1", 2.0), ("Im", 4.0), ("K_Pst", 0.2)):
            truth.parts[3][NAMES.index(name), near] += np.log(factor) / 0.3
        truth.reversal[1] = -1.0
    trials = [record(truth, k, 1500) for k in range(3)]
    assert sum(len(trial.spikes_ms) for trial in trials) > 0
    monkeypatch.setattr(perisomatic, "read_trial", lambda trial, tree: trial)

    def missed(network: Cable) -> float:
        here = _Near(network)
        errors = [here.missed(here.start, here.course(trial)) for trial in trials]  # type: ignore[arg-type]
        return float(np.mean(np.log1p((np.concatenate(errors) / 0.01) ** 2)))

    before = missed(found)
    start_perisomatic(found, trials)  # type: ignore[arg-type]
    assert missed(found) < before / 3
    assert found.reversal[1].item() == pytest.approx(-1.0, abs=0.3)  # of potassium, -95 mV; the start has -85
    density, true = (network.log_density().detach().exp().numpy() for network in (found, truth))
    assert density[NAMES.index("Im"), TREE.soma] == pytest.approx(true[NAMES.index("Im"), TREE.soma], rel=0.5)
    # Dendrites are left as they were.
    _, fresh = build_network("cable", {}, TREE)
    assert isinstance(fresh, Cable)
    dendrites = found.kind == 2
    assert torch.equal(found.log_density()[:, dendrites], fresh.log_density()[:, dendrites])
    assert torch.equal(found.calcium[2], fresh.calcium[2])


def test_kinetics_are_looked_at_where_reversal_potentials_explain_much_but_not_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(perisomatic, "REACH_UM", 80.0)  # the tree of the tests is coarse
    network, seen = cable(1), []
    trial = record(network, 0, 600)

    def found(costs: list[float]) -> tuple[_Near, np.ndarray]:
        left = iter(costs)
        seen.clear()

        def descend(search: perisomatic._Search, x: np.ndarray, *_: object) -> tuple[np.ndarray, float]:
            moves = search.high - search.low
            kinetics = search.near.per_kind(moves)[:, perisomatic.BORDERS[1] :] > 0
            seen.append((bool(moves[-1] > 0), kinetics.any(1).tolist(), search.near.own))
            return x + len(seen), next(left)

        monkeypatch.setattr(perisomatic, "_descend", descend)
        return perisomatic._fit(network, [trial])  # type: ignore[list-item]

    own = int((network.kind < 2).sum())
    nearest = [(False, [False] * 2, own), (True, [False] * 2, own)]
    for costs, steps_taken in (([0.5, 0.46], 1), ([0.4, 0.29], 3)):
        near, x = found(costs)
        assert seen == nearest
        assert x[0] - near.start[0] == steps_taken
        assert near.own == own
    near, x = found([0.5, 0.4, 1.0, 1.0])
    assert seen[:2] == nearest
    assert [one[:2] for one in seen[2:]] == [(True, [False] * 3), (True, [True, True, False])]
    assert near.own == own + int((network.tree.distance_um[network.kind == 2] < perisomatic.REACH_UM).sum()) > own


def test_kinetics_of_soma_and_axon_explain_what_densities_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a twin whose somatic sodium closes 6 mV lower, and whose Kv3 is twice as slow."""
    monkeypatch.setattr(perisomatic, "ITERATIONS", 8)
    _, truth = build_network("cable", AS_FINE, TREE)
    _, found = build_network("cable", {}, TREE)
    assert isinstance(truth, Cable)
    assert isinstance(found, Cable)
    closing, kv3 = list(GATES).index("somatic sodium h"), list(GATES).index("Kv3 m")
    with torch.no_grad():
        truth.shift[0, closing], truth.log_tau[0, kv3] = -2.0, 2.3
        near = _Near(found, 80.0)
        trial = record(truth, 0, 1000)
        assert len(trial.spikes_ms) > 0
        courses, x, costs = [near.course(trial)], near.start, []  # type: ignore[arg-type]
        with ThreadPoolExecutor(1) as pool:
            for far in (0.0, perisomatic.FAR_KINETICS):
                search = perisomatic._Search(near, courses, 0.0, far)
                x, _ = perisomatic._descend(search, x, pool, lambda _: None)
                error = search.missed(x)
                costs.append(float(np.log1p((error / 0.01) ** 2).mean()))
    assert costs[1] < 0.75 * costs[0]
    # The speed is found; where sodium closes, densities and other gates make up for. Dendrites keep theirs.
    assert near.per_kind(x)[0][perisomatic.BORDERS[2] + kv3] == pytest.approx(2.3, abs=0.8)
    assert not near.per_kind(x)[2][perisomatic.BORDERS[1] :].any()


def test_an_axon_on_a_dendrite_hangs_together_with_the_soma() -> None:
    """Node 0 is the soma, 3 a joint, 4 the axon, at the end of two dendrites; two more of these are next to nothing."""
    cell = SimpleNamespace(parent=np.array([-1, 0, 1, 2, 3, 2, 5]), node=np.array([0, 1, 2, 4, 5, 6]))
    nodes, outer = perisomatic._around(cell, np.array([0, 3]))  # type: ignore[arg-type]
    assert nodes.tolist() == [0, 1, 2, 3, 4]
    assert outer.tolist() == [1, 2]


def test_substeps_are_those_of_the_simulation_at_least() -> None:
    network = cable(1)
    assert network.fine_substeps().tolist() == [4, 16]
    network.late_ms.fill_(0.0125)
    assert network.fine_substeps().tolist() == [4, 40]


def test_nothing_to_learn_from_changes_nothing() -> None:
    network = cable(1)
    before = network.log_density().detach().clone()
    start_perisomatic(network, [])
    assert torch.equal(before, network.log_density())
