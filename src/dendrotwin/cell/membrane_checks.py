"""What a membrane has to be, looked at before compiled loops run over one that comes from a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.membrane import (
    BOTH_C_MM,
    BOTH_V_MV,
    C_BINS,
    PLANE_C_MM,
    PLANE_V_MV,
    SCHEME_C_MM,
    SCHEME_V_MV,
    V_BINS,
    Gate,
    Mechanism,
    Membrane,
    Pool,
    Scheme,
    Term,
)
from dendrotwin.errors import FileError

LARGEST = 1e15  # of any number of a membrane, in its unit: a product of some of them is finite in single precision
LARGEST_MV = 1e4
LARGEST_RATE_PER_MS = 1e9
LARGEST_MM = 1e6
LARGEST_POWER = 100.0
MOST_STATES = 200  # of a scheme, and of a mechanism
LARGEST_SCHEME = 2**26  # numbers in the tables of all schemes for one pair of steps

OF_GATE = {"v": (V_BINS,), "c": (C_BINS,), "vc": (len(PLANE_C_MM), len(PLANE_V_MV))}
OF_SCHEME = {"v": (len(SCHEME_V_MV),), "c": (len(SCHEME_C_MM),), "vc": (len(BOTH_C_MM), len(BOTH_V_MV))}
OF_TERM = ((V_BINS,), (2, V_BINS), (len(PLANE_C_MM), len(PLANE_V_MV)))


def check_membrane(membrane: Membrane, n: int) -> None:
    """See that a membrane is one of a cell: shapes of all tables, bounds of all indices, and numbers that can be.

    Args:
        membrane: made of values of any type.
        n: compartments of the cell.

    Raises:
        FileError: it is none.
    """
    try:
        _within("the temperature", membrane.celsius, -100.0, 200.0)
        ions = {ion.name for ion in membrane.ions}
        if len(ions) != len(membrane.ions) or not all(isinstance(name, str) and name for name in ions):
            raise ValueError("two ions have one name")
        for ion in membrane.ions:
            _array(f"{ion.name} inside", ion.inside_mM, (n,), 0.0, LARGEST_MM)
            _array(f"{ion.name} outside", ion.outside_mM, (n,), 0.0, LARGEST_MM)
            _within(f"nernst_mV of {ion.name}", ion.nernst_mV, -LARGEST_MV, LARGEST_MV)
        for mechanism in membrane.mechanisms:
            _check_mechanism(mechanism, n, ions)
        sizes = [scheme.rates.size for mechanism in membrane.mechanisms for scheme in mechanism.schemes]
        if sum(sizes) > LARGEST_SCHEME:
            raise ValueError("its schemes have more states than a machine can hold tables of")
        taken: set[tuple[str, int]] = set()
        for pool in membrane.pools:
            _check_pool(pool, n, ions)
            own = {(pool.ion, int(i)) for i in pool.at}
            if own & taken:
                raise ValueError(f"a compartment has two pools of {pool.ion}")
            taken |= own
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise FileError(f"the membrane is damaged ({error}); read the cell again with `dendrotwin twin`") from error


def _check_mechanism(mechanism: Mechanism, n: int, ions: set[str]) -> None:
    name = mechanism.name
    if not isinstance(name, str) or not isinstance(mechanism.parameters, dict):
        raise ValueError("a mechanism has no name, or no parameters")
    _check_places(name, mechanism.at, n)
    for gate in mechanism.gates:
        _check_gate(f"{name}.{gate.name}", gate, ions)
    for scheme in mechanism.schemes:
        _check_scheme(name, scheme, ions)
    states, m = len(mechanism.states), len(mechanism.at)
    if states > MOST_STATES:
        raise ValueError(f"{name} has {states} states")
    _array(f"the start of {name}", mechanism.start, (states, m), -LARGEST, LARGEST)
    for term in mechanism.terms:
        _check_term(name, term, states, m, ions)


def _check_gate(name: str, gate: Gate, ions: set[str]) -> None:
    _known(name, gate.ion, ions, needed=gate.over != "v")
    shape = OF_GATE[gate.over]
    _array(f"the steady state of {name}", gate.steady, shape, -LARGEST, LARGEST)
    tau = gate.tau_ms
    if not isinstance(tau, np.ndarray) or tau.dtype != np.float64 or tau.shape != shape or not (tau > 0).all():
        raise ValueError(f"the time constant of {name} is not positive, or has another shape")


def _check_scheme(name: str, scheme: Scheme, ions: set[str]) -> None:
    _known(name, scheme.ion, ions, needed=scheme.over != "v")
    k, points = len(scheme.names), OF_SCHEME[scheme.over]
    if not 1 <= k <= MOST_STATES:
        raise ValueError(f"a scheme of {name} has {k} states")
    _array(f"rates of {name}", scheme.rates, (*points, k, k), -LARGEST_RATE_PER_MS, LARGEST_RATE_PER_MS)
    _array(f"inflow of {name}", scheme.inflow, (*points, k), -LARGEST_RATE_PER_MS, LARGEST_RATE_PER_MS)


def _check_term(name: str, term: Term, states: int, m: int, ions: set[str]) -> None:
    if not isinstance(term.moves, bool):
        raise ValueError(f"a current of {name} neither moves nor stays")
    _known(name, term.ion, ions, needed=term.moves and term.table is None)
    _array(f"powers of {name}", term.powers, (states,), 0.0, LARGEST_POWER)
    _array(f"density of {name}", term.density, (m,), -LARGEST, LARGEST)
    if term.table is None:
        if not term.moves:  # else nobody looks at it
            _array(f"e_mV of {name}", term.e_mV, (m,), -LARGEST_MV, LARGEST_MV)
        return
    shape = term.table.shape
    if shape not in OF_TERM:
        raise ValueError(f"a table of {name} has the shape {shape}")
    _array(f"a table of {name}", term.table, shape, -LARGEST, LARGEST)
    _known(name, term.c_ion, ions, needed=len(shape) == 2)


def _check_pool(pool: Pool, n: int, ions: set[str]) -> None:
    if not isinstance(pool.name, str):
        raise ValueError("a pool has no name")
    _check_places(pool.name, pool.at, n)
    _known(pool.name, pool.ion, ions, needed=True)
    m = (len(pool.at),)
    _array(f"rate_per_ms of {pool.name}", pool.rate_per_ms, m, 0.0, LARGEST_RATE_PER_MS)
    _array(f"rest_mM of {pool.name}", pool.rest_mM, m, 0.0, LARGEST_MM)
    _array(f"gain_in of {pool.name}", pool.gain_in, m, -LARGEST, LARGEST)
    _array(f"gain_out of {pool.name}", pool.gain_out, m, -LARGEST, LARGEST)


def _check_places(name: str, at: NDArray[Any], n: int) -> None:
    """Rising compartments of the cell, at least one."""
    if not isinstance(at, np.ndarray) or at.dtype.kind != "i" or at.ndim != 1 or not len(at):
        raise ValueError(f"{name} is in no compartment")
    if at.min() < 0 or at.max() >= n or (np.diff(at) <= 0).any():  # differences alone may overflow
        raise ValueError(f"{name} is in compartments that the cell has not, or not in their order")


def _known(name: str, ion: str, ions: set[str], needed: bool) -> None:
    if not isinstance(ion, str) or (needed and ion not in ions):
        raise ValueError(f"{name} depends on the ion {ion!r:.20}, which has no pool")


def _array(name: str, value: Any, shape: tuple[int, ...], low: float, high: float) -> NDArray[np.float64]:
    """An array of float64, of this shape and within these bounds."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float64 or value.shape != shape:
        raise ValueError(f"{name} has another shape than {shape}, or holds no float64")
    if value.size and not (value.min() >= low and value.max() <= high):  # NaN too
        raise ValueError(f"{name} is not from {low:g} to {high:g}")
    return value


def _within(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r:.40}, and must be a number from {low:g} to {high:g}")
