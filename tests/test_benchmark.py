"""Architectures side by side: the whole way with two seeds, after a kill, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dendrotwin
from dendrotwin.benchmark import benchmark as module
from dendrotwin.benchmark import plan as plan_module
from dendrotwin.benchmark import rows as rows_module
from dendrotwin.benchmark.benchmark import benchmark
from dendrotwin.benchmark.paper_figures import figure_2
from dendrotwin.benchmark.rows import finished_rows
from dendrotwin.cli.measure import _entries
from dendrotwin.cli.measure import benchmark as command
from dendrotwin.errors import FileError, InputError, TwinError
from dendrotwin.evaluation.lfp_metrics import NO_LFP
from dendrotwin.evaluation.predictors import CLOSED_LOOP, baseline_rows, evaluate_twin
from dendrotwin.evaluation.split import split_trials
from dendrotwin.models import architectures
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.support.atomic_files import remove_dead_partials
from dendrotwin.support.folder_lock import FolderLock
from dendrotwin.training.config import Training
from dendrotwin.training.loop import train
from dendrotwin.twin import Twin
from test_plot import small_tree
from test_report import evaluation, parse

SIZES = "channels=4,4:features=4:synapse_ms=30:batch=2:window_ms=60:round_steps=20"
ARCHS = f"hard-sharing:{SIZES},mmoe:experts=2:{SIZES}"
LABELS = ARCHS.split(",mmoe")[0], f"mmoe:experts=2:{SIZES}"
RUNS = [f"{label}-seed{seed}" for label in LABELS for seed in (0, 1)]
BUDGET = 0.06
POWER = "LFP, error of the power [dB]"
SECONDS = {"NEURON default": 3.0, "NEURON tuned": 1.5, "coarse cable, batch 1": 0.1, "coarse cable, batch 8": 0.05}


def _command(data: Path, out: Path, *more: str) -> list[str]:
    options = ["--data", str(data), "--out", str(out), "--archs", ARCHS, "--budget", str(BUDGET), "--seeds", "2", *more]
    return [sys.executable, "-m", "dendrotwin.cli", "benchmark", *options]


def _for_speed(patch: pytest.MonkeyPatch) -> None:
    """The worker is a thread of this process, which imports nothing, and figures are small."""
    patch.setattr(module, "worker_pool", lambda *_: ThreadPoolExecutor(1))
    patch.setattr("dendrotwin.plot.style.DPI", 40)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    _for_speed(monkeypatch)


@pytest.fixture(scope="module")
def killed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int], dict[str, Any]]:
    """A benchmark killed after its first twin and then finished; its twins and its plan at the time of the kill."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    process = subprocess.Popen(_command(data, out, "--workers", "2"), stderr=subprocess.PIPE, start_new_session=True)
    while not list(out.glob("twins/[!.]*/config.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()  # returns once the workers, which share the pipe, have followed
    twins = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("twins/[!.]*/model.safetensors")}
    plan = json.loads((out / "plan.json").read_text())
    ours = {f"{label}, batch {cells}": 0.3 / cells for label in LABELS for cells in (1, 8)}
    (out / "speed.json").write_text(json.dumps(SECONDS | ours))  # NEURON itself is timed in test_cli.py
    with pytest.MonkeyPatch.context() as patch:
        _for_speed(patch)
        entries = _entries(ARCHS, autoregressive=False, train_trials=None)
        benchmark(data, out, entries, budget_minutes=BUDGET, seeds=2, workers=2)
    return out, twins, plan


def test_a_killed_benchmark_trains_no_finished_twin_again(killed: tuple[Path, dict[str, int], dict[str, Any]]) -> None:
    out, twins, plan = killed
    assert 1 <= len(twins) < len(RUNS)
    now = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("twins/[!.]*/model.safetensors")}
    assert set(now) == set(RUNS)
    assert {name: now[name] for name in twins} == twins
    runs = json.loads((out / "plan.json").read_text())["runs"]
    assert set(runs) == set(RUNS)
    assert {name: runs[name] for name in plan["runs"]} == plan["runs"]  # also those that were stopped on their way
    assert not list(out.rglob("*.partial"))
    assert not list(out.rglob("*.checkpoint"))


def test_a_kill_while_a_twin_is_saved_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from dendrotwin.support.atomic_files import whole_file, whole_folder\n"
        "with whole_folder(Path('twin'), 'config.json', overwrite=False) as folder, whole_file(Path('row')) as file:\n"
        "    (folder / 'config.json').write_text('{}'); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    remove_dead_partials(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # of a process that is alive
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and left as a zombie, as an orphan may be
    remove_dead_partials(tmp_path)
    assert not list(tmp_path.iterdir())
    process.communicate()


def test_steps_fill_the_budget(killed: tuple[Path, dict[str, int], dict[str, Any]]) -> None:
    out, _, _ = killed
    runs = json.loads((out / "plan.json").read_text())["runs"]
    for name in RUNS:
        training, trained = runs[name]["training"], Twin.load(out / "twins" / name).training
        assert training["steps"] == int((60 * BUDGET - runs[name]["seconds_before"]) / runs[name]["seconds_per_step"])
        assert trained["configuration"] == training
        assert trained["steps"] == training["steps"]
        assert 0.1 * BUDGET < trained["minutes"] < 4 * BUDGET  # a loose one: the machine may have other work
        assert training["seed"] == int(name[-1])
        assert runs[name]["threads"] >= 1


def test_the_table_is_what_a_direct_evaluation_gives(
    data: Path, killed: tuple[Path, dict[str, int], dict[str, Any]]
) -> None:
    out, _, _ = killed
    tree, split = split_trials(data)
    rows = {row["name"]: row for row in json.loads((out / "table.json").read_text())["rows"]}
    assert list(rows) == [*LABELS, "mean", "linear", "coarse cable"]
    for label in LABELS:
        twins = {k: Twin.load(out / "twins" / f"{label}-seed{k}") for k in (0, 1)}
        seeds = [evaluate_twin("x", twin, split.test)[0].summary(tree) for twin in twins.values()]
        for key in seeds[0]:
            values = [float(seed[key]) for seed in seeds]  # type: ignore[arg-type]
            assert rows[label]["mean"][key] == pytest.approx(np.mean(values), rel=1e-4, abs=1e-5), key
            assert rows[label]["sd"][key] == pytest.approx(np.std(values, ddof=1), rel=1e-2, abs=1e-4), key
        assert rows[label]["seeds"] == 2
        assert rows[label]["mean"]["windows"] == np.mean([2 * twin.training["steps"] for twin in twins.values()])
        assert rows[label]["mean"]["training_minutes"] == np.mean([t.training["minutes"] for t in twins.values()])
        sizes = {sum(p.numel() for p in twin.model.parameters()) for twin in twins.values()}
        assert sizes == {rows[label]["mean"]["parameters"]}
        assert rows[label]["mean"]["x_neuron_batch_1"] == pytest.approx(10.0)
        assert rows[label]["mean"]["x_neuron_batch_8"] == pytest.approx(80.0)
    assert rows["coarse cable"]["mean"]["x_neuron_batch_1"] == pytest.approx(30.0)
    for e in baseline_rows(tree, split.train, split.validation, split.test, ["mean", "linear", "coarse cable"]):
        for key, value in e.summary(tree).items():
            assert rows[e.name]["mean"].get(key) == (value if value is None else pytest.approx(value, abs=1e-4)), key


def test_the_markdown_and_the_figures_are_of_this_benchmark(
    killed: tuple[Path, dict[str, int], dict[str, Any]],
) -> None:
    out, _, _ = killed
    rows = {row["name"]: row for row in json.loads((out / "table.json").read_text())["rows"]}
    ((title, tables),) = parse((out / "table.md").read_text()).items()
    assert re.fullmatch(r"Free-running: 2 test trials, 3 s, \d+ output spikes", title)
    heading = "LFP and dipole, VE"
    assert list(tables) == ["Potentials", "Regions, median EV", "Output spikes", heading, POWER, "Cost"]
    for label in LABELS:
        mean, sd = rows[label]["mean"]["EV soma"], rows[label]["sd"]["EV soma"]
        assert tables["Potentials"][label]["EV soma"] == f"{mean:.3f} ± {sd:.3f}"
        assert tables["Cost"][label]["batch 8"] == "80.0"
        mean, sd = (rows[label][key]["LFP VE silent worst"] for key in ("mean", "sd"))
        assert tables[heading][label]["LFP silent, worst"] == f"{mean:.3f} ± {sd:.3f}"
    assert list(tables["Potentials"]) == list(rows)
    figures = ["cells.png", "curves.png", "distances.png", "distributions.png", "electrodes.png"]
    figures.append(f"experts-{LABELS[1]}.png")
    assert sorted(path.name for path in out.glob("*.png")) == figures
    header = (out / "compartments.csv").read_text().splitlines()[0]
    assert all(f"ev {name}" in header for name in RUNS)
    assert "## Measured error" in (out / "twins" / RUNS[0] / "README.md").read_text()


def test_what_is_done_is_not_done_again(
    data: Path,
    killed: tuple[Path, dict[str, int], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, _, _ = killed
    table = (out / "table.json").read_text()
    for where, name in ((module, "worker_pool"), (rows_module, "baseline_rows"), (rows_module, "measure_speed")):
        monkeypatch.setattr(where, name, lambda *_, **__: pytest.fail("done already"))
    entries = _entries(ARCHS, autoregressive=False, train_trials=None)
    command(data, BUDGET, out, ARCHS, seeds=2, workers=2)
    assert (out / "table.md").read_text() in capsys.readouterr().out
    assert (out / "table.json").read_text() == table
    with pytest.raises(FileError, match=r"holds another benchmark \(other budget_minutes\); name another folder"):
        benchmark(data, out, entries, budget_minutes=1.0, seeds=2, workers=2)
    with pytest.raises(FileError, match=r"holds another benchmark \(other workers\)"):
        benchmark(data, out, entries, budget_minutes=BUDGET, seeds=2, workers=1)
    other = {label: training.model_copy(update={"batch": 3}) for label, training in entries.items()}
    with pytest.raises(FileError, match=r"holds hard-sharing.*-seed0 with other options; name another"):
        benchmark(data, out, other, budget_minutes=BUDGET, seeds=2, workers=2)
    few = {label: training.model_copy(update={"train_trials": 3}) for label, training in entries.items()}
    with pytest.raises(FileError, match=r"another benchmark \(other trials\)"):
        benchmark(data, out, few, budget_minutes=BUDGET, seeds=2, workers=2)


def test_two_benchmarks_into_one_folder(data: Path, tmp_path: Path) -> None:
    """The second is refused before it writes a plan."""
    entries = _entries(LABELS[0], autoregressive=False, train_trials=None)
    with FolderLock(tmp_path) as lock:
        assert lock.try_alone()
        with pytest.raises(FileError, match=r"another process is benchmarking into .*; wait for it, or name another"):
            benchmark(data, tmp_path, entries, budget_minutes=BUDGET, seeds=1, speed=False)
    assert not list(tmp_path.iterdir())


def test_what_is_finished_is_drawn(killed: tuple[Path, dict[str, int], dict[str, Any]], tmp_path: Path) -> None:
    out, _, _ = killed
    tree, rows = finished_rows(out)
    table = {row["name"]: row for row in json.loads((out / "table.json").read_text())["rows"]}
    assert [row.name for row in rows] == list(table)
    for row in rows:
        assert row.statistics(tree)["spikes auc"][0] == pytest.approx(table[row.name]["mean"]["spikes auc"])
    figure = figure_2(out)
    loss, auc = figure.subfigs[0].axes
    finals = [float(np.asarray(line.get_ydata())[-1]) for line in loss.lines]
    assert finals == [Twin.load(out / "twins" / name).training["curve"][-1]["validation"] for name in RUNS]
    dots = [np.asarray(line.get_xdata()).tolist() for line in auc.lines if line.get_marker() == "o"]
    assert dots == [[e.spikes.auc for e in row.evaluations] for row in rows if row.name != "mean"]

    half = Path(shutil.copytree(out, tmp_path / "half"))
    for name in RUNS[1:]:
        (half / "rows" / f"{name}.json").unlink()
    names = {row.name: len(row.trainings) for row in finished_rows(half)[1]}
    assert names == {LABELS[0]: 1, "mean": 0, "linear": 0, "coarse cable": 0}
    (half / "rows" / f"{RUNS[0]}.json").unlink()
    with pytest.raises(FileError, match="has no finished twin yet; let `dendrotwin benchmark` go on"):
        finished_rows(half)
    (half / "plan.json").write_text("{}")
    with pytest.raises(FileError, match=r"plan.json is damaged; run the benchmark again in another folder"):
        finished_rows(half)


@pytest.mark.usefixtures("fast")
def test_rows_of_before_have_no_electrodes(
    data: Path, killed: tuple[Path, dict[str, int], dict[str, Any]], tmp_path: Path
) -> None:
    out = shutil.copytree(killed[0], tmp_path / "out")
    path = out / "rows" / "linear.json"
    (row,) = json.loads(path.read_text())
    assert row.pop("electrodes") is not None
    path.write_text(json.dumps([row]))
    (out / "electrodes.png").unlink()
    entries = _entries(ARCHS, autoregressive=False, train_trials=None)
    text = benchmark(data, out, entries, budget_minutes=BUDGET, seeds=2, workers=2).read_text()
    assert NO_LFP in text
    assert NO_LFP not in (killed[0] / "table.md").read_text()
    (tables,) = parse(text).values()
    assert list(tables["LFP and dipole, VE"]) == [*LABELS, "mean", "coarse cable"]
    assert not (out / "electrodes.png").exists()


@pytest.mark.usefixtures("fast")
def test_one_step_ahead_comes_with_a_closed_loop(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    entries = _entries(LABELS[0], autoregressive=True, train_trials=3)
    benchmark(data, out, entries, budget_minutes=0.01, seeds=1, speed=False)
    rows = {row["name"]: row for row in json.loads((out / "table.json").read_text())["rows"]}
    assert {name: row["one_step_ahead"] for name, row in rows.items()} == {
        LABELS[0]: True, f"{LABELS[0]}{CLOSED_LOOP} (2 trials)": False,
        "mean": False, "linear": False, "coarse cable": False, "persistence": True,
    }  # fmt: skip
    assert [row.name for row in finished_rows(out)[1]] == [LABELS[0], "persistence"]
    text = (out / "table.md").read_text()
    assert "Training trials: 3 of" in text
    assert "on the first 3 test trials" in text
    twin = Twin.load(out / "twins" / f"{LABELS[0]}-seed0")
    assert twin.one_step_ahead
    assert len(twin.training["train_trials"]) == 3


@pytest.mark.usefixtures("fast")
def test_a_cable_twin_is_read_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained twin stands in for it; there is one for all seeds, with the time of its reading."""
    training = _entries(LABELS[0], autoregressive=False, train_trials=None)[LABELS[0]]
    other = train(data, tmp_path / "other", training.model_copy(update={"steps": 1}))
    asked = []

    def twin_of(*given: Any, **options: Any) -> Twin:
        asked.append((given, options))
        return dataclasses.replace(other, training={**other.training, "minutes": 0.25})

    monkeypatch.setattr(dendrotwin, "twin_of", twin_of)
    known = architectures()
    monkeypatch.setattr(plan_module, "load_architecture", lambda name: known[{"hard-sharing": "cable"}.get(name, name)])
    label = f"mmoe:experts=2:{SIZES}"
    entries = _entries(f"hard-sharing:accuracy=fast,{label}", autoregressive=False, train_trials=None)
    out = tmp_path / "out"
    for _ in range(2):
        benchmark(data, out, entries, budget_minutes=BUDGET, seeds=2, speed=False)
    assert asked == [(("ball_and_stick", {}), {"accuracy": "fast"})]
    rows = {row["name"]: row for row in json.loads((out / "table.json").read_text())["rows"]}
    read = rows["hard-sharing:accuracy=fast"]
    assert (read["seeds"], rows[label]["seeds"]) == (1, 2)
    tree, split = split_trials(data)
    (direct,) = evaluate_twin("x", other, split.test)
    assert read["mean"]["EV soma"] == pytest.approx(direct.summary(tree)["EV soma"])
    assert read["mean"]["training_minutes"] == 0.25
    assert not {"parameters", "steps", "windows"} & read["mean"].keys()
    assert [len(row.trainings) for row in finished_rows(out)[1]][:2] == [0, 2]
    assert (out / "curves.png").exists()


# ------------------------------------------------------------------------------------------------------ mistakes


def _run(data: Path, out: Path, entries: dict[str, Training], budget: float = BUDGET, **more: Any) -> None:
    benchmark(data, out, entries, budget_minutes=budget, seeds=1, **more)


def test_entries_are_read_and_checked() -> None:
    entries = _entries(
        "mmoe:channels=8,8:balance=uncertainty,elm,mmoe:preset=paper", autoregressive=True, train_trials=4
    )
    assert list(entries) == ["mmoe:channels=8,8:balance=uncertainty", "elm", "mmoe:preset=paper"]
    first, elm, paper = entries.values()
    assert (first.architecture, first.options, first.balance) == ("mmoe", {"channels": "8,8"}, "uncertainty")
    assert (elm.architecture, elm.options, elm.autoregressive, elm.train_trials) == ("elm", {}, True, 4)
    assert paper.options == {"preset": "paper"}
    for text, message in {
        "mmoe:balance": "'balance' says no value; write NAME=VALUE",
        "mmoe:balance=loud": "balance = loud",
        "mmoe:steps=3": "mmoe:steps=3: steps is the same for all, or set by the budget",
        "elm,elm": "names elm twice",
        "elm:seed=1": "elm:seed=1: seed is the same for all",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            _entries(text, autoregressive=False, train_trials=None)


def test_wrong_names_are_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, options, message in (
        ("transformer", {}, "no architecture 'transformer'"),
        ("mmoe", {"colour": "red"}, "option 'colour' of mmoe"),
        ("mmoe", {"preset": "huge"}, "no preset 'huge'"),
    ):
        entries = {"fine": Training(), name: Training(architecture=name, options=options)}
        with pytest.raises(InputError, match=message):
            _run(data, out, entries)
    with pytest.raises(InputError, match=r"the cable twin is free-running .*; use one of cable and --autoregressive"):
        _run(data, out, {"cable": Training(architecture="cable", autoregressive=True)})
    with pytest.raises(InputError, match="the cable twin has no option 'units'; its only one here is accuracy"):
        _run(data, out, {"cable": Training(architecture="cable", options={"units": 3})})
    with pytest.raises(InputError, match="the entries differ in autoregressive"):
        _run(data, out, {"a": Training(), "b": Training(autoregressive=True)})
    assert not out.exists()


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_data_without_output_spikes(data: Path, tmp_path: Path, part: str) -> None:
    silent = Path(shutil.copytree(data, tmp_path / "silent"))
    for trial in getattr(split_trials(silent)[1], part):
        with h5py.File(trial.path, "r+") as file:
            del file["trials/000000/spikes_ms"]
            file["trials/000000/spikes_ms"] = np.array([12.5])  # before the potential has settled
    with pytest.raises(InputError, match=rf"the \d {part} trials of .* have no output spike .* higher --rate-scale"):
        _run(silent, tmp_path / "out", {"x": Training()})
    assert not (tmp_path / "out").exists()


def test_data_of_different_cells(data: Path, tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(data, tmp_path / "mixed"))
    with h5py.File(shard_path(mixed, 4), "r+") as file:
        file.attrs["tree_fingerprint"] = "another"
    with pytest.raises(FileError, match="of another cell than its neighbours"):
        _run(mixed, tmp_path / "out", {"x": Training()})
    plan = {"cell": "another", "trials": "x", "autoregressive": False, "budget_minutes": BUDGET, "workers": 1}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text(json.dumps({**plan, "runs": {"x-seed0": {}}}))
    with pytest.raises(FileError, match=r"holds another benchmark \(other cell, trials\)"):
        _run(data, tmp_path / "out", {"x": Training()})


def test_a_folder_of_something_else_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileError, match=r"exists and is no benchmark \(no plan.json\)"):
        _run(data, tmp_path, {"x": Training()})
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(FileError, match=r"plan.json is damaged; delete .* or name another folder"):
        _run(data, tmp_path, {"x": Training()})


@pytest.mark.usefixtures("fast")
def test_a_budget_too_short_for_one_step(data: Path, tmp_path: Path) -> None:
    entries = _entries(LABELS[0], autoregressive=False, train_trials=None)
    with pytest.raises(InputError, match=r"a budget of 1e-06 min is too short for one step of hard-sharing.*--budget"):
        _run(data, tmp_path / "out", entries, 1e-6, speed=False)
    assert not list((tmp_path / "out").rglob("config.json"))
    with pytest.raises(InputError, match="a budget of 2e-06 min is too short"):  # the folder is not taken
        _run(data, tmp_path / "out", entries, 2e-6, speed=False)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_none(data: Path, tmp_path: Path, budget: float) -> None:
    with pytest.raises(InputError, match=r"a budget of \S+ min is none; give --budget a number above 0"):
        _run(data, tmp_path / "out", {"x": Training()}, budget)
    assert not (tmp_path / "out").exists()


def test_neuron_cannot_be_timed_on_data_of_others(data: Path, tmp_path: Path) -> None:
    foreign = Path(shutil.copytree(data, tmp_path / "foreign"))
    for path in foreign.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            del file.attrs["simulation"]
    with pytest.raises(InputError, match="was not made by `simulate`, so NEURON cannot be timed; use --no-speed"):
        _run(foreign, tmp_path / "out", {"x": Training()})
    with pytest.raises(InputError, match="so there is no cell to read; name other architectures than cable"):
        _run(foreign, tmp_path / "out", {"x": Training(architecture="cable")}, speed=False)


def test_a_training_that_diverges_counts_with_its_best_weights_or_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(options={"channels": "4,4", "features": 4}, batch=2, window_ms=60, learning_rate=1e30, steps=40)
    with pytest.raises(TwinError, match=r"wild-seed0: the loss is no longer finite"):
        module._train_and_evaluate(data, tmp_path, plan_module.Job("wild", "wild-seed0", training), training)
    assert not (tmp_path / "rows").exists()
    tame = training.model_copy(update={"learning_rate": 1e-3, "steps": 2})

    def diverge(data: Path, out: Path, training: Training, **options: Any) -> None:
        train(data, out, training, **options)
        raise TwinError("the loss is no longer finite")

    train = module.train
    monkeypatch.setattr(module, "train", diverge)
    module._train_and_evaluate(data, tmp_path, plan_module.Job("late", "late-seed0", tame), tame)
    assert "no longer finite" in (tmp_path / "twins" / "late-seed0.log").read_text()
    (row,) = rows_module.load_evaluations(tmp_path, "late-seed0")
    (direct,) = evaluate_twin("late-seed0", Twin.load(tmp_path / "twins" / "late-seed0"), split_trials(data)[1].test)
    assert np.array_equal(row.ev, direct.ev)
    assert (row.spikes, row.threshold, row.name) == (direct.spikes, direct.threshold, "late-seed0")


def test_a_threshold_that_nothing_reaches_is_kept(tmp_path: Path) -> None:
    never = dataclasses.replace(evaluation(small_tree(), "it"), threshold=float("inf"))
    rows_module.save_evaluations(tmp_path, "it", [never])
    assert '"threshold": null' in (tmp_path / "rows" / "it.json").read_text()  # JSON knows no infinity
    (loaded,) = rows_module.load_evaluations(tmp_path, "it")
    assert (loaded.name, loaded.one_step_ahead, loaded.threshold) == ("it", False, float("inf"))
    assert loaded.spikes == never.spikes
