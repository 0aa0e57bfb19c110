"""A tree in an HDF5 group."""

from __future__ import annotations

import h5py
import numpy as np

from dendrotwin.cell.geometry import geometry_fault
from dendrotwin.cell.tree import Tree
from dendrotwin.cell.tree_checks import check_tree
from dendrotwin.errors import FileError
from dendrotwin.support.hdf5 import text_attribute


def write_tree(group: h5py.Group, tree: Tree) -> None:
    """Store a tree in an HDF5 group: arrays as datasets, everything else as attributes.

    Args:
        group: that is empty.
        tree: the tree.

    Raises:
        FileError: it is none that could be read again; see `check_tree`.
    """
    check_tree(tree)
    for name, value in tree.to_dict().items():
        if isinstance(value, np.ndarray):
            group[name] = value
        else:
            group.attrs[name] = text_attribute(value) if isinstance(value, str) else value


def read_tree(group: h5py.Group) -> Tree:
    """The tree stored by `write_tree`.

    Args:
        group: the HDF5 group.

    Raises:
        FileError: it is none, or a compartment is no cylinder; see `check_tree` and `geometry_fault`.
    """
    tree = Tree.from_dict({**group.attrs, **{name: dataset[()] for name, dataset in group.items()}})
    check_tree(tree)
    fault = geometry_fault(tree)
    if fault is not None:
        raise FileError(f"{group.file.filename} holds a cell of which {fault}; make the file again from a whole cell")
    return tree
