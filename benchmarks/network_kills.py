"""Networks of which a process is killed, again and again: is anything lost, and how soon do the others end?

    python benchmarks/network_kills.py OUT [--times 20] [--config CONFIG] [--seed 0]

Two processes of `torchrun` run a network with a checkpoint every 0.2 s. One of them, drawn at random, is killed
(SIGKILL) at a random moment; the same command is given again until the run is done, and then from the start, until so
many were killed. Each run that is done must have the spikes and the potentials of one that nobody disturbed, to the
last bit, and nothing half-written. The network is one of l5pc twins; or, by the command `dendrotwin network`, that of a
SONATA config. Prints a line for each kill: when it was, how long the others lived, and what they said.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from dendrotwin.circuit import Potentials
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.run import Storage, run
from dendrotwin.cli.network import ends_with_a_line
from dendrotwin.errors import DendrotwinError
from network_scale import network

CELLS, MILLISECONDS, EVERY_S = 20, 1000.0, 0.2
LIMIT_S = 10.0  # in which the others must have ended
MARK = "dendrotwin: "
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def work(folder: Path) -> None:
    """The network of twins, in this process's part."""
    try:
        with ends_with_a_line():
            storage = Storage(folder, EVERY_S)
            result = run(network(CELLS).part, Settings(MILLISECONDS), [Potentials("excitatory")], storage=storage)
    except DendrotwinError as error:
        print(f"{MARK}{error}", file=sys.stderr)
        raise SystemExit(2) from None
    if result is not None:
        with open(folder / "result.partial", "wb") as file:
            np.savez(file, *result.spikes(), result.recorded("v-excitatory")["values"])
        os.replace(folder / "result.partial", folder / "result.npz")


def children(process: int) -> list[int]:
    """Processes that one has started, and that live."""
    found = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/children")]
    return [int(child) for each in found for child in each if lives(int(child))]


def lives(process: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def has_begun(process: int) -> bool:
    """Whether it is past its imports: it catches SIGTERM then."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def content(folder: Path) -> dict[str, bytes]:
    """All numbers of a run that is done, by the name of their file and place."""
    found = {}
    for path in sorted(folder.rglob("*.npz")):
        if path.parent == folder:
            with np.load(path) as file:
                found |= {f"{path.name}:{name}": array.tobytes() for name, array in file.items()}
    for path in sorted(folder.rglob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item, path=path: (
                    found.update({f"{path.name}:{name}": item[()].tobytes()})
                    if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf"
                    else None
                )
            )
    return found


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """The command, whose words go to a file."""
    with open(log, "wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"})


def kill_one(process: subprocess.Popen[bytes], after_s: float, draw: random.Random) -> tuple[float, float, bool] | None:
    """Kill one of two; seconds until the other one, and until `torchrun` had ended; and whether the other had begun.

    None where the run was done.
    """
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < after_s:
        time.sleep(0.002)
    both = children(process.pid)
    if process.poll() is not None or len(both) != 2:
        return None
    victim = draw.choice(both)
    other = next(each for each in both if each != victim)
    begun = has_begun(other)
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    while lives(other):
        time.sleep(0.002)
    other_s = time.monotonic() - killed
    process.wait()
    return other_s, time.monotonic() - killed, begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out, draw = arguments.out, random.Random(arguments.seed)
    if arguments.work:
        work(out)
        return
    out.mkdir(parents=True, exist_ok=True)

    def command(folder: Path) -> list[str]:
        if arguments.config is None:
            return [*TORCHRUN, __file__, str(folder), "--work"]
        what = ["network", str(arguments.config), "--out", str(folder), "--checkpoint", str(EVERY_S)]
        return [*TORCHRUN, "-m", "dendrotwin.cli", *what]

    whole, log = out / "whole", out / "log.txt"
    shutil.rmtree(whole, ignore_errors=True)
    began = time.monotonic()
    if start(command(whole), log).wait():
        raise SystemExit(log.read_text())
    span_s, expected = time.monotonic() - began, content(whole)
    print(f"undisturbed, the command takes {span_s:.1f} s and gives {len(expected)} arrays", flush=True)
    faults, done, runs = [], 0, 0
    while done < arguments.times:
        folder = out / f"run-{runs}"
        shutil.rmtree(folder, ignore_errors=True)
        while True:
            process = start(command(folder), log)
            moment = draw.uniform(0.0, span_s) if done < arguments.times else 1e9
            ended = kill_one(process, moment, draw)
            status = process.wait()
            if ended is None and status == 0:
                break
            said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(MARK)]
            if ended is None:
                raise SystemExit(f"the run failed, though nobody was killed:\n{log.read_text()}")
            done += 1
            phase = "" if ended[2] else ", while it started"
            print(
                f"{done:>3} after {moment:5.2f} s: the other ended in {ended[0]:.2f} s, all in {ended[1]:.2f} s{phase}"
            )
            for line in said:
                print(f"      {line}", flush=True)
            if ended[0] > LIMIT_S or len(said) > 1 or (ended[2] and not said):
                faults.append(f"kill {done}: {ended[0]:.1f} s, {len(said)} lines; see {out / f'fault-{done}.txt'}")
                shutil.copy(log, out / f"fault-{done}.txt")
        runs += 1
        if content(folder) != expected:
            faults.append(f"{folder} differs from {whole}")
        left = [str(path) for path in folder.rglob("*") if path.suffix in (".partial", ".old")]
        faults += [f"left half-written: {path}" for path in left]
    print(f"{done} kills, {runs} runs that were done; {len(faults)} faults", *faults, sep="\n")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
