"""Cutting some of a grid's fragments out of anything that slices: arrays, tensors, memory maps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._core.stitching import cut_at, window_places
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid, source_table
from tokfrag.fragments.placing import PlacedArray


class Run(NamedTuple):
    """Fragments of one batch entry that follow each other, a stride apart, along the last axis."""

    batch: int
    place: tuple[int, ...]  # of the first, in windows along each axis
    length: int


def runs(grid: FragmentGrid, first: int, last: int) -> Iterator[Run]:
    """The runs that make up fragments [first, last), counted over the batch and then the grid."""
    while first < last:
        batch, index = divmod(first, grid.n)
        place = tuple(int(i) for i in np.unravel_index(index, grid.counts))
        column, columns = place[-1], grid.counts[-1]
        end = min(columns, column + last - first)
        # edge="shift" may have moved the last window off the regular places.
        moved = int(grid.starts[-1][-1]) != (columns - 1) * grid.stride[-1]
        if moved and column < columns - 1:
            end = min(end, columns - 1)
        yield Run(batch, place, end - column)
        first += end - column


def spans(grid: FragmentGrid, run: Run) -> tuple[slice, ...]:
    """The positions on each axis that the fragments of a run reach over."""
    reach = [step * (size - 1) + 1 for size, step in zip(grid.size, grid.dilation, strict=True)]
    reach[-1] += (run.length - 1) * grid.stride[-1]
    begins = [int(starts[i]) for starts, i in zip(grid.starts, run.place, strict=True)]
    return tuple(slice(b, b + length) for b, length in zip(begins, reach, strict=True))


@lru_cache(maxsize=1024)
def run_grid(grid: FragmentGrid, count: int) -> FragmentGrid:
    """The grid of a run of ``count`` fragments on the positions it reaches over."""
    lengths = spans(grid, Run(0, (0,) * len(grid.shape), count))
    shape = tuple(length.stop - length.start for length in lengths)
    return FragmentGrid.checked(shape, grid.size, grid.stride, "drop", "constant", 0, grid.dilation)


def cut(x: Any, grid: FragmentGrid, first: int, last: int, out: Any, threads: int | None) -> None:
    """Write fragments [first, last) of ``x`` (batch, channels, *space_time) to ``out``.

    ``out`` is (last - first, channels, *size), contiguous, a tensor if ``x`` is. Only the part of
    ``x`` that these fragments hold is read.
    """
    if _cut_natively(x, grid, np.arange(first, last), out, threads):
        return
    done = 0
    for run in runs(grid, first, last):
        part = out[done : done + run.length]
        block = _block(x, grid, run)
        if not _arrays.is_tensor(block) and block.dtype != out.dtype:
            block = block.astype(out.dtype)  # out is of the native byte order
        extract(block, run_grid(grid, run.length), out=part[None], threads=threads)
        done += run.length


def cut_numbers(
    x: Any, grid: FragmentGrid, numbers: NDArray[np.int64], out: Any, threads: int | None
) -> None:
    """Write the fragments of these numbers, counted over the batch and then the grid, to ``out``.

    See `cut`.
    """
    if grid.inner is not None:
        x, grid = PlacedArray(x, grid), grid.inner
    if _cut_natively(x, grid, numbers, out, threads):
        return
    ends = [*(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
    done = 0
    for end in ends:
        if end > done:
            first = int(numbers[done])
            cut(x, grid, first, first + end - done, out[done:end], threads)
        done = end


def _cut_natively(
    x: Any, grid: FragmentGrid, numbers: NDArray[np.int64], out: Any, threads: int | None
) -> bool:
    """In one call, if `x` lies in this machine's memory and no fragment leaves it."""
    tensors = _arrays.is_tensor(x)
    if not (x.is_cpu and x.dtype == out.dtype if tensors else type(x) in (np.ndarray, np.memmap)):
        return False
    if not tensors and not (x.dtype.isnative and x.dtype.kind in "biufc"):
        return False
    if tensors and (x.is_conj() or x.is_neg()):
        return False
    places = window_places(grid.plan, numbers)
    if grid.padded_shape != grid.shape:
        for axis, origins in enumerate(places.T[1:]):
            extent = grid.dilation[axis] * (grid.size[axis] - 1) + 1
            if int(origins.max(initial=0)) + extent > grid.shape[axis]:
                return False
    cut_at(
        x.data_ptr() if tensors else x.ctypes.data,
        x.itemsize,
        tuple(x.shape),
        tuple(s * x.itemsize for s in x.stride()) if tensors else x.strides,
        grid.size,
        grid.dilation,
        places,
        out.data_ptr() if tensors else out.ctypes.data,
        _arrays.thread_count(threads),
    )
    return True


def _block(x: Any, grid: FragmentGrid, run: Run) -> Any:
    """The part of ``x`` under a run, padded where the run leaves the data."""
    reach = spans(grid, run)
    inside = [r.stop <= length for r, length in zip(reach, grid.shape, strict=True)]
    tables: list[NDArray[np.int64] | None] = [
        None if whole else source_table(grid, axis)[r]
        for axis, (r, whole) in enumerate(zip(reach, inside, strict=True))
    ]
    cuts = [
        r if table is None else slice(int(table[table >= 0].min()), int(table.max()) + 1)
        for r, table in zip(reach, tables, strict=True)
    ]
    place = (slice(run.batch, run.batch + 1), slice(None), *cuts)
    block = x[place]
    if not _arrays.is_tensor(block):
        block = np.asarray(block)
    for axis, (table, taken) in enumerate(zip(tables, cuts, strict=True)):
        if table is not None:
            block = pad_axis(block, 2 + axis, table - taken.start, table < 0, grid.pad_value)
    return block


def pad_axis(
    block: Any, axis: int, source: NDArray[np.int64], missing: NDArray[np.bool_], value: Any
) -> Any:
    """The positions of an axis at `source`; `value` where they are missing, at the end."""
    source = np.where(missing, 0, source)
    if _arrays.is_tensor(block):
        import torch

        block = block.index_select(axis, torch.from_numpy(source).to(block.device))
    else:
        block = np.take(block, source, axis=axis)
    if missing.any():  # the positions past the data are the last ones
        block[(slice(None),) * axis + (slice(int(missing.argmax()), None),)] = value
    return block
