"""Graphs whose nodes are fragments: neighbours in space-time, neighbours in feature space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._arrays import ArrayT
from tokfrag.fragments.arguments import one_integer
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.segments import segment_merge, unmerge

if TYPE_CHECKING:
    import torch

_BLOCK_DISTANCES = 1 << 22  # held at a time: 32 MiB
_SQUARED_BITS = 508  # of the largest feature: a double's exponent ends at 1023
_FEW_FEATURES = 16  # up to here differences cost no more than a product of matrices


def fragment_graph(
    grid: FragmentGrid,
    *,
    connectivity: Literal["face", "full"] = "face",
    radius: int = 1,
    axes: Sequence[int] | None = None,
    causal: bool = False,
) -> NDArray[np.int64]:
    """Connect each fragment of ``grid`` with those around it.

    The distance between two fragments is counted in windows along the grid's axes: the steps added
    up for ``"face"`` (4 neighbours in the plane at radius 1), their largest for ``"full"`` (8).

    Parameters
    ----------
    grid : FragmentGrid
        Its fragments are the nodes, numbered as :func:`tokfrag.extract` does.
    connectivity : {"face", "full"}
        Which distance.
    radius : int
        The largest distance of neighbours, at least 1.
    axes : sequence of int, optional
        The axes along which neighbours lie; all if not given.
    causal : bool
        Keep only edges whose source is not later than its target along axis 0.

    Returns
    -------
    (2, e) int64
        PyTorch Geometric's ``edge_index``: sources, then targets; sorted by target, then source;
        no loops. ``torch.from_numpy`` makes a tensor of it.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> fragment_graph(FragmentGrid((6, 4), size=2)).tolist()[0][:4]
    [1, 2, 0, 3]
    """
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    if connectivity not in ("face", "full"):
        raise ValueError(f"connectivity: got {connectivity!r}, takes 'face' or 'full'")
    reach = one_integer(radius, "radius", least=1)
    rank = len(grid.shape)
    if axes is not None and not isinstance(axes, Iterable):
        raise TypeError(f"axes: got {axes!r}, takes a sequence of integers")
    along = set(range(rank)) if axes is None else {_axis(axis, rank) for axis in axes}
    steps = [
        range(-min(reach, count - 1), min(reach, count - 1) + 1)
        if axis in along and count
        else (0,)
        for axis, count in enumerate(grid.counts)
    ]
    nodes = np.arange(grid.n, dtype=np.int64).reshape(grid.counts)
    sources, targets = [nodes[:0].ravel()], [nodes[:0].ravel()]
    for offset in product(*steps):
        distance = sum(map(abs, offset)) if connectivity == "face" else max(map(abs, offset))
        if not 1 <= distance <= reach or (causal and offset[0] > 0):
            continue
        # The source lies at the target's place plus the offset, wherever both are on the grid.
        sources.append(nodes[tuple(slice(max(o, 0), o if o < 0 else None) for o in offset)].ravel())
        targets.append(
            nodes[tuple(slice(max(-o, 0), -o if o > 0 else None) for o in offset)].ravel()
        )
    source, target = np.concatenate(sources), np.concatenate(targets)
    order = np.lexsort((source, target))
    return np.stack([source[order], target[order]])


def knn_graph(features: ArrayT, k: int) -> ArrayT:
    """Connect each node with the ``k`` others nearest to it in feature space.

    Euclidean distances from the differences themselves, in float64: clusters far apart keep their
    neighbours. Of equally near nodes those with the lower number are taken. Distances are held a
    block of rows at a time, never all at once.

    Parameters
    ----------
    features : (n, *features)
        One finite vector a node, such as a column of :func:`tokfrag.fragments.fragment_features`.
    k : int
        Neighbours of each node, from 1 to n - 1.

    Returns
    -------
    (2, n * k) int64
        PyTorch Geometric's ``edge_index``: row 0 the neighbours (nearest first), row 1 the nodes;
        of the kind and on the device of ``features``. Carries no gradient.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> knn_graph(np.array([[0.0], [1.0], [5.0]]), 1).tolist()
    [[1, 0, 1], [0, 1, 2]]
    """
    features = _arrays.from_protocols(features)
    _arrays.check_array(features, "features")
    if features.ndim < 1:
        raise ValueError("features: got a single number, takes (n, *features)")
    if "complex" in _arrays.dtype_name(features.dtype):
        raise TypeError(f"features: got {_arrays.dtype_name(features.dtype)}, takes real numbers")
    array: Any = features
    if _arrays.is_tensor(features):
        array = features.detach().cpu().double().numpy()
    try:
        points = np.asarray(array, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"features: got {array.dtype}, takes real numbers") from None
    points = points.reshape(len(array), prod(array.shape[1:]))
    if not np.isfinite(points).all():
        raise ValueError(
            "features: got values that are infinite or not a number, takes finite ones"
        )
    n, neighbours = len(points), one_integer(k, "k")
    if not 1 <= neighbours < max(n, 2):
        raise ValueError(f"k: got {k}, takes 1 to {n - 1} for {n} nodes")
    if n < 2:
        raise ValueError(f"features: got {n} nodes, takes at least 2")
    nearest = np.empty((n, neighbours), np.int64)
    # A power of two changes no digit. The largest square stays below the largest double, and those
    # of differences a double can tell beside it stay above the least.
    room = _SQUARED_BITS - points.shape[1].bit_length() // 2
    points = np.ldexp(points, room - int(np.frexp(np.abs(points).max(initial=0))[1]))
    squares = _squares if points.shape[1] <= _FEW_FEATURES else _Shortlist(points, neighbours)
    rows = max(1, _BLOCK_DISTANCES // n)
    for begin in range(0, n, rows):
        end = min(begin + rows, n)
        nearest[begin:end] = _nearest(squares(points, begin, end), neighbours)
    edges = np.stack([nearest.reshape(-1), np.repeat(np.arange(n, dtype=np.int64), neighbours)])
    if _arrays.is_tensor(features):
        import torch

        return torch.from_numpy(edges).to(features.device)
    return edges


def aggregate(
    x: ArrayT,
    edge_index: NDArray[np.int64] | torch.Tensor,
    n: int | None = None,
    *,
    weight: NDArray[Any] | torch.Tensor | None = None,
    axis: int = 0,
    threads: int | None = None,
) -> ArrayT:
    """Average what each node receives along the edges; 0 where it receives nothing.

    ``y[t] = sum(weight[e] * x[source[e]]) / sum(weight[e])`` over the edges ``e`` with target
    ``t``. Gradients reach ``x`` and ``weight``.

    Parameters
    ----------
    x : (nodes, *features)
        float16, bfloat16, float32 or float64; the nodes may lie along another ``axis``.
    edge_index : (2, e)
        Sources and targets, as :func:`fragment_graph` and :func:`knn_graph` return them.
    n : int, optional
        Nodes of the result; those of ``x`` if not given.
    weight : (e,)
        One weight an edge; all ones if not given.
    axis : int
        The axis of the nodes, in ``x`` and in the result.
    threads : int, optional
        At most so many threads; one per processor if not given.

    Returns
    -------
    The shape of ``x``, with ``n`` nodes; its kind, dtype and device.

    Raises
    ------
    ValueError, TypeError, IndexError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> edges = fragment_graph(FragmentGrid((6,), size=2))
    >>> aggregate(np.array([[1.0], [2.0], [5.0]]), edges).tolist()
    [[2.0], [3.0], [2.0]]
    """
    x = _arrays.from_protocols(x)
    _arrays.check_array(x, "x")
    axis = _axis(axis, x.ndim)
    edges: Any = _arrays.from_protocols(edge_index)
    edges = edges if _arrays.is_tensor(edges) else np.asarray(edges)
    moved: Any
    if _arrays.is_tensor(x):
        import torch

        if isinstance(edges, np.ndarray):
            edges = torch.from_numpy(np.ascontiguousarray(edges)).to(x.device)
        moved = x.movedim(axis, 0)
    else:
        moved = np.moveaxis(x, axis, 0)
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise ValueError(f"edge_index: got shape {tuple(edges.shape)}, takes (2, e)")
    sent = unmerge(moved, edges[0], threads=threads)
    y, _ = segment_merge(
        sent, edges[1], moved.shape[0] if n is None else n, weight=weight, threads=threads
    )
    return y.movedim(0, axis) if _arrays.is_tensor(x) else np.moveaxis(y, 0, axis)  # type: ignore[no-any-return]


def _squares(points: NDArray[np.float64], begin: int, end: int) -> NDArray[np.float64]:
    """The squared distances from points [begin, end) to all; infinite to themselves."""
    squares = np.zeros((end - begin, len(points)))
    for feature in points.T:
        difference = feature[begin:end, None] - feature
        squares += np.square(difference, out=difference)
    squares[np.arange(end - begin), np.arange(begin, end)] = np.inf
    return squares


class _Shortlist:
    """The same for many features: exact for those who may be the nearest, infinite to the rest.

    |a|^2 + |b|^2 - 2ab is fast and cancels, so it says only who may be among the nearest, by the
    bound of its error; their distances are sums of squared differences.
    """

    def __init__(self, points: NDArray[np.float64], k: int) -> None:
        self._k = k
        self._centred = points - points.mean(axis=0)
        self._norms = np.einsum("ij,ij->i", self._centred, self._centred)
        # A dot product of d terms is off by d roundings, and so is each square.
        self._slack = 4 * (points.shape[1] + 4) * np.finfo(np.float64).eps

    def __call__(self, points: NDArray[np.float64], begin: int, end: int) -> NDArray[np.float64]:
        own = np.arange(end - begin)
        sums = self._norms[begin:end, None] + self._norms
        rough = sums - 2 * (self._centred[begin:end] @ self._centred.T)
        slack = self._slack * sums
        rough[own, begin + own] = np.inf
        farthest = np.partition(rough + slack, self._k - 1, axis=1)[:, self._k - 1, None]
        row, column = np.nonzero(rough - slack <= farthest)
        squares = np.full(rough.shape, np.inf)
        step = max(1, _BLOCK_DISTANCES // points.shape[1])
        for at in range(0, len(row), step):
            i, j = row[at : at + step], column[at : at + step]
            difference = points[begin + i] - points[j]
            squares[i, j] = np.einsum("ij,ij->i", difference, difference)
        return squares


def _nearest(distances: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """The columns of the ``k`` least values of each row, least first, lower column first."""
    if k < distances.shape[1]:
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        farthest = np.take_along_axis(distances, nearest, axis=1).max(axis=1, keepdims=True)
        tied = (distances <= farthest).sum(axis=1) > k
        if tied.any():
            nearest[tied] = np.argsort(distances[tied], axis=1, kind="stable")[:, :k]
    else:
        nearest = np.broadcast_to(np.arange(k), distances.shape).copy()
    nearest.sort(axis=1)
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)


def _axis(axis: int, rank: int) -> int:
    number = one_integer(axis, "axis")
    if not -rank <= number < rank:
        raise ValueError(f"axis: got {axis}, takes {-rank} to {rank - 1}")
    return number % rank
