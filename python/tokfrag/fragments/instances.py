"""Detections and instances found in overlapping fragments, made one over the seams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge

if TYPE_CHECKING:
    import torch

BoxMethod: TypeAlias = Literal["nms", "nmm"]
BoxMeasure: TypeAlias = Literal["iou", "ios"]
_EXACT = 2**53  # the largest label that is a float of its own
#: Two windows, and the positions that they share in each, as index arrays.
WindowPair: TypeAlias = "tuple[int, int, tuple[NDArray[Any], ...], tuple[NDArray[Any], ...]]"


class MergedBoxes(NamedTuple):
    """Boxes of a whole array, by falling score."""

    #: ``(k, 2 * axes)`` float64: first corners, then last ones, in the array's positions.
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    #: The window that each was found in.
    windows: NDArray[np.int64]


def merge_boxes(
    boxes: Sequence[Any],
    scores: Sequence[Any],
    grid: FragmentGrid,
    *,
    labels: Sequence[Any] | None = None,
    threshold: float = 0.5,
    method: BoxMethod = "nms",
    measure: BoxMeasure = "iou",
) -> MergedBoxes:
    """The boxes of all fragments in the array's positions, each object once.

    Boxes are taken by falling score (of equal ones, by window and place). With ``"nms"``, a box
    that overlaps one taken before by more than `threshold` is dropped; with ``"nmm"`` it is merged
    into the first such: that one grows to the smallest box around both. Only boxes of one label
    meet.

    Parameters
    ----------
    boxes : one for each window: (k, 2 * axes)
        In the window's positions: the first corner, one number an axis in the grid's order, then
        the last corner. Lists, arrays or tensors.
    scores : one for each window: (k,)
    grid : FragmentGrid
        Not dilated.
    labels : one for each window: (k,) integers, optional
    threshold : float
        From 0 to 1.
    method : {"nms", "nmm"}
    measure : {"iou", "ios"}
        The overlap over the union, or over the smaller of both: what a seam has cut in two is often
        a small part of the whole.

    Returns
    -------
    MergedBoxes

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> grid = FragmentGrid((12,), size=8, stride=4)
    >>> found = merge_boxes([[[5, 7]], [[1, 3.5]]], [[0.9], [0.8]], grid)
    >>> found.boxes.tolist(), found.windows.tolist()
    ([[5.0, 7.0]], [0])
    """
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    if set(grid.dilation) != {1}:
        raise ValueError(f"grid: got dilation {grid.dilation}, takes windows without")
    if method not in ("nms", "nmm"):
        raise ValueError(f"method: got {method!r}, takes 'nms' or 'nmm'")
    if measure not in ("iou", "ios"):
        raise ValueError(f"measure: got {measure!r}, takes 'iou' or 'ios'")
    if not _is_number(threshold) or not 0 <= threshold <= 1:
        raise ValueError(f"threshold: got {threshold!r}, takes 0 to 1")
    rank = len(grid.shape)
    by_window = _by_window(boxes, grid.n, "boxes")
    places, windows = [], []
    for window, found in enumerate(by_window):
        found = found.reshape(-1, 2 * rank) if not found.size else found
        if found.ndim != 2 or found.shape[1] != 2 * rank:
            raise ValueError(f"boxes: got shape {found.shape}, takes (k, {2 * rank})")
        if not np.isfinite(found).all():
            raise ValueError(f"boxes: window {window} has one that is infinite or not a number")
        if (found[:, :rank] > found[:, rank:]).any():
            raise ValueError(f"boxes: window {window} has one whose last corner lies before")
        places.append(found + np.tile(grid.origins[window], 2))
        windows.append(np.full(len(found), window))
    counts = [len(found) for found in places]
    none = np.zeros((0, 2 * rank))
    corners = np.concatenate([none, *places])
    window_of = np.concatenate([np.zeros(0, np.int64), *windows])
    score = _flat_like(scores, counts, "scores")
    if np.isnan(score).any():
        raise ValueError("scores: got some that are not a number, takes numbers to sort by")
    label = np.zeros(len(score), np.int64)
    if labels is not None:
        given = _flat_like(labels, counts, "labels")
        if (given != np.rint(given)).any() or (np.abs(given) > _EXACT).any():
            raise TypeError(f"labels: got fractions or above {_EXACT}, takes integers up to it")
        label = given.astype(np.int64)
    order = np.argsort(-score, kind="stable")
    corners, score = corners[order], score[order]
    label, window_of = label[order], window_of[order]
    kept = _suppressed(corners, label, threshold, measure, grows=method == "nmm")
    return MergedBoxes(corners[kept], score[kept], label[kept], window_of[kept])


def merge_labels(
    labels: NDArray[Any] | torch.Tensor,
    grid: FragmentGrid,
    *,
    least_share: float = 0.5,
) -> Any:
    """Instances numbered in each fragment, numbered once over the whole array.

    Instances of two windows are one if, within the positions that both windows hold, they share at
    least `least_share` of the smaller's (and one position at least); and so are those that are one
    with the same third. A position then gets what most of its windows say, of several the lowest.

    Parameters
    ----------
    labels : (batch, n, *size) integers
        0 is background, anything else an instance of that window. An array or a tensor.
    grid : FragmentGrid
    least_share : float
        Above 0, up to 1.

    Returns
    -------
    (batch, *space_time) int64
        Of the kind of `labels`; instances are numbered from 1 in the order of windows and labels.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> grid = FragmentGrid((6,), size=4, stride=2)
    >>> merge_labels(np.array([[[0, 5, 5, 5], [1, 1, 0, 2]]]), grid).tolist()
    [[0, 1, 1, 1, 0, 2]]
    """
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    labels = _arrays.from_protocols(labels)
    _arrays.check_plain(labels, "labels")
    array: Any = labels.numpy(force=True) if _arrays.is_tensor(labels) else np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels: got {array.dtype}, takes integers")
    if array.ndim != 2 + len(grid.size) or array.shape[1:] != (grid.n, *grid.size):
        takes = f"(batch, {grid.n}) + {grid.size}"
        raise ValueError(f"labels: got shape {array.shape}, takes {takes}")
    if not _is_number(least_share) or not 0 < least_share <= 1:
        raise ValueError(f"least_share: got {least_share!r}, takes more than 0, up to 1")
    wholes = [_whole(entry, grid, least_share) for entry in array]
    result = np.stack(wholes) if wholes else np.zeros((0, *grid.shape), np.int64)
    if not _arrays.is_tensor(labels):
        return result
    import torch

    return torch.from_numpy(result).to(labels.device)


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, np.number)) and not isinstance(value, bool)


def _by_window(values: Sequence[Any], n: int, name: str) -> list[NDArray[np.float64]]:
    if not hasattr(values, "__len__"):
        raise TypeError(f"{name}: got {type(values).__name__}, takes one for each of {n} windows")
    if len(values) != n:
        raise ValueError(f"{name}: got {len(values)}, takes one for each of {n} windows")
    made = []
    for value in values:
        value = _arrays.from_protocols(value)
        _arrays.check_plain(value, name)
        array = value.numpy(force=True) if _arrays.is_tensor(value) else value
        try:
            made.append(np.array(array, np.float64))
        except (TypeError, ValueError):
            raise TypeError(f"{name}: got {type(value).__name__}, takes numbers") from None
    return made


def _flat_like(values: Sequence[Any], counts: list[int], name: str) -> NDArray[np.float64]:
    """The values of all windows in a row; as many of each as it has boxes."""
    parts = _by_window(values, len(counts), name)
    for window, (part, count) in enumerate(zip(parts, counts, strict=True)):
        if part.shape != (count,):
            raise ValueError(
                f"{name}: got shape {part.shape} for window {window}, takes ({count},)"
            )
    return np.concatenate([np.zeros(0), *parts])


def _suppressed(
    corners: NDArray[np.float64],
    labels: NDArray[np.int64],
    threshold: float,
    measure: str,
    *,
    grows: bool,
) -> NDArray[np.int64]:
    """The boxes that stay, of those sorted by falling score; `corners` grow in place."""
    kept = [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        kept.append(of_label[_kept_of_one(corners, of_label, threshold, measure, grows=grows)])
    return np.sort(np.concatenate(kept))


def _kept_of_one(
    corners: NDArray[np.float64],
    rows: NDArray[np.int64],
    threshold: float,
    measure: str,
    *,
    grows: bool,
) -> list[int]:
    """Which of these rows of `corners`, of one label, stay; they grow in place."""
    rank = corners.shape[1] // 2
    kept: list[int] = []
    # Those kept, a row a coordinate: most are ruled out by the first axis alone.
    low, high = np.empty((2, rank, len(rows)))
    for k, row in enumerate(rows.tolist()):
        count = len(kept)
        first, last = corners[row, :rank], corners[row, rank:]
        near = np.flatnonzero((high[0, :count] > first[0]) & (low[0, :count] < last[0]))
        sides = np.minimum(high[:, near], last[:, None]) - np.maximum(low[:, near], first[:, None])
        common = np.prod(np.clip(sides, 0, None), axis=0)
        sizes = np.prod(high[:, near] - low[:, near], axis=0)
        own = np.prod(last - first)
        over = np.minimum(sizes, own) if measure == "ios" else sizes + own - common
        share = np.divide(common, over, out=np.zeros_like(common), where=over > 0)
        met = near[share > threshold]
        if not len(met):
            low[:, count], high[:, count] = first, last
            kept.append(k)
        elif grows:
            at = met[0]
            low[:, at] = np.minimum(low[:, at], first)
            high[:, at] = np.maximum(high[:, at], last)
    places = rows[kept]
    corners[places, :rank], corners[places, rank:] = low[:, : len(kept)].T, high[:, : len(kept)].T
    return kept


def _whole(entry: NDArray[Any], grid: FragmentGrid, least_share: float) -> NDArray[np.int64]:
    """The instances of one batch entry over the array."""
    flat = entry.reshape(grid.n, -1).astype(np.int64)
    owners = np.repeat(np.arange(grid.n), flat.shape[1])
    named = np.stack([owners, flat.reshape(-1)], 1)[flat.reshape(-1) != 0]
    instances, numbers = np.unique(named, axis=0, return_inverse=True)
    unique = np.zeros(flat.size, np.int64)
    unique[flat.reshape(-1) != 0] = numbers.reshape(-1) + 1
    # Unique over all windows, so a label alone tells an instance.
    pairs = shared_pairs(unique.reshape(entry.shape), grid, least_share)
    parents = united(((a, b) for (_, a), (_, b) in pairs), len(instances))
    one_numbering = parents[unique].reshape(1, grid.n, 1, *grid.size)
    whole: NDArray[np.int64] = merge(one_numbering, grid, reduce="vote")[0, 0]
    return whole


def shared_pairs(
    labels: NDArray[np.int64], grid: FragmentGrid, least_share: float
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Instances of two windows that are one by what they share: each as its window and its label.

    `labels` are ``(n, *size)``; 0 is background.
    """
    for first, second, ours, theirs in _overlaps(grid):
        one, other = labels[first][ours].reshape(-1), labels[second][theirs].reshape(-1)
        both = (one != 0) & (other != 0)
        if not both.any():
            continue
        ones, others = _sizes(one), _sizes(other)
        pairs, shared = np.unique(np.stack([one[both], other[both]], 1), axis=0, return_counts=True)
        for (a, b), common in zip(pairs.tolist(), shared.tolist(), strict=True):
            if common >= least_share * min(ones[a], others[b]):
                yield (first, a), (second, b)


def united(pairs: Iterable[tuple[int, int]], count: int) -> NDArray[np.int64]:
    """For 0, and each instance from 1 to `count`, the number of what it is part of."""
    parents = np.arange(count + 1)

    def root(k: int) -> int:
        while parents[k] != k:
            parents[k] = parents[parents[k]]
            k = int(parents[k])
        return k

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parents[high] = low
    roots = np.array([root(k) for k in range(count + 1)])
    return np.unique(roots, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _sizes(numbers: NDArray[np.int64]) -> dict[int, int]:
    """How often each number is there."""
    found, counts = np.unique(numbers, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _overlaps(grid: FragmentGrid) -> Iterator[WindowPair]:
    """Pairs of windows that share positions of the array, and where in each: index arrays."""
    axes: list[list[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]] = []
    for axis, length in enumerate(grid.shape):
        taps = grid.dilation[axis] * np.arange(grid.size[axis])
        held = [start + taps for start in grid.starts[axis].tolist()]
        found = []
        for i, mine in enumerate(held):
            for j in range(len(held)):
                if abs(int(held[j][0] - mine[0])) > int(taps[-1]):
                    continue
                shared, ours, theirs = np.intersect1d(
                    mine, held[j], assume_unique=True, return_indices=True
                )
                inside = (shared >= 0) & (shared < length)
                if inside.any():
                    found.append((i, j, ours[inside], theirs[inside]))
        axes.append(found)
    yield from _products(axes, grid.counts, 0, 0, [], [])


def _products(
    axes: list[list[tuple[int, int, NDArray[np.int64], NDArray[np.int64]]]],
    counts: tuple[int, ...],
    first: int,
    second: int,
    ours: list[NDArray[np.int64]],
    theirs: list[NDArray[np.int64]],
) -> Iterator[WindowPair]:
    """The pairs of all axes, multiplied out; each pair of windows once, the lower one first."""
    done = len(ours)
    if done == len(axes):
        if first < second:
            yield first, second, np.ix_(*ours), np.ix_(*theirs)
        return
    for i, j, mine, other in axes[done]:
        at = (first * counts[done] + i, second * counts[done] + j)
        yield from _products(axes, counts, *at, [*ours, mine], [*theirs, other])
