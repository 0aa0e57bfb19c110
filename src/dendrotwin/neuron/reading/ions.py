"""Ions in NEURON: how a section treats them, their Nernst factor, and mechanisms that carry a given current of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dendrotwin.neuron.compile import build_mechanisms
from dendrotwin.support.cache import cache_folder

SOURCE = "DendrotwinSource_{}"  # mechanism that carries a given current `amp` of an ion


def load_sources(ions: list[str]) -> None:
    """Make a source of current for each ion known to NEURON, to see what a pool makes of a current.

    Args:
        ions: their names, such as "ca".

    Raises:
        CellError: this machine cannot compile mechanisms.
    """
    from neuron import h

    ions = [ion for ion in ions if not hasattr(h, SOURCE.format(ion))]
    folder = cache_folder() / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    for ion in ions:
        name, charge = SOURCE.format(ion), int(h.ion_charge(f"{ion}_ion"))
        text = (
            f"NEURON {{\n SUFFIX {name}\n USEION {ion} WRITE i{ion} VALENCE {charge}\n RANGE amp\n}}\n"
            f"PARAMETER {{ amp = 0 }}\nASSIGNED {{ i{ion} }}\nBREAKPOINT {{ i{ion} = amp }}\n"
        )
        file = folder / f"{name}_{charge}.mod"
        if not file.is_file() or file.read_text() != text:
            file.write_text(text)
        build = build_mechanisms([file])
        libraries = [*build.glob("*/libnrnmech.*"), *build.glob("*/.libs/libnrnmech.*")]
        h.nrn_load_dll(str(libraries[0]))


def writes_concentration(ion: str, section: Any) -> bool:
    """Whether a mechanism of a section writes an ion's concentration.

    Args:
        ion: its name.
        section: NEURON's.
    """
    return _style(ion, section) & 3 == 3


def reversal_follows(ion: str, section: Any) -> bool:
    """Whether NEURON computes an ion's reversal potential from its concentrations at every step in a section.

    Args:
        ion: its name.
        section: NEURON's.
    """
    return bool(_style(ion, section) >> 6 & 1)


def _style(ion: str, section: Any) -> int:
    """NEURON's bits: the lowest two tell how the concentration is used, bit 6 tells `eadvance`."""
    from neuron import h

    return int(h.ion_style(f"{ion}_ion", sec=section))


def nernst_mV(ion: str) -> float:
    """RT / zF at NEURON's temperature [mV].

    Args:
        ion: its name.
    """
    from neuron import h

    return float(h.nernst(1.0, np.e, h.ion_charge(f"{ion}_ion")))
