"""Signals of linear instruments, such as LFP probes, that the cells of a circuit make while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.engine import Cells, Engine, Recorded
from dendrotwin.circuit.places import placed_tree
from dendrotwin.circuit.recorders import Indices, Parts, named
from dendrotwin.circuit.wiring import joined
from dendrotwin.errors import InputError, MissingPackageError
from dendrotwin.signals.instruments import LinearInstrument, settings_of
from dendrotwin.solver.axial_currents import Neighbours, membrane_currents

# Samples whose field is computed at once: the matrix of a cell, which is larger than its cache, is read once for them.
FIELD_SAMPLES = 16
FIELD_CELLS = 64  # whose fields are computed in one product


class _Fields:
    """The signals that cells make in a linear instrument, such as an LFP probe.

    Args:
        instrument: what records; see `signals`.
        nodes: (k,) the cells that count, of each population; None for all.
        name: of what is recorded; the instrument's where nothing is said.
    """

    somata_only, concentrations, held_bytes = False, False, 0

    def __init__(
        self, instrument: LinearInstrument, nodes: Mapping[str, NDArray[np.integer]] | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        self.instrument, self.nodes, self.name = instrument, nodes, name or instrument.name
        self._found: list[tuple[Floats, NDArray[np.floating]]] = []

    @property
    def asked(self) -> list[Any]:
        """See `Recorder`."""
        what = [self.instrument.channels(), self.nodes]
        return [type(self).__name__, self.name, settings_of(self.instrument), *what]

    def begin(self, engine: Engine) -> None:
        """See `Recorder`.

        Raises:
            InputError: the instrument does not fit a cell; or there is no such population or node.
        """
        self._time: list[Floats] = []
        self._sources: list[list[NDArray[np.float32]]] = [[] for _ in engine.models]
        self._channels = len(next(iter(self.instrument.channels().values())))
        self._counts = [self._counting(engine, cells) for cells in engine.models]
        self._matrices = [
            self._of_model(engine, cells, counts) for cells, counts in zip(engine.models, self._counts, strict=True)
        ]
        self._neighbours = [
            Neighbours.of(cells.here.twin.tree, cells.batch.stepper.layout.compartment) for cells in engine.models
        ]

    def _counting(self, engine: Engine, cells: Cells) -> Indices:
        """Those of a model's cells that count, rising."""
        counts = np.full(len(cells.here.node), self.nodes is None)
        for name, nodes in (self.nodes or {}).items():
            population, node = named(engine.circuit, name), np.asarray(nodes, np.int64)
            outside = node[(node < 0) | (node >= len(population))]
            if len(outside):
                raise InputError(
                    f"{self.name} names node {outside[0]} of {name}, which has {len(population)}; correct it"
                )
            counts |= np.isin(cells.here.node, node + engine.numbers.first[name])
        return np.flatnonzero(counts)

    def _of_model(self, engine: Engine, cells: Cells, counts: Indices) -> NDArray[np.float32]:
        """(cells that count, n, channels) by position."""
        order = cells.batch.stepper.layout.compartment
        found = np.zeros((len(counts), len(order), self._channels), np.float32)
        for k, number in enumerate(cells.here.node[counts]):
            population, node = engine.place(int(number))
            try:
                found[k] = self.instrument.matrix(placed_tree(population, node)).T[order]
            except MissingPackageError:
                raise
            except InputError as error:
                raise InputError(f"node {node} of {population.name}: {error}") from error
        return found

    def take(self, time_ms: Floats, recorded: Sequence[Recorded]) -> None:
        """See `Recorder`."""
        each = zip(recorded, self._sources, self._neighbours, self._counts, strict=True)
        for one, sources, neighbours, counts in each:
            v_mV = one.v_mV if len(counts) == len(one.v_mV) else one.v_mV[counts]
            source = np.empty((v_mV.shape[1], v_mV.shape[0], v_mV.shape[2]), np.float32)
            if self.instrument.acts_on == "potentials":
                source[:] = v_mV.swapaxes(0, 1)
            else:
                membrane_currents(neighbours, v_mV, source)
                if one.injected_nA is not None:
                    source += one.injected_nA[counts].swapaxes(0, 1)
            sources.append(source)
        self._time.append(time_ms)
        if sum(map(len, self._time)) >= FIELD_SAMPLES:
            self._sum()

    def _sum(self) -> None:
        """The field of all samples that wait."""
        time_ms = np.concatenate([np.zeros(0), *self._time])
        self._found.append((time_ms, self._fields(len(time_ms))))
        self.held_bytes += self._found[-1][1].nbytes
        self._time = []
        for sources in self._sources:
            sources.clear()

    def _fields(self, samples: int) -> NDArray[np.floating]:
        """(..., samples, channels) of the sources that wait."""
        raise NotImplementedError

    def parts(self) -> Parts:
        """See `Recorder`."""
        self._sum()
        found, self._found, self.held_bytes = self._found, [], 0
        return {
            "time_ms": np.concatenate([time_ms for time_ms, _ in found]),
            "values": np.concatenate([values for _, values in found], axis=1),
        }


class Field(_Fields):
    """The signal of a linear instrument, such as an LFP probe, summed over all cells and over those of populations.

    With M the instrument's matrix of a cell at its place, the signal is the sum over cells of M I, I being their
    membrane currents (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), or of M V. Its parts: `time_ms` (samples,),
    and `values` (populations, samples, channels), the sum being that over populations.

    Args:
        instrument: what records; see `signals`.
        nodes: (k,) the cells that count, of each population; None for all.
        name: of what is recorded; the instrument's where nothing is said.
    """

    def begin(self, engine: Engine) -> None:
        """See `Recorder`.

        Raises:
            InputError: the instrument does not fit a cell.
        """
        super().begin(engine)
        bounds = np.cumsum([0, *map(len, engine.circuit.populations)])
        self._populations = len(engine.circuit.populations)
        self._of_cell = [
            np.searchsorted(bounds, cells.here.node[counts], side="right") - 1
            for cells, counts in zip(engine.models, self._counts, strict=True)
        ]

    def _fields(self, samples: int) -> Floats:
        values = np.zeros((self._populations, samples, self._channels))
        for sources, matrix, population in zip(self._sources, self._matrices, self._of_cell, strict=True):
            if not sources:
                continue
            for p in np.unique(population):
                mine = np.flatnonzero(population == p)  # nodes of a population follow each other, and so do its cells
                for begin in range(mine[0], mine[-1] + 1, FIELD_CELLS):
                    some = slice(begin, min(begin + FIELD_CELLS, mine[-1] + 1))
                    part = np.concatenate([source[:, some] for source in sources])  # (samples, cells, n)
                    values[p] += part.reshape(samples, -1) @ matrix[some].reshape(-1, self._channels)
        return values

    def join(self, parts: Sequence[Parts]) -> Parts:
        """See `Recorder`."""
        return {"time_ms": parts[0]["time_ms"], "values": np.sum([part["values"] for part in parts], axis=0)}


class FieldOfEach(_Fields):
    """The signal that each cell alone makes in a linear instrument; see `Field`, which is their sum.

    Its parts: `time_ms` (samples,), `node` (cells,) numbers in the circuit, rising, and `values` (cells, samples,
    channels).

    Args:
        instrument: what records; see `signals`.
        nodes: (k,) the cells that are recorded, of each population; None for all.
        name: of what is recorded; the instrument's where nothing is said.
    """

    def begin(self, engine: Engine) -> None:
        """See `Recorder`.

        Raises:
            InputError: the instrument does not fit a cell.
        """
        super().begin(engine)
        self.node = joined(cells.here.node[mine] for cells, mine in zip(engine.models, self._counts, strict=True))

    def _fields(self, samples: int) -> NDArray[np.float32]:
        found, first = np.zeros((len(self.node), samples, self._channels), np.float32), 0
        for sources, matrix in zip(self._sources, self._matrices, strict=True):
            for begin in range(0, len(matrix) if sources else 0, FIELD_CELLS):
                some = slice(begin, begin + FIELD_CELLS)
                part = np.concatenate([source[:, some] for source in sources])  # (samples, cells, n)
                found[first + begin : first + begin + part.shape[1]] = part.swapaxes(0, 1) @ matrix[some]
            first += len(matrix)
        return found

    def parts(self) -> Parts:
        """See `Recorder`."""
        return {**super().parts(), "node": self.node}

    def join(self, parts: Sequence[Parts]) -> Parts:
        """See `Recorder`."""
        node, values = (np.concatenate([part[name] for part in parts]) for name in ("node", "values"))
        order = np.argsort(node)
        return {"time_ms": parts[0]["time_ms"], "node": node[order], "values": values[order]}
