"""A granule cell of the cerebellum: a soma, four short dendrites and an axon's start.

Channels and densities of D'Angelo et al. 2001 (doi:10.1523/JNEUROSCI.21-03-00759.2001), there all in one compartment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dendrotwin.cells import CellModel, Sections


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
    dendrites = [h.Section(name=f"dendrite[{i}]") for i in range(4)]
    soma.L = soma.diam = 6.0
    axon.L, axon.diam = 10.0, 0.7
    axon.connect(soma(0))
    for dendrite in dendrites:
        dendrite.L, dendrite.diam = 15.0, 0.8
        dendrite.connect(soma(1))
    for section in (soma, axon, *dendrites):
        section.Ra, section.cm = 100, 1.0
        insert(section, {"pas.g": 8.7e-5, "pas.e": -62})
    insert(
        soma, {"granule_na.gbar": 0.05, "granule_kv.gbar": 0.01, "granule_ka.gbar": 0.008, "granule_kir.gbar": 0.0018}
    )
    insert(soma, {"granule_ks.gbar": 7e-4, "granule_cahva.gbar": 9.2e-4, "granule_kca.gbar": 0.008})
    insert(soma, {"granule_cad.tau": 0.667})
    insert(axon, {"granule_na.gbar": 0.05, "granule_kv.gbar": 0.01})
    soma.eca = 129.3
    for section in (soma, axon):
        section.ena, section.ek = 87.4, -84.7
    return Sections(soma=[soma], basal=dendrites, apical=[], axon=[axon])


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="granule",
        source="dendrotwin; channels of D'Angelo et al. 2001, doi:10.1523/JNEUROSCI.21-03-00759.2001",
        licence="MIT",
        build=build,
        mechanisms=lambda: sorted((Path(__file__).parent / "mod" / "granule").glob("*.mod")),
        v_init_mV=-70.0,
        celsius=30.0,
        compartments=6,
        rate_scale=0.02,
    )
