"""Signals at the rates of real systems: sines pass or vanish, nothing is delayed, chunks do not matter."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dendrotwin import signals
from dendrotwin.errors import InputError
from dendrotwin.recording import per_ms, write_recordings
from dendrotwin.signals.resampling import Resampler, ratio_of_rates, resampled
from test_recording import recording, tree_with_inputs


def at_rate(values: np.ndarray, recorded_hz: float, wanted_hz: float, chunk: int = 10_000) -> np.ndarray:
    chunks = ([values[k : k + chunk, None]] for k in range(0, len(values), chunk))
    ratio = ratio_of_rates(recorded_hz, wanted_hz)
    return np.concatenate([made[0] for made in resampled(chunks, ratio)])[:, 0]


def sine(hz: float, rate_hz: float, seconds: float = 0.4) -> np.ndarray:
    return np.sin(2.0 * np.pi * hz * np.arange(1, round(seconds * rate_hz) + 1) / rate_hz)


@pytest.mark.parametrize(
    ("recorded_hz", "wanted_hz"), [(40_000.0, 30_000.0), (40_000.0, 2500.0), (30_000.0, 2500.0), (1000.0, 250.0)]
)
def test_what_the_rate_holds_passes_and_what_it_does_not_vanishes(recorded_hz: float, wanted_hz: float) -> None:
    middle = slice(round(0.1 * wanted_hz), round(0.3 * wanted_hz))
    for share in (0.1, 0.5, 0.79):
        hz = share * wanted_hz / 2.0
        found, expected = at_rate(sine(hz, recorded_hz), recorded_hz, wanted_hz), sine(hz, wanted_hz)
        assert len(found) == len(expected)
        assert np.abs(found - expected)[middle].max() < 3e-4
    for share in (1.01, 1.3, 1.9):
        hz = share * wanted_hz / 2.0
        if hz < recorded_hz / 2.0:
            assert np.abs(at_rate(sine(hz, recorded_hz), recorded_hz, wanted_hz)[middle]).max() < 3e-4


def test_constants_stay_and_chunks_do_not_matter(rng: np.random.Generator) -> None:
    assert np.allclose(at_rate(np.full(3001, -70.0), 40_000.0, 30_000.0), -70.0, rtol=1e-14)
    noise = rng.standard_normal(3001)
    whole = at_rate(noise, 40_000.0, 30_000.0)
    assert len(whole) == 3001 * 3 // 4
    for chunk in (1, 7, 64, 3000):
        assert np.allclose(at_rate(noise, 40_000.0, 30_000.0, chunk), whole, rtol=0.0, atol=1e-13)
    assert np.array_equal(at_rate(noise, 1000.0, 1000.0), noise)
    resampler = Resampler(ratio_of_rates(30_000.0, 2500.0))
    for _ in range(50):
        resampler.push(noise[:, None])
    assert resampler.kept is not None
    assert len(resampler.kept) < 2000  # memory does not grow


def test_rates_that_cannot_be_had() -> None:
    for recorded, wanted, message in (
        (1000.0, 2500.0, "more than the 1000 Hz of the recording.*simulate with a finer --record-dt"),
        (1000.0, 0.0, "give a positive one"),
        (1000.0, np.nan, "give a positive one"),
        (1000.0, 333.34567, "no ratio of whole numbers"),
    ):
        with pytest.raises(InputError, match=message):
            ratio_of_rates(recorded, wanted)


def test_signals_have_the_rate_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    write_recordings(path, [recording(tree_with_inputs(), 60, record_dt_ms=0.05)], {})
    dipole = signals.Dipole()
    (fine,) = signals.record(path, [dipole])
    (made,) = signals.record(path, [dipole], chunk_samples=111, rate_hz=2500.0)
    assert (made.sampling_hz, made.values.shape, made.time_ms[0]) == (2500.0, (150, 3), 0.4)
    assert made.values[:, 2] == pytest.approx(at_rate(fine.values[:, 2], 20_000.0, 2500.0))
    signals.write_signals(tmp_path / "s.h5", path, [dipole], rate_hz=2500.0)
    stored = signals.read_signals(tmp_path / "s.h5")["dipole"]
    assert (stored.sampling_hz, stored.values.shape) == (2500.0, (150, 3))
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["recorded_hz"] == 20_000.0
        assert b"80 dB" in file.attrs["anti_alias_filter"]


def test_intervals_of_thirty_kilohertz_need_not_be_typed_to_the_last_digit() -> None:
    for interval_ms in (1.0 / 30.0, 0.0333333, 0.03333, 0.033333333333):
        assert per_ms(interval_ms, "dt") == 30
    assert per_ms(0.05, "dt") == 20
    for interval_ms in (0.0333, 0.03334, 0.4, 0.0501, 0.99999, np.nan, 0.0):
        with pytest.raises(InputError, match="it must divide 1 ms"):
            per_ms(interval_ms, "dt")
