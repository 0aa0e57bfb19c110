"""A recording of membrane currents alone, for signals that need no potentials.

Other people's simulations often keep the membrane currents of a cell (`imem` of LFPy, `i_membrane_` of NEURON; Hagen et
al. 2018, doi:10.3389/fninf.2018.00092). LFP, CSD, dipole, EEG and MEG follow from these and the places of segments.
Potentials do not, so that whatever needs them refuses such a file (see `RecordingFile.v`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import InputWarning
from dendrotwin.recording import FORMAT_VERSION, per_ms
from dendrotwin.recording.checks import CHUNK_STEPS, CURRENTS, write_array
from dendrotwin.recording.tree_file import write_tree
from dendrotwin.support.disk import whole_hdf5
from dendrotwin.support.hdf5 import WRITTEN_AS, text_attribute, write_attributes

BALANCED = 1e-3  # of the largest current, by which a sum of currents without electrodes may be off zero


def is_balanced(imem_nA: Floats) -> bool:
    """Whether the currents of each sample sum to zero, as those of a whole cell without electrodes do.

    Args:
        imem_nA: (samples, n) [nA].
    """
    largest = np.abs(imem_nA).max(initial=0.0)
    return bool(np.abs(imem_nA.sum(axis=1)).max(initial=0.0) <= BALANCED * largest)


@dataclass(frozen=True, eq=False)
class MembraneCurrents:
    """The membrane currents of one trial. Sample k is at the end of the k-th record_dt_ms.

    Attributes:
        tree: the cell; its axial conductances are of no effect on what currents give.
        imem_nA: (samples, n) current through the membrane of each compartment, outward positive, with capacitive and
            synaptic currents [nA].
        trial_id: which trial this is.
        record_dt_ms: time from one sample to the next [ms], a divisor of 1 ms.
    """

    tree: Tree
    imem_nA: Floats
    trial_id: str
    record_dt_ms: float

    @property
    def duration_ms(self) -> int:
        """Duration [ms]."""
        return len(self.imem_nA) // per_ms(self.record_dt_ms, "record_dt_ms")

    def write(self, path: str | Path, attributes: dict[str, Any]) -> None:
        """Write a file of this one trial, under a temporary name until it is whole.

        Warns where the currents of a sample do not sum to zero, as those of a whole cell do without electrodes.

        Args:
            path: the file; replaced if it exists.
            attributes: what made it, stored as the file's attributes.

        Raises:
            FileError: the disk is full.
        """
        if not is_balanced(self.imem_nA):
            off = float(np.abs(self.imem_nA.sum(axis=1)).max())
            warnings.warn(
                f"the membrane currents sum to up to {off:.3g} nA, where those of a whole cell without electrodes sum "
                "to zero; signals far from the cell are right only if that much is injected, and no segment is missing",
                InputWarning,
                stacklevel=2,
            )
        with whole_hdf5(path, libver=WRITTEN_AS) as file:
            write_tree(file.create_group("tree"), self.tree)
            group = file.create_group("trials/000000")
            group.attrs["trial_id"] = text_attribute(self.trial_id)
            group.attrs["record_dt_ms"] = self.record_dt_ms
            chunks = (min(CHUNK_STEPS, len(self.imem_nA)), self.tree.n)
            write_array(group, CURRENTS, np.asarray(self.imem_nA, np.float64), CHUNK_STEPS, chunks=chunks)
            group[CURRENTS].attrs["units"] = text_attribute("nA")
            for name, values in (("spikes_ms", np.zeros(0)), ("events/time_ms", np.zeros(0))):
                write_array(group, name, values)
            write_array(group, "events/input", np.zeros(0, np.int32))
            made_of = {"tree_fingerprint": self.tree.fingerprint(), "format_version": FORMAT_VERSION}
            write_attributes(file, {**attributes, **made_of})
            file.check_room()
