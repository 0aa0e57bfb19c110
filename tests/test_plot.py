"""Figures show the data they are given, for ordinary and for awkward cells."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import EventCollection, LineCollection
from matplotlib.figure import Figure

from dendrotwin import plot
from dendrotwin.cell.tree import REGIONS, Events, Injection, Tree
from dendrotwin.recording import Recording

RNG = np.random.default_rng(3)
# Region, parent, start and end [um]: a cell that lies on its side, with its apical tree along x.
PARTS = (
    ("soma", -1, (-10, 5, 0), (10, 5, 0)),
    ("basal", 0, (-10, 5, 0), (-60, 5, 20)),
    ("basal", 1, (-60, 5, 20), (-100, 25, 30)),
    ("trunk", 0, (10, 5, 0), (150, 5, 0)),
    ("oblique", 3, (80, 5, 0), (100, 60, 0)),
    ("tuft", 3, (150, 5, 0), (220, 50, 0)),
    ("tuft", 3, (150, 5, 0), (220, -60, 0)),
    ("axon", 0, (0, 5, 0), (-40, 5, 0)),
)


def small_tree(*regions: str) -> Tree:
    """The cell of PARTS, or the part of it in these regions."""
    keep = [i for i, part in enumerate(PARTS) if not regions or part[0] in regions]
    n = len(keep)
    ends = np.array([PARTS[i][2:] for i in keep], dtype=float)
    ints = np.array(
        [[keep.index(PARTS[i][1]) if PARTS[i][1] in keep else -1, REGIONS.index(PARTS[i][0])] for i in keep]
    )
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    diameter = np.where(ints[:, 1] == 0, 20.0, 1.5)
    ones = np.ones(n)
    return Tree(
        parent=ints[:, 0].astype(np.int32),
        region=ints[:, 1].astype(np.int32),
        section=np.arange(n, dtype=np.int32),
        section_names=tuple(f"s{i}" for i in keep),
        x=0.5 * ones,
        ends_um=ends,
        length_um=length,
        diameter_um=diameter,
        area_um2=np.pi * diameter * length,
        distance_um=np.linalg.norm(ends.mean(axis=1), axis=1),
        axial_parent=ints[:, 0].astype(np.int32),
        axial_uS=ones,
        capacitance_nF=ones,
        leak_uS=ones,
        leak_mV=-70.0 * ones,
        ih_uS=0.0 * ones,
        ih_mV=-45.0 * ones,
        v_init_mV=-70.0,
        synapses=(),
        input_compartment=np.zeros(0, dtype=np.int32),
        input_synapse=np.zeros(0, dtype=np.int32),
    )


def potentials(tree: Tree, steps: int = 50) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RNG.normal(-65.0, 5.0, (steps, tree.n)).astype(np.float32)


def recording(tree: Tree) -> Recording:
    none = np.zeros(0, dtype=np.int32)
    return Recording(tree, potentials(tree), Events(none, none), np.array([12.3, 30.1]), "x")


def lines_of(figure: Figure, axes: int) -> LineCollection:
    (lines,) = [c for c in figure.axes[axes].collections if isinstance(c, LineCollection) and len(c.get_segments()) > 0]
    return lines


def panel(figure: Figure, title: str) -> LineCollection:
    (axes,) = [i for i, a in enumerate(figure.axes) if a.get_title(loc="left") == title]
    return lines_of(figure, axes)


CONTACTS_UM = np.column_stack([np.full(6, 40.0), np.full(6, 30.0), np.linspace(-100.0, 400.0, 6)])
ALL_TREES = {
    "whole": (),
    "no apical": ("soma", "basal", "axon"),
    "one dendrite, nothing above": ("soma", "trunk"),
    "soma alone": ("soma",),
    "no soma": ("basal",),
}


@pytest.mark.parametrize("regions", ALL_TREES.values(), ids=ALL_TREES)
def test_every_figure_draws_any_tree_and_labels_its_axes(
    regions: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot.style, "DPI", 40)  # for speed
    tree = small_tree(*regions)
    trial = recording(tree)
    ev = RNG.uniform(0.5, 1.0, tree.n)
    figures = {
        "traces": plot.figure_traces(tree, trial.v_mV, potentials(tree)),
        "morphology": plot.figure_morphology(tree, ev, "EV (1)"),
        "range": plot.figure_morphology(tree, np.ones(tree.n), "RMSE (mV)", limits=None),
        "soma": plot.figure_soma(trial, trial.v_mV[:, 0], RNG.random(50), 0.4, np.array([12.5])),
        "no spikes": plot.figure_soma(trial, trial.v_mV[:, 0], None, 0.4, np.zeros(0), (10, 20)),
        "errors": plot.figure_errors(tree, {"twin": ev, "mean": 0.0 * ev}),
        "electrodes": plot.figure_electrodes(tree, CONTACTS_UM, {"silent": {"twin": RNG.uniform(0.5, 1.0, 6)}}),
        "training": plot.figure_training([{"step": 1, "training": 0.0, "validation": -1.0}]),
        "distributions": plot.figure_distributions(tree, {"a": ev, "b": ev - 1.0}, {"a": ev, "b": 9.0 * ev}, ["b"]),
        "cells": plot.figure_cells(tree, {"a": ev, "b:c=1": ev - 1.0, "none": np.nan * ev}),
        "distances": plot.figure_distances(tree, {"a": ev, "b": ev - 9.0}),
        "curves": plot.figure_curves({"a": [[{"minutes": 0.1, "training": 2.0, "validation": 1.0}]] * 2}),
        "experts": plot.figure_experts(
            [{"step": 5, "distances": [[0.0, 1.0], [1.0, 0.0]], "determinant": -1.0, "permanent": 1.0}], "whose"
        ),
    }
    for name, figure in figures.items():
        labels = [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
        written = [label for label in labels if label]
        assert written, name
        assert all("(" in label for label in written), (name, written)
        plot.save(figure, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == len(figures)


@pytest.mark.parametrize("regions", [(), ("soma",)], ids=["whole", "soma alone"])
def test_pages_draw_any_tree_and_label_their_axes(
    regions: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot.style, "DPI", 40)
    tree = small_tree(*regions)
    trial = recording(tree)
    ev = RNG.uniform(0.5, 1.0, tree.n)
    figures = {
        "paper 1": plot.figure_paper_1(
            tree,
            trial.events,
            {0: plot.TracePair("here", ev[:1], ev[:1], "EV 1")},
            np.array([[50.0, 0.0]]),
            [plot.TracePair("above", ev[:1], ev[:1])],
            plot.Snapshot(1, trial.v_mV[0], trial.v_mV[1], 3),
            (0, 1),
        ),
        "paper 2": plot.figure_paper_2(
            tree,
            {"a": [[{"minutes": 0.1, "validation": 1.0}]]},
            {"a": ev, "b": ev - 1.0},
            {"a": [0.9, 1.0], "b": [0.5]},
        ),
        "paper 3": plot.figure_paper_3(
            tree,
            {"x": Injection(np.array([0]), np.zeros((50, 1)))},
            {"here": 0},
            [trial.v_mV],
            [potentials(tree)],
            0,
            3,
        ),
    }
    for name, figure in figures.items():
        every = [*figure.axes, *(axes for part in figure.subfigs for axes in part.axes)]
        labels = [label for axes in every for label in (axes.get_xlabel(), axes.get_ylabel()) if label]
        assert len(labels) >= 3, name
        assert all("(" in label for label in labels), (name, labels)
        plot.save(figure, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_numeric_axes_of_the_traces_have_labels_with_units() -> None:
    tree = small_tree()
    figure = plot.figure_traces(tree, potentials(tree), potentials(tree), start_ms=500)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_ylabel() for axes in panels] == ["V (mV)", "V (mV)", "ΔV (mV)"]
    assert panels[-1].get_xlabel() == "time (ms)"
    assert panels[0].get_ylim() == panels[1].get_ylim()
    low, high = panels[2].get_ylim()
    assert low == -high
    assert panels[2].get_xlim() == (500.0, 550.0)


def test_traces_show_every_compartment_in_order_of_height() -> None:
    tree = small_tree()
    true, predicted = potentials(tree), potentials(tree)
    figure = plot.figure_traces(tree, true, predicted)
    order = np.argsort(plot.height_um(tree), kind="stable")
    for title, v in (("true", true), ("predicted", predicted), ("predicted - true", predicted - true)):
        lines = panel(figure, title)
        drawn = np.array([segment[:, 1] for segment in lines.get_segments()])
        np.testing.assert_allclose(drawn, v.T[order], atol=1e-4)
        np.testing.assert_allclose(np.asarray(lines.get_array()), plot.height_um(tree)[order])
    assert len(lines_of(figure, 0).get_segments()) == tree.n


def test_the_apical_tree_points_up_and_lengths_are_kept() -> None:
    tree = small_tree()
    ends, height = plot.project(tree), plot.height_um(tree)
    apical = tree.in_region("oblique", "trunk", "tuft")
    mean = tree.length_um[apical] @ ends[apical].mean(axis=1)
    assert abs(mean[0]) < 1e-9 * mean[1]
    assert height[tree.in_region("tuft")].min() > height[tree.in_region("trunk")].max() > 0.0 > height[1]
    np.testing.assert_allclose(np.linalg.norm(ends[3, 1] - ends[3, 0]), tree.length_um[3], rtol=1e-3)
    turned = dataclasses.replace(tree, ends_um=tree.ends_um[:, :, [2, 0, 1]] + 1000.0)
    np.testing.assert_allclose(plot.height_um(turned), height, atol=1e-9)


def test_without_apical_dendrites_the_cell_is_seen_as_it_lies() -> None:
    tree = small_tree("soma", "basal")
    np.testing.assert_allclose(plot.project(tree)[1], tree.ends_um[1, :, :2] - [0.0, 5.0])


def test_nan_is_grey_on_the_cell_and_left_out_beside_it() -> None:
    tree = small_tree()
    ev = np.linspace(-1.0, 0.9, tree.n)
    ev[2] = np.nan
    figure = plot.figure_morphology(tree, ev, "EV (1)")
    lines = lines_of(figure, 0)
    lines.update_scalarmappable()
    colours = np.asarray(lines.get_colors())
    grey = np.flatnonzero(np.ptp(colours[:, :3], axis=1) == 0.0)
    assert grey.tolist() == [2]
    points = np.concatenate([np.column_stack(line.get_data()) for line in figure.axes[1].lines])
    assert len(points) == tree.n - 1
    expected = np.sort(np.clip(ev[np.isfinite(ev)], 0.0, 1.0))
    np.testing.assert_allclose(np.sort(points[:, 1].astype(float)), expected)
    below = int((ev < 0.0).sum())
    assert figure.axes[1].get_title(loc="right") == f"{below} of {tree.n} below 0"


def test_all_nan_is_drawn(tmp_path: Path) -> None:
    tree = small_tree()
    nothing = np.full(tree.n, np.nan)
    plot.save(plot.figure_morphology(tree, nothing, "EV (1)", limits=None), tmp_path / "morphology.png")
    plot.save(plot.figure_errors(tree, {"twin": nothing}), tmp_path / "errors.png")
    assert len(list(tmp_path.iterdir())) == 2


def test_errors_count_what_lies_off_the_axis_and_what_is_missing() -> None:
    tree = small_tree()
    ev = np.full(tree.n, 0.9)
    ev[1], ev[5], ev[7] = -0.51, np.nan, -0.5
    figure = plot.figure_errors(tree, {"mean": ev}, low=-0.5)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "mean\n1 without EV" in texts
    assert [text for text in texts if "off axis" in text] == ["0.195 (1 of 2 off axis)"]
    dots = sum(len(np.atleast_1d(line.get_xdata())) for line in figure.axes[0].lines if line.get_marker() == "o")
    assert dots == tree.n - 2
    assert figure.axes[0].get_xlim() == (-0.5, 1.0)


def test_electrodes_show_every_contact_and_say_what_lies_off_the_axis() -> None:
    good, bad = np.linspace(0.5, 1.0, 6), np.array([0.1, -3.25, np.nan, -0.2, 0.3, -40.0])
    ve = {"silent": {"twin": good, "cable": bad}, "firing": {"twin": good, "cable": good}}
    figure = plot.figure_electrodes(small_tree(), CONTACTS_UM, ve, grey=["cable"])
    cell, silent, firing = figure.axes
    assert [t.get_text() for t in silent.texts] == ["-3.25", "-40"]
    assert not firing.texts
    dots = [line for line in silent.lines if len(line.get_xdata()) == 1]
    assert sorted(float(d.get_xdata()[0]) for d in dots if d.get_marker() == "o") == pytest.approx(good)
    heights = np.array([float(d.get_ydata()[0]) for d in dots if d.get_marker() == "o"])
    assert np.abs(heights - CONTACTS_UM[:, 2]).max() < 50.0  # in the lane of its contact
    (contacts,) = cell.lines
    assert contacts.get_xdata() == pytest.approx(50.0)  # seen from the side: 40 and 30 um are 50 um away


def test_soma_shows_the_window_and_both_spike_trains() -> None:
    tree = small_tree()
    trial, probability = recording(tree), RNG.random(50)
    figure = plot.figure_soma(trial, trial.v_mV[:, 0] + 1.0, probability, 0.7, np.array([31.5]), (20, 45))
    ticks, soma, lower = figure.axes
    rows = [list(row.get_positions()) for row in ticks.collections if isinstance(row, EventCollection)]
    assert rows == [[12.3, 30.1], [31.5]]
    true, predicted = (np.column_stack(line.get_data()).astype(float) for line in soma.lines)
    np.testing.assert_allclose(true[:, 0], np.arange(21, 46))
    np.testing.assert_allclose(predicted[:, 0], np.arange(21, 46))
    np.testing.assert_allclose(true[:, 1], trial.v_mV[20:45, 0])
    np.testing.assert_allclose(predicted[:, 1] - true[:, 1], 1.0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(lower.lines[0].get_ydata(), dtype=float), probability[20:45])
    assert soma.get_xlim() == (20.0, 45.0)


def test_distributions_show_every_compartment_and_count_what_is_below() -> None:
    tree = small_tree()
    ev = np.linspace(-0.9, 0.9, tree.n)
    ev[1] = np.nan
    figure = plot.figure_distributions(tree, {"a": ev, "b": ev}, {"a": 1.0 - ev, "b": 2.0 - ev})
    above, below = figure.axes
    dots = [np.asarray(line.get_ydata()) for line in above.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.sort(np.concatenate(dots)), np.sort(np.tile(ev[ev >= -0.5], 2)))
    counted = sum(int(text.get_text().split()[0]) for text in above.texts)
    assert counted == 2 * int((ev < -0.5).sum())
    rmse = np.sort(np.concatenate([1.0 - ev, 2.0 - ev])[np.isfinite(np.tile(ev, 2))])
    dots = [np.asarray(line.get_ydata()) for line in below.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(np.sort(np.concatenate(dots)), rmse)
    assert above.get_ylim() == (-0.5, 1.0)


def test_distances_show_every_compartment_of_every_predictor() -> None:
    tree = small_tree()
    ev = np.linspace(-0.9, 0.9, tree.n)
    (axes,) = plot.figure_distances(tree, {"a": ev, "b": ev + 0.05}).axes
    points = np.concatenate([np.column_stack(line.get_data()) for line in axes.lines if line.get_linestyle() == "None"])
    expected = np.column_stack([np.tile(tree.distance_um, 2), np.maximum(np.concatenate([ev, ev + 0.05]), -0.5)])
    np.testing.assert_allclose(points[np.lexsort(points.T)].astype(float), expected[np.lexsort(expected.T)])
    below = int((ev < -0.5).sum() + (ev + 0.05 < -0.5).sum())
    assert axes.get_title(loc="right") == f"{below} of {2 * tree.n} points below -0.5"


def test_more_predictors_than_named_colours_still_have_one_each() -> None:
    names = [f"n{i}" for i in range(10)]
    colours = plot.style.series_colours([*names, "linear"], ["linear"])
    assert list(colours) == [*names, "linear"]
    assert len(set(colours.values())) == 11


def test_training_marks_the_best_point_on_a_log_axis() -> None:
    loss = [1.0, 0.3, 0.1, 0.2]
    figure = plot.figure_training([{"step": 10 * i, "training": v / 2, "validation": v} for i, v in enumerate(loss)])
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert np.asarray(axes.lines[-1].get_xydata(), dtype=float).tolist() == [[20.0, 0.1]]
