"""Simulations: any number of workers, killed and gone on with, on a Dask cluster, and one's own input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cell.tree import SPIKE_MV, Events, Injection
from dendrotwin.cells import load_cell
from dendrotwin.errors import FileError, InputError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.neuron.simulation import PRESETS
from dendrotwin.neuron.trial import _spike_times, run_trial
from dendrotwin.recording.trials import HeldOut, index_trials, read_held_out, read_trial


def test_data_set(data: Path, simulation: Simulation) -> None:
    tree, trials = index_trials(data)
    assert tree.n == 37
    assert len({trial.trial_id for trial in trials}) == 10
    recordings = [read_trial(trial, tree) for trial in trials]
    assert {r.v_mV.shape for r in recordings} == {(1500, 37)}
    spikes = [len(r.spikes_ms) for r in recordings]
    assert min(spikes) < max(spikes)
    for r in recordings:
        # Where the file has a spike, its soma is high; where the soma is high at the end of a ms, there is a spike.
        for time_ms in r.spikes_ms:
            assert r.v_mV[int(time_ms) - 1 : int(time_ms) + 2, 0].max() > -45.0
        high = np.flatnonzero(r.v_mV[:, 0] > SPIKE_MV)
        assert all(np.abs(r.spikes_ms - t).min() <= 3.0 for t in high)


def test_one_worker_or_two_make_the_same_bytes(data: Path, simulation: Simulation, tmp_path: Path) -> None:
    simulate(simulation, 3, tmp_path / "one", workers=1)
    for k in range(3):
        assert shard_path(tmp_path / "one", k).read_bytes() == shard_path(data, k).read_bytes()


def _command(simulation: Simulation, out: Path, trials: int) -> list[str]:
    return [
        sys.executable, "-m", "dendrotwin.cli", "simulate", simulation.cell, "--out", str(out), "--trials", str(trials),
        "--duration", str(simulation.duration_ms / 1000), "--seed", str(simulation.seed), "--workers", "2",
        "--rate-scale", str(simulation.inputs.rate_scale),
    ]  # fmt: skip


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _workers(pid: int) -> list[int]:
    return [c for c in _children(pid) if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_killed_and_gone_on_with(data: Path, simulation: Simulation, tmp_path: Path, victim: str) -> None:
    out = tmp_path / "killed"
    process = subprocess.Popen(_command(simulation, out, 10), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not shard_path(out, 1).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = _workers(process.pid)
    assert len(workers) == 2
    os.kill(process.pid if victim == "parent" else workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    if victim == "worker":
        assert process.returncode == 2
        assert "a worker process died" in errors
        assert "Traceback" not in errors
    else:
        while any(Path(f"/proc/{pid}").exists() for pid in workers):  # the workers follow their parent
            assert time.monotonic() < deadline
            time.sleep(0.05)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    assert 0 < len(kept) < 10
    subprocess.run(_command(simulation, out, 10), check=True, capture_output=True)
    for k in range(10):
        assert shard_path(out, k).read_bytes() == shard_path(data, k).read_bytes()
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())  # a finished shard is never touched
    assert sorted(p.name for p in out.iterdir()) == [
        "build.json",
        "simulation.json",
        *(f"trial-{k:06d}.h5" for k in range(10)),
    ]


def test_on_a_dask_cluster(data: Path, simulation: Simulation, tmp_path: Path) -> None:
    """The same tasks on a real cluster of two worker processes, by the command line."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        command = [*_command(simulation, tmp_path / "dask", 4), "--executor", "dask"]
        command += ["--scheduler", cluster.scheduler_address]
        subprocess.run(command, check=True, capture_output=True)
        with distributed.Client(cluster) as client:
            pids = client.run(lambda: os.getpid())
            assert len(set(pids.values())) == 2
    for k in range(4):
        assert shard_path(tmp_path / "dask", k).read_bytes() == shard_path(data, k).read_bytes()


def test_another_simulation_is_not_mixed_in(data: Path, simulation: Simulation) -> None:
    other = simulation.model_copy(update={"seed": 4, "dt_ms": 0.025})
    with pytest.raises(FileError, match=r"holds another simulation .other --dt, seed."):
        simulate(other, 1, data)


def test_damaged_shard_is_named(simulation: Simulation, tmp_path: Path, data: Path) -> None:
    (tmp_path / "simulation.json").write_text((data / "simulation.json").read_text())
    whole = shard_path(data, 0).read_bytes()
    shard_path(tmp_path, 0).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"trial-000000.h5 is truncated"):
        simulate(simulation, 1, tmp_path)


def test_dt_divides_a_millisecond(simulation: Simulation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dt is 0.03 ms; it must divide 1 ms"):
        simulate(simulation.model_copy(update={"dt_ms": 0.03}), 1, tmp_path / "x")


@pytest.mark.parametrize("engine", ["neuron", "coreneuron"])
def test_finer_samples_are_those_of_each_ms_and_more(engine: str, simulation: Simulation, tmp_path: Path) -> None:
    """With injected current where the engine takes it, through several of CoreNEURON's chunks, and a spike."""
    short = simulation.model_copy(update={"duration_ms": 450, "engine": engine, "inputs": Modulated(rate_scale=0.3)})
    noise = np.random.default_rng(1).normal(0.0, 0.2, (450, 1))
    injection = Injection(np.array([0], dtype=np.int32), noise) if engine == "neuron" else None
    made = {}
    for interval in (1.0, 0.05, 0.25):
        finer, out = short.model_copy(update={"record_dt_ms": interval}), tmp_path / f"{interval}"
        simulate(finer, 1, out, workers=1, injection=injection)
        tree, (trial,) = index_trials(out)
        made[interval] = read_trial(trial, tree)
        assert made[interval].v_mV.shape == (round(450 / interval), 37)
        assert (trial.duration_ms, trial.record_dt_ms) == (450, interval)
    each = made.pop(1.0)
    assert len(each.spikes_ms)
    for finer in made.values():
        assert np.array_equal(finer.each_ms().v_mV, each.v_mV)
        assert np.array_equal(finer.spikes_ms, each.spikes_ms)
        assert np.array_equal(finer.events.input, each.events.input)
        assert finer.trial_id == each.trial_id
    assert np.array_equal(made[0.05].v_mV[4::5], made[0.25].v_mV)
    peak = made[0.05].v_mV[:, 0].argmax()  # between samples of each ms potentials go on
    assert np.abs((peak + 1) * 0.05 - each.spikes_ms).min() < 0.2
    assert made[0.05].v_mV[:, 0].max() > each.v_mV[:, 0].max()


@pytest.mark.parametrize(
    ("record_dt_ms", "message"),
    [
        (0.03, r"record-dt is 0.03 ms; it must divide 1 ms, such as 0.05 or 0.025"),
        (2.0, r"record-dt is 2.0 ms; it must divide 1 ms"),
        (0.0, r"record-dt is 0.0 ms; it must divide 1 ms"),
        (-0.05, r"record-dt is -0.05 ms; it must divide 1 ms"),
        (float("nan"), r"record-dt is nan ms; it must divide 1 ms"),
        (
            0.125,
            r"record-dt is 0.125 ms; it must be a multiple of dt, 0.05 ms: choose one of 1, 0.5, 0.25, 0.2, 0.1, 0.05",
        ),
        (0.025, r"record-dt is 0.025 ms; it must be a multiple of dt, 0.05 ms"),
    ],
)
def test_record_dt_is_refused_at_the_door(
    record_dt_ms: float, message: str, simulation: Simulation, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        simulate(simulation.model_copy(update={"record_dt_ms": record_dt_ms}), 1, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_another_record_dt_is_another_data_set(simulation: Simulation, tmp_path: Path) -> None:
    short = simulation.model_copy(update={"duration_ms": 20})
    simulate(short, 1, tmp_path)
    with pytest.raises(FileError, match=r"holds another simulation .other --record-dt."):
        simulate(short.model_copy(update={"record_dt_ms": 0.05}), 2, tmp_path)
    config = tmp_path / "simulation.json"
    older = {key: value for key, value in json.loads(config.read_text()).items() if key != "record_dt_ms"}
    config.write_text(json.dumps(older))
    assert len(simulate(short, 2, tmp_path)) == 2  # one from before there was a choice goes on
    with pytest.raises(FileError, match=r"other --record-dt"):
        simulate(short.model_copy(update={"record_dt_ms": 0.05}), 2, tmp_path)


def _ends_at(dt_ms: float, steps: int) -> float:
    from neuron import h

    cell = NeuronCell(load_cell("ball_and_stick"))
    none = np.zeros(0, dtype=np.int32)
    run_trial(cell, Events(none, none), steps, dt_ms)
    return float(h.t)


def test_samples_do_not_drift_where_t_is_a_rounded_sum() -> None:
    """After 1965 ms in steps of 0.01 ms, t is so far off that asking NEURON for t + 1 ms gave a step too few."""
    assert in_new_process(_ends_at, 0.01, 2000) == pytest.approx(2000.0, abs=0.001)


def _at(out: Path, dt_ms: float, method: str) -> np.ndarray:
    """The first trial of a data set, simulated again."""
    tree, trials = index_trials(out)
    cell = NeuronCell(load_cell("ball_and_stick"))
    return run_trial(cell, read_trial(trials[0], tree).events, trials[0].duration_ms, dt_ms, method)[0]


def test_step_and_method_are_those_asked_for(simulation: Simulation, tmp_path: Path) -> None:
    other = simulation.model_copy(update={"duration_ms": 300, "dt_ms": 0.025, "method": "backward-euler"})
    simulate(other, 1, tmp_path)
    tree, trials = index_trials(tmp_path)
    v = read_trial(trials[0], tree).v_mV
    assert np.abs(v - in_new_process(_at, tmp_path, 0.025, "backward-euler")).max() < 0.003
    assert np.abs(v - in_new_process(_at, tmp_path, 0.05, "crank-nicolson")).max() > 0.01
    with pytest.raises(InputError, match=r"Crank-Nicolson rings after spikes with dt 0.1 ms"):
        simulate(simulation.model_copy(update={"dt_ms": 0.1}), 1, tmp_path / "ringing")


def _own_cell(folder: Path, sodium: float) -> str:
    text = (Path(__file__).parents[1] / "src/dendrotwin/cells/ball_and_stick.py").read_text()
    path = folder / "own.py"
    path.write_text(
        text.replace(
            "gnabar, segment.hh.gkbar, segment.hh.gl = 0.25", f"gnabar, segment.hh.gkbar, segment.hh.gl = {sodium}"
        )
    )
    return str(path)


def test_edited_own_cell_is_another_simulation(tmp_path: Path) -> None:
    simulate(Simulation(cell=_own_cell(tmp_path, 0.25), duration_ms=20), 1, tmp_path / "own")
    with pytest.raises(FileError, match="other mechanisms or files of the cell"):
        simulate(Simulation(cell=_own_cell(tmp_path, 0.1), duration_ms=20), 1, tmp_path / "own")


@pytest.mark.parametrize(
    ("inputs", "scale"), [({}, 0.1), ({"inputs": Modulated()}, 0.1), ({"inputs": Modulated(rate_scale=1.0)}, 1.0)]
)
def test_the_rate_scale_is_the_cells_own_unless_given(
    inputs: dict[str, Modulated], scale: float, tmp_path: Path
) -> None:
    simulate(Simulation(cell="ball_and_stick", duration_ms=20, **inputs), 1, tmp_path, workers=1)
    stored = json.loads((tmp_path / "simulation.json").read_text())
    assert stored["inputs"] == {"protocol": "modulated", "rate_scale": scale}


def test_overwrite_removes_only_a_data_set(simulation: Simulation, tmp_path: Path) -> None:
    short = simulation.model_copy(update={"duration_ms": 20})
    simulate(short, 2, tmp_path)
    with pytest.raises(InputError, match="must divide"):
        simulate(short.model_copy(update={"dt_ms": 0.03}), 1, tmp_path, overwrite=True)
    (tmp_path / "trial-mine.h5").write_text("mine")
    with pytest.raises(FileError, match="holds files that `simulate` did not make"):
        simulate(short.model_copy(update={"seed": 9}), 1, tmp_path, overwrite=True)
    assert shard_path(tmp_path, 1).exists()
    (tmp_path / "trial-mine.h5").unlink()
    simulate(short.model_copy(update={"seed": 9}), 1, tmp_path, overwrite=True)
    assert [p.name for p in tmp_path.glob("*.h5")] == ["trial-000000.h5"]


def test_presets() -> None:
    minutes = {
        name: [trials * p.duration_ms / 60_000 for trials in (p.test, p.validation, p.train)]
        for name, p in PRESETS.items()
    }
    assert minutes == {"tiny": [0.05, 0.05, 0.2], "bench": [5, 3, 30], "paper": [5, 3, 600]}
    assert [p.trials for p in PRESETS.values()] == [12, 380, 6080]
    assert {p.seed for p in PRESETS.values()} == {2024}
    bench, paper = PRESETS["bench"], PRESETS["paper"]
    assert (bench.held_out, bench.duration_ms) == (paper.held_out, paper.duration_ms)


def test_split_of_a_data_set_is_kept(simulation: Simulation, tmp_path: Path) -> None:
    short, held_out = simulation.model_copy(update={"duration_ms": 20}), HeldOut(test=2, validation=1)
    (tmp_path / "split.json").write_text("of a data set that was never begun")
    simulate(short, 1, tmp_path)
    assert read_held_out(tmp_path) is None
    simulate(short, 1, tmp_path, held_out=held_out)
    simulate(short, 2, tmp_path)  # grows
    assert read_held_out(tmp_path) == held_out
    with pytest.raises(FileError, match=r"is split in another way \(test=2 validation=1\); name another folder"):
        simulate(short, 2, tmp_path, held_out=HeldOut(test=1, validation=1))
    simulate(short, 1, tmp_path, overwrite=True)
    assert read_held_out(tmp_path) is None


def test_same_events_once(simulation: Simulation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make the same trial 2 times"):
        simulate(simulation, 2, tmp_path, events=Events.sort(np.array([0]), np.array([0])))


def _allen_by_hand(celsius: float) -> tuple[np.ndarray, np.ndarray]:
    """`run_trial` and a plain loop, the latter at a temperature of its own."""
    from neuron import h

    cell = NeuronCell(load_cell("allen_l4"))
    events = draw_events(cell.tree, Simulation(cell="x", duration_ms=1).inputs, 60, trial_rng(0, 0))
    ours, _ = run_trial(cell, events, 60)
    h.celsius = celsius
    h.finitialize(cell.tree.v_init_mV)
    for i, at in zip(events.input.tolist(), events.time_ms.tolist(), strict=True):
        cell.connections[i].event(at)
    by_hand = []
    for _ in range(60):
        for _ in range(20):
            h.fadvance()
        by_hand.append([segment.v for segment in cell.segments])
    return ours, np.array(by_hand)


def test_coreneuron_is_neuron(data: Path, simulation: Simulation, tmp_path: Path) -> None:
    """The same trials, to a few units of the files' 0.005 mV, through several of CoreNEURON's chunks."""
    core = simulation.model_copy(update={"engine": "coreneuron"})
    simulate(core, 2, tmp_path / "core", workers=2)
    tree, trials = index_trials(tmp_path / "core")
    for ours, theirs in zip(trials, index_trials(data)[1], strict=False):
        a, b = read_trial(ours, tree), read_trial(theirs, tree)
        assert a.trial_id == b.trial_id
        assert np.array_equal(a.spikes_ms, b.spikes_ms)
        assert np.abs(a.v_mV - b.v_mV).max() < 0.02
    assert any(len(read_trial(trial, tree).spikes_ms) for trial in trials)
    with pytest.raises(FileError, match="engine"):
        simulate(simulation, 2, tmp_path / "core")
    injection = Injection(np.array([0], dtype=np.int32), np.full((1500, 1), 0.1))
    with pytest.raises(InputError, match="injected current is simulated by the engine neuron alone"):
        simulate(core, 2, tmp_path / "other", injection=injection)


def test_temperature_is_the_cells() -> None:
    ours, right = in_new_process(_allen_by_hand, 34.0)
    assert np.abs(ours - right).max() < 1e-6
    ours, cold = in_new_process(_allen_by_hand, 6.3)
    assert np.abs(ours - cold).max() > 0.1


def test_own_input_is_what_the_shard_holds(simulation: Simulation, tmp_path: Path) -> None:
    events = Events.sort(np.array([3, 0, 40]), np.array([20, 5, 5]))
    injection = Injection(np.array([0], dtype=np.int32), np.full((100, 1), 1.0))
    own = simulation.model_copy(update={"duration_ms": 100})
    simulate(own, 1, tmp_path / "own", events=events, injection=injection)
    tree, trials = index_trials(tmp_path / "own")
    made = read_trial(trials[0], tree)
    assert made.events.input.tolist() == [0, 40, 3]
    assert made.events.time_ms.tolist() == [5, 5, 20]
    assert made.injection is not None
    assert np.array_equal(made.injection.current_nA, injection.current_nA)
    assert made.v_mV[:, 0].max() > -50.0  # it would stay below -70 without the current
    with pytest.raises(FileError, match="other events or injected current"):
        simulate(own, 1, tmp_path / "own", injection=injection)
    with pytest.raises(InputError, match="names input 70, the cell has inputs 0 to 69"):
        simulate(own, 1, tmp_path / "wrong", events=Events.sort(np.array([70]), np.array([0])))


def _finer_steps() -> list[float]:
    """RMS difference to a fine run [mV]: Crank-Nicolson at 0.1 and 0.05 ms, backward Euler at 0.05 ms."""
    cell = NeuronCell(load_cell("ball_and_stick"))
    keep = np.flatnonzero(cell.tree.input_synapse == 1)  # inhibition only: smooth potentials
    drawn = draw_events(cell.tree, Simulation(cell="x", duration_ms=1).inputs, 100, trial_rng(0, 0))
    inhibitory = np.isin(drawn.input, keep)
    events = Events(drawn.input[inhibitory], drawn.time_ms[inhibitory])
    fine, _ = run_trial(cell, events, 100, 0.005, "crank-nicolson")
    return [float(np.sqrt(((run_trial(cell, events, 100, dt)[0] - fine) ** 2).mean())) for dt in (0.1, 0.05)] + [
        float(np.sqrt(((run_trial(cell, events, 100, 0.05, "backward-euler")[0] - fine) ** 2).mean()))
    ]


def test_crank_nicolson_converges() -> None:
    coarse, half, euler = in_new_process(_finer_steps)
    assert half < 0.65 * euler
    assert half < 0.6 * coarse
    assert half < 0.01  # mV


def test_spike_times_are_peaks() -> None:
    dt, t = 0.05, np.arange(0, 60, 0.05)
    v = -70 + 100 * np.exp(-(((t - 20.0) / 0.6) ** 2)) + 30 * np.exp(-(((t - 40.0) / 0.6) ** 2))
    assert _spike_times(v, dt) == pytest.approx([20.0], abs=0.051)
    v = -70 + 50 * np.exp(-(((t - 20.0) / 0.6) ** 2)) + 40 * np.exp(-(((t - 40.0) / 0.6) ** 2))
    assert _spike_times(v, dt) == pytest.approx([20.0], abs=0.051)  # -20 mV is a spike, -30 mV is none
    ringing = np.where(np.abs(t - 20.0) < 0.4, np.where(np.arange(len(t)) % 4 < 2, 20.0, -10.0), -70.0)
    assert len(_spike_times(ringing, dt)) == 1


def test_provenance_stands_in_the_shard(data: Path, simulation: Simulation) -> None:
    from dendrotwin.recording import RecordingFile

    with RecordingFile(shard_path(data, 4)) as file:
        assert json.loads(file.attributes["versions"])["neuron"].startswith("9.")
        stored = Simulation(**json.loads(file.attributes["simulation"]))
        assert stored.model_copy(update={"cell_digest": ""}) == simulation
        assert file.attributes["trial"] == 4


def _memory_after(trials: int) -> list[float]:
    """Resident memory [MB] after each of the trials of one worker."""
    cell = NeuronCell(load_cell("ball_and_stick"))
    resident = []
    for k in range(trials):
        run_trial(cell, draw_events(cell.tree, Simulation(cell="x", duration_ms=1).inputs, 500, trial_rng(0, k)), 500)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return resident


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_memory_of_a_worker_is_flat() -> None:
    resident = in_new_process(_memory_after, 50)
    assert np.mean(resident[-5:]) < np.mean(resident[5:10]) + 2.0
