"""What a tree has to be, looked at before anything is computed with one that comes from a file."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.geometry import geometry_fault
from dendrotwin.cell.synapse import BLOCK_MV, Conductance, Synapse
from dendrotwin.cell.tree import REGIONS, Ints, Tree
from dendrotwin.errors import FileError

MOST_COMPARTMENTS = 1_000_000
MOST_INPUTS = 10_000_000
MOST_CONDUCTANCES = 1000  # of all kinds of synapse together
LARGEST = 1e9  # of any number of a tree, in its unit: far from where sums and products overflow
LARGEST_MV = 1e3
LARGEST_TAU_MS = 1e7

SIZES = ("length_um", "diameter_um", "area_um2")
NOT_NEGATIVE = ("distance_um", "capacitance_nF", "leak_uS", "ih_uS")
POTENTIALS = ("leak_mV", "ih_mV")


def check_tree(tree: Tree) -> None:
    """See that a tree is one: shapes, bounds of all indices, one root, and numbers that physics allows.

    Args:
        tree: made of values of any type.

    Raises:
        FileError: it is none.
    """
    try:
        _check_compartments(tree)
        _check_axial(tree)
        _check_synapses(tree)
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise FileError(f"the tree is damaged ({error}); restore the file, or make it again") from error


def _check_compartments(tree: Tree) -> None:
    n = len(_array("parent", tree.parent, None, "i"))
    if not 1 <= n <= MOST_COMPARTMENTS:
        raise ValueError(f"it has {n} compartments")
    _one_root("parent", tree.parent)
    names = tree.section_names
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a section has no name")
    _within("region", _array("region", tree.region, (n,), "i"), len(REGIONS))
    _within("section", _array("section", tree.section, (n,), "i"), len(names))
    if (np.sort(_array("section_order", tree.section_order, (len(names),), "i")) != np.arange(len(names))).any():
        raise ValueError("section_order does not name each section once")
    x = _array("x", tree.x, (n,), "f")
    if x.min() < 0 or x.max() > 1:
        raise ValueError("x is outside of 0 to 1")
    for name in ("ends_um", *SIZES):
        _typed(name, getattr(tree, name), (n, 2, 3) if name == "ends_um" else (n,), "f")
    fault = geometry_fault(tree)
    if fault is not None:
        raise ValueError(fault)
    for name in ("ends_um", *SIZES):
        _finite(name, getattr(tree, name))
    for name in NOT_NEGATIVE:
        if _array(name, getattr(tree, name), (n,), "f").min() < 0:
            raise ValueError(f"{name} is negative")
    for name in POTENTIALS:
        if np.abs(_array(name, getattr(tree, name), (n,), "f")).max() > LARGEST_MV:
            raise ValueError(f"{name} is beyond {LARGEST_MV:g} mV")
    _number("v_init_mV", tree.v_init_mV, -LARGEST_MV, LARGEST_MV)


def _check_axial(tree: Tree) -> None:
    """Joints are beside compartments alone: their potential follows from those."""
    parent = _array("axial_parent", tree.axial_parent, None, "i")
    nodes, n = len(parent), tree.n
    if not n <= nodes <= 3 * n:
        raise ValueError(f"it has {nodes} nodes for {n} compartments")
    _one_root("axial_parent", parent)
    axial = _array("axial_uS", tree.axial_uS, (nodes,), "f")
    if axial.min() < 0 or (axial[1:] == 0).any():
        raise ValueError("axial_uS is not positive everywhere")
    if (parent[n:] >= n).any():
        raise ValueError("two joints are neighbours")


def _check_synapses(tree: Tree) -> None:
    m = len(_array("input_compartment", tree.input_compartment, None, "i"))
    if m > MOST_INPUTS:
        raise ValueError(f"it has {m} inputs")
    _within("input_compartment", tree.input_compartment, tree.n)
    _within("input_synapse", _array("input_synapse", tree.input_synapse, (m,), "i"), len(tree.synapses))
    _array("input_weight", tree.input_weight, (m,), "f")
    if sum(len(synapse.conductances) for synapse in tree.synapses) > MOST_CONDUCTANCES:
        raise ValueError(f"it has more than {MOST_CONDUCTANCES} conductances")
    for synapse in tree.synapses:
        check_synapse(synapse)


def check_synapse(synapse: Synapse) -> None:
    """See that a kind of synapse is one: its types, and numbers that physics allows.

    Args:
        synapse: made of values of any type.

    Raises:
        ValueError: it is none; TypeError or AttributeError where a part is of quite another type.
    """
    if not isinstance(synapse.name, str) or not isinstance(synapse.excitatory, bool):
        raise ValueError("a kind of synapse has no name, or neither excites nor inhibits")
    for g in synapse.conductances:
        what = f"of the synapse {synapse.name}"
        _number(f"decay_ms {what}", g.decay_ms, 0.0, LARGEST_TAU_MS)
        _number(f"rise_ms {what}", g.rise_ms, 0.0, g.decay_ms)
        if not g.rise_ms < g.decay_ms:
            raise ValueError(f"rise_ms {what} is not below decay_ms")
        _number(f"g_max_uS {what}", g.g_max_uS, 0.0, LARGEST)
        _number(f"e_mV {what}", g.e_mV, -LARGEST_MV, LARGEST_MV)
        _number(f"mg_mM {what}", g.mg_mM, 0.0, LARGEST)
        _number(f"slope_per_mV {what}", g.slope_per_mV, -1.0, 1.0)
        if g.block and len(g.block) != len(BLOCK_MV):
            raise ValueError(f"block {what} has {len(g.block)} values")
        for value in g.block:
            _number(f"block {what}", value, -LARGEST, LARGEST)
        if not math.isfinite(_normalisation(g)):
            raise ValueError(f"rise_ms and decay_ms {what} are too near")


def _normalisation(g: Conductance) -> float:
    with np.errstate(all="ignore"):
        return g.normalisation()


def _array(name: str, value: Any, shape: tuple[int, ...] | None, kind: str) -> NDArray[Any]:
    """An array of int32 ("i") or float64 ("f"), finite, of this shape; None is one of one dimension."""
    return _finite(name, _typed(name, value, shape, kind))


def _typed(name: str, value: Any, shape: tuple[int, ...] | None, kind: str) -> NDArray[Any]:
    """See `_array`, but that numbers need not be finite."""
    dtype = np.int32 if kind == "i" else np.float64
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        raise ValueError(f"{name} is no array of {np.dtype(dtype)}")
    if value.shape != shape if shape is not None else value.ndim != 1:
        raise ValueError(f"{name} has the shape {value.shape}" + (f", not {shape}" if shape is not None else ""))
    return value


def _finite(name: str, value: NDArray[Any]) -> NDArray[Any]:
    """The array, of which floats must be finite and within LARGEST."""
    if value.dtype.kind == "f" and value.size and not np.abs(value).max() <= LARGEST:  # NaN too
        raise ValueError(f"{name} is not finite, or beyond {LARGEST:g}")
    return value


def _within(name: str, index: Ints, count: int) -> None:
    if len(index) and not (index.min() >= 0 and index.max() < count):
        raise ValueError(f"{name} names what is not there")


def _number(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r:.40}, and must be a number from {low:g} to {high:g}")


def _one_root(name: str, parent: Ints) -> None:
    """Every node leads to node 0, which has none above it."""
    if len(parent) == 0 or parent[0] != -1 or (parent[1:] < 0).any() or parent.max() >= len(parent):
        raise ValueError(f"{name} does not lead to one root, the first compartment")
    above = np.maximum(parent, 0)
    for _ in range(len(parent).bit_length() + 1):  # each time twice as far up
        above = above[above]
    if above.any():
        raise ValueError(f"{name} goes in a circle")
