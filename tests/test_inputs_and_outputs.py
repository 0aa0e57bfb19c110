"""What a command reads is never written over; what is done is done; links, full disks, and what dead processes left."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import dendrotwin
from dendrotwin.cell.tree import Events
from dendrotwin.cli.app import app
from dendrotwin.cli.base import made_by, milliseconds
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording import RecordingFile, write_recordings
from dendrotwin.support.atomic_files import refuse_existing, whole_file, whole_folder
from dendrotwin.support.disk import whole_hdf5
from dendrotwin.support.made_by import command_digest, refuse_writing_over_inputs
from test_cli import refused, run
from test_recording import recording, tree_with_inputs


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of 50 ms of the twin that comes along."""
    out = tmp_path_factory.mktemp("predicted")
    made = dendrotwin.load("l5pc").predict(Events.sort([0, 7], [3.0, 5.5]), 50)
    for name in ("a.h5", "b.h5"):
        write_recordings(out / name, [made], {})
    return out


def test_inputs_and_outputs_are_kept_apart(tmp_path: Path) -> None:
    data, file, other = tmp_path / "data", tmp_path / "data" / "a.h5", tmp_path / "b.h5"
    data.mkdir()
    file.touch()
    os.link(file, tmp_path / "hard.h5")
    (tmp_path / "soft.h5").symlink_to(file)
    (tmp_path / "link").symlink_to(data)
    refuse_writing_over_inputs([other, None], [file, data, None, tmp_path / "nothing"])
    for name in ("data/a.h5", "hard.h5", "soft.h5", "link/a.h5", "data", ".", "data/../data/a.h5"):
        with pytest.raises(InputError, match=r"which is read|is read, and"):
            refuse_writing_over_inputs([tmp_path / name], [file])
    for name in ("data/b.h5", "link/b.h5", "link/report"):
        with pytest.raises(InputError, match=r"lies in .*, which is read"):
            refuse_writing_over_inputs([tmp_path / name], [data])


def test_predict_does_not_write_over_its_input(predicted: Path, tmp_path: Path) -> None:
    file = tmp_path / "self.h5"
    file.write_bytes((predicted / "a.h5").read_bytes())
    whole = file.read_bytes()
    with pytest.raises(InputError, match="is read, and cannot be written"):
        _call("predict", "l5pc", file, "--out", file, "--overwrite")
    assert file.read_bytes() == whole


def test_plot_does_not_remove_its_input(predicted: Path, tmp_path: Path) -> None:
    (tmp_path / "traces.png").touch()
    file = tmp_path / "a.h5"
    file.write_bytes((predicted / "a.h5").read_bytes())
    with pytest.raises(InputError, match="which is read"):
        _call("plot", file, predicted / "b.h5", "--out", tmp_path, "--overwrite")
    assert file.exists()


def test_import_and_benchmark_spare_their_input(predicted: Path, tmp_path: Path) -> None:
    report, again = tmp_path / "report.h5", tmp_path / "again.h5"
    report.write_bytes(b"a report")
    os.link(report, again)  # another name of the same file
    with pytest.raises(InputError, match=r"again.h5 is read, and cannot be written"):
        _call("import", report, "--out", again, "--overwrite", "--morphology", "c.swc", "--axial-ohm-cm", 100)
    assert report.read_bytes() == b"a report"
    with pytest.raises(InputError, match=r"compared lies in .*, which is read"):
        _call("benchmark", "--data", predicted, "--budget", 1, "--out", predicted / "compared")
    assert sorted(path.name for path in predicted.iterdir()) == ["a.h5", "b.h5"]


def _call(*arguments: object) -> None:
    app([str(argument) for argument in arguments], standalone_mode=False)


def test_a_command_that_is_done_says_so(predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figures, drawn = tmp_path / "s.h5", tmp_path / "figures", tmp_path / "drawn"
    commands = (
        ("predict", "l5pc", predicted / "a.h5", "--out", tmp_path / "p.h5"),
        ("signals", predicted / "a.h5", "--out", out, "--signal", "dipole", "--figures", figures),
        ("plot", predicted / "a.h5", predicted / "b.h5", "--out", drawn),
    )
    made = (tmp_path / "p.h5", out, drawn / "traces.png")
    for command, path in zip(commands, made, strict=True):
        _call(*command)
        when = path.stat().st_mtime_ns
        capsys.readouterr()
        _call(*command)
        assert "is done already, by the same command" in capsys.readouterr().out
        assert path.stat().st_mtime_ns == when
    with pytest.raises(FileError, match="exists; name another file, or use --overwrite"):
        _call(*commands[0], "--compress")
    shutil.rmtree(figures)  # as one that was killed before its figures
    when = out.stat().st_mtime_ns
    _call(*commands[1])
    assert (figures / "signals.txt").is_file()
    assert out.stat().st_mtime_ns == when


def test_digests_tell_commands_and_inputs_apart(tmp_path: Path) -> None:
    file = tmp_path / "in"
    file.write_text("a")
    one = command_digest("predict", {"trial": 1}, [file])
    assert one == command_digest("predict", {"trial": 1}, [tmp_path / "." / "in"])
    assert one != command_digest("plot", {"trial": 1}, [file])
    assert one != command_digest("predict", {"trial": 2}, [file])
    os.utime(file, ns=(0, 0))
    assert one != command_digest("predict", {"trial": 1}, [file])
    assert made_by(file) == ""
    assert made_by(tmp_path / "nothing") == ""


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    for content in ("first", "second"):  # an empty folder, then one of this kind
        with whole_folder(tmp_path / "out", "marker", overwrite=True) as folder:
            (folder / "marker").write_text(content)
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "real" / "marker").read_text() == content
    (tmp_path / "new").symlink_to(tmp_path / "elsewhere" / "folder")
    with whole_folder(tmp_path / "new", "marker", overwrite=False) as folder:
        (folder / "marker").touch()
    assert (tmp_path / "elsewhere" / "folder" / "marker").exists()
    (tmp_path / "file").symlink_to("target")
    with whole_file(tmp_path / "file") as temporary:
        temporary.write_text("text")
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "target").read_text() == "text"
    (tmp_path / "loop").symlink_to("loop")
    for what in (whole_file(tmp_path / "loop"), whole_folder(tmp_path / "loop", "marker", overwrite=True)):
        with pytest.raises(FileError, match="leads back to itself"), what:
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "elsewhere", "file", "loop", "new", "out", "real", "target",
    ]  # fmt: skip


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        dendrotwin.load("l5pc").save(tmp_path / "twin")
        with whole_file(tmp_path / "file") as temporary:
            temporary.write_text("text")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "twin").iterdir()}
    assert modes == dict.fromkeys(("README.md", "config.json", "model.safetensors", "tree.h5"), 0o644)
    assert stat.S_IMODE((tmp_path / "twin").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_what_dead_processes_left_goes(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead, alive = f"{socket.gethostname()}-{process.pid}", f"{socket.gethostname()}-{os.getpid()}"
    for name in (f".a.{dead}.x.partial", f".twin.{dead}.x.old", f".b.{alive}.x.partial", ".c.elsewhere-1.x.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / "twin").mkdir()
    (tmp_path / f".half.{dead}.y.old").mkdir()  # killed between two renames: the new one was complete
    (tmp_path / f".half.{dead}.y.partial").mkdir()
    (tmp_path / f".half.{dead}.y.partial" / "new").touch()
    refuse_existing(tmp_path / "other", "marker", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f".b.{alive}.x.partial", ".c.elsewhere-1.x.partial", "half", "twin",
    ]  # fmt: skip
    assert (tmp_path / "half" / "new").exists()


def _limit_of_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [100, 3000, 60_000, 150_000])
def test_a_full_disk_is_one_line(tmp_path: Path, size: int) -> None:
    """HDF5 would write again when the process ends, and end it with a segmentation fault."""
    code = (
        "import sys, numpy as np\n"
        "from dendrotwin.errors import FileError\n"
        "from dendrotwin.support.disk import whole_hdf5\n"
        "try:\n"
        "    with whole_hdf5(sys.argv[1]) as file:\n"
        "        for k in range(20):\n"
        "            file[f'g{k}/v'] = np.random.rand(2000)\n"
        "            file[f'g{k}'].attrs['x'] = 'y' * 300\n"
        "except FileError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.h5")]
    done = subprocess.run(command, preexec_fn=lambda: _limit_of_files(size), capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path / 'x.h5'} cannot be written: the disk is full")
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_predict_on_a_full_disk(predicted: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dendrotwin.cli", "predict", "l5pc"]
    command += [str(predicted / "a.h5"), "--out", str(tmp_path / "p.h5")]
    done = subprocess.run(
        command, preexec_fn=lambda: _limit_of_files(20_000), capture_output=True, text=True, check=False
    )
    refused(done, "p.h5 cannot be written: the disk is full")
    assert not list(tmp_path.iterdir())


def test_hdf5_through_our_file_is_hdf5(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3000, 7))
    with whole_hdf5(tmp_path / "x.h5", track_order=True) as file:
        grown = file.create_dataset("v", (0, 7), "f8", maxshape=(None, 7), chunks=(100, 7), compression="gzip")
        for start in range(0, 3000, 500):
            grown.resize(start + 500, axis=0)
            grown[start:] = values[start : start + 500]
            file.check_room()
    with h5py.File(tmp_path / "x.h5", "r") as file:
        assert np.array_equal(file["v"][()], values)
    write_recordings(tmp_path / "r.h5", [recording(tree_with_inputs())], {})
    with RecordingFile(tmp_path / "r.h5") as recorded:
        assert len(recorded) == 1
    with pytest.raises(ZeroDivisionError), whole_hdf5(tmp_path / "y.h5"):
        _ = 1 / 0
    assert not (tmp_path / "y.h5").exists()


def test_durations_of_the_command_line() -> None:
    for duration in (float("nan"), float("inf"), 1e30, 1e9, 0.0, -1.0):
        with pytest.raises(InputError, match="a trial cannot last"):
            milliseconds(duration)


def test_more_than_memory_holds_is_one_line(predicted: Path, tmp_path: Path) -> None:
    huge = "dye:rows=100000:columns=100000"
    refused(run("signals", predicted / "a.h5", "--out", tmp_path / "s.h5", "--signal", huge), "out of memory")


def test_a_cell_that_ends_the_program_is_named(tmp_path: Path) -> None:
    cell = tmp_path / "cell.py"
    cell.write_text("import sys\nsys.exit(5)\n")
    refused(run("simulate", cell, "--duration", 0.05, "--out", tmp_path / "out"), "cell.py", "SystemExit: 5")


def test_seeds_that_are_none(tmp_path: Path) -> None:
    refused(run("train", tmp_path, "--out", tmp_path / "out", "--seed", 2**70), "seed = 1180591620717411303424")
