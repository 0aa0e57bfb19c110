"""What electrodes say about a prediction: the LFP at six contacts beside the cell and its dipole, true and predicted.

A small error of the potential that differs from neighbour to neighbour makes a large error of the membrane currents,
and an error that all compartments share makes none: this is another look at a prediction than its potentials.
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

CONTACTS = 6
AXES = ("x", "y", "z")
WITHOUT = "LFP and dipole are left out, for LFPykit is not installed: pip install 'dendrotwin[signals]'."


@dataclass(frozen=True)
class ElectrodeErrors:
    """Errors of the LFP and the dipole of one predictor, as lists, for JSON.

    Attributes:
        lfp_ve: explained variance at each contact from the lowest up, by stretch; see `measures.SignalVariance`.
        dipole_ve: the same of the dipole along x, y and z of the upright cell.
        lfp_dB: error of the power at each contact, by band [dB]; see `measures.BandPower`.
    """

    lfp_ve: dict[str, list[float]]
    dipole_ve: dict[str, list[float]]
    lfp_dB: dict[str, list[float]]

    def summary(self) -> dict[str, float]:
        """Everything by name: each contact, the worst and the median of them, each axis.

        The error of a band is its mean absolute value over the contacts; with its sign it stands by contact.
        """
        row = {}
        for stretch, ve in self.lfp_ve.items():
            row[f"LFP VE {stretch} worst"] = _of_finite(np.min, ve)
            row[f"LFP VE {stretch} median"] = _of_finite(np.median, ve)
            row |= {f"LFP VE {stretch} contact {k}": value for k, value in enumerate(ve, 1)}
        for stretch, ve in self.dipole_ve.items():
            row |= {f"dipole VE {stretch} {axis}": value for axis, value in zip(AXES, ve, strict=True)}
        for band, dB in self.lfp_dB.items():
            row[f"LFP dB {band}"] = _of_finite(np.mean, np.abs(dB))
            row |= {f"LFP dB {band} contact {k}": value for k, value in enumerate(dB, 1)}
        return row


def _of_finite(statistic: Callable[[Any], Any], values: Any) -> float:
    """The statistic of the finite values, NaN where there is none."""
    finite = np.asarray(values)[np.isfinite(values)]
    return float(statistic(finite)) if len(finite) else float("nan")


def stand(tree: Tree) -> tuple[Tree, Probe]:
    """The cell upright, its soma at the origin, and the contacts beside it; see `signals.shank_beside`."""
    cell = upright(tree)
    return cell, shank_beside(cell, CONTACTS)


class Electrodes:
    """The contacts beside the upright cell, and its dipole: add trials one after the other, then take the errors."""

    def __init__(self, tree: Tree) -> None:
        """Raise InputError where LFPykit is not installed."""
        cell, probe = stand(tree)
        self._lfp, self._dipole = (recorder(instrument, cell, SAMPLING_HZ) for instrument in (LFP(probe), Dipole()))
        self._lfp_variance, self._dipole_variance = SignalVariance(CONTACTS), SignalVariance(len(AXES))
        self._power = BandPower(CONTACTS)

    def add(self, true: Recording, predicted_mV: NDArray[np.floating]) -> None:
        """Add a trial and its predicted potentials (steps, n) [mV]; what is injected counts in both."""
        lfp, again = (self._lfp(v_mV, true.injection) for v_mV in (true.v_mV, predicted_mV))
        self._lfp_variance.add(lfp, again, true.spikes_ms)
        self._power.add(lfp, again)
        moment, again = (self._dipole(v_mV, true.injection) for v_mV in (true.v_mV, predicted_mV))
        self._dipole_variance.add(moment, again, true.spikes_ms)

    def errors(self) -> ElectrodeErrors:
        """Over all trials so far."""
        found = (
            self._lfp_variance.explained_variance(),
            self._dipole_variance.explained_variance(),
            self._power.errors_dB(),
        )
        return ElectrodeErrors(*({name: values.tolist() for name, values in of.items()} for of in found))


def can_see() -> bool:
    """Whether LFPykit, which the forward models are from, is installed."""
    return is_installed("lfpykit")
