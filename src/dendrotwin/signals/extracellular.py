"""What electrodes record outside the cell: potentials, current source density, and the dipole of membrane currents.

All of it is linear: a matrix (channels, n) times the membrane currents (n,) of the compartments [nA]. The forward
models are LFPykit's (Hagen et al. 2018, doi:10.3389/fninf.2018.00092).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Tree
from dendrotwin.errors import InputError
from dendrotwin.signals.contacts import read_contacts
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.placing import soma_centre, translate
from dendrotwin.signals.probes import Probe, ring_weights
from dendrotwin.signals.slab import Slab, slab_matrix

SOURCES = {"soma-point": "root_as_point", "line": "linesource", "point": "pointsource"}  # our names, and LFPykit's
SIGMA_S_PER_M = 0.3  # default of LFPykit and LFPy (Lindén et al. 2014, doi:10.3389/fninf.2013.00041)
INSIDE = ("refuse", "surface", "leave-out")  # what becomes of a cell that a contact lies in
ON_END_UM, JOINT_UM = 1e-6, 1e-3  # what rounding and float32 files may put between compartments that meet
Conductivity = float | Sequence[float]


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
    inside: str = "refuse",
) -> Floats:
    """Extracellular potential at contacts for 1 nA through the membrane of each compartment.

    A point source of current I in a medium of conductivity sigma has the potential

    phi(r) = I / (4 pi sigma r),

    and a line source its mean along the compartment (Holt and Koch 1999, doi:10.1023/A:1008832702585). With three
    conductivities the same holds in coordinates that are scaled along each axis; in a slab the sources are mirrored at
    its borders (Ness et al. 2015, doi:10.1007/s12021-015-9265-6). A contact with a radius records the mean over its
    disc, within 1e-4 where the cell keeps away by a third of the radius (`Probe.rings_for`). A distance shorter than
    the compartment's radius counts as that radius.

    Args:
        tree: the cell at its place.
        probe: the contacts.
        sigma_S_per_m: conductivity of the tissue [S/m], one number or three, along x, y and z.
        source: "line", "point" (at the middle of each compartment), or "soma-point": the soma a point, and so the
            potential of a sphere outside it, the other compartments lines.
        slab: layers, in place of `sigma_S_per_m`. Line sources can be mirrored only for contacts on an insulating
            floor; for other contacts choose "point".
        inside: what becomes of a cell that a contact lies in: "refuse" it, "surface", as if the contact were on the
            membrane (as LFPykit does), or "leave-out" the cell, whose matrix is then zero.

    Returns:
        (contacts, n) [mV/nA]; the potential is `currents @ matrix.T` [mV].

    Raises:
        InputError: a contact lies in a compartment, a conductivity is not positive, there is no such source or not in
            this slab, the cell or the probe reaches out of the slab, or LFPykit is not installed.
    """
    if source not in SOURCES:
        raise InputError(f"there is no source {source!r}; choose {', '.join(SOURCES)}")
    if inside not in INSIDE:
        raise InputError(f"a contact inside a cell is not {inside!r}; choose inside={', '.join(INSIDE)}")
    if slab is not None and (np.ndim(sigma_S_per_m) or sigma_S_per_m != SIGMA_S_PER_M):
        raise InputError(
            "a slab has its own conductivities; set the slab's tissue_S_per_m, and leave sigma_S_per_m at its default"
        )
    if slab is None and source == "soma-point" and np.ndim(sigma_S_per_m):  # LFPykit takes only one root there
        lines, middles = (lfp_matrix(tree, probe, sigma_S_per_m, each, inside=inside) for each in ("line", "point"))
        return np.where(tree.in_region("soma"), middles, lines)
    is_line = np.full(tree.n, source != "point") & ~(tree.in_region("soma") & (source == "soma-point"))
    rings = probe.rings_for(tree)
    if inside == "leave-out" and _any_inside(tree, probe, rings):
        return np.zeros((len(probe), tree.n))
    matrix = np.empty((len(probe), tree.n))
    for each in np.unique(rings):  # as few points as the contacts need
        chosen = np.flatnonzero(rings == each)
        points = probe.points_um(int(each))[chosen]
        if inside == "refuse":
            check_outside_compartments(tree, points, chosen.tolist())
        flat = points.reshape(-1, 3)
        if slab is not None:
            _check_slab(slab, tree, flat[:, 2], source)
            per_point = slab_matrix(tree, flat, slab, is_line)
        else:
            somatic = np.flatnonzero(tree.in_region("soma"))
            spheres = {"rootinds": somatic} if source == "soma-point" and len(somatic) else {}
            x, y, z = flat.T
            options = {"x": x, "y": y, "z": z, "method": SOURCES[source], **spheres}
            sigma, electrode = _checked_conductivity(sigma_S_per_m), import_extra("lfpykit", "signals").RecExtElectrode
            with contextlib.redirect_stdout(io.StringIO()):  # LFPykit prints that a contact is near the soma
                per_point = electrode(lfpykit_geometry(tree), sigma, **options).get_transformation_matrix()
        weights = ring_weights(int(each)) if points.shape[1] > 1 else np.ones(1)
        matrix[chosen] = np.einsum("p,cpn->cn", weights, per_point.reshape(len(chosen), -1, tree.n))
    return matrix


def _any_inside(tree: Tree, probe: Probe, rings: NDArray[np.integer]) -> bool:
    """Whether a contact lies in the cell, at the points where its potential is taken."""
    return any(contact_inside(tree, probe.points_um(int(r))[rings == r]) is not None for r in np.unique(rings))


def contact_inside(tree: Tree, points_um: Floats) -> tuple[int, int] | None:
    """The first contact that lies inside the cell, and in which compartment.

    Compartments are cylinders, their ends with them; where two meet, a sphere of the smaller radius fills the joint.

    Args:
        tree: the cell at its place.
        points_um: (contacts, points, 3) where the potential is taken [um].
    """
    start, along = tree.ends_um[:, 0], tree.ends_um[:, 1] - tree.ends_um[:, 0]
    radius = tree.diameter_um / 2
    length = np.linalg.norm(along, axis=1)
    parent = np.maximum(tree.parent, 0)
    from_parent = np.linalg.norm(tree.ends_um[parent] - start[:, None], axis=2).min(axis=1)
    meets = (tree.parent >= 0) & (from_parent < JOINT_UM)
    joint = np.where(meets, np.minimum(radius, radius[parent]), 0.0)
    for contact, points in enumerate(points_um):
        from_start = points[:, None, :] - start
        at = (from_start * along).sum(axis=2) / length
        across = np.linalg.norm(from_start - (at / length)[:, :, None] * along, axis=2)
        inside = (at >= -ON_END_UM) & (at <= length + ON_END_UM) & (across < radius)
        inside |= np.linalg.norm(from_start, axis=2) < joint
        if inside.any():
            return contact, int(np.flatnonzero(inside.any(axis=0))[0])
    return None


def check_outside_compartments(tree: Tree, points_um: Floats, numbers: Sequence[int] | None = None) -> None:
    """Check that no point of a contact lies inside the cell; see `contact_inside`.

    Args:
        tree: the cell at its place.
        points_um: (contacts, points, 3) where the potential is taken [um].
        numbers: (contacts,) of the contacts, for the error; None for 0, 1, ...

    Raises:
        InputError: one does.
    """
    found = contact_inside(tree, points_um)
    if found is not None:
        contact, compartment = found
        x, y, z = points_um[contact].mean(axis=0)
        number = contact if numbers is None else numbers[contact]
        raise InputError(
            f"contact {number} at ({x:g}, {y:g}, {z:g}) um lies inside the compartment {tree.names[compartment]}; "
            "move the probe away from the cell, or say inside=surface (as if it were on the membrane) or "
            "inside=leave-out (the LFP without this cell)"
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
        probe, sigma_S_per_m, source, slab, inside: the contacts, the conductivity of the tissue [S/m], how compartments
            are sources, layers, and what becomes of a cell that a contact lies in; see `lfp_matrix`.
        name, unit, acts_on: see `LinearInstrument`.
    """

    probe: Probe
    sigma_S_per_m: Conductivity = SIGMA_S_PER_M
    source: str = "soma-point"
    slab: Slab | None = None
    inside: str = "refuse"
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
        return lfp_matrix(tree, self.probe, self.sigma_S_per_m, self.source, self.slab, self.inside)

    def leaves_out(self, tree: Tree) -> bool:
        """Whether it leaves the cell out, because a contact lies inside.

        Args:
            tree: the cell at its place.
        """
        return self.inside == "leave-out" and _any_inside(tree, self.probe, self.probe.rings_for(tree))

    def channels(self) -> dict[str, Any]:
        """Where the contacts are [um]."""
        return self.probe.channels()


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
