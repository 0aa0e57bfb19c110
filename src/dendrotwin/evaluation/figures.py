"""The figures of an evaluation, of a benchmark, and of two recordings of one trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dendrotwin import plot
from dendrotwin.cell.tree import Tree
from dendrotwin.evaluation.lfp_metrics import upright_beside_shank
from dendrotwin.evaluation.metrics import PERIODS
from dendrotwin.evaluation.predictors import BASELINES, Evaluation
from dendrotwin.evaluation.report import Row
from dendrotwin.recording import SETTLE_MS, Recording
from dendrotwin.recording.trials import TrialIndex, read_trial
from dendrotwin.twin import Twin


def draw_report(folder: Path, twin: Twin, test: Sequence[TrialIndex], evaluations: Sequence[Evaluation]) -> None:
    """The figures of an evaluation; the trial that is drawn is the first with output spikes.

    Args:
        folder: where.
        twin: the twin.
        test: the trials.
        evaluations: its rows, the twin's main one first.
    """
    recordings: Iterator[Recording] = (read_trial(trial, twin.tree) for trial in test)
    first = read_trial(test[0], twin.tree)
    true = next((r for r in recordings if (r.spikes_ms >= SETTLE_MS).any()), first)
    predicted = twin.predict(true)
    tree, ours = twin.tree, evaluations[0]
    names = {e: f"{e.name}, one step ahead" if e.one_step_ahead else e.name for e in evaluations}
    title = names[ours] if twin.one_step_ahead else ""
    draw_pair(folder, true, predicted, most_active_window(true), twin.threshold, title)
    plot.save(plot.figure_morphology(tree, ours.ev, f"explained variance (EV), {names[ours]}"), folder / "ev.png")
    compared = [e for e in evaluations if e.name != "mean" and (e.name != "persistence" or twin.one_step_ahead)]
    plot.save(plot.figure_errors(tree, {names[e]: e.ev for e in compared}, twin=names[ours]), folder / "errors.png")
    if "curve" in twin.training:
        plot.save(plot.figure_training(twin.training["curve"]), folder / "training.png")
    if all(e.lfp for e in compared):
        _draw_electrodes(folder, tree, {names[e]: [e] for e in compared}, [names[e] for e in compared if e is not ours])


def _draw_electrodes(
    folder: Path, tree: Tree, predictors: Mapping[str, Sequence[Evaluation]], grey: Sequence[str]
) -> None:
    """VE at each contact, the mean over the seeds of a predictor."""
    ve = {
        period: {
            name: np.mean([e.lfp.lfp_ve[period] for e in seeds if e.lfp], axis=0) for name, seeds in predictors.items()
        }
        for period in PERIODS[1:]
    }
    cell, probe = upright_beside_shank(tree)
    plot.save(plot.figure_electrodes(cell, probe.positions_um, ve, grey), folder / "electrodes.png")


def most_active_window(recording: Recording, length_ms: int = 600) -> slice:
    """The window of a trial with the most output spikes, after its first SETTLE_MS where it is long enough.

    Args:
        recording: the trial, with a sample each ms.
        length_ms: of the window [ms].

    Returns:
        Its samples; windows start every 50 ms.
    """
    spikes = recording.spike_train()
    latest = max(recording.duration_ms - length_ms, 0)
    starts = range(min(SETTLE_MS, latest), latest + 1, 50)
    start = max(starts, key=lambda at: spikes[at : at + length_ms].sum())
    return slice(start, start + length_ms)


def draw_pair(
    folder: Path, true: Recording, predicted: Recording, window: slice, threshold: float, title: str = ""
) -> None:
    """Draw two recordings of one trial: all compartments in a window (`traces.png`), and the soma (`soma.png`).

    Args:
        folder: where the figures go.
        true: the recording.
        predicted: the prediction of the same trial.
        window: samples of the traces.
        threshold: of the spike probability; NaN where there is none.
        title: of both figures.
    """
    traces = plot.figure_traces(true.tree, true.v_mV[window], predicted.v_mV[window], window.start)
    soma = plot.figure_soma(
        true, predicted.v_mV[:, true.tree.soma], predicted.spike_probability, threshold, predicted.spikes_ms
    )
    for name, figure in (("traces", traces), ("soma", soma)):
        if title:
            figure.suptitle(title)
        plot.save(figure, folder / f"{name}.png")


def draw_comparison(folder: Path, tree: Tree, rows: Sequence[Row]) -> None:
    """The figures of a benchmark, each seed's errors averaged; the experts are those of the first seed.

    Args:
        folder: where.
        tree: the cell.
        rows: of one mode; baselines are drawn grey.
    """
    ours = [row for row in rows if row.name not in BASELINES]
    ev, rmse = (
        {row.name: np.mean([getattr(e, name) for e in row.evaluations], axis=0) for row in rows}
        for name in ("ev", "rmse_mV")
    )
    grey = [row.name for row in rows if row not in ours]
    plot.save(plot.figure_distributions(tree, ev, rmse, grey), folder / "distributions.png")
    of_ours = {row.name: ev[row.name] for row in ours}
    plot.save(plot.figure_cells(tree, of_ours), folder / "cells.png")
    plot.save(plot.figure_distances(tree, of_ours), folder / "distances.png")
    trained = [row for row in ours if row.trainings]
    if trained:
        curves = {row.name: [training["curve"] for training in row.trainings] for row in trained}
        plot.save(plot.figure_curves(curves), folder / "curves.png")
    if all(e.lfp for row in rows for e in row.evaluations):
        _draw_electrodes(folder, tree, {row.name: row.evaluations for row in rows}, grey)
    for row in trained:
        if row.trainings[0].get("diversity"):
            figure = plot.figure_experts(row.trainings[0]["diversity"], row.name)
            plot.save(figure, folder / f"experts-{row.name}.png")
