"""Thirteen cells of layer 5 of the rat's somatosensory cortex, of the Blue Brain Project, as MEArec's wheel has them.

Markram et al. 2015 (doi:10.1016/j.cell.2015.09.029). Read from the installed MEArec, without importing it:
reconstruction, densities (`biophysics.hoc`) and the mechanisms of the channels; the synapses are ours. As in the
published template, sections have 1 + 2 floor(L / 40 um) compartments, and two cylinders of 30 um replace the axon, as
thick as its first section and the first that is more than 60 um away.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from dendrotwin.cells import CellModel, Sections
from dendrotwin.cells.neurolucida import import_reconstruction, sections_of
from dendrotwin.errors import CellError

# Cell, electrical type, and the factor on the input protocol's rates that makes it fire now and then. Pyramidal cells:
# slender-tufted, thick-tufted with a late or an early bifurcation, untufted. Interneurons: bipolar, bitufted,
# chandelier, double bouquet, large basket, Martinotti, nest basket, neurogliaform, small basket.
MODELS = {
    "L5_STPC": ("cADpyr232", 0.6),
    "L5_TTPC1": ("cADpyr232", 0.5),
    "L5_TTPC2": ("cADpyr232", 0.5),
    "L5_UTPC": ("cADpyr232", 0.5),
    "L5_BP": ("bAC217", 0.2),
    "L5_BTC": ("bAC217", 0.2),
    "L5_ChC": ("cACint209", 0.2),
    "L5_DBC": ("bAC217", 0.4),
    "L5_LBC": ("bAC217", 0.4),
    "L5_MC": ("bAC217", 0.2),
    "L5_NBC": ("bAC217", 0.4),
    "L5_NGC": ("bNAC219", 0.2),
    "L5_SBC": ("bNAC219", 0.2),
}
LONGEST_COMPARTMENT_UM, AXON_UM = 40.0, 60.0
V_INIT_MV, CELSIUS = -75.0, 34.0


def _full_name(model: str) -> str:
    return f"{model}_{MODELS[model][0]}_1"


def _folder(model: str) -> Path | None:
    spec = importlib.util.find_spec("MEArec")  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "cell_models" / "bbp" / _full_name(model)


def _missing(model: str) -> str | None:
    folder = _folder(model)
    if folder is None:
        return "the package MEArec, which ships it, is not installed; pip install 'dendrotwin[bbp]'"
    if not (folder / "biophysics.hoc").is_file() or len(list(folder.glob("morphology/*.asc"))) != 1:
        return f"{folder} lacks its biophysics or its morphology; pip install --force-reinstall MEArec"
    return None


def _mechanisms(model: str) -> list[Path]:
    folder = _folder(model)
    if folder is None:
        raise CellError(f"the cell bbp cannot be built here: {_missing(model)}")
    # The files of its two kinds of synapse are named for their release probability.
    return sorted(path for path in folder.glob("mechanisms/*.mod") if not path.name.startswith("Prob"))


def _build(model: str) -> Sections:
    from neuron import h

    folder = _folder(model)
    assert folder is not None  # `missing` was asked first
    (morphology,) = folder.glob("morphology/*.asc")
    cell = import_reconstruction(morphology)
    for section in cell.all:
        section.nseg = 1 + 2 * int(section.L / LONGEST_COMPARTMENT_UM)
    h.distance(0, cell.soma[0](0.0))
    axon = list(cell.axonal)
    first = axon[0].diam if axon else 1.0
    second = next((s.diam for s in axon if h.distance(s(0.5)) > AXON_UM), first) if len(axon) > 1 else first
    cell.replace_axon(1.0, first, second)
    h.distance(0, cell.soma[0](0.0))  # from here densities that change with distance count
    biophysics = folder / "biophysics.hoc"
    h.load_file(str(biophysics))
    (template,) = re.findall(r"^begintemplate (\w+)", biophysics.read_text(), re.MULTILINE)
    getattr(h, template)().biophys(cell)
    return sections_of(cell)


def cell(model: str = "L5_STPC") -> CellModel:
    """The description of a cell.

    Args:
        model: one of MODELS.

    Raises:
        CellError: there is no such model.
    """
    if model not in MODELS:
        raise CellError(f"the cell bbp has no model {model!r}; choose {', '.join(MODELS)}")
    return CellModel(
        name="bbp",
        source=f"Blue Brain Project, {_full_name(model)} (doi:10.1016/j.cell.2015.09.029), from MEArec's wheel",
        licence="CC BY-NC-SA 4.0; not shipped",
        build=lambda: _build(model),
        mechanisms=lambda: _mechanisms(model),
        v_init_mV=V_INIT_MV,
        celsius=CELSIUS,
        missing=lambda: _missing(model),
        rate_scale=MODELS[model][1],
    )
