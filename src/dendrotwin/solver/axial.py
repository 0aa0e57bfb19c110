"""The axial network of a cell: its Laplacian, and orders in which its nodes are eliminated.

By Kirchhoff's law, what flows into a node along the tree is sum_j g_ij (V_j - V_i) over its neighbours j. Nodes are the
compartments, and joints, where sections meet and no membrane is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, diags_array

from dendrotwin.cell.tree import Floats, Ints, Tree


@dataclass(frozen=True, eq=False)
class EliminationOrder:
    """The axial network in an order in which every node comes after its parent.

    Attributes:
        parent: (n + j,) position of each node's parent, -1 at the root (position 0).
        axial_uS: (n + j,) conductance to the parent [uS].
        compartment: (n + j,) compartment at each position, or -1 at a joint.
        position: (n,) position of each compartment.
    """

    parent: Ints
    axial_uS: Floats
    compartment: Ints
    position: Ints

    @classmethod
    def of(cls, tree: Tree) -> EliminationOrder:
        """The elimination order of a tree.

        Args:
            tree: the cell.
        """
        nodes = len(tree.axial_parent)
        children: list[list[int]] = [[] for _ in range(nodes)]
        for node, parent in enumerate(tree.axial_parent):
            if parent >= 0:
                children[parent].append(node)
        order = [0]
        for node in order:
            order += children[node]
        position = np.empty(nodes, dtype=np.int32)
        position[order] = np.arange(nodes, dtype=np.int32)
        parents = tree.axial_parent[order]
        return cls(
            parent=np.where(parents >= 0, position[parents], -1).astype(np.int32),
            axial_uS=tree.axial_uS[order],
            compartment=np.where(np.array(order) < tree.n, order, -1).astype(np.int32),
            position=position[: tree.n],
        )

    @property
    def axial_sum_uS(self) -> Floats:
        """(n + j,) sum of the axial conductances at each node [uS]."""
        inner = self.axial_uS[1:]
        return np.append(0.0, inner) + np.bincount(self.parent[1:], inner, len(self.parent))


@dataclass(frozen=True, eq=False)
class EliminationRounds:
    """Elimination in few rounds, each of nodes that do not touch, for machines that work on many nodes at once.

    A node may go as soon as it has no more than one child. It passes its conductance on to its parent and to that
    child, which become neighbours (as cyclic reduction does on a path). Of two neighbours one stays for the round, and
    no node gets something from two children: a path loses every other node, and a tree of many hundreds of nodes is
    gone after some fifteen rounds.

    Attributes:
        node: (nodes - 1,) what is eliminated, round after round: all but the root.
        parent, child: (nodes - 1,) its neighbours then; -1 where there is no child.
        first: (rounds + 1,) where each round begins, and where the last one ends.
    """

    node: Ints
    parent: Ints
    child: Ints
    first: Ints

    @classmethod
    def of(cls, parent: Ints) -> EliminationRounds:
        """The rounds of a tree.

        Args:
            parent: (nodes,) of each node, which comes after it; see `EliminationOrder`.
        """
        parent = parent.copy()
        left = np.arange(len(parent))  # of the nodes, children after their parents
        found: list[tuple[int, int, int]] = []
        first = [0]
        while len(left) > 1:
            inner = left[1:]
            children = np.bincount(parent[inner], minlength=len(parent))
            child = np.full(len(parent), -1)
            child[parent[inner]] = inner
            eliminated, fed = (np.zeros(len(parent), np.bool_) for _ in range(2))
            for i in inner[::-1]:  # leaves first
                if children[i] < 2 and not fed[i] and not fed[parent[i]]:
                    eliminated[i] = fed[parent[i]] = True
                    found.append((i, parent[i], child[i]))
            for _, p, c in found[first[-1] :]:
                if c >= 0:
                    parent[c] = p
            first.append(len(found))
            left = left[~eliminated[left]]
        node, above, below = np.array(found, dtype=np.int32).reshape(-1, 3).T.copy()
        return cls(node, above, below, np.array(first, dtype=np.int32))


def axial_matrix(tree: Tree) -> csr_array:
    """Net current that flows into each compartment along the tree, for 1 mV in each: minus the Laplacian of the tree.

    The potential of a joint follows from Kirchhoff's law, for no current leaves the cell there: joints are eliminated.

    Args:
        tree: the cell.

    Returns:
        (n, n) symmetric and sparse [uS], its rows sum to zero; V (time, n) [mV] times it is (time, n) [nA].
    """
    nodes = len(tree.axial_parent)
    child = np.flatnonzero(tree.axial_parent >= 0)
    parent, g = tree.axial_parent[child], tree.axial_uS[child]
    rows, columns = np.concatenate([child, parent, child, parent]), np.concatenate([parent, child, child, parent])
    network = csr_array((np.concatenate([g, g, -g, -g]), (rows, columns)), shape=(nodes, nodes))
    n = tree.n
    # Every edge of a joint leads to a compartment, so that this block is diagonal.
    at_joints = network.diagonal()[n:]
    to_joints = network[:n, n:]
    return csr_array(network[:n, :n] - to_joints @ diags_array(1.0 / at_joints) @ to_joints.T)
