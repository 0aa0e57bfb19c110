"""The command line: one thin sub-command for each step. Everything heavy is imported when it is needed."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from typer.core import TyperGroup
from typer.exceptions import TyperException

import dendrotwin
from dendrotwin import __version__
from dendrotwin.errors import DendrotwinError, FileError, InputError, MissingPackageError

if TYPE_CHECKING:
    from dendrotwin.training.loop import Training
    from dendrotwin.twin import Twin

# To start, to make twins and data, to use them, to measure.
ORDER = (
    *("demo", "doctor", "cells", "download"),
    *("twin", "simulate", "train"),
    *("predict", "signals", "plot", "figure"),
    *("evaluate", "benchmark"),
)


class _Commands(TyperGroup):
    """Sub-commands in the order in which one meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    cls=_Commands,
    help="Twins of biophysically detailed neuron models: synaptic input in, every compartment's potential out.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

Config = TypeVar("Config", bound=BaseModel)
CellOptions = Annotated[
    list[str], typer.Option("--option", help="Option of the cell as key=value, such as parameters=hay2011.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
MARKER = "signals.txt"  # in a folder of figures: of which signals they are


def main() -> None:
    """Run the command line; what a user can cause ends in one line and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except DendrotwinError as error:
        print(f"dendrotwin: {error}", file=sys.stderr)
        status = 2
    except OSError as error:
        print(f"dendrotwin: {error}; see to that and try again", file=sys.stderr)
        status = 2
    except TyperException as error:
        print(f"dendrotwin: {error.format_message()} --help says more", file=sys.stderr)
        status = error.exit_code
    if status == 130:  # Ctrl-C
        print(
            "dendrotwin: stopped; `simulate`, `train` and `benchmark` go on from here when called again",
            file=sys.stderr,
        )
    raise SystemExit(status or 0)


def _configure(config: type[Config], **values: Any) -> Config:
    """A configuration, its first error as one line."""
    try:
        return config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name} = {first['input']}: {first['msg']}; correct it") from error


def _milliseconds(duration: float) -> int:
    """A duration that was given in seconds."""
    if not (math.isfinite(duration) and duration >= 0.001):
        raise InputError(f"a trial cannot last {duration:g} s; give --duration in seconds, 0.001 or more")
    return round(duration * 1000)


def _pairs(options: list[str]) -> dict[str, str]:
    """key=value options as a dictionary."""
    for option in options:
        if "=" not in option:
            raise InputError(f"{option!r} must have the form key=value")
    return dict(option.split("=", 1) for option in options)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def cells() -> None:
    """List the cells and which can be built here.

    With source, licence and number of compartments.
    """
    from dendrotwin.cells import NAMES, load_cell
    from dendrotwin.neuron.compile import cannot_build

    for name in NAMES:
        model = load_cell(name)
        here = cannot_build(model.missing()) or "can be built"
        print(f"{name}: {model.compartments or 'as many as its model has'} compartments")
        print(f"  source:  {model.source}\n  licence: {model.licence}\n  here:    {here}")


@app.command()
def download(
    cell: Annotated[str, typer.Argument(help="l5pc, the only cell that needs it.")],
    url: Annotated[str | None, typer.Option(help="Another address of the archive or of cell1.asc.")] = None,
) -> None:
    """Fetch what a cell needs and the package may not ship.

    Its hash is checked.
    """
    from dendrotwin.cells import l5pc

    if cell != "l5pc":
        raise InputError(f"there is nothing to download for {cell!r}; only l5pc needs it")
    print(f"the reconstruction is in {l5pc.download(url or l5pc.MODELDB_URL)}")


@app.command()
def doctor() -> None:
    """Say what this machine can do, and what to install if not."""
    from dendrotwin.cli.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'yes' if finding.good else 'NO '}  {finding.what}: {finding.says}")
    if not all(finding.good for finding in findings if finding.needed):
        raise typer.Exit(2)


@app.command()
def simulate(
    cell: Annotated[
        str, typer.Argument(help="Name of a cell (`dendrotwin cells`), or a Python file that defines one.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    preset: Annotated[
        str | None, typer.Option(help="tiny, bench or paper: a number of trials, duration, seed and split.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Number of trials [1].")] = None,
    duration: Annotated[float | None, typer.Option(min=0.001, help="Of a trial [s] [6].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Trial k draws from child k of this seed [0].")] = None,
    protocol: Annotated[str, typer.Option(help="Input protocol: modulated or poisson.")] = "modulated",
    rate_scale: Annotated[float | None, typer.Option(help="Factor on the modulated rates [the cell's own].")] = None,
    excitatory_hz: Annotated[float, typer.Option(help="Rate of an excitatory input, poisson [Hz].")] = 1.0,
    inhibitory_hz: Annotated[float, typer.Option(help="Rate of an inhibitory input, poisson [Hz].")] = 1.0,
    events: Annotated[Path | None, typer.Option(help="Your own input: CSV or npz of input, time [ms].")] = None,
    inject: Annotated[
        Path | None, typer.Option(help="Your own current: CSV or npz, compartments over ms [nA].")
    ] = None,
    dt: Annotated[float, typer.Option(help="Step of the integration [ms].")] = 0.05,
    method: Annotated[str, typer.Option(help="crank-nicolson or backward-euler.")] = "crank-nicolson",
    engine: Annotated[str, typer.Option(help="neuron, or coreneuron, which is faster.")] = "neuron",
    record_dt: Annotated[
        float, typer.Option(help="Store potentials every so many ms; training takes 1, spikes outside need 0.05.")
    ] = 1.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes [one for each core].")] = None,
    executor: Annotated[str, typer.Option(help="local or dask.")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="Address of the Dask scheduler.")] = None,
    option: CellOptions = [],  # noqa: B006
    overwrite: Overwrite = False,
) -> None:
    """Simulate trials of a cell in NEURON. The same command again does what is not done yet."""
    from dendrotwin.cell.stimuli import Modulated, Poisson, read_events, read_injection
    from dendrotwin.cells import load_cell
    from dendrotwin.neuron import simulate as simulation_module
    from dendrotwin.neuron.data_set import silent
    from dendrotwin.neuron.simulation import PRESETS

    if cell.endswith(".py"):
        cell = str(Path(cell).resolve())  # workers may run elsewhere
    model = load_cell(cell, _pairs(option))
    if protocol not in ("modulated", "poisson"):
        raise InputError(f"there is no protocol {protocol!r}; choose modulated or poisson")
    inputs = (
        _configure(Modulated, rate_scale=model.rate_scale if rate_scale is None else rate_scale)
        if protocol == "modulated"
        else _configure(Poisson, excitatory_hz=excitatory_hz, inhibitory_hz=inhibitory_hz)
    )
    held_out = None
    if preset is None:
        trials, duration, seed = trials or 1, duration or 6.0, seed or 0
    else:
        if (trials, duration, seed) != (None, None, None):
            raise InputError(f"--preset {preset} sets --trials, --duration and --seed itself; leave them or it away")
        if preset not in PRESETS:
            raise InputError(f"there is no preset {preset!r}; choose {', '.join(PRESETS)}")
        chosen = PRESETS[preset]
        trials, duration, seed, held_out = chosen.trials, chosen.duration_ms / 1000, chosen.seed, chosen.held_out
    steps = _milliseconds(duration)
    simulation = _configure(
        simulation_module.Simulation,
        cell=cell,
        cell_options=_pairs(option),
        duration_ms=steps,
        seed=seed,
        inputs=inputs,
        dt_ms=dt,
        method=method,
        engine=engine,
        record_dt_ms=record_dt,
    )
    own_events = None if events is None else read_events(events)
    injection = None if inject is None else read_injection(inject, steps)
    if own_events is not None:
        own_events.check(sys.maxsize, steps)  # the cell's own number of inputs is known once it is built
    pool = _executor(executor, scheduler)
    paths = simulation_module.simulate(
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
    own_input = own_events is not None or injection is not None
    if pool is None and not own_input and silent(paths):
        more = "--rate-scale" if protocol == "modulated" else "--excitatory-hz"
        print(f"no trial has an output spike: the input is too weak (raise {more}), or the cell is silent")


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
def twin(
    cell: Annotated[
        str, typer.Argument(help="Name of a cell (`dendrotwin cells`), or a Python file that defines one.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the twin.")],
    accuracy: Annotated[str, typer.Option(help="How exact its steps are: fast, standard or exact.")] = "standard",
    tolerance: Annotated[
        float | None, typer.Option(help="A tolerance of your own [mV], in place of the setting's.")
    ] = None,
    option: CellOptions = [],  # noqa: B006
    overwrite: Overwrite = False,
) -> None:
    """Make a twin of a NEURON cell, in seconds, without data.

    Tree, synapses and channels are read from the model, and what was read is proved beside NEURON.
    """
    from dendrotwin.read_twin import card
    from dendrotwin.support.atomic_files import refuse_existing

    refuse_existing(out, "config.json", overwrite=overwrite)
    made = dendrotwin.twin_of(cell, _pairs(option), accuracy, tolerance)
    made.save(out, card(made), overwrite=overwrite)
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
def train(
    data: Annotated[Path, typer.Argument(help="Data set made by `simulate`.")],
    out: Annotated[Path, typer.Option(help="Folder of the twin.")],
    arch: Annotated[str, typer.Option(help="Architecture: hard-sharing, mmoe, mmoeex or elm.")] = "hard-sharing",
    preset: Annotated[str | None, typer.Option(help="Named sizes of the network, such as paper.")] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Also see the true potentials up to 1 ms before: one step ahead.")
    ] = False,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 4000,
    batch: Annotated[int, typer.Option(help="Windows in a step.")] = 4,
    micro_batch: Annotated[int | None, typer.Option(help="Windows at once, to save memory [all].")] = None,
    window: Annotated[int, typer.Option(help="Length of a window [ms].")] = 400,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    spike_share: Annotated[float, typer.Option(help="Share of the windows around an output spike.")] = 0.2,
    spike_weight: Annotated[float, typer.Option(help="Weight of the spikes' loss.")] = 2.0,
    current_weight: Annotated[
        float,
        typer.Option(help="Weight of membrane currents, such as 0.02; 0: without."),
    ] = 0.0,
    balance: Annotated[str, typer.Option(help="Of the tasks: equal, uncertainty or dwa.")] = "equal",
    meta_rate: Annotated[float, typer.Option(help="First learning rate of the two-step update; 0: without.")] = 0.0,
    patience: Annotated[int | None, typer.Option(help="Rounds without progress before it stops [never].")] = None,
    round_steps: Annotated[int, typer.Option(help="Steps between two looks at the validation trials.")] = 250,
    checkpoint_minutes: Annotated[float, typer.Option(help="Time between checkpoints.")] = 2.0,
    precision: Annotated[str, typer.Option(help="auto, 32-true, bf16-mixed or 16-mixed.")] = "auto",
    validation: Annotated[float, typer.Option(help="Share of the trials for validation.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of the trials kept for the test.")] = 0.2,
    train_trials: Annotated[int | None, typer.Option(help="Use only so many training trials [all].")] = None,
    seed: Annotated[int, typer.Option(help="Of weights and windows.")] = 0,
    option: Annotated[
        list[str], typer.Option("--option", help="Option of the network as key=value, such as channels=64,64.")
    ] = [],  # noqa: B006
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write a log for TensorBoard.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a network on the trials of a data set.

    A killed run goes on when the same command is given again; torchrun shares it among processes.
    """
    from dendrotwin import plot as figures
    from dendrotwin.training import loop as train_module

    options = _pairs(option) | ({} if preset is None else {"preset": preset})
    training = _configure(
        train_module.Training,
        architecture=arch,
        steps=steps,
        batch=batch,
        window_ms=window,
        learning_rate=learning_rate,
        spike_share=spike_share,
        round_steps=round_steps,
        options=options,
        history=history,
        micro_batch=micro_batch,
        spike_weight=spike_weight,
        current_weight=current_weight,
        balance=balance,
        meta_rate=meta_rate,
        patience=patience,
        checkpoint_minutes=checkpoint_minutes,
        precision=precision,
        validation=validation,
        test=test,
        train_trials=train_trials,
        seed=seed,
    )
    made = train_module.train(data, out, training, overwrite=overwrite, tensorboard=tensorboard)
    if int(os.environ.get("RANK", "0")) == 0:
        figures.save(figures.figure_training(made.training["curve"]), out / "training.png")
        print(f"twin of {made.tree.n} compartments in {out}, best at step {made.training['best_step']}")


@app.command()
def predict(
    twin: Annotated[Path, typer.Argument(help="Folder of the twin, or the name of one that comes along: l5pc.")],
    events: Annotated[
        Path, typer.Argument(help="CSV or npz of input, time [ms]; or recordings, whose input is taken.")
    ],
    out: Annotated[Path, typer.Option(help="File of recordings (.h5) to write.")],
    duration: Annotated[float | None, typer.Option(help="Of the trial [s]; CSV and npz need it.")] = None,
    inject: Annotated[
        Path | None, typer.Option(help="Your own current, beside CSV or npz: CSV or npz, compartments over ms [nA].")
    ] = None,
    feed_back: Annotated[
        bool, typer.Option("--feed-back", help="Of recordings, show a twin made with --history its own predictions.")
    ] = False,
    compress: Annotated[bool, typer.Option("--compress", help="Smaller file, slower to read.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict all potentials and the output spikes.

    Of every compartment, in the format of the simulator's recordings.

    A twin made with --history predicts recordings one step ahead, from their true potentials; everything else is
    free-running.
    """
    from dendrotwin.prediction import predict_recordings
    from dendrotwin.recording import provenance, write_recordings
    from dendrotwin.support.atomic_files import refuse_existing_file
    from dendrotwin.support.progress import progress

    refuse_existing_file(out, overwrite=overwrite)
    loaded = dendrotwin.load(twin)
    trials, true_mV = _trials_to_predict(loaded, events, duration, inject)
    if feed_back and not loaded.one_step_ahead:
        raise InputError(f"{twin} sees the input alone and is free-running as it is; leave --feed-back away")
    if feed_back or not loaded.one_step_ahead:
        true_mV = repeat(None)

    def shown() -> Any:
        with progress("predicting", len(trials), "trials") as advance:
            for recording in predict_recordings(loaded, trials, true_mV):
                yield recording
                advance(1)

    attributes = {**provenance(), "twin": str(twin), "architecture": loaded.architecture}
    write_recordings(out, shown(), attributes, compress=compress)
    print(f"{len(trials)} predicted trials in {out}")


def _trials_to_predict(
    twin: Twin, path: Path, duration: float | None, inject: Path | None
) -> tuple[list[Any], Iterable[Any]]:
    """Identity, events, duration [ms] and injection of each trial that is named, and its true potentials."""
    from dendrotwin.cell.stimuli import read_events, read_injection
    from dendrotwin.recording import RecordingFile, read_trial, trial_identity, trials_of_cell

    if path.suffix in (".csv", ".npz"):
        events = read_events(path)
        if duration is None:
            raise InputError(f"{path} does not say how long the trial is; give its seconds with --duration")
        steps = _milliseconds(duration)
        events.check(twin.tree.n_inputs, steps)
        injection = None if inject is None else read_injection(inject, steps)
        return [(trial_identity(events, injection, steps), events, steps, injection)], repeat(None)
    if inject is not None:
        raise InputError(f"the recordings in {path} say themselves which current is injected; leave --inject away")
    index = trials_of_cell(path, twin.tree, "the twin's")
    trials = []
    for trial in index:
        with RecordingFile(trial.path) as file:
            trials.append((trial.trial_id, file.events(trial.number), trial.steps, file.injection(trial.number)))
    return trials, (read_trial(trial, twin.tree).each_ms().v_mV for trial in index)


@app.command()
def evaluate(
    twin: Annotated[Path, typer.Argument(help="Folder of the twin, or the name of one that comes along: l5pc.")],
    data: Annotated[Path, typer.Argument(help="Data set; trials that the twin was trained on are left out.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    training_data: Annotated[
        Path | None, typer.Option(help="Where the training trials are, for the baselines [DATA].")
    ] = None,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="Also run NEURON's default on the trials, as a baseline.")
    ] = False,
    speed: Annotated[bool, typer.Option("--speed", help="Time the twin beside NEURON, on one thread.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure a twin on trials that it has not seen.

    Potentials, output spikes, LFP and dipole, beside baselines.
    """
    from dendrotwin.evaluation import report
    from dendrotwin.evaluation.evaluate import baselines, evaluate_twin
    from dendrotwin.evaluation.neuron_default import neuron_row
    from dendrotwin.evaluation.split import trials_of_twin
    from dendrotwin.evaluation.timing import speed_beside_neuron
    from dendrotwin.support.atomic_files import refuse_existing, whole_folder

    refuse_existing(out, "report.json", overwrite=overwrite)
    loaded = dendrotwin.load(twin)
    train, validation, test = trials_of_twin(loaded, data, training_data)
    seconds = speed_beside_neuron(loaded) if speed else {}
    own = evaluate_twin(loaded.architecture, loaded, test)
    if neuron:
        own.append(neuron_row(loaded.tree, test))
    rows = own + list(baselines(loaded.tree, train, validation, test))
    context = {"twin": str(twin), "data": str(data), "seconds_per_simulated_second": seconds}
    with whole_folder(out, "report.json", overwrite=overwrite) as folder:
        report.write_report(folder, loaded.tree, rows, test, context)
        report.draw_report(folder, loaded, test, rows)
    report.print_report(loaded.tree, rows, test, seconds)
    print(f"table and figures in {out}: {', '.join(sorted(file.name for file in out.iterdir()))}")
    if train and training_data is None and not loaded.training["train_trials"]:
        print(
            f"{len(train) + len(validation)} trials of {data} were used to fit the baselines mean and linear; to test "
            "on all, name other ones for fitting with --training-data"
        )
    if (twin / "config.json").is_file():  # not into the package
        report.write_measured_error(twin, loaded.tree, own, test, data)


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="Data set made by `simulate`.")],
    budget: Annotated[float, typer.Option(help="Wall time of each training [min].")],
    out: Annotated[Path, typer.Option(help="Folder of the benchmark.")],
    archs: Annotated[
        str | None,
        typer.Option(help="NAME or NAME:key=value:..., keys of a training or its network, with commas between [all]."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each.")] = 3,
    history: Annotated[bool, typer.Option("--history", help="One step ahead, from true potentials.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, which share the cores.")] = 1,
    no_speed: Annotated[bool, typer.Option("--no-speed", help="Do not time the twins beside NEURON.")] = False,
    train_trials: Annotated[int | None, typer.Option(min=1, help="Use only so many training trials [all].")] = None,
) -> None:
    """Train architectures for the same wall time and compare them. The same command again does what is not done yet."""
    from dendrotwin.benchmark import benchmark as benchmark_module

    if archs is None:  # the cable twin is free-running only
        archs = "hard-sharing,mmoe,mmoeex,elm" + ("" if history else ",cable")
    entries = _entries(archs, history=history, train_trials=train_trials)
    table = benchmark_module.benchmark(
        data, out, entries, budget_minutes=budget, seeds=seeds, workers=workers, speed=not no_speed
    )
    print(table.read_text())
    print(f"tables and figures in {out}")


def _entries(archs: str, **shared: Any) -> dict[str, Training]:
    """What `--archs` names, by its text; keys of `Training` are told from those of the network by their name."""
    from dendrotwin.models import ARCHITECTURES
    from dendrotwin.training.loop import Training

    entries: dict[str, Training] = {}
    for label in re.split(r",(?=[A-Za-z])", archs):  # a number behind a comma belongs to a list of sizes
        architecture, *pairs = label.split(":")
        options = _pairs(pairs)
        taken = sorted(options.keys() & {"architecture", "options", "steps", "seed", *shared})
        if taken:
            raise InputError(f"{label}: {taken[0]} is the same for all, or set by the budget; leave it away there")
        if label in entries:
            raise InputError(f"--archs names {label} twice; name it once")
        network = ARCHITECTURES[architecture][0].model_fields if architecture in ARCHITECTURES else {}
        both = sorted(options.keys() & Training.model_fields.keys() & network.keys())
        if both:
            raise InputError(f"{label}: {both[0]} is an option of the network and of the training; rename the former")
        own = {key: options.pop(key) for key in list(options) if key in Training.model_fields}
        entries[label] = _configure(Training, architecture=architecture, options=options, **own, **shared)
    return entries


@app.command()
def plot(
    true: Annotated[Path, typer.Argument(help="Recordings, such as a shard of `simulate`.")],
    predicted: Annotated[Path, typer.Argument(help="Recordings to compare, such as those of `predict`.")],
    out: Annotated[Path, typer.Option(help="Folder of the figures.")],
    trial: Annotated[int, typer.Option(min=0, help="Which of the trials that both hold.")] = 0,
    start: Annotated[int, typer.Option(min=0, help="Start of the traces [ms].")] = 0,
    stop: Annotated[int | None, typer.Option(help="End of the traces [ms].")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw two recordings of the same trials side by side.

    All compartments, and the soma with its spikes.
    """
    from dendrotwin.evaluation.report import draw_pair
    from dendrotwin.recording import index_trials, read_trial, trials_of_cell
    from dendrotwin.support.atomic_files import whole_folder

    tree, theirs = index_trials(true)
    ours = trials_of_cell(predicted, tree, str(true))
    by_id = {t.trial_id: t for t in ours}
    common = [t for t in theirs if t.trial_id in by_id]
    if trial >= len(common):
        raise InputError(f"{true} and {predicted} have {len(common)} trials in common; choose --trial below that")
    a, b = (read_trial(t, tree).each_ms() for t in (common[trial], by_id[common[trial].trial_id]))
    end = a.steps if stop is None else min(stop, a.steps)
    if start >= end:
        raise InputError(f"--start {start} must lie before the end at {end} ms")
    with whole_folder(out, "traces.png", overwrite=overwrite) as folder:
        draw_pair(folder, a, b, slice(start, end), float("nan"))
    print(f"traces.png and soma.png in {out}")


@app.command()
def signals(
    recordings: Annotated[
        list[Path], typer.Argument(help="Recordings of NEURON or a twin, one trial of each; several are summed.")
    ],
    out: Annotated[Path, typer.Option(help="File of signals (.h5) to write.")],
    signal: Annotated[
        list[str],
        typer.Option(
            help="currents, lfp, ecog, csd, dipole, eeg, new-york, meg, dye or patch, with options as "
            "NAME:key=value:...; two of a kind need a label (lfp:label=deep) [lfp and dipole]."
        ),
    ] = [],  # noqa: B006
    probe: Annotated[
        str | None,
        typer.Option(
            help="Of lfp and ecog: linear, square or neuropixels with options, or a CSV of x,y,z [um] [linear; of ecog "
            "4 by 4 contacts on the slab]."
        ),
    ] = None,
    slab: Annotated[
        str | None, typer.Option(help="Layers for lfp and ecog, such as bottom_um=-150:thickness_um=300.")
    ] = None,
    trial: Annotated[int, typer.Option(min=0, help="Which trial of each file.")] = 0,
    places: Annotated[
        Path | None, typer.Option(help="CSV of x,y,z [um] or x,y,z,rx,ry,rz [degrees], a line for each recording.")
    ] = None,
    as_built: Annotated[
        bool, typer.Option("--as-built", help="Keep the cell's own coordinates; else it is upright, its soma at 0.")
    ] = False,
    nwb: Annotated[Path | None, typer.Option(help="Also a file of Neurodata Without Borders.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Also a folder of figures.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compute what electrodes, a dye and the scalp see.

    Of recordings: membrane currents, LFP, CSD, dipole, EEG, MEG, dye, patch.
    """
    from dendrotwin import signals as signals_module
    from dendrotwin.signals import described
    from dendrotwin.signals.extras import need
    from dendrotwin.support.atomic_files import refuse_existing, refuse_existing_file, whole_folder

    files = [path for path in (out, nwb) if path is not None]
    for file in files:
        refuse_existing_file(file, overwrite=overwrite)
    written = {path.resolve() for path in files}
    if len(written) < len(files) or {path.resolve() for path in recordings} & written:
        raise InputError("the recordings, --out and --nwb are files of their own; name another one to write to")
    if figures is not None:
        refuse_existing(figures, MARKER, overwrite=overwrite)
    if nwb is not None:
        need("pynwb", "nwb")  # before anything is written
    cells = [signals_module.PlacedCell(path, trial, as_built=as_built) for path in recordings]
    cells = cells if places is None else described.read_places(places, cells)
    contacts = None if probe is None else described.probe(probe)
    layers = None if slab is None else described.slab(slab)
    instruments = [described.instrument(text, contacts, layers, cells) for text in signal or ["lfp", "dipole"]]
    signals_module.write_signals(out, cells, instruments)
    print(f"{', '.join(instrument.name for instrument in instruments)} of {len(cells)} cells in {out}")
    if nwb is None and figures is None:
        return
    made = signals_module.read_signals(out).values()
    if nwb is not None:
        signals_module.write_nwb(nwb, made, f"signals of {', '.join(str(path) for path in recordings)}")
        print(f"the same in {nwb}")
    if figures is not None:
        from dendrotwin.plot.signal_report import draw_signals, telling_window

        with whole_folder(figures, MARKER, overwrite=overwrite) as folder:
            names = draw_signals(folder, made, [cell.tree() for cell in cells], telling_window(cells[0]))
            (folder / MARKER).write_text(f"{out}\n")
        print(f"{', '.join(names)} in {figures}")


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="paper-1, paper-2 or paper-3: which of Verhellen et al. 2024.")],
    compared: Annotated[
        Path | None, typer.Argument(metavar="[BENCHMARK]", help="Folder made by `benchmark`, for paper-2.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the figure.")] = Path("paper-figures"),
    overwrite: Overwrite = False,
) -> None:
    """Draw a figure of the paper.

    With the twin of its cell that comes along, or of what `benchmark` made.
    """
    path = out / f"{name}.png"
    if name not in ("paper-1", "paper-2", "paper-3"):
        raise InputError(f"there is no figure {name!r}; choose paper-1, paper-2 or paper-3")
    if name == "paper-2" and compared is None:
        raise InputError("paper-2 is of a benchmark; name its folder, `dendrotwin figure paper-2 FOLDER`")
    if name != "paper-2" and compared is not None:
        raise InputError(f"{name} is of the twin that comes along and takes no folder; leave {compared} away")
    if out.is_file():
        raise FileError(f"{out} is a file; name a folder for the figure")
    if path.exists() and not overwrite:
        raise FileError(f"{path} exists; name another folder, or use --overwrite")
    from dendrotwin import plot
    from dendrotwin.benchmark import paper_figures

    if compared is not None:
        drawn = paper_figures.figure_2(compared)
    else:
        drawn = paper_figures.figure_1() if name == "paper-1" else paper_figures.figure_3()
    plot.save(drawn, path)
    print(f"{name} in {path}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demo makes.")] = Path("demo"),
) -> None:
    """Read a real cell and set its twin beside NEURON.

    Then train a network of the paper on the same cell.
    """
    from dendrotwin.cell.stimuli import Modulated
    from dendrotwin.cells import load_cell
    from dendrotwin.neuron.simulate import Simulation
    from dendrotwin.neuron.simulate import simulate as simulate_first
    from dendrotwin.recording import HeldOut

    data, inputs = out / "recordings", Modulated(rate_scale=load_cell("allen_l4").rate_scale)
    print("1/5  reading a layer 4 cell of the Allen Cell Types Database from NEURON: its twin, without any training")
    twin("allen_l4", out / "cable", overwrite=True)
    print("2/5  the twin beside NEURON and NEURON's own default, on trials of 4 s")
    simulation = Simulation(cell="allen_l4", duration_ms=4000, seed=2, inputs=inputs, dt_ms=0.025)
    simulate_first(simulation, 7, data, held_out=HeldOut(test=7, validation=4))
    evaluate(out / "cable", data, out / "report-cable", neuron=True, speed=True, overwrite=True)
    print(
        f"     look at {out / 'report-cable' / 'traces.png'}: every compartment, true, predicted and their difference"
    )
    print("3/5  simulating 29 more trials, to train a network on")
    simulate("allen_l4", data, trials=36, duration=4.0, seed=2, dt=0.025)
    print("4/5  training the network, by hard parameter sharing")
    train(data, out / "network", steps=1200, overwrite=True)
    print("5/5  measuring it on the same test trials")
    evaluate(out / "network", data, out / "report-network", overwrite=True)
    print(
        f"""
Look at {out / "report-network" / "traces.png"}: the same of the network.
Next:
  dendrotwin cells                                   which cells there are
  dendrotwin twin YOUR_CELL.py --out TWIN            a twin of your own NEURON cell (docs/cells.md)
  dendrotwin train {data} --out TWIN --steps 20000     a better network, with more time"""
    )
