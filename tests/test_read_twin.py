"""Twins that are read from NEURON, from the command line to their errors on trials; and what a user can do wrong."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import dendrotwin
from conftest import in_new_process
from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cells import load_cell
from dendrotwin.cli import app as cli
from dendrotwin.errors import CellError, InputError, TwinError
from dendrotwin.evaluation.predictors import evaluate_twin
from dendrotwin.models.cable import Cable
from dendrotwin.neuron import reading
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.reading import Reading, read_membrane
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.neuron.trial import run_trial
from dendrotwin.read_twin import model_card, twin_of
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.twin import FILES, Twin
from sealing import seal_again

DURATION_MS = 1200
ZOO = Path(__file__).parent / "mechanisms"
MODULE = """
from pathlib import Path
from dendrotwin.cells import CellModel, Sections

def build():
    from neuron import h
    soma, dend = h.Section(name="soma"), h.Section(name="dend")
    dend.connect(soma(1))
    dend.nseg = 3
    for section in (soma, dend):
        section.L = section.diam = 20.0
        for name in {insert!r}:
            section.insert(name)
    return Sections([soma], [dend], [], [])

def cell():
    return CellModel("small", "test", "MIT", build, lambda: [Path(p) for p in {files!r}], -65.0, 6.3)
"""


def small(folder: Path, *insert: str) -> str:
    """File of a cell of four compartments with these mechanisms; those of the zoo begin with z_."""
    files = [str(ZOO / f"{name}.mod") for name in insert if name.startswith("z_")]
    path = folder / "small_cell.py"
    path.write_text(MODULE.format(insert=insert, files=files))
    return str(path)


class Said(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    out: str
    errors: str


def command(*arguments: object) -> Said:
    """The command line, in this process; NEURON runs in others all the same."""
    out, errors, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["dendrotwin", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = before
    return Said(int(ended.value.code or 0), out.getvalue(), errors.getvalue())


def refused(said: Said, *words: str) -> None:
    """One line that names the cause, and exit status 2."""
    lines = [line for line in said.errors.splitlines() if line.strip()]
    assert said.status == 2, said
    assert len(lines) == 1, lines
    assert lines[0].startswith("dendrotwin: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A twin of the small cell, made by the command. Read only."""
    out = tmp_path_factory.mktemp("read") / "twin"
    said = command("twin", "ball_and_stick", "--out", out)
    assert said.status == 0, said.errors
    assert f"twin of 37 compartments and 70 inputs in {out}, read in " in said.out
    assert "3 mechanisms, largest error " in said.out
    assert "mV from NEURON's Crank-Nicolson of 0.025 ms (NEURON's default: " in said.out
    return out


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trials of it in steps of 0.025 ms. Read only."""
    out = tmp_path_factory.mktemp("fine") / "data"
    simulation = Simulation(
        cell="ball_and_stick", duration_ms=DURATION_MS, seed=11, inputs=Modulated(rate_scale=0.15), dt_ms=0.025
    )
    simulate(simulation, 3, out, workers=1)
    return out


@pytest.fixture(scope="module")
def twin(folder: Path) -> Twin:
    return dendrotwin.load(folder)


@pytest.fixture(scope="module")
def small_cell(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cell of a user's own: squids' channels, a current of Goldman, and a pool."""
    return small(tmp_path_factory.mktemp("small"), "hh", "z_ghk", "z_pool_inward")


def input_of(tree: Tree, steps: int, rate_scale: float = 0.15) -> Events:
    return draw_events(tree, Modulated(rate_scale=rate_scale), steps, trial_rng(5, 0))


def at_accuracy(twin: Twin, **how: object) -> Cable:
    assert isinstance(twin.model, Cable)
    return Cable(twin.tree, twin.model.membrane, CableConfig.model_validate(how))


def test_the_folder_says_what_was_read(folder: Path, twin: Twin) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["twin"]  # nothing half-written beside it
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert len(modes) == 1  # who may read one of them may read all
    config = json.loads((folder / "config.json").read_text())
    assert (config["format_version"], config["architecture"]) == (5, "cable")
    found = config["training"]["reading"]
    assert set(found["errors"]) == {"hh", "pas", "Ih"}
    assert max(found["errors"].values()) < 1e-4
    assert 0.0 < found["whole_cell_mV"] < 0.02 * found["moved_mV"]
    assert 0.0 < found["neuron_default_mV"] < 0.02 * found["moved_mV"]
    readme = (folder / "README.md").read_text()
    assert readme == model_card(twin)
    assert "dendrotwin twin ball_and_stick --accuracy standard --out TWIN" in readme
    peri = int(twin.tree.in_region("soma", "axon").sum())
    for name, compartments in (("hh", peri), ("pas", 37), ("Ih", 37)):
        assert f"| {name} | {compartments} | {found['errors'][name]:.1e} |" in readme
    assert f"{found['whole_cell_mV']:.3g} mV (root mean square" in readme


def test_a_saved_twin_predicts_the_same_to_the_last_bit(tmp_path: Path) -> None:
    made = twin_of("ball_and_stick")
    made.save(tmp_path / "twin")
    loaded = dendrotwin.load(tmp_path / "twin")
    assert loaded.tree.fingerprint() == made.tree.fingerprint()
    steps = 300
    events = [input_of(made.tree, steps), Events.sort(np.array([3, 60]), np.array([10.3, 20.71]))]
    injections = [None, Injection(np.array([0], np.int32), np.full((steps, 1), 0.05))]
    before, after = (one.predict_batch(events, steps, injections=injections) for one in (made, loaded))
    assert np.ptp(before[0]) > 10.0
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_copies_of_a_network(twin: Twin) -> None:
    events, steps = [input_of(twin.tree, 200)], 200
    expected = twin.model.predict(events, steps)  # type: ignore[operator]
    for network in (copy.deepcopy(twin.model), copy.copy(twin.model), pickle.loads(pickle.dumps(twin.model))):
        assert isinstance(network, Cable)
        for a, b in zip(expected, network.predict(events, steps), strict=True):
            np.testing.assert_array_equal(a, b)
    assert "stepper" not in copy.deepcopy(twin.model).__dict__


def test_trials_at_once_are_trials_alone(twin: Twin) -> None:
    steps = 150
    events = [input_of(twin.tree, steps, scale) for scale in (0.05, 0.15, 0.3)]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = twin.predict_batch(events, steps)
    finally:
        torch.set_num_threads(threads)
    for k, trial in enumerate(events):
        for a, b in zip(together, twin.predict_batch([trial], steps), strict=True):
            np.testing.assert_array_equal(a[k], b[0])


def test_it_is_close_to_neuron(twin: Twin, fine: Path) -> None:
    """Steps of a quarter of a millisecond and more, yet nearly all of the variance and of the spikes."""
    tree, trials = index_trials(fine)
    (found,) = evaluate_twin("cable", twin, trials)
    assert found.spikes.true_spikes >= 5
    assert found.spikes.f1 > 0.95
    assert np.median(found.ev) > 0.99
    assert found.ev[tree.soma] > 0.95
    exact = dataclasses.replace(twin, model=at_accuracy(twin, accuracy="exact"))
    (closer,) = evaluate_twin("cable", exact, trials)
    assert np.median(closer.rmse_mV) < np.median(found.rmse_mV)
    assert closer.spikes.f1 >= found.spikes.f1


def test_settings_differ_in_cost_and_in_error(twin: Twin) -> None:
    steps, solves, errors = 400, [], []
    events = input_of(twin.tree, steps)
    fine = at_accuracy(twin, accuracy="exact", tolerance_mV=1e-3)
    true, _ = fine.predict([events], steps)
    for accuracy in ("fast", "standard", "exact"):
        network = at_accuracy(twin, accuracy=accuracy)
        v, _, counts = network.stepper.advance(network.stepper.start(), events, steps)
        assert counts[0] == steps
        solves.append(int(counts[1]))
        errors.append(float(np.sqrt(np.mean((v - true[0]) ** 2))))
    assert solves[0] < solves[1] < solves[2]
    assert errors[0] > errors[1] > errors[2]


def test_predict_from_a_table_and_from_recordings(folder: Path, twin: Twin, fine: Path, tmp_path: Path) -> None:
    rows = tmp_path / "events.csv"
    rows.write_text("input,time\n3,10.25\n60,20\n3,31.7\n")
    said = command("predict", folder, rows, "--duration", 0.2, "--out", tmp_path / "table.h5")
    assert said.status == 0, said.errors
    tree, (trial,) = index_trials(tmp_path / "table.h5")
    read = read_trial(trial, tree)
    assert read.v_mV.shape == (200, 37)
    v, probability = twin.predict_batch([Events.sort(np.array([3, 60, 3]), np.array([10.25, 20.0, 31.7]))], 200)
    assert np.abs(read.v_mV - v[0]).max() < 0.003  # of the file's whole numbers
    assert np.ptp(v) > 0.5
    assert read.spike_probability == pytest.approx(probability[0])
    current = tmp_path / "current.csv"
    current.write_text("time,0\n" + "".join(f"{ms},{0.1 if 50 <= ms < 80 else 0.0}\n" for ms in range(200)))
    said = command("predict", folder, rows, "--duration", 0.2, "--inject", current, "--out", tmp_path / "pushed.h5")
    assert said.status == 0, said.errors
    pushed = read_trial(index_trials(tmp_path / "pushed.h5")[1][0], tree)
    assert np.abs(pushed.v_mV[:50] - read.v_mV[:50]).max() < 0.01
    assert pushed.v_mV[50:80, tree.soma].max() > 0.0 > -60.0 > read.v_mV[50:80, tree.soma].max()  # a spike
    refused(
        command("predict", folder, fine, "--inject", current, "--out", tmp_path / "twice.h5"), "leave --inject away"
    )
    for seconds in ("nan", "inf", 0):
        wrong = command("predict", folder, rows, "--duration", seconds, "--out", tmp_path / "wrong.h5")
        refused(wrong, f"cannot last {seconds} s", "--duration")
    endless = command("simulate", "ball_and_stick", "--duration", "inf", "--out", tmp_path / "wrong")
    refused(endless, "cannot last inf s", "--duration")
    assert not list(tmp_path.glob("wrong*"))
    refused(command("predict", folder, rows, "--out", tmp_path / "endless.h5"), "how long the trial is", "--duration")
    said = command("predict", folder, fine, "--out", tmp_path / "recordings.h5")
    assert said.status == 0, said.errors
    tree, found = index_trials(tmp_path / "recordings.h5")
    _, true = index_trials(fine)
    assert [one.trial_id for one in found] == [one.trial_id for one in true]
    a, b = (read_trial(trials[0], tree).v_mV for trials in (found, true))
    assert np.corrcoef(a[:, tree.soma], b[:, tree.soma])[0, 1] > 0.97


def _neuron(steps: int, current: np.ndarray) -> np.ndarray:
    cell = NeuronCell(load_cell("ball_and_stick"))
    none = Events.sort(np.zeros(0), np.zeros(0))
    v, _ = run_trial(cell, none, steps, 0.025, "crank-nicolson", Injection(np.array([30, 0], np.int32), current))
    return v


def test_injected_current_is_neurons(twin: Twin) -> None:
    steps = 120
    current = np.zeros((steps, 2))
    current[20:60, 0], current[70:100, 1] = 0.03, -0.05
    true = in_new_process(_neuron, steps, current)
    none = Events.sort(np.zeros(0), np.zeros(0))
    v, _ = twin.predict_batch([none], steps, injections=[Injection(np.array([30, 0], np.int32), current)])
    assert np.ptp(true[:, 30]) > 10.0
    assert np.sqrt(np.mean((v[0] - true) ** 2)) < 0.3


def test_evaluate_beside_neuron(folder: Path, fine: Path, tmp_path: Path) -> None:
    mine = tmp_path / "twin"
    shutil.copytree(folder, mine)  # the command writes the measured error into it
    report = tmp_path / "report"
    said = command("evaluate", mine, fine, "--neuron", "--out", report)
    assert said.status == 0, said.errors
    rows = {row["name"]: row for row in json.loads((report / "report.json").read_text())["rows"]}
    assert list(rows)[:2] == ["cable", "NEURON's default"]
    assert "coarse cable" in rows
    for name in ("cable", "NEURON's default"):
        assert rows[name]["EV soma"] > rows["coarse cable"]["EV soma"] + 0.1
        assert rows[name]["spikes f1"] > 0.9 > (rows["coarse cable"]["spikes f1"] or 0.0)
    assert "NEURON's default" in said.out
    dendrotwin.load(mine)


def test_too_few_trials_to_split_are_all_for_the_test(folder: Path, fine: Path, tmp_path: Path) -> None:
    few, mine, report = tmp_path / "few", tmp_path / "twin", tmp_path / "report"
    shutil.copytree(folder, mine)
    few.mkdir()
    for path in sorted(fine.glob("*.h5"))[:2]:
        shutil.copy(path, few)
    said = command("evaluate", mine, few, "--out", report)
    assert said.status == 0, said.errors
    found = json.loads((report / "report.json").read_text())
    assert len(found["test_trials"]) == 2
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["cable", "coarse cable", "persistence"]
    assert rows["persistence"]["spikes f1"] > 0.9


def test_trials_without_a_spike_are_said(folder: Path, tmp_path: Path) -> None:
    data, mine, report = tmp_path / "data", tmp_path / "twin", tmp_path / "report"
    shutil.copytree(folder, mine)
    said = command("simulate", "ball_and_stick", "--trials", 4, "--duration", 0.7, "--rate-scale", 0.02, "--out", data)
    assert "no trial has an output spike: the input is too weak (raise --rate-scale)" in said.out
    said = command("evaluate", mine, data, "--out", report)
    assert said.status == 0, said.errors
    assert "the test trials hold no output spike after their first 500 ms" in said.out
    assert "3 trials of " in said.out
    for row in json.loads((report / "report.json").read_text())["rows"]:
        assert row["spikes predicted_spikes"] == 0, row
        assert row["spikes rate_error_hz"] == 0.0


def test_neuron_has_nothing_to_say_of_its_own_trials(folder: Path, fine: Path, tmp_path: Path) -> None:
    default = tmp_path / "default"
    simulation = Simulation(
        cell="ball_and_stick", duration_ms=600, seed=1, inputs=Modulated(rate_scale=0.15), dt_ms=0.025,
        method="backward-euler",
    )  # fmt: skip
    simulate(simulation, 1, default, workers=1)
    out = tmp_path / "report"
    refused(
        command("evaluate", folder, default, "--neuron", "--out", out), "are NEURON's default themselves", "--method"
    )
    foreign = tmp_path / "foreign"
    shutil.copytree(fine, foreign)
    for path in foreign.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            del file.attrs["simulation"]
    refused(
        command("evaluate", folder, foreign, "--neuron", "--out", out),
        "not made by `simulate`",
        "evaluate without --neuron",
    )
    assert not out.exists()


def test_a_cell_of_ones_own(small_cell: str, tmp_path: Path) -> None:
    out = tmp_path / "twin"
    said = command("twin", small_cell, "--accuracy", "exact", "--out", out)
    assert said.status == 0, said.errors
    made = dendrotwin.load(out)
    assert made.tree.n == 4
    assert made.options == {"accuracy": "exact", "tolerance_mV": None}
    assert set(made.training["reading"]["errors"]) == {"hh", "z_ghk", "z_pool_inward"}
    assert made.training["reading"]["whole_cell_mV"] < 0.5
    again = command("twin", small_cell, "--accuracy", "exact", "--out", out)
    assert (again.status, again.out) == (0, f"{out} is done already, by the same command of the same files\n")
    other = command("twin", small_cell, "--tolerance", 0.125, "--out", out)
    refused(other, "exists and was made of another accuracy, tolerance_mV;", "--overwrite")
    refused(command("twin", "ball_and_stick", "--out", out), "made of another cell, ", "--overwrite")
    said = command("twin", small_cell, "--tolerance", 0.125, "--out", out, "--overwrite")
    assert said.status == 0, said.errors
    assert dendrotwin.load(out).options == {"accuracy": "standard", "tolerance_mV": 0.125}


# ------------------------------------------------------------------------------------------------- mistakes


def test_mistakes_before_anything_is_built(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "twin"
    refused(
        command("twin", "ball_and_stick", "--accuracy", "perfect", "--out", out),
        "accuracy = perfect: choose fast, standard or exact",
    )
    for tolerance in (0, -0.5):
        refused(
            command("twin", "ball_and_stick", "--tolerance", tolerance, "--out", out),
            "tolerance_mV = ",
            "give a number above 0",
        )
    refused(command("twin", "purkinje", "--out", out), "no cell 'purkinje'", "choose")
    refused(command("twin", tmp_path / "nowhere.py", "--out", out), "nowhere.py")
    refused(command("twin", "ball_and_stick", "--option", "x", "--out", out), "says no value; write NAME=VALUE")
    refused(command("twin", "ball_and_stick", "--accuracy", "exact", "--out", folder), "accuracy", "--overwrite")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="accuracy = perfect: choose fast, standard or exact"):
        dendrotwin.twin_of("ball_and_stick", accuracy="perfect")


def test_mechanisms_that_are_not_there_or_cannot_be_held(tmp_path: Path) -> None:
    out = tmp_path / "twin"
    absent = small(tmp_path, "no_such_channel")
    refused(command("twin", absent, "--out", out), "`build` of small failed", "not a density mechanism", "`mechanisms`")
    source = Path(small(tmp_path, "hh"))
    source.write_text(
        source.read_text().replace("    return Sections(", "    h.NoSuchSynapse(soma(0.5))\n    return Sections(")
    )
    refused(
        command("twin", source, "--out", out), "`build` of small failed", "NoSuchSynapse", "`mechanisms` (now: none)"
    )
    nowhere = small(tmp_path, "z_nowhere")
    refused(command("twin", nowhere, "--out", out), "z_nowhere.mod")
    timed = small(tmp_path, "hh", "z_time")
    refused(command("twin", timed, "--out", out), "z_time: ", "time t", "leave them out")
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("__")] == ["small_cell.py"]


ORIGINAL = reading._read


def _scaled(cell: NeuronCell) -> Reading:
    """What is read, with one density wrong."""
    found = read_membrane(cell)
    mechanisms = list(found.membrane.mechanisms)
    k = [m.name for m in mechanisms].index("pas")
    (only,) = mechanisms[k].terms
    mechanisms[k] = dataclasses.replace(mechanisms[k], terms=(dataclasses.replace(only, density=1.2 * only.density),))
    return dataclasses.replace(found, membrane=dataclasses.replace(found.membrane, mechanisms=tuple(mechanisms)))


def _read_wrong(name: str, options: dict[str, str]) -> tuple[Tree, Reading]:
    reading.read_membrane = _scaled  # in a process of its own, which ends after it
    return ORIGINAL(name, options)


def test_a_cell_that_fails_its_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_read", _read_wrong)
    refused(
        command("twin", "ball_and_stick", "--out", tmp_path / "twin"),
        "the cell ball_and_stick, as it was read, differs from NEURON by", "at most", "take that out of `build`",
    )  # fmt: skip
    assert not list(tmp_path.iterdir())
    with pytest.raises(CellError, match="differs from NEURON by"):
        dendrotwin.twin_of("ball_and_stick")


def test_a_twin_of_another_version(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    config = json.loads((old / "config.json").read_text())
    config["format_version"] = 2
    (old / "config.json").write_text(json.dumps(config))
    match = "has format version 2, this dendrotwin reads 5; make it again: `dendrotwin twin`"
    with pytest.raises(TwinError, match=match):
        dendrotwin.load(old)
    rows = tmp_path / "events.csv"
    rows.write_text("input,time\n0,1\n")
    refused(command("predict", old, rows, "--out", tmp_path / "p.h5"), match)
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.parametrize("how", ["version", "part", "array", "more", "altered", "options", "none"])
def test_a_damaged_membrane_is_no_twin(folder: Path, tmp_path: Path, how: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    config = json.loads((broken / "config.json").read_text())
    tensors = load_file(broken / "model.safetensors")
    name = next(name for name in tensors if name.endswith("density"))
    if how == "version":
        config["model"]["format_version"] = 7
    elif how == "part":
        del config["model"]["mechanisms"][0]["gates"]
    elif how == "array":
        del tensors[name]
    elif how == "more":
        tensors["extra"] = torch.zeros(3)
    elif how == "altered":
        tensors[name] = 1.01 * tensors[name]
    elif how == "options":
        config["options"]["accuracy"] = "perfect"
    else:
        del config["model"]
    (broken / "config.json").write_text(json.dumps(config))
    save_file(tensors, broken / "model.safetensors")
    if how != "altered":
        seal_again(broken)
    with pytest.raises(TwinError, match="broken") as error:
        dendrotwin.load(broken)
    assert "\n" not in str(error.value)
