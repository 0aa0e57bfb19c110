"""Channels found by regression: charge that they carry is charge that moves, and known ones are found again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

from dendrotwin import currents as module
from dendrotwin import perisomatic
from dendrotwin.currents import start_from_currents
from dendrotwin.dataset import event_counts
from dendrotwin.inputs import Poisson, draw_events
from dendrotwin.membrane import NO_TAPE, Flows, Learned, Tape, flows, steps
from dendrotwin.models import build_network
from dendrotwin.models.cable import FINE, Cable
from dendrotwin.models.channels import CHANNELS
from test_cable import TREE, cable, window

NAMES = [channel.name for channel in CHANNELS] + ["SK"]


def test_flows_are_the_charge_that_moves() -> None:
    """Over the whole tree axial currents cancel: leak, channels and SK load the capacitances."""
    network = cable(1)
    cell, length, substeps = network.cell(), 20, np.array([2, 5], np.int32)
    learned = Learned(*(t.detach().numpy().copy() for t in network.learned(substeps)))
    opened, _, _ = window(network, length)
    n, refine_at = TREE.n, 4.0
    state = network.rest(cell, learned, np.full(n, -45.0))
    tape, out = Tape.empty(length, 5, n, state.gate.shape[0]), np.empty((length, n))
    steps(
        cell, learned, substeps, refine_at, state.copy(), opened._replace(uS=0 * opened.uS), np.zeros((1, n)),
        np.empty((0, n)), 0.0, tape,
        out, np.empty(length),
    )  # fmt: skip
    assert set(tape.level[:length].tolist()) == {0, 1}
    did = Flows.empty(length, len(learned.density_uS), n)
    flows(cell, learned, substeps, tape, np.ones(len(learned.density_uS), np.bool_), did)
    flow, calcium_uS = did.flow, did.calcium_uS
    many = substeps[tape.level[:length]]
    leak = np.array([(cell.leak_nA - cell.leak_uS * w.mean(0)).sum() for w in np.split(tape.w, np.cumsum(many))[:-1]])
    channels = (flow * np.concatenate([learned.density_uS, learned.sk_uS[None]])).sum((1, 2))
    loaded = ((out - np.concatenate([state.v_mV[None], out[:-1]])) * cell.capacitance_nF).sum(1)
    assert np.median(np.abs(channels)) > 1e-3
    assert loaded == pytest.approx(leak + channels, rel=1e-6, abs=1e-9)
    calcium = [k for k, channel in enumerate(CHANNELS) if channel.reversal_mV is None]
    assert (calcium_uS >= 0).all()
    assert (calcium_uS > 0).any()
    # A channel's flow is its open share times the distance to a potential that calcium alone changes.
    assert (np.abs(flow[:, calcium]).max((0, 2)) > 0).all()


def record(truth: Cable, number: int, length: int) -> SimpleNamespace:
    """A trial of a twin, with its own output spikes."""
    events = draw_events(TREE, Poisson(excitatory_hz=120, inhibitory_hz=10), length, np.random.default_rng(number))
    with torch.no_grad():
        v = truth(torch.from_numpy(event_counts(events, TREE.n_inputs, 0, length))[None])[0][0].numpy()
    v = v * truth.sd_mV.numpy() + truth.mean_mV.numpy()
    spikes = find_peaks(v[:, TREE.soma], height=-20.0)[0].astype(float)
    return SimpleNamespace(events=events, steps=length, v_mV=v, spikes_ms=spikes, number=number)


def test_channels_that_explain_the_potentials_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a twin with other channels than the start's: a millisecond ahead, hardly any of the start's error is left,
    and what a channel that is alone with its kinetics carries is found again."""
    _, truth = build_network("cable", {"substeps": FINE}, TREE)
    _, found = build_network("cable", {}, TREE)
    assert isinstance(truth, Cable)
    assert isinstance(found, Cable)
    with torch.no_grad():
        for name, factor in (("SKv3_1", 2.0), ("Im", 4.0), ("NaTs2_t", 2.0), ("K_Tst", 1e-6), ("Nap_Et2", 1e-6)):
            truth.parts[0][NAMES.index(name)] += np.log(factor)
    trials = [record(truth, k, 1500) for k in range(4)]
    assert max(trial.v_mV.max() for trial in trials) > 0
    monkeypatch.setattr(module, "ROUNDS", 8)
    monkeypatch.setattr(perisomatic, "ITERATIONS", 10)
    for reader in (module, perisomatic):
        monkeypatch.setattr(reader, "read_trial", lambda trial, tree: trial)
    groups = found.groups[1].numpy()

    def missed(network: Cable) -> float:
        rows = [module._rows(network, t, groups)[1] for t in trials]  # type: ignore[arg-type]
        return float(np.nanmedian(np.abs(np.concatenate(rows))))

    before = missed(found)
    start_from_currents(found, trials)  # type: ignore[arg-type]
    assert before > 0.5
    assert missed(found) < before / 20
    assert missed(truth) < 1e-3
    with torch.no_grad():
        density, true = found.log_density().exp().numpy(), truth.log_density().exp().numpy()
    assert np.median(density[NAMES.index("Nap_Et2")]) < 1e-5  # the start has 1e-4 and more
    # Kv3 alone lets potassium out that fast; it starts at half of the truth.
    k, soma = NAMES.index("SKv3_1"), TREE.soma
    assert density[k, soma] == pytest.approx(true[k, soma], rel=0.3)


def test_what_calcium_does_follows_what_makes_it() -> None:
    """Derivatives of SK's gate and of calcium's E, against steps with a little more of a channel, a gain, a decay."""
    network = cable(1, 0.2)
    cell, length, substeps = network.cell(), 60, np.array([4, 8], np.int32)
    learned = Learned(*(t.detach().numpy().copy() for t in network.learned(substeps)))
    learned.calcium_gain[:] *= 0.1  # so that E hardly changes, whose effect on the inflow the derivatives leave out
    opened, _, _ = window(network, length)
    n, refine_at = TREE.n, 16.0
    start, truth = network.rest(cell, learned, np.full(n, -30.0)), np.empty((length, n))
    steps(
        cell, learned, substeps, refine_at, start.copy(), opened, np.zeros((1, n)), truth[:0], 0.0, NO_TAPE, truth,
        np.empty(length),
    )  # fmt: skip
    truth = np.concatenate([start.v_mV[None], truth[:-1]])

    def run(of: Learned) -> Flows:
        tape, out = Tape.empty(length, 8, n, start.gate.shape[0]), np.empty((length, n))
        steps(
            cell, of, substeps, refine_at, start.copy(), opened, np.zeros((1, n)), truth, 1.0, tape, out,
            np.empty(length),
        )  # fmt: skip
        did = Flows.empty(length, len(of.density_uS), n)
        flows(cell, of, substeps, tape, np.ones(len(of.density_uS), np.bool_), did)
        return did

    did = run(learned)
    carriers = np.flatnonzero(module.CARRIERS)
    pools, slower = module._Pools(learned, len(carriers) + 2), np.array([0.0, 0.0, 0.0, 1.0])
    to_sk, to_mV = np.empty((2, length, len(carriers) + 2, n))
    for t in range(length):
        at = Flows(*(array[t : t + 1] for array in did))
        inflow = np.concatenate([at.flow[0, carriers], np.tile(-at.calcium_nA, (2, 1))])
        to_sk[t], to_mV[t] = pools.follow(at, inflow, slower)
    little = 1e-4
    for source in range(4):
        changed = Learned(*(array.copy() for array in learned))
        if source < 2:
            changed.density_uS[carriers[source]] *= 1 + little
            per = learned.density_uS[carriers[source]]
        else:
            (changed.calcium_gain, changed.calcium_ms)[source - 2][:] *= 1 + little
            per = np.ones(n)
        other = run(changed)
        mV = -learned.nernst_mV[0] * np.log(other.calcium_mM / did.calcium_mM) / little
        for found, true in ((to_mV[:, source] * per, mV), (to_sk[:, source] * per, (other.sk - did.sk) / little)):
            scale = np.abs(true).max()
            assert scale > 1e-8
            assert np.abs(found - true).max() < 0.1 * scale, source


def test_channels_that_explain_nothing_are_left_out() -> None:
    """Of channels that are there or not in two regions, those are kept that make a difference; noise is not."""
    rng = np.random.default_rng(0)
    channels, region, length = len(module.CARRIERS), np.array([0, 0, 1]), 400
    many, carrier = len(region), int(np.flatnonzero(module.CARRIERS)[0])
    rows = rng.normal(size=(length, many, channels * many + 6)).astype(np.float32)
    there = np.zeros((channels, many), np.bool_)
    there[[0, 2], :2], there[1:3, 2], there[-1, 2] = True, True, True
    density = np.where(there, 0.1, 0.0001)
    missed = rng.normal(scale=0.05, size=(length, many))
    missed[3, 1] = np.nan
    there[module.CARRIERS, 2] = True  # where SK is
    found = module._needed(rows, missed, 0.01, density, region)
    assert np.array_equal(found, there)
    assert not found[carrier, 0]
    # And where nothing is missed, the little that they do is needed.
    assert module._needed(rows, 1e-5 * missed, 0.01, density, region).all()


def test_output_spikes_are_looked_at() -> None:
    """They and what comes after, but not in soma and axon until some ms after them."""
    spikes, length = np.array([1000.4, 1010.0, 3000.0]), 4000
    picked, spiking = module._pick(spikes, length, 0)
    assert not picked[:500].any()
    assert picked[998:1035].all()
    assert picked[2998:3025].all()
    assert 300 < picked.sum() <= 600 + 37 + 27
    assert np.array_equal(np.flatnonzero(spiking), [*range(998, 1004), *range(1008, 1014), *range(2998, 3004)])
