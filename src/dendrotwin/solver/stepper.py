"""A cell that can be stepped on the CPU: its layout, its tables, and how exact its steps are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.tree import Events, Floats, Injection, Tree
from dendrotwin.solver.layout import Kinetics, Layout, lay_out
from dendrotwin.solver.steps import Arrivals, State, begin, run

FOLD = 4


@dataclass(frozen=True)
class Accuracy:
    """How many steps a millisecond takes.

    Attributes:
        least, most: fewest and most, powers of 2.
        tolerance_mV: see `solver.steps`.
    """

    least: int
    most: int
    tolerance_mV: float

    @property
    def levels(self) -> list[int]:
        """Numbers of steps of a millisecond that there are, each `FOLD` times the one before."""
        found = [self.least]
        while found[-1] * FOLD <= self.most:
            found.append(found[-1] * FOLD)
        return found


class Stepper:
    """A cell on the CPU.

    Attributes:
        tree, membrane: of the cell.
        accuracy: of the steps.
    """

    def __init__(self, tree: Tree, membrane: Membrane, accuracy: Accuracy) -> None:
        self.tree, self.membrane, self.accuracy = tree, membrane, accuracy

    @cached_property
    def layout(self) -> Layout:
        """The cell's arrays."""
        return lay_out(self.tree, self.membrane)

    @cached_property
    def levels(self) -> NDArray[np.int64]:
        """Numbers of steps of a millisecond."""
        return np.array(self.accuracy.levels, np.int64)

    @cached_property
    def kinetics(self) -> Kinetics:
        """Tables for steps of these lengths."""
        return self.layout.kinetics([1.0 / many for many in self.levels])

    def start(self) -> State:
        """The state at the start of a trial."""
        layout, tree = self.layout, self.tree
        n, classes = tree.n, len(layout.net.classes.rise_ms)
        rise, decay = np.zeros((2, classes, n), np.float32)
        v = np.full(n, tree.v_init_mV)
        state = State(
            v, layout.start.x.copy(), layout.start.c_mM.copy(), rise, decay, np.zeros((2, n), np.float32),
            np.zeros(n, np.float32), np.array([0.0, 0.0, tree.v_init_mV, 0.0]),
        )  # fmt: skip
        begin(layout.net, self.kinetics, state)
        return state

    def arrivals(self, events: Events, steps: int) -> Arrivals:
        """What events open, millisecond by millisecond."""
        layout = self.layout
        counts = layout.of_input[events.input + 1] - layout.of_input[events.input]
        first = np.cumsum(counts) - counts
        k = np.repeat(layout.of_input[events.input], counts) + np.arange(counts.sum()) - np.repeat(first, counts)
        time = np.repeat(events.time_ms, counts)
        bins = np.floor(time)
        return Arrivals(
            np.searchsorted(bins, np.arange(steps + 1)).astype(np.int64), time - bins, layout.of_class[k],
            layout.place[k], layout.opens_uS[k],
        )  # fmt: skip

    def advance(
        self, state: State, events: Events, steps: int, injection: Injection | None = None
    ) -> tuple[NDArray[np.float32], Floats, NDArray[np.int64]]:
        """Go on from a state, which changes.

        Args:
            state: where the cell is.
            events: times count from the state's [ms].
            steps: how long [ms].
            injection: current over these steps.

        Returns:
            V (steps, n) at the end of each millisecond [mV]; (steps, 2) the highest local maximum of the soma's
            potential that ended in each, or `steps.NO_PEAK_MV`, and when that was after its start [ms], as exact as a
            step is long; milliseconds, and solves that they took.
        """
        n, back = self.tree.n, self.layout.back
        injected = np.zeros((1, n))
        if injection is not None:
            injected = np.zeros((steps, n))
            for compartment, current in zip(injection.compartment, injection.current_nA.T, strict=True):
                injected[:, back[compartment]] += current
        out, peak, counts = np.empty((steps, n), np.float32), np.empty((steps, 2)), np.zeros(2, np.int64)
        run(
            self.layout.net, self.kinetics, self.levels, self.accuracy.tolerance_mV, state,
            self.arrivals(events, steps), injected, out, peak, counts,
        )  # fmt: skip
        return out[:, back], peak, counts
