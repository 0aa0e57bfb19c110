"""A voltage clamp of a user's synapse, and what is seen in it: time constants and currents of its states.

Copies of a point process are inserted into NEURON sections, each alone in a compartment that is held at a potential,
one for each of BLOCK_MV. Each state must decay on its own, i.e. as an exponential, an event must add to each state in
proportion to its weight, and the current must be a sum over the states: i(V) = sum_s state_s D_s(V).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import BLOCK_MV, Conductance
from dendrotwin.cell.tree import Floats
from dendrotwin.errors import CellError
from dendrotwin.neuron.variables import ASSIGNED, PARAMETERS, STATES, variables


@dataclass(frozen=True)
class SynapseReadingConfig:
    """How exactly a synapse must be what a twin can have."""

    step_ms: float = 0.025
    """NEURON's step [ms]; its own default."""
    change_mV: float = 1e-6
    """Change of a clamped potential in a step, by which the current is seen [mV]."""
    equality: float = 1e-6
    """Largest relative difference of states that must be equal."""
    current_equality: float = 1e-5
    """Largest relative difference of currents that must be equal."""
    largest_error: float = 1e-3
    """Largest difference of the current of a burst of events, as a share of the largest current."""
    burst_ms: tuple[float, ...] = (0.0, 0.0, 1.0, 2.5, 3.0, 6.0, 12.5, 30.0)
    """Times of the burst's events [ms]."""
    burst_end_ms: float = 45.0
    """End of the burst [ms]."""


SYNAPSE_READING = SynapseReadingConfig()


class SynapseClamp:
    """Copies of a point process, each alone in a compartment that is held at one of the potentials BLOCK_MV.

    Attributes:
        states: names of its states.
    """

    def __init__(self, point: Any, mechanism: str, celsius: float) -> None:
        """Build it.

        Args:
            point: NEURON's point process.
            mechanism: NEURON's name of it.
            celsius: temperature [degC].
        """
        from neuron import h

        self.h = h
        h.CVode().active(0)
        h.celsius, h.dt, h.secondorder = celsius, SYNAPSE_READING.step_ms, 0
        self.sections = [h.Section(name=f"dendrotwin_clamp_{k}") for k in range(len(BLOCK_MV))]
        self.potentials = h.PtrVector(len(BLOCK_MV))
        for k, section in enumerate(self.sections):
            section.L = section.diam = 10.0
            self.potentials.pset(k, section(0.5)._ref_v)
        self.area_um2 = self.sections[0](0.5).area()
        self.points = [getattr(h, mechanism)(section(0.5)) for section in self.sections]
        for category in (PARAMETERS, ASSIGNED):
            standard = h.MechanismStandard(mechanism, category)
            getattr(standard, "in")(point)
            for copy in self.points:
                standard.out(copy)
        self.connections = [h.NetCon(None, copy, 0.0, 1.0, 1.0) for copy in self.points]
        self.states = list(variables(mechanism, STATES))
        self.held, self.sample = h.Vector(BLOCK_MV), h.Vector(len(BLOCK_MV))
        self.set_capacitance(1.0)

    def remove(self) -> None:
        """Leave NEURON as it was."""
        self.connections, self.points, self.potentials = [], [], None
        for section in self.sections:
            self.h.delete_section(sec=section)

    def ions(self) -> list[str]:
        """The ions that the mechanism uses."""
        return sorted(self.sections[0].psection()["ions"])

    def set_capacitance(self, capacitance_nF: float) -> None:
        """Give every compartment the same capacitance.

        Args:
            capacitance_nF: the capacitance [nF].
        """
        self.capacitance_nF = capacitance_nF
        for section in self.sections:
            section.cm = capacitance_nF / (self.area_um2 * 1e-5)

    def start(self, weight: float = 0.0) -> None:
        """From rest, with an event at once.

        Args:
            weight: of the event; 0 for none.
        """
        self.potentials.scatter(self.held)
        self.h.finitialize()
        if weight:
            self.event(weight, 0.0)

    def event(self, weight: float, time_ms: float) -> None:
        """An event to each copy.

        Args:
            weight: of the event.
            time_ms: when [ms].
        """
        for connection in self.connections:
            connection.weight[0] = weight
            connection.event(time_ms)

    def set_states(self, values: dict[str, float]) -> None:
        """Set some states of all copies.

        Args:
            values: by name of the state.
        """
        for name, value in values.items():
            for copy in self.points:
                setattr(copy, name, value)

    def step(self) -> Floats:
        """Go on by one step; gives the current at its start, (copies,) [nA]."""
        self.potentials.scatter(self.held)
        self.h.fadvance()
        self.potentials.gather(self.sample)
        return np.asarray((BLOCK_MV - self.sample.as_numpy()) * self.capacitance_nF / SYNAPSE_READING.step_ms)

    def state_values(self) -> Floats:
        """(states, copies) as they are."""
        return np.array([[getattr(copy, name) for copy in self.points] for name in self.states])


def nearly_equal(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> bool:
    """Whether two arrays are equal, relative to the largest value of the second.

    Args:
        a: (...,) an array.
        b: (...,) another of the same shape.
        tolerance: relative.
    """
    return bool(np.isfinite(a).all() and np.abs(a - b).max() <= tolerance * np.abs(b).max())


def probe(clamp: SynapseClamp, least: float, weight: float) -> tuple[Floats, Floats]:
    """Each state's time constant (states,) [ms], and its share of the current (states, BLOCK_MV) after an event [nA].

    States that do nothing are left away.

    Args:
        clamp: of the synapse.
        least: the smallest weight of its events.
        weight: the largest one.

    Raises:
        CellError: it is none that a twin can have; says why, without a subject.
    """
    jump, remaining = _decays(clamp, least, weight)
    config = SYNAPSE_READING
    events = [int(s) for s in np.flatnonzero(jump)]

    def currents(factors: dict[int, float]) -> Floats:
        """The current of these states, each at its jump times a factor."""
        clamp.start()
        clamp.set_states({clamp.states[s]: factor * jump[s] for s, factor in factors.items()})
        return clamp.step()

    for _ in range(2):  # a compartment that is too small moves as far as the synapse pulls it
        largest = max(float(np.abs(currents({s: 1.0})).max()) for s in events)
        if not 0.0 < largest < np.inf:
            raise CellError("makes no current at an event")
        clamp.set_capacitance(largest * config.step_ms / config.change_mV)
    clamp.start()
    if np.abs(clamp.step()).max() > config.current_equality * largest:
        raise CellError("makes a current without events")
    curves = np.zeros((len(jump), len(BLOCK_MV)))
    for s in events:
        for factor in (2.0, 1.0):
            found = currents({s: factor})
            expected = np.where(np.arange(len(jump)) == s, factor * jump * remaining, 0.0)[:, None]
            if np.abs(clamp.state_values() - expected).max() > config.equality * np.abs(jump[s]) * (1.0 - remaining[s]):
                raise CellError(
                    "has states that depend on each other or on the potential, or do not decay as exponentials"
                )
            if factor == 2.0:
                curves[s] = found / factor
        if np.abs(found - curves[s]).max() > config.current_equality * largest:
            raise CellError("has a current that is not linear in its states: it saturates")
    factors = {s: 1.0 + 0.3 * k for k, s in enumerate(events)}
    together = sum(factor * curves[s] for s, factor in factors.items())
    if np.abs(currents(factors) - together).max() > config.current_equality * largest * len(events):
        raise CellError("has a current that is no sum over its states")
    used = np.abs(curves).max(axis=1) > config.equality * largest
    return -config.step_ms / np.log(remaining[used]), curves[used]


def _decays(clamp: SynapseClamp, least: float, weight: float) -> tuple[Floats, Floats]:
    """Of each state (states,): its jump at an event of this weight, and the share that a step leaves of it."""
    equality = SYNAPSE_READING.equality
    clamp.start()
    clamp.step()
    if clamp.state_values().any():
        raise CellError("has states that are not zero without events")

    def after_event(of: float) -> tuple[Floats, Floats]:
        clamp.start(of)
        clamp.step()
        first = clamp.state_values()
        clamp.step()
        return first, clamp.state_values()

    first, second = after_event(weight)
    if not all(nearly_equal(a, b, equality) for a, b in zip(after_event(weight), (first, second), strict=True)):
        raise CellError("does not do the same at every event: it draws random numbers, or remembers")
    moved = np.abs(first).max(axis=1) > 0.0
    if not moved.any():
        raise CellError("has states that do not change at an event")
    if (np.abs(second).max(axis=1)[~moved] > 0.0).any():
        raise CellError("has states that depend on each other")
    if (np.ptp(first[moved], axis=1) > equality * np.abs(first[moved]).max(axis=1)).any():
        raise CellError("has states that jump or decay by the potential, or at random")
    remaining = np.where(moved, second[:, 0] / np.where(moved, first[:, 0], 1.0), 0.5)
    if not ((remaining > 0.0) & (remaining < 1.0)).all():
        raise CellError("has states that depend on each other, or do not decay as exponentials")
    for other in (least, 0.5 * weight):
        if not nearly_equal(after_event(other)[0], first * (other / weight), equality):
            raise CellError("has states whose jumps are not in proportion to the weight of an event")
    return first[:, 0] / remaining, remaining


def prove(clamp: SynapseClamp, conductances: tuple[Conductance, ...], weight: float) -> None:
    """A burst of events, at all of BLOCK_MV: NEURON's current against what was read.

    Args:
        clamp: of the synapse.
        conductances: that were read.
        weight: of the events.

    Raises:
        CellError: the currents differ; says so without a subject.
    """
    config = SYNAPSE_READING
    clamp.start()
    waiting = list(config.burst_ms)
    driving = [weight * g.open_share(BLOCK_MV) * (BLOCK_MV - g.e_mV) for g in conductances]
    worst = largest = 0.0
    for step in range(round(config.burst_end_ms / config.step_ms)):
        now = step * config.step_ms
        while waiting and waiting[0] < now + 0.5 * config.step_ms:
            clamp.event(weight, waiting.pop(0))
        since = np.array([now - time for time in config.burst_ms if time < now + 0.5 * config.step_ms])
        expected = sum(g.time_course(since).sum() * curve for g, curve in zip(conductances, driving, strict=True))
        worst = max(worst, float(np.abs(clamp.step() - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    if not worst <= config.largest_error * largest:
        raise CellError(
            f"does not add up its events (a burst differs by {worst / largest:.2g} of the current): "
            "saturation, short-term plasticity or chance"
        )
