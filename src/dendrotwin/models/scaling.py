"""Mean and standard deviation of each compartment's potential, by which networks are scaled and errors are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dendrotwin.recording import SETTLE_MS, RecordingFile
from dendrotwin.recording.trials import TrialIndex

MIN_SD_MV = 1e-3  # of a compartment that does not move, so that nothing is divided by zero


class Scaling(nn.Module):
    """z = (V - mean) / sd for each compartment.

    Attributes:
        mean_mV, sd_mV: (n,) mean and standard deviation over the training trials [mV].
    """

    mean_mV: torch.Tensor
    sd_mV: torch.Tensor

    def __init__(self, mean_mV: torch.Tensor, sd_mV: torch.Tensor) -> None:
        """Keep them as buffers, which move with a model and are saved with it.

        Args:
            mean_mV, sd_mV: (n,) see the class [mV].
        """
        super().__init__()
        self.register_buffer("mean_mV", mean_mV)
        self.register_buffer("sd_mV", sd_mV)

    def normalise(self, v_mV: torch.Tensor) -> torch.Tensor:
        """Potentials to z-scores.

        Args:
            v_mV: (..., n) potentials [mV].

        Returns:
            (..., n) z-scores.
        """
        return (v_mV - self.mean_mV) / self.sd_mV

    def denormalise(self, z: torch.Tensor) -> torch.Tensor:
        """z-scores to potentials.

        Args:
            z: (..., n) z-scores.

        Returns:
            (..., n) potentials [mV].
        """
        return z * self.sd_mV + self.mean_mV


def measure_scaling(trials: Sequence[TrialIndex]) -> Scaling:
    """The scaling of some trials, without their first SETTLE_MS where they are longer.

    Args:
        trials: of the training split; they are read one by one.

    Returns:
        Mean and standard deviation of each compartment, of at least MIN_SD_MV.
    """
    count = 0
    total = squares = shift = np.zeros(0)
    for trial in trials:
        with RecordingFile(trial.path) as file:
            v = file.v(trial.number, SETTLE_MS if trial.duration_ms > SETTLE_MS else 0).astype(np.float64)
        if count == 0:
            shift = v.mean(axis=0)  # sums of squares of small numbers lose fewer digits
            total, squares = np.zeros_like(shift), np.zeros_like(shift)
        count, total, squares = count + len(v), total + (v - shift).sum(0), squares + ((v - shift) ** 2).sum(0)
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, MIN_SD_MV**2))
    return Scaling(*(torch.as_tensor(a, dtype=torch.float32) for a in (mean + shift, sd)))
