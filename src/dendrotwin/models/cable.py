"""The cable twin: the cell's own tree, synapses and membrane, as they were read from NEURON (`reading`).

Nothing is learned. `solver` takes as many steps a millisecond as the channels ask for; how exact that is has three
names, or is a tolerance of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from dendrotwin.membrane import Membrane
from dendrotwin.solver.stepper import Accuracy, Stepper
from dendrotwin.tree import Events, Injection, Tree

CABLE = "cable"  # its name among architectures
# How each setting was chosen: docs/cable.md.
SETTINGS = {
    "fast": Accuracy(least=1, most=16, tolerance_mV=0.05),
    "standard": Accuracy(least=2, most=32, tolerance_mV=0.02),
    "exact": Accuracy(least=4, most=64, tolerance_mV=0.003),
}
SPIKE_MV, SPREAD_MV = -25.0, 5.0  # a peak of the soma's potential there is a spike with a probability of 1/2
NO_PEAK = -20.0  # logit of a millisecond without a peak, where the potential is at SPIKE_MV


class CableConfig(BaseModel):
    """How exact the steps are.

    Attributes:
        accuracy: fast, standard or exact.
        tolerance_mV: in place of the setting's own: how far changing conductances may bend the course of the potentials
            within a step, root of the mean square over compartments [mV]; see `solver.steps`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    accuracy: Literal["fast", "standard", "exact"] = "standard"
    tolerance_mV: float | None = Field(default=None, gt=0)

    @property
    def steps(self) -> Accuracy:
        """The steps that this means."""
        chosen = SETTINGS[self.accuracy]
        return chosen if self.tolerance_mV is None else Accuracy(chosen.least, chosen.most, self.tolerance_mV)


def spike_logits(v_soma_mV: NDArray[np.floating], peak_mV: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logit of an output spike in each millisecond: of the highest peak that the soma's potential passed in it.

    Args:
        v_soma_mV, peak_mV: (steps,) potential at the end of each, and its highest local maximum, or far below.
    """
    peak = (peak_mV - SPIKE_MV) / SPREAD_MV
    without = (v_soma_mV - SPIKE_MV) / SPREAD_MV + NO_PEAK
    return np.asarray(np.maximum(peak, without), dtype=np.float32)


class Cable(nn.Module):
    """The cable twin; see the module.

    Attributes:
        tree, membrane: of the cell.
        config: see `CableConfig`.
    """

    def __init__(self, tree: Tree, membrane: Membrane, config: CableConfig) -> None:
        super().__init__()
        self.tree, self.membrane, self.config = tree, membrane, config

    @cached_property
    def stepper(self) -> Stepper:
        """The cell on the CPU."""
        return Stepper(self.tree, self.membrane, self.config.steps)

    def __getstate__(self) -> dict[str, Any]:
        """Tables are made anew, not copied."""
        return {name: value for name, value in super().__getstate__().items() if name != "stepper"}

    def simulate(
        self, events: Sequence[Events], steps: int, injections: Sequence[Injection | None] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Whole trials from rest, one on each thread.

        Args:
            events: of each trial.
            steps: duration of all of them [ms].
            injections: current injected in each.

        Returns:
            V (trials, steps, n) [mV], and the probability of an output spike (trials, steps).
        """
        v = np.empty((len(events), steps, self.tree.n), np.float32)
        logit = np.empty((len(events), steps), np.float32)
        stepper = self.stepper
        _ = stepper.layout, stepper.kinetics  # once, not in every thread

        def one(k: int) -> None:
            injection = None if injections is None else injections[k]
            v[k], peak, _ = stepper.advance(stepper.start(), events[k], steps, injection)
            logit[k] = spike_logits(v[k, :, self.tree.soma], peak)

        if len(events) == 1:
            one(0)
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(one, range(len(events))))
        return v, (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
