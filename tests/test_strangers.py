"""Twins, recordings and data sets of other people: refused in one line, before anything is computed or run."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import dendrotwin
from dendrotwin.benchmark.plan import simulation_of
from dendrotwin.cell.membrane import V_BINS
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cell.tree_checks import check_tree
from dendrotwin.errors import DendrotwinError, FileError, InputError, TwinError
from dendrotwin.evaluation.neuron_default import neuron_row
from dendrotwin.evaluation.timing import speed_beside_neuron
from dendrotwin.models import build_model
from dendrotwin.neuron.cell_of_data import simulation_of_data
from dendrotwin.neuron.data_set import with_digests
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.recording import RecordingFile, write_recordings
from dendrotwin.recording.checks import CHECKSUMS
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.signals.store import read_signals
from dendrotwin.solver.integrator.grid import locate_potentials
from dendrotwin.solver.integrator.workspace import TableIndex
from dendrotwin.support.hdf5 import open_hdf5
from dendrotwin.twin import Twin
from sealing import seal_again
from test_recording import recording, tree_with_inputs

SILENCE = Events.sort(np.zeros(0), np.zeros(0))
FACTS: dict[str, Any] = {"simulation": {}, "train_trials": [], "validation_trials": [], "test_trials": []}
SIZES = {
    "hard-sharing": {"channels": (4,), "features": 4, "synapse_ms": 20},
    "mmoe": {"channels": (4,), "features": 4, "synapse_ms": 20, "experts": 2},
    "mmoeex": {"channels": (4,), "features": 4, "synapse_ms": 20, "experts": 2},
    "elm": {"memory": 4, "branches": 4},
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twins, one of each architecture."""
    folder, tree = tmp_path_factory.mktemp("twins"), tree_with_inputs()
    dendrotwin.load("l5pc").save(folder / "cable")
    for name, sizes in SIZES.items():
        torch.manual_seed(0)
        config, model = build_model(name, sizes, tree)
        Twin(name, config.model_dump(mode="json"), tree, model, 0.5, FACTS).save(folder / name)
    return folder


def a_copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "twin"))


def refused(folder: Path, match: str | None = None) -> None:
    with pytest.raises(TwinError, match=match) as error:
        dendrotwin.load(folder)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------- the seal


@pytest.mark.parametrize("name", ["cable", *SIZES])
def test_a_twin_is_sealed_as_a_whole(twins: Path, tmp_path: Path, name: str) -> None:
    folder = a_copy(twins / name, tmp_path)
    for file in ("config.json", "model.safetensors", "tree.h5"):
        whole = (folder / file).read_bytes()
        for at in np.linspace(0, len(whole) - 1, 23).astype(int):
            changed = bytearray(whole)
            changed[at] ^= 4
            (folder / file).write_bytes(bytes(changed))
            if file == "config.json" and changed[at : at + 1].isspace() and whole[at : at + 1].isspace():
                continue
            refused(folder)
        (folder / file).write_bytes(whole)
    assert dendrotwin.load(folder).architecture == name


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("elm", "rate", 5.5), ("hard-sharing", "synapse_ms", 19), ("mmoe", "dropout", 0.1), ("cable", "accuracy", "fast")],
)
def test_options_that_were_altered(twins: Path, tmp_path: Path, name: str, place: str, value: object) -> None:
    folder = a_copy(twins / name, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["options"][place] = value
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, r"config.json was altered after it was saved; restore it or make it again")
    config = json.loads((twins / name / "config.json").read_text())
    config["training"]["simulation"] = {"cell": "l5pc"}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, r"config.json was altered")


def test_the_order_and_the_spaces_of_the_configuration_do_not_count(twins: Path, tmp_path: Path) -> None:
    folder = a_copy(twins / "elm", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(dict(reversed(config.items()))))
    assert dendrotwin.load(folder).architecture == "elm"


# ------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize("threshold", [{}, None, "0.5", -0.1, 1.1, float("nan"), float("inf"), True, [0.5]])
def test_thresholds_that_are_none(twins: Path, tmp_path: Path, threshold: object) -> None:
    folder = a_copy(twins / "hard-sharing", tmp_path)
    seal_again(folder, threshold=threshold)
    refused(folder, "threshold in config.json")


@pytest.mark.parametrize(
    "change",
    [{"options": []}, {"options": {"x": 1}}, {"architecture": 3}, {"architecture": "other"}, {"one_step_ahead": "no"},
     {"one_step_ahead": True}, {"training": []}, {"training": {}}, {"model": None}, {"more": 1}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cable", "elm"])
def test_configurations_that_are_none(twins: Path, tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    folder = a_copy(twins / name, tmp_path)
    seal_again(folder, **change)
    refused(folder)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_bounded_before_anything_is_made(
    twins: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every number of every architecture, whatever a stranger writes there."""
    folder = a_copy(twins / name, tmp_path)
    options = json.loads((folder / "config.json").read_text())["options"]
    made = []
    monkeypatch.setattr(torch.nn, "Linear", lambda *sizes, **_: made.append(sizes))
    numbers = {key for key, value in options.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    numbers -= {"ridge_penalty"}  # any number above 0, which counts in training alone
    for key in sorted(numbers) + ["channels"] * ("channels" in options) + ["branch_inputs"] * (name == "elm"):
        for value in (10**9, 1e12, -1, 1e300, float("nan"), None, {}):
            if key == "branch_inputs" and value is None:
                continue
            seal_again(folder, options={**options, key: [value] if key == "channels" else value})
            if key == "exclusive_seed" and value in (10**9, 1e12):
                continue
            refused(folder)
    assert made == []


def test_a_network_that_looks_back_too_far(twins: Path, tmp_path: Path) -> None:
    tree = tree_with_inputs()
    for options in ({"channels": (1,) * 16}, {"kernel": 20_000}, {"channels": (1,) * 60}, {"synapse_ms": 20_000}):
        with pytest.raises(InputError, match="option"):
            build_model("hard-sharing", options, tree)
    with pytest.raises(InputError, match="weights, more than"):
        build_model("mmoe", {"channels": (60_000, 60_000)}, tree)


@pytest.mark.parametrize("options", [{"synapse_ms": 5000}, {"kernel": 3000}, {"features": 60_000}, {"tower_ms": 9000}])
def test_options_of_another_network_than_its_tensors(twins: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    folder = a_copy(twins / "hard-sharing", tmp_path)
    own = json.loads((folder / "config.json").read_text())["options"]
    seal_again(folder, options={**own, **options})
    if "synapse_ms" in options:  # the time courses are no tensors of the file
        assert dendrotwin.load(folder).model.context > 5000
    else:
        refused(folder, "are of a network of .* weights, model.safetensors holds")


@pytest.mark.parametrize("name", ["cable", *SIZES])
def test_tensors_that_are_not_finite(twins: Path, tmp_path: Path, name: str) -> None:
    folder = a_copy(twins / name, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    for key in [
        k for k in sorted(tensors) if tensors[k].is_floating_point() and tensors[k].numel() and not k.endswith("e_mV")
    ][:12]:
        changed = tensors[key].clone()
        changed.view(-1)[0] = torch.nan
        save_file({**tensors, key: changed}, folder / "model.safetensors")
        seal_again(folder)
        refused(folder)


def test_predictions_that_are_not_finite(twins: Path, tmp_path: Path) -> None:
    folder = a_copy(twins / "elm", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["output.bias"] = torch.full_like(tensors["output.bias"], 3e38)
    tensors["scaling.sd_mV"] = torch.full_like(tensors["scaling.sd_mV"], 3e38)
    save_file(tensors, folder / "model.safetensors")
    seal_again(folder)
    with pytest.raises(InputError, match=r"potential of compartment 0 is no number at 1 ms; the twin is damaged"):
        dendrotwin.load(folder).predict(SILENCE, 3)


# ------------------------------------------------------------------------------------------------- the membrane


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (".at", lambda a: a + 10_000),
        (".at", lambda a: -1 - a),
        (".at", lambda a: np.where(np.arange(len(a)) == 1, -(2**31), a).astype(np.int32)),
        (".at", lambda a: a[::-1].copy() if len(a) > 1 else a[:0]),
        (".density", lambda a: a[:-1]),
        (".density", lambda a: a * np.inf),
        (".powers", lambda a: np.append(a, 1.0)),
        (".steady", lambda a: a[:5]),
        (".steady", lambda a: a.astype(np.float32)),
        (".tau_ms", lambda a: a * 0),
        (".tau_ms", lambda a: -a),
        (".start", lambda a: a[:, :-1]),
        (".outside_mM", lambda a: -1 - a),
        (".rate_per_ms", lambda a: a * np.nan),
        (".gain_in", lambda a: a[None]),
    ],
)
def test_a_membrane_is_checked(
    twins: Path, tmp_path: Path, part: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    folder = a_copy(twins / "cable", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    key = next(k for k in sorted(tensors) if k.endswith(part) and tensors[k].numel() > 1)
    with np.errstate(invalid="ignore"):
        tensors[key] = torch.from_numpy(np.ascontiguousarray(change(tensors[key].numpy())))
    save_file(tensors, folder / "model.safetensors")
    seal_again(folder)
    refused(folder, "the membrane is damaged")


def test_ions_that_are_not_there(twins: Path, tmp_path: Path) -> None:
    folder = a_copy(twins / "cable", tmp_path)
    model = json.loads((folder / "config.json").read_text())["model"]
    seal_again(folder, model={**model, "ions": []})
    refused(folder, "the membrane")
    for key, value in (("celsius", "warm"), ("celsius", 1e9), ("pools", 3), ("format_version", 9)):
        seal_again(folder, model={**model, key: value})
        refused(folder)


# ------------------------------------------------------------------------------------------------- the tree


def damages() -> dict[str, Callable[[Tree], dict[str, Any]]]:
    def with_first(name: str, value: float) -> Callable[[Tree], dict[str, Any]]:
        def change(tree: Tree) -> dict[str, Any]:
            array = getattr(tree, name).copy()
            array.reshape(-1)[1] = value
            return {name: array}

        return change

    def synapse(**values: float) -> Callable[[Tree], dict[str, Any]]:
        def change(tree: Tree) -> dict[str, Any]:
            first = tree.synapses[0]
            worse = dataclasses.replace(first.conductances[0], **values)
            return {"synapses": (dataclasses.replace(first, conductances=(worse,)), *tree.synapses[1:])}

        return change

    circle = {"parent": 1, "axial_parent": 1}
    indices = ("parent", "axial_parent", "region", "section", "input_compartment", "input_synapse")
    lengths = ("length_um", "diameter_um", "area_um2", "axial_uS")
    found = {f"{name} too large": with_first(name, 10**6) for name in indices}
    found |= {f"{name} negative": with_first(name, -7) for name in indices}
    found |= {f"{name} in a circle": with_first(name, value) for name, value in circle.items()}
    found |= {f"{name} zero": with_first(name, 0.0) for name in lengths}
    for name in (*lengths, "ends_um", "capacitance_nF", "leak_uS", "leak_mV", "ih_uS", "ih_mV", "distance_um"):
        found[f"{name} NaN"], found[f"{name} huge"] = with_first(name, np.nan), with_first(name, 1e300)
        found[f"{name} short"] = lambda tree, name=name: {name: getattr(tree, name)[:-1]}
        found[f"{name} single"] = lambda tree, name=name: {name: getattr(tree, name).astype(np.float32)}
    found |= {"rise after decay": synapse(rise_ms=9.0, decay_ms=3.0), "decay NaN": synapse(decay_ms=float("nan"))}
    found |= {"no decay": synapse(decay_ms=0.0, rise_ms=0.0), "negative g": synapse(g_max_uS=-1.0)}
    found |= {"nothing": lambda tree: {"parent": tree.parent[:0]}, "v_init": lambda _: {"v_init_mV": float("inf")}}
    return found


@pytest.mark.parametrize("how", damages())
def test_a_tree_is_checked(how: str) -> None:
    tree = tree_with_inputs()
    check_tree(tree)
    worse = dataclasses.replace(tree, **damages()[how](tree))
    with pytest.raises(FileError, match="the tree is damaged"):
        check_tree(worse)


def test_a_damaged_tree_is_no_twin_and_no_recording(twins: Path, tmp_path: Path) -> None:
    folder = a_copy(twins / "hard-sharing", tmp_path)
    path = tmp_path / "r.h5"
    write_recordings(path, [recording(tree_with_inputs())], {})
    for file, place in ((folder / "tree.h5", "axial_parent"), (path, "tree/axial_parent")):
        with h5py.File(file, "r+") as opened:
            opened[place][1] = 10**6
    seal_again(folder)
    refused(folder, "the tree is damaged")
    with pytest.raises(FileError, match="the tree is damaged"):
        index_trials(path)


# ------------------------------------------------------------------------------------------------- HDF5


def _external(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.ExternalLink("other.h5", "/x")


def _soft(file: h5py.File, name: str) -> None:
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def _storage(file: h5py.File, name: str) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(str(Path(file.filename).parent / "secret"), 0, 10**6)])


def _virtual(file: h5py.File, name: str) -> None:
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource("other.h5", "x", shape)
    file.create_virtual_dataset(name, layout)


def _huge(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_dataset(name, (2**33,), "f8", chunks=(2**16,))


def _twice(file: h5py.File, name: str) -> None:
    file["again"] = file[name]


POINTS_OUTSIDE = [_external, _soft, _storage, _virtual, _huge, _twice]


@pytest.mark.parametrize("damage", POINTS_OUTSIDE)
def test_hdf5_that_points_outside(twins: Path, tmp_path: Path, damage: Callable[[h5py.File, str], None]) -> None:
    """A tree of a twin, a tree and a trial of a recording, and signals."""
    (tmp_path / "secret").write_bytes(bytes(10**6))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros(3)
    folder = a_copy(twins / "elm", tmp_path)
    with h5py.File(folder / "tree.h5", "r+") as file:
        damage(file, "leak_mV")
    seal_again(folder)
    refused(folder)
    for name in ("tree/leak_mV", "trials/000000/spikes_ms", "trials/000000/events", "trials/000000/events/time_ms"):
        if name.endswith("events") and damage not in (_external, _soft, _twice):
            continue
        path = tmp_path / f"{name.replace('/', '-')}.h5"
        write_recordings(path, [recording(tree_with_inputs())], {})
        with h5py.File(path, "r+") as file:
            damage(file, name)
        with pytest.raises(FileError):
            index_trials(path)
    path = tmp_path / "signals.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(kind="dendrotwin signals", format_version=1, sampling_hz=1000.0)
        file["lfp/values"] = np.zeros((5, 2))
        file["lfp/values"].attrs["unit"] = "uV"
        file["lfp/channels/x_um"] = np.zeros(2)
    assert read_signals(path)["lfp"].values.shape == (5, 2)
    with h5py.File(path, "r+") as file:
        damage(file, "lfp/channels/x_um")
    with pytest.raises(FileError):
        read_signals(path)


def test_texts_on_which_hdf5_would_never_end(tmp_path: Path) -> None:
    """An older file, whose texts lie in a heap without checksums."""
    path = tmp_path / "r.h5"
    with h5py.File(path, "w") as file:
        file.attrs["simulation"] = "{}" * 200
    content = bytearray(path.read_bytes())
    heap = content.find(b"GCOL")
    content[heap + 16 : heap + 700] = bytes(684)
    path.write_bytes(bytes(content))
    with pytest.raises(FileError, match="is damaged"):
        open_hdf5(path)


# ------------------------------------------------------------------------------------------------- recordings


def test_altered_parts_of_a_recording_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    made = recording(tree_with_inputs(), 300)
    injection = Injection(np.array([1]), np.full((300, 1), 0.1))
    whole = dataclasses.replace(made, injection=injection, spike_probability=np.full(300, 0.25, np.float32))
    whole = dataclasses.replace(whole, spikes_ms=np.array([7.0, 250.0]))
    write_recordings(path, [whole], {})
    content = path.read_bytes()
    places = ("v", "spikes_ms", "events/time_ms", "injection/current_nA", "spike_probability")
    for name in places:
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            dataset = file[f"trials/000000/{name}"]
            dataset[-1] = dataset[-1] * 0.5
        tree, (trial,) = index_trials(path)
        with pytest.raises(FileError, match=f"{name} was altered after it was written"):
            read_trial(trial, tree)
    path.write_bytes(content)
    with RecordingFile(path) as file:  # what was not altered is read: V is looked at where it is read
        assert np.array_equal(file.v(0, 100, 260), whole.v_mV[100:260].round(6)) or file.v(0, 100, 260).shape[0] == 160
    with h5py.File(path, "r+") as file:
        file["trials/000000/v"][299] += 1
    with RecordingFile(path) as file:
        assert file.v(0, 0, 256).shape == (256, whole.tree.n)
        with pytest.raises(FileError, match="was altered"):
            file.v(0, 250, 300)


def test_an_altered_tree_of_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    write_recordings(path, [recording(tree_with_inputs())], {})
    with h5py.File(path, "r+") as file:
        file["tree/diameter_um"][...] *= 3
    with pytest.raises(FileError, match="its tree was altered after it was written"):
        index_trials(path)


def _read(path: Path) -> list[Any]:
    tree, (trial,) = index_trials(path)
    one = read_trial(trial, tree)
    return [tree.fingerprint(), *(a.tobytes() for a in (one.v_mV, one.events.time_ms, one.spikes_ms))]


def test_every_byte_of_a_recording(tmp_path: Path) -> None:
    """A bit anywhere is refused, or the same is read."""
    path, changed = tmp_path / "r.h5", tmp_path / "changed"
    changed.mkdir()
    write_recordings(path, [recording(tree_with_inputs())], {"simulation": json.dumps({"cell": "x" * 50})})
    whole = path.read_bytes()

    expected, said = _read(path), []
    for at in np.linspace(0, len(whole) - 1, 400).astype(int):
        content = bytearray(whole)
        content[at] ^= 16
        other = changed / f"{at}.h5"
        other.write_bytes(bytes(content))
        try:
            found = _read(other)
        except FileError as error:
            said.append(str(error))
        else:
            assert found == expected, at
    assert len(said) > 100
    assert not any("\n" in text for text in said)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("v", np.zeros(50, np.int16)),
        ("v", np.zeros((0, 3), np.int16)),
        ("v", np.zeros((50, 3), np.int64)),
        ("spikes_ms", np.array([np.nan])),
        ("spikes_ms", np.array([1e30])),
        ("spikes_ms", np.array([-1.0])),
        ("spikes_ms", np.zeros((2, 2))),
        ("events/input", np.array([10**6], np.int32)),
        ("events/input", np.array([], np.int32)),
        ("events/time_ms", np.array([np.nan] * 3)),
        ("spike_probability", np.full(50, 2.0)),
        ("spike_probability", np.full(7, 0.5)),
    ],
)
def test_parts_of_a_trial_that_cannot_be(tmp_path: Path, name: str, values: np.ndarray) -> None:
    """Without checksums, as files of others are."""
    path = tmp_path / "r.h5"
    write_recordings(path, [recording(tree_with_inputs())], {})
    with h5py.File(path, "r+") as file:
        if f"trials/000000/{name}" in file:
            attributes = {k: v for k, v in file[f"trials/000000/{name}"].attrs.items() if k != CHECKSUMS}
            del file[f"trials/000000/{name}"]
        else:
            attributes = {}
        file[f"trials/000000/{name}"] = values
        file[f"trials/000000/{name}"].attrs.update(attributes)
    with pytest.raises(FileError) as error:
        _read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["v", "events", "spikes_ms", "events/input"])
def test_a_trial_without_a_part(tmp_path: Path, name: str) -> None:
    path = tmp_path / "r.h5"
    write_recordings(path, [recording(tree_with_inputs())], {})
    with h5py.File(path, "r+") as file:
        del file[f"trials/000000/{name}"]
    with pytest.raises(FileError, match=r"r.h5 is damaged"):
        index_trials(path)


# ------------------------------------------------------------------------------------------------- potentials


@pytest.mark.parametrize("current_nA", [1e6, -1e4, 1e30, 1e300])
def test_potentials_outside_of_the_tables(current_nA: float) -> None:
    injection = Injection(np.array([0]), np.full((20, 1), current_nA))
    with pytest.raises(InputError, match=r"of compartment \d+ is \S+ mV at \d+ ms, outside of -150 to 100 mV"):
        dendrotwin.load("l5pc").predict(SILENCE, 20, injection=injection)


@pytest.mark.parametrize("v_mV", [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e9, -1e9])
def test_tables_are_bounded_whatever_v_is(v_mV: float) -> None:
    n = 19
    of_ion = np.zeros((0, n), np.float32)
    bins, single = np.zeros(n, np.uint32), np.zeros((2, n), np.float32)
    index = TableIndex(single[0], bins, single[1], of_ion, np.zeros((0, n), np.uint32), of_ion, of_ion)
    with np.errstate(over="ignore"):
        locate_potentials(np.full(n, v_mV), index)
    assert bins.max() <= V_BINS - 2


# ------------------------------------------------------------------------------------------------- code


EVIL = """
from pathlib import Path
Path({marker!r}).write_text("run")
"""


@pytest.fixture
def evil(tmp_path: Path) -> tuple[Path, Path]:
    """A Python file that leaves a mark when it is run, and the mark."""
    script, marker = tmp_path / "evil.py", tmp_path / "marker"
    script.write_text(EVIL.format(marker=str(marker)))
    return script, marker


def test_a_twin_does_not_choose_code_that_is_run(twins: Path, tmp_path: Path, evil: tuple[Path, Path]) -> None:
    script, marker = evil
    folder = a_copy(twins / "elm", tmp_path)
    seal_again(folder, architecture=str(script), architecture_sha256="")
    refused(folder, r"does not choose code that is run; name the file, if you trust it: --architecture FILE")
    with pytest.raises(TwinError, match=r"is not the architecture that .* was saved with \(its SHA-256 differs\)"):
        dendrotwin.load(folder, architecture=script)
    assert not marker.exists()
    with pytest.raises(TwinError, match=r"is of the architecture elm, not of .*evil.py; leave that away"):
        dendrotwin.load(twins / "elm", architecture=script)
    assert not marker.exists()


def test_data_do_not_choose_code_that_is_run(tmp_path: Path, evil: tuple[Path, Path]) -> None:
    script, marker = evil
    made = Simulation(cell=str(script), duration_ms=600).model_dump(mode="json")
    path = tmp_path / "r.h5"
    write_recordings(path, [recording(tree_with_inputs())], {"simulation": json.dumps(made)})
    tree, trials = index_trials(path)
    config, model = build_model("elm", SIZES["elm"], tree)
    twin = Twin("elm", config.model_dump(mode="json"), tree, model, 0.5, {**FACTS, "simulation": made})
    for use in (
        lambda: speed_beside_neuron(twin),
        lambda: neuron_row(tree, trials),
        lambda: simulation_of(trials[0], "NEURON cannot be timed"),
    ):
        with pytest.raises(InputError, match=r"evil.py, and data do not choose code that is run; .*: --cell"):
            use()
    assert not marker.exists()


OWN = "from dendrotwin.cells.ball_and_stick import cell\n"


def test_a_cell_that_is_named_is_the_one_of_the_data(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.py", tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    mine.write_text(OWN)
    other.write_text(OWN + "x = 1\n")
    there = Simulation(cell="/somewhere/else/mine.py", duration_ms=600)
    made = with_digests(there.model_copy(update={"cell": str(mine)}), dendrotwin.cells.load_cell(str(mine)), None, None)
    data = {**made.model_dump(mode="json"), "cell": there.cell}
    assert simulation_of_data(data, mine, "r.h5").cell == str(mine)
    with pytest.raises(InputError, match=r"is not the cell that r.h5 was made with \(another file"):
        simulation_of_data(data, other, "r.h5")
    ours = Simulation(cell="ball_and_stick", duration_ms=600).model_dump(mode="json")
    assert simulation_of_data(ours, None, "r.h5").cell == "ball_and_stick"
    with pytest.raises(InputError, match="is of the cell ball_and_stick, not of"):
        simulation_of_data(ours, mine, "r.h5")
    for wrong in ({"cell": 3}, {"cell": "ball_and_stick", "dt_ms": "x"}, {}):
        with pytest.raises(InputError, match=r"what r.h5 says of its simulation is damaged"):
            simulation_of_data(wrong, None, "r.h5")
    with pytest.raises(DendrotwinError):
        simulation_of_data({**data, "cell": "unknown"}, None, "r.h5")
    assert "mine" not in sys.modules
