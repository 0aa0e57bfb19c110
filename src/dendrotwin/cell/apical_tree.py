"""The regions of an apical tree: trunk, obliques and tuft, told by the lengths of its branches."""

from __future__ import annotations

import numpy as np


def apical_regions(parent: list[int], length_um: list[float], side_share: float = 0.3) -> list[str]:
    """Divide an apical tree into trunk, obliques and tuft.

    The trunk follows the child with the longer subtree (sum of lengths) from the root, and ends at the *main
    bifurcation*: the first branch point at which a second child's subtree has at least `side_share` of the length of
    the first one's. What branches off the trunk is oblique, what lies beyond the main bifurcation is tuft.

    Args:
        parent: parent section of each apical section, -1 at a root; parents come before their children.
        length_um: length of each section [um].
        side_share: smallest share of the longer subtree that makes a branch point the main bifurcation.

    Returns:
        Region of each section: "trunk", "oblique" or "tuft".
    """
    n = len(parent)
    subtree = np.array(length_um, dtype=float)
    children: list[list[int]] = [[] for _ in range(n)]
    for section in range(n - 1, -1, -1):
        if parent[section] >= 0:
            subtree[parent[section]] += subtree[section]
            children[parent[section]].append(section)
    roots = [section for section in range(n) if parent[section] < 0]
    region = ["oblique"] * n
    if not roots:
        return region
    here = max(roots, key=lambda section: subtree[section])
    region[here] = "trunk"
    while children[here]:
        by_size = sorted(children[here], key=lambda section: -subtree[section])
        if len(by_size) > 1 and subtree[by_size[1]] >= side_share * subtree[by_size[0]]:
            distal = list(by_size)
            while distal:
                section = distal.pop()
                region[section] = "tuft"
                distal += children[section]
            break
        here = by_size[0]
        region[here] = "trunk"
    return region
