"""Fragments kept until all that hold a position are there: votes, medians, chosen windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.engines import stacked
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.streams.stitching import Halo, Part, Stitcher
from tokfrag.fragments.windows import Reduce, Weights, Window, window_weights


class KeptStitcher(Stitcher):
    """The fragments that later positions need, and no others; see `Stitcher`.

    Parameters
    ----------
    chosen : the windows that come, ascending; None: all
    part : as `Stitcher` takes it
    """

    def __init__(
        self,
        grid: FragmentGrid,
        window: Window,
        reduce: Reduce,
        halo: Halo | None,
        like: Any,
        chosen: NDArray[np.int64] | None,
        part: Part | None = None,
    ) -> None:
        super().__init__(grid, window, reduce, halo, like, part)
        self._chosen = np.arange(grid.n) if chosen is None else chosen
        self.windows = len(self._chosen)
        own = self.whole if self.whole is not None else self.vectors
        self._weights: Weights = window_weights(grid, own)
        self._row_of = np.unravel_index(self._chosen, grid.counts)[0]
        self._kept: list[tuple[NDArray[np.int64], Any]] = []
        self._dtype = like.dtype

    def add(self, first: int, fragments: Any, weights: NDArray[np.float64] | None = None) -> None:
        """Keep a copy of the fragments of the chosen windows [first, first + count)."""
        if weights is not None:
            raise ValueError(
                f"reduce: got {self.reduce!r} with weights from the model, takes means"
            )
        windows = self._chosen[first : first + len(fragments)]
        fragments = _arrays.kernel_array(fragments)
        if _arrays.dtype_code(fragments.dtype) < 0:
            name = _arrays.dtype_name(fragments.dtype)
            raise TypeError(f"model: got outputs of {name}, takes real numbers")
        # A copy: the model may use its memory again.
        kept = fragments.clone() if _arrays.is_tensor(fragments) else fragments.copy()
        self._kept.append((windows, kept))

    def until(self, first: int) -> int:
        """Fragments come as they are."""
        return self.windows

    def finished(self, count: int) -> slice | None:
        """The positions that no window after the first `count` chosen holds, when it is time."""
        if count == self.windows:
            return slice(self.base, self.grid.shape[0])
        ready = min(int(self.grid.starts[0][self._row_of[count]]), self.grid.shape[0])
        return slice(self.base, ready) if ready - self.base >= self.grid.stride[0] else None

    def take(self, done: slice, out: Any = None) -> Any:
        """Merge the finished positions, and let go of the fragments that later ones do not need."""
        numbers = np.concatenate([windows for windows, _ in self._kept])
        fragments = [part for _, part in self._kept]
        if _arrays.is_tensor(fragments[0]):
            import torch

            together: Any = torch.cat(fragments)
        else:
            together = np.concatenate(fragments)
        merged = stacked.merge(
            together[None],
            self.grid,
            self._weights,
            self.reduce,
            0,
            numbers,
            span=done,
            kept=None if self.halo is None else self._outside_halo,
            exact=self.reduce == "vote",
        )[0]
        self.base = done.stop
        self._kept = [part for part in self._kept if self._is_needed(part[0])]
        if self.reduce != "vote" and _arrays.dtype_name(self._dtype) != "float64":
            merged = merged.float() if _arrays.is_tensor(merged) else merged.astype(np.float32)
        if out is None:
            return merged
        out[...] = merged
        return out

    def restart(self) -> None:
        """Let go of all fragments: the next batch entry begins."""
        self.base = 0
        self._kept = []

    def _is_needed(self, windows: NDArray[np.int64]) -> bool:
        extent = self.grid.dilation[0] * (self.grid.size[0] - 1) + 1
        rows = np.unravel_index(windows, self.grid.counts)[0]
        return int(self.grid.starts[0][rows].max()) + extent > self.base

    def _outside_halo(self, window: NDArray[np.int64], tap: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a window keeps its value at a tap: its halo is left out but at the border."""
        assert self.halo is not None
        kept = np.ones(window.shape, np.bool_)
        windows = np.unravel_index(window, self.grid.counts)
        taps = np.unravel_index(tap, self.grid.size)
        for axis, (before, after) in enumerate(self.halo):
            at, k, last = windows[axis], taps[axis], self.grid.counts[axis] - 1
            kept &= (at == 0) | (k >= before)
            kept &= (at == last) | (k < self.grid.size[axis] - after)
        return kept
