"""Cutting and merging a batch of fragments at a time, position by position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cut(
    x: NDArray[Any], places: NDArray[np.int64], size: tuple[int, ...], dilation: tuple[int, ...]
) -> NDArray[Any]:
    """Fragments (count, channels, *size) of ``x``, each at an entry and an origin."""
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
    """Add fragments, times the window, to a slab (channels, *lengths): a ring along axis 0."""
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
    """The positions from ``first`` on axis 0 times factors (*extents); their planes are emptied."""
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
