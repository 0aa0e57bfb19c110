"""Who is connected to whom, and where on the target: rules of chance, and connections given one by one.

The random numbers of a target cell are its own: they follow from the circuit's seed, the number of the projection and
the number of the cell, so that what is drawn for a cell depends neither on other cells nor on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dendrotwin.cell.tree import APICAL, REGIONS, Floats, Ints, Tree
from dendrotwin.errors import InputError

Indices = NDArray[np.int64]
Drawn = float | Callable[[np.random.Generator, Floats], ArrayLike] | ArrayLike
"""A number for all; or a function of (random, distance_um): the generator to draw from and (k,) the distances of the
somas of k connections [um], which gives (k,) values; or, of connections that are `Given`, (K,) a number for each.

`lambda random, um: 0.5 + um / 300.0` is a delay [ms] with a velocity of 300 um/ms;
`lambda random, um: random.lognormal(0.0, 0.3, len(um))` are weights."""
NAMED = {"dendrites": ("basal", *APICAL), "apical": APICAL, "all": REGIONS}


@dataclass(frozen=True)
class Probability:
    """Each pair of cells is connected with a probability.

    Attributes:
        of: the probability; or a function that gives it, (sources,), from the distances of somas, (sources,) [um].
        synapses: of each connected pair.
        autapses: whether a cell may be connected to itself.
    """

    of: float | Callable[[Floats], ArrayLike]
    synapses: int = 1
    autapses: bool = False

    def sources(self, random: np.random.Generator, distance_um: Floats, target: int, same: bool) -> Indices:
        """The sources of one target.

        Args:
            random: of the target.
            distance_um: (sources,) from it [um].
            target: its number.
            same: whether it is the source of that number, too.

        Returns:
            (k,) rising.

        Raises:
            InputError: a probability is not within 0 and 1.
        """
        chance = np.asarray(self.of(distance_um) if callable(self.of) else self.of)
        is_one = chance.dtype.kind in "iuf" and chance.shape in ((), distance_um.shape)
        if not is_one or not ((chance >= 0.0) & (chance <= 1.0)).all():
            raise InputError("a probability is a number from 0 to 1, or a function that gives one for each distance")
        connected = random.random(len(distance_um)) < chance
        if same and not self.autapses:
            connected[target] = False
        return np.flatnonzero(connected)


@dataclass(frozen=True)
class InDegree:
    """Each target has the same number of sources, drawn without repetition.

    Attributes:
        of: how many.
        synapses: of each connected pair.
        autapses: whether a cell may be connected to itself.
    """

    of: int
    synapses: int = 1
    autapses: bool = False

    def sources(self, random: np.random.Generator, distance_um: Floats, target: int, same: bool) -> Indices:
        """See `Probability.sources`.

        Raises:
            InputError: there are fewer sources.
        """
        but_itself = same and not self.autapses
        there = len(distance_um) - but_itself
        if not isinstance(self.of, int | np.integer) or not 0 <= self.of <= there:
            raise InputError(f"an in-degree of {self.of!r} of {there} sources; give a whole number from 0 to {there}")
        found = random.choice(there, self.of, replace=False, shuffle=False)
        return np.sort(found + (but_itself & (found >= target)))


@dataclass(frozen=True, eq=False)
class Given:
    """Connections one by one, K of them; their weights and delays can be arrays (K,), too.

    Attributes:
        source, target: (K,) nodes, counted in their populations.
        compartment: (K,) of the target where each ends; None to draw it.
        input: (K,) of the target's twin, in place of a compartment and a kind of synapse: the connection has the
            compartment, the kind and, as a factor, the weight of that input.
    """

    source: ArrayLike
    target: ArrayLike
    compartment: ArrayLike | None = None
    input: ArrayLike | None = None


Rule = Probability | InDegree | Given


@dataclass(frozen=True, eq=False)
class Listed:
    """The rule that makes connections that are given.

    Attributes:
        source: (K,) of each.
        order: (K,) connections by target.
        first: (targets + 1,) where in this order those of each target begin, and where those of the last one end.
        synapses: of each: 1.
    """

    source: Indices
    order: Indices
    first: Indices
    synapses: ClassVar[int] = 1

    def rows(self, target: int) -> Indices:
        """(k,) the connections of a target.

        Args:
            target: its number.
        """
        return self.order[self.first[target] : self.first[target + 1]]

    def sources(self, random: np.random.Generator, distance_um: Floats, target: int, same: bool) -> Indices:
        """See `Probability.sources`."""
        return self.source[self.rows(target)]


@dataclass(frozen=True)
class Where:
    """Which compartments, and how likely each is.

    Attributes:
        regions: soma, basal, oblique, trunk, tuft, axon; or dendrites, apical, all.
        distance_um: from and to, along the tree from the middle of the soma [um].
        by: "area" or "length" of a compartment, to which its chance is proportional.
    """

    regions: str | Sequence[str] = "dendrites"
    distance_um: tuple[float, float] = (0.0, np.inf)
    by: str = "area"

    def chances(self, tree: Tree) -> Floats:
        """(n,) of the compartments of a cell.

        Args:
            tree: the cell.

        Raises:
            InputError: there is no such region, or `by` is neither area nor length.
        """
        names = [self.regions] if isinstance(self.regions, str) else list(self.regions)
        for name in names:
            if name not in (*REGIONS, *NAMED):
                raise InputError(f"there is no region {name!r}; choose of {', '.join((*REGIONS, *NAMED))}")
        if self.by not in ("area", "length"):
            raise InputError(f"compartments are drawn by area or length, not {self.by!r}")
        inside = tree.in_region(*(region for name in names for region in NAMED.get(name, (name,))))
        low, high = self.distance_um
        inside &= (tree.distance_um >= low) & (tree.distance_um <= high)
        return np.asarray(np.where(inside, tree.area_um2 if self.by == "area" else tree.length_um, 0.0))


Place = str | Where | NDArray[Any]
"""A region; or a `Where`; or of the compartments of a twin a mask (n,), numbers (k,), or chances (n,)."""


def chances(place: Place, tree: Tree) -> Floats:
    """How likely each compartment of a cell is, as running sums from 0 to 1.

    Args:
        place: which are meant; of an array of numbers or a mask all are as likely.
        tree: the cell.

    Returns:
        (n,) the last one is 1.

    Raises:
        InputError: there are no such compartments.
    """
    if isinstance(place, str):
        place = Where(place)
    if isinstance(place, Where):
        found, said = place.chances(tree), str(place)
    else:
        array = np.asarray(place)
        found, said = np.zeros(tree.n), f"an array of {array.dtype}, {array.shape}"
        if array.dtype.kind in "iu" and array.ndim == 1 and ((array >= 0) & (array < tree.n)).all():
            found[array] = 1.0
        elif array.dtype.kind in "bf" and array.shape == (tree.n,) and (array >= 0).all():
            found += array
    total = found.sum()
    if not 0.0 < total < np.inf:
        raise InputError(
            f"no compartment of the target is where the connections end ({said}); it has {tree.n} compartments: give a "
            "region that it has, a mask, numbers or chances of its compartments"
        )
    sums: Floats = np.cumsum(found) / total
    sums[np.flatnonzero(found)[-1] :] = 1.0
    return sums


def drawn(what: str, value: Drawn, random: np.random.Generator, distance_um: Floats) -> Floats:
    """(k,) values of the connections of a target.

    Args:
        what: they are, for errors.
        value: see `Drawn`.
        random: of the target.
        distance_um: (k,) of the somas [um].

    Raises:
        InputError: the function gave anything else than k numbers.
    """
    try:
        found = np.asarray(value(random, distance_um) if callable(value) else value, np.float64)
        return np.array(np.broadcast_to(found, distance_um.shape))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the {what} is no number and no function of (random, distance_um) that gives one number for each distance"
        ) from error


class Connected(NamedTuple):
    """Connections, K of them, by target.

    Attributes:
        source, target: (K,) nodes, counted in their populations.
        compartment: (K,) of the target.
        weight: (K,) factor on conductances.
        delay_ms: (K,) [ms].
        row: (K,) which of the connections that are given it is; empty where they are drawn.
    """

    source: Indices
    target: Indices
    compartment: Indices
    weight: Floats
    delay_ms: Floats
    row: Indices


@dataclass(frozen=True, eq=False)
class Draw:
    """What the connections of a projection are drawn from.

    Attributes:
        seed: (seed of the circuit, number of the projection).
        rule: who is connected to whom.
        source_um: (sources, 3) somas [um]; NaN where nodes have no place.
        target_um: (targets, 3) somas [um].
        same: whether sources and targets are the same cells.
        compartments: (n,) of each model of the targets, see `chances`.
        model: (targets,) of each target.
        weight, delay_ms: see `Drawn` [ms].
    """

    seed: tuple[int, int]
    rule: Probability | InDegree | Listed
    source_um: Floats
    target_um: Floats
    same: bool
    compartments: Sequence[Floats]
    model: Ints
    weight: Drawn
    delay_ms: Drawn

    def of(self, targets: Iterable[int]) -> Connected:
        """The connections of some targets, whatever the others are.

        Args:
            targets: their numbers.

        Raises:
            InputError: rule, weight or delay give what they must not.
        """
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        found = [Connected(whole, whole, whole, real, real, whole)]
        x, y, z = np.ascontiguousarray(self.source_um.T)
        for target in targets:
            random = np.random.default_rng((*self.seed, target))
            dx, dy, dz = (axis - at for axis, at in zip((x, y, z), self.target_um[target], strict=True))
            distance_um = np.sqrt(dx * dx + dy * dy + dz * dz)
            source = np.repeat(self.rule.sources(random, distance_um, target, self.same), self.rule.synapses)
            between_um = distance_um[source]
            compartment = self.compartments[self.model[target]].searchsorted(random.random(len(source)), side="right")
            weight = drawn("weight", self.weight, random, between_um)
            delay_ms = drawn("delay", self.delay_ms, random, between_um)
            row = self.rule.rows(target) if isinstance(self.rule, Listed) else whole
            found.append(Connected(source, np.full(len(source), target), compartment, weight, delay_ms, row))
        return Connected(*(np.concatenate(column) for column in zip(*found, strict=True)))
