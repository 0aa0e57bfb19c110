"""The tree solve against dense algebra, the conductances against their integral, the cable against theory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from dendrotwin.cell.stimuli import Poisson, draw_events, trial_rng
from dendrotwin.cell.synapse import BLOCK_MV, Conductance, Synapse
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.solver.axial import EliminationOrder, axial_matrix
from dendrotwin.solver.coarse import coarse_cable, hines
from dendrotwin.solver.conductances import blocks, components, mean_time_course, synaptic_conductances
from test_recording import tree_with_inputs

NO_EVENTS = Events.sort(np.zeros(0), np.zeros(0))


def dense_matrix(parent: np.ndarray, axial: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """The matrix that `hines` solves, written out."""
    matrix = np.diag(diagonal)
    for i, (p, g) in enumerate(zip(parent, axial, strict=True)):
        if p >= 0:
            matrix[i, i] += g
            matrix[p, p] += g
            matrix[i, p] -= g
            matrix[p, i] -= g
    return matrix


@settings(max_examples=60, deadline=None)
@given(nodes=st.integers(1, 30), cells=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_hines_is_the_dense_solution(nodes: int, cells: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = np.array([-1, *(rng.integers(0, i) for i in range(1, nodes))], dtype=np.int32)
    axial = 10.0 ** rng.uniform(-4, 2, nodes)
    axial[0] = 0.0
    diagonal = 10.0 ** rng.uniform(-4, 1, (nodes, cells))
    diagonal[rng.random((nodes, cells)) < 0.2] = 0.0  # joints have no membrane
    diagonal[0] = np.maximum(diagonal[0], 1e-3)
    right = rng.normal(size=(nodes, cells))
    expected = [np.linalg.solve(dense_matrix(parent, axial, diagonal[:, c]), right[:, c]) for c in range(cells)]
    hines(parent, axial, diagonal, right)
    assert np.allclose(right.T, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())


def test_elimination_order() -> None:
    tree = tree_with_inputs()
    order = EliminationOrder.of(tree)
    assert (order.parent[1:] < np.arange(1, len(order.parent))).all()
    assert order.parent[0] == -1
    assert np.array_equal(order.compartment[order.position], np.arange(tree.n))


def test_time_course_is_the_mean_over_each_step() -> None:
    for synapse in tree_with_inputs().synapses:
        for g in synapse.conductances:

            def course(t: float, g: object = g) -> float:
                return g.g_max_uS * g.normalisation() * (np.exp(-t / g.decay_ms) - np.exp(-t / g.rise_ms))

            means = mean_time_course(g, 30)
            assert means == pytest.approx([quad(course, k, k + 1)[0] for k in range(30)], rel=1e-6)
            times = np.linspace(0, 30, 300_001)
            assert max(course(t) for t in times[::10]) == pytest.approx(g.g_max_uS, rel=1e-4)


def test_conductances_are_sums_of_time_courses() -> None:
    tree, steps = tree_with_inputs(), 450
    events = [draw_events(tree, Poisson(excitatory_hz=30, inhibitory_hz=30), steps, trial_rng(0, k)) for k in range(3)]
    found = np.concatenate(list(synaptic_conductances(tree, events, steps)))
    inputs, values = components(tree)
    assert found.shape == (steps, len(inputs), 3)
    conductances = [g for i in range(tree.n_inputs) for g in tree.synapses[tree.input_synapse[i]].conductances]
    for c, trial in enumerate(events):
        expected = np.zeros((steps, len(inputs)))
        for i, time in zip(trial.input, trial.bins(), strict=True):
            for k in np.flatnonzero(inputs == i):
                expected[time:, k] += mean_time_course(conductances[k], steps - time)
        assert found[:, :, c] == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert values.shape == (len(inputs), 6)


def test_weights_are_factors_on_conductances() -> None:
    tree = tree_with_inputs()
    heavy = dataclasses.replace(tree, input_weight=np.where(np.arange(tree.n_inputs) % 2, 3.0, 1.0))
    events = Events.sort(np.arange(tree.n_inputs), np.arange(tree.n_inputs) % 20)
    odd = np.arange(tree.n_inputs) % 2 == 1
    thrice = Events.sort(np.concatenate([events.input, *[np.flatnonzero(odd)] * 2]),
                         np.concatenate([events.time_ms, *[np.flatnonzero(odd) % 20] * 2]))  # fmt: skip
    assert np.allclose(coarse_cable(heavy, [events], 60), coarse_cable(tree, [thrice], 60), atol=1e-4)
    assert not np.allclose(coarse_cable(heavy, [events], 60), coarse_cable(tree, [events], 60), atol=0.01)


def test_a_single_exponential() -> None:
    g = Conductance(0.0, 5.0, 2e-4, 0.0)
    means = mean_time_course(g, 30)
    assert means == pytest.approx([2e-4 * quad(lambda t: np.exp(-t / 5.0), k, k + 1)[0] for k in range(30)], rel=1e-9)
    tree = tree_with_inputs()
    tree = dataclasses.replace(tree, synapses=(Synapse("x", True, (g,)), tree.synapses[1]))
    (found,) = synaptic_conductances(tree, [Events.sort(np.array([0]), np.array([4.9]))], 30)
    assert found[4:, 0, 0] == pytest.approx(means[:26], rel=1e-5)
    assert not found[:4].any()


def test_a_block_by_its_values_is_the_block() -> None:
    tree, steps = tree_with_inputs(), 100
    quick, nmda = tree.synapses[0].conductances
    by_values = dataclasses.replace(nmda, mg_mM=0.0, block=tuple(nmda.open_share(BLOCK_MV)))
    other = dataclasses.replace(
        tree, synapses=(dataclasses.replace(tree.synapses[0], conductances=(quick, by_values)), tree.synapses[1])
    )
    which, values = blocks(other)
    assert values.shape == (1, len(BLOCK_MV))
    assert which.tolist() == [0 if k % 2 and k < tree.n_inputs else -1 for k in range(len(which))]
    events = draw_events(tree, Poisson(excitatory_hz=60, inhibitory_hz=20), steps, trial_rng(0, 0))
    a, b = coarse_cable(tree, [events], steps), coarse_cable(other, [events], steps)
    assert np.ptp(a) > 10.0
    assert np.abs(a - b).max() < 0.02


def passive(tree: Tree) -> Tree:
    """The same tree without Ih."""
    return dataclasses.replace(tree, ih_uS=np.zeros(tree.n), leak_mV=np.full(tree.n, -70.0), v_init_mV=-70.0)


def test_cable_at_rest_stays_at_rest() -> None:
    v = coarse_cable(passive(tree_with_inputs()), [NO_EVENTS], 50)
    assert np.allclose(v, -70.0, atol=1e-4)


@pytest.mark.parametrize(("share", "bounded"), [(1.0, False), (0.003, True)])
def test_cable_follows_the_dense_equation(share: float, bounded: bool) -> None:
    """One step after the other, written out with a dense matrix, with synapses, magnesium block, Ih and injection."""
    tree, steps = tree_with_inputs(), 450
    rng = np.random.default_rng(1)
    tree = dataclasses.replace(tree, ih_uS=np.full(tree.n, 1e-4 * share), ih_mV=np.full(tree.n, -45.0))
    tree = dataclasses.replace(tree, capacitance_nF=share * tree.capacitance_nF, leak_uS=share * tree.leak_uS)
    events = draw_events(tree, Poisson(excitatory_hz=60, inhibitory_hz=60), steps, rng)
    injection = Injection(np.array([tree.n - 1, 0], dtype=np.int32), rng.normal(0, 0.02, (steps, 2)))
    g = np.concatenate(list(synaptic_conductances(tree, [events], steps)))[:, :, 0]
    inputs, values = components(tree)
    nodes = len(tree.axial_parent)

    def rates(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.00643 * (v + 154.9) / (np.exp((v + 154.9) / 11.9) - 1), 0.193 * np.exp(v / 33.1)

    v = np.full(tree.n, tree.v_init_mV)
    alpha, beta = rates(v)
    m = alpha / (alpha + beta)
    expected = np.empty((steps, tree.n))
    lacked = False
    for t in range(steps):
        alpha, beta = rates(v)
        m = alpha / (alpha + beta) + (m - alpha / (alpha + beta)) * np.exp(-(alpha + beta))
        diagonal, right = np.zeros(nodes), np.zeros(nodes)
        diagonal[: tree.n] = tree.capacitance_nF + tree.leak_uS + tree.ih_uS * m
        right[: tree.n] = tree.capacitance_nF * v + tree.leak_uS * tree.leak_mV + tree.ih_uS * m * tree.ih_mV
        for e, i in enumerate(injection.compartment):
            right[i] += injection.current_nA[t, e]
        for k, i in enumerate(inputs):
            at = tree.input_compartment[i]
            block = 1.0 / (1.0 + values[k, 4] * np.exp(-values[k, 5] * v[at]) / 3.57)
            current, slope = g[t, k] * block * (v[at] - values[k, 3]), g[t, k] * block
            slope += g[t, k] * values[k, 5] * block * (1.0 - block) * (v[at] - values[k, 3]) * (values[k, 4] > 0)
            diagonal[at] += slope
            right[at] += slope * v[at] - current
        lacking = np.maximum(0.5 * tree.capacitance_nF - diagonal[: tree.n], 0.0)
        lacked = lacked or lacking.any()
        diagonal[: tree.n] += lacking
        right[: tree.n] += lacking * v
        v = np.linalg.solve(dense_matrix(tree.axial_parent, tree.axial_uS, diagonal), right)[: tree.n]
        expected[t] = v
    found = coarse_cable(tree, [events], steps, [injection])[0]
    assert np.ptp(expected) > 5.0
    assert lacked == bounded  # with little capacitance the bound on NMDA's slope is reached
    assert np.allclose(found, expected, atol=1e-3)


def test_cells_of_a_batch_do_not_meet() -> None:
    tree, steps = tree_with_inputs(), 300
    events = [draw_events(tree, Poisson(excitatory_hz=30), steps, trial_rng(0, k)) for k in range(3)]
    together = coarse_cable(tree, events, steps)
    for c, trial in enumerate(events):
        assert np.allclose(coarse_cable(tree, [trial], steps)[0], together[c], atol=1e-4)


def test_cable_is_causal() -> None:
    tree, steps, at = tree_with_inputs(), 120, 70
    before = draw_events(tree, Poisson(excitatory_hz=30), steps, trial_rng(0, 0))
    extra = Events.sort(np.append(before.input, 0), np.append(before.time_ms, at))
    v, w = coarse_cable(tree, [before, extra], steps)
    assert np.array_equal(v[:at], w[:at])
    assert (v[at] != w[at]).any()


def test_charge_is_conserved_by_a_step() -> None:
    """What is injected charges the membrane, all of it, where nothing leaks."""
    tree = passive(tree_with_inputs())
    tree = dataclasses.replace(tree, leak_uS=np.zeros(tree.n))
    injection = Injection(np.array([2], dtype=np.int32), np.full((20, 1), 0.01))
    v = coarse_cable(tree, [NO_EVENTS], 20, [injection])[0].astype(np.float64)
    charge_pC = (tree.capacitance_nF * (v + 70.0)).sum(axis=1)
    assert charge_pC == pytest.approx(0.01 * np.arange(1, 21), rel=1e-3)


def test_uniform_tree_relaxes_with_its_time_constant() -> None:
    """A sealed, unstimulated tree with C/g the same everywhere: V - E shrinks by 1/(1 + dt/tau) in each step."""
    tree = passive(tree_with_inputs())
    tau_ms = 12.5
    tree = dataclasses.replace(tree, leak_uS=tree.capacitance_nF / tau_ms, v_init_mV=-50.0)
    v = coarse_cable(tree, [NO_EVENTS], 60)[0]
    expected = -70.0 + 20.0 / (1.0 + 1.0 / tau_ms) ** np.arange(1, 61)
    assert np.allclose(v, expected[:, None], atol=1e-3)


def test_axial_currents_follow_kirchhoff(rng: np.random.Generator) -> None:
    """Against the definition: with the joints' potentials solved for, what flows in along each edge."""
    tree = tree_with_inputs()
    nodes = len(tree.axial_parent)
    laplacian = np.zeros((nodes, nodes))
    for i, (p, g) in enumerate(zip(tree.axial_parent, tree.axial_uS, strict=True)):
        if p >= 0:
            laplacian[[i, p], [i, p]] += g
            laplacian[[i, p], [p, i]] -= g
    v = np.zeros((8, nodes))
    v[:, : tree.n] = rng.normal(-70, 10, (8, tree.n))
    joints = slice(tree.n, nodes)
    v[:, joints] = -np.linalg.solve(laplacian[joints, joints], laplacian[joints, : tree.n] @ v[:, : tree.n].T).T
    matrix = axial_matrix(tree)
    current = v[:, : tree.n] @ matrix
    assert np.allclose(current, -v @ laplacian[:, : tree.n], rtol=0, atol=1e-12 * np.abs(current).max())
    assert np.abs(current).max() > 1e-3
    assert np.abs(current.sum(axis=1)).max() < 1e-9 * np.abs(current).max()
    assert np.allclose(np.full((1, tree.n), -60.0) @ matrix, 0.0, atol=1e-12)


def test_wrong_input_to_the_cable() -> None:
    tree = tree_with_inputs()
    with pytest.raises(InputError, match="names input"):
        coarse_cable(tree, [Events.sort(np.array([tree.n_inputs]), np.array([0]))], 10)
    with pytest.raises(InputError, match="into compartment 99"):
        coarse_cable(tree, [NO_EVENTS], 10, [Injection(np.array([99], dtype=np.int32), np.zeros((10, 1)))])
