"""What the scalp sees: EEG and MEG of a cell's current dipole, through LFPykit's models of the head.

A cell stands in the tissue's own coordinates, z towards the surface; `FourSpheres.origin_um` says where in the head
they begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import FileError, InputError
from dendrotwin.signals.extracellular import dipole_matrix
from dendrotwin.signals.extras import need
from dendrotwin.signals.placing import Triple, coordinates

ANGLES_DEG = (0.0, 10.0, 20.0, 30.0, 45.0, 60.0)
MU_0 = 4e-7 * np.pi  # T m / A
MV_TO_UV = MM_TO_UM = 1e3
NA_PER_UM_TO_FT = MU_0 * 1e-3 * 1e15  # of a magnetic field strength: nA/um is 1e-3 A/m


@dataclass(frozen=True)
class FourSpheres:
    """A head of four concentric shells: brain, cerebrospinal fluid, skull, scalp.

    Næss et al. 2017, doi:10.3389/fnhum.2017.00490.

    Attributes:
        origin_um: where in the head the tissue's coordinates begin [um]; on the z axis, the tissue's z is radial.
        radii_um: outer radii of the shells [um].
        sigmas_S_per_m: their conductivities [S/m].
    """

    origin_um: Triple = (0.0, 0.0, 77_000.0)
    radii_um: Sequence[float] = (79_000.0, 80_000.0, 85_000.0, 90_000.0)
    sigmas_S_per_m: Sequence[float] = (0.3, 1.5, 0.015, 0.3)

    def __post_init__(self) -> None:
        """Raise InputError unless there are four growing radii and four positive conductivities."""
        radii, sigmas = np.asarray(self.radii_um), np.asarray(self.sigmas_S_per_m)
        if radii.shape != (4,) or radii[0] <= 0.0 or not (np.diff(radii) > 0.0).all():
            raise InputError(f"the head has radii {tuple(self.radii_um)} um; give four that grow")
        if sigmas.shape != (4,) or not (sigmas > 0.0).all():
            raise InputError(f"the head has conductivities {tuple(self.sigmas_S_per_m)} S/m; give four positive ones")

    def dipole_um(self, tree: Tree) -> Floats:
        """(3,) where the cell's dipole is in the head [um]: its centre, weighted by membrane area.

        Raises:
            InputError: that is not in the brain.
        """
        centre = np.average(tree.ends_um.mean(axis=1), axis=0, weights=tree.area_um2)
        place = np.asarray(np.asarray(self.origin_um) + centre)
        radius = float(np.linalg.norm(place))
        if not 0.0 < radius < self.radii_um[0]:
            raise InputError(
                f"the cell is {radius:.0f} um from the centre of the head, the brain reaches from 0 to "
                f"{self.radii_um[0]:.0f} um; move the cell, or the head's origin"
            )
        return place


def scalp_electrodes(angles_deg: Sequence[float] = ANGLES_DEG, radius_um: float = 90_000.0) -> Floats:
    """(electrodes, 3) places on a sphere, along a meridian from the vertex [um]."""
    angles = np.deg2rad(np.asarray(angles_deg, dtype=np.float64))
    return np.asarray(radius_um * np.stack([np.sin(angles), 0.0 * angles, np.cos(angles)], axis=1))


def eeg_matrix(tree: Tree, electrodes_um: Floats, head: FourSpheres | None = None) -> Floats:
    """Potential at the scalp for 1 nA through the membrane of each compartment, in the four-sphere model.

    Args:
        tree: the cell, in the tissue's coordinates.
        electrodes_um: (electrodes, 3) in the head's coordinates, farther from its centre than the cell [um].
        head: its shells; None for the usual ones.

    Returns:
        (electrodes, n) [uV/nA].

    Raises:
        InputError: the cell is not in the brain, an electrode is outside the head or deeper than the cell, or LFPykit
            is not installed.
    """
    head = head or FourSpheres()
    place = head.dipole_um(tree)
    electrodes = _sensors(electrodes_um, place)
    farthest = float(np.linalg.norm(electrodes, axis=1).max())
    if farthest > head.radii_um[-1] * (1.0 + 1e-9):
        raise InputError(
            f"an electrode is {farthest:.0f} um from the centre of the head, the scalp {head.radii_um[-1]:.0f} um; "
            "put electrodes on it"
        )
    # On the scalp to the last digit, which LFPykit asks for.
    electrodes = electrodes * min(1.0, (1.0 - 1e-12) * head.radii_um[-1] / farthest)
    module = need("lfpykit.eegmegcalc", "signals")
    model = module.FourSphereVolumeConductor(electrodes, list(head.radii_um), list(head.sigmas_S_per_m))
    return np.asarray(MV_TO_UV * model.get_transformation_matrix(place) @ dipole_matrix(tree))


def meg_matrix(tree: Tree, sensors_um: Floats, head: FourSpheres | None = None) -> Floats:
    """Magnetic field outside a spherically symmetric head for 1 nA through the membrane of each compartment.

    Sarvas 1987, doi:10.1088/0031-9155/32/1/004. Conductivities do not matter; a radial dipole has no field outside.

    Args:
        tree: the cell, in the tissue's coordinates.
        sensors_um: (sensors, 3) in the head's coordinates [um].
        head: where the cell is in it; None for the usual one.

    Returns:
        (3 sensors, n): x, y and z of the first sensor's B, of the second's, ... [fT/nA].

    Raises:
        InputError: the cell is not in the brain, a sensor is in the head, or LFPykit is not installed.
    """
    head = head or FourSpheres()
    place = head.dipole_um(tree)
    sensors = _sensors(sensors_um, place)
    nearest, scalp = float(np.linalg.norm(sensors, axis=1).min()), head.radii_um[-1]
    if nearest < (1.0 - 1e-9) * scalp:
        raise InputError(f"a sensor is {nearest:.0f} um from the head's centre, the scalp {scalp:.0f} um; move it out")
    model = need("lfpykit.eegmegcalc", "signals").SphericallySymmetricVolCondMEG(sensors)
    field_of_dipole = model.get_transformation_matrix(place).reshape(-1, 3)
    return np.asarray(NA_PER_UM_TO_FT * field_of_dipole @ dipole_matrix(tree))


def _sensors(places_um: Floats, dipole_um: Floats) -> Floats:
    places = np.asarray(places_um, dtype=np.float64)
    if places.size == 0 or places.ndim != 2 or places.shape[1] != 3:
        raise InputError(f"the sensors have shape {places.shape}; give (sensors, 3), in um, one at least")
    nearest = float(np.linalg.norm(places, axis=1).min())
    if not nearest > np.linalg.norm(dipole_um):
        raise InputError(
            f"a sensor is {nearest:.0f} um from the head's centre, the cell {np.linalg.norm(dipole_um):.0f} um; "
            "sensors lie farther out"
        )
    return places


@dataclass(frozen=True, eq=False)
class EEG:
    """Potential at the scalp in the four-sphere model [uV]; see `eeg_matrix`."""

    electrodes_um: Floats = field(default_factory=scalp_electrodes)
    head: FourSpheres = field(default_factory=FourSpheres)
    name: str = "eeg"
    unit: ClassVar[str] = "uV"
    of: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """(electrodes, n) [uV/nA]."""
        return eeg_matrix(tree, self.electrodes_um, self.head)

    def channels(self) -> dict[str, Any]:
        """Where the electrodes are in the head."""
        return coordinates(self.electrodes_um)


@dataclass(frozen=True, eq=False)
class NewYorkEEG:
    """Potential at the 231 electrodes of the New York head [uV].

    Huang et al. 2016, doi:10.1016/j.neuroimage.2015.12.019. The cell's z axis is along the cortex' normal at the vertex
    of its surface that is next to `position_mm`.

    Attributes:
        file: the user's own `sa_nyhead.mat` (from parralab.org/nyhead); nothing is downloaded.
        position_mm: x, y, z in the head [mm].
    """

    file: Path
    position_mm: Triple = (18.0, 8.0, 71.0)
    name: str = "eeg"
    unit: ClassVar[str] = "uV"
    of: ClassVar[str] = "currents"

    @cached_property
    def _model(self) -> Any:
        # 700 MB: read once
        if not Path(self.file).is_file():
            raise FileError(f"{self.file} does not exist; fetch sa_nyhead.mat from https://www.parralab.org/nyhead")
        module = need("lfpykit.eegmegcalc", "signals")
        try:
            model = module.NYHeadModel(str(self.file))
        except (OSError, KeyError) as error:
            raise FileError(f"{self.file} is no New York head; fetch sa_nyhead.mat again") from error
        if not np.isfinite(self.position_mm).all():
            raise InputError(f"{self.position_mm} mm is no place in the head; give x, y, z")
        try:
            model.set_dipole_pos(list(self.position_mm))
        except RuntimeWarning as error:
            raise InputError(
                f"{self.position_mm} mm is more than 2 mm from the cortex; choose a place on it"
            ) from error
        return model

    def matrix(self, tree: Tree) -> Floats:
        """(231, n) [uV/nA].

        Raises:
            FileError: the file is missing or something else.
            InputError: the position is not on the cortex, or LFPykit is not installed.
        """
        model = self._model
        to_normal = model.rotate_dipole_to_surface_normal(np.eye(3))
        return np.asarray(MV_TO_UV * model.get_transformation_matrix() @ to_normal @ dipole_matrix(tree))

    def channels(self) -> dict[str, Any]:
        """Where the electrodes are in the head."""
        return coordinates(MM_TO_UM * np.asarray(self._model.elecs[:3]).T)


@dataclass(frozen=True, eq=False)
class MEG:
    """Magnetic field B outside a spherically symmetric head, x, y and z at each sensor [fT]; see `meg_matrix`."""

    sensors_um: Floats = field(default_factory=lambda: scalp_electrodes(radius_um=110_000.0))
    head: FourSpheres = field(default_factory=FourSpheres)
    name: str = "meg"
    unit: ClassVar[str] = "fT"
    of: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """(3 sensors, n) [fT/nA]."""
        return meg_matrix(tree, self.sensors_um, self.head)

    def channels(self) -> dict[str, Any]:
        """Where each sensor is in the head, and along which axis."""
        axes = np.tile(["x", "y", "z"], len(self.sensors_um))
        return {**coordinates(np.repeat(self.sensors_um, 3, axis=0)), "axis": axes}
