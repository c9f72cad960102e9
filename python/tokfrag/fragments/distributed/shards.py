"""Which process holds which windows, and which positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import prod
from operator import index as as_int

from tokfrag.fragments.arguments import one_integer
from tokfrag.fragments.grid import FragmentGrid


class GridShards:
    """A grid's windows dealt out to processes in blocks, with the positions that go with them.

    The windows along an axis are split evenly into consecutive runs, ``split[axis]`` of them, and
    blocks of runs are numbered in row-major order. A process owns the positions from its first
    window's start up to the next process' first window: of the data and of the merged result alike.
    Processes beyond the last block own nothing.

    Parameters
    ----------
    grid : FragmentGrid
    workers : int
        How many processes.
    split : sequence of int, optional
        How many runs along each axis, at most `workers` blocks. If not given, the split into the
        most blocks whose cuts go through the fewest shared positions.

    Raises
    ------
    ValueError, TypeError
        Numbers of workers or runs do not fit; a rank is not one of the processes.

    Examples
    --------
    >>> from tokfrag import FragmentGrid
    >>> shards = GridShards(FragmentGrid((10,), size=4, stride=2), workers=2)
    >>> [shards.windows(rank) for rank in range(2)]
    [(slice(0, 2, None),), (slice(2, 4, None),)]
    >>> [shards.region(rank) for rank in range(2)]
    [(slice(0, 4, None),), (slice(4, 10, None),)]
    """

    grid: FragmentGrid
    workers: int
    split: tuple[int, ...]

    def __init__(
        self, grid: FragmentGrid, workers: int, split: Sequence[int] | None = None
    ) -> None:
        if not isinstance(grid, FragmentGrid):
            raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
        if grid.inner is not None:
            raise ValueError(f"grid: got {grid}, takes one without offset and padding")
        self.grid, self.workers = grid, one_integer(workers, "workers", least=1)
        self.split = _least_shared(grid, self.workers) if split is None else _checked(split, self)

    def windows(self, rank: int) -> tuple[slice, ...]:
        """The windows of a process, a run along each axis.

        Parameters
        ----------
        rank : int
            0 to ``workers - 1``.

        Returns
        -------
        tuple of slice
            Into the grid's ``counts``; empty runs for a process that owns nothing.
        """
        return tuple(
            slice(runs[at], runs[at + 1])
            for runs, at in zip(self._runs, self._place(rank), strict=True)
        )

    def counts(self, rank: int) -> tuple[int, ...]:
        """How many windows a process holds along each axis.

        Parameters
        ----------
        rank : int
            0 to ``workers - 1``.

        Returns
        -------
        tuple of int
        """
        return tuple(run.stop - run.start for run in self.windows(rank))

    def region(self, rank: int) -> tuple[slice, ...]:
        """The positions that a process owns, a range along each axis.

        Parameters
        ----------
        rank : int
            0 to ``workers - 1``.

        Returns
        -------
        tuple of slice
            Into the grid's ``shape``; empty ranges for a process that owns nothing.
        """
        return tuple(
            slice(edges[at], edges[at + 1])
            for edges, at in zip(self._edges, self._place(rank), strict=True)
        )

    def shape(self, rank: int) -> tuple[int, ...]:
        """The lengths of a process' region.

        Parameters
        ----------
        rank : int
            0 to ``workers - 1``.

        Returns
        -------
        tuple of int
        """
        return tuple(part.stop - part.start for part in self.region(rank))

    def __repr__(self) -> str:
        return f"GridShards({self.grid!r}, workers={self.workers}, split={self.split})"

    def _place(self, rank: int) -> tuple[int, ...]:
        """The runs of a process' block, or places behind the end if it has none."""
        if not 0 <= rank < self.workers:
            raise ValueError(f"rank: got {rank}, takes 0 to {self.workers - 1}")
        if rank >= prod(self.split):
            return self.split
        place = []
        for runs in reversed(self.split):
            rank, at = divmod(rank, runs)
            place.append(at)
        return tuple(reversed(place))

    @cached_property
    def _runs(self) -> list[list[int]]:
        """Where the runs of windows begin on each axis; the end twice, for those with none."""
        return [
            [*(count * i // runs for i in range(runs + 1)), count]
            for count, runs in zip(self.grid.counts, self.split, strict=True)
        ]

    @cached_property
    def _edges(self) -> list[list[int]]:
        """Where the regions begin on each axis."""
        edges = []
        for length, starts, runs in zip(self.grid.shape, self.grid.starts, self._runs, strict=True):
            inner = [min(int(starts[first]), length) for first in runs[1:-2]]
            edges.append([0, *inner, length, length])
        return edges


def splits(counts: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    """The ways to cut a grid of windows into the most blocks, at most one a worker."""

    def factors(left: int, axis: int) -> Iterator[tuple[int, ...]]:
        if axis == len(counts):
            yield ()
            return
        for runs in range(1, max(min(left, counts[axis]), 1) + 1):
            for rest in factors(left // runs, axis + 1):
                yield (runs, *rest)

    every = list(factors(workers, 0))
    most = max(map(prod, every))
    return [split for split in every if prod(split) == most]


def shared_positions(grid: FragmentGrid, split: Sequence[int]) -> int:
    """How many positions windows on both sides of a split's cuts hold."""
    total = 0
    for axis, runs in enumerate(split):
        plane = prod(grid.shape) // max(grid.shape[axis], 1)
        total += (runs - 1) * max(grid.size[axis] - grid.stride[axis], 0) * plane
    return total


def _least_shared(grid: FragmentGrid, workers: int) -> tuple[int, ...]:
    # On a tie the outermost axis is cut: its parts are contiguous.
    return min(
        splits(grid.counts, workers),
        key=lambda split: (shared_positions(grid, split), tuple(-runs for runs in split)),
    )


def _checked(split: Sequence[int], shards: GridShards) -> tuple[int, ...]:
    grid, workers = shards.grid, shards.workers
    try:
        runs = tuple(map(as_int, split))
    except TypeError:
        raise TypeError(f"split: got {split!r}, takes one integer an axis") from None
    if len(runs) != len(grid.shape) or min(runs) < 1:
        raise ValueError(f"split: got {split}, takes 1 or more, for {len(grid.shape)} axes")
    if prod(runs) > workers:
        raise ValueError(f"split: got {split}, {prod(runs)} blocks, takes at most {workers}")
    if any(n > max(count, 1) for n, count in zip(runs, grid.counts, strict=True)):
        raise ValueError(f"split: got {split}, takes at most the grid's counts, {grid.counts}")
    return runs
