"""Commands that measure: evaluate, benchmark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

import dendrotwin
from dendrotwin.cli.base import Overwrite, OwnArchitecture, OwnCell, app, pairs, say_done, twin_files
from dendrotwin.errors import InputError
from dendrotwin.training.config import Training


@app.command()
def evaluate(
    twin: Annotated[Path, typer.Argument(help="Folder of the twin, or the name of one that comes along: l5pc.")],
    data: Annotated[Path, typer.Argument(help="Data set; trials that the twin was trained on are left out.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    training_data: Annotated[
        Path | None, typer.Option(help="Where the training trials are, for the baselines [DATA].")
    ] = None,
    no_baselines: Annotated[
        bool, typer.Option("--no-baselines", help="Only the twin, so that no training trials are needed.")
    ] = False,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="Also run NEURON's default on the trials, as a baseline.")
    ] = False,
    speed: Annotated[bool, typer.Option("--speed", help="Time the twin beside NEURON, on one thread.")] = False,
    cell: OwnCell = None,
    architecture: OwnArchitecture = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a twin on trials that it has not seen.

    Potentials, output spikes, LFP and dipole, beside baselines.
    """
    from dendrotwin.support.made_by import described_work, is_done, refuse_writing_over_inputs

    refuse_writing_over_inputs([out], [*twin_files(twin), data, training_data, architecture, cell])
    files = {"data": data, "training data": training_data, "cell": cell, "architecture": architecture}
    named = {name: [] if path is None else [path] for name, path in files.items()}
    options = {"choice of baselines": not no_baselines, "choice of --neuron": neuron, "choice of --speed": speed}
    work = described_work(options, {"twin": twin_files(twin), **named})
    if not overwrite and is_done(out, _work_of(out / "report.json"), work):
        say_done(out)
        return
    dendrotwin.evaluate(
        dendrotwin.load(twin, architecture),
        data,
        out,
        baselines=not no_baselines,
        training_data=training_data,
        neuron=neuron,
        speed=speed,
        cell=cell,
        overwrite=overwrite,
        made_of=work,
    )
    print(f"table and figures in {out}: {', '.join(sorted(file.name for file in out.iterdir()))}")


def _work_of(report: Path) -> dict[str, Any]:
    """What a report says that it was made of; nothing where it does not."""
    try:
        return dict(json.loads(report.read_text())["made_of"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="Data set made by `simulate`.")],
    budget: Annotated[float, typer.Option(help="Wall time of each training [min].")],
    out: Annotated[Path, typer.Option(help="Folder of the benchmark.")],
    archs: Annotated[
        str | None,
        typer.Option(help="NAME or NAME:key=value:..., keys of a training or its network, with commas between [all]."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Trainings of each.")] = 3,
    autoregressive: Annotated[
        bool, typer.Option("--autoregressive", help="One step ahead, from true potentials.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, which share the cores.")] = 1,
    no_speed: Annotated[bool, typer.Option("--no-speed", help="Do not time the twins beside NEURON.")] = False,
    train_trials: Annotated[int | None, typer.Option(min=1, help="Use only so many training trials [all].")] = None,
    cell: OwnCell = None,
) -> None:
    """Train architectures for the same wall time and compare them. The same command again does what is not done yet."""
    from dendrotwin.benchmark import benchmark as benchmark_module
    from dendrotwin.support.made_by import refuse_writing_over_inputs

    refuse_writing_over_inputs([out], [data, cell])
    if archs is None:  # the cable twin is free-running only
        archs = "hard-sharing,mmoe,mmoeex,elm" + ("" if autoregressive else ",cable")
    entries = _entries(archs, autoregressive=autoregressive, train_trials=train_trials)
    table = benchmark_module.benchmark(
        data, out, entries, budget_minutes=budget, seeds=seeds, workers=workers, speed=not no_speed, cell=cell
    )
    print(table.read_text())
    print(f"tables and figures in {out}")


def _entries(archs: str, **shared: Any) -> dict[str, Training]:
    """What `--archs` names, by its text; keys of `Training` are told from those of the network by their name."""
    from dendrotwin.models import load_architecture

    entries: dict[str, Training] = {}
    for label in re.split(r",(?=[A-Za-z])", archs):  # a number behind a comma belongs to a list of sizes
        architecture, *set_here = label.split(":")
        options = pairs(set_here)
        taken = sorted(options.keys() & {"architecture", "options", "steps", "seed", *shared})
        if taken:
            raise InputError(f"{label}: {taken[0]} is the same for all, or set by the budget; leave it away there")
        if label in entries:
            raise InputError(f"--archs names {label} twice; name it once")
        network = load_architecture(architecture).config.model_fields
        both = sorted(options.keys() & Training.model_fields.keys() & network.keys())
        if both:
            raise InputError(f"{label}: {both[0]} is an option of the network and of the training; rename the former")
        own: dict[str, Any] = {key: options.pop(key) for key in list(options) if key in Training.model_fields}
        entries[label] = Training(architecture=architecture, options=options, **own, **shared)
    return entries
