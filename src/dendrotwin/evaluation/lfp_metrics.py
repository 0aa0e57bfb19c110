"""Errors of a prediction outside the cell: the LFP at six contacts beside it and its dipole, true and predicted.

A small error of the potential that differs from neighbour to neighbour makes a large error of the membrane currents,
and an error that all compartments share makes none: these errors show what those of the potentials do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Tree
from dendrotwin.evaluation.metrics import SAMPLING_HZ, BandPower, SignalVariance
from dendrotwin.recording import Recording
from dendrotwin.signals.extracellular import LFP, Dipole
from dendrotwin.signals.extras import is_installed
from dendrotwin.signals.instruments import recorder
from dendrotwin.signals.placing import upright
from dendrotwin.signals.probes import Probe, shank_beside

CONTACTS = 6  # as many as in figure 1D of Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728)
AXES = ("x", "y", "z")
NO_LFP = "LFP and dipole are left out, for LFPykit is not installed: pip install 'dendrotwin[signals]'."


@dataclass(frozen=True)
class LFPErrors:
    """Errors of the LFP and the dipole of one predictor, as lists, for JSON.

    Attributes:
        lfp_ve: explained variance at each contact from the lowest up, by period; see `metrics.SignalVariance`.
        dipole_ve: the same of the dipole along x, y and z of the upright cell.
        lfp_dB: error of the power at each contact, by band [dB]; see `metrics.BandPower`.
    """

    lfp_ve: dict[str, list[float]]
    dipole_ve: dict[str, list[float]]
    lfp_dB: dict[str, list[float]]

    def summary(self) -> dict[str, float]:
        """Every number by its name.

        Returns:
            Explained variance of each contact, the worst and the median of them, and of each axis; the error of each
            band at each contact, with its sign, and its mean absolute value over the contacts [dB].
        """
        row = {}
        for period, ve in self.lfp_ve.items():
            row[f"LFP VE {period} worst"] = _of_finite(np.min, ve)
            row[f"LFP VE {period} median"] = _of_finite(np.median, ve)
            row |= {f"LFP VE {period} contact {k}": value for k, value in enumerate(ve, 1)}
        for period, ve in self.dipole_ve.items():
            row |= {f"dipole VE {period} {axis}": value for axis, value in zip(AXES, ve, strict=True)}
        for band, dB in self.lfp_dB.items():
            row[f"LFP dB {band}"] = _of_finite(np.mean, np.abs(dB))
            row |= {f"LFP dB {band} contact {k}": value for k, value in enumerate(dB, 1)}
        return row


def _of_finite(statistic: Callable[[Any], Any], values: Any) -> float:
    """The statistic of the finite values, NaN where there is none."""
    finite = np.asarray(values)[np.isfinite(values)]
    return float(statistic(finite)) if len(finite) else float("nan")


def upright_beside_shank(tree: Tree) -> tuple[Tree, Probe]:
    """The cell as its LFP is compared: upright, its soma at the origin, with a shank beside it.

    Args:
        tree: the cell.

    Returns:
        The upright cell, and CONTACTS contacts beside it; see `signals.shank_beside`.
    """
    cell = upright(tree)
    return cell, shank_beside(cell, CONTACTS)


class LFPComparison:
    """LFP and dipole of recordings and predictions: add trials one after the other, then take the errors."""

    def __init__(self, tree: Tree) -> None:
        """Set the cell upright, and the contacts beside it.

        Args:
            tree: the cell.

        Raises:
            MissingPackageError: LFPykit is not installed; see `has_lfpykit`.
        """
        cell, probe = upright_beside_shank(tree)
        self._lfp, self._dipole = (recorder(instrument, cell, SAMPLING_HZ) for instrument in (LFP(probe), Dipole()))
        self._lfp_variance, self._dipole_variance = SignalVariance(CONTACTS), SignalVariance(len(AXES))
        self._power = BandPower(CONTACTS)

    def add(self, true: Recording, predicted_mV: NDArray[np.floating]) -> None:
        """Add a trial; its injected current counts in the true and in the predicted signals.

        Args:
            true: the recording.
            predicted_mV: (steps, n) predicted potentials [mV].
        """
        lfp, predicted_lfp = (self._lfp(v_mV, true.injection) for v_mV in (true.v_mV, predicted_mV))
        self._lfp_variance.add(lfp, predicted_lfp, true.spikes_ms)
        self._power.add(lfp, predicted_lfp)
        moment, predicted_moment = (self._dipole(v_mV, true.injection) for v_mV in (true.v_mV, predicted_mV))
        self._dipole_variance.add(moment, predicted_moment, true.spikes_ms)

    def errors(self) -> LFPErrors:
        """The errors over all trials so far."""
        found = (
            self._lfp_variance.explained_variance(),
            self._dipole_variance.explained_variance(),
            self._power.errors_dB(),
        )
        return LFPErrors(*({name: values.tolist() for name, values in of.items()} for of in found))


def has_lfpykit() -> bool:
    """Whether LFPykit, which computes the LFP, is installed."""
    return is_installed("lfpykit")
