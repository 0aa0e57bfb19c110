"""Command lines as people get them wrong: one line that says what is wrong and what to do, and exit status 2."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import dendrotwin
from dendrotwin.cli.base import ORDER
from dendrotwin.recording import write_recordings
from test_read_twin import command
from test_recording import recording, tree_with_inputs

# What a person would not understand.
JARGON = re.compile(
    r"Traceback|pydantic|Input should|validation error|tuple|NoneType|object at 0x|key=value|ValueError"
)
FIX = re.compile(r"; |--help says more|give |choose |choose|name |use |write |leave |correct |make |must |needs ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that command lines name, and `data`, a data set of one trial."""
    path = tmp_path_factory.mktemp("wrong")
    made = dataclasses.replace(recording(tree_with_inputs(), 700), injection=None)
    write_recordings(path / "r.h5", [made], {})
    (path / "data").mkdir()
    shutil.copy(path / "r.h5", path / "data" / "trial-000000.h5")
    (path / "empty").mkdir()
    shutil.copy(dendrotwin.TWINS / "l5pc" / "tree.h5", path / "tree.h5")
    shutil.copytree(dendrotwin.TWINS / "l5pc", path / "twin")
    shutil.copytree(dendrotwin.TWINS / "l5pc", path / "half")
    (path / "half" / "config.json").write_text("{}")
    (path / "empty.csv").touch()
    (path / "empty.h5").touch()
    (path / "words.csv").write_text("input,time\nsoma,soon\n")
    (path / "nan.csv").write_text("input,time\n0,nan\n")
    (path / "minus.csv").write_text("input,time\n-1,5\n")
    (path / "late.csv").write_text("input,time\n0,5000\n")
    (path / "e.csv").write_text("input,time\n0,5\n")
    (path / "current.csv").write_text("time,0\n0,nan\n")
    (path / "places.csv").write_text("recording,x,y,z\nr.h5,here,0,0\n")
    (path / "cell.py").write_text("x = 1\n")
    (path / "broken.py").write_text("x = (\n")
    np.savez(path / "arrays.npz", v=np.zeros(3))
    return path


PREDICT, BALL = "predict twin e.csv --out p.h5", "simulate ball_and_stick --out d"
TWIN, TRAIN, SIGNALS = "twin ball_and_stick --out t", "train data --out t", "signals r.h5 --out s.h5"
WRONG = [
    # No such command, argument or option; a value of another kind.
    ("frobnicate", "No such command"),
    ("predict", "Missing argument"),
    ("predict twin e.csv", "Missing option"),
    (f"{PREDICT} --length 3", "No such option"),
    (f"{PREDICT} --duration long", "give a number"),
    (f"{PREDICT} --duration 1 --duration 2", "given twice"),
    ("simulate ball_and_stick", "Missing option"),
    (f"{BALL} --trials many", "give a whole number"),
    (f"{BALL} --trials -3", "--trials': give at least 1"),
    (f"{BALL} --seed -1", "--seed': give at least 0"),
    ("twin ball_and_stick", "Missing option"),
    ("cells all", "unexpected extra argument"),
    ("doctor --now", "No such option"),
    ("download purkinje", "nothing to download"),
    # Units and ranges.
    (PREDICT, "give its seconds with --duration"),
    (f"{PREDICT} --duration 0", "cannot last 0 s"),
    (f"{PREDICT} --duration -1", "cannot last -1 s"),
    (f"{PREDICT} --duration nan", "cannot last nan s"),
    (f"{PREDICT} --duration 1e9", "cannot last 1e+09 s"),
    (f"{PREDICT} --duration 1 --time-unit h", "h"),
    ("predict twin late.csv --out p.h5 --duration 1", "at 5000 ms"),
    (f"{BALL} --dt 0.03", "must divide 1 ms"),
    (f"{BALL} --dt -1", "dt_ms = -1.0: give a number above 0"),
    (f"{BALL} --record-dt 2", "must divide 1 ms"),
    (f"{BALL} --rate-scale nan", "rate_scale = nan: give "),
    (f"{BALL} --protocol poisson --excitatory-hz -2", "excitatory_hz = -2.0: give at least 0"),
    (f"{BALL} --method euler", "method = euler: choose crank-nicolson or backward-euler"),
    (f"{BALL} --engine brian", "engine = brian: choose neuron or coreneuron"),
    (f"{BALL} --protocol white", "choose modulated or poisson"),
    (f"{BALL} --executor cloud", "choose local or dask"),
    (f"{BALL} --preset huge", "choose tiny, bench"),
    (f"{BALL} --option colour", "'colour' says no value; write NAME=VALUE"),
    (f"{BALL} --option =3", "'=3' says no value; write NAME=VALUE"),
    # Options that contradict each other.
    (f"{BALL} --preset tiny --trials 3", "leave them or it away"),
    (f"{BALL} --target-hz 5 --rate-scale 2", "leave --rate-scale"),
    (f"{BALL} --time-unit s", "are of --events"),
    ("predict twin r.h5 --out p.h5 --duration 1", "leave --duration away"),
    (f"{PREDICT} --duration 1 --feed-back", "leave --feed-back away"),
    ("figure paper-1 data --out f", "takes no folder"),
    ("figure paper-2 --out f", "name its folder"),
    (f"{SIGNALS} --subject species=rat", "name it with --nwb"),
    (f"{SIGNALS} --nwb s.h5", "files of their own"),
    ("import arrays.npz --out i.h5 --axial-ohm-cm 100", "leave --morphology"),
    # Names that there are not.
    ("simulate purkinje --out d", "no cell 'purkinje'"),
    ("twin purkinje --out t", "no cell 'purkinje'"),
    (f"{TWIN} --accuracy best", "accuracy = best: choose fast, standard or exact"),
    (f"{TWIN} --tolerance 0", "tolerance_mV = 0.0: give a number above 0"),
    ("predict nobody e.csv --out p.h5 --duration 1", "nobody is no twin"),
    ("figure paper-4 --out f", "choose paper-1, paper-2 or paper-3"),
    (f"{SIGNALS} --signal smell", "smell"),
    (f"{SIGNALS} --probe round", "round"),
    (f"{TRAIN} --arch transformer", "to train; choose elm, hard-sharing, mmoe, mmoeex, or name"),
    (f"{TRAIN} --balance fair", "balance = fair: choose equal, uncertainty or dwa"),
    (f"{TRAIN} --precision half", "precision = half: choose auto, "),
    (f"{TRAIN} --steps 0", "steps = 0: give at least 1"),
    (f"{TRAIN} --learning-rate nan", "learning_rate = nan: give a"),
    (f"{TRAIN} --warm-up 1", "warm_up = 1.0: give a number below 1"),
    (f"{TRAIN} --option channels", "'channels' says no value"),
    ("benchmark --data data --budget 1 --out b --archs tree", "no architecture 'tree'"),
    ("benchmark --data data --budget nan --out b", "budget"),
    # Files that are missing, empty, of another kind, or folders.
    ("predict twin nothing.csv --out p.h5 --duration 1", "nothing.csv"),
    ("predict twin empty.csv --out p.h5 --duration 1", "empty.csv"),
    ("predict twin words.csv --out p.h5 --duration 1", "every row needs two numbers"),
    ("predict twin nan.csv --out p.h5 --duration 1", "nan.csv"),
    ("predict twin minus.csv --out p.h5 --duration 1", "input -1"),
    ("predict twin empty.h5 --out p.h5", "empty.h5"),
    ("predict twin tree.h5 --out p.h5", "tree.h5 holds the tree of a cell and no trial"),
    ("predict twin r.h5 --out p.h5", "of another cell than the twin's"),
    ("predict twin empty --out p.h5", "holds no recording"),
    ("predict twin e.csv --out p.csv --duration 1", "name a file that ends in .h5"),
    ("predict twin e.csv --out empty --duration 1", "name a file that ends in .h5"),
    ("predict r.h5 e.csv --out p.h5 --duration 1", "r.h5 is no twin"),
    ("predict empty e.csv --out p.h5 --duration 1", "empty is no twin"),
    ("predict half e.csv --out p.h5 --duration 1", "half has format version None"),
    (f"{PREDICT} --duration 1 --inject current.csv", "current"),
    (f"{PREDICT} --duration 1 --architecture cell.py", "leave that away"),
    ("signals tree.h5 --out s.h5", "holds the tree of a cell"),
    ("signals data --out s.h5", "is a folder; name a recording in it"),
    ("signals --out s.h5", "there is no recording"),
    (f"{SIGNALS} --trial 3", "holds trials 0 to 0, not 3"),
    ("signals --places places.csv --out s.h5", "places.csv"),
    ("plot r.h5 twin --out f", "twin"),
    ("plot r.h5 r.h5 --out f --trial 7", "choose --trial below"),
    ("plot r.h5 r.h5 --out f --start 700", "must lie before the end at 700 ms"),
    ("plot r.h5 tree.h5 --out f", "holds the tree of a cell"),
    ("evaluate twin nothing --out e", "nothing does not exist"),
    ("evaluate r.h5 data --out e", "r.h5 is no twin"),
    ("evaluate twin data --out e", "of another cell"),
    ("train nothing --out t", "nothing does not exist"),
    ("train data --out data", "is read, and cannot be written"),
    (f"{TRAIN} --arch cell.py", "defines no ARCHITECTURE"),
    (f"{TRAIN} --arch broken.py", "broken.py cannot be imported"),
    ("train tree.h5 --out t", "holds the tree of a cell"),
    ("twin cell.py --out t", "cell.py"),
    ("twin nothing.py --out t", "nothing.py"),
    ("network", "Missing argument"),
    ("network nothing.json --out n", "nothing.json does not exist"),
    ("network cell.py --out n", "cell.py"),
    ("network e.csv --out n --threads 0", "--threads"),
    ("network e.csv --out n --accuracy best", "accuracy"),
    ("network e.csv --out n --device tpu", "there is no device 'tpu'; give cpu, cuda, or cuda:1"),
    ("import nothing.npz --out i.h5", "nothing.npz"),
    ("import arrays.npz --out i.h5", "arrays.npz"),
    ("import r.h5 --out i.h5", "give --morphology FILE.swc"),
]


def test_there_are_many_and_of_every_command_that_can_go_wrong() -> None:
    assert len({line for line, _ in WRONG}) == len(WRONG) >= 60
    assert {line.split()[0] for line, _ in WRONG} >= set(ORDER) - {"demo"}


@pytest.mark.parametrize(("line", "words"), WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    said = command(*line.split())
    lines = said.errors.splitlines()
    assert said.status == 2, said.errors
    assert len(lines) == 1, said.errors
    assert lines[0].startswith("dendrotwin: ")
    assert words in lines[0]
    assert not JARGON.search(lines[0])
    assert FIX.search(lines[0])
    assert sorted(folder.rglob("*")) == before
