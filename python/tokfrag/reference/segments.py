"""segment_merge and unmerge by plain loops, one row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def segment_merge(
    x: NDArray[Any], index: NDArray[Any], n: int, *, weight: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weighted mean of the rows of ``x`` with the same ``index``; 0 where the weights sum to 0.

    Parameters
    ----------
    x : (rows, ...) array
        With a batch, (batch, rows, ...).
    index : (rows,) or (batch, rows) array, int
        The segment of each row, 0 to ``n - 1``.
    n : int
        Segments.
    weight : array like ``index``, optional
        By default 1 each.

    Returns
    -------
    means : (n, ...) or (batch, n, ...) array
        In the dtype of ``x``.
    weight_sums : (n,) or (batch, n) array
        float64 if ``x`` is, else float32.

    Examples
    --------
    >>> segment_merge(np.array([1.0, 3.0]), np.array([1, 1]), 2)[0].tolist()
    [0.0, 2.0]
    """
    if index.ndim == 2:
        parts = [
            segment_merge(x[b], index[b], n, weight=None if weight is None else weight[b])
            for b in range(len(x))
        ]
        y = (
            np.stack([part[0] for part in parts])
            if parts
            else np.zeros((0, n, *x.shape[2:]), x.dtype)
        )
        sums = np.stack([part[1] for part in parts]) if parts else np.zeros((0, n))
        return y, sums.astype(np.float64 if x.dtype == np.float64 else np.float32)
    total = np.zeros((n, *x.shape[1:]))
    weight_sum = np.zeros(n)
    for i, destination in enumerate(index):
        w = 1.0 if weight is None else float(weight[i])
        total[destination] += w * x[i].astype(np.float64)
        weight_sum[destination] += w
    for d in range(n):
        total[d] = total[d] / weight_sum[d] if weight_sum[d] != 0 else 0
    sums = weight_sum.astype(np.float64 if x.dtype == np.float64 else np.float32)
    return total.astype(x.dtype), sums


def unmerge(y: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
    """Give every row its segment's value: ``x[i] = y[index[i]]``.

    Parameters
    ----------
    y : (n, ...) array
        With a batch, (batch, n, ...).
    index : (rows,) or (batch, rows) array, int

    Returns
    -------
    (rows, ...) or (batch, rows, ...) array
        In the dtype of ``y``.

    Examples
    --------
    >>> unmerge(np.array([5.0, 7.0]), np.array([1, 0, 1])).tolist()
    [7.0, 5.0, 7.0]
    """
    if index.ndim == 2:
        x = np.empty((*index.shape, *y.shape[2:]), y.dtype)
        for b in range(len(index)):
            x[b] = unmerge(y[b], index[b])
        return x
    x = np.empty((len(index), *y.shape[1:]), y.dtype)
    for i, source in enumerate(index):
        x[i] = y[source]
    return x
