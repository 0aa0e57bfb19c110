"""What a user sees first: names, errors of the kinds that Python has, and texts that fit a screen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dendrotwin
from dendrotwin import Events, Recording
from dendrotwin.errors import FileError, InputError, MissingPackageError
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.store import read_signals
from test_recording import tree_with_inputs

SCREEN = 500  # characters


def test_the_names_of_the_package() -> None:
    assert {"twin_of", "load", "simulate", "train", "predict", "evaluate", "Twin", "Recording", "CellModel"} <= set(
        dir(dendrotwin)
    )
    for name in dendrotwin.__all__:
        assert getattr(dendrotwin, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dendrotwin.nothing  # noqa: B018
    assert (Path(dendrotwin.__file__).parent / "py.typed").is_file()
    code = "import sys, dendrotwin; assert not {'torch', 'neuron', 'numba', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_texts_fit_a_screen() -> None:
    twin = dendrotwin.load("l5pc")
    tree, (trial,) = index_trials(dendrotwin.TWINS / "l5pc.recording.h5")
    recording = read_trial(trial, tree)
    for value in (twin, tree, recording, recording.events, twin.model.membrane, tree.synapses):
        assert len(repr(value)) < SCREEN, repr(value)
    assert "642 compartments" in repr(twin)
    pulse = dendrotwin.Injection(np.array([0, 7]), np.linspace(-0.5, 1.0, 200).reshape(100, 2))
    assert repr(pulse) == "Injection(compartment 0, 7; 100 ms, -0.5 to 1 nA)"
    assert "642 compartments" in repr(recording)
    assert repr(Events.sort(np.array([2, 1]), np.array([3.5, 1.0]))) == "Events(2 at 2 inputs from 1 to 3.5 ms)"


def test_the_table_of_inputs() -> None:
    twin = dendrotwin.load("l5pc")
    inputs, tree = twin.inputs, twin.tree
    assert len(inputs) == tree.n_inputs
    row = inputs[700]
    at = tree.input_compartment[700]
    assert (row["index"], row["compartment"], row["section"]) == (700, at, tree.section_names[tree.section[at]])
    assert row["kind"] == tree.synapses[tree.input_synapse[700]].name
    far = inputs["index"][inputs["distance_um"] > 800]
    assert set(tree.input_compartment[far]) == set(np.flatnonzero(tree.distance_um > 800))


def test_errors_are_of_the_kinds_that_python_has(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="drop it or lengthen the trial") as wrong:
        Events.sort(np.zeros(1), np.array([10.0])).check(1, 5)
    assert isinstance(wrong.value, InputError)
    with pytest.raises(OSError, match="does not exist"):
        index_trials(tmp_path / "none.h5")
    with pytest.raises(ImportError, match=r"pip install 'dendrotwin\[signals\]'") as missing:
        import_extra("no_such_module", "signals")
    assert isinstance(missing.value, MissingPackageError)
    with pytest.raises(FileError, match="holds no signals of format"):
        read_signals(dendrotwin.TWINS / "l5pc.recording.h5")


def test_what_comes_along() -> None:
    names = {path.name for path in dendrotwin.TWINS.iterdir()}
    assert names == {"l5pc", "l5pc-hay2011", "l5pc.recording.h5", "l5pc.bac.h5"}


def test_predict_takes_events_files_and_recordings(tmp_path: Path) -> None:
    """The same trial by all of them, and as the batch has it."""
    twin = dendrotwin.load("l5pc")
    events = Events.sort([700, 3, 3], [5.0, 2.5, 30.25])
    direct = twin.predict(events, duration_ms=50)
    v_mV, probability = twin.predict_batch([events], 50)
    assert np.array_equal(direct.v_mV, v_mV[0])
    assert np.array_equal(direct.spike_probability, probability[0])
    (tmp_path / "events.csv").write_text("input,time\n700,5\n3,2.5\n3,30.25\n")
    direct.save(tmp_path / "trial.h5")
    for source, given in ((tmp_path / "events.csv", {"duration_ms": 50}), (direct, {}), (tmp_path / "trial.h5", {})):
        again = dendrotwin.predict(twin, source, **given)
        assert np.array_equal(again.v_mV, direct.v_mV)
        assert again.trial_id == direct.trial_id
    for source, given, message in (
        (events, {}, "do not say how long"),
        (direct, {"duration_ms": 50}, "says itself how long"),
        (tmp_path / "trial.h5", {"trial": 1}, "holds 1 trials; choose trial below that"),
    ):
        with pytest.raises(InputError, match=message):
            twin.predict(source, **given)


def test_an_injection_is_passed_on() -> None:
    twin = dendrotwin.load("l5pc")
    pulse = dendrotwin.Injection(np.array([twin.tree.soma]), np.full((20, 1), 1.0))
    silence = Events.sort([], [])
    with_pulse, without = (twin.predict(silence, 20, injection=which) for which in (pulse, None))
    assert with_pulse.v_mV[-1, twin.tree.soma] > without.v_mV[-1, twin.tree.soma] + 5.0
    assert twin.predict(with_pulse).v_mV == pytest.approx(with_pulse.v_mV)


def test_a_twin_draws_a_trial() -> None:
    twin = dendrotwin.load("l5pc")
    recording = twin.predict(Events.sort([700, 3], [5.0, 2.5]), duration_ms=30)
    figure = twin.plot(recording, start_ms=5)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert {"soma,\nV (mV)", "all compartments,\nV (mV)", "input at\nheight (µm)"} <= set(labels)
    soma = next(axes for axes in figure.axes if axes.get_ylabel() == "soma,\nV (mV)")
    assert np.array_equal(soma.lines[0].get_ydata(), recording.v_mV[5:, twin.tree.soma])
    assert soma.get_xlim() == (5.0, 30.0)
    with pytest.raises(InputError, match="nothing from 30 to 30 ms of a trial of 30 ms to draw"):
        twin.plot(recording, start_ms=30)
    other = Recording(tree_with_inputs(), np.zeros((5, 3)), Events.sort([], []), np.zeros(0), "x")
    for use in (twin.plot, twin.predict):
        with pytest.raises(InputError, match="of another cell than the twin"):
            use(other)


def test_a_twin_keeps_its_card(tmp_path: Path) -> None:
    twin = dendrotwin.load("l5pc")
    twin.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text() == twin.readme
    assert dendrotwin.load(tmp_path / "copy").readme.startswith("# A twin of l5pc")
