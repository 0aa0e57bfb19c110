"""The proof of a whole cell: some input in NEURON, and from the tables in fine steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.errors import CellError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.trial import run_trial
from dendrotwin.solver.stepper import Accuracy, Stepper

PROOF_MS, SEED = 100, 20261126
FINE = Accuracy(least=64, most=64, tolerance_mV=1.0)  # all milliseconds take 64 steps
BOUND_MV, SHARE, LEAST_MV = 0.5, 0.05, 0.02  # at most; of what the cell moved; and at least
BESIDE_DEFAULT = 2.0  # where NEURON's own default is further off, the bound is this times what it is off


@dataclass(frozen=True)
class WholeCell:
    """How far the cell from tables in fine steps is from NEURON, over all compartments and milliseconds.

    Attributes:
        twin_mV: root of the mean squared difference to NEURON's Crank-Nicolson of 0.025 ms [mV].
        default_mV: that of NEURON's own default, backward Euler of 0.025 ms [mV].
        moved_mV: root of the mean squared distance from the start, for scale [mV].
    """

    twin_mV: float
    default_mV: float
    moved_mV: float

    @property
    def bound_mV(self) -> float:
        """What the difference may be."""
        ours = max(min(BOUND_MV, SHARE * self.moved_mV), LEAST_MV)
        return max(ours, BESIDE_DEFAULT * self.default_mV)


def prove_whole(cell: NeuronCell, membrane: Membrane) -> WholeCell:
    """Run `PROOF_MS` of input both ways.

    Args:
        cell: built in this process's NEURON.
        membrane: what was read of it.

    Raises:
        CellError: the difference exceeds its bound.
    """
    protocol = Modulated(rate_scale=cell.model.rate_scale)
    events = draw_events(cell.tree, protocol, PROOF_MS, trial_rng(SEED, 0))
    true, _ = run_trial(cell, events, PROOF_MS, 0.025, "crank-nicolson")
    default, _ = run_trial(cell, events, PROOF_MS, 0.025, "backward-euler")
    stepper = Stepper(cell.tree, membrane, FINE)
    twin, _, _ = stepper.advance(stepper.start(), events, PROOF_MS)

    def rms(difference: NDArray[np.floating]) -> float:
        return float(np.sqrt(np.mean(difference**2)))

    found = WholeCell(rms(twin - true), rms(default - true), rms(true - cell.tree.v_init_mV))
    if not found.twin_mV <= found.bound_mV:
        raise CellError(
            f"the cell {cell.model.name}, as it was read, differs from NEURON by {found.twin_mV:.3g} mV (root "
            f"mean square over {PROOF_MS} ms; at most {found.bound_mV:.3g}), though its mechanisms agree; "
            "something else moves its potential, such as a current of no density mechanism: take that out of `build`"
        )
    return found
