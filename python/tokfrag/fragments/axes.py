"""The arithmetic of one axis of a grid: how many windows, where they start, what they hold."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Edge: TypeAlias = Literal["pad", "drop", "shift"]
PadMode: TypeAlias = Literal["constant", "reflect", "replicate", "circular"]

EDGES: tuple[Edge, ...] = ("pad", "drop", "shift")
PAD_MODES: tuple[PadMode, ...] = ("constant", "reflect", "replicate", "circular")


def axis_count(length: int, size: int, stride: int, dilation: int, edge: Edge) -> int:
    """The number of windows on one axis; plain arithmetic, so symbolic lengths go through."""
    if length == 0:
        return 0
    extent = dilation * (size - 1) + 1
    if edge == "drop":
        return max((length - extent) // stride + 1, 0)
    most = -(-length // stride)  # windows that begin on the axis; 0 on an empty axis
    reaching = max(-(-(length - extent) // stride), 0) + 1
    return min(reaching, most) if edge == "pad" else reaching


def axis_starts(
    length: int, size: int, stride: int, dilation: int, count: int, edge: Edge
) -> NDArray[np.int64]:
    """Return the first positions of the windows on an axis, read-only: grids share them."""
    starts = np.arange(count, dtype=np.int64) * stride
    if edge == "shift" and count:
        starts[-1] = length - (dilation * (size - 1) + 1)
    starts.flags.writeable = False
    return starts


def axis_covered(length: int, size: int, stride: int, dilation: int, count: int, edge: Edge) -> int:
    """Positions in at least one window, without dilation: a union of intervals."""
    if count == 0:
        return 0
    last = length - size if edge == "shift" else (count - 1) * stride
    covered = (count - 1) * min(size, stride)  # each window up to the next one's start
    if count > 1:
        covered -= min(size, stride) - min(size, last - (count - 2) * stride)
    return covered + min(size, length - last)


def source_positions(
    length: int, reach: int, pad_mode: PadMode, first: int = 0
) -> NDArray[np.int64]:
    """For each of `reach` positions from `first`, the one of the axis it is read from, or -1."""
    position = np.arange(first, first + reach, dtype=np.int64)
    if first >= 0 and first + reach <= length:
        return position
    if pad_mode == "constant":
        return np.where((position >= 0) & (position < length), position, -1)
    if pad_mode == "replicate":
        return np.clip(position, 0, length - 1)
    if pad_mode == "circular":
        return position % length
    period = max(2 * (length - 1), 1)
    folded = position % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(position)


def windows_over(
    length: int, size: int, dilation: int, starts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many windows hold each position of an axis: (length,) integers."""
    if not len(starts):
        return np.zeros(length, np.int64)
    # Of positions a dilation apart, windows begin at some and end before some.
    first, extent = min(int(starts[0]), 0), size * dilation
    span = max(int(starts[-1]) + extent + 1, length) - first
    span += -span % dilation
    changes = np.bincount(starts - first, minlength=span)
    changes -= np.bincount(starts - first + extent, minlength=span)
    counts: NDArray[np.int64] = changes.reshape(-1, dilation).cumsum(axis=0).reshape(-1)
    return counts[-first : length - first]
