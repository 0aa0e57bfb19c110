"""A description that cannot be run is refused in a line that names its population or its connections."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cells import EXCITATORY, INHIBITORY
from dendrotwin.circuit.check import check
from dendrotwin.circuit.description import Background, Clamps, Description, Population, Projection, SpikeTrains
from dendrotwin.errors import InputError, InputWarning
from dendrotwin.twin import Twin

ZEROS, ONES, WHOLE = np.zeros(2), np.ones(2), np.array([0, 1])
NAN = np.array([0.0, np.nan])
SMALL = 36  # compartments of the second model, one less than the first


def plastic(**values: float) -> NDArray[np.float64]:
    """Plasticity of one connection, with these values, and none of the other."""
    usual = {"U": 0.5, "depression": 100.0, "facilitation": 10.0, "inactivation": 3.0, "u0": 0.0} | values
    return np.array([list(usual.values()), [np.nan] * 5])


@pytest.fixture(scope="module")
def circuit(ball_and_stick: Twin) -> Description:
    """Two cells of different models, driven by two trains, each other, a background and clamps."""
    small = dataclasses.replace(ball_and_stick, tree=_without_last(ball_and_stick))
    cells = Population("cells", (ball_and_stick, small), WHOLE, np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1)))
    trains = SpikeTrains("input", 2, WHOLE, ONES)
    links = [
        Projection(
            source, "cells", WHOLE, WHOLE[::-1], np.array([3, 36]), (EXCITATORY, INHIBITORY), np.array([0, 0]), ONES,
            ONES, plastic(),
        )
        for source in ("cells", "input")
    ]  # fmt: skip
    background = Background("cells", WHOLE, np.array([36, 35]), (EXCITATORY,), np.array([0, 0]), ONES, ONES)
    clamps = Clamps("cells", WHOLE, WHOLE, ONES, 2 * ONES, ONES)
    return Description((cells,), (trains,), tuple(links), (clamps,), (background,))


def _without_last(twin: Twin) -> Any:
    """The tree without its last compartment, which nothing but its size asks for here."""

    class Tree(type(twin.tree)):  # type: ignore[misc]
        n = SMALL

    tree = twin.tree
    return Tree(**{f.name: getattr(tree, f.name) for f in dataclasses.fields(tree)})


def test_what_can_be_run_is_taken(circuit: Description) -> None:
    check(circuit)
    check(changed(circuit, "projections", weight=ZEROS))
    check(changed(circuit, "backgrounds", rate_hz=ZEROS))
    check(changed(circuit, "projections", k=1, delay_ms=ZEROS))  # of trains
    check(changed(circuit, "trains", node=np.zeros(0, int), time_ms=np.zeros(0), count=2))


def changed(circuit: Description, part: str, k: int = 0, **values: Any) -> Description:
    parts = list(getattr(circuit, part))
    parts[k] = dataclasses.replace(parts[k], **values)
    return dataclasses.replace(circuit, **{part: tuple(parts)})


def synapse(**values: Any) -> tuple[Synapse, ...]:
    usual = {"rise_ms": 0.2, "decay_ms": 3.0, "g_max_uS": 1e-3, "e_mV": 0.0}
    return (Synapse("own", True, (Conductance(**usual | values),)),)


CC, P = "connections cells -> cells: ", "population cells: "
BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "empty name": ("populations", {"name": " "}, "population: ' ' is no name"),
    "name with a slash": ("populations", {"name": "a/b"}, "population: 'a/b' is no name; a name is a word"),
    "name no text": ("trains", {"name": 3}, "trains: 3 is no name"),
    "two of one name": ("trains", {"name": "cells"}, "two populations are called 'cells'"),
    "no cells": ("populations", {"model": np.zeros(0, int)}, P + "it has no cells"),
    "no twin": ("populations", {"twins": ()}, P + "it has no cells"),
    "no read twin": ("populations", {"twins": ("learned",)}, P + "a twin of the architecture mmoe was learned"),
    "a folder": ("populations", {"twins": ("twin",)}, P + "its cells are str; give a twin"),
    "model": ("populations", {"model": np.array([0, 2])}, P + "`model` has 2, the twins of it are 0 to 1"),
    "model of floats": ("populations", {"model": ZEROS}, P + "`model` must be an array"),
    "places": ("populations", {"position_um": np.zeros((3, 3))}, P + r"`position_um` must be an array \(2, 3\)"),
    "place": ("populations", {"position_um": np.full((2, 3), np.inf)}, P + "`position_um` of node 0 is not finite"),
    "rotations": ("populations", {"rotation": np.eye(3)}, P + r"`rotation` must be an array \(2, 3, 3\)"),
    "rotation": ("populations", {"rotation": np.ones((2, 3, 3))}, P + "the rotation of node 0 is no rotation"),
    "mirror": ("populations", {"rotation": np.tile(-np.eye(3), (2, 1, 1))}, "and not a mirror image"),
    "train count": ("trains", {"count": -1}, "trains input: -1 nodes"),
    "train node": ("trains", {"count": 1}, "trains input: `node` has 1, the nodes are 0 to 0"),
    "train nodes": ("trains", {"node": [0, 1]}, "trains input: `node` must be an array"),
    "train times": ("trains", {"time_ms": np.ones(3)}, "trains input: there are 3 values of `time_ms` for 2"),
    "train before": ("trains", {"time_ms": -ONES}, "trains input: `time_ms` is -1 at 0"),
    "train NaN": ("trains", {"time_ms": NAN}, "trains input: `time_ms` is nan at 1"),
    "source": ("projections", {"source": "x"}, "connections x -> cells: there is no population 'x'"),
    "target": ("projections", {"target": "x"}, "connections cells -> x: there is no population 'x'"),
    "target trains": ("projections", {"target": "input"}, "connections cells -> input: there is no population 'input'"),
    "source node": ("projections", {"source_node": WHOLE + 1}, CC + "`source_node` has 2, the nodes of cells"),
    "target node": ("projections", {"target_node": WHOLE - 1}, CC + "`target_node` has -1, the nodes of cells"),
    "target nodes": ("projections", {"target_node": np.array([0])}, CC + "there are 1 values of `target_node` for 2"),
    "compartment": ("projections", {"compartment": np.array([36, 0])}, CC + "compartment 36 of node 1 is not there"),
    "below": ("projections", {"compartment": np.array([0, -1])}, CC + "compartment -1 of node 0 is not there"),
    "kind": ("projections", {"synapse": np.array([0, 2])}, CC + "`synapse` has 2, the kinds of synapse are 0 to 1"),
    "no kinds": ("projections", {"synapses": ()}, CC + "`synapse` has 0, the kinds of synapse are none"),
    "empty kind": ("projections", {"synapses": (Synapse("x", True, ()),)}, CC + ".* is no synapse"),
    "rise": ("projections", {"synapses": synapse(rise_ms=3.0)}, CC + "the synapse own must have 0 <= rise < decay"),
    "conductance": ("projections", {"synapses": synapse(g_max_uS=-1.0)}, CC + "the synapse own must have"),
    "reversal": ("projections", {"synapses": synapse(e_mV=np.nan)}, CC + "the synapse own must have"),
    "weight": ("projections", {"weight": -ONES}, CC + "`weight` is -1 at 0.*inhibition is a kind of synapse"),
    "weight NaN": ("projections", {"weight": NAN}, CC + "`weight` is nan at 1"),
    "weights": ("projections", {"weight": np.ones(3)}, CC + "there are 3 values of `weight` for 2"),
    "whole weights": ("projections", {"weight": WHOLE}, CC + r"`weight` must be an array \(2,\) of real numbers"),
    "delay": ("projections", {"delay_ms": -ONES}, CC + "`delay_ms` is -1 at 0"),
    "delay NaN": ("projections", {"delay_ms": NAN}, CC + "`delay_ms` is nan at 1"),
    "no delay": ("projections", {"delay_ms": ZEROS}, CC + "a delay of 0 ms between cells is shorter than the shortest"),
    "short delay": ("projections", {"delay_ms": ONES / 257}, CC + "a delay of 0.00389105 ms between cells is shorter"),
    "plasticity": ("projections", {"plasticity": np.ones((2, 3))}, CC + r"`plasticity` must be an array \(2, 5\)"),
    "U": ("projections", {"plasticity": plastic(U=1.5)}, CC + "the utilisation U .* one is 1.5; correct it"),
    "U NaN": ("projections", {"plasticity": plastic(U=np.nan)}, CC + "the utilisation U .* one is nan"),
    "u0": ("projections", {"plasticity": plastic(u0=-0.1)}, CC + "the start u0 .* one is -0.1"),
    "depression": ("projections", {"plasticity": plastic(depression=-1.0)}, CC + "a time constant .* is -1 ms; give"),
    "inactivation": ("projections", {"plasticity": plastic(inactivation=np.inf)}, CC + "a time constant .* is inf ms"),
    "background": ("backgrounds", {"population": "input"}, "background of input: there is no population 'input'"),
    "rate": ("backgrounds", {"rate_hz": -ONES}, "background of cells: `rate_hz` is -1 at 0"),
    "rate NaN": ("backgrounds", {"rate_hz": NAN}, "background of cells: `rate_hz` is nan at 1"),
    "its place": ("backgrounds", {"compartment": np.array([0, 36])}, "background of cells: compartment 36 of node 1"),
    "its weight": ("backgrounds", {"weight": -ONES}, "background of cells: `weight` is -1 at 0"),
    "its seed": ("backgrounds", {"seed": -1}, "background of cells: the seed is -1"),
    "clamps": ("clamps", {"population": "x"}, "clamps of x: there is no population 'x'"),
    "clamp": ("clamps", {"stop_ms": ZEROS}, "clamps of cells: clamp 0 stops at 0 ms, before it starts at 1 ms"),
    "current": ("clamps", {"current_nA": NAN}, "clamps of cells: `current_nA` of clamp 1 is not finite"),
    "clamped": ("clamps", {"compartment": np.array([0, 40])}, "clamps of cells: compartment 40 of node 1"),
}  # fmt: skip


@pytest.mark.parametrize(("part", "values", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_run_is_refused(circuit: Description, part: str, values: dict[str, Any], message: str) -> None:
    twin = circuit.populations[0].twins[0]
    if values.get("twins") == ("learned",):
        learned: Any = dataclasses.replace(twin, architecture="mmoe", model=None)  # type: ignore[arg-type]
        values = {"twins": (learned, learned)}
    with pytest.raises(InputError, match=message) as raised:
        check(changed(circuit, part, **values))
    assert "\n" not in str(raised.value)


def test_a_circuit_without_cells_is_refused() -> None:
    with pytest.raises(InputError, match="the circuit has no population of cells"):
        check(Description(()))


def test_a_cell_with_two_transmitters_is_warned_of(circuit: Description) -> None:
    both = {"synapse": np.array([1, 0])}
    twice = changed(circuit, "projections", 1, source_node=np.array([1, 1]), **both)
    with pytest.warns(InputWarning, match="node 1 of input excites some cells and inhibits others, and 0 more"):
        check(twice)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(changed(circuit, "projections", **both))  # one cell excites, another one inhibits
        check(changed(twice, "projections", 1, weight=np.array([0.0, 1.0])))  # a weight of 0 does nothing
