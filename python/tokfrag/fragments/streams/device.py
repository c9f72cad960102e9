"""Slabs of sums on a device, made of torch's operators."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge
from tokfrag.fragments.streams.cutting import Run, run_grid, runs, spans
from tokfrag.fragments.streams.stitching import Halo, Stitcher
from tokfrag.fragments.windows import Reduce, Window, outer

_LARGE_FRAGMENT = 1 << 13  # positions from which a call for each fragment costs next to nothing


class DeviceStitcher(Stitcher):
    """Sums where the model's outputs are; see `Stitcher`.

    `like` is one of them: (count, channels, *size).
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
        self._products: dict[Any, Tensor] = {}
        large = prod(grid.size) >= _LARGE_FRAGMENT and set(grid.dilation) == {1}
        self._one_by_one = large and reduce != "max"

    def add(
        self, first: int, fragments: Tensor, weights: NDArray[np.float64] | None = None
    ) -> None:
        """Add fragments [first, first + count) of the entry to the sums on their device."""
        wide = self._widened(fragments)
        replaced = None if weights is None else self._like(weights / self.scale)
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
        """Give up finished positions, divided by their weights, and move the others up."""
        thickness = done.stop - done.start
        held = min(thickness, self.depth)  # beyond: in no window
        inside = (slice(None), slice(held), *map(slice, self.grid.shape[1:]))
        sums = self._sums[inside]
        if self._covered is not None:
            weights = self._covered[inside]
            if self.may_vanish:
                self.check_weights(weights.cpu(), done)
            sums = torch.where(weights == 0, 0, sums / weights)
        else:
            along = self._like(self.inverse(0)[done.start : done.start + held])
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
        place = (slice(None), _moved(reach[0], self.base), *reach[1:])
        grid = run_grid(self.grid, run.length)
        if self.reduce == "max":
            part = merge(fragments[None], grid, reduce="max", fill_value=-np.inf)[0]
            self._sums[place] = torch.maximum(self._sums[place], part)
            return
        window: Any = "uniform" if self.uniform else self.vectors
        window = window if self.whole is None else self.whole
        self._sums[place] += merge(fragments[None], grid, window=window, reduce="sum")[0]
        if self._covered is not None:
            ones = np.broadcast_to(np.ones(1), (1, run.length, 1, *grid.size))
            self._covered[place] += self._like(merge(ones, grid, window=window, reduce="sum")[0])

    def _add_one(self, place: tuple[int, ...], fragment: Tensor, replaced: Tensor | None) -> None:
        """A large fragment goes straight into the sums."""
        steps = [
            slice(reach.start, reach.stop, dilation)
            for reach, dilation in zip(
                spans(self.grid, Run(0, place, 1)), self.grid.dilation, strict=True
            )
        ]
        at = (slice(None), _moved(steps[0], self.base), *steps[1:])
        window = self._product(place)
        weights = window if replaced is None else replaced
        # Left out, not multiplied: 0 * NaN is NaN.
        self._sums[at] += (fragment * weights).masked_fill_(weights == 0, 0)
        if self._covered is not None:
            self._covered[at] += window

    def _product(self, place: tuple[int, ...]) -> Tensor:
        """The whole window of a fragment; with a halo, those at the array's border differ."""
        border = [(i == 0, i == n - 1) for i, n in zip(place, self.grid.counts, strict=True)]
        key = tuple(border) if self.halo is not None else ()
        if key not in self._products:
            window = self.whole
            if window is None:
                window = outer([self.vector(axis, *at) for axis, at in enumerate(border)])
            self._products[key] = self._like(window)
        return self._products[key]

    def _forget(self, thickness: int) -> None:
        """The positions after the finished ones move up."""
        for held, empty in ((self._sums, self._empty), (self._covered, 0)):
            if held is not None:
                kept = max(held.shape[1] - thickness, 0)
                if kept:
                    held[:, :kept] = held[:, thickness:].clone()
                held[:, kept:] = empty

    def _widened(self, fragments: Tensor) -> Tensor:
        """In the type of the sums: halves and integers as float32, which neither overflows."""
        if self.narrow or fragments.dtype == torch.float64:
            return fragments.double()
        return fragments.float()

    def _like(self, array: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._sums)


def _moved(span: slice, base: int) -> slice:
    return slice(span.start - base, span.stop - base, span.step)
