"""The CUDA kernels: checked calls become addresses, strides and streams.

The kernels are in ``tokfrag._cuda``, which is there where tokfrag was built with nvcc. It is first
touched when the first CUDA tensor comes, never at import: that would start the driver, and break
data loaders that fork. Where it is missing or cannot run (an older driver, a device it was not
compiled for), `kernels` says so once a device; all else here may be called only where it is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokfrag import _arrays
from tokfrag.fragments.axes import EDGES, PAD_MODES
from tokfrag.fragments.engines import host
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.shapes import Cut, FeatureTable, Merging
from tokfrag.fragments.windows import REDUCES, Part

if TYPE_CHECKING:
    from types import ModuleType

    from tokfrag._cuda import GridPlan, WindowPlan


@cache
def kernels(device: int) -> ModuleType | None:
    """``tokfrag._cuda`` if it runs on this device; else None, after one warning."""
    try:
        import tokfrag._cuda as module

        module.check_device(device)
    except (ImportError, RuntimeError) as missing:
        warnings.warn(
            f"tokfrag: fragments on cuda:{device} are made by torch's operators, more slowly, for "
            f"tokfrag's CUDA kernels cannot run here ({missing})",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return module


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


def extract(x: Tensor, cut: Cut, out: Tensor) -> None:
    """Write the fragments of `x` into the contiguous `out`."""
    with _launch(x) as (device, stream):
        _grid_plan(cut.grid).extract_at(
            x.data_ptr(),
            x.shape,
            x.stride(),
            x.itemsize,
            cut.channels_last,
            cut.pad,
            out.data_ptr(),
            device,
            stream,
        )


# merge


def merge(fragments: Tensor, merging: Merging, out: Tensor, part: Part | None = None) -> None:
    """Write what `fragments` (of all windows, or of a part) merge to into the contiguous `out`."""
    target = out
    if not merging.plain:
        fragments = host.weighted_only(fragments, merging)
        target = out if merging.wide is None else out.new_empty(out.shape, dtype=merging.wide)
    with _launch(fragments) as (device, stream):
        key = _WindowKey(merging)
        numbers = _table_dtype(fragments.dtype)
        plan, tables = _window_tables(key, fragments.device, numbers, part)
        plan.merge_at(
            fragments.data_ptr(),
            fragments.shape,
            fragments.stride(),
            merging.code,
            fragments.itemsize,
            merging.channels_last,
            merging.fill,
            target.data_ptr(),
            tables.data_ptr(),
            device,
            stream,
        )
    if target is not out:
        out.copy_(_arrays.narrowed(target, out.dtype))


def _table_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type that kernels add numbers of `dtype` up in."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else torch.float64


class _WindowKey:
    """The weights of a merge on its grid, compared by value."""

    def __init__(self, merging: Merging) -> None:
        self.merging = merging
        window: object = merging.window
        if not isinstance(window, str):
            weights = merging.weights
            arrays = [weights.array, *weights.vectors]
            window = tuple((a.shape, a.tobytes()) for a in arrays if a is not None)
        self._value = (merging.grid, merging.reduce, window)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _WindowKey) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@lru_cache(maxsize=64)
def _window_plan(key: _WindowKey) -> WindowPlan:
    """A window's CUDA form, its weights checked as on the CPU."""
    from tokfrag._cuda import WindowPlan

    grid, weights, reduce = key.merging.grid, key.merging.weights, key.merging.reduce
    host.check_sums(key.merging)
    vectors, number = list(weights.vectors), REDUCES.index(reduce)
    return WindowPlan(_grid_plan(grid), number, vectors, weights.array, weights.per_fragment)


@lru_cache(maxsize=64)
def _window_tables(
    key: _WindowKey, device: torch.device, dtype: torch.dtype, part: Part | None
) -> tuple[WindowPlan, Tensor]:
    plan = _window_plan(key)
    if part is not None:
        plan = plan.part(*part)
    return plan, torch.from_numpy(plan.tables).to(device, dtype)


# fragment_features


def features(x: Tensor, table: FeatureTable, out: Tensor) -> None:
    """Write the features of the fragments of `x` into `out`."""
    with _launch(x) as (device, stream):
        _grid_plan(table.grid).features_at(
            x.data_ptr(),
            x.shape,
            x.stride(),
            _arrays.dtype_code(x.dtype),
            x.itemsize,
            table.axis,
            table.pad_value,
            table.columns,
            table.lags,
            out.data_ptr(),
            device,
            stream,
        )


# segment_merge


def reduce(
    x: Tensor, index: Tensor, weight: Tensor | None, y: Tensor, weight_sum: Tensor, mean: bool
) -> None:
    """Write sums (or means) of the rows of each segment.

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
    values, batch_stride, row_stride = host.rows_of(x, lead)
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


def gather(y: Tensor, index: Tensor, scale: Tensor | None, x: Tensor) -> None:
    """Write ``scale[i] * y[index[i]]`` into `x`."""
    lead = index.ndim
    n = y.shape[lead - 1]
    check_index(index, n)
    values, batch_stride, row_stride = host.rows_of(y, lead)
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
