"""extract, one number at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.reference.grid import position, source_position, taps, windows

if TYPE_CHECKING:
    from tokfrag.fragments.grid import FragmentGrid


def extract(x: NDArray[Any], grid: FragmentGrid, *, channels_last: bool = False) -> NDArray[Any]:
    """The fragments of `x`: ``fragments[b, i, c, k] = x[b, c, start(i) + dilation * k]``.

    Parameters
    ----------
    x : (batch, channels, *space_time) array
    grid : FragmentGrid
    channels_last : bool
        Whether `x` is ``(batch, *space_time, channels)``.

    Returns
    -------
    (batch, n, channels, *size) array
        Channels last if those of `x` are.

    Examples
    --------
    >>> from tokfrag import FragmentGrid
    >>> extract(np.arange(5).reshape(1, 1, 5), FragmentGrid((5,), 3)).tolist()
    [[[[0, 1, 2]], [[3, 4, 0]]]]
    """
    if channels_last:
        return np.moveaxis(extract(np.moveaxis(x, -1, 1), grid), 2, -1)
    n = sum(1 for _ in windows(grid))
    fragments = np.empty((x.shape[0], n, x.shape[1], *grid.size), x.dtype)
    # Batch and channels last, so that one index picks all of both.
    to = np.moveaxis(fragments, (0, 2), (-2, -1))
    data = np.moveaxis(x, (0, 1), (-2, -1))
    for i, start in windows(grid):
        for tap in taps(grid):
            at = tuple(
                source_position(length, grid.pad_mode, p)
                for length, p in zip(grid.shape, position(grid, start, tap), strict=True)
            )
            to[i][tap] = grid.pad_value if None in at else data[at]
    return fragments
