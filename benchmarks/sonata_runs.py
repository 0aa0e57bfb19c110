"""A SONATA simulation run by BMTK or by twins, in a process of its own, and how far two results are apart.

    python benchmarks/sonata_runs.py CONFIG OUT --dt 0.025

runs BMTK alone; `network_sonata.py` and `network_bmtk.py` run both.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dendrotwin.evaluation.metrics import count_matches

Floats = NDArray[np.float64]
# A process holds its parent's peak of memory when it begins; so a small one stands between.
LAUNCHER = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); sys.exit(code)"
)


@dataclass(frozen=True, eq=False)
class Cost:
    """What a run took.

    Attributes:
        run_s: the simulation alone, with the writing of its results [s].
        whole_s: the command, from its start to its end [s].
        peak_MB: most memory that the process held [MB].
    """

    run_s: float
    whole_s: float
    peak_MB: float

    def __str__(self) -> str:
        return f"{self.run_s:.2f} | {self.whole_s:.1f} | {self.peak_MB:.0f}"


COST_COLUMNS = "simulation (s) | command (s) | peak memory (MB)"


def measured(*command: object) -> tuple[float, float, str]:
    """A command with one thread: seconds, peak memory [MB], and what it printed; it ends the program when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *map(str, command)], env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    *printed, peak = done.stdout.rstrip().split("\n")
    return seconds, float(peak), "\n".join(printed)


def bmtk(config: Path, out: Path, dt_ms: float, *options: str) -> Cost:
    """Run BMTK; see the arguments of this program."""
    seconds, peak, printed = measured(sys.executable, Path(__file__).resolve(), config, out, "--dt", dt_ms, *options)
    return Cost(json.loads(printed.split("\n")[-1])["run_s"], seconds, peak)


def twins(config: Path, out: Path, accuracy: str, *options: str) -> Cost:
    """Run twins of the cells, which are read from NEURON before."""
    command = (sys.executable, "-m", "dendrotwin", "network", config.resolve(), "--accuracy", accuracy, *options)
    measured(*command, "--out", out / "dry", "--dry-run")
    seconds, peak, _ = measured(*command, "--out", out, "--overwrite")
    return Cost(json.loads((out / "network.json").read_text())["seconds"], seconds, peak)


def working_copy(sonata: Path, out: Path, *cases: str) -> Path:
    """A copy of the SONATA project's examples with compiled mechanisms, which are those of bmtk's wheel."""
    folder = out / "sonata"
    for name in ("shared_components", *cases):
        shutil.copytree(sonata / name, folder / name, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for path in [folder / name, *(folder / name).rglob("*/")]:
            path.chmod(0o755)
    spec = importlib.util.find_spec("bmtk")
    assert spec is not None
    assert spec.origin is not None
    mechanisms = folder / "shared_components" / "mechanisms"
    shutil.copytree(
        Path(spec.origin).parent / "utils/scripts/bionet/mechanisms/modfiles",
        mechanisms / "modfiles",
        dirs_exist_ok=True,
    )
    if not (mechanisms / "x86_64").exists():
        subprocess.run(
            [Path(sys.executable).parent / "nrnivmodl", "modfiles"], cwd=mechanisms, check=True, capture_output=True
        )
    return folder


def read_spikes(path: Path, population: str, cells: int) -> list[Floats]:
    """The sorted spikes of each cell [ms]."""
    with h5py.File(path) as file:
        group = file[f"spikes/{population}"]
        node, time_ms = group["node_ids"][()], group["timestamps"][()].astype(np.float64)
    return [np.sort(time_ms[node == k]) for k in range(cells)]


def read_potentials(path: Path, population: str, every: int = 1) -> Floats:
    """(samples, cells) of a report of somata, each `every`-th sample [mV]."""
    with h5py.File(path) as file:
        return np.asarray(file[f"report/{population}/data"][every - 1 :: every], np.float64)


def shifts(true_ms: Floats, other_ms: Floats, within_ms: float) -> Floats:
    """How far the spikes of one cell that can be paired are apart [ms], as `count_matches` pairs them."""
    i = j = 0
    found = []
    while i < len(true_ms) and j < len(other_ms):
        gap = other_ms[j] - true_ms[i]
        if abs(gap) <= within_ms:
            found.append(abs(gap))
        i, j = i + (gap >= -within_ms), j + (gap <= within_ms)
    return np.array(found)


def f1(true: list[Floats], other: list[Floats], within_ms: float = 2.0) -> float:
    """F1 of the spikes of all cells."""
    pairs = sum(count_matches(a, b, within_ms) for a, b in zip(true, other, strict=True))
    return 2 * pairs / max(sum(map(len, true)) + sum(map(len, other)), 1)


def explained_variance(true: Floats, other: Floats) -> Floats:
    """1 - sum (a - b)^2 / sum (a - mean a)^2 over the samples (samples, channels) that both have."""
    steps = min(len(true), len(other))
    a, b = true[:steps], other[:steps]
    return np.asarray(1 - ((a - b) ** 2).sum(0) / ((a - a.mean(0)) ** 2).sum(0))


def models_of(folder: Path, population: str) -> list[str]:
    """The model of each cell of a population, by the files of a network."""
    of_type = {row["node_type_id"]: row["model_name"] for row in node_types(folder / f"{population}_node_types.csv")}
    with h5py.File(folder / f"{population}_nodes.h5") as file:
        return [of_type[str(number)] for number in file[f"nodes/{population}/node_type_id"][()]]


def node_types(path: Path) -> list[dict[str, str]]:
    """The rows of a table of node types."""
    with path.open() as text:
        return list(csv.DictReader(text, delimiter=" "))


def _run_bmtk(path: Path, out: Path, dt_ms: float, population: str | None, without: list[str]) -> float:
    """BMTK in this process; returns the seconds of its simulation, without building."""
    out.mkdir(parents=True, exist_ok=True)
    config = json.loads(path.read_text())
    config["run"]["dt"] = dt_ms
    config["output"].update(output_dir=str(out.resolve()), log_to_console=False)
    config["reports"] = {name: report for name, report in config["reports"].items() if name not in without}
    if population is not None:  # sets chosen by model_type come out empty in BMTK 1.2.0
        for key, sections in (("node_set", config["inputs"]), ("cells", config["reports"])):
            for section in sections.values():
                if section.get(key) == "biophys_cells":
                    section[key] = population
    changed = path.parent / f"bmtk-{os.getpid()}.json"
    changed.write_text(json.dumps(config))
    os.chdir(path.parent)
    from bmtk.simulator import bionet

    try:
        read = bionet.Config.from_json(changed.name, validate=False)
        read.build_env()
        network = bionet.BioNetwork.from_config(read)
        simulator = bionet.BioSimulator.from_config(read, network=network)
    finally:
        changed.unlink()
    began = time.perf_counter()
    simulator.run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dt", type=float, required=True, help="ms, in place of the config's")
    parser.add_argument("--population", help="in place of the node set biophys_cells, which BMTK 1.2.0 leaves empty")
    parser.add_argument("--without", nargs="+", default=[], help="reports that are left away")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    seconds = _run_bmtk(arguments.config.resolve(), out, arguments.dt, arguments.population, arguments.without)
    print("\n" + json.dumps({"run_s": seconds}))


if __name__ == "__main__":
    main()
