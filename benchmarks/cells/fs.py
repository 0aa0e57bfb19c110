"""A fast-spiking interneuron of neocortex with a made-up tree: Kv3, and a D current that delays the first spike.

Soma and axon of Golomb et al. 2007 (doi:10.1371/journal.pcbi.0030156); a little of the sodium current of Wang and
Buzsaki 1996 (doi:10.1523/JNEUROSCI.16-20-06402.1996) in the dendrites next to the soma.
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
    soma.L, soma.diam, axon.L, axon.diam, axon.nseg = 16, 14, 50, 1.0, 3
    axon.connect(soma(0))
    dendrites = [s for i in range(5) for s in branch("dendrite", soma, 0.5, [25.0, 60 + 8 * i, 100], 1.6)]
    for section in (soma, axon, *dendrites):
        section.Ra, section.cm = 130, 1.0
        insert(section, {"pas.g": 1e-4, "pas.e": -70})
    for section, times in ((soma, 1.0), (axon, 3.0)):
        insert(section, {"fs_na.gbar": 0.1125 * times, "fs_kv3.gbar": 0.225 * times, "fs_kd.gbar": 5e-4})
    for section in dendrites:
        near = section.parentseg().sec == soma
        insert(section, {"fs_kv3.gbar": 0.005, **({"fs_tab.gbar": 0.005} if near else {})})
    for section in (soma, axon, *dendrites):
        section.ek = -90
        if h.ismembrane("na_ion", sec=section):
            section.ena = 50
    return Sections(soma=[soma], basal=dendrites, apical=[], axon=[axon])


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="fs",
        source="dendrotwin; channels of Golomb et al. 2007, doi:10.1371/journal.pcbi.0030156",
        licence="MIT",
        build=build,
        mechanisms=lambda: sorted((Path(__file__).parent / "mod" / "fs").glob("*.mod")),
        v_init_mV=-70.0,
        celsius=34.0,
        compartments=None,
        rate_scale=0.4,
    )
