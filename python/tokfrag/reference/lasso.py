"""Coordinate descent as plain loops: what the native blocked descent computes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def soft(z: float, alpha: float) -> float:
    """``sign(z) max(|z| - alpha, 0)``.

    >>> soft(3.0, 1.0), soft(-0.5, 1.0)
    (2.0, 0.0)
    """
    return z - alpha if z > alpha else z + alpha if z < -alpha else 0.0


def sweep(
    weights: Array,
    gram: Array,
    cross: Array,
    *,
    mask: NDArray[np.bool_] | None = None,
    alpha: float = 0.0,
    passes: int = 1,
    block: int = 128,
    positive: bool = False,
) -> Array:
    """One sweep of cyclic descent, in place, of each row of ``weights (rows, p)``.

    Coordinates are visited block by block, each block ``passes`` times, each coordinate moved to
    the minimum of ``1/2 w G w' - c w' + alpha |w|_1`` along itself, or as near to it
    as ``positive`` weights may go. Returns each row's sum of
    ``G_jj (change)^2``.
    """
    progress = np.zeros(len(weights), weights.dtype)
    for row, w in enumerate(weights):
        for first in range(0, len(gram), block):
            for _ in range(passes):
                for j in range(first, min(first + block, len(gram))):
                    if gram[j, j] <= 0 or (mask is not None and not mask[row, j]):
                        continue
                    z = cross[row, j] - gram[j] @ w + gram[j, j] * w[j]
                    new = soft(z, alpha) / gram[j, j]
                    new = max(new, 0.0) if positive else new
                    progress[row] += gram[j, j] * (new - w[j]) ** 2
                    w[j] = new
    return progress


def objective(weights: Array, gram: Array, cross: Array, alpha: float) -> Array:
    """``1/2 w G w' - c w' + alpha |w|_1`` of each row."""
    smooth: Array = ((0.5 * weights @ gram - cross) * weights).sum(1)
    total: Array = smooth + alpha * np.abs(weights).sum(1)
    return total
