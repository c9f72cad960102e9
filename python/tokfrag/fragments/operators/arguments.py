"""Grids and windows as the arguments of torch operators, and back."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import torch

from tokfrag._operators import is_exporting
from tokfrag.fragments.axes import axis_count
from tokfrag.fragments.grid import FragmentGrid, kept_grid
from tokfrag.fragments.shapes import Merging, merging_of
from tokfrag.fragments.windows import Window, window_weights

Sizes = list[int]
Number = bool | int | float | complex

#: A grid but for its shape.
GRID_SCHEMA = "int[] size, int[] stride, int[] dilation, str edge, str pad_mode"


class ExtractArguments(NamedTuple):
    """What ``tokfrag::extract`` takes after the data, in the order of its schema."""

    size: Sizes
    stride: Sizes
    dilation: Sizes
    edge: Any
    pad_mode: Any
    pad_value: Number
    channels_last: bool
    threads: int

    @staticmethod
    def of(grid: FragmentGrid, channels_last: bool, threads: int) -> ExtractArguments:
        """Those of a grid."""
        spec = [grid.size, grid.stride, grid.dilation, grid.edge, grid.pad_mode, grid.pad_value]
        return ExtractArguments._make([*spec, channels_last, threads])

    def grid(self, x: torch.Tensor) -> FragmentGrid:
        """The grid on the space-time axes of `x`."""
        axes = (tuple(self.size), tuple(self.stride), tuple(self.dilation))
        shape = space_time(x, self.channels_last)
        return kept_grid(shape, *axes, self.edge, self.pad_mode, self.pad_value)


class MergeArguments(NamedTuple):
    """What ``tokfrag::merge`` takes after the fragments, in the order of its schema."""

    shape: Sizes
    size: Sizes
    stride: Sizes
    dilation: Sizes
    edge: Any
    pad_mode: Any
    window: str
    weights: list[torch.Tensor]
    reduce: Any
    channels_last: bool
    fill_value: Number
    threads: int

    @property
    def axes(self) -> tuple[Any, ...]:
        """The grid but for its shape, in the order of `GRID_SCHEMA`."""
        return self.size, self.stride, self.dilation, self.edge, self.pad_mode

    @property
    def grid(self) -> FragmentGrid:
        """The grid that the fragments lie on."""
        axes = (tuple(self.shape), tuple(self.size), tuple(self.stride), tuple(self.dilation))
        return kept_grid(*axes, self.edge, self.pad_mode, 0)

    def merging(self, dtype: torch.dtype, *, planned: bool = True) -> Merging:
        """The checked merge of fragments of a type; `planned`: for the CPU's kernels."""
        window = window_of(self.window, self.weights)
        options = (self.channels_last, self.fill_value, dtype)
        return merging_of(self.grid, window, self.reduce, *options, planned=planned)


def merge_arguments(
    grid: FragmentGrid,
    window: Window,
    reduce: str,
    channels_last: bool,
    fill_value: Number,
    threads: int,
) -> MergeArguments:
    """Those of a grid and a window."""
    spec = [grid.shape, grid.size, grid.stride, grid.dilation, grid.edge, grid.pad_mode]
    options = [reduce, channels_last, fill_value, threads]
    return MergeArguments._make([*spec, *window_arguments(grid, window), *options])


def window_arguments(grid: FragmentGrid, window: Window) -> tuple[str, list[torch.Tensor]]:
    """A window as an operator takes it: its name, or what its weights are, and they.

    An exported program holds weights, not names: what it is decomposed to may make no constants.
    """
    if isinstance(window, str) and (window == "uniform" or not is_exporting()):
        return window, []
    weights = window_weights(grid, window)
    if weights.array is not None:
        return "whole", [torch.tensor(weights.array)]
    return "vectors", [torch.tensor(vector) for vector in weights.vectors]


def window_of(name: str, weights: list[torch.Tensor]) -> Window:
    """The window that an operator was given."""
    if name == "vectors":
        return weights
    return weights[0] if name == "whole" else name  # type: ignore[return-value]


def space_time(x: torch.Tensor, channels_last: bool) -> tuple[int, ...]:
    """The lengths of the space-time axes."""
    return tuple(x.shape[1:-1] if channels_last else x.shape[2:])


def cut_shape(
    x: torch.Tensor,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    edge: Any,
    channels_last: bool,
) -> tuple[int, ...]:
    """The shape of x's fragments, by arithmetic that symbolic lengths go through."""
    axes = zip(space_time(x, channels_last), size, stride, dilation, strict=True)
    n = prod(axis_count(*lengths, edge) for lengths in axes)
    inner = (*size, x.shape[-1]) if channels_last else (x.shape[1], *size)
    return (x.shape[0], n, *inner)


def no_gradients(names: tuple[str, ...], weights: int) -> tuple[Any, ...]:
    """None for each argument of these names, and a None for each of the weights."""
    return tuple([None] * weights if name == "weights" else None for name in names)
