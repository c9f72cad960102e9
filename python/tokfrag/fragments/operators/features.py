"""fragment_features as a torch operator. Imported on the first tensor."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tokfrag import _arrays
from tokfrag._operators import define, implement, transformed
from tokfrag.fragments.engines import cuda, host, statistics
from tokfrag.fragments.grid import kept_grid
from tokfrag.fragments.operators.arguments import cut_shape
from tokfrag.fragments.shapes import FEATURES, FeatureTable, check_feature_data


class _Arguments(NamedTuple):
    """What ``tokfrag::fragment_features`` takes after the data, in the order of its schema."""

    size: list[int]
    stride: list[int]
    dilation: list[int]
    edge: Any
    pad_mode: Any
    pad_value: float
    columns: list[int]
    lags: list[int]
    axis: int
    threads: int

    def table(self, x: Tensor) -> FeatureTable:
        """The checked call on a grid over the axes of `x`."""
        windows = (tuple(self.size), tuple(self.stride), tuple(self.dilation))
        edge = (self.edge, self.pad_mode, self.pad_value)
        grid = kept_grid(tuple(x.shape[2:]), *windows, *edge)
        if not all(1 <= lag < grid.size[self.axis] for lag in self.lags):
            raise ValueError(f"lags: got {self.lags}, takes 1 to {grid.size[self.axis] - 1}")
        if self.columns.count(FEATURES.index("lag_corr")) != len(self.lags):
            raise ValueError(f"columns: got {self.columns} for {len(self.lags)} lags")
        names = tuple(dict.fromkeys(FEATURES[column] for column in self.columns))
        options = (tuple(self.columns), tuple(self.lags), self.axis, self.pad_value)
        return FeatureTable(grid, names, *options)


def features(x: Tensor, table: FeatureTable, threads: int) -> Tensor:
    """The features of a tensor: by the operator, or in torch where that has to be."""
    grid = table.grid
    x = _arrays.kernel_array(x)
    check_feature_data(x, grid)
    if (
        not (x.is_cpu or x.is_cuda)
        or transformed()
        or (x.requires_grad and torch.is_grad_enabled())
    ):
        return statistics.features(x, table)
    windows = (grid.size, grid.stride, grid.dilation, grid.edge, grid.pad_mode, table.pad_value)
    given = (table.columns, table.lags, table.axis, threads)
    result: Tensor = _features(x, *windows, *given)
    return result


def _native(x: Tensor, *arguments: Any) -> Tensor:
    given = _Arguments(*arguments)
    table = given.table(x)
    # Asked here, not before the operator: a compiler would have to see through the question.
    if x.is_cuda and cuda.kernels(x.device.index) is None:
        return statistics.features(x, table)
    like = x.new_empty(0, dtype=statistics.result_dtype(x))
    shape = (x.shape[0], table.grid.n, x.shape[1], len(table.columns))
    out = _arrays.empty_tensor(like, shape)
    if x.is_cuda:
        cuda.features(x, table, out)
    else:
        host.features(x, table, out, given.threads)
    return out


def _composed(x: Tensor, *arguments: Any) -> Tensor:
    return statistics.features(x, _Arguments(*arguments).table(x))


def _fake(x: Tensor, *arguments: Any) -> Tensor:
    given = _Arguments(*arguments)
    cut = cut_shape(x, given.size, given.stride, given.dilation, given.edge, False)
    return x.new_empty((*cut[:3], len(given.columns)), dtype=statistics.result_dtype(x))


_features = define(
    "fragment_features(Tensor x, int[] size, int[] stride, int[] dilation, str edge, str pad_mode,"
    " float pad_value, int[] columns, int[] lags, int axis, int threads) -> Tensor",
    cpu=_native,
    fake=_fake,
    decomposition=_composed,
)
implement("fragment_features", "CUDA", _native)
