"""The first of the five cells of `allen`, a pyramidal cell of the line Scnn1a, by a name of its own."""

from __future__ import annotations

import dataclasses

from dendrotwin.cells import CellModel, allen


def cell() -> CellModel:
    """The description of the cell."""
    return dataclasses.replace(allen.cell("Scnn1a"), name="allen_l4")
