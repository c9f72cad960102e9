"""The torch operator behind :mod:`tokfrag.fragments.features`; imported on the first tensor."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from tokfrag import _arrays
from tokfrag._operators import define, implement
from tokfrag.fragments._op_arguments import kept_grid
from tokfrag.fragments.engines import cuda as _cuda_backend
from tokfrag.fragments.features import (
    FEATURES,
    check_shape,
    column_codes,
    real_pad_value,
    run_features,
    source_table,
)
from tokfrag.fragments.grid import FragmentGrid, axis_count


def features(
    x: Tensor,
    grid: FragmentGrid,
    names: Sequence[str],
    lags: Sequence[int],
    axis: int,
    threads: int,
) -> Tensor:
    """The features of a tensor: by the operator, or in torch where that has to be."""
    if _arrays.dtype_code(x.dtype) < 0:
        raise TypeError(f"x: got {x.dtype}, takes bool, integers up to 64 bits, or floats")
    check_shape(tuple(x.shape), grid)
    pad_value = real_pad_value(grid)
    native = x.is_cpu or (x.is_cuda and _cuda_backend.kernels(x.device.index) is not None)
    if not native or (x.requires_grad and torch.is_grad_enabled()):
        return features_in_torch(x, grid, names, lags, axis)
    result: Tensor = _features(
        x,
        grid.size,
        grid.stride,
        grid.dilation,
        grid.edge,
        grid.pad_mode,
        pad_value,
        column_codes(names, lags),
        lags,
        axis,
        threads,
    )
    return result


def features_in_torch(
    x: Tensor, grid: FragmentGrid, names: Sequence[str], lags: Sequence[int], axis: int
) -> Tensor:
    """The same formulas on materialised fragments, by torch's operators: differentiable."""
    out_dtype = _out_dtype(x)
    y = _materialised(x.to(torch.promote_types(out_dtype, torch.float32)), grid)
    axes = tuple(range(3, y.ndim))
    values = prod(grid.size)
    mean = y.mean(axes, keepdim=True)
    time = 3 + axis
    deviation = y - mean
    low, high = y.amin(axes), y.amax(axes)
    constant = (low == high) & low.isfinite()
    # A constant fragment has neither spread nor correlation; the 1 keeps its gradient finite.
    energy = (deviation**2).sum(axes).masked_fill(constant, 1)
    columns = []
    for name in names:
        if name == "mean":
            columns.append(mean.flatten(2))
        elif name == "std":
            columns.append((energy / values).sqrt().masked_fill(constant, 0)[..., None])
        elif name == "min":
            columns.append(low[..., None])
        elif name == "max":
            columns.append(high[..., None])
        elif name == "diff_energy":
            steps = y.diff(dim=time) ** 2
            pairs = max(steps[0, 0, 0].numel() if steps.numel() else 0, 1)
            columns.append((steps.sum(axes) / pairs)[..., None])
        else:
            for lag in lags:
                length = grid.size[axis] - lag
                early = deviation.narrow(time, 0, length)
                late = deviation.narrow(time, lag, length)
                correlation = (early * late).sum(axes) / energy
                columns.append(correlation.masked_fill(constant, 0)[..., None])
    shape = (*y.shape[:3], 0)
    table = (
        torch.cat([c.reshape(*y.shape[:3], 1) for c in columns], -1)
        if columns
        else y.new_empty(shape)
    )
    return table.to(out_dtype)


def _materialised(x: Tensor, grid: FragmentGrid) -> Tensor:
    """The fragments as (batch, n, channels, *size), gathered one axis after the other."""
    rank = len(grid.shape)
    for axis in range(rank):
        at = 2 + 2 * axis
        taps = torch.arange(grid.size[axis]) * grid.dilation[axis]
        source = torch.from_numpy(source_table(grid, axis))
        index = source[torch.tensor(grid.starts[axis])[:, None] + taps].to(x.device)
        gathered = x.index_select(at, index.clamp(min=0).reshape(-1))
        gathered = gathered.reshape(*x.shape[:at], *index.shape, *x.shape[at + 1 :])
        missing = (index < 0).reshape(*index.shape, *(1,) * (gathered.ndim - at - 2))
        x = gathered.masked_fill(missing, real_pad_value(grid))
    counts = [2 + 2 * axis for axis in range(rank)]
    sizes = [3 + 2 * axis for axis in range(rank)]
    x = x.permute(0, *counts, 1, *sizes)
    return x.reshape(x.shape[0], grid.n, x.shape[1 + rank], *grid.size)


def _out_dtype(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.float32


def _features_cpu(
    x: Tensor,
    size: list[int],
    stride: list[int],
    dilation: list[int],
    edge: str,
    pad_mode: str,
    pad_value: float,
    columns: list[int],
    lags: list[int],
    axis: int,
    threads: int,
) -> Tensor:
    windows = (tuple(size), tuple(stride), tuple(dilation))
    grid = kept_grid(tuple(x.shape[2:]), *windows, edge, pad_mode, pad_value)
    if not all(1 <= lag < grid.size[axis] for lag in lags):
        raise ValueError(f"lags: got {lags}, takes 1 to {grid.size[axis] - 1}")
    if columns.count(FEATURES.index("lag_corr")) != len(lags):
        raise ValueError(f"columns: got {columns} for {len(lags)} lags")
    like = x.new_empty(0, dtype=_out_dtype(x))
    out = _arrays.empty_tensor(like, (x.shape[0], grid.n, x.shape[1], len(columns)))
    if x.is_cuda:
        _cuda_backend.run_features(x, grid, columns, lags, axis, pad_value, out)
        return out
    strides = [step * x.itemsize for step in x.stride()]
    run_features(x, strides, grid, columns, lags, axis, out, threads)
    return out


def _features_fake(
    x: Tensor,
    size: list[int],
    stride: list[int],
    dilation: list[int],
    edge: Any,
    pad_mode: str,
    pad_value: float,
    columns: list[int],
    lags: list[int],
    axis: int,
    threads: int,
) -> Tensor:
    axes = zip(x.shape[2:], size, stride, dilation, strict=True)
    n = prod(axis_count(*lengths, edge) for lengths in axes)
    return x.new_empty((x.shape[0], n, x.shape[1], len(columns)), dtype=_out_dtype(x))


_features = define(
    "fragment_features(Tensor x, int[] size, int[] stride, int[] dilation, str edge, str pad_mode,"
    " float pad_value, int[] columns, int[] lags, int axis, int threads) -> Tensor",
    cpu=_features_cpu,
    fake=_features_fake,
)
implement("fragment_features", "CUDA", _features_cpu)
