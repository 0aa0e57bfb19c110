"""The steps on a GPU, in Triton's interpreter, beside those of the CPU."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="there is none for this system")

from dendrotwin.cell.membrane import (
    BOTH_C_MM,
    BOTH_V_MV,
    C_GRID_MM,
    PLANE_C_MM,
    PLANE_V_MV,
    SCHEME_C_MM,
    SCHEME_V_MV,
    V_GRID_MV,
    Gate,
    Ion,
    Mechanism,
    Membrane,
    Pool,
    Scheme,
    Term,
)
from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.models import cable
from dendrotwin.models.cable import Cable, gpu_stepper_class
from dendrotwin.solver import gpu
from dendrotwin.solver.accuracy import Accuracy, CableConfig
from dendrotwin.solver.axial import EliminationRounds
from dendrotwin.solver.cell_arrays import (
    FIXED_E,
    GATE_OVER,
    NERNST_E,
    OVER_C,
    OVER_V,
    OVER_VC,
    SCHEME_OVER,
    STATE_SCHEME_SIZE,
    STATE_SENSITIVITY,
    SYNAPSE_BLOCK,
    TABLE_V,
    TABLE_V_LINEAR_C,
    TABLE_VC,
    TERM_DRIVE,
)
from dendrotwin.solver.coarse import hines
from dendrotwin.solver.integrator.state import LEVEL, State, one_state
from dendrotwin.solver.stepper import Stepper

N = 6
NO_EVENTS = Events.sort(np.zeros(0), np.zeros(0))


def a_tree(n: int = N) -> Tree:
    """A soma with branches that meet in a joint, and inputs of five conductances."""
    ones, parent = np.ones(n), np.array([-1, *(max(i - 2, 0) for i in range(1, n))], np.int32)
    joined = np.append(parent, 0).astype(np.int32)  # the first two branches leave a joint
    joined[1 : min(n, 3)] = n
    area = np.append(1200.0, np.linspace(150.0, 300.0, n - 1))
    excitatory = Synapse(
        "exc",
        True,
        (
            Conductance(0.3, 3.0, 4e-4, 0.0),
            Conductance(2.0, 40.0, 4e-4, 0.0, mg_mM=1.0),
            Conductance(0.5, 9.0, 1e-4, 10.0, block=tuple(np.linspace(0.2, 1.0, 251))),
        ),
    )
    inhibitory = Synapse("inh", False, (Conductance(0.0, 8.0, 1e-3, -80.0), Conductance(0.2, 5.0, 1e-3, -75.0)))
    at = np.arange(1, n, dtype=np.int32)
    return Tree(
        parent=parent, region=np.where(np.arange(n) > 0, 1, 0).astype(np.int32), section=np.arange(n, dtype=np.int32),
        section_names=tuple(f"s{i}" for i in range(n)), x=0.5 * ones, ends_um=np.zeros((n, 2, 3)),
        length_um=20.0 * ones, diameter_um=ones, area_um2=area, distance_um=20.0 * np.arange(n), axial_parent=joined,
        axial_uS=np.append(np.append(0.0, np.geomspace(0.01, 0.04, n - 1)), 0.05), capacitance_nF=1e-5 * area,
        leak_uS=0.0 * ones, leak_mV=0.0 * ones, ih_uS=0.0 * ones, ih_mV=0.0 * ones, v_init_mV=-65.0,
        synapses=(excitatory, inhibitory), input_compartment=np.tile(at, 2),
        input_synapse=np.repeat(np.array([0, 1], np.int32), n - 1), input_weight=np.linspace(0.5, 1.5, 2 * n - 2),
    )  # fmt: skip


def sigmoid(x: np.ndarray, half: float, slope: float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-(x - half) / slope))


def bump(x: np.ndarray, least: float, most: float, middle: float, width: float) -> np.ndarray:
    return least + (most - least) / np.cosh((x - middle) / width)


def gate(name: str, half: float, slope: float, tau: tuple[float, float]) -> Gate:
    return Gate(name, sigmoid(V_GRID_MV, half, slope), bump(V_GRID_MV, *tau, half, 15.0))


def term(density: float, e: float, *powers: float, m: int, **more: object) -> Term:
    ion = str(more.pop("ion", ""))
    return Term(ion, np.array(powers), np.linspace(density, 1.4 * density, m), np.full(m, e), **more)  # type: ignore[arg-type]


def a_membrane(n: int = N) -> Membrane:
    """Every kind of gate, scheme, term and pool."""
    everywhere, soma = np.arange(n, dtype=np.int32), np.zeros(1, np.int32)
    some = everywhere[(n - 1) % 2 :: 2].copy()
    k, log_plane = len(some), np.log(PLANE_C_MM)[:, None]
    v_shape, c_shape = sigmoid(PLANE_V_MV, -35.0, 8.0)[None], sigmoid(log_plane, np.log(3e-4), 1.0)
    both = Gate("b", v_shape * c_shape, 1.0 + 9.0 * (1.0 - c_shape) * np.ones_like(v_shape), "ca")
    over_c = Gate("z", sigmoid(np.log(C_GRID_MM), np.log(4e-4), 0.4), np.full(len(C_GRID_MM), 3.0), "ca")

    def markov(x: np.ndarray, ion: str = "") -> Scheme:
        """closed, open and shut, with a third of what is missing flowing in; open where x is above 0."""
        up, down = 0.6 * sigmoid(x, 0.0, 1.0), 0.4 * sigmoid(-x, 0.0, 1.0)
        rates, inflow = np.zeros((*x.shape, 3, 3)), np.zeros((*x.shape, 3))
        rates[..., 0, 0], rates[..., 0, 1], rates[..., 1, 0], rates[..., 1, 1] = -up, down, up, -down - 0.1
        rates[..., 2, 1], rates[..., 2, 2], inflow[..., 0] = 0.1, -0.05, 0.02
        return Scheme((f"c{ion}", f"o{ion}", f"i{ion}"), rates, inflow, ion)

    ghk = np.stack([-0.02 * sigmoid(-V_GRID_MV, -20.0, 30.0), 0.5 * sigmoid(V_GRID_MV, 20.0, 30.0)])
    pump = 2e-6 * sigmoid(log_plane, np.log(2e-4), 0.7) * (1.0 + 0.004 * PLANE_V_MV[None])
    n_gate = gate("n", -45.0, 9.0, (0.8, 4.0))
    m_gate, h_gate = gate("m", -38.0, 6.0, (0.03, 0.25)), gate("h", -60.0, -6.0, (0.5, 6.0))
    n_gate, w_gate = gate("n", -45.0, 9.0, (0.8, 4.0)), gate("w", -40.0, 5.0, (1.0, 3.0))
    q_gate, r_gate = gate("q", -30.0, 6.0, (0.5, 2.0)), gate("r", -50.0, -9.0, (5.0, 20.0))
    of_both = markov((BOTH_V_MV + 50.0) / 7.0 + np.log(BOTH_C_MM / 3e-4)[:, None], "ca")
    schemes = (markov((SCHEME_V_MV + 40.0) / 7.0), markov(np.log(SCHEME_C_MM / 3e-4), "ca"), of_both)
    rectifier = 1e-3 * sigmoid(V_GRID_MV, -20.0, 9.0)
    sodium = term(0.06, 50.0, 3.0, 1.0, m=n)
    potassium = term(0.02, 0.0, 4.0, m=n, ion="k", moves=True), term(0.001, -85.0, 1.5, m=n, ion="k")
    calcium = (
        term(4e-4, 0.0, 2.0, 1.0, m=k, ion="ca", moves=True),
        term(1.0, 0.0, 2.0, 0.0, m=k, ion="ca", table=ghk, c_ion="ca"),
    )
    of_calcium = term(2e-3, -85.0, 1.0, 0.0, m=k), term(1e-3, -85.0, 0.0, 2.5, m=k)
    of_schemes = (
        term(1e-3, -85.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, m=n),
        term(5e-4, -80.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, m=n),
        term(5e-4, -75.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, m=n),
    )

    def mechanism(
        name: str, at: np.ndarray, gates: tuple[Gate, ...], terms: tuple[Term, ...], *start: float, **more: Any
    ) -> Mechanism:
        begin = np.array(start).reshape(-1, 1) * np.ones(len(at))
        return Mechanism(name, {}, at, gates, more.get("schemes", ()), terms, begin)

    begin = 0, *(0.8, 0.1, 0.1), *(0.9, 0.1, 0), *(0.9, 0.1, 0)
    mechanisms = (
        mechanism("leak", everywhere, (), (term(1e-4, -67.0, m=n),)),
        mechanism("na", everywhere, (m_gate, h_gate), (sodium,), 0.01, 0.6),
        mechanism("k", everywhere, (n_gate,), potassium, 0.1),
        mechanism("ca", some, (q_gate, r_gate), calcium, 0.01, 0.8),
        mechanism("sk", some, (over_c, both), of_calcium, 0.0, 0.0),
        mechanism("markov", everywhere, (w_gate,), of_schemes, *begin, schemes=schemes),
        mechanism("rectifier", soma, (), (term(1.0, 0.0, m=1, table=rectifier),)),
        mechanism("pump", some, (), (term(1.0, 0.0, m=k, ion="ca", table=pump, c_ion="ca"),)),
    )
    slow = np.append(0.0, np.full(n - 1, 0.01))
    pools = (
        Pool("cad", "ca", some, np.full(k, 0.02), np.full(k, 1e-4), np.full(k, -4.0), np.zeros(k)),
        Pool("kp", "k", everywhere, slow, np.full(n, 54.4), np.full(n, -30.0), np.full(n, -20.0)),
    )
    ions = (
        Ion("ca", np.full(n, 1e-4), np.full(n, 2.0), 13.3),
        Ion("k", np.full(n, 54.4), np.full(n, 2.5), 26.7),
    )
    return Membrane(34.0, mechanisms, pools, ions)


def firing(n: int = N) -> Membrane:
    """Sodium and potassium alone."""
    whole = a_membrane(n)
    (potassium,) = (m for m in whole.mechanisms if m.name == "k")
    fixed = Mechanism("kdr", {}, potassium.at, potassium.gates, (), (term(0.02, -85.0, 4.0, m=n),), potassium.start)
    return Membrane(34.0, (*whole.mechanisms[:2], fixed), (), ())


def inputs(tree: Tree) -> list[Events]:
    """Of two cells in 4 ms: events at any times; and many that come to one synapse in one millisecond."""
    rng = np.random.default_rng(0)
    many = Events.sort(rng.integers(0, tree.n_inputs, 12), rng.uniform(0, 4, 12))
    times = [0.25, 0.3, 0.3, 0.999, 2.0, 2.1, 2.2, 2.5, 2.75]
    return [many, Events.sort(np.append(np.zeros(9), [1, tree.n_inputs - 1]), np.append(times, [3.5, 2.0]))]


def injection(tree: Tree, steps: int, nA: float) -> Injection:
    """Into the soma by two electrodes from the second millisecond on, and out of the last compartment."""
    current = np.zeros((steps, 3))
    current[1:, :2], current[:, 2] = nA / 2, -0.002
    return Injection(np.array([0, 0, tree.n - 1], np.int32), current)


def cut(events: Events, start: int, stop: int) -> Events:
    a, z = np.searchsorted(events.time_ms, (start, stop))
    return Events(events.input[a:z], events.time_ms[a:z] - start)


def of_cpu(
    stepper: Stepper, events: Events, steps: int, current: Injection | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, State]:
    """V, peaks, solves, and the state at the end."""
    state = stepper.start()
    return *stepper.advance(state, events, steps, current), state


def assert_same_state(stepper: gpu.GPUStepper, found: gpu.BatchState, expected: list[State]) -> None:
    """To single precision; of the curvature, which is made of small differences, by how large they are in a spike."""
    there = stepper.get(found)
    least = State(v_mV=0.0, x=1e-6, c_mM=0.0, rise_uS=1e-12, decay_uS=1e-12, ionic=1e-9, curvature=1e-4, control=0.0)  # type: ignore[arg-type]
    for k, state in enumerate(expected):
        for part, true, atol in zip(one_state(there, k), state, least, strict=True):
            assert part.shape == true.shape
            assert part.dtype == true.dtype
            assert np.allclose(part, true, rtol=1e-4, atol=atol)
        assert there.control[k, :2].tolist() == state.control[:2].tolist()


def test_every_kind_is_what_the_cpu_computes() -> None:
    """Gates, schemes, terms, pools, synapses, blocks, currents; and nothing changes where time is cut."""
    tree, accuracy = a_tree(), Accuracy(min_steps=1, max_steps=16, tolerance_mV=0.6)
    cpu = Stepper(tree, a_membrane(), accuracy)
    net, steps = cpu.layout.arrays, 4
    assert {OVER_V, OVER_C, OVER_VC} == set(net.gate_row[:, GATE_OVER])
    assert {OVER_V, OVER_C, OVER_VC} == set(net.scheme_row[:, SCHEME_OVER])
    assert {FIXED_E, NERNST_E, TABLE_V, TABLE_V_LINEAR_C, TABLE_VC} == set(net.terms.row[:, TERM_DRIVE])
    assert {1.0, 1.5, 2.0, 2.5, 3.0, 4.0} <= set(net.terms.power.ravel())
    of_schemes = net.terms.state[net.terms.state[..., STATE_SENSITIVITY] >= 0][:, STATE_SCHEME_SIZE] > 0
    assert set(of_schemes) == {False, True}
    assert {-1, 0, 1} == set(net.synapses.row[:, SYNAPSE_BLOCK])
    assert (net.synapses.rise_ms == 0).any()
    events, currents = inputs(tree), [None, injection(tree, steps, 0.1)]
    expected = [of_cpu(cpu, *trial) for trial in zip(events, (steps, steps), currents, strict=True)]
    stepper = gpu.GPUStepper(cpu, "cpu")
    state = stepper.start(2)
    halves = []
    for start, stop in ((0, 1), (1, steps)):
        part = [None if c is None else Injection(c.compartment, c.current_nA[start:stop]) for c in currents]
        halves.append(stepper.advance(state, [cut(trial, start, stop) for trial in events], stop - start, part))
    v, peak = (torch.cat(both, 1).numpy() for both in zip(*halves, strict=True))
    for k, (v_mV, peak_mV, counts, _) in enumerate(expected):
        assert np.abs(v[k] - v_mV).max() < 1e-4
        assert np.allclose(peak[k], peak_mV, atol=1e-3)
        assert state.counts[k].tolist() == counts.tolist()
        assert np.ptp(v[k]) > 3.0
    assert_same_state(stepper, state, [one[-1] for one in expected])
    for r in range(2):  # both pools fill
        assert np.ptp([one[-1].c_mM[r] for one in expected]) > 5e-4 * cpu.layout.initial.c_mM[r].max()


def test_a_spike_takes_more_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one cell, while the other rests; in several tiles, and milliseconds that are done again."""
    monkeypatch.setattr(gpu, "TILE", 4)
    tree, steps, accuracy = a_tree(), 7, Accuracy(min_steps=1, max_steps=16, tolerance_mV=1.0)
    cpu = Stepper(tree, firing(), accuracy)
    currents = [None, injection(tree, steps, 0.5)]
    currents[1].current_nA[3:] = 0.0
    expected = [of_cpu(cpu, NO_EVENTS, steps, current) for current in currents]
    stepper = gpu.GPUStepper(cpu, "cpu")
    state = stepper.start(2)
    v, peak = stepper.advance(state, [NO_EVENTS] * 2, steps, currents)
    for k, (v_mV, peak_mV, counts, _) in enumerate(expected):
        assert np.abs(v[k].numpy() - v_mV).max() < 2e-3
        assert np.allclose(peak[k], peak_mV, atol=2e-3)
        assert state.counts[k].tolist() == counts.tolist()
    assert_same_state(stepper, state, [one[-1] for one in expected])
    assert expected[1][-1].control[LEVEL] < len(accuracy.levels) - 1  # fewer again
    assert peak[1, :, 0].max() > 0.0 > -900.0 > peak[0, :, 0].max()
    assert state.counts[1, 1] > 2 * state.counts[0, 1]


def test_trials_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `Cable.simulate` takes them on a card: the same whatever is held at once, and alone as beside others."""
    tree, steps = a_tree(3), 5
    network = Cable(tree, firing(3), CableConfig(accuracy="fast", tolerance_mV=5.0))
    rng = np.random.default_rng(1)
    events = [Events.sort(rng.integers(0, tree.n_inputs, 9), rng.uniform(0, steps, 9)) for _ in range(2)]
    currents = [injection(tree, steps, 0.02), None]
    v_mV, logit = network.predict(events, steps, injections=currents)
    network.gpu_stepper = gpu.GPUStepper(network.stepper, "cpu")
    monkeypatch.setattr(Cable, "device", torch.device("cuda"))  # the interpreter takes its place
    alone, _ = network.predict(events[1:], steps)
    monkeypatch.setattr(cable, "GPU_POTENTIALS", 2 * tree.n * 3)  # 3 ms, then 2
    v, logit_there = network.predict(events, steps, injections=currents)
    assert np.abs(v - v_mV).max() < 1e-4
    assert logit_there == pytest.approx(logit, abs=1e-3)
    assert np.array_equal(alone, v[1:])


def test_a_cable_knows_its_device() -> None:
    network = Cable(a_tree(3), firing(3), CableConfig())
    assert network.device == torch.device("cpu")
    assert not network.state_dict()
    network.gpu_stepper = None  # type: ignore[assignment]
    assert "gpu_stepper" not in vars(pickle.loads(pickle.dumps(network)))
    assert network.to("meta") is network
    assert network.device == torch.device("meta")
    assert "gpu_stepper" not in vars(network)


@pytest.mark.usefixtures("without_triton")
def test_triton_is_not_there() -> None:
    with pytest.raises(InputError, match=r"needs Triton on cuda:0 \(No module named 'triton'\); install triton, or"):
        gpu_stepper_class(torch.device("cuda:0"))


def solve_in_rounds(
    rounds: EliminationRounds, axial: np.ndarray, diagonal: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """As one would write it down: every node passes on what it has, and then hears from its neighbours."""
    g, diagonal, right = axial.copy(), diagonal.copy(), right.copy()
    kept = []
    for i, p, c in zip(rounds.node, rounds.parent, rounds.child, strict=True):
        down = g[c] if c >= 0 else 0.0
        kept.append((i, p, c, g[i], down))
        diagonal[p] -= g[i] ** 2 / diagonal[i]
        right[p] += g[i] * right[i] / diagonal[i]
        if c >= 0:
            diagonal[c] -= down**2 / diagonal[i]
            right[c] += down * right[i] / diagonal[i]
            g[c] = down * g[i] / diagonal[i]
    v = np.zeros(len(diagonal))
    v[0] = right[0] / diagonal[0]
    for i, p, c, up, down in reversed(kept):
        v[i] = (right[i] + up * v[p] + (down * v[c] if c >= 0 else 0.0)) / diagonal[i]
    return v


@settings(max_examples=60, deadline=None)
@given(nodes=st.integers(1, 60), path=st.booleans(), seed=st.integers(0, 2**31))
def test_rounds_solve_the_tree(nodes: int, path: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = np.array([-1, *(i - 1 if path else rng.integers(0, i) for i in range(1, nodes))], dtype=np.int32)
    axial = np.append(0.0, 10.0 ** rng.uniform(-4, 2, nodes - 1))
    own = 10.0 ** rng.uniform(-4, 1, nodes)
    right = rng.normal(size=nodes)
    rounds = EliminationRounds.of(parent)
    assert sorted(rounds.node.tolist()) == list(range(1, nodes))
    for start, stop in zip(rounds.first[:-1], rounds.first[1:], strict=True):
        of_round = set(rounds.node[start:stop].tolist())
        fed = [*rounds.parent[start:stop].tolist(), *(c for c in rounds.child[start:stop].tolist() if c >= 0)]
        assert not of_round & set(fed)
        assert len(set(rounds.parent[start:stop].tolist())) == stop - start > 0
    if path:
        assert len(rounds.first) - 1 <= np.ceil(np.log2(nodes)) + 1
    diagonal = own + axial + np.bincount(parent[1:], axial[1:], nodes)
    found = solve_in_rounds(rounds, axial, diagonal, right)
    expected, whole = right[:, None].copy(), own[:, None].copy()
    hines(parent, axial, whole, expected)
    assert np.allclose(found, expected[:, 0], rtol=1e-6, atol=1e-9 * np.abs(expected).max())


def outside(code: str) -> str:
    """What a program prints that does not interpret."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dendrotwin.solver import gpu
from dendrotwin.solver.gpu_arrays import (
    TILE, WARPS, BatchState, CellTensors, OutputTensors, StimulusTensors, WatchTensors,
)
from dendrotwin.solver.gpu_kernel import run
of = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32"}
signature = {
    "cell": CellTensors(*(of[gpu.dtype_of(name)] for name in CellTensors._fields)),
    "stimulus": StimulusTensors("*i32", "*i32", "*i32", "*i32", "*i32", "*fp64", "*fp64", "*i32", "*i32", "*fp64"),
    "watch": WatchTensors("*fp64", "*i32", "*fp64", "*i32", "*i32"),
    "batch": BatchState("*fp64", "*fp32", "*i32", "*fp64", "*i64", "*fp64", "*fp32"),
    "output": OutputTensors("*fp32", "*fp32", "*fp64", "*fp32", "*fp32", "*fp32"),
    "blocks": "i32", "tolerance": "fp32", "TILE": "constexpr",
}
assert list(signature) == run.arg_names
# What a launch says of a tensor that begins where sixteen bytes do.
aligned = {
    (at, k): [["tt.divisibility", 16]]
    for at, kind in enumerate(signature.values()) if isinstance(kind, tuple) for k in range(len(kind))
}
for architecture, attrs in ((80, aligned), (90, {})):
    source = ASTSource(run, signature=signature, constexprs={"TILE": TILE}, attrs=attrs)
    target = GPUTarget("cuda", architecture, 32)
    done = triton.compile(source, target=target, options={"num_warps": WARPS, "num_stages": 1})
    print(len(done.asm["cubin"]), done.asm["ptx"].count("bar.sync"))
"""


def test_the_kernel_compiles_for_a_card() -> None:
    """What the interpreter lets pass, a compiler may not: types that change in a loop, say. It needs no card."""
    for size, barriers in (line.split() for line in outside(COMPILE).splitlines()):
        assert int(size) > 10_000
        assert int(barriers) >= 15  # the interpreter needs none, a card all


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_card() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, torch
import test_gpu as t
from dendrotwin.cell.stimuli import Poisson, draw_events, trial_rng
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.models.cable import Cable
tree = t.a_tree(90)
events = [draw_events(tree, Poisson(), 100, trial_rng(7, k)) for k in range(3)]
currents = [None, None, t.injection(tree, 100, 0.5)]
for membrane in (t.a_membrane(90), t.firing(90)):
    network = Cable(tree, membrane, CableConfig())
    v_mV, _ = network.predict(events, 100, injections=currents)
    found, _ = network.to("cuda").predict(events, 100, injections=currents)
    print(np.median(np.abs(found - v_mV).max((1, 2))))
"""
    assert all(float(line) < 0.05 for line in outside(code).split())  # mV
