"""extract, one number at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.reference.grid import position, source_position, taps, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokfrag.fragments.grid import FragmentGrid


def extract(
    x: NDArray[Any],
    grid: FragmentGrid,
    *,
    channels_last: bool = False,
    scale: Sequence[float] | None = None,
    shift: Sequence[float] | None = None,
    dtype: np.dtype[Any] | None = None,
) -> NDArray[Any]:
    """The fragments of `x`: ``fragments[b, i, c, k] = x[b, c, start(i) + dilation * k]``.

    Parameters
    ----------
    x : (batch, channels, *space_time) array
    grid : FragmentGrid
    channels_last : bool
        Whether `x` is ``(batch, *space_time, channels)``.
    scale, shift : (channels,) floats, optional
        The fragments are those of ``x * scale + shift``.
    dtype : dtype, optional
        Of the fragments.

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
        first = extract(np.moveaxis(x, -1, 1), grid, scale=scale, shift=shift, dtype=dtype)
        return np.moveaxis(first, 2, -1)
    if dtype is not None:
        fragments = extract(x, grid).astype(np.float64)
        for channel in range(x.shape[1]):
            values = fragments[:, :, channel]
            values *= 1 if scale is None else scale[channel]
            values += 0 if shift is None else shift[channel]
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            fragments = np.clip(np.rint(fragments), limits.min, limits.max)
        return fragments.astype(dtype)
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
