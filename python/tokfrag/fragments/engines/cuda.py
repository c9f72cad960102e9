"""The CUDA kernels of fragments: checked calls become addresses, strides and streams.

All here may be called only where `kernels` found ``tokfrag._cuda`` to run.
"""

from __future__ import annotations

import weakref
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from tokfrag import _arrays
from tokfrag._device import is_captured, kernels, launch as _launch
from tokfrag.fragments.engines import host
from tokfrag.fragments.engines.cuda_weights import grid_plan, weights_on
from tokfrag.fragments.grid import FragmentGrid, kept_grid
from tokfrag.fragments.shapes import Cut, FeatureTable, Merging, merging_of
from tokfrag.fragments.windows import Part

__all__ = [
    "adjoint",
    "check_index",
    "extract",
    "extract_changed",
    "features",
    "gather",
    "kernels",
    "merge",
    "reduce",
    "trust",
]


# extract


def extract(x: Tensor, cut: Cut, out: Tensor) -> None:
    """Write the fragments of `x` into the contiguous `out`."""
    with _launch(x) as (device, stream):
        grid_plan(cut.grid).extract_at(
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


def extract_changed(
    x: Tensor,
    grid: FragmentGrid,
    channels_last: bool,
    scale: list[float],
    shift: list[float],
    out: Tensor,
) -> None:
    """Write the fragments of `x`, scaled, shifted and of another type, into `out`.

    `scale` and `shift` hold nothing, one number, or one a channel.
    """
    pad = grid.pad_value if grid.padded_shape != grid.shape else 0
    with _launch(x) as (device, stream):
        grid_plan(grid).extract_changed_at(
            x.data_ptr(),
            x.shape,
            x.stride(),
            _arrays.dtype_code(x.dtype),
            x.itemsize,
            _arrays.dtype_code(out.dtype),
            channels_last,
            _arrays.number_bytes(pad, x.dtype, "pad_value"),
            scale,
            shift,
            out.data_ptr(),
            device,
            stream,
        )


# merge


def merge(fragments: Tensor, merging: Merging, out: Tensor, part: Part | None = None) -> None:
    """Write what `fragments` (of all windows, or of a part) merge to into the contiguous `out`."""
    target = out
    weights = weights_on(merging, fragments.device, part)
    if not merging.plain:
        if merging.wide is not None:
            fragments = fragments.to(merging.wide)
            target = out.new_empty(out.shape, dtype=merging.wide)
        fragments = weights.weighted_only(fragments, merging)
    with _launch(fragments) as (device, stream):
        weights.read_on(stream)
        weights.plan.merge_at(
            fragments.data_ptr(),
            fragments.shape,
            fragments.stride(),
            merging.code,
            fragments.itemsize,
            merging.channels_last,
            merging.fill,
            target.data_ptr(),
            weights.tables.data_ptr(),
            weights.pairs,
            device,
            stream,
        )
    if target is not out:
        out.copy_(_arrays.narrowed(target, out.dtype))


def adjoint(x: Tensor, merging: Merging, out: Tensor) -> None:
    """Write the fragments of `x`, times the weights of a merge, into the contiguous `out`."""
    weights = weights_on(merging, x.device, None)
    norms = _norms(merging, x)
    with _launch(x) as (device, stream):
        weights.read_on(stream)
        weights.plan.extract_at(
            x.data_ptr(),
            x.shape,
            x.stride(),
            merging.code,
            x.itemsize,
            merging.channels_last,
            0 if norms is None else norms.data_ptr(),
            out.data_ptr(),
            weights.tables.data_ptr(),
            device,
            stream,
        )


def _norms(merging: Merging, x: Tensor) -> Tensor | None:
    """What an array of weights sums to at each position, for a mean: a merge of ones.

    Vectors have tables of it.
    """
    if merging.reduce != "mean" or merging.weights.array is None:
        return None
    grid = merging.grid
    ones = x.new_ones((), dtype=torch.float64).expand(1, grid.n, 1, *grid.size)
    axes = (grid.shape, grid.size, grid.stride, grid.dilation)
    unpadded = kept_grid(*axes, grid.edge, "constant", 0)
    summing = merging_of(unpadded, merging.window, "sum", False, 0, ones.dtype, planned=False)
    sums = ones.new_empty((1, 1, *grid.shape))
    merge(ones, summing, sums)
    return sums.float() if x.dtype in (torch.float16, torch.bfloat16) else sums


# fragment_features


def features(x: Tensor, table: FeatureTable, out: Tensor) -> None:
    """Write the features of the fragments of `x` into `out`."""
    with _launch(x) as (device, stream):
        grid_plan(table.grid).features_at(
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
    looked = check_index(index, n)
    columns = prod(y.shape[lead:])
    if weight_sum.numel() == 0:
        return
    segment = index if lead == 1 else index + torch.arange(batch, device=x.device)[:, None] * n
    if not looked:
        # Behind all segments: as a narrow integer, or in a batch, it might be one of them.
        segment = segment.masked_fill((index < 0) | (index >= n), batch * n)
    # A radix sort takes a pass for every eight bits of a key.
    key = segment.reshape(-1).to(_least_integers(batch * n))
    key, order = key.sort(stable=True)
    bounds = torch.arange(batch * n + 1, device=x.device, dtype=key.dtype)
    offsets = torch.searchsorted(key, bounds)
    if columns == 0:  # rows of nothing still have their weights
        ones = weight_sum.new_ones(rows * batch) if weight is None else weight.reshape(-1)
        total = torch.segment_reduce(ones[order], "sum", offsets=offsets)
        weight_sum.copy_(total.reshape(weight_sum.shape))
        return
    values, batch_stride, row_stride = host.rows_of(x, lead)
    with _launch(x) as (device, stream):
        module = kernels(device)
        assert module is not None
        # Long segments are shared out between threads, a run of rows each.
        sums = module.segment_sums(batch * rows, rows)
        partial = x.new_empty((sums, columns), dtype=weight_sum.dtype)
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
            partial.data_ptr() if sums else 0,
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


def _least_integers(limit: int) -> torch.dtype:
    """The narrowest type that holds 0 to `limit`."""
    held = (torch.int16, torch.int32, torch.int64)
    return next(dtype for dtype in held if limit <= torch.iinfo(dtype).max)


class _Checked(NamedTuple):
    """An index that is known, or said, to hold no value beyond `n`."""

    owner: weakref.ref[Tensor]
    version: int
    n: int
    looked: bool  # known, not only said


_checked: dict[int, _Checked] = {}


def _known(index: Tensor, n: int) -> _Checked | None:
    known = _checked.get(id(index))
    if known is None or known.owner() is not index or index.is_inference():
        return None
    return known if known.n == n and known.version == index._version else None


def trust(index: Tensor, n: int, *, looked: bool = False) -> None:
    """Take an index for checked, as long as it lives unchanged.

    The kernels read nothing outside of an array whatever it holds: rows sent elsewhere are left
    out, and zeros come back for them.
    """
    if index.is_inference() or (not looked and _known(index, n) is not None):
        return
    key = id(index)

    def forget(owner: weakref.ref[Tensor]) -> None:
        now = _checked.get(key)
        if now is not None and now.owner is owner:
            del _checked[key]

    _checked[key] = _Checked(weakref.ref(index, forget), index._version, n, looked)


def check_index(index: Tensor, n: int) -> bool:
    """Raise IndexError unless every value is in [0, n); waits for the device, once an index.

    Nothing can be waited for while a CUDA graph is captured: the device itself checks then, and
    stops at a value that is not. False then, and for an index that is only trusted.
    """
    if index.numel() == 0:
        return True
    known = _known(index, n)
    if known is not None:
        return known.looked
    if index.is_cuda and is_captured():
        torch._assert_async(((index >= 0) & (index < n)).all(), "index: takes [0, n)")
        return False
    low, high = (int(bound) for bound in torch.stack(torch.aminmax(index)).tolist())
    if low < 0 or high >= n:
        raise IndexError(f"index: got values from {low} to {high}, takes [0, {n})")
    trust(index, n, looked=True)
    return True
