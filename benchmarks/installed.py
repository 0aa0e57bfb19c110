"""Install the wheel in empty environments, one for each Python, and use it there, outside the repository.

    python benchmarks/installed.py python3.11 python3.12 python3.13

Each environment gets the wheel with the extra `signals`, and no source. The versions are those of constraints.txt; with
--newest the newest that the ranges of pyproject.toml allow. There it opens the twin that comes with the package,
predicts, computes LFP and dipole and runs the command line. NEURON and matplotlib are hidden from the prediction, which
needs neither.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
USE = """
import sys
sys.modules["neuron"] = sys.modules["matplotlib"] = None  # an import of them fails
from pathlib import Path
import numpy as np
import dendrotwin
from dendrotwin.recording import write_recordings
twin = dendrotwin.load("l5pc")
rng = np.random.default_rng(0)
events = dendrotwin.Events.sort(rng.integers(0, twin.tree.n_inputs, 1000), rng.uniform(0, 600, 1000))
recording = twin.predict(events, duration_ms=600)
assert recording.v_mV.shape == (600, 642) and np.ptp(recording.v_mV) > 5.0, recording
write_recordings(Path("it.h5"), iter([recording]), {})
print(sys.version.split()[0], repr(recording))
"""
SIGNALS = ["signals", "it.h5", "--signal", "lfp", "--signal", "dipole", "--out", "signals.h5", "--figures", "figures"]


def install_and_use(python: str, wheel: Path, folder: Path, newest: bool) -> None:
    """All steps for one interpreter; a failing one raises CalledProcessError."""
    bin_ = folder / "venv" / "bin"
    here = {"cwd": folder, "env": {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "check": True}
    subprocess.run([python, "-m", "venv", folder / "venv"], **here)
    pins = [] if newest else ["-c", ROOT / "constraints.txt"]
    pip = [bin_ / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *pins, f"{wheel}[signals]"], **here)
    subprocess.run([bin_ / "python", "-c", USE], **here)
    subprocess.run([bin_ / "dendrotwin", *SIGNALS], **here)
    subprocess.run([bin_ / "dendrotwin", "predict", "l5pc", "it.h5", "--out", "again.h5"], **here)
    subprocess.run([bin_ / "dendrotwin", "cells"], **here, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="+", help="interpreters, such as python3.12")
    parser.add_argument("--newest", action="store_true", help="the newest versions that the ranges allow")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        wheel_command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", top, ROOT]
        subprocess.run(wheel_command, check=True)
        (wheel,) = top.glob("*.whl")
        failed = []
        for python in arguments.pythons:
            folder = top / Path(python).name
            folder.mkdir()
            try:
                install_and_use(python, wheel, folder, arguments.newest)
                print(f"{python}: installed and used")
            except (OSError, subprocess.CalledProcessError) as error:
                failed.append(python)
                print(f"{python}: FAILED ({error})")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
