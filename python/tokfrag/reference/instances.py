"""merge_boxes and merge_labels as plain loops over boxes, windows and positions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.reference.grid import position, taps, windows

if TYPE_CHECKING:
    from tokfrag.fragments.grid import FragmentGrid

Box = tuple[list[float], float, int, int]


def share(one: list[float], other: list[float], measure: str) -> float:
    """The overlap of two boxes over their union ("iou") or over the smaller one ("ios")."""
    rank = len(one) // 2
    common = own = size = 1.0
    for axis in range(rank):
        common *= max(0.0, min(one[rank + axis], other[rank + axis]) - max(one[axis], other[axis]))
        own *= one[rank + axis] - one[axis]
        size *= other[rank + axis] - other[axis]
    over = min(own, size) if measure == "ios" else own + size - common
    return common / over if over > 0 else 0.0


def merge_boxes(
    boxes: list[list[list[float]]],
    scores: list[list[float]],
    labels: list[list[int]],
    grid: FragmentGrid,
    *,
    threshold: float,
    method: str,
    measure: str,
) -> list[Box]:
    """What stays, by falling score: corners in the array, score, label, window."""
    found: list[Box] = []
    for window, origin in windows(grid):
        for corners, score, label in zip(
            boxes[window], scores[window], labels[window], strict=True
        ):
            moved = [
                corner + start for corner, start in zip(corners, (*origin, *origin), strict=True)
            ]
            found.append((moved, score, label, window))
    found.sort(key=lambda each: -each[1])
    kept: list[Box] = []
    for box in found:
        met = [
            other
            for other in kept
            if other[2] == box[2] and share(box[0], other[0], measure) > threshold
        ]
        if not met:
            kept.append(box)
        elif method == "nmm":
            grown, rank = met[0][0], len(box[0]) // 2
            for axis in range(rank):
                grown[axis] = min(grown[axis], box[0][axis])
                grown[rank + axis] = max(grown[rank + axis], box[0][rank + axis])
    return kept


def merge_labels(
    labels: NDArray[Any], grid: FragmentGrid, *, least_share: float
) -> NDArray[np.int64]:
    """One numbering of the instances of all windows: (n, *size) to (*space_time)."""
    held: dict[tuple[int, ...], dict[int, int]] = {}
    for window, start in windows(grid):
        for tap in taps(grid):
            at = position(grid, start, tap)
            if all(0 <= p < length for p, length in zip(at, grid.shape, strict=True)):
                held.setdefault(at, {})[window] = int(labels[window][tap])
    group: dict[tuple[int, int], int] = {}
    for window, _ in windows(grid):
        for label in sorted(set(labels[window].reshape(-1).tolist()) - {0}):
            group[window, label] = len(group) + 1
    shared: Counter[tuple[tuple[int, int], tuple[int, int]]] = Counter()
    sizes: Counter[tuple[tuple[int, int], int]] = Counter()  # within another window
    for there in held.values():
        for one, a in there.items():
            for other, b in there.items():
                if one != other and a:
                    sizes[(one, a), other] += 1
                    if one < other and b:
                        shared[(one, a), (other, b)] += 1
    for (first, second), common in shared.items():
        if common >= least_share * min(sizes[first, second[0]], sizes[second, first[0]]):
            low, high = sorted((group[first], group[second]))
            group = {key: low if value == high else value for key, value in group.items()}
    numbers = {value: k + 1 for k, value in enumerate(sorted(set(group.values())))}
    whole = np.zeros(grid.shape, np.int64)
    for at, there in held.items():
        votes = Counter(numbers[group[w, label]] if label else 0 for w, label in there.items())
        whole[at] = min(votes, key=lambda value: (-votes[value], value))
    return whole
