"""The cable twin on a GPU: the tree in rounds against Hines, the kernel in Triton's interpreter against the CPU."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="there is none for this system")

import dendrotwin
from dendrotwin.errors import InputError
from dendrotwin.membrane_gpu import GPUCell
from dendrotwin.models import cable as cable_module
from dendrotwin.models.cable import LAGS, Cable
from dendrotwin.solve import Rounds, hines
from dendrotwin.tree import Tree
from test_cable import TREE, cable, random_tree


def solve_in_rounds(rounds: Rounds, axial: np.ndarray, diagonal: np.ndarray, right: np.ndarray) -> np.ndarray:
    """As one would write it down: every node passes on what it has, and then hears from its neighbours."""
    nodes = len(diagonal)
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
    v = np.zeros(nodes)
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
    membrane = 10.0 ** rng.uniform(-4, 1, nodes)
    right = rng.normal(size=nodes)
    rounds = Rounds.of(parent)
    assert sorted(rounds.node.tolist()) == list(range(1, nodes))
    for start, stop in zip(rounds.first[:-1], rounds.first[1:], strict=True):
        of_round = set(rounds.node[start:stop].tolist())
        fed = [*rounds.parent[start:stop].tolist(), *(c for c in rounds.child[start:stop].tolist() if c >= 0)]
        assert not of_round & set(fed)
        assert len(set(rounds.parent[start:stop].tolist())) == stop - start > 0
    if path:
        assert len(rounds.first) - 1 <= np.ceil(np.log2(nodes)) + 1
    diagonal = membrane + axial + np.bincount(parent[1:], axial[1:], nodes)
    found = solve_in_rounds(rounds, axial, diagonal, right)
    expected, whole = right[:, None].copy(), membrane[:, None].copy()
    hines(parent, axial, whole, expected)
    assert np.allclose(found, expected[:, 0], rtol=1e-6, atol=1e-9 * np.abs(expected).max())


def interpreted(network: Cable) -> Cable:
    """The same network, whose steps are those of the GPU."""
    compiled = network._compile(running=False)
    network._compiled = compiled._replace(on_gpu=GPUCell(compiled.known, torch.device("cpu")))
    return network


def assert_same_state(found: torch.Tensor, expected: torch.Tensor, n: int) -> None:
    """Each of its rows (potential, gates, concentration, conductances), relative to the largest in it."""
    rows = 1 + (found.shape[1] - 1 - 2 * (LAGS - 1)) // n
    a, b = (torch.tensor_split(state, n * torch.arange(1, rows), 1) for state in (found, expected))
    for row, true in zip(a, b, strict=True):
        assert torch.allclose(row, true, rtol=2e-4, atol=2e-5 * float(true.abs().max()))


def inputs(tree: Tree, steps: int) -> tuple[torch.Tensor, np.ndarray]:
    """Events of three cells, the first of which has none, and current that makes some fire."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.15, (3, tree.n_inputs, steps)).astype(np.float32)
    counts[0] = 0
    current = np.zeros((3, steps, tree.n))
    current[1:, 1:4, tree.soma] = 30.0 * tree.capacitance_nF[tree.soma]  # 30 mV/ms
    current[2, :, -1] -= 2.0 * tree.capacitance_nF[-1]
    return torch.from_numpy(counts), current


@pytest.mark.parametrize(
    ("tree", "many", "fewer"),
    [(TREE, 16, 0.0), (random_tree(5, 90), 4, 2.5), (random_tree(1, 1), 4, 2.5)],
    ids=["with joints", "more than a tile", "one compartment"],
)
@torch.no_grad()
def test_it_is_what_the_cpu_computes(tree: Tree, many: int, fewer: float) -> None:
    """Cells that fire and cells that do not, each in its own substeps; and nothing changes where time is cut."""
    steps = 6
    counts, current = inputs(tree, steps)
    network = cable(3, spread=0.2, tree=tree, substeps=(1, many), refine_at=0.1)
    network.parts[0] -= fewer  # e-folds of all densities, so that spikes of any tree stay in bounds
    of_cpu, state, levels = [], None, []
    for t in range(steps):
        z, logit, state = network(counts[..., t : t + 1], state=state, injected=current[:, t : t + 1])
        of_cpu.append((z, logit))
        levels.append(state[:, -2 * (LAGS - 1) - 1])
    level = torch.stack(levels)  # (steps, cells) whether there were many substeps
    assert (level.amax(1) > level.amin(1)).any()  # in one cell, while not in another
    assert tree is not TREE or ((level[:-1] == 1) & (level[1:] == 0)).any()  # and then few
    z, logit = (torch.cat(parts, 1) for parts in zip(*of_cpu, strict=True))
    interpreted(network)
    first = network(counts[..., :3], injected=current[:, :3])
    second = network(counts[..., 3:], state=first[2], injected=current[:, 3:])
    assert torch.allclose(torch.cat([first[0], second[0]], 1), z, atol=2e-4)  # mV
    assert torch.allclose(torch.cat([first[1], second[1]], 1), logit, atol=2e-4)
    assert_same_state(second[2], state, tree.n)
    assert np.ptp(z.numpy()) > 5.0
    alone = network(counts[1:2, :, :3], injected=current[1:2, :3])
    assert torch.equal(alone[0], first[0][1:2])


@torch.no_grad()
def test_the_cell_of_the_paper() -> None:
    """The twin that comes along: more nodes in a round, and more events in a step, than a tile has; another order."""
    network = dendrotwin.load("l5pc").network.eval()
    network.config = network.config.model_copy(update={"substeps": (1, 4)})
    n = network.tree.n
    counts = torch.from_numpy(np.random.default_rng(0).poisson(0.3, (2, network.tree.n_inputs, 2)).astype(np.float32))
    current = np.zeros((2, 2, n))
    current[1, :, network.soma] = 80.0 * network.tree.capacitance_nF[network.soma]
    z, logit, state = network(counts, injected=current)
    assert set(state[:, -2 * (LAGS - 1) - 1].tolist()) == {0.0, 1.0}  # of one cell many substeps, few of the other
    again, logit_again, state_again = interpreted(network)(counts, injected=current)
    assert torch.allclose(again, z, atol=2e-4)
    assert torch.allclose(logit_again, logit, atol=2e-4)
    assert_same_state(state_again, state, n)


@torch.no_grad()
def test_spikes_are_read_as_on_the_cpu() -> None:
    """On a GPU the network that reads them is torch's; on the CPU it is written out."""
    network = cable(4, spread=0.2)
    counts, _ = inputs(TREE, 30)
    _, logit, _ = network(counts)
    assert torch.allclose(network.read(network.soma_course(counts))[..., 0], logit, atol=1e-5)
    assert np.ptp(logit.numpy()) > 0.1


@torch.inference_mode()
def test_elsewhere_it_is_compiled_anew() -> None:
    """To another device buffers go as new tensors, and what is compiled for a GPU comes from a copy on the CPU."""
    with torch.inference_mode(False):
        network = cable(4, spread=0.2)
    counts, _ = inputs(TREE, 3)
    before = network(counts)[0]
    network._apply(lambda tensor: tensor.clone())
    assert network._compiled is None
    assert torch.equal(network(counts)[0], before)
    network.set_scaling(network.mean_mV + 5.0, network.sd_mV)
    after = network(counts)[0]
    assert torch.allclose(after, before - 5.0, atol=1e-4)
    with torch.inference_mode(False):
        there = deepcopy(network)._apply(lambda tensor: tensor.clone())
    assert torch.equal(there(counts)[0], after)


def test_made_where_no_gradient_is_wanted() -> None:
    """Its tensors do not count how often they were changed; that they were is seen all the same."""
    counts, _ = inputs(TREE, 3)
    with torch.inference_mode():
        network = cable(4, spread=0.2)
        _, _, state = network(counts)
        before = network(counts, state=state)[0]
        network.mean_mV += 5.0
        assert torch.allclose(network(counts, state=state)[0], before - 5.0, atol=1e-4)


@torch.no_grad()
def test_gates_are_asked_after_a_step_of_its_length() -> None:
    """The first step after a millisecond of many is shorter; between the thresholds that it and a usual one pass."""
    counts, current = torch.zeros(1, TREE.n_inputs, 1), np.zeros((1, 1, TREE.n))
    current[..., TREE.soma] = 8.0 * TREE.capacitance_nF[TREE.soma]
    network = cable(3, spread=0.2, substeps=(1, 4))
    level = -2 * (LAGS - 1) - 1

    def takes_many(threshold: float, state: torch.Tensor) -> bool:
        network.config = network.config.model_copy(update={"refine_at": threshold})
        return bool(network(counts, state=state)[2][0, level])

    _, _, after_few = network(counts, injected=current)
    after_many = after_few.clone()
    after_many[:, level] = 1
    passed = []
    for state in (after_few, after_many):
        low, high = 1e-6, 1e3
        for _ in range(40):
            middle = np.sqrt(low * high)
            low, high = (middle, high) if takes_many(middle, state) else (low, middle)
        passed.append(low)
    assert abs(passed[0] / passed[1] - 1) > 0.01
    between = float(np.sqrt(passed[0] * passed[1]))
    of_cpu = [takes_many(between, state) for state in (after_few, after_many)]
    assert of_cpu == [before > between for before in passed]
    interpreted(network)
    assert [takes_many(between, state) for state in (after_few, after_many)] == of_cpu


@torch.no_grad()
def test_without_current() -> None:
    counts, _ = inputs(TREE, 3)
    network = cable(3, spread=0.2, substeps=(1, 4))
    z, logit, _ = network(counts)
    again, logit_again, _ = interpreted(network)(counts)
    assert torch.allclose(again, z, atol=2e-4)
    assert torch.allclose(logit_again, logit, atol=2e-4)


def test_a_quiet_millisecond_is_one_step() -> None:
    with pytest.raises(InputError, match="on a GPU a quiet millisecond is one step, here it has 2; set substeps=2,16"):
        interpreted(cable(0, substeps=(2, 16)))


def test_triton_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    known = cable(0)._compile(running=False).known

    def absent(name: str, *arguments: Any) -> Any:
        if name == "dendrotwin.membrane_gpu":
            raise ImportError("No module named 'triton'")
        return real(name, *arguments)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(
        InputError, match=r"needs Triton on cuda:0 \(No module named 'triton'\); install triton, or let"
    ):
        cable_module._on_gpu(known, torch.device("cuda:0"))


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import dendrotwin
from dendrotwin import membrane_gpu as gpu
cell = gpu.GPUCell(dendrotwin.load("l5pc").network._compile(running=False).known, torch.device("cpu"))
of = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32"}
signature = {
    "known": gpu.OnGPU(*(of[tensor.dtype] for tensor in cell.known)), "sizes": "constexpr",
    "given": gpu.Input("*i64", "*i32", "*fp32", "*fp64"),
    "room": gpu.Room("*fp64", "*fp32", "*i32", "*fp32", "*fp64", "*fp32", "*fp64"),
    "steps": "i32", "has_current": "constexpr", "TILE": "constexpr",
}
for has_current in (False, True):
    constants = {"sizes": cell.sizes, "has_current": has_current, "TILE": gpu.TILE}
    source = ASTSource(gpu._milliseconds, signature=signature, constexprs=constants)
    done = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": gpu.WARPS})
    print(len(done.asm["cubin"]), done.asm["ptx"].count("bar.sync"))
"""


def test_the_kernel_compiles_for_a_card() -> None:
    """What the interpreter lets pass, a compiler may not: types that change in a loop, say. It needs no card."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for line in done.stdout.splitlines():
        size, barriers = (int(number) for number in line.split())
        assert size > 10_000
        assert barriers >= 9  # the interpreter needs none, a card all


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_card() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    code = """
import numpy as np, dendrotwin
from dendrotwin.inputs import Modulated, draw_events, trial_rng
from dendrotwin.predict import predict
twin = dendrotwin.load("l5pc")
events = [draw_events(twin.tree, Modulated(), steps=200, rng=trial_rng(seed=7, trial=k)) for k in range(3)]
v_mV, _ = predict(twin, events, 200)
twin.network.to("cuda")
print(np.abs(predict(twin, events, 200, chunk_ms=50)[0] - v_mV).max())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 0.05  # mV


def test_a_twin_may_be_loaded_where_no_gradient_is_wanted() -> None:
    with torch.inference_mode():
        twin = dendrotwin.load("l5pc")
        twin.network.to(torch.float32)
        z, _, state = twin.network(torch.zeros(1, twin.tree.n_inputs, 2))
        twin.network(torch.zeros(1, twin.tree.n_inputs, 2), state=state)
    assert torch.isfinite(z).all()
