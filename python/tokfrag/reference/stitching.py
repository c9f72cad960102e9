"""Cutting and merging a batch of fragments at a time, position by position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cut(
    x: NDArray[Any], places: NDArray[np.int64], size: tuple[int, ...], dilation: tuple[int, ...]
) -> NDArray[Any]:
    """Cut fragments of ``x``, each at an entry of the batch and an origin.

    Parameters
    ----------
    x : (batch, channels, *padded) array
    places : (count, 1 + axes) array, int64
        For each fragment its entry and its first position.
    size, dilation : tuple of int
        One an axis.

    Returns
    -------
    (count, channels, *size) array

    Examples
    --------
    >>> cut(np.arange(6).reshape(2, 1, 3), np.array([[0, 1], [1, 0]]), (2,), (1,)).tolist()
    [[[1, 2]], [[3, 4]]]
    """
    out = np.empty((len(places), x.shape[1], *size), x.dtype)
    for i, (entry, *origin) in enumerate(places.tolist()):
        for k in np.ndindex(size):
            at = tuple(o + step * t for o, step, t in zip(origin, dilation, k, strict=True))
            place, source = (i, slice(None), *k), (entry, slice(None), *at)
            out[place] = x[source]
    return out


def stitch_add(
    sums: NDArray[Any],
    fragments: NDArray[Any],
    origins: NDArray[np.int64],
    window: NDArray[Any],
    dilation: tuple[int, ...],
    *,
    keep_max: bool = False,
) -> None:
    """Add fragments, times the window, to a slab, which is a ring along its first axis.

    Parameters
    ----------
    sums : (channels, *lengths) array
        The slab, changed in place: position ``p`` of axis 0 lies at ``p % lengths[0]``.
    fragments : (count, channels, *size) array
    origins : (count, axes) array, int64
        The first position of each fragment.
    window : (*size) array
        Weights.
    dilation : tuple of int
        One an axis.
    keep_max : bool
        Keep the larger value instead of the sum; the window is not applied.

    Examples
    --------
    >>> sums = np.zeros((1, 3))
    >>> stitch_add(sums, np.array([[[1.0, 2.0]]]), np.array([[2]]), np.array([0.5, 1.0]), (1,))
    >>> sums.tolist()
    [[2.0, 0.0, 0.5]]
    """
    with np.errstate(all="ignore"):
        for fragment, origin in zip(fragments.astype(sums.dtype), origins.tolist(), strict=True):
            for k in np.ndindex(window.shape):
                at = [o + step * t for o, step, t in zip(origin, dilation, k, strict=True)]
                place = (slice(None), at[0] % sums.shape[1], *at[1:])
                tap = (slice(None), *k)
                value = fragment[tap]
                if keep_max:
                    sums[place] = np.maximum(sums[place], value)
                else:
                    sums[place] += window[k] * value


def stitch_emit(
    sums: NDArray[Any], first: int, factors: NDArray[Any], *, keep_max: bool = False
) -> NDArray[Any]:
    """Take finished positions out of a slab, times their factors; their planes are emptied.

    Parameters
    ----------
    sums : (channels, *lengths) array
        The slab of :func:`stitch_add`, changed in place.
    first : int
        The first position on axis 0.
    factors : (*extents) array
        One over the sum of weights; 0 where no fragment lies.
    keep_max : bool
        As in :func:`stitch_add`: factors say only where fragments lie.

    Returns
    -------
    (channels, *extents) array

    Examples
    --------
    >>> sums = np.array([[2.0, 4.0, 6.0]])
    >>> stitch_emit(sums, 2, np.array([0.5, 1.0])).tolist(), sums.tolist()
    ([[3.0, 2.0]], [[0.0, 4.0, 0.0]])
    """
    thickness, *rest = factors.shape
    rows = np.arange(first, first + thickness) % sums.shape[1]
    inside = (slice(None), rows, *map(slice, rest))
    with np.errstate(all="ignore"):
        if keep_max:
            out = np.where(factors == 0, 0, sums[inside])
        else:
            out = sums[inside] * factors
    sums[:, rows] = -np.inf if keep_max else 0
    return out
