"""Grids with an offset or padding: data as far as their windows reach, and results back in place.

Engines see the grid's `inner` one, over all positions that windows reach.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid, source_table


def placed(x: Any, grid: FragmentGrid, channels_last: bool) -> Any:
    """`x` as far as the windows reach; what lies beyond it comes from the grid's pad mode."""
    for axis in range(len(grid.shape)):
        x = _gathered(x, axis + (1 if channels_last else 2), source_table(grid, axis), grid)
    return x


def put_back(
    y: Any, grid: FragmentGrid, *, channels_last: bool, fold: bool, fill_value: Any
) -> Any:
    """Results over all positions that windows reach, on the array's own.

    `fold`: those beyond the array are added to the positions they were copied from.
    """
    for axis, length in enumerate(grid.shape):
        at = axis + (1 if channels_last else 2)
        if fold and grid.pad_mode != "constant":
            y = _added(y, at, source_table(grid, axis), length)
        else:
            first = grid.offset[axis] - grid.padding[axis][0]
            own = np.arange(length) - first
            own[(own < 0) | (own >= grid.padded_shape[axis])] = -1
            y = _selected(y, at, own, fill_value)
    return y


_FIRST = slice(0, 1)


class PlacedArray:
    """Whatever slices into arrays, as far as a grid's windows reach; read part by part."""

    def __init__(self, x: Any, grid: FragmentGrid) -> None:
        assert grid.inner is not None
        self._x, self._grid = x, grid
        self.shape: tuple[int, ...] = (*x.shape[:2], *grid.inner.shape)
        self.dtype = x.dtype

    def __getitem__(self, place: tuple[slice, ...]) -> Any:
        """The part at one slice an axis."""
        tables = [source_table(self._grid, axis)[at] for axis, at in enumerate(place[2:])]
        cuts: list[slice] = []
        for table in tables:
            inside = table[table >= 0]
            # Of nothing but padding, one position is read: it has the right type.
            cuts.append(slice(int(inside.min()), int(inside.max()) + 1) if len(inside) else _FIRST)
        at = (*place[:2], *cuts)
        part = self._x[at]
        if not _arrays.is_tensor(part):
            part = np.asarray(part)
        for axis, (table, cut) in enumerate(zip(tables, cuts, strict=True)):
            own = np.where(table < 0, -1, table - cut.start)
            part = _gathered(part, 2 + axis, own, self._grid)
        return part


def _gathered(x: Any, axis: int, source: NDArray[np.int64], grid: FragmentGrid) -> Any:
    if (source < 0).any():
        _arrays.number_bytes(grid.pad_value, x.dtype, "pad_value")
    return _selected(x, axis, source, grid.pad_value)


def _selected(x: Any, axis: int, source: NDArray[np.int64], value: Any) -> Any:
    """The positions of an axis at `source`; `value` where that is negative."""
    if len(source) and (np.diff(source) == 1).all() and source[0] >= 0:
        return x[_along(axis, slice(int(source[0]), int(source[-1]) + 1))]
    missing = source < 0
    rest = (1,) * (x.ndim - axis - 1)
    if not x.shape[axis]:  # there is nothing to select from
        shape = (*x.shape[:axis], len(source), *x.shape[axis + 1 :])
        made = x.new_full(shape, value) if _arrays.is_tensor(x) else np.full(shape, value, x.dtype)
        return made
    if _arrays.is_tensor(x):
        import torch

        index = torch.from_numpy(np.where(missing, 0, source)).to(x.device)
        taken = x.index_select(axis, index)
        if not missing.any():
            return taken
        there = torch.from_numpy(missing.reshape(-1, *rest)).to(x.device)
        if _arrays.dtype_code(x.dtype) < 0:  # of uint16 and its like torch fills nothing
            return torch.where(there, torch.full((), value, dtype=x.dtype, device=x.device), taken)
        return taken.masked_fill(there, value)
    found = np.take(x, np.where(missing, 0, source), axis)
    if not missing.any():
        return found
    with np.errstate(over="ignore"):  # as the kernels: what a half does not hold is infinite
        return np.where(missing.reshape(-1, *rest), x.dtype.type(value), found)


def _added(y: Any, axis: int, source: NDArray[np.int64], length: int) -> Any:
    """The sums of what lies at each source position."""
    shape = (*y.shape[:axis], length, *y.shape[axis + 1 :])
    if _arrays.is_tensor(y):
        import torch

        index = torch.from_numpy(source).to(y.device)
        return y.new_zeros(shape).index_add(axis, index, y)
    sums = np.zeros(shape, y.dtype)
    np.add.at(sums, _along(axis, source), y)
    return sums


def _along(axis: int, place: Any) -> Any:
    """An index of one axis."""
    return (slice(None),) * axis + (place,)
