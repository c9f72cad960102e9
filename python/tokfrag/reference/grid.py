"""Grid arithmetic as plain loops over windows and positions."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokfrag.fragments.grid import FragmentGrid


def axis_starts(length: int, size: int, stride: int, dilation: int, edge: str) -> list[int]:
    """The first position of every window on one axis."""
    extent = dilation * (size - 1) + 1
    starts: list[int] = []
    start = 0
    while start < length:
        fits = start + extent <= length
        if edge == "drop" and not fits:
            break
        if edge == "shift" and not fits:
            starts.append(length - extent)
            break
        starts.append(start)
        if start + extent >= length:
            break
        start += stride
    else:
        # The stride jumped over the end of the axis without reaching it.
        if edge == "shift" and length > 0:
            starts.append(length - extent)
    return starts


def source_position(length: int, pad_mode: str, position: int) -> int | None:
    """The position whose value lies at `position` of the padded axis; None for the pad value."""
    if 0 <= position < length:
        return position
    if pad_mode == "constant":
        return None
    if pad_mode == "replicate":
        return max(0, min(position, length - 1))
    if pad_mode == "circular":
        return position % length
    there_and_back: list[int] = [*range(length), *range(length - 2, 0, -1)]
    return there_and_back[position % len(there_and_back)]


def windows(grid: FragmentGrid) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The number and first position of every fragment, row-major."""
    starts = []
    for axis, length in enumerate(grid.shape):
        before, after = grid.padding[axis]
        first = grid.offset[axis] - before
        reach = length - first + after if length else 0
        steps = (grid.size[axis], grid.stride[axis], grid.dilation[axis])
        starts.append([first + start for start in axis_starts(reach, *steps, grid.edge)])
    yield from enumerate(product(*starts))


def taps(grid: FragmentGrid) -> Iterator[tuple[int, ...]]:
    """Every position inside a window, row-major."""
    yield from product(*map(range, grid.size))


def position(grid: FragmentGrid, start: tuple[int, ...], tap: tuple[int, ...]) -> tuple[int, ...]:
    """The position of the padded array that a window's tap holds."""
    return tuple(s + d * k for s, d, k in zip(start, grid.dilation, tap, strict=True))


def coverage(grid: FragmentGrid) -> NDArray[np.int64]:
    """How many fragments hold each position."""
    counts = np.zeros(grid.shape, np.int64)
    for _, start in windows(grid):
        for tap in taps(grid):
            at = position(grid, start, tap)
            if all(0 <= p < length for p, length in zip(at, grid.shape, strict=True)):
                counts[at] += 1
    return counts
