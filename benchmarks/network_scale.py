"""How time and memory of a network grow with its cells, on one process and on several.

    python benchmarks/network_scale.py OUT [--cells 100,300,1000,3000] [--processes 1,2] [--milliseconds 200]

The cells are l5pc twins in a column, four of five excitatory, with 500 synapses each: 100 from other cells, with delays
from 1.5 ms, and 400 of the background. A linear probe of 64 contacts stands in the column. Each network runs with and
without the probe, in processes of one thread (`torchrun` starts several). Beside it, in the same process, the bare
cells: some of them alone, with the events that they got in the network; and NEURON, one cell with the usual input of
`simulate`, if its reconstruction is at hand.

    engine     the network without probe, over the bare cells
    probe      what it adds: the share of its recorder in a run with it
    setup      drawing and wiring; the matrices of the probe apart

Writes network_scale.json and network_scale.png into OUT. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import torch
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

import dendrotwin
from dendrotwin import signals
from dendrotwin.cell.tree import Events
from dendrotwin.circuit import Circuit, Column, Field, InDegree
from dendrotwin.circuit.engine import Cells, Engine, Sampling, Settings
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.run import engine_of
from dendrotwin.errors import DendrotwinError
from dendrotwin.evaluation.timing import time_neuron
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.plot import save
from dendrotwin.recording import provenance
from dendrotwin.solver.delivery import Grid, Ring, taken
from dendrotwin.solver.stepper import Stepper
from dendrotwin.support.workers import run_apart

SOURCES = 10  # of each kind, of a cell
EACH = {"excitatory": 4, "inhibitory": 6}  # synapses of a source on a cell
BACKGROUND = {"excitatory": 360, "inhibitory": 40}  # synapses of a cell
HZ = {"excitatory": 14.0, "inhibitory": 10.0}  # of each synapse of the background
CONTACTS = 64
BARE = 100  # cells that run alone, at most
MIB = 2.0**20


def network(cells: int) -> Circuit:
    """Excitatory and inhibitory cells, four to one, in a column that grows with them at one density."""
    twin, circuit = dendrotwin.load("l5pc"), Circuit(seed=1)
    column = Column(radius_um=30.0 * np.sqrt(cells / 10.0), z_um=(-100.0, 100.0))
    populations = {"excitatory": cells - cells // 5, "inhibitory": cells // 5}
    for name, count in populations.items():
        circuit.add(name, twin, count, column)
    for target in populations:
        for source, hz in HZ.items():
            rule = InDegree(min(SOURCES, populations[source] - 1), EACH[source])
            circuit.connect(source, target, rule, source, delay_ms=lambda random, um: 1.5 + um / 300.0)
            circuit.poisson(target, hz, source, BACKGROUND[source])
    return circuit


class Watched(Engine):
    """An engine that keeps the events of some of its cells."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[tuple[np.ndarray, ...]] = []

    def _send_input(self, cells: Cells, grid: Grid) -> None:
        super()._send_input(cells, grid)
        ring = Ring(*(array.copy() for array in cells.ring))
        cell, input, time_ms, _ = taken(ring, self.slice % len(ring.waiting))
        mine = np.isin(cell, chosen(len(cells.here.node)))
        self.kept.append((cell[mine].copy(), input[mine].copy(), time_ms[mine].copy()))


def chosen(cells: int) -> Any:
    """The cells that run alone."""
    return np.unique(np.linspace(0, cells - 1, BARE).astype(int))


def loop(engine: Engine, field: Field | None) -> tuple[list[float], float, int]:
    """Run to the end: wall time at the end of each slice, that of the probe [s], and how many spikes there were."""
    spikes, of_field, ends = 0, 0.0, []

    def gather(node: Any, time_ms: Any) -> Any:
        nonlocal spikes
        node, time_ms, _ = exchange().spikes(node, time_ms, False)
        spikes += len(node)
        return node, time_ms

    exchange().barrier()
    began = time.perf_counter()
    while engine.slice < engine.slices:
        time_ms, recorded = engine.advance(gather)
        if field is not None:
            before = time.perf_counter()
            field.take(time_ms, recorded)
            if engine.slice == engine.slices:
                field.parts()
            of_field += time.perf_counter() - before
        ends.append(time.perf_counter() - began)
    exchange().barrier()
    ends[-1] = time.perf_counter() - began
    return ends, of_field, spikes


def bare(engine: Watched, milliseconds: int) -> float:
    """Seconds of one cell alone, with the events that it had: the mean over some."""
    stepper: Stepper = engine.models[0].batch.stepper
    cell, input, time_ms = (np.concatenate(column) for column in zip(*engine.kept, strict=True))
    alone = chosen(len(engine.models[0].here.node))
    trials = [Events.sort(input[cell == k], time_ms[cell == k]) for k in alone]
    stepper.advance(stepper.start(), trials[0], 2)
    began = time.perf_counter()
    for events in trials:
        stepper.advance(stepper.start(), events, milliseconds)
    return (time.perf_counter() - began) / len(trials)


def work(out: Path, cells: int, milliseconds: int, probe: bool) -> None:
    """One network in this process, or this process's part of it."""
    torch.set_num_threads(1)
    rank, processes = exchange().rank, exchange().size
    settings = Settings(milliseconds)
    where = signals.linear_probe((0.0, 0.0, -400.0), (0.0, 0.0, 1400.0), CONTACTS)
    field = Field(signals.LFP(where, inside="surface")) if probe else None
    sampling = Sampling(1.0, somata_only=not probe)
    small = engine_of(network(10).part, Settings(4), sampling)  # compiles
    if field is not None:
        field.begin(small)
    loop(small, field)
    del small
    before, began = forget_peak(), time.perf_counter()
    circuit = network(cells)
    if probe or processes > 1:
        engine = engine_of(circuit.part, settings, sampling)
    else:
        engine = Watched(circuit.part, settings, sampling)
    found: dict[str, Any] = {"setup": time.perf_counter() - began, "peak of setup": peak()}
    if field is not None:
        began = time.perf_counter()
        field.begin(engine)
        found["matrices"] = time.perf_counter() - began
    ends, of_field, spikes = loop(engine, field)
    found |= {"wall": ends[-1], "ends": ends, "probe": of_field, "rate_hz": spikes / cells / milliseconds * 1e3}
    found |= {"peak": peak(), "before": before}
    if isinstance(engine, Watched):
        found["bare"] = bare(engine, milliseconds) * cells
    (out / f"{rank}.json").write_text(json.dumps(found))


def forget_peak() -> int:
    """Let `peak` count from now on, which Linux alone can do; the memory of now [bytes]."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The most memory that this process had since `forget_peak` [bytes]."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def measure(cells: int, processes: int, milliseconds: int, probe: bool) -> dict[str, Any]:
    """One network, in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        what = [__file__, folder, "--work", f"{cells},{milliseconds},{int(probe)}"]
        command = [sys.executable, *(several if processes > 1 else []), *what]
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        done = subprocess.run(command, env=os.environ | one_thread, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        each = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(processes)]
    found = each[0] | {"wall": max(one["wall"] for one in each), "peak": max(one["peak"] for one in each)}
    return {"cells": cells, "processes": processes, "probe_on": probe, "milliseconds": milliseconds, **found}


def exponent(x: Any, y: Any) -> float:
    """Of a power law."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(x) > 1 else float("nan")


def neuron_seconds() -> float | None:
    """NEURON's, for a second of one cell, at its default; None where it has no reconstruction."""
    try:
        _, seconds = run_apart(time_neuron, Simulation(**dendrotwin.load("l5pc").training["simulation"]), 1000, 1)
    except DendrotwinError as error:
        print(f"without NEURON: {error}")
        return None
    return seconds["NEURON default"]


def table(rows: list[dict[str, Any]], neuron: float | None) -> list[str]:
    """What was measured, a line for each network."""
    lines = ["cells processes probe   s/s   MiB each   rate Hz   setup s   matrices s   engine %   probe %   speed-up"]
    one = {(row["cells"], row["probe_on"]): row for row in rows if row["processes"] == 1}
    for row in rows:
        lone = one.get((row["cells"], row["probe_on"]))
        cells_alone = row["wall"] - row["probe"]
        lines.append(
            f"{row['cells']:>5} {row['processes']:>9} {'yes' if row['probe_on'] else 'no':>5} "
            f"{row['wall'] / row['milliseconds'] * 1e3:>6.2f} {row['peak'] / MIB:>9.0f} {row['rate_hz']:>9.1f} "
            f"{row['setup']:>9.2f} {row.get('matrices', 0.0):>12.2f} "
            + (f"{100 * (row['wall'] / row['bare'] - 1):>10.1f} " if "bare" in row else " " * 11)
            + (f"{100 * row['probe'] / cells_alone:>9.1f} " if row["probe_on"] else " " * 10)
            + (f"{lone['wall'] / row['wall']:>10.2f}" if lone and row["processes"] > 1 else "")
        )
    for probe in (False, True):
        of = [row for (_, on), row in one.items() if on == probe]
        if len(of) > 1:
            with_ = "with" if probe else "without"
            cells, largest = [row["cells"] for row in of], of[-1]
            ends = np.array(largest["ends"])
            ms, late = np.arange(1, len(ends) + 1), slice(len(ends) // 4, None)
            each = np.diff([row["peak"] - row["before"] for row in of[-2:]])[0] / np.diff(cells[-2:])[0]
            lines.append(
                f"{with_} probe: wall ~ cells^{exponent(cells, [row['wall'] for row in of]):.2f}, "
                f"~ time^{exponent(ms[late], ends[late]):.2f}; {each / 1024:.0f} KiB for each cell more"
            )
    if neuron is not None:
        fastest = min(row["wall"] / row["milliseconds"] * 1e3 / row["cells"] for row in one.values())
        lines.append(f"NEURON, one cell: {neuron:.2f} s/s, {neuron / fastest:.0f} times ours on one thread")
    return lines


def draw(rows: list[dict[str, Any]], neuron: float | None) -> matplotlib.figure.Figure:
    """Time and memory over the number of cells."""
    figure = matplotlib.figure.Figure(figsize=(8, 3.6), layout="constrained")
    times, memory = figure.subplots(1, 2)
    colours, marks = ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), "os^v"
    kinds = sorted({(row["processes"], row["probe_on"]) for row in rows})
    cells = sorted({row["cells"] for row in rows})

    def per_s(row: dict[str, Any], name: str = "wall") -> float:
        return float(row[name] / row["milliseconds"] * 1e3)

    if neuron is not None:
        times.plot(cells, [neuron * many for many in cells], "k:", label="NEURON, one thread")
    for k, (processes, probe) in enumerate(kinds):
        of = [row for row in rows if (row["processes"], row["probe_on"]) == (processes, probe)]
        label = f"{processes} process{'es' * (processes > 1)}{', probe' * probe}"
        style = {"color": colours[k % 4], "marker": marks[k % 4], "ms": 5, "lw": 1.2, "label": label}
        many = [row["cells"] for row in of]
        times.plot(many, [per_s(row) for row in of], **style)
        memory.plot(many, [row["peak"] / MIB for row in of], **style)
    alone = [row for row in rows if "bare" in row]
    bare_s = [per_s(row, "bare") for row in alone]
    times.plot([row["cells"] for row in alone], bare_s, "k--", lw=1, label="bare cells, one thread")
    times.set_ylabel("wall time (s per simulated s)")
    memory.set_ylabel("peak memory of each process (MiB)")
    for axes in (times, memory):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("cells")
        axes.set_xticks(cells, [str(many) for many in cells])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, fontsize=7)
    return figure


def whole_numbers(text: str) -> list[int]:
    """From "1,2"."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=whole_numbers, default=[100, 300, 1000, 3000])
    parser.add_argument("--processes", type=whole_numbers, default=[1, 2])
    parser.add_argument("--milliseconds", type=int, default=200)
    parser.add_argument("--work", type=whole_numbers, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        cells, milliseconds, probe = arguments.work
        work(arguments.out, cells, milliseconds, bool(probe))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    neuron, rows = neuron_seconds(), []
    for cells in arguments.cells:
        for processes in arguments.processes:
            for probe in (False, True):
                rows.append(measure(cells, processes, arguments.milliseconds, probe))
                print(table(rows, None)[len(rows)], flush=True)
    print(*table(rows, neuron), sep="\n")
    said = {"neuron": neuron, "rows": rows, **provenance()}
    (arguments.out / "network_scale.json").write_text(json.dumps(said, indent=1) + "\n")
    save(draw(rows, neuron), arguments.out / "network_scale.png")


if __name__ == "__main__":
    main()
