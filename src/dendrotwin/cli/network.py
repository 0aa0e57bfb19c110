"""The command that runs networks: network."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dendrotwin.cli.base import Overwrite, app, with_options
from dendrotwin.errors import CircuitError
from dendrotwin.solver.accuracy import CableConfig


@app.command()
@with_options(CableConfig, ("accuracy", "tolerance_mV"))
def network(
    config: Annotated[Path, typer.Argument(help="A SONATA simulation config (JSON).")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results [the config's output_dir].")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, estimate memory and time, and run nothing.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each process.")] = 1,
    checkpoint: Annotated[float, typer.Option(min=0.0, help="Seconds between two checkpoints [s].")] = 60.0,
    device: Annotated[str, typer.Option(help="Where the cells are: cpu, cuda, or cuda:1 for the second card.")] = "cpu",
    overwrite: Overwrite = False,
    **accuracy: Any,
) -> None:
    """Run a SONATA circuit of twins: spikes, membrane reports and extracellular potentials.

    The same command goes on with a run that was stopped. Several processes: `torchrun -m dendrotwin.cli network ...`.
    """
    with ends_with_a_line():
        _network(config, out, CableConfig(**accuracy), dry_run, threads, device, checkpoint, overwrite)


def _network(
    config: Path, out: Path | None, accuracy: CableConfig, dry_run: bool, threads: int, device: str,
    checkpoint: float, overwrite: bool,
) -> None:  # fmt: skip
    from dendrotwin.circuit.exchange import exchange
    from dendrotwin.circuit.sonata import estimate, figures
    from dendrotwin.circuit.sonata.simulate import read_simulation, run_simulation

    simulation = read_simulation(config, out, accuracy, overwrite=overwrite, threads=threads, device=device)
    first = exchange().rank == 0
    if dry_run:
        found = estimate.estimate(simulation)
        if first:
            print(*estimate.summary(simulation), sep="\n")
            print(
                f"about {found.memory_bytes / 2**20:.0f} MiB in each process, beside Python's own, and "
                f"{found.seconds:.1f} s, measured on {found.measured_ms:g} ms at the start, without writing and figures"
            )
        return
    done = simulation.is_done and not overwrite
    seconds = None if done else run_simulation(simulation, checkpoint)
    if first:
        print(*estimate.summary(simulation), *figures.rates(simulation), sep="\n")
        drawn = figures.draw(simulation, simulation.plan.folder / "figures")
        took = "is finished already" if seconds is None else f"took {seconds:.1f} s"
        print(f"the run {took}; figures in {drawn[0].parent}" if drawn else f"the run {took}")


class _Stopped(BaseException):
    """SIGTERM came. No Exception, which Numba would take for a fault of what it compiles."""


@contextmanager
def ends_with_a_line() -> Iterator[None]:
    """Let SIGTERM, by which `torchrun` stops the others when a process is lost, be an error that leaves nothing behind.

    Raises:
        CircuitError: it came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except BaseException as error:
        signal.signal(signal.SIGTERM, lambda *_: None)  # what went wrong is being said, and one line is enough
        if isinstance(error, _Stopped):
            raise CircuitError(
                "the run was stopped; give the same command again, which goes on from the last checkpoint"
            ) from None
        raise
    signal.signal(signal.SIGTERM, before)
