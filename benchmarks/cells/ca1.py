"""A pyramidal cell of CA1 with a made-up tree: A current, Ih and calcium change with the distance from the soma.

Densities in the manner of Migliore et al. 1999 (doi:10.1023/A:1008906225285) and Poirazi et al. 2003
(doi:10.1016/S0896-6273(03)00149-1); whose kinetics a mechanism has stands in it.
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
    soma.L, soma.diam, axon.L, axon.diam, axon.nseg = 20, 18, 60, 1.2, 3
    axon.connect(soma(0))
    basal = [s for i in range(4) for s in branch("basal", soma, 0.0, [30.0, 80 + 10 * i, 120], 2.0)]
    apical = branch("apical", soma, 1.0, [200.0, 110, 130, 110], 3.5)
    oblique = [s for x in (0.2, 0.5, 0.8) for s in branch("apical", apical[0], x, [60.0, 110], 1.2)]
    h.distance(0, soma(0.5))
    for section in (soma, axon, *basal, *apical, *oblique):
        section.Ra, section.cm = 150, 1.0
        insert(section, {"pas.g": 1 / 25000, "pas.e": -66, "ca1_na.gbar": 0.03, "ca1_kdr.gbar": 0.01})
        section.ena, section.ek = 55, -90
        for segment in section if section != axon else ():
            far = min(h.distance(segment), 400.0) / 100
            a_type = "ca1_kad" if far > 1 else "ca1_kap"
            section.insert(a_type)
            setattr(segment, f"gbar_{a_type}", 0.02 * (1 + far))
            insert(section, {"ca1_cad.tau": 30, "ca1_cat.pbar": 1e-5, "ca1_cal.pbar": 1e-5, "ca1_ahp.gbar": 5e-4})
            section.insert("ca1_h")
            segment.ca1_h.gbar, segment.ca1_h.vhalf = 2e-5 * (1 + 3 * far), -90 if far > 1 else -82
    insert(axon, {"ca1_na.gbar": 0.15, "ca1_kdr.gbar": 0.04, "ca1_kap.gbar": 0.004})
    return Sections(soma=[soma], basal=basal, apical=apical + oblique, axon=[axon])


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="ca1",
        source="dendrotwin; after Migliore et al. 1999, doi:10.1023/A:1008906225285",
        licence="MIT",
        build=build,
        mechanisms=lambda: sorted((Path(__file__).parent / "mod" / "ca1").glob("*.mod")),
        v_init_mV=-68.0,
        celsius=34.0,
        compartments=None,
        rate_scale=0.5,
    )
