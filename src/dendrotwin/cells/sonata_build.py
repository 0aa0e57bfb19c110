"""The NEURON sections of a SONATA node type, step by step as in BMTK 1.2.0 (doi:10.1371/journal.pcbi.1008386)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.cells import Sections
from dendrotwin.cells.neurolucida import STUB_UM, import_swc, points_of
from dendrotwin.cells.sonata import OUTSIDE, NodeType, fit, hoc_files, nml_elements, number_of, parameters
from dendrotwin.errors import CellError, in_one_line

PARTS = {"soma": "soma", "dend": "basal", "apic": "apical", "axon": "axon", "myel": "axon"}  # prefix: our part
_alive: list[Any] = []  # sections of a hoc object die with it


def build(node: NodeType, longest_um: float | None) -> Sections:
    """Make the sections of a node type in this process's NEURON, whose mechanisms are loaded.

    Args:
        node: the node type.
        longest_um: dL [um]; None leaves the number of compartments as the template has it.

    Returns:
        The sections, with `order` that of the template's list `all`, by which SONATA counts sections.

    Raises:
        CellError: the template does not build, or its parameters do not fit it.
    """
    cell = _template(node) if node.kind == "hoc" else import_swc(Path(node.morphology))
    if node.kind == "nml":
        _replace_axon(cell, 0.5, (1.0, 1.0))
        _set_nml(cell, Path(node.named))
    for name in node.processings:
        if name not in OUTSIDE:
            _process(cell, name, node)
    every = list(cell.all)
    if longest_um is not None:
        for section in every:
            section.nseg = 1 + 2 * int(section.L / (2.0 * longest_um))
    parts: dict[str, list[Any]] = {part: [] for part in ("soma", "basal", "apical", "axon")}
    for section in every:
        if _prefix(section) not in PARTS:
            raise CellError(f"{section.name()} is none of {', '.join(PARTS)} by its name; name it so in the template")
        parts[PARTS[_prefix(section)]].append(section)
    return Sections(**parts, order=every, centre=parts["soma"])


def _prefix(section: Any) -> str:
    return str(section.name().split(".")[-1][:4])


def _template(node: NodeType) -> Any:
    """An object of a hoc template: with `params` of its JSON file as arguments, else the morphology, else none."""
    from neuron import h

    h.load_file("stdgui.hoc")
    h.load_file("import3d.hoc")
    values = parameters(Path(node.dynamics_params)) if node.dynamics_params else {}
    given = values.get("params", [node.morphology] if node.morphology else [])
    files, here = [file.resolve() for file in hoc_files(node)], Path.cwd()
    try:
        os.chdir(node.templates_dir or ".")
        for file in files:
            if not h.load_file(str(file)):
                raise CellError(f"NEURON cannot load {file}; correct it")
        os.chdir(here)
        cell = getattr(h, node.named)(*(given if isinstance(given, list) else [given]))
        if not list(cell.all) or not list(cell.soma):
            raise CellError(f"the template {node.named} makes no sections in `all`, or no `soma`; correct it")
    except (RuntimeError, AttributeError, TypeError, LookupError) as error:
        raise CellError(
            f"the hoc template {node.named} does not build with {given}: {in_one_line(error)}; correct it, "
            "or its arguments, `params` of dynamics_params"
        ) from error
    finally:
        os.chdir(here)
    _alive.append(cell)
    return cell


def _set_nml(cell: Any, path: Path) -> None:
    """Resistivity, capacitance, channels and pools of a NeuroML file."""
    elements = nml_elements(path)
    for section in cell.all:
        for name, element in elements[_prefix(section)].items():
            if element.tag == "resistivity":
                section.Ra = number_of(element, "value")
            elif element.tag == "specificCapacitance":
                section.cm = number_of(element, "value")
            elif element.tag == "concentrationModel":
                section.insert(name)
                for key in ("gamma", "decay"):
                    setattr(section, f"{key}_{element.get('type')}", number_of(element, key))
            else:
                _set_channel(section, name, element)


def _set_channel(section: Any, name: str, element: Any) -> None:
    mechanism, ion = element.get("ionChannel"), element.get("ion")
    section.insert(mechanism)
    passive = mechanism == "pas" and element.tag == "channelDensity"
    setattr(section, "g_pas" if passive else name, number_of(element, "condDensity"))
    reversal = {"na": "ena", "k": "ek"}.get(ion)
    if not passive and reversal is None:
        return
    if element.get("erev") is None:
        raise CellError(f"the channel {name} of {section.name()} has no erev; give it")
    setattr(section, "e_pas" if passive else str(reversal), number_of(element, "erev"))


def _process(cell: Any, name: str, node: NodeType) -> None:
    """Another axon, and Allen's parameters."""
    if not node.dynamics_params:
        if name == "aibs_perisomatic":  # BMTK leaves the cell as it is
            return
        raise CellError(f"the model_processing {name} needs dynamics_params, Allen's fit; name its file")
    all_active = name.startswith("aibs_allactive")
    diameters = _axon_diameters(cell) if all_active else (1.0, 1.0)
    points = _axon_points(cell) if name.endswith("_directed") else None
    _replace_axon(cell, 1.0 if all_active else 0.5, diameters, points)
    _set_fit(cell, fit(Path(node.dynamics_params)))


def _axons(cell: Any) -> list[Any]:
    axons = [section for section in cell.all if _prefix(section) == "axon"]
    if not axons:
        raise CellError("the reconstruction has no axon, whose place the stub takes; use aibs_perisomatic")
    return axons


def _axon_diameters(cell: Any) -> tuple[float, float]:
    """Of the first and of the last section of the reconstructed axon [um]."""
    axons = _axons(cell)
    return float(cell.axon[0].diam), float(axons[-1].diam)


def _axon_points(cell: Any) -> Floats:
    """3-D points (3, 3) of a stub along the last section of the axon: its principal axis, away from the soma [um]."""
    soma = points_of(list(cell.somatic)[-1])
    middle, axon = soma[len(soma) // 2], points_of(_axons(cell)[-1])
    cloud = np.vstack([middle, axon])
    direction = np.linalg.svd(cloud - cloud.mean(axis=0))[2][0]
    if direction @ (axon[-1] - middle) < 0.0:
        direction = -direction
    return np.asarray(soma[-1] + STUB_UM * np.outer(np.arange(3), direction))


def _replace_axon(cell: Any, x: float, diameters: tuple[float, float], points: Floats | None = None) -> None:
    """Two cylinders of 30 um instead of the axon, connected to the soma at x."""
    from neuron import h

    for section in list(cell.axonal):  # `axon` without a section ends the process
        h.delete_section(sec=section)
    h.execute("create axon[2]", cell)
    for i, diameter in enumerate(diameters):
        section = cell.axon[i]
        if points is not None:
            for point in points[i : i + 2]:
                section.pt3dadd(*point, diameter)
        else:
            section.L, section.diam = STUB_UM, diameter
        cell.all.append(sec=section)
        cell.axonal.append(sec=section)
    cell.axon[0].connect(cell.soma[0](x), 0)
    cell.axon[1].connect(cell.axon[0](1.0), 0)
    if points is not None:
        for section in cell.axon:
            section.L = STUB_UM
    h.define_shape()


def _set_fit(cell: Any, values: dict[str, Any]) -> None:
    """Passive properties, channels and reversal potentials of Allen's fit."""
    from neuron import h

    def of(prefix: str) -> list[Any]:
        return [section for section in cell.all if _prefix(section) == prefix]

    passive = values["passive"][0]
    for section in cell.all:
        section.insert("pas")
        if "e_pas" in passive:
            section.e_pas = float(passive["e_pas"])
        if "ra" in passive:
            section.Ra = float(passive["ra"])
    for entry in passive.get("cm", []):
        for section in of(entry["section"]):
            section.cm = float(entry["cm"])
    for entry in values["genome"]:
        for section in of(entry["section"]):
            if entry.get("mechanism"):
                section.insert(entry["mechanism"])
            setattr(section, entry["name"], float(entry["value"]))
    for entry in values["conditions"][0]["erev"]:
        for section in of(entry["section"]):
            for ion, reversal in (("na", "ena"), ("k", "ek")):
                if h.ismembrane(f"{ion}_ion", sec=section):
                    setattr(section, reversal, float(entry[reversal]))
