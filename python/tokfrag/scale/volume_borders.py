"""Which block runs which window, if each is run once, and what blocks hand on to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.scale.volume_arrays import Region
from tokfrag.scale.volume_blocks import Blocks, Merging, window_numbers


@dataclass(frozen=True)
class _Axis:
    """The same along one axis, where it is a matter of runs.

    Attributes
    ----------
    owners
        Of each window the block that runs it.
    owned
        Of each block the windows that it runs.
    inner
        Of each block the positions that no other block's windows reach.
    within
        Of each window whether all that it reaches is in the inner part of its block.
    sources, readers
        Of each block those whose windows reach it, and those that its windows reach; itself always.
    """

    owners: NDArray[np.int64]
    owned: list[slice]
    inner: list[slice]
    within: NDArray[np.bool_]
    sources: list[range]
    readers: list[range]

    @classmethod
    def of(cls, merging: Merging, blocks: Blocks, axis: int) -> _Axis:
        """For an axis; a window is its block's that holds the middle of what it reaches."""
        grid, length, count = merging.outputs, blocks.lengths[axis], blocks.counts[axis]
        extent = grid.dilation[axis] * (grid.size[axis] - 1) + 1
        starts = np.asarray(grid.starts[axis], np.int64) + merging.margin[axis]
        ends = np.minimum(starts + extent, grid.shape[axis] + merging.margin[axis])
        owners = np.clip((starts + ends - 1) // 2 // length, 0, count - 1)
        owned, inner, within, sources = [], [], np.zeros(len(starts), np.bool_), []
        for at in range(count):
            begin, end = at * length, min((at + 1) * length, blocks.space[axis])
            first, last = (int(i) for i in np.searchsorted(owners, [at, at + 1]))
            low = begin if first == 0 else max(begin, int(ends[first - 1]))
            high = end if last == len(starts) else min(end, int(starts[last]))
            owned.append(slice(first, last))
            inner.append(slice(low, high) if low < high else slice(begin, begin))
            within[first:last] = (starts[first:last] >= low) & (ends[first:last] <= high)
            reach = np.flatnonzero((ends > begin) & (starts < end))
            of = [at, *owners[reach].tolist()]  # what it has merged itself it takes too
            sources.append(range(min(of), max(of) + 1))
        readers = []
        for at in range(count):
            own = [reader for reader, of in enumerate(sources) if at in of]
            readers.append(range(own[0], own[-1] + 1))
        return cls(owners, owned, inner, within, sources, readers)


@dataclass(frozen=True)
class Borders:
    """Blocks that run each window once.

    A block runs the windows whose middle it holds. Where no others reach, its *inner* part, it
    merges them at once; windows that reach beyond are *kept*, and every block takes those that
    reach its *frame*, its own among them, so that each position sums the same numbers in the same
    order as in one process.

    Attributes
    ----------
    merging
        How outputs become a volume.
    blocks
        Of the volume.
    """

    merging: Merging
    blocks: Blocks

    @cached_property
    def axes(self) -> tuple[_Axis, ...]:
        """The runs along each axis."""
        ranks = range(len(self.blocks.space))
        return tuple(_Axis.of(self.merging, self.blocks, axis) for axis in ranks)

    def _place(self, number: int) -> tuple[int, tuple[int, ...]]:
        """The batch entry of a block, and where it is along each axis."""
        entry, *at = np.unravel_index(number, (self.blocks.entries, *self.blocks.counts))
        return int(entry), tuple(map(int, at))

    def windows(self, number: int) -> tuple[slice, ...]:
        """The windows that a block runs, a run along each axis."""
        _, at = self._place(number)
        return tuple(axis.owned[i] for axis, i in zip(self.axes, at, strict=True))

    def inner(self, number: int) -> Region | None:
        """The part of a block that no other block's windows reach; None: there is none."""
        _, at = self._place(number)
        part = tuple(axis.inner[i] for axis, i in zip(self.axes, at, strict=True))
        return part if all(span.start < span.stop for span in part) else None

    def kept(self, number: int) -> NDArray[np.int64]:
        """The windows of a block that reach beyond its inner part, ascending."""
        windows = self.windows(number)
        numbers = window_numbers(self.merging.grid, windows)
        runs = zip(self.axes, windows, strict=True)
        within = np.ones((), np.bool_)
        for axis, run in runs:
            within = np.logical_and.outer(within, axis.within[run])
        kept: NDArray[np.int64] = numbers[~within.reshape(-1)]
        return kept

    def frame(self, number: int) -> list[Region]:
        """The rest of a block: boxes that do not overlap."""
        _, block = self.blocks.block(number)
        inner = self.inner(number)
        if inner is None:
            return [block]
        boxes, rest = [], list(block)
        for axis, (whole, within) in enumerate(zip(block, inner, strict=True)):
            sides = (slice(whole.start, within.start), slice(within.stop, whole.stop))
            boxes += [
                (*rest[:axis], side, *rest[axis + 1 :]) for side in sides if side.start < side.stop
            ]
            rest[axis] = within
        return boxes

    def owners(self, entry: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of these windows of a batch entry the blocks that run them."""
        places = np.unravel_index(numbers, self.merging.grid.counts)
        at = [axis.owners[along] for axis, along in zip(self.axes, places, strict=True)]
        flat: NDArray[np.int64] = np.ravel_multi_index(at, self.blocks.counts)
        return flat + entry * prod(self.blocks.counts)

    def sources(self, number: int) -> Iterator[int]:
        """The blocks that one takes from, itself among them."""
        return self._neighbours(number, [axis.sources for axis in self.axes])

    def readers(self, number: int) -> Iterator[int]:
        """The blocks that take from one, itself among them."""
        return self._neighbours(number, [axis.readers for axis in self.axes])

    def _neighbours(self, number: int, along: list[list[range]]) -> Iterator[int]:
        entry, at = self._place(number)
        for place in product(*(runs[i] for runs, i in zip(along, at, strict=True))):
            flat: Any = np.ravel_multi_index(place, self.blocks.counts)
            yield int(flat) + entry * prod(self.blocks.counts)

    def handed_bytes(self, output_bytes: int, position_bytes: int) -> int:
        """About what all blocks leave for the second round.

        `output_bytes` are of one window's outputs, `position_bytes` of the result at a position.
        """
        within = prod(int(axis.within.sum()) for axis in self.axes)
        positions = prod(sum(int(at.stop - at.start) for at in axis.inner) for axis in self.axes)
        kept = self.merging.grid.n - within
        return self.blocks.entries * (kept * output_bytes + positions * position_bytes)


__all__ = ["Borders"]
