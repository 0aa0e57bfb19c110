"""A layer 4 cell of mouse visual cortex (Scnn1a), from the Allen Cell Types Database, as shipped in bmtk's wheel.

Perisomatic biophysical model 472363762 (Gouwens et al. 2018, doi:10.1038/s41467-017-02718-3): active soma, passive
dendrites, the axon replaced by two cylinders of 30 um. Read from the installed bmtk, without importing it.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from dendrotwin.cells import CellModel, Sections
from dendrotwin.errors import CellError

MODEL = "biophysical_neuron_models/472363762_fit.json"
MORPHOLOGY = "morphologies/Scnn1a_473845048_m.swc"
MECHANISM_NAMES = ["Ca_HVA", "Ca_LVA", "CaDynamics", "Ih", "Im", "K_P", "K_T", "Kv3_1", "NaTs", "Nap", "SK"]
PARTS = {"soma": "soma", "basal": "dend", "apical": "apic", "axon": "axon"}  # our name: name in the Allen files


def _folder() -> Path | None:
    spec = importlib.util.find_spec("bmtk")  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "utils" / "scripts" / "bionet"


def _missing() -> str | None:
    folder = _folder()
    if folder is None:
        return "the package bmtk, which ships it, is not installed; pip install 'dendrotwin[allen]'"
    absent = [name for name in (MODEL, MORPHOLOGY) if not (folder / name).is_file()]
    return f"{folder} lacks {', '.join(absent)}; pip install --force-reinstall bmtk==1.2.0" if absent else None


def _mechanisms() -> list[Path]:
    folder = _folder()
    if folder is None:
        raise CellError(f"the cell allen_l4 cannot be built here: {_missing()}")
    return [folder / "mechanisms" / "modfiles" / f"{name}.mod" for name in MECHANISM_NAMES]


def _build() -> Sections:
    from neuron import h

    folder = _folder()
    assert folder is not None  # `missing` was asked first
    fit = json.loads((folder / MODEL).read_text())
    h.load_file("import3d.hoc")
    reader = h.Import3d_SWC_read()
    reader.quiet = 1
    reader.input(str(folder / MORPHOLOGY))
    h.Import3d_GUI(reader, False).instantiate(None)
    for section in list(h.axon):
        h.delete_section(sec=section)
    axon = [h.Section(name=f"axon[{i}]") for i in range(2)]
    for section in axon:
        section.L, section.diam = 30.0, 1.0
    axon[0].connect(h.soma[0](0.5))
    axon[1].connect(axon[0](1.0))
    parts = {"soma": list(h.soma), "dend": list(h.dend), "apic": list(h.apic), "axon": axon}

    passive, conditions = fit["passive"][0], fit["conditions"][0]
    capacitance = {entry["section"]: entry["cm"] for entry in passive["cm"]}
    for part, sections in parts.items():
        for section in sections:
            section.nseg = 1 + 2 * int(section.L / 40.0)
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


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="allen_l4",
        source="Allen Cell Types Database, model 472363762 (doi:10.1038/s41467-017-02718-3), from bmtk 1.2.0",
        licence="Allen Institute terms of use; bmtk BSD-3-Clause",
        build=_build,
        mechanisms=_mechanisms,
        v_init_mV=-92.49911499023438,
        celsius=34.0,
        compartments=264,
        missing=_missing,
        rate_scale=0.2,
    )
