"""Many cells of one model, which go on together on a GPU: the counterpart of `Batch`.

All stays on the device from one call to the next. A call takes one copy there, of events and currents, and one back,
of output spikes and of what is watched. Batches do not wait for each other: each has a stream of its own.
"""

from __future__ import annotations

import numpy as np
import torch

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.batch import BatchOutput, Outside
from dendrotwin.solver.gpu import Electrodes, GPUStepper
from dendrotwin.solver.gpu_parcel import Parcel
from dendrotwin.solver.integrator.state import State, SynapticEvents, Watch


class GPUBatch:
    """Cells of one model; see `Batch`.

    Args:
        stepper: the model on the device.
        count: of the cells.

    Attributes:
        stepper: the model.
    """

    def __init__(self, stepper: GPUStepper, count: int) -> None:
        self.gpu, self.stepper, self.count = stepper, stepper.cpu, count
        self.stream = torch.cuda.Stream(stepper.device) if stepper.device.type == "cuda" else None
        with torch.cuda.stream(self.stream):
            self.state = stepper.start(count)
        self.sent, self.found = Parcel(stepper.device), Parcel(stepper.device)

    @property
    def states(self) -> State:
        """Of the cells, each array with one axis more, of the cells, before all others; a copy on the host."""
        with torch.cuda.stream(self.stream):
            return self.gpu.get(self.state)

    def restore(self, states: State) -> None:
        """Go on from states.

        Args:
            states: of the cells.
        """
        with torch.cuda.stream(self.stream):
            self.state = self.gpu.put(states)

    def begin(self, events: SynapticEvents, blocks: int, watch: Watch, injected_nA: Floats | None = None) -> None:
        """Go on by some blocks; see `Batch.begin`. The device may still be busy when this returns.

        Args:
            events: of all cells, with `first` (cells, blocks + 1).
            blocks: how many.
            watch: what is looked at.
            injected_nA: (cells, blocks, n) current into each position [nA], or None.
        """
        electrodes = _electrodes(self.count, blocks, injected_nA)
        with torch.cuda.stream(self.stream):
            self.gpu.run(self.state, self.gpu.send(events, electrodes, watch, self.sent), self.found)

    def end(self) -> BatchOutput:
        """What came out, each array with one axis more, of the cells, before all others; `begin` writes over it."""
        with torch.cuda.stream(self.stream):
            there = self.found.fetch()
        position, v_mV = there["outside"][..., 0], there["outside"][..., 1]
        outside = np.argwhere(position < self.stepper.tree.n)
        first = None
        if len(outside):
            cell, block = outside[0].tolist()
            first = Outside(cell, block, int(position[cell, block]), float(v_mV[cell, block]))
        return BatchOutput(there["v_mV"], there["crossing_ms"], there["sample_mV"], there["sample_mM"], first)


def _electrodes(cells: int, blocks: int, injected_nA: Floats | None) -> Electrodes:
    if injected_nA is None:
        return Electrodes(np.zeros(cells + 1, np.int64), np.zeros(0, np.int64), np.zeros((0, blocks)))
    cell, position = np.nonzero(injected_nA.any(axis=1))
    return Electrodes(np.searchsorted(cell, np.arange(cells + 1)), position, injected_nA[cell, :, position])
