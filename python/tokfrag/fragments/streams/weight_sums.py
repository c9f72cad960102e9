"""What windows without factors weigh at each position, in a table without what repeats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._core.stitching import Slab, window_places
from tokfrag.fragments.grid import FragmentGrid


class WeightSums:
    """The sums of a window's weights over all windows that reach a position.

    Along an axis they repeat with the stride, but for a border at either end; so the table is of
    a grid with three or so windows on each axis but the last, however many there are.

    Parameters
    ----------
    grid : FragmentGrid
    window : (*size) array, float32 or float64
        Contiguous; the table is of its type.
    threads : int
        How many to use at most, 0 for the default.
    """

    def __init__(self, grid: FragmentGrid, window: NDArray[Any], threads: int) -> None:
        self._places = [_entries(grid, axis) for axis in range(len(grid.shape) - 1)]
        lengths = (*(int(at[-1]) + 1 for at in self._places), grid.shape[-1])
        short = FragmentGrid.checked(
            lengths, grid.size, grid.stride, grid.edge, "constant", 0, grid.dilation
        )
        self._length = grid.shape[-1]
        #: (*shorter lengths, length), or longer where windows reach beyond the array.
        self.table = _arrays.empty_array(window.dtype, short.padded_shape)
        self.table.fill(0)
        slab = Slab(self.table.ctypes.data, window.dtype == np.float64, 1, short.padded_shape)
        origins = np.ascontiguousarray(window_places(short.plan, np.arange(short.n))[:, 1:])
        none = (0,) * len(grid.shape)
        slab.add(
            _arrays.dtype_code(window.dtype),
            0,
            1,
            (0, 0, *none),
            grid.size,
            grid.dilation,
            origins,
            none,
            np.zeros_like(origins),
            window.ctypes.data,
            False,
            threads,
        )
        steps = np.array(self.table.strides[:-1], np.int64) // self.table.itemsize
        #: For each position of each outer axis, numbers to its row; they add up.
        self.rows = [at * step for at, step in zip(self._places, steps, strict=True)]

    def addresses(self, first: int) -> tuple[int, tuple[int, ...]]:
        """The table's, and those of its rows (see `rows`) from a position of axis 0 on."""
        if not self.rows:
            return self.table[first:].ctypes.data, ()
        along, *rest = self.rows
        return self.table.ctypes.data, tuple(at.ctypes.data for at in (along[first:], *rest))

    def over(self, positions: slice) -> NDArray[Any]:
        """The sums over some positions of axis 0: ``(1, thickness, *rest)``."""
        if not self._places:
            return self.table[None, positions]
        outer = [self._places[0][positions], *self._places[1:]]
        return self.table[np.ix_(*outer, np.arange(self._length))][None]


def _entries(grid: FragmentGrid, axis: int) -> NDArray[np.int64]:
    """For each position of an axis, the one of a shorter axis that as much lies over."""
    stride, starts = grid.stride[axis], grid.starts[axis]
    at = np.arange(grid.shape[axis])
    if len(starts) < 2:
        return at
    # Whole periods between these have all the windows that may reach them; the last window of all
    # may begin at no multiple of the stride.
    extent = grid.dilation[axis] * (grid.size[axis] - 1) + 1
    first = -(-extent // stride) - 1
    last = int(starts[-1]) // stride - int(starts[-1] != (len(starts) - 1) * stride)
    last = min(last, len(at) // stride - 1)
    return at - np.clip(at // stride - first, 0, max(last - first, 0)) * stride
