"""The leak of a cell: what its passive membrane does, whatever the mechanisms are called.

A mechanism counts as leak if it has no STATE and its current is ohmic, I = g (V - e). It is asked in an isolated
compartment, in which one step of backward Euler from V is

    V' - V = -s (V - e),   s = g dt / (c + g dt),

so that two potentials tell g and e, and a third whether that is all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.neuron.variables import PARAMETERS, STATES, elements, pointers

PASSIVE = "pas"  # NEURON's own, whose g and e are read as they are
NO_CHANNELS = {"morphology", "capacitance", "extracellular"}
V_MV = (-95.3, -70.3, -45.3)  # off round numbers, where files may have 0/0
STEP_MS = 1e-2
TOLERANCE = 1e-6  # relative, of an ohmic current
UF_MV_PER_MS = 1e-3  # of 1 uF/cm2 and 1 mV/ms, in mA/cm2


class Leak(NamedTuple):
    """Of n segments.

    Attributes:
        conductance: (n,) [S/cm2].
        reversal_mV: (n,) where it reverses, 0 where there is none [mV].
    """

    conductance: Floats
    reversal_mV: Floats


def leak_of(segments: list[Any], celsius: float) -> Leak:
    """The leak of a cell's segments.

    Args:
        segments: n of NEURON's.
        celsius: temperature [degC].
    """
    g = np.array([segment.pas.g if hasattr(segment, PASSIVE) else 0.0 for segment in segments])
    e_mV = np.array([segment.pas.e if hasattr(segment, PASSIVE) else 0.0 for segment in segments])
    passive: dict[str, bool] = {}  # mechanisms that may be leaks
    known: dict[tuple[Any, ...], tuple[float, float]] = {}
    for k, segment in enumerate(segments):
        for mechanism in segment:
            name = mechanism.name()
            if name not in passive:
                passive[name] = not mechanism.is_ion() and _may_leak(name)
            if not passive[name]:
                continue
            settings = _settings(segment, name)
            if (name, settings) not in known:
                known[name, settings] = _ohmic(name, dict(settings), celsius)
            own_g, own_mV = known[name, settings]
            if own_g > 0.0:
                total = g[k] + own_g
                g[k], e_mV[k] = total, (g[k] * e_mV[k] + own_g * own_mV) / total
    return Leak(g, e_mV)


def _may_leak(name: str) -> bool:
    return name not in {PASSIVE, *NO_CHANNELS} and not elements(name, STATES) and not pointers(name)


def _settings(segment: Any, name: str) -> tuple[tuple[str, float], ...]:
    """What may shape a mechanism's current in a segment: its parameters, and the reversal potentials of ions."""
    ions = [f"e{mechanism.name().removesuffix('_ion')}" for mechanism in segment if mechanism.is_ion()]
    names = [one for one in elements(name, PARAMETERS) if "[" not in one]
    return tuple((one, float(getattr(segment, one))) for one in [*names, *ions])


def _ohmic(name: str, settings: dict[str, float], celsius: float) -> tuple[float, float]:
    """Conductance [S/cm2] and reversal potential [mV] of a mechanism; 0 and 0 where its current is not ohmic."""
    from neuron import h

    kept = h.dt, h.celsius, h.secondorder
    section = h.Section(name="dendrotwin_leak")
    try:
        section.nseg, section.cm, section.Ra = len(V_MV), 1.0, 1e20
        section.insert(name)
        for segment, v_mV in zip(section, V_MV, strict=True):
            segment.v = v_mV
            for one, value in settings.items():
                if hasattr(segment, one):
                    setattr(segment, one, value)
        h.celsius, h.dt, h.secondorder = celsius, STEP_MS, 0
        h.finitialize()
        h.fadvance()
        change = np.array([segment.v for segment in section]) - V_MV
    finally:
        h.delete_section(sec=section)
        h.dt, h.celsius, h.secondorder = kept
    slope = (change[2] - change[0]) / (V_MV[2] - V_MV[0])
    if not -1.0 < slope < 0.0:
        return 0.0, 0.0
    e_mV = V_MV[0] - change[0] / slope
    if abs(change[1] - slope * (V_MV[1] - e_mV)) > TOLERANCE * np.abs(change).max():
        return 0.0, 0.0
    return float(-slope / (1.0 + slope) * UF_MV_PER_MS / STEP_MS), float(e_mV)
