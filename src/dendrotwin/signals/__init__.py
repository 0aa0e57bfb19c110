"""From the potentials of a recording to what electrodes, cameras and sensors outside the head record of the cell.

Lengths are in um, currents in nA, potentials in mV, conductivities in S/m. A cell taken from a recording is upright,
its soma's centre at the origin and its apical dendrites along +z, unless a `PlacedCell` says otherwise.
"""

from dendrotwin.signals.contacts import read_contacts
from dendrotwin.signals.currents import Currents, membrane_currents
from dendrotwin.signals.extracellular import LFP, Dipole, dipole_matrix, lfp_matrix
from dendrotwin.signals.head import (
    EEG,
    MEG,
    FourSpheres,
    NewYorkEEG,
    eeg_matrix,
    meg_matrix,
    sensors_on_meridian,
)
from dendrotwin.signals.instruments import Signal
from dendrotwin.signals.nwb import write_nwb
from dendrotwin.signals.one_signal import csd, dipole, dye, ecog, eeg, lfp, meg, patch
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.placing import PlacedCell, upright
from dendrotwin.signals.population import read_places
from dendrotwin.signals.probes import (
    Probe,
    ecog_grid,
    linear_probe,
    neuropixels,
    point_electrodes,
    shank_beside,
    square_array,
)
from dendrotwin.signals.slab import Slab
from dendrotwin.signals.source_density import CSD, csd_matrix, layers_over
from dendrotwin.signals.spectrum import power_spectrum
from dendrotwin.signals.store import open_signals, read_signals, write_signals
from dendrotwin.signals.streaming import record, stream

__all__ = [
    "CSD",
    "EEG",
    "LFP",
    "MEG",
    "Currents",
    "Dipole",
    "Dye",
    "FourSpheres",
    "NewYorkEEG",
    "Patch",
    "PlacedCell",
    "Probe",
    "Signal",
    "Slab",
    "csd",
    "csd_matrix",
    "dipole",
    "dipole_matrix",
    "dye",
    "ecog",
    "ecog_grid",
    "eeg",
    "eeg_matrix",
    "layers_over",
    "lfp",
    "lfp_matrix",
    "linear_probe",
    "meg",
    "meg_matrix",
    "membrane_currents",
    "neuropixels",
    "open_signals",
    "patch",
    "point_electrodes",
    "power_spectrum",
    "read_contacts",
    "read_places",
    "read_signals",
    "record",
    "sensors_on_meridian",
    "shank_beside",
    "square_array",
    "stream",
    "upright",
    "write_nwb",
    "write_signals",
]
