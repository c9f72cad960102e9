"""Merging by all the values of a position at once: the rules that sums do not give, and subsets.

Made of NumPy's or torch's own operators, in parts along axis 0. Values are stacked in the order of
the windows, so sums are taken in the kernels' order; every step but a vote has its derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.engines.chosen import NO_WEIGHT, merge as merge_chosen, suits
from tokfrag.fragments.grid import FragmentGrid, source_table
from tokfrag.fragments.windows import Weights

Kept: TypeAlias = "Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]"

_PART_VALUES = 1 << 22  # stacked at once


def merge(
    fragments: Any,
    grid: FragmentGrid,
    weights: Weights,
    reduce: str,
    fill_value: complex,
    chosen: NDArray[np.int64] | None,
    *,
    span: slice | None = None,
    kept: Kept | None = None,
    exact: bool = True,
) -> Any:
    """What fragments (batch, m, channels, *size), of the chosen windows or of all, merge to.

    `span`: these positions of axis 0 only. `kept`: whether a window's tap counts, for windows and
    taps as flat numbers. Not `exact`: sums and medians stay in float64, whatever the fragments.
    """
    if chosen is not None and span is None and suits(fragments, grid, reduce):
        return merge_chosen(fragments, grid, weights, reduce, fill_value, chosen)
    own = fragments.dtype
    flat = _flat(_arrays.kernel_array(fragments))
    slots = slots_of(grid, chosen)
    first, last = (0, grid.shape[0]) if span is None else (span.start, span.stop)
    parts = []
    holders = prod(int(c.max(initial=1)) for c in grid.axis_coverage())
    plane = prod(grid.shape[1:]) * holders * max(1, flat.shape[0] * flat.shape[1])
    rows = max(1, _PART_VALUES // max(1, plane))
    for begin in range(first, last, rows):
        inside = slice(begin, min(begin + rows, last))
        part, held = _part(flat, grid, weights, reduce, slots, inside, kept)
        part = _filled(part, held, fill_value)
        parts.append(_arrays.narrowed(part, own) if exact else part)
    if not parts:
        shape = (fragments.shape[0], fragments.shape[2], last - first, *grid.shape[1:])
        if _arrays.is_tensor(fragments):
            return fragments.new_empty(shape)
        return np.empty(shape, own)
    if _arrays.is_tensor(fragments):
        import torch

        return torch.cat(parts, 2)
    return np.concatenate(parts, 2)


def slots_of(grid: FragmentGrid, chosen: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """For each window of the grid its place among the chosen ones; -1: it has none."""
    if chosen is None:
        return np.arange(grid.n)
    slots = np.full(grid.n, -1, np.int64)
    slots[chosen] = np.arange(len(chosen))
    return slots


def _part(
    flat: Any,
    grid: FragmentGrid,
    weights: Weights,
    reduce: str,
    slots: NDArray[np.int64],
    span: slice,
    kept: Kept | None,
) -> tuple[Any, NDArray[np.bool_]]:
    """Merged values over `span` of axis 0, not narrowed, and where a fragment holds a position.

    `flat` are the fragments as (batch, channels, m * positions); `slots` their places by window.
    """
    window, tap, valid = sources(grid, slots, span, folded=reduce == "sum")
    if kept is not None:
        valid &= kept(window, tap)
    positions = prod(grid.size)
    source = np.where(valid, slots[window] * positions + tap, 0)
    values = _taken(flat, source)
    held: NDArray[np.bool_] = np.logical_or.reduce(valid, axis=0)
    if reduce in ("max", "min"):
        return _extreme(values, valid, reduce), held
    if reduce == "vote":
        return _vote(values, valid), held
    if reduce == "median":
        return _median(values, valid), held
    dense = weights.dense(grid.size).reshape(-1, positions)
    own = dense[window if weights.per_fragment else 0, tap]
    return _weighed(values, np.where(valid, own, 0), held, reduce), held


def _flat(fragments: Any) -> Any:
    moved = fragments.movedim(2, 1) if _arrays.is_tensor(fragments) else fragments.swapaxes(1, 2)
    return moved.reshape(*moved.shape[:2], prod(moved.shape[2:]))


def sources(
    grid: FragmentGrid, slots: NDArray[np.int64], span: slice, *, folded: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """The windows over each position, ascending, and their taps there: (holders, *lengths)."""
    rank = len(grid.shape)
    window: Any = np.zeros((), np.int64)
    tap: Any = np.zeros((), np.int64)
    valid: Any = np.ones((), np.bool_)
    for axis in range(rank):
        own = span if axis == 0 else slice(0, grid.shape[axis])
        at, k = _axis_sources(grid, axis, own, folded)
        shape = [1] * 2 * rank
        shape[axis], shape[rank + axis] = at.shape
        at, k = at.reshape(shape), k.reshape(shape)
        window = window * grid.counts[axis] + at
        tap = tap * grid.size[axis] + k
        valid = valid & (at >= 0)
    lengths = valid.shape[rank:]
    holders = prod(valid.shape[:rank])
    window = np.where(valid, window, 0).reshape(holders, *lengths)
    tap = np.where(valid, tap, 0).reshape(holders, *lengths)
    valid = valid.reshape(holders, *lengths)
    if len(slots):
        valid = valid & (slots[window] >= 0)
    return window, tap, valid


def _axis_sources(
    grid: FragmentGrid, axis: int, span: slice, folded: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The windows of an axis over each of its positions in `span`: (holders, length); or -1."""
    at = grid.starts[axis][:, None] + grid.dilation[axis] * np.arange(grid.size[axis])
    if folded and grid.pad_mode != "constant":
        at = source_table(grid, axis)[at]
    windows, taps = np.nonzero((at >= span.start) & (at < span.stop))
    positions = at[windows, taps] - span.start
    order = np.argsort(positions, kind="stable")
    positions, windows, taps = positions[order], windows[order], taps[order]
    rank = np.arange(len(positions)) - np.searchsorted(positions, positions)
    shape = (int(rank.max(initial=0)) + 1, span.stop - span.start)
    window, tap = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    window[rank, positions], tap[rank, positions] = windows, taps
    return window, tap


def _taken(flat: Any, source: NDArray[np.int64]) -> Any:
    """(batch, channels, *source.shape); zeros if there is nothing to take from."""
    shape = (*flat.shape[:2], *source.shape)
    if not flat.shape[2]:
        return flat.new_zeros(shape) if _arrays.is_tensor(flat) else np.zeros(shape, flat.dtype)
    if not _arrays.is_tensor(flat):
        return np.take(flat, source, axis=2)
    return flat.index_select(2, _like(source.reshape(-1), flat)).reshape(shape)


def _weighed(
    values: Any, weights: NDArray[np.float64], held: NDArray[np.bool_], reduce: str
) -> Any:
    total = weights.sum(0)
    if reduce == "mean":
        if (total[held] == 0).any():
            raise ValueError(NO_WEIGHT)
        total = np.where(held, total, 1)
    # Left out, not multiplied: 0 * NaN is NaN.
    if _arrays.is_tensor(values):
        own = _like(weights, values)
        sums = (values.double().masked_fill(own == 0, 0) * own).sum(2)
        return sums / _like(total, values) if reduce == "mean" else sums
    sums = (np.where(weights == 0, 0, values.astype(np.float64)) * weights).sum(2)
    return sums / total if reduce == "mean" else sums


def _extreme(values: Any, valid: NDArray[np.bool_], reduce: str) -> Any:
    worst = _limit(values.dtype, reduce == "min")
    if not _arrays.is_tensor(values):
        kept = np.where(valid, values, values.dtype.type(worst))
        return kept.max(2) if reduce == "max" else kept.min(2)
    kept = values.masked_fill(_like(~valid, values), worst)
    return kept.amax(2) if reduce == "max" else kept.amin(2)


def _vote(values: Any, valid: NDArray[np.bool_]) -> Any:
    """The most frequent value; of several, the lowest."""
    ordered = _ordered(values, valid)
    tensors = _arrays.is_tensor(values)
    count = valid.sum(0)
    best: Any = None
    most: Any = None
    for k in range(len(valid)):
        counted = np.arange(len(valid)).reshape(-1, *(1,) * (valid.ndim - 1)) < count
        mask = _like(counted, values) if tensors else counted
        candidate = ordered[:, :, k]
        votes = ((ordered == candidate[:, :, None]) & mask).sum(2)
        known = _like(k < count, values) if tensors else k < count
        if best is None:
            best, most = candidate, votes
            continue
        better = (votes > most) & known
        if tensors:
            best, most = candidate.where(better, best), votes.where(better, most)
        else:
            best, most = np.where(better, candidate, best), np.where(better, votes, most)
    return best


def _median(values: Any, valid: NDArray[np.bool_]) -> Any:
    """The middle value, or the mean of both; NaN if there is one."""
    ordered = _ordered(values, valid)
    count = np.maximum(valid.sum(0), 1)
    low, high = (count - 1) // 2, count // 2
    below: Any
    above: Any
    middle: Any
    shape = (*values.shape[:2], 1, *count.shape)
    if _arrays.is_tensor(values):
        import torch

        below, above = (
            torch.take_along_dim(ordered, _like(at, values).expand(shape), 2)[:, :, 0].double()
            for at in (low, high)
        )
        middle = torch.where(below == above, below, below / 2 + above / 2)
        spoiled = (values != values) & _like(valid, values)
        return middle.masked_fill(spoiled.any(2), torch.nan)
    below, above = (
        np.take_along_axis(ordered, np.broadcast_to(at, shape), 2)[:, :, 0].astype(np.float64)
        for at in (low, high)
    )
    with np.errstate(invalid="ignore"):
        middle = np.where(below == above, below, below / 2 + above / 2)
    spoiled = (values != values) & valid
    return np.where(spoiled.any(2), np.nan, middle)


def _ordered(values: Any, valid: NDArray[np.bool_]) -> Any:
    """Ascending along the stack; what is not valid lies behind."""
    last = _limit(values.dtype, True)
    if _arrays.is_tensor(values):
        import torch

        kept = values.masked_fill(_like(~valid, values), last)
        return torch.sort(kept, 2).values
    return np.sort(np.where(valid, values, values.dtype.type(last)), 2)


def _limit(dtype: Any, largest: bool) -> Any:
    name = _arrays.dtype_name(dtype)
    if name == "bool":
        return largest
    if "int" in name:
        limits = np.iinfo(name)
        return limits.max if largest else limits.min
    return float("inf") if largest else float("-inf")


def _filled(part: Any, held: NDArray[np.bool_], fill_value: Any) -> Any:
    if held.all():
        return part
    if _arrays.is_tensor(part):
        return part.masked_fill(_like(~held, part), fill_value)
    return np.where(held, part, part.dtype.type(fill_value))


def _like(array: NDArray[Any], tensor: Any) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(tensor.device)
