"""A pyramidal cell of layer 2/3 with a made-up tree, whose sodium channel is a Markov scheme of twelve states.

Scheme of Kuo and Bean 1994 (doi:10.1016/0896-6273(94)90335-2), potassium of Mainen et al. 1995
(doi:10.1016/0896-6273(95)90020-9); in soma, axon and, weaker, the trunk.
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
    soma.L, soma.diam, axon.L, axon.diam, axon.nseg = 18, 16, 50, 1.2, 3
    axon.connect(soma(0))
    basal = [s for i in range(4) for s in branch("basal", soma, 0.2, [30.0, 70 + 10 * i, 90], 1.6)]
    apical = branch("apical", soma, 1.0, [150.0, 90, 110], 2.5)
    for section in (soma, axon, *basal, *apical):
        section.Ra, section.cm = 150, 1.0
        insert(section, {"pas.g": 1 / 20000, "pas.e": -72, "markov_km.gbar": 1e-4})
        section.ek = -90
    for section, na, k in ((soma, 0.1, 0.03), (axon, 0.4, 0.1), (apical[0], 0.01, 0.003)):
        insert(section, {"markov_na.gbar": na, "markov_kv.gbar": k})
        section.ena = 55
    return Sections(soma=[soma], basal=basal, apical=apical, axon=[axon])


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="markov",
        source="dendrotwin; sodium channel after Kuo and Bean 1994, doi:10.1016/0896-6273(94)90335-2",
        licence="MIT",
        build=build,
        mechanisms=lambda: sorted((Path(__file__).parent / "mod" / "markov").glob("*.mod")),
        v_init_mV=-72.0,
        celsius=34.0,
        compartments=None,
        rate_scale=0.2,
    )
