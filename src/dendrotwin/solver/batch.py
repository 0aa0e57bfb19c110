"""Many cells of one model, which go on together on the threads of the CPU; each has inputs of its own.

The method is that of `dendrotwin.solver.integrator` (staggered steps, Hines 1984, doi:10.1016/0020-7101(84)90008-4).
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.integrator.state import Output, State, Stimulus, SynapticEvents, Watch
from dendrotwin.solver.integrator.time_loop import run_cells
from dendrotwin.solver.stepper import Stepper

PARTS_PER_THREAD = 4  # of the cells: not all cells take the same time


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
        self._room: tuple[int, int, Output] | None = None

    def advance(self, events: SynapticEvents, blocks: int, watch: Watch, injected_nA: Floats | None = None) -> Output:
        """Go on by some blocks.

        Args:
            events: of all cells, with `first` (cells, blocks + 1).
            blocks: how many.
            watch: what is looked at within steps.
            injected_nA: (cells, blocks, n) current into each position [nA], or None.

        Returns:
            What came out, each array with one axis more, of the cells, before all others; in positions. The next call
            writes over it.
        """
        output = self._output(blocks, watch)
        stimuli = Stimulus(events, self.silence if injected_nA is None else injected_nA)
        stepper = self.stepper
        fixed = (stepper.layout.arrays, stepper.tables, stepper.control, self.states, stimuli, watch, output)
        if self.pool is None:
            run_cells(*fixed, (0, self.count))
        else:
            list(self.pool.map(lambda part: run_cells(*fixed, part), self.parts))
        return output

    def _output(self, blocks: int, watch: Watch) -> Output:
        samples = len(watch.after_ms)
        if self._room is None or self._room[:2] != (blocks, samples):
            self._room = (blocks, samples, self.stepper.room(self.count, blocks, watch=watch))
        return self._room[2]
