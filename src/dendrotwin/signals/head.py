"""EEG and MEG of a cell's current dipole, in the models of the head that LFPykit has.

A cell has the tissue's coordinates, z towards the surface of the cortex; `FourSpheres.origin_um` says where in the head
their origin is.
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
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.placing import Triple, position_columns

ANGLES_DEG = (0.0, 10.0, 20.0, 30.0, 45.0, 60.0)  # from the vertex: our choice, denser where the EEG is largest
MEG_RADIUS_UM = 110_000.0  # 20 mm above the scalp: our choice
LEAST_TERMS, SMALLEST = 10, 37.0  # of the sums over n: e^-37 is 1e-16
MU_0 = 4e-7 * np.pi  # T m / A
MV_TO_UV = MM_TO_UM = 1e3
NA_PER_UM_TO_FT = MU_0 * 1e-3 * 1e15  # of a magnetic field strength: nA/um is 1e-3 A/m


@dataclass(frozen=True)
class FourSpheres:
    """A head of four concentric shells: brain, cerebrospinal fluid, skull, scalp.

    Radii and conductivities are those of LFPykit (Næss et al. 2017, doi:10.3389/fnhum.2017.00490).

    Attributes:
        origin_um: x, y, z in the head where the tissue's coordinates have their origin [um]; for one on the z axis, the
            tissue's z is radial. The default is 2 mm below the surface of the brain.
        radii_um: (4,) outer radii of the shells [um].
        sigmas_S_per_m: (4,) their conductivities [S/m].
    """

    origin_um: Triple = (0.0, 0.0, 77_000.0)
    radii_um: Sequence[float] = (79_000.0, 80_000.0, 85_000.0, 90_000.0)
    sigmas_S_per_m: Sequence[float] = (0.3, 1.5, 0.015, 0.3)

    def __post_init__(self) -> None:
        """Raise InputError unless there are four growing radii and four positive conductivities."""
        radii, sigmas = np.asarray(self.radii_um), np.asarray(self.sigmas_S_per_m)
        if radii.shape != (4,) or radii[0] <= 0.0 or not (np.diff(radii) > 0.0).all():
            raise InputError(f"the head has radii {tuple(self.radii_um)} um; give four that increase")
        if sigmas.shape != (4,) or not (sigmas > 0.0).all():
            raise InputError(f"the head has conductivities {tuple(self.sigmas_S_per_m)} S/m; give four positive ones")

    def dipole_um(self, tree: Tree) -> Floats:
        """Where the cell's dipole is in the head: at the cell's centre, weighted by membrane area.

        Args:
            tree: the cell, in the tissue's coordinates.

        Returns:
            (3,) x, y, z in the head [um].

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


def sensors_on_meridian(angles_deg: Sequence[float] = ANGLES_DEG, radius_um: float = 90_000.0) -> Floats:
    """Sensors on a sphere around the head's centre, along a meridian from the vertex.

    Args:
        angles_deg: (sensors,) angle of each from the vertex [deg].
        radius_um: of the sphere [um]; the default is the scalp of the four-sphere model.

    Returns:
        (sensors, 3) x, y, z in the head [um].
    """
    angles = np.deg2rad(np.asarray(angles_deg, dtype=np.float64))
    return np.asarray(radius_um * np.stack([np.sin(angles), 0.0 * angles, np.cos(angles)], axis=1))


def eeg_matrix(tree: Tree, electrodes_um: Floats, head: FourSpheres | None = None) -> Floats:
    """Potential at the scalp for 1 nA through the membrane of each compartment, in the four-sphere model.

    That of the cell's current dipole: the potential of a dipole in the head (Næss et al. 2017,
    doi:10.3389/fnhum.2017.00490) times `dipole_matrix`.

    Args:
        tree: the cell, in the tissue's coordinates.
        electrodes_um: (electrodes, 3) in the head's coordinates, farther from its centre than the cell [um].
        head: the shells; None for the default ones.

    Returns:
        (electrodes, n) [uV/nA].

    Raises:
        InputError: the cell is not in the brain, an electrode is outside the head or deeper than the cell, or LFPykit
            (of `dipole_matrix`) is not installed.
    """
    head = head or FourSpheres()
    place = head.dipole_um(tree)
    electrodes = _checked_sensors(electrodes_um, place)
    farthest = float(np.linalg.norm(electrodes, axis=1).max())
    if farthest > head.radii_um[-1] * (1.0 + 1e-9):
        raise InputError(
            f"an electrode is {farthest:.0f} um from the centre of the head, the scalp {head.radii_um[-1]:.0f} um; "
            "put electrodes on the scalp"
        )
    return np.asarray(MV_TO_UV * potential_in_spheres(place, electrodes, head) @ dipole_matrix(tree))


def potential_in_spheres(place_um: Floats, points_um: Floats, head: FourSpheres) -> Floats:
    """Potential in the head for a current dipole in the brain, of 1 nA um along each axis.

    With e the direction of the dipole's place at radius s, r that of a point, and x = cos of the angle between them,

    4 pi sigma_1 phi = sum over n > 0 of s^(n-1) g_n(r) [n P_n(x) e + P_n'(x) (r/|r| - x e)] . p

    (Næss et al. 2017, doi:10.3389/fnhum.2017.00490; the sum of LFPykit, which stops it earlier). In each shell g_n is
    a r^n + b r^-(n+1), whose a and b follow from the scalp inwards: no current leaves it, and potential and current are
    continuous at each border. Terms shrink as n^2 (s/|r|)^n; they are summed until they are below 1e-16.

    Args:
        place_um: (3,) where the dipole is, in the brain and not at the centre [um].
        points_um: (points, 3) in the head, farther from its centre than the dipole [um].
        head: the shells.

    Returns:
        (points, 3) [mV/(nA um)].
    """
    depth = float(np.linalg.norm(place_um))
    e, radii = place_um / depth, np.asarray(head.radii_um, np.float64)
    found = np.empty((len(points_um), 3))
    for k, point in enumerate(points_um):
        r = min(float(np.linalg.norm(point)), radii[-1])  # rounding may have put it outside the scalp
        outwards = point / np.linalg.norm(point)
        x = float(np.clip(outwards @ e, -1.0, 1.0))
        shrinks = -np.log(depth / r)
        last = LEAST_TERMS + int(np.ceil((SMALLEST + 2.0 * max(0.0, -np.log(shrinks))) / shrinks))
        n = np.arange(1.0, last + 1.0)
        shell = int(np.searchsorted(radii, r))
        a, b = _shell_factors(n, shell, head)
        R = radii[shell]
        g = a * np.exp((n - 1) * np.log(depth / R) + n * np.log(r / R)) / R**2
        g += b * np.exp((n - 1) * np.log(depth / r)) / r**2
        radial = np.polynomial.legendre.legval(x, np.concatenate([[0.0], n * g]))
        across = np.polynomial.legendre.legval(x, np.polynomial.legendre.legder(np.concatenate([[0.0], g])))
        found[k] = radial * e + across * (outwards - x * e)
    return found / (4.0 * np.pi * head.sigmas_S_per_m[0])


def _shell_factors(n: Floats, shell: int, head: FourSpheres) -> tuple[Floats, Floats]:
    """(n,) a and b of g_n = a r^n / R^(2n+1) + b / r^(n+1) in a shell of outer radius R, for 1 / r^(n+1) at the source.

    From the scalp inwards b keeps its meaning, so that the ratio of two b is that of the factors themselves.
    """
    radii, sigmas = np.asarray(head.radii_um, np.float64), np.asarray(head.sigmas_S_per_m, np.float64)
    a, b = np.ones_like(n), n / (n + 1.0)
    found = a, b
    for j in range(len(radii) - 2, -1, -1):
        a = a * (radii[j] / radii[j + 1]) ** (2.0 * n + 1.0)  # of the outer shell, at its inner border
        current = sigmas[j + 1] / sigmas[j] * (n * a - (n + 1.0) * b)
        a, b = ((n + 1.0) * (a + b) + current) / (2.0 * n + 1.0), (n * (a + b) - current) / (2.0 * n + 1.0)
        if j == shell:
            found = a, b
    return found[0] / b, found[1] / b


def meg_matrix(tree: Tree, sensors_um: Floats, head: FourSpheres | None = None) -> Floats:
    """Magnetic field outside a spherically symmetric head for 1 nA through the membrane of each compartment.

    That of the cell's current dipole (Sarvas 1987, doi:10.1088/0031-9155/32/1/004). Conductivities do not matter; a
    radial dipole has no field outside the head.

    Args:
        tree: the cell, in the tissue's coordinates.
        sensors_um: (sensors, 3) in the head's coordinates [um].
        head: says where the cell is in the head; None for the default one.

    Returns:
        (3 sensors, n) x, y and z of the field B at the first sensor, at the second, ... [fT/nA].

    Raises:
        InputError: the cell is not in the brain, a sensor is in the head, or LFPykit is not installed.
    """
    head = head or FourSpheres()
    place = head.dipole_um(tree)
    sensors = _checked_sensors(sensors_um, place)
    nearest, scalp = float(np.linalg.norm(sensors, axis=1).min()), head.radii_um[-1]
    if nearest < (1.0 - 1e-9) * scalp:
        raise InputError(
            f"a sensor is {nearest:.0f} um from the head's centre, the scalp {scalp:.0f} um; move the sensor outside"
        )
    model = import_extra("lfpykit.eegmegcalc", "signals").SphericallySymmetricVolCondMEG(sensors)
    field_of_dipole = model.get_transformation_matrix(place).reshape(-1, 3)
    return np.asarray(NA_PER_UM_TO_FT * field_of_dipole @ dipole_matrix(tree))


def _checked_sensors(sensors_um: Floats, dipole_um: Floats) -> Floats:
    """(sensors, 3) [um] as an array; InputError unless they are, and farther out than the dipole."""
    sensors = np.asarray(sensors_um, dtype=np.float64)
    if sensors.size == 0 or sensors.ndim != 2 or sensors.shape[1] != 3:
        raise InputError(f"the sensors have shape {sensors.shape}; give (sensors, 3), in um, at least one")
    nearest = float(np.linalg.norm(sensors, axis=1).min())
    if not nearest > np.linalg.norm(dipole_um):
        raise InputError(
            f"a sensor is {nearest:.0f} um from the head's centre, the cell {np.linalg.norm(dipole_um):.0f} um; "
            "move the sensor farther out than the cell"
        )
    return sensors


@dataclass(frozen=True, eq=False)
class EEG:
    """Potential at the scalp in the four-sphere model [uV]; see `eeg_matrix`.

    Attributes:
        electrodes_um: (electrodes, 3) x, y, z in the head [um]; the default see `sensors_on_meridian`.
        head: the shells, and where the cell is in them.
        name, unit, acts_on: see `LinearInstrument`.
    """

    electrodes_um: Floats = field(default_factory=sensors_on_meridian)
    head: FourSpheres = field(default_factory=FourSpheres)
    name: str = "eeg"
    unit: ClassVar[str] = "uV"
    acts_on: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """See `eeg_matrix`: (electrodes, n) [uV/nA].

        Args:
            tree: the cell, in the tissue's coordinates.
        """
        return eeg_matrix(tree, self.electrodes_um, self.head)

    def channels(self) -> dict[str, Any]:
        """Where the electrodes are in the head [um]."""
        return position_columns(self.electrodes_um)


@dataclass(frozen=True, eq=False)
class NewYorkEEG:
    """Potential at the 231 electrodes of the New York head [uV].

    The head is that of Huang et al. 2016, doi:10.1016/j.neuroimage.2015.12.019. The cell's dipole is at the vertex of
    the cortical surface that is nearest to `position_mm`, the cell's z axis along the normal of the cortex there.

    Attributes:
        file: the user's own `sa_nyhead.mat` (from parralab.org/nyhead); nothing is downloaded.
        position_mm: x, y, z in the head [mm]; the default is our choice of a place on the cortex.
        name, unit, acts_on: see `LinearInstrument`.
    """

    file: Path
    position_mm: Triple = (18.0, 8.0, 71.0)
    name: str = "eeg"
    unit: ClassVar[str] = "uV"
    acts_on: ClassVar[str] = "currents"

    @cached_property
    def _model(self) -> Any:
        # Read once: the file has 700 MB.
        if not Path(self.file).is_file():
            raise FileError(f"{self.file} does not exist; fetch sa_nyhead.mat from https://www.parralab.org/nyhead")
        module = import_extra("lfpykit.eegmegcalc", "signals")
        try:
            model = module.NYHeadModel(str(self.file))
        except (OSError, KeyError) as error:
            raise FileError(f"{self.file} is not the file of the New York head; fetch sa_nyhead.mat again") from error
        if not np.isfinite(self.position_mm).all():
            raise InputError(f"{self.position_mm} mm is not a place in the head; give finite x, y, z")
        try:
            model.set_dipole_pos(list(self.position_mm))
        except RuntimeWarning as error:
            raise InputError(
                f"{self.position_mm} mm is more than 2 mm from the cortex; choose a place on it"
            ) from error
        return model

    def matrix(self, tree: Tree) -> Floats:
        """Potential at the electrodes for 1 nA through the membrane of each compartment: (231, n) [uV/nA].

        Args:
            tree: the cell.

        Raises:
            FileError: the file is missing or something else.
            InputError: the position is not on the cortex, or LFPykit is not installed.
        """
        model = self._model
        to_normal = model.rotate_dipole_to_surface_normal(np.eye(3))
        return np.asarray(MV_TO_UV * model.get_transformation_matrix() @ to_normal @ dipole_matrix(tree))

    def channels(self) -> dict[str, Any]:
        """Where the electrodes are in the head [um]."""
        return position_columns(MM_TO_UM * np.asarray(self._model.elecs[:3]).T)


@dataclass(frozen=True, eq=False)
class MEG:
    """Magnetic field B outside a spherically symmetric head, x, y and z at each sensor [fT]; see `meg_matrix`.

    Attributes:
        sensors_um: (sensors, 3) x, y, z in the head [um]; the default is a meridian 20 mm above the scalp.
        head: says where the cell is in the head.
        name, unit, acts_on: see `LinearInstrument`.
    """

    sensors_um: Floats = field(default_factory=lambda: sensors_on_meridian(radius_um=MEG_RADIUS_UM))
    head: FourSpheres = field(default_factory=FourSpheres)
    name: str = "meg"
    unit: ClassVar[str] = "fT"
    acts_on: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """See `meg_matrix`: (3 sensors, n) [fT/nA].

        Args:
            tree: the cell, in the tissue's coordinates.
        """
        return meg_matrix(tree, self.sensors_um, self.head)

    def channels(self) -> dict[str, Any]:
        """Where each sensor is in the head [um], and along which axis it records."""
        axes = np.tile(["x", "y", "z"], len(self.sensors_um))
        return {**position_columns(np.repeat(self.sensors_um, 3, axis=0)), "axis": axes}
