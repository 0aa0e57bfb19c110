"""Pools: inside concentrations that follow the current of their ion, read in all compartments at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dendrotwin.cell.membrane import Pool
from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading.bench import Bench, Globals, Places, columns
from dendrotwin.neuron.reading.kinetics import DT_MS, OTHER_DT_MS, STEPS_MS, distance_of_half, rate_of, rule_of

CURRENTS = (-1e-2, -1e-3, 0.0, 1e-3)  # [mA/cm2]
NONLINEAR = 1e-5


@dataclass(frozen=True, eq=False)
class PoolRead:
    """A pool, and what the proof needs: NEURON's rule and what its compartments are like."""

    pool: Pool
    rule: str
    places: Places


def read_pool(name: str, ion: str, at: Ints, places: Places, rest_mM: Floats, shared: Globals) -> PoolRead:
    """The pool `name` of an ion in the compartments `at`.

    Args:
        name: of the mechanism.
        ion: whose concentration it writes.
        at: (m,) compartments.
        places: what they are like.
        rest_mM: (m,) concentrations at the start, around which it is probed.
        shared: GLOBALs.

    Raises:
        CellError: it is none that can be held; the message is the reason.
    """
    factors = np.array([0.5, 1.0, 2.0, 20.0])
    which, f, j = columns(len(at), len(factors), len(CURRENTS))
    shape = (len(at), len(factors), len(CURRENTS))
    c, amp = rest_mM[which] * factors[f], np.array(CURRENTS)[j]
    with Bench(name, places.take(which), shared, source=ion) as bench:
        mirror = _mirror(bench, ion, c)

        def step(dt: float, v: float = -65.0, t: float = 0.0) -> Floats:
            bench.prepare(v, conc={ion: c}, amp=amp, t_ms=t)
            if mirror:
                bench.set_states(np.broadcast_to(c, (len(bench.states), bench.n)))
            bench.set_amp(amp)
            bench.advance(dt)
            return bench.ion(ion, "i")

        after = step(DT_MS)
        if not np.allclose(after, step(DT_MS), rtol=1e-13, atol=0):
            raise CellError("two equal steps of it differ; it draws random numbers, or keeps a memory that is no STATE")
        if not np.allclose(after, step(DT_MS, v=-20.0), rtol=1e-10, atol=0):
            raise CellError(f"it changes {ion}i with the potential")
        if not np.allclose(after, step(DT_MS, t=137.3), rtol=1e-10, atol=0):
            raise CellError(f"it changes {ion}i with the time t")
        if not np.allclose(bench.ion(ion, "o"), places.ions[ion]["o"][which], rtol=1e-9):
            raise CellError(f"it writes the outside concentration {ion}o")
        current = bench.currents(-65.0, bench.states_now(), whole=False, conc={ion: c})[ion]
        if np.abs(current).max() > 1e-15:
            raise CellError(f"it writes the concentration {ion}i and the current i{ion} too, as a pump does")
        after = after.reshape(shape)
        _check_linear(after, c.reshape(shape), ion)
        keep = _keep(after, c.reshape(shape))
        if np.abs(keep).max() < 1e-9:
            raise CellError(f"it puts {ion}i at a value at once, so that it is no pool")
        rule = rule_of(keep, _keep(step(OTHER_DT_MS).reshape(shape), c.reshape(shape)))
        steps = [(dt, step(dt).reshape(shape)) for dt in STEPS_MS]
    return PoolRead(_numbers(name, ion, at, rest_mM, rule, c.reshape(shape), steps), rule, places)


def _mirror(bench: Bench, ion: str, c: Floats) -> bool:
    """Whether the mechanism has a state that its concentration is a copy of.

    Raises:
        CellError: it has states of another kind.
    """
    if not bench.states:
        return False
    bench.prepare(-65.0, conc={ion: c})
    bench.set_states(np.broadcast_to(2 * c, (len(bench.states), bench.n)))
    bench.advance(1e-6)
    if len(bench.states) > 1 or not np.allclose(bench.states_now()[0], bench.ion(ion, "i"), rtol=1e-3):
        own = ", ".join(bench.states)
        raise CellError(f"its concentration {ion}i depends on states of its own ({own}), such as buffers or shells")
    return True


def _keep(after: Floats, c: Floats) -> Floats:
    """(m,) what is left of a difference in concentration after a step."""
    none = CURRENTS.index(0.0)
    return np.asarray((after[:, 2, none] - after[:, 0, none]) / (c[:, 2, none] - c[:, 0, none]))


def _check_linear(after: Floats, c: Floats, ion: str) -> None:
    none = CURRENTS.index(0.0)
    change = after - c
    free = change[:, :, none]  # of the concentration alone
    line = free[:, :1] + (free[:, -1:] - free[:, :1]) * (c[:, :, 0] - c[:, :1, 0]) / (c[:, -1:, 0] - c[:, :1, 0])
    scale = np.abs(free).max(axis=1, keepdims=True) + 1e-12 * c[:, :, 0]
    miss = float((np.abs(line - free) / scale).max())
    driven = change - free[:, :, None]
    size = np.abs(driven).max(axis=(1, 2), keepdims=True) + 1e-12 * c[:, -1:, :1]
    expected = driven[:, :1, :1] * (np.array(CURRENTS) / CURRENTS[0])
    inward = float((np.abs(driven - expected)[:, :, : none + 1] / size).max())
    outward = float((np.abs(driven - driven[:, :1])[:, :, none + 1 :] / size).max())
    if max(miss, inward, outward) > NONLINEAR:
        raise CellError(f"{ion}i is not linear in itself and in i{ion}, as with pumps, buffers or saturation")


def _numbers(
    name: str, ion: str, at: Ints, rest_mM: Floats, rule: str, c: Floats, steps: list[tuple[float, Floats]]
) -> Pool:
    """Rate, rest and gains from steps of several lengths, each compartment's from the one that tells it best."""
    none, most, out = CURRENTS.index(0.0), 0, len(CURRENTS) - 1
    m = len(at)
    rate, rest = np.zeros(m), rest_mM.copy()
    gain_in, gain_out, best = np.zeros(m), np.zeros(m), np.full(m, np.inf)
    for dt, after in steps:
        keep = _keep(after, c)
        r = np.where(np.abs(keep - 1) < 1e-11, 0.0, rate_of(keep, dt, rule))
        with np.errstate(all="ignore"):
            worth = distance_of_half(keep)
            # A current's share of a step: it is held over it.
            held = {"implicit": dt * keep, "explicit": np.full(m, dt)}.get(rule, np.where(r > 0, (1 - keep) / r, dt))
            steady = np.where(r > 0, (after[:, 1, none] - keep * c[:, 1, none]) / (1 - keep), rest_mM)
        worth = np.where(np.isfinite(r) & (r >= 0) & np.isfinite(held), np.minimum(worth, 1e3), np.inf)
        take = worth < best
        rate[take], rest[take], best[take] = r[take], steady[take], worth[take]
        for gain, k in ((gain_in, most), (gain_out, out)):
            gain[take] = ((after[:, 1, k] - after[:, 1, none]) / CURRENTS[k] / held)[take]
        gain_out[np.abs(gain_out) < 1e-9 * np.abs(gain_in)] = 0.0
    if not np.isfinite(best).all():
        raise CellError(f"no time constant of {ion}i is found")
    # Small currents beside a large concentration lose digits: what is the same but for these is the same.
    alike = np.abs(gain_out - gain_in) < 1e-5 * np.abs(gain_in)
    gain_out[alike] = gain_in[alike]
    return Pool(name, ion, at, rate, rest, gain_in, gain_out)
