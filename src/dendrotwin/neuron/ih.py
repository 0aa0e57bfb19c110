"""Ih of Kole et al. 2006 (doi:10.1523/JNEUROSCI.3664-05.2006) in a cell, recognised by its kinetics.

The coarse cable under the learned networks knows this one active current (see `Tree`):

    I = density m (V - e),   m' = alpha (1 - m) - beta m,
    alpha = 0.00643 (V + 154.9) / (exp((V + 154.9) / 11.9) - 1) / ms,   beta = 0.193 exp(V / 33.1) / ms

Published models call their mechanism of it `Ih`; so do others whose kinetics differ, by a factor for temperature or
altogether. These are left to the reading of the membrane, and the coarse cable goes without.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.neuron.variables import PARAMETERS, STATES, elements

MECHANISM = "Ih"
DENSITIES, REVERSALS = ("gbar", "gIhbar"), ("ehcn",)  # what its parameters are called in published models
CLAMPED_MV = np.array([-120.3, -100.3, -85.3, -70.3, -50.3])  # off round numbers, where files may have 0/0
CLAMP_UF_CM2 = 1e12  # so large that the potential stands still
STEP_MS = 1e-2  # so short beside the time constant (10 to 100 ms) that every method of integration gives the same
TOLERANCE = 2e-3  # relative, of steady state and of rate


def kole_ih(segments: list[Any], celsius: float) -> tuple[Floats, Floats]:
    """Density and reversal potential of Ih in the segments of a cell, zero where there is none.

    Args:
        segments: n of NEURON's.
        celsius: temperature [degC].

    Returns:
        (n,) maximal conductance [S/cm2], and (n,) reversal potential [mV].
    """
    density, reversal_mV = np.zeros(len(segments)), np.zeros(len(segments))
    having = [k for k, segment in enumerate(segments) if hasattr(segment, MECHANISM)]
    shaping = _shaping() if having else []
    recognised: dict[tuple[float, ...], bool] = {}  # by the values of what may shape the kinetics
    for k in having:
        g, e = _first(segments[k], DENSITIES), _first(segments[k], REVERSALS)
        if g is None or e is None:
            continue
        shape = tuple(float(getattr(segments[k], name)) for name in shaping)
        if shape not in recognised:
            recognised[shape] = _has_kinetics(dict(zip(shaping, shape, strict=True)), celsius)
        if recognised[shape]:
            density[k], reversal_mV[k] = g, e
    return density, reversal_mV


def _first(segment: Any, names: tuple[str, ...]) -> float | None:
    """The first of these parameters that the mechanism has, as RANGE or as GLOBAL."""
    from neuron import h

    for name in names:
        if hasattr(getattr(segment, MECHANISM), name):
            return float(getattr(getattr(segment, MECHANISM), name))
        if hasattr(h, f"{name}_{MECHANISM}"):
            return float(getattr(h, f"{name}_{MECHANISM}"))
    return None


def _shaping() -> list[str]:
    """RANGE parameters, but for density and reversal potential."""
    sizes = {f"{name}_{MECHANISM}" for name in (*DENSITIES, *REVERSALS)}
    return [name for name in elements(MECHANISM, PARAMETERS) if name not in sizes and "[" not in name]


def _has_kinetics(parameters: dict[str, float], celsius: float) -> bool:
    """Whether with these parameters the mechanism's state has Kole's steady state and rate, at CLAMPED_MV."""
    from neuron import h

    states = elements(MECHANISM, STATES)
    if len(states) != 1:
        return False
    (state,) = states
    kept = h.dt, h.celsius, h.secondorder
    section = h.Section(name="dendrotwin_ih")
    try:
        section.nseg, section.cm, section.Ra = len(CLAMPED_MV), CLAMP_UF_CM2, 1e20
        section.insert(MECHANISM)
        for clamped, v in zip(section, CLAMPED_MV, strict=True):
            clamped.v = v
            for name, value in parameters.items():
                setattr(clamped, name, value)
        h.celsius, h.dt, h.secondorder = celsius, STEP_MS, 0
        h.finitialize()
        steady = np.array([getattr(clamped, state) for clamped in section])
        for clamped in section:
            setattr(clamped, state, 0.0)
        h.fadvance()
        rising = np.array([getattr(clamped, state) for clamped in section])
    finally:
        h.delete_section(sec=section)
        h.dt, h.celsius, h.secondorder = kept
    alpha, beta = _kole_rates(CLAMPED_MV)
    expected = alpha / (alpha + beta)
    from_zero = -expected * np.expm1(-STEP_MS * (alpha + beta))
    return np.allclose(steady, expected, rtol=TOLERANCE) and np.allclose(rising, from_zero, rtol=TOLERANCE)


def _kole_rates(v_mV: Floats) -> tuple[Floats, Floats]:
    """alpha and beta [1/ms]."""
    above = v_mV + 154.9
    return 0.00643 * above / np.expm1(above / 11.9), 0.193 * np.exp(v_mV / 33.1)
