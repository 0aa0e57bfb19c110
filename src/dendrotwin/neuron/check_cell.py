"""Whether the sections that a user's `build` made are one cell, with nothing in it that NEURON alone would know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from dendrotwin.cells import CellModel, Sections
from dendrotwin.errors import CellError
from dendrotwin.neuron.synapses import name_of
from dendrotwin.neuron.variables import pointers

HARMLESS = ("APCount",)  # point processes that only look


def check_cell(model: CellModel, sections: Sections, every: list[Any]) -> None:
    """See that the sections are one cell that a twin can have.

    Args:
        model: its description.
        sections: as `build` gave them.
        every: all of them, in the order in which compartments are counted.

    Raises:
        CellError: they are no tree, some are missing, or there is something in them that a twin would not know.
    """
    from neuron import h

    _check_tree(model, every)
    _check_lists(model, sections, every)
    points = [one[0] if isinstance(one, tuple) and one else one for one in sections.synapses]
    given = {point for point in points if hasattr(point, "hname")}  # `read_synapses` says what is wrong with others
    for section in every:
        if section.has_membrane("extracellular"):
            raise CellError(
                f"the cell {model.name}: {section.name()} has the mechanism extracellular, which a twin does not know; "
                "leave it away"
            )
        for segment in section.allseg():
            _check_segment(model, segment, given)
    if h.List("LinearMechanism").count():
        raise CellError(
            f"the cell {model.name}: there is a LinearMechanism, whose currents a twin does not know; leave it away"
        )


def as_sections(model: CellModel, made: Any) -> Sections:
    """The sections that `build` gave, in lists.

    Args:
        model: the description.
        made: what `build` gave.

    Raises:
        CellError: it is something else.
    """
    of = f"the cell {model.name}: `build` must return Sections(soma=[...], basal=[...], apical=[...], axon=[...])"
    if not isinstance(made, tuple | list) or not 4 <= len(made) <= len(Sections._fields):
        raise CellError(f"{of}; it returned {made!r:.60}")
    sections = Sections(*made)
    parts = []
    for name, part in zip(Sections._fields, sections[:4], strict=False):
        if isinstance(part, str | dict) or type(part).__name__ == "Section" or not isinstance(part, Iterable):
            raise CellError(f"{of}; `{name}` is {part!r:.60}, it must be a list of NEURON's sections")
        members = list(part)
        for one in members:
            if type(one).__name__ != "Section":
                raise CellError(f"{of}; `{name}` must be a list of NEURON's sections, it holds {one!r:.60}")
            try:
                one.name()
            except ReferenceError as error:
                raise CellError(f"{of}; `{name}` holds a section that is deleted; leave it away") from error
        parts.append(members)
    if not isinstance(sections.synapses, tuple | list):
        raise CellError(
            f"{of}; `synapses` is {sections.synapses!r:.60}, it must be a list of point processes, or of "
            "(point process, weight)"
        )
    return sections._replace(**dict(zip(Sections._fields, parts, strict=False)))


def in_order(sections: Sections) -> list[Any]:
    """All sections in the order in which compartments are counted: soma, basal, apical, axon, but the root first.

    Args:
        sections: of a cell.
    """
    every = [section for part in sections[:4] for section in part]
    return sorted(every, key=lambda section: section.parentseg() is not None)


def _check_tree(model: CellModel, every: list[Any]) -> None:
    if not every:
        raise CellError(f"the cell {model.name} has no section; list those that `build` makes")
    for section, count in Counter(every).items():
        if count > 1:
            raise CellError(
                f"the cell {model.name}: {section.name()} is listed twice; name each section in one list, once"
            )


def _check_lists(model: CellModel, sections: Sections, every: list[Any]) -> None:
    from neuron import h

    known, whole = set(every), set((sections.soma or every)[0].wholetree())
    missing = [section for section in h.allsec() if section in whole and section not in known]
    if missing:
        first, others = missing[0], missing[1:]
        raise CellError(
            f"the cell {model.name}: {first.name()}, connected to {first.parentseg()}, is in none of the four lists of "
            f"sections{f' (nor are {names_of(others)})' if others else ''}; add it, or disconnect it"
        )
    apart = [section for section in every if section not in whole]
    if apart:
        raise CellError(f"the cell {model.name}: {apart[0].name()} is not connected to the soma; connect or delete it")
    unlisted = [section for section in h.allsec() if section not in known]
    if unlisted and not (sections.basal or sections.apical or sections.synapses):
        raise CellError(
            f"the cell {model.name} has no dendrite in `basal` or `apical`, but there are sections that are in no list "
            f"({names_of(unlisted)}); list and connect its dendrites, or delete those sections"
        )


def names_of(sections: Iterable[Any]) -> str:
    """What sections there are, as `dend[3], dend_5[2]`: each name, and how many have it.

    Args:
        sections: NEURON's.
    """
    stems = Counter(re.sub(r"\[\d+\]$", "", section.hname().split(".")[-1]) for section in sections)
    return ", ".join(name if count == 1 else f"{name}[{count}]" for name, count in stems.items())


def _check_segment(model: CellModel, segment: Any, given: set[Any]) -> None:
    for point in segment.point_processes():
        if point not in given and name_of(point) not in HARMLESS:
            raise CellError(
                f"the cell {model.name}: {point.hname()} stands in {segment}, which a twin would not know; leave it "
                "away, give its current with --inject, or list it in `Sections.synapses` if events drive it"
            )
    if 0.0 < segment.x < 1.0:
        for mechanism in segment:
            if mechanism.is_ion():
                continue
            for pointer in pointers(mechanism.name()):
                try:
                    getattr(mechanism, pointer.removesuffix(f"_{mechanism.name()}"))
                except AttributeError as error:
                    raise CellError(
                        f"the cell {model.name}: the POINTER {pointer} of {mechanism.name()} in {segment} points to "
                        "nothing, of which NEURON dies; set it with h.setpointer"
                    ) from error
