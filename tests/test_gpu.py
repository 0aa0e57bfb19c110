"""The steps on a GPU, in Triton's interpreter, beside those of the CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="there is none for this system")

from dendrotwin.membrane import C_GRID_MM, PLANE_C_MM, PLANE_V_MV, SCHEME_V_MV, V_GRID_MV
from dendrotwin.membrane import Gate, Ion, Mechanism, Membrane, Pool, Scheme, Term
from dendrotwin.solver import gpu
from dendrotwin.solver.layout import DRIVE, DRIVE_C, FIXED, NERNST, OVER_BOTH, OVER_C, OVER_V, PLANE
from dendrotwin.solver.stepper import Accuracy, Stepper
from dendrotwin.tree import Conductance, Events, Injection, Synapse, Tree

ACCURACY = Accuracy(least=1, most=64, tolerance_mV=0.2)
N = 7


def a_tree(n: int = N) -> Tree:
    """A soma with branches that meet in a joint, and inputs of five conductances."""
    ones, parent = np.ones(n), np.array([-1, *(max(i - 2, 0) for i in range(1, n))], np.int32)
    joined = np.append(parent, 0).astype(np.int32)  # the first two branches leave a joint
    joined[1 : min(n, 3)] = n
    area = np.append(1200.0, np.linspace(150.0, 300.0, n - 1))
    excitatory = Synapse(
        "exc",
        True,
        (
            Conductance(0.3, 3.0, 4e-4, 0.0),
            Conductance(2.0, 40.0, 4e-4, 0.0, mg_mM=1.0),
            Conductance(0.5, 9.0, 1e-4, 10.0, block=tuple(np.linspace(0.2, 1.0, 251))),
        ),
    )
    inhibitory = Synapse("inh", False, (Conductance(0.0, 8.0, 1e-3, -80.0), Conductance(0.2, 5.0, 1e-3, -75.0)))
    at = np.arange(1, n, dtype=np.int32)
    return Tree(
        parent=parent, region=np.where(np.arange(n) > 0, 1, 0).astype(np.int32), section=np.arange(n, dtype=np.int32),
        section_names=tuple(f"s{i}" for i in range(n)), x=0.5 * ones, ends_um=np.zeros((n, 2, 3)), length_um=20.0 * ones,
        diameter_um=ones, area_um2=area, distance_um=20.0 * np.arange(n), axial_parent=joined,
        axial_uS=np.append(np.append(0.0, np.geomspace(0.01, 0.04, n - 1)), 0.05), capacitance_nF=1e-5 * area,
        leak_uS=0.0 * ones, leak_mV=0.0 * ones, ih_uS=0.0 * ones, ih_mV=0.0 * ones, v_init_mV=-65.0,
        synapses=(excitatory, inhibitory), input_compartment=np.tile(at, 2),
        input_synapse=np.repeat(np.array([0, 1], np.int32), n - 1), input_weight=np.linspace(0.5, 1.5, 2 * n - 2),
    )  # fmt: skip


def sigmoid(x: np.ndarray, half: float, slope: float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-(x - half) / slope))


def bump(x: np.ndarray, least: float, most: float, middle: float, width: float) -> np.ndarray:
    return least + (most - least) / np.cosh((x - middle) / width)


def gate(name: str, half: float, slope: float, tau: tuple[float, float]) -> Gate:
    return Gate(name, sigmoid(V_GRID_MV, half, slope), bump(V_GRID_MV, *tau, half, 15.0))


def term(density: float, e: float, *powers: float, m: int, **more: object) -> Term:
    ion = str(more.pop("ion", ""))
    return Term(ion, np.array(powers), np.linspace(density, 1.4 * density, m), np.full(m, e), **more)  # type: ignore[arg-type]


def a_membrane(n: int = N) -> Membrane:
    """Every kind of gate, scheme, term and pool."""
    everywhere, some, soma = np.arange(n, dtype=np.int32), np.arange(n - 1, -1, -2, dtype=np.int32)[::-1].copy(), np.array([0], np.int32)
    k, log_plane = len(some), np.log(PLANE_C_MM)[:, None]
    v_shape, c_shape = sigmoid(PLANE_V_MV, -35.0, 8.0)[None], sigmoid(log_plane, np.log(3e-4), 1.0)
    both = Gate("b", v_shape * c_shape, 1.0 + 9.0 * (1.0 - c_shape) * np.ones_like(v_shape), "ca")
    over_c = Gate("z", sigmoid(np.log(C_GRID_MM), np.log(4e-4), 0.4), np.full(len(C_GRID_MM), 3.0), "ca")

    def markov(x: np.ndarray, ion: str = "") -> Scheme:
        """closed, open and shut, with a third of what is missing flowing in; open where x is above 0."""
        up, down = 0.6 * sigmoid(x, 0.0, 1.0), 0.4 * sigmoid(-x, 0.0, 1.0)
        rates, inflow = np.zeros((len(x), 3, 3)), np.zeros((len(x), 3))
        rates[:, 0, 0], rates[:, 0, 1], rates[:, 1, 0], rates[:, 1, 1] = -up, down, up, -down - 0.1
        rates[:, 2, 1], rates[:, 2, 2], inflow[:, 0] = 0.1, -0.05, 0.02
        return Scheme((f"c{ion}", f"o{ion}", f"i{ion}"), rates, inflow, ion)

    ghk = np.stack([-0.02 * sigmoid(-V_GRID_MV, -20.0, 30.0), 0.5 * sigmoid(V_GRID_MV, 20.0, 30.0)])
    pump = 1e-3 * sigmoid(log_plane, np.log(2e-4), 0.7) * (1.0 + 0.004 * PLANE_V_MV[None])
    n_gate = gate("n", -45.0, 9.0, (0.8, 4.0))
    mechanisms = (
        Mechanism("leak", {}, everywhere, (), (), (term(1e-4, -67.0, m=n),), np.zeros((0, n))),
        Mechanism(
            "na", {}, everywhere, (gate("m", -38.0, 6.0, (0.03, 0.25)), gate("h", -60.0, -6.0, (0.5, 6.0))), (),
            (term(0.06, 50.0, 3.0, 1.0, m=n),), np.repeat([[0.01], [0.6]], n, 1),
        ),
        Mechanism(
            "k", {}, everywhere, (n_gate,), (),
            (term(0.02, 0.0, 4.0, m=n, ion="k", moves=True), term(0.001, -85.0, 1.5, m=n, ion="k")),
            np.full((1, n), 0.1),
        ),
        Mechanism(
            "ca", {}, some, (gate("q", -30.0, 6.0, (0.5, 2.0)), gate("r", -50.0, -9.0, (5.0, 20.0))), (),
            (term(4e-4, 0.0, 2.0, 1.0, m=k, ion="ca", moves=True), term(1.0, 0.0, 2.0, 0.0, m=k, ion="ca", table=ghk, c_ion="ca")),
            np.repeat([[0.01], [0.8]], k, 1),
        ),
        Mechanism("sk", {}, some, (over_c, both), (), (term(2e-3, -85.0, 1.0, 0.0, m=k), term(1e-3, -85.0, 0.0, 2.5, m=k)), np.zeros((2, k))),
        Mechanism(
            "markov", {}, everywhere, (gate("w", -40.0, 5.0, (1.0, 3.0)),), (markov((SCHEME_V_MV + 40.0) / 7.0), markov(np.log(PLANE_C_MM / 3e-4), "ca")),
            (term(1e-3, -85.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, m=n), term(5e-4, -80.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, m=n)),
            np.repeat([[0.0], [0.8], [0.1], [0.1], [0.9], [0.1], [0.0]], n, 1),
        ),
        Mechanism("rectifier", {}, soma, (), (), (term(1.0, 0.0, m=1, table=1e-3 * sigmoid(V_GRID_MV, -20.0, 9.0)),), np.zeros((0, 1))),
        Mechanism("pump", {}, some, (), (), (term(1.0, 0.0, m=k, ion="ca", table=pump, c_ion="ca"),), np.zeros((0, k))),
    )  # fmt: skip
    pools = (
        Pool("cad", "ca", some, np.full(k, 0.02), np.full(k, 1e-4), np.full(k, -0.4), np.zeros(k)),
        Pool("kp", "k", everywhere, np.append(0.0, np.full(n - 1, 0.01)), np.full(n, 54.4), np.full(n, -30.0), np.full(n, -20.0)),
    )  # fmt: skip
    ions = (
        Ion("ca", np.full(n, 1e-4), np.full(n, 2.0), 13.3),
        Ion("k", np.full(n, 54.4), np.full(n, 2.5), 26.7),
    )
    return Membrane(34.0, mechanisms, pools, ions)


def inputs(tree: Tree, steps: int) -> tuple[list[Events], list[Injection | None]]:
    """Of three cells, the first of which has none: events, some in the same millisecond or on a step, and current."""
    rng = np.random.default_rng(0)
    many = 2 * steps
    times = rng.uniform(0, steps, many)
    times[::5] = np.floor(times[::5] * 4) / 4
    of_second = Events.sort(rng.integers(0, tree.n_inputs, many), times)
    of_third = Events.sort(np.append(np.zeros(9), 1), np.append(2.0 + np.array([0.0, 0.1, 0.2, 0.3, 0.5, 0.5, 0.5, 0.75, 0.999]), 3.5))
    current = np.zeros((steps, 3))
    current[3 : steps // 2, :2], current[:, 2] = 0.06, -0.003
    electrodes = Injection(np.array([0, 0, tree.n - 1], np.int32), current)
    return [Events.sort(np.zeros(0), np.zeros(0)), of_second, of_third], [None, None, electrodes]


def of_cpu(tree: Tree, membrane: Membrane, steps: int, accuracy: Accuracy = ACCURACY):  # type: ignore[no-untyped-def]
    """V, peaks, solves and states of the CPU, of the same cells."""
    stepper = Stepper(tree, membrane, accuracy)
    found = []
    for events, injection in zip(*inputs(tree, steps), strict=True):
        state = stepper.start()
        v, peak, counts = stepper.advance(state, events, steps, injection)
        found.append((v, peak, counts, state))
    return found


def assert_close(found: torch.Tensor, expected: np.ndarray, relative: float = 2e-4) -> None:
    """Relative to the largest."""
    assert np.abs(found.numpy() - expected).max(initial=0.0) <= relative * np.abs(expected).max(initial=1e-9)
