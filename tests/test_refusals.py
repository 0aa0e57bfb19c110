"""What cannot be represented is refused in Python too: events, currents, durations and potentials that are none."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dendrotwin
from conftest import in_new_process
from dendrotwin.cell.stimuli import Modulated, Poisson, draw_events, read_events, read_injection, trial_rng
from dendrotwin.cell.tree import Events, Injection
from dendrotwin.errors import FileError, InputError
from dendrotwin.models import build_model, cable
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.solver.coarse import coarse_cable
from dendrotwin.support.memory import memory_bytes, require_memory
from dendrotwin.support.options import Options
from dendrotwin.training.checkpoint import Log
from dendrotwin.training.config import Training
from dendrotwin.training.run import Run
from test_recording import tree_with_inputs


@pytest.mark.parametrize(
    ("inputs", "times"),
    [
        ([0.7], [1.0]),
        ([0, 1], [1.0]),
        ([0], [1.0, 2.0]),
        ([0], [[1.0]]),
        ([1j], [1.0]),
        (["0"], [1.0]),
        ([True], [1.0]),
        ([2**70], [1.0]),
        ([0], [np.nan]),
        ([0], [None]),
        ([[0], [1, 2]], [1.0, 2.0]),
    ],
)
def test_events_that_are_none(inputs: Any, times: Any) -> None:
    with pytest.raises(InputError):
        Events.sort(inputs, times)


def test_events_of_whole_numbers_of_any_kind() -> None:
    for inputs in ([3.0, 0.0], np.array([3, 0], np.uint8), (3, 0)):
        events = Events.sort(inputs, [12.7, 5])
        assert (events.input.tolist(), events.time_ms.tolist()) == ([0, 3], [5.0, 12.7])
        assert (events.input.dtype, events.time_ms.dtype) == (np.int32, np.float64)
    assert len(Events.sort([], [])) == 0


@pytest.mark.parametrize(
    ("inputs", "times"),
    [
        (np.array([0, 1]), np.array([1.0])),
        (np.array([0.0]), np.array([1.0])),
        ([0], [1.0]),
        (np.array([[0]]), np.array([[1.0]])),
        (np.array([], int), np.array([1.0])),
    ],
)
def test_arrays_of_events_that_do_not_belong_together(inputs: Any, times: Any) -> None:
    with pytest.raises(InputError, match=r"make them with Events\.sort"):
        Events(inputs, times).check(5, 10)


def test_numbers_of_any_type_are_the_same_input(twin: dendrotwin.Twin) -> None:
    """In 8 bits the input after 127 is -128, a duration times the compartments overflows, and numba knows no halves."""
    expected = twin.predict(Events.sort([127], [3.5]), 20)
    for of_input, of_time in ((np.int8, np.float16), (np.uint64, np.float32), (np.int64, np.longdouble)):
        events = Events(np.array([127], of_input), np.array([3.5], of_time))
        found = twin.predict(events, np.int8(20))
        assert (events.input.dtype, events.time_ms.dtype) == (np.int32, np.float64)
        assert np.array_equal(found.v_mV, expected.v_mV)
        assert found.trial_id == expected.trial_id
    found, expected = (
        twin.predict(Events.sort([], []), 20, injection=Injection(np.array([3], whole), np.full((20, 1), 0.5, real)))
        for whole, real in ((np.uint64, np.float16), (np.int32, np.float64))
    )
    assert np.array_equal(found.v_mV, expected.v_mV)
    for inputs in (np.array([2**31 + 127]), np.array([2**63 + 127], np.uint64), np.array([-(2**40)])):
        with pytest.raises(InputError, match=r"names input -?\d+, the cell has inputs 0 to 1277"):
            twin.predict(Events(inputs, np.array([3.5])), 20)
    for current in (np.array([[10**400]] * 20, object), np.ones((20, 1)) * 1j, np.array([["1"]] * 20)):
        with pytest.raises(InputError, match="is an array of real numbers in nA"):
            twin.predict(Events.sort([], []), 20, injection=Injection(np.array([0]), current))


@pytest.mark.parametrize("duration", [-5, 0, 5.0, "5", True, None, float("nan"), 2**40])
def test_durations_that_are_none(duration: Any) -> None:
    tree = tree_with_inputs()
    with pytest.raises(InputError, match="a trial cannot last"):
        Events.sort([], []).check(1, duration)
    for protocol in (Modulated(), Poisson()):
        with pytest.raises(InputError, match="a trial cannot last"):
            draw_events(tree, protocol, duration, trial_rng(0, 0))


def test_currents_that_are_none() -> None:
    zero = np.zeros((5, 1))
    for compartment, current in (
        (np.array([[0]]), zero),
        (np.array([0.0]), zero),
        (np.array([0]), zero.astype(complex)),
        (np.array([0]), zero.tolist()),
        (np.array([0]), zero[:4]),
    ):
        with pytest.raises(InputError):
            Injection(compartment, current).check(3, 5)


def test_a_coarse_cable_beyond_all_numbers() -> None:
    injection = Injection(np.array([0]), np.where(np.arange(5)[:, None] < 2, 0.0, 1e300))
    with pytest.raises(InputError, match="potential of compartment 0 is no number at 3 ms in the coarse cable; inject"):
        coarse_cable(tree_with_inputs(), [Events.sort([], [])], 5, [injection])


def test_more_than_memory_holds_is_said_before_it_is_made(tmp_path: Path) -> None:
    require_memory(memory_bytes(), "all of it", "use less")
    with pytest.raises(InputError, match=r"GB, this machine has .* GB; use less"):
        require_memory(2 * memory_bytes() + 1, "twice as much", "use less")
    tree = tree_with_inputs()
    with pytest.raises(InputError, match="use lower rates"):
        draw_events(tree, Poisson(excitatory_hz=1e6), 2**31 - 1, trial_rng(0, 0))
    path = tmp_path / "current.csv"
    path.write_text("time,0" + ",1" * 5000 + "\n0,1" + ",1" * 5000 + "\n")
    with pytest.raises(InputError, match="inject into fewer compartments"):
        read_injection(path, 2**31 - 1)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00v\x00{", b"input,time\n0,1\n"]
)
def test_npz_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="must be an npz file"):
        read_events(path)
    with pytest.raises(InputError, match="must be an npz file"):
        read_injection(path, 10)


def test_npz_arrays_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for inputs, times in (([1j], [1.0]), (["0"], [1.0]), (0, 1.0), ([0.5], [1.0]), ([0, 1], [1.0])):
        np.savez(path, input=inputs, time=times)
        with pytest.raises(InputError, match=r"x\.npz: "):
            read_events(path)
    for compartment, current in ((0, [[1.0]]), ([[0]], [[1.0]]), ([np.inf], [[1.0]]), ([1e30], [[1.0]]), ([0], [1.0])):
        np.savez(path, compartment=compartment, current_nA=current)
        with pytest.raises(InputError, match=r"x\.npz: "):
            read_injection(path, 10)


@pytest.mark.parametrize(
    "content",
    [
        b"input,time\n0," + b"1" * 200_000 + b"\n",
        "input,time\n0,1\n".encode("utf-16"),
        b"input,time\n0,\xff\n",
        b"input,time\n\x00,1\n",
        b"input,time\n0,1e999\n",
        b"\n\n",
        b"",
    ],
)
def test_csv_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"events\.csv"):
        read_events(path)


@pytest.mark.parametrize("name", ["9" * 20, "9" * 400, "9" * 5000, "soma", "-" + "9" * 12])
def test_compartments_that_are_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "current.csv"
    path.write_text(f"time,{name}\n0,0.1\n")
    with pytest.raises(InputError, match="compartments are whole numbers"):
        read_injection(path, 10)


@pytest.fixture(scope="module")
def twin() -> dendrotwin.Twin:
    return dendrotwin.load("l5pc")


@pytest.mark.parametrize(
    "given",
    [
        {"chunk_ms": -1},
        {"chunk_ms": 0},
        {"chunk_ms": 1.5},
        {"duration_ms": -5},
        {"duration_ms": 5.0},
        {"events": Events.sort([], [])},
        {"events": [None]},
        {"injections": [None, None]},
        {"true_mV": np.zeros((1, 5, 642))},
    ],
)
def test_what_predict_batch_cannot_take(twin: dendrotwin.Twin, given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        twin.predict_batch(**{"events": [Events.sort([], [])], "duration_ms": 5, **given})


def test_more_than_memory_holds_is_not_predicted(twin: dendrotwin.Twin) -> None:
    with pytest.raises(InputError, match=r"this machine has .* GB"):
        twin.predict(Events.sort([], []), 2**31 - 1)


def test_a_long_trial_goes_piece_by_piece(twin: dendrotwin.Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory grows with the result alone, and the result is the same to the last bit."""
    rng = np.random.default_rng(0)
    events = Events.sort(rng.integers(0, twin.tree.n_inputs, 400), rng.uniform(0, 120, 400))
    current = Injection(np.array([0], np.int32), rng.normal(0.3, 0.3, (120, 1)))
    at_once = twin.predict(events, 120, injection=current)
    monkeypatch.setattr(cable, "PIECE_POTENTIALS", 1)
    monkeypatch.setattr(cable, "LEAST_MS", 17)
    pieces = twin.predict(events, 120, injection=current)
    assert np.array_equal(at_once.v_mV, pieces.v_mV)
    assert np.array_equal(at_once.spike_probability, pieces.spike_probability)
    assert np.array_equal(at_once.spikes_ms, pieces.spikes_ms)
    with pytest.raises(InputError, match=r"at 4[0-9] ms, outside of"):
        twin.predict(Events.sort([], []), 120, injection=Injection(current.compartment, _late_nA(120, 1e6)))


def _late_nA(steps: int, amplitude: float) -> Any:
    """(steps, 1) a current that begins at 40 ms [nA]."""
    return np.where(np.arange(steps)[:, None] >= 40, amplitude, 0.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"arch": "elm"}, "arch = elm: there is none; choose among architecture, options"),
        ({"steps": 0}, "steps = 0: give at least 1"),
        ({"steps": "many"}, "steps = many: give a whole number"),
        ({"steps": 1.5}, "steps = 1.5: give a whole number"),
        ({"clip": float("nan")}, "clip = nan: give a number above 0"),
        ({"balance": "fair"}, "balance = fair: choose equal, uncertainty or dwa"),
        ({"options": 3}, "options = 3: give names with their values"),
        ({"autoregressive": "perhaps"}, "autoregressive = perhaps: give true or false"),
    ],
)
def test_a_wrong_field_is_one_plain_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as wrong:
        Training(**given)
    assert str(wrong.value).startswith(said)
    assert "\n" not in str(wrong.value)


def test_wrong_fields_of_a_configuration_in_another() -> None:
    with pytest.raises(InputError, match=r"^duration_ms: it is missing, give it$"):
        Simulation(cell="l5pc")
    with pytest.raises(InputError, match=r"^excitatory_hz = -1: give at least 0\.0$"):
        Simulation(cell="l5pc", duration_ms=10, inputs={"protocol": "poisson", "excitatory_hz": -1})
    with pytest.raises(InputError, match="choose 'modulated', 'poisson'"):
        Simulation(cell="l5pc", duration_ms=10, inputs={"protocol": "white"})


@pytest.mark.parametrize("configuration", [Training, Simulation, Modulated, Poisson, CableConfig])
def test_help_lists_the_fields(configuration: type[Options]) -> None:
    text = configuration.__doc__ or ""
    for name, field in configuration.model_fields.items():
        assert f"\n    {name}: {' '.join((field.description or '').split())}" in text
    assert "Default: 4000." in (Training.__doc__ or "")


NO_EVENTS = Events.sort([], [])
CURRENT = Injection(np.array([0]), np.zeros((5, 1)))


@pytest.mark.parametrize(
    ("events", "injection"), [([(1, 2.0)], None), ([NO_EVENTS], None), ({}, None), (NO_EVENTS, np.zeros((5, 1)))]
)
def test_input_of_another_kind_is_named_at_the_door(twin: dendrotwin.Twin, events: Any, injection: Any) -> None:
    for predict in (twin.predict, twin.stream):
        with pytest.raises(InputError, match=r"dendrotwin\.(Events\.sort|Injection)\(.*, not a value"):
            predict(events, 5, injection=injection)


@pytest.mark.parametrize(
    ("events", "injections", "said"),
    [
        (NO_EVENTS, None, r"the events of each trial, in a list: \[events\]"),
        (None, None, r"the events of each trial, in a list: \[events\]"),
        ([[(1, 2.0)]], None, r"of \(input, time\) pairs: Events\.sort\(\*zip\(\*pairs\)\)"),
        ([NO_EVENTS], CURRENT, r"the injection of each trial, or None, in a list: \[injection\]"),
        ([NO_EVENTS], [np.zeros((5, 1))], r"is dendrotwin\.Injection\(compartment, current_nA\), not .* ndarray"),
        ([NO_EVENTS], np.zeros((5, 1)), r"is dendrotwin\.Injection\(compartment, current_nA\), not .* ndarray"),
    ],
)
def test_input_of_a_batch_of_another_kind(twin: dendrotwin.Twin, events: Any, injections: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        twin.predict_batch(events, 5, injections=injections)


@pytest.mark.parametrize("architecture", ["hard-sharing", "mmoe", "mmoeex", "elm"])
def test_a_network_that_memory_does_not_hold_is_never_made(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its weights, and by what a training step keeps of each millisecond."""
    tree = tree_with_inputs()
    monkeypatch.setattr("dendrotwin.support.memory.memory_bytes", lambda: 1e3)
    with pytest.raises(InputError, match=r"a network of .* weights, .* machine has .* GB; choose fewer or smaller"):
        build_model(architecture, {}, tree)
    monkeypatch.undo()
    options = {"branches": 4} if architecture == "elm" else {"channels": [8], "features": 8}
    config, model = build_model(architecture, options, tree)
    assert type(model).count_activations(tree, config, False) > tree.n + 1


def test_a_step_that_memory_does_not_hold_is_never_taken(data: Path) -> None:
    for field, fix in (("batch", "smaller --batch"), ("window_ms", "a shorter --window")):
        with pytest.raises(InputError, match=f"a step on .* this machine has .* GB; use a .*{fix}"):
            Run(data, Training(**{field: 10**9}))


def test_a_log_is_whole_on_a_full_disk(tmp_path: Path) -> None:
    """A line that does not fit is not begun, and the error names the file."""
    assert in_new_process(_log_without_room, tmp_path).startswith(
        f"{tmp_path / 'twin.log.jsonl'} cannot be written: the"
    )
    assert (tmp_path / "twin.log.jsonl").read_text() == '{"step": 1}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["twin.log.jsonl"]


def _log_without_room(folder: Path) -> str:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
    log = Log(folder / "twin", tensorboard=False)
    log.start([{"step": 1}])
    try:
        log.add({"step": 2})
    except FileError as error:
        return str(error)
    return "written"
