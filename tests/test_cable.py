"""The cable twin: its steps against a slow version, its adjoint against finite differences, and the laws of cables."""

from __future__ import annotations

import dataclasses
import pickle
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dendrotwin
from dendrotwin import train as training_module
from dendrotwin.dataset import event_counts
from dendrotwin.errors import InputError
from dendrotwin.inputs import Poisson, draw_events
from dendrotwin.measures import SETTLE_MS
from dendrotwin.membrane import (
    NO_TAPE,
    THETA_LEAST,
    V_BIN_MV,
    V_BINS,
    V_LOW_MV,
    Arrivals,
    Learned,
    Tape,
    adjoint,
    steps,
    strides,
)
from dendrotwin.models import build_network
from dendrotwin.models.cable import CALCIUM_DECAY_MS, CALCIUM_GAMMA, NERNST_MV, SHARES, Cable, _kinds
from dendrotwin.models.channels import CHANNELS, GATES, QUICK_GATES, tables
from dendrotwin.predict import predict
from dendrotwin.recording import index_trials, made_by, read_trial
from dendrotwin.train import Training, train
from dendrotwin.tree import Events, Injection, Tree
from dendrotwin.twin import Twin
from test_recording import tree_with_inputs
from test_solve import dense_matrix

TREE = tree_with_inputs()


def cable(seed: int = 0, spread: float = 0.5, tree: Tree = TREE, **options: object) -> Cable:
    """A cable twin whose every parameter is off its start."""
    torch.manual_seed(seed)
    _, network = build_network("cable", options, tree)
    assert isinstance(network, Cable)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += spread * torch.randn_like(parameter)
    return network.eval()


def window(network: Cable, length: int, seed: int = 0) -> tuple[Arrivals, np.ndarray, np.ndarray]:
    """Conductances that events open, injected current and a truth to be nudged to, by node."""
    rng = np.random.default_rng(seed)
    events = draw_events(TREE, Poisson(excitatory_hz=60, inhibitory_hz=30), length, rng)
    opened = network.opened(event_counts(events, TREE.n_inputs, 0, length))
    n = TREE.n
    return opened, rng.normal(0, 0.05, (length, n)), rng.uniform(-80, -20, (length, n))


@pytest.mark.parametrize(
    ("nudge", "refine_at", "many"),
    [
        *((nudge, refine_at, 5) for nudge in (1.0, 0.3, 0.0) for refine_at in (1e-9, 4.0, 1e9)),
        (0.3, 1e-9, 16),  # what is slow changes with every other substep
        (0.0, 4.0, 16),
    ],
)
def test_adjoint_is_the_gradient(nudge: float, refine_at: float, many: int) -> None:
    network = cable(1)
    cell, length = network.cell(), 6
    substeps, threshold = np.array([2, many], np.int32), refine_at
    with torch.no_grad():
        learned = Learned(*(t.numpy().copy() for t in network.learned(substeps)))
    opened, injected, truth = window(network, length)
    rng = np.random.default_rng(2)
    start = network.rest(cell, learned, np.full(TREE.n, -45.0))
    start = start._replace(calcium_mM=start.calcium_mM * 3, gate=rng.uniform(0.1, 0.9, start.gate.shape))
    weight = rng.normal(size=(length, TREE.n))
    truth = truth if nudge else truth[:0]

    def loss(learned: Learned, opened: Arrivals, tape: Tape) -> float:
        out, peak = np.empty(weight.shape), np.empty(length)
        steps(cell, learned, substeps, threshold, start.copy(), opened, injected, truth, nudge, tape, out, peak)
        return float((weight * out).sum())

    tape = Tape.empty(length, many, TREE.n, start.gate.shape[0])
    none = NO_TAPE
    assert loss(learned, opened, tape) == loss(learned, opened, none)
    levels = set(tape.level[:length].tolist())
    assert levels == {1e-9: {1}, 4.0: {0, 1}, 1e9: {0}}[refine_at]
    grad, gain = Learned(*(np.zeros_like(a) for a in learned)), np.zeros(len(cell.rise_ms))
    adjoint(cell, learned, substeps, start.copy(), opened, injected, nudge, tape, weight, grad, gain)
    for name, values, found in zip(Learned._fields, learned, grad, strict=True):
        direction = rng.normal(size=values.shape) * np.abs(values)  # every entry of the field at once
        h = 1e-6
        up, down = (learned._replace(**{name: values + sign * h * direction}) for sign in (1, -1))
        numeric = (loss(up, opened, none) - loss(down, opened, none)) / (2 * h)
        assert (found * direction).sum() == pytest.approx(numeric, rel=1e-4, abs=1e-6), name
        assert numeric != 0.0, name
    for m in range(len(gain)):

        def scaled(factor: float, m: int = m) -> Arrivals:
            return opened._replace(uS=np.where(opened.kind == m, factor, 1.0) * opened.uS)

        factor = 1 + 1e-6
        numeric = (loss(learned, scaled(factor), none) - loss(learned, scaled(1 / factor), none)) / 2e-6
        assert gain[m] == pytest.approx(numeric, rel=2e-5, abs=1e-7)


NO_EVENTS = Events.sort(np.zeros(0), np.zeros(0))


def random_tree(seed: int, n: int) -> Tree:
    """Any branching, without joints, with diameters over four orders of magnitude, and two kinds of synapse."""
    rng = np.random.default_rng(seed)
    parent = np.array([-1, *(rng.integers(0, i) for i in range(1, n))], dtype=np.int32)
    diameter, length = 10.0 ** rng.uniform(-2, 2, n), rng.uniform(1, 40, n)
    area = np.pi * diameter * length
    axial = np.array([0.0, *(10.0 ** rng.uniform(-5, 1) for _ in range(1, n))])
    some = tree_with_inputs()
    return dataclasses.replace(
        some, parent=parent, region=np.array([0, *rng.integers(1, 6, n - 1)], dtype=np.int32),
        section=np.arange(n, dtype=np.int32), section_names=tuple(f"s[{i}]" for i in range(n)), x=np.full(n, 0.5),
        ends_um=np.zeros((n, 2, 3)), length_um=length, diameter_um=diameter, area_um2=area,
        distance_um=rng.uniform(0, 500, n), axial_parent=parent, axial_uS=axial, capacitance_nF=area * 1e-5,
        leak_uS=area * 5e-7, leak_mV=np.full(n, -70.0), ih_uS=area * 1e-7, ih_mV=np.full(n, -45.0),
        input_compartment=np.arange(n, dtype=np.int32), input_synapse=np.zeros(n, dtype=np.int32),
    )  # fmt: skip


def slow_millisecond(
    network: Cable, v: np.ndarray, opened: list[float], substeps: int, injected: np.ndarray
) -> np.ndarray:
    """The first millisecond from rest at `v`, compartment by compartment, with a dense matrix."""
    tree, learned = (
        network.tree,
        Learned(*(t.detach().numpy() for t in network.learned(np.array(network.config.substeps, np.int32)))),
    )
    cell, place, n, dt = network.cell(), network.back.numpy(), network.tree.n, 1.0 / substeps
    kind = np.repeat(np.arange(len(cell.gates)), np.diff(cell.first))
    grid = V_LOW_MV + V_BIN_MV * np.arange(V_BINS)
    level = list(network.config.substeps).index(substeps)
    stride = 2 if level else substeps  # what is slow changes once in a millisecond of a few substeps
    calcium_nA = np.zeros(n)
    many = learned.tables.shape[2]
    v = v.copy()
    gate = np.empty((n, many))
    calcium = np.full(n, 5e-5)
    sk = 1 / (1 + (0.00043 / calcium) ** 4.8)
    for i in range(n):
        q, low = kind[place[i]], int((v[i] - V_LOW_MV) / V_BIN_MV)
        gate[i] = learned.tables[0, q, :, low, 0]
    for s in range(substeps):
        diagonal, right, theta = np.zeros((3, n))
        for i in range(n):
            p = place[i]
            q = kind[p]
            for k in range(many):
                if k >= QUICK_GATES and s % stride > 0:
                    continue
                slow, changed = k >= QUICK_GATES, level == 1 and s == 0
                step = (5 if slow else 3) if changed else (6 if level else 2) if slow else level
                steady, keep = (np.interp(v[i], grid, learned.tables[step, q, k, :, c]) for c in (0, 1))
                gate[i, k] = steady + (gate[i, k] - steady) * keep
            c = tree.capacitance_nF[i] / dt
            if s % stride == 0:
                open_ = 1 / (1 + (0.00043 / calcium[i]) ** 4.8)
                ms = 0.5 + 0.5 * stride * dt if level == 1 and s == 0 else stride * dt
                sk[i] = open_ + (sk[i] - open_) * np.exp(-ms)
                calcium_nA[i] = 0.0
            currents = [(tree.leak_uS[i], tree.leak_mV[i]), (learned.sk_uS[p] * sk[i], learned.sk_mV[p])]
            for k in range(cell.activation.shape[1]):
                open_ = gate[i, cell.activation[q, k]] ** cell.power[q, k]
                open_ *= gate[i, cell.inactivation[q, k]] if cell.inactivation[q, k] >= 0 else 1.0
                e = learned.nernst_mV[0] * np.log(2.0 / calcium[i]) if cell.calcium[q, k] else learned.reversal_mV[k, p]
                currents.append((learned.density_uS[k, p] * open_, e))
                if cell.fast[q, k]:  # and what its activation gains while the potential moves
                    first = cell.activation[q, k]
                    lead = np.interp(v[i], grid, learned.tables[3 if level == 1 and s == 0 else level, q, first, :, 2])
                    gained = cell.power[q, k] * open_ / gate[i, first] * lead / 0.55
                    currents.append((-learned.density_uS[k, p] * gained * (e - v[i]), v[i]))
                if cell.calcium[q, k]:
                    calcium_nA[i] += learned.density_uS[k, p] * open_ * (v[i] - e) / stride
            for input_ in np.flatnonzero(tree.input_compartment == i):
                for g in tree.synapses[tree.input_synapse[input_]].conductances:
                    fine = 200
                    course = mean_time_course_over(g, s * dt, dt, fine) * opened[input_]
                    gain = np.exp(network.log_gain.detach().numpy())[class_of(network, g)]
                    if g.mg_mM > 0:
                        table = 1 / (1 + g.mg_mM * np.exp(-g.slope_per_mV * grid) / 3.57)
                        block = np.interp(v[i], grid, table)
                        steep = course * gain * block * (1 + g.slope_per_mV * (1 - block) * (v[i] - g.e_mV))
                        currents.append(
                            (steep, v[i] - course * gain * block * (v[i] - g.e_mV) / steep if steep else 0.0)
                        )
                    else:
                        currents.append((course * gain, g.e_mV))
            x = max(sum(g for g, _ in currents) / c, 0.0)
            theta[i] = max(0.55, 1 - (12 + x) / (24 + 6 * x + x * x))
            c /= theta[i]
            currents.append((c, v[i]))
            total = sum(g for g, _ in currents)
            right[i] = sum(g * e for g, e in currents) + injected[i]
            if total < 0.5 * c:
                right[i] += (0.5 * c - total) * v[i]
                total = 0.5 * c
            diagonal[i] = total
        w = np.linalg.solve(dense_matrix(tree.parent, tree.axial_uS, diagonal), right)
        v += (w - v) / theta
        if s % stride == stride - 1:
            tau = learned.calcium_ms[place]
            rest = np.maximum(1e-4 - calcium_nA * learned.calcium_gain[place] * tau, 1e-5)
            calcium = rest + (calcium - rest) * np.exp(-stride * dt / tau)
    return v


def mean_time_course_over(g: object, begin: float, dt: float, fine: int) -> float:
    """Mean of an event's conductance over a substep, by adding up."""
    t = begin + (np.arange(fine) + 0.5) / fine * dt
    return float((g.g_max_uS * g.normalisation() * (np.exp(-t / g.decay_ms) - np.exp(-t / g.rise_ms))).mean())


def class_of(network: Cable, g: object) -> int:
    row = (g.rise_ms, g.decay_ms, g.e_mV, g.mg_mM, g.slope_per_mV)
    return int(np.flatnonzero((network.classes == row).all(1))[0])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 12), level=st.integers(0, 1))
def test_a_millisecond_is_the_dense_solution(seed: int, n: int, level: int) -> None:
    tree = random_tree(seed, n)
    network = cable(seed, tree=tree, substeps=(1, 16), refine_at=1e9 if level == 0 else 1e-12)
    rng = np.random.default_rng(seed)
    injected = rng.normal(0, 0.05, n)
    opened = rng.integers(0, 3, n)
    cell = network.cell()
    learned = Learned(*(t.detach().numpy() for t in network.learned(np.array(network.config.substeps, np.int32))))
    place = network.back.numpy()
    v = rng.uniform(-90, -30, n)
    sorted_v = np.zeros(n)
    sorted_v[place] = v
    current = np.zeros((1, n))
    current[0, place] = injected
    state = network.rest(cell, learned, sorted_v)
    out, peak = np.empty((1, n)), np.empty(1)
    added = network.opened(opened[:, None].astype(np.float32))
    none = NO_TAPE
    steps(
        cell, learned, np.array([1, 16], np.int32), network.config.refine_at, state, added, current,
        np.empty((0, n)), 0.0, none, out, peak,
    )  # fmt: skip
    expected = slow_millisecond(network, v, list(opened), 1 if level == 0 else 16, injected)
    assert out[0, place] == pytest.approx(expected, rel=2e-5, abs=1e-3)


def passive(tree: Tree) -> Cable:
    """A cable twin without any channel."""
    network = cable(0, 0.0, dataclasses.replace(tree, ih_uS=np.zeros(tree.n)))
    with torch.no_grad():
        network.parts[0] -= 100.0
    return network


def as_twin(network: Cable) -> Twin:
    scaling = type("Scaling", (), {})()
    scaling.restore = lambda z: z * network.sd_mV + network.mean_mV
    return Twin("cable", {}, network.tree, scaling, network, 0.5, False, {})


def test_a_sealed_tree_relaxes_at_its_time_constant() -> None:
    """All compartments at one potential, the leak of all with one time constant: V decays as exp(-t/tau), with a tenth
    of the error of backward Euler."""
    tree = tree_with_inputs()
    tau = 12.0
    tree = dataclasses.replace(
        tree, leak_uS=tree.capacitance_nF / tau, leak_mV=np.full(tree.n, -70.0), v_init_mV=-50.0
    )  # fmt: skip
    errors = []
    for n in (2, 4, 8):
        network = passive(tree)
        network.config = network.config.model_copy(update={"substeps": (n, n)})
        v, _ = predict(as_twin(network), [NO_EVENTS], 60)
        expected = -70.0 + 20.0 * np.exp(-np.arange(1, 61) / tau)
        assert np.allclose(v[0], v[0, :, :1], atol=1e-4)  # nothing flows along the tree
        errors.append(np.abs(v[0, :, 0] - expected).max())
        euler = -70.0 + 20.0 * (1 + 1 / (n * tau)) ** -(n * np.arange(1.0, 61.0))
        assert errors[-1] < 0.12 * np.abs(euler - expected).max()
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


def test_no_charge_is_lost_in_a_step() -> None:
    """What is injected and what the leak carries is what loads the capacitances."""
    network = passive(tree_with_inputs())
    network.config = network.config.model_copy(update={"substeps": (1, 1)})
    tree = network.tree
    current = np.zeros((20, 1))
    current[3:, 0] = 0.1
    v, _ = predict(
        as_twin(network), [NO_EVENTS], 20, injections=[Injection(np.array([tree.n - 1], dtype=np.int32), current)]
    )
    before = np.concatenate([np.full((1, tree.n), tree.v_init_mV), v[0, :-1].astype(float)])
    loaded = ((v[0] - before) * tree.capacitance_nF).sum(1)
    w = before + THETA_LEAST * (v[0] - before)  # where currents are taken
    flown = (tree.leak_uS * (tree.leak_mV - w)).sum(1) + current[:, 0]
    assert loaded == pytest.approx(flown, abs=1e-5)
    assert np.abs(loaded).max() > 1e-2


def test_chunks_steps_and_batches_do_not_matter() -> None:
    network = cable(3)
    twin = as_twin(network)
    rng = np.random.default_rng(0)
    events = [draw_events(TREE, Poisson(excitatory_hz=40, inhibitory_hz=20), 200, rng) for _ in range(3)]
    whole = predict(twin, events, 200)
    for chunk in (1, 7, 100):
        cut = predict(twin, events, 200, chunk_ms=chunk)
        assert np.abs(cut[0] - whole[0]).max() < 1e-5
        assert np.abs(cut[1] - whole[1]).max() < 1e-5
    alone = predict(twin, events[1:2], 200)
    assert np.array_equal(alone[0][0], whole[0][1])
    assert np.ptp(whole[0]) > 5.0


def test_a_saved_state_resumes() -> None:
    network = cable(4)
    rng = np.random.default_rng(1)
    counts = torch.from_numpy(rng.poisson(0.02, (1, TREE.n_inputs, 120)).astype(np.float32))
    with torch.no_grad():
        whole, logit, _ = network(counts)
        _, _, state = network(counts[..., :70])
        rest, rest_logit, _ = network(counts[..., 70:], state=torch.from_numpy(state.numpy().copy()))
    assert torch.allclose(whole[:, 70:], rest, atol=1e-5)
    assert torch.allclose(logit[:, 70:], rest_logit, atol=1e-5)


def test_groups_are_one_kind_where_that_is_less_work() -> None:
    has = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]], dtype=bool)
    part, size = np.array([0, 0, 0, 0, 1]), np.array([10, 10, 500, 500, 500])
    first, together = _kinds(has, part, size)
    # A few compartments with one channel more or less, many without; another part has kinetics of its own.
    assert first == [0, 2, 4]
    assert np.array_equal(together, has[[1, 2, 4]])
    assert _kinds(has, part, 100 * size)[0] == [0, 1, 2, 4]


def test_what_is_slow_changes_about_eight_times_in_many_substeps() -> None:
    for many in range(1, 40):
        stride = strides(np.array([1, many], np.int32), 1)
        assert many % stride == 0
        assert many / stride >= min(many, 8)
    assert strides(np.array([3, 16], np.int32), 0) == 3
    assert strides(np.array([3, 16], np.int32), 1) == 2


def test_what_is_left_out_of_predictions_is_nothing() -> None:
    """Predictions leave out small channels and read tables in single precision."""
    network = cable(5)
    with torch.no_grad():  # no sodium in one region, neither calcium nor SK in another
        network.parts[0][:3, 0] -= 30.0
        network.parts[0][-4:, -1] -= 30.0
    smaller = network._compile(running=False).known.cell
    assert smaller.channels[0] < smaller.channels[1]
    assert smaller.pool.tolist() == [True] * (len(smaller.pool) - 1) + [False]
    counts = np.random.default_rng(1).poisson(0.02, (TREE.n_inputs, 150)).astype(np.float32)
    cell, learned = (
        network.cell(),
        Learned(*(t.detach().numpy() for t in network.learned(np.array(network.config.substeps, np.int32)))),
    )
    state = network.rest(cell, learned, np.full(network.tree.n, TREE.v_init_mV))
    out, peak = np.empty((150, network.tree.n)), np.empty(150)
    steps(
        cell, learned, np.array(network.config.substeps, np.int32), network.config.refine_at, state,
        network.opened(counts), np.zeros((1, network.tree.n)), np.empty((0, network.tree.n)), 0.0,
        NO_TAPE, out, peak,
    )  # fmt: skip
    with torch.no_grad():
        lean, _, _ = network(torch.from_numpy(counts)[None])
    assert np.abs(lean[0].numpy() + TREE.v_init_mV - out[:, network.back.numpy()]).max() < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"substeps": "0,4"}, "the first must be at least 1"),
        ({"substeps": "8,4"}, "the second not below it"),
        ({"nudge": "0,1"}, "both must lie above 0"),
        ({"refine_at": 0}, "greater than 0"),
    ],
)
def test_wrong_options(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_network("cable", options, TREE)


def test_it_sees_no_history() -> None:
    with pytest.raises(InputError, match="leave --history away"):
        build_network("cable", {}, TREE, history=True)


def test_training_learns(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the small cell, from far too many channels: the loss of guided windows falls, and the twin that is saved is
    the one at hand. What finds channels before a training is tested in `test_currents`."""

    def too_many(network: Cable, trials: object) -> None:
        with torch.no_grad():
            network.parts[0] += 2.0

    monkeypatch.setattr(training_module, "start_from_currents", too_many)
    options = {"filter_ms": 100, "settle_ms": 20}
    training = Training(
        architecture="cable", steps=40, round_steps=10, window_ms=30, batch=4, learning_rate=0.1, options=options
    )
    twin = train(data, tmp_path / "twin", training)
    weight = training.spike_weight  # spikes are read from what it predicts by itself, not from these windows
    losses = [point["training"] - weight * point["training_spikes"] for point in twin.training["curve"]]
    assert losses[-1] < 0.8 * losses[0]
    loaded = Twin.load(tmp_path / "twin")
    # Events act as late as in the simulation, half of its step.
    _, trials = index_trials(data)
    assert float(loaded.network.late_ms) == made_by(trials[0])["dt_ms"] / 2 > 0
    events = draw_events(twin.tree, Poisson(excitatory_hz=5, inhibitory_hz=2), 100, np.random.default_rng(0))
    assert np.array_equal(predict(twin, [events], 100)[0], predict(loaded, [events], 100)[0])


# S/cm2 in soma, axon, basal and apical dendrites, "shai2015" (Shai et al. 2015, doi:10.1371/journal.pcbi.1004090).
SHAI = {
    "NaTa_t": (0, 3.89618, 0, 0), "NaTs2_t": (0.998912, 0, 0, 0.021489), "Nap_Et2": (0, 0.005834, 0, 0),
    "K_Tst": (0, 0.077274, 0, 0), "K_Pst": (0, 0.188851, 0, 0), "SKv3_1": (0.338029, 0.473799, 0, 0.001808),
    "Ca_HVA": (6.44e-4, 2.22e-4, 0, 7.01e-4), "Ca_LVAst": (5.57e-4, 8.13e-4, 0, 0.2271264),
    "Im": (8e-6, 0.013322, 0, 9.9e-4), "SK_E2": (0.09965, 4.7e-5, 0, 2e-6),
}  # fmt: skip
CALCIUM = ((5.09e-4, 294.679571), (5.25e-4, 277.300774), (6.37e-4, 35.725651))  # gamma, decay [ms]: soma, axon, apical


def test_with_the_densities_of_the_model_it_is_the_model() -> None:
    """Kinetics, calcium, synapses and units against NEURON: the paper's cell in the twin's own steps, and a recording
    with spikes."""
    tree, (trial,) = index_trials(dendrotwin.TWINS / "l5pc.recording.h5")
    true = read_trial(trial, tree)
    _, network = build_network("cable", {}, tree)
    assert isinstance(network, Cable)
    apical = tree.in_region("oblique", "trunk", "tuft")
    column = np.select([tree.in_region("soma"), tree.in_region("axon"), apical], [0, 1, 3], 2)
    density = np.array([np.array(SHAI[name])[column] for name in [*(c.name for c in CHANNELS), "SK_E2"]])
    start_um = tree.distance_um[apical].min() - tree.length_um[apical][tree.distance_um[apical].argmin()] / 2
    from_start = tree.distance_um - start_um
    zone = apical & ((from_start < 685) | (from_start > 885))
    density[[c.name for c in CHANNELS].index("Ca_LVAst"), zone] *= 0.01
    with torch.no_grad():
        network.late_ms.fill_(made_by(trial)["dt_ms"] / 2)
        network.parts[3] += (torch.from_numpy(np.log(density + 1e-12)).float() - network.start) / SHARES[3]
        for part, (gamma, decay) in enumerate(CALCIUM):
            network.calcium[part] = torch.tensor([gamma / CALCIUM_GAMMA, decay / CALCIUM_DECAY_MS]).log()
        network.nernst[0] = np.log(12.0415 / NERNST_MV)  # the published model's calcium stands at 6.3 degC
    v, _ = predict(as_twin(network.eval()), [true.events], true.steps)
    late, ours = true.v_mV[SETTLE_MS:].astype(float), v[0, SETTLE_MS:].astype(float)
    ev = 1.0 - ((ours - late) ** 2).sum(0) / ((late - late.mean(0)) ** 2).sum(0)
    assert np.median(ev) > 0.97
    assert np.percentile(ev, 5) > 0.8


@pytest.mark.parametrize("name", ["axonal sodium m", "M current m"])
def test_a_gate_leads_as_the_moving_potential_lets_it(name: str) -> None:
    """From long to short substeps, against the gate's own equation in small steps along a ramp."""
    before, after, mV, rate = 0.25, 0.1, -50.0, 0.01  # ms, ms, mV, mV/ms
    grid = torch.linspace(mV - 0.5, mV + 0.5, 101, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    steady, keep, lead = tables(grid, (before, after), 0.0, zero, zero, [name])[0, 50].tolist()
    begin = steady + 0.05
    x, fine = begin, 20_000
    dt = (before + after) / fine
    to, tau = (values.numpy() for values in GATES[name](grid))
    stays = np.exp(-dt / tau[50])
    for k in range(fine):
        aim = np.interp(mV + rate * ((k + 0.5) * dt - before), grid, to)
        x = aim + (x - aim) * stays
    gained = x - (steady + (begin - steady) * keep)
    assert gained == pytest.approx(lead * rate * 2 * after, rel=0.01)
    assert abs(gained) > 1e-9
    # In steps of the simulation itself there is no lead: its gates know of none.
    own = tables(grid, (0.025, 0.025), 0.025, zero, zero, [name])[0, :, 2]
    assert own.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("injections", "message"),
    [
        ([Injection(np.array([0]), np.zeros((5, 1)))], "the trial needs"),
        ([Injection(np.array([100]), np.zeros((10, 1)))], "into compartment 100"),
        ([Injection([0], np.zeros((10, 1)))], "array of whole numbers"),  # type: ignore[arg-type]
        ([None, None], "2 injections for 1 trials"),
    ],
)
def test_injections_that_do_not_fit(injections: list, message: str) -> None:
    """Also where no current flows."""
    with pytest.raises(InputError, match=message):
        predict(as_twin(cable()), [NO_EVENTS], 10, injections=injections)


def test_what_is_compiled_follows_the_configuration_and_stays_behind() -> None:
    """Of copies and pickles; and a state goes on in the steps that are asked for then."""
    network = cable(1)
    events = torch.from_numpy(np.random.default_rng(3).poisson(0.05, (1, TREE.n_inputs, 40)).astype(np.float32))
    with torch.no_grad():
        v, _, state = network(events)
        for other in (deepcopy(network), pickle.loads(pickle.dumps(network))):
            assert torch.equal(other(events)[0], v)
        _, _, coarse = network(events, state=state)
        network.config = network.config.model_copy(update={"substeps": (4, 32)})
        _, _, fine = network(events, state=state)
        network._compiled = None
        assert torch.equal(network(events, state=state)[2], fine)
    assert not torch.equal(coarse, fine)
