"""Five cells of layer 4 of mouse visual cortex, from the Allen Cell Types Database, as shipped in bmtk's wheel.

Perisomatic biophysical models (Gouwens et al. 2018, doi:10.1038/s41467-017-02718-3): active soma, passive dendrites,
the axon replaced by two cylinders of 30 um. Read from the installed bmtk, without importing it.
"""

from __future__ import annotations

from typing import NamedTuple

from dendrotwin.cells import CellModel
from dendrotwin.cells.sonata import NodeType, bmtk_folder, build_node, mechanisms
from dendrotwin.errors import CellError

LONGEST_HALF_UM = "20"  # dL of SONATA: compartments are at most 40 um long


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


def _fit(model: Perisomatic) -> str:
    return f"biophysical_neuron_models/{model.fit}_fit.json"


def _reconstruction(model: Perisomatic) -> str:
    return f"morphologies/{model.morphology}"


def _missing(model: Perisomatic) -> str | None:
    folder = bmtk_folder()
    if folder is None:
        return "the package bmtk, which ships it, is not installed; pip install 'dendrotwin[allen]'"
    absent = [name for name in (_fit(model), _reconstruction(model)) if not (folder / name).is_file()]
    return f"{folder} lacks {', '.join(absent)}; pip install --force-reinstall bmtk==1.2.0" if absent else None


def _node(model: Perisomatic) -> NodeType:
    """The cell as a node type of SONATA."""
    folder, missing = bmtk_folder(), _missing(model)
    if folder is None or missing:
        raise CellError(f"the cell allen cannot be built here: {missing}")
    return NodeType(
        model_template="ctdb:Biophys1.hoc",
        morphology=str(folder / _reconstruction(model)),
        dynamics_params=str(folder / _fit(model)),
        model_processing="aibs_perisomatic",
        dL=LONGEST_HALF_UM,
    )


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
        build=lambda: build_node(_node(chosen))._replace(centre=()),  # with the coordinates of its file
        mechanisms=lambda: mechanisms(_node(chosen)),
        v_init_mV=chosen.v_init_mV,
        celsius=34.0,
        compartments=chosen.compartments,
        missing=lambda: _missing(chosen),
        rate_scale=chosen.rate_scale,
    )
