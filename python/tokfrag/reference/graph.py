"""The fragment graphs by plain loops, one pair of nodes at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fragment_graph(
    counts: Sequence[int],
    *,
    connectivity: str = "face",
    radius: int = 1,
    axes: Collection[int] | None = None,
    causal: bool = False,
) -> list[tuple[int, int]]:
    """Pairs (source, target) of windows on a grid with ``counts`` windows an axis.

    Parameters
    ----------
    counts : sequence of int
    connectivity : "face" or "full"
        Whether the steps along all axes are summed, or the longest of them counts.
    radius : int
        The most steps between neighbours.
    axes : collection of int, optional
        The axes that edges may run along; by default all.
    causal : bool
        Whether no edge comes from a later window on axis 0.

    Returns
    -------
    list of (int, int)
        By target, then by source.

    Examples
    --------
    >>> fragment_graph([3])
    [(1, 0), (0, 1), (2, 1), (1, 2)]
    """
    places = list(product(*map(range, counts)))
    edges = []
    for target, there in enumerate(places):
        for source, here in enumerate(places):
            steps = [abs(a - b) for a, b in zip(here, there, strict=True)]
            distance = sum(steps) if connectivity == "face" else max(steps)
            off_axis = any(
                step for axis, step in enumerate(steps) if axes is not None and axis not in axes
            )
            later = causal and here[0] > there[0]
            if 1 <= distance <= radius and not off_axis and not later:
                edges.append((source, target))
    return edges


def knn_graph(features: NDArray[Any], k: int) -> list[tuple[int, int]]:
    """Pairs (neighbour, node), the ``k`` nearest others of each node, nearest first.

    Parameters
    ----------
    features : (nodes, ...) array
        Distances are Euclidean, in float64; of equal ones the lower node comes first.
    k : int

    Returns
    -------
    list of (int, int)
        By node, then by distance.

    Examples
    --------
    >>> knn_graph(np.array([[0.0], [1.0], [5.0]]), 1)
    [(1, 0), (0, 1), (1, 2)]
    """
    points = features.reshape(len(features), -1).astype(np.float64)
    edges = []
    for node, point in enumerate(points):
        others = [other for other in range(len(points)) if other != node]
        others.sort(key=lambda other: (float(((points[other] - point) ** 2).sum()), other))
        edges += [(other, node) for other in others[:k]]
    return edges


def aggregate(x: NDArray[Any], edges: Sequence[tuple[int, int]], n: int) -> NDArray[Any]:
    """Mean over the sources of each target's edges; 0 where it has none.

    Parameters
    ----------
    x : (sources, ...) array
    edges : sequence of (source, target)
    n : int
        Targets.

    Returns
    -------
    (n, ...) array
        In the dtype of ``x``; means are taken in float64.

    Examples
    --------
    >>> aggregate(np.array([1.0, 3.0]), [(0, 0), (1, 0)], 2).tolist()
    [2.0, 0.0]
    """
    y = np.zeros((n, *x.shape[1:]))
    for target in range(n):
        sources = [source for source, t in edges if t == target]
        if sources:
            y[target] = np.mean([x[source].astype(np.float64) for source in sources], axis=0)
    return y.astype(x.dtype)
