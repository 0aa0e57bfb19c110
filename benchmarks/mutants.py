"""Do the tests notice a fault? One small fault at a time is put into a copy of the source, and tests have to fail.

    python benchmarks/mutants.py [WORD ...]

runs all mutants, or those whose file or text holds one of the words, and prints which were killed and which survived.
The tests are run once without a fault first; a test that fails then proves nothing. Tests stay where they are; the
copy of the source comes first in PYTHONPATH. A text that is not found, or found twice, is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dendrotwin"
LONGEST_S = 900.0  # a fault may let a loop never end


class Mutant(NamedTuple):
    """A fault.

    Attributes:
        file: in src/dendrotwin.
        old, new: text that stands in it once, and what takes its place.
        tests: files or tests in tests/ of which one has to fail, separated by spaces.
    """

    file: str
    old: str
    new: str
    tests: str


def of(file: str, tests: str, *texts: tuple[str, str]) -> list[Mutant]:
    """Faults of one file that the same tests have to find."""
    return [Mutant(file, old, new, tests) for old, new in texts]


def without(file: str, statement: str, tests: str) -> list[Mutant]:
    """Each statement like this one left out, one at a time; what stands before it makes its text unique."""
    lines, found = (SOURCE / file).read_text().splitlines(keepends=True), []
    for k, line in enumerate(lines):
        if line.strip() == statement:
            first = k - 1
            while "".join(lines).count("".join(lines[first : k + 1])) > 1:
                first -= 1
            before = "".join(lines[first:k])
            found.append(Mutant(file, before + line, before + line.replace(statement, "pass"), tests))
    return found


MUTANTS = [
    # Events a step early or late, in training and in prediction.
    *of("models/base.py", "test_models.py", ("[start, start + steps])", "[start, start + steps - 1])")),
    *of(
        "training/windows.py", "test_twin.py::test_windows_are_cut_from_their_trials",
        ("start - self._context)", "start - self._context - 1)"),
        ("start - self._context)", "start - self._context + 1)"),
    ),
    *of(
        "models/networks/network.py", "test_models.py",
        ("[(e, first) for", "[(e, first - 1) for"),
        ("[(e, first) for", "[(e, first + 1) for"),
        ("z_true[:, :-1]", "z_true[:, 1:]"),
        ("z_true is None else z_true\n", "True else z_true\n"),
    ),
    # Potentials of the wrong step before a window.
    *of(
        "training/windows.py", "test_dataset.py",
        ("max(start - self._before, 0), stop)", "max(start - self._before - 1, 0), stop - 1)"),
    ),
    *of(
        "models/networks/network.py", "test_train.py::test_losses_are_their_definitions",
        ("z[:, :-1].transpose(1, 2)", "z[:, 1:].transpose(1, 2)"),
    ),
    *of("training/loop.py", "test_train.py::test_micro_batches_add_up", ("share * loss)", "loss)")),
    # Barriers of the GPU's kernel.
    *without("solver/gpu_kernel.py", "tl.debug_barrier()", "test_gpu_barriers.py"),
    *without("solver/gpu_membrane.py", "tl.debug_barrier()", "test_gpu_barriers.py"),
]  # fmt: skip


class Workshop:
    """A copy of the source in which faults are put and taken out again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "src" / "dendrotwin"
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))

    def fails(self, tests: str) -> str | None:
        """The first test that fails, if any."""
        cache = self.folder / "numba"  # compiled code is kept for each file, but holds that of others too
        environment = {
            **os.environ, "PYTHONPATH": str(self.folder / "src"), "NUMBA_CACHE_DIR": str(cache),
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        wanted = [str(ROOT / "tests" / test) for test in tests.split()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *wanted]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired:
            return "no end"
        if done.returncode not in (0, 1):
            raise SystemExit(f"the tests {tests} cannot be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return lines[0].split(" - ")[0].rsplit("/", 1)[-1] if lines else None

    def check(self, mutant: Mutant) -> str | None:
        """The first test that notices a fault, if any."""
        path = self.source / mutant.file
        text = path.read_text()
        path.write_text(text.replace(mutant.old, mutant.new))
        shutil.rmtree(self.folder / "numba", ignore_errors=True)
        try:
            return self.fails(mutant.tests)
        finally:
            path.write_text(text)


def chosen(words: list[str]) -> list[Mutant]:
    """Those mutants that were asked for; all texts are checked."""
    for mutant in MUTANTS:
        found = (SOURCE / mutant.file).read_text().count(mutant.old)
        if found != 1:
            raise SystemExit(f"{mutant.file} holds the text {mutant.old!r} {found} times, not once")
    return [m for m in MUTANTS if not words or any(word in part for word in words for part in m)]


def main() -> None:
    """Run the mutants; exit with 1 where one survives."""
    mutants, survivors = chosen(sys.argv[1:]), 0
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        tests = " ".join(sorted({test for mutant in mutants for test in mutant.tests.split()}))
        failing = workshop.fails(tests)
        if failing is not None:
            raise SystemExit(f"{failing} fails without a fault")
        for mutant in mutants:
            began = time.monotonic()
            failing = workshop.check(mutant)
            survivors += failing is None
            verdict = "SURVIVED" if failing is None else f"killed by {failing}"
            print(f"{mutant.file}: {mutant.old!r} -> {mutant.new!r}: {verdict} ({time.monotonic() - began:.0f} s)")
            sys.stdout.flush()
    print(f"{len(mutants)} mutants, {survivors} survived")
    raise SystemExit(survivors > 0)


if __name__ == "__main__":
    main()
