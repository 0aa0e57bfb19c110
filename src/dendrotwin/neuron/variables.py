"""Variables of NEURON's mechanisms: their names, as NEURON lists them, and how large they are."""

from __future__ import annotations

# What NEURON's MechanismStandard calls the categories of a mechanism's variables.
GLOBALS, ALL, PARAMETERS, ASSIGNED, STATES = -1, 0, 1, 2, 3


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
