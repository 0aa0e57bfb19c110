"""Five cells of layer 4 of mouse visual cortex, from the Allen Cell Types Database, as shipped in bmtk's wheel.

Perisomatic biophysical models (Gouwens et al. 2018, doi:10.1038/s41467-017-02718-3): active soma, passive dendrites,
the axon replaced by two cylinders of 30 um. Read from the installed bmtk, without importing it.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

from dendrotwin.cells import CellModel, Sections
from dendrotwin.errors import CellError

LONGEST_COMPARTMENT_UM = 40.0
PARTS = {"soma": "soma", "basal": "dend", "apical": "apic", "axon": "axon"}  # our name: name in the Allen files


class Perisomatic(NamedTuple):
    """One of the five cells, with what need not be read to list it.

    Attributes:
        fit: number of the model in the Allen Cell Types Database.
        morphology: file of the reconstruction.
        compartments: how many it has.
        v_init_mV: potential at the start of a trial [mV].
        rate_scale: factor on the rates of the input protocol that suits it.
    """

    fit: int
    morphology: str
    compartments: int
    v_init_mV: float
    rate_scale: float


# Three pyramidal cells, named for their lines of mice, and two fast-spiking interneurons.
MODELS = {
    "Scnn1a": Perisomatic(472363762, "Scnn1a_473845048_m.swc", 264, -92.49911499023438, 0.2),
    "Rorb": Perisomatic(473863510, "Rorb_325404214_m.swc", 141, -85.07815551757812, 0.3),
    "Nr5a1": Perisomatic(473863035, "Nr5a1_471087815_m.swc", 101, -89.4614028930664, 0.2),
    "Pvalb1": Perisomatic(472912177, "Pvalb_470522102_m.swc", 121, -95.53709411621094, 0.5),
    "Pvalb2": Perisomatic(473862421, "Pvalb_469628681_m.swc", 91, -88.23363494873047, 0.5),
}


def _folder() -> Path | None:
    spec = importlib.util.find_spec("bmtk")  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "utils" / "scripts" / "bionet"


def _fit(model: Perisomatic) -> str:
    return f"biophysical_neuron_models/{model.fit}_fit.json"


def _reconstruction(model: Perisomatic) -> str:
    return f"morphologies/{model.morphology}"


def _missing(model: Perisomatic) -> str | None:
    folder = _folder()
    if folder is None:
        return "the package bmtk, which ships it, is not installed; pip install 'dendrotwin[allen]'"
    absent = [name for name in (_fit(model), _reconstruction(model)) if not (folder / name).is_file()]
    return f"{folder} lacks {', '.join(absent)}; pip install --force-reinstall bmtk==1.2.0" if absent else None


def _read(model: Perisomatic) -> tuple[Path, dict[str, Any]]:
    """bmtk's folder, and the model's fit in it."""
    folder = _folder()
    if folder is None or not (folder / _fit(model)).is_file():
        raise CellError(f"the cell allen cannot be built here: {_missing(model)}")
    fit: dict[str, Any] = json.loads((folder / _fit(model)).read_text())
    return folder, fit


def _mechanisms(model: Perisomatic) -> list[Path]:
    folder, fit = _read(model)
    names = {entry["mechanism"] for entry in fit["genome"]} - {""}
    return [folder / "mechanisms" / "modfiles" / f"{name}.mod" for name in sorted(names)]


def _build(model: Perisomatic) -> Sections:
    from neuron import h

    folder, fit = _read(model)
    h.load_file("import3d.hoc")
    reader = h.Import3d_SWC_read()
    reader.quiet = 1
    reader.input(str(folder / _reconstruction(model)))
    h.Import3d_GUI(reader, False).instantiate(None)
    for section in list(h.axon):
        h.delete_section(sec=section)
    axon = [h.Section(name=f"axon[{i}]") for i in range(2)]
    for section in axon:
        section.L, section.diam = 30.0, 1.0
    axon[0].connect(h.soma[0](0.5))
    axon[1].connect(axon[0](1.0))
    # Interneurons have no apical dendrite.
    parts = {part: list(getattr(h, part, [])) for part in ("soma", "dend", "apic")} | {"axon": axon}

    passive, conditions = fit["passive"][0], fit["conditions"][0]
    capacitance = {entry["section"]: entry["cm"] for entry in passive["cm"]}
    for part, sections in parts.items():
        for section in sections:
            section.nseg = 1 + 2 * int(section.L / LONGEST_COMPARTMENT_UM)
            section.Ra, section.cm = passive["ra"], capacitance[part]
            section.insert("pas")
            for segment in section:
                segment.pas.e = passive["e_pas"]
    for entry in fit["genome"]:
        for section in parts[entry["section"]]:
            if entry["mechanism"]:
                section.insert(entry["mechanism"])
            setattr(section, entry["name"], entry["value"])
    for entry in conditions["erev"]:
        for section in parts[entry["section"]]:
            section.ena, section.ek = entry["ena"], entry["ek"]
    return Sections(**{ours: parts[theirs] for ours, theirs in PARTS.items()})


def cell(model: str = "Scnn1a") -> CellModel:
    """The description of a cell.

    Args:
        model: one of MODELS.

    Raises:
        CellError: there is no such model.
    """
    if model not in MODELS:
        raise CellError(f"the cell allen has no model {model!r}; choose {', '.join(MODELS)}")
    chosen = MODELS[model]
    return CellModel(
        name="allen",
        source=f"Allen Cell Types Database, model {chosen.fit} (doi:10.1038/s41467-017-02718-3), from bmtk 1.2.0",
        licence="Allen Institute terms of use; bmtk BSD-3-Clause",
        build=lambda: _build(chosen),
        mechanisms=lambda: _mechanisms(chosen),
        v_init_mV=chosen.v_init_mV,
        celsius=34.0,
        compartments=chosen.compartments,
        missing=lambda: _missing(chosen),
        rate_scale=chosen.rate_scale,
    )
