"""Many trials of one cell on a GPU: what `gpu_kernel` wants, made of a layout, and the counterpart of `Stepper`.

The method is that of the CPU (`dendrotwin.solver.integrator`: Hines 1984, doi:10.1016/0020-7101(84)90008-4, and
Alexander 1977, doi:10.1137/0714068).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.solver.accuracy import Accuracy
from dendrotwin.solver.axial import EliminationOrder, EliminationRounds
from dendrotwin.solver.cell_arrays import SCHEME_SIZE, SCHEME_TABLE, START, STOP, TERM_ION, CellArrays, StepTables
from dendrotwin.solver.gpu_arrays import TILE, WARPS, BatchState, CellTensors, Sizes, StimulusTensors
from dendrotwin.solver.gpu_kernel import run as run_kernel
from dendrotwin.solver.stepper import Stepper

# Of each part of `CellTensors`: integers, double, and single precision for the rest.
INTEGERS = {
    "sizes", "steps_per_ms", "gate_row", "scheme_row", "term_row", "state", "gate_first", "gate_of", "scheme_first",
    "scheme_of", "term_first", "term_of", "synapse_row", "node", "round_first", "parent", "child", "compartment",
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
        "compartment": compartment,
        "node": position[elimination.position[compartment]],
        "axial_sum_uS": elimination.axial_sum_uS[order],
        "axial_uS": elimination.axial_uS[order],
        "round_first": rounds.first,
        "parent": np.append(position[rounds.parent], -1),
        "child": np.append(np.where(rounds.child >= 0, position[rounds.child], -1), -1),
    }


def _passes(bins: Array, synapse_class: Array, position: Array, count: int) -> tuple[Array, Array]:
    """How many events come to one conductance in each of `count` milliseconds at most, and which of them each is."""
    order = np.lexsort((np.arange(len(bins)), position, synapse_class, bins))
    keys = np.stack([bins, synapse_class, position])[:, order]
    new = np.append(True, (np.diff(keys) != 0).any(0))[: len(order)]
    rank = np.arange(len(order))
    event_pass = np.zeros(len(order), np.int64)
    event_pass[order] = rank - np.maximum.accumulate(np.where(new, rank, 0))
    passes = np.zeros(count, np.int64)
    np.maximum.at(passes, bins, event_pass + 1)
    return passes, event_pass


class GPUStepper:
    """Trials of one cell on a GPU; on the CPU in Triton's interpreter, for tests.

    Args:
        tree, membrane: of the cell.
        accuracy: of the steps.
        device: of all tensors.
    """

    def __init__(self, tree: Tree, membrane: Membrane, accuracy: Accuracy, device: torch.device | str) -> None:
        self.tree, self.device = tree, torch.device(device)
        self.cpu = Stepper(tree, membrane, accuracy)
        self.tolerance_mV = accuracy.tolerance_mV
        layout, tables, steps_per_ms = self.cpu.layout, self.cpu.tables, self.cpu.control.steps_per_ms
        cell = layout.arrays
        parts: dict[str, Array] = {**tables._asdict(), **cell._asdict(), **cell.terms._asdict(), **cell.ions._asdict()}
        parts |= {**_rows(cell, tables), **_synapses(cell, steps_per_ms), **_tree(tree, layout.compartment)}
        parts["steps_per_ms"] = steps_per_ms
        self.sizes = self._sizes(len(parts["round_first"]) - 1)
        parts["sizes"] = np.array(self.sizes)
        self.cell = CellTensors(**{name: self._put(parts[name], dtype_of(name)) for name in CellTensors._fields})

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
            work_singles=(2 + classes + 2 * ions) * n + largest * TILE,
        )  # fmt: skip

    def _put(self, array: Array, dtype: torch.dtype) -> torch.Tensor:
        """On the device; of an empty array one number that is not looked at, so that there is an address."""
        flat = np.ascontiguousarray(array if np.size(array) else np.zeros(1))
        return torch.from_numpy(flat).to(dtype).to(self.device)

    def start(self, trials: int) -> BatchState:
        """The state of some trials at their start.

        Args:
            trials: how many.
        """
        sizes, first = self.sizes, self.cpu.start()
        parts = (first.x, first.ionic, first.curvature, first.rise_uS, first.decay_uS)
        double = self._put(np.concatenate([first.v_mV, first.c_mM.ravel()]), torch.float64)
        single = self._put(np.concatenate([part.ravel() for part in parts]), torch.float32)
        return BatchState(
            double=double.repeat(trials, 2, 1),
            single=single.repeat(trials, 2, 1),
            current=torch.zeros(trials, dtype=torch.int32, device=self.device),
            control=self._put(first.control, torch.float64).repeat(trials, 1),
            counts=torch.zeros(trials, 2, dtype=torch.int64, device=self.device),
            work_double=torch.empty(trials, sizes.work_doubles, dtype=torch.float64, device=self.device),
            work_single=torch.empty(trials, sizes.work_singles, dtype=torch.float32, device=self.device),
        )

    def advance(
        self,
        state: BatchState,
        events: Sequence[Events],
        duration_ms: int,
        injections: Sequence[Injection | None] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Go on from a state, which changes; its `counts` are (trials, 2) milliseconds and steps so far.

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
        return self.run(state, self.stimulus(events, duration_ms, injections), duration_ms)

    def run(self, state: BatchState, stimulus: StimulusTensors, duration_ms: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The same as `advance`, of input that is on the device.

        Args:
            state: where the trials are.
            stimulus: from `stimulus`.
            duration_ms: how long [ms].

        Returns:
            V (trials, duration_ms, n) [mV], and peaks (trials, duration_ms, 2) [mV], [ms].
        """
        trials = len(state.current)
        v = torch.empty(trials, duration_ms, self.sizes.n, device=self.device)
        peak = torch.empty(trials, duration_ms, 2, device=self.device)
        with torch.cuda.device_of(v):
            run_kernel[(trials,)](
                self.cell, stimulus, state, v, peak, duration_ms, self.tolerance_mV, TILE=TILE, num_warps=WARPS,
                num_stages=1,
            )  # fmt: skip
        return v, peak

    def stimulus(
        self, events: Sequence[Events], duration_ms: int, injections: Sequence[Injection | None] | None = None
    ) -> StimulusTensors:
        """Events and electrodes of all trials, on the device; see `advance`.

        Args:
            events: of each trial; times count from the state's [ms].
            duration_ms: how long [ms].
            injections: current (duration_ms, electrodes) into each trial's cell over this time [nA].
        """
        of_trials = [self.cpu.synaptic_events(trial, duration_ms) for trial in events]
        counts = np.concatenate([np.diff(one.first) for one in of_trials])
        synapse_class, position, after_ms, increment_uS = (
            np.concatenate([getattr(one, name)[: one.first[-1]] for one in of_trials])
            for name in ("synapse_class", "position", "after_ms", "increment_uS")
        )
        bins = np.repeat(np.arange(len(counts)), counts)
        passes, event_pass = _passes(bins, synapse_class, position, len(counts))
        electrode_position, current, electrodes = [], [np.zeros((0, duration_ms))], [0]
        for injection in injections or [None] * len(events):
            if injection is not None:
                here, which = np.unique(self.cpu.layout.position[injection.compartment], return_inverse=True)
                merged = np.zeros((len(here), duration_ms))
                np.add.at(merged, which, injection.current_nA.T)
                electrode_position += here.tolist()
                current.append(merged)
            electrodes.append(len(electrode_position))
        integer, double = torch.int32, torch.float64
        return StimulusTensors(
            first=self._put(np.cumsum([0, *counts]), integer),
            passes=self._put(passes, integer),
            event_pass=self._put(event_pass, integer),
            synapse_class=self._put(synapse_class, integer),
            position=self._put(position, integer),
            after_ms=self._put(after_ms, double),
            increment_uS=self._put(increment_uS, double),
            electrode_first=self._put(np.array(electrodes), integer),
            electrode_position=self._put(np.array(electrode_position), integer),
            current_nA=self._put(np.concatenate(current), double),
        )
