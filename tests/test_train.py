"""Training: losses and their balancing against definitions, shared and divided batches, and what can go wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from dendrotwin.cell.stimuli import Poisson
from dendrotwin.errors import InputError, TwinError
from dendrotwin.evaluation.predictors import twin_predictor
from dendrotwin.evaluation.split import split_trials
from dendrotwin.models import build_model
from dendrotwin.models.base import Batch
from dendrotwin.models.networks.network import CLOSED_LOOP_MV
from dendrotwin.models.scaling import Scaling
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.recording import SETTLE_MS
from dendrotwin.recording.trials import read_trial
from dendrotwin.signals import membrane_currents
from dendrotwin.training import run as run_module
from dendrotwin.training.comparison import failed, verdict
from dendrotwin.training.config import Training
from dendrotwin.training.loop import _gradient, _step, measure_time, train
from dendrotwin.training.losses import Balance, CurrentLoss, Objective, meta_gradient
from dendrotwin.training.rounds import _validate
from dendrotwin.training.run import Run, _current_matrix, _rate
from dendrotwin.twin import Twin
from slow_networks import binned
from test_recording import tree_with_inputs

SMALL = {"channels": (8, 8), "features": 8, "synapse_ms": 40, "dropout": 0.0}
QUICK = Training(options=SMALL, steps=30, batch=4, window_ms=150, round_steps=10)
TREE = tree_with_inputs()


# ----------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("autoregressive", [False, True])
def test_losses_are_their_definitions(autoregressive: bool) -> None:
    """From potentials in mV, against the network's own outputs and the formulas, one task after the other."""
    torch.manual_seed(0)
    _, network = build_model("hard-sharing", SMALL, TREE, autoregressive)
    network.eval()
    rng = torch.Generator().manual_seed(0)
    network.scaling.mean_mV.copy_(-70.0 + torch.randn(TREE.n, generator=rng))
    network.scaling.sd_mV.copy_(1.0 + torch.rand(TREE.n, generator=rng))
    before = network.context + 1 if autoregressive else 0
    v_mV = -70.0 + 3.0 * torch.randn(4, before + 20, TREE.n, generator=rng)
    counts = (torch.rand(4, TREE.n_inputs, network.context + 20, generator=rng) < 0.05).float()
    batch = Batch(binned(counts), v_mV, (torch.rand(4, 20, generator=rng) < 0.1).float())
    with torch.no_grad():
        tasks, residual = network.loss(batch)
    z = (v_mV - network.scaling.mean_mV) / network.scaling.sd_mV
    # A potential at the start of a step is the one at the end of the step before.
    past = z[:, :-1].transpose(1, 2) if autoregressive else None
    with torch.no_grad():
        found, logit, _ = network(batch.events, past)
    assert torch.allclose(residual, found - z[:, before:])
    for i in range(TREE.n):
        assert tasks[i].item() == pytest.approx(float(functional.mse_loss(found[..., i], z[:, before:, i])), rel=1e-5)
    p = torch.sigmoid(logit.double())  # 1 - p loses digits in single precision
    cross = -(batch.spikes * p.log() + (1 - batch.spikes) * (1 - p).log()).mean()
    assert float(tasks[-1]) == pytest.approx(float(cross), rel=1e-5)


def test_current_loss_is_its_definition() -> None:
    """Currents from membrane_currents, in their standard deviations over training trials."""
    rng = np.random.default_rng(0)
    true, off = rng.normal(-70.0, 3.0, (2, 600, TREE.n)).astype(np.float32)
    sd_mV = torch.from_numpy(rng.uniform(1.0, 4.0, TREE.n).astype(np.float32))
    scaling = Scaling(torch.full((TREE.n,), -70.0), sd_mV)
    sd_nA = membrane_currents(TREE, true[500:]).std(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "read_trial", lambda trial, tree: SimpleNamespace(v_mV=true))
        matrix = _current_matrix(TREE, [None], scaling)  # type: ignore[list-item]
    z, true_z = (scaling.normalise(torch.from_numpy(v))[None] for v in (off, true))
    slow = np.mean((membrane_currents(TREE, off - true) / sd_nA) ** 2)
    assert float(CurrentLoss(matrix, 0.5)(z - true_z)) == pytest.approx(0.5 * slow, rel=1e-4)
    # All compartments a little higher: no current at all.
    assert float(CurrentLoss(matrix, 1.0)((1.0 / sd_mV).expand(true_z.shape))) < 1e-6


def test_training_minds_currents(tmp_path: Path, data: Path) -> None:
    """The loss of a step has their part, which is refused where it would be left out."""
    work = Run(data, QUICK.model_copy(update={"current_weight": 3.0}))
    assert work.objective.currents is not None
    batch = next(work.batches(0, 1))
    with torch.no_grad():
        loss, losses = work.objective(batch)
        tasks, currents = work.objective.balance(losses), work.objective.currents(work.model.loss(batch).residual)
    assert float(currents) > 0
    assert float(loss) == pytest.approx(float(tasks + currents))
    with pytest.raises(InputError, match="use one of --meta-rate and --current-weight"):
        Run(data, QUICK.model_copy(update={"current_weight": 3.0, "meta_rate": 0.1}))


def test_equal_balance_is_the_mean_and_the_weighed_spikes() -> None:
    losses = torch.tensor([1.0, 2.0, 6.0, 0.5])
    assert float(Balance(4, "equal", 2.0)(losses)) == pytest.approx(3.0 + 2.0 * 0.5)
    assert float(Balance(4, "equal", 2.0)(losses, torch.tensor([True, False, False, True]))) == pytest.approx(1 / 3 + 1)


def test_uncertainty_balance_finds_the_losses() -> None:
    """For constant losses the best log-variance of a task is the log of its loss; then every task counts the same."""
    losses = torch.tensor([0.2, 3.0, 0.7, 0.05])
    balance = Balance(4, "uncertainty", 1.0)
    start = float(balance(losses).detach())
    optimiser = torch.optim.Adam(balance.parameters(), 0.05)
    for _ in range(1000):
        optimiser.zero_grad()
        balance(losses).backward()
        optimiser.step()
    expected = torch.log(losses)
    expected[-1] = torch.log(2 * losses[-1])  # exp(-s) L + s / 2, without the half of a Gaussian
    assert balance.log_variance.detach().numpy() == pytest.approx(expected.numpy(), abs=0.02)
    assert float(balance(losses).detach()) < start


def test_dynamic_weight_average() -> None:
    balance = Balance(3, "dwa", 1.0)
    balance.end_round(torch.tensor([1.0, 1.0, 1.0]))
    assert torch.equal(balance.weight, torch.ones(3))  # nothing to compare with yet
    balance.end_round(torch.tensor([0.5, 1.0, 0.5]))  # only the second has not improved
    expected = 3 * torch.softmax(torch.tensor([0.5, 1.0, 0.5]) / 2.0, 0)
    assert torch.allclose(balance.weight, expected)
    assert float(balance(torch.ones(3))) == pytest.approx(float((expected[:2] / 2).sum() + expected[2]))


# ----------------------------------------------------------------------------------------------- steps


def test_micro_batches_add_up(data: Path) -> None:
    """The gradient of a batch, in one go and one window at a time."""
    gradients = []
    for micro in (None, 1, 3):
        work = Run(data, QUICK.model_copy(update={"micro_batch": micro, "architecture": "mmoe"}))
        (batch,) = work.batches(0, 1)
        tasks = _gradient(work, batch)
        gradients.append([p.grad.clone() for p in work.model.parameters()] + [tasks])
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


class _Quadratic(nn.Module):
    """Two numbers; task 0 is (a - x)^2, task 1 (a - x)^2 (b - x)^2, the spikes' is 0; x differs between windows."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-2.0))
        self.balance = Balance(3, "equal", 1.0)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        x = batch.v_mV.mean()
        first = (self.a - x) ** 2
        return torch.zeros(()), torch.stack([first, first * (self.b - x) ** 2, 0.0 * (self.a + self.b)])


def test_meta_step_is_its_definition() -> None:
    """The sum over groups of the gradient where each group's trial step leads, by hand."""
    objective, rate = _Quadratic(), 0.1
    z = torch.tensor([[[0.3]], [[0.7]]])
    losses = meta_gradient(objective, Batch(binned(torch.zeros(2, 1, 1)), z, z[..., 0]), np.array([0, 1, 2]), rate)
    a, b, inner, outer = 1.0, -2.0, 0.3, 0.7

    def gradient(group: int, a: float, b: float, x: float) -> np.ndarray:
        if group == 0:
            return np.array([(a - x), 0.0])  # half of 2 (a - x): the mean over two compartments
        return np.array([(a - x) * (b - x) ** 2, (a - x) ** 2 * (b - x)])

    expected = np.zeros(2)
    for group in (0, 1):
        there = np.array([a, b]) - rate * gradient(group, a, b, inner)
        expected += gradient(group, *there, outer)
    assert [float(objective.a.grad), float(objective.b.grad)] == pytest.approx(expected.tolist(), rel=1e-5)
    assert (objective.a.item(), objective.b.item()) == (a, b)  # back where it started
    assert losses.tolist() == pytest.approx([0.09, 0.09 * 2.7**2, 0.0], rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "mmoeex", "balance": "dwa"},
        {"architecture": "mmoe", "balance": "uncertainty", "precision": "bf16-mixed"},
        {"architecture": "mmoe", "meta_rate": 0.01},
        {"architecture": "mmoe", "meta_rate": 0.01, "precision": "bf16-mixed"},
        {"autoregressive": True, "precision": "bf16-mixed"},
        {"architecture": "elm", "options": {"memory": 10, "branches": 5, "branch_inputs": 20}},
    ],
)
def test_every_way_of_training_learns(data: Path, tmp_path: Path, changes: dict) -> None:
    training = QUICK.model_copy(update=changes)
    start = _validate(Run(data, training))["loss"]
    twin = train(data, tmp_path / "twin", training)
    assert min(point["validation"] for point in twin.training["curve"]) < start
    assert twin.training["windows"] == 30 * 4
    if "mmoe" in training.architecture:
        last = twin.training["diversity"][-1]
        assert last["step"] == 30
        assert np.array(last["distances"]).shape == (4, 4)
    assert twin.training["curve"][-1]["reading_share"] < 0.5


def test_one_step_ahead(data: Path, tmp_path: Path) -> None:
    """A twin that sees past potentials beats persistence one step ahead, and predicts on its own too."""
    training = QUICK.model_copy(update={"autoregressive": True, "steps": 150, "round_steps": 50})
    twin = train(data, tmp_path / "twin", training)
    assert Twin.load(tmp_path / "twin").one_step_ahead
    tree, split = split_trials(data)
    truth = read_trial(split.test[0], tree)
    one, _ = twin_predictor(twin)(truth)
    own, _ = twin_predictor(twin, feed_back=True)(truth)
    error, own_error = ((v[500:] - truth.v_mV[500:]) ** 2 for v in (one, own))
    persistence = (truth.v_mV[499:-1] - truth.v_mV[500:]) ** 2
    assert error.mean() < 0.8 * persistence.mean()
    assert own_error.mean() > error.mean()
    assert (own >= CLOSED_LOOP_MV[0] - 1e-3).all()
    assert (own <= CLOSED_LOOP_MV[1] + 1e-3).all()
    again, _ = twin.predict_batch([truth.events], truth.duration_ms, truth.v_mV[None], chunk_ms=100)
    assert again[0] == pytest.approx(one, abs=1e-2)


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 400])
def test_learning_rate_warms_up_and_goes_to_zero(steps: int) -> None:
    training = Training(steps=steps)
    rates = [_rate(step, training) for step in range(steps)]
    assert max(rates) == 1.0
    assert all(0.0 < rate <= 1.0 for rate in rates)
    top = rates.index(1.0)
    assert top <= 0.06 * steps
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top + 1 :]) < 0).all()
    assert steps == 1 or _rate(steps, training) == pytest.approx(0.0)


def test_patience(data: Path, tmp_path: Path) -> None:
    wild = QUICK.model_copy(update={"learning_rate": 0.3, "steps": 400, "patience": 2})
    twin = train(data, tmp_path / "twin", wild)
    assert twin.training["steps"] == twin.training["best_step"] + 20 < 400


def test_a_training_is_compared_with_baselines(data: Path, tmp_path: Path) -> None:
    """By definition, on the validation trials; the card says it."""
    twin = train(data, tmp_path / "twin", QUICK)
    tree, split = split_trials(data)
    trials = [read_trial(trial, tree) for trial in split.train]
    v_mV = np.concatenate([trial.v_mV[SETTLE_MS:] for trial in trials]).astype(np.float64)
    rate = np.concatenate([trial.spike_train()[SETTLE_MS:] for trial in trials]).mean()
    z, truth = [], []
    for trial in split.validation:
        recording = read_trial(trial, tree)
        z.append((recording.v_mV[SETTLE_MS:] - v_mV.mean(0)) / v_mV.std(0))
        truth.append(recording.spike_train()[SETTLE_MS:])
    spikes = np.concatenate(truth).mean()
    entropy = -spikes * np.log(rate) - (1 - spikes) * np.log1p(-rate)
    losses = twin.training["baselines"]
    assert losses["mean"] == pytest.approx((np.concatenate(z) ** 2).mean() + QUICK.spike_weight * entropy, rel=0.02)
    assert losses["linear"] < losses["mean"]
    assert verdict(twin.training) in (tmp_path / "twin" / "README.md").read_text()


@pytest.mark.parametrize(
    ("loss", "words", "worse"),
    [
        (0.5, "^validation loss 0.5; of the mean 1, of a linear regression 0.6$", False),
        (0.8, "^a linear regression is better", False),
        (26.0, "^the training failed: predicting the mean is better .validation loss 26;", True),
        (float("nan"), "^the training failed", True),
    ],
)
def test_a_training_that_failed_says_so(loss: float, words: str, worse: bool) -> None:
    training = {"curve": [{"validation": loss}], "baselines": {"mean": 1.0, "linear": 0.6}}
    assert re.search(words, verdict(training))
    assert failed(training) == worse


def test_two_processes_are_as_one(data: Path, tmp_path: Path) -> None:
    """torchrun with two gloo processes: the same twin as one process with the same batches."""
    alone = train(data, tmp_path / "alone", QUICK)
    code = (
        "import sys, torch; from pathlib import Path; from dendrotwin import Training, train\n"
        "torch.set_num_threads(1)\n"
        "twin = train(Path(sys.argv[1]), Path(sys.argv[2]), Training.model_validate_json(sys.argv[3]))\n"
        "import os; torch.save(twin.model.state_dict(), sys.argv[4] + os.environ['RANK'])"
    )
    script = tmp_path / "two.py"
    script.write_text(code)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    arguments = [str(data), str(tmp_path / "two"), QUICK.model_dump_json(), str(tmp_path / "rank")]
    result = subprocess.run([*torchrun, *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}", weights_only=True) for rank in (0, 1)]
    single = load_file(tmp_path / "alone/model.safetensors")
    for name, tensor in ranks[0].items():
        assert torch.equal(tensor, ranks[1][name])
        assert torch.allclose(tensor, single[name], rtol=1e-3, atol=1e-4), name
    both = Twin.load(tmp_path / "two").training["curve"]
    for a, b in zip(both, alone.training["curve"], strict=True):
        assert a["validation"] == pytest.approx(b["validation"], rel=1e-3)


# ----------------------------------------------------------------------------------------------- bad input


def test_divergence_keeps_the_best_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that become NaN in the second round: the twin of the first is there, and the message says so."""
    forward = Objective.forward
    calls = {"training": 0}

    def poisoned(self: Objective, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        calls["training"] += 1
        loss, losses = forward(self, batch)
        return (loss * torch.nan, losses * torch.nan) if calls["training"] > 14 else (loss, losses)

    monkeypatch.setattr(Objective, "forward", poisoned)
    with pytest.raises(TwinError, match=r"no longer finite at step 14 with .* of step 10, are kept in"):
        train(data, tmp_path / "twin", QUICK)
    kept = Twin.load(tmp_path / "twin")
    assert kept.training["best_step"] == 10
    assert all(bool(torch.isfinite(p).all()) for p in kept.model.parameters())


def test_a_gradient_that_is_not_finite_is_divergence_too(data: Path) -> None:
    work = Run(data, QUICK)
    next(work.model.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(FloatingPointError, match="the gradient is no longer finite at step 0"):
        _step(work, 0, next(work.batches(0, 1)))


def test_what_the_two_step_update_cannot_do(data: Path) -> None:
    for changes in ({"batch": 3}, {"micro_batch": 2}):
        with pytest.raises(InputError, match="halves the batch; choose an even --batch, and no --micro-batch"):
            Run(data, QUICK.model_copy(update={"meta_rate": 0.1, **changes}))
    with pytest.raises(InputError, match="does not scale fp16's gradients; use --precision bf16-mixed"):
        Run(data, QUICK.model_copy(update={"meta_rate": 0.1, "precision": "16-mixed"}))


def test_data_without_input_or_spikes_can_be_fitted_by_potentials_alone(tmp_path: Path, simulation: Simulation) -> None:
    """Nothing to regress on, and nothing to fail on."""
    silent = simulation.model_copy(update={"inputs": Poisson(excitatory_hz=0.0, inhibitory_hz=0.0)})
    simulate(silent, 4, tmp_path / "silent", workers=1)
    work = Run(tmp_path / "silent", QUICK.model_copy(update={"spike_weight": 0.0}))
    assert all(bool(torch.isfinite(p).all()) for p in work.model.parameters())


def test_data_without_spikes(tmp_path: Path, simulation: Simulation) -> None:
    silent = simulation.model_copy(update={"inputs": Poisson(excitatory_hz=0.1)})
    simulate(silent, 4, tmp_path / "silent", workers=1)
    with pytest.raises(InputError, match=r"no training trial in .* has an output spike; simulate with more input"):
        train(tmp_path / "silent", tmp_path / "twin", QUICK)


def test_time_of_a_training(data: Path) -> None:
    before, per_step = measure_time(data, QUICK, 3)
    assert 0.0 < before < 60.0
    assert 0.0 < per_step < 10.0
    with pytest.raises(TwinError, match=r"no longer finite at step .*; use a lower learning_rate"):
        measure_time(data, QUICK.model_copy(update={"learning_rate": 1e30}), 3)


def test_tensorboard_is_named_where_it_is_missing(data: Path, tmp_path: Path) -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="--tensorboard needs the package tensorboard: pip install tensorboard"):
            train(data, tmp_path / "twin", QUICK, tensorboard=True)
    else:
        train(data, tmp_path / "twin", QUICK, tensorboard=True)
        assert list((tmp_path / "twin.tensorboard").iterdir())


def test_log_has_a_line_for_each_round(data: Path, tmp_path: Path) -> None:
    twin = train(data, tmp_path / "twin", QUICK)
    lines = [json.loads(line) for line in (tmp_path / "twin.log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert [line["validation"] for line in lines] == [point["validation"] for point in twin.training["curve"]]


def test_options_of_another_architecture(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="option 'experts' of hard-sharing"):
        train(data, tmp_path / "twin", QUICK.model_copy(update={"options": {**SMALL, "experts": 3}}))
