"""From a rule to the arrays of a projection."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dendrotwin.cell.synapse import Synapse
from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.description import Population, Projection, SpikeTrains
from dendrotwin.circuit.rules import Draw, Drawn, Given, InDegree, Listed, Place, Probability, Rule, chances
from dendrotwin.errors import InputError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TsodyksMarkram:
    """Short-term plasticity (Tsodyks, Uziel and Markram 2000, doi:10.1523/JNEUROSCI.20-01-j0003.2000).

    Of a connection's resources x are ready, y are active and z recover, x + y + z = 1. A spike raises u to
    u + U (1 - u); after that u x go from x to y, and the event has u x times the connection's weight. Between spikes

        dy/dt = -y / inactivation,    dz/dt = y / inactivation - z / depression,    du/dt = -u / facilitation.

    At 0 ms all is ready. With inactivation = 0, what was used recovers at once: Tsodyks, Pawelzik and Markram 1998
    (doi:10.1162/089976698300017502). NEURON's `tmgsyn`, of which inactivation is the time constant of the conductance
    too, is that of 2000.

    Attributes:
        utilisation: U, 0..1; the share that a first spike uses where u starts at 0.
        depression_ms, facilitation_ms, inactivation_ms: time constants [ms]; 0 for at once.
        u0: u at 0 ms, 0..1; without facilitation it has no effect, since u is 0 at once.

    Raises:
        InputError: one of them is no number, or not in its range.
    """

    utilisation: float
    depression_ms: float = 0.0
    facilitation_ms: float = 0.0
    inactivation_ms: float = 0.0
    u0: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            high = np.inf if name.endswith("_ms") else 1.0
            real = isinstance(value, Real) and not isinstance(value, bool)
            if not real or not 0.0 <= float(value) <= high or not np.isfinite(float(value)):
                raise InputError(
                    f"{name} of short-term plasticity is {value!r}; give "
                    + ("a time [ms], 0 for at once" if high > 1.0 else "a share from 0 to 1")
                )

    def parameters(self) -> Floats:
        """(5,) its attributes, in their order."""
        return np.array(astuple(self), np.float64)


@dataclass(frozen=True, eq=False)
class Link:
    """What a projection is made of; see `Circuit.connect`.

    Attributes:
        rule, synapse, where, weight, plasticity: see there.
        delay_ms: see there [ms].
    """

    rule: Rule
    synapse: str | Synapse | None
    where: Place | None
    weight: Drawn
    delay_ms: Drawn
    plasticity: TsodyksMarkram | None

    def __post_init__(self) -> None:
        if not isinstance(self.plasticity, TsodyksMarkram | None):
            raise InputError(f"the plasticity is {self.plasticity!r}; give a TsodyksMarkram(...), or None for none")

    def projection(
        self, origin: Population | SpikeTrains, cells: Population, seed: tuple[int, int], targets: Indices
    ) -> Projection:
        """Draw those that end in some cells, whatever the others are.

        Args:
            origin: its sources.
            cells: its targets.
            seed: (seed of the circuit, number of the projection).
            targets: (k,) which of `cells`, rising.

        Returns:
            The projection, not checked, by target.

        Raises:
            InputError: rule, synapse, place or values do not fit the populations.
        """
        draw = self.draw(origin, cells, seed)
        found = draw.of(targets.tolist())
        compartment, model = found.compartment, cells.model[found.target]
        kind, factor = model.astype(np.int64), np.ones(len(model))
        if isinstance(self.rule, Given) and self.rule.input is not None:
            input = self._given("input", self.rule.input, found.row)
            compartment, kinds, kind, factor = _at_inputs(input, cells, model)
        else:
            kinds = kinds_of(self.synapse, cells)
            if isinstance(self.rule, Given) and self.rule.compartment is not None:
                compartment = self._given("compartment", self.rule.compartment, found.row)
        weight, delay_ms = (
            drawn if _one_for_all(value) else self._given(name, value, found.row)
            for name, drawn, value in (
                ("weight", found.weight, self.weight), ("delay_ms", found.delay_ms, self.delay_ms),
            )
        )  # fmt: skip
        plasticity = None if self.plasticity is None else np.tile(self.plasticity.parameters(), (len(model), 1))
        return Projection(
            origin.name, cells.name, found.source, found.target, compartment.astype(np.int32), kinds,
            kind.astype(np.int32), weight * factor, delay_ms, plasticity,
        )  # fmt: skip

    def draw(self, origin: Population | SpikeTrains, cells: Population, seed: tuple[int, int]) -> Draw:
        """What the connections are drawn from.

        Args:
            origin, cells, seed: see `projection`.

        Raises:
            InputError: see `projection`.
        """
        rule, where = self.rule, self.where
        listed: Probability | InDegree | Listed
        if not isinstance(rule, Probability | InDegree | Given):
            raise InputError(f"the rule is {rule!r}; give a Probability(...), an InDegree(...) or a Given(...)")
        if isinstance(rule, Given):
            if (rule.compartment is not None or rule.input is not None) and where is not None:
                raise InputError("the compartments are given, and so is `where`; leave one away")
            if rule.input is not None and (self.synapse is not None or rule.compartment is not None):
                raise InputError("an input of the twin has a compartment and a synapse; leave these away")
            where = where if rule.compartment is None and rule.input is None else "all"
            listed = _listed(rule, len(origin), len(cells))
        else:
            if not isinstance(rule.synapses, int | np.integer) or rule.synapses < 1:
                raise InputError(f"{rule.synapses!r} synapses of each connected pair; give 1 or more")
            listed = rule
            if not (_one_for_all(self.weight) and _one_for_all(self.delay_ms)):
                raise InputError("a weight or delay for each connection needs connections that are given, `Given(...)`")
        placed = isinstance(origin, Population)
        if not placed and isinstance(listed, Probability) and callable(listed.of):
            raise InputError(f"{origin.name} are trains, which have no place; give a probability without a distance")
        return Draw(
            seed, listed, origin.position_um if isinstance(origin, Population) else np.full((len(origin), 3), np.nan),
            cells.position_um, origin is cells,
            [chances("dendrites" if where is None else where, twin.tree) for twin in cells.twins], cells.model,
            *(value if _one_for_all(value) else 0.0 for value in (self.weight, self.delay_ms)),
        )  # fmt: skip

    def _given(self, name: str, values: Any, row: Indices) -> NDArray[Any]:
        """(k,) of what is given for each connection, at some rows."""
        assert isinstance(self.rule, Given)
        many, real = np.size(self.rule.source), name in ("weight", "delay_ms")
        return (_each if real else whole)(name, values, many)[row]


def whole(name: str, values: ArrayLike, count: int | None = None) -> Indices:
    """(k,) whole numbers.

    Args:
        name: what they are.
        values: (k,) from a user.
        count: k, where it is known.

    Raises:
        InputError: they are none, or not as many.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iu" and array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1 or count not in (None, len(array)):
        length = "k" if count is None else str(count)
        raise InputError(f"`{name}` has shape {array.shape} of {array.dtype}; give ({length},) whole numbers")
    return array.astype(np.int64)


def kinds_of(synapse: str | Synapse | None, cells: Population) -> tuple[Synapse, ...]:
    """A kind of synapse for each twin of a population.

    Args:
        synapse: the kind, or a name by which the twins know it.
        cells: the population.

    Raises:
        InputError: a twin has none of that name.
    """
    if isinstance(synapse, Synapse):
        return (synapse,) * len(cells.twins)
    found = []
    for twin in cells.twins:
        named = [kind for kind in twin.tree.synapses if kind.name == synapse]
        if len(named) != 1:
            names = ", ".join(repr(kind.name) for kind in twin.tree.synapses) or "none"
            raise InputError(f"a twin of {cells.name} has no one synapse called {synapse!r}; it has {names}: give one "
                             "of these or a `Synapse`")  # fmt: skip
        found += named
    return tuple(found)


def _one_for_all(value: Drawn) -> bool:
    return callable(value) or np.ndim(value) == 0


def _each(name: str, value: Any, count: int) -> Floats:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.shape != (count,):
        raise InputError(f"`{name}` has shape {array.shape} of {array.dtype}; give ({count},) numbers")
    return array.astype(np.float64)


def _listed(rule: Given, sources: int, targets: int) -> Listed:
    """The connections by target."""
    source = whole("source", rule.source)
    target = whole("target", rule.target, len(source))
    for name, nodes, count in (("source", source, sources), ("target", target, targets)):
        outside = nodes[(nodes < 0) | (nodes >= count)]
        if len(outside):
            raise InputError(f"{name} {outside[0]} is not there; nodes are 0 to {count - 1}")
    order = np.argsort(target, kind="stable")
    first = np.searchsorted(target[order], np.arange(targets + 1))
    return Listed(source, order, first.astype(np.int64))


def _at_inputs(
    input: Indices, cells: Population, model: NDArray[np.integer[Any]]
) -> tuple[Indices, tuple[Synapse, ...], Indices, Floats]:
    """Compartment, kinds, kind and factor of the twins' inputs."""
    compartment, kind, factor = np.zeros_like(input), np.zeros_like(input), np.ones(len(input))
    kinds: list[Synapse] = []
    for k, twin in enumerate(cells.twins):
        tree, here = twin.tree, np.flatnonzero(model == k)
        outside = input[here][(input[here] < 0) | (input[here] >= tree.n_inputs)]
        if len(outside):
            raise InputError(f"input {outside[0]} is not there; the twin has inputs 0 to {tree.n_inputs - 1}")
        compartment[here] = tree.input_compartment[input[here]]
        kind[here] = len(kinds) + tree.input_synapse[input[here]]
        factor[here] = tree.input_weight[input[here]]
        kinds += tree.synapses
    return compartment, tuple(kinds), kind, factor
