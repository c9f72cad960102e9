"""Which ids of each text the rows of a call have: truncation, and what overflows it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def kept_lengths(lengths: Sequence[Ints], room: int, strategy: str) -> list[Ints]:
    """How many ids of each text fit, as Hugging Face cuts them.

    Parameters
    ----------
    lengths
        Of the first texts, and of the second if there are any: (samples,) each.
    room
        How many ids a sample may have, those of the template left out.
    strategy
        ``"longest_first"``, ``"only_first"`` or ``"only_second"``.

    Raises
    ------
    ValueError
        A text is to be cut that has nothing to give, or is not there.
    """
    over = np.sum(lengths, axis=0) > room
    kept = [length.copy() for length in lengths]
    if len(lengths) == 1 and strategy != "only_second":
        return [np.minimum(lengths[0], room)]
    if strategy == "longest_first":
        shorter = np.minimum(*lengths)
        longer = np.where(shorter > room, shorter, np.maximum(shorter, room - shorter))
        halved = shorter + longer > room
        shorter, longer = (
            np.where(halved, room // 2, shorter),
            np.where(halved, room // 2 + room % 2, longer),
        )
        swapped = lengths[0] > lengths[1]
        targets = np.where(swapped, longer, shorter), np.where(swapped, shorter, longer)
        return [
            np.where(over, np.minimum(length, target), length)
            for length, target in zip(lengths, targets, strict=True)
        ]
    which = 0 if strategy == "only_first" else 1
    if which < len(kept):
        others = lengths[1 - which] if len(kept) > 1 else 0
        kept[which] = np.where(over, room - others, lengths[which])
    empty = over & (kept[which] <= 0) if which < len(kept) else over
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        raise ValueError(f"truncation: {strategy!r} leaves nothing of that text in row {row}")
    return kept


def window_bounds(length: int, kept: int, stride: int, side: str) -> list[tuple[int, int]]:
    """The windows of a text of ``length`` ids, ``kept`` each, that overlap by ``stride``.

    Examples
    --------
    >>> window_bounds(7, 4, 1, "right"), window_bounds(7, 4, 1, "left")
    ([(0, 4), (3, 7)], [(3, 7), (0, 4)])
    """
    if kept >= length:
        return [(0, length)]
    if kept == 0:
        return [(0, 0), (0, length)]
    step = kept - stride
    count = 1 - (kept - length) // step
    if side == "right":
        return [(at, min(at + kept, length)) for at in range(0, count * step, step)]
    ends = range(length, length - count * step, -step)
    return [(max(0, end - kept), end) for end in ends]


def cut_rows(
    offsets: Sequence[Ints],
    kept: Sequence[Ints],
    *,
    stride: int,
    side: str,
    overflow: bool,
    order: Sequence[int],
) -> tuple[Ints, Ints, Ints]:
    """The rows of a call.

    Parameters
    ----------
    offsets : (samples + 1,) arrays
        Where each sample begins in each column of ids.
    kept : (samples,) arrays
        How many ids of it a row has room for.
    stride
        How many ids of a window come again in the next.
    side
        Where ids are cut off, ``"right"`` or ``"left"``.
    overflow
        Whether what is cut off gives more rows: for every window of one text all of the other's.
    order
        The columns in the order of the template.

    Returns
    -------
    samples : (rows,) array
    begins, lengths : (columns, rows) arrays

    Raises
    ------
    ValueError
        ``stride`` is not less than what a window holds.
    """
    lengths = [np.diff(bounds) for bounds in offsets]
    cut = [have > keep for have, keep in zip(lengths, kept, strict=True)]
    if stride > 0:
        for flags, keep in zip(cut, kept, strict=True):
            bad = np.flatnonzero(flags & (keep > 0) & (keep <= stride))
            if len(bad):
                raise ValueError(
                    f"stride: got {stride}, takes less than the {keep[bad[0]]} ids that row"
                    f" {bad[0]} has room for"
                )
    if not overflow or not any(flags.any() for flags in cut):
        begins = [
            bounds[:-1] if side == "right" else bounds[1:] - keep
            for bounds, keep in zip(offsets, kept, strict=True)
        ]
        return np.arange(len(lengths[0])), np.stack(begins), np.stack(kept)
    samples: list[int] = []
    windows: list[list[tuple[int, int]]] = []
    for sample in range(len(lengths[0])):
        choices = [
            window_bounds(int(have[sample]), int(keep[sample]), stride, side)
            for have, keep in zip(lengths, kept, strict=True)
        ]
        for row in _combined([choices[column] for column in order]):
            samples.append(sample)
            windows.append([row[order.index(column)] for column in range(len(choices))])
    bounds = np.array(windows, np.int64).reshape(len(samples), len(lengths), 2)
    first = np.stack([starts[samples] for starts in offsets])
    return np.array(samples), first + bounds[:, :, 0].T, (bounds[:, :, 1] - bounds[:, :, 0]).T


def _combined(choices: list[list[tuple[int, int]]]) -> list[tuple[tuple[int, int], ...]]:
    """The windows of the texts of a sample together, the first of all texts first.

    Those of the first text follow, each with all of the second, then the first with the others.
    """
    rows = list(product(*choices))
    inner = len(rows) // len(choices[0])
    return [rows[0], *rows[inner:], *rows[1:inner]]


__all__ = ["cut_rows", "kept_lengths", "window_bounds"]
