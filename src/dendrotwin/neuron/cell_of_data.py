"""The cell that data were simulated with, to be run again: by its name, or from a file that the user names.

Data come from other people. A path in them is text, and the Python file there is never run for its sake.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dendrotwin.cells import NAMES, OF_FILES, load_cell
from dendrotwin.errors import InputError
from dendrotwin.neuron.cell_files import cell_digest
from dendrotwin.neuron.simulation import Simulation


def simulation_of_data(made: dict[str, Any], cell: str | Path | None, of: str) -> Simulation:
    """The simulation that made some data, with a cell that may be built.

    Args:
        made: what the data say of it.
        cell: the Python file of the cell, where the user names one.
        of: whose data these are, for the error, such as a path.

    Returns:
        The simulation; its cell is one of dendrotwin's, or the user's file.

    Raises:
        InputError: the data say nothing that can be; or their cell is a file that the user does not name, or another
            one.
    """
    try:
        simulation = Simulation(**made)
    except (InputError, TypeError) as error:
        raise InputError(f"what {of} says of its simulation is damaged ({error}); restore it") from error
    if simulation.cell in NAMES and simulation.cell not in OF_FILES:
        if cell is not None and str(cell) != simulation.cell:
            raise InputError(f"{of} is of the cell {simulation.cell}, not of {cell}; leave that away")
        return simulation
    if cell is None:
        raise InputError(
            f"{of} is of the cell in {simulation.cell}, and data do not choose code that is run; name the file, if you "
            "trust it: --cell FILE, or cell=FILE in Python"
            if simulation.cell not in OF_FILES
            else f"{of} is of the cell {simulation.cell}, and data do not choose code that is run: the files "
            f"{', '.join(simulation.cell_options.values())}; if you trust them: --cell {simulation.cell}, or "
            f"cell={simulation.cell!r} in Python"
        )
    asked = str(cell) if str(cell) in OF_FILES else str(Path(cell).resolve())
    named = simulation.model_copy(update={"cell": asked})
    found = cell_digest(named, load_cell(named.cell, named.cell_options), simulation.cell_digest)
    if found != simulation.cell_digest:
        raise InputError(
            f"{cell} is not the cell that {of} was made with (another file, or other mechanisms); name that of "
            f"{simulation.cell}"
        )
    return named
