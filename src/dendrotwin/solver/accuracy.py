"""How many steps a millisecond takes: three settings by name, or a tolerance of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from dendrotwin.support.options import Options


@dataclass(frozen=True)
class Accuracy:
    """How many steps a millisecond takes.

    Attributes:
        min_steps, max_steps: fewest and most in a millisecond, powers of 2.
        tolerance_mV: a step of h is short enough where h^2 times the change of curvature is at most this, root mean
            square over the membrane [mV]; see `integrator.adaptive`.
        refinement: how many steps of a level there are in one of the level before, a power of 2. With 4, of the step's
            second order, a level is sixteen times as exact as the one before.
    """

    min_steps: int
    max_steps: int
    tolerance_mV: float
    refinement: int = 4

    @property
    def levels(self) -> list[int]:
        """Numbers of steps of a millisecond that there are, rising."""
        found = [self.min_steps]
        while found[-1] * self.refinement <= self.max_steps:
            found.append(found[-1] * self.refinement)
        return found


# Steps of a millisecond and tolerance by the name of the accuracy; how each was chosen: docs/methods/steps.md.
SETTINGS = {
    # For many cells and field potentials; takes 0.4 to 0.9 of the time of `standard`.
    "fast": Accuracy(min_steps=1, max_steps=16, tolerance_mV=0.08),
    # As exact as NEURON's own default, or better.
    "standard": Accuracy(min_steps=2, max_steps=128, tolerance_mV=0.04),
    # For cells in which a small error moves or removes an output spike; takes twice the time of `standard`.
    "exact": Accuracy(min_steps=4, max_steps=256, tolerance_mV=0.006),
}


class CableConfig(Options):
    """How exact the steps are."""

    accuracy: Literal["fast", "standard", "exact"] = "standard"
    """How exact the steps are: fast, standard or exact."""
    tolerance_mV: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """A tolerance of your own in place of the setting's [mV]: how far changing conductances may bend the course of the
    potentials within a step, root mean square over the membrane."""

    @property
    def steps(self) -> Accuracy:
        """The setting, with the user's tolerance where there is one."""
        chosen = SETTINGS[self.accuracy]
        return chosen if self.tolerance_mV is None else Accuracy(chosen.min_steps, chosen.max_steps, self.tolerance_mV)
