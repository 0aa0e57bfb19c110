"""The figures of the paper show what NEURON recorded, and what the twin and other ways to the same numbers give."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dendrotwin import TWINS, load, plot, signals
from dendrotwin.benchmark import paper_figures
from dendrotwin.errors import InputError
from dendrotwin.evaluation.metrics import VoltageErrors
from dendrotwin.plot.style import TRUE, TWIN
from dendrotwin.recording.trials import index_trials, read_trial

RECORDING, BAC = TWINS / "l5pc.recording.h5", TWINS / "l5pc.bac.h5"


def trace(axes: Axes, colour: str) -> np.ndarray:
    """What is drawn in a colour over time, (steps, 2)."""
    (line,) = [line for line in axes.lines if line.get_color() == colour]
    return np.asarray(line.get_xydata(), dtype=float)


def titled(figure: Figure) -> dict[str, Axes]:
    """Axes by the title at their left."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


@pytest.fixture(scope="module")
def first() -> Figure:
    pytest.importorskip("lfpykit")
    return paper_figures.figure_1()


def test_potentials_are_those_of_the_files_and_their_errors_those_of_a_report(first: Figure) -> None:
    twin = load("l5pc")
    _, (trial,) = index_trials(RECORDING)
    true = read_trial(trial, twin.tree)
    predicted, _ = twin.predict_batch([true.events], true.duration_ms)
    errors = VoltageErrors(twin.tree.n)
    errors.add(true.v_mV, predicted[0])
    panels = titled(first)
    soma = panels["d  soma"]
    times, v_mV = trace(soma, TRUE).T
    steps = (times - 1.0).astype(int)
    np.testing.assert_allclose(v_mV, true.v_mV[steps, twin.tree.soma])
    np.testing.assert_allclose(trace(soma, TWIN)[:, 1], predicted[0][steps, twin.tree.soma])
    assert soma.get_title(loc="right") == f"EV {errors.explained_variance()[twin.tree.soma]:.3f}"
    assert len([name for name in panels if name[:1] in "abcde"]) == 5
    begin, end = soma.get_xlim()
    assert ((true.spikes_ms > begin) & (true.spikes_ms < end)).sum() == 5  # a stretch worth drawing


def test_the_lfp_is_that_of_the_recording_at_the_electrodes_that_are_drawn(first: Figure) -> None:
    """By the streaming way from the file, the cell in its own coordinates; electrodes found from those on the page."""
    tree, _ = index_trials(RECORDING)
    (cell,) = [axes for axes in first.axes if axes.get_title() == "input of 3 ms"]
    drawn = np.array([line.get_xydata()[0] for line in cell.lines if line.get_marker() == "s"], dtype=float)
    assert len(drawn) == 6
    assert np.ptp(drawn[:, 0]) == 0.0
    assert [drawn[0, 1], drawn[-1, 1]] == [plot.height_um(tree).max(), plot.height_um(tree).min()]
    middles = tree.ends_um.mean(axis=1)
    # The page's plane in space, from where the compartments are on both.
    on_page = plot.project(tree).mean(axis=1)
    to_page = np.linalg.lstsq(middles - middles[tree.soma], on_page - on_page[tree.soma], rcond=None)[0]
    places = middles[tree.soma] + drawn @ to_page.T
    lfp = signals.lfp(signals.PlacedCell(RECORDING, as_built=True, position_um=tuple(middles[tree.soma])),
                      signals.point_electrodes(places)).values * 1e3  # fmt: skip
    panels = [axes for name, axes in titled(first).items() if name[:1] in "123456"]
    for k, axes in enumerate(panels):
        times, values = trace(axes, TRUE).T
        np.testing.assert_allclose(values, lfp[(times - 1.0).astype(int), k], atol=1e-6)
        assert axes.get_title(loc="right").startswith("VE ")


def test_without_lfpykit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lfpykit", None)
    with pytest.raises(InputError, match=r"needs lfpykit, which is not installed; pip install 'dendrotwin\[signals\]'"):
        paper_figures.figure_1()


def test_only_both_currents_make_a_calcium_spike_in_neuron() -> None:
    tree, trials = index_trials(BAC)
    recordings = [read_trial(trial, tree) for trial in trials]
    assert [len(r.spikes_ms) for r in recordings] == [1, 0, 3]
    for recording, currents in zip(recordings, ([True, False], [False, True], [True, True]), strict=True):
        assert recording.injection is not None
        soma, apical = recording.injection.compartment
        assert soma == tree.soma
        assert tree.distance_um[apical] == pytest.approx(620.0, abs=15.0)
        assert recording.injection.current_nA.any(axis=0).tolist() == currents
        assert ((recording.v_mV[:, apical] > -40.0).sum() > 20) == all(currents)


def test_soma_and_dendrite_of_all_three_trials_are_drawn() -> None:
    figure = paper_figures.figure_3()
    tree, trials = index_trials(BAC)
    recordings = [read_trial(trial, tree) for trial in trials]
    panels = np.array(figure.axes[:9]).reshape(3, 3)
    for column, recording in enumerate(recordings):
        assert recording.injection is not None
        for row, compartment in zip((2, 1), recording.injection.compartment, strict=True):
            times, v_mV = trace(panels[row, column], TRUE).T
            np.testing.assert_allclose(v_mV, recording.v_mV[(times - 1.0).astype(int), compartment])
        assert panels[0, column].get_ylim() == panels[0, 0].get_ylim()
    (moment,) = {
        float(line.get_xdata()[0]) for axes in panels[:, 2] for line in axes.lines if len(line.get_xdata()) == 2
    }
    assert recordings[2].v_mV[int(moment) - 1, recordings[2].injection.compartment[1]] > -40.0
    cells = [axes for axes in figure.axes if axes.get_title() in ("NEURON", "twin")]
    drawn = np.asarray(cells[0].collections[0].get_array())
    np.testing.assert_allclose(drawn, recordings[2].v_mV[int(moment) - 1])
    ours, _ = load("l5pc").predict_batch(
        [recordings[2].events], recordings[2].duration_ms, injections=[recordings[2].injection]
    )
    np.testing.assert_allclose(np.asarray(cells[1].collections[0].get_array()), ours[0, int(moment) - 1], atol=1e-3)
    assert not np.allclose(drawn, ours[0, int(moment) - 1], atol=1e-2)
