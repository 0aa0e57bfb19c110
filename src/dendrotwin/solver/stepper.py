"""A cell that can be stepped on the CPU: its layout, its tables, and how exact its steps are.

The method is that of `dendrotwin.solver.integrator` (staggered steps, Hines 1984, doi:10.1016/0020-7101(84)90008-4).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.tree import SPIKE_MV, Events, Floats, Injection, Tree
from dendrotwin.solver.accuracy import Accuracy
from dendrotwin.solver.cell_arrays import StepTables
from dendrotwin.solver.integrator.adaptive import StepControl
from dendrotwin.solver.integrator.state import CROSSINGS, Output, State, Stimulus, SynapticEvents, Watch
from dendrotwin.solver.integrator.time_loop import begin, make_scratch, run
from dendrotwin.solver.layout import Layout, lay_out


class Stepper:
    """A cell on the CPU.

    Attributes:
        tree, membrane: of the cell.
        accuracy: of the steps.
        block_ms: what is advanced as one: 1 ms, or a half, a fourth, ... of it [ms].
    """

    def __init__(self, tree: Tree, membrane: Membrane, accuracy: Accuracy, block_ms: float = 1.0) -> None:
        self.tree, self.membrane, self.accuracy, self.block_ms = tree, membrane, accuracy, block_ms

    @cached_property
    def layout(self) -> Layout:
        """The cell's arrays."""
        return lay_out(self.tree, self.membrane)

    @cached_property
    def control(self) -> StepControl:
        """Which lengths of steps there are, and the tolerance."""
        levels = sorted({max(many, round(1.0 / self.block_ms)) for many in self.accuracy.levels})
        return StepControl(self.block_ms, np.array(levels, np.int64), self.accuracy.tolerance_mV)

    @cached_property
    def tables(self) -> StepTables:
        """Tables for steps of these lengths."""
        return self.layout.step_tables([1.0 / many for many in self.control.steps_per_ms])

    def start(self) -> State:
        """The state at the start of a trial."""
        initial, tree = self.layout.initial, self.tree
        n, classes = tree.n, len(self.layout.arrays.synapses.rise_ms)
        rise, decay = np.zeros((2, classes, n), np.float32)
        state = State(
            v_mV=np.full(n, tree.v_init_mV),
            x=initial.x.copy(),
            c_mM=initial.c_mM.copy(),
            rise_uS=rise,
            decay_uS=decay,
            ionic=np.zeros((2, n), np.float32),
            curvature=np.zeros(n, np.float32),
            control=np.array([0.0, 0.0, tree.v_init_mV, 0.0]),
        )
        begin(self.layout.arrays, self.tables, state)
        return state

    def synaptic_events(self, events: Events, duration_ms: int) -> SynapticEvents:
        """What events open, millisecond by millisecond.

        Args:
            events: of the cell's inputs.
            duration_ms: how long [ms].
        """
        inputs = self.layout.inputs
        counts = inputs.first[events.input + 1] - inputs.first[events.input]
        first = np.cumsum(counts) - counts
        k = np.repeat(inputs.first[events.input], counts) + np.arange(counts.sum()) - np.repeat(first, counts)
        time = np.repeat(events.time_ms, counts)
        bins = np.floor(time)
        return SynapticEvents(
            first=np.searchsorted(bins, np.arange(duration_ms + 1)).astype(np.int64),
            after_ms=time - bins,
            synapse_class=inputs.synapse_class[k],
            position=inputs.position[k],
            increment_uS=inputs.increment_uS[k],
        )

    def room(self, *shape: int, watch: Watch) -> Output:
        """Room for what comes out.

        Args:
            shape: blocks, or cells and blocks.
            watch: says how many samples there are.
        """
        *cells, blocks = shape
        samples, watched, n = len(watch.after_ms), len(watch.position), self.tree.n
        return Output(
            v_mV=np.empty((*cells, blocks, n), np.float32),
            peak=np.empty((*cells, blocks, 2)),
            crossing_ms=np.empty((*cells, blocks, CROSSINGS)),
            sample_mV=np.empty((*cells, samples, watched), np.float32),
            sample_mM=np.empty((*cells, samples, len(self.layout.initial.c_mM), watched), np.float32),
            counts=np.zeros((*cells, 2), np.int64),
        )

    def advance(
        self, state: State, events: Events, duration_ms: int, injection: Injection | None = None
    ) -> tuple[NDArray[np.float32], Floats, NDArray[np.int64]]:
        """Go on from a state, which changes, in blocks of 1 ms.

        Args:
            state: where the cell is.
            events: times count from the state's [ms].
            duration_ms: how long [ms].
            injection: current over this time.

        Returns:
            V (duration_ms, n) at the end of each millisecond [mV]; (duration_ms, 2) the highest local maximum of the
            soma's potential that ended in each, or `integrator.time_loop.NO_PEAK_MV` [mV], and when that was after its
            start [ms], as exact as a step is long; and (2,) milliseconds, and steps that they took.
        """
        n, position = self.tree.n, self.layout.position
        injected = np.zeros((1, n))
        if injection is not None:
            injected = np.zeros((duration_ms, n))
            for compartment, current in zip(injection.compartment, injection.current_nA.T, strict=True):
                injected[:, position[compartment]] += current
        watch = no_watch(duration_ms)
        output = self.room(duration_ms, watch=watch)
        stimulus = Stimulus(self.synaptic_events(events, duration_ms), injected)
        arrays = self.layout.arrays
        run(arrays, self.tables, self.control, state, stimulus, watch, output, make_scratch(arrays, state))
        return output.v_mV[:, position], output.peak, output.counts


def no_watch(blocks: int, threshold_mV: float = SPIKE_MV) -> Watch:
    """No samples within steps.

    Args:
        blocks: how many.
        threshold_mV: of output spikes [mV].
    """
    return Watch(threshold_mV, np.zeros(blocks + 1, np.int64), np.zeros(0), np.zeros(0, np.int64))
