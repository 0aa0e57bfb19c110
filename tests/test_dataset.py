"""Splits of a data set, whole or in part, and where windows are cut; the recordings are made up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dendrotwin.cell.tree import Events, Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.evaluation.split import Split, split_trials
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.recording import Recording, write_recordings
from dendrotwin.recording.trials import index_trials
from dendrotwin.training.windows import Windows
from test_recording import tree_with_inputs


def _shard(out: Path, number: int, steps: int = 501) -> None:
    """A trial whose name is its number, with V that says the time: -75 mV + 0.005 mV/ms, and some output spikes."""
    tree = tree_with_inputs()
    v = np.repeat(-75.0 + 0.005 * np.arange(steps)[:, None], tree.n, axis=1).astype(np.float32)
    events = Events.sort(np.array([0]), np.array([number % steps]))
    made = Recording(tree, v, events, np.arange(steps - 20.0, steps), str(number))
    write_recordings(shard_path(out, number), [made], {"trial": number})


def _numbers(split: Split) -> tuple[list[int], list[int], list[int]]:
    test, validation, train = ([int(t.trial_id) for t in part] for part in (split.test, split.validation, split.train))
    return test, validation, train


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    """Trials 0 to 7 of a data set that holds out five of them."""
    for number in range(8):
        _shard(tmp_path, number)
    (tmp_path / "split.json").write_text('{"test": 3, "validation": 2}')
    return tmp_path


def test_split_file_comes_before_the_shares(partial: Path) -> None:
    assert _numbers(split_trials(partial, 0.4, 0.4)[1]) == ([0, 1, 2], [3, 4], [5, 6, 7])
    (partial / "split.json").unlink()
    assert _numbers(split_trials(partial, 0.25, 0.125)[1]) == ([0], [1, 2], [3, 4, 5, 6, 7])


def test_trials_that_come_later_change_no_part(partial: Path) -> None:
    shard_path(partial, 5).unlink()
    assert _numbers(split_trials(partial)[1]) == ([0, 1, 2], [3, 4], [6, 7])
    for number in (5, 999_999, 1_000_000):  # the last one's name comes before those of many others
        _shard(partial, number)
    assert _numbers(split_trials(partial)[1]) == ([0, 1, 2], [3, 4], [5, 6, 7, 999_999, 1_000_000])


def test_missing_trial_that_is_held_out(partial: Path) -> None:
    shard_path(partial, 1).unlink()
    with pytest.raises(InputError, match=r"holds 7 trials; split.json keeps the first 5 .* of which 1 are missing"):
        split_trials(partial)
    _shard(partial, 1)
    for number in (5, 6, 7):
        shard_path(partial, number).unlink()
    with pytest.raises(InputError, match=r"holds 5 trials; .* of which 0 are missing, .*: simulate more"):
        split_trials(partial)


def test_recordings_of_others_have_no_place(partial: Path) -> None:
    tree = tree_with_inputs()
    v = np.zeros((501, tree.n), dtype=np.float32)
    nothing = Events.sort(np.zeros(0), np.zeros(0))
    write_recordings(partial / "mine.h5", [Recording(tree, v, nothing, np.zeros(0), "mine")], {})
    with pytest.raises(FileError, match=r"mine.h5 was not made by `simulate`"):
        split_trials(partial)


@pytest.mark.parametrize("text", ["", "[]", '{"test": 3}', '{"test": 0, "validation": 2}', '{"test": 3, "train": 2}'])
def test_damaged_split_file(partial: Path, text: str) -> None:
    (partial / "split.json").write_text(text)
    with pytest.raises(FileError, match=r"split.json is damaged; it must read {.test.: 50"):
        split_trials(partial)


def test_learning_curve(partial: Path) -> None:
    for train_trials in (1, 2, 3):
        of = _numbers(split_trials(partial, train_trials=train_trials)[1])
        assert of == ([0, 1, 2], [3, 4], [5, 6, 7][:train_trials])
    for train_trials in (0, 4):
        with pytest.raises(InputError, match=f"has 3 training trials, {train_trials} are asked for"):
            split_trials(partial, train_trials=train_trials)


def _starts(tree: Tree, folder: Path, window: int, draws: int) -> list[int]:
    """Where windows start when none is looked for around a spike; 1000 more in the trials of 560 ms."""
    _, trials = index_trials(folder)
    sees_input = SimpleNamespace(tree=tree, context=600, autoregressive=False)
    windows = Windows(sees_input, trials, window, spike_share=0.0)
    batch = windows.draw(draws, np.random.default_rng(0))
    starts = np.rint((batch.v_mV[:, 0, 0].numpy() + 75.0) / 0.005).astype(int)
    # The only event of a trial, at 0 or 1 ms, tells the trials apart.
    event_at = batch.events.counts()[:, 0].argmax(dim=1).numpy() - 600 + starts
    return (starts + 1000 * event_at).tolist()


def test_windows_lie_uniformly_over_the_time_of_all_trials(tmp_path: Path) -> None:
    """Without its start, and without regard to output spikes: every place as often as any other."""
    _shard(tmp_path, 0, 530)
    _shard(tmp_path, 1, 560)
    found = _starts(tree_with_inputs(), tmp_path, window=10, draws=1440)
    places = [*range(500, 521), *range(1500, 1551)]
    assert set(found) == set(places)
    counts = np.array([found.count(place) for place in places])
    chi_squared = ((counts - 20.0) ** 2 / 20.0).sum()
    assert chi_squared < 71 + 4 * np.sqrt(2 * 71)
