"""The networks against slow, obvious versions of themselves, and the laws that each of them must keep."""

from __future__ import annotations

import math
import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from dendrotwin.cell.stimuli import Poisson, draw_events, trial_rng
from dendrotwin.errors import InputError, TwinError
from dendrotwin.models import architectures, build_model
from dendrotwin.models.base import BinnedEvents
from dendrotwin.models.networks.diversity import expert_diversity, permanent
from dendrotwin.models.networks.mmoeex import MMoEExConfig, draw_mask
from dendrotwin.models.networks.network import Network
from dendrotwin.models.scaling import Scaling
from dendrotwin.solver.conductances import synaptic_conductances
from dendrotwin.training.config import Training
from dendrotwin.training.loop import train
from dendrotwin.twin import Twin
from slow_networks import SlowNetwork, binned, event_counts
from test_recording import tree_with_inputs

TREE = tree_with_inputs()
SMALL = {"channels": (6, 5), "features": 7, "synapse_ms": 30}
PAPER = {"preset": "paper", "kernel": 3, "tower_ms": 12}  # the paper's shape, with less history
ELM = {"memory": 9, "branches": 4, "branch_inputs": 3}
NETWORKS = [
    ("hard-sharing", SMALL),
    ("hard-sharing", PAPER),
    ("mmoe", SMALL),
    ("mmoe", PAPER),
    ("mmoeex", SMALL),
    ("mmoeex", {**SMALL, "rule": "exclusion", "probability": 1.0, "groups": "task"}),
    ("mmoeex", PAPER),
]


def _network(architecture: str, options: dict, autoregressive: bool = False) -> tuple[object, torch.nn.Module]:
    torch.manual_seed(0)
    config, network = build_model(architecture, options, TREE, autoregressive)
    for parameter in network.parameters():  # no zeros, no identities: every path must show
        parameter.data += 0.1 * torch.randn_like(parameter)
    return config, network.double().eval()


def _input(context: int, steps: int) -> torch.Tensor:
    events = draw_events(TREE, Poisson(excitatory_hz=40, inhibitory_hz=40), steps, trial_rng(0, 0))
    return torch.from_numpy(event_counts(events, TREE.n_inputs, -context, steps))[None].double()


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize(("architecture", "options"), NETWORKS)
def test_dense_equals_window_by_window(architecture: str, options: dict, autoregressive: bool) -> None:
    """One pass over all steps and tasks against loops over windows, experts and tasks."""
    config, network = _network(architecture, options, autoregressive)
    steps = 40
    counts = _input(network.context, steps)
    past = torch.randn(1, TREE.n, counts.shape[2]).double() if autoregressive else None
    slow = SlowNetwork(network, config)
    with torch.no_grad():
        z, logit, state = network(binned(counts), past)
    assert state is None
    assert z.shape == (1, steps, TREE.n)
    for t in range(0, steps, 7):
        window = slice(t, t + network.context + 1)
        z_slow, logit_slow = slow.step(counts[0, :, window], past[0, :, window] if autoregressive else None)
        assert z[0, t].numpy() == pytest.approx(z_slow.numpy(), abs=1e-8)
        assert float(logit[0, t]) == pytest.approx(float(logit_slow), abs=1e-8)


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize(("architecture", "options"), [*NETWORKS[::2], ("elm", ELM)])
def test_causal(architecture: str, options: dict, autoregressive: bool) -> None:
    _, network = _network(architecture, options, autoregressive)
    counts = _input(network.context, 60)
    past = torch.randn(1, TREE.n, counts.shape[2]).double() if autoregressive else None
    with torch.no_grad():
        z, logit, _ = network(binned(counts), past)
        for at in (0, 31, 59):
            later = counts.clone()
            later[0, 3, network.context + at] += 1.0
            z_later, logit_later, _ = network(binned(later), past)
            assert torch.equal(z_later[:, :at], z[:, :at])
            assert torch.equal(logit_later[:, :at], logit[:, :at])
            assert not torch.equal(z_later[:, at], z[:, at])  # an event acts within its own step
            if autoregressive:
                seen = past.clone()
                seen[0, :, network.context + at] += 1.0
                z_later, _, _ = network(binned(counts), seen)
                assert torch.equal(z_later[:, :at], z[:, :at])
                assert not torch.equal(z_later[:, at], z[:, at])


@pytest.mark.parametrize(("architecture", "options"), [NETWORKS[0], NETWORKS[3], ("elm", ELM)])
@pytest.mark.parametrize("sees", ["input", "truth", "itself"])
def test_run_does_not_depend_on_the_chunks(architecture: str, options: dict, sees: str) -> None:
    _, network = _network(architecture, options, sees != "input")
    network.float()
    events = [draw_events(TREE, Poisson(excitatory_hz=40), 90, trial_rng(0, k)) for k in range(2)]
    true_mV = TREE.v_init_mV + torch.randn(2, 90, TREE.n).numpy() if sees == "truth" else None
    network.scaling.mean_mV.fill_(TREE.v_init_mV)
    whole, cut = (network.predict(events, 90, true_mV, chunk_ms=chunk)[0] for chunk in (90, 17))
    assert whole.shape == (2, 90, TREE.n)
    assert whole == pytest.approx(cut, abs=2e-5)


def test_feeding_back_is_one_step_ahead_of_its_own_predictions() -> None:
    """What a network says of its own predictions, given as the truth, are those predictions."""
    _, network = _network("mmoe", SMALL, True)
    network.float()
    network.readout.transition.weight.data *= 0.5  # so that it does not run away
    events = [draw_events(TREE, Poisson(excitatory_hz=40), 60, trial_rng(0, 0))]
    network.scaling.mean_mV.fill_(TREE.v_init_mV)
    own, _ = network.predict(events, 60)
    again, _ = network.predict(events, 60, own)
    assert own.std() > 0.01
    assert again == pytest.approx(own, abs=1e-3)


def test_untrained_one_step_ahead_network_holds_persistence() -> None:
    for architecture, options in (*NETWORKS, ("elm", ELM)):
        torch.manual_seed(0)
        _, network = build_model(architecture, options, TREE, True)
        network.eval()
        counts = _input(network.context, 20).float()
        past = torch.randn(1, TREE.n, counts.shape[2])
        z, _, _ = network(binned(counts), past)
        assert torch.allclose(z[0], past[0, :, -20:].T, atol=1e-6)


def test_synapses_are_the_exact_conductance() -> None:
    """With weights of one input only, a feature is that input's conductance as `solve` gives it, up to its scale."""
    steps = 200
    _, network = build_model("hard-sharing", {"features": 2, "channels": (2,), "synapse_ms": 400}, TREE)
    events = draw_events(TREE, Poisson(excitatory_hz=20, inhibitory_hz=20), steps, trial_rng(0, 0))
    exact = np.concatenate(list(synaptic_conductances(TREE, [events], steps)))[:, :, 0]
    synapses = network.experts.synapses
    counts = torch.from_numpy(event_counts(events, TREE.n_inputs, -synapses.context, steps))[None]
    with torch.no_grad():
        for column in (0, 1):  # AMPA and NMDA of input 0
            for weight in synapses.weights:
                weight.zero_()
            synapses.weights[column][0, 0] = 1.0
            feature = synapses(binned(counts))[0, 0].numpy()
            assert feature.std() > 0
            assert np.corrcoef(feature, exact[:, column])[0, 1] > 0.9999


def test_elm_is_the_published_recurrence() -> None:
    """Step by step, input by input, from the equations of the paper."""
    config, network = _network("elm", ELM)
    steps, low, high = 30, *network.config.memory_ms
    counts = _input(network.context, steps)[0].numpy()
    p = {name: value.detach().numpy() for name, value in network.named_parameters()}
    tau = low + (high - low) / (1 + np.exp(-p["tau_logit"]))
    decay_branch, decay = math.exp(-1 / config.branch_ms), np.exp(-1 / tau)
    branch, memory, z = np.zeros(config.branches), np.zeros(config.memory), []
    routing = network.routing.numpy()
    for x in counts.T:
        branch = decay_branch * branch + (p["synapse_weight"] * routing) @ x
        hidden = np.maximum(
            p["input_to_hidden.weight"] @ branch
            + p["input_to_hidden.bias"]
            + p["memory_to_hidden.weight"] @ (decay * memory),
            0,
        )
        change = np.tanh(p["hidden_to_memory.weight"] @ hidden + p["hidden_to_memory.bias"])
        memory = decay * memory + (1 - np.exp(-config.rate / tau)) * change
        z.append(p["output.weight"] @ memory + p["output.bias"])
    with torch.no_grad():
        found, logit, _ = network(binned(torch.from_numpy(counts)[None]))
    expected = np.array(z)[-steps:]
    assert found[0].numpy() == pytest.approx(expected[:, :-1], abs=1e-6)
    soma = p["readout.spike_gain"] * expected[:, TREE.soma] + p["readout.spike_offset"]
    assert logit[0].numpy() == pytest.approx(expected[:, -1] + soma, abs=1e-6)


def test_elm_branches_cover_all_inputs_in_the_order_of_their_compartments() -> None:
    _, network = build_model("elm", ELM, TREE)
    routing = network.routing.numpy()
    assert (np.abs(routing).sum(1) == ELM["branch_inputs"]).all()
    assert (np.abs(routing).sum(0) > 0).all()
    excitatory = np.array([s.excitatory for s in TREE.synapses])[TREE.input_synapse]
    assert (routing[:, excitatory] >= 0).all()
    assert (routing[:, ~excitatory] <= 0).all()
    centres = [TREE.input_compartment[branch != 0].mean() for branch in routing]
    assert (np.diff(centres) >= 0).all()


# ----------------------------------------------------------------------------------------------- mixtures


def test_gates_vary_with_the_input_and_are_not_one_hot_at_first() -> None:
    for preset in ({}, {"preset": "paper"}):
        torch.manual_seed(0)
        _, network = build_model("mmoe", preset, TREE)
        network.eval()
        gates = network.gates(binned(_input(network.context, 200).float()))[0].detach()
        assert gates.shape == (200, network.n_experts, TREE.n + 1)
        assert torch.allclose(gates.sum(1), torch.ones(200, TREE.n + 1), atol=1e-5)
        assert float(gates.max()) < 0.9
        assert float(gates.std(0).mean()) > 1e-4


@pytest.mark.parametrize("rule", ["exclusivity", "exclusion"])
@pytest.mark.parametrize("of", ["task", "region"])
def test_exclusive_experts(rule: str, of: str) -> None:
    groups = np.append(TREE.region, 99) if of == "region" else np.arange(TREE.n + 1)
    drawn = set()
    for seed in range(200):
        config = MMoEExConfig(experts=4, rule=rule, groups=of, probability=0.6, exclusive_seed=seed)
        mask = draw_mask(config, groups)
        assert np.array_equal(mask, draw_mask(config, groups))
        assert mask.any(0).all()  # every task keeps an expert
        for expert in mask[:-1]:  # the last one may have tasks back that nobody served
            if not expert.all():
                odd = expert if rule == "exclusivity" else ~expert
                assert len(np.unique(groups[odd])) == 1
                assert odd.sum() == (groups == groups[odd][0]).sum()
        drawn.add(int((~mask.all(1)).sum()))
    assert drawn >= {1, 2, 3}
    never = draw_mask(MMoEExConfig(rule=rule, groups=of, probability=0.0), groups)
    assert never.all()


def test_exclusivity_holds_after_training_steps() -> None:
    torch.manual_seed(0)
    options = {**SMALL, "probability": 1.0, "groups": "task", "experts": 5}
    _, network = build_model("mmoeex", options, TREE)
    closed = ~network.mask
    assert closed.any()
    assert not closed.all(0).any()
    optimiser = torch.optim.AdamW(network.parameters(), 0.05)
    counts = _input(network.context, 30).float()
    before = network.gate.weight.detach().clone()
    for _ in range(100):
        z, logit, _ = network(binned(counts))
        optimiser.zero_grad()
        ((z - 1.0).square().mean() + logit.square().mean()).backward()
        optimiser.step()
    assert not torch.equal(network.gate.weight, before)
    gates = network.gates(binned(counts))[0].detach()
    assert (gates[:, closed] == 0.0).all()
    assert torch.allclose(gates.sum(1), torch.ones(30, TREE.n + 1), atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_permanent_is_its_definition(n: int) -> None:
    matrix = np.random.default_rng(n).normal(size=(n, n))
    definition = sum(math.prod(matrix[i, p[i]] for i in range(n)) for p in permutations(range(n)))
    assert permanent(matrix) == pytest.approx(definition, rel=1e-12)
    assert permanent(np.ones((n, n))) == pytest.approx(math.factorial(n))


def test_diversity_of_known_experts() -> None:
    """Three experts on a line at 0, 1 and 2: distances 1, 1 and 2 of 2; determinant and permanent by hand."""
    outputs = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    found = expert_diversity(outputs)
    assert np.array(found["distances"]) == pytest.approx(np.array([[0, 0.5, 1], [0.5, 0, 0.5], [1, 0.5, 0]]))
    assert found["determinant"] == pytest.approx(2 * 0.5 * 0.5 * 1)
    assert found["permanent"] == pytest.approx(2 * 0.5 * 0.5 * 1)
    same = expert_diversity(np.ones((3, 4)))
    assert np.abs(same["distances"]).max() == 0.0


# ----------------------------------------------------------------------------------------------- bad input


def test_unknown_names_and_sizes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="'transformer' to train; choose elm, hard-sharing, mmoe, mmoeex, or"):
        build_model("transformer", {}, TREE)
    for architecture in architectures():
        if architecture == "cable":
            continue
        with pytest.raises(InputError, match=f"option 'chanels' of {architecture}"):
            build_model(architecture, {"chanels": 3}, TREE)
        with pytest.raises(InputError, match=f"{architecture} has no preset 'huge'; known: "):
            build_model(architecture, {"preset": "huge"}, TREE)
    with pytest.raises(InputError, match="option 'features' of hard-sharing"):
        build_model("hard-sharing", {"features": 0}, TREE)
    with pytest.raises(InputError, match=r"option 'channels.*' of mmoe"):
        build_model("mmoe", {"channels": "16,many"}, TREE)
    with pytest.raises(InputError, match="option 'experts' of mmoe"):
        build_model("mmoe", {"experts": 1}, TREE)
    with pytest.raises(InputError, match=r"branch_inputs is 1000, the cell has .* inputs; choose fewer"):
        build_model("elm", {"branch_inputs": 1000}, TREE)
    with pytest.raises(InputError, match=r"1 branches of 2 inputs leave out some of the .*; choose more"):
        build_model("elm", {"branches": 1, "branch_inputs": 2}, TREE)
    with pytest.raises(InputError, match=r"option 'memory_ms' of elm: .*the second above the first"):
        build_model("elm", {"memory_ms": "10,5"}, TREE)
    assert build_model("elm", {"memory_ms": "2,50"}, TREE)[0].memory_ms == (2.0, 50.0)
    assert build_model("mmoe", {"channels": "16,8"}, TREE)[0].channels == (16, 8)


def test_the_cable_is_read_not_trained() -> None:
    with pytest.raises(InputError, match="the cable is read from the NEURON model and does not learn from data; make"):
        build_model("cable", {}, TREE)


def test_the_documented_architecture_works(data: Path, tmp_path: Path) -> None:
    """A file alone: named by its path it is trained, saved, opened again and used."""
    text = (Path(__file__).parents[1] / "docs/how-to/own-architecture.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (tmp_path / "smooth.py").write_text(code)
    name = str(tmp_path / "smooth.py")
    for autoregressive in (False, True):
        out = tmp_path / str(autoregressive)
        how = {"options": {"smooth_ms": 9}, "autoregressive": autoregressive, "steps": 2, "batch": 2, "window_ms": 100}
        train(data, out, Training(architecture=name, **how))
        with pytest.raises(TwinError, match="does not choose code that is run"):
            Twin.load(out)
        twin = Twin.load(out, architecture=name)
        assert (twin.architecture, twin.model.context) == (name, 8)
        v, probability = twin.predict_batch([draw_events(twin.tree, Poisson(), 30, trial_rng(0, 0))], 30)
        assert v.shape == (1, 30, twin.tree.n)
        assert np.isfinite(v).all()
        assert ((probability > 0) & (probability < 1)).all()


def test_files_that_define_no_architecture(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    with pytest.raises(InputError, match=r"mine.py does not exist; name a Python file that defines ARCHITECTURE"):
        build_model(str(file), {}, TREE)
    file.write_text("x = 1")
    with pytest.raises(InputError, match=r"mine.py defines no ARCHITECTURE, a .*Architecture; add one"):
        build_model(str(file), {}, TREE)
    file.write_text("import nothing_like_it")
    with pytest.raises(InputError, match=r"mine.py cannot be imported: ModuleNotFoundError: .*; correct it"):
        build_model(str(file), {}, TREE)


def test_binned_events_are_the_counts() -> None:
    """Sparse and dense hold the same, of windows that begin before the trial too, and of a part of the windows."""
    events = [draw_events(TREE, Poisson(excitatory_hz=200, inhibitory_hz=50), 60, trial_rng(0, k)) for k in range(3)]
    sparse = BinnedEvents.from_windows(
        [(e, start) for e, start in zip(events, (-20, 0, 35), strict=True)], TREE.n_inputs, 25
    )
    dense = np.stack([event_counts(e, TREE.n_inputs, s, s + 25) for e, s in zip(events, (-20, 0, 35), strict=True)])
    assert dense.max() > 1
    assert np.array_equal(sparse.counts().numpy(), dense)
    for part in (slice(0, 1), slice(1, 3), slice(2, 9)):
        assert np.array_equal(sparse.part(part).counts().numpy(), dense[part])


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        ("z", r"Wrong.forward must return z-scores .* for 4 \+ 3 steps; it failed: ValueError"),
        ("z[:, 1:], z[..., 0], None", r"it returned \(1, 2, 3\) and \(1, 3\): look at its context"),
    ],
)
def test_an_architecture_that_returns_something_else_is_told_so(returns: str, message: str) -> None:
    class Wrong(Network):
        def forward(self, events: BinnedEvents, past: object = None, state: object = None) -> object:
            z = torch.zeros(events.shape[0], events.shape[2] - self.context, self.tree.n)
            return eval(returns, {"z": z})

    scaling = Scaling(torch.zeros(TREE.n), torch.ones(TREE.n))
    with pytest.raises(InputError, match=message.replace("1, 2, 3", f"1, 2, {TREE.n}")):
        Wrong(TREE, False, context=4).prepare([], scaling)
