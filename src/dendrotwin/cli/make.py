"""Commands that make twins and data: twin, simulate, train."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import dendrotwin
from dendrotwin.cell.stimuli import Modulated, Poisson
from dendrotwin.cli.base import (
    Cell,
    CellOptions,
    InputsOfSpikes,
    Overwrite,
    TimeUnit,
    app,
    milliseconds,
    pairs,
    refuse_other_than_hdf5,
    say_done,
    with_options,
)
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
    from dendrotwin import read_twin
    from dendrotwin.support.atomic_files import refuse_existing
    from dendrotwin.support.made_by import is_done, refuse_writing_over_inputs

    refuse_writing_over_inputs([out], [Path(cell) if cell.endswith(".py") else None])
    there = (out / "config.json").is_file() and not overwrite
    if there and is_done(out, read_twin.made_of(out), read_twin.made_of_cell(cell, pairs(option), **accuracy)):
        say_done(out)
        return
    refuse_existing(out, "config.json", overwrite=overwrite)
    made = dendrotwin.twin_of(cell, pairs(option), **accuracy)
    made.save(out, overwrite=overwrite)
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
    events: Annotated[
        Path | None, typer.Option(help="Your own input: CSV or npz of input, time [ms]; spikes (SONATA, BMTK, NWB).")
    ] = None,
    inputs_of_spikes: InputsOfSpikes = None,
    time_unit: TimeUnit = None,
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
    from dendrotwin.cell.spike_files import read_spikes
    from dendrotwin.cell.stimuli import read_injection

    if cell.endswith(".py"):
        cell = str(Path(cell).resolve())  # workers may run elsewhere
    rates: dict[str, Any] = {name: fields.pop(name) for name in ("excitatory_hz", "inhibitory_hz")}
    inputs = _protocol(protocol, rate_scale, rates)
    trials, duration, seed, held_out = _size(preset, trials, duration, seed)
    steps = milliseconds(duration)
    what: dict[str, Any] = {
        "cell": cell,
        "cell_options": pairs(option),
        "duration_ms": steps,
        "seed": seed,
        "inputs": inputs,
    }
    simulation = Simulation(**what, **fields)
    if events is None and (inputs_of_spikes, time_unit) != (None, None):
        raise InputError("--inputs and --time-unit are of --events; name a file of them")
    own_events = None if events is None else read_spikes(events, inputs_of_spikes, time_unit)
    injection = None if inject is None else read_injection(inject, steps)
    if own_events is not None:
        own_events.check(sys.maxsize, steps)  # the cell's own number of inputs is known once it is built
    if target_hz is not None:
        if rate_scale is not None or protocol != "modulated" or own_events is not None:
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


def _protocol(name: str, rate_scale: float | None, rates: dict[str, Any]) -> Modulated | Poisson:
    if name == "modulated":
        return Modulated() if rate_scale is None else Modulated(rate_scale=rate_scale)
    if name == "poisson":
        return Poisson(**rates)
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


@app.command(name="import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="Potentials or membrane currents of your own simulation: a SONATA report (.h5), or arrays (.npz)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File of recordings (.h5) to write.")],
    morphology: Annotated[Path | None, typer.Option(help="SWC file of the cell, for a report.")] = None,
    axial_ohm_cm: Annotated[
        float | None, typer.Option(help="Axial resistivity [ohm cm], for a report of potentials.")
    ] = None,
    axon: Annotated[
        str, typer.Option(help="file, or stub where two cylinders of 30 um replaced it, as in perisomatic models.")
    ] = "file",
    node: Annotated[int, typer.Option(min=0, help="Which cell of the report.")] = 0,
    population: Annotated[str | None, typer.Option(help="Of the report, where there are several.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a recording of your own simulation.

    Its signals (LFP, EEG, dye and all others) are then those of any recording; of membrane currents those that need no
    potentials, which are all but dye and patch.
    """
    from dendrotwin.recording import provenance, write_recordings
    from dendrotwin.recording.membrane_currents import MembraneCurrents
    from dendrotwin.recording.of_simulations import read_npz
    from dendrotwin.support.atomic_files import refuse_existing_file
    from dendrotwin.support.made_by import refuse_writing_over_inputs

    refuse_other_than_hdf5(out)
    refuse_writing_over_inputs([out], [source, morphology])
    refuse_existing_file(out, overwrite=overwrite)
    if source.suffix == ".npz":
        if (morphology, axial_ohm_cm, population) != (None, None, None):
            raise InputError(f"the arrays of {source} say what the cell is; leave --morphology and others away")
        recording = read_npz(source)
    else:
        if morphology is None:
            raise InputError(
                "a report says nothing of the cell: give --morphology FILE.swc, and --axial-ohm-cm, its Ra"
            )
        from dendrotwin.neuron.report import Reconstruction, recording_of_report

        cell = Reconstruction(morphology, axial_ohm_cm, axon)
        recording = recording_of_report(source, cell, node, population)
    made_of = {"imported": str(source), "morphology": str(morphology or ""), "axon": axon, "node": node}
    attributes = {**provenance(), **made_of}
    if isinstance(recording, MembraneCurrents):
        what = "membrane currents"
        recording.write(out, attributes)
    else:
        what = "potentials"
        write_recordings(out, [recording], attributes, as_float=True)
    print(
        f"{what} of {recording.duration_ms} ms of {recording.tree.n} compartments, every {recording.record_dt_ms:g} "
        f"ms, in {out}"
    )


@app.command()
@with_options(Training, tuple(name for name in Training.model_fields if name != "options"), {"architecture": "--arch"})
def train(
    data: Annotated[Path, typer.Argument(help="Data set made by `simulate`.")],
    out: Annotated[Path, typer.Option(help="Folder of the twin.")],
    preset: Annotated[str | None, typer.Option(help="Named sizes of the network, such as paper.")] = None,
    option: Annotated[
        list[str], typer.Option("--option", help="Option of the network as NAME=VALUE, such as channels=64,64.")
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
    from dendrotwin.support.made_by import refuse_writing_over_inputs
    from dendrotwin.training.comparison import failed, verdict
    from dendrotwin.training.rounds import finished_twin

    options = pairs(option) | ({} if preset is None else {"preset": preset})
    training = Training(options=options, **fields)
    network = Path(training.architecture) if training.architecture.endswith(".py") else None
    refuse_writing_over_inputs([out], [data, network])
    made = None if overwrite else finished_twin(data, out, training)
    drawn = made is not None and (out / "training.png").is_file()
    if made is not None:
        print(f"{out} is done already, by the same training on the same trials", file=sys.stderr)
    else:
        made = dendrotwin.train(data, out, training, overwrite=overwrite, tensorboard=tensorboard)
    if int(os.environ.get("RANK", "0")) == 0:
        if not drawn:
            plot.save(plot.figure_training(made.training["curve"]), out / "training.png")
        (out.parent / f".{out.name}.checkpoint").unlink(missing_ok=True)  # of a run that was killed at its very end
        print(f"twin of {made.tree.n} compartments in {out}, best at step {made.training['best_step']}")
        print(f"  {verdict(made.training)}")
        if failed(made.training):
            raise typer.Exit(1)
