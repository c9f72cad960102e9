"""What the fragment operators run for CUDA tensors: our kernels, or torch's own operators.

The kernels are in ``tokfrag._cuda``, which is there where tokfrag was built with nvcc. It is first
touched when the first CUDA tensor comes, never at import: that would start the driver, and break
data loaders that fork. Where it is missing or cannot run (an older driver, a device it was not
compiled for), torch's operators take over, and say so once a device.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from tokfrag import _arrays
from tokfrag.fragments import merging
from tokfrag.fragments.extraction import pad_bytes
from tokfrag.fragments.grid import EDGES, PAD_MODES, FragmentGrid
from tokfrag.fragments.merging import Reduce

if TYPE_CHECKING:
    from types import ModuleType

    from tokfrag._cuda import GridPlan, WindowPlan

#: Weights as hashable numbers: a window's name, or the shape and bytes of each float64 array.
WeightsKey: TypeAlias = "str | tuple[tuple[tuple[int, ...], bytes], ...]"


@cache
def kernels(device: int) -> ModuleType | None:
    """``tokfrag._cuda`` if it runs on this device; else None, after one warning."""
    try:
        from tokfrag import _cuda

        _cuda.check_device(device)
    except (ImportError, RuntimeError) as missing:
        warnings.warn(
            f"tokfrag: fragments on cuda:{device} are made by torch's operators, more slowly, for "
            f"tokfrag's CUDA kernels cannot run here ({missing})",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return _cuda


@contextmanager
def _launch(x: Tensor) -> Iterator[tuple[int, int]]:
    """Torch's current device is that of `x`; gives its number and the handle of its stream.

    The kernels set the device for their copy of the CUDA runtime; torch's must agree.
    """
    device = x.device.index
    with torch.cuda.device(device):
        yield device, torch.cuda.current_stream(device).cuda_stream


@lru_cache(maxsize=256)
def _grid_plan(grid: FragmentGrid) -> GridPlan:
    from tokfrag._cuda import GridPlan

    axes = (grid.shape, grid.size, grid.stride, grid.dilation)
    return GridPlan(*axes, EDGES.index(grid.edge), PAD_MODES.index(grid.pad_mode))


# extract


def run_extract(x: Tensor, grid: FragmentGrid, channels_last: bool, out: Tensor) -> None:
    """Write the fragments of `x` into the contiguous `out`."""
    if kernels(x.device.index) is None:
        from tokfrag.fragments.engines import composed as _torch_fallback

        out.copy_(_torch_fallback.extract(x, grid, channels_last))
        return
    with _launch(x) as (device, stream):
        _grid_plan(grid).extract_at(
            x.data_ptr(),
            x.shape,
            x.stride(),
            x.itemsize,
            channels_last,
            pad_bytes(grid, x.dtype),
            out.data_ptr(),
            device,
            stream,
        )


# merge


def run_merge(
    fragments: Tensor,
    grid: FragmentGrid,
    window: merging.Window,
    reduce: Reduce,
    channels_last: bool,
    fill_value: complex,
    out: Tensor,
    part: merging.Part | None = None,
) -> None:
    """Write what `fragments` (of all windows, or of a part) merge to into the contiguous `out`."""
    _, code, fill = merging.prepare(grid, "uniform", reduce, fill_value, fragments.dtype)
    key = _weights_key(grid, window)
    if kernels(fragments.device.index) is None:
        from tokfrag.fragments.engines import composed as _torch_fallback

        _window_plan(grid, key, reduce)
        merged = _torch_fallback.merge(fragments, grid, window, reduce, channels_last, fill_value)
        out.copy_(merged)
        return
    with _launch(fragments) as (device, stream):
        numbers = _table_dtype(fragments.dtype)
        plan, tables = _window_tables(grid, key, reduce, fragments.device, numbers, part)
        plan.merge_at(
            fragments.data_ptr(),
            fragments.shape,
            fragments.stride(),
            code,
            fragments.itemsize,
            channels_last,
            fill,
            out.data_ptr(),
            tables.data_ptr(),
            device,
            stream,
        )


def _table_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type that kernels add numbers of `dtype` up in."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else torch.float64


def _weights_key(grid: FragmentGrid, window: merging.Window) -> WeightsKey:
    if isinstance(window, str):
        return window
    vectors, whole = merging.window_weights(grid, window)
    arrays = vectors if whole is None else [whole]
    assert all(array is not None for array in arrays)
    return tuple((array.shape, array.tobytes()) for array in arrays if array is not None)


def _window_of(grid: FragmentGrid, key: WeightsKey) -> merging.Window:
    if isinstance(key, str):
        return key  # type: ignore[return-value]  # a name that window_weights checks
    arrays = [np.frombuffer(numbers).reshape(shape) for shape, numbers in key]
    is_whole = len(arrays) == 1 and (arrays[0].ndim > 1 or len(grid.size) > 1)
    return arrays[0] if is_whole else arrays


@lru_cache(maxsize=64)
def _window_plan(grid: FragmentGrid, key: WeightsKey, reduce: Reduce) -> WindowPlan | None:
    """A window's CUDA form, its weights checked as on the CPU; None without the module."""
    window = _window_of(grid, key)
    checked, code, fill = merging.prepare(grid, window, reduce, 0, np.dtype(np.float64))
    vectors, whole = merging.window_weights(grid, window)
    if whole is not None and reduce == "mean":
        # Raises if weights of some position sum to zero; an array of one number, seen as fragments.
        ones = np.broadcast_to(np.ones(1), (1, grid.n, 1, *grid.size))
        checked.merge(ones, code, False, fill, None, 0)
    try:
        from tokfrag._cuda import WindowPlan
    except ImportError:
        return None
    per_fragment = whole is not None and whole.ndim > len(grid.size)
    number = merging.REDUCES.index(reduce)
    return WindowPlan(_grid_plan(grid), number, vectors, whole, per_fragment)


@lru_cache(maxsize=64)
def _window_tables(
    grid: FragmentGrid,
    key: WeightsKey,
    reduce: Reduce,
    device: torch.device,
    dtype: torch.dtype,
    part: merging.Part | None,
) -> tuple[WindowPlan, Tensor]:
    plan = _window_plan(grid, key, reduce)
    assert plan is not None
    if part is not None:
        plan = plan.part(*part)
    return plan, torch.from_numpy(plan.tables).to(device, dtype)


# fragment_features


def run_features(
    x: Tensor,
    grid: FragmentGrid,
    columns: Sequence[int],
    lags: Sequence[int],
    axis: int,
    pad_value: float,
    out: Tensor,
) -> None:
    """Write the features of the fragments of `x` into `out`; only where `kernels` are there."""
    with _launch(x) as (device, stream):
        _grid_plan(grid).features_at(
            x.data_ptr(),
            x.shape,
            x.stride(),
            _arrays.dtype_code(x.dtype),
            x.itemsize,
            axis,
            pad_value,
            columns,
            lags,
            out.data_ptr(),
            device,
            stream,
        )


# segment_merge


def run_reduce(
    x: Tensor, index: Tensor, weight: Tensor | None, y: Tensor, weight_sum: Tensor, mean: bool
) -> None:
    """Write sums (or means) of the rows of each segment; only where `kernels` are there.

    `index` is contiguous, and checked by reading back whether it is in range.
    """
    lead = index.ndim
    batch = index.shape[0] if lead == 2 else 1
    rows, n = index.shape[-1], y.shape[lead - 1]
    check_index(index, n)
    columns = prod(y.shape[lead:])
    if weight_sum.numel() == 0:
        return
    segment = index if lead == 1 else index + torch.arange(batch, device=x.device)[:, None] * n
    segment, order = segment.reshape(-1).sort(stable=True)
    offsets = torch.searchsorted(segment, torch.arange(batch * n + 1, device=x.device))
    if columns == 0:  # rows of nothing still have their weights
        ones = weight_sum.new_ones(rows * batch) if weight is None else weight.reshape(-1)
        total = torch.segment_reduce(ones[order], "sum", offsets=offsets)
        weight_sum.copy_(total.reshape(weight_sum.shape))
        return
    values, batch_stride, row_stride = rows_of(x, lead)
    with _launch(x) as (device, stream):
        module = kernels(device)
        assert module is not None
        module.reduce(
            _arrays.dtype_code(x.dtype),
            values.data_ptr(),
            batch_stride,
            row_stride,
            offsets.data_ptr(),
            order.data_ptr(),
            0 if weight is None else weight.data_ptr(),
            y.data_ptr(),
            weight_sum.data_ptr(),
            batch,
            rows,
            n,
            columns,
            mean,
            device,
            stream,
        )


def run_gather(y: Tensor, index: Tensor, scale: Tensor | None, x: Tensor) -> None:
    """Write ``scale[i] * y[index[i]]`` into `x`; only where `kernels` are there."""
    lead = index.ndim
    n = y.shape[lead - 1]
    check_index(index, n)
    values, batch_stride, row_stride = rows_of(y, lead)
    with _launch(y) as (device, stream):
        module = kernels(device)
        assert module is not None
        module.gather(
            _arrays.dtype_code(y.dtype),
            values.data_ptr(),
            batch_stride,
            row_stride,
            index.data_ptr(),
            0 if scale is None else scale.data_ptr(),
            x.data_ptr(),
            index.shape[0] if lead == 2 else 1,
            index.shape[-1],
            n,
            prod(x.shape[lead:]),
            device,
            stream,
        )


def check_index(index: Tensor, n: int) -> None:
    """Raise IndexError unless every value is in [0, n); waits for the device."""
    if index.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.stack(torch.aminmax(index)).tolist())
    if low < 0 or high >= n:
        raise IndexError(f"index: got values from {low} to {high}, takes [0, {n})")


def rows_of(x: Tensor, lead: int) -> tuple[Tensor, int, int]:
    """`x` with the elements of a row side by side, and its strides over batches and rows."""
    rows = x.reshape((*x.shape[:lead], prod(x.shape[lead:])))
    if rows.stride(-1) != 1 and rows.shape[-1] > 1:
        rows = rows.contiguous()
    return rows, (rows.stride(0) if lead == 2 else 0), rows.stride(lead - 1)
