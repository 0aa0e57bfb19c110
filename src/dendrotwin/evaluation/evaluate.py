"""Evaluation: a twin and the baselines on trials that the twin has not seen, written as a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from dendrotwin.evaluation.figures import draw_report
from dendrotwin.evaluation.neuron_default import neuron_row
from dendrotwin.evaluation.predictors import Evaluation, baseline_rows, evaluate_twin
from dendrotwin.evaluation.report import print_report, write_measured_error, write_report
from dendrotwin.evaluation.split import trials_of_twin
from dendrotwin.evaluation.timing import speed_beside_neuron
from dendrotwin.recording.trials import TrialIndex, count_output_spikes
from dendrotwin.support.atomic_files import refuse_existing, whole_folder
from dendrotwin.twin import TWINS, Twin, load


class Measured(TypedDict, total=False):
    """What else an evaluation measures."""

    baselines: bool
    """Also the baselines, which is so if nothing is said; two of them learn from training trials."""
    neuron: bool
    """Also NEURON's default on the trials, as a baseline."""
    speed: bool
    """The time of the twin beside that of NEURON, on one thread."""
    made_of: dict[str, Any]
    """Kept in the report, by which the command line knows it again; see `made_by.described_work`."""


FEW_SPIKES = 10  # fewer make no threshold


def evaluate(
    twin: Twin | str | Path,
    data: str | Path,
    out: str | Path,
    *,
    training_data: str | Path | None = None,
    cell: str | Path | None = None,
    overwrite: bool = False,
    **measured: Unpack[Measured],
) -> list[Evaluation]:
    """Measure a twin on trials that it has not seen: potentials, output spikes, LFP and dipole.

    Args:
        twin: the twin, its folder, or the name of one that comes with the package.
        data: data set; trials that the twin was trained on are left out.
        out: folder of the report, with its table and figures.
        training_data: where the training trials are, if not in `data`.
        cell: for NEURON, the Python file of the cell, if it is none of dendrotwin's: data do not choose code that is
            run.
        overwrite: replace a report that is there.
        measured: what else is measured, `baselines`, `neuron` or `speed`; see `Measured`.

    Returns:
        The rows of the table, the twin's first.

    Raises:
        FileError: `out` exists, or the data set is not one or is of another cell.
        InputError: there are no trials that are new, or training trials are missing.
    """
    data, out = Path(data), Path(out)
    refuse_existing(out, "report.json", overwrite=overwrite)
    loaded = twin if isinstance(twin, Twin) else load(twin)
    folder, baselines = loaded.folder, measured.get("baselines", True)
    train, validation, test = trials_of_twin(loaded, data, training_data, fit=baselines)
    seconds = speed_beside_neuron(loaded, cell) if measured.get("speed") else {}
    twin_rows = evaluate_twin(Path(loaded.architecture).stem, loaded, test)  # of a file its name
    if measured.get("neuron"):
        twin_rows.append(neuron_row(loaded.tree, test, cell))
    rows = twin_rows + (list(baseline_rows(loaded.tree, train, validation, test)) if baselines else [])
    context = {"twin": str(folder or loaded), "data": str(data), "seconds_per_simulated_second": seconds}
    context["made_of"] = measured.get("made_of", {})
    with whole_folder(out, "report.json", overwrite=overwrite) as report:
        write_report(report, loaded.tree, rows, test, context)
        draw_report(report, loaded, test, rows)
    print_report(loaded.tree, rows, test, seconds)
    if baselines and validation:
        _say_on_how_many_spikes(validation)
    if train and training_data is None and not loaded.training["train_trials"]:
        print(
            f"{len(train) + len(validation)} trials of {data} were used to fit the baselines mean and linear; to test "
            "on all, name other ones for fitting with --training-data, or use --no-baselines"
        )
    if folder is not None and folder.parent != TWINS:  # not into the package
        write_measured_error(folder, loaded.tree, twin_rows, test, data)
    return rows


def _say_on_how_many_spikes(validation: Sequence[TrialIndex]) -> None:
    """A threshold that was chosen on a handful of output spikes makes no fair F1."""
    spikes = sum(map(count_output_spikes, validation))
    if spikes < FEW_SPIKES:
        print(
            f"the thresholds of the baselines rest on {spikes} output spikes of {len(validation)} validation trials: "
            "their F1 says little; simulate more trials"
        )
