"""Coordinate descent over many rows at once: blocks of coordinates, a matrix product between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import sparse as _native

Array = NDArray[Any]
Matmul = Callable[[Array, Array], Array]

BLOCK = _native.DESCENT_BLOCK


def sweep(
    weights: Array,
    gram: Array,
    cross: Array,
    *,
    mask: NDArray[np.bool_] | None = None,
    alpha: float = 0.0,
    passes: int = 1,
    threads: int = 0,
    matmul: Matmul = np.matmul,
    positive: bool = False,
) -> Array:
    """One cyclic sweep over all coordinates of every row, in place.

    Minimises ``1/2 w G w' - c w' + alpha |w|_1`` for each row ``w`` of ``weights (rows, p)`` with
    ``gram (p, p)`` symmetric and ``cross (rows, p)``, all C-contiguous, float32 or float64.
    Coordinates go in blocks of 128: the residual of a block is one matrix product, and the block is
    then descended ``passes`` times natively; ``positive`` weights, which stay at zero or above, by
    NumPy, all rows at once. Returns, for each row, the sum of
    ``G_jj (change of w_j)^2``; without alpha, twice the decrease of the objective.
    """
    rows, p = weights.shape
    progress = np.zeros(rows, weights.dtype)
    for first in range(0, p, BLOCK):
        last = min(first + BLOCK, p)
        residual = np.ascontiguousarray(cross[:, first:last])
        residual = residual - matmul(weights, gram[first:last].T)
        block = np.ascontiguousarray(gram[first:last, first:last])
        # The slice keeps the stride of `weights`, and begins at the block's first column.
        part = weights[:, first:last]
        if positive:
            progress += _descend_positive(part, residual, block, alpha, passes)
            continue
        kept = None if mask is None else mask[:, first:last]
        _native.descend_block(
            weights.dtype == np.float64,
            part.ctypes.data,
            p,
            residual.ctypes.data,
            block.ctypes.data,
            0 if kept is None else kept.ctypes.data,
            p,
            alpha,
            rows,
            last - first,
            passes,
            progress.ctypes.data,
            threads,
        )
    return progress


def _descend_positive(
    weights: Array, residual: Array, gram: Array, alpha: float, passes: int
) -> Array:
    """Descend one block of weights that may not fall below zero, in place."""
    progress = np.zeros(len(weights), weights.dtype)
    for _ in range(passes):
        for j in np.flatnonzero(np.diag(gram) > 0):
            diagonal = gram[j, j]
            old = weights[:, j].copy()
            fresh = np.maximum((residual[:, j] + old * diagonal - alpha) / diagonal, 0)
            step = fresh - old
            weights[:, j] = fresh
            residual -= step[:, None] * gram[j]
            progress += diagonal * step**2
    return progress
