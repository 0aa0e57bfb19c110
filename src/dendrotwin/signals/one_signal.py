"""One signal of recordings in one call, in memory; the physics is that of the instrument of the same name.

`record` takes several instruments in one pass. In all functions `recordings` is a file, read as its first trial with
the cell upright and its soma at the origin, or a `PlacedCell`, or several, which are summed. The signals are those of
LFPy (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), a dye and a pipette.
"""

from __future__ import annotations

from typing import Any

from dendrotwin.cell.tree import Floats
from dendrotwin.signals.extracellular import LFP, Dipole
from dendrotwin.signals.head import EEG, MEG
from dendrotwin.signals.instruments import Instrument, Signal
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.probes import Probe
from dendrotwin.signals.slab import Slab
from dendrotwin.signals.source_density import CSD
from dendrotwin.signals.streaming import Recordings, record


def _record_one(recordings: Recordings, instrument: Instrument) -> Signal:
    return record(recordings, [instrument])[0]


def lfp(recordings: Recordings, probe: Probe, **options: Any) -> Signal:
    """Local field potential at the contacts of a probe.

    Args:
        recordings: a file, a placed cell, or several.
        probe: the contacts.
        options: `sigma_S_per_m`, `source`, `slab`; see `LFP`.

    Returns:
        Values (samples, contacts) [mV].

    Raises:
        InputError, FileError: see `stream` and `lfp_matrix`.
    """
    return _record_one(recordings, LFP(probe, **options))


def ecog(recordings: Recordings, probe: Probe, slab: Slab, **options: Any) -> Signal:
    """Potential at electrodes on the surface of the cortex, from point sources: lines cannot be mirrored there.

    Args:
        recordings: a file, a placed cell, or several.
        probe: the contacts.
        slab: the cortex, between white matter and what covers it.
        options: `source`, see `LFP`.

    Returns:
        Values (samples, contacts) [mV].

    Raises:
        InputError, FileError: see `stream` and `lfp_matrix`.
    """
    return _record_one(recordings, LFP(probe, slab=slab, **{"source": "point", "name": "ecog", **options}))


def csd(recordings: Recordings, z_edges_um: Floats, **options: Any) -> Signal:
    """Current source density in layers across z.

    Args:
        recordings: a file, a placed cell, or several.
        z_edges_um: (layers + 1,) borders of the layers, rising [um].
        options: `half_width_um`, see `CSD`.

    Returns:
        Values (samples, layers) [nA/um3].

    Raises:
        InputError, FileError: see `stream` and `CSD.matrix`.
    """
    return _record_one(recordings, CSD(z_edges_um, **options))


def dipole(recordings: Recordings) -> Signal:
    """Current dipole moment.

    Args:
        recordings: a file, a placed cell, or several.

    Returns:
        Values (samples, 3) [nA um].

    Raises:
        InputError, FileError: see `stream`.
    """
    return _record_one(recordings, Dipole())


def eeg(recordings: Recordings, **options: Any) -> Signal:
    """EEG in the four-sphere model.

    Args:
        recordings: a file, a placed cell, or several.
        options: `electrodes_um`, `head`, see `EEG`.

    Returns:
        Values (samples, electrodes) [uV].

    Raises:
        InputError, FileError: see `stream` and `eeg_matrix`.
    """
    return _record_one(recordings, EEG(**options))


def meg(recordings: Recordings, **options: Any) -> Signal:
    """MEG outside a spherical head.

    Args:
        recordings: a file, a placed cell, or several.
        options: `sensors_um`, `head`, see `MEG`.

    Returns:
        Values (samples, 3 sensors): x, y and z of the field at the first sensor, at the second, ... [fT].

    Raises:
        InputError, FileError: see `stream` and `meg_matrix`.
    """
    return _record_one(recordings, MEG(**options))


def dye(recordings: Recordings, **options: Any) -> Signal:
    """Image stack of a voltage-sensitive dye.

    Args:
        recordings: a file, a placed cell, or several.
        options: see `Dye`.

    Returns:
        Values (samples, rows, columns) [mV um2].

    Raises:
        InputError, FileError: see `stream` and `Dye.matrix`.
    """
    return _record_one(recordings, Dye(**options))


def patch(recordings: Recordings, **options: Any) -> Signal:
    """Potential behind a patch pipette.

    Args:
        recordings: a file, or one placed cell.
        options: see `Patch`.

    Returns:
        Values (samples, 1) [mV].

    Raises:
        InputError, FileError: see `stream` and `Patch`.
    """
    return _record_one(recordings, Patch(**options))
