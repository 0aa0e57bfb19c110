"""Pools: inside concentrations that follow the current of their ion, read in all compartments at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dendrotwin.cell.membrane import Pool
from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.state_structure import decay_rate, distance_from_half, integration_rule
from dendrotwin.neuron.reading.voltage_clamp import Compartments, Conditions, VoltageClamp, mesh_indices
from dendrotwin.neuron.variables import Globals

HOLDING_MV, OTHER_MV = -65.0, -20.0  # two potentials, at which a pool must do the same


@dataclass(frozen=True, eq=False)
class PoolRead:
    """A pool that was read, and what its proof needs.

    Attributes:
        pool: the pool.
        rule: NEURON's rule of integration, "exact", "implicit" or "explicit".
        compartments: what its compartments are like.
    """

    pool: Pool
    rule: str
    compartments: Compartments


def read_pool(name: str, ion: str, at: Ints, compartments: Compartments, rest_mM: Floats, shared: Globals) -> PoolRead:
    """The pool `name` of an ion in the compartments `at`: c' = (rest - c) rate + gain I.

    Args:
        name: of the mechanism.
        ion: whose concentration it writes.
        at: (m,) numbers of the compartments.
        compartments: what they are like.
        rest_mM: (m,) concentrations at the start, around which it is probed [mM].
        shared: GLOBALs.

    Raises:
        CellError: it is none that can be held; the message is the reason.
    """
    config, kinetics = READING.pool, READING.kinetics
    shape = (len(at), len(config.concentrations), len(config.currents_mA_cm2))
    which, f, j = mesh_indices(*shape)
    c, current = rest_mM[which] * np.array(config.concentrations)[f], np.array(config.currents_mA_cm2)[j]
    with VoltageClamp(name, compartments.take(which), shared, source=ion) as clamp:
        is_state = _is_state(clamp, ion, c)

        def step(dt_ms: float, v_mV: float = HOLDING_MV, t_ms: float = 0.0) -> Floats:
            clamp.prepare(v_mV, conditions=Conditions({ion: c}, current, t_ms))
            if is_state:
                clamp.set_states(np.broadcast_to(c, (len(clamp.state_names), clamp.n)))
            clamp.set_source(current)
            clamp.advance(dt_ms)
            return clamp.ion(ion, "i")

        after = step(kinetics.step_ms)
        if not np.allclose(after, step(kinetics.step_ms), rtol=1e-13, atol=0):
            raise CellError("two equal steps of it differ; it draws random numbers, or keeps a memory that is no STATE")
        if not np.allclose(after, step(kinetics.step_ms, v_mV=OTHER_MV), rtol=1e-10, atol=0):
            raise CellError(f"it changes {ion}i with the potential")
        if not np.allclose(after, step(kinetics.step_ms, t_ms=READING.probe.other_time_ms), rtol=1e-10, atol=0):
            raise CellError(f"it changes {ion}i with the time t")
        if not np.allclose(clamp.ion(ion, "o"), compartments.ions[ion]["o"][which], rtol=1e-9):
            raise CellError(f"it writes the outside concentration {ion}o")
        own = clamp.currents(HOLDING_MV, clamp.states(), Conditions({ion: c}), nonspecific=False)[ion]
        if np.abs(own).max() > 1e-15:
            raise CellError(f"it writes the concentration {ion}i and the current i{ion} too, as a pump does")
        after = after.reshape(shape)
        _check_linear(after, c.reshape(shape), ion)
        remaining = _remaining(after, c.reshape(shape))
        if np.abs(remaining).max() < 1e-9:
            raise CellError(f"it puts {ion}i at a value at once, so that it is no pool")
        rule = integration_rule(remaining, _remaining(step(kinetics.other_step_ms).reshape(shape), c.reshape(shape)))
        steps = [(dt_ms, step(dt_ms).reshape(shape)) for dt_ms in kinetics.gate_steps_ms]
    return PoolRead(_numbers(name, ion, at, rest_mM, rule, c.reshape(shape), steps), rule, compartments)


def _is_state(clamp: VoltageClamp, ion: str, c: Floats) -> bool:
    """Whether the mechanism has a state that is its concentration.

    Raises:
        CellError: it has states of another kind.
    """
    if not clamp.state_names:
        return False
    clamp.prepare(HOLDING_MV, conditions=Conditions({ion: c}))
    clamp.set_states(np.broadcast_to(2 * c, (len(clamp.state_names), clamp.n)))
    clamp.advance(1e-6)
    if len(clamp.state_names) > 1 or not np.allclose(clamp.states()[0], clamp.ion(ion, "i"), rtol=1e-3):
        own = ", ".join(clamp.state_names)
        raise CellError(f"its concentration {ion}i depends on states of its own ({own}), such as buffers or shells")
    return True


def _remaining(after: Floats, c: Floats) -> Floats:
    """(m,) share of a difference in concentration that is left after a step."""
    none = READING.pool.currents_mA_cm2.index(0.0)
    return np.asarray((after[:, 2, none] - after[:, 0, none]) / (c[:, 2, none] - c[:, 0, none]))


def _check_linear(after: Floats, c: Floats, ion: str) -> None:
    currents = READING.pool.currents_mA_cm2
    none = currents.index(0.0)
    change = after - c
    free = change[:, :, none]  # of the concentration alone
    line = free[:, :1] + (free[:, -1:] - free[:, :1]) * (c[:, :, 0] - c[:, :1, 0]) / (c[:, -1:, 0] - c[:, :1, 0])
    scale = np.abs(free).max(axis=1, keepdims=True) + 1e-12 * c[:, :, 0]
    error = float((np.abs(line - free) / scale).max())
    driven = change - free[:, :, None]
    size = np.abs(driven).max(axis=(1, 2), keepdims=True) + 1e-12 * c[:, -1:, :1]
    expected = driven[:, :1, :1] * (np.array(currents) / currents[0])
    inward = float((np.abs(driven - expected)[:, :, : none + 1] / size).max())
    outward = float((np.abs(driven - driven[:, :1])[:, :, none + 1 :] / size).max())
    if max(error, inward, outward) > READING.pool.nonlinearity:
        raise CellError(f"{ion}i is not linear in itself and in i{ion}, as with pumps, buffers or saturation")


def _numbers(
    name: str, ion: str, at: Ints, rest_mM: Floats, rule: str, c: Floats, steps: list[tuple[float, Floats]]
) -> Pool:
    """Rate, rest and gains from steps of several lengths, each compartment's from the one that tells it best."""
    currents = READING.pool.currents_mA_cm2
    none, most, out = currents.index(0.0), 0, len(currents) - 1
    m = len(at)
    rate, rest = np.zeros(m), rest_mM.copy()
    gain_in, gain_out, best = np.zeros(m), np.zeros(m), np.full(m, np.inf)
    for dt_ms, after in steps:
        remaining = _remaining(after, c)
        r = np.where(np.abs(remaining - 1) < 1e-11, 0.0, decay_rate(remaining, dt_ms, rule))
        with np.errstate(all="ignore"):
            distance = distance_from_half(remaining)
            # A current's share of a step: it is held over it.
            exact = np.where(r > 0, (1 - remaining) / r, dt_ms)
            held = {"implicit": dt_ms * remaining, "explicit": np.full(m, dt_ms)}.get(rule, exact)
            at_rest = (after[:, 1, none] - remaining * c[:, 1, none]) / (1 - remaining)
            steady = np.where(r > 0, at_rest, rest_mM)
        told = np.isfinite(r) & (r >= 0) & np.isfinite(held)
        distance = np.where(told, np.minimum(distance, 1e3), np.inf)
        take = distance < best
        rate[take], rest[take], best[take] = r[take], steady[take], distance[take]
        for gain, k in ((gain_in, most), (gain_out, out)):
            gain[take] = ((after[:, 1, k] - after[:, 1, none]) / currents[k] / held)[take]
        gain_out[np.abs(gain_out) < 1e-9 * np.abs(gain_in)] = 0.0
    if not np.isfinite(best).all():
        raise CellError(f"no time constant of {ion}i is found")
    # Small currents beside a large concentration lose digits: what is the same but for these is the same.
    alike = np.abs(gain_out - gain_in) < 1e-5 * np.abs(gain_in)
    gain_out[alike] = gain_in[alike]
    return Pool(name, ion, at, rate, rest, gain_in, gain_out)
