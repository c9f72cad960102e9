"""fragment_features as its formulas, on every fragment in turn, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fragment_features(
    x: NDArray[Any],
    starts: Sequence[NDArray[np.int64]],
    size: Sequence[int],
    features: Sequence[str],
    *,
    lags: Sequence[int] = (1,),
    axis: int = 0,
    dilation: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Compute features of the fragments of ``x``, which is padded already.

    Parameters
    ----------
    x : (batch, channels, *padded) array
    starts : sequence of (count,) arrays, int64
        The first positions of the windows on each axis.
    size : sequence of int
        The windows' taps on each axis.
    features : sequence of str
        ``"mean"``, ``"std"``, ``"min"``, ``"max"``, ``"diff_energy"``, ``"lag_corr"``.
    lags : sequence of int
        Of ``"lag_corr"``: a column each.
    axis : int
        The time axis, among the space-time axes.
    dilation : sequence of int, optional
        By default 1 on each axis.

    Returns
    -------
    (batch, n, channels, columns) array, float64

    Examples
    --------
    >>> x = np.array([[[1.0, 2.0, 4.0, 4.0]]])
    >>> fragment_features(x, [np.array([0, 2])], [2], ["mean", "diff_energy"]).tolist()
    [[[[1.5, 1.0]], [[4.0, 0.0]]]]
    """
    steps = [1] * len(size) if dilation is None else dilation
    rows = []
    for origin in product(*starts):
        cut = tuple(
            slice(int(start), int(start) + step * (length - 1) + 1, step)
            for start, length, step in zip(origin, size, steps, strict=True)
        )
        rows.append(
            [
                [one_fragment(x[b, c][cut], features, lags, axis) for c in range(x.shape[1])]
                for b in range(x.shape[0])
            ]
        )
    columns = sum(len(lags) if name == "lag_corr" else 1 for name in features)
    table = np.array(rows, np.float64).reshape(len(rows), x.shape[0], x.shape[1], columns)
    result: NDArray[np.float64] = table.transpose(1, 0, 2, 3)
    return result


def one_fragment(
    values: NDArray[Any], features: Sequence[str], lags: Sequence[int], axis: int
) -> list[float]:
    """The features of one fragment, in the order asked for; ``axis`` is the time axis."""
    y = np.moveaxis(values.astype(np.float64), axis, 0)
    low, high = y.min(), y.max()
    constant = low == high and bool(np.isfinite(low))
    deviation = y - y.mean()
    energy = float((deviation**2).sum())
    found: list[float] = []
    for name in features:
        if name == "mean":
            found.append(float(y.mean()))
        elif name == "std":
            found.append(0.0 if constant else float(np.sqrt(energy / y.size)))
        elif name == "min":
            found.append(float(low))
        elif name == "max":
            found.append(float(high))
        elif name == "diff_energy":
            steps = np.diff(y, axis=0)
            found.append(float((steps**2).mean()) if steps.size else 0.0)
        elif name == "lag_corr":
            for lag in lags:
                pairs = float((deviation[:-lag] * deviation[lag:]).sum())
                found.append(0.0 if constant else pairs / energy)
        else:
            raise ValueError(f"unknown feature {name!r}")
    return found
