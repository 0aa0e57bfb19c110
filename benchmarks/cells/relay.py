"""A relay cell of the thalamus with a made-up tree: T current (GHK) in soma and dendrites, Ih, bursts from rest.

After Destexhe et al. 1998 (doi:10.1523/JNEUROSCI.18-10-03574.1998) and McCormick and Huguenard 1992
(doi:10.1152/jn.1992.68.4.1384).
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

    soma = h.Section(name="soma")
    soma.L, soma.diam = 30, 22
    dendrites = [s for i in range(6) for s in branch("dendrite", soma, 0.5, [20.0, 45 + 5 * i, 70], 2.5)]
    for section in (soma, *dendrites):
        section.Ra, section.cm = 170, 0.88
        insert(section, {"pas.g": 2.5e-5, "pas.e": -70, "relay_kleak.gbar": 8e-6, "relay_cad.tau": 5})
        insert(section, {"relay_t.pbar": 4e-5 if section.parentseg() else 2e-5, "relay_h.gbar": 2e-5})
        section.ek = -100
        section.cao = 1.5
    insert(soma, {"relay_na.gbar": 0.1, "relay_k.gbar": 0.1})
    soma.ena = 50
    return Sections(soma=[soma], basal=dendrites, apical=[], axon=[])


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="relay",
        source="dendrotwin; after Destexhe et al. 1998, doi:10.1523/JNEUROSCI.18-10-03574.1998",
        licence="MIT",
        build=build,
        mechanisms=lambda: sorted((Path(__file__).parent / "mod" / "relay").glob("*.mod")),
        v_init_mV=-70.0,
        celsius=36.0,
        compartments=None,
        rate_scale=0.6,
    )
