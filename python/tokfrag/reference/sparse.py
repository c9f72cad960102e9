"""Sparse products as plain loops: the definition of the stored form and of every product.

A matrix ``(rows, columns)`` is cut into column chunks and row blocks of :data:`TILE`. Tiles follow
one another chunk by chunk. Inside a tile, rows are sorted by their number of non-zeros (equal
numbers: by row), and each row's columns ascend. Stored are

``values (nnz,)``
    the non-zeros in that order;
``local (nnz,)`` uint8
    the column of each, counted from the beginning of its chunk;
``runs (chunks, rows, 2)`` uint8
    for each row of each tile, in storage order: the row, counted from the beginning of its block,
    and its number of non-zeros.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

TILE = 128
GROUP_ROWS = 8

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]


def pack_mask(mask: NDArray[np.bool_]) -> tuple[Bytes, Bytes]:
    """``(local, runs)`` of a mask.

    >>> local, runs = pack_mask(np.array([[True, True], [False, True]]))
    >>> local.tolist(), runs.tolist()
    ([1, 0, 1], [[[1, 1], [0, 2]]])
    """
    rows, columns = mask.shape
    local: list[int] = []
    runs: list[list[list[int]]] = []
    for first_column in range(0, columns, TILE):
        chunk: list[list[int]] = []
        for first_row in range(0, rows, TILE):
            tile = mask[first_row : first_row + TILE, first_column : first_column + TILE]
            for row in sorted(range(len(tile)), key=lambda r: int(tile[r].sum())):
                kept = np.flatnonzero(tile[row]).tolist()
                chunk.append([row, len(kept)])
                local.extend(kept)
        runs.append(chunk)
    return np.array(local, np.uint8), np.array(runs, np.uint8).reshape(len(runs), rows, 2)


def entries(local: Bytes, runs: Bytes) -> Iterator[tuple[int, int, int]]:
    """``(index, row, column)`` of every stored value."""
    index = 0
    for chunk in range(runs.shape[0]):
        for place in range(runs.shape[1]):
            row, count = int(runs[chunk, place, 0]), int(runs[chunk, place, 1])
            for _ in range(count):
                yield index, place // TILE * TILE + row, chunk * TILE + int(local[index])
                index += 1


def densify(values: Array, local: Bytes, runs: Bytes, columns: int) -> Array:
    """The dense matrix ``(rows, columns)``."""
    dense = np.zeros((runs.shape[1], columns), values.dtype)
    for index, row, column in entries(local, runs):
        dense[row, column] = values[index]
    return dense


def multiply(x: Array, values: Array, local: Bytes, runs: Bytes) -> Array:
    """``y[b, r] = sum over stored (r, c) of values * x[b, c]``."""
    y = np.zeros((len(x), runs.shape[1]), x.dtype)
    for index, row, column in entries(local, runs):
        y[:, row] += values[index] * x[:, column]
    return y


def multiply_transposed(
    grad: Array, values: Array, local: Bytes, runs: Bytes, columns: int
) -> Array:
    """``y[b, c] = sum over stored (r, c) of values * grad[b, r]``."""
    y = np.zeros((len(grad), columns), grad.dtype)
    for index, row, column in entries(local, runs):
        y[:, column] += values[index] * grad[:, row]
    return y


def sample(grad: Array, x: Array, local: Bytes, runs: Bytes) -> Array:
    """``out[i] = sum over b of grad[b, row(i)] * x[b, column(i)]``."""
    out = np.zeros(len(local), x.dtype)
    for index, row, column in entries(local, runs):
        out[index] = (grad[:, row] * x[:, column]).sum()
    return out


def lookup(
    ids: NDArray[np.int64],
    values: Array,
    offsets: NDArray[np.int64],
    local: NDArray[np.int16],
    columns: int,
) -> Array:
    """Rows ``ids`` of a table kept by compressed sparse rows: ``(len(ids), columns)``."""
    out = np.zeros((len(ids), columns), values.dtype)
    for place, row in enumerate(ids):
        for index in range(offsets[row], offsets[row + 1]):
            out[place, local[index]] = values[index]
    return out


def lookup_gradient(
    grad: Array,
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    local: NDArray[np.int16],
) -> Array:
    """``out[i] = sum over places of row(i) in ids of grad[place, column(i)]``."""
    out = np.zeros(len(local), grad.dtype)
    for place, row in enumerate(ids):
        for index in range(offsets[row], offsets[row + 1]):
            out[index] += grad[place, local[index]]
    return out


def row_groups(mask: NDArray[np.bool_]) -> list[tuple[int, int, list[int]]] | None:
    """Groups ``(chunk, first row, local columns)`` of a mask made of 8 x 1 blocks, else None.

    A mask is so made if rows 8 k to 8 k + 7, and those that are left at the end, share their
    columns. Groups follow the stored order of their rows: their values are then small matrices
    ``(rows, columns)`` that follow one another.

    >>> row_groups(np.array([[True, False, True]] * 10))
    [(0, 0, [0, 2]), (0, 8, [0, 2])]
    """
    local, runs = pack_mask(mask)
    rows = runs.shape[1]
    if rows < GROUP_ROWS:
        return None
    for first in range(0, rows, GROUP_ROWS):
        if (mask[first : first + GROUP_ROWS] != mask[first]).any():
            return None
    groups: list[tuple[int, int, list[int]]] = []
    index = 0
    for chunk in range(runs.shape[0]):
        for place in range(rows):
            row, count = int(runs[chunk, place, 0]), int(runs[chunk, place, 1])
            if row % GROUP_ROWS == 0:
                first = place // TILE * TILE + row
                groups.append((chunk, first, local[index : index + count].tolist()))
            index += count
    return groups


def multiply_blocks(x: Array, values: Array, mask: NDArray[np.bool_]) -> Array:
    """:func:`multiply` of a mask made of blocks, group by group."""
    y = np.zeros((len(x), len(mask)), x.dtype)
    index = 0
    for chunk, first, columns in row_groups(mask) or []:
        for row in range(first, min(first + GROUP_ROWS, len(mask))):
            for column in columns:
                y[:, row] += values[index] * x[:, chunk * TILE + column]
                index += 1
    return y
