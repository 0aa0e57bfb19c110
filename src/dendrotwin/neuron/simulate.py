"""A cell and its inputs to a data set of recordings: on one core, on all cores, or on a cluster."""

from __future__ import annotations

from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dendrotwin.cell.tree import Events, Injection
from dendrotwin.cells import load_cell
from dendrotwin.errors import CellError, FileError, InputError
from dendrotwin.neuron.build import SYNAPSE_FILES
from dendrotwin.neuron.cell_files import cell_digest, stored_digest
from dendrotwin.neuron.compile import build_mechanisms
from dendrotwin.neuron.data_set import MOST_TRIALS, check_shards, claimed, shard_path, with_digests
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.neuron.trial import simulate_trial
from dendrotwin.recording.one_simulation import CONFIG_FILE
from dendrotwin.recording.trials import HeldOut
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import WorkerPool, cores, worker_pool


def simulate(
    simulation: Simulation,
    trials: int,
    out: str | Path,
    *,
    workers: int | Executor | None = None,
    events: Events | None = None,
    injection: Injection | None = None,
    held_out: HeldOut | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Simulate the trials of a data set that are not there yet.

    Args:
        simulation: what to simulate.
        trials: how many.
        out: folder of the data set; trials in it are kept, if they are of the same simulation.
        workers: number of processes on this machine, or an executor such as `distributed.Client(...).get_executor()`
            of a cluster; None means one process for each core.
        events: the user's own events, in place of the protocol's; they make one trial.
        injection: the user's own current.
        held_out: how many of the first trials `split_trials` keeps from training; None leaves that open.
        overwrite: remove the data set that is in `out` first.

    Returns:
        The files, in the order of the trials.

    Raises:
        FileError: `out` holds another simulation or another split, or a worker died.
        InputError: dt_ms or record_dt_ms are none that can be had (see `Simulation.check_steps`), or the input does
            not fit the cell and the duration.
        DendrotwinError: whatever building or running the cell raises.

    Example, ten trials of 1.5 s with an input of a fifth of the published rates:

        simulation = Simulation(cell="ball_and_stick", duration_ms=1500, inputs=Modulated(rate_scale=0.2))
        files = simulate(simulation, 10, Path("recordings"))
    """
    simulation.check_steps()
    if injection is not None and simulation.engine == "coreneuron":
        raise InputError("injected current is simulated by the engine neuron alone; use that")
    if not 1 <= trials <= MOST_TRIALS:
        raise InputError(f"a data set of {trials} trials; give 1 to {MOST_TRIALS}")
    if events is not None and trials > 1:
        raise InputError(f"the same events in {trials} trials make the same trial {trials} times; use --trials 1")
    out = Path(out).resolve()  # workers of a cluster may run elsewhere
    model = load_cell(simulation.cell, simulation.cell_options)
    missing = model.missing()
    if missing:
        raise CellError(f"the cell {model.name} cannot be built here: {missing}")
    if not isinstance(workers, Executor):
        # Once, not in every worker.
        build_mechanisms(model.files() + SYNAPSE_FILES, coreneuron=simulation.engine == "coreneuron")
    stored = None if overwrite else stored_digest(out / CONFIG_FILE)
    simulation = with_digests(simulation.of_cell(model), cell_digest(simulation, model, stored), events, injection)
    with claimed(out, simulation, held_out, overwrite=overwrite):
        paths = [shard_path(out, trial) for trial in range(trials)]
        todo = [trial for trial, path in enumerate(paths) if not path.exists()]
        new = {paths[trial] for trial in todo}
        check_shards(out, [path for path in paths if path not in new])  # now, not when a training reads them
        if todo:
            tasks = [(simulation, trial, paths[trial], events, injection) for trial in todo]
            _run(tasks, workers, f"simulating {model.name} into {out}")
            check_shards(out, sorted(new))
    return paths


Task = tuple[Simulation, int, Path, Events | None, Injection | None]  # what `simulate_trial` takes


def _run(tasks: list[Task], workers: int | Executor | None, title: str) -> None:
    """Simulate trials on an executor, or on processes that end with them."""
    executor = workers if isinstance(workers, Executor) else worker_pool(min(workers or cores(), len(tasks)))
    futures: list[Future[int]] = []
    try:
        futures = [executor.submit(simulate_trial, *task) for task in tasks]
        with progress(title, len(tasks), "trials") as advance:
            for future in as_completed(futures):
                spikes = future.result()
                advance(1, f"(last: {spikes} spikes)")
    except Exception as error:
        if isinstance(error, BrokenProcessPool) and isinstance(executor, WorkerPool):
            how = executor.death()
        elif isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker":  # the latter is Dask's
            how = " ".join(str(error).split())
        else:
            raise
        raise FileError(
            f"a worker process died: {how}; finished trials are kept: the same command does the rest"
        ) from error
    finally:
        for future in futures:
            future.cancel()
        if executor is not workers:
            executor.shutdown(wait=True, cancel_futures=True)
