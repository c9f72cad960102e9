"""The native kernels on this machine's memory: checked calls become addresses and strides."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._core import features as _features, segments as _segments
from tokfrag.fragments.axes import PAD_MODES
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import Cut, FeatureTable, Merging, window_plan


def extract(x: Any, cut: Cut, out: Any, threads: int) -> None:
    """Write the fragments of a CPU tensor into the contiguous `out`."""
    cut.plan.extract_at(
        x.data_ptr(),
        x.shape,
        x.stride(),
        x.itemsize,
        cut.channels_last,
        cut.pad,
        out.data_ptr(),
        threads,
    )


def merge_array(fragments: NDArray[Any], merging: Merging, out: Any, threads: int) -> Any:
    """What fragments in a NumPy array merge to, where that is not plain; in `out`, if given."""
    options = (merging.code, merging.channels_last, merging.fill)
    taken = weighted_only(fragments, merging)
    if merging.wide is None:
        return merging.plan.merge(taken, *options, out, threads)
    merged = merging.plan.merge(taken, *options, None, threads)
    narrow = _arrays.narrowed(merged, fragments.dtype)
    if out is None:
        return narrow
    out[...] = narrow
    return out


def merge(fragments: Any, merging: Merging, out: Any, threads: int) -> None:
    """Write what the fragments in a CPU tensor merge to into the contiguous `out`."""
    target = out
    if not merging.plain:
        fragments = weighted_only(fragments, merging)
        target = out if merging.wide is None else out.new_empty(out.shape, dtype=merging.wide)
    merging.plan.merge_at(
        fragments.data_ptr(),
        fragments.shape,
        fragments.stride(),
        merging.code,
        fragments.itemsize,
        merging.channels_last,
        merging.fill,
        target.data_ptr(),
        threads,
    )
    if target is not out:
        out.copy_(_arrays.narrowed(target, out.dtype))


def adjoint(x: Any, merging: Merging, out: Any, threads: int) -> None:
    """Write the fragments of a CPU tensor, times the weights of a merge, into `out`."""
    merging.plan.extract_at(
        x.data_ptr(),
        x.shape,
        x.stride(),
        merging.code,
        x.itemsize,
        merging.channels_last,
        out.data_ptr(),
        threads,
    )


def weighted_only(fragments: Any, merging: Merging) -> Any:
    """Fragments in the type they are merged in, and 0 where the weight is 0.

    0 * NaN and 0 * inf are NaN: what has no weight has to be left out, not multiplied. Fragments
    are copied only where that matters.
    """
    if merging.wide is not None:
        fragments = _arrays.converted(fragments, merging.wide)
    if not merging.weights.hold_zeros or _arrays.sums_to_a_number(fragments):
        return fragments
    kept = merging.weights.dense(merging.grid.size) != 0
    if merging.channels_last:
        kept = kept[..., None]
    elif merging.weights.per_fragment:
        kept = kept[:, None]
    if not _arrays.is_tensor(fragments):
        return np.where(kept, fragments, fragments.dtype.type(0))
    import torch

    return fragments.where(torch.from_numpy(kept).to(fragments.device), 0)


def check_sums(merging: Merging) -> None:
    """Raise ValueError if weights given as an array sum to zero somewhere under a mean.

    Vectors were looked at when the plan was made. The kernel looks at an array as it merges, so it
    merges one number, seen as all fragments.
    """
    if merging.weights.array is None or merging.reduce != "mean":
        return
    grid = merging.grid
    ones = np.broadcast_to(np.ones(1), (1, grid.n, 1, *grid.size))
    code = _arrays.dtype_code(ones.dtype)
    plan = merging.plan or window_plan(grid, merging.weights, merging.reduce)
    plan.merge(ones, code, False, bytes(ones.itemsize), None, 0)


def features(x: Any, table: FeatureTable, out: Any, threads: int) -> None:
    """Write the features of an array or a CPU tensor into `out`."""
    grid = table.grid
    if 0 in x.shape or grid.n == 0:
        return
    strides = _byte_strides(x)
    axes = [
        (
            grid.shape[axis],
            grid.size[axis],
            grid.dilation[axis],
            strides[2 + axis],
            grid.starts[axis],
        )
        for axis in range(len(grid.shape))
    ]
    _features.fragment_features(
        _arrays.dtype_code(x.dtype),
        _arrays.dtype_code(out.dtype),
        _address(x),
        x.shape[0],
        x.shape[1],
        strides[0],
        strides[1],
        axes,
        table.axis,
        PAD_MODES.index(grid.pad_mode),
        table.pad_value,
        table.columns,
        table.lags,
        _address(out),
        threads,
    )


def window_numbers(
    x: NDArray[Any], grid: FragmentGrid, columns: list[tuple[int, float, int, int]], threads: int
) -> NDArray[np.float64]:
    """Numbers of every window of series: (batch, n, channels, columns)."""
    out = np.empty((x.shape[0], grid.n, x.shape[1], len(columns)))
    if not out.size:
        return out
    strides = _byte_strides(x)
    _features.window_numbers(
        _arrays.dtype_code(x.dtype),
        _address(x),
        x.shape[0],
        x.shape[1],
        strides[0],
        strides[1],
        (grid.shape[0], grid.size[0], grid.dilation[0], strides[2], grid.starts[0]),
        PAD_MODES.index(grid.pad_mode),
        float(np.real(grid.pad_value)),
        columns,
        _address(out),
        threads,
    )
    return out


def reduce(
    x: Any, index: Any, weight: Any, y: Any, weight_sum: Any, *, mean: bool, threads: int
) -> None:
    """Write sums (or means) of the rows of each segment; `index` and `weight` are contiguous."""
    x, batch_stride, row_stride = rows_of(x, index.ndim)
    _segments.reduce(
        _arrays.dtype_code(x.dtype),
        _address(x),
        batch_stride,
        row_stride,
        _address(index),
        0 if weight is None else _address(weight),
        _address(y),
        _address(weight_sum),
        index.shape[0] if index.ndim == 2 else 1,
        index.shape[-1],
        y.shape[index.ndim - 1],
        prod(y.shape[index.ndim :]),
        mean,
        threads,
    )


def gather(y: Any, index: Any, scale: Any, x: Any, *, threads: int) -> None:
    """Write ``scale[i] * y[index[i]]`` into `x`; `index` and `scale` are contiguous."""
    y, batch_stride, row_stride = rows_of(y, index.ndim)
    _segments.gather(
        _arrays.dtype_code(y.dtype),
        _address(y),
        batch_stride,
        row_stride,
        _address(index),
        0 if scale is None else _address(scale),
        _address(x),
        index.shape[0] if index.ndim == 2 else 1,
        index.shape[-1],
        y.shape[index.ndim - 1],
        prod(x.shape[index.ndim :]),
        threads,
    )


def rows_of(x: Any, lead: int) -> tuple[Any, int, int]:
    """`x` with the elements of a row side by side, and its strides over batches and rows."""
    rows = x.reshape((*x.shape[:lead], prod(x.shape[lead:])))
    size = x.itemsize
    strides = _byte_strides(rows)
    if strides[-1] != size or any(step % size for step in strides):
        rows = rows.contiguous() if _arrays.is_tensor(rows) else np.ascontiguousarray(rows)
        strides = _byte_strides(rows)
    return rows, (strides[0] // size if lead == 2 else 0), strides[lead - 1] // size


def _byte_strides(x: Any) -> tuple[int, ...]:
    if _arrays.is_tensor(x):
        return tuple(step * x.itemsize for step in x.stride())
    strides: tuple[int, ...] = x.strides
    return strides


def _address(array: Any) -> int:
    if isinstance(array, np.ndarray):
        return int(array.__array_interface__["data"][0])
    return int(array.data_ptr())
