"""All mechanisms of a cell, read and proved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin.cell.membrane import Ion, Membrane
from dendrotwin.cell.tree import Floats, Ints
from dendrotwin.errors import CellError
from dendrotwin.neuron.nmodl import code, mechanism_of
from dendrotwin.neuron.reading.inventory import Inventory, take_inventory
from dendrotwin.neuron.reading.ions import load_sources, nernst_mV
from dendrotwin.neuron.reading.mechanism import MechanismRead, read_mechanism
from dendrotwin.neuron.reading.pools import PoolRead, read_pool
from dendrotwin.neuron.reading.proof_of_mechanisms import prove, refusals


def read_all(
    segments: list[Any], name: str, v_init_mV: float, celsius: float, files: list[Path]
) -> tuple[Membrane, dict[str, float]]:
    """The membrane of the segments, and the error of each mechanism under the trace.

    Args:
        segments: in the order of the compartments.
        name: of the cell.
        v_init_mV: potential at the start [mV].
        celsius: temperature [degC].
        files: .mod files of the mechanisms, to see which have a POINTER.

    Raises:
        CellError: some mechanisms cannot be held.
    """
    from neuron import h

    pointing = _pointing(segments, files)
    if pointing:  # before NEURON looks at where they point
        raise CellError(refusal(name, dict.fromkeys(pointing, "it has a POINTER")))
    kept = h.dt, h.secondorder
    try:
        inventory = take_inventory(segments, v_init_mV, celsius)
        load_sources(sorted({ion for inserted in inventory.mechanisms for ion in inserted.writes}))
        mechanisms, pools, refused = _read(inventory)
        errors = prove(mechanisms, pools, inventory)
        refused |= refusals(errors)
        if refused:
            raise CellError(refusal(name, refused))
        ions = tuple(_ion(ion, inventory) for ion in sorted({one.pool.ion for one in pools}))
        read = tuple(one.mechanism for one in mechanisms), tuple(one.pool for one in pools)
        return Membrane(float(celsius), *read, ions), errors
    finally:
        h.dt, h.secondorder = kept
        h.finitialize(v_init_mV)


def _pointing(segments: list[Any], files: list[Path]) -> list[str]:
    """Mechanisms in use with a POINTER: where it is not set NEURON crashes, so this alone is looked up in NMODL."""
    names = {mechanism.name() for segment in segments for mechanism in segment if not mechanism.is_ion()}
    pointing = {
        name for file, name in mechanism_of(files).items() if re.search(r"\b(BBCORE)?POINTER\b", code(file, files))
    }
    return sorted(names & pointing)


def _read(inventory: Inventory) -> tuple[list[MechanismRead], list[PoolRead], dict[str, str]]:
    """What is read, and why the others are refused."""
    mechanisms: list[MechanismRead] = []
    pools: list[PoolRead] = []
    refused: dict[str, str] = {}
    taken: dict[str, Ints] = {}
    for inserted in inventory.mechanisms:
        try:
            if inserted.name in inventory.drifts:
                raise CellError(inventory.drifts[inserted.name])
            if inserted.name == "extracellular":
                raise CellError("a potential outside the membrane is none of the twin's")
            if len(inserted.writes) > 1:
                raise CellError(f"it writes several concentrations: {', '.join(inserted.writes)}")
            if not inserted.writes:
                mechanisms += read_mechanism(inserted, inventory)
                continue
            (ion,) = inserted.writes
            before = taken.get(ion, np.zeros(0, dtype=np.int32))
            if np.intersect1d(before, inserted.at).size:
                raise CellError(f"another mechanism writes {ion}i in the same compartment")
            taken[ion] = np.concatenate([before, inserted.at])
            start = inventory.inside_mM[ion][inserted.at]
            pools.append(read_pool(inserted.name, ion, inserted.at, inserted.compartments, start, inventory.shared))
        except (CellError, ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            refused[inserted.name] = str(error) if isinstance(error, CellError) else f"reading it fails ({error})"
    return mechanisms, pools, refused


def refusal(name: str, refused: dict[str, str]) -> str:
    """What is said of mechanisms that cannot be held.

    Args:
        name: of the cell.
        refused: the reasons, by mechanism.
    """
    reasons = "; ".join(f"{mechanism}: {reason}" for mechanism, reason in refused.items())
    return (
        f"the cell {name} has mechanisms that cannot be held as tables. {reasons}. "
        "Replace them by mechanisms without that, or leave them out"
    )


def _ion(ion: str, inventory: Inventory) -> Ion:
    """Its concentrations in all compartments; where it is not, those that NEURON would give it."""
    from neuron import h

    def whole(values: Floats, key: str) -> Floats:
        return np.where(np.isnan(values), float(getattr(h, f"{ion}{key}0_{ion}_ion")), values)

    return Ion(ion, whole(inventory.inside_mM[ion], "i"), whole(inventory.outside_mM[ion], "o"), nernst_mV(ion))
