"""Merging the fragments of some windows: sums in float64, added to by the native kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._core.stitching import Slab, window_places
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.selection import reached
from tokfrag.fragments.windows import SUMMED, Weights

#: What is merged here; the rest takes all values of a position at once.
REDUCES = ("mean", "sum", "max")
NO_WEIGHT = "window: the weights of some positions sum to zero; a mean takes weights that do not"


def suits(fragments: Any, grid: FragmentGrid, reduce: str) -> bool:
    """Whether the kernel merges these, and nothing else must see it."""
    if reduce not in REDUCES or (reduce == "sum" and grid.pad_mode != "constant"):
        return False
    kind = _arrays.native(_arrays.wider(fragments.dtype) or fragments.dtype)
    if _arrays.dtype_name(kind) not in SUMMED:
        return False
    if not _arrays.is_tensor(fragments):
        return True
    import torch

    from tokfrag._operators import is_memory, nobody_watches

    watched = fragments.requires_grad and torch.is_grad_enabled()
    return bool(fragments.is_cpu) and nobody_watches() and not watched and is_memory(fragments)


def merge(
    fragments: Any,
    grid: FragmentGrid,
    weights: Weights,
    reduce: str,
    fill_value: complex,
    chosen: NDArray[np.int64],
) -> Any:
    """What fragments (batch, m, channels, *size), of the chosen windows, merge to."""
    order = np.argsort(chosen)  # sums are taken in the order of windows, whatever that of fragments
    ascending = chosen[order]
    wide = _arrays.kernel_array(fragments)
    if (order[1:] < order[:-1]).any():
        wide = wide[:, _index(order, wide)]
    shape = (int(fragments.shape[0]), int(fragments.shape[2]), *grid.shape)
    result: Any = np.full(shape, fill_value, np.float64)
    if len(ascending):
        _merge_box(result, wide, grid, weights, reduce, ascending)
    with np.errstate(over="ignore"):
        if not _arrays.is_tensor(fragments):
            return _arrays.narrowed(result, fragments.dtype)
        import torch

        return _arrays.narrowed(torch.from_numpy(result), fragments.dtype)


def _merge_box(
    result: NDArray[np.float64],
    fragments: Any,
    grid: FragmentGrid,
    weights: Weights,
    reduce: str,
    windows: NDArray[np.int64],
) -> None:
    """Merge over the box of positions that the windows reach, in place."""
    origins = _origins(grid, windows)
    first, last = origins.min(0), origins.max(0) + _extents(grid)
    lengths = tuple((last - first).tolist())
    box = tuple(
        slice(begin, min(end, length))
        for begin, end, length in zip(first.tolist(), last.tolist(), grid.shape, strict=True)
    )
    inside = (slice(None), *(slice(0, at.stop - at.start) for at in box))
    held = reached(grid, np.isin(np.arange(grid.n), windows))[box]
    divisor: Any = 1.0
    if reduce == "mean":
        total = np.zeros((1, *lengths))
        ones = np.broadcast_to(np.ones(1), (len(windows), 1, *grid.size))
        add(total, grid, ones, windows, weights, first=first, keep_max=False)
        divisor = total[inside][0]
        if (divisor[held] == 0).any():
            raise ValueError(NO_WEIGHT)
        divisor = np.where(held, divisor, 1)
    for entry, own in enumerate(fragments):
        sums = np.full((own.shape[1], *lengths), -np.inf if reduce == "max" else 0.0)
        add(sums, grid, own, windows, weights, first=first, keep_max=reduce == "max")
        merged = sums[inside]
        merged /= divisor
        place = (slice(None), *box)
        np.copyto(result[entry][place], merged, where=held)


def add(
    sums: NDArray[np.float64],
    grid: FragmentGrid,
    fragments: Any,
    windows: NDArray[np.int64],
    weights: Weights,
    *,
    keep_max: bool,
    first: NDArray[np.int64] | None = None,
) -> None:
    """Add weighed fragments (count, channels, *size) of these windows to (channels, *space) sums.

    What lies under a weight of 0 is left out. With `keep_max` the largest values stay. Sums begin
    at position `first` of the grid, or at 0.
    """
    if not sums.size or not len(windows):
        return
    if isinstance(fragments, np.ndarray) and not fragments.flags.aligned:
        fragments = fragments.copy()
    slab = Slab(sums.ctypes.data, True, len(sums), sums.shape[1:])
    origins = _origins(grid, windows) - (0 if first is None else first)
    address, item, strides = _memory(fragments)
    vectors: list[Any] = [
        np.ones(w) if vector is None else np.ascontiguousarray(vector)
        for vector, w in zip(weights.vectors, grid.size, strict=True)
    ]
    addresses = tuple(0 if weights.array is not None else v.ctypes.data for v in vectors)
    # Calls of the kernel: all fragments, or one each where each has weights of its own.
    parts = [slice(0, len(windows))]
    if weights.per_fragment:
        parts = [slice(k, k + 1) for k in range(len(windows))]
    for part in parts:
        place = np.ascontiguousarray(origins[part])
        whole = weights.array
        if whole is not None:
            whole = np.ascontiguousarray(
                whole[windows[part.start]] if weights.per_fragment else whole
            )
        slab.add(
            _arrays.dtype_code(fragments.dtype),
            address + part.start * strides[0] * item,
            item,
            strides,
            grid.size,
            grid.dilation,
            place,
            addresses,
            np.zeros_like(place),
            0 if whole is None else whole.ctypes.data,
            keep_max,
            1,
        )


def _origins(grid: FragmentGrid, windows: NDArray[np.int64]) -> NDArray[np.int64]:
    return window_places(grid.plan, windows)[:, 1:]


def _extents(grid: FragmentGrid) -> NDArray[np.int64]:
    """How far a window reaches on each axis."""
    extents: NDArray[np.int64] = np.array(grid.dilation) * (np.array(grid.size) - 1) + 1
    return extents


def _memory(fragments: Any) -> tuple[int, int, tuple[int, ...]]:
    """Where fragments lie: an address, what its strides count in, and they."""
    if _arrays.is_tensor(fragments):
        return fragments.data_ptr(), fragments.itemsize, fragments.stride()
    return fragments.ctypes.data, 1, fragments.strides


def _index(order: NDArray[np.int64], like: Any) -> Any:
    if not _arrays.is_tensor(like):
        return order
    import torch

    return torch.from_numpy(order)
