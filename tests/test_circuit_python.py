"""Circuits in Python: what is drawn follows its rule, for each cell alone; and a run gives its figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dendrotwin import plot, signals
from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cells import EXCITATORY
from dendrotwin.circuit import (
    Circuit,
    Column,
    Field,
    Given,
    InDegree,
    Potentials,
    Probability,
    TsodyksMarkram,
    Where,
    figures,
    summary,
)  # fmt: skip
from dendrotwin.circuit.description import Projection
from dendrotwin.circuit.places import placed_trees
from dendrotwin.circuit.project import Link
from dendrotwin.circuit.rules import chances
from dendrotwin.errors import InputError
from dendrotwin.signals.placing import soma_centre, upright
from dendrotwin.twin import Twin

COLUMN = Column(radius_um=100.0, z_um=(-200.0, 300.0))
STRONG = Synapse("strong", True, (Conductance(rise_ms=0.2, decay_ms=3.0, g_max_uS=0.1, e_mV=0.0),))


@pytest.fixture(scope="module")
def twin(ball_and_stick: Twin) -> Twin:
    return ball_and_stick


def circuit_of(twin: Twin, seed: int = 1, e: int = 60, i: int = 20) -> Circuit:
    circuit = Circuit(seed)
    circuit.add("e", twin, e, COLUMN)
    circuit.add("i", twin, i, COLUMN)
    circuit.trains("input", [0, 2], [5.0, 7.0], count=3)
    return circuit


def connected(circuit: Circuit, *given: Any, **options: Any) -> Projection:
    circuit.connect(*given, **options)
    return circuit.description.projections[-1]


def alike(one: Projection, other: Projection) -> bool:
    return all(
        np.array_equal(getattr(one, f.name), getattr(other, f.name))
        for f in dataclasses.fields(Projection) if isinstance(getattr(one, f.name), np.ndarray)
    )  # fmt: skip


def test_probability(twin: Twin) -> None:
    p = connected(circuit_of(twin, e=200), "e", "i", Probability(0.3), "excitatory")
    assert len(p) == pytest.approx(0.3 * 200 * 20, abs=4 * np.sqrt(0.3 * 0.7 * 4000))
    assert len(np.unique(p.source_node * 20 + p.target_node)) == len(p)
    own = connected(circuit_of(twin), "e", "e", Probability(1.0), "excitatory")
    assert len(own) == 60 * 59
    assert not (own.source_node == own.target_node).any()
    with_itself = connected(circuit_of(twin), "e", "e", Probability(1.0, synapses=3, autapses=True), "excitatory")
    assert len(with_itself) == 3 * 60 * 60
    # Cells of the same number of another population are other cells.
    assert len(connected(circuit_of(twin), "e", "i", Probability(1.0), "excitatory")) == 60 * 20


def test_probability_falls_with_distance(twin: Twin) -> None:
    circuit = circuit_of(twin, e=150)
    p = connected(circuit, "e", "e", Probability(lambda um: np.where(um < 120.0, 1.0, 0.0)), "excitatory")
    cells = circuit.description.populations[0]
    distance = np.linalg.norm(cells.position_um[:, None] - cells.position_um[None], axis=2)
    expected = np.argwhere((distance.T < 120.0) & ~np.eye(150, dtype=bool))
    assert sorted(zip(p.target_node, p.source_node, strict=True)) == sorted(map(tuple, expected))


def test_in_degree(twin: Twin) -> None:
    p = connected(circuit_of(twin), "e", "e", InDegree(7, synapses=2), "excitatory")
    assert (np.bincount(p.target_node, minlength=60) == 14).all()
    assert not (p.source_node == p.target_node).any()
    pairs, many = np.unique(p.source_node * 60 + p.target_node, return_counts=True)
    assert len(pairs) == 60 * 7
    assert (many == 2).all()
    # Every other cell is as likely: of 60 x 7 drawn from 59.
    assert stats.chisquare(np.bincount(p.source_node, minlength=60) / 2).pvalue > 1e-3
    everyone = connected(circuit_of(twin), "e", "e", InDegree(59), "excitatory")
    assert (np.bincount(everyone.source_node) == 59).all()


def test_what_is_drawn_for_a_cell_depends_on_no_other(twin: Twin) -> None:
    """A process may draw those of its own cells alone."""
    circuit = circuit_of(twin)
    e, i = circuit.description.populations
    link = Link(
        Probability(lambda um: np.exp(-um / 200.0)), "excitatory", None,
        lambda random, um: random.lognormal(0, 1, len(um)), lambda random, um: 0.5 + um / 300.0, None,
    )  # fmt: skip
    draw = link.draw(e, i, (1, 5))
    whole = draw.of(range(20))
    parts = [draw.of(range(rank, 20, 3)) for rank in range(3)]
    for column, name in enumerate(whole._fields[:-1]):  # the rows are those of connections that are given
        joined = np.concatenate([part[column] for part in parts])
        order = np.argsort(np.concatenate([part.target for part in parts]), kind="stable")
        assert np.array_equal(whole[column], joined[order]), name
    distance = np.linalg.norm(e.position_um[whole.source] - i.position_um[whole.target], axis=1)
    np.testing.assert_allclose(whole.delay_ms, 0.5 + distance / 300.0)


def test_seeds(twin: Twin) -> None:
    rule = InDegree(5)
    one, again, other = (connected(circuit_of(twin, seed), "e", "i", rule, "excitatory") for seed in (1, 1, 2))
    assert alike(one, again)
    assert not alike(one, other)
    circuit = circuit_of(twin)
    first, second = (connected(circuit, "e", "i", rule, "excitatory") for _ in range(2))
    assert not alike(first, second)
    places = [circuit_of(twin, seed).description.populations[0].position_um for seed in (1, 1, 2)]
    assert np.array_equal(places[0], places[1])
    assert not np.array_equal(places[0], places[2])


@pytest.mark.parametrize(
    ("where", "inside"),
    [
        (None, lambda tree: tree.dendrites),
        ("soma", lambda tree: tree.in_region("soma")),
        ("apical", lambda tree: tree.in_region("oblique", "trunk", "tuft")),
        (Where(("basal", "tuft"), by="length"), lambda tree: tree.in_region("basal", "tuft")),
        (Where("all", distance_um=(100.0, 200.0)), lambda tree: np.abs(tree.distance_um - 150.0) <= 50.0),
        (np.array([3, 5]), lambda tree: np.isin(np.arange(tree.n), [3, 5])),
        (np.arange(37) > 30, lambda tree: np.arange(tree.n) > 30),
        (np.eye(37)[4] * 0.1, lambda tree: np.arange(tree.n) == 4),
    ],
)
def test_where_connections_end(twin: Twin, where: Any, inside: Any) -> None:
    circuit = circuit_of(twin)
    p = connected(circuit, "e", "i", Probability(1.0, synapses=3), "excitatory", where=where)
    assert set(p.compartment) == set(np.flatnonzero(inside(twin.tree)))
    circuit.poisson("i", 1.0, "inhibitory", places=300, where=where)
    (background,) = circuit.description.backgrounds
    assert set(background.compartment) == set(np.flatnonzero(inside(twin.tree)))
    assert (np.bincount(background.node) == 300).all()


@pytest.mark.parametrize("by", ["area", "length"])
def test_places_are_as_likely_as_they_are_large(twin: Twin, by: str) -> None:
    tree = dataclasses.replace(twin.tree, area_um2=twin.tree.area_um2 * np.linspace(1.0, 4.0, 37))
    size = np.where(tree.dendrites, tree.area_um2 if by == "area" else tree.length_um, 0.0)
    np.testing.assert_allclose(np.diff(chances(Where(by=by), tree), prepend=0.0), size / size.sum(), atol=1e-12)
    drawn = chances(Where(by=by), tree).searchsorted(np.random.default_rng(0).random(20000), side="right")
    seen = np.bincount(drawn, minlength=37)
    assert stats.chisquare(seen[size > 0], 20000 * size[size > 0] / size.sum()).pvalue > 1e-3
    assert chances("soma", tree).searchsorted(np.nextafter(1.0, 0.0), side="right") == tree.soma


def test_given_connections_keep_their_values(twin: Twin) -> None:
    random, many = np.random.default_rng(0), 40
    source, target, compartment = (
        random.integers(0, 60, many),
        random.integers(0, 20, many),
        random.integers(0, 37, many),
    )
    weight, delay = random.random(many), 1.0 + random.random(many)
    circuit = circuit_of(twin)
    p = connected(circuit, "e", "i", Given(source, target, compartment), STRONG, weight=weight, delay_ms=delay)
    columns = (p.source_node, p.target_node, p.compartment, p.weight, p.delay_ms)
    assert sorted(zip(*columns, strict=True)) == sorted(zip(source, target, compartment, weight, delay, strict=True))
    assert p.synapses[p.synapse[0]] == STRONG
    drawn = connected(circuit, "input", "i", Given([0, 1, 2], [19, 0, 19]), "inhibitory", where="soma", delay_ms=0.0)
    assert drawn.source_node.tolist() == [1, 0, 2]
    assert (drawn.compartment == twin.tree.soma).all()
    assert len(connected(circuit, "e", "i", Given([], []), STRONG)) == 0


def test_inputs_of_the_twin(twin: Twin) -> None:
    tree = dataclasses.replace(twin.tree, input_weight=np.linspace(1.0, 2.0, 70), synapses=(STRONG, EXCITATORY))
    weighted = dataclasses.replace(twin, tree=tree)
    circuit = Circuit()
    circuit.add("cells", [twin, weighted], 2)
    p = connected(circuit, "cells", "cells", Given([0, 1, 0], [1, 0, 1], input=[69, 3, 40]), weight=[3.0, 1.0, 1.0])
    assert p.target_node.tolist() == [0, 1, 1]
    input = np.array([3, 69, 40])
    assert np.array_equal(p.compartment, twin.tree.input_compartment[input])
    trees, kind = (twin.tree, tree, tree), twin.tree.input_synapse[input]
    assert [p.synapses[k] for k in p.synapse] == [one.synapses[k] for one, k in zip(trees, kind, strict=True)]
    np.testing.assert_allclose(p.weight, [1.0, 3.0 * 2.0, tree.input_weight[40]])


def test_populations_of_several_twins_take_them_in_turn(twin: Twin) -> None:
    other = dataclasses.replace(twin, tree=dataclasses.replace(twin.tree, synapses=(STRONG, EXCITATORY)))
    circuit = Circuit()
    circuit.add("cells", (twin, other), 5, np.arange(15.0).reshape(5, 3), turn="as built")
    (cells,) = circuit.description.populations
    assert cells.model.tolist() == [0, 1, 0, 1, 0]
    assert np.array_equal(cells.rotation, np.tile(np.eye(3), (5, 1, 1)))
    with pytest.raises(InputError, match="no one synapse called 'inhibitory'; it has 'strong', 'excitatory'"):
        circuit.connect("cells", "cells", Probability(1.0), "inhibitory")


def test_cells_are_upright_at_their_places(twin: Twin) -> None:
    circuit = circuit_of(twin)
    cells = circuit.description.populations[0]
    z, radius = cells.position_um[:, 2], np.linalg.norm(cells.position_um[:, :2], axis=1)
    assert ((z >= -200.0) & (z <= 300.0) & (radius <= 100.0)).all()
    # Evenly in the volume: z and the square of the radius are uniform.
    assert stats.kstest(z, "uniform", (-200.0, 500.0)).pvalue > 1e-3
    assert stats.kstest(radius**2, "uniform", (0.0, 1e4)).pvalue > 1e-3
    heights = upright(twin.tree).ends_um[..., 2]
    directions = []
    for node, tree in enumerate(placed_trees(cells)):
        np.testing.assert_allclose(soma_centre(tree), cells.position_um[node], atol=1e-9)
        np.testing.assert_allclose(tree.ends_um[..., 2] - z[node], heights, atol=1e-9)
        directions.append(tree.ends_um[1, 1, :2] - tree.ends_um[1, 0, :2])
    angles = np.arctan2(*np.array(directions).T)
    assert stats.kstest((angles + np.pi) / (2 * np.pi), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("utilisation", 1.5, "a share from 0 to 1"),
        ("u0", -0.1, "a share from 0 to 1"),
        ("u0", "a", "a share from 0 to 1"),
        ("u0", None, "a share from 0 to 1"),
        ("utilisation", True, "a share from 0 to 1"),
        ("depression_ms", -1.0, "a time"),
        ("facilitation_ms", np.nan, "a time"),
        ("inactivation_ms", np.inf, "a time"),
        ("inactivation_ms", "3", "a time"),
    ],
)
def test_plasticity_that_cannot_be(name: str, value: Any, fix: str) -> None:
    with pytest.raises(InputError, match=f"^{name} of short-term plasticity is {value!r}; give {fix}"):
        TsodyksMarkram(**{"utilisation": 0.5, name: value})


def test_plasticity_of_another_class_is_refused(twin: Twin) -> None:
    with pytest.raises(InputError, match=r"the plasticity is {'utilisation': 0.5}; give a TsodyksMarkram"):
        connected(circuit_of(twin), "e", "i", InDegree(2), "excitatory", plasticity={"utilisation": 0.5})


def test_plasticity_fills_its_columns(twin: Twin) -> None:
    kind = TsodyksMarkram(0.5, depression_ms=800.0, facilitation_ms=20.0, inactivation_ms=3.0, u0=0.1)
    p = connected(circuit_of(twin), "e", "i", InDegree(2), "excitatory", plasticity=kind)
    assert p.plasticity is not None
    assert np.array_equal(p.plasticity, np.tile([0.5, 800.0, 20.0, 3.0, 0.1], (40, 1)))


def test_clamps(twin: Twin) -> None:
    circuit = circuit_of(twin)
    circuit.clamp("i", [0.1, 0.2], 10.0, 20.0, nodes=[4, 2])
    circuit.clamp("e", 0.1, 10.0, 20.0, compartment=7)
    some, everyone = circuit.description.clamps
    assert some.node.tolist() == [4, 2]
    assert some.current_nA.tolist() == [0.1, 0.2]
    assert set(some.compartment) == {twin.tree.soma}
    assert len(everyone.node) == 60
    assert set(everyone.compartment) == {7}
    assert repr(circuit) == "Circuit(60 e, 20 i, 3 input; 0 synapses)"


BAD: dict[str, tuple[Any, str]] = {
    "seed": (lambda c, t: Circuit(-1), "the seed of a circuit is a whole number from 0, not -1"),
    "name taken": (lambda c, t: c.add("e", t, 3), "called 'e' already"),
    "no cells": (lambda c, t: c.add("x", t, 0), "population x: 0 nodes"),
    "no twin": (lambda c, t: c.add("x", (), 3), "population x: it has no cells; give a twin"),
    "not a twin": (lambda c, t: c.add("x", ["l5pc"], 3), "its cells are str"),
    "places": (lambda c, t: c.add("x", t, 3, np.zeros((2, 3))), r"position_um must be \(3, 3\)"),
    "place NaN": (lambda c, t: c.add("x", t, 3, (0, 0, np.nan)), "`position_um` of node 0 is not finite"),
    "turn": (lambda c, t: c.add("x", t, 3, turn="down"), "spun, upright, as built, or by matrices; not 'down'"),
    "matrix": (lambda c, t: c.add("x", t, 3, turn=2 * np.eye(3)), "the rotation of node 0 is no rotation"),
    "mirror": (lambda c, t: c.add("x", t, 3, turn=np.diag([1, 1, -1])), "not a mirror image"),
    "matrix shape": (lambda c, t: c.add("x", t, 3, turn=np.eye(4)), r"a rotation is a matrix \(3, 3\)"),
    "source": (lambda c, t: c.connect("x", "e", InDegree(1), STRONG), "x -> e: there are no population and no trains"),
    "target": (lambda c, t: c.connect("e", "input", InDegree(1), STRONG), "e -> input: there is no population of"),
    "no rule": (lambda c, t: c.connect("e", "i", 0.1, STRONG), "the rule is 0.1; give a Probability"),
    "probability of text": (lambda c, t: c.connect("e", "i", Probability("x"), STRONG), "e -> i: a probability is"),
    "name no text": (lambda c, t: c.add(["e"], t, 3), "a population is called .'e'.; a name is a text"),
    "no twin at all": (lambda c, t: c.add("x", 3, 3), "its cells are int; give a twin"),
    "half a synapse": (lambda c, t: c.connect("e", "i", InDegree(1, synapses=0.5), STRONG), "0.5 synapses of each"),
    "probability": (lambda c, t: c.connect("e", "i", Probability(1.2), STRONG), "e -> i: a probability is a number"),
    "probability NaN": (
        lambda c, t: c.connect("e", "i", Probability(lambda um: um * np.nan), STRONG), "e -> i: a probability is"),
    "probability shape": (
        lambda c, t: c.connect("e", "i", Probability(lambda um: um[:2] * 0), STRONG), "e -> i: a probability is"),
    "distance of trains": (
        lambda c, t: c.connect("input", "i", Probability(lambda um: 0 * um), STRONG), "are trains, which have no"),
    "in-degree": (lambda c, t: c.connect("i", "i", InDegree(20), STRONG), "an in-degree of 20 of 19 sources"),
    "in-degree of a half": (lambda c, t: c.connect("i", "i", InDegree(0.5), STRONG), "an in-degree of 0.5"),
    "synapses": (lambda c, t: c.connect("e", "i", InDegree(1, synapses=0), STRONG), "0 synapses of each connected"),
    "synapse": (lambda c, t: c.connect("e", "i", InDegree(1), "ampa"), "no one synapse called 'ampa'; it has 'exc"),
    "no synapse": (lambda c, t: c.connect("e", "i", InDegree(1)), "no one synapse called None"),
    "region": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, "tail"), "there is no region 'tail'; choose of"),
    "by": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, Where(by="mass")), "by area or length, not 'mass'"),
    "nowhere": (
        lambda c, t: c.connect("e", "i", InDegree(1), STRONG, Where("soma", (50, 60))), "no compartment of the target"),
    "compartments": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, np.array([37])), "it has 37 compartments"),
    "mask": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, np.ones(5, bool)), "array of bool"),
    "chances": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, -np.ones(37)), "array of float64"),
    "weight": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, weight=-1.0), "-1 at 0.*inhibition is a kind of"),
    "weight function": (
        lambda c, t: c.connect("e", "i", InDegree(2), STRONG, weight=lambda random, um: [1.0] * 3), "the weight is no"),
    "weights of no list": (
        lambda c, t: c.connect("e", "i", InDegree(1), STRONG, weight=np.ones(20)), "needs connections that are given"),
    "delay": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, delay_ms=0.001), "0.001 ms between cells is short"),
    "delay NaN": (lambda c, t: c.connect("e", "i", InDegree(1), STRONG, delay_ms=np.nan), "`delay_ms` is nan at 0"),
    "U": (
        lambda c, t: c.connect("e", "i", InDegree(1), STRONG, plasticity=TsodyksMarkram(1.5, 0.0)), "from 0 to 1"),
    "given lengths": (lambda c, t: c.connect("e", "i", Given([1, 2], [1]), STRONG), r"`target` has shape \(1,\)"),
    "given floats": (lambda c, t: c.connect("e", "i", Given([0.5], [1]), STRONG), r"shape \(1,\) of float"),
    "given source": (lambda c, t: c.connect("e", "i", Given([60], [1]), STRONG), "source 60 is not there"),
    "given target": (lambda c, t: c.connect("e", "i", Given([0], [-1]), STRONG), "target -1 is not there"),
    "given compartment": (
        lambda c, t: c.connect("e", "i", Given([0], [1], [37]), STRONG), "compartment 37 of node 1 is not there"),
    "given weights": (
        lambda c, t: c.connect("e", "i", Given([0], [1], [3]), STRONG, weight=[1.0, 2.0]), r"give \(1,\) numbers"),
    "given twice": (
        lambda c, t: c.connect("e", "i", Given([0], [1], [3]), STRONG, where="soma"), "and so is `where`; leave one"),
    "input": (lambda c, t: c.connect("e", "i", Given([0], [1], input=[70])), "input 70 is not there"),
    "input and synapse": (
        lambda c, t: c.connect("e", "i", Given([0], [1], input=[7]), STRONG), "has a compartment and a synapse"),
    "places of background": (lambda c, t: c.poisson("e", 1.0, STRONG, places=0), "background of e: 0 places"),
    "rate": (lambda c, t: c.poisson("e", -1.0, STRONG), "background of e: `rate_hz` is -1 at 0"),
    "rates": (lambda c, t: c.poisson("e", [1.0, 2.0], STRONG), r"`rate_hz` has shape \(2,\); give one number"),
    "background of trains": (lambda c, t: c.poisson("input", 1.0, STRONG), "no population of cells 'input'"),
    "train times": (lambda c, t: c.trains("x", [0], [-1.0]), "trains x: `time_ms` is -1 at 0"),
    "train nodes": (lambda c, t: c.trains("x", [3], [1.0], count=2), "trains x: `node` has 3, the nodes are 0 to 1"),
    "train table": (lambda c, t: c.trains("x", [0, 1], [1.0]), "1 values of `time_ms` for 2"),
    "clamp span": (lambda c, t: c.clamp("e", 1.0, 10.0, 5.0), "clamp 0 stops at 5 ms, before it starts at 10 ms"),
    "clamp node": (lambda c, t: c.clamp("e", 1.0, 1.0, 5.0, nodes=[60]), "`node` has 60, the nodes of e are 0 to 59"),
    "clamp compartment": (lambda c, t: c.clamp("e", 1.0, 1.0, 5.0, compartment=99), "compartment 99 of node 0"),
    "clamp currents": (lambda c, t: c.clamp("e", [1.0, 2.0], 1.0, 5.0), r"`current_nA` has shape \(2,\)"),
    "duration": (lambda c, t: c.run(np.inf), "the duration of a run is inf ms"),
    "sampling": (lambda c, t: c.run(10.0, sample_ms=0.0), "the interval of samples of a run is 0.0 ms"),
    "threads": (lambda c, t: c.run(10.0, threads=0), "0 threads"),
    "accuracy": (lambda c, t: c.run(10.0, accuracy="perfect"), "accuracy"),
    "device": (lambda c, t: c.run(10.0, device="gpu"), "no device 'gpu'; give cpu, cuda, or cuda:1"),
    "nothing": (lambda c, t: Circuit().run(10.0), "the circuit has no population of cells"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "message"), BAD.values(), ids=BAD)
def test_what_a_user_gets_wrong_is_said(twin: Twin, act: Any, message: str) -> None:
    circuit = circuit_of(twin)
    before = repr(circuit)
    with pytest.raises(InputError, match=message) as raised:
        act(circuit, twin)
    assert "\n" not in str(raised.value)
    assert repr(circuit) == before  # nothing half-built stays


def test_a_run_and_its_figures(twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot.style, "DPI", 40)
    circuit = circuit_of(twin, e=6, i=3)
    circuit.connect("input", "e", Probability(1.0), STRONG, where="soma", delay_ms=0.0)
    circuit.connect("e", "i", Probability(1.0), STRONG, where="soma", delay_ms=2.0)
    probe = signals.linear_probe((150, 0, -300), (150, 0, 500), contacts=5)
    layers = signals.CSD(np.arange(-800.0, 1201.0, 100.0), half_width_um=1000.0)
    whole_cells = [Potentials(name, compartments="all") for name in ("e", "i")]
    record = [Field(signals.LFP(probe)), Field(layers), *whole_cells, Potentials("e", [1], name="one")]
    result = circuit.run(20.0, record)
    assert result is not None
    (e_node, e_ms), (i_node, i_ms) = result.spikes("e"), result.spikes("i")
    assert set(e_node) == set(range(6))
    assert set(i_node) == set(range(3))
    assert 5.0 < e_ms.min() < e_ms.min() + 2.0 < i_ms.min()
    numbers = summary(e_node, e_ms, 6, 20.0)
    assert numbers.silent == 0.0
    assert str(numbers).startswith(f"{numbers.rate_hz:.2f} spikes/s, 0 % silent")
    raster = figures.raster(result)
    (e_dots, i_dots, *_) = raster.axes[0].collections
    depth = result.circuit.populations[0].position_um[:, 2]
    np.testing.assert_allclose(e_dots.get_offsets(), np.stack([e_ms, depth[e_node]], 1))
    assert len(i_dots.get_offsets()) == len(i_ms)
    field = figures.field(result)
    lfp = result.recorded("lfp")["values"].sum(axis=0)
    drawn = np.stack([line.get_ydata() for line in field.axes[0].lines[:5]], 1)
    assert np.corrcoef((drawn - drawn.mean(0)).ravel(), (lfp - lfp.mean(0)).ravel())[0, 1] > 0.999
    movie = figures.potentials(result, [2.0, 6.0, 7.4])
    assert [axes.get_title() for axes in movie.axes[:3]] == ["2 ms", "6 ms", "7 ms"]
    values = np.concatenate([result.recorded(f"v-{name}")["values"][6] for name in ("e", "i")])
    (lines,) = movie.axes[2].collections
    assert np.array_equal(lines.get_array(), np.sort(values))
    ends = np.concatenate([tree.ends_um for p in result.circuit.populations for tree in placed_trees(p)])
    np.testing.assert_allclose(lines.get_segments()[-1], ends[np.flatnonzero(values == values.max())[-1]][:, [0, 2]])
    for name, figure in {"raster": raster, "field": field, "movie": movie}.items():
        plot.save(figure, tmp_path / f"{name}.png")
    bare = circuit.run(1.0)
    assert bare is not None
    with pytest.raises(InputError, match="no LFP was recorded"):
        figures.field(bare)
    with pytest.raises(InputError, match="no potentials of whole cells"):
        figures.potentials(bare, [1.0])
    plot.save(figures.raster(bare), tmp_path / "silent.png")


@pytest.mark.parametrize("contacts", [1, 2, 60])
def test_figures_of_little_and_of_much(
    twin: Twin, contacts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot.style, "DPI", 40)
    random, time_ms = np.random.default_rng(0), np.arange(1.0, 31.0)
    names = [f"p{k}" for k in range(9 if contacts > 1 else 1)]
    spikes = {name: (30.0 * random.random(k), random.random(k)) for k, name in enumerate(names)}
    z_um = random.permutation(50.0 * np.arange(contacts))
    silent = np.zeros((30, contacts))
    field = plot.figure_field(time_ms, z_um, silent if contacts == 2 else random.normal(size=silent.shape))
    traces = [line for line in field.axes[0].lines if len(line.get_xdata()) == 30]
    assert len(traces) == (20 if contacts == 60 else contacts)
    heights = [float(np.mean(line.get_ydata())) for line in traces]
    np.testing.assert_allclose(heights, np.sort(z_um)[:: 3 if contacts == 60 else 1], atol=1e-6)
    figures_ = {
        "raster": plot.figure_raster(spikes, dict.fromkeys(names, 4), (0.0, 30.0)),
        "field": field,
        "movie": plot.figure_potentials([twin.tree], np.full((contacts % 7, twin.tree.n), -65.0), range(contacts % 7)),
    }
    for name, figure in figures_.items():
        labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel()) if label]
        assert labels
        assert all("(" in label for label in labels)
        plot.save(figure, tmp_path / f"{name}.png")
