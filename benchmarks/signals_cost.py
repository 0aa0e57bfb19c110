"""What signals cost: seconds and peak memory of the LFP at 64 electrodes, over the duration of a recording.

    python benchmarks/signals_cost.py [--twin l5pc] [--seconds 15 30 60] [--repeats 3]

The recording is that of the twin's shipped trial, repeated, so that it has the cell's own tree and potentials. Each
duration runs in a process of its own, for its peak memory; beside it stands the memory of a process that has made the
forward model and no more, and the time to read the potentials without doing anything with them. The results stand in
docs/measurements/signals.md.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import dendrotwin
from dendrotwin import signals
from dendrotwin.cell.tree import Events
from dendrotwin.recording import Recording, RecordingFile, write_recordings
from dendrotwin.recording.trials import index_trials, read_trial

PROBE = signals.square_array(16, 4, 60.0, (0.0, 60.0, 300.0))


def long_recording(name: str, seconds: float, path: Path) -> int:
    """The shipped trial over and over, for so long; returns the number of compartments."""
    tree, (trial,) = index_trials(dendrotwin.TWINS / f"{name}.recording.h5")
    v = read_trial(trial, tree).v_mV
    steps = round(1000 * seconds)
    none = np.zeros(0, dtype=np.int32)
    long = np.resize(v, (steps, tree.n))
    write_recordings(path, [Recording(tree, long, Events(none, none), np.zeros(0), "long")], {})
    return tree.n


def peak_MB() -> float:
    """Peak resident memory of this process [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_only(path: Path) -> tuple[float, float]:
    """Seconds to read all potentials in chunks, and peak memory [MB]."""
    start = time.perf_counter()
    with RecordingFile(path) as file:
        for begin in range(0, file.duration_ms(0), 2048):
            file.v(0, begin, begin + 2048)
    return time.perf_counter() - start, peak_MB()


def lfp_to_file(path: Path) -> tuple[float, float]:
    """Seconds from one file to the other, the forward model with it, and peak memory [MB]."""
    start = time.perf_counter()
    signals.write_signals(path.with_suffix(".signals.h5"), path, [signals.LFP(PROBE)])
    return time.perf_counter() - start, peak_MB()


def idle(path: Path) -> tuple[float, float]:
    """Memory of a process with the forward model in it [MB]."""
    with RecordingFile(path) as file:
        signals.lfp_matrix(signals.upright(file.tree()), PROBE)
    return 0.0, peak_MB()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--twin", default="l5pc")
    parser.add_argument("--seconds", type=float, nargs="+", default=[15.0, 30.0, 60.0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{seconds:g}.h5" for seconds in arguments.seconds]
        for seconds, path in zip(arguments.seconds, paths, strict=True):
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                n = pool.submit(long_recording, arguments.twin, seconds, path).result()
        found: dict[tuple[str, float], list[tuple[float, float]]] = {}
        for _ in range(arguments.repeats):  # interleaved, so that a slow minute of the machine hits all alike
            for seconds, path in zip(arguments.seconds, paths, strict=True):
                for work in (idle, read_only, lfp_to_file):
                    with ProcessPoolExecutor(1, mp_context=context) as pool:
                        found.setdefault((work.__name__, seconds), []).append(pool.submit(work, path).result())
    print(f"{arguments.twin}, {n} compartments, {len(PROBE)} electrodes, medians of {arguments.repeats}")
    print("| recording | only read | LFP, file to file | per s | peak memory | beyond the forward model |")
    print("| --- | --- | --- | --- | --- | --- |")
    for seconds in arguments.seconds:
        (_, base), (read, _), (took, peak) = (
            [statistics.median(values) for values in zip(*found[name, seconds], strict=True)]
            for name in ("idle", "read_only", "lfp_to_file")
        )
        row = f"{read:.2f} s | {took:.2f} s | {1000 * took / seconds:.1f} ms | {peak:.0f} MB | {peak - base:.0f} MB"
        print(f"| {seconds:g} s | {row} |", flush=True)


if __name__ == "__main__":
    main()
