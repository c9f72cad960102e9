"""Merging fragments as they come, and giving up each part of the result once it is finished."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.windows import Reduce, Window, outer, window_weights

#: Positions left out before and after, an axis.
Halo: TypeAlias = "tuple[tuple[int, int], ...]"

NO_WEIGHT = "window: the weights of some positions{} sum to zero; a mean takes weights that do not"
_LEAST_IN_FLOAT32 = 1e-30  # and its reciprocal, with room for a sum
_SLAB_VALUES = 1 << 18  # of one channel: a slab is given up when it holds so many


class Part(NamedTuple):
    """Some windows of a grid, a run along each axis, and the positions wanted of them."""

    #: The grid of all windows.
    whole: FragmentGrid
    windows: tuple[slice, ...]
    #: Positions that no other window reaches, counted from the first that these reach.
    wanted: tuple[slice, ...]

    @property
    def first(self) -> tuple[int, ...]:
        """The first position that the windows reach."""
        starts = zip(self.whole.starts, self.windows, strict=True)
        return tuple(int(own[run.start]) for own, run in starts)

    @property
    def grid(self) -> FragmentGrid:
        """The windows on the positions that they reach."""
        whole, lengths = self.whole, []
        for axis, (run, first) in enumerate(zip(self.windows, self.first, strict=True)):
            extent = whole.dilation[axis] * (whole.size[axis] - 1) + 1
            last = int(whole.starts[axis][run.stop - 1]) + extent
            lengths.append(min(last, whole.shape[axis]) - first)
        return FragmentGrid.checked(
            tuple(lengths), whole.size, whole.stride, whole.edge, "constant", 0, whole.dilation
        )


class Stitcher(ABC):
    """One output of a model: fragments in, finished slabs of the merged array out.

    The fragments of one batch entry arrive in the grid's order, then those of the next. Sums are
    kept for the positions along axis 0 that later fragments can still reach, and no others. What
    holds the sums is a subclass' business.

    Parameters
    ----------
    grid : the grid of the model's *outputs*; see `output_grid`
    window, reduce : as `tokfrag.merge` takes them
    halo : positions (before, after) left out at the borders of fragments, an axis; or None
    like : an output of the model, (count, channels, *size)
    part : what part of a larger grid `grid` is: wanted positions get the bits that all windows give
    """

    #: How many fragments of an entry come: all, but where some are chosen.
    windows: int

    def __init__(
        self,
        grid: FragmentGrid,
        window: Window,
        reduce: Reduce,
        halo: Halo | None,
        like: Any,
        part: Part | None = None,
    ) -> None:
        self.grid, self.reduce, self.halo, self.part = grid, reduce, halo, part
        self.windows = grid.n
        self.channels, self.tensors = int(like.shape[1]), _arrays.is_tensor(like)
        vectors, whole = window_weights(grid, window)
        self.whole = whole
        if self.whole is not None and self.whole.ndim > len(grid.size):
            raise ValueError("window: got weights for each fragment, takes those of one window")
        self.uniform = isinstance(window, str) and window == "uniform"
        self.vectors = [
            np.ones(size) if vector is None else vector
            for vector, size in zip(vectors, grid.size, strict=True)
        ]
        if reduce not in ("mean", "sum") and not self.uniform:
            raise ValueError(
                f"window: reduce={reduce!r} takes no weights, leave the window uniform"
            )
        #: What weights of an array have been divided by.
        self.scale = 1.0
        if reduce == "mean":  # their scale means nothing, but may be beyond float32
            self.vectors = [vector / (np.abs(vector).max() or 1) for vector in self.vectors]
            if self.whole is not None:
                self.scale = _largest(self.whole) or 1.0
        if self.whole is not None:  # another array than the caller's: models run between its uses
            self.whole = self.whole / self.scale
        #: Whether the weights span more than float32 holds.
        self.narrow = reduce in ("mean", "sum") and self._spans_more_than_float32()
        #: Whether weights of an array may sum to zero.
        self.may_vanish = reduce == "mean" and self.whole is not None and self.whole.min() <= 0
        if halo is not None:
            self._check_halo(halo)
        rest = prod(grid.padded_shape[1:])
        rows = max(1, _SLAB_VALUES // max(1, grid.stride[0] * rest))
        self._rows = min(rows, grid.counts[0])
        self._group = self._rows * prod(grid.counts[1:])
        extent = grid.dilation[0] * (grid.size[0] - 1) + 1
        depth = (self._rows - 1) * grid.stride[0] + extent
        #: How many positions along axis 0 the sums are for.
        self.depth = min(max(depth, grid.stride[0] * self._rows), grid.padded_shape[0])
        self.base = 0  # the first of them

    @abstractmethod
    def add(self, first: int, fragments: Any, weights: NDArray[np.float64] | None = None) -> None:
        """Take in fragments [first, first + count) of the entry: (count, channels, *size).

        They do not go past what `until` says. `weights` are used instead of the window's, but not
        in what means are divided by.
        """

    @abstractmethod
    def take(self, done: slice, out: Any = None) -> Any:
        """Give up finished positions: (channels, thickness, *rest), normalised; into `out`."""

    @abstractmethod
    def restart(self) -> None:
        """Forget everything: the next batch entry begins."""

    def until(self, first: int) -> int:
        """How many fragments of an entry may come, from `first` on, before a slab is given up."""
        return first - first % self._group + self._group

    def finished(self, count: int) -> slice | None:
        """The positions that are finished once `count` fragments are in, when it is time."""
        if count == self.grid.n:
            return slice(self.base, self.grid.shape[0])
        if count % self._group:
            return None
        row = count // prod(self.grid.counts[1:])
        return slice(self.base, min(int(self.grid.starts[0][row]), self.grid.shape[0]))

    def vector(self, axis: int, begins: bool, ends: bool) -> NDArray[np.float64]:
        """A window's weights along an axis: 0 in the halo, but not at the array's own border.

        `begins`, `ends`: the window is the first, the last of its axis. (Of a part these may lie
        inside the array; but what is wanted is never in their halo, for no window before or after
        them reaches it.)
        """
        vector = self.vectors[axis]
        if self.halo is not None:
            before, after = self.halo[axis]
            vector = vector.copy()
            if not begins:
                vector[:before] = 0
            if not ends:
                vector[len(vector) - after :] = 0
        return vector

    def inverse(self, axis: int) -> NDArray[np.float64]:
        """One over the weights that reach each position of an axis; 0 where none does."""
        grid = self.grid if self.part is None else self.part.whole
        size, dilation = grid.size[axis], grid.dilation[axis]
        starts = grid.starts[axis]
        last = len(starts) - 1
        weights = np.zeros(grid.padded_shape[axis])
        inner = self.vector(axis, False, False)
        if last < size:
            for start in starts[1:-1][::-1]:
                weights[start : start + dilation * size : dilation] += inner
        else:  # the same sums, in the same order: a window holds a position at most once
            for tap in range(size):
                weights[starts[1:-1] + dilation * tap] += inner[tap]
        for i in sorted({0, last}):
            reached = slice(starts[i], starts[i] + dilation * size, dilation)
            weights[reached] += self.vector(axis, i == 0, i == last)
        held = grid.axis_coverage()[axis] > 0
        if self.reduce == "mean" and not weights[: len(held)][held].all():
            raise ValueError(NO_WEIGHT.format(f" on axis {axis}"))
        inverse = np.divide(1, weights, out=np.zeros_like(weights), where=weights != 0)
        first = 0 if self.part is None else self.part.first[axis]
        return inverse[first : first + self.grid.shape[axis]]

    def check_weights(self, sums: Any, positions: slice) -> None:
        """Raise ValueError if a position that windows hold has no weight.

        `sums` are the weights over `positions` of axis 0, ``(1, thickness, *rest)``.
        """
        coverage = self.grid.axis_coverage()
        if self.part is not None:  # elsewhere, windows are missing
            for counts, wanted in zip(coverage, self.part.wanted, strict=True):
                counts[: wanted.start] = 0
                counts[wanted.stop :] = 0
        held = np.flatnonzero(coverage[0][positions])
        if len(held) and bool((sums[:, : held[-1] + 1] == 0).any()):
            reached = outer([counts > 0 for counts in [coverage[0][positions], *coverage[1:]]])
            if (np.asarray(sums[0] == 0) & (reached[: len(sums[0])] > 0)).any():
                raise ValueError(NO_WEIGHT.format(""))

    def _spans_more_than_float32(self) -> bool:
        """Whether a weight that is not 0, or a product of one an axis, may be lost in float32."""
        least = greatest = 1.0
        for weights in [self.whole] if self.whole is not None else self.vectors:
            smallest = float(weights.min(initial=np.inf))
            if smallest <= 0:
                smallest = float(np.abs(weights[weights != 0]).min(initial=np.inf))
            least *= min(smallest, 1.0)
            greatest *= max(_largest(weights), 1.0)
        return least < _LEAST_IN_FLOAT32 or greatest > 1 / _LEAST_IN_FLOAT32

    def _check_halo(self, halo: Halo) -> None:
        grid = self.grid
        if self.whole is not None or self.reduce == "max":
            raise ValueError("halo: takes a window of one vector an axis, and not reduce='max'")
        if grid.padded_shape != grid.shape or set(grid.dilation) != {1}:
            raise ValueError(f"halo: got {grid}, takes windows inside the array, not dilated")
        lost = lost_positions(grid, halo)
        if lost:
            raise ValueError(
                f"halo: got {halo}, which leaves {lost} of {prod(grid.shape)} positions "
                f"without a result for size {grid.size} and stride {grid.stride}"
            )


def _largest(weights: NDArray[np.float64]) -> float:
    return max(float(weights.max(initial=0.0)), -float(weights.min(initial=0.0)))


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
                f"the scale {scale} takes length {length} and stride {s} to fractions "
                "(outputs of unpadded convolutions take halo='valid')"
            )
        shape.append(int(scale * length))
        stride.append(int(step))
    scaled = FragmentGrid.checked(
        tuple(shape), size, tuple(stride), grid.edge, grid.pad_mode, 0, grid.dilation
    )
    if scaled.counts != grid.counts:
        raise ValueError(f"model: outputs of size {size} do not lie on a grid like {grid}")
    return scaled


def refuse_two_readings(grid: FragmentGrid, size: tuple[int, ...]) -> None:
    """Raise ValueError if outputs of ``size`` may be the middle of their fragments too.

    Unpadded convolutions lose as many positions before as after, and the same on every axis that
    they run along; what they leave still reaches the next window's.
    """
    lost = [w - v for w, v in zip(grid.size, size, strict=True)]
    reach = zip(size, grid.stride, grid.counts, strict=True)
    if (
        min(lost) >= 0
        and len({n for n in lost if n}) == 1
        and not any(n % 2 for n in lost)
        and all(v >= s for v, s, count in reach if count > 1)
        and set(grid.dilation) == {1}
        and grid.padded_shape == grid.shape
    ):
        raise ValueError(
            f"model: got outputs of size {size} for fragments of {grid.size}, which have two "
            "readings: the middle of each fragment, as unpadded convolutions leave it (say "
            "halo='valid'), or all of it at another resolution (say halo='scale')"
        )


def window_map_grid(grid: FragmentGrid) -> FragmentGrid:
    """The grid of outputs of one number a window: a map over the windows of `grid`."""
    ones = (1,) * len(grid.counts)
    return FragmentGrid.checked(grid.counts, ones, ones, "pad", "constant", 0, ones)


@lru_cache(maxsize=256)
def central_grid(grid: FragmentGrid, size: tuple[int, ...]) -> FragmentGrid:
    """The grid of a model's outputs of ``size`` that are the middle of its inputs on ``grid``.

    It lies over the positions that outputs reach: as many fewer at either end of an axis as a
    window has more than an output.
    """
    lost = [w - v for w, v in zip(grid.size, size, strict=True)]
    odd = min(lost) < 0 or any(n % 2 for n in lost) or 0 in size
    if odd or set(grid.dilation) != {1} or grid.padded_shape != grid.shape:
        raise ValueError(
            f"halo: got 'valid' for outputs of size {size} of fragments of {grid.size}; takes "
            "outputs that are smaller by an even number, and windows inside the array, not dilated"
        )
    shape = tuple(length - n for length, n in zip(grid.shape, lost, strict=True))
    inner = FragmentGrid.checked(
        shape, size, grid.stride, grid.edge, grid.pad_mode, 0, grid.dilation
    )
    if inner.counts != grid.counts:
        raise ValueError(f"halo: 'valid' takes a grid whose outputs lie on one; got {grid}")
    return inner
