"""What an instrument is, what it records of one cell, and the signal that it gives.

All instruments but the patch pipette are linear forward models, as in LFPykit (Hagen et al. 2018,
doi:10.3389/fninf.2018.00092): a matrix times the membrane currents or the potentials of a cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.slab import Slab
from dendrotwin.solver.axial import axial_matrix

MS_PER_S = 1000.0
# The signal's name, and what `channels` says already.
NO_SETTINGS = ("name", "tree", "probe_positions_um", "electrodes_um", "sensors_um")
Recorder = Callable[[NDArray[np.floating], Injection | None], Floats]
"""From potentials (samples, n) [mV] and injected currents at the same samples to values (samples, channels)."""


class LinearInstrument(Protocol):
    """An instrument whose signal is a matrix times the membrane currents [nA] or the potentials [mV] of a cell."""

    @property
    def name(self) -> str:
        """Of its signal, in files and figures."""

    @property
    def unit(self) -> str:
        """Of its signal."""

    @property
    def acts_on(self) -> str:
        """What the matrix is multiplied by: "currents" or "potentials"."""

    def matrix(self, tree: Tree) -> Floats:
        """The forward model of one cell: (channels, n), in the signal's unit for 1 nA or 1 mV in each compartment.

        Args:
            tree: the cell at its place.
        """

    def channels(self) -> dict[str, Any]:
        """What is known of the channels: columns (channels,), such as `x_um`, where each is [um]."""


Instrument = LinearInstrument | Patch


@dataclass(frozen=True, eq=False)
class Signal:
    """What one instrument recorded, at the times of the recording's samples: the first is one interval after 0.

    Attributes:
        name: of the instrument, such as lfp, or lfp-deep with the label "deep".
        unit: of the values.
        values: (samples, channels), of a camera (samples, rows, columns).
        channels: columns (channels,) such as `x_um`: where each channel is [um].
        sampling_hz: samples in a second [Hz].
        settings: all that made it, such as `sigma_S_per_m` or `seed`; see `settings_of`.
    """

    name: str
    unit: str
    values: NDArray[np.floating]
    channels: dict[str, NDArray[Any]]
    sampling_hz: float = MS_PER_S
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def modality(self) -> str:
        """The instrument's name without its label, such as lfp."""
        return self.name.partition("-")[0]

    @property
    def time_ms(self) -> Floats:
        """(samples,) time of each sample [ms]."""
        return np.asarray(np.arange(1.0, len(self.values) + 1.0) * (MS_PER_S / self.sampling_hz))


def sample_shape(instrument: Instrument) -> tuple[int, ...]:
    """Shape of one sample: (rows, columns) of a camera, (channels,) of everything else.

    Args:
        instrument: what records.
    """
    return instrument.shape if isinstance(instrument, Dye) else (len(next(iter(instrument.channels().values()))),)


def settings_of(instrument: Instrument) -> dict[str, Any]:
    """All that an instrument's signal depends on, but for its cells and where its channels are.

    Texts, numbers and lists of numbers by name. What belongs to a slab, a probe or a head begins with that word, such
    as `slab_bottom_um`; what is not there, such as a slab, is the text "none".

    Args:
        instrument: what records.
    """
    settings = {"instrument": type(instrument).__name__, **_flat(instrument)}
    if isinstance(instrument, Patch) and instrument.compartment is None:
        settings["compartment"] = "soma"
    if isinstance(getattr(instrument, "slab", None), Slab):
        del settings["sigma_S_per_m"]  # the slab has its own
    return settings


def _flat(thing: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of a dataclass, and of those in it, as numbers, texts and lists."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(thing):
        name, value = f"{prefix}{each.name}", getattr(thing, each.name)
        if name in NO_SETTINGS:
            continue
        if dataclasses.is_dataclass(value):
            found |= _flat(value, f"{name}_")
        elif value is None:
            found[name] = "none"
        elif isinstance(value, (bool, int, float, str)):
            found[name] = value
        elif isinstance(value, Path):
            found[name] = str(value)
        else:
            found[name] = np.asarray(value, dtype=np.float64).tolist()
    return found


def _float64(values: NDArray[np.floating]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def recorder_of_currents(instrument: Instrument, tree: Tree) -> Recorder:
    """The instrument at one cell, of which the membrane currents I are known: it records I M^T, M being its matrix.

    Args:
        instrument: what records.
        tree: the cell at its place.

    Returns:
        A function from membrane currents (samples, n) [nA] to the signal (samples, channels).

    Raises:
        InputError: the instrument needs potentials, or does not fit the cell.
    """
    if isinstance(instrument, Patch) or instrument.acts_on == "potentials":
        raise InputError(
            f"{instrument.name} needs potentials, and these are membrane currents alone; take lfp, ecog, csd, dipole, "
            "eeg, new-york, meg or currents, or import potentials"
        )
    matrix = instrument.matrix(tree)
    return lambda imem_nA, _: _float64(imem_nA @ matrix.T)


def recorder(instrument: Instrument, tree: Tree, sampling_hz: float) -> Recorder:
    """The instrument at one cell.

    With M the instrument's matrix and A the axial matrix (A V are the membrane currents without injection), an
    instrument that acts on currents records V (M A)^T + I_injected M^T; the currents themselves are not stored.

    Args:
        instrument: what records.
        tree: the cell at its place.
        sampling_hz: samples of the potentials in a second [Hz].

    Returns:
        A function from potentials (samples, n) [mV] and injection to the signal (samples, channels). That of a patch
        pipette continues from call to call; others do not depend on earlier samples.

    Raises:
        InputError: the instrument does not fit the cell.
    """
    if isinstance(instrument, Patch):
        return instrument.recorder(tree, MS_PER_S / sampling_hz)
    matrix = instrument.matrix(tree)
    if instrument.acts_on == "potentials":
        return lambda v_mV, injection: _float64(v_mV @ matrix.T)
    of_potentials = _float64((axial_matrix(tree) @ matrix.T).T)  # M A

    def record(v_mV: NDArray[np.floating], injection: Injection | None) -> Floats:
        values = _float64(v_mV @ of_potentials.T)
        if injection is not None:
            values += injection.current_nA @ matrix[:, injection.compartment].T
        return values

    return record
