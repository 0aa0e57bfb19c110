"""Variables of NEURON's mechanisms: their names, as NEURON lists them, and their values in many segments at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats

# What NEURON's MechanismStandard calls the categories of a mechanism's variables.
GLOBALS, ALL, PARAMETERS, ASSIGNED, STATES = -1, 0, 1, 2, 3
_fill_procedures: dict[str, str] = {}  # NEURON's procedure that fills a PtrVector, by variable


def variables(mechanism: str, category: int) -> dict[str, int]:
    """A mechanism's variables of one category: NEURON's name of each, and its number of elements.

    Args:
        mechanism: NEURON's name (SUFFIX or POINT_PROCESS).
        category: GLOBALS, PARAMETERS, ASSIGNED, STATES or ALL (RANGE variables of the last three, and POINTERs).
    """
    from neuron import h

    standard, name = h.MechanismStandard(mechanism, category), h.ref("")
    found = {}
    for k in range(int(standard.count())):
        size = int(standard.name(name, k))  # which also sets the name
        found[str(name[0])] = size
    return found


def elements(mechanism: str, category: int) -> list[str]:
    """As `variables`, each element of an array for itself, as `name[k]`.

    Args:
        mechanism: NEURON's name.
        category: see `variables`.
    """
    names = variables(mechanism, category)
    return [name if size == 1 else f"{name}[{k}]" for name, size in names.items() for k in range(size)]


def pointers(mechanism: str) -> list[str]:
    """A mechanism's POINTERs and RANDOMs: what is neither parameter nor assigned nor state.

    Args:
        mechanism: NEURON's name.
    """
    known = {name for category in (PARAMETERS, ASSIGNED, STATES) for name in variables(mechanism, category)}
    return [name for name in variables(mechanism, ALL) if name not in known]


def short_name(name: str, mechanism: str) -> str:
    """A RANGE variable's name in NMODL: without its mechanism's.

    Args:
        name: NEURON's, such as `gbar_Ih`, or `name[k]` of an array's element.
        mechanism: NEURON's name of it.
    """
    stem, bracket, index = name.partition("[")
    return stem.removesuffix(f"_{mechanism}") + bracket + index


class Globals:
    """GLOBAL variables of mechanisms, as the cell's `finitialize` leaves them.

    Attributes:
        values: NEURON's name of each, its number of elements, and its value or values.
    """

    def __init__(self, mechanisms: list[str]) -> None:
        """Note the values that they have now."""
        from neuron import h

        self.values: list[tuple[str, int, float | list[float]]] = []
        for mechanism in mechanisms:
            for name, size in variables(mechanism, GLOBALS).items():
                value = getattr(h, name)
                self.values.append((name, size, float(value) if size == 1 else [float(value[k]) for k in range(size)]))

    def restore(self) -> None:
        """Put the values back."""
        from neuron import h

        for name, size, value in self.values:
            if size > 1 and isinstance(value, list):
                array = getattr(h, name)
                for k in range(size):
                    array[k] = value[k]
            elif getattr(h, name) != value:
                setattr(h, name, value)


def range_pointers(sections: list[Any], names: list[str]) -> Any:
    """NEURON's PtrVector to RANGE variables of all segments of some sections: name after name.

    NEURON's own language makes it, which is ten times as fast.

    Args:
        sections: whose segments.
        names: NEURON's of the variables; `name[k]` of an array's element.
    """
    from neuron import h

    sizes = [section.nseg for section in sections]
    vector, at = h.PtrVector(max(len(names) * sum(sizes), 1)), 0
    for name in names:
        if name not in _fill_procedures:
            procedure = f"dendrotwin_fill_{len(_fill_procedures)}"
            h(f"proc {procedure}() {{ local i\ni = $2\nfor (x, 0) {{ $o1.pset(i, &{name}(x))\ni += 1 }} }}")
            _fill_procedures[name] = procedure
        fill = getattr(h, _fill_procedures[name])
        for section, size in zip(sections, sizes, strict=True):
            fill(vector, at, sec=section)
            at += size
    return vector


def values_of(pointers: Any) -> Floats:
    """(k,) values that NEURON's PtrVector of k pointers points to.

    Args:
        pointers: such as `range_pointers` gives.
    """
    from neuron import h

    values = h.Vector(pointers.size())
    pointers.gather(values)
    return np.array(values)
