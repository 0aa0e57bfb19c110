"""A Purkinje cell of a made-up tree: resurgent and persistent sodium, P calcium, potassium of calcium and potential.

Kinetics of Khaliq, Gouwens and Raman 2003 (doi:10.1523/JNEUROSCI.23-12-04899.2003); no sodium in the dendrites.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dendrotwin.cells import CellModel, Sections

MADE: list[Any] = []  # sections live as long as somebody holds them


def branch(name: str, parent: Any, x: float, lengths: list[float], diam: float) -> list[Any]:
    """A section and, where more lengths are left, two thinner ones at its end, and so on."""
    from neuron import h

    section = h.Section(name=f"{name}[{len(MADE)}]")
    MADE.append(section)
    section.L, section.diam, section.nseg = lengths[0], diam, 1 + 2 * int(lengths[0] / 40)
    section.connect(parent(x))
    made = [section]
    for stretch in (0.85, 1.15) if len(lengths) > 1 else ():
        made += branch(name, section, 1.0, [stretch * length for length in lengths[1:]], diam / 2 ** (2 / 3))
    return made


def insert(section: Any, densities: dict[str, float]) -> None:
    """Mechanisms of a section, each with its density, e.g. {"pas.g": 1e-4}."""
    for name, value in densities.items():
        mechanism, parameter = name.split(".")
        section.insert(mechanism)
        for segment in section:
            setattr(getattr(segment, mechanism), parameter, value)


def build() -> Sections:
    """The sections, with channels."""
    from neuron import h

    soma, axon = h.Section(name="soma"), h.Section(name="axon[0]")
    soma.L, soma.diam, axon.L, axon.diam = 25, 22, 30, 1.5
    axon.connect(soma(0))
    dendrite = branch("dendrite", soma, 1.0, [40.0, 50, 60, 60, 50], 4.0)
    for section in (soma, axon, *dendrite):
        section.Ra, section.cm = 120, 1.0 if section in (soma, axon) else 1.6
        insert(section, {"pas.g": 1 / 10000, "pas.e": -70, "purkinje_kv3.gbar": 0.001, "purkinje_bk.gbar": 0.002})
        insert(section, {"purkinje_cap.pbar": 3e-6, "purkinje_h.gbar": 1e-4, "purkinje_cad.tau": 2})
        section.ek = -88
    for section, times in ((soma, 1.0), (axon, 2.0)):
        insert(
            section, {"purkinje_nar.gbar": 0.05 * times, "purkinje_nap.gbar": 2e-6, "purkinje_kv3.gbar": 0.03 * times}
        )
        insert(section, {"purkinje_cap.pbar": 1e-5, "purkinje_bk.gbar": 0.01})
        section.ena = 60
    return Sections(soma=[soma], basal=dendrite, apical=[], axon=[axon])


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="purkinje",
        source="dendrotwin; kinetics of Khaliq et al. 2003, doi:10.1523/JNEUROSCI.23-12-04899.2003",
        licence="MIT",
        build=build,
        mechanisms=lambda: sorted((Path(__file__).parent / "mod" / "purkinje").glob("*.mod")),
        v_init_mV=-65.0,
        celsius=34.0,
        compartments=None,
        rate_scale=0.3,
    )
