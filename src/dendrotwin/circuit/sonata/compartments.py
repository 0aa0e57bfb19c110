"""Where a place of a SONATA file, a section and a position in it, lies among a twin's compartments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats, Ints, Tree
from dendrotwin.errors import InputError


def compartment_at(tree: Tree, section_id: NDArray[np.int64], x: Floats) -> Ints:
    """The compartment that holds each place, as NEURON's `section(x)`: number floor(x nseg) of its section.

    BMTK counts the sections in the order of the cell's list `all`, after its processing: where an axon is replaced, its
    two cylinders come last (`Tree.section_order`).

    NEURON has a point without membrane at each end of a section. Where a section starts at the middle of another
    one, its end x = 0 is that compartment; other ends are refused.

    Args:
        tree: of a twin.
        section_id: (k,) `afferent_section_id` or `sec_id`.
        x: (k,) `afferent_section_pos` or `sec_x`, 0..1.

    Returns:
        (k,) compartments of the tree.

    Raises:
        InputError: an id is beyond the cell, a position is outside of 0..1, or an end without membrane.
    """
    ids, places = np.asarray(section_id), np.asarray(x, dtype=np.float64)
    if ids.shape != places.shape:
        raise InputError(f"there are {ids.size} section ids and {places.size} positions; give one for each")
    sections = len(tree.section_names)
    beyond = (ids < 0) | (ids >= sections)
    if beyond.any():
        raise InputError(
            f"there is no section id {ids[beyond][0]}: the cell has the sections 0 to {sections - 1}; correct it"
        )
    outside = ~((places >= 0.0) & (places <= 1.0))
    if outside.any():
        raise InputError(f"{places[outside][0]} is no position in a section; positions are from 0 to 1")
    section: Ints = tree.section_order[ids]
    by_place = np.lexsort((tree.x, tree.section))  # compartments by section, and in it by NEURON's x
    count = np.bincount(tree.section, minlength=sections)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    within = np.minimum((places * count[section]).astype(np.int64), count[section] - 1)
    found: Ints = by_place[first[section] + within].astype(np.int32)
    for k in np.flatnonzero((places == 0.0) | (places == 1.0)):
        found[k] = _at_end(tree, int(section[k]), int(found[k]), float(places[k]))
    return found


def _at_end(tree: Tree, section: int, outermost: int, x: float) -> int:
    """The compartment whose middle an end of a section is.

    Args:
        tree: see `compartment_at`.
        section: index of the section.
        outermost: its compartment at this end.
        x: 0 or 1.
    """
    at = int(tree.axial_parent[outermost])
    if 0 <= at < tree.n and tree.section[at] != section:
        return at
    raise InputError(
        f"the end {x:g} of section {tree.section_names[section]} has no membrane, so that nothing can be there; "
        f"move it to the middle of its compartment, {tree.x[outermost]:g}"
    )
