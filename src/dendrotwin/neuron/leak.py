"""The leak of a cell: what its passive membrane does, whatever the mechanisms are called.

A mechanism's leak is the current that flows whatever its gates do: with all states at those of 0 and 1 at which it
conducts least, if it is ohmic then, I = g (V - e). It is asked in an isolated compartment, in which one step of
backward Euler from V is

    V' - V = -s (V - e),   s = g dt / (c + g dt),

so that two potentials tell g and e, and a third whether that is all.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.neuron.variables import PARAMETERS, STATES, elements, pointers, range_pointers, values_of

PASSIVE = "pas"  # NEURON's own, whose g and e are read as they are
NO_CHANNELS = {"morphology", "capacitance", "extracellular"}
V_MV = (-95.3, -70.3, -45.3)  # off round numbers, where files may have 0/0
STEP_MS = 1e-2
MOST_STATES = 6  # of a mechanism with a leak: there are 2 to this power ways in which gates can be open
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
    may_leak: dict[str, bool] = {}
    placed: dict[str, dict[tuple[tuple[str, float], ...], list[int]]] = {}  # by mechanism and its settings
    for k, segment in enumerate(segments):
        for mechanism in segment:
            name = mechanism.name()
            if name not in may_leak:
                may_leak[name] = not mechanism.is_ion() and _may_leak(name)
            if may_leak[name]:
                placed.setdefault(name, {}).setdefault(_settings(segment, name), []).append(k)
    for name, of_settings in placed.items():
        own = _ohmic(name, [dict(settings) for settings in of_settings], celsius)
        for at, own_g, own_mV in zip(of_settings.values(), own.conductance, own.reversal_mV, strict=True):
            if own_g > 0.0:
                total = g[at] + own_g
                g[at], e_mV[at] = total, (g[at] * e_mV[at] + own_g * own_mV) / total
    return Leak(g, e_mV)


def _may_leak(name: str) -> bool:
    return name not in {PASSIVE, *NO_CHANNELS} and not pointers(name) and len(elements(name, STATES)) <= MOST_STATES


def _settings(segment: Any, name: str) -> tuple[tuple[str, float], ...]:
    """What may shape a mechanism's current in a segment: its parameters, and the reversal potentials of ions."""
    ions = [f"e{mechanism.name().removesuffix('_ion')}" for mechanism in segment if mechanism.is_ion()]
    names = [one for one in elements(name, PARAMETERS) if "[" not in one]
    return tuple((one, float(getattr(segment, one))) for one in [*names, *ions])


def _ohmic(name: str, settings: list[dict[str, float]], celsius: float) -> Leak:
    """The leak in a mechanism with each of k settings; 0 and 0 where a gate can close all, or the rest is not ohmic."""
    states = elements(name, STATES)
    corners = np.array(list(product((0.0, 1.0), repeat=len(states))))
    change = _changes(name, settings, celsius, states, corners)
    slope = (change[..., 2] - change[..., 0]) / (V_MV[2] - V_MV[0])  # (settings, corners), of which 0 conducts least
    leaks = ((slope > -1.0) & (slope < 0.0)).all(axis=1)
    rows, least = np.arange(len(settings)), np.argmax(slope, axis=1)
    change, slope = change[rows, least], np.where(leaks, slope[rows, least], -0.5)
    e_mV = V_MV[0] - change[:, 0] / slope
    leaks &= np.abs(change[:, 1] - slope * (V_MV[1] - e_mV)) <= TOLERANCE * np.abs(change).max(axis=1)
    conductance = -slope / (1.0 + slope) * UF_MV_PER_MS / STEP_MS
    return Leak(np.where(leaks, conductance, 0.0), np.where(leaks, e_mV, 0.0))


def _changes(name: str, settings: list[dict[str, float]], celsius: float, states: list[str], corners: Floats) -> Floats:
    """(settings, corners, 3) change of the potential in a step from each of V_MV [mV]; states stand still in it."""
    from neuron import h

    shape = (len(settings), len(corners), len(V_MV))
    kept = h.dt, h.celsius, h.secondorder
    sections = []
    try:
        for given in settings:
            section = h.Section(name="dendrotwin_leak")
            sections.append(section)
            section.nseg, section.cm, section.Ra = len(corners) * len(V_MV), 1.0, 1e20
            section.insert(name)
            for one, value in given.items():
                if hasattr(section(0.5), one):
                    setattr(section, one, value)
        h.celsius, h.dt, h.secondorder = celsius, STEP_MS, 0
        v = range_pointers(sections, ["v"])
        v_mV = np.broadcast_to(V_MV, shape).ravel()
        v.scatter(h.Vector(v_mV))
        h.finitialize()
        for state, values in zip(states, corners.T, strict=True):  # NEURON asks for currents before it moves states
            range_pointers(sections, [state]).scatter(h.Vector(np.broadcast_to(values[:, None], shape).ravel()))
        h.fadvance()
        return np.asarray(values_of(v) - v_mV).reshape(shape)
    finally:
        for section in sections:
            h.delete_section(sec=section)
        h.dt, h.celsius, h.secondorder = kept
