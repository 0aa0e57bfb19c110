"""The command line from end to end, and every mistake a user can make: one line, exit status 2, no traceback."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from dendrotwin.cli.app import app
from dendrotwin.cli.base import ORDER, flag_of, milliseconds
from dendrotwin.errors import InputError
from dendrotwin.evaluation.split import split_trials
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.recording import read_tree
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.training.config import Training
from dendrotwin.twin import TWINS
from test_read_twin import command


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command, in this process, which saves its start; in a fresh one where it has an environment of its own."""
    if environment:
        fresh = [sys.executable, "-m", "dendrotwin.cli", *map(str, arguments)]
        return subprocess.run(fresh, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    said = command(*arguments)
    return subprocess.CompletedProcess(arguments, said.status, said.out, said.errors)


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line that names the cause, and exit status 2."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("dendrotwin: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def twin(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "twin"
    options = ["--option", "channels=8,8", "--option", "features=8", "--option", "synapse_ms=60"]
    result = run("train", data, "--out", out, "--steps", 30, "--window", 200, *options)
    assert result.returncode == 0, result.stderr
    assert f"twin of 37 compartments in {out}" in result.stdout
    assert "  validation loss " in result.stdout
    return out


def test_a_training_that_failed_ends_with_another_status(data: Path, tmp_path: Path) -> None:
    options = ["--option", "channels=8,8", "--option", "features=8", "--start-rate", 1, "--clip", 1e9]
    result = run("train", data, "--out", tmp_path / "twin", "--steps", 2, "--learning-rate", 30, *options)
    assert result.returncode == 1, result.stderr
    assert result.stdout.splitlines()[-1].startswith("  the training failed: predicting the mean is better (validation")


def test_the_whole_way(data: Path, twin: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    result = run("evaluate", twin, data, "--out", report, "--speed")
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in report.iterdir()) == sorted(
        [
            "compartments.csv",
            "electrodes.png",
            "errors.png",
            "ev.png",
            "report.json",
            "report.md",
            "soma.png",
            "traces.png",
            "training.png",
        ]
    )
    text = (report / "report.md").read_text()
    assert text.startswith(f"# {twin} on {data}\n")
    assert "](traces.png)" in text
    assert "| one thread, median of 3 | s for a simulated s | x NEURON default |" in text
    rows = {row["name"]: row for row in json.loads((report / "report.json").read_text())["rows"]}
    assert list(rows) == ["hard-sharing", "mean", "linear", "coarse cable", "persistence"]
    assert [row["one_step_ahead"] for row in rows.values()] == [False, False, False, False, True]
    assert rows["hard-sharing"]["EV soma"] is not None
    assert rows["hard-sharing"]["LFP VE silent worst"] <= rows["hard-sharing"]["LFP VE silent median"]
    assert np.shape(json.loads((report / "report.json").read_text())["contacts_um"]) == (6, 3)
    _, split = split_trials(data)
    assert json.loads((report / "report.json").read_text())["test_trials"] == [t.trial_id for t in split.test]
    assert "x NEURON default" in result.stdout
    with open(report / "compartments.csv") as file:
        assert sum(1 for _ in file) == 1 + 37

    predicted = tmp_path / "predicted.h5"
    result = run("predict", twin, data, "--out", predicted)
    assert result.returncode == 0, result.stderr
    tree, trials = index_trials(predicted)
    assert len(trials) == 10
    assert read_trial(trials[0], tree).spike_probability is not None
    result = run("plot", shard_path(data, 3), predicted, "--out", tmp_path / "figures", "--start", 500, "--stop", 900)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "figures" / "traces.png").stat().st_size > 10_000

    again = run("evaluate", twin, data, "--out", report, "--speed")
    assert (again.returncode, again.stdout) == (0, f"{report} is done already, by the same command of the same files\n")
    refused(run("evaluate", twin, data, "--out", report), "made of another choice of --speed;", "--overwrite")
    again = run("predict", twin, data, "--out", predicted)
    assert (again.returncode, again.stdout.count("is done already")) == (0, 1), again.stderr
    refused(run("predict", twin, data, "--compress", "--out", predicted), "exists", "--overwrite")
    refused(run("predict", twin, data, "--feed-back", "--out", tmp_path / "p.h5"), "leave --feed-back away")
    assert run("evaluate", twin, data, "--out", report, "--overwrite").returncode == 0


def test_preset_is_its_numbers(tmp_path: Path) -> None:
    for name, options in (("preset", "--preset tiny"), ("numbers", "--trials 3 --duration 1.5 --seed 2024")):
        result = run("simulate", "ball_and_stick", *options.split(), "--out", tmp_path / name)
        assert result.returncode == 0, result.stderr
    (tree, theirs), (_, ours) = index_trials(tmp_path / "preset"), index_trials(tmp_path / "numbers")
    assert (len(theirs), len(ours)) == (12, 3)
    for a, b in zip(theirs, ours, strict=False):
        once, again = read_trial(a, tree), read_trial(b, tree)
        assert np.array_equal(once.events.input, again.events.input)
        assert np.array_equal(once.events.time_ms, again.events.time_ms)
        assert np.array_equal(once.v_mV, again.v_mV)
    _, split = split_trials(tmp_path / "preset")
    assert [*split.test, *split.validation, *split.train] == theirs
    assert [len(part) for part in (split.test, split.validation, split.train)] == [2, 2, 8]


def test_finer_samples_by_the_command(data: Path, twin: Path, tmp_path: Path) -> None:
    """Signals, predictions and figures take them, training and evaluation do not."""
    fine = tmp_path / "fine"
    simulated = ("simulate", "ball_and_stick", "--duration", 0.8, "--seed", 5, "--record-dt")
    result = run(*simulated, 0.05, "--out", fine)
    assert result.returncode == 0, result.stderr
    tree, (trial,) = index_trials(fine)
    assert read_trial(trial, tree).v_mV.shape == (16_000, 37)
    refused(run(*simulated, 0.125, "--out", tmp_path / "x"), "must be a multiple of dt, 0.05 ms: choose one of 1, 0.5")
    fix = "is sampled every 0.05 ms", "simulate it again without --record-dt"
    refused(run("train", fine, "--out", tmp_path / "t"), *fix)
    refused(run("evaluate", twin, fine, "--training-data", data, "--out", tmp_path / "r"), *fix)

    predicted = tmp_path / "p.h5"
    result = run("predict", twin, fine, "--out", predicted)
    assert result.returncode == 0, result.stderr
    (ours,) = index_trials(predicted)[1]
    assert (ours.duration_ms, ours.record_dt_ms, ours.trial_id) == (800, 1.0, trial.trial_id)
    result = run("plot", fine, predicted, "--out", tmp_path / "figures")
    assert result.returncode == 0, result.stderr
    result = run("signals", shard_path(fine, 0), "--out", tmp_path / "s.h5", "--figures", tmp_path / "seen")
    assert result.returncode == 0, result.stderr
    with h5py.File(tmp_path / "s.h5") as file:
        assert (len(file["lfp/values"]), file.attrs["sampling_hz"]) == (16_000, 20_000.0)


def test_own_events_in_neuron_and_in_the_twin(twin: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("input,time\n" + "".join(f"{i},{100 + i}\n" for i in range(35)))
    out = tmp_path / "neuron"
    result = run("simulate", "ball_and_stick", "--events", events, "--duration", 0.4, "--out", out)
    assert result.returncode == 0, result.stderr
    result = run("predict", twin, events, "--duration", 0.4, "--out", tmp_path / "twin.h5")
    assert result.returncode == 0, result.stderr
    (tree, (a,)), (_, (b,)) = index_trials(out), index_trials(tmp_path / "twin.h5")
    neuron, ours = read_trial(a, tree), read_trial(b, tree)
    assert np.array_equal(neuron.events.time_ms, ours.events.time_ms)
    assert neuron.v_mV.shape == ours.v_mV.shape == (400, 37)
    result = run("plot", out, tmp_path / "twin.h5", "--out", tmp_path / "figures")
    assert result.returncode == 0, result.stderr
    refused(run("plot", out, tmp_path / "twin.h5", "--out", tmp_path / "figures", "--start", 1), "--overwrite")


def test_lists() -> None:
    result = run("cells")
    assert result.returncode == 0
    for name in ("ball_and_stick: 37", "allen_l4: 264", "l5pc: 642"):
        assert f"{name} compartments" in result.stdout
    result = run("doctor")
    assert result.returncode == 0, result.stdout
    assert "yes  simulate: " in result.stdout
    assert "yes  train: " in result.stdout


def test_doctor_without_a_compiler(tmp_path: Path) -> None:
    result = run("doctor", PATH=str(tmp_path), DENDROTWIN_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 2
    assert "NO   simulate: building mechanisms needs g++, make, perl, not found; install them" in result.stdout


# ------------------------------------------------------------------------------------------- mistakes


def test_mistakes_in_simulate(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(run("simulate", "purkinje", "--out", out), "no cell 'purkinje'", "choose")
    nowhere = {"DENDROTWIN_CACHE": str(tmp_path / "cache"), "DENDROTWIN_L5PC": str(tmp_path / "cell1.asc")}
    refused(run("simulate", "l5pc", "--out", out, **nowhere), "reconstruction is not at", "dendrotwin download l5pc")
    nothing = {"DENDROTWIN_CACHE": str(tmp_path / "cache"), "PATH": str(tmp_path)}
    refused(run("simulate", "ball_and_stick", "--out", out, **nothing), "needs g++, make, perl", "apt-get install")
    refused(run("simulate", "ball_and_stick", "--out", out, "--dt", 0.03), "it must divide 1 ms")
    refused(run("simulate", "ball_and_stick", "--out", out, "--method", "euler"), "method = euler")
    refused(run("simulate", "ball_and_stick", "--out", out, "--protocol", "white"), "no protocol 'white'")
    refused(run("simulate", "ball_and_stick", "--out", out, "--rate-scale", -1), "rate_scale = -1.0")
    refused(run("simulate", "ball_and_stick", "--out", out, "--option", "x"), "'x' says no value; write NAME=VALUE")
    refused(run("simulate", "ball_and_stick", "--out", out, "--executor", "dask"), "needs --scheduler")
    for option in ("--trials", "--duration", "--seed"):
        refused(run("simulate", "ball_and_stick", "--out", out, "--preset", "tiny", option, 2), "sets --trials, --dur")
    refused(run("simulate", "ball_and_stick", "--out", out, "--preset", "huge"), "no preset 'huge'; choose tiny, bench")
    refused(run("simulate", "ball_and_stick", "--out", data, "--seed", 99), "holds another simulation", "seed")
    refused(run("simulate", "ball_and_stick", "--out", Path(__file__)), "exists and is no data set")
    assert not (out / "trial-000000.h5").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("70,5", ("input 70", "inputs 0 to 69")),
        ("3,500", ("at 500 ms", "after the end at 500 ms")),
        ("3,-2", ("at -2 ms", "before the trial starts")),
        ("3,soon", ("every row needs two numbers",)),
    ],
)
def test_wrong_events(twin: Path, tmp_path: Path, row: str, words: tuple[str, ...]) -> None:
    events = tmp_path / "events.csv"
    events.write_text(f"input,time\n0,1\n{row}\n")
    out = tmp_path / "out"
    refused(run("simulate", "ball_and_stick", "--events", events, "--duration", 0.5, "--out", out), *words)
    refused(run("predict", twin, events, "--duration", 0.5, "--out", tmp_path / "p.h5"), *words)
    assert not (tmp_path / "p.h5").exists()
    assert not list(tmp_path.rglob("*.h5"))
    events.write_text("input,time\n0,1\n")  # corrected, the same command goes through
    assert run("simulate", "ball_and_stick", "--events", events, "--duration", 0.5, "--out", out).returncode == 0


def test_wrong_injection(tmp_path: Path) -> None:
    current = tmp_path / "current.csv"
    current.write_text("time,37\n0,0.1\n")
    injected = ("simulate", "ball_and_stick", "--inject", current, "--duration", 0.1, "--out", tmp_path / "out")
    refused(run(*injected), "into compartment 37, the cell has compartments 0 to 36")


def test_mistakes_with_data(data: Path, twin: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(run("train", empty, "--out", out), "holds no recording")
    refused(run("train", tmp_path / "nothing", "--out", out), "does not exist")
    refused(run("train", data, "--out", twin), "exists and is of another options, steps, window_ms;", "--overwrite")
    refused(run("train", data, "--out", out, "--arch", "transformer"), "no architecture 'transformer'")
    refused(run("train", data, "--out", out, "--steps", 0), "steps = 0")
    refused(run("train", data, "--out", out, "--option", "colour=red"), "option 'colour' of hard-sharing")
    refused(run("evaluate", twin, empty, "--out", out), "holds no recording")

    short = tmp_path / "short"
    short.mkdir()
    whole = shard_path(data, 0).read_bytes()
    (short / "trial-000000.h5").write_bytes(whole[: len(whole) // 3])
    refused(run("train", short, "--out", out), "truncated", "restore it")

    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(shard_path(data, 0), other)
    with h5py.File(shard_path(other, 0), "r+") as file:
        file["tree/capacitance_nF"][0] = 1.0
        file.attrs["tree_fingerprint"] = read_tree(file["tree"]).fingerprint()
    refused(run("evaluate", twin, other, "--out", out), "of another cell than the twin's")
    shutil.copy(shard_path(data, 1), other)
    refused(run("train", other, "--out", out), "of another cell than its neighbours")

    seen = tmp_path / "seen"
    seen.mkdir()
    shutil.copy(shard_path(data, 9), seen)
    refused(run("evaluate", twin, seen, "--out", out), "trained on every trial")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copy(shard_path(data, 0), fresh)
    refused(run("evaluate", twin, fresh, "--out", out), "--training-data")
    result = run("evaluate", twin, fresh, "--training-data", data, "--out", out)
    assert result.returncode == 0, result.stderr
    shutil.rmtree(out)

    with h5py.File(shard_path(seen, 9), "r+") as file:
        v = file["trials/000000/v"][()].astype(np.float32)
        v[700, 3] = np.nan
        del file["trials/000000/v"]
        file["trials/000000/v"] = v
    for k in range(1, 4):
        shutil.copy(shard_path(data, k), seen)
    refused(run("train", seen, "--out", out), "V holds NaN")
    assert not out.exists()


def test_mistakes_with_a_twin(data: Path, twin: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    refused(run("predict", data, data, "--out", out), "is no twin", "config.json")
    broken = tmp_path / "broken"
    shutil.copytree(twin, broken)
    (broken / "model.safetensors").write_bytes(b"")
    refused(run("predict", broken, data, "--out", out), "model.safetensors was altered after it was saved")
    assert not out.exists()


def test_a_figure_of_the_paper(tmp_path: Path) -> None:
    result = run("figure", "paper-3", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    path = tmp_path / "paper-3.png"
    assert result.stdout == f"paper-3 in {path}\n"
    assert path.read_bytes().startswith(b"\x89PNG")
    again = run("figure", "paper-3", "--out", tmp_path)
    assert (again.returncode, again.stdout.count("is done already")) == (0, 1), again.stderr
    path.write_bytes(b"")
    refused(run("figure", "paper-3", "--out", tmp_path), "exists and was made of something that it does not say")


def test_mistakes_with_figures(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(run("figure", "paper-3", "--out", tmp_path / "file"), "file is a file", "name a folder")
    refused(run("figure", "paper-4", "--out", tmp_path), "no figure 'paper-4'", "choose paper-1, paper-2 or paper-3")
    refused(run("figure", "paper-2", "--out", tmp_path), "is of a benchmark", "figure paper-2 FOLDER")
    refused(run("figure", "paper-1", data, "--out", tmp_path), "takes no folder", "leave")
    refused(run("figure", "paper-2", data, "--out", tmp_path), "no plan.json", "`dendrotwin benchmark` makes one")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("arguments", ["simulate", "frobnicate", "train x --steps y --out z", "simulate x --trials 0"])
def test_wrong_words(arguments: str) -> None:
    refused(run(*arguments.split()), "--help says more")


def test_stopped_by_ctrl_c(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dendrotwin.cli", "simulate", "ball_and_stick", "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--trials", "40", "--duration", "3"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has it ignored
    )
    while not shard_path(out, 0).exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal sends: to the command and to its workers
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        errors.splitlines()[-1]
        == "dendrotwin: stopped; `simulate`, `train` and `benchmark` go on from here when called again"
    )
    assert "Traceback" not in errors
    assert not shard_path(out, 39).exists()
    index_trials(out)  # every shard that is there is whole


def test_help_names_every_command_in_the_order_of_use() -> None:
    listed = run("--help").stdout.partition("Commands")[2]
    assert tuple(re.findall(r"^\W*([a-z]+)  ", listed, re.MULTILINE)) == ORDER


def test_mistakes_of_units_and_kinds_of_file(tmp_path: Path) -> None:
    """A duration in ms is said to be one in seconds; HDF5 is not written under another kind's name."""
    events = tmp_path / "events.csv"
    events.write_text("input,time\n0,5\n")
    refused(run("predict", "l5pc", events, "--duration", 0.1, "--out", tmp_path / "v.csv"), "name a file that ends in")
    refused(run("signals", events, "--out", tmp_path / "s.npz"), "s.npz would hold HDF5; name a file that ends in .h5")
    recorded = TWINS / "l5pc.recording.h5"
    refused(run("predict", "l5pc", recorded, "--duration", 1, "--out", tmp_path / "v.h5"), "leave --duration away")
    result = run("simulate", "purkinje", "--duration", 1000, "--out", tmp_path / "out")
    assert result.returncode == 2
    result = run("predict", "ball_and_stick", events, "--duration", 1000, "--out", tmp_path / "v.h5")
    assert result.returncode == 2  # there is no such twin
    with pytest.raises(InputError, match="cannot last nan s"):
        milliseconds(float("nan"))


def test_a_long_duration_is_said_once_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert milliseconds(6.0) == 6000
    assert capsys.readouterr().err == ""
    assert milliseconds(1000.0) == 1_000_000
    assert "--duration is in seconds: a trial lasts 1000 s (16.6667 min)" in capsys.readouterr().err


def test_options_are_made_from_the_configuration() -> None:
    """Every field of a training is an option with its sentence and its default, and reaches the command."""
    (train,) = (command for command in app.registered_commands if command.callback.__name__ == "train")
    parameters = inspect.signature(train.callback).parameters
    for name, field in Training.model_fields.items():
        if name == "options":
            continue
        option = parameters[name].annotation.__metadata__[0]
        assert option.help == field.description
        assert option.default == ("--arch" if name == "architecture" else flag_of(name))  # Typer's place for the name
        assert parameters[name].default == field.default
    assert flag_of("window_ms") == "--window"
    refused(run("train", "nowhere", "--out", "x", "--clip", "-1"), "clip = -1.0: give a number above 0")
    assert "--warm-up" in run("train", "--help").stdout
