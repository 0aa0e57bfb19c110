"""Synapses of a user's own, read from NEURON by what they do, whatever they are called and however they are written.

Copies of a point process stand on a bench, each alone in a compartment that holds its potential, one for each of
BLOCK_MV. Each state must decay on its own, i.e. as an exponential, an event must add to each state in proportion to its
weight, and the current must be a sum over the states: i(V) = sum_s state_s D_s(V). A state is then a conductance
exp(-t/tau) B(V) (V - e), and two that jump alike with opposite signs are a dual exponential.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import BLOCK_MV, Conductance, Floats, Ints, Synapse
from dendrotwin.errors import CellError
from dendrotwin.neuron.variables import ASSIGNED, PARAMETERS, STATES, pointers, variables

STEP_MS = 0.025
MOVE_MV = 1e-6  # by which a held compartment moves in a step, which is how its current is seen
EXACT = 1e-6  # relative, what must be equal
ALIKE = 1e-5  # relative, currents seen through MOVE_MV
PROOF = 1e-3  # relative, of the largest current
BURST_MS = (0.0, 0.0, 1.0, 2.5, 3.0, 6.0, 12.5, 30.0)
BURST_END_MS = 45.0


@dataclass(frozen=True, eq=False)
class OwnInputs:
    """What `read_synapses` gives: m inputs, of few kinds.

    Attributes:
        points: (m) NEURON's point processes.
        weight: (m,) of each input's events.
        kinds: the distinct kinds of synapse.
        kind: (m,) which of them each input is.
    """

    points: list[Any]
    weight: Floats
    kinds: tuple[Synapse, ...]
    kind: Ints


def name_of(point: Any) -> str:
    """A point process's mechanism, such as `Exp2Syn`."""
    return str(point.hname()).split("[")[0].split(".")[-1]


def read_synapses(cell: str, given: Sequence[Any], v_init_mV: float, celsius: float) -> OwnInputs:
    """Read what the synapses of a cell do.

    Args:
        cell: its name, for errors.
        given: see `Sections.synapses`.
        v_init_mV: a synapse excites if it reverses above this.
        celsius: temperature [degC].

    Raises:
        CellError: one of them is no synapse, or none that a twin can have: says which, and why.
    """
    points, weights = [], []
    for number, one in enumerate(given):
        point, weight = one if isinstance(one, tuple) and len(one) == 2 else (one, 1.0)
        points.append(point)
        try:
            _check_target(point)
            weights.append(float(weight))
            if not 0.0 < weights[-1] < np.inf:
                raise CellError(f"has the weight {weight}; give a number above 0")
        except (CellError, TypeError, ValueError) as error:
            raise CellError(f"the cell {cell}: synapse {number}, {point}, {error}") from error

    # Synapses with the same parameters are read once, with the smallest and the largest weight that they have.
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault(_settings(point), []).append(number)
    distinct: dict[tuple[Any, ...], int] = {}
    kinds: list[Synapse] = []
    kind = np.zeros(len(points), dtype=np.int32)
    for members in groups.values():
        point = points[members[0]]
        mechanism = name_of(point)
        used = sorted({weights[number] for number in members})
        try:
            conductances = _read(point, used[0], used[-1], celsius)
        except CellError as error:
            raise CellError(
                f"the cell {cell}: the synapse {point.hname()} {error}; take another, such as Exp2Syn"
            ) from error
        if (mechanism, conductances) not in distinct:
            distinct[mechanism, conductances] = len(kinds)
            same = sum(name == mechanism for name, _ in distinct)
            charge = np.array([g.g_max_uS * (g.decay_ms - g.rise_ms) for g in conductances])
            e_mV = float(charge @ [g.e_mV for g in conductances] / charge.sum())
            name = mechanism if same == 1 else f"{mechanism} {same}"
            kinds.append(Synapse(name, e_mV > v_init_mV, conductances))
        kind[members] = distinct[mechanism, conductances]
    return OwnInputs(points, np.array(weights), tuple(kinds), kind)


def _check_target(point: Any) -> None:
    """Raise CellError, without a subject, unless it is a point process to which events of inputs alone come."""
    from neuron import h

    if not hasattr(point, "hname"):
        raise CellError("is no point process of NEURON; list objects such as h.Exp2Syn(dend(0.5))")
    mechanism, types = name_of(point), h.MechanismType(1)
    numbers = {}
    selected = h.ref("")
    for number in range(int(types.count())):
        types.select(number)
        types.selected(selected)
        numbers[selected[0]] = number
    if mechanism not in numbers:
        raise CellError("is no point process of NEURON; list objects such as h.Exp2Syn(dend(0.5))")
    if types.is_artificial(numbers[mechanism]):
        raise CellError("is an artificial cell, which sends events; list the synapses that receive them")
    if not types.is_netcon_target(numbers[mechanism]):
        raise CellError("has no NET_RECEIVE and takes no events; list synapses that do, and leave it away")
    if not point.has_loc():
        raise CellError("stands in no section; place it in one of the cell's")
    if h.CVode().netconlist("", "", point).count():
        raise CellError("gets events from a NetCon of its own; leave NetCons away, the trials' events come to it")


def _settings(point: Any) -> tuple[Any, ...]:
    """What tells a point process from others: its mechanism and its range variables."""
    from neuron import h

    values: list[Any] = [name_of(point)]
    for sort in (PARAMETERS, ASSIGNED):
        standard = h.MechanismStandard(values[0], sort)
        getattr(standard, "in")(point)
        names = variables(values[0], sort)
        values += [standard.get(name, k) for name, size in names.items() for k in range(size)]
    return tuple(values)


class _Bench:
    """Copies of a point process, each alone in a compartment that holds one of the potentials BLOCK_MV."""

    def __init__(self, point: Any, celsius: float) -> None:
        from neuron import h

        self.h, mechanism = h, name_of(point)
        h.CVode().active(0)
        h.celsius, h.dt, h.secondorder = celsius, STEP_MS, 0
        self.sections = [h.Section(name=f"dendrotwin_bench_{k}") for k in range(len(BLOCK_MV))]
        self.potentials = h.PtrVector(len(BLOCK_MV))
        for k, section in enumerate(self.sections):
            section.L = section.diam = 10.0
            self.potentials.pset(k, section(0.5)._ref_v)
        self.area_um2 = self.sections[0](0.5).area()
        self.points = [getattr(h, mechanism)(section(0.5)) for section in self.sections]
        for sort in (PARAMETERS, ASSIGNED):
            standard = h.MechanismStandard(mechanism, sort)
            getattr(standard, "in")(point)
            for copy in self.points:
                standard.out(copy)
        self.connections = [h.NetCon(None, copy, 0.0, 1.0, 1.0) for copy in self.points]
        self.states = list(variables(mechanism, STATES))
        self.held, self.sample = h.Vector(BLOCK_MV), h.Vector(len(BLOCK_MV))
        self.size(1.0)

    def remove(self) -> None:
        """Leave NEURON as it was."""
        self.connections, self.points, self.potentials = [], [], None
        for section in self.sections:
            self.h.delete_section(sec=section)

    def ions(self) -> list[str]:
        """The ions that the mechanism uses."""
        return sorted(self.sections[0].psection()["ions"])

    def size(self, capacitance_nF: float) -> None:
        """Give every compartment this capacitance."""
        self.capacitance_nF = capacitance_nF
        for section in self.sections:
            section.cm = capacitance_nF / (self.area_um2 * 1e-5)

    def start(self, weight: float = 0.0) -> None:
        """From rest, with an event of this weight at once."""
        self.potentials.scatter(self.held)
        self.h.finitialize()
        if weight:
            self.event(weight, 0.0)

    def event(self, weight: float, time_ms: float) -> None:
        """An event to each copy."""
        for connection in self.connections:
            connection.weight[0] = weight
            connection.event(time_ms)

    def put(self, values: dict[str, Any]) -> None:
        """Set states, (copies,) each."""
        for name, of_copies in values.items():
            for copy, value in zip(self.points, np.broadcast_to(of_copies, len(self.points)).tolist(), strict=True):
                setattr(copy, name, value)

    def step(self) -> Floats:
        """Go on by STEP_MS; gives the current at its start (copies,) [nA]."""
        self.potentials.scatter(self.held)
        self.h.fadvance()
        self.potentials.gather(self.sample)
        return np.asarray((BLOCK_MV - self.sample.as_numpy()) * self.capacitance_nF / STEP_MS)

    def look(self) -> Floats:
        """(states, copies) the states."""
        return np.array([[getattr(copy, name) for copy in self.points] for name in self.states])


def _read(point: Any, least: float, weight: float, celsius: float) -> tuple[Conductance, ...]:
    """The conductances that an event of weight 1 opens, known by events of two weights.

    Raises:
        CellError: there is no such thing; says why, without a subject.
    """
    mechanism = name_of(point)
    foreign = pointers(mechanism)
    if foreign:
        raise CellError(f"has the POINTER or RANDOM {', '.join(foreign)}: what it does depends on more than its events")
    if not variables(mechanism, STATES):
        raise CellError("has no STATE, by which it could be read")
    if max(variables(mechanism, STATES).values()) > 1:
        raise CellError("has states in arrays")
    bench = _Bench(point, celsius)
    try:
        if bench.ions():
            raise CellError(f"uses the ions {', '.join(bench.ions())}, which a twin's synapses do not carry apart")
        taus, curves = _probe(bench, least, weight)
        conductances = _conductances(taus, curves / weight)
        _prove(bench, conductances, weight)
        return conductances
    finally:
        bench.remove()


def _near(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> bool:
    """Whether two arrays are equal, relative to the largest value of the second."""
    return bool(np.isfinite(a).all() and np.abs(a - b).max() <= tolerance * np.abs(b).max())


def _probe(bench: _Bench, least: float, weight: float) -> tuple[Floats, Floats]:
    """Each state's time constant (states,) [ms], and its share of the current (states, BLOCK_MV) after an event [nA].

    States that do nothing are left away.
    """
    bench.start()
    bench.step()
    if bench.look().any():
        raise CellError("has states that are not zero without events")

    def after_event(of: float) -> tuple[Floats, Floats]:
        bench.start(of)
        bench.step()
        first = bench.look()
        bench.step()
        return first, bench.look()

    first, second = after_event(weight)
    if not all(_near(a, b, EXACT) for a, b in zip(after_event(weight), (first, second), strict=True)):
        raise CellError("does not do the same at every event: it draws random numbers, or remembers")
    moved = np.abs(first).max(axis=1) > 0.0
    if not moved.any():
        raise CellError("has states that do not change at an event")
    if (np.abs(second).max(axis=1)[~moved] > 0.0).any():
        raise CellError("has states that depend on each other")
    if (np.ptp(first[moved], axis=1) > EXACT * np.abs(first[moved]).max(axis=1)).any():
        raise CellError("has states that jump or decay by the potential, or at random")
    keep = np.where(moved, second[:, 0] / np.where(moved, first[:, 0], 1.0), 0.5)
    if not ((keep > 0.0) & (keep < 1.0)).all():
        raise CellError("has states that depend on each other, or do not decay as exponentials")
    for other in (least, 0.5 * weight):
        if not _near(after_event(other)[0], first * (other / weight), EXACT):
            raise CellError("has states whose jumps are not in proportion to the weight of an event")
    jump = first[:, 0] / keep
    events = [int(s) for s in np.flatnonzero(moved)]

    def currents(factors: dict[int, float]) -> Floats:
        """The current of these states, each at its jump times a factor."""
        bench.start()
        bench.put({bench.states[s]: factor * jump[s] for s, factor in factors.items()})
        return bench.step()

    for _ in range(2):  # a compartment that is too small moves as far as the synapse pulls it
        largest = max(float(np.abs(currents({s: 1.0})).max()) for s in events)
        if not 0.0 < largest < np.inf:
            raise CellError("makes no current at an event")
        bench.size(largest * STEP_MS / MOVE_MV)
    bench.start()
    if np.abs(bench.step()).max() > ALIKE * largest:
        raise CellError("makes a current without events")
    curves = np.zeros_like(first)
    for s in events:
        for factor in (2.0, 1.0):
            found = currents({s: factor})
            alone = np.where(np.arange(len(first)) == s, factor * jump * keep, 0.0)[:, None]
            if np.abs(bench.look() - alone).max() > EXACT * np.abs(jump[s]) * (1.0 - keep[s]):
                raise CellError(
                    "has states that depend on each other or on the potential, or do not decay as exponentials"
                )
            if factor == 2.0:
                curves[s] = found / factor
        if np.abs(found - curves[s]).max() > ALIKE * largest:
            raise CellError("has a current that is not linear in its states: it saturates")
    factors = {s: 1.0 + 0.3 * k for k, s in enumerate(events)}
    together = sum(factor * curves[s] for s, factor in factors.items())
    if np.abs(currents(factors) - together).max() > ALIKE * largest * len(events):
        raise CellError("has a current that is no sum over its states")
    used = np.abs(curves).max(axis=1) > EXACT * largest
    return -STEP_MS / np.log(keep[used]), curves[used]


def _conductances(taus_ms: Floats, curves: Floats) -> tuple[Conductance, ...]:
    """From exponentials, each with its current (s, BLOCK_MV) for weight 1 [nA], to conductances."""
    left = list(range(len(taus_ms)))
    found: list[Conductance] = []
    while left:  # states whose currents depend on V alike, together
        reference = curves[max(left, key=lambda s: float(np.abs(curves[s]).max()))]
        norm = reference @ reference
        share = {s: float(curves[s] @ reference / norm) for s in left}
        alike = [s for s in left if np.abs(curves[s] - share[s] * reference).max() <= ALIKE * np.abs(curves[s]).max()]
        left = [s for s in left if s not in alike]
        amount_uS, form = _form(reference)
        amounts = {s: share[s] * amount_uS for s in alike}
        found += [Conductance(rise, decay, peak, **form) for rise, decay, peak in _pairs(taus_ms, amounts)]
    return tuple(sorted(found, key=lambda g: (g.decay_ms, g.rise_ms, g.e_mV)))


def _pairs(taus_ms: Floats, amounts_uS: dict[int, float]) -> list[tuple[float, float, float]]:
    """Exponentials of both signs as (rise, decay, peak): a negative one is the rise of a slower one, or of several."""
    largest = max(abs(amount) for amount in amounts_uS.values())
    decays = {s: amount for s, amount in amounts_uS.items() if amount > 0.0}
    found = []
    for rise in sorted((s for s in amounts_uS if s not in decays), key=lambda s: taus_ms[s]):
        wanted = -amounts_uS[rise]
        while wanted > ALIKE * largest:
            slower = [s for s in decays if taus_ms[s] > taus_ms[rise] and decays[s] > ALIKE * largest]
            if not slower:
                raise CellError("has a conductance that turns negative")
            decay = min(slower, key=lambda s: abs(decays[s] - wanted))
            taken = min(wanted, decays[decay])
            wanted, decays[decay] = wanted - taken, decays[decay] - taken
            times = _digits(taus_ms[rise], 9), _digits(taus_ms[decay], 9)
            peak = taken / Conductance(*times, 1.0, 0.0).normalisation()
            found.append((*times, _digits(peak, 6)))
    single = [s for s in decays if decays[s] > ALIKE * largest]
    return found + [(0.0, _digits(taus_ms[s], 9), _digits(decays[s], 6)) for s in single]


def _form(curve: Floats) -> tuple[float, dict[str, Any]]:
    """How a current (BLOCK_MV) depends on V: conductance where the block is 1 [uS], and the fields of `Conductance`."""
    line = np.polynomial.Polynomial.fit(BLOCK_MV, curve, 1)
    if _near(line(BLOCK_MV), curve, ALIKE):
        offset, slope = (float(c) for c in line.convert().coef)
        if abs(slope) * 1e4 < abs(offset):
            raise CellError("has a current that does not reverse")
        return slope, {"e_mV": round(-offset / slope, 4) + 0.0}
    crossing = np.flatnonzero(np.sign(curve[:-1]) * np.sign(curve[1:]) <= 0.0)
    if len(crossing) == 0:
        raise CellError(f"has a current that does not reverse between {BLOCK_MV[0]:g} and {BLOCK_MV[-1]:g} mV")
    at = int(max(crossing, key=lambda k: abs(curve[k + 1] - curve[k])))
    near = slice(min(max(at - 3, 0), len(curve) - 8), min(max(at - 3, 0), len(curve) - 8) + 8)
    middle, volts = BLOCK_MV[at], BLOCK_MV[near]
    roots = np.polynomial.Polynomial.fit(volts - middle, curve[near], 7).roots()
    real = roots[np.abs(roots.imag) < 1e-6].real
    if len(real) == 0:
        raise CellError("has a current that does not reverse")
    e_mV = round(float(middle + real[np.argmin(np.abs(real - 0.5))]), 4) + 0.0
    driving = BLOCK_MV - e_mV
    away = np.abs(driving) > 0.6
    g = np.where(away, curve / np.where(away, driving, 1.0), 0.0)
    around = np.abs(driving) < 5.0
    smooth = np.polynomial.Polynomial.fit(driving[around & away], g[around & away], 5)
    g[~away] = smooth(driving[~away])
    magnesium = _magnesium(g)
    if magnesium is not None:
        return magnesium[0], {"e_mV": e_mV, "mg_mM": magnesium[1], "slope_per_mV": magnesium[2]}
    largest = float(g[np.argmax(np.abs(g))])
    block = np.round(g / largest, 7) + 0.0
    if block.min() < -ALIKE:
        raise CellError("has a conductance that changes its sign with the potential")
    return largest, {"e_mV": e_mV, "block": tuple(np.maximum(block, 0.0).tolist())}


def _magnesium(g: Floats) -> tuple[float, float, float] | None:
    """Conductance [uS], magnesium [mM] and slope [1/mV], if g(V) is blocked as by magnesium; see `Conductance`."""
    v = np.array([-90.0, -50.0, -10.0])
    inverse = 1.0 / np.interp(v, BLOCK_MV, g)  # a + c exp(-slope V)
    with np.errstate(all="ignore"):
        slope = np.log((inverse[0] - inverse[1]) / (inverse[1] - inverse[2])) / 40.0
        c = (inverse[1] - inverse[2]) / (np.exp(-slope * v[1]) - np.exp(-slope * v[2]))
        a = inverse[2] - c * np.exp(-slope * v[2])
        found = float(1.0 / a), _digits(3.57 * c / a, 5), _digits(slope, 5)
        fits = Conductance(0.0, 1.0, 1.0, 0.0, *found[1:]).open_share(BLOCK_MV) * found[0]
    return found if found[1] > 0.0 and _near(fits, g, 10 * ALIKE) else None


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _prove(bench: _Bench, conductances: tuple[Conductance, ...], weight: float) -> None:
    """A burst of events, at all of BLOCK_MV: NEURON's current against what was read."""
    bench.start()
    waiting = list(BURST_MS)
    driving = [weight * g.open_share(BLOCK_MV) * (BLOCK_MV - g.e_mV) for g in conductances]
    worst = largest = 0.0
    for step in range(round(BURST_END_MS / STEP_MS)):
        now = step * STEP_MS
        while waiting and waiting[0] < now + 0.5 * STEP_MS:
            bench.event(weight, waiting.pop(0))
        since = np.array([now - time for time in BURST_MS if time < now + 0.5 * STEP_MS])
        expected = sum(g.time_course(since).sum() * curve for g, curve in zip(conductances, driving, strict=True))
        worst = max(worst, float(np.abs(bench.step() - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    if not worst <= PROOF * largest:
        raise CellError(
            f"does not add up its events (a burst differs by {worst / largest:.2g} of the current): "
            "saturation, short-term plasticity or chance"
        )
