"""Synapses of a user's own: read from NEURON by what they do, or refused; and events between milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin.cell.stimuli import Modulated, Poisson, draw_events, trial_rng
from dendrotwin.cell.synapse import BLOCK_MV, Conductance
from dendrotwin.cell.tree import Events, Tree
from dendrotwin.cells import EXCITATORY, INHIBITORY, CellModel, Sections, load_cell
from dendrotwin.errors import CellError
from dendrotwin.neuron import compile
from dendrotwin.neuron.build import SYNAPSE_FILES, NeuronCell
from dendrotwin.neuron.synapses import read_synapses
from dendrotwin.neuron.trial import run_trial, run_trial_coreneuron
from dendrotwin.solver.coarse import coarse_cable

# A dual exponential whose pieces a test replaces; {q}: what it declares besides.
MOD = """
NEURON {{ POINT_PROCESS {name} NONSPECIFIC_CURRENT i RANGE gain, i {neuron} }}
PARAMETER {{ gain = 0.001 }}
ASSIGNED {{ v i {assigned} }}
STATE {{ a b c }}
INITIAL {{ a = 0 b = 0 c = 0 {initial} }}
BREAKPOINT {{ SOLVE s METHOD cnexp  i = {current} }}
DERIVATIVE s {{ {decay} }}
NET_RECEIVE(w) {{ {jump} }}
"""
PARTS = {
    "neuron": "", "assigned": "", "initial": "", "current": "gain * (b - a) * v",
    "decay": "a' = -a / 2  b' = -b / 20  c' = -c / 5", "jump": "a = a + w  b = b + w",
}  # fmt: skip
SQUARE = "gain * (b - a) / (1 + exp(-(v + 30) / 9))^2 * (v - 3)"
GOOD = {
    "Square": {"current": SQUARE},
    "Triple": {"current": "gain * (b + c - a) * (v - 3)", "jump": "a = a + w  b = b + 0.7 * w  c = c + 0.3 * w"},
}
BAD = {
    "Saturates": ({"jump": "a = a + w * (1 - a)  b = b + w"}, "does not add up its events"),
    "Plastic": ({"jump": "a = a + w * (1 - c)  b = b + w * (1 - c)  c = c + 0.2"}, "not in proportion to the weight"),
    "Depresses": (
        {"neuron": ", last", "assigned": "last", "initial": "last = -1e9",
         "jump": "LOCAL x  x = w * (1 - 0.5 * exp(-(t - last) / 100))  a = a + x  b = b + x  last = t"},
        "does not add up its events"),
    "Deaf": ({"jump": "a = a + 1  b = b + 1"}, "not in proportion to the weight"),
    "Chained": ({"decay": "a' = -a / 2  b' = (a - b) / 20  c' = -c / 5", "jump": "a = a + w"}, "depend on each other"),
    "ByVoltage": ({"decay": "a' = -a / 2  b' = -b / (20 + 0.1 * v)  c' = -c / 5"}, "by the potential"),
    "Power": ({"current": "gain * (b - a)^2 * v"}, "not linear in its states"),
    "Product": ({"current": "gain * (b - a + a * b) * v"}, "no sum over its states"),
    "Leaks": ({"current": "gain * (b - a + 0.01) * v"}, "a current without events"),
    "Pushes": ({"current": "gain * (b - a)"}, "does not reverse"),
    "Negative": ({"current": "gain * (a - b) * v"}, "turns negative"),
    "Chance": ({"neuron": "RANDOM dice"}, "POINTER or RANDOM dice"),
    "Wired": ({"neuron": "POINTER far", "assigned": "far"}, "POINTER or RANDOM far"),
    "Late": ({"jump": "if (flag == 0) { net_send(1, 1) } else { a = a + 1  b = b + 1 }"}, "do not change at an event"),
    "Salty": ({"neuron": "USEION ca WRITE ica", "assigned": "ica", "current": "0  ica = gain * b * v"},
              "uses the ions ca"),
}  # fmt: skip


def _mods(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, parts in (GOOD | {name: parts for name, (parts, _) in BAD.items()}).items():
        (folder / f"{name}.mod").write_text(MOD.format(name=name, **{**PARTS, **parts}))
    return sorted(folder.glob("*.mod"))


def _read_all(folder: Path) -> tuple[list[object], dict[str, str], list[str]]:
    compile.load_mechanisms(_mods(folder) + SYNAPSE_FILES)
    from neuron import h

    soma = h.Section(name="soma")
    exp2, exp, ampa, gaba = h.Exp2Syn(soma(0.5)), h.ExpSyn(soma(0.5)), h.DendrotwinAmpaNmda(soma(0.5)), 0
    exp2.tau1, exp2.tau2, exp2.e, exp.tau, exp.e = 0.5, 3.0, 5.0, 2.0, -75.0
    gaba, square, triple = h.DendrotwinGabaA(soma(0.5)), h.Square(soma(0.5)), h.Triple(soma(0.5))
    alpha = h.Exp2Syn(soma(0.5))
    alpha.tau1 = alpha.tau2 = 4.0  # which it makes almost equal
    square.gain = 0.002
    given = [exp2, (exp, 2e-3), ampa, gaba, (exp2, 0.5), (square, 3.0), triple, alpha, (exp, 1e-3)]
    read = read_synapses("x", given, -70.0, 34.0)
    found = [read.kinds, read.kind.tolist(), read.weight.tolist(), [p.hname() for p in read.points]]
    wrong = {name: getattr(h, name)(soma(0.5)) for name in BAD}
    stim, tied = h.NetStim(), h.ExpSyn(soma(0.5))
    own = h.NetCon(stim, tied)
    wrong |= {"clamp": h.IClamp(soma(0.5)), "stim": stim, "number": 3, "section": soma, "tied": tied}
    wrong |= {"weight": (exp, -1.0), "word": (exp, "x"), "alpha": h.AlphaSynapse(soma(0.5)), "off": h.ExpSyn()}
    messages = {}
    for name, one in wrong.items():
        try:
            read_synapses("x", [exp, one], -70.0, 34.0)
        except CellError as error:
            messages[name] = str(error)
    assert own.valid()
    return found, messages, [section.name() for section in h.allsec()]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], dict[str, str], list[str]]:
    return in_new_process(_read_all, tmp_path_factory.mktemp("read") / "mods")


def test_synapses_are_read_by_what_they_do(read: tuple[list[object], dict[str, str], list[str]]) -> None:
    kinds, kind, weight, points = read[0]
    assert kind == [0, 1, 2, 3, 0, 4, 5, 6, 1]
    assert weight == [1.0, 2e-3, 1.0, 1.0, 0.5, 3.0, 1.0, 1.0, 1e-3]
    assert points[4] == points[0] == "Exp2Syn[0]"
    assert [k.name for k in kinds] == [
        "Exp2Syn", "ExpSyn", "DendrotwinAmpaNmda", "DendrotwinGabaA", "Square", "Triple", "Exp2Syn 2",
    ]  # fmt: skip
    assert [k.excitatory for k in kinds] == [True, False, True, False, True, True, True]
    assert kinds[0].conductances == (Conductance(0.5, 3.0, 1.0, 5.0),)
    assert kinds[1].conductances == (Conductance(0.0, 2.0, 1.0, -75.0),)
    assert kinds[2].conductances == EXCITATORY.conductances
    assert kinds[3].conductances == INHIBITORY.conductances
    (square,) = kinds[4].conductances
    assert (square.rise_ms, square.decay_ms, square.e_mV) == (2.0, 20.0, 3.0)
    share = (1.0 + np.exp(-(BLOCK_MV + 30.0) / 9.0)) ** -2.0
    assert square.g_max_uS * square.normalisation() == pytest.approx(0.002 * share.max(), rel=1e-5)
    assert square.open_share(BLOCK_MV) == pytest.approx(share / share.max(), abs=1e-6)
    slow, quick = sorted(kinds[5].conductances, key=lambda g: -g.decay_ms)
    t = np.linspace(0.0, 50.0, 200)
    expected = 0.001 * (0.7 * np.exp(-t / 20) + 0.3 * np.exp(-t / 5) - np.exp(-t / 2))
    assert slow.time_course(t) + quick.time_course(t) == pytest.approx(expected, abs=1e-8)
    (alpha,) = kinds[6].conductances
    assert alpha.time_course(t) == pytest.approx(t / 4.0 * np.exp(1.0 - t / 4.0), abs=1e-3)


def test_reading_leaves_nothing(read: tuple[list[object], dict[str, str], list[str]]) -> None:
    assert read[2] == ["soma"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, message) for name, (_, message) in BAD.items()),
        ("clamp", "has no NET_RECEIVE"),
        ("stim", "is an artificial cell"),
        ("number", "synapse 1, 3, is no point process"),
        ("section", "is no point process"),
        ("tied", "gets events from a NetCon of its own"),
        ("weight", r"has the weight -1\.0; give a number above 0"),
        ("word", "could not convert"),
        ("alpha", "has no NET_RECEIVE"),
        ("off", "stands in no section"),
    ],
)
def test_what_no_twin_can_have_is_refused(
    read: tuple[list[object], dict[str, str], list[str]], name: str, message: str
) -> None:
    with pytest.raises(CellError, match=message):
        raise CellError(read[1][name])  # KeyError: it was taken


def _soma_only(away: str = "") -> CellModel:
    """A soma of two compartments with an axon, passive, with four inputs, two of them on one compartment."""

    def build() -> Sections:
        from neuron import h

        soma, axon = h.Section(name="soma"), h.Section(name="axon")
        soma.L, soma.diam, soma.nseg, axon.L, axon.diam, axon.nseg = 20, 20, 2, 100, 1, 3
        axon.connect(soma(1))
        for section in (soma, axon):
            section.insert("pas")
            section.g_pas = 1e-4
        other = h.Section(name="other")
        at = {"": axon(0.9), "end": axon(1.0), "other": other(0.5)}[away]
        excite, weak, inhibit, far = h.Exp2Syn(soma(0.9)), h.ExpSyn(soma(0.9)), h.ExpSyn(soma(0.1)), h.Square(at)
        excite.tau1, excite.tau2, inhibit.e, inhibit.tau, weak.tau = 2.0, 10.0, -80.0, 8.0, 5.0
        return Sections([soma], [], [], [axon], [(excite, 0.004), (weak, 0.002), (inhibit, 0.003), far])

    return CellModel("soma_only", "me", "MIT", build, list, v_init_mV=-70.0, celsius=34.0)


def _simulate_soma_only(folder: Path, away: str) -> tuple[Tree, Events, np.ndarray, list[float], list[int]]:
    files, model = _mods(folder), _soma_only(away)
    cell = NeuronCell(CellModel(**{**vars(model), "mechanisms": lambda: files}))
    events = Events.sort(np.array([0, 1, 2, 3, 0]), np.array([20.0, 60.0, 100.0, 140.0, 150.0]))
    v, _ = run_trial(cell, events, 250, 0.025)
    counts = [
        len(draw_events(cell.tree, protocol, 2000, trial_rng(0, 0)))
        for protocol in (Modulated(rate_scale=0.05), Poisson(excitatory_hz=5, inhibitory_hz=5))
    ]
    return cell.tree, events, v, [c.weight[0] for c in cell.connections], counts


def test_a_cell_without_dendrites_and_with_synapses_of_its_own(tmp_path: Path) -> None:
    tree, events, v, weights, counts = in_new_process(_simulate_soma_only, tmp_path / "mods", "")
    assert tree.input_compartment.tolist() == [1, 1, 0, 4]
    assert tree.input_weight.tolist() == weights == [0.004, 0.002, 0.003, 1.0]
    assert tree.input_synapse.tolist() == [0, 1, 2, 3]
    assert min(counts) > 10
    again = Tree.from_dict(tree.to_dict())
    assert (again.fingerprint(), again.synapses) == (tree.fingerprint(), tree.synapses)
    assert again.input_weight.tolist() == weights
    (cable,) = coarse_cable(tree, [events], 250)  # which knows all that there is in this cell
    assert np.ptp(v, axis=0).min() > 5.0
    assert np.sqrt(((cable - v) ** 2).mean()) < 0.03 * np.ptp(v)


@pytest.mark.parametrize(
    ("away", "message"), [("end", "Square"), ("other", "stands in other.0.5., which is none of the cell's sections")]
)
def test_a_synapse_that_stands_nowhere(tmp_path: Path, away: str, message: str) -> None:
    with pytest.raises(CellError, match=message):
        in_new_process(_simulate_soma_only, tmp_path / "mods", away)


# ------------------------------------------------------------------------------------ events between milliseconds


def _delayed(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    model = _soma_only()
    files = _mods(folder)
    cell = NeuronCell(CellModel(**{**vars(model), "mechanisms": lambda: files}))
    one = np.array([0])
    early, late = (run_trial(cell, Events.sort(one, np.array([t])), 20, 0.025, record_dt_ms=0.025)[0] for t in (0, 0.7))
    return early, late


def test_a_delay_of_a_part_of_a_millisecond(tmp_path: Path) -> None:
    early, late = in_new_process(_delayed, tmp_path / "mods")
    assert np.ptp(early[:, 1]) > 1.0
    assert np.abs(late[28:] - early[:-28]).max() < 1e-9
    assert np.abs(late[:28] + 70.0).max() < 1e-9


def _by_both_engines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cell = NeuronCell(load_cell("ball_and_stick"), coreneuron=True)
    rng = np.random.default_rng(0)
    events = Events.sort(rng.integers(0, cell.tree.n_inputs, 200), rng.uniform(0.0, 300.0, 200))
    core, _ = run_trial_coreneuron(cell, events, 300)
    bins, _ = run_trial(cell, Events.sort(events.input, events.bins()), 300)
    return run_trial(cell, events, 300)[0], core, bins


def test_coreneuron_delivers_events_at_the_same_times() -> None:
    neuron, core, bins = in_new_process(_by_both_engines)
    assert np.abs(neuron - core).max() < 0.02
    assert np.abs(neuron - bins).max() > 0.1
