"""A soma, two basal dendrites and an apical tree of three sections: small enough for tests, whole enough to fire."""

from __future__ import annotations

from dendrotwin.cells import MECHANISMS, CellModel, Sections

# Diameter and length of each section [um], and what it is connected to; a parent comes before its children.
GEOMETRY = {
    "basal[0]": (2.0, 120.0, "soma", 0.0),
    "basal[1]": (1.5, 80.0, "soma", 0.5),
    "apical[0]": (3.0, 200.0, "soma", 1.0),
    "apical[1]": (1.5, 150.0, "apical[0]", 1.0),
    "apical[2]": (1.2, 110.0, "apical[0]", 1.0),
    "axon[0]": (1.0, 30.0, "soma", 0.5),
}


def _build() -> Sections:
    from neuron import h

    made = {"soma": h.Section(name="soma")}
    made["soma"].L = made["soma"].diam = 20.0
    for name, (diameter, length, parent, x) in GEOMETRY.items():
        section = made[name] = h.Section(name=name)
        section.diam, section.L = diameter, length
        section.nseg = 1 + 2 * int(length / 40.0)
        section.connect(made[parent](x))
    for name, section in made.items():
        section.Ra, section.cm = 150.0, 1.0
        section.insert("pas")
        section.insert("Ih")
        for segment in section:
            segment.pas.g, segment.pas.e = 5e-5, -75.0
            segment.Ih.gbar = 2e-4 if name.startswith("apical") else 5e-5
        if name in ("soma", "axon[0]"):
            section.insert("hh")
            for segment in section:
                segment.hh.gnabar, segment.hh.gkbar, segment.hh.gl = 0.25, 0.06, 0.0
    parts = {part: [s for name, s in made.items() if name.startswith(part)] for part in Sections._fields}
    return Sections(**parts)


def cell() -> CellModel:
    """The description of the cell."""
    return CellModel(
        name="ball_and_stick",
        source="dendrotwin; soma and axon of Hodgkin and Huxley 1952 (doi:10.1113/jphysiol.1952.sp004764)",
        licence="MIT",
        build=_build,
        mechanisms=lambda: [MECHANISMS / "l5pc" / "Ih.mod"],
        v_init_mV=-70.0,
        celsius=6.3,
        compartments=37,
        rate_scale=0.1,
    )
