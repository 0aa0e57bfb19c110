"""Input that makes a cell fire as often as is wanted, and what is said of how often it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dendrotwin.cell.tree import Events
from dendrotwin.cli.make import _say_rate
from dendrotwin.errors import InputError
from dendrotwin.neuron import target_rate
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.neuron.target_rate import find_rate_scale
from dendrotwin.recording import Recording, write_recordings
from test_cli import refused, run
from test_recording import tree_with_inputs


@pytest.mark.parametrize("target_hz", [0.5, 8.0, 40.0])
def test_the_scale_is_found_from_below(target_hz: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cell whose rate rises to 50 Hz, and falls with too much input."""
    tried = []

    def rate_hz(_: object, __: Simulation, scale: float) -> float:
        tried.append(scale)
        return 100.0 * scale if scale < 0.5 else 25.0 / scale

    monkeypatch.setattr(target_rate, "_rate_hz", rate_hz)
    simulation = Simulation(cell="ball_and_stick", duration_ms=100)
    found = find_rate_scale(simulation, target_hz, workers=1)
    assert found.rate_hz == pytest.approx(target_hz, rel=0.05)
    assert found.rate_scale == pytest.approx(target_hz / 100.0, rel=0.05)
    assert len(tried) < 16
    assert find_rate_scale(simulation, target_hz, workers=1) == found
    with pytest.raises(InputError, match=r"no rate scale up to 32 makes the cell fire at 70 Hz; 0.5 gives most, 50 Hz"):
        find_rate_scale(simulation, 70.0, workers=1)


def test_the_rate_that_was_found_is_that_of_other_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_rate, "LEAST", 0.05)
    monkeypatch.setattr(target_rate, "HALVINGS", 1)
    monkeypatch.setattr(target_rate, "TRIALS", 2)
    found = find_rate_scale(Simulation(cell="ball_and_stick", duration_ms=100), 4.0, workers=2)
    assert 0.1 <= found.rate_scale <= 0.2
    assert found.rate_hz == pytest.approx(4.0, abs=2.0)


def _recording(path: Path, spikes_ms: np.ndarray, duration_ms: int = 1000) -> Path:
    none = Events.sort(np.zeros(0), np.zeros(0))
    v_mV = np.full((duration_ms, tree_with_inputs().n), -70.0, np.float32)
    write_recordings(path, [Recording(tree_with_inputs(), v_mV, none, spikes_ms, "a")], {})
    return path


@pytest.mark.parametrize(
    ("spikes_ms", "said"),
    [
        (np.zeros(0), "no trial has an output spike: the input is too weak (raise --rate-scale), or the cell is"),
        (np.arange(20.0, 1000.0, 50.0), "the cell fires all the time, at 20 Hz: lower --rate-scale; --target-hz finds"),
        (np.arange(20.0, 500.0, 5.0), "output rate 96 Hz"),
    ],
)  # fmt: skip
def test_the_last_line(spikes_ms: np.ndarray, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _say_rate([_recording(tmp_path / "trial.h5", spikes_ms)], "--rate-scale")
    assert capsys.readouterr().out.startswith(said)


def test_what_does_not_go_together(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "data")
    refused(run("simulate", "ball_and_stick", "--target-hz", 5, "--rate-scale", 1, *out), "leave --rate-scale")
    refused(run("simulate", "ball_and_stick", "--target-hz", 5, "--protocol", "poisson", *out), "--protocol away")
