"""What electrodes record outside the cell: potentials, current source density, and the dipole of membrane currents.

All of it is linear: a matrix (channels, n) times the membrane currents (n,) of the compartments [nA]. The forward
models are LFPykit's (Hagen et al. 2018, doi:10.3389/fninf.2018.00092).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import InputError
from dendrotwin.signals.contacts import read_contacts
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.placing import soma_centre, translate
from dendrotwin.signals.probes import Probe

SOURCES = {"soma-point": "root_as_point", "line": "linesource", "point": "pointsource"}  # our names, and LFPykit's
SIGMA_S_PER_M = 0.3  # default of LFPykit and LFPy (Lindén et al. 2014, doi:10.3389/fninf.2013.00041)
Conductivity = float | Sequence[float]


@dataclass(frozen=True)
class Slab:
    """Tissue between two half-spaces of other conductivities, with borders across z.

    The defaults are a slice on the glass of an electrode array, under saline (Ness et al. 2015,
    doi:10.1007/s12021-015-9265-6). The cortex under an ECoG grid is a slab between white matter and what covers it.

    Attributes:
        bottom_um: z of the lower border [um].
        thickness_um: of the tissue [um]; the whole cell must be in it.
        below_S_per_m, tissue_S_per_m, above_S_per_m: conductivities [S/m].
    """

    bottom_um: float = -150.0
    thickness_um: float = 300.0
    below_S_per_m: float = 0.0
    tissue_S_per_m: float = SIGMA_S_PER_M
    above_S_per_m: float = 1.5

    @property
    def top_um(self) -> float:
        """z of the upper border [um]."""
        return self.bottom_um + self.thickness_um


def lfpykit_geometry(tree: Tree) -> Any:
    """LFPykit's description of the compartments: start and end [um] and diameter [um].

    Args:
        tree: the cell at its place.

    Raises:
        MissingPackageError: LFPykit is not installed.
    """
    x, y, z = (np.ascontiguousarray(tree.ends_um[:, :, axis]) for axis in range(3))
    return import_extra("lfpykit", "signals").CellGeometry(x=x, y=y, z=z, d=np.array(tree.diameter_um))


def lfp_matrix(
    tree: Tree,
    probe: Probe,
    sigma_S_per_m: Conductivity = SIGMA_S_PER_M,
    source: str = "soma-point",
    slab: Slab | None = None,
) -> Floats:
    """Extracellular potential at contacts for 1 nA through the membrane of each compartment.

    A point source of current I in a medium of conductivity sigma has the potential

    phi(r) = I / (4 pi sigma r),

    and a line source its mean along the compartment (Holt and Koch 1999, doi:10.1023/A:1008832702585). With three
    conductivities the same holds in coordinates that are scaled along each axis; in a slab the sources are mirrored at
    its borders (Ness et al. 2015, doi:10.1007/s12021-015-9265-6). A contact with a radius records the mean over its
    disc. A distance shorter than the compartment's radius counts as that radius.

    Args:
        tree: the cell at its place.
        probe: the contacts.
        sigma_S_per_m: conductivity of the tissue [S/m], one number or three, along x, y and z.
        source: "line", "point" (at the middle of each compartment), or "soma-point": the soma a point, and so the
            potential of a sphere outside it, the other compartments lines.
        slab: layers, in place of `sigma_S_per_m`. Line sources can be mirrored only for contacts on an insulating
            floor; for other contacts choose "point".

    Returns:
        (contacts, n) [mV/nA]; the potential is `currents @ matrix.T` [mV].

    Raises:
        InputError: a contact lies in a compartment, a conductivity is not positive, there is no such source or not in
            this slab, the cell or the probe reaches out of the slab, or LFPykit is not installed.
    """
    if source not in SOURCES:
        raise InputError(f"there is no source {source!r}; choose {', '.join(SOURCES)}")
    if slab is not None and (np.ndim(sigma_S_per_m) or sigma_S_per_m != SIGMA_S_PER_M):
        raise InputError(
            "a slab has its own conductivities; set the slab's tissue_S_per_m, and leave sigma_S_per_m at its default"
        )
    if slab is None and source == "soma-point" and np.ndim(sigma_S_per_m):  # LFPykit takes only one root there
        lines, middles = (lfp_matrix(tree, probe, sigma_S_per_m, each) for each in ("line", "point"))
        return np.where(tree.in_region("soma"), middles, lines)
    points = probe.points_um()
    check_outside_compartments(tree, points)
    x, y, z = points.reshape(-1, 3).T
    lfpykit = import_extra("lfpykit", "signals")
    electrode = {"cell": lfpykit_geometry(tree), "x": x, "y": y, "z": z, "method": SOURCES[source]}
    if slab is None:
        somatic = np.flatnonzero(tree.in_region("soma"))
        spheres = {"rootinds": somatic} if source == "soma-point" and len(somatic) else {}
        model = lfpykit.RecExtElectrode(sigma=_checked_conductivity(sigma_S_per_m), **electrode, **spheres)
    else:
        _check_slab(slab, tree, z, source)
        model = lfpykit.RecMEAElectrode(
            sigma_G=slab.below_S_per_m,
            sigma_T=slab.tissue_S_per_m,
            sigma_S=slab.above_S_per_m,
            h=slab.thickness_um,
            z_shift=slab.bottom_um,
            **electrode,
        )
    per_point = model.get_transformation_matrix()
    return np.asarray(per_point.reshape(len(probe), -1, tree.n).mean(axis=1))


def check_outside_compartments(tree: Tree, points_um: Floats) -> None:
    """Check that no point of a contact lies within a compartment's cylinder.

    Args:
        tree: the cell at its place.
        points_um: (contacts, points, 3) where the potential is taken [um].

    Raises:
        InputError: one does.
    """
    start, along = tree.ends_um[:, 0], tree.ends_um[:, 1] - tree.ends_um[:, 0]
    squared = np.maximum((along**2).sum(axis=1), 1e-12)
    for contact, points in enumerate(points_um):
        from_start = points[:, None, :] - start
        share = (from_start * along).sum(axis=2) / squared
        across = np.linalg.norm(from_start - share[:, :, None] * along, axis=2)
        inside = ((share > 0.0) & (share < 1.0) & (across < tree.diameter_um / 2)).any(axis=0)
        if inside.any():
            compartment = int(np.flatnonzero(inside)[0])
            x, y, z = points.mean(axis=0)
            raise InputError(
                f"contact {contact} at ({x:g}, {y:g}, {z:g}) um lies inside the compartment {tree.names[compartment]}; "
                "move the probe away from the cell"
            )


def _checked_conductivity(sigma_S_per_m: Conductivity) -> float | Floats:
    """One number, or an array of three, for LFPykit."""
    sigma = np.asarray(sigma_S_per_m, dtype=np.float64)
    if sigma.shape not in ((), (3,)):
        raise InputError(f"the conductivity is {sigma_S_per_m}; give one number or three, along x, y and z, in S/m")
    if not ((sigma > 0.0) & np.isfinite(sigma)).all():
        raise InputError(f"the conductivity is {sigma_S_per_m} S/m; it must be positive")
    return float(sigma) if sigma.shape == () else sigma


def _check_slab(slab: Slab, tree: Tree, contacts_z_um: Floats, source: str) -> None:
    """Raise InputError unless the slab is one, cell and contacts are in it, and the source can be mirrored there."""
    values = (slab.below_S_per_m, slab.tissue_S_per_m, slab.above_S_per_m)
    if not (min(values) >= 0.0 and slab.tissue_S_per_m > 0.0 and np.isfinite(values).all()):
        raise InputError(
            f"the slab has conductivities {values} S/m (below, tissue, above); the tissue's must be positive, none "
            "negative"
        )
    top_um = slab.top_um
    if not (np.isfinite(top_um) and slab.thickness_um > 0.0):
        raise InputError(
            f"the slab reaches from {slab.bottom_um:g} to {top_um:g} um; give a bottom and a positive thickness"
        )
    for what, z in (("cell", tree.ends_um[:, :, 2]), ("probe", contacts_z_um)):
        if z.min() < slab.bottom_um - 1e-9 or z.max() > top_um + 1e-9:
            raise InputError(
                f"the {what} reaches from z = {z.min():.0f} to {z.max():.0f} um, the slab from {slab.bottom_um:g} to "
                f"{top_um:g} um; move the {what}, or make the slab larger"
            )
    on_floor = slab.below_S_per_m == 0.0 and np.allclose(contacts_z_um, slab.bottom_um, atol=1e-9)
    if source != "point" and not on_floor:
        raise InputError(
            f"in a slab, the source {source!r} works only for contacts on an insulating floor; choose point"
        )


def csd_matrix(tree: Tree, x_edges_um: Floats, y_edges_um: Floats, z_edges_um: Floats) -> Floats:
    """Current source density in the voxels of a grid for 1 nA through the membrane of each compartment.

    The current of a compartment is spread evenly along it; the density of a voxel is the current in it over its volume
    (LFPykit's `VolumetricCurrentSourceDensity`, Hagen et al. 2018, doi:10.3389/fninf.2018.00092).

    Args:
        tree: the cell at its place.
        x_edges_um, y_edges_um, z_edges_um: (edges,) borders of the voxels along each axis, rising [um].

    Returns:
        (voxels, n) [1/um3], voxels with z running fastest; the density is `currents @ matrix.T` [nA/um3].

    Raises:
        InputError: borders do not rise, or LFPykit is not installed.
    """
    edges = [np.asarray(axis, dtype=np.float64) for axis in (x_edges_um, y_edges_um, z_edges_um)]
    if any(axis.ndim != 1 or len(axis) < 2 or not (np.diff(axis) > 0.0).all() for axis in edges):
        raise InputError("the borders of the voxels must rise along each axis; give at least two of each")
    model = import_extra("lfpykit", "signals").VolumetricCurrentSourceDensity(lfpykit_geometry(tree), *edges)
    # LFPykit 0.6.2 gives the current in each voxel, not yet divided by its volume as its description says.
    volume = np.einsum("i,j,k->ijk", *(np.diff(axis) for axis in edges))
    return np.asarray((model.get_transformation_matrix() / volume[..., None]).reshape(-1, tree.n))


def dipole_matrix(tree: Tree) -> Floats:
    """Current dipole moment for 1 nA through the membrane of each compartment.

    P = sum over i of r_i I_i (Lindén et al. 2010, doi:10.1007/s10827-010-0245-4), with r_i from the soma's centre to
    the middle of compartment i. Where the currents sum to zero P is the same about any point; where current is
    injected, it is the moment about the soma's centre.

    Args:
        tree: the cell at its place.

    Returns:
        (3, n) [um]; the moment is `currents @ matrix.T` [nA um].

    Raises:
        InputError: LFPykit is not installed.
    """
    geometry = lfpykit_geometry(translate(tree, -soma_centre(tree)))
    return np.asarray(import_extra("lfpykit", "signals").CurrentDipoleMoment(geometry).get_transformation_matrix())


@dataclass(frozen=True, eq=False)
class LFP:
    """Extracellular potential at the contacts of a probe [mV]; see `lfp_matrix`.

    Attributes:
        probe, sigma_S_per_m, source, slab: the contacts, the conductivity of the tissue [S/m], how compartments are
            sources, and layers; see `lfp_matrix`.
        name, unit, acts_on: see `LinearInstrument`.
    """

    probe: Probe
    sigma_S_per_m: Conductivity = SIGMA_S_PER_M
    source: str = "soma-point"
    slab: Slab | None = None
    name: str = "lfp"
    unit: ClassVar[str] = "mV"
    acts_on: ClassVar[str] = "currents"

    def __post_init__(self) -> None:
        """Take contacts in any form that `read_contacts` knows."""
        object.__setattr__(self, "probe", read_contacts(self.probe))

    def matrix(self, tree: Tree) -> Floats:
        """See `lfp_matrix`: (contacts, n) [mV/nA].

        Args:
            tree: the cell at its place.
        """
        return lfp_matrix(tree, self.probe, self.sigma_S_per_m, self.source, self.slab)

    def channels(self) -> dict[str, Any]:
        """Where the contacts are [um]."""
        return self.probe.channels()


@dataclass(frozen=True, eq=False)
class CSD:
    """Current source density in layers across z, over a column that holds the cell [nA/um3]; see `csd_matrix`.

    Attributes:
        z_edges_um: (layers + 1,) borders of the layers, rising [um].
        half_width_um: how far the column reaches along x and y from the origin [um]. The default is our choice, wide
            enough for one cell at the origin.
        name, unit, acts_on: see `LinearInstrument`.
    """

    z_edges_um: Floats
    half_width_um: float = 500.0
    name: str = "csd"
    unit: ClassVar[str] = "nA/um3"
    acts_on: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """Density in each layer for 1 nA through each compartment: (layers, n) [1/um3].

        Args:
            tree: the cell at its place.

        Raises:
            InputError: the cell is not within the column, or see `csd_matrix`.
        """
        reach_um = float(np.abs(tree.ends_um[:, :, :2]).max())
        if reach_um > self.half_width_um:
            raise InputError(
                f"the cell reaches {reach_um:.0f} um from the axis of the column, {self.half_width_um:g} um wide to "
                f"each side, and currents outside are lost; give half_width_um={np.ceil(reach_um / 100.0) * 100.0:.0f}"
            )
        across = np.array([-self.half_width_um, self.half_width_um])
        return csd_matrix(tree, across, across, self.z_edges_um)

    def channels(self) -> dict[str, Any]:
        """The middles of the layers [um]."""
        edges = np.asarray(self.z_edges_um, dtype=np.float64)
        return {"z_um": (edges[1:] + edges[:-1]) / 2}


@dataclass(frozen=True, eq=False)
class Dipole:
    """Current dipole moment along x, y and z [nA um]; see `dipole_matrix`.

    Attributes:
        name, unit, acts_on: see `LinearInstrument`.
    """

    name: str = "dipole"
    unit: ClassVar[str] = "nA um"
    acts_on: ClassVar[str] = "currents"

    def matrix(self, tree: Tree) -> Floats:
        """See `dipole_matrix`: (3, n) [um].

        Args:
            tree: the cell at its place.
        """
        return dipole_matrix(tree)

    def channels(self) -> dict[str, Any]:
        """The axes."""
        return {"axis": np.array(["x", "y", "z"])}
