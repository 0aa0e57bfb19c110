"""Commands that make twins and data: twin, simulate, train."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import dendrotwin
from dendrotwin.cell.stimuli import Modulated, Poisson
from dendrotwin.cli.base import Cell, CellOptions, Overwrite, app, configure, milliseconds, pairs, with_options
from dendrotwin.errors import InputError, MissingPackageError
from dendrotwin.neuron.simulation import PRESETS, Simulation
from dendrotwin.recording.trials import HeldOut
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.training.config import Training


@app.command()
@with_options(CableConfig, ("accuracy", "tolerance_mV"))
def twin(
    cell: Cell,
    out: Annotated[Path, typer.Option(help="Folder of the twin.")],
    option: CellOptions = [],  # noqa: B006
    overwrite: Overwrite = False,
    **accuracy: Any,
) -> None:
    """Make a twin of a NEURON cell, in seconds, without data.

    Tree, synapses and channels are read from the model, and what was read is proved beside NEURON.
    """
    from dendrotwin.read_twin import model_card
    from dendrotwin.support.atomic_files import refuse_existing

    refuse_existing(out, "config.json", overwrite=overwrite)
    made = dendrotwin.twin_of(cell, pairs(option), **accuracy)
    made.save(out, model_card(made), overwrite=overwrite)
    reading = made.training["reading"]
    worst = max(reading["errors"], key=reading["errors"].get, default="")
    print(
        f"twin of {made.tree.n} compartments and {made.tree.n_inputs} inputs in {out}, "
        f"read in {reading['seconds']:.1f} s"
    )
    if worst:
        print(f"  {len(reading['errors'])} mechanisms, largest error {reading['errors'][worst]:.1e} ({worst})")
    print(
        f"  whole cell, 100 ms of input: {reading['whole_cell_mV']:.3g} mV from NEURON's Crank-Nicolson of 0.025 ms "
        f"(NEURON's default: {reading['neuron_default_mV']:.3g} mV)"
    )


@app.command()
@with_options(Simulation, ("dt_ms", "method", "engine", "record_dt_ms"))
@with_options(Poisson, ("excitatory_hz", "inhibitory_hz"))
def simulate(
    cell: Cell,
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    preset: Annotated[
        str | None, typer.Option(help="tiny, bench or paper: a number of trials, duration, seed and split.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Number of trials [1].")] = None,
    duration: Annotated[float | None, typer.Option(min=0.001, help="Duration of a trial, in seconds [6].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Trial k draws from child k of this seed [0].")] = None,
    protocol: Annotated[str, typer.Option(help="Input protocol: modulated or poisson.")] = "modulated",
    rate_scale: Annotated[float | None, typer.Option(help="Factor on the modulated rates [the cell's own].")] = None,
    target_hz: Annotated[
        float | None, typer.Option(min=0.01, help="Find the rate scale that gives this mean output rate [Hz].")
    ] = None,
    events: Annotated[Path | None, typer.Option(help="Your own input: CSV or npz of input, time [ms].")] = None,
    inject: Annotated[
        Path | None, typer.Option(help="Your own current: CSV or npz, compartments over ms [nA].")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes [one for each core].")] = None,
    executor: Annotated[str, typer.Option(help="local or dask.")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="Address of the Dask scheduler.")] = None,
    option: CellOptions = [],  # noqa: B006
    overwrite: Overwrite = False,
    **fields: Any,
) -> None:
    """Simulate trials of a cell in NEURON. The same command again does what is not done yet."""
    from dendrotwin.cell.stimuli import read_events, read_injection
    from dendrotwin.cells import load_cell

    if cell.endswith(".py"):
        cell = str(Path(cell).resolve())  # workers may run elsewhere
    rates = {name: fields.pop(name) for name in ("excitatory_hz", "inhibitory_hz")}
    rate_scale_given = rate_scale is not None
    if rate_scale is None:
        rate_scale = load_cell(cell, pairs(option)).rate_scale
    inputs = _protocol(protocol, rate_scale, rates)
    trials, duration, seed, held_out = _size(preset, trials, duration, seed)
    steps = milliseconds(duration)
    what = {"cell": cell, "cell_options": pairs(option), "duration_ms": steps, "seed": seed, "inputs": inputs}
    simulation = configure(Simulation, **what, **fields)
    own_events = None if events is None else read_events(events)
    injection = None if inject is None else read_injection(inject, steps)
    if own_events is not None:
        own_events.check(sys.maxsize, steps)  # the cell's own number of inputs is known once it is built
    if target_hz is not None:
        if rate_scale_given or protocol != "modulated" or own_events is not None:
            raise InputError(
                "--target-hz finds the scale of modulated rates; leave --rate-scale, --events and --protocol away"
            )
        simulation = _at_target_rate(simulation, target_hz, workers)
    pool = _executor(executor, scheduler)
    paths = dendrotwin.simulate(
        simulation,
        trials,
        out,
        workers=workers if pool is None else pool,
        events=own_events,
        injection=injection,
        held_out=held_out,
        overwrite=overwrite,
    )
    print(f"{len(paths)} trials of {duration:g} s in {out}")
    if pool is None:
        own_input = own_events is not None or injection is not None
        _say_rate(paths, "" if own_input else "--rate-scale" if protocol == "modulated" else "--excitatory-hz")


def _size(
    preset: str | None, trials: int | None, duration: float | None, seed: int | None
) -> tuple[int, float, int, HeldOut | None]:
    """Trials, duration [s], seed and split of a data set: those of a preset, or those given."""
    if preset is None:
        return trials or 1, duration or 6.0, seed or 0, None
    if (trials, duration, seed) != (None, None, None):
        raise InputError(f"--preset {preset} sets --trials, --duration and --seed itself; leave them or it away")
    if preset not in PRESETS:
        raise InputError(f"there is no preset {preset!r}; choose {', '.join(PRESETS)}")
    chosen = PRESETS[preset]
    return chosen.trials, chosen.duration_ms / 1000, chosen.seed, chosen.held_out


def _at_target_rate(simulation: Simulation, target_hz: float, workers: int | None) -> Simulation:
    """The simulation with rates that make the cell fire so often."""
    from dendrotwin.neuron.target_rate import find_rate_scale

    found = find_rate_scale(simulation, target_hz, workers)
    print(f"rate scale {found.rate_scale:g}: {found.rate_hz:.3g} Hz in {found.seconds:g} s of short trials")
    return simulation.model_copy(update={"inputs": Modulated(rate_scale=found.rate_scale)})


def _say_rate(paths: list[Path], flag: str) -> None:
    """The last line: how often the cell fires, and what to change where it is silent or fires all the time."""
    from dendrotwin.neuron.data_set import output_rate

    rate = output_rate(paths)
    finds = "; --target-hz finds the input" if flag == "--rate-scale" else ""
    if rate.hz == 0.0:
        cause = f": the input is too weak (raise {flag}), or the cell is silent" if flag else ""
        print(f"no trial has an output spike{cause}{finds}")
    elif rate.all_the_time:
        print(f"the cell fires all the time, at {rate.hz:.3g} Hz{f': lower {flag}' if flag else ''}{finds}")
    else:
        print(f"output rate {rate.hz:.3g} Hz")


def _protocol(name: str, rate_scale: float, rates: dict[str, float]) -> Modulated | Poisson:
    if name == "modulated":
        return configure(Modulated, rate_scale=rate_scale)
    if name == "poisson":
        return configure(Poisson, **rates)
    raise InputError(f"there is no protocol {name!r}; choose modulated or poisson")


def _executor(name: str, scheduler: str | None) -> Any:
    if name == "local":
        return None
    if name != "dask":
        raise InputError(f"there is no executor {name!r}; choose local or dask")
    if scheduler is None:
        raise InputError("--executor dask needs --scheduler ADDRESS, such as tcp://127.0.0.1:8786")
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingPackageError("--executor dask needs distributed; pip install 'dendrotwin[hpc]'") from error
    try:
        return Client(scheduler, timeout=10).get_executor(pure=False, retries=0)
    except (OSError, ValueError) as error:
        raise InputError(
            f"there is no Dask scheduler at {scheduler} ({error}); start `dask scheduler` first"
        ) from error


@app.command()
@with_options(Training, tuple(name for name in Training.model_fields if name != "options"), {"architecture": "--arch"})
def train(
    data: Annotated[Path, typer.Argument(help="Data set made by `simulate`.")],
    out: Annotated[Path, typer.Option(help="Folder of the twin.")],
    preset: Annotated[str | None, typer.Option(help="Named sizes of the network, such as paper.")] = None,
    option: Annotated[
        list[str], typer.Option("--option", help="Option of the network as key=value, such as channels=64,64.")
    ] = [],  # noqa: B006
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write a log for TensorBoard.")] = False,
    overwrite: Overwrite = False,
    **fields: Any,
) -> None:
    """Train a network on the trials of a data set.

    A killed run goes on when the same command is given again; torchrun shares it among processes. Ends with exit
    status 1 where predicting the mean is better than the twin.
    """
    from dendrotwin import plot
    from dendrotwin.training.comparison import failed, verdict

    options = pairs(option) | ({} if preset is None else {"preset": preset})
    training = configure(Training, options=options, **fields)
    made = dendrotwin.train(data, out, training, overwrite=overwrite, tensorboard=tensorboard)
    if int(os.environ.get("RANK", "0")) == 0:
        plot.save(plot.figure_training(made.training["curve"]), out / "training.png")
        print(f"twin of {made.tree.n} compartments in {out}, best at step {made.training['best_step']}")
        print(f"  {verdict(made.training)}")
        if failed(made.training):
            raise typer.Exit(1)
