"""Many cells of one model on a GPU: what `gpu_kernel` wants, made of a layout, and the counterpart of `Stepper`.

The method is that of the CPU (`dendrotwin.solver.integrator`: Hines 1984, doi:10.1016/0020-7101(84)90008-4, and
Alexander 1977, doi:10.1137/0714068).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.solver.axial import EliminationOrder, EliminationRounds
from dendrotwin.solver.cell_arrays import SCHEME_SIZE, SCHEME_TABLE, START, STOP, TERM_ION, CellArrays, StepTables
from dendrotwin.solver.gpu_arrays import (
    TILE,
    WARPS,
    BatchState,
    CellTensors,
    OutputTensors,
    Sizes,
    StimulusTensors,
    WatchTensors,
)
from dendrotwin.solver.gpu_kernel import run as run_kernel
from dendrotwin.solver.gpu_parcel import Parcel
from dendrotwin.solver.integrator.state import CROSSINGS, State, SynapticEvents, Watch
from dendrotwin.solver.stepper import Stepper, no_watch

# Of each part of `CellTensors`: integers, double, and single precision for the rest.
INTEGERS = {
    "sizes", "steps_per_ms", "gate_row", "scheme_row", "term_row", "state", "gate_first", "gate_of", "scheme_first",
    "scheme_of", "term_first", "term_of", "synapse_row", "node", "round_first", "parent", "child",
}  # fmt: skip
DOUBLES = {
    "pool_decay", "pool_inflow_ms", "gain_in", "gain_out", "rest_mM", "log_outside", "nernst_mV", "synapse_ms",
    "axial_sum_uS", "axial_uS",
}  # fmt: skip
Array = NDArray[Any]


def dtype_of(name: str) -> torch.dtype:
    """Type of a part of `CellTensors`.

    Args:
        name: of the part.
    """
    return torch.int32 if name in INTEGERS else torch.float64 if name in DOUBLES else torch.float32


def _in_tiles(rows: Array, group: Array, groups: int, n: int) -> tuple[Array, Array]:
    """Rows that reach into each tile, group by group: where each of tiles * groups begins, and the rows."""
    found: list[list[int]] = [[] for _ in range(-(-n // TILE) * groups)]
    for row, (a, z, k) in enumerate(zip(rows[:, START], rows[:, STOP], group, strict=True)):
        for tile in range(a // TILE, -(-z // TILE)):
            found[tile * groups + k].append(row)
    first = np.cumsum([0, *(len(here) for here in found)])
    return first, np.array([row for here in found for row in here], np.int64)


def _rows(cell: CellArrays, tables: StepTables) -> dict[str, Array]:
    """Rows of gates, schemes and terms, and which of them reach into each tile."""
    n, ions, terms = len(cell.capacitance_nF), len(cell.ions.nernst_mV), cell.terms
    gate_first, gate_of = _in_tiles(cell.gate_row, np.zeros(len(cell.gate_row), np.int64), 1, n)
    scheme_first, scheme_of = _in_tiles(cell.scheme_row, np.zeros(len(cell.scheme_row), np.int64), 1, n)
    term_first, term_of = _in_tiles(terms.row, terms.row[:, TERM_ION] + 1, ions + 1, n)
    integer_power = np.where(np.isin(terms.power, (1.0, 2.0, 3.0, 4.0)), terms.power, 0).astype(np.int64)
    scheme_row = cell.scheme_row.copy()
    scheme_row[:, SCHEME_TABLE] = tables.scheme_first[scheme_row[:, SCHEME_TABLE]]
    return {
        "gate_row": cell.gate_row, "scheme_row": scheme_row, "term_row": terms.row,
        "state": np.concatenate([terms.state, integer_power[..., None]], 2), "power": terms.power,
        "gate_first": gate_first, "gate_of": gate_of, "scheme_first": scheme_first, "scheme_of": scheme_of,
        "term_first": term_first, "term_of": term_of,
    }  # fmt: skip


def _synapses(cell: CellArrays, steps_per_ms: Array) -> dict[str, Array]:
    """Classes of synaptic conductances."""
    synapses = cell.synapses
    ms, h = np.stack([synapses.rise_ms, synapses.decay_ms], 1), 1.0 / steps_per_ms[:, None, None]
    with np.errstate(divide="ignore"):
        keep = np.exp(-h / ms)  # of no rise nothing
    return {
        "synapse_row": synapses.row,
        "synapse_e_mV": synapses.e_mV,
        "synapse_ms": ms,
        "synapse_step": np.concatenate([ms / h * (1.0 - keep), keep], 2),
        "block": synapses.block,
    }


def _tree(tree: Tree, compartment: Array) -> dict[str, Array]:
    """The tree in rounds; `compartment` is the one at each position."""
    elimination = EliminationOrder.of(tree)
    rounds = EliminationRounds.of(elimination.parent)
    order = np.append(rounds.node, 0)
    position = np.argsort(order)
    return {
        "node": position[elimination.position[compartment]],
        "axial_sum_uS": elimination.axial_sum_uS[order],
        "axial_uS": elimination.axial_uS[order],
        "round_first": rounds.first,
        "parent": np.append(position[rounds.parent], -1),
        "child": np.append(np.where(rounds.child >= 0, position[rounds.child], -1), -1),
    }


def _passes(bins: Array, conductance: Array, count: int) -> tuple[Array, Array]:
    """How many events come to one conductance in each of `count` blocks at most, and which of them each is."""
    key = bins * (conductance.max(initial=0) + 1) + conductance
    order = np.argsort(key, kind="stable")
    new = np.append(True, np.diff(key[order]) != 0)[: len(order)]
    rank = np.arange(len(order))
    event_pass = np.zeros(len(order), np.int64)
    event_pass[order] = rank - np.maximum.accumulate(np.where(new, rank, 0))
    passes = np.zeros(count, np.int64)
    np.maximum.at(passes, bins, event_pass + 1)
    return passes, event_pass


class Electrodes(NamedTuple):
    """Current into the cells of some trials, one electrode for each position that gets any.

    Attributes:
        first: (trials + 1,) the first electrode of each trial, and where those of the last one end.
        position: (electrodes,).
        current_nA: (electrodes, blocks) [nA].
    """

    first: Array
    position: Array
    current_nA: Array


class Drive(NamedTuple):
    """What drives some trials for some blocks, and what is looked at, on the device.

    Attributes:
        stimulus: with `first` (trials * blocks + 1,); see there.
        watch: see there.
        trials, blocks, samples, watched: how many.
    """

    stimulus: StimulusTensors
    watch: WatchTensors
    trials: int
    blocks: int
    samples: int
    watched: int


class GPUStepper:
    """Cells of one model on a GPU; on the CPU in Triton's interpreter, for tests.

    Args:
        stepper: the model.
        device: of all tensors.

    Attributes:
        cpu: the model.
    """

    def __init__(self, stepper: Stepper, device: torch.device | str) -> None:
        self.cpu, self.device = stepper, torch.device(device)
        self.tolerance_mV = stepper.accuracy.tolerance_mV
        layout, tables, steps_per_ms = stepper.layout, stepper.tables, stepper.control.steps_per_ms
        cell = layout.arrays
        parts: dict[str, Array] = {**tables._asdict(), **cell._asdict(), **cell.terms._asdict(), **cell.ions._asdict()}
        parts |= {**_rows(cell, tables), **_synapses(cell, steps_per_ms), **_tree(stepper.tree, layout.compartment)}
        parts["steps_per_ms"] = steps_per_ms
        self.sizes = self._sizes(len(parts["round_first"]) - 1)
        parts["sizes"] = np.array(self.sizes)
        chosen = {name: np.asarray(parts[name]) for name in CellTensors._fields}
        self.cell = CellTensors(**Parcel(self.device).send(chosen, {name: dtype_of(name) for name in chosen}))

    def _sizes(self, rounds: int) -> Sizes:
        layout, tables = self.cpu.layout, self.cpu.tables
        cell = layout.arrays
        n, nodes, ions = len(cell.capacitance_nF), len(cell.axial.order), len(cell.ions.nernst_mV)
        classes, states = len(cell.synapses.rise_ms), len(layout.initial.x)
        largest = int(max([*cell.scheme_row[:, SCHEME_SIZE], 0]))
        return Sizes(
            n=n, nodes=nodes, ions=ions, classes=classes, rounds=rounds, levels=len(self.cpu.control.steps_per_ms),
            soma=cell.soma, states=states, term_states=cell.terms.power.shape[1], gates_v=tables.gate_v.shape[1],
            gates_c=tables.gate_c.shape[1], gates_vc=tables.gate_vc.shape[1],
            gate_sensitivities=tables.gate_sensitivity.shape[1], scheme_entries=tables.scheme_matrix.shape[1],
            sensitivity_entries=tables.scheme_sensitivity.shape[1], state_doubles=(1 + ions) * n,
            state_singles=states + (3 + 2 * classes) * n, work_doubles=n + 6 * nodes,
            work_singles=(2 + classes + 2 * ions) * n + largest * TILE, blocks_per_ms=round(1.0 / self.cpu.block_ms),
        )  # fmt: skip

    def start(self, trials: int) -> BatchState:
        """The state of some trials at their start.

        Args:
            trials: how many.
        """
        parts: list[Any] = [part[None] for part in self.cpu.start()]
        return BatchState(*(part.repeat(trials, *[1] * (part.ndim - 1)) for part in self.put(State(*parts))))

    def put(self, states: State) -> BatchState:
        """States of the CPU on the device.

        Args:
            states: each array with one axis more, of the trials, before all others.
        """
        trials, sizes = len(states.v_mV), self.sizes

        def joined(*parts: Array) -> torch.Tensor:
            whole = np.concatenate([part.reshape(trials, -1) for part in parts], 1)
            return torch.from_numpy(whole).to(self.device)[:, None].repeat(1, 2, 1)

        return BatchState(
            double=joined(states.v_mV, states.c_mM),
            single=joined(states.x, states.ionic, states.curvature, states.rise_uS, states.decay_uS),
            current=torch.zeros(trials, dtype=torch.int32, device=self.device),
            control=torch.from_numpy(states.control.copy()).to(self.device),
            counts=torch.zeros(trials, 2, dtype=torch.int64, device=self.device),
            work_double=torch.empty(trials, sizes.work_doubles, dtype=torch.float64, device=self.device),
            work_single=torch.empty(trials, sizes.work_singles, dtype=torch.float32, device=self.device),
        )

    def get(self, state: BatchState) -> State:
        """What `put` puts, from the device.

        Args:
            state: there.
        """
        trials, (n, ions, classes) = len(state.current), (self.sizes.n, self.sizes.ions, self.sizes.classes)
        each = torch.arange(trials, device=self.device), state.current.long()
        shapes = {"v_mV": (n,), "c_mM": (ions, n)}, {
            "x": (self.sizes.states,), "ionic": (2, n), "curvature": (n,), "rise_uS": (classes, n),
            "decay_uS": (classes, n),
        }  # fmt: skip
        found = {"control": state.control.cpu().numpy()}
        for whole, of in zip((state.double[each], state.single[each]), shapes, strict=True):
            edges = np.cumsum([math.prod(shape) for shape in of.values()])[:-1]
            for (name, shape), part in zip(of.items(), np.split(whole.cpu().numpy(), edges, axis=1), strict=True):
                found[name] = np.ascontiguousarray(part).reshape(trials, *shape)
        return State(**found)

    def advance(
        self,
        state: BatchState,
        events: Sequence[Events],
        duration_ms: int,
        injections: Sequence[Injection | None] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Go on from a state, which changes, in blocks of 1 ms; its `counts` are (trials, 2) blocks and steps so far.

        Args:
            state: where the trials are.
            events: of each trial; times count from the state's [ms].
            duration_ms: how long [ms].
            injections: current into each trial's cell over this time.

        Returns:
            V (trials, duration_ms, n) at the end of each millisecond [mV], and (trials, duration_ms, 2) the highest
            local maximum of the soma's potential that ended in it, or `integrator.time_loop.NO_PEAK_MV` [mV], and when
            that was after its start [ms]; on the device.
        """
        return self.run(state, self.drive(events, duration_ms, injections))[:2]

    def run(self, state: BatchState, drive: Drive, parcel: Parcel | None = None) -> OutputTensors:
        """Go on from a state, which changes, by input that is on the device.

        Args:
            state: where the trials are.
            drive: from `drive` or `send`.
            parcel: for the output; None for a new one.

        Returns:
            The output on the device: V (trials, blocks, watched) and peaks (trials, blocks, 2), the rest flat.
        """
        trials, blocks, samples, watched = drive[2:]
        single = torch.float32
        shapes = {
            "v_mV": (single, (trials, blocks, watched)),
            "peak": (single, (trials, blocks, 2)),
            "crossing_ms": (torch.float64, (trials, blocks, CROSSINGS)),
            "sample_mV": (single, (trials, samples, watched)),
            "sample_mM": (single, (trials, samples, self.sizes.ions, watched)),
            "outside": (single, (trials, blocks, 2)),
        }
        output = OutputTensors(**(parcel or Parcel(self.device)).room(shapes))
        with torch.cuda.device_of(output.v_mV):
            run_kernel[(trials,)](
                self.cell, drive.stimulus, drive.watch, state, output, blocks, self.tolerance_mV, TILE=TILE,
                num_warps=WARPS, num_stages=1,
            )  # fmt: skip
        return output._replace(v_mV=output.v_mV.view(trials, blocks, watched), peak=output.peak.view(trials, blocks, 2))

    def drive(
        self, events: Sequence[Events], duration_ms: int, injections: Sequence[Injection | None] | None = None
    ) -> Drive:
        """Events and electrodes of all trials, on the device; see `advance`.

        Args:
            events: of each trial; times count from the state's [ms].
            duration_ms: how long [ms].
            injections: current (duration_ms, electrodes) into each trial's cell over this time [nA].
        """
        of_trials = [self.cpu.synaptic_events(trial, duration_ms) for trial in events]
        inside = [one.first[-1] for one in of_trials]
        before = np.cumsum([0, *inside])
        joined = SynapticEvents(
            np.stack([one.first + at for one, at in zip(of_trials, before[:-1], strict=True)]),
            *(np.concatenate([part[:stop] for part, stop in zip(parts, inside, strict=True)])
              for parts in list(zip(*of_trials, strict=True))[1:]),
        )  # fmt: skip
        position, current, first = [], [np.zeros((0, duration_ms))], [0]
        for injection in injections or [None] * len(events):
            if injection is not None:
                here, which = np.unique(self.cpu.layout.position[injection.compartment], return_inverse=True)
                merged = np.zeros((len(here), duration_ms))
                np.add.at(merged, which, injection.current_nA.T)
                position += here.tolist()
                current.append(merged)
            first.append(len(position))
        electrodes = Electrodes(np.array(first), np.array(position, np.int64), np.concatenate(current))
        watch = no_watch(duration_ms)._replace(position=self.cpu.layout.position)  # in the order of the tree
        return self.send(joined, electrodes, watch)

    def send(
        self, events: SynapticEvents, electrodes: Electrodes, watch: Watch, parcel: Parcel | None = None
    ) -> Drive:  # fmt: skip
        """What drives some trials, and what is looked at, to the device.

        Args:
            events: of all trials, with `first` (trials, blocks + 1).
            electrodes: of all trials.
            watch: what is looked at.
            parcel: for all of it; None for a new one.
        """
        trials, blocks = len(events.first), events.first.shape[1] - 1
        counts = np.diff(events.first).ravel()
        bins = np.repeat(np.arange(len(counts)), counts)
        passes, event_pass = _passes(bins, events.synapse_class * self.sizes.n + events.position, len(counts))
        samples, watched = len(watch.after_ms), len(watch.position)
        parts: dict[str, Array] = {
            "first": np.cumsum([0, *counts]), "passes": passes, "event_pass": event_pass,
            "synapse_class": events.synapse_class, "position": events.position, "after_ms": events.after_ms,
            "increment_uS": events.increment_uS, "electrode_first": electrodes.first,
            "electrode_position": electrodes.position, "current_nA": electrodes.current_nA,
            "threshold_mV": np.array([watch.threshold_mV]), "sample_first": watch.first, "sample_ms": watch.after_ms,
            "watched": np.array([watched]), "watched_position": watch.position,
        }  # fmt: skip
        dtypes = {name: torch.float64 if part.dtype.kind == "f" else torch.int32 for name, part in parts.items()}
        there = (parcel or Parcel(self.device)).send(parts, dtypes)
        stimulus = StimulusTensors(**{name: there[name] for name in StimulusTensors._fields})
        seen = WatchTensors(**{name: there[name] for name in WatchTensors._fields})
        return Drive(stimulus, seen, trials, blocks, samples, watched)
