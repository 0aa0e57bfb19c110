"""A worker that dies: the message says what killed it, and what it said last."""

from __future__ import annotations

import os
import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from dendrotwin.support.workers import WorkerError, describe_end, run_apart, worker_pool
from test_cli import refused, run

CELL = """
import os, signal
from dendrotwin.cells import CellModel

def build():
    {end}

def cell():
    return CellModel("dying", "here", "ours", build, list, -70.0, 34.0)
"""


def test_ends_of_processes() -> None:
    assert describe_end(-9) == "killed by signal 9 (SIGKILL, as the system does when memory runs out, or a user)"
    assert describe_end(-11, "no") == "killed by signal 11 (SIGSEGV, it crashed); its last words: no"
    assert describe_end(-250) == "killed by signal 250 (unknown)"
    assert describe_end(7) == "it ended itself with exit code 7"


@pytest.mark.parametrize(
    ("function", "argument", "words"),
    [
        (os._exit, 7, "it ended itself with exit code 7"),
        (signal.raise_signal, signal.SIGKILL, "killed by signal 9 (SIGKILL"),
        (signal.raise_signal, signal.SIGSEGV, "killed by signal 11 (SIGSEGV"),
        (signal.raise_signal, signal.SIGTERM, "killed by signal 15 (SIGTERM"),
    ],
)
def test_a_pool_says_how_a_process_of_it_died(function: object, argument: int, words: str) -> None:
    with worker_pool(1) as pool:
        assert pool.submit(os.write, 2, b"first\nand last\n\n").result() == 16
        with pytest.raises(BrokenProcessPool):
            pool.submit(function, argument).result()  # type: ignore[arg-type]
        assert pool.death().startswith(words)
        assert pool.death().endswith("; its last words: and last")


def test_what_a_process_says_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(abs, range(4))) == [0, 1, 2, 3]
        pool.submit(os.write, 2, b"said\n").result()
    for process in pool._context.made:
        process.listener.last_words()
    assert capfd.readouterr().err == "said\n"


def test_a_process_of_its_own_that_dies() -> None:
    with pytest.raises(WorkerError, match="exit code 3") as raised:
        run_apart(os._exit, 3)
    assert raised.value.exitcode == 3


def test_a_cell_that_ends_its_worker(tmp_path: Path) -> None:
    path = tmp_path / "cell.py"
    for end, words in (("os.write(2, b'why\\n'); os._exit(7)", "exit code 7; its last words: why"),):
        path.write_text(CELL.format(end=end))
        done = run("simulate", path, "--duration", 0.05, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert words in done.stderr.splitlines()[-1]
    path.write_text(CELL.format(end="raise SystemExit(4)"))
    refused(run("simulate", path, "--duration", 0.05, "--out", tmp_path / "out"), "`build` of dying failed", "4")
