"""Some of a grid's windows: those that touch a mask, or those that are named; what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

#: A mask over space-time, or numbers of windows.
Where: TypeAlias = "NDArray[Any] | torch.Tensor | Sequence[int]"


def chosen_windows(grid: FragmentGrid, where: Where) -> NDArray[np.int64]:
    """The numbers of the windows that `where` names, in its order, or touches, ascending.

    Raises ValueError for a mask of another shape than the grid's, and for numbers that are out of
    range or named twice; TypeError for anything else.
    """
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    given: Any = _arrays.from_protocols(where)
    _arrays.check_plain(given, "where")
    array: Any = given.numpy(force=True) if _arrays.is_tensor(given) else np.asarray(given)
    if array.dtype == np.bool_:
        if array.shape != grid.shape:
            raise ValueError(f"where: got a mask of shape {array.shape}, takes {grid.shape}")
        return np.flatnonzero(touched(grid, array))
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(
            f"where: got {array.dtype} of shape {array.shape}, takes a mask of bool over "
            f"{grid.shape}, or numbers of windows in one row"
        )
    return window_numbers(array, grid.n, "where")


def window_numbers(numbers: Any, n: int, name: str) -> NDArray[np.int64]:
    """Numbers in [0, n), each named at most once, as int64."""
    given = np.asarray(numbers)
    wrong = given[(given < 0) | (given >= n)]
    if len(wrong):
        takes = f"0 to {n - 1}" if n else "none: the grid has no windows"
        raise ValueError(f"{name}: got window {wrong[0]}, takes {takes}")
    checked: NDArray[np.int64] = given.astype(np.int64)
    ordered = np.sort(checked)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(again):
        raise ValueError(f"{name}: got window {again[0]} twice, takes each once")
    return checked


def touched(grid: FragmentGrid, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each window holds a position of the mask: (n,)."""
    held: Any = mask
    for axis, length in enumerate(grid.shape):
        taps = grid.dilation[axis] * np.arange(grid.size[axis])
        positions = grid.starts[axis][:, None] + taps
        inside = (positions >= 0) & (positions < length)
        parts = np.take(held, np.where(inside, positions, 0), axis=axis)
        rest = (1,) * (held.ndim - axis - 1)
        held = (parts & inside.reshape(*inside.shape, *rest)).any(axis + 1)
    windows: NDArray[np.bool_] = held.reshape(-1)
    return windows


def reached(grid: FragmentGrid, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether one of the chosen windows, (n,), holds each position: of shape `grid.shape`."""
    held: Any = chosen.reshape(grid.counts)
    for axis, length in enumerate(grid.shape):
        of_windows: Any = np.moveaxis(held, axis, 0)
        positions: Any = np.zeros((length, *of_windows.shape[1:]), np.bool_)
        for tap in range(grid.size[axis]):  # a window holds a position at most once
            at = grid.starts[axis] + grid.dilation[axis] * tap
            inside = (at >= 0) & (at < length)
            positions[at[inside]] |= of_windows[inside]
        held = np.moveaxis(positions, 0, axis)
    made: NDArray[np.bool_] = held
    return made
