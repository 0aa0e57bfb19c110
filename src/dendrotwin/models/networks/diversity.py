"""How different the experts of a mixture are (Aoki, Tung and Oliveira 2021, arXiv:2012.11202)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def permanent(matrix: NDArray[np.floating]) -> float:
    """Permanent of a square matrix: the determinant's sum over permutations, without its signs.

    By Ryser's formula (Ryser 1963, Combinatorial Mathematics), 2^n sums; for n up to some 16.
    """
    n = len(matrix)
    total = 0.0
    for subset in range(1, 2**n):
        columns = [j for j in range(n) if subset >> j & 1]
        total += (-1) ** (n - len(columns)) * float(np.prod(np.asarray(matrix)[:, columns].sum(1)))
    return total


def expert_diversity(outputs: NDArray[np.floating]) -> dict[str, Any]:
    """How different the experts of a mixture are (Aoki et al. 2021, arXiv:2012.11202).

    Args:
        outputs: (experts, samples) what each says to the same input.

    Returns:
        "distances": (experts, experts) nested list of Euclidean distances between their outputs, divided by the largest
        (0 where all say the same), and the "determinant" and "permanent" of that matrix.
    """
    x = np.asarray(outputs, dtype=np.float64)
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(2))
    distances /= distances.max() or 1.0
    return {
        "distances": distances.tolist(),
        "determinant": float(np.linalg.det(distances)),
        "permanent": permanent(distances),
    }
