"""What a user sees first: names, errors of the kinds that Python has, and texts that fit a screen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dendrotwin
from dendrotwin import Events
from dendrotwin.errors import FileError, InputError, MissingPackageError
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.store import read_signals

SCREEN = 500  # characters


def test_the_names_of_the_package() -> None:
    assert {"Events", "Recording", "Tree", "Twin", "load", "twin_of"} <= set(dir(dendrotwin))
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
