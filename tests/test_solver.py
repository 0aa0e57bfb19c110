"""The steps of a cell whose membrane is data: against the same equations written out, and against laws."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from dendrotwin.cell.membrane import (
    BOTH_C_MM,
    BOTH_V_MV,
    C_GRID_MM,
    PLANE_C_MM,
    PLANE_V_MV,
    SCHEME_C_MM,
    SCHEME_V_MV,
    SCHEME_V_STRIDE,
    V_GRID_MV,
    Gate,
    Ion,
    Mechanism,
    Membrane,
    Pool,
    Scheme,
    Term,
    names_of,
)
from dendrotwin.cell.synapse import BLOCK_MV, Conductance, Synapse
from dendrotwin.cell.tree import REGIONS, SPIKE_MV, Events, Injection, Tree
from dendrotwin.errors import FileError
from dendrotwin.models.cable import spike_logits
from dendrotwin.solver import compiled
from dendrotwin.solver import rows as rows_module
from dendrotwin.solver.accuracy import SETTINGS, Accuracy, CableConfig
from dendrotwin.solver.cell_arrays import OFFSET, START, STATE_SENSITIVITY
from dendrotwin.solver.integrator.lookup import interpolate, relax
from dendrotwin.solver.integrator.pools import SMALLEST_MM
from dendrotwin.solver.integrator.state import LEVEL, NEXT_LEVEL, State
from dendrotwin.solver.integrator.time_loop import NO_PEAK_MV
from dendrotwin.solver.layout import lay_out
from dendrotwin.solver.step_tables import gate_sensitivity, scheme_sensitivity, scheme_step
from dendrotwin.solver.step_tables import level as level_table
from dendrotwin.solver.stepper import Stepper

NO_EVENTS = Events.sort(np.zeros(0), np.zeros(0))
REST_MV = -65.0
NERNST_MV = 13.0
CA_IN, CA_OUT = 1e-4, 2.0
# Digits of potentials, gates and tables in single precision; steps themselves are held to a bound of their own.
DIGITS_MV = 2e-3


def made_tree() -> Tree:
    """Six compartments: a soma, an axon, and a dendrite of two that forks at a joint."""
    n = 6
    area = np.array([900.0, 300.0, 250.0, 200.0, 180.0, 60.0])
    # AMPA and NMDA at once, a single exponential, one with a block of its own, and an inhibitory one.
    odd = tuple(0.2 + 0.8 / (1.0 + np.exp(-(BLOCK_MV + 40.0) / 9.0)))
    synapses = (
        Synapse("exc", True, (Conductance(0.3, 3.0, 4e-4, 0.0), Conductance(2.0, 40.0, 6e-4, 0.0, mg_mM=1.0))),
        Synapse("single", True, (Conductance(0.0, 5.0, 3e-4, 0.0),)),
        Synapse("odd", True, (Conductance(0.5, 7.0, 5e-4, 10.0, block=odd),)),
        Synapse("inh", False, (Conductance(0.2, 8.0, 1e-3, -80.0),)),
    )
    return Tree(
        parent=np.array([-1, 0, 1, 2, 2, 0], np.int32),
        region=np.array([REGIONS.index(r) for r in ("soma", *["basal"] * 4, "axon")], np.int32),
        section=np.arange(n, dtype=np.int32),
        section_names=tuple(f"part{k}" for k in range(n)),
        x=np.full(n, 0.5),
        ends_um=np.zeros((n, 2, 3)),
        length_um=np.full(n, 20.0),
        diameter_um=np.full(n, 5.0),
        area_um2=area,
        distance_um=np.arange(n) * 20.0,
        axial_parent=np.array([-1, 0, 1, n, n, 0, 2], np.int32),
        axial_uS=np.array([0.0, 0.006, 0.004, 0.002, 0.0015, 0.003, 0.005]),
        capacitance_nF=area * 1e-5,
        leak_uS=np.zeros(n),
        leak_mV=np.zeros(n),
        ih_uS=np.zeros(n),
        ih_mV=np.zeros(n),
        v_init_mV=REST_MV,
        synapses=synapses,
        input_compartment=np.array([1, 3, 4, 2, 3, 1, 0], np.int32),
        input_synapse=np.array([0, 0, 1, 1, 2, 3, 3], np.int32),
        input_weight=np.array([1.0, 2.5, 1.0, 0.5, 3.0, 1.0, 2.0]),
    )


TREE = made_tree()
ALL = np.arange(TREE.n, dtype=np.int32)
SOME_EVENTS = Events.sort(
    np.array([0, 1, 2, 3, 4, 5, 6, 1, 2, 4]),
    np.array([0.0, 1.7, 2.25, 3.9, 4.125, 5.5, 6.99, 7.3, 11.0, 11.6]),
)


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def at(*places: int) -> NDArray[np.int32]:
    return np.array(places, np.int32)


def look_up(table: NDArray[np.float64], grid: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(len(x), ...) on cubic curves through four points, level beyond: nearly what the points are of."""
    place = np.interp(x, grid, np.arange(len(grid)))
    k = np.clip(place.astype(int), 1, len(grid) - 3)
    s = (place - k).reshape(-1, *[1] * (table.ndim - 1))
    weights = (
        -s * (s - 1) * (s - 2) / 6,
        (s + 1) * (s - 1) * (s - 2) / 2,
        -(s + 1) * s * (s - 2) / 2,
        (s + 1) * s * (s - 1) / 6,
    )
    return np.asarray(sum(weight * table[k - 1 + j] for j, weight in enumerate(weights)))


def look_up_plane(table: NDArray[np.float64], c: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) over the logarithm of c, and V."""
    by_v = look_up(table, np.log(PLANE_C_MM), np.log(np.broadcast_to(c, v.shape)))  # (m, points of V)
    return np.array([look_up(row, PLANE_V_MV, one)[0] for one, row in zip(v[:, None], by_v, strict=True)])


def look_up_gate(gate: Gate, v: NDArray[np.float64], c: NDArray[np.float64]) -> tuple[Any, Any]:
    """Steady state, and rate [1/ms]."""
    rate = 1.0 / gate.tau_ms
    if gate.over == "v":
        return np.interp(v, V_GRID_MV, gate.steady), np.interp(v, V_GRID_MV, rate)
    if gate.over == "c":
        grid = np.log(C_GRID_MM)
        return np.interp(np.log(c), grid, gate.steady), np.interp(np.log(c), grid, rate)
    return look_up_plane(gate.steady, c, v), look_up_plane(rate, c, v)


def look_up_scheme(scheme: Scheme, v: NDArray[np.float64], c: NDArray[np.float64]) -> tuple[Any, Any]:
    """(m, K, K) and (m, K)."""
    if scheme.over == "vc":
        found = []
        for table in (scheme.rates, scheme.inflow):
            by_v = look_up(table, np.log(BOTH_C_MM), np.log(c))  # (m, points of V, ...)
            found.append(np.stack([look_up(one, BOTH_V_MV, v[k : k + 1])[0] for k, one in enumerate(by_v)]))
        return found[0], found[1]
    grid, x = (np.log(SCHEME_C_MM), np.log(c)) if scheme.ion else (SCHEME_V_MV, v)
    return look_up(scheme.rates, grid, x), look_up(scheme.inflow, grid, x)


def term(places: NDArray[np.int32], density: float, e_mV: float = 0.0, powers: Any = (), **more: Any) -> Term:
    """A term whose density differs a little from compartment to compartment."""
    m = len(places)
    return Term(
        more.pop("ion", ""), np.array(powers, float), density * (1.0 + 0.1 * np.arange(m)), np.full(m, e_mV), **more
    )


def mechanism(name: str, places: NDArray[np.int32], terms: Any, gates: Any = (), schemes: Any = ()) -> Mechanism:
    """At rest: gates and schemes are steady at REST_MV and CA_IN."""
    start = [float(look_up_gate(gate, np.array([REST_MV]), np.array([CA_IN]))[0][0]) for gate in gates]
    for scheme in schemes:
        rates, inflow = look_up_scheme(scheme, np.array([REST_MV]), np.array([CA_IN]))
        k = len(scheme.names)
        conserved = not np.any(scheme.inflow)  # then the states add up to 1
        matrix = np.vstack([rates[0], np.ones(k)]) if conserved else rates[0]
        right = np.append(np.zeros(k), 1.0) if conserved else -inflow[0]
        start += list(np.linalg.lstsq(matrix, right, rcond=None)[0])
    states = np.repeat(np.array(start, float)[:, None], len(places), 1).reshape(-1, len(places))
    return Mechanism(name, {}, places, tuple(gates), tuple(schemes), tuple(terms), states)


def leak(g: float = 5e-5, e_mV: float = REST_MV) -> Mechanism:
    return mechanism("pas", ALL, [term(ALL, g, e_mV)])


def gate_v(name: str, half: float, slope: float, tau: Any) -> Gate:
    return Gate(name, sigmoid((V_GRID_MV - half) / slope), np.broadcast_to(np.asarray(tau), V_GRID_MV.shape).copy())


def hh(places: NDArray[np.int32], scheme: bool = False) -> Mechanism:
    """Like that of Hodgkin and Huxley, or with m as a scheme."""
    v = V_GRID_MV
    m = gate_v("m", -38.0, 8.0, 0.05 + 0.4 / np.cosh((v + 40.0) / 25.0))
    h = gate_v("h", -60.0, -7.0, 0.6 + 6.0 / np.cosh((v + 62.0) / 20.0))
    n = gate_v("n", -50.0, 12.0, 0.8 + 4.0 / np.cosh((v + 55.0) / 25.0))
    if scheme:
        na, k = term(places, 0.12, 50.0, (1, 0, 0, 3), ion="na"), term(places, 0.036, -77.0, (0, 4, 0, 0), ion="k")
        return mechanism("hh", places, [na, k], (h, n), (two_states(m),))
    terms = [term(places, 0.12, 50.0, (3, 1, 0), ion="na"), term(places, 0.036, -77.0, (0, 0, 4), ion="k")]
    return mechanism("hh", places, terms, (m, h, n))


def pool(places: NDArray[np.int32], gain_in: float = -2e-2, gain_out: float = -2e-2) -> Pool:
    m = len(places)
    rate = 0.05 * (1.0 + np.arange(m))
    return Pool("cad", "ca", places, rate, np.full(m, CA_IN), np.full(m, gain_in), np.full(m, gain_out))


def membrane(*mechanisms: Mechanism, pools: tuple[Pool, ...] = ()) -> Membrane:
    ion = Ion("ca", np.full(TREE.n, CA_IN), np.full(TREE.n, CA_OUT), NERNST_MV)
    return Membrane(34.0, mechanisms, pools, (ion,) if pools else ())


def log_c(c: Any) -> Any:
    return sigmoid(2.0 * np.log(c / 6e-4))


M_CA = gate_v("m", -42.0, 6.0, 1.5)
M_K = Gate("z", log_c(C_GRID_MM), 2.0 + 1.0 / (1.0 + C_GRID_MM / 1e-3), ion="ca")
CALCIUM = at(0, 3, 4)
CA_CURRENT = mechanism("cal", CALCIUM, [term(CALCIUM, 4e-4, powers=(2,), ion="ca", moves=True)], (M_CA,))
SK = mechanism("sk", at(0, 4), [term(at(0, 4), 2e-3, -90.0, (1,), ion="k")], (M_K,))
C2, V2 = np.meshgrid(PLANE_C_MM, PLANE_V_MV, indexing="ij")
BOTH = Gate("b", sigmoid((V2 + 40.0) / 10.0 + np.log(C2 / 5e-4)), 1.0 + 2.0 * sigmoid(-(V2 + 40.0) / 20.0), ion="ca")
BK = mechanism("bk", at(3, 4), [term(at(3, 4), 3e-3, -90.0, (1,))], (BOTH,))


def markov(points: NDArray[np.float64], up: NDArray[np.float64], names: str, ion: str = "") -> Scheme:
    """a <-> b <-> c, all three of them, which add up to 1."""
    rates = np.zeros((len(points), 3, 3))
    for k, l, r in ((0, 1, up), (1, 0, 0.5), (1, 2, 0.4), (2, 1, 0.3)):  # noqa: E741
        rates[:, l, k] += r
        rates[:, k, k] -= r
    return Scheme(tuple(names), rates, np.zeros((len(points), 3)), ion)


def reduced(scheme: Scheme) -> Scheme:
    """The same without its first state, which is what the others leave of 1."""
    rates, first = scheme.rates[:, 1:, 1:], scheme.rates[:, 1:, 0]
    return Scheme(scheme.names[1:], rates - first[:, :, None], first.copy(), scheme.ion)


def chain_of_states(v: NDArray[np.float64]) -> Scheme:
    """Four shut states one after the other, and an open one: as quick as those of a sodium channel."""
    up, down = 300.0 * np.exp(v / 24.0), 12.0 * np.exp(-v / 24.0)
    rates = np.zeros((len(v), 5, 5))
    for k in range(4):
        for start, end, rate in ((k, k + 1, (4 - k) * up), (k + 1, k, (k + 1) * down)):
            rates[:, end, start] += rate
            rates[:, start, start] -= rate
    return Scheme(tuple("abcde"), rates, np.zeros((len(v), 5)))


def steady_state(rates: NDArray[np.float64]) -> Any:
    """(K,) states that stand still and add up to 1."""
    k = len(rates)
    return np.linalg.lstsq(np.vstack([rates, np.ones(k)]), np.append(np.zeros(k), 1.0), rcond=None)[0]


OVER_V = markov(SCHEME_V_MV, np.exp((SCHEME_V_MV + 60.0) / 15.0).clip(0, 50.0), "abc")


def two_states(gate: Gate) -> Scheme:
    """shut <-> open as quick and as open as a gate."""
    steady, rate = (np.interp(SCHEME_V_MV, V_GRID_MV, x) for x in (gate.steady, 1.0 / gate.tau_ms))
    up, down = steady * rate, (1.0 - steady) * rate
    rates = np.moveaxis(np.array([[-up, down], [up, -down]]), 2, 0)
    return Scheme((f"{gate.name}_shut", gate.name), rates, np.zeros((len(SCHEME_V_MV), 2)))


OVER_C = markov(SCHEME_C_MM, 3.0 * log_c(SCHEME_C_MM), "pqr", "ca")
CB, VB = np.meshgrid(BOTH_C_MM, BOTH_V_MV, indexing="ij")
FLAT = markov(CB.ravel(), (3.0 * log_c(CB) * sigmoid((VB + 45.0) / 8.0) + 0.02).ravel(), "stu", "ca")
OVER_BOTH = dataclasses.replace(
    FLAT, rates=FLAT.rates.reshape(*CB.shape, 3, 3), inflow=FLAT.inflow.reshape(*CB.shape, 3)
)
GHK = V_GRID_MV / (1.0 - np.exp(-0.08 * V_GRID_MV))  # (V - E) as it goes on, of a concentration

MEMBRANES: dict[str, Membrane] = {
    "gates over V": membrane(leak(), hh(at(0, 5, 2))),
    "a gate over calcium": membrane(leak(), CA_CURRENT, SK, pools=(pool(CALCIUM),)),
    "a gate over both": membrane(leak(), CA_CURRENT, BK, pools=(pool(CALCIUM),)),
    "a scheme over V": membrane(
        leak(), mechanism("mv", at(1, 4), [term(at(1, 4), 2e-3, -85.0, (0, 0, 2))], schemes=(OVER_V,))
    ),
    "a scheme that makes spikes": membrane(leak(), hh(at(0, 5, 2), scheme=True)),
    "a scheme with inflow, behind a gate": membrane(
        leak(),
        mechanism(
            "mv",
            at(1, 4),
            [term(at(1, 4), 2e-3, -85.0, (1, 0, 1))],
            (gate_v("g", -60.0, 9.0, 2.0),),
            (reduced(OVER_V),),
        ),
    ),
    "a scheme over calcium": membrane(
        leak(),
        CA_CURRENT,
        mechanism("mc", at(0, 3), [term(at(0, 3), 5e-3, -85.0, (0, 0, 1))], schemes=(OVER_C,)),
        pools=(pool(CALCIUM),),
    ),
    "a scheme over both": membrane(
        leak(),
        CA_CURRENT,
        mechanism("mb", at(0, 3), [term(at(0, 3), 5e-3, -85.0, (0, 0, 1))], schemes=(OVER_BOTH,)),
        pools=(pool(CALCIUM),),
    ),
    "a table over V": membrane(
        leak(), mechanism("tab", at(0, 2, 5), [term(at(0, 2, 5), 1.0, table=2e-3 * np.sinh((V_GRID_MV + 62.0) / 40.0))])
    ),
    "a table a + b c": membrane(
        leak(),
        mechanism(
            "ghk",
            CALCIUM,
            [
                term(
                    CALCIUM,
                    1e-4,
                    powers=(1,),
                    ion="ca",
                    c_ion="ca",
                    table=np.stack([-CA_OUT * GHK * np.exp(-0.08 * V_GRID_MV), 50.0 * GHK]),
                ),
            ],
            (M_CA,),
        ),
        pools=(pool(CALCIUM),),
    ),
    "a table over both": membrane(
        leak(),
        CA_CURRENT,
        mechanism("pl", at(3, 4), [term(at(3, 4), 0.5, table=1e-3 * log_c(C2) * (V2 + 80.0) / 10.0, c_ion="ca")]),
        pools=(pool(CALCIUM),),
    ),
    "a pool of inward current alone": membrane(
        leak(),
        mechanism("cal", CALCIUM, [term(CALCIUM, 3e-4, -62.0, (1,), ion="ca")], (M_CA,)),
        SK,
        pools=(pool(CALCIUM, -4e-2, 0.0),),
    ),
    "pools that count the two ways differently": membrane(
        leak(),
        mechanism("cal", CALCIUM, [term(CALCIUM, 3e-4, -62.0, (), ion="ca")]),
        SK,
        pools=(pool(at(0, 3), -4e-2, 5e-3), pool(at(4), -1e-2, 1e-3)),
    ),
}


# ---------------------------------------------------------------------------------- the equations, written out


def drive(one: Term, v: NDArray[np.float64], c: Any, e_mV: NDArray[np.float64]) -> NDArray[np.float64]:
    if one.table is None:
        return v - e_mV
    if one.table.ndim == 1:
        return np.asarray(np.interp(v, V_GRID_MV, one.table))
    if len(one.table) == 2:
        return np.asarray(np.interp(v, V_GRID_MV, one.table[0]) + c * np.interp(v, V_GRID_MV, one.table[1]))
    return look_up_plane(one.table, c, v)


class Equations:
    """dy/dt of a cell; y holds potentials, concentrations, and the states of each mechanism."""

    def __init__(self, tree: Tree, cell: Membrane, events: Events, injection: NDArray[np.float64]) -> None:
        self.tree, self.cell, self.events, self.injection = tree, cell, events, injection
        nodes = len(tree.axial_parent)
        matrix = np.zeros((nodes, nodes))
        for i, (p, g) in enumerate(zip(tree.axial_parent, tree.axial_uS, strict=True)):
            if p >= 0:
                matrix[[i, p], [i, p]] += g
                matrix[[i, p], [p, i]] -= g
        n = tree.n
        self.axial = matrix[:n, :n] - matrix[:n, n:] @ np.linalg.solve(matrix[n:, n:], matrix[n:, :n])

    def start(self) -> NDArray[np.float64]:
        inside = [ion.inside_mM for ion in self.cell.ions]
        states = [m.start.ravel() for m in self.cell.mechanisms]
        return np.concatenate([np.full(self.tree.n, self.tree.v_init_mV), *inside, *states])

    def synapses(self, t: float, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) current into the cell [nA]."""
        found = np.zeros(self.tree.n)
        for k, time in zip(self.events.input, self.events.time_ms, strict=True):
            if time > t:
                continue
            i = self.tree.input_compartment[k]
            for g in self.tree.synapses[self.tree.input_synapse[k]].conductances:
                course = float(g.time_course(np.array(t - time))) * self.tree.input_weight[k]
                found[i] += course * float(g.open_share(v[i : i + 1])[0]) * (g.e_mV - v[i])
        return found

    def ionic(self, v: Any, c: dict[str, Any], states: list[Any]) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """(n,) outward current of the membrane [nA], and that of each ion [mA/cm2]."""
        tree, cell = self.tree, self.cell
        total, of_ion = np.zeros(tree.n), {ion: np.zeros(tree.n) for ion in c}
        nernst = {ion.name: ion.nernst_mV * np.log(ion.outside_mM / c[ion.name]) for ion in cell.ions}
        for m, x in zip(cell.mechanisms, states, strict=True):
            for one in m.terms:
                e = nernst[one.ion][m.at] if one.moves else one.e_mV
                concentration = c[one.c_ion][m.at] if one.c_ion else 0.0
                opened = one.density * np.prod(x ** one.powers[:, None], axis=0)
                current = opened * drive(one, v[m.at], concentration, e)
                total[m.at] += current * tree.area_um2[m.at] * 1e-2
                if one.ion in of_ion:
                    of_ion[one.ion][m.at] += current
        return total, of_ion

    def parts(self, y: NDArray[np.float64]) -> tuple[Any, dict[str, Any], list[Any]]:
        n = self.tree.n
        v, k = y[:n], n
        c, states = {}, []
        for ion in self.cell.ions:
            c[ion.name], k = y[k : k + n], k + n
        for m in self.cell.mechanisms:
            states.append(y[k : k + m.start.size].reshape(m.start.shape))
            k += m.start.size
        return v, c, states

    def change(self, t: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        tree = self.tree
        v, c, states = self.parts(y)
        out, of_ion = self.ionic(v, c, states)
        now = self.injection[min(int(t), len(self.injection) - 1)]
        dv = (-out - self.axial @ v + self.synapses(t, v) + now) / tree.capacitance_nF
        dc = {ion: np.zeros(tree.n) for ion in c}
        for p in self.cell.pools:
            current = of_ion[p.ion][p.at]
            gain = np.where(current < 0, p.gain_in, p.gain_out)
            dc[p.ion][p.at] = (p.rest_mM - c[p.ion][p.at]) * p.rate_per_ms + gain * current
        ds = []
        for m, x in zip(self.cell.mechanisms, states, strict=True):
            dx = np.zeros_like(x)
            for k, gate in enumerate(m.gates):
                inside = c[gate.ion][m.at] if gate.ion else np.ones(len(m.at))
                steady, rate = look_up_gate(gate, v[m.at], inside)
                dx[k] = (steady - x[k]) * rate
            k = len(m.gates)
            for scheme in m.schemes:
                inside = c[scheme.ion][m.at] if scheme.ion else np.ones(len(m.at))
                rates, inflow = look_up_scheme(scheme, v[m.at], inside)
                those = slice(k, k + len(scheme.names))
                dx[those] = np.einsum("mij,jm->im", rates, x[those]) + inflow.T
                k += len(scheme.names)
            ds.append(dx.ravel())
        return np.concatenate([dv, *dc.values(), *ds])

    def solve(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """(times, n) potentials; every jump of the input begins a new piece."""
        steps = len(self.injection)
        jumps = np.flatnonzero(np.diff(self.injection, axis=0).any(1)) + 1.0
        cuts = sorted({0.0, float(steps), *jumps, *self.events.time_ms.tolist()})
        y, found = self.start(), np.empty((len(times), self.tree.n))
        for a, b in pairwise(cuts):
            here = (times > a) & (times <= b)
            # A shade inside of the piece, where what begins or ends with it is as it is in the piece.
            done: Any = solve_ivp(  # type: ignore[call-overload]
                lambda t, y, a=a, b=b: self.change(min(max(t, a), np.nextafter(b, a)), y),
                (a, b), y, method="LSODA", rtol=1e-7, atol=1e-9, t_eval=np.union1d(times[here], [b]),
            )  # fmt: skip
            assert done.success
            found[here] = done.y[: self.tree.n, np.isin(done.t, times[here])].T
            y = done.y[:, -1]
        return found


def injected(steps: int, **compartments: tuple[int, int, float]) -> NDArray[np.float64]:
    """(steps, n) [nA]: from, to, how much, by compartment, such as c0=(5, 10, 0.1)."""
    found = np.zeros((steps, TREE.n))
    for name, (a, b, nA) in compartments.items():
        found[a:b, int(name[1:])] += nA
    return found


def as_injection(current: NDArray[np.float64]) -> Injection:
    """In an order that is not that of the compartments."""
    order = np.arange(current.shape[1])[::-1].astype(np.int32)
    return Injection(order, current[:, order].copy())


def fixed(tree: Tree, cell: Membrane, many: int) -> Stepper:
    return Stepper(tree, cell, Accuracy(many, many, 1.0))


def stepped(
    cell: Membrane, many: int, events: Events, current: NDArray[np.float64], tree: Tree = TREE
) -> NDArray[np.float64]:
    stepper = fixed(tree, cell, many)
    v, _, _ = stepper.advance(stepper.start(), events, len(current), as_injection(current))
    return np.asarray(v, np.float64)


# ----------------------------------------------------------------------------------------------- the checks


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 29])
def test_interpolation_of_eight_is_that_of_one(n: int, rng: np.random.Generator) -> None:
    """Of slices that begin anywhere, and nothing beside them is touched."""
    b = rng.integers(0, 50, n + 3).astype(np.uint32)[3:]
    f = rng.random(n + 5).astype(np.float32)[5:]
    table = rng.normal(size=(2, 50, 4)).astype(np.float32)[1]
    everywhere = rng.normal(size=n + 2).astype(np.float32)
    before, y = everywhere.copy(), everywhere[1:-1]
    steady, keep = (table[b, k] + f * table[b, k + 2] for k in (0, 1))
    relax(table, b, f, y)
    np.testing.assert_allclose(y, steady + (before[1:-1] - steady) * keep, rtol=1e-5, atol=1e-6)
    interpolate(np.ascontiguousarray(table[:, :2]), b, f, y)
    np.testing.assert_allclose(y, table[b, 0] + f * table[b, 1], rtol=1e-5, atol=1e-6)
    assert (everywhere[[0, -1]] == before[[0, -1]]).all()


def test_lines_between_the_points_of_a_table_are_right_on_average(rng: np.random.Generator) -> None:
    """Of a steep gate, of its power, and of a matrix whose columns add up to 1; kinks and jumps stay as they are."""

    def bias(values: Any, f: Any) -> Any:
        """Mean over each bin of how much straight lines are above f."""
        share = (np.arange(100) + 0.5)[:, None] / 100
        between = values[:-1] + share * np.diff(values)
        return (between - f(V_GRID_MV[:-1] + share * 0.25)).mean(0)[200:600]

    for power, k in ((1, 3.0), (4, 6.0), (3, 9.0)):

        def f(v: Any, power: int = power, k: float = k) -> Any:
            return sigmoid((v + 40.0) / k) ** power

        table = f(V_GRID_MV)
        plain, found = bias(table, f), bias(level_table(table, 0), f)
        assert np.abs(plain).max() > 1e-5
        assert np.abs(found).max() < 0.02 * np.abs(plain).max()
        matrix = (
            np.stack([table, 1.0 - table, 0.3 * table**2, 1.0 - 0.3 * table**2]).reshape(2, 2, -1).transpose(2, 1, 0)
        )
        levelled = level_table(matrix, 0, 2)
        assert not np.allclose(levelled, matrix, rtol=0.0, atol=1e-6)
        np.testing.assert_allclose(levelled.sum(1), 1.0, rtol=1e-12)
        np.testing.assert_allclose(level_table(table[None, :, None], -2)[0, :, 0], level_table(table, 0))
    corners = np.interp(V_GRID_MV, [-100.0, -50.0, -20.0], [1.0, 1.0, 0.2])
    steps = (V_GRID_MV > -40.0) * 1.0
    for sharp in (corners, steps, corners * steps, rng.random(len(V_GRID_MV)) > 0.5):
        np.testing.assert_allclose(level_table(sharp * 1.0, 0), sharp, rtol=1e-12)
        np.testing.assert_allclose(level_table(np.stack([sharp, 1.0 - sharp], 1), 0, 1)[:, 0], sharp, rtol=1e-12)


def test_a_scheme_of_fast_states_is_as_open_as_its_rates_say() -> None:
    """Wherever the potential is between the points of tables, and on average: by a step of 1/4 ms, at threshold.

    Four fast states open it with the fourth power of an exponential, as those of sodium channels do. Straight lines
    between steps 0.5 mV apart leave it open by 2.3e-3 too much, on average: that alone makes a cell fire too fast.
    """
    chain, places = chain_of_states(SCHEME_V_MV), at(0)
    cell = membrane(leak(), mechanism("na", places, [term(places, 1e-3, 50.0, (0, 0, 0, 0, 1))], schemes=(chain,)))
    table = lay_out(TREE, cell).step_tables([0.25]).scheme_matrix[0].reshape(len(V_GRID_MV), 5, 6).astype(float)
    v = np.arange(-60.0, -55.0, 0.05)
    place = np.interp(v, V_GRID_MV, np.arange(len(V_GRID_MV)))
    k, share = place.astype(int), (place % 1.0)[:, None, None]
    step = (table[k] + share * (table[k + 1] - table[k]))[..., :5]
    found = np.array([steady_state(one - np.eye(5))[-1] for one in step])
    np.testing.assert_allclose(step.sum(1), 1.0, atol=5e-7)
    true = np.array([steady_state(rates)[-1] for rates in chain_of_states(v).rates])
    assert abs(np.mean(found / true - 1.0)) < 1e-4
    assert np.abs(found / true - 1.0).max() < 7e-4


@pytest.mark.parametrize("name", MEMBRANES)
def test_fine_steps_follow_the_equations(name: str) -> None:
    """Steps of second order: those of 1/64 ms are off by a fifteenth of what 1/16 and 1/64 ms differ by; twice that.

    A current that depends on a concentration itself sees that of the start of a step: first order, a third of it.
    """
    cell, steps = MEMBRANES[name], 16
    current = injected(steps, c0=(3, 6, 0.02), c4=(8, 12, -0.01))
    true = Equations(TREE, cell, SOME_EVENTS, current).solve(np.arange(1.0, steps + 1))
    coarse, fine = (stepped(cell, many, SOME_EVENTS, current) for many in (16, 64))
    assert np.ptp(true) > 15.0  # something happens
    without = dataclasses.replace(cell, mechanisms=cell.mechanisms[:1])
    assert np.abs(true - stepped(without, 64, SOME_EVENTS, current)).max() > 0.3  # also by the channels
    direct = any(term.moves or term.c_ion for mechanism in cell.mechanisms for term in mechanism.terms)
    bound = 2.0 * np.abs(coarse - fine).max() / (3.0 if direct else 15.0) + DIGITS_MV
    assert bound < 2e-3 * np.ptp(true) + 0.02
    assert np.abs(fine - true).max() < bound


def test_second_order() -> None:
    """Half the step, a quarter of the error, on a course without events or spikes."""
    places = at(0, 2, 4)
    gates = (gate_v("s", -55.0, 6.0, 1.5), gate_v("r", -60.0, -7.0, 3.0))
    slow = mechanism("slow", places, [term(places, 2e-3, 40.0, (2, 1)), term(places, 4e-3, -90.0, (1, 0))], gates)
    cell, steps = membrane(leak(), slow), 12
    current = injected(steps, c0=(0, steps, 0.08), c3=(0, steps, 0.01))
    true = Equations(TREE, cell, NO_EVENTS, current).solve(np.arange(1.0, steps + 1))
    errors = [np.sqrt(np.mean((stepped(cell, many, NO_EVENTS, current) - true) ** 2)) for many in (4, 8, 16)]
    assert errors[-1] > 5e-4  # above the digits
    for a, b in pairwise(errors):
        assert 3.3 < a / b < 4.8, errors


def test_an_event_between_milliseconds_comes_later_and_is_the_same() -> None:
    cell, steps = membrane(leak()), 12
    quiet = np.zeros((steps, TREE.n))
    for k in range(TREE.n_inputs):
        early = Events.sort(np.array([k]), np.array([0.0]))
        late = Events.sort(np.array([k]), np.array([0.7]))
        times = np.arange(1.0, steps + 1) - 0.7
        true = Equations(TREE, cell, early, quiet).solve(times)
        found = stepped(cell, 64, late, quiet)
        assert np.ptp(true) > 0.05
        assert np.abs(found - true).max() < 2e-3 * np.ptp(true) + 1e-4


def current_source(weight: float = 1.0) -> Tree:
    """Synapses from so far away that they are currents."""
    far = (Synapse("far", True, (Conductance(0.4, 3.0, 1e-7, 1e6), Conductance(0.0, 2.0, 3e-8, 1e6))),)
    return dataclasses.replace(
        TREE, synapses=far, input_synapse=np.zeros(TREE.n_inputs, np.int32),
        input_weight=np.full(TREE.n_inputs, weight),
    )  # fmt: skip


@pytest.mark.parametrize("many", [1, 4])
def test_the_charge_of_an_event_is_exact_in_coarse_steps(many: int) -> None:
    """Without a leak all of it stays on the capacitance, wherever in a step the event is."""
    nothing = membrane(mechanism("none", ALL, [term(ALL, 0.0)]))
    for weight, times in ((1.0, [0.0]), (1.0, [0.9]), (2.0, [0.3, 0.3, 5.55])):
        tree = current_source(weight)
        events = Events.sort(np.arange(len(times)), np.array(times))
        v = stepped(nothing, many, events, np.zeros((60, tree.n)), tree)
        charge = (v[-1] - REST_MV) @ tree.capacitance_nF  # nF mV = pC
        dual, single = tree.synapses[0].conductances
        one = dual.g_max_uS * dual.normalisation() * (3.0 - 0.4) + single.g_max_uS * 2.0
        assert charge == pytest.approx(len(times) * weight * one * (1e6 - REST_MV), rel=2e-4)


def test_injected_charge_stays_on_an_isolated_cell() -> None:
    nothing = membrane(mechanism("none", ALL, [term(ALL, 0.0)]))
    current = injected(40, c0=(3, 7, 0.05), c4=(10, 11, -0.02), c5=(20, 40, 0.001))
    for many in (1, 16):
        v = stepped(nothing, many, NO_EVENTS, current)
        charge = (v - REST_MV) @ TREE.capacitance_nF
        np.testing.assert_allclose(charge, np.cumsum(current.sum(1)), atol=2e-5)


def test_a_single_compartment_takes_its_current_over_the_whole_millisecond() -> None:
    """The exact course of a passive compartment whose current changes every millisecond; electrodes add up."""
    tree = dataclasses.replace(
        TREE, **{f.name: getattr(TREE, f.name)[:1] for f in dataclasses.fields(TREE)
                 if isinstance(getattr(TREE, f.name), np.ndarray) and len(getattr(TREE, f.name)) in (6, 7)},
    )  # fmt: skip
    tree = dataclasses.replace(
        tree, input_compartment=np.zeros(0, np.int32), input_synapse=np.zeros(0, np.int32), input_weight=np.zeros(0)
    )
    assert tree.n == 1
    one = at(0)
    cell = Membrane(34.0, (mechanism("pas", one, [term(one, 1e-4, REST_MV)]),), (), ())
    g, c = 1e-4 * tree.area_um2[0] * 1e-2, tree.capacitance_nF[0]
    current = np.random.default_rng(0).normal(scale=0.01, size=(20, 2))
    expected, x = [], 0.0
    for now in current.sum(1):
        x = now / g + (x - now / g) * np.exp(-g / c)
        expected.append(REST_MV + x)
    stepper = fixed(tree, cell, 16)
    v, _, _ = stepper.advance(stepper.start(), NO_EVENTS, 20, Injection(np.array([0, 0], np.int32), current))
    assert np.ptp(expected) > 2.0
    np.testing.assert_allclose(v[:, 0], expected, atol=1e-3)


def test_currents_cancel_when_nothing_changes_any_more() -> None:
    """Injected current leaves through the membrane: the sum over all compartments, by the membrane's own equations."""
    cell = MEMBRANES["a gate over calcium"]
    current = injected(3000, c0=(0, 3000, 0.004), c3=(0, 3000, 0.002))
    stepper = fixed(TREE, cell, 2)
    state = stepper.start()
    v, _, _ = stepper.advance(state, NO_EVENTS, 3000, as_injection(current))
    assert np.ptp(v[-100:], axis=0).max() < 1e-3
    assert np.abs(v[-1] - REST_MV).max() > 3.0
    back = stepper.layout.position
    equations = Equations(TREE, cell, NO_EVENTS, current)
    rows = []
    for m in cell.mechanisms:
        c = state.c_mM[0, back][m.at]
        rows.append(
            np.array([look_up_gate(gate, v[-1, m.at].astype(float), c)[0] for gate in m.gates]).reshape(-1, len(m.at))
        )
    out, _ = equations.ionic(v[-1].astype(float), {"ca": state.c_mM[0, back]}, rows)
    assert out.sum() == pytest.approx(0.006, rel=2e-3)


def test_at_rest_nothing_moves() -> None:
    """Where the currents of all compartments cancel, and the pools rest."""
    none = mechanism("tab", at(0, 2), [term(at(0, 2), 1.0, table=1e-4 * (V_GRID_MV - REST_MV))])
    dead = mechanism("mv", at(1, 4), [term(at(1, 4), 2e-3, REST_MV, (0, 0, 2))], schemes=(OVER_V,))
    m = mechanism("ca", CALCIUM, [term(CALCIUM, 1e-4, REST_MV, (1,), ion="ca")], (M_CA,))
    cell = membrane(leak(), none, dead, m, pools=(pool(CALCIUM),))
    stepper = Stepper(TREE, cell, Accuracy(1, 16, 0.5))
    state = stepper.start()
    before = state.copy()
    v, peak, counts = stepper.advance(state, NO_EVENTS, 500)
    assert np.abs(v - REST_MV).max() < 1e-3
    np.testing.assert_allclose(state.ionic, before.ionic, rtol=1e-4)
    np.testing.assert_allclose(state.c_mM, before.c_mM, rtol=1e-6)
    assert counts.tolist() == [500, 500]
    assert peak[:, 0].max() < REST_MV + 1e-3


def test_a_conserved_scheme_stays_conserved() -> None:
    stepper = Stepper(TREE, MEMBRANES["a scheme over V"], Accuracy(1, 16, 0.5))
    state = stepper.start()
    current = injected(300, c1=(10, 60, 0.02), c4=(100, 200, -0.01))
    stepper.advance(state, SOME_EVENTS, 300, as_injection(current))
    row = stepper.layout.arrays.scheme_row[0]
    where = stepper.layout.position[at(1, 4)] - row[START]
    x, before = (of.x[row[OFFSET] :].reshape(3, -1)[:, where] for of in (state, stepper.start()))
    assert not np.allclose(x, before, atol=1e-3)
    np.testing.assert_allclose(x.sum(0), 1.0, atol=1e-4)


SPIKING = MEMBRANES["gates over V"]
ADAPTIVE = Accuracy(1, 16, 0.5)


def spiking_current(steps: int) -> NDArray[np.float64]:
    return injected(steps, c0=(10, 14, 0.15))


def test_where_time_is_cut_does_not_matter() -> None:
    events = Events.sort(SOME_EVENTS.input, np.round(SOME_EVENTS.time_ms * 3 * 1024) / 1024)  # exact in any piece
    cell = MEMBRANES["a gate over calcium"]
    both = dataclasses.replace(cell, mechanisms=(*cell.mechanisms, hh(at(0, 5))))
    stepper, current = Stepper(TREE, both, ADAPTIVE), spiking_current(50)
    found = []
    for piece in (50, 7, 1):
        state, v, peak, counts = stepper.start(), [], [], np.zeros(2, np.int64)
        for begin in range(0, 50, piece):
            end = min(begin + piece, 50)
            here = (events.time_ms >= begin) & (events.time_ms < end)
            part = Events(events.input[here], events.time_ms[here] - begin)
            a, b, c = stepper.advance(state, part, end - begin, as_injection(current[begin:end]))
            v.append(a)
            peak.append(b)
            counts += c
        found.append((np.concatenate(v), np.concatenate(peak), counts, state))
    whole = found[0]
    assert whole[0].max() > 0.0
    for other in found[1:]:
        for a, b in zip(whole[:3], other[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(whole[3], other[3], strict=True):
            np.testing.assert_array_equal(a, b)


def each_ms(stepper: Stepper, current: NDArray[np.float64], state: State | None = None) -> tuple[Any, Any, Any]:
    """V, solves and peaks of each millisecond."""
    state = stepper.start() if state is None else state
    v, counts, peaks = [], [], []
    for row in current:
        a, peak, count = stepper.advance(state, NO_EVENTS, 1, as_injection(row[None]))
        v.append(a[0])
        counts.append(count[1])
        peaks.append(peak[0, 0])
    return np.array(v), np.array(counts), np.array(peaks)


def test_a_spike_takes_more_steps_than_rest() -> None:
    stepper = Stepper(TREE, SPIKING, ADAPTIVE)
    v, solves, peaks = each_ms(stepper, spiking_current(60))
    spike = int(np.argmax(peaks))
    assert peaks[spike] > 0.0
    assert solves[max(spike - 1, 0) : spike + 1].max() >= 16
    assert (solves[:8] == 1).all()
    assert (solves[-10:] <= 4).all()
    fine = stepped(SPIKING, 256, NO_EVENTS, spiking_current(60))
    assert np.sqrt(np.mean((v - fine) ** 2)) < 1.0  # a spike of 100 mV is in its place


def test_a_millisecond_that_is_done_again_leaves_no_trace() -> None:
    stepper, current = Stepper(TREE, SPIKING, ADAPTIVE), spiking_current(60)
    state, again = stepper.start(), 0
    for row in current:
        before, level = state.copy(), int(state.control[NEXT_LEVEL])
        v, peak, counts = stepper.advance(state, SOME_EVENTS, 1, as_injection(row[None]))
        taken = int(state.control[LEVEL])
        if taken == level:
            continue
        again += 1
        before.control[NEXT_LEVEL] = taken
        v_once, peak_once, counts_once = stepper.advance(before, SOME_EVENTS, 1, as_injection(row[None]))
        assert counts_once[1] == stepper.accuracy.levels[taken] < counts[1]
        np.testing.assert_array_equal(v, v_once)
        np.testing.assert_array_equal(peak, peak_once)
        for a, b in zip(state, before, strict=True):
            np.testing.assert_array_equal(a, b)
    assert again >= 1


def busy() -> tuple[State, Injection]:
    """A cell with spikes to come, after 12 ms in single steps; and the current of the next millisecond."""
    stepper, current = fixed(TREE, SPIKING, 1), spiking_current(13)
    state = stepper.start()
    stepper.advance(state, SOME_EVENTS, 12, as_injection(current[:12]))
    return state, as_injection(current[12:])


def once(state: State, current: Injection, accuracy: Accuracy, level: int) -> tuple[State, int]:
    """The state after a millisecond begun with as many steps as the one before, and how many were taken in the end."""
    stepper, after = Stepper(TREE, SPIKING, accuracy), state.copy()
    after.control[[LEVEL, NEXT_LEVEL]] = level
    _, _, counts = stepper.advance(after, NO_EVENTS, 1, current)
    return after, int(counts[1])


def test_steps_are_as_many_as_the_tolerance_asks_for() -> None:
    """h^2 times the change of what bends the course of V, by its definition: one step is short enough, 4 are, or 16."""
    state, current = busy()
    after, _ = once(state, current, Accuracy(1, 1, 1.0), 0)
    capacitance = Stepper(TREE, SPIKING, ADAPTIVE).layout.arrays.capacitance_nF
    change = np.sqrt(np.average((after.curvature - state.curvature) ** 2, weights=capacitance))
    assert change > 0.1
    for shade, many in ((1.01, 1), (0.99, 4)):
        _, solves = once(state, current, Accuracy(1, 4, shade * change), 0)
        assert solves == (1 if many == 1 else 1 + many)
    for shade, sixteen in ((1.01, False), (0.99, True)):
        _, solves = once(state, current, Accuracy(1, 16, shade * change / 4**2), 0)
        assert (solves == 1 + 16) == sixteen  # without a try of 4


@pytest.mark.parametrize("name", SETTINGS)
def test_a_tolerance_of_ones_own_takes_the_place_of_the_settings(name: Any) -> None:
    assert CableConfig(accuracy=name).steps == SETTINGS[name]
    own = CableConfig(accuracy=name, tolerance_mV=0.5).steps
    assert own == dataclasses.replace(SETTINGS[name], tolerance_mV=0.5)


def test_the_next_millisecond_has_the_steps_that_the_worst_of_this_one_asked_for() -> None:
    """The worst of 4 steps is found by the tolerance at which they just do."""
    state, current = busy()
    low, high = 1e-6, 1e3
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        _, solves = once(state, current, Accuracy(4, 16, middle), 0)
        low, high = (low, middle) if solves == 4 else (middle, high)
    worst = 4**2 * high  # h^2 of it is the tolerance
    for shade, level in ((1.01, 0), (0.99, 1)):
        after, solves = once(state, current, Accuracy(1, 4, shade * worst), 1)
        assert (solves, after.control[NEXT_LEVEL]) == (4, level)


def test_gates_take_all_of_the_time_however_it_is_stepped(rng: np.random.Generator) -> None:
    """At a potential that does not move, from the middle of one step to the middle of the next."""
    places = at(0, 3)
    slow = mechanism("slow", places, [term(places, 0.0, powers=(1,))], (gate_v("s", -30.0, 5.0, 9.0),))
    slow.start[:] = 0.7
    stepper = Stepper(TREE, membrane(leak(), slow), Accuracy(1, 16, 1e9))
    state, elapsed = stepper.start(), 0.5  # a gate starts half a step of the coarsest behind
    row = stepper.layout.arrays.gate_row[0]
    x = row[OFFSET] + stepper.layout.position[places] - row[START]
    steady = sigmoid((REST_MV + 30.0) / 5.0)
    for level in rng.integers(0, 3, 12):
        state.control[NEXT_LEVEL] = level
        stepper.advance(state, NO_EVENTS, 1)
        elapsed += 1.0
        expected = steady + (0.7 - steady) * np.exp(-(elapsed - 0.5 / stepper.control.steps_per_ms[level]) / 9.0)
        np.testing.assert_allclose(state.x[x], expected, rtol=2e-4)


def test_what_bends_a_smooth_course_does_not_depend_on_the_steps() -> None:
    """A slow gate that opens bends the course of V as much, whatever step follows whatever other."""
    places = at(0, 3)
    slow = mechanism("slow", places, [term(places, 1e-5, -60.0, (1,))], (gate_v("s", -90.0, 5.0, 200.0),))
    slow.start[:] = 0.1
    stepper = Stepper(TREE, membrane(leak(1e-4), slow), Accuracy(1, 16, 1e9))
    state, bends = stepper.start(), []
    for level in (2, 2, 2, 0, 0, 2, 1, 0, 1, 2):
        state.control[NEXT_LEVEL] = level
        stepper.advance(state, NO_EVENTS, 1)
        bends.append(state.curvature[stepper.layout.position[0]])
    assert abs(bends[1]) > 1e-5
    np.testing.assert_allclose(bends[1:], bends[1], rtol=0.1)


def test_a_small_tolerance_is_fixed_fine_steps() -> None:
    current = spiking_current(30)
    fine = stepped(SPIKING, 64, NO_EVENTS, current)
    errors = []
    for tolerance in (2.0, 0.5, 1e-9):
        stepper = Stepper(TREE, SPIKING, Accuracy(4, 64, tolerance))
        v, _, _ = stepper.advance(stepper.start(), NO_EVENTS, 30, as_injection(current))
        errors.append(np.sqrt(np.mean((v - fine) ** 2)))
    assert errors[0] > 3.0 * errors[1] > 9.0 * errors[2]
    assert errors[2] < 2e-3


def test_each_maximum_of_the_soma_is_told_once_where_it_ends() -> None:
    """Of a compartment that charges and discharges, the maximum is where the current stops."""
    cell, current = membrane(leak()), injected(40, c0=(3, 6, 0.05), c4=(15, 16, 0.05))
    current[25:28, 0] = 0.02
    for piece in (40, 1):
        stepper, state, v, peak = fixed(TREE, cell, 8), None, [], []
        state = stepper.start()
        for begin in range(0, 40, piece):
            a, b, _ = stepper.advance(state, NO_EVENTS, piece, as_injection(current[begin : begin + piece]))
            v.append(a)
            peak.append(b)
        soma, told = np.concatenate(v)[:, TREE.soma], np.concatenate(peak)[:, 0]
        where = np.flatnonzero(told > REST_MV + 0.1)  # not the noise of rest
        assert len(where) == 3
        assert where[[0, 2]].tolist() == [6, 28]
        highest = 15 + int(np.argmax(soma[15:25]))  # comes from a dendrite, a little later
        assert where[1] in (highest, highest + 1)
        np.testing.assert_allclose(told[[6, 28]], soma[[5, 27]], rtol=1e-6)
        assert soma[highest] - 1e-3 < told[where[1]] < soma[highest] + 0.2
        assert (told[6:][told[6:] < REST_MV + 0.1] < NO_PEAK_MV + 1.0).all()


def test_peaks_are_the_spikes_of_the_equations() -> None:
    current = injected(35, c0=(5, 35, 0.12))
    times = np.arange(0.02, 35.0, 0.02)
    soma = Equations(TREE, SPIKING, NO_EVENTS, current).solve(times)[:, 0]
    inner = (soma[1:-1] > soma[:-2]) & (soma[1:-1] >= soma[2:]) & (soma[1:-1] > SPIKE_MV)
    peaks, heights = times[1:-1][inner], soma[1:-1][inner]
    assert len(peaks) >= 2
    stepper = fixed(TREE, SPIKING, 64)
    v, told, _ = stepper.advance(stepper.start(), NO_EVENTS, 35, as_injection(current))
    above = np.flatnonzero(told[:, 0] > SPIKE_MV)
    assert len(above) == len(peaks)
    assert np.abs(above + told[above, 1] - peaks).max() < 0.05
    assert np.abs(told[above, 0] - heights).max() < 1.0
    assert np.array_equal(np.flatnonzero(spike_logits(v[:, 0], told[:, 0]) > 0), above)


@pytest.mark.parametrize("name", MEMBRANES)
@pytest.mark.parametrize("accuracy", [Accuracy(1, 16, 0.5), Accuracy(1, 1, 0.5)])
def test_outside_of_the_tables_numbers_stay_finite(name: str, accuracy: Accuracy) -> None:
    stepper = Stepper(TREE, MEMBRANES[name], accuracy)
    for nA in (-2.0, 2.0):
        state, current = stepper.start(), injected(120, c0=(10, 40, nA), c3=(10, 40, nA))
        v, peak, _ = stepper.advance(state, SOME_EVENTS, 120, as_injection(current))
        assert (v.min() < -300.0) if nA < 0 else (v.max() > 300.0)
        for array in (v, *state, peak):
            assert np.isfinite(array).all()
        assert (state.c_mM >= SMALLEST_MM).all()
        assert -120.0 < v[-1].min() < v[-1].max() < 80.0  # and it comes back, if to a plateau


@pytest.mark.parametrize("name", ["gates over V", "a scheme that makes spikes"])
def test_gates_that_follow_the_potential_make_spikes_more_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = MEMBRANES[name]
    for current in (spiking_current(24), injected(24, c0=(2, 24, 0.06))):
        fine = stepped(cell, 128, NO_EVENTS, current)
        assert fine.max() > 0.0
        coupled = np.sqrt(np.mean((stepped(cell, 4, NO_EVENTS, current) - fine) ** 2))
        with monkeypatch.context() as patch:
            patch.setattr(rows_module, "gives_feedback", lambda *_: False)
            patch.setattr(rows_module.RowCollector, "_coupled_state", lambda *_: -1)
            without = np.sqrt(np.mean((stepped(cell, 4, NO_EVENTS, current) - fine) ** 2))
        assert coupled < 0.8 * without


@pytest.mark.parametrize(("before", "after"), [(0.25, 0.25), (0.5, 0.03), (0.03, 0.125)])
def test_the_sensitivity_of_a_scheme_is_by_how_much_its_states_are_further_on(before: float, after: float) -> None:
    """While V moves evenly; from steady states on."""
    for point in (60, 130, 180):
        v = SCHEME_V_MV[point]
        rates = OVER_V.rates[point]
        z = np.linalg.lstsq(np.vstack([rates, np.ones(3)]), np.append(np.zeros(3), 1.0), rcond=None)[0]
        rise = OVER_V.rates[point] * 0.0
        rise[:, 0] = np.array([-1.0, 1.0, 0.0]) * np.exp((v + 60.0) / 15.0) / 15.0

        def change(u: float, y: NDArray[np.float64], rates: Any = rates, rise: Any = rise) -> NDArray[np.float64]:
            return np.asarray((rates + rise * 1e-3 * u / (2.0 * after)) @ y)

        ends = solve_ivp(change, (-before, after), z, rtol=1e-11, atol=1e-13).y[:, -1]
        _, rows = scheme_step(OVER_V, (0, 2), before + after)
        for row, state in enumerate((0, 2)):
            sensitivity = scheme_sensitivity(OVER_V, rows[:, row], before, after)[point * SCHEME_V_STRIDE]
            expected = (ends - z) / 1e-3
            assert abs(sensitivity @ np.append(z, 1.0) - expected[state]) < 1e-3 * np.abs(expected).max()


def test_a_scheme_of_two_states_is_as_sensitive_as_the_gate_that_it_is() -> None:
    v = V_GRID_MV
    uneven = gate_v("m", -38.0, 8.0, 0.05 + 0.4 / np.cosh((v + 40.0) / 25.0))
    for pair in ((0.5, 0.5), (0.5, 0.03), (0.03, 0.25)):
        expected, scheme = gate_sensitivity(uneven, *pair), two_states(uneven)
        _, rows = scheme_step(scheme, (1,), sum(pair))
        states = np.stack([1.0 - uneven.steady, uneven.steady, np.ones_like(v)], 1)
        sensitivity = (scheme_sensitivity(scheme, rows[:, 0], *pair) * states).sum(1)
        np.testing.assert_allclose(sensitivity, expected, atol=2e-3 * np.abs(expected).max())
    # With the same time constant at every V, what it gains does not depend on where it is.
    even, places = gate_v("m", -38.0, 8.0, 0.2), at(0, 5, 2)
    h = gate_v("h", -60.0, -7.0, 4.0)
    as_gate = mechanism("na", places, [term(places, 0.12, 50.0, (1, 3))], (h, even))
    as_scheme = mechanism("na", places, [term(places, 0.12, 50.0, (1, 0, 3))], (h,), (two_states(even),))
    current, found = spiking_current(24), []
    for sodium in (as_gate, as_scheme):
        stepper = Stepper(TREE, membrane(leak(3e-4), sodium), ADAPTIVE)
        assert (stepper.layout.arrays.terms.state[..., STATE_SENSITIVITY] >= 0).any()
        found.append(stepper.advance(stepper.start(), NO_EVENTS, len(current), as_injection(current)))
    assert found[0][0].max() > 0.0  # a spike
    assert found[0][2].tolist() == found[1][2].tolist()
    np.testing.assert_allclose(found[1][0], found[0][0], atol=2e-3)


def test_runs_with_gaps_are_the_same_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    runs_of = rows_module.runs_of
    assert runs_of(np.array([0, 1, 2, 50, 51, 200]), 40) == [(0, 3), (50, 52), (200, 201)]
    assert runs_of(np.array([3, 7, 8]), 40) == [(3, 9)]
    assert runs_of(np.zeros(0, np.int64)) == []
    current = spiking_current(16)
    for cell in MEMBRANES.values():
        whole = stepped(cell, 8, SOME_EVENTS, current)
        with monkeypatch.context() as patch:
            patch.setattr(rows_module, "runs_of", lambda positions: runs_of(positions, 1))
            np.testing.assert_allclose(stepped(cell, 8, SOME_EVENTS, current), whole, atol=1e-3)


# ------------------------------------------------------------------------------------------ the membrane as data


def same(a: Any, b: Any) -> bool:
    """Whether two membranes, or parts of them, are equal, types of arrays included."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


@pytest.mark.parametrize("name", MEMBRANES)
def test_a_membrane_is_its_arrays(name: str) -> None:
    import json

    cell = MEMBRANES[name]
    values, arrays = cell.to_arrays()
    made = Membrane.from_arrays(json.loads(json.dumps(values)), arrays)
    assert same(made, cell)
    assert names_of(made) == names_of(cell)


def _without(key: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def remove(values: dict[str, Any], arrays: dict[str, Any]) -> None:
        del (values if key in values else arrays)[key]

    return remove


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_without("pools"), "lacks 'pools'; read the cell again"),
        (_without("membrane.mechanisms.1.gates.0.tau_ms"), "lacks 'membrane.mechanisms.1.gates.0.tau_ms'"),
        (lambda values, _: values.update(format_version=0), "format version 0, this dendrotwin reads 1"),
        (lambda values, _: values["mechanisms"][1]["terms"][0].pop("e_mV"), "lacks 'e_mV'"),
    ],
)
def test_a_damaged_membrane(damage: Callable[[dict[str, Any], dict[str, Any]], None], match: str) -> None:
    values, arrays = MEMBRANES["gates over V"].to_arrays()
    damage(values, arrays)
    with pytest.raises(FileError, match=match):
        Membrane.from_arrays(values, arrays)


# ------------------------------------------------------------------------------------------------- machine code


def test_machine_code_is_of_all_sources(tmp_path: Path) -> None:
    """A change of any file of the solver or the cell is another digest, and another digest is compiled anew."""
    for room in ("solver", "cell"):
        shutil.copytree(compiled.PACKAGE / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    assert compiled.sources_digest(tmp_path) == compiled.SOURCES
    for name in ("solver/integrator/lookup.py", "cell/membrane.py"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n")
        assert compiled.sources_digest(tmp_path) != compiled.SOURCES


VERSION = """
from typing import NamedTuple
import numpy as np
from dendrotwin.solver import compiled
compiled.SOURCES = {sources!r}
class {name}(NamedTuple):
    x: np.ndarray
@compiled.compiled
def total(of):
    return of.x.sum()
def main():
    assert total({name}(np.ones(3))) == 3.0
    print(sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values()))
"""


def test_machine_code_of_other_sources_is_not_run(tmp_path: Path) -> None:
    """Nor does it stand in the way when a class that it was compiled for has another name now."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    found = []
    for name, sources in (("Old", "1"), ("Old", "1"), ("Old", "2"), ("Old", "2"), ("New", "3"), ("New", "3")):
        (tmp_path / "version.py").write_text(VERSION.format(name=name, sources=sources))
        code = f"import sys; sys.path.append({str(tmp_path)!r}); import version; version.main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    assert found == [["0", "1"], ["1", "0"]] * 3  # hits and misses
    assert len(list(tmp_path.rglob("*.nbc"))) == 1  # what is stale is overwritten
