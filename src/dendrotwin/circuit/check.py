"""What a description must be before it is run: everything that a user can get wrong, said in a line."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Synapse
from dendrotwin.circuit.description import Background, Clamps, Description, Population, Projection, SpikeTrains
from dendrotwin.circuit.device import device_of
from dendrotwin.circuit.engine import SHORTEST_DELAY_MS, Settings
from dendrotwin.errors import InputError, InputWarning
from dendrotwin.models.cable import Cable
from dendrotwin.twin import Twin

NOT_ORTHONORMAL = 1e-6  # how far R R^T of a rotation may be from 1
WHOLE, REAL = "iu", "f"


def check(circuit: Description) -> None:
    """See that a description can be run.

    Args:
        circuit: the description.

    Raises:
        InputError: something in it cannot be; the message names the population and the connections.

    Warns:
        InputWarning: a cell excites some cells and inhibits others (Dale's principle).
    """
    check_parts(circuit)
    warn_of_both_signs(signs_of(circuit))


def check_parts(circuit: Description) -> None:
    """See that each part of a description can be, and fits the others.

    Args:
        circuit: the description.

    Raises:
        InputError: see `check`.
    """
    parts: list[Population | SpikeTrains] = [*circuit.populations, *circuit.trains]
    if not circuit.populations:
        raise InputError("the circuit has no population of cells; add one")
    named: dict[str, Population | SpikeTrains] = {}
    for part in parts:
        if part.name in named:
            raise InputError(f"two populations are called {part.name!r}; give each a name of its own")
        named[part.name] = part
    for population in circuit.populations:
        check_population(population)
    for trains in circuit.trains:
        check_trains(trains)
    cells = {population.name: population for population in circuit.populations}
    for p in circuit.projections:
        where = f"connections {p.source} -> {p.target}"
        _known(where, p.source, named)
        check_projection(p, _known(where, p.target, cells), named[p.source])
    for b in circuit.backgrounds:
        check_background(b, _known(f"background of {b.population}", b.population, cells))
    for c in circuit.clamps:
        check_clamps(c, _known(f"clamps of {c.population}", c.population, cells))


def check_population(population: Population) -> None:
    """See that the cells are there and the twins can be run.

    Args:
        population: to check.

    Raises:
        InputError: they are not.
    """
    where, count = _name("population", population.name), len(population)
    if not count or not population.twins:
        raise InputError(f"{where}: it has no cells; give a twin and one cell or more")
    for twin in population.twins:
        if not isinstance(twin, Twin):
            raise InputError(f"{where}: its cells are {type(twin).__name__}; give a twin, of twin_of or load")
        if not isinstance(twin.model, Cable):
            raise InputError(
                f"{where}: a twin of the architecture {twin.architecture} was learned, and has no synapses of other "
                "places or kinds; give a read twin (twin_of)"
            )
    _column(where, "model", population.model, WHOLE, count)
    _inside(where, "model", population.model, len(population.twins), "twins of it")
    for name, array, shape in (
        ("position_um", population.position_um, (count, 3)),
        ("rotation", population.rotation, (count, 3, 3)),
    ):
        if not isinstance(array, np.ndarray) or array.dtype.kind != REAL or array.shape != shape:
            raise InputError(f"{where}: `{name}` must be an array {shape} of real numbers")
        if not np.isfinite(array).all():
            raise InputError(f"{where}: `{name}` of node {np.argwhere(~np.isfinite(array))[0, 0]} is not finite")
    product = population.rotation @ population.rotation.swapaxes(1, 2)
    wrong = np.abs(product - np.eye(3)).max(axis=(1, 2)) > NOT_ORTHONORMAL
    wrong |= np.linalg.det(population.rotation) < 0.0
    if wrong.any():
        raise InputError(
            f"{where}: the rotation of node {np.flatnonzero(wrong)[0]} is no rotation; its rows must be at right "
            "angles, of length 1, and not a mirror image"
        )


def check_trains(trains: SpikeTrains) -> None:
    """See that the spikes are of nodes that are there, at times that can be.

    Args:
        trains: to check.

    Raises:
        InputError: they are not.
    """
    where = _name("trains", trains.name)
    if not isinstance(trains.count, int | np.integer) or trains.count < 0:
        raise InputError(f"{where}: {trains.count!r} nodes; give a whole number from 0")
    many = _length(trains.node)
    _column(where, "node", trains.node, WHOLE, many)
    _column(where, "time_ms", trains.time_ms, REAL, many)
    _inside(where, "node", trains.node, trains.count, "nodes")
    _not_negative(where, "time_ms", trains.time_ms, "a spike before the start of the run")


def check_projection(p: Projection, target: Population, source: Population | SpikeTrains) -> None:
    """See that the connections lead from nodes to compartments that are there, with values that can be.

    Args:
        p: to check.
        target, source: its populations.

    Raises:
        InputError: they do not.
    """
    where, many = f"connections {p.source} -> {p.target}", _length(p.source_node)
    _column(where, "source_node", p.source_node, WHOLE, many)
    _inside(where, "source_node", p.source_node, len(source), f"nodes of {p.source}")
    _ends(where, target, "target_node", p.target_node, p.compartment, many)
    _synapses(where, p.synapses, p.synapse, many)
    _weights(where, p.weight, many)
    _column(where, "delay_ms", p.delay_ms, REAL, many)
    _not_negative(where, "delay_ms", p.delay_ms, "an event comes after its spike")
    if isinstance(source, Population) and many and p.delay_ms.min() < SHORTEST_DELAY_MS:
        raise InputError(
            f"{where}: a delay of {p.delay_ms.min():g} ms between cells is shorter than the shortest step of the "
            f"solver, {SHORTEST_DELAY_MS:g} ms; lengthen it"
        )
    if p.plasticity is None:
        return
    if not isinstance(p.plasticity, np.ndarray) or p.plasticity.shape != (many, 5):
        raise InputError(
            f"{where}: `plasticity` must be an array ({many}, 5): U, depression, facilitation, inactivation [ms], u0"
        )
    plastic = p.plasticity[~np.isnan(p.plasticity).all(axis=1)]
    shares, times_ms = plastic[:, [0, 4]], plastic[:, 1:4]
    for name, share in zip(("utilisation U", "start u0"), shares.T, strict=True):
        if not ((share >= 0.0) & (share <= 1.0)).all():
            raise InputError(
                f"{where}: the {name} of plasticity is a share, 0 to 1; one is {_first(share, 1.0):g}; correct it"
            )
    wrong = times_ms[~((times_ms >= 0.0) & np.isfinite(times_ms))]
    if len(wrong):
        raise InputError(
            f"{where}: a time constant of plasticity is {wrong[0]:g} ms; give finite ones from 0 ms, 0 for at once"
        )


def check_background(b: Background, cells: Population) -> None:
    """See that the places are in cells, with rates that can be.

    Args:
        b: to check.
        cells: its population.

    Raises:
        InputError: they are not.
    """
    where, many = f"background of {b.population}", _length(b.node)
    _ends(where, cells, "node", b.node, b.compartment, many)
    _synapses(where, b.synapses, b.synapse, many)
    _weights(where, b.weight, many)
    _column(where, "rate_hz", b.rate_hz, REAL, many)
    _not_negative(where, "rate_hz", b.rate_hz, "a rate is 0 or more events in a second")
    if not isinstance(b.seed, int | np.integer) or b.seed < 0:
        raise InputError(f"{where}: the seed is {b.seed!r}; give a whole number from 0")


def check_clamps(c: Clamps, cells: Population) -> None:
    """See that the currents go into cells that are there, in spans of time that can be.

    Args:
        c: to check.
        cells: its population.

    Raises:
        InputError: they do not.
    """
    where, many = f"clamps of {c.population}", _length(c.node)
    _ends(where, cells, "node", c.node, c.compartment, many)
    for name, array in (("start_ms", c.start_ms), ("stop_ms", c.stop_ms), ("current_nA", c.current_nA)):
        _column(where, name, array, REAL, many)
        if not np.isfinite(array).all():
            raise InputError(f"{where}: `{name}` of clamp {np.flatnonzero(~np.isfinite(array))[0]} is not finite")
    late = np.flatnonzero(c.stop_ms < c.start_ms)
    if len(late):
        k = late[0]
        raise InputError(
            f"{where}: clamp {k} stops at {c.stop_ms[k]:g} ms, before it starts at {c.start_ms[k]:g} ms; correct it"
        )


def check_settings(settings: Settings, sample_ms: float = 1.0) -> None:
    """See that a run can be like this.

    Args:
        settings: of the run.
        sample_ms: how often potentials and fields are sampled [ms].

    Raises:
        InputError: it cannot.
    """
    for name, value in (("duration", settings.duration_ms), ("interval of samples", sample_ms)):
        if not isinstance(value, int | float | np.number) or not 0.0 < value < np.inf:
            raise InputError(f"the {name} of a run is {value!r} ms; it must be finite and above 0")
    if not np.isfinite(settings.threshold_mV):
        raise InputError(f"the threshold of output spikes is {settings.threshold_mV!r} mV; it must be finite")
    if settings.threads < 1 or settings.seed < 0:
        raise InputError(f"{settings.threads} threads, seed {settings.seed}; there is one thread or more, and no seed "
                         "below 0")  # fmt: skip
    device_of(settings.device)


def _name(kind: str, name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or "/" in name or name in (".", ".."):
        raise InputError(f"{kind}: {name!r} is no name; a name is a word without a slash, as files have it")
    return f"{kind} {name}"


def _known(where: str, name: str, parts: dict[str, Any]) -> Any:
    if name not in parts:
        there = ", ".join(parts) or "none"
        raise InputError(f"{where}: there is no population {name!r} that this could be; there are {there}")
    return parts[name]


def _length(array: Any) -> int:
    return len(array) if isinstance(array, np.ndarray) and array.ndim == 1 else 0


def _column(where: str, name: str, array: Any, kinds: str, many: int) -> None:
    """Refuse what is no array (many,) of the kind."""
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds:
        numbers = "whole" if kinds == WHOLE else "real"
        raise InputError(f"{where}: `{name}` must be an array ({many},) of {numbers} numbers")
    if len(array) != many:
        raise InputError(f"{where}: there are {len(array)} values of `{name}` for {many}; give one for each")


def _inside(where: str, name: str, array: NDArray[Any], count: int, what: str) -> None:
    outside = (array < 0) | (array >= count)
    if outside.any():
        last = f"0 to {count - 1}" if count else "none"
        raise InputError(f"{where}: `{name}` has {array[outside][0]}, the {what} are {last}; correct it")


def _not_negative(where: str, name: str, array: NDArray[Any], why: str) -> None:
    wrong = ~((array >= 0.0) & np.isfinite(array))
    if wrong.any():
        k = np.flatnonzero(wrong)[0]
        raise InputError(f"{where}: `{name}` is {array[k]:g} at {k}; it must be finite and 0 or more ({why})")


def _ends(where: str, cells: Population, name: str, node: Any, compartment: Any, many: int) -> None:
    _column(where, name, node, WHOLE, many)
    _inside(where, name, node, len(cells), f"nodes of {cells.name}")
    _column(where, "compartment", compartment, WHOLE, many)
    n = np.array([twin.tree.n for twin in cells.twins])[cells.model[node]]
    beyond = np.flatnonzero((compartment < 0) | (compartment >= n))
    if len(beyond):
        k = beyond[0]
        raise InputError(
            f"{where}: compartment {compartment[k]} of node {node[k]} is not there; the cell has compartments 0 to "
            f"{n[k] - 1}"
        )


def _synapses(where: str, kinds: Sequence[Synapse], kind: Any, many: int) -> None:
    _column(where, "synapse", kind, WHOLE, many)
    _inside(where, "synapse", kind, len(kinds), "kinds of synapse")
    for synapse in kinds:
        if not isinstance(synapse, Synapse) or not synapse.conductances:
            raise InputError(f"{where}: {synapse!r} is no synapse; give a `Synapse` with one conductance or more")
        for g in synapse.conductances:
            if not (0.0 <= g.rise_ms < g.decay_ms < np.inf and 0.0 <= g.g_max_uS < np.inf and np.isfinite(g.e_mV)):
                raise InputError(
                    f"{where}: the synapse {synapse.name} must have 0 <= rise < decay ms, a conductance of 0 or more "
                    f"uS and a finite reversal potential, not {g!r}"
                )


def _weights(where: str, weight: Any, many: int) -> None:
    _column(where, "weight", weight, REAL, many)
    _not_negative(
        where, "weight", weight, "a weight multiplies a conductance; inhibition is a kind of synapse with a reversal "
        "potential of its own",
    )  # fmt: skip


def _first(values: NDArray[Any], most: float) -> float:
    return float(values[~((values >= 0.0) & (values <= most))][0])


def signs_of(circuit: Description) -> dict[str, NDArray[np.bool_]]:
    """What the nodes of each population, or of trains, do to the cells that they are connected to.

    Args:
        circuit: the description.

    Returns:
        (2, N) by name: whether a node inhibits some cell, and whether it excites one.
    """
    parts: list[Population | SpikeTrains] = [*circuit.populations, *circuit.trains]
    signs = {part.name: np.zeros((2, len(part)), bool) for part in parts}
    for p in circuit.projections:
        excites = np.array([kind.excitatory for kind in p.synapses], bool)[p.synapse]
        for sign in (0, 1):
            signs[p.source][sign, p.source_node[(excites == bool(sign)) & (p.weight > 0.0)]] = True
    return signs


def warn_of_both_signs(signs: Mapping[str, NDArray[np.bool_]]) -> None:
    """Warn of nodes that do not follow Dale's principle, that a cell has one transmitter.

    Args:
        signs: (2, N) see `signs_of`.

    Warns:
        InputWarning: a node excites some cells and inhibits others.
    """
    for name, (inhibits, excites) in signs.items():
        both = np.flatnonzero(inhibits & excites)
        if len(both):
            warnings.warn(
                f"node {both[0]} of {name} excites some cells and inhibits others, and {len(both) - 1} more nodes do; "
                "a neuron has one transmitter (Dale's principle): see that the synapses are those you mean",
                InputWarning,
                stacklevel=3,
            )
