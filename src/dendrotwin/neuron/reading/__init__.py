"""Reading the membrane of a cell from NEURON, by probing: its channels as tables, for `solver`.

No mechanism is known by name and no NMODL is read: NEURON is asked what each mechanism does, and asked again along a
trace of potentials and concentrations, in which the tables must give the same currents.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from dataclasses import dataclass, field

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.tree import Tree
from dendrotwin.cells import load_cell
from dendrotwin.errors import CellError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.reading.cell import read_all
from dendrotwin.neuron.reading.proof_of_cell import CellProof, prove_cell
from dendrotwin.support.workers import WorkerError, describe_end, run_apart

CRASHES = {
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")
    if hasattr(signal, name)  # not every system has each
}


@dataclass(frozen=True, eq=False)
class Reading:
    """A membrane that was read.

    Attributes:
        membrane: see there.
        seconds: that it took.
        errors: largest difference of each mechanism's current under the test trace (of a pool: of its concentration),
            a share of the largest current.
        cell_proof: how far the whole cell is from NEURON; None where it was not asked for.
    """

    membrane: Membrane
    seconds: float
    errors: dict[str, float] = field(default_factory=dict)
    cell_proof: CellProof | None = None


def read_membrane(cell: NeuronCell) -> Reading:
    """Read every density mechanism of a cell that is built in this process's NEURON.

    A mechanism with a POINTER that nothing is set to ends the process: `read_cell` makes that an error.

    Args:
        cell: built in this process's NEURON.

    Raises:
        CellError: some mechanisms cannot be held: which, why, and what to do.
    """
    began = time.perf_counter()
    model = cell.model
    membrane, errors = read_all(cell.segments, model.name, model.v_init_mV, model.celsius, model.files())
    return Reading(membrane, time.perf_counter() - began, errors)


def read_cell(name: str, options: dict[str, str] | None = None) -> tuple[Tree, Reading]:
    """Build a cell in a process of its own, read it there, and prove it as a whole.

    Args:
        name: of the cell, as `load_cell` takes it.
        options: of the cell, likewise.

    Raises:
        CellError: see `read_membrane` and `proof_of_cell.prove_cell`; or its mechanisms make NEURON crash.
    """
    try:
        return run_apart(_read, name, options or {})
    except WorkerError as died:
        if -died.exitcode in CRASHES:
            raise CellError(
                f"the mechanisms of the cell {name} make NEURON crash when they are read one by one; most likely one "
                "has a POINTER to which nothing is set: take it out of the cell, or write it without POINTER"
            ) from died
        raise CellError(
            f"the process that reads the cell {name} ended with code {died.exitcode} before it was done: "
            f"{describe_end(died.exitcode, died.last_words)}"
        ) from died


def _read(name: str, options: dict[str, str]) -> tuple[Tree, Reading]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cell = NeuronCell(load_cell(name, options))
    reading = read_membrane(cell)
    return cell.tree, dataclasses.replace(reading, cell_proof=prove_cell(cell, reading.membrane))
