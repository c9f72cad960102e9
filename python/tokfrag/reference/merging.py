"""merge and its adjoint, one fragment position at a time, in the kernels' order of summation."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.reference.grid import position, source_position, taps, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokfrag.fragments.grid import FragmentGrid

Where = tuple[int, ...]


def axis_window(name: str, size: int) -> list[float]:
    """The weights of a named window on one axis."""
    weights = []
    for k in range(size):
        u = (k + 1) / (size + 1)
        from_centre = (k - (size - 1) / 2) / (size / 8)
        weights.append(
            {
                "uniform": 1.0,
                "hann": float(np.sin(np.pi * u) ** 2),
                "triangular": 1 - abs(2 * u - 1),
                "gaussian": max(float(np.exp(-0.5 * from_centre**2)), 1e-3),
            }[name]
        )
    return weights


def merge(
    fragments: NDArray[Any],
    grid: FragmentGrid,
    *,
    window: Any = "uniform",
    reduce: str = "mean",
    channels_last: bool = False,
    fill_value: float = 0,
    where: Sequence[int] | None = None,
) -> NDArray[Any]:
    """What becomes of the fragments that hold each position.

    Parameters
    ----------
    fragments : (batch, n, channels, *size) array
    grid : FragmentGrid
    window : str, sequence of (size,) arrays, (*size) array or (n, *size) array
        Weights: by name, an axis each, of every fragment alike, or of each fragment.
    reduce : "mean", "sum", "max", "min", "median" or "vote"
        Under "sum", values beyond an axis are added where the padding was read from.
    channels_last : bool
        Whether `fragments` are ``(batch, n, *size, channels)``.
    fill_value : float
        Where no fragment lies.
    where : sequence of int, optional
        The numbers of the windows that there are fragments of; else all.

    Returns
    -------
    (batch, channels, *shape) array
        In the dtype of `fragments`; sums are exact before they are rounded to it.

    Examples
    --------
    >>> from tokfrag import FragmentGrid
    >>> grid = FragmentGrid((4,), 3, 1)
    >>> merge(np.array([[[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]]), grid).tolist()
    [[[1.0, 3.0, 4.0, 6.0]]]
    """
    if channels_last:
        first = merge(
            np.moveaxis(fragments, -1, 2),
            grid,
            window=window,
            reduce=reduce,
            fill_value=fill_value,
            where=where,
        )
        return np.moveaxis(first, 1, -1)
    out = np.full(
        (fragments.shape[0], fragments.shape[2], *grid.shape), fill_value, fragments.dtype
    )
    # Batch and channels last, so that one index picks all of both.
    out_moved = np.moveaxis(out, (0, 1), (-2, -1))
    moved = np.moveaxis(fragments, (0, 2), (-2, -1))
    held = _held(grid, fold=reduce == "sum")
    slots = {window: slot for slot, window in enumerate(range(grid.n) if where is None else where)}
    for at, everywhere in held.items():
        places = [(i, tap) for i, tap in everywhere if i in slots]
        if not places:
            continue
        values: list[NDArray[Any]] = [moved[slots[i]][tap] for i, tap in places]
        weights = [_weight(grid, window, i, tap) for i, tap in places]
        out_moved[at] = _reduced(values, weights, reduce, out.dtype)
    return out


def extract_weighted(
    x: NDArray[Any],
    grid: FragmentGrid,
    *,
    window: Any = "uniform",
    reduce: str = "mean",
    channels_last: bool = False,
) -> NDArray[Any]:
    """The adjoint of `merge`: the fragments of `x`, times the weights that merge gives them.

    Parameters
    ----------
    x : (batch, channels, *space_time) array
    grid : FragmentGrid
    window : as in :func:`merge`
    reduce : "mean" or "sum"
    channels_last : bool
        Whether `x` is ``(batch, *space_time, channels)``.

    Returns
    -------
    (batch, n, channels, *size) array
        In the dtype of `x`; 0 beyond an axis, where merge leaves values out.

    Examples
    --------
    >>> from tokfrag import FragmentGrid
    >>> extract_weighted(np.ones((1, 1, 4)), FragmentGrid((4,), 3, 1)).tolist()
    [[[[1.0, 0.5, 0.5]], [[0.5, 0.5, 1.0]]]]
    """
    if channels_last:
        first = extract_weighted(np.moveaxis(x, -1, 1), grid, window=window, reduce=reduce)
        return np.moveaxis(first, 2, -1)
    n = sum(1 for _ in windows(grid))
    fragments = np.zeros((x.shape[0], n, x.shape[1], *grid.size), x.dtype)
    # Batch and channels last, so that one index picks all of both.
    to = np.moveaxis(fragments, (0, 2), (-2, -1))
    data = np.moveaxis(x, (0, 1), (-2, -1))
    for at, places in _held(grid, fold=reduce == "sum").items():
        weights = [Fraction(_weight(grid, window, i, tap)) for i, tap in places]
        norm = sum(weights) if reduce == "mean" else 1
        for (i, tap), weight in zip(places, weights, strict=True):
            to[i][tap] = data[at].astype(np.float64) * float(weight / norm)
    return fragments


def _held(grid: FragmentGrid, fold: bool) -> dict[Where, list[tuple[int, Where]]]:
    """For each position, the (fragment, tap) pairs that hold it."""
    held: dict[Where, list[tuple[int, Where]]] = {}
    for i, start in windows(grid):
        for tap in taps(grid):
            at = position(grid, start, tap)
            if any(not 0 <= p < length for p, length in zip(at, grid.shape, strict=True)):
                sources = [
                    source_position(length, grid.pad_mode, p)
                    for length, p in zip(grid.shape, at, strict=True)
                ]
                if not fold or None in sources:
                    continue
                at = tuple(s for s in sources if s is not None)
            held.setdefault(at, []).append((i, tap))
    return held


def _weight(grid: FragmentGrid, window: Any, i: int, tap: Where) -> float:
    if isinstance(window, str):
        window = [axis_window(window, size) for size in grid.size]
    if isinstance(window, (list, tuple)):
        weight = 1.0
        for vector, k in zip(window, tap, strict=True):
            weight *= float(vector[k])
        return weight
    return float(window[i][tap] if window.ndim > len(tap) else window[tap])


def _as_double(number: Fraction) -> float:
    """The nearest double; infinite above the largest, where Python raises instead."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _reduced(
    values: list[NDArray[Any]], weights: list[float], reduce: str, dtype: np.dtype[Any]
) -> NDArray[Any]:
    if reduce == "max":
        largest: NDArray[Any] = np.maximum.reduce(values)
        return largest
    if reduce == "min":
        smallest: NDArray[Any] = np.minimum.reduce(values)
        return smallest
    if reduce == "vote":
        return _voted(values)
    if reduce == "median":
        middle = np.median(np.array(values, np.float64), axis=0)
        return (np.rint(middle) if np.issubdtype(dtype, np.integer) else middle).astype(dtype)
    # Sums without any rounding, so that this is the definition and not one more approximation.
    result = np.empty(values[0].shape, np.float64)
    for where in np.ndindex(result.shape):
        numbers = [float(value[where]) for value in values]
        if not np.isfinite(numbers).all():
            # Values without weight are left out: 0 * NaN would be NaN.
            result[where] = sum(w * v for w, v in zip(weights, numbers, strict=True) if w != 0)
            if reduce == "mean":
                result[where] /= sum(weights)
            continue
        total = sum(
            (Fraction(w) * Fraction(v) for w, v in zip(weights, numbers, strict=True)), Fraction()
        )
        if reduce == "mean":
            total /= sum(map(Fraction, weights))
        lone_zero = total == 0 and all(np.signbit(numbers))
        result[where] = -0.0 if lone_zero else _as_double(total)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    with np.errstate(over="ignore"):
        return (
            result.astype(np.float32).astype(dtype) if dtype == np.float16 else result.astype(dtype)
        )


def _voted(values: list[NDArray[Any]]) -> NDArray[Any]:
    """The most frequent value, of several the lowest."""
    best = np.empty_like(values[0])
    for where in np.ndindex(best.shape):
        labels, counts = np.unique([value[where] for value in values], return_counts=True)
        best[where] = labels[np.argmax(counts)]
    return best
