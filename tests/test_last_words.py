"""A thread of C++ that throws, and how the process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = """
#include <thread>
namespace gloo { struct IoException {}; }
namespace other { struct Exception {}; }
extern "C" void of_gloo() { std::thread([] { throw gloo::IoException(); }).join(); }
extern "C" void of_another() { std::thread([] { throw other::Exception(); }).join(); }
"""
PROGRAM = """
import ctypes, sys
from dendrotwin.circuit import last_words
last_words.OTHERS_S = 0.1
last_words.end_with_a_line(lambda: {line})
getattr(ctypes.CDLL(sys.argv[1]), {function!r})()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken.cpp").write_text(BROKEN)
    made = folder / "broken.so"
    subprocess.run(["g++", "-shared", "-fPIC", "-pthread", folder / "broken.cpp", "-o", made], check=True)
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's C++ library")
@pytest.mark.parametrize(
    ("function", "line", "status", "said"),
    [
        ("of_gloo", '"dendrotwin: lost"', 2, "dendrotwin: lost\n"),
        ("of_gloo", "None", 2, ""),
        ("of_another", '"dendrotwin: lost"', -6, "terminate called after throwing an instance of 'other::Exception'\n"),
    ],
)
def test_a_thread_of_gloo_that_throws_ends_the_process_with_a_line(
    library: Path, function: str, line: str, status: int, said: str
) -> None:
    program = PROGRAM.format(line=line, function=function)
    done = subprocess.run([sys.executable, "-c", program, library], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, said)
