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
from dendrotwin.cells import load_cell
from dendrotwin.cells.build import NeuronCell
from dendrotwin.errors import FileError, InputError
from dendrotwin.inputs import draw_events, trial_rng
from dendrotwin.recording import index_trials, read_trial
from dendrotwin.simulate import SPIKE_THRESHOLD_MV, Simulation, _spike_times, run_trial, shard_path, simulate
from dendrotwin.tree import Events, Injection


def test_data_set(data: Path, simulation: Simulation) -> None:
    tree, trials = index_trials(data)
    assert tree.n == 37
    assert [trial.trial_id for trial in trials] == [simulation.trial_id(k) for k in range(10)]
    recordings = [read_trial(trial, tree) for trial in trials]
    assert {r.v_mV.shape for r in recordings} == {(1500, 37)}
    spikes = [len(r.spikes_ms) for r in recordings]
    assert min(spikes) < max(spikes)
    for r in recordings:
        # Where the file has a spike, its soma is high; where the soma is high at the end of a ms, there is a spike.
        for time_ms in r.spikes_ms:
            assert r.v_mV[int(time_ms) - 1 : int(time_ms) + 2, 0].max() > -45.0
        high = np.flatnonzero(r.v_mV[:, 0] > SPIKE_THRESHOLD_MV)
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
    assert sorted(p.name for p in out.iterdir()) == ["simulation.json", *(f"trial-{k:06d}.h5" for k in range(10))]


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
    with pytest.raises(FileError, match=r"holds another simulation .other dt_ms, seed."):
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
    with pytest.raises(FileError, match="other events"):
        simulate(own, 1, tmp_path / "own", injection=injection)
    with pytest.raises(InputError, match="names input 70, the cell has inputs 0 to 69"):
        simulate(own, 1, tmp_path / "wrong", events=Events.sort(np.array([70]), np.array([0])))


def _finer_steps() -> list[float]:
    """RMS difference to a fine run, with steps of 0.1 and 0.05 ms [mV]."""
    cell = NeuronCell(load_cell("ball_and_stick"))
    keep = np.flatnonzero(cell.tree.input_synapse == 1)  # inhibition only: smooth potentials
    drawn = draw_events(cell.tree, Simulation(cell="x", duration_ms=1).inputs, 100, trial_rng(0, 0))
    inhibitory = np.isin(drawn.input, keep)
    events = Events(drawn.input[inhibitory], drawn.time_ms[inhibitory])
    fine, _ = run_trial(cell, events, 100, 0.005, "crank-nicolson")
    return [float(np.sqrt(((run_trial(cell, events, 100, dt)[0] - fine) ** 2).mean())) for dt in (0.1, 0.05)]


def test_crank_nicolson_converges() -> None:
    coarse, half = in_new_process(_finer_steps)
    assert half < 0.6 * coarse
    assert half < 0.01  # mV


def test_spike_times_are_peaks() -> None:
    dt, t = 0.05, np.arange(0, 60, 0.05)
    v = -70 + 100 * np.exp(-(((t - 20.0) / 0.6) ** 2)) + 30 * np.exp(-(((t - 40.0) / 0.6) ** 2))
    assert _spike_times(v, dt) == pytest.approx([20.0], abs=0.1)  # the second peak stays below the threshold


def test_provenance_stands_in_the_shard(data: Path, simulation: Simulation) -> None:
    from dendrotwin.recording import RecordingFile

    with RecordingFile(shard_path(data, 4)) as file:
        assert json.loads(file.attributes["versions"])["neuron"].startswith("9.")
        assert Simulation(**json.loads(file.attributes["simulation"])) == simulation
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
