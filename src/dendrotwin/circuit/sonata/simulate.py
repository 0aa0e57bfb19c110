"""A SONATA simulation, run: from its config to the files of its results."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dendrotwin.circuit.description import Description, Projection
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.fields import Field, FieldOfEach
from dendrotwin.circuit.identity import digest_of_run
from dendrotwin.circuit.recorders import Parts, Potentials, Recorder, spikes_of
from dendrotwin.circuit.run import Run, Storage
from dendrotwin.circuit.sonata.cells import read_twins
from dendrotwin.circuit.sonata.load import RunPlan, read_circuit
from dendrotwin.circuit.sonata.outputs import contributions, extracellular_file, membrane_file, spike_file
from dendrotwin.circuit.sonata.reports import Clock, ExtracellularRecording, MembraneRecording
from dendrotwin.circuit.sonata.rows import Floats, Ints
from dendrotwin.circuit.wiring import Numbering
from dendrotwin.errors import FileError
from dendrotwin.recording import provenance
from dendrotwin.signals.extracellular import LFP
from dendrotwin.signals.probes import Probe
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.support.atomic_files import whole_file
from dendrotwin.twin import Twin

SIGMA_S_PER_M = 0.3  # of BMTK's extracellular reports


def _twins_of(node_types: list[dict[str, str]]) -> list[Twin]:
    """Cells of node types, as BMTK builds them, read as twins; of any accuracy: that of the steps is the engine's."""
    named = {_name(k, options): options for k, options in enumerate(node_types)}
    first = exchange().rank == 0
    with exchange().together():  # the first process reads the cells, the others find them read
        twins = read_twins(named) if first else {}
    twins = twins if first else read_twins(named)
    return [twins[name] for name in named]


def _name(number: int, options: Mapping[str, str]) -> str:
    """What a node type is called in messages."""
    parts = [Path(options[key]).name for key in ("model_template", "dynamics_params", "morphology") if options.get(key)]
    return f"{number + 1} ({', '.join(parts)})"


class Size(NamedTuple):
    """How many connections or clamps there are, and their delays.

    Attributes:
        many: of them.
        shortest_ms, longest_ms: delays [ms].
    """

    many: int
    shortest_ms: float = math.inf
    longest_ms: float = 0.0

    @classmethod
    def of(cls, parts: Sequence[Size]) -> Size:
        """Of the parts of all processes.

        Args:
            parts: of each process.
        """
        many, shortest_ms, longest_ms = zip(*parts, strict=True)
        return cls(sum(many), min(shortest_ms), max(longest_ms))


def _size(projection: Projection) -> Size:
    delay_ms = projection.delay_ms
    return Size(len(delay_ms), float(delay_ms.min()), float(delay_ms.max())) if len(delay_ms) else Size(0)


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulation that has been read and checked, and that can run.

    Attributes:
        circuit: what of it this process runs.
        plan: what it asks for.
        settings: how it is run.
    """

    circuit: Description
    plan: RunPlan
    settings: Settings

    @cached_property
    def digest(self) -> str:
        """Of all that the results depend on; all processes ask for it together."""
        plan = self.plan
        asked = [plan.dt_ms, plan.reports, plan.extracellular, plan.spikes, plan.spikes_csv, plan.order]
        return digest_of_run(self.circuit, self.settings, asked)

    @cached_property
    def sizes(self) -> list[Size]:
        """How much of each projection, and then of each clamp, there is; all processes ask for it together."""
        here = [*map(_size, self.circuit.projections), *(Size(len(clamps.node)) for clamps in self.circuit.clamps)]
        return [Size.of(each) for each in zip(*exchange().gather(here), strict=True)]

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
    overwrite: bool = False, threads: int = 1,
) -> Simulation:  # fmt: skip
    """Read a SONATA simulation: its circuit, its inputs and what it asks for; cells are read from NEURON.

    Args:
        config: the simulation config.
        folder: for the results, in place of its `output.output_dir`.
        accuracy: of the cells' steps; standard where nothing is said.
        overwrite: replace results that are there.
        threads: of each process.

    Raises:
        FileError, InputError, CellError: see `load.read_circuit`.
    """
    with exchange().together():
        circuit, plan = read_circuit(config, _twins_of, folder, overwrite=overwrite)
        notes = tuple(dict.fromkeys(itertools.chain(*exchange().gather(plan.notes))))
        settings = Settings(plan.stop_ms, plan.threshold_mV, accuracy or CableConfig(), threads=threads)
        simulation = Simulation(circuit, replace(plan, notes=notes), settings)
        _ = simulation.digest, simulation.sizes  # which all processes find out together
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
    return of_membranes + [
        (Field if of.contributions is None else FieldOfEach)(LFP(Probe(of.position_um), **options), of.cells, of.name)
        for of in plan.extracellular
    ]


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
    for outside in plan.extracellular:
        writers.append(_extracellular_writer(outside, simulation, at))
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
    outside: ExtracellularRecording, simulation: Simulation, at: int
) -> Callable[[ExitStack], Callable[[list[Parts]], None]]:  # fmt: skip
    names = [population.name for population in simulation.circuit.populations]
    first = Numbering.of(simulation.circuit).first

    def opened(stack: ExitStack) -> Callable[[list[Parts]], None]:
        file = stack.enter_context(extracellular_file(outside))
        if outside.contributions is None:

            def write(parts: list[Parts]) -> None:
                values = parts[at]["values"][:, asked(outside.clock, parts[at]["time_ms"])]
                file.add({name: values[names.index(name)] for name in outside.cells})

            return write
        cells = stack.enter_context(contributions(outside, simulation.plan.node_ids))

        def write_each(parts: list[Parts]) -> None:
            values = parts[at]["values"][:, asked(outside.clock, parts[at]["time_ms"])]
            of_each = {
                name: values[np.isin(parts[at]["node"], index + first[name])] for name, index in outside.cells.items()
            }
            cells.add(of_each)
            file.add({name: of.sum(axis=0, dtype=np.float64) for name, of in of_each.items()})

        return write_each

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
        "connections": sum(size.many for size in simulation.sizes[: len(circuit.projections)]),
        "conditions": {"celsius": plan.celsius, "v_init_mV": plan.v_init_mV, "threshold_mV": plan.threshold_mV},
        "extracellular": {"sigma_S_per_m": SIGMA_S_PER_M, "source": "line"} if plan.extracellular else "none",
        "processes": exchange().size,
        "seconds": seconds,
        **provenance(),
    }
