"""All mechanisms of a cell, read and proved."""

from __future__ import annotations

from typing import Any

import numpy as np

from dendrotwin.errors import CellError
from dendrotwin.membrane import Ion, Membrane
from dendrotwin.reading.bench import load_sources, nernst_mV
from dendrotwin.reading.found import Inventory, take_inventory
from dendrotwin.reading.mechanism import MechanismRead, read_mechanism
from dendrotwin.reading.pools import PoolRead, read_pool
from dendrotwin.reading.trace import check, prove
from dendrotwin.tree import Floats


def read_all(segments: list[Any], name: str, v_init_mV: float, celsius: float) -> tuple[Membrane, dict[str, float]]:
    """The membrane of the segments, and the error of each mechanism under the trace.

    Raises:
        CellError: some mechanisms cannot be held.
    """
    from neuron import h

    kept = h.dt, h.secondorder
    try:
        inventory = take_inventory(segments, v_init_mV, celsius)
        load_sources(sorted({ion for found in inventory.mechanisms for ion in found.writes}))
        mechanisms, pools = _read(inventory, name)
        ions = tuple(_ion(ion, inventory) for ion in sorted({one.pool.ion for one in pools}))
        membrane = Membrane(
            float(celsius), tuple(one.mechanism for one in mechanisms), tuple(one.pool for one in pools), ions
        )
        errors = prove(mechanisms, pools, inventory)
        if refused := check(errors):
            raise CellError(refusal(name, refused))
        return membrane, errors
    finally:
        h.dt, h.secondorder = kept
        h.finitialize(v_init_mV)


def _read(inventory: Inventory, name: str) -> tuple[list[MechanismRead], list[PoolRead]]:
    mechanisms: list[MechanismRead] = []
    pools: list[PoolRead] = []
    refused: dict[str, str] = {}
    taken: dict[str, np.ndarray] = {}
    for found in inventory.mechanisms:
        try:
            if len(found.writes) > 1:
                raise CellError(f"it writes several concentrations: {', '.join(found.writes)}")
            if not found.writes:
                mechanisms += read_mechanism(found, inventory)
                continue
            (ion,) = found.writes
            before = taken.get(ion, np.zeros(0, dtype=int))
            if np.intersect1d(before, found.at).size:
                raise CellError(f"another mechanism writes {ion}i in the same compartment")
            taken[ion] = np.concatenate([before, found.at])
            pools.append(read_pool(found.name, ion, found.at, found.places, inventory.inside_mM[ion][found.at], inventory.shared))
        except (CellError, np.linalg.LinAlgError) as error:
            refused[found.name] = str(error)
    if refused:
        raise CellError(refusal(name, refused))
    return mechanisms, pools


def refusal(name: str, refused: dict[str, str]) -> str:
    """What is said of mechanisms that cannot be held."""
    reasons = "; ".join(f"{mechanism}: {reason}" for mechanism, reason in refused.items())
    return f"the cell {name} has mechanisms that cannot be held as tables. {reasons}. Replace them by mechanisms without that, or leave them out"


def _ion(ion: str, inventory: Inventory) -> Ion:
    """Its concentrations in all compartments; where it is not, those that NEURON would give it."""
    from neuron import h

    def whole(values: Floats, key: str) -> Floats:
        return np.where(np.isnan(values), float(getattr(h, f"{ion}{key}0_{ion}_ion")), values)

    return Ion(ion, whole(inventory.inside_mM[ion], "i"), whole(inventory.outside_mM[ion], "o"), nernst_mV(ion))
