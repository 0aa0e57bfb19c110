"""Reconstructions of Neurolucida and SWC, imported into NEURON; a stub of two cylinders may replace the axon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.cells import Sections
from dendrotwin.errors import CellError

STUB_UM = 30.0  # length of each cylinder

# Sections made by Import3d belong to a hoc object and die with it.
_TEMPLATE = f"""
begintemplate DendrotwinReconstruction
public soma, dend, apic, axon, all, somatic, basal, apical, axonal, replace_axon
objref all, somatic, basal, apical, axonal
create soma[1], dend[1], apic[1], axon[1]
proc init() {{
    all = new SectionList()
    somatic = new SectionList()
    basal = new SectionList()
    apical = new SectionList()
    axonal = new SectionList()
    forall delete_section()
}}
proc replace_axon() {{
    forsec axonal delete_section()
    create axon[2]
    axon[0] {{ L = {STUB_UM}  diam = $2  all.append()  axonal.append() }}
    axon[1] {{ L = {STUB_UM}  diam = $3  all.append()  axonal.append() }}
    soma[0] connect axon[0](0), $1
    axon[0] connect axon[1](0), 1
}}
endtemplate DendrotwinReconstruction
"""

_alive: list[Any] = []  # the hoc objects of every cell built in this process


def import_reconstruction(path: Path) -> Any:
    """A hoc object with the sections `soma`, `dend`, `apic`, `axon` and their lists, as Import3d makes them.

    It has `replace_axon(x, first_um, second_um)`: two cylinders of these diameters, connected to the soma at x.

    Args:
        path: file of the reconstruction.

    Raises:
        CellError: the reconstruction has no soma or no dendrites. (Interneurons have basal ones alone.)
    """
    return _instantiate("Import3d_Neurolucida3", path)


def import_swc(path: Path) -> Any:
    """The same of an SWC file.

    Args:
        path: file of the reconstruction.

    Raises:
        CellError: see `import_reconstruction`, or NEURON cannot read the file.
    """
    return _instantiate("Import3d_SWC_read", path)


def _instantiate(reader_name: str, path: Path) -> Any:
    from neuron import h

    h.load_file("stdrun.hoc")
    h.load_file("import3d.hoc")
    if not hasattr(h, "DendrotwinReconstruction"):
        h(_TEMPLATE)
    reader = getattr(h, reader_name)()
    reader.quiet = 1
    reader.input(str(path))
    cell = h.DendrotwinReconstruction()
    h.Import3d_GUI(reader, False).instantiate(cell)
    if not (list(cell.somatic) and (list(cell.basal) or list(cell.apical))):
        raise CellError(f"{path} is not a whole cell: it needs a soma and dendrites")
    _alive.append(cell)
    return cell


def sections_of(cell: Any) -> Sections:
    """The sections of a cell that was imported.

    Args:
        cell: hoc object; see `import_reconstruction`.
    """
    # Where the reconstruction has none of a kind, its name is that of a section that is deleted.
    parts = ((cell.soma, cell.somatic), (cell.dend, cell.basal), (cell.apic, cell.apical), (cell.axon, cell.axonal))
    return Sections(*(list(named) if list(listed) else [] for named, listed in parts))


def points_of(section: Any) -> Floats:
    """The 3-D points of a section.

    Args:
        section: NEURON's.

    Returns:
        (points, 3) x, y, z [um].
    """
    return np.array([[section.x3d(i), section.y3d(i), section.z3d(i)] for i in range(section.n3d())])
