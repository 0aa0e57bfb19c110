"""A SONATA report of a cell's compartments, and its reconstruction, as a recording of potentials or membrane currents.

SONATA (Dai et al. 2020, doi:10.1371/journal.pcbi.1007696) says which section (element_ids) and where on it
(element_pos) each column of a report is. The sections are those that NEURON makes of the SWC file: soma, axon, basal,
apical, each in the order of the file, as BMTK and other simulators on NEURON count them.

A report says by its time when its first row is. That of BMTK (whose mapping has the SWC numbers of segments) says one
interval too little: BMTK takes each row after a step of the simulation (1.2.0, seen beside NEURON).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import dendrotwin.neuron.compile  # noqa: F401  (NEURON without a display)
from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.cells import CellModel, Sections
from dendrotwin.cells.neurolucida import import_swc, sections_of
from dendrotwin.errors import FileError, InputError
from dendrotwin.neuron.sections_to_tree import make_tree, outwards, shape
from dendrotwin.neuron.synapses import OwnInputs
from dendrotwin.recording import Recording
from dendrotwin.recording.membrane_currents import MembraneCurrents
from dendrotwin.recording.of_simulations import currents_of_tree, recording_of_tree
from dendrotwin.support.hdf5 import text_of
from dendrotwin.support.hdf5_parts import Part

AXONS = ("file", "stub")
KINDS = {1: "soma", 2: "axon", 3: "dend", 4: "apic"}  # of sections, as SWC files and BMTK's reports number them
NA_PER_MA_CM2_UM2 = 1e-2  # a density of 1 mA/cm2 on 1 um2 [nA]
# What a report holds, by its unit or, where it says none, by the name of its variable: BMTK writes that alone.
POTENTIAL, CURRENT, DENSITY = "potentials", "membrane currents", "densities of membrane current"
HOLDS = {
    "mV": POTENTIAL, "nA": CURRENT, "mA/cm2": DENSITY, "mA/cm^2": DENSITY,
    "v": POTENTIAL, "i_membrane_": CURRENT, "i_membrane": DENSITY,
}  # fmt: skip
STUB_UM = 1.0  # diameter of the two cylinders of 30 um that BMTK puts in place of an axon


@dataclass(frozen=True)
class Reconstruction:
    """How the cell of a report was built.

    Attributes:
        path: SWC file.
        axial_ohm_cm: axial resistivity [ohm cm]; potentials need it, for membrane currents None.
        axon: "file" for the axon of the file, "stub" where two cylinders of 30 um by 1 um, connected to the middle of
            the soma and counted last, replace it, as BMTK's aibs_perisomatic does.
    """

    path: Path
    axial_ohm_cm: float | None = None
    axon: str = "file"

    def __post_init__(self) -> None:
        """Raise InputError where a value is wrong, FileError where there is no file."""
        if not Path(self.path).is_file():
            raise FileError(f"{self.path} does not exist; name the SWC file of the cell")
        if self.axial_ohm_cm is not None and not 0.0 < self.axial_ohm_cm < np.inf:
            raise InputError(f"an axial resistivity of {self.axial_ohm_cm} ohm cm; give a positive one")
        if self.axon not in AXONS:
            raise InputError(f"there is no axon {self.axon!r}; choose {' or '.join(AXONS)}")


@dataclass(frozen=True, eq=False)
class _Report:
    """What a report holds of one cell: its columns' sections and places, what they are, their values and times."""

    element: Ints
    position: Floats
    kind: Ints | None
    holds: str
    values: NDArray[Any]
    time_ms: Floats


def recording_of_report(
    report: str | Path, reconstruction: Reconstruction, node_id: int = 0, population: str | None = None
) -> Recording | MembraneCurrents:
    """A recording of one cell of a report, of its potentials, membrane currents or densities of membrane current.

    Args:
        report: HDF5 file of SONATA, with /report/POPULATION/data and mapping.
        reconstruction: how the cell was built.
        node_id: which cell.
        population: of the cell; None for the only one.

    Returns:
        The recording, with the tree that NEURON makes of the reconstruction, as many segments in each section as the
        report has.

    Raises:
        FileError: a file lacks a part, or the sections of the report are not those of the reconstruction, or the report
            holds something else.
        InputError: there is no such cell or population, or see `recording_of_tree`.
    """
    report = Path(report)
    found = _read(report, node_id, population)
    if found.holds == POTENTIAL and reconstruction.axial_ohm_cm is None:
        raise InputError(f"{report} holds potentials, whose currents need --axial-ohm-cm, the cell's Ra; give it")
    every, parts = _build(reconstruction)
    elements, counts = np.unique(found.element, return_counts=True)
    if elements.tolist() != list(range(len(every))):
        raise FileError(
            f"{report} has {len(elements)} sections of node {node_id}, up to number {elements.max()}, and NEURON makes "
            f"{len(every)} of {reconstruction.path} with the axon {reconstruction.axon!r}; report all sections of the "
            "cell, and name its own file and axon (file or stub)"
        )
    columns: list[int] = []
    for element, section in enumerate(every):
        section.nseg = int(counts[element])
        if reconstruction.axial_ohm_cm is not None:
            section.Ra = reconstruction.axial_ohm_cm
        columns_of = np.flatnonzero(found.element == element)
        said = KINDS.get(int(found.kind[columns_of[0]]), "") if found.kind is not None else ""
        made = section.name().split(".")[-1].partition("[")[0]
        if said not in ("", made):
            raise FileError(
                f"{report} says that section {element} of node {node_id} is of kind {said}, and NEURON makes {made} of "
                f"{reconstruction.path} with the axon {reconstruction.axon!r}; name the cell's own file and axon "
                "(file or stub)"
            )
        centres = (np.arange(section.nseg) + 0.5) / section.nseg
        x = found.position[columns_of]
        ranked = columns_of[np.argsort(x, kind="stable")] if x.any() else columns_of
        if x.any() and not np.allclose(np.sort(x), centres, atol=1e-3):
            raise FileError(
                f"{report} has places {np.sort(x)[:3]} on section {element}, which are not the middles of "
                f"{section.nseg} equal segments; report whole sections"
            )
        columns += ranked.tolist()
    number = {(section, i): k for k, (section, i) in enumerate((s, i) for s in every for i in range(s.nseg))}
    model = CellModel(str(reconstruction.path), "", "", lambda: parts, lambda: [], 0.0, 6.3)
    ordered = [section for part in parts[:4] for section in part]
    no_inputs = OwnInputs([], np.zeros(0), (), np.zeros(0, np.int32))
    tree = make_tree(model, parts, shape(ordered), no_inputs)
    segments = [segment for section in ordered for segment in outwards(section)]
    of_compartment = [columns[number[s.sec, int(s.x * s.sec.nseg)]] for s in segments]
    values = found.values[:, of_compartment]
    if found.holds == POTENTIAL:
        return recording_of_tree(tree, values, found.time_ms)
    to_nA = NA_PER_MA_CM2_UM2 * tree.area_um2 if found.holds == DENSITY else 1.0
    return currents_of_tree(tree, values * to_nA, found.time_ms)


def _read(path: Path, node_id: int, population: str | None) -> _Report:
    """The columns of one cell of a report."""
    if not path.is_file():
        raise FileError(f"{path} does not exist; name a report of SONATA (.h5)")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileError(f"{path} is truncated or is no HDF5 file; restore it, or make it again") from error
    with file:
        reports = Part(
            path, file, "name a report of SONATA, of potentials or membrane currents of all compartments"
        ).group("report")
        names = reports.names()
        if population is None and len(names) != 1:
            raise InputError(f"{path} reports {', '.join(names) or 'nothing'}; say which population")
        if population is not None and population not in names:
            raise InputError(f"{path} reports {', '.join(names)}, not {population!r}; choose one")
        group = reports.group(population or names[0])
        mapping, data = group.group("mapping"), group.dataset("data")
        said = str(text_of(data.attrs.get("units", data.attrs.get("variable", "mV"))))
        if said not in HOLDS:
            raise group.error(f"holds {said!r}, not potentials in mV nor membrane currents in nA or mA/cm2")
        nodes = np.ravel(mapping.array("node_ids")).tolist()
        if node_id not in nodes:
            raise InputError(f"{path} reports the nodes {nodes[0]} to {nodes[-1]}, not {node_id}; choose one")
        if nodes.count(node_id) > 1:
            raise mapping.error(f"has node {node_id} twice")
        pointer = np.ravel(mapping.array("index_pointer")).astype(np.int64).tolist()
        if len(pointer) == len(nodes):
            pointer.append(data.shape[1])
        first, last = pointer[nodes.index(node_id)], pointer[nodes.index(node_id) + 1]
        element, position = (np.ravel(mapping.array(name))[first:last] for name in ("element_ids", "element_pos"))
        if not (0 <= first < last <= data.shape[1] and len(element) == len(position) == last - first):
            raise mapping.error(f"does not fit the {data.shape[1]} columns of data")
        start, _, step = np.ravel(mapping.array("time")).astype(np.float64).tolist()
        time_ms = start + step * (np.arange(len(data)) + ("swc_ids_beg" in mapping))
        kind = np.ravel(mapping.array("seg_types"))[first:last] if "seg_types" in mapping else None
        values = data[:, first:last]
        return _Report(element.astype(np.int32), position.astype(np.float64), kind, HOLDS[said], values, time_ms)


def _build(reconstruction: Reconstruction) -> tuple[list[Any], Sections]:
    """NEURON's sections in the order in which reports count them, and by their kind."""
    cell = import_swc(Path(reconstruction.path))
    if reconstruction.axon == "stub":
        cell.replace_axon(0.5, STUB_UM, STUB_UM)
    every = list(cell.all)
    return every, sections_of(cell)
