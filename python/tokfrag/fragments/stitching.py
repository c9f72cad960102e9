"""Merging fragments as they come, and giving up each part of the result once it is finished."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.cutting import Run, run_grid, spans
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import Reduce, Window, merge, window_weights

#: Positions left out before and after, an axis.
Halo: TypeAlias = "tuple[tuple[int, int], ...]"

_SLAB_VALUES = 1 << 18  # of one channel: a slab is given up when it holds so many
_LARGE_FRAGMENT = 1 << 13  # positions from which a call for each fragment costs next to nothing


class Stitcher:
    """One output of a model: fragments in, finished slabs of the merged array out.

    Fragments arrive run by run, in the grid's order. Sums are kept for the positions along axis 0
    that later fragments can still reach, and no others.

    Parameters
    ----------
    grid : the grid of the model's *outputs*; see `output_grid`
    window, reduce : as `tokfrag.merge` takes them
    halo : positions (before, after) left out at the borders of fragments, an axis; or None
    like : an output of the model, (count, channels, *size): the kind, device and dtype of the sums
    """

    def __init__(
        self, grid: FragmentGrid, window: Window, reduce: Reduce, halo: Halo | None, like: Any
    ) -> None:
        self.grid = grid
        self.halo = halo
        self._reduce: Reduce = reduce
        vectors, whole = window_weights(grid, window)
        if whole is not None and whole.ndim > len(grid.size):
            raise ValueError("window: got weights for each fragment, takes those of one window")
        self._whole = whole
        self._vectors = [
            np.ones(size) if vector is None else vector
            for vector, size in zip(vectors, grid.size, strict=True)
        ]
        plain = isinstance(window, str) and window == "uniform"
        self._window: Any = "uniform"
        if not plain:
            self._window = self._vectors if whole is None else whole
        if reduce == "max" and not plain:
            raise ValueError("window: reduce='max' takes no weights, leave the window uniform")
        if halo is not None:
            if whole is not None or reduce == "max":
                raise ValueError("halo: takes a window of one vector an axis, and not reduce='max'")
            if grid.padded_shape != grid.shape or set(grid.dilation) != {1}:
                raise ValueError(f"halo: got {grid}, takes windows inside the array, not dilated")
            lost = lost_positions(grid, halo)
            if lost:
                raise ValueError(
                    f"halo: got {halo}, which leaves {lost} of {prod(grid.shape)} positions "
                    f"without a result for size {grid.size} and stride {grid.stride}"
                )
        rest = prod(grid.padded_shape[1:])
        rows = max(1, _SLAB_VALUES // max(1, grid.stride[0] * rest))
        self._rows = min(rows, grid.counts[0])
        self._extent = grid.dilation[0] * (grid.size[0] - 1) + 1
        depth = (self._rows - 1) * grid.stride[0] + self._extent
        depth = min(max(depth, grid.stride[0] * self._rows), grid.padded_shape[0])
        self._empty = -np.inf if reduce == "max" else 0
        self._sums = _filled(like, (like.shape[1], depth, *grid.padded_shape[1:]), self._empty)
        self._covered: Any = None
        self._plane: Any = None
        if whole is not None and reduce == "mean":
            self._covered = _filled(like, (1, depth, *grid.padded_shape[1:]), 0)
            self._like = _filled(like, (1,), 0)
        else:
            self._plane = _array_like(self._inverse_plane(), self._sums)
        self._base = 0
        self._weights: dict[int, Any] = {}
        self._products: dict[Any, Any] = {}
        large = prod(grid.size) >= _LARGE_FRAGMENT and set(grid.dilation) == {1}
        self._one_by_one = large and reduce != "max"

    def add(self, run: Run, fragments: Any) -> None:
        """Take in the outputs of a run of fragments: (count, channels, *size)."""
        wide = _widened(fragments)
        if self._one_by_one:
            for k in range(run.length):
                self._add_one((*run.place[:-1], run.place[-1] + k), wide[k])
            return
        reach = spans(self.grid, run)
        place = (slice(None), _moved(reach[0], self._base), *reach[1:])
        grid = run_grid(self.grid, run.length)
        if self._reduce == "max":
            part = merge(wide[None], grid, reduce="max", fill_value=-np.inf)[0]
            self._sums[place] = _maximum(self._sums[place], part)
            return
        window = self._window
        if self.halo is not None:
            window = [self._vector(axis, i) for axis, i in enumerate(run.place)]
        self._sums[place] += merge(wide[None], grid, window=window, reduce="sum")[0]
        if self._covered is not None:
            self._covered[place] += self._weight_of(run.length, grid)

    def _add_one(self, place: tuple[int, ...], fragment: Any) -> None:
        """A large fragment goes straight into the sums."""
        reach = spans(self.grid, Run(0, place, 1))
        at = (slice(None), _moved(reach[0], self._base), *reach[1:])
        window = self._product(place)
        if _arrays.is_tensor(fragment):
            self._sums[at].addcmul_(fragment, window)
        else:
            self._sums[at] += fragment * window
        if self._covered is not None:
            self._covered[at] += window

    def _product(self, place: tuple[int, ...]) -> Any:
        """The whole window of a fragment; with a halo, those at the array's border differ."""
        border = [(i == 0, i == n - 1) for i, n in zip(place, self.grid.counts, strict=True)]
        key = tuple(border) if self.halo is not None else ()
        if key not in self._products:
            window = self._whole
            if window is None:
                window = np.ones(())
                for axis, i in enumerate(place):
                    window = window[..., None] * self._vector(axis, i)
            self._products[key] = _array_like(window, self._sums)
        return self._products[key]

    def finished(self, run: Run) -> slice | None:
        """The positions along axis 0 that are finished once ``run`` is in, when it is time."""
        row = run.place[0] + (run.length if len(self.grid.shape) == 1 else 1)
        last_in_row = run.place[-1] + run.length == self.grid.counts[-1]
        whole_row = all(
            i == count - 1 for i, count in zip(run.place[1:-1], self.grid.counts[1:-1], strict=True)
        )
        if len(self.grid.shape) > 1 and not (last_in_row and whole_row):
            return None
        if row == self.grid.counts[0]:
            return slice(self._base, self.grid.shape[0])
        if row % self._rows:
            return None
        return slice(self._base, min(int(self.grid.starts[0][row]), self.grid.shape[0]))

    def rows_left(self, run: Run) -> int:
        """How many more windows along axis 0 fit before a slab has to be given up."""
        return self._rows - run.place[0] % self._rows

    def result(self, done: slice) -> Any:
        """The finished positions, (channels, thickness, *rest), normalised: a view of the sums.

        Good until `forget`, which has to follow.
        """
        inside = (slice(None), slice(done.stop - done.start), *map(slice, self.grid.shape[1:]))
        sums = self._sums[inside]
        if self._covered is not None:
            sums *= _inverse(self._covered[inside])
            return sums
        along = _array_like(self._inverse_axis(0)[done], self._sums)
        factor = along.reshape((-1, *(1,) * (len(self.grid.shape) - 1))) * self._plane
        if self._reduce == "mean":
            sums *= factor
        elif self._reduce == "max":
            return _where(factor > 0, sums, 0)
        return sums

    def forget(self, done: slice) -> None:
        """Drop the finished positions; those after them move up."""
        thickness = done.stop - done.start
        for held, empty in ((self._sums, self._empty), (self._covered, 0)):
            if held is not None:
                kept = held.shape[1] - thickness
                if kept > 0:
                    held[:, :kept] = _copied(held[:, thickness:])
                held[:, max(kept, 0) :] = empty
        self._base = done.stop

    def restart(self) -> None:
        """Forget everything: the next batch entry begins."""
        self._base = 0
        self._sums[:] = self._empty
        if self._covered is not None:
            self._covered[:] = 0

    def _weight_of(self, count: int, grid: FragmentGrid) -> Any:
        """The weights of a run, merged: (1, *spans)."""
        if count not in self._weights:
            assert self._whole is not None
            ones = np.broadcast_to(np.ones(1), (1, count, 1, *grid.size))
            weights = merge(ones, grid, window=self._whole, reduce="sum")
            self._weights[count] = _array_like(weights[0], self._sums)
        return self._weights[count]

    def _vector(self, axis: int, window: int) -> NDArray[np.float64]:
        """A window's weights along an axis: 0 in the halo, but not at the array's own border."""
        vector = self._vectors[axis]
        if self.halo is not None:
            before, after = self.halo[axis]
            vector = vector.copy()
            if window > 0:
                vector[:before] = 0
            if window < self.grid.counts[axis] - 1:
                vector[len(vector) - after :] = 0
        return vector

    def _inverse_axis(self, axis: int) -> NDArray[np.float64]:
        """One over the weights that reach each position of an axis; 0 where none does."""
        size, dilation = self.grid.size[axis], self.grid.dilation[axis]
        starts = self.grid.starts[axis]
        weights = np.zeros(self.grid.padded_shape[axis])
        inner = self._vector(axis, 1) if len(starts) > 2 else self._vectors[axis]
        for tap in range(size):  # a window holds a position at most once
            weights[starts[1:-1] + dilation * tap] += inner[tap]
        for i in sorted({0, len(starts) - 1}):
            weights[starts[i] : starts[i] + dilation * size : dilation] += self._vector(axis, i)
        inverse: NDArray[np.float64] = _inverse(weights)
        return inverse[: self.grid.shape[axis]]

    def _inverse_plane(self) -> NDArray[np.float64]:
        plane = np.ones(())
        for axis in range(1, len(self.grid.shape)):
            plane = plane[..., None] * self._inverse_axis(axis)
        return plane


def lost_positions(grid: FragmentGrid, halo: Halo) -> int:
    """How many positions get a result from no fragment, once each leaves out its ``halo``.

    A fragment keeps its results at the array's own border; windows lie inside the array.
    """
    kept = 1
    for length, size, starts, (before, after) in zip(
        grid.shape, grid.size, grid.starts, halo, strict=True
    ):
        begin = np.where(starts == 0, 0, starts + before)
        end = np.where(starts + size >= length, length, starts + size - after)
        # Windows are sorted by start, hence by end: each adds what the last one did not reach.
        reached = np.concatenate([[0], np.maximum.accumulate(end)[:-1]])
        kept *= int(np.maximum(end - np.maximum(begin, reached), 0).sum())
    return prod(grid.shape) - kept


@lru_cache(maxsize=256)
def output_grid(grid: FragmentGrid, size: tuple[int, ...]) -> FragmentGrid:
    """The grid of a model's outputs of ``size``, where its inputs lie on ``grid``.

    Every length scales as the windows do, and every window has to begin at a whole position.
    """
    if size == grid.size:
        return grid
    shape, stride = [], []
    for axis, (length, s, w, v) in enumerate(
        zip(grid.shape, grid.stride, grid.size, size, strict=True)
    ):
        scale = Fraction(v, w)
        step = scale * s if grid.counts[axis] > 1 else Fraction(v)
        whole = (scale * length).denominator == 1 and step.denominator == 1 and step > 0
        if not whole or (scale != 1 and grid.dilation[axis] != 1):
            raise ValueError(
                f"model: got outputs of size {size} for fragments of {grid.size}; on axis {axis} "
                f"the scale {scale} takes length {length} and stride {s} to fractions"
            )
        shape.append(int(scale * length))
        stride.append(int(step))
    scaled = FragmentGrid.checked(
        tuple(shape), size, tuple(stride), grid.edge, grid.pad_mode, 0, grid.dilation
    )
    if scaled.counts != grid.counts:
        raise ValueError(f"model: outputs of size {size} do not lie on a grid like {grid}")
    return scaled


def _moved(span: slice, base: int) -> slice:
    return slice(span.start - base, span.stop - base)


def _widened(fragments: Any) -> Any:
    """Half precision and integers as float32, so that sums neither round nor overflow."""
    if _arrays.is_tensor(fragments):
        import torch

        wide = fragments.dtype in (torch.float32, torch.float64)
        return fragments if wide else fragments.float()
    fragments = np.asarray(fragments)
    wide = fragments.dtype in (np.float32, np.float64)
    return fragments if wide else fragments.astype(np.float32)


def _filled(like: Any, shape: tuple[int, ...], value: float) -> Any:
    if _arrays.is_tensor(like):
        return _widened(like[:0]).new_full(shape, value)
    return np.full(shape, value, _widened(like[:0]).dtype)


def _array_like(array: NDArray[np.float64], like: Any) -> Any:
    if _arrays.is_tensor(like):
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(like)
    return array.astype(like.dtype)


def _inverse(weights: Any) -> Any:
    if _arrays.is_tensor(weights):
        import torch

        return torch.where(weights == 0, 0, 1 / weights)
    return np.divide(1, weights, out=np.zeros_like(weights), where=weights != 0)


def _where(condition: Any, values: Any, other: float) -> Any:
    if _arrays.is_tensor(values):
        import torch

        return torch.where(condition, values, other)
    return np.where(condition, values, np.asarray(other, values.dtype))


def _maximum(a: Any, b: Any) -> Any:
    if _arrays.is_tensor(a):
        import torch

        return torch.maximum(a, b)
    return np.maximum(a, b)


def _copied(array: Any) -> Any:
    return array.clone() if _arrays.is_tensor(array) else array.copy()
