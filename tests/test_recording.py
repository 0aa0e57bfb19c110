"""Recordings and their file, events and the user's own inputs."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from dendrotwin import TWINS
from dendrotwin.cell.stimuli import Modulated, Poisson, _smoothed, draw_events, read_events, read_injection, trial_rng
from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cell.tree import APICAL, Events, Injection, Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording import Recording, RecordingFile, spike_train, trial_identity, write_recordings
from dendrotwin.recording.checks import to_int16
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.support.atomic_files import refuse_existing, remove_dead_partials, whole_file, whole_folder
from slow_networks import event_counts
from test_plot import small_tree


def tree_with_inputs() -> Tree:
    """A tree with a joint at its branch point, and with both kinds of synapse on its dendrites."""
    tree = small_tree()
    branch = next(p for p in range(1, tree.n) if (tree.parent == p).sum() > 1)
    axial_parent = np.append(tree.axial_parent, branch).astype(np.int32)
    axial_parent[:-1][tree.parent == branch] = tree.n
    excitatory = Synapse("exc", True, (Conductance(0.3, 3.0, 4e-4, 0.0), Conductance(2.0, 70.0, 4e-4, 0.0, mg_mM=1.0)))
    inhibitory = Synapse("inh", False, (Conductance(0.2, 8.0, 1e-3, -80.0),))
    dendrites = np.flatnonzero(tree.dendrites).astype(np.int32)
    area_cm2 = tree.area_um2 * 1e-8
    return dataclasses.replace(
        tree,
        axial_parent=axial_parent,
        axial_uS=np.append(np.where(tree.parent < 0, 0.0, 0.05), 0.08),
        capacitance_nF=area_cm2 * 1e3,
        leak_uS=area_cm2 * 1e6 * 5e-5,
        synapses=(excitatory, inhibitory),
        input_compartment=np.tile(dendrites, 2),
        input_synapse=np.repeat(np.array([0, 1], dtype=np.int32), len(dendrites)),
    )


def recording(tree: Tree, steps: int = 50, trial_id: str = "a", seed: int = 0, record_dt_ms: float = 1.0) -> Recording:
    rng = np.random.default_rng(seed)
    events = Events.sort(rng.integers(0, tree.n_inputs, 40), rng.integers(0, steps, 40))
    v = rng.uniform(-90.0, 40.0, (round(steps / record_dt_ms), tree.n)).astype(np.float32)
    injection = Injection(np.array([1], dtype=np.int32), rng.normal(size=(steps, 1)))
    probability = rng.random(steps).astype(np.float32)
    return Recording(tree, v, events, np.array([3.25, 41.5]), trial_id, injection, probability, record_dt_ms)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    made = [recording(tree, 50, "a", 0), recording(tree, 300, "b", 1)]
    for compress in (False, True):
        write_recordings(tmp_path / "r.h5", made, {"cell": "x"}, compress=compress)
        found, trials = index_trials(tmp_path / "r.h5")
        assert found.fingerprint() == tree.fingerprint()
        assert found.to_dict().keys() == tree.to_dict().keys()
        assert found.synapses == tree.synapses
        assert [(t.trial_id, t.duration_ms) for t in trials] == [("a", 50), ("b", 300)]
        for trial, truth in zip(trials, made, strict=True):
            read = read_trial(trial, found)
            assert np.abs(read.v_mV - truth.v_mV).max() <= 0.0026  # half a step of the int16, and float32's digits
            assert np.array_equal(read.events.input, truth.events.input)
            assert np.array_equal(read.events.time_ms, truth.events.time_ms)
            assert np.array_equal(read.spikes_ms, truth.spikes_ms)
            assert np.array_equal(read.injection.current_nA, truth.injection.current_nA)
            assert np.array_equal(read.spike_probability, truth.spike_probability)


def test_window_of_a_trial(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    write_recordings(tmp_path / "r.h5", [recording(tree, 300)], {})
    with RecordingFile(tmp_path / "r.h5") as file:
        assert np.array_equal(file.v(0, 100, 220), file.v(0)[100:220])


def test_finer_samples_are_written_and_read(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    for interval, samples in ((0.05, 1000), (0.25, 200)):
        made = recording(tree, 50, record_dt_ms=interval)
        assert made.v_mV.shape == (samples, tree.n)
        write_recordings(tmp_path / "r.h5", [recording(tree, 30), made], {})
        found, (coarse, fine) = index_trials(tmp_path / "r.h5")
        assert (coarse.duration_ms, coarse.record_dt_ms) == (30, 1.0)
        assert (fine.duration_ms, fine.record_dt_ms) == (50, interval)
        read = read_trial(fine, found)
        assert (read.duration_ms, read.record_dt_ms, len(read.spike_train())) == (50, interval, 50)
        assert np.abs(read.v_mV - made.v_mV).max() <= 0.0026
        assert np.array_equal(read.events.time_ms, made.events.time_ms)
        assert np.array_equal(read.injection.current_nA, made.injection.current_nA)
        each = read.each_ms()
        assert (each.duration_ms, each.record_dt_ms) == (50, 1.0)
        assert np.array_equal(each.v_mV, read.v_mV[samples // 50 - 1 :: samples // 50])  # the last one of each ms
        with RecordingFile(tmp_path / "r.h5") as file:
            assert np.array_equal(file.v(1, 15, 37), read.v_mV[15:37])


def test_a_file_that_does_not_say_is_of_each_ms(tmp_path: Path) -> None:
    """So do files from before there was a choice."""
    tree = tree_with_inputs()
    write_recordings(tmp_path / "r.h5", [recording(tree)], {})
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["trials/000000"].attrs["record_dt_ms"]
    (trial,) = index_trials(tmp_path / "r.h5")[1]
    assert (trial.duration_ms, trial.record_dt_ms) == (50, 1.0)
    shipped, (trial,) = index_trials(TWINS / "l5pc.recording.h5")
    assert (trial.duration_ms, trial.record_dt_ms) == (len(read_trial(trial, shipped).v_mV), 1.0)


def test_samples_that_are_no_whole_ms(tmp_path: Path) -> None:
    made = recording(tree_with_inputs(), 50, record_dt_ms=0.05)
    for wrong, message in (
        (dataclasses.replace(made, v_mV=made.v_mV[:-1]), r"999 samples, one every 0.05 ms, which is no whole number"),
        (dataclasses.replace(made, record_dt_ms=0.3), r"record_dt_ms is 0.3 ms; it must divide 1 ms, such as 0.05"),
        (dataclasses.replace(made, record_dt_ms=2.0), r"record_dt_ms is 2.0 ms; it must divide 1 ms"),
    ):
        with pytest.raises(InputError, match=message):
            write_recordings(tmp_path / "r.h5", [wrong], {})
    assert list(tmp_path.iterdir()) == []


def test_v_that_cannot_be_stored(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    for value, message in (
        (np.nan, "V of compartment 2 is not finite at sample 7; .* a network is far from what it was trained on"),
        (200.0, "V of compartment 2 is 200 mV at sample 7, the file holds -238 ... 88 mV; a simulation diverged"),
    ):
        wrong = recording(tree)
        wrong.v_mV[7, 2] = value
        with pytest.raises(FileError, match=message):
            write_recordings(tmp_path / "r.h5", [wrong], {})
    assert list(tmp_path.iterdir()) == []
    assert to_int16(np.array([[-75.0, -74.995]]), "x").tolist() == [[0, 1]]


def test_nan_in_a_foreign_file(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    write_recordings(tmp_path / "r.h5", [recording(tree)], {})
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        v = file["trials/000000/v"][()].astype(np.float32)
        v[3, 1] = np.nan
        del file["trials/000000/v"]
        file["trials/000000/v"] = v
    found, trials = index_trials(tmp_path)
    with pytest.raises(FileError, match="V holds NaN"):
        read_trial(trials[0], found)


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    path = tmp_path / "r.h5"
    write_recordings(path, [recording(tree, 300)], {})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="is truncated or is no HDF5 file; restore it"):
        index_trials(tmp_path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(FileError, match=r"r\.h5 is no recording; name a file that"):
        index_trials(tmp_path)


def test_cells_are_not_mixed(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    other = dataclasses.replace(tree, capacitance_nF=tree.capacitance_nF * 1.001)
    with pytest.raises(FileError, match="is of another cell"):
        write_recordings(tmp_path / "r.h5", [recording(tree), recording(other)], {})
    write_recordings(tmp_path / "a.h5", [recording(tree)], {})
    write_recordings(tmp_path / "b.h5", [recording(other)], {})
    with pytest.raises(FileError, match=r"b.h5 is a recording of another cell"):
        index_trials(tmp_path)


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no recording"):
        index_trials(tmp_path)
    with pytest.raises(FileError, match="does not exist"):
        index_trials(tmp_path / "nothing")
    with pytest.raises(FileError, match="no trial to write"):
        write_recordings(tmp_path / "r.h5", [], {})


def test_damaged_tree(tmp_path: Path) -> None:
    values = tree_with_inputs().to_dict()
    with pytest.raises(FileError, match="the tree lacks axial_uS"):
        Tree.from_dict({k: v for k, v in values.items() if k != "axial_uS"})
    with pytest.raises(FileError, match="format version 99"):
        Tree.from_dict({**values, "format_version": 99})


def test_spike_train() -> None:
    assert np.flatnonzero(spike_train(np.array([0.2, 3.999, 4.0, 99.0]), 10)).tolist() == [0, 3, 4]


def test_every_field_counts_for_the_fingerprint() -> None:
    tree = tree_with_inputs()
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        changed = (*value, "x") if isinstance(value, tuple) and field.name == "section_names" else value
        if isinstance(value, np.ndarray):
            changed = value + 1
        elif field.name == "synapses":
            changed = value[:1]
        elif isinstance(value, float):
            changed = value + 0.5
        assert dataclasses.replace(tree, **{field.name: changed}).fingerprint() != tree.fingerprint(), field.name


def test_old_content_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_partials_of_the_dead_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".trial.h5.{socket.gethostname()}-{dead.pid}.abc.partial"
    left.write_text("half")
    with whole_file(tmp_path / "live") as live:
        remove_dead_partials(tmp_path)
        assert live.exists()
        assert not left.exists()


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "folder", "mark", overwrite=False) as folder:
        (folder / "mark").write_text("1")
    with pytest.raises(FileError, match="exists; name another one, or use --overwrite"):
        refuse_existing(tmp_path / "folder", "mark", overwrite=False)
    with whole_folder(tmp_path / "folder", "mark", overwrite=True) as folder:
        (folder / "mark").write_text("2")
    assert (tmp_path / "folder" / "mark").read_text() == "2"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("x")
    for kept in (precious, precious / "thesis"):
        with pytest.raises(FileError, match="holds something else"):
            refuse_existing(kept, "mark", overwrite=True)


# ------------------------------------------------------------------------------------------------- inputs


def test_same_seed_same_trial() -> None:
    tree = tree_with_inputs()
    a, b, c = (draw_events(tree, Modulated(), 2000, trial_rng(5, k)) for k in (2, 2, 3))
    assert np.array_equal(a.input, b.input)
    assert np.array_equal(a.time_ms, b.time_ms)
    assert len(a) != len(c) or not np.array_equal(a.time_ms, c.time_ms)


def test_poisson_rates(rng: np.random.Generator) -> None:
    tree = tree_with_inputs()
    events = draw_events(tree, Poisson(excitatory_hz=20.0, inhibitory_hz=5.0), 200_000, rng)
    hz = np.bincount(events.input, minlength=tree.n_inputs) / 200.0
    excitatory = tree.input_synapse == 0
    assert np.allclose(hz[excitatory].mean(), 20.0, atol=4 * np.sqrt(20 / 200 / excitatory.sum()))
    assert np.allclose(hz[~excitatory].mean(), 5.0, atol=4 * np.sqrt(5 / 200 / (~excitatory).sum()))


def test_modulated_rates_are_the_published_ones() -> None:
    """Mean number of spikes per 100 ms on each tree: 400 excitatory, and what the uniform law gives inhibitory.

    (A bin holds one spike at most, which the low rate_scale makes rare.)
    """
    tree = tree_with_inputs()
    scale, steps, trials = 0.002, 6000, 300
    counts = np.zeros(tree.n_inputs)
    for trial in range(trials):
        counts += np.bincount(
            draw_events(tree, Modulated(rate_scale=scale), steps, trial_rng(0, trial)).input, minlength=tree.n_inputs
        )
    per_100_ms = counts / (trials * steps / 100.0) / scale
    exc = np.random.default_rng(1).uniform(0, 800, 200_000)
    inhibitory = ((np.maximum(0, exc - 600) + exc + 200) / 2).mean()
    for regions in (("basal",), APICAL):
        on_tree = tree.in_region(*regions)[tree.input_compartment]
        for kind, expected in ((0, 400.0), (1, inhibitory)):
            of = on_tree & (tree.input_synapse == kind)
            assert per_100_ms[of].sum() == pytest.approx(expected, rel=0.05)
            share = tree.length_um[tree.input_compartment[of]] + 10.0
            assert np.allclose(per_100_ms[of], expected * share / share.sum(), rtol=0.12)


def test_modulated_rates_vary_smoothly_and_apart() -> None:
    """Basal and apical trees have their own rates; smoothing takes away most of the jumps of the drawn ones."""
    tree, steps = tree_with_inputs(), 3000
    basal = tree.in_region("basal")[tree.input_compartment]
    excitatory = tree.input_synapse == 0
    sums, variances, means = [], [], []
    for trial in range(80):
        events = draw_events(tree, Modulated(rate_scale=0.05), steps, trial_rng(1, trial))
        basal_count, apical_count = (
            np.bincount(events.bins()[(excitatory & of)[events.input]], minlength=steps) for of in (basal, ~basal)
        )
        sums.append([basal_count.sum(), apical_count.sum()])
        blocks = basal_count.reshape(-1, 25).sum(axis=1)
        variances.append(np.var(blocks))
        means.append(blocks.mean())
    assert abs(np.corrcoef(np.array(sums).T)[0, 1]) < 0.35
    # Drawn rates are uniform, with a variance of mean^2 / 3; the rest is Poisson noise, whose variance is the mean.
    mean = np.mean(means)
    assert np.mean(variances) < mean + 0.6 * mean**2 / 3
    # Between trials there is far more than Poisson noise.
    assert np.var(sums, axis=0).min() > 2.0 * np.mean(sums)


def test_each_bin_of_each_input_has_a_rate_of_its_own() -> None:
    """Spikes in the first 5 ms, where the drawn rates are constant, against the published law.

    A spike's probability is the rate times an Exp(1) factor of that bin and that input. At high rates it shows:
    without the factor an input that reaches 1 fires in every bin, and where bins or inputs share one, all fire or none.
    """
    tree, scale, trials = tree_with_inputs(), 2.0, 2000
    of = np.flatnonzero(tree.in_region("basal")[tree.input_compartment] & (tree.input_synapse == 0))
    fired = np.zeros((trials, tree.n_inputs, 5), dtype=bool)
    for trial in range(trials):
        events = draw_events(tree, Modulated(rate_scale=scale), 5, trial_rng(0, trial))
        fired[trial, events.input, events.bins()] = True
    rng = np.random.default_rng(1)
    share = tree.length_um[tree.input_compartment[of]] + 10.0
    rate = scale * rng.uniform(0, 8, (20_000, 1)) * share / share.sum() * rng.uniform(0.5, 1.5, (20_000, len(of)))
    expected = rng.random((*rate.shape, 5)) < rate[:, :, None] * rng.exponential(size=(*rate.shape, 5))
    for axis in (1, 2):  # how many inputs fire in a bin, in how many bins an input fires
        found, law = (np.bincount(a.sum(axis=axis).ravel()) for a in (fired[:, of], expected))
        assert found / found.sum() == pytest.approx(law / law.sum(), abs=0.03)


def test_events_are_checked() -> None:
    events = Events.sort(np.array([0, 3, 1]), np.array([4.9, 2.0, 2.0]))
    assert events.time_ms.tolist() == [2, 2, 4.9]
    assert events.bins().tolist() == [2, 2, 4]
    assert events.input.tolist() == [1, 3, 0]
    events.check(4, 5)
    with pytest.raises(InputError, match="names input 3, the cell has inputs 0 to 2"):
        events.check(3, 5)
    with pytest.raises(InputError, match=r"at 4\.9 ms, after the end at 4 ms"):
        events.check(4, 4)
    with pytest.raises(InputError, match=r"at -0\.5 ms, before the trial starts"):
        Events.sort(np.array([0]), np.array([-0.5])).check(4, 5)
    with pytest.raises(InputError, match="not sorted by time"):
        Events(np.array([0, 1], dtype=np.int32), np.array([3, 1], dtype=np.int32)).check(4, 5)
    with pytest.raises(InputError, match="beyond 2147483647"):
        Events.sort(np.array([2**32 + 3]), np.array([0]))


def test_events_have_times_of_their_own(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    rng = np.random.default_rng(3)
    inputs, times = rng.integers(0, tree.n_inputs, 300), rng.uniform(0.0, 49.9, 300).round(1)
    events = Events.sort(inputs, times)
    assert events.time_ms.dtype == np.float64
    assert list(zip(events.time_ms, events.input, strict=True)) == sorted(zip(times, inputs, strict=True))
    assert np.array_equal(event_counts(events, tree.n_inputs, -5, 40)[:, 5:], np.histogram2d(
        inputs, times, [np.arange(tree.n_inputs + 1), np.arange(51)])[0][:, :40])  # fmt: skip
    made = dataclasses.replace(recording(tree), events=events)
    write_recordings(tmp_path / "r.h5", [made], {})
    with RecordingFile(tmp_path / "r.h5") as file:
        read = file.events(0)
    assert np.array_equal(read.time_ms, events.time_ms)
    assert np.array_equal(read.input, events.input)
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["trials/000000/events/time_ms"]  # as in files from before
    with RecordingFile(tmp_path / "r.h5") as file:
        assert np.array_equal(file.events(0).time_ms, events.bins())
    # Whole milliseconds are the trial that they always were.
    whole = Events(np.array([1, 3], dtype=np.int32), np.array([2.0, 7.0]))
    assert trial_identity(whole, None, 10) == trial_identity(Events(whole.input, whole.bins()), None, 10)
    assert trial_identity(whole, None, 10) == "6eb4b294645ba98e"
    assert trial_identity(Events(whole.input, whole.time_ms + 0.1), None, 10) != trial_identity(whole, None, 10)


@pytest.mark.parametrize(
    ("time", "message"), [(np.nan, "no finite"), (np.inf, "no finite"), (-0.0, "at -0 ms, before")]
)
def test_times_that_are_none(time: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Events(np.array([0], dtype=np.int32), np.array([time])).check(1, 5)
    if not np.isfinite(time):
        with pytest.raises(InputError, match="not a number"):
            Events.sort(np.array([0]), np.array([time]))


def test_weights_and_blocks_of_a_tree() -> None:
    """Stored with it and part of its fingerprint, which without them is what it was before there were any."""
    tree = tree_with_inputs()
    assert tree.input_weight.tolist() == [1.0] * tree.n_inputs
    assert "input_weight" not in tree.to_dict()
    assert "block" not in tree.to_dict()["synapses"]
    assert tree.fingerprint() == "f1570b507fe06252"
    weighed = dataclasses.replace(tree, input_weight=np.arange(1.0, tree.n_inputs + 1.0))
    any_block = Synapse("x", True, (Conductance(0.0, 3.0, 1.0, 0.0, block=tuple(np.linspace(0, 1, 251))),))
    for other in (weighed, dataclasses.replace(tree, synapses=(any_block, tree.synapses[1]))):
        again = Tree.from_dict(other.to_dict())
        assert other.fingerprint() == again.fingerprint() != tree.fingerprint()
        assert again.synapses == other.synapses
        assert np.array_equal(again.input_weight, other.input_weight)
    with pytest.raises(InputError, match="inputs and 2 weights; give one for each"):
        dataclasses.replace(tree, input_weight=np.array([1.0, 2.0]))


def test_inputs_of_soma_and_axon_count_to_the_basal_tree() -> None:
    tree = tree_with_inputs()
    everywhere = np.arange(tree.n, dtype=np.int32)
    tree = dataclasses.replace(tree, input_compartment=everywhere, input_synapse=np.zeros(tree.n, dtype=np.int32))
    counts = sum(np.bincount(draw_events(tree, Modulated(rate_scale=0.05), 3000, trial_rng(0, k)).input,
                             minlength=tree.n) for k in range(20))  # fmt: skip
    assert counts.min() > 10


def test_injection_is_checked() -> None:
    good = Injection(np.array([0, 4], dtype=np.int32), np.zeros((5, 2)))
    good.check(5, 5)
    with pytest.raises(InputError, match="into compartment 4, the cell has compartments 0 to 3"):
        good.check(4, 5)
    with pytest.raises(InputError, match=r"shape \(5, 2\), the trial needs \(6, 2\)"):
        good.check(5, 6)
    with pytest.raises(InputError, match="holds NaN"):
        Injection(np.array([0], dtype=np.int32), np.full((5, 1), np.nan)).check(5, 5)


def test_own_events(tmp_path: Path) -> None:
    table, arrays = tmp_path / "e.csv", tmp_path / "e.npz"
    table.write_text("time, input\n3.7,2\n0,1\n")
    np.savez(arrays, input=[2, 1], time=[3.7, 0.0])
    for path in (table, arrays):
        events = read_events(path)
        assert events.input.tolist() == [1, 2]
        assert events.time_ms.tolist() == [0, 3.7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "must name the columns input and time"),
        ("", "must name the columns"),
        ("input,time\n1,x\n", "every row needs two numbers"),
        ("input,time\n1\n", "every row must have the 2 columns"),
        ("input,time\n1.5,2\n", "input 1.5 is no whole number"),
        ("input,time\n1,nan\n", "not a finite number"),
    ],
)
def test_own_events_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_events(path)
    with pytest.raises(InputError, match="does not exist"):
        read_events(tmp_path / "other.csv")


def test_own_current(tmp_path: Path) -> None:
    table, arrays = tmp_path / "i.csv", tmp_path / "i.npz"
    table.write_text("time,0,7\n0,0.5,1\n1,0.25,0\n")
    np.savez(arrays, compartment=[0, 7], current_nA=[[0.5, 1.0], [0.25, 0.0]])
    for path in (table, arrays):
        injection = read_injection(path, 4)
        assert injection.compartment.tolist() == [0, 7]
        assert injection.current_nA.tolist() == [[0.5, 1.0], [0.25, 0.0], [0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(InputError, match="lasts 2 ms, the trial 1 ms"):
        read_injection(table, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,7\n1,2\n", "first line must be `time,`"),
        ("time,soma\n0,1\n", "compartments are whole numbers"),
        ("time,0\n5,1\n", "must count the milliseconds"),
    ],
)
def test_own_current_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "i.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_injection(path, 100)


@pytest.mark.parametrize(("hold", "sd", "steps"), [(5, 25, 1), (5, 5, 300), (37, 100, 2999), (430, 620, 2500)])
def test_rates_are_smoothed_as_scipy_does_it(hold: int, sd: int, steps: int, rng: np.random.Generator) -> None:
    drawn = rng.random((-(-steps // hold), 3)).astype(np.float32)
    held = np.repeat(drawn, hold, axis=0)[:steps]
    expected = gaussian_filter1d(held, sd, axis=0, mode="nearest")
    np.testing.assert_allclose(_smoothed(drawn, hold, sd, steps), expected, rtol=2e-7)
