"""Some of a grid's windows as they come: sums and weights in slabs of this machine's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._core.stitching import Slab
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.streams.host import HostStitcher
from tokfrag.fragments.windows import Reduce, Window, window_weights


class ChosenStitcher(HostStitcher):
    """Means and sums of the windows that come; what a position weighs is added up like its values.

    Parameters
    ----------
    chosen : the windows that come, ascending
    grid, window, reduce, like, threads :
        As `HostStitcher` takes them; every weight is above 0.
    """

    def __init__(
        self,
        grid: FragmentGrid,
        window: Window,
        reduce: Reduce,
        like: Any,
        threads: int,
        chosen: NDArray[np.int64],
    ) -> None:
        super().__init__(grid, window, reduce, None, like, threads)
        self._chosen = chosen
        self.windows = len(chosen)
        self._row_of = np.unravel_index(chosen, grid.counts)[0]
        self._divisors = None
        if reduce == "mean":
            lengths = (self.depth, *grid.padded_shape[1:])
            self._weighed = self._slab_of(1, lengths)
            wide = self._type == np.float64
            self._weight_slab = Slab(self._weighed.ctypes.data, wide, 1, lengths)

    def until(self, first: int) -> int:
        """The slab has room for so many rows of windows, whichever of them come."""
        row = self._row_of[first] // self._rows * self._rows + self._rows
        return int(np.searchsorted(self._row_of, row))

    def finished(self, count: int) -> slice | None:
        """The positions that no window after the first `count` chosen holds, when it is time."""
        if count == self.windows:
            return slice(self.base, self.grid.shape[0])
        if self.until(count - 1) != count:
            return None
        next_row = int(self.grid.starts[0][self._row_of[count]])
        return slice(self.base, min(next_row, self.grid.shape[0]))

    def take(self, done: slice, out: Any = None) -> Any:
        """Give up finished positions, normalised, and empty their part of the rings."""
        out = super().take(done, out)
        if self.reduce == "mean":
            self._weighed[:, np.arange(done.start, done.stop) % self.depth] = 0
        return out

    def restart(self) -> None:
        """Begin the next batch entry with empty slabs."""
        super().restart()
        if self.reduce == "mean":
            self._weighed.fill(0)

    def _windows(self, first: int, count: int) -> NDArray[np.int64]:
        return self._chosen[first : first + count]

    def _weigh(self, origins: NDArray[np.int64]) -> None:
        if self.reduce != "mean":
            return
        self._weight_slab.add(
            _arrays.dtype_code(np.dtype(self._type)),
            0,
            1,
            (0,) * (2 + len(self.grid.shape)),
            self.grid.size,
            self.grid.dilation,
            origins,
            tuple(0 if table is None else table.ctypes.data for table in self._tables),
            np.zeros_like(origins),
            0 if self._window is None else self._window.ctypes.data,
            False,
            self._threads,
        )

    def _divided_by(self, done: slice) -> tuple[int, tuple[int, ...]]:
        if self.reduce != "mean":
            return 0, ()
        places = np.arange(done.start, done.stop) % self.depth
        if len(self.grid.shape) == 1:  # a single row, put in order
            self._row = np.ascontiguousarray(self._weighed[0, places])
            return self._row.ctypes.data, ()
        *outer, _ = self._weighed.strides[1:]
        at = [places, *map(np.arange, self.grid.shape[1:-1])]
        item = self._weighed.itemsize
        self._row_places = [k * (step // item) for k, step in zip(at, outer, strict=True)]
        return self._weighed.ctypes.data, tuple(k.ctypes.data for k in self._row_places)


def all_positive(grid: FragmentGrid, window: Window) -> bool:
    """Whether every weight of a window is above 0."""
    vectors, whole = window_weights(grid, window)
    arrays = vectors if whole is None else [whole]
    return all(weights is None or bool((weights > 0).all()) for weights in arrays)
