"""The membrane of a cell: gates, kinetic schemes, currents and pools of ions, as tables and numbers.

This is all that a channel is to the solver; it knows none by name. `neuron.reading` fills it from a NEURON model,
`solver` steps it. Its form is that of Hodgkin and Huxley (1952, doi:10.1113/jphysiol.1952.sp004764). With V the
potential, c the inside concentration of an ion, and x the states of a mechanism:

    gate            x' = (steady - x) / tau,     steady and tau over V, over c, or over both
    scheme          x' = rates(V, c) x + inflow     (a Markov scheme: several states that depend on each other linearly)
    term            I = density * prod(x ** power) * drive   [mA/cm2, outward is positive]
                    drive = V - E (ohmic: E fixed, or the ion's, which moves with its concentration),
                    or a table over V, a + b c over V, or a table over c and V
    pool            c' = (rest - c) * rate + gain * I of its ion

Tables over V lie on `V_GRID_MV`, tables over a concentration on `C_GRID_MM`; what lies outside takes the value of the
border, and a drive goes on in a straight line.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import FileError

FORMAT_VERSION = 1
# Off round numbers, where rates such as x / (exp(x) - 1) are 0/0 in many published mechanisms.
V_LOW_MV, V_BIN_MV, V_BINS = -149.9863, 0.25, 1001
V_GRID_MV: Floats = V_LOW_MV + V_BIN_MV * np.arange(V_BINS, dtype=np.float64)
C_LOW_MM, C_HIGH_MM, C_BINS = 1e-6, 1e3, 1201  # evenly on a logarithmic scale: sodium and potassium lie there too
C_GRID_MM: Floats = np.asarray(np.geomspace(C_LOW_MM, C_HIGH_MM, C_BINS), dtype=np.float64)
# Coarser grids for tables over both, and for the matrices of a scheme.
PLANE_V_STRIDE, PLANE_C_STRIDE, SCHEME_V_STRIDE, SCHEME_C_STRIDE = 4, 4, 2, 3
PLANE_V_MV, PLANE_C_MM = V_GRID_MV[::PLANE_V_STRIDE], C_GRID_MM[::PLANE_C_STRIDE]
SCHEME_V_MV, SCHEME_C_MM = V_GRID_MV[::SCHEME_V_STRIDE], C_GRID_MM[::SCHEME_C_STRIDE]
BOTH_V_STRIDE, BOTH_C_STRIDE = 8, 8  # of a scheme that depends on both
BOTH_V_MV, BOTH_C_MM = V_GRID_MV[::BOTH_V_STRIDE], C_GRID_MM[::BOTH_C_STRIDE]


@dataclass(frozen=True, eq=False)
class Gate:
    """One state that depends on no other: x' = (steady - x) / tau.

    Attributes:
        name: of the state in the mechanism.
        steady, tau_ms: (V_BINS,) over V, (C_BINS,) over a concentration, or (len(PLANE_C_MM), len(PLANE_V_MV)) over
            both; tau [ms] is above 0 and may be infinite (a state that stands still).
        ion: whose inside concentration it depends on; "" where it depends on V alone.
    """

    name: str
    steady: Floats
    tau_ms: Floats
    ion: str = ""

    @property
    def over(self) -> str:
        """What it depends on: "v", "c" or "vc"."""
        return "vc" if self.steady.ndim == 2 else "c" if self.ion else "v"


@dataclass(frozen=True, eq=False)
class Scheme:
    """Several states that depend on each other linearly: x' = rates x + inflow.

    Attributes:
        names: of the K states.
        rates: (points, K, K) [1/ms] over SCHEME_V_MV, or over SCHEME_C_MM where there is an ion; or over both,
            (len(BOTH_C_MM), len(BOTH_V_MV), K, K).
        inflow: (points, K) [1/ms], or (len(BOTH_C_MM), len(BOTH_V_MV), K).
        ion: whose inside concentration it depends on; "" where it depends on V alone.
    """

    names: tuple[str, ...]
    rates: Floats
    inflow: Floats
    ion: str = ""

    @property
    def over(self) -> str:
        """What it depends on: "v", "c" or "vc"."""
        return "vc" if self.rates.ndim == 4 else "c" if self.ion else "v"


@dataclass(frozen=True, eq=False)
class Term:
    """A part of a mechanism's current: density * prod(x ** power) * drive [mA/cm2], outward positive.

    Attributes:
        ion: which ion carries it, so that it fills pools; "" for none.
        powers: (states,) of each state of the mechanism.
        density: (m,) in each of the mechanism's compartments: [S/cm2] of an ohmic term, a factor on the table else.
        e_mV: (m,) reversal potential of an ohmic term [mV]; not looked at where `moves`.
        moves: an ohmic term whose reversal potential is the Nernst potential of its ion, which has a pool.
        table: None for an ohmic term; (V_BINS,) over V [mA/cm2]; (2, V_BINS) a and b of a + b c; or
            (len(PLANE_C_MM), len(PLANE_V_MV)).
        c_ion: ion of c in the table; "" where there is none.
    """

    ion: str
    powers: Floats
    density: Floats
    e_mV: Floats
    moves: bool = False
    table: Floats | None = None
    c_ion: str = ""


@dataclass(frozen=True, eq=False)
class Mechanism:
    """A density mechanism at one set of the parameters that shape it, in the compartments that have these.

    Attributes:
        name: NEURON's name (SUFFIX).
        parameters: those that shape it, by name.
        at: (m,) its compartments, rising.
        gates: states that depend on no other; they come first in `powers` and `start`.
        schemes: states that depend on each other, scheme by scheme, after the gates.
        terms: of its currents.
        start: (states, m) states at the start of a trial, as its INITIAL sets them.
    """

    name: str
    parameters: dict[str, float]
    at: Ints
    gates: tuple[Gate, ...]
    schemes: tuple[Scheme, ...]
    terms: tuple[Term, ...]
    start: Floats

    @property
    def states(self) -> tuple[str, ...]:
        """Names of its states, in the order of `powers` and `start`."""
        return (*(gate.name for gate in self.gates), *(name for scheme in self.schemes for name in scheme.names))


@dataclass(frozen=True, eq=False)
class Pool:
    """An inside concentration that follows the current of its ion: c' = (rest - c) rate + gain I.

    Attributes:
        name: NEURON's name of the mechanism.
        ion: whose concentration it is.
        at: (m,) its compartments, rising; a compartment has at most one pool of an ion.
        rate_per_ms, rest_mM: (m,) [1/ms], [mM].
        gain_in, gain_out: (m,) [mM/ms per mA/cm2] for an inward (negative) and an outward current; the second is 0
            where the mechanism counts inward current alone.
    """

    name: str
    ion: str
    at: Ints
    rate_per_ms: Floats
    rest_mM: Floats
    gain_in: Floats
    gain_out: Floats


@dataclass(frozen=True, eq=False)
class Ion:
    """An ion that has a pool somewhere.

    Attributes:
        name: such as "ca".
        inside_mM, outside_mM: (n,) concentrations at the start of a trial [mM]; outside it stays.
        nernst_mV: RT / zF [mV]: E = nernst log(outside / inside).
    """

    name: str
    inside_mM: Floats
    outside_mM: Floats
    nernst_mV: float


@dataclass(frozen=True, eq=False)
class Membrane:
    """All density mechanisms of a cell.

    Attributes:
        celsius: temperature that it was read at [degC].
        mechanisms, pools, ions: see there.
    """

    celsius: float
    mechanisms: tuple[Mechanism, ...]
    pools: tuple[Pool, ...]
    ions: tuple[Ion, ...]

    def __repr__(self) -> str:
        return f"Membrane({', '.join(names_of(self))}; {self.celsius:g} degC)"

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What JSON can hold, and the arrays by name, (...,) each; see `from_arrays`."""
        arrays: dict[str, NDArray[Any]] = {}

        def pack(value: Any, place: str) -> Any:
            if dataclasses.is_dataclass(value):
                fields = dataclasses.fields(value)
                return {f.name: pack(getattr(value, f.name), f"{place}.{f.name}") for f in fields}
            if isinstance(value, tuple):
                return [pack(part, f"{place}.{k}") for k, part in enumerate(value)]
            if isinstance(value, np.ndarray):
                arrays[place] = value
                return {"array": place}
            return value

        return {"format_version": FORMAT_VERSION, **pack(self, "membrane")}, arrays

    @classmethod
    def from_arrays(cls, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Membrane:
        """The inverse of `to_arrays`: the same membrane.

        Args:
            values: what JSON held.
            arrays: (...,) each, by name.

        Raises:
            FileError: it is of another format, lacks a part, or there is more.
        """
        arrays = dict(arrays)
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise FileError(
                f"the membrane has format version {version}, this dendrotwin reads {FORMAT_VERSION}; read the cell "
                "again with `dendrotwin twin`"
            )

        def array(value: Any) -> Any:
            return None if value is None else arrays.pop(value["array"])

        def plain(of: type, value: dict[str, Any], **parts: Any) -> Any:
            made = {f.name: value[f.name] for f in dataclasses.fields(of) if f.name not in parts}
            unpacked = {k: array(v) if isinstance(v, dict) and set(v) == {"array"} else v for k, v in made.items()}
            return of(**unpacked, **parts)

        try:
            mechanisms = tuple(
                plain(
                    Mechanism,
                    m,
                    gates=tuple(plain(Gate, g) for g in m["gates"]),
                    schemes=tuple(plain(Scheme, s, names=tuple(s["names"])) for s in m["schemes"]),
                    terms=tuple(plain(Term, t) for t in m["terms"]),
                )
                for m in values["mechanisms"]
            )
            pools = tuple(plain(Pool, p) for p in values["pools"])
            ions = tuple(plain(Ion, i) for i in values["ions"])
            made = cls(values["celsius"], mechanisms, pools, ions)
        except (KeyError, TypeError) as error:
            raise FileError(f"the membrane lacks {error}; read the cell again with `dendrotwin twin`") from error
        if arrays:
            raise FileError(f"the membrane has no {min(arrays)}; read the cell again with `dendrotwin twin`")
        return made


def names_of(membrane: Membrane) -> list[str]:
    """NEURON's names of all mechanisms and pools, each once.

    Args:
        membrane: whose.
    """
    return list(dict.fromkeys([m.name for m in membrane.mechanisms] + [p.name for p in membrane.pools]))
