"""What a cell remembers between milliseconds, what drives it, and what comes out.

Synaptic conductances are kept as their two exponentials, as NEURON's Exp2Syn does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import Single
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.workspace import copy

# Entries of `State.control`.
LEVEL, NEXT_LEVEL, SOMA_MV, RISING = 0, 1, 2, 3
# Crossings of the threshold that a block has room for: no soma fires more often in a millisecond. No time is below 0.
CROSSINGS, NO_CROSSING = 4, -1.0


class State(NamedTuple):
    """All that a cell remembers at the end of a block; compartments are in their positions.

    Attributes:
        v_mV: (n,) [mV].
        x: (states,) gates and schemes, half a step behind.
        c_mM: (ions, n) concentrations inside [mM].
        rise_uS, decay_uS: (classes, n) the two exponentials of the synaptic conductances [uS].
        ionic: (2, n) G [uS] and J [nA] of the last step, of all ionic currents; see `adaptive`.
        curvature: (n,) of V in the last step, by conductances that changed [mV/ms2]; see `adaptive`.
        control: (4,) at LEVEL that of the last block, at NEXT_LEVEL that to begin the next with, at SOMA_MV the
            soma's last potential [mV], and at RISING 1 if it was rising, else 0.
    """

    v_mV: Floats
    x: Single
    c_mM: Floats
    rise_uS: Single
    decay_uS: Single
    ionic: Single
    curvature: Single
    control: Floats

    def copy(self) -> State:
        """One that does not share memory."""
        parts: list[Any] = [array.copy() for array in self]
        return State(*parts)


class SynapticEvents(NamedTuple):
    """Increments of synaptic conductances, sorted by time.

    Attributes:
        first: (blocks + 1,) the first of each block, and where those of the last one end.
        after_ms: (increments,) time after the start of its block [ms].
        synapse_class, position: (increments,) row of `Synapses`, and position of the compartment.
        increment_uS: (increments,) what is added to both exponentials [uS].
    """

    first: NDArray[np.int64]
    after_ms: Floats
    synapse_class: NDArray[np.int64]
    position: NDArray[np.int64]
    increment_uS: Floats


class Stimulus(NamedTuple):
    """What drives a cell for some blocks.

    Attributes:
        events: of synapses.
        injected_nA: (blocks, n) current into each position [nA], or (1, n) where it is always the same.
    """

    events: SynapticEvents
    injected_nA: Floats


class Watch(NamedTuple):
    """What is looked at within steps, and at the end of blocks.

    Attributes:
        threshold_mV: that the soma's potential crosses upwards [mV].
        first: (blocks + 1,) the first sample of each block, and where those of the last one end.
        after_ms: (samples,) time of each sample after the start of its block, above 0 and rising [ms].
        position: (watched,) where V and concentrations are sampled; `Batch` gives V at the end of each block of these.
    """

    threshold_mV: float
    first: NDArray[np.int64]
    after_ms: Floats
    position: NDArray[np.int64]


class Output(NamedTuple):
    """What comes out of some blocks, written by `time_loop.run`.

    Attributes:
        v_mV: (blocks, n) at the end of each block [mV].
        peak: (blocks, 2) highest local maximum of the soma's potential that ended in the block, else NO_PEAK_MV [mV],
            and when it was after the start of the block [ms].
        crossing_ms: (blocks, CROSSINGS) when the soma's potential crossed the threshold upwards, after the start of
            the block [ms]; then NO_CROSSING. Straight lines between the ends of steps say when.
        sample_mV: (samples, watched) V, by the same straight lines [mV].
        sample_mM: (samples, ions, watched) concentrations inside, likewise [mM].
        counts: (2,) blocks, and steps that they took.
    """

    v_mV: Single
    peak: Floats
    crossing_ms: Floats
    sample_mV: Single
    sample_mM: Single
    counts: NDArray[np.int64]


@compiled
def one_state(states: State, k: int) -> State:
    """The state of one of several cells, in the same memory.

    Args:
        states: of cells, each array with one axis more, of the cells, before all others.
        k: which cell.
    """
    return State(
        states.v_mV[k], states.x[k], states.c_mM[k], states.rise_uS[k], states.decay_uS[k], states.ionic[k],
        states.curvature[k], states.control[k],
    )  # fmt: skip


@compiled
def copy_state(source: State, target: State) -> None:
    """Copy all but `control`.

    Args:
        source, target: states of one cell.
    """
    copy(source.v_mV, target.v_mV)
    copy(source.x, target.x)
    copy(source.c_mM.ravel(), target.c_mM.ravel())
    copy(source.rise_uS.ravel(), target.rise_uS.ravel())
    copy(source.decay_uS.ravel(), target.decay_uS.ravel())
    copy(source.ionic.ravel(), target.ionic.ravel())
    copy(source.curvature, target.curvature)
