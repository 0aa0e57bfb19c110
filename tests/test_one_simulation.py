"""A folder is of one simulation, whoever writes into it, and whoever reads it looks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dendrotwin.errors import FileError, InputError
from dendrotwin.neuron.data_set import check_claim, check_shards, claimed
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.recording import write_recordings
from dendrotwin.recording.trials import index_trials
from test_recording import recording, tree_with_inputs

SIMULATION = Simulation(cell="ball_and_stick", duration_ms=20)
OTHER = SIMULATION.model_copy(update={"seed": 6})


def _shard(path: Path, simulation: Simulation | None) -> None:
    attributes = {} if simulation is None else {"simulation": simulation.model_dump_json()}
    write_recordings(path, [recording(tree_with_inputs(), 3)], attributes)


def test_two_at_once(tmp_path: Path) -> None:
    """While one simulates, another simulation is refused, though there is no trial yet; the same one is not."""
    with claimed(tmp_path, SIMULATION, None, overwrite=False):
        with claimed(tmp_path, SIMULATION, None, overwrite=False):
            pass
        for overwrite, message in ((False, "another simulation .other seed."), (True, "another process is simulating")):
            with (
                pytest.raises(FileError, match=message),
                claimed(tmp_path, OTHER, None, overwrite=overwrite),
            ):
                pass
        check_claim(tmp_path, SIMULATION)
    with claimed(tmp_path, OTHER, None, overwrite=False):  # nobody is there, and no trial
        check_claim(tmp_path, OTHER)


def test_whoever_reads_a_folder_looks(tmp_path: Path) -> None:
    for k, simulation in enumerate((SIMULATION, None, SIMULATION)):
        _shard(tmp_path / f"trial-{k:06d}.h5", simulation)
    assert len(index_trials(tmp_path)[1]) == 3
    _shard(tmp_path / "trial-000003.h5", OTHER)
    with pytest.raises(FileError, match=r"trial-000003\.h5 is of another simulation .* \(other seed\)"):
        index_trials(tmp_path)


def test_the_folder_says_which_simulation(tmp_path: Path) -> None:
    _shard(tmp_path / "trial-000000.h5", SIMULATION)
    (tmp_path / "simulation.json").write_text(OTHER.model_dump_json())
    with pytest.raises(FileError, match=r"other seed"):
        index_trials(tmp_path)
    with pytest.raises(FileError, match=r"other seed"):
        check_shards(tmp_path, [tmp_path / "trial-000000.h5"])
    old = {key: value for key, value in json.loads(SIMULATION.model_dump_json()).items() if key != "record_dt_ms"}
    (tmp_path / "simulation.json").write_text(json.dumps(old))  # as it was before there was a choice
    index_trials(tmp_path)


@pytest.mark.parametrize("content", ["[1, 2]", "7", '"text"', "{}", "{", "[" * 100_000, "\x00"])
@pytest.mark.parametrize("shards", [True, False])
def test_a_configuration_that_is_none(tmp_path: Path, content: str, shards: bool) -> None:
    (tmp_path / "simulation.json").write_text(content)
    if shards:
        _shard(tmp_path / "trial-000000.h5", SIMULATION)
        with pytest.raises(FileError, match=r"simulation\.json is"):
            index_trials(tmp_path)
    with pytest.raises(FileError, match=r"simulation\.json is"), claimed(tmp_path, SIMULATION, None, overwrite=False):
        pass
    assert (tmp_path / "simulation.json").read_text() == content


def test_numbers_of_trials(tmp_path: Path) -> None:
    for trials in (0, -1, 10**12):
        with pytest.raises(InputError, match="give 1 to 1000000"):
            simulate(SIMULATION, trials, tmp_path / "out")
    shutil.rmtree(tmp_path)
