"""How predictors were trained: loss over training, and how different the experts of a mixture become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from dendrotwin.plot.style import BASELINE, STYLE, TWIN, Real, colour_scale, legend_above, series_colours


@matplotlib.rc_context(STYLE)
def figure_training(curve: Sequence[Mapping[str, float]], unit: str = "normalised") -> Figure:
    """Loss over training: on the last training batch and on the validation trials, the best one marked.

    Args:
        curve: points with `step` (updates of the optimiser), and the losses `training` and `validation`.
        unit: of the loss.
    """
    step = np.array([point["step"] for point in curve])
    figure = Figure(figsize=(10.0, 4.5), layout="constrained")
    axes = figure.subplots()
    values = {name: np.array([point[name] for point in curve], dtype=np.float64) for name in ("training", "validation")}
    axes.plot(step, values["training"], color=BASELINE, linewidth=1.0, label="training")
    axes.plot(step, values["validation"], color=TWIN, linewidth=2.0, label="validation")
    if np.isfinite(values["validation"]).any():
        best = int(np.nanargmin(values["validation"]))
        label = f"best: {values['validation'][best]:.4g} at step {step[best]:,}"
        axes.plot(step[best], values["validation"][best], "o", color=TWIN, markersize=8, label=label, clip_on=False)
    _log_if_wide(axes, np.concatenate(list(values.values())))
    axes.set_xlabel("step (optimiser updates)")
    axes.set_ylabel(f"loss ({unit})")
    axes.legend(loc="upper right")
    return figure


def _log_if_wide(axes: Axes, values: Real) -> None:
    """A logarithmic axis, where all values are positive and spread over more than a factor of three."""
    every = values[np.isfinite(values)]
    if len(every) and every.min() > 0.0 and every.max() > 3.0 * every.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if every.max() < 100.0 * every.min() else (1.0,)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def draw_curves(
    axes: Axes, curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], part: str, colours: Mapping[str, str]
) -> None:
    """Draw the loss of every predictor and seed over the time of training.

    Args:
        axes: where.
        curves: of each predictor one curve for each seed; points with `minutes` and `part`.
        part: "training", on the training windows, or "validation", on the validation trials.
        colours: of each predictor.
    """
    every = []
    for name, seeds in curves.items():
        for curve in seeds:
            loss = np.array([point[part] for point in curve], dtype=np.float64)
            dots: Any = {"marker": "o", "markersize": 3} if len(curve) < 20 else {}
            axes.plot([point["minutes"] for point in curve], loss, color=colours[name], linewidth=1.3, **dots)
            every.append(loss)
    _log_if_wide(axes, np.concatenate(every))
    axes.set_xlim(left=0.0)
    axes.set_xlabel("time of training (min)")


@matplotlib.rc_context(STYLE)
def figure_curves(curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> Figure:
    """Loss over training, of every predictor and seed: on the training windows, and on the validation trials.

    Args:
        curves: of each predictor one curve for each seed; points with `minutes`, `training` and `validation`.
    """
    colours = series_colours(list(curves))
    figure = Figure(figsize=(12.0, 5.5), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, part in zip(panels, ("training", "validation"), strict=True):
        draw_curves(axes, curves, part, colours)
        axes.set_title(part, loc="left")
    panels[0].set_ylabel("loss (normalised)")
    legend_above(figure, colours)
    return figure


@matplotlib.rc_context(STYLE)
def figure_experts(diversity: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """How different the outputs of a mixture's experts are: at the end of training, and over training.

    Args:
        diversity: points with `step`, the matrix `distances` (experts, experts), its `determinant` and `permanent`.
        title: of the figure, such as the predictor's name.
    """
    distances = np.array(diversity[-1]["distances"], dtype=np.float64)
    experts = len(distances)
    figure = Figure(figsize=(12.0, 5.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.1))
    matrix = figure.add_subplot(grid[:, 0])
    colours, norm = colour_scale((0.0, float(np.nanmax(distances, initial=0.0)) or 1.0))
    image = matrix.imshow(distances, cmap=colours, norm=norm)
    for i, j in np.ndindex(experts, experts):
        if experts <= 10:
            ink = "white" if norm(distances[i, j]) < 0.6 else "black"
            matrix.text(j, i, f"{distances[i, j]:.2g}", ha="center", va="center", color=ink, fontsize=10)
    ticks = range(experts)
    matrix.set_xticks(ticks, [str(k + 1) for k in ticks])
    matrix.set_yticks(ticks, [str(k + 1) for k in ticks])
    matrix.tick_params(length=0)
    matrix.set_xlabel("expert (number)")
    matrix.set_ylabel("expert (number)")
    matrix.set_title(f"after step {diversity[-1]['step']:,}", loc="left")
    figure.colorbar(image, ax=matrix, shrink=0.8).set_label("distance between outputs (1: the largest)")
    step = [point["step"] for point in diversity]
    first = None
    for row, name in enumerate(("determinant", "permanent")):
        axes = figure.add_subplot(grid[row, 1], sharex=first)
        values = np.array([point[name] for point in diversity], dtype=np.float64)
        axes.plot(step, values, color=TWIN, linewidth=2.0, marker="o" if len(step) < 20 else None, markersize=4)
        _log_if_wide(axes, values)
        axes.set_ylabel(f"{name} (1)")
        axes.tick_params(labelbottom=row == 1)
        first = first or axes
    axes.set_xlabel("step (optimiser updates)")
    return figure
