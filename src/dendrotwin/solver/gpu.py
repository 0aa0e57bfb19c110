"""Many cells of one kind on a GPU: what `gpu_kernel` wants, made of a layout, and the counterpart of `Stepper`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.solver.gpu_kernel import milliseconds
from dendrotwin.solver.gpu_membrane import TILE, WARPS, Batch, Given, Known, Sizes
from dendrotwin.solver.layout import (
    SCHEME_SIZE,
    SCHEME_TABLE,
    START,
    STOP,
    TERM_ION,
    Classes,
    Kinetics,
    Net,
)
from dendrotwin.solver.stepper import Accuracy, Stepper
from dendrotwin.solver.tree_solver import Elimination, Rounds

# Of each part of `Known`: whole numbers, double, and single precision for the rest.
WHOLE = {
    "sizes", "many", "gate", "scheme", "term", "state", "gate_first", "gate_of", "scheme_first", "scheme_of",
    "term_first", "term_of", "class_row", "node", "round_first", "parent", "child", "compartment",
}  # fmt: skip
DOUBLE = {
    "pool_less", "pool_filled", "gain_in", "gain_out", "rest_mM", "log_outside", "nernst_mV", "class_ms", "joined_uS",
    "axial_uS",
}  # fmt: skip
Array = NDArray[Any]


def dtype_of(name: str) -> torch.dtype:
    """Type of a part of `Known`."""
    return torch.int32 if name in WHOLE else torch.float64 if name in DOUBLE else torch.float32


def _in_tiles(rows: Array, group: Array, groups: int, n: int) -> tuple[Array, Array]:
    """Rows that reach into each tile, group by group: where each of tiles * groups begins, and the rows."""
    found: list[list[int]] = [[] for _ in range(-(-n // TILE) * groups)]
    for row, (a, z, k) in enumerate(zip(rows[:, START], rows[:, STOP], group, strict=True)):
        for tile in range(a // TILE, -(-z // TILE)):
            found[tile * groups + k].append(row)
    first = np.cumsum([0, *(len(here) for here in found)])
    return first, np.array([row for here in found for row in here], np.int64)


def _rows(net: Net, kin: Kinetics) -> dict[str, Array]:
    """Rows of gates, schemes and terms, and which of them reach into each tile."""
    n, ions, terms = len(net.capacitance_nF), len(net.ions.nernst_mV), net.terms
    gate_first, gate_of = _in_tiles(net.gate, np.zeros(len(net.gate), np.int64), 1, n)
    scheme_first, scheme_of = _in_tiles(net.scheme, np.zeros(len(net.scheme), np.int64), 1, n)
    term_first, term_of = _in_tiles(terms.term, terms.term[:, TERM_ION] + 1, ions + 1, n)
    whole = np.where(np.isin(terms.power, (1.0, 2.0, 3.0, 4.0)), terms.power, 0).astype(np.int64)
    scheme = net.scheme.copy()
    scheme[:, SCHEME_TABLE] = kin.scheme_first[scheme[:, SCHEME_TABLE]]
    return {
        "gate": net.gate, "scheme": scheme, "term": terms.term,
        "state": np.concatenate([terms.state, whole[..., None]], 2), "power": terms.power,
        "gate_first": gate_first, "gate_of": gate_of, "scheme_first": scheme_first, "scheme_of": scheme_of,
        "term_first": term_first, "term_of": term_of,
    }  # fmt: skip


def _synapses(classes: Classes, many: Array) -> dict[str, Array]:
    """Classes of synaptic conductances."""
    ms, h = np.stack([classes.rise_ms, classes.decay_ms], 1), 1.0 / many[:, None, None]
    with np.errstate(divide="ignore"):
        keep = np.exp(-h / ms)  # of no rise nothing
    return {
        "class_row": classes.synapse,
        "class_e": classes.e_syn_mV,
        "class_ms": ms,
        "class_step": np.concatenate([ms / h * (1.0 - keep), keep], 2),
        "block": classes.block,
    }


def _tree(tree: Tree, compartment: Array) -> dict[str, Array]:
    """The tree in rounds; `compartment` is the one at each place."""
    elimination = Elimination.of(tree)
    rounds = Rounds.of(elimination.parent)
    order = np.append(rounds.node, 0)
    position = np.argsort(order)
    return {
        "node": position[elimination.position[compartment]],
        "joined_uS": elimination.joined_uS[order],
        "axial_uS": elimination.axial_uS[order],
        "round_first": rounds.first,
        "parent": np.append(position[rounds.parent], -1),
        "child": np.append(np.where(rounds.child >= 0, position[rounds.child], -1), -1),
    }


class GPUStepper:
    """Cells of one kind on a GPU; on the CPU in Triton's interpreter, for tests.

    Args:
        tree, membrane: of the cell.
        accuracy: of the steps.
        device: of all tensors.
    """

    def __init__(self, tree: Tree, membrane: Membrane, accuracy: Accuracy, device: torch.device | str) -> None:
        self.tree, self.device = tree, torch.device(device)
        self.cpu = Stepper(tree, membrane, accuracy)
        self.tolerance_mV = accuracy.tolerance_mV
        layout, kin = self.cpu.layout, self.cpu.kinetics
        net, many = layout.net, np.array(accuracy.levels, np.int64)
        n, nodes, ions = len(net.capacitance_nF), len(net.branches.order), len(net.ions.nernst_mV)
        classes, states = len(net.classes.rise_ms), len(layout.start.x)
        most = int(max([*net.scheme[:, SCHEME_SIZE], 0]))
        plain = (kin._asdict(), net._asdict(), net.terms._asdict(), net.ions._asdict())
        parts = {name: array for part in plain for name, array in part.items()}
        parts |= {**_rows(net, kin), **_synapses(net.classes, many), **_tree(tree, layout.sorted)}
        parts |= {"many": many, "compartment": layout.sorted}
        self.sizes = Sizes(
            n=n, nodes=nodes, ions=ions, classes=classes, rounds=len(parts["round_first"]) - 1, levels=len(many),
            soma=net.soma, states=states, wide=net.terms.power.shape[1], over_v=kin.over_v.shape[1],
            over_c=kin.over_c.shape[1], over_both=kin.over_both.shape[1], leads=kin.leads.shape[1],
            scheme_leads=kin.scheme_leads.shape[1], schemes=kin.schemes.shape[1], doubles=(1 + ions) * n,
            singles=states + (3 + 2 * classes) * n, room_doubles=n + 6 * nodes,
            room_singles=(2 + classes + 2 * ions) * n + most * TILE,
        )  # fmt: skip
        parts["sizes"] = np.array(self.sizes)
        self.known = Known(**{name: self._put(parts[name], dtype_of(name)) for name in Known._fields})

    def _put(self, array: Array, dtype: torch.dtype) -> torch.Tensor:
        """On the device; of an empty array one number that is not looked at, so that there is an address."""
        flat = np.ascontiguousarray(array if np.size(array) else np.zeros(1))
        return torch.from_numpy(flat).to(dtype).to(self.device)

    def start(self, batch: int) -> Batch:
        """The state of some cells at the start of a trial."""
        sizes, first = self.sizes, self.cpu.start()
        parts = (first.x, first.pull, first.bend, first.rise_uS, first.decay_uS)
        double = self._put(np.concatenate([first.v_mV, first.c_mM.ravel()]), torch.float64)
        single = self._put(np.concatenate([part.ravel() for part in parts]), torch.float32)

        def room(size: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(batch, size, dtype=dtype, device=self.device)

        return Batch(
            double=double.repeat(batch, 2, 1),
            single=single.repeat(batch, 2, 1),
            half=torch.zeros(batch, dtype=torch.int32, device=self.device),
            course=self._put(first.course, torch.float64).repeat(batch, 1),
            counts=torch.zeros(batch, 2, dtype=torch.int64, device=self.device),
            room_double=room(sizes.room_doubles, torch.float64),
            room_single=room(sizes.room_singles, torch.float32),
        )

    def advance(
        self, state: Batch, events: Sequence[Events], steps: int, injections: Sequence[Injection | None] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Go on from a state, which changes; its `counts` are (cells, 2) milliseconds and solves so far.

        Args:
            state: where the cells are.
            events: of each cell; times count from the state's [ms].
            steps: how long [ms].
            injections: current into each cell over these steps.

        Returns:
            V (cells, steps, n) at the end of each millisecond [mV], and (cells, steps, 2) the highest local maximum
            of the soma's potential that ended in it, or `steps.NO_PEAK_MV`, and when that was after its start [ms];
            on the device.
        """
        return self.run(state, self.given(events, steps, injections), steps)

    def run(self, state: Batch, given: Given, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, of input that is on the device."""
        cells = len(state.half)
        v = torch.empty(cells, steps, self.sizes.n, device=self.device)
        peak = torch.empty(cells, steps, 2, device=self.device)
        with torch.cuda.device_of(v):
            milliseconds[(cells,)](
                self.known, given, state, v, peak, steps, self.tolerance_mV, TILE=TILE, num_warps=WARPS, num_stages=1
            )
        return v, peak

    def given(
        self, events: Sequence[Events], steps: int, injections: Sequence[Injection | None] | None = None
    ) -> Given:
        """Arrivals and electrodes of all cells, on the device; see `advance`."""
        arrivals = [self.cpu.arrivals(trial, steps) for trial in events]
        counts = np.concatenate([np.diff(one.first) for one in arrivals])
        kind, at, after, uS = (
            np.concatenate([getattr(one, name)[: one.first[-1]] for one in arrivals])
            for name in ("kind", "at", "after_ms", "uS")
        )
        bins = np.repeat(np.arange(len(counts)), counts)
        # How many came to the same place before in the same millisecond.
        order = np.lexsort((np.arange(len(kind)), at, kind, bins))
        keys = np.stack([bins, kind, at])[:, order]
        new = np.append(True, (np.diff(keys) != 0).any(0))[: len(order)]
        place = np.arange(len(order))
        turn = np.zeros(len(order), np.int64)
        turn[order] = place - np.maximum.accumulate(np.where(new, place, 0))
        most = np.zeros(len(counts), np.int64)
        np.maximum.at(most, bins, turn + 1)
        electrode_at, current, electrodes = [], [np.zeros((0, steps))], [0]
        for injection in injections or [None] * len(events):
            if injection is not None:
                places, which = np.unique(self.cpu.layout.back[injection.compartment], return_inverse=True)
                merged = np.zeros((len(places), steps))
                np.add.at(merged, which, injection.current_nA.T)
                electrode_at += places.tolist()
                current.append(merged)
            electrodes.append(len(electrode_at))
        whole, double = torch.int32, torch.float64
        return Given(
            first=self._put(np.cumsum([0, *counts]), whole), most=self._put(most, whole), turn=self._put(turn, whole),
            kind=self._put(kind, whole), at=self._put(at, whole), after_ms=self._put(after, double),
            uS=self._put(uS, double), electrode_first=self._put(np.array(electrodes), whole),
            electrode_at=self._put(np.array(electrode_at), whole),
            current_nA=self._put(np.concatenate(current), double),
        )  # fmt: skip
