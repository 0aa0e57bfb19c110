"""From a data set to a twin: the network against a slow version of itself, training, the folder, predictions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import dendrotwin
from dendrotwin.cell.spikes import predicted_spikes
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cli.app import app
from dendrotwin.errors import FileError, InputError, TwinError
from dendrotwin.evaluation.metrics import best_threshold
from dendrotwin.evaluation.predictors import baseline_rows, evaluate_predictor
from dendrotwin.evaluation.split import split_trials
from dendrotwin.models.base import Model
from dendrotwin.models.baselines import linear_predictor
from dendrotwin.models.scaling import measure_scaling
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.recording import SETTLE_MS, Recording
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.solver.conductances import synaptic_conductances
from dendrotwin.support.folder_lock import FolderLock
from dendrotwin.training import loop
from dendrotwin.training.checkpoint import save_checkpoint
from dendrotwin.training.config import Training
from dendrotwin.training.loop import train
from dendrotwin.training.rounds import finished_twin
from dendrotwin.training.run import Run
from dendrotwin.training.windows import Windows
from dendrotwin.twin import Twin
from sealing import seal_again
from slow_networks import event_counts
from test_recording import recording, tree_with_inputs

SMALL = {"channels": (16, 16), "features": 16, "synapse_ms": 60}
QUICK = Training(options=SMALL, steps=150, batch=4, window_ms=200, round_steps=50)
OFTEN = QUICK.model_copy(update={"checkpoint_minutes": 0.005})


@pytest.fixture(scope="module")
def twin_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("twins") / "twin"
    train(data, out, QUICK)
    return out


# ----------------------------------------------------------------------------------------------- data set


def test_split_is_by_trial(data: Path) -> None:
    _, split = split_trials(data, 0.1, 0.2)
    parts = [[trial.trial_id for trial in part] for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [7, 1, 2]
    assert sum(reversed(parts), []) == [trial.trial_id for trial in index_trials(data)[1]]  # noqa: RUF017
    with pytest.raises(InputError, match="none is left for training"):
        split_trials(data, 0.5, 0.5)
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        split_trials(data, 0.0, 0.2)


def test_scaling_is_that_of_the_training_split(data: Path) -> None:
    tree, split = split_trials(data)
    scaling = measure_scaling(split.train)
    v = np.concatenate([read_trial(t, tree).v_mV[500:] for t in split.train]).astype(np.float64)
    assert scaling.mean_mV.numpy() == pytest.approx(v.mean(0), rel=1e-5)
    assert scaling.sd_mV.numpy() == pytest.approx(v.std(0), rel=1e-4)
    some = torch.randn(4, tree.n)
    assert torch.allclose(scaling.normalise(scaling.denormalise(some)), some, atol=1e-4)


def test_windows_are_cut_from_their_trials(data: Path) -> None:
    tree, split = split_trials(data)
    sees_input = SimpleNamespace(tree=tree, context=30, autoregressive=False)
    batch = Windows(sees_input, split.train, 100, 1.0).draw(16, np.random.default_rng(0))
    recordings = [read_trial(trial, tree) for trial in split.train]
    for events, v, spikes in zip(batch.events.counts(), batch.v_mV.numpy(), batch.spikes, strict=True):
        places = [
            (r, start)
            for r in recordings
            for start in range(500, r.duration_ms - 99)
            if np.abs(r.v_mV[start] - v[0]).max() < 0.01 and np.abs(r.v_mV[start : start + 100] - v).max() < 0.01
        ]
        assert len(places) == 1
        r, start = places[0]
        assert np.array_equal(events.numpy(), event_counts(r.events, tree.n_inputs, start - 30, start + 100))
        assert np.array_equal(spikes.numpy().astype(bool), r.spike_train()[start : start + 100])
        assert spikes.sum() > 0  # spike_share is 1
    with pytest.raises(InputError, match="lasts 1500 ms, a window 2000 ms"):
        Windows(sees_input, split.train, 2000, 0.5)


def test_event_counts() -> None:
    events = Events.sort(np.array([0, 0, 1, 1]), np.array([2, 2, 0, 5]))
    assert event_counts(events, 2, -1, 4).tolist() == [[0, 0, 0, 2, 0], [0, 1, 0, 0, 0]]


# ----------------------------------------------------------------------------------------------- training


def _validation_loss(twin: Twin, check: Recording, v: np.ndarray, probability: np.ndarray) -> float:
    """The loss of a twin on a trial, from its predictions and the definition."""
    z = (v - check.v_mV)[500:] / twin.model.scaling.sd_mV.numpy()
    p, s = probability[500:].astype(float), check.spike_train()[500:]
    cross_entropy = -(np.log(p[s]).sum() + np.log1p(-p[~s]).sum()) / len(s)
    return float((z**2).mean() + twin.training["configuration"]["spike_weight"] * cross_entropy)


def test_the_best_round_is_kept_not_the_last(data: Path, tmp_path: Path) -> None:
    """A run that gets worse: the twin has the loss of its best round, with dropout off."""
    wild = QUICK.model_copy(update={"learning_rate": 0.03, "steps": 400, "options": {**SMALL, "dropout": 0.3}})
    twin = train(data, tmp_path / "wild", wild)
    best = min(twin.training["curve"], key=lambda point: point["validation"])
    assert best["step"] < 400
    tree, split = split_trials(data)
    check = read_trial(split.validation[0], tree)
    v, probability = twin.predict_batch([check.events], check.duration_ms)
    assert _validation_loss(twin, check, v[0], probability[0]) == pytest.approx(best["validation"], rel=1e-3)


def test_test_trials_are_not_looked_at(data: Path, twin_folder: Path, tmp_path: Path) -> None:
    """With other potentials in the test trials the same twin is trained."""
    other = tmp_path / "data"
    shutil.copytree(data, other)
    _, split = split_trials(other)
    for trial in split.test:
        with h5py.File(trial.path, "r+") as file:
            file["trials/000000/v"][...] = 0
            del file["trials/000000/spikes_ms"]
            file["trials/000000/spikes_ms"] = np.arange(600.0, 1400.0, 20.0)
    train(other, tmp_path / "twin", QUICK)
    once, again = _weights(twin_folder), _weights(tmp_path / "twin")
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_checkpoint_of_another_training_is_not_used(data: Path, twin_folder: Path, tmp_path: Path) -> None:
    for seed, rounds in ((5, 1), (0, 3)):
        training = OFTEN.model_copy(update={"seed": seed})
        if rounds == 1:
            process = subprocess.Popen(_train_command(data, tmp_path / "twin", training), stderr=subprocess.PIPE)
            while not (tmp_path / ".twin.checkpoint").exists():
                assert process.poll() is None
                time.sleep(0.005)
            process.kill()
            process.communicate()
        else:
            twin = train(data, tmp_path / "twin", training)
    assert _losses(twin) == _losses(Twin.load(twin_folder))


def test_trials_that_cannot_be_trained_on(data: Path, simulation: Simulation, tmp_path: Path) -> None:
    simulate(simulation.model_copy(update={"duration_ms": 400}), 3, tmp_path / "short")
    with pytest.raises(InputError, match="lasts 400 ms, the first 500 do not count"):
        split_trials(tmp_path / "short")
    injection = Injection(np.array([0], dtype=np.int32), np.full((600, 1), 0.1))
    simulate(simulation.model_copy(update={"duration_ms": 600}), 3, tmp_path / "injected", injection=injection)
    with pytest.raises(InputError, match="has injected current, which training does not use"):
        split_trials(tmp_path / "injected")


def test_training_learns_and_keeps_the_best(data: Path, twin_folder: Path) -> None:
    twin = Twin.load(twin_folder)
    curve = twin.training["curve"]
    assert [point["step"] for point in curve] == [50, 100, 150]
    best = min(curve, key=lambda point: point["validation"])
    assert twin.training["best_step"] == best["step"]
    assert best["validation"] < 0.95 * curve[0]["validation"]
    tree, split = split_trials(data)
    assert twin.training["train_trials"] == [t.trial_id for t in split.train]
    assert torch.equal(twin.model.scaling.sd_mV, measure_scaling(split.train).sd_mV)
    check = read_trial(split.validation[0], tree)
    v, probability = twin.predict_batch([check.events], check.duration_ms)
    assert twin.threshold == pytest.approx(best_threshold([check.spikes_ms], [probability[0]]), rel=1e-3)
    made = twin.predict(check.events, check.duration_ms)
    assert np.array_equal(made.spikes_ms, predicted_spikes(probability[0], twin.threshold))
    assert _validation_loss(twin, check, v[0], probability[0]) == pytest.approx(best["validation"], rel=1e-3)

    def predictor(recording: object) -> tuple[np.ndarray, np.ndarray]:
        v, probability = twin.predict_batch([recording.events], recording.duration_ms)
        return v[0], probability[0]

    ours = evaluate_predictor("twin", predictor, tree, split.test, threshold=twin.threshold)
    rows = {e.name: e for e in baseline_rows(tree, split.train, split.validation, split.test)}
    assert set(rows) == {"mean", "linear", "coarse cable", "persistence"}
    assert np.median(ours.ev) > np.median(rows["mean"].ev) + 0.1
    assert np.median(rows["linear"].ev) > np.median(rows["mean"].ev)
    assert np.nanmax(rows["mean"].ev) <= 0.0


def _losses(twin: Twin) -> list[tuple[float, ...]]:
    """What a training's log says of its losses, without its timing."""
    names = ("step", "training", "training_spikes", "validation", "validation_regression", "validation_spikes")
    return [tuple(point[name] for name in names) for point in twin.training["curve"]]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_same_seed_same_twin(data: Path, twin_folder: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "again", QUICK)
    once, again = _weights(twin_folder), _weights(tmp_path / "again")
    assert all(torch.equal(once[name], again[name]) for name in once)


def _train_command(data: Path, out: Path, training: Training = OFTEN) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from dendrotwin import Training; from dendrotwin.training import loop\n"
        "one_step, taken = loop._step, []\n"
        "loop._step = lambda *arguments: taken.append(one_step(*arguments))\n"
        "loop.train(Path(sys.argv[1]), Path(sys.argv[2]), Training.model_validate_json(sys.argv[3]))\n"
        "print(len(taken))"
    )
    return [sys.executable, "-c", code, str(data), str(out), training.model_dump_json()]


def test_killed_training_goes_on(data: Path, tmp_path: Path) -> None:
    """Killed after its first checkpoint and started again: the weights and losses of an undisturbed run."""
    subprocess.run(_train_command(data, tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(_train_command(data, tmp_path / "killed"), stderr=subprocess.PIPE)
    checkpoint = tmp_path / ".killed.checkpoint"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed").exists()
    rest = subprocess.run(_train_command(data, tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert 0 < int(rest.stdout) < QUICK.steps  # not all over again
    once, again = _weights(tmp_path / "whole"), _weights(tmp_path / "killed")
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert _losses(Twin.load(tmp_path / "whole")) == _losses(Twin.load(tmp_path / "killed"))
    lines = [json.loads(line) for line in (tmp_path / "killed.log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150]
    assert not checkpoint.exists()


def test_two_trainings_into_one_folder(data: Path, tmp_path: Path) -> None:
    """The second is refused before its first step, and changes nothing."""
    log = tmp_path / "twin.log.jsonl"
    log.write_text("of the first\n")
    with FolderLock(log) as lock:
        assert lock.try_alone()
        with pytest.raises(FileError, match=r"another process is training into .*twin; wait for it, or name another"):
            train(data, tmp_path / "twin", QUICK)
    assert [path.name for path in tmp_path.iterdir()] == [log.name]
    assert log.read_text() == "of the first\n"


def test_a_training_goes_on_with_its_threads(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sums over another number of threads have other roundings, and so the weights."""
    few = QUICK.model_copy(update={"steps": 2, "round_steps": 1, "window_ms": 50})
    before = torch.get_num_threads()
    run = Run(data, few)
    torch.set_num_threads(before + 1)
    save_checkpoint(tmp_path / ".twin.checkpoint", run)
    torch.set_num_threads(before)
    seen: list[int] = []
    one_step = loop._step
    monkeypatch.setattr(loop, "_step", lambda *a: (seen.append(torch.get_num_threads()), one_step(*a)))
    twin = train(data, tmp_path / "twin", few)
    assert seen == [before + 1] * 2
    assert twin.training["threads"] == before + 1
    assert torch.get_num_threads() == before
    assert f"goes on with {before + 1} threads of PyTorch" in capsys.readouterr().err


def test_a_finished_training_is_known(data: Path, twin_folder: Path, tmp_path: Path) -> None:
    found = finished_twin(data, twin_folder, QUICK)
    assert found is not None
    assert found.training["identity"]
    assert finished_twin(data, tmp_path / "nothing", QUICK) is None
    for changes in ({"seed": 1}, {"steps": 151}, {"train_trials": 2}):
        with pytest.raises(FileError, match=f"exists and is of another {next(iter(changes))}"):
            finished_twin(data, twin_folder, QUICK.model_copy(update=changes))
    folder = _copy(twin_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for changes in ({"steps": 100}, {"identity": "another"}):  # it diverged; another training
        seal_again(folder, training={**config["training"], **changes})
        with pytest.raises(FileError, match="exists"):
            finished_twin(data, folder, QUICK)


def test_killed_after_its_twin_was_saved(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command draws what is missing, and says that the rest is done."""
    out, checkpoint = tmp_path / "twin", tmp_path / ".twin.checkpoint"
    command = ["train", str(data), "--out", str(out), "--steps", "2", "--window", "50", "--option", "channels=8,8"]
    app(command, standalone_mode=False)
    when = (out / "config.json").stat().st_mtime_ns
    (out / "training.png").unlink()
    checkpoint.touch()
    app(command, standalone_mode=False)
    assert "is done already" in capsys.readouterr().err
    assert (out / "training.png").is_file()
    assert not checkpoint.exists()
    assert (out / "config.json").stat().st_mtime_ns == when
    with pytest.raises(FileError, match="exists and is of another seed; name another folder, or use --overwrite"):
        app([*command, "--seed", "3"], standalone_mode=False)


def test_divergence_is_named(data: Path, tmp_path: Path) -> None:
    wild = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TwinError, match=r"no longer finite at step \d+ with a learning rate of .*use a lower"):
        train(data, tmp_path / "wild", wild)
    assert not (tmp_path / "wild").exists()


def test_existing_twin_is_kept(data: Path, twin_folder: Path, tmp_path: Path) -> None:
    """What the same training has made is returned, anything else is in the way."""
    when = (twin_folder / "config.json").stat().st_mtime_ns
    again = train(data, twin_folder, QUICK)
    assert again.training["configuration"] == QUICK.model_dump(mode="json")
    assert (twin_folder / "config.json").stat().st_mtime_ns == when
    other = QUICK.model_copy(update={"seed": 99, "clip": 2.0})
    with pytest.raises(FileError, match="exists and is of another clip, seed; name another folder, or use --overwr"):
        train(data, twin_folder, other)
    with pytest.raises(FileError, match="is of another kind, not trained; name another folder"):
        train(data, dendrotwin.TWINS / "l5pc", QUICK)
    (tmp_path / "few").mkdir()
    for shard in sorted(data.glob("*.h5"))[:-1]:
        shutil.copy(shard, tmp_path / "few")
    with pytest.raises(FileError, match="is of another trials or code of the network"):
        train(tmp_path / "few", twin_folder, QUICK)


# ----------------------------------------------------------------------------------------------- folder


def _copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "twin"))


def test_missing_and_altered_tensors(twin_folder: Path, tmp_path: Path) -> None:
    folder = _copy(twin_folder, tmp_path)
    tensors = _weights(folder)
    save_file({k: t for k, t in tensors.items() if k != "heads.first_bias"}, folder / "model.safetensors")
    seal_again(folder)
    with pytest.raises(TwinError, match=r"model.safetensors lacks heads.first_bias"):
        Twin.load(folder)
    save_file({**tensors, "heads.first_bias": torch.zeros(3)}, folder / "model.safetensors")
    seal_again(folder)
    with pytest.raises(TwinError, match=r"heads.first_bias has shape \(3,\), not \(38, 2\)"):
        Twin.load(folder)
    save_file(
        {**tensors, "heads.first_bias": tensors["heads.first_bias"] + 1.0},
        folder / "model.safetensors",
    )
    with pytest.raises(TwinError, match=r"model.safetensors was altered"):
        Twin.load(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    seal_again(folder)
    with pytest.raises(TwinError, match="is damaged"):
        Twin.load(folder)


def test_damaged_folder(twin_folder: Path, tmp_path: Path) -> None:
    folder = _copy(twin_folder, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    seal_again(folder, options={"channels": "many"})
    with pytest.raises(TwinError, match="is damaged"):
        Twin.load(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(TwinError, match="is damaged"):
        Twin.load(folder)
    (folder / "config.json").write_text(json.dumps(config))
    with h5py.File(folder / "tree.h5", "r+") as file:
        file["leak_uS"][0] += 1.0
    with pytest.raises(TwinError, match=r"tree.h5 was altered"):
        Twin.load(folder)
    (folder / "tree.h5").unlink()
    with pytest.raises(TwinError, match=r"is no twin: tree.h5 is missing"):
        Twin.load(folder)


def test_loading_gives_what_was_saved(data: Path, twin_folder: Path, tmp_path: Path) -> None:
    twin = Twin.load(twin_folder)
    twin.save(tmp_path / "copy")
    tree, trials = index_trials(data)
    events = read_trial(trials[0], tree).events
    copy = Twin.load(tmp_path / "copy")
    for a, b in zip(twin.predict_batch([events], 1500), copy.predict_batch([events], 1500), strict=True):
        assert np.array_equal(a, b)


# ----------------------------------------------------------------------------------------------- predictions


def test_chunks_and_batches_change_nothing(data: Path, twin_folder: Path) -> None:
    twin = Twin.load(twin_folder)
    tree, trials = index_trials(data)
    events = [read_trial(trial, tree).events for trial in trials[:3]]
    v, probability = twin.predict_batch(events, 1500, chunk_ms=1500)
    for chunk in (1, 137):
        steps = 1500 if chunk > 1 else 60
        few = [Events(e.input[e.time_ms < steps], e.time_ms[e.time_ms < steps]) for e in events]
        w, q = twin.predict_batch(few, steps, chunk_ms=chunk)
        assert np.allclose(w, v[:, :steps], atol=1e-3)
        assert np.allclose(q, probability[:, :steps], atol=1e-5)
    alone, _ = twin.predict_batch([events[2]], 1500)
    assert np.allclose(alone[0], v[2], atol=1e-3)


def test_injected_current_is_refused(twin_folder: Path) -> None:
    twin = Twin.load(twin_folder)
    none = Events.sort(np.zeros(0), np.zeros(0))
    injection = Injection(np.array([0], dtype=np.int32), np.ones((10, 1)))
    with pytest.raises(InputError, match="current is injected, which a network cannot take"):
        twin.predict(none, 10, injection=injection)


def test_linear_baseline_is_the_ridge_solution(data: Path) -> None:
    """The best of the penalties, against the same regression by augmented least squares."""
    tree, split = split_trials(data)
    truth = [read_trial(trial, tree) for trial in split.train]
    x = [
        np.concatenate(list(synaptic_conductances(tree, [r.events], r.duration_ms)))[:, :, 0].astype(float)
        for r in truth
    ]
    features, target = np.concatenate([a[500:] for a in x]), np.concatenate([r.v_mV[500:] for r in truth])
    scale = (features**2).sum() / features.shape[1]
    check = read_trial(split.validation[0], tree)
    of_check = np.concatenate(list(synaptic_conductances(tree, [check.events], check.duration_ms)))[:, :, 0].astype(
        float
    )
    found, _ = linear_predictor(tree, split.train, split.validation)(check)
    errors = []
    for penalty in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        penalties = np.sqrt(penalty * scale) * np.eye(features.shape[1], features.shape[1] + 1)
        rows = np.vstack([np.column_stack([features, np.ones(len(features))]), penalties])
        weights, *_ = np.linalg.lstsq(rows, np.vstack([target, np.zeros((len(penalties), tree.n))]), rcond=None)
        v = of_check @ weights[:-1] + weights[-1]
        errors.append((((v - check.v_mV)[500:] ** 2).mean(), v))
    best = min(errors, key=lambda pair: pair[0])[1]
    assert np.abs(found - best).max() < 0.05


class _Told(Model):
    """A model that remembers what it was told, and says the same of every trial."""

    def __init__(self, tree: Tree, autoregressive: bool) -> None:
        super().__init__()
        self.tree, self.autoregressive, self.told = tree, autoregressive, ()
        self.logit = np.random.default_rng(0).normal(size=40).astype(np.float32)

    def pieces(self, events, duration_ms, true_mV=None, injections=None, chunk_ms=1000):
        self.told = (events[0], duration_ms, true_mV, injections[0])
        yield np.zeros((1, duration_ms, self.tree.n), np.float32), self.logit[None, :duration_ms]

    restore = None


@pytest.mark.parametrize("autoregressive", [False, True])
def test_a_model_is_told_what_it_may_know_and_no_more(autoregressive: bool) -> None:
    """Events and current as they are; true potentials only one step ahead, of each ms, and if it is not fed back."""
    model = _Told(tree_with_inputs(), autoregressive)
    twin = Twin("told", {}, model.tree, model, 0.6, {})
    fine = recording(model.tree, 40, record_dt_ms=0.5)
    for feed_back in (False, True):
        made = twin.predict(fine, feed_back=feed_back)
        events, duration_ms, true_mV, current = model.told
        assert (events, duration_ms, current) == (fine.events, 40, fine.injection)
        if autoregressive and not feed_back:
            assert np.array_equal(true_mV[0], fine.v_mV[1::2])
        else:
            assert true_mV is None
        assert (made.events, made.injection, made.trial_id) == (fine.events, fine.injection, fine.trial_id)
        probability = 1.0 / (1.0 + np.exp(-model.logit))
        assert made.spike_probability == pytest.approx(probability)
        assert np.array_equal(made.spikes_ms, predicted_spikes(probability, 0.6))
        assert not np.array_equal(made.spikes_ms, predicted_spikes(probability, 0.5))
    made = twin.predict(fine.events, 40, injection=fine.injection)
    assert model.told == (fine.events, 40, None, fine.injection)
    assert made.injection is fine.injection


def test_twins_are_loaded_by_name_or_by_folder(tmp_path: Path) -> None:
    twin = dendrotwin.load("l5pc")
    assert twin.architecture == "cable"
    assert twin.tree.n == 642
    with pytest.raises(
        TwinError, match=r"nobody is no twin: there is no such folder, .*\(l5pc, l5pc-hay2011\) none has this name"
    ):
        dendrotwin.load("nobody")
    with pytest.raises(TwinError, match=r"is no twin: .*tree.h5.* missing"):
        dendrotwin.load(tmp_path)


def test_the_twin_that_comes_along_predicts_the_recording_beside_it() -> None:
    """With bounds far below what docs/measurements/read-twins.md reports."""
    twin = dendrotwin.load("l5pc")
    tree, (trial,) = index_trials(dendrotwin.TWINS / "l5pc.recording.h5")
    true = read_trial(trial, tree)
    assert tree.fingerprint() == twin.tree.fingerprint()
    v, _ = twin.predict_batch([true.events], true.duration_ms)
    late, ours = true.v_mV[SETTLE_MS:].astype(float), v[0, SETTLE_MS:].astype(float)
    ev = 1.0 - ((ours - late) ** 2).sum(0) / ((late - late.mean(0)) ** 2).sum(0)
    assert np.median(ev) > 0.8
    assert len(true.spikes_ms) >= 3
