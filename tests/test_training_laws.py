"""What a training does, from the window that is cut to the weights that are kept; the recordings are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from dendrotwin.cell.stimuli import Poisson, draw_events, trial_rng
from dendrotwin.cell.tree import Events
from dendrotwin.evaluation.metrics import best_threshold
from dendrotwin.evaluation.split import split_trials
from dendrotwin.models import build_model
from dendrotwin.models.base import BinnedEvents
from dendrotwin.models.scaling import measure_scaling
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.recording import SETTLE_MS, Recording, write_recordings
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.training import rounds
from dendrotwin.training.checkpoint import resume, save_checkpoint
from dendrotwin.training.config import Training
from dendrotwin.training.loop import _step, train
from dendrotwin.training.run import Run, _rate
from dendrotwin.training.windows import Windows
from dendrotwin.twin import Twin
from test_recording import tree_with_inputs

TREE = tree_with_inputs()
SMALL = {"channels": (6, 5), "features": 7, "synapse_ms": 30, "dropout": 0.0}
STEPS = (640, 700, 655, 610, 720)  # of the trials: one for the test, two for validation, two to train on
TRAINING = Training(options=SMALL, steps=6, batch=4, window_ms=40, round_steps=2, test=0.2, validation=0.4)


def made(number: int, steps: int, spikes_ms: np.ndarray | None = None) -> Recording:
    """A trial whose V tells in compartment 0 which step it is, and in compartment 1 which trial; the rest is noise."""
    rng = np.random.default_rng(number)
    v = np.round(rng.normal(-65.0, 6.0, (steps, TREE.n)) / 0.005) * 0.005
    v[:, 0], v[:, 1] = -75.0 + 0.02 * np.arange(steps), -75.0 + number
    times = np.sort(rng.uniform(0.0, steps, 12)) if spikes_ms is None else spikes_ms
    events = draw_events(TREE, Poisson(excitatory_hz=40, inhibitory_hz=40), steps, trial_rng(1, number))
    events = Events.sort(events.input, events.time_ms + rng.uniform(0.0, 0.999, len(events)))  # not at whole ms
    return Recording(TREE, v.astype(np.float32), events, times, str(number))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    for number, steps in enumerate(STEPS):
        write_recordings(shard_path(out, number), [made(number, steps)], {"trial": number})
    return out


def network_of(architecture: str, options: dict[str, Any], autoregressive: bool) -> Any:
    """One whose every path shows, with a scaling of its own."""
    torch.manual_seed(0)
    _, network = build_model(architecture, options, TREE, autoregressive)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network.scaling.mean_mV.fill_(-66.0).add_(torch.rand(TREE.n))
    network.scaling.sd_mV.copy_(4.0 + torch.rand(TREE.n))
    return network.eval()


ELM = {"memory": 6, "branches": 4, "branch_inputs": 3, "burn_in": 500, "memory_ms": (1.0, 30.0)}
NETWORKS = [("hard-sharing", SMALL), ("elm", ELM)]


# ------------------------------------------------------------------------------------------- what a window is


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize(("architecture", "options"), NETWORKS)
def test_prediction_is_the_forward_pass_from_rest(architecture: str, options: dict, autoregressive: bool) -> None:
    """All that a network is told of a trial, written out: silence and rest before it, then each step's own."""
    network, steps = network_of(architecture, options, autoregressive), 60
    trial = made(0, steps)
    counts = torch.zeros(1, TREE.n_inputs, network.context + steps)
    for i, time in zip(trial.events.input, trial.events.time_ms, strict=True):
        counts[0, i, network.context + int(time)] += 1.0
    past = None
    if autoregressive:
        rest = np.full((network.context + 1, TREE.n), TREE.v_init_mV, np.float32)
        past = network.scaling.normalise(torch.from_numpy(np.concatenate([rest, trial.v_mV[:-1]]))).T[None]
    step, channel = counts[0].T.nonzero(as_tuple=True)
    with torch.no_grad():
        z, logit, _ = network(BinnedEvents(tuple(counts.shape), step, channel, counts[0, channel, step]), past)
    true_mV = trial.v_mV[None] if autoregressive else None
    for chunk in (60, 13):
        v, found = network.predict([trial.events], steps, true_mV, chunk_ms=chunk)
        assert v[0] == pytest.approx(network.scaling.denormalise(z[0]).numpy(), abs=1e-3)
        assert found == pytest.approx(logit.numpy(), abs=1e-4)


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize(("architecture", "options"), NETWORKS)
def test_a_window_is_what_prediction_sees(trials: Path, architecture: str, options: dict, autoregressive: bool) -> None:
    """The residual of a window is that of the prediction of the whole trial in these steps."""
    network = network_of(architecture, options, autoregressive)
    _, index = index_trials(trials)
    batch = Windows(network, index, 40, 0.5).draw(8, np.random.default_rng(0))
    with torch.no_grad():
        _, residual = network.loss(batch)
    for k, last in enumerate(batch.v_mV[:, -1].numpy()):
        number, stop = round(float(last[1]) + 75.0), round((float(last[0]) + 75.0) / 0.02) + 1
        recording = read_trial(index[number], TREE)
        true_mV = recording.v_mV[None] if autoregressive else None
        v, _ = network.predict([recording.events], recording.duration_ms, true_mV)
        expected = ((v[0] - recording.v_mV) / network.scaling.sd_mV.numpy())[stop - 40 : stop]
        assert residual[k].numpy() == pytest.approx(expected, abs=2e-3)
        assert batch.spikes[k].numpy().astype(bool).tolist() == recording.spike_train()[stop - 40 : stop].tolist()


def test_parts_of_a_batch_are_its_windows(trials: Path) -> None:
    network = network_of(*NETWORKS[0], True)
    windows = Windows(network, index_trials(trials)[1], 40, 0.5)
    whole = windows.draw(6, np.random.default_rng(0))
    for ranks in (1, 2, 3):
        for rank in range(ranks):  # a process's share: every window in one, and the same however many there are
            share = windows.draw(6, np.random.default_rng(0), rank, ranks)
            assert torch.equal(share.v_mV, whole.v_mV[rank::ranks])
            assert torch.equal(share.spikes, whole.spikes[rank::ranks])
            assert torch.equal(share.events.counts(), whole.events.counts()[rank::ranks])
    for part in (slice(0, 2), slice(2, 3), slice(4, 9)):
        some = whole.part(part)
        assert torch.equal(some.v_mV, whole.v_mV[part])
        assert torch.equal(some.spikes, whole.spikes[part])
        assert torch.equal(some.events.counts(), whole.events.counts()[part])


def test_windows_around_spikes(tmp_path: Path) -> None:
    """As many as asked for; the spike is anywhere in them; one while the cell settles is not looked for."""
    write_recordings(shard_path(tmp_path, 0), [made(0, 3000, np.array([100.5, 2000.5]))], {"trial": 0})
    index, network = index_trials(tmp_path)[1], network_of(*NETWORKS[0], False)
    every = Windows(network, index, 10, 1.0)
    assert every.spikes == 1
    spikes = every.draw(400, np.random.default_rng(0)).spikes
    assert (spikes.sum(1) == 1).all()
    counts = spikes.sum(0).numpy()
    assert ((counts - 40.0) ** 2 / 40.0).sum() < 9 + 4 * np.sqrt(18)
    some = Windows(network, index, 10, 0.25).draw(400, np.random.default_rng(0)).spikes
    assert abs(float(some.sum()) - 101.0) < 4 * np.sqrt(400 * 0.25 * 0.75)  # 1 of the others hold it by chance


def test_scaling_is_of_the_population_after_the_settling(tmp_path: Path) -> None:
    """Of all trials together, with five steps that count, where a sample's standard deviation would be larger."""
    parts = []
    for number, steps in ((0, SETTLE_MS + 3), (4, SETTLE_MS + 2)):
        trial = made(number, steps)
        write_recordings(shard_path(tmp_path, number), [trial], {"trial": number})
        parts.append(trial.v_mV[SETTLE_MS:].astype(float))
    scaling, v = measure_scaling(index_trials(tmp_path)[1]), np.concatenate(parts)
    assert scaling.mean_mV.numpy() == pytest.approx(v.mean(0), abs=1e-4)
    assert scaling.sd_mV.numpy() == pytest.approx(np.maximum(v.std(0), 1e-3), abs=1e-4)


@pytest.mark.parametrize("autoregressive", [False, True])
def test_the_start_is_a_ridge_regression(trials: Path, autoregressive: bool) -> None:
    """The penalty is relative to the mean square of the conductances, and does not hold the constant back."""
    _, network = build_model("hard-sharing", {**SMALL, "features": TREE.n}, TREE, autoregressive)
    train = split_trials(trials, 0.4, 0.2)[1].train
    scaling = measure_scaling(train)
    network.prepare(train, scaling)
    known, asked, found = [], [], []
    for trial in train:
        r, shorter = read_trial(trial, TREE), network.experts.synapses.context
        events = BinnedEvents.from_windows([(r.events, -shorter)], TREE.n_inputs, shorter + r.duration_ms)
        x = network.experts.synapses.conductances(events)[0].T.double().numpy()
        z = scaling.normalise(torch.from_numpy(r.v_mV)).double().numpy()
        before, at = np.roll(z, 1, 0), np.arange(SETTLE_MS, r.duration_ms, 5)
        known.append(np.column_stack([x, *([before] if autoregressive else []), np.ones(r.duration_ms)])[at])
        asked.append((z - before * autoregressive)[at])
        v, _ = network.predict([r.events], r.duration_ms, r.v_mV[None] if autoregressive else None)
        found.append((scaling.normalise(torch.from_numpy(v[0])).numpy() - before * autoregressive)[at])
    rows, wanted = np.concatenate(known), np.concatenate(asked)
    penalty = 1e-2 * len(rows) * np.mean(rows[:, : x.shape[1]] ** 2)
    held = np.sqrt(penalty) * np.eye(rows.shape[1])[:-1]
    weights = np.linalg.lstsq(np.vstack([rows, held]), np.vstack([wanted, np.zeros((len(held), TREE.n))]), rcond=None)[
        0
    ]
    assert np.concatenate(found) == pytest.approx(rows @ weights, abs=2e-3)
    free = rows @ np.linalg.lstsq(rows, wanted, rcond=None)[0]
    assert np.abs(free - rows @ weights).max() > 0.05  # the penalty shows


# ------------------------------------------------------------------------------------------- what a step does


def test_a_step_is_adamw_with_two_rates(trials: Path) -> None:
    """First steps of Adam have the size of the learning rate, that of the ridge regression's share times as much."""
    how = {"learning_rate": 1e-2, "start_rate": 0.25, "steps": 8, "warm_up": 0.5, "weight_decay": 0.5}
    run = Run(trials, TRAINING.model_copy(update=how))
    slow = {id(p) for p in run.model.linear_paths()}
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    batches = list(run.batches(0, 2))
    _step(run, 0, batches[0])
    moved = {True: 0, False: 0}
    for name, p in run.model.named_parameters():
        rate = (0.25 if id(p) in slow else 1.0) * 1e-2 / 4  # the first of four steps in which it rises
        step = p.detach() - before[name] * (1.0 - 0.5 * rate)
        big = p.grad.abs() > 1e-5
        moved[id(p) in slow] += int(big.sum())
        assert torch.allclose(step[big], -rate * p.grad.sign()[big], atol=2e-3 * rate + 2e-7), name
    assert min(moved.values()) > 10
    _step(run, 1, batches[1])
    assert run.schedule.get_last_lr() == pytest.approx(
        [1e-2 * _rate(2, run.training), 0.25e-2 * _rate(2, run.training)]
    )
    assert run.state["step"] == 2


def test_gradients_are_cut_to_a_norm(trials: Path) -> None:
    norms = []
    for clip in (1e9, 0.01):
        run = Run(trials, TRAINING.model_copy(update={"clip": clip}))
        _step(run, 0, next(run.batches(0, 1)))
        gradients = [p.grad.ravel() for p in run.model.parameters()]
        norms.append(float(torch.cat(gradients).norm()))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_chance_in_a_step_depends_on_the_step_and_the_process_alone(
    trials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows and dropout: the same after a restart, others in every step, and other dropout in every process."""
    training = TRAINING.model_copy(update={"options": {**SMALL, "dropout": 0.5}})
    seen, windows = {}, {}
    for rank, step, before in ((0, 3, 1), (0, 3, 2), (0, 4, 1), (1, 3, 1)):
        run = Run(trials, training)
        batch = next(run.batches(3, 4))
        torch.manual_seed(before)
        run.model.heads.output.data.fill_(0.3)  # else what is dropped does not show
        with monkeypatch.context() as patch:
            patch.setattr(Fabric, "global_rank", property(lambda _, rank=rank: rank))
            _step(run, step, batch)
        seen[rank, step, before] = run.state["tasks"]
        windows[step] = next(run.batches(step, step + 1)).v_mV
    assert torch.equal(seen[0, 3, 1], seen[0, 3, 2])
    assert not torch.equal(seen[0, 3, 1], seen[0, 4, 1])
    assert not torch.equal(seen[0, 3, 1], seen[1, 3, 1])
    assert not torch.equal(windows[3], windows[4])


def test_a_process_gets_its_share_of_the_batch(trials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(trials, TRAINING)
    whole = next(run.batches(2, 3))
    monkeypatch.setattr(Fabric, "world_size", property(lambda _: 2))
    for rank in (0, 1):
        monkeypatch.setattr(Fabric, "global_rank", property(lambda _, rank=rank: rank))
        assert torch.equal(next(run.batches(2, 3)).v_mV, whole.v_mV[rank::2])


@pytest.mark.parametrize("balance", ["dwa", "uncertainty"])
def test_a_run_that_is_resumed_goes_on_as_if_nothing_had_been(trials: Path, tmp_path: Path, balance: str) -> None:
    """Stopped in the middle of its second round: weights, optimiser, rates, balance, and what it remembers."""
    training = TRAINING.model_copy(update={"balance": balance, "options": {**SMALL, "dropout": 0.3}})

    def go_on(run: Run, last: int) -> Run:
        for step, batch in enumerate(run.batches(run.state["step"], last), run.state["step"]):
            _step(run, step, batch)
            if run.state["step"] % training.round_steps == 0:
                rounds.end_round(run)
        return run

    whole = go_on(Run(trials, training), 5)
    first = go_on(Run(trials, training), 3)
    save_checkpoint(tmp_path / "checkpoint", first)
    second = Run(trials, training)
    resume(tmp_path / "checkpoint", second)
    assert second.state["step"] == 3
    go_on(second, 5)
    for name, part in whole.objective.state_dict().items():
        assert torch.equal(part, second.objective.state_dict()[name]), name
    assert whole.schedule.get_last_lr() == second.schedule.get_last_lr()
    assert whole.state["best"]["step"] == second.state["best"]["step"]
    assert torch.equal(whole.state["tasks"], second.state["tasks"])
    assert [p["training"] for p in whole.state["curve"]] == [p["training"] for p in second.state["curve"]]


# ------------------------------------------------------------------------------------------- what a round does


def test_weights_of_dynamic_weight_average_follow_the_rounds(trials: Path) -> None:
    """From the mean losses of the tasks over the steps of the last two rounds, and of no other step."""
    run = Run(trials, TRAINING.model_copy(update={"balance": "dwa", "learning_rate": 0.05}))
    means = []
    for first in (0, 2):
        tasks = []
        for step, batch in enumerate(run.batches(first, first + 2), first):
            so_far = 0.0 if run.state["tasks"] is None else run.state["tasks"].clone()
            _step(run, step, batch)
            tasks.append(run.state["tasks"] - so_far)
        means.append(sum(tasks) / 2)
        point = rounds.end_round(run)
        assert point["training"] == pytest.approx(float(means[-1][:-1].mean() + 2.0 * means[-1][-1]), rel=1e-5)
        assert point["training_spikes"] == pytest.approx(float(means[-1][-1]), rel=1e-5)
    ratio = means[1] / means[0]
    assert torch.allclose(run.objective.balance.weight, len(ratio) * torch.softmax(ratio / 2.0, 0), atol=1e-5)
    assert not torch.allclose(run.objective.balance.weight, torch.ones_like(ratio), atol=1e-4)


@pytest.mark.parametrize("autoregressive", [False, True])
def test_the_validation_loss_is_its_definition(trials: Path, autoregressive: bool) -> None:
    """Over all steps of all validation trials after the settling, however long each trial is."""
    run = Run(trials, TRAINING.model_copy(update={"autoregressive": autoregressive, "spike_weight": 3.0}))
    found = rounds._validate(run)
    assert [t.duration_ms for t in run.split.validation] == [700, 655]
    squares, surprise = [], []
    for trial, score in zip(run.split.validation, found["scores"], strict=True):
        recording = read_trial(trial, TREE)
        true_mV = recording.v_mV[None] if autoregressive else None
        v, logit = run.model.predict([recording.events], recording.duration_ms, true_mV)
        squares.append((((v[0] - recording.v_mV) / run.scaling.sd_mV.numpy())[500:] ** 2).astype(float))
        p, s = 1.0 / (1.0 + np.exp(-logit[0].astype(float))), recording.spike_train()
        surprise.append(-np.log(np.where(s, p, 1.0 - p))[500:])
        assert score.numpy()[500:] == pytest.approx(p[500:], rel=1e-4, abs=1e-7)
    regression, spikes = np.concatenate(squares).mean(), np.concatenate(surprise).mean()
    assert found["regression"] == pytest.approx(regression, rel=1e-4)
    assert found["spikes"] == pytest.approx(spikes, rel=1e-4)
    assert found["loss"] == pytest.approx(regression + 3.0 * spikes, rel=1e-4)


def test_the_first_of_the_best_rounds_is_kept(trials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the whole loss, not by a part of it; with its own weights and scores; and then patience counts."""
    losses, weights, scores = [5.0, 3.0, 4.0, 2.0, 2.0, 3.0, 6.0, 1.0, 1.0], [], []
    rng = np.random.default_rng(0)

    def validate(run: Run) -> dict[str, Any]:
        weights.append({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
        scores.append([torch.from_numpy(rng.random(t.duration_ms).astype(np.float32)) for t in run.split.validation])
        k = len(weights) - 1
        return {"loss": losses[k], "regression": float(k != 1), "spikes": float(k != 2), "scores": scores[-1]}

    monkeypatch.setattr(rounds, "_validate", validate)
    training = TRAINING.model_copy(update={"steps": 18, "patience": 3, "learning_rate": 0.05})
    twin = train(trials, tmp_path / "twin", training)
    assert [point["validation"] for point in twin.training["curve"]] == losses[:7]
    assert (twin.training["best_step"], twin.training["steps"]) == (8, 14)
    for name, tensor in Twin.load(tmp_path / "twin").model.state_dict().items():
        assert torch.equal(tensor, weights[3][name]), name
    validation = split_trials(trials, 0.4, 0.2)[1].validation
    truth = [read_trial(t, TREE).spikes_ms for t in validation]
    assert twin.threshold == best_threshold(truth, [score.numpy() for score in scores[3]])
    assert twin.threshold != best_threshold(truth, [score.numpy() for score in scores[6]])
