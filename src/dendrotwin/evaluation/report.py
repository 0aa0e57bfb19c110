"""What an evaluation or a benchmark found, for people and for programs: tables, JSON, CSV."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin import __version__
from dendrotwin.cell.tree import REGIONS, Tree
from dendrotwin.evaluation.lfp_metrics import NO_LFP, upright_beside_shank
from dendrotwin.evaluation.metrics import BANDS_HZ
from dendrotwin.evaluation.predictors import Evaluation
from dendrotwin.recording import SETTLE_MS
from dendrotwin.recording.trials import TrialIndex
from dendrotwin.support.atomic_files import whole_file

MODES = {False: "free-running", True: "one step ahead (sees the true V of 1 ms before)"}
# Columns of tables: the key of a number in `Evaluation.summary` or `Row.costs`, and how it is called.
EV_COLUMNS = {
    "EV soma": "EV soma",
    "EV soma clipped": "clipped",
    "EV dendrite median": "EV dendrite, median",
    "EV dendrite 5th percentile": "5th percentile",
    "EV dendrite worst": "worst",
}
MAIN_COLUMNS = {
    **EV_COLUMNS,
    "RMSE dendrite median mV": "RMSE dendrite [mV]",
    "Wasserstein dendrite median mV": "W1 dendrite [mV]",
    "spikes auc": "AUC",
    "spikes f1": "F1 ±2 ms",
    "spikes rate_error_hz": "rate error [Hz]",
}
LFP_COLUMNS = {
    "LFP VE silent worst": "LFP silent, worst",
    "LFP VE silent median": "silent, median",
    "LFP VE firing worst": "LFP firing, worst",
    "LFP VE firing median": "firing, median",
    "dipole VE silent z": "dipole z silent",
    "dipole VE firing z": "dipole z firing",
}
# What a row of a comparison costs, beside its errors; the keys of `Row.costs`.
COSTS = {
    "parameters": "parameters",
    "training_minutes": "training [min]",
    "steps": "steps",
    "windows": "windows seen",
    "x_neuron_batch_1": "x NEURON default, batch 1",
    "x_neuron_batch_8": "batch 8",
}
DECIMALS = {"parameters": 0, "steps": 0, "windows": 0, "x_neuron_batch_1": 1, "x_neuron_batch_8": 1}
TABLES = {
    "Potentials": {
        **EV_COLUMNS,
        "RMSE soma mV": "RMSE soma [mV]",
        "RMSE dendrite median mV": "dendrite, median [mV]",
        "Wasserstein dendrite median mV": "W1 dendrite, median [mV]",
    },
    "Regions, median EV": {f"EV {region} median": region for region in REGIONS},
    "Output spikes": {
        "spikes auc": "AUC",
        "spikes f1": "F1 ±2 ms",
        "spikes precision": "precision",
        "spikes recall": "recall",
        "spikes rate_error_hz": "rate error [Hz]",
    },
    "LFP and dipole, VE": LFP_COLUMNS,
    "LFP, error of the power [dB]": {
        f"LFP dB {band}": f"{band} ({low:g}-{high:g} Hz)" for band, (low, high) in BANDS_HZ.items()
    },
    "Cost": COSTS,
}
HEADING = "## Measured error"


@dataclass(frozen=True, eq=False)
class Row:
    """A line of a comparison: one predictor, or one architecture trained with several seeds.

    Attributes:
        name: of the line.
        evaluations: one for each seed.
        costs: see `COSTS`; for each seed those that were measured.
        trainings: what `Twin.training` says of each seed; none for what was not trained.
    """

    name: str
    evaluations: Sequence[Evaluation]
    costs: Sequence[Mapping[str, float]] = ()
    trainings: Sequence[Mapping[str, Any]] = ()

    @property
    def one_step_ahead(self) -> bool:
        """Whether it sees the true potential up to 1 ms before."""
        return self.evaluations[0].one_step_ahead

    def statistics(self, tree: Tree) -> dict[str, tuple[float, float | None]]:
        """Mean and standard deviation over the seeds of every number that some seed has.

        Args:
            tree: the cell.

        Returns:
            Both by the name of the number; no deviation of a single value.
        """
        found: dict[str, list[float]] = {}
        for numbers in [*(e.summary(tree) for e in self.evaluations), *self.costs]:
            for name, value in numbers.items():
                found.setdefault(name, []).extend([] if value is None else [float(value)])
        return {
            name: (float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)
            for name, values in found.items()
            if values
        }


def describe_test(evaluation: Evaluation, trials: Sequence[TrialIndex]) -> str:
    """What was measured on, in words.

    Args:
        evaluation: of any predictor on these trials.
        trials: the test trials.
    """
    seconds = sum(trial.duration_ms for trial in trials) / 1000.0
    return f"{len(trials)} test trials, {seconds:g} s, {evaluation.spikes.true_spikes} output spikes"


def describe_missing(evaluations: Sequence[Evaluation]) -> str:
    """What could not be measured, and how to get it, in a line.

    Args:
        evaluations: the rows.

    Returns:
        The line; empty where nothing is missing.
    """
    missing = [NO_LFP] if any(e.lfp is None for e in evaluations) else []
    if evaluations and evaluations[0].spikes.true_spikes == 0:
        missing.append(
            f"the test trials hold no output spike after their first {SETTLE_MS} ms, so there is no AUC and no F1; "
            "give the cell more input"
        )
    return "; ".join(missing)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    Args:
        header: titles of the columns.
        rows: texts of each line; the first is a name, the others are numbers.
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _cell(numbers: Mapping[str, tuple[float, float | None]], key: str) -> str:
    """A number and its deviation over the seeds, a dash where there is none."""
    if key not in numbers:
        return "-"
    value, sd = numbers[key]
    decimals = DECIMALS.get(key, 3)
    values = [value] if sd is None else [value, sd]
    return " ± ".join(f"{v:,.{decimals}f}" if key in DECIMALS or abs(v) < 1e3 else f"{v:.3g}" for v in values)


def _lines(columns: Mapping[str, str], rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """Header and lines of a table: columns that some row has a number for, rows that have one of them; or nothing."""
    present = [key for key in columns if any(key in numbers for _, numbers in rows)]
    measured = [(name, numbers) for name, numbers in rows if any(key in numbers for key in present)]
    lines = [[name, *(_cell(numbers, key) for key in present)] for name, numbers in measured]
    return [["", *(columns[key] for key in present)], *lines] if lines else []


def markdown(tree: Tree, rows: Sequence[Row], measured: str, tables: Mapping[str, Mapping[str, str]] = TABLES) -> str:
    """All tables, mean ± standard deviation over the seeds; a section for each mode.

    Args:
        tree: the cell.
        rows: in their order.
        measured: on what; see `describe_test`.
        tables: columns by heading: key of a number, and how it is called.
    """
    parts = []
    for mode in dict.fromkeys(row.one_step_ahead for row in rows):
        title = MODES[mode]
        chosen = [(row.name, row.statistics(tree)) for row in rows if row.one_step_ahead == mode]
        parts.append(f"## {title[0].upper()}{title[1:]}: {measured}\n")
        for heading, columns in tables.items():
            if table := _lines(columns, chosen):
                parts.append(f"### {heading}\n\n{markdown_table(table[0], table[1:])}")
    return "\n".join(parts)


def write_report(
    out: Path, tree: Tree, evaluations: Sequence[Evaluation], test: Sequence[TrialIndex], context: Mapping[str, Any]
) -> None:
    """Write `report.json` and `report.md` (a row for each predictor) and `compartments.csv`.

    Args:
        out: a folder that exists.
        tree: the cell.
        evaluations: the rows.
        test: the trials.
        context: "twin" and "data", their names; "seconds_per_simulated_second" of each predictor, if they were timed;
            "made_of", see `Measured`.
    """
    rows = [{**e.metadata(), **e.summary(tree)} for e in evaluations]
    found = {
        **context,
        "test_trials": [trial.trial_id for trial in test],
        "test_s": sum(trial.duration_ms for trial in test) / 1000.0,
        **_contacts(tree, evaluations),
        "rows": rows,
    }
    _write(out / "report.json", json.dumps(found, indent=2) + "\n")
    text = markdown(tree, [Row(e.name, [e]) for e in evaluations], describe_test(evaluations[0], test))
    title = (
        f"# {context['twin']} on {context['data']}\n\n{datetime.now(UTC).date()}, dendrotwin {__version__}\n\n"
        "![Every compartment, true, predicted and their difference](traces.png)\n"
    )
    seconds = context.get("seconds_per_simulated_second")
    speed = ""
    if seconds:
        timed = [[name, f"{s:.4f}", f"{seconds['NEURON default'] / s:.1f}"] for name, s in seconds.items()]
        header = ("one thread, median of 3", "s for a simulated s", "x NEURON default")
        speed = f"## Speed\n\n{markdown_table(header, timed)}"
    parts = [title, text, speed, describe_missing(evaluations)]
    _write(out / "report.md", "\n".join(part for part in parts if part).rstrip() + "\n")
    write_compartments(out / "compartments.csv", tree, evaluations)


def _contacts(tree: Tree, evaluations: Sequence[Evaluation]) -> dict[str, list[list[float]]]:
    """Where the contacts are, x, y and z from the soma of the upright cell [um]; nothing where there were none."""
    if all(e.lfp is None for e in evaluations):
        return {}
    return {"contacts_um": upright_beside_shank(tree)[1].positions_um.tolist()}


def write_comparison(
    out: Path, tree: Tree, rows: Sequence[Row], measured: str, notes: str, context: Mapping[str, Any]
) -> None:
    """Write `table.json` and `table.md` (a row for each architecture) and `compartments.csv` (every seed's errors).

    Args:
        out: a folder that exists.
        tree: the cell.
        rows: in their order.
        measured: on what; see `describe_test`.
        notes: what the reader of the tables must know, in Markdown.
        context: what was measured: data, budget, machine, versions.
    """
    lines = []
    for row in rows:
        numbers = row.statistics(tree)
        lines.append(
            {
                "name": row.name,
                "one_step_ahead": row.one_step_ahead,
                "seeds": len(row.evaluations),
                "mean": {name: mean for name, (mean, _) in numbers.items()},
                "sd": {name: sd for name, (_, sd) in numbers.items()},
            }
        )
    evaluations = [e for row in rows for e in row.evaluations]
    found = {**context, "measured_on": measured, **_contacts(tree, evaluations), "rows": lines}
    _write(out / "table.json", json.dumps(found, indent=2) + "\n")
    _write(out / "table.md", f"{notes}\n{markdown(tree, rows, measured)}")
    write_compartments(out / "compartments.csv", tree, evaluations)


def write_compartments(path: Path, tree: Tree, evaluations: Sequence[Evaluation]) -> None:
    """Write the errors of every predictor as CSV, a row for each compartment.

    Args:
        path: the file.
        tree: the cell.
        evaluations: the predictors.
    """
    columns = ("ev", "ev_clipped", "rmse_mV", "wasserstein_mV")
    with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        header = [f"{column} {e.name}" for e in evaluations for column in columns]
        writer.writerow(["compartment", "name", "region", "distance_um", *header])
        for i, name in enumerate(tree.names):
            values = [f"{getattr(e, column)[i]:.6g}" for e in evaluations for column in columns]
            writer.writerow([i, name, REGIONS[tree.region[i]], f"{tree.distance_um[i]:.3f}", *values])


def write_measured_error(
    twin: Path, tree: Tree, evaluations: Sequence[Evaluation], test: Sequence[TrialIndex], data: Path
) -> None:
    """Say in a twin's README.md what its error is, in place of what was said before.

    Args:
        twin: its folder.
        tree: the cell.
        evaluations: the twin's own rows.
        test: the trials.
        data: the data set that they are of.
    """
    rows = [(MODES[e.one_step_ahead], Row(e.name, [e]).statistics(tree)) for e in evaluations]
    tables = [_lines(columns, rows) for columns in (MAIN_COLUMNS, LFP_COLUMNS)]
    section = (
        f"{HEADING}\n\nOn {describe_test(evaluations[0], test)}, of `{data}`, which the twin has not seen; measured on "
        f"{datetime.now(UTC).date().isoformat()} with dendrotwin {__version__}.\n\n"
        + "\n".join(markdown_table(table[0], table[1:]) for table in tables if table)
    )
    path = Path(twin) / "README.md"
    before = re.sub(rf"\n{HEADING}\n.*?(?=\n## |\Z)", "", path.read_text(), flags=re.DOTALL)
    _write(path, f"{before.rstrip()}\n\n{section}")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text)


def print_report(
    tree: Tree, evaluations: Sequence[Evaluation], test: Sequence[TrialIndex], seconds: Mapping[str, float]
) -> None:
    """Show the main numbers of an evaluation on the terminal.

    Args:
        tree: the cell.
        evaluations: the rows.
        test: the trials.
        seconds: wall seconds for a simulated second by name, see `timing.measure_speed`; empty where none were taken.
    """
    from rich.console import Console
    from rich.table import Table

    for mode in dict.fromkeys(e.one_step_ahead for e in evaluations):
        title = MODES[mode]
        rows = [(e.name, Row(e.name, [e]).statistics(tree)) for e in evaluations if e.one_step_ahead == mode]
        for columns, subject in (
            (MAIN_COLUMNS, describe_test(evaluations[0], test)),
            (LFP_COLUMNS, "LFP and dipole, VE"),
        ):
            if lines := _lines(columns, rows):
                table = Table(*lines[0], title=f"{title}: {subject}")
                for line in lines[1:]:
                    table.add_row(*line)
                Console(width=140).print(table)
    if missing := describe_missing(evaluations):
        print(missing)
    if seconds:
        print("wall seconds per simulated second of one cell, one thread (median of 3):")
        for name, value in seconds.items():
            print(f"  {name:<24} {value:9.4f} s   {seconds['NEURON default'] / value:8.1f} x NEURON default")
