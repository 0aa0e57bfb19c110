"""Tables that say which recorded trials make a population, and where each cell is.

The signal of a population is the sum of its cells' (linear superposition; Hagen et al. 2018,
doi:10.3389/fninf.2018.00092).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dendrotwin.cell.stimuli import rows_of_csv
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording.checks import no_such_file
from dendrotwin.signals.placing import PlacedCell, Triple

PLACE, TURN, OTHERS = ("x", "y", "z"), ("rx", "ry", "rz"), ("recording", "trial", "group")
RESERVED = "spectrum"  # NAME-spectrum.png is the figure of a power spectrum
SAME_PLACE_UM = 1e-3  # two somas nearer than this are at one place


class _Line(NamedTuple):
    """One line of a table: what it says, None where the table has no such column."""

    recording: str | None
    trial: int | None
    group: str
    position_um: Triple
    rotation_deg: Triple | None


def read_places(path: Path, cells: Sequence[PlacedCell] = (), as_built: bool = False) -> list[PlacedCell]:
    """The cells of a population, placed as a CSV file says.

    Args:
        path: a table with a line for each cell and the columns x, y, z (where its soma is [um]) and, if there are such,
            rx, ry, rz (by how much it is turned about each axis [deg]), recording (a file, sought beside the table,
            then here), trial (counted from 0) and group (a name; signals are given of each group, too).
        cells: what was recorded: one for each line, or one of which the lines name trials. A column `recording` needs
            none, and names some of them where there are.
        as_built: of cells that the table names, see `PlacedCell`.

    Returns:
        Copies of the cells at these places; without rx, ry, rz each keeps its rotation.

    Raises:
        FileError: the file is missing, is no such table, or does not fit the recordings.
    """
    path = Path(path)
    lines = _read_lines(path)
    if any(line.trial is not None for line in lines) and any(cell.trial for cell in cells):
        raise FileError(f"{path} says which trial of each recording; leave --trial away")
    if lines and lines[0].recording is not None:
        named = [_named(path, line.recording or "", cells, as_built) for line in lines]
    elif len(cells) == 1 and lines and lines[0].trial is not None:
        named = [cells[0]] * len(lines)
    elif cells and len(cells) == len(lines):
        named = list(cells)
    else:
        raise FileError(
            f"{path} has {len(lines)} places for {len(cells)} recordings; give a line for each recording, or columns "
            "that say which: recording, trial"
        )
    return [
        dataclasses.replace(
            cell,
            trial=cell.trial if line.trial is None else line.trial,
            position_um=line.position_um,
            rotation_deg=cell.rotation_deg if line.rotation_deg is None else line.rotation_deg,
            group=line.group or cell.group,
        )
        for cell, line in zip(named, lines, strict=True)
    ]


def _read_lines(path: Path) -> list[_Line]:
    if not path.is_file():
        raise FileError(f"{path} does not exist; it says where each recorded cell is: x,y,z in um, or x,y,z,rx,ry,rz")
    try:
        rows = [[value.strip() for value in row] for row in rows_of_csv(path)]
    except InputError as error:
        raise FileError(
            f"{path} is no table of places ({error}); give a header with x,y,z and a line for each cell"
        ) from error
    rows = [row for row in rows if any(row)]
    header = rows[0] if rows else []
    unknown = [name for name in header if name not in (*PLACE, *TURN, *OTHERS)]
    turned = [name for name in header if name in TURN]
    if unknown or len(set(header)) < len(header) or not set(PLACE) <= set(header) or len(turned) not in (0, 3):
        raise FileError(
            f"{path} is no table of places: its header must be x,y,z or x,y,z,rx,ry,rz and may have recording, trial "
            f"and group, not {','.join(header)!r}"
        )
    columns = (*PLACE, *TURN) if turned else PLACE
    lines = []
    for number, row in enumerate(rows[1:], start=2):
        values = dict(zip(header, row, strict=True))
        try:
            x, y, z, *turn = (float(values[name]) for name in columns)
            if not np.isfinite([x, y, z, *turn]).all():
                raise ValueError
            trial = int(values["trial"]) if "trial" in values else None
        except ValueError as error:
            raise FileError(
                f"{path} is no table of places: line {number} must have finite numbers for the places and whole ones "
                "for the trials"
            ) from error
        group = values.get("group", "")
        if "group" in values and (not group.isidentifier() or group == RESERVED):
            raise FileError(
                f"{path}, line {number}: a group is one word of letters, digits and _ and not {RESERVED}, not {group!r}"
            )
        rotation_deg = (turn[0], turn[1], turn[2]) if turn else None
        lines.append(_Line(values.get("recording"), trial, group, (x, y, z), rotation_deg))
    return lines


def _named(table: Path, name: str, cells: Sequence[PlacedCell], as_built: bool) -> PlacedCell:
    """The recording that a table names: one of `cells` where there are any, else a file."""
    beside = table.parent / name
    found = beside if beside.is_file() else Path(name)
    if not name or not found.is_file():
        if (beside.parent / name.rpartition(":")[0]).is_file():
            raise no_such_file(beside, "correct its path")
        raise FileError(f"{table} names the recording {name!r}, which is neither beside it nor here; correct its path")
    if not cells:
        return PlacedCell(found, as_built=as_built)
    for cell in cells:
        if Path(cell.recording).resolve() == found.resolve():
            return cell
    raise FileError(f"{table} names {name}, which is not one of the recordings given; leave them away, or add it")


def groups_of(cells: Sequence[PlacedCell]) -> list[str]:
    """The groups of a population in the order of their first cells; none where no cell has one.

    Args:
        cells: the population.

    Raises:
        InputError: some cells have a group and others have none.
    """
    groups = list(dict.fromkeys(cell.group for cell in cells))
    if groups != [""] and "" in groups:
        alone = next(cell for cell in cells if not cell.group)
        raise InputError(f"{alone} has no group and other cells have one; give each cell a group, or none")
    return [group for group in groups if group]


def check_apart(cells: Sequence[PlacedCell]) -> None:
    """Check that no two cells stand in each other, as those do to which nobody gave a place.

    Args:
        cells: the population.

    Raises:
        InputError: two somas are at one place.
    """
    places = np.stack([np.round(cell.soma_um() / SAME_PLACE_UM) for cell in cells])
    _, first, which = np.unique(places, axis=0, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[which.ravel()] != np.arange(len(cells)))
    if len(repeated):
        one, other = cells[first[which.ravel()[repeated[0]]]], cells[repeated[0]]
        x, y, z = other.soma_um()
        raise InputError(
            f"{one} and {other} both have their soma at ({x:g}, {y:g}, {z:g}) um and stand in each other; place each "
            "cell (--places, a CSV of x,y,z with a line for each; PlacedCell(..., position_um=))"
        )
