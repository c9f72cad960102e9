"""Slabs of sums on a device, made of torch's operators."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge
from tokfrag.fragments.streams.cutting import Run, run_grid, runs, spans
from tokfrag.fragments.streams.stitching import Halo, Stitcher
from tokfrag.fragments.windows import Reduce, Window, outer

_LARGE_FRAGMENT = 1 << 20  # bytes from which a call for each fragment costs next to nothing


class Weights(NamedTuple):
    """Weights of a fragment on the device."""

    numbers: Tensor
    #: Where they are 0; None: nowhere.
    zero: Tensor | None


class DeviceStitcher(Stitcher):
    """Sums where the model's outputs are; see `Stitcher`.

    `like` is one of them: (count, channels, *size). The sums are a ring: those of position p along
    axis 0 lie at p modulo their depth, so that nothing moves when a slab is given up.
    """

    def __init__(
        self,
        grid: FragmentGrid,
        window: Window,
        reduce: Reduce,
        halo: Halo | None,
        like: Tensor,
    ) -> None:
        super().__init__(grid, window, reduce, halo, like)
        self._empty = -np.inf if reduce == "max" else 0
        wide = self._widened(like[:0])
        rest = grid.padded_shape[1:]
        self._sums = wide.new_full((like.shape[1], self.depth, *rest), self._empty)
        self._covered: Tensor | None = None
        if self.whole is not None and reduce == "mean":
            self._covered = wide.new_zeros((1, self.depth, *rest))
        else:
            inverses = [self.inverse(axis) for axis in range(1, len(grid.shape))]
            self._plane = self._like(outer(inverses))
            self._along = self._like(self.inverse(0))
        self._products: dict[Any, Weights] = {}
        fragment = prod(like.shape[1:]) * wide.itemsize
        self._one_by_one = fragment >= _LARGE_FRAGMENT and reduce != "max"

    def add(
        self, first: int, fragments: Tensor, weights: NDArray[np.float64] | None = None
    ) -> None:
        """Add fragments [first, first + count) of the entry to the sums on their device."""
        wide = self._widened(fragments)
        replaced = None if weights is None else self._weights(weights / self.scale)
        done = 0
        for run in runs(self.grid, first, first + len(wide)):
            if self._one_by_one or replaced is not None or self.halo is not None:
                for k in range(run.length):
                    place = (*run.place[:-1], run.place[-1] + k)
                    self._add_one(place, wide[done + k], replaced)
            else:
                self._add_run(run, wide[done : done + run.length])
            done += run.length

    def take(self, done: slice, out: Any = None) -> Tensor:
        """Give up finished positions, divided by their weights."""
        thickness = done.stop - done.start
        held = min(thickness, self.depth)  # beyond: in no window
        sums = self._held(self._sums, held)
        if self._covered is not None:
            weights = self._held(self._covered, held)
            if self.may_vanish:
                self.check_weights(weights.cpu(), done)
            sums = torch.where(weights == 0, 0, sums / weights)
        else:
            along = self._along[done.start : done.start + held]
            factor = along.reshape((-1, *(1,) * (len(self.grid.shape) - 1))) * self._plane
            if self.reduce == "mean":
                sums = sums * factor
            elif self.reduce == "max":
                sums = torch.where(factor > 0, sums, 0)
        result = sums.new_zeros((len(sums), thickness, *sums.shape[2:])) if out is None else out
        result[:, :held] = sums
        if out is not None and thickness > held:
            result[:, held:] = 0
        self._forget(thickness)
        self.base = done.stop
        return result

    def restart(self) -> None:
        """Empty the sums: the next batch entry begins."""
        self.base = 0
        self._sums.fill_(self._empty)
        if self._covered is not None:
            self._covered.zero_()

    def _add_run(self, run: Run, fragments: Tensor) -> None:
        reach = spans(self.grid, run)
        grid = run_grid(self.grid, run.length)
        if self.reduce == "max":
            part = merge(fragments[None], grid, reduce="max", fill_value=-np.inf)[0]
            for place, of in self._pieces(reach):
                self._sums[place] = torch.maximum(self._sums[place], part[:, of])
            return
        window: Any = "uniform" if self.uniform else self.vectors
        window = window if self.whole is None else self.whole
        part = merge(fragments[None], grid, window=window, reduce="sum")[0]
        covered = None
        if self._covered is not None:
            ones = np.broadcast_to(np.ones(1), (1, run.length, 1, *grid.size))
            covered = self._like(merge(ones, grid, window=window, reduce="sum")[0])
        for place, of in self._pieces(reach):
            self._sums[place] += part[:, of]
            if self._covered is not None and covered is not None:
                self._covered[place] += covered[:, of]

    def _add_one(self, place: tuple[int, ...], fragment: Tensor, replaced: Weights | None) -> None:
        """A large fragment goes straight into the sums."""
        steps = [
            slice(reach.start, reach.stop, dilation)
            for reach, dilation in zip(
                spans(self.grid, Run(0, place, 1)), self.grid.dilation, strict=True
            )
        ]
        window = self._product(place)
        weights = window if replaced is None else replaced
        if weights.zero is not None:  # left out, not multiplied: 0 * NaN is NaN
            fragment = fragment.masked_fill(weights.zero, 0)
        for at, of in self._pieces(steps):
            self._sums[at].addcmul_(fragment[:, of], weights.numbers[of])
            if self._covered is not None:
                self._covered[at] += window.numbers[of]

    def _product(self, place: tuple[int, ...]) -> Weights:
        """The whole window of a fragment; with a halo, those at the array's border differ."""
        border = [(i == 0, i == n - 1) for i, n in zip(place, self.grid.counts, strict=True)]
        key = tuple(border) if self.halo is not None else ()
        if key not in self._products:
            window = self.whole
            if window is None:
                window = outer([self.vector(axis, *at) for axis, at in enumerate(border)])
            self._products[key] = self._weights(window)
        return self._products[key]

    def _weights(self, numbers: NDArray[np.float64]) -> Weights:
        zero = numbers == 0
        there = torch.from_numpy(zero).to(self._sums.device) if zero.any() else None
        return Weights(self._like(numbers), there)

    def _slots(self, span: slice) -> Iterator[tuple[slice, slice]]:
        """Where positions along axis 0 lie in the ring, and which of them: in one piece or two."""
        step = span.step or 1
        start, done = span.start, 0
        while start < span.stop:
            end = min((start // self.depth + 1) * self.depth, span.stop)
            count = (end - start + step - 1) // step
            first = start % self.depth
            yield slice(first, first + end - start, step), slice(done, done + count)
            start, done = start + count * step, done + count

    def _pieces(self, reach: list[slice] | tuple[slice, ...]) -> Iterator[tuple[Any, slice]]:
        """The same for a place in the array: what indexes the sums, and what of it along axis 0."""
        for slots, of in self._slots(reach[0]):
            yield (slice(None), slots, *reach[1:]), of

    def _held(self, ring: Tensor, count: int) -> Tensor:
        """The first `count` positions that the ring holds, in their order."""
        rest = tuple(map(slice, self.grid.shape[1:]))
        span = slice(self.base, self.base + count)
        places: list[Any] = [(slice(None), slots, *rest) for slots, _ in self._slots(span)]
        parts = [ring[place] for place in places]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _forget(self, thickness: int) -> None:
        """The slots of finished positions are free for those to come."""
        span = slice(self.base, self.base + min(thickness, self.depth))
        for slots, _ in self._slots(span):
            self._sums[:, slots] = self._empty
            if self._covered is not None:
                self._covered[:, slots] = 0

    def _widened(self, fragments: Tensor) -> Tensor:
        """In the type of the sums: halves and integers as float32, which neither overflows."""
        if self.narrow or fragments.dtype == torch.float64:
            return fragments.double()
        return fragments.float()

    def _like(self, array: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._sums)
