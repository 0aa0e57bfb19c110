"""The command line: one thin sub-command for each step. Everything heavy is imported when it is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from typer.exceptions import TyperException

from dendrotwin import __version__
from dendrotwin.errors import DendrotwinError, FileError, InputError

if TYPE_CHECKING:
    from dendrotwin.evaluate import Evaluation
    from dendrotwin.recording import Recording, TrialIndex
    from dendrotwin.tree import Tree
    from dendrotwin.twin import Twin

app = typer.Typer(
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
        print("dendrotwin: stopped; `simulate` and `train` go on from here when called again", file=sys.stderr)
    raise SystemExit(status or 0)


def _configure(config: type[Config], **values: Any) -> Config:
    """A configuration, its first error as one line."""
    try:
        return config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name} = {first['input']}: {first['msg']}; correct it") from error


def _pairs(options: list[str]) -> dict[str, str]:
    """key=value options as a dictionary."""
    for option in options:
        if "=" not in option:
            raise InputError(f"--option {option} must have the form key=value")
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
    """List the cells: source, licence, compartments, and whether they can be built here."""
    from dendrotwin.cells import NAMES, load_cell
    from dendrotwin.cells.compile import cannot_build

    for name in NAMES:
        model = load_cell(name)
        here = cannot_build(model.missing()) or "can be built"
        print(f"{name}: {model.compartments} compartments")
        print(f"  source:  {model.source}\n  licence: {model.licence}\n  here:    {here}")


@app.command()
def download(
    cell: Annotated[str, typer.Argument(help="l5pc, the only cell that needs it.")],
    url: Annotated[str | None, typer.Option(help="Another address of the archive or of cell1.asc.")] = None,
) -> None:
    """Fetch what a cell needs and the package may not ship, and check its hash."""
    from dendrotwin.cells import l5pc

    if cell != "l5pc":
        raise InputError(f"there is nothing to download for {cell!r}; only l5pc needs it")
    print(f"the reconstruction is in {l5pc.download(url or l5pc.MODELDB_URL)}")


@app.command()
def doctor() -> None:
    """Say whether this machine can simulate, train and export, and what to install if not."""
    from dendrotwin.doctor import examine

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
    trials: Annotated[int, typer.Option(min=1, help="Number of trials.")] = 1,
    duration: Annotated[float, typer.Option(min=0.001, help="Of a trial [s].")] = 6.0,
    seed: Annotated[int, typer.Option(min=0, help="Trial k draws from child k of this seed.")] = 0,
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
    workers: Annotated[int | None, typer.Option(min=1, help="Processes [one for each core].")] = None,
    executor: Annotated[str, typer.Option(help="local or dask.")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="Address of the Dask scheduler.")] = None,
    option: CellOptions = [],  # noqa: B006
    overwrite: Overwrite = False,
) -> None:
    """Simulate trials of a cell in NEURON. The same command again does what is not done yet."""
    from dendrotwin import simulate as simulation_module
    from dendrotwin.cells import load_cell
    from dendrotwin.inputs import Modulated, Poisson, read_events, read_injection

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
    steps = round(duration * 1000)
    simulation = _configure(
        simulation_module.Simulation,
        cell=cell,
        cell_options=_pairs(option),
        duration_ms=steps,
        seed=seed,
        inputs=inputs,
        dt_ms=dt,
        method=method,
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
        executor=pool,
        workers=workers,
        events=own_events,
        injection=injection,
        overwrite=overwrite,
    )
    print(f"{len(paths)} trials of {duration:g} s in {out}")


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
        raise InputError("--executor dask needs distributed; pip install 'dendrotwin[hpc]'") from error
    try:
        return Client(scheduler, timeout=10).get_executor(pure=False, retries=0)
    except (OSError, ValueError) as error:
        raise InputError(
            f"there is no Dask scheduler at {scheduler} ({error}); start `dask scheduler` first"
        ) from error


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Data set made by `simulate`.")],
    out: Annotated[Path, typer.Option(help="Folder of the twin.")],
    arch: Annotated[str, typer.Option(help="Architecture.")] = "hard-sharing",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 4000,
    batch: Annotated[int, typer.Option(help="Windows in a step.")] = 8,
    window: Annotated[int, typer.Option(help="Length of a window [ms].")] = 400,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 3e-3,
    spike_share: Annotated[float, typer.Option(help="Share of the windows around an output spike.")] = 0.2,
    validation: Annotated[float, typer.Option(help="Share of the trials for validation.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of the trials kept for the test.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of weights and windows.")] = 0,
    option: Annotated[
        list[str], typer.Option("--option", help="Option of the network as key=value, such as channels=128.")
    ] = [],  # noqa: B006
    overwrite: Overwrite = False,
) -> None:
    """Train a twin. A killed run goes on when the same command is given again."""
    from dendrotwin import train as train_module

    training = _configure(
        train_module.Training,
        architecture=arch,
        options=_pairs(option),
        steps=steps,
        batch=batch,
        window_ms=window,
        learning_rate=learning_rate,
        spike_share=spike_share,
        validation=validation,
        test=test,
        seed=seed,
    )
    twin = train_module.train(data, out, training, overwrite=overwrite)
    print(f"twin of {twin.tree.n} compartments in {out}, best at step {twin.training['best_step']}")


@app.command()
def predict(
    twin: Annotated[Path, typer.Argument(help="Folder of the twin.")],
    events: Annotated[
        Path, typer.Argument(help="CSV or npz of input, time [ms]; or recordings, whose input is taken.")
    ],
    out: Annotated[Path, typer.Option(help="File of recordings (.h5) to write.")],
    duration: Annotated[float | None, typer.Option(help="Of the trial [s], for CSV and npz.")] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Smaller file, slower to read.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict the potential of every compartment and the output spikes, in the format of the simulator's recordings."""
    from dendrotwin.predict import predict_recordings
    from dendrotwin.progress import progress
    from dendrotwin.recording import provenance, write_recordings
    from dendrotwin.twin import Twin

    if out.exists() and not overwrite:
        raise FileError(f"{out} exists; name another file, or use --overwrite")
    loaded = Twin.load(twin)
    trials = _trials_to_predict(loaded, events, duration)

    def shown() -> Any:
        with progress("predicting", len(trials), "trials") as advance:
            for recording in predict_recordings(loaded, trials):
                yield recording
                advance(1)

    attributes = {**provenance(), "twin": str(twin), "architecture": loaded.architecture}
    write_recordings(out, shown(), attributes, compress=compress)
    print(f"{len(trials)} predicted trials in {out}")


def _trials_to_predict(twin: Twin, path: Path, duration: float | None) -> list[Any]:
    """Identity, events, duration [ms] and injection of each trial named on the command line."""
    from dendrotwin.inputs import read_events
    from dendrotwin.recording import RecordingFile, trial_identity

    if path.suffix in (".csv", ".npz"):
        events = read_events(path)
        if duration is None and len(events) == 0:
            raise InputError(f"{path} holds no event; say how long the trial is with --duration")
        steps = int(events.time_ms.max()) + 1 if duration is None else round(duration * 1000)
        events.check(twin.tree.n_inputs, steps)
        return [(trial_identity(events, None, steps), events, steps, None)]
    trials = []
    for trial in _trials_of(path, twin.tree)[1]:
        with RecordingFile(trial.path) as file:
            trials.append((trial.trial_id, file.events(trial.number), trial.steps, file.injection(trial.number)))
    return trials


def _trials_of(path: Path, tree: Tree, of: str = "the twin's") -> tuple[Tree, list[TrialIndex]]:
    """The trials of a data set, which must be of the cell `tree`."""
    from dendrotwin.recording import index_trials

    found, trials = index_trials(path)
    if found.fingerprint() != tree.fingerprint():
        raise FileError(f"{path} holds recordings of another cell than {of}; use recordings of one cell")
    return found, trials


@app.command()
def evaluate(
    twin: Annotated[Path, typer.Argument(help="Folder of the twin.")],
    data: Annotated[Path, typer.Argument(help="Data set; trials that the twin was trained on are left out.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    training_data: Annotated[
        Path | None, typer.Option(help="Where the training trials are, for the baselines [DATA].")
    ] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Time the twin beside NEURON, on one thread.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure a twin on trials it has not seen, beside baselines; write a table and figures."""
    from dendrotwin.evaluate import baselines, write_report
    from dendrotwin.evaluate import evaluate as measure
    from dendrotwin.files import refuse_existing, whole_folder
    from dendrotwin.measures import SETTLE_MS
    from dendrotwin.predict import predict_recordings
    from dendrotwin.twin import Twin

    refuse_existing(out, "report.json", overwrite=overwrite)
    loaded = Twin.load(twin)
    tree, trials = _trials_of(data, loaded.tree)
    seen = {name: set(loaded.training[f"{name}_trials"]) for name in ("train", "validation")}
    pool = trials if training_data is None else _trials_of(training_data, loaded.tree)[1]
    train, validation = ([trial for trial in pool if trial.trial_id in seen[name]] for name in ("train", "validation"))
    test = [trial for trial in trials if trial.trial_id not in seen["train"] | seen["validation"]]
    if not test:
        raise InputError(f"the twin was trained on every trial in {data}; simulate others, such as with another --seed")
    if len(train) < len(seen["train"]) or len(validation) < len(seen["validation"]):
        raise InputError(
            f"{training_data or data} lacks trials that the twin was trained on, which the baselines need too; "
            "name their folder with --training-data"
        )

    def predictor(recording: Recording) -> Any:
        trial = (recording.trial_id, recording.events, recording.steps, recording.injection)
        (predicted,) = predict_recordings(loaded, [trial])
        return predicted.v_mV, predicted.spike_probability

    short = [trial for trial in test if trial.steps <= SETTLE_MS]
    if short:
        raise InputError(f"{short[0].path} lasts {short[0].steps} ms; the first {SETTLE_MS} ms of a trial do not count")
    seconds = _speed(loaded) if speed else {}
    evaluations = [measure(loaded.architecture, predictor, tree, test, threshold=loaded.threshold)]
    evaluations += baselines(tree, train, validation, test, loaded.scaling.mean_mV.numpy())
    context: dict[str, Any] = {
        "twin": str(twin),
        "data": str(data),
        "test_trials": [trial.trial_id for trial in test],
        "test_s": sum(trial.steps for trial in test) / 1000.0,
        "seconds_per_simulated_second": seconds,
    }
    with whole_folder(out, "report.json", overwrite=overwrite) as folder:
        write_report(folder, tree, evaluations, context)
        _draw(folder, loaded, test, evaluations)
    _print_table(tree, evaluations, len(test), context["test_s"])
    _print_speed(seconds)
    print(f"table and figures in {out}: {', '.join(sorted(file.name for file in out.iterdir()))}")


def _speed(twin: Twin) -> dict[str, float]:
    from dendrotwin.simulate import Simulation
    from dendrotwin.speed import measure_speed

    if not twin.training["simulation"]:
        raise InputError("the twin's data were not made by `simulate`, so NEURON cannot be timed; leave --speed away")
    simulation = Simulation(**twin.training["simulation"])
    return measure_speed(twin, simulation)


def _print_table(tree: Tree, evaluations: list[Evaluation], trials: int, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = {
        "EV soma": "EV soma",
        "EV soma clipped": "clipped",
        "EV dendrite median": "EV dendrite median",
        "EV dendrite 5th percentile": "5th pct.",
        "EV dendrite worst": "worst",
        "RMSE dendrite median mV": "RMSE dendrite [mV]",
        "Wasserstein dendrite median mV": "W1 dendrite [mV]",
        "spikes auc": "AUC",
        "spikes f1": "F1 ±2 ms",
        "spikes rate_error_hz": "rate error [Hz]",
    }
    for one_step, title in ((False, "free-running"), (True, "one step ahead (sees the true V of 1 ms before)")):
        rows = [e for e in evaluations if e.one_step_ahead == one_step]
        spikes = evaluations[0].spikes.true_spikes
        table = Table("", *columns.values(), title=f"{title}: {trials} test trials, {seconds:g} s, {spikes} spikes")
        for e in rows:
            row = e.summary(tree)
            table.add_row(e.name, *("-" if row[key] is None else f"{row[key]:.3f}" for key in columns))
        Console(width=140).print(table)


def _print_speed(seconds: dict[str, float]) -> None:
    if not seconds:
        return
    reference = seconds["NEURON default"]
    print("wall seconds per simulated second of one cell, one thread (median of 3):")
    for name, value in seconds.items():
        print(f"  {name:<24} {value:9.4f} s   {reference / value:8.1f} x NEURON default")


def _draw(folder: Path, twin: Twin, test: list[TrialIndex], evaluations: list[Evaluation]) -> None:
    """The figures of a report; the trial that is drawn is the first with output spikes."""
    from dendrotwin import plot as figures
    from dendrotwin.measures import SETTLE_MS
    from dendrotwin.predict import predict_recordings
    from dendrotwin.recording import read_trial

    recordings = (read_trial(trial, twin.tree) for trial in test)
    first = read_trial(test[0], twin.tree)
    true = next((r for r in recordings if (r.spikes_ms >= SETTLE_MS).any()), first)
    predicted = next(predict_recordings(twin, [(true.trial_id, true.events, true.steps, None)]))
    window = _busiest(true)
    _draw_pair(folder, true, predicted, window, twin.threshold)
    tree, ours = twin.tree, evaluations[0]
    figures.save(figures.figure_morphology(tree, ours.ev, f"explained variance (EV), {ours.name}"), folder / "ev.png")
    evs = {e.name: e.ev for e in evaluations if not e.one_step_ahead and e.name != "mean"}
    figures.save(figures.figure_errors(tree, evs, twin=ours.name), folder / "errors.png")
    figures.save(figures.figure_training(twin.training["curve"]), folder / "training.png")


def _busiest(recording: Recording, length: int = 600) -> slice:
    """The stretch of a trial, after it has settled, with the most output spikes."""
    from dendrotwin.measures import SETTLE_MS

    train = recording.spike_train()
    starts = range(min(SETTLE_MS, max(recording.steps - length, 0)), max(recording.steps - length, 0) + 1, 50)
    start = max(starts, key=lambda at: train[at : at + length].sum())
    return slice(start, start + length)


def _draw_pair(folder: Path, true: Recording, predicted: Recording, window: slice, threshold: float) -> None:
    from dendrotwin import plot as figures

    traces = figures.figure_traces(true.tree, true.v_mV[window], predicted.v_mV[window], window.start)
    figures.save(traces, folder / "traces.png")
    soma = figures.figure_soma(
        true, predicted.v_mV[:, true.tree.soma], predicted.spike_probability, threshold, predicted.spikes_ms
    )
    figures.save(soma, folder / "soma.png")


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
    """Draw two recordings of the same trials, side by side: all compartments, and the soma with its spikes."""
    from dendrotwin.files import whole_folder
    from dendrotwin.recording import index_trials, read_trial

    tree, theirs = index_trials(true)
    _, ours = _trials_of(predicted, tree, str(true))
    by_id = {t.trial_id: t for t in ours}
    common = [t for t in theirs if t.trial_id in by_id]
    if trial >= len(common):
        raise InputError(f"{true} and {predicted} have {len(common)} trials in common; choose --trial below that")
    a, b = read_trial(common[trial], tree), read_trial(by_id[common[trial].trial_id], tree)
    end = a.steps if stop is None else min(stop, a.steps)
    if start >= end:
        raise InputError(f"--start {start} must lie before the end at {end} ms")
    with whole_folder(out, "traces.png", overwrite=overwrite) as folder:
        _draw_pair(folder, a, b, slice(start, end), float("nan"))
    print(f"traces.png and soma.png in {out}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demo makes.")] = Path("demo"),
) -> None:
    """Simulate a layer 4 cell, train its twin, and compare them: the whole way on fixed seeds, in some minutes."""
    print("1/3  simulating 36 trials of 4 s of a layer 4 cell (Allen Cell Types Database) in NEURON")
    simulate("allen_l4", out / "data", trials=36, duration=4.0, seed=2)
    print("2/3  training a twin by hard parameter sharing")
    train(out / "data", out / "twin", steps=900, overwrite=True)
    print("3/3  measuring it on trials it has not seen")
    evaluate(out / "twin", out / "data", out / "report", speed=True, overwrite=True)
    print(
        f"""
Look at {out / "report" / "traces.png"}: every compartment, true, predicted and their difference.
Next:
  dendrotwin cells                                   which cells there are
  dendrotwin simulate YOUR_CELL.py --out DIR         your own NEURON cell (README, "Your own cell")
  dendrotwin train {out / "data"} --out TWIN --steps 20000     a better twin, with more time"""
    )


if __name__ == "__main__":
    main()
