"""By what a run is known again: a digest of its circuit, its settings and all that is recorded.

Nobody has the whole circuit. So each process hashes what ends in its cells, row by row, and the hashes are summed. Sums
do not depend on who has which cell: a run that is done is known by any number of processes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Synapse
from dendrotwin.circuit.description import Description
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.wiring import own_nodes, places_within, twins_of
from dendrotwin.twin import Twin

DIGITS = 16  # of a digest: 64 bits
Bits = NDArray[np.uint64]


def digest_of(*things: Any) -> str:
    """Digest of descriptions, settings and the like: of their fields, arrays and twins.

    Args:
        things: dataclasses, arrays, twins, paths, texts, numbers, and lists and mappings of these.
    """
    digest = hashlib.sha256()

    def add(thing: Any) -> None:
        if isinstance(thing, np.ndarray):
            digest.update(f"{thing.dtype}{thing.shape}".encode() + np.ascontiguousarray(thing).tobytes())
        elif isinstance(thing, Twin):
            add([thing.tree.fingerprint(), json.dumps(thing.options, sort_keys=True)])
        elif is_dataclass(thing):
            add([[field.name, getattr(thing, field.name)] for field in fields(thing)])
        elif isinstance(thing, Mapping):
            add([[name, value] for name, value in thing.items()])
        elif isinstance(thing, Path):
            add(thing.name)  # results that were moved are the same
        elif isinstance(thing, (list, tuple)):
            digest.update(f"[{len(thing)}".encode())
            for each in thing:
                add(each)
        else:
            digest.update(repr(thing).encode())

    add(list(things))
    return digest.hexdigest()[:DIGITS]


def digest_of_run(circuit: Description, settings: Settings, asked: Any) -> str:
    """Digest of a run, the same in all processes, which make it together.

    Args:
        circuit: its description, or what of it ends in the cells of this process.
        settings: how it is run.
        asked: all that else its results depend on; see `digest_of`.

    Raises:
        CircuitError: another process has ended.
    """
    rows = sum(exchange().gather(_own_rows(circuit))) % 2**64
    ends = [[(p.source, p.target) for p in circuit.projections], [(b.population, b.seed) for b in circuit.backgrounds]]
    clamped = [c.population for c in circuit.clamps]
    return digest_of(circuit.populations, circuit.trains, ends, clamped, rows, settings.of_results, asked)


def _own_rows(circuit: Description) -> int:
    """The sum of the hashes of all that ends in the cells of this process, modulo 2**64."""
    own = own_nodes(twins_of(circuit.populations), exchange().rank, exchange().size)
    of_names = dict(zip((p.name for p in circuit.populations), own, strict=True))
    found = 0
    for part, (name, node, columns) in enumerate(_parts(circuit)):
        mine = np.flatnonzero(of_names[name][node])
        found += _hashed(part, [node[mine], places_within(node[mine]), *(column[mine] for column in columns)])
    return found % 2**64


def _parts(circuit: Description) -> Iterator[tuple[str, NDArray[Any], list[NDArray[Any]]]]:
    """All projections, backgrounds and clamps: population, (K,) nodes where rows end, and all else of them."""
    for p in circuit.projections:
        of_synapses = [] if p.plasticity is None else list(p.plasticity.T)
        columns = [p.source_node, p.compartment, _kinds(p.synapses)[p.synapse], p.weight, p.delay_ms, *of_synapses]
        yield p.target, p.target_node, columns
    for b in circuit.backgrounds:
        yield b.population, b.node, [b.compartment, _kinds(b.synapses)[b.synapse], b.weight, b.rate_hz]
    for c in circuit.clamps:
        yield c.population, c.node, [c.compartment, c.start_ms, c.stop_ms, c.current_nA]


def _kinds(synapses: tuple[Synapse, ...]) -> Bits:
    """(kinds,) a number for each, by what it is: processes may count kinds differently."""
    return np.array([int(digest_of(kind), 16) for kind in synapses], np.uint64)


def _hashed(start: int, columns: list[NDArray[Any]]) -> int:
    """The sum of the hashes of rows, by SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195)."""
    rows = np.full(len(columns[0]), start, np.uint64)
    for column in columns:
        value = np.asarray(column, np.float64 if column.dtype.kind == "f" else column.dtype)
        rows += value.view(np.uint64) if value.dtype.itemsize == 8 else value.astype(np.uint64)
        rows += np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            rows = (rows ^ (rows >> np.uint64(shift))) * np.uint64(factor)
        rows ^= rows >> np.uint64(31)
    return int(rows.sum(dtype=np.uint64))
