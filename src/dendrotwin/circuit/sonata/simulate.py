"""A SONATA simulation, run: from its config to the files of its results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Ints as Ints32
from dendrotwin.cell.tree import Tree
from dendrotwin.circuit.description import Description
from dendrotwin.circuit.device import device_of
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.recorders import Field, Parts, Potentials, Recorder, spikes_of
from dendrotwin.circuit.run import Run, Storage
from dendrotwin.circuit.segments import digest_of
from dendrotwin.circuit.sonata.cells import read_twins
from dendrotwin.circuit.sonata.compartments import compartment_at
from dendrotwin.circuit.sonata.load import RunPlan, read_circuit
from dendrotwin.circuit.sonata.outputs import extracellular_file, membrane_file, spike_file
from dendrotwin.circuit.sonata.placement import placement
from dendrotwin.circuit.sonata.reports import Clock, ExtracellularRecording, MembraneRecording
from dendrotwin.circuit.sonata.rows import Floats, Ints
from dendrotwin.circuit.wiring import Numbering
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording import provenance
from dendrotwin.signals.extracellular import LFP
from dendrotwin.signals.probes import Probe
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.support.atomic_files import whole_file
from dendrotwin.twin import Twin

SIGMA_S_PER_M = 0.3  # of BMTK's extracellular reports


class NodeCells:
    """Cells of node types, as BMTK builds them, read as twins; see `load.Cells`."""

    def twins_of(self, node_types: list[dict[str, str]]) -> list[Twin]:
        """See `cells.read_twins`."""
        named = {_name(k, options): options for k, options in enumerate(node_types)}
        twins = read_twins(named)  # of any accuracy: that of the steps is the engine's
        return [twins[name] for name in named]

    def compartment_at(self, tree: Tree, section_id: Ints, x: Floats) -> Ints32:
        """See `compartments.compartment_at`."""
        return compartment_at(tree, section_id, x)

    def rotation_of(self, attributes: Mapping[str, Floats], count: int) -> Floats:
        """See `placement.placement`."""
        return placement(attributes, count)


def _name(number: int, options: Mapping[str, str]) -> str:
    """What a node type is called in messages."""
    parts = [Path(options[key]).name for key in ("model_template", "dynamics_params", "morphology") if options.get(key)]
    return f"{number + 1} ({', '.join(parts)})"


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulation that has been read and checked, and that can run.

    Attributes:
        circuit: what is run.
        plan: what it asks for.
        settings: how it is run.
    """

    circuit: Description
    plan: RunPlan
    settings: Settings

    @cached_property
    def digest(self) -> str:
        """Of all that the results depend on."""
        plan = self.plan
        asked = [plan.dt_ms, plan.reports, plan.extracellular, plan.spikes, plan.spikes_csv, plan.order]
        return digest_of(self.circuit, self.settings.of_results, asked)

    @property
    def sample_ms(self) -> float:
        """How often potentials and fields are sampled [ms]."""
        return self.plan.dt_ms if self.plan.reports or self.plan.extracellular else 1.0

    @property
    def is_done(self) -> bool:
        """Whether all its results are there."""
        path = self.plan.done
        return path.is_file() and json.loads(path.read_text()).get("digest") == self.digest


def read_simulation(
    config: str | Path, folder: str | Path | None = None, accuracy: CableConfig | None = None, *,
    overwrite: bool = False, threads: int = 1, device: str = "cpu",
) -> Simulation:  # fmt: skip
    """Read a SONATA simulation: its circuit, its inputs and what it asks for; cells are read from NEURON.

    Args:
        config: the simulation config.
        folder: for the results, in place of its `output.output_dir`.
        accuracy: of the cells' steps; standard where nothing is said.
        overwrite: replace results that are there.
        threads: of each process.
        device: that the cells are on; see `Settings`.

    Raises:
        FileError, InputError, CellError: see `load.read_circuit` and `device.device_of`.
    """
    device_of(device)
    accuracy = accuracy or CableConfig()
    if exchange().rank:  # the first process reads the cells, the others find them read
        exchange().barrier()
    circuit, plan = read_circuit(config, NodeCells(), folder, overwrite=overwrite)
    if exchange().rank == 0:
        exchange().barrier()
    single = [of.name for of in plan.extracellular if of.contributions is not None]
    if single:
        raise InputError(
            f"{config}: reports.{single[0]}.contributions_dir asks for the potential of each cell alone, which is not "
            "recorded; take it away"
        )
    settings = Settings(plan.stop_ms, plan.threshold_mV, accuracy, threads=threads, device=device)
    simulation = Simulation(circuit, plan, settings)
    if plan.done.is_file() and not plan.overwrite and not simulation.is_done:
        raise FileError(f"{plan.folder} holds the results of another run; name another folder, or use --overwrite")
    return simulation


def recorders_of(plan: RunPlan) -> list[Recorder]:
    """What records all that a simulation asks for: for each population of each membrane report, then for each probe.

    Args:
        plan: of the run.
    """
    of_membranes: list[Recorder] = [
        Potentials(
            of.population, variable=report.variable, name=f"{report.name}-{of.population}",
            elements=(of.node, of.compartment),
        )
        for report in plan.reports
        for of in report.elements
    ]  # fmt: skip
    options: dict[str, Any] = {"sigma_S_per_m": SIGMA_S_PER_M, "source": "line", "inside": "surface"}
    return of_membranes + [Field(LFP(Probe(of.position_um), **options), of.cells, of.name) for of in plan.extracellular]


def run_simulation(simulation: Simulation, checkpoint_s: float = 60.0) -> float:
    """Run it and write its results; a run that was killed goes on.

    Args:
        simulation: read.
        checkpoint_s: seconds between two checkpoints [s].

    Returns:
        How long the last process that ran it took [s].

    Raises:
        CircuitError: see `run.run`.
        FileError: the disk is full.
    """
    plan, started = simulation.plan, time.monotonic()
    writers: list[Callable[[ExitStack], Callable[[list[Parts]], None]]] = []
    at = 1  # the first recorder is that of spikes
    for report in plan.reports:
        writers.append(_membrane_writer(report, at))
        at += len(report.elements)
    names = [population.name for population in simulation.circuit.populations]
    for outside in plan.extracellular:
        writers.append(_extracellular_writer(outside, plan, names, at))
        at += 1
    recorders, storage = recorders_of(plan), Storage(plan.folder, checkpoint_s)
    with Run(simulation.circuit, simulation.settings, recorders, simulation.sample_ms, storage) as running:
        running.finish()
        if running.exchange.rank == 0:
            _write(running, simulation, writers)
            seconds = time.monotonic() - started
            with whole_file(plan.done) as path:
                path.write_text(json.dumps(_said(simulation, seconds), indent=1))
            running.remove()
    return time.monotonic() - started


def _write(
    running: Run, simulation: Simulation, writers: list[Callable[[ExitStack], Callable[[list[Parts]], None]]]
) -> None:  # fmt: skip
    """All files of the results, segment by segment, each under its name when it is whole."""
    numbers, populations = Numbering.of(simulation.circuit), simulation.circuit.populations
    with ExitStack() as stack:
        spikes = stack.enter_context(spike_file(simulation.plan, [p.name for p in populations]))
        write = [open_writer(stack) for open_writer in writers]
        for parts in running.joined():
            for population in populations:
                first = numbers.first[population.name]
                spikes.add(population.name, *spikes_of(parts[0], first, len(population)))
            for one in write:
                one(parts)


def _membrane_writer(
    report: MembraneRecording, first: int
) -> Callable[[ExitStack], Callable[[list[Parts]], None]]:  # fmt: skip
    def opened(stack: ExitStack) -> Callable[[list[Parts]], None]:
        series = stack.enter_context(membrane_file(report))

        def write(parts: list[Parts]) -> None:
            for k, of in enumerate(report.elements, start=first):
                series[of.population].add(parts[k]["values"][asked(report.clock, parts[k]["time_ms"])])

        return write

    return opened


def _extracellular_writer(
    outside: ExtracellularRecording, plan: RunPlan, names: list[str], at: int
) -> Callable[[ExitStack], Callable[[list[Parts]], None]]:  # fmt: skip
    def opened(stack: ExitStack) -> Callable[[list[Parts]], None]:
        file = stack.enter_context(extracellular_file(outside, plan.node_ids))

        def write(parts: list[Parts]) -> None:
            rows = asked(outside.clock, parts[at]["time_ms"])
            file.add({name: parts[at]["values"][names.index(name)][rows] for name in outside.cells})

        return write

    return opened


def asked(clock: Clock, time_ms: Floats) -> Ints:
    """Which samples a report has.

    Args:
        clock: of the report.
        time_ms: (samples,) when they are [ms].

    Returns:
        (k,) indices.
    """
    number = (time_ms - clock.first_ms) / clock.step_ms
    whole = np.rint(number)
    return np.flatnonzero((np.abs(number - whole) < 1e-6) & (whole >= 0) & (whole < clock.count))


def _said(simulation: Simulation, seconds: float) -> dict[str, Any]:
    """What the folder says of how its files were made."""
    plan, circuit = simulation.plan, simulation.circuit
    return {
        "digest": simulation.digest,
        "accuracy": simulation.settings.accuracy.model_dump(mode="json"),
        "duration_ms": plan.stop_ms,
        "populations": {population.name: len(population) for population in circuit.populations},
        "connections": sum(map(len, circuit.projections)),
        "conditions": {"celsius": plan.celsius, "v_init_mV": plan.v_init_mV, "threshold_mV": plan.threshold_mV},
        "extracellular": {"sigma_S_per_m": SIGMA_S_PER_M, "source": "line"} if plan.extracellular else "none",
        "processes": exchange().size,
        "device": simulation.settings.device,
        "seconds": seconds,
        **provenance(),
    }
