"""From the node types of a SONATA circuit to twins: each read once, and kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from dendrotwin.cells import load_cell
from dendrotwin.cells.sonata import NodeType, mechanisms, node_type
from dendrotwin.errors import CellError, DendrotwinError, FileError
from dendrotwin.neuron.build import SYNAPSE_FILES
from dendrotwin.neuron.cell_files import cell_digest
from dendrotwin.neuron.compile import build_mechanisms
from dendrotwin.neuron.simulation import Simulation
from dendrotwin.read_twin import twin_of
from dendrotwin.recording import provenance
from dendrotwin.support.cache import cache_folder
from dendrotwin.support.progress import progress
from dendrotwin.support.workers import cores, worker_pool
from dendrotwin.twin import Twin


def read_twins(
    node_types: Mapping[str, Mapping[str, str]], accuracy: str = "standard", tolerance_mV: float | None = None
) -> dict[str, Twin]:
    """The twins of node types, read in as many processes as there are cores; those read before come from a folder.

    They are kept in `sonata` of the cache, by a hash of all files that they are made from, of the conditions, and of
    the versions. Node types that are the same share one twin.

    Args:
        node_types: options of the cell `sonata` (see `cells.sonata.NodeType`), by a name.
        accuracy: see `read_twin.twin_of`.
        tolerance_mV: see `read_twin.twin_of` [mV].

    Raises:
        CellError: a node type cannot be built or read: which one, and why.
        InputError: there is no such accuracy.
    """
    nodes = {}
    for name, options in node_types.items():
        with _naming(name):
            nodes[name] = node_type(options)
    names = {node: name for name, node in reversed(nodes.items())}  # the first name of each
    folders = {}
    for node, name in names.items():
        with _naming(name):
            folders[node] = _folder(node, accuracy, tolerance_mV)
    twins = {node: twin for node, folder in folders.items() if (twin := _kept(folder)) is not None}
    missing = {name: (node, folders[node]) for node, name in names.items() if node not in twins}
    if missing:
        _read_all(missing, accuracy, tolerance_mV)
        twins |= {node: Twin.load(folder) for node, folder in missing.values()}
    return {name: twins[node] for name, node in nodes.items()}


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Errors of a cell in this block say which node type it is."""
    try:
        yield
    except CellError as error:
        raise CellError(f"node type {name}: {error}") from error


def _options(node: NodeType) -> dict[str, str]:
    return {key: value for key, value in asdict(node).items() if value}


def _folder(node: NodeType, accuracy: str, tolerance_mV: float | None) -> Path:
    """Where the twin of a node type is kept."""
    options = _options(node)
    model = load_cell("sonata", options)
    fault = model.missing()
    if fault:
        raise CellError(fault)
    files = cell_digest(Simulation(cell="sonata", cell_options=options, duration_ms=1), model)
    kept = {key: Path(value).name for key, value in options.items()}  # wherever the files lie, they are the same
    said = json.dumps([files, kept, accuracy, tolerance_mV, provenance()], sort_keys=True)
    return cache_folder() / "sonata" / hashlib.sha256(said.encode()).hexdigest()[:16]


def _kept(folder: Path) -> Twin | None:
    """The twin that is in a folder of the cache, if it is whole."""
    try:
        return Twin.load(folder) if folder.is_dir() else None
    except DendrotwinError:  # damaged, or of another version: it is read again
        return None


def _read_all(missing: dict[str, tuple[NodeType, Path]], accuracy: str, tolerance_mV: float | None) -> None:
    """Read twins and put them into their folders."""
    workers = min(cores(), len(missing))
    compiled: dict[tuple[Path, ...], str] = {}  # else processes would compile the same mechanisms side by side
    for name, (node, _) in missing.items():
        compiled.setdefault(tuple(mechanisms(node)), name)
    with progress("reading cells", len(missing), "node types") as advance, worker_pool(workers, threads=1) as pool:
        for name, built in [
            (n, pool.submit(build_mechanisms, [*files, *SYNAPSE_FILES])) for files, n in compiled.items()
        ]:
            with _naming(name):
                built.result()
        jobs = {
            pool.submit(_read, node, folder, accuracy, tolerance_mV): name for name, (node, folder) in missing.items()
        }
        for job in as_completed(jobs):
            try:
                with _naming(jobs[job]):
                    job.result()
            except BrokenProcessPool:
                raise CellError(f"node type {jobs[job]}: the process that reads it ended: {pool.death()}") from None
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            advance(note=jobs[job])


def _read(node: NodeType, folder: Path, accuracy: str, tolerance_mV: float | None) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    twin = twin_of("sonata", _options(node), accuracy, tolerance_mV)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        twin.save(folder, overwrite=True)
    except FileError:
        if _kept(folder) is None:  # else another process was first, and kept the same
            raise
