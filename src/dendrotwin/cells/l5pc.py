"""The layer 5b pyramidal cell of Hay et al. 2011, in two published parameter sets.

"hay2011" fires back-propagation-activated calcium spikes and follows current steps: Hay, Hill, Schürmann,
Markram and Segev, PLoS Comput Biol 7(7), 2011, doi:10.1371/journal.pcbi.1002107 (ModelDB 139653).
"shai2015" has other densities: Shai, Anastassiou, Larkum and Koch, PLoS Comput Biol 11(3), 2015,
doi:10.1371/journal.pcbi.1004090.

The reconstruction, `cell1.asc`, is not part of this package. The kinetics are those of
`mechanisms/l5pc/*.mod`; whoever calls `build` has loaded them.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dendrotwin.cells import MECHANISMS, CellModel, Sections
from dendrotwin.cells.neurolucida import import_reconstruction, sections_of
from dendrotwin.errors import CellError
from dendrotwin.support.atomic_files import whole_file
from dendrotwin.support.cache import cache_folder

CELSIUS = 6.3
"""Temperature of a run [degC]: it sets calcium's Nernst potential alone; the kinetics stand at 34 degC."""

V_INIT_MV = {"hay2011": -80.0, "shai2015": -76.0}
"""Initial membrane potential of each parameter set [mV]."""

AXIAL_RESISTIVITY_OHM_CM = 100.0
CAPACITANCE_UF_CM2 = {"soma": 1.0, "basal": 2.0, "apical": 2.0, "axon": 1.0}
E_PAS_MV, E_K_MV, E_NA_MV, E_HCN_MV = -90.0, -85.0, 50.0, -45.0
CA_OUTSIDE_MM = 2.0
LONGEST_COMPARTMENT_UM = 40.0  # sections get 1 + 2*int(L/40) compartments

REGIONS = ("soma", "basal", "apical", "axon")

# A value along the apical tree: of the path distance from its start and of the longest such distance [µm].
Profile = Callable[[float, float], float]


def _calcium_zone(inside: float, outside_share: float) -> Profile:
    """The apical calcium zone: `inside` between 685 and 885 µm, a share of it elsewhere."""
    return lambda distance_um, longest_um: inside if 685 < distance_um < 885 else outside_share * inside


def _ih_gradient(scale: float, flat_from: float = 1.0) -> Profile:
    """Ih rises exponentially with the relative distance, up to `flat_from`; published with ten decimals."""

    def value(distance_um: float, longest_um: float) -> float:
        relative = min(distance_um / longest_um, flat_from)
        return round(scale * (-0.8696 + 2.087 * math.exp(3.6161 * relative)), 10)

    return value


# (mechanism, parameter): its value in soma, basal, apical, axon; None where the mechanism is absent.
# Densities in S/cm2, `decay` in ms, `gamma` without unit.
_Table = dict[tuple[str, str], tuple[float | Profile | None, ...]]
_DENSITIES: dict[str, _Table] = {
    "hay2011": {
        ("pas", "g"): (3.38e-5, 4.67e-5, 5.89e-5, 3.25e-5),
        ("Ih", "gbar"): (2e-4, 2e-4, _ih_gradient(2e-4), None),
        ("NaTa_t", "gbar"): (2.04, None, 0.0213, None),
        ("Nap_Et2", "gbar"): (0.00172, None, None, None),
        ("K_Tst", "gbar"): (0.0812, None, None, None),
        ("K_Pst", "gbar"): (0.00223, None, None, None),
        ("SKv3_1", "gbar"): (0.693, None, 0.000261, None),
        ("SK_E2", "gbar"): (0.0441, None, 0.0012, None),
        ("Im", "gbar"): (None, None, 6.75e-5, None),
        ("Ca_HVA", "gbar"): (9.92e-4, None, _calcium_zone(5.55e-4, 0.1), None),
        ("Ca_LVAst", "gbar"): (0.00343, None, _calcium_zone(0.0187, 0.01), None),
        ("CaDynamics", "gamma"): (5.01e-4, None, 5.09e-4, None),
        ("CaDynamics", "decay"): (460.0, None, 122.0, None),
    },
    "shai2015": {
        ("pas", "g"): (3e-5, 6e-5, 6e-5, 3e-5),
        ("Ih", "gbar"): (7.5e-5, 5e-5, _ih_gradient(1e-4, flat_from=0.65), 5e-5),
        ("NaTa_t", "gbar"): (None, None, None, 3.89618),
        ("NaTs2_t", "gbar"): (0.998912, None, 0.021489, None),
        ("Nap_Et2", "gbar"): (None, None, None, 0.005834),
        ("K_Tst", "gbar"): (None, None, None, 0.077274),
        ("K_Pst", "gbar"): (None, None, None, 0.188851),
        ("SKv3_1", "gbar"): (0.338029, None, 0.001808, 0.473799),
        ("SK_E2", "gbar"): (0.09965, None, 2e-6, 4.7e-5),
        ("Im", "gbar"): (8e-6, None, 9.9e-4, 0.013322),
        ("Ca_HVA", "gbar"): (6.44e-4, None, 7.01e-4, 2.22e-4),
        ("Ca_LVAst", "gbar"): (5.57e-4, None, _calcium_zone(0.2271264, 0.01), 8.13e-4),
        ("CaDynamics", "gamma"): (5.09e-4, None, 6.37e-4, 5.25e-4),
        ("CaDynamics", "decay"): (294.679571, None, 35.725651, 277.300774),
    },
}

# The reconstruction is its authors' to distribute; ModelDB has it in the model's archive.
MODELDB_URL = "https://modeldb.science/download/139653"
MORPHOLOGY_SHA256 = "293d0aa92af8d03dbdcc40a711ba3923522615c3a65df485906538a1de986e23"
MORPHOLOGY_VARIABLE = "DENDROTWIN_L5PC"
TIMEOUT_S = 60


def build(morphology: Path, parameters: str) -> Sections:
    """Build the cell in this process's NEURON: geometry, passive properties and channels, no synapses.

    The sections live as long as the process, and NEURON runs all the cells of a process together: build one per
    process. A run of it sets `h.celsius = CELSIUS` and starts at `V_INIT_MV[parameters]`.

    Args:
        morphology: the reconstruction `cell1.asc` (Neurolucida).
        parameters: "hay2011" or "shai2015".

    Returns:
        The 196 sections, 642 compartments, of the published model, in its order.

    Raises:
        CellError: the parameter set is unknown, the file is missing or it is not a whole cell.
    """
    if parameters not in _DENSITIES:
        raise CellError(f"unknown parameter set {parameters!r} of the cell l5pc; known are: {', '.join(_DENSITIES)}")
    sections = _geometry(Path(morphology))
    profile_at = _apical_distances(sections["apical"])
    for region in REGIONS:
        for section in sections[region]:
            _set_passive_constants(section, CAPACITANCE_UF_CM2[region])
        _set_densities(sections[region], region, _DENSITIES[parameters], profile_at)
        for section in sections[region]:
            _set_reversal_potentials(section)
    return Sections(**sections)


def cell(parameters: str = "shai2015", morphology: str | None = None) -> CellModel:
    """The description of the cell.

    Args:
        parameters: "shai2015", which the paper's data were made with, or "hay2011".
        morphology: path of `cell1.asc`; without it, $DENDROTWIN_L5PC, then what `download` has left.

    Raises:
        CellError: the parameter set is unknown.
    """
    if parameters not in V_INIT_MV:
        raise CellError(f"the cell l5pc has no parameter set {parameters!r}; choose {', '.join(V_INIT_MV)}")
    path = Path(morphology or os.environ.get(MORPHOLOGY_VARIABLE) or downloaded())
    return CellModel(
        name="l5pc",
        source="Hay et al. 2011 (doi:10.1371/journal.pcbi.1002107), Shai et al. 2015 (10.1371/journal.pcbi.1004090)",
        licence="reconstruction: ModelDB 139653, not shipped; mechanisms: MIT",
        build=lambda: build(path, parameters),
        mechanisms=lambda: sorted((MECHANISMS / "l5pc").glob("*.mod")),
        v_init_mV=V_INIT_MV[parameters],
        celsius=CELSIUS,
        compartments=642,
        missing=lambda: _missing(path),
    )


def downloaded() -> Path:
    """Where `download` puts the reconstruction."""
    return cache_folder() / "cell1.asc"


def _missing(path: Path) -> str | None:
    if not path.is_file():
        return (
            f"its reconstruction is not at {path}; `dendrotwin download l5pc` fetches it from ModelDB, "
            f"or name the file cell1.asc with --option morphology=PATH or ${MORPHOLOGY_VARIABLE}"
        )
    # Import3d hangs on a truncated file, so look before it does.
    if hashlib.sha256(path.read_bytes()).hexdigest() != MORPHOLOGY_SHA256:
        return f"{path} is not the reconstruction of the paper (its SHA-256 differs); `dendrotwin download l5pc` again"
    return None


def download(url: str = MODELDB_URL) -> Path:
    """Fetch the reconstruction from ModelDB and check its hash.

    Args:
        url: of the model's zip archive, or of `cell1.asc` itself.

    Returns:
        Where it is now.

    Raises:
        CellError: the address does not answer, or gives something else.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read()
    except (OSError, ValueError) as error:
        raise CellError(
            f"{url} does not answer ({error}); fetch cell1.asc of ModelDB 139653 by hand and set ${MORPHOLOGY_VARIABLE}"
        ) from error
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.endswith("cell1.asc") and "__MACOSX" not in name]
            content = archive.read(names[0]) if names else b""
    if hashlib.sha256(content).hexdigest() != MORPHOLOGY_SHA256:
        raise CellError(
            f"{url} gave another file than the paper's reconstruction (its SHA-256 differs); nothing was kept: "
            f"fetch cell1.asc of ModelDB 139653 by hand and set ${MORPHOLOGY_VARIABLE}"
        )
    with whole_file(downloaded()) as temporary:
        temporary.write_bytes(content)
    return downloaded()


def _geometry(morphology: Path) -> dict[str, list[Any]]:
    """Import the reconstruction, replace its axon by the stub and choose the compartments."""
    if not morphology.is_file():
        raise CellError(f"no reconstruction at {morphology}; the cell l5pc needs the file cell1.asc of ModelDB 139653")
    cell = import_reconstruction(morphology)
    cell.replace_axon(0.5, 1.0, 1.0)
    sections = sections_of(cell)._asdict()
    for region in REGIONS:
        for section in sections[region]:
            section.nseg = 1 + 2 * int(section.L / LONGEST_COMPARTMENT_UM)
    return sections


def _apical_distances(apical: list[Any]) -> Callable[[Any, float], tuple[float, float]]:
    """Path distances along the apical tree, as the published densities use them.

    Returns a function of (section, x): the distance of that place from the start of the tree, and the longest
    such distance, which is to the far end of a terminal section [µm].
    """
    from neuron import h

    start = apical[0](0)
    longest_um = max(h.distance(start, section(1)) for section in apical)
    return lambda section, x: (h.distance(start, section(x)), longest_um)


def _set_passive_constants(section: Any, capacitance_uf_cm2: float) -> None:
    """Axial resistivity, membrane capacitance [µF/cm2] and the leak's reversal potential."""
    section.Ra = AXIAL_RESISTIVITY_OHM_CM
    section.cm = capacitance_uf_cm2
    section.insert("pas")
    section.e_pas = E_PAS_MV


def _set_densities(
    sections: list[Any], region: str, table: _Table, profile_at: Callable[[Any, float], tuple[float, float]]
) -> None:
    """Insert the region's mechanisms and set their parameters.

    The published model evaluates a profile at the compartments' centres and then, last, at the section's end,
    which lies in the last compartment: that one carries the value of the end.
    """
    column = REGIONS.index(region)
    for (mechanism, parameter), row in table.items():
        value = row[column]
        if value is None:
            continue
        for section in sections:
            section.insert(mechanism)
            centres = [segment.x for segment in section]
            for segment, x in zip(section, [*centres[:-1], 1.0], strict=True):
                density = value(*profile_at(section, x)) if callable(value) else value
                setattr(getattr(segment, mechanism), parameter, density)


def _set_reversal_potentials(section: Any) -> None:
    """Of the ions that the section's channels use; calcium's follows from its concentrations."""
    from neuron import h

    if h.ismembrane("na_ion", sec=section):
        section.ena = E_NA_MV
    if h.ismembrane("k_ion", sec=section):
        section.ek = E_K_MV
    if h.ismembrane("ca_ion", sec=section):
        section.cao = CA_OUTSIDE_MM
    if h.ismembrane("Ih", sec=section):
        for segment in section:
            segment.Ih.ehcn = E_HCN_MV
