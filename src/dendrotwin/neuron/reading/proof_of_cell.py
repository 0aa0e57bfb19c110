"""The proof of a whole cell: some synaptic input in NEURON, and from the tables in fine steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.errors import CellError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.trial import run_trial
from dendrotwin.solver.accuracy import Accuracy
from dendrotwin.solver.stepper import Stepper


@dataclass(frozen=True)
class CellProof:
    """How far the cell from tables in fine steps is from NEURON, over all compartments and milliseconds.

    Attributes:
        twin_mV: root of the mean squared difference to NEURON's Crank-Nicolson [mV].
        default_mV: that of NEURON's own default, backward Euler of the same step [mV].
        moved_mV: root of the mean squared distance from the start, for scale [mV].
    """

    twin_mV: float
    default_mV: float
    moved_mV: float

    @property
    def bound_mV(self) -> float:
        """What the difference may be [mV]."""
        config = READING.cell_proof
        of_cell = max(min(config.most_mV, config.most_of_change * self.moved_mV), config.least_mV)
        return max(of_cell, config.most_of_default * self.default_mV)


def prove_cell(cell: NeuronCell, membrane: Membrane) -> CellProof:
    """Run some input both ways; see `CellProofConfig`.

    Args:
        cell: built in this process's NEURON.
        membrane: what was read of it.

    Raises:
        CellError: the difference exceeds its bound.
    """
    config = READING.cell_proof
    ms = config.duration_ms
    protocol = Modulated(rate_scale=cell.model.rate_scale)
    events = draw_events(cell.tree, protocol, ms, trial_rng(config.seed, 0))
    true, _ = run_trial(cell, events, ms, config.step_ms, "crank-nicolson")
    default, _ = run_trial(cell, events, ms, config.step_ms, "backward-euler")
    # As many steps in every millisecond, whatever the tolerance.
    fine = Accuracy(min_steps=config.steps_per_ms, max_steps=config.steps_per_ms, tolerance_mV=1.0)
    stepper = Stepper(cell.tree, membrane, fine)
    twin, _, _ = stepper.advance(stepper.start(), events, ms)

    def rms(difference: NDArray[np.floating]) -> float:
        return float(np.sqrt(np.mean(difference**2)))

    found = CellProof(rms(twin - true), rms(default - true), rms(true - cell.tree.v_init_mV))
    if not found.twin_mV <= found.bound_mV:
        raise CellError(
            f"the cell {cell.model.name}, as it was read, differs from NEURON by {found.twin_mV:.3g} mV (root "
            f"mean square over {ms} ms; at most {found.bound_mV:.3g}), though its mechanisms agree; "
            "something else moves its potential, such as a current of no density mechanism: take that out of `build`"
        )
    return found
