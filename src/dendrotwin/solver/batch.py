"""Many cells of one model, which go on together on the threads of the CPU; each has inputs of its own.

The method is that of `dendrotwin.solver.integrator` (staggered steps, Hines 1984, doi:10.1016/0020-7101(84)90008-4).
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from dendrotwin.cell.membrane import V_GRID_MV
from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import Single
from dendrotwin.solver.integrator.state import Output, State, Stimulus, SynapticEvents, Watch
from dendrotwin.solver.integrator.time_loop import run_cells
from dendrotwin.solver.stepper import Stepper

PARTS_PER_THREAD = 4  # of the cells: not all cells take the same time


class Outside(NamedTuple):
    """A potential that lies outside of the tables of the membrane, or is no number.

    Attributes:
        cell, block, position: where, and at the end of which block.
        v_mV: the potential [mV].
    """

    cell: int
    block: int
    position: int
    v_mV: float


class BatchOutput(NamedTuple):
    """What comes out of some blocks of many cells; see `Output`.

    Attributes:
        v_mV: (cells, blocks, watched) at the end of each block [mV].
        crossing_ms: (cells, blocks, CROSSINGS) [ms].
        sample_mV: (cells, samples, watched) [mV].
        sample_mM: (cells, samples, ions, watched) [mM].
        outside: the first potential that should not be, of all compartments, or None.
    """

    v_mV: Single
    crossing_ms: Floats
    sample_mV: Single
    sample_mM: Single
    outside: Outside | None


def first_outside_tables(v_mV: Single) -> tuple[int, ...] | None:
    """The first potential that lies outside of the tables of the membrane, or is no number.

    Args:
        v_mV: (...,) potentials [mV].

    Returns:
        Its index; None where there is none.
    """
    low, high = V_GRID_MV[0], V_GRID_MV[-1]
    if not v_mV.size or (v_mV.min() >= low and v_mV.max() <= high):  # false of NaN
        return None
    return tuple(np.argwhere(~((v_mV >= low) & (v_mV <= high)))[0].tolist())


class Batch:
    """Cells of one model.

    Args:
        stepper: the model.
        count: of the cells.
        threads: that they are shared among.

    Attributes:
        stepper: the model.
        states: of the cells, each array with one axis more, of the cells, before all others.
    """

    def __init__(self, stepper: Stepper, count: int, threads: int = 1) -> None:
        self.stepper, self.count = stepper, count
        parts: list[Any] = [np.repeat(part[None], count, 0) for part in stepper.start()]
        self.states = State(*parts)
        edges = np.linspace(0, count, min(count, PARTS_PER_THREAD * threads if threads > 1 else 1) + 1).astype(int)
        self.parts = [(int(a), int(b)) for a, b in itertools.pairwise(edges)]
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.silence = np.zeros((1, 1, stepper.tree.n))
        self._room: tuple[tuple[int, ...], Output] | None = None

    def restore(self, states: State) -> None:
        """Go on from states.

        Args:
            states: of the cells.
        """
        for name, part in states._asdict().items():
            getattr(self.states, name)[...] = part

    def begin(self, events: SynapticEvents, blocks: int, watch: Watch, injected_nA: Floats | None = None) -> None:
        """Go on by some blocks; `end` gives what comes out.

        Args:
            events: of all cells, with `first` (cells, blocks + 1).
            blocks: how many.
            watch: what is looked at.
            injected_nA: (cells, blocks, n) current into each position [nA], or None.
        """
        output = self._output(blocks, watch)
        stimuli = Stimulus(events, self.silence if injected_nA is None else injected_nA)
        stepper = self.stepper
        fixed = (stepper.layout.arrays, stepper.tables, stepper.control, self.states, stimuli, watch, output)
        if self.pool is None:
            run_cells(*fixed, (0, self.count))
        else:
            list(self.pool.map(lambda part: run_cells(*fixed, part), self.parts))
        v, n = output.v_mV, stepper.tree.n
        at = first_outside_tables(v)
        watched = v if np.array_equal(watch.position, np.arange(n)) else v[:, :, watch.position]
        outside = None if at is None else Outside(at[0], at[1], at[2], float(v[at]))
        self._found = BatchOutput(watched, output.crossing_ms, output.sample_mV, output.sample_mM, outside)

    def end(self) -> BatchOutput:
        """What came out, each array with one axis more, of the cells, before all others; `begin` writes over it."""
        return self._found

    def _output(self, blocks: int, watch: Watch) -> Output:
        shape = blocks, len(watch.after_ms), len(watch.position)
        if self._room is None or self._room[0] != shape:
            self._room = shape, self.stepper.room(self.count, blocks, watch=watch)
        return self._room[1]
