"""Grids and windows as the arguments of torch operators, and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from tokfrag import _core
from tokfrag.fragments import merging
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import Window

Sizes = list[int]
Number = bool | int | float | complex

#: A grid but for its shape.
GRID_SCHEMA = "int[] size, int[] stride, int[] dilation, str edge, str pad_mode"


def window_arguments(grid: FragmentGrid, window: Window) -> tuple[str, list[torch.Tensor]]:
    if isinstance(window, str):
        return window, []
    vectors, whole = merging.window_weights(grid, window)
    if whole is not None:
        return "whole", [torch.tensor(whole)]
    return "vectors", [torch.tensor(vector) for vector in vectors]


def window_of(name: str, weights: list[torch.Tensor]) -> Window:
    if name == "vectors":
        return weights
    return weights[0] if name == "whole" else name  # type: ignore[return-value]


def kept_grid(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    edge: Any,
    pad_mode: Any,
    pad_value: Number,
) -> FragmentGrid:
    """The grid of an operator's arguments, made once for each."""
    zero = "" if pad_value else str(pad_value)  # 0.0 and -0.0 are one key, but not one value
    return _kept_grid(shape, size, stride, dilation, edge, pad_mode, pad_value, zero)


@lru_cache(maxsize=256)
def _kept_grid(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    edge: Any,
    pad_mode: Any,
    pad_value: Number,
    zero: str,
) -> FragmentGrid:
    # Not through __init__: its warning about uncovered positions belongs to the user's own grid.
    return FragmentGrid.checked(shape, size, stride, edge, pad_mode, pad_value, dilation)


def thread_limit(threads: int) -> int:
    """The most threads a call may use; 0 stands for as many as torch may."""
    return threads or min(_core.default_threads(), torch.get_num_threads())


def space_time(shape: Any, channels_last: bool) -> tuple[int, ...]:
    return tuple(shape[1:-1] if channels_last else shape[2:])
