"""Products with weights under a bitmap, as plain loops: the definition of the stored form.

A matrix ``(rows, columns)`` has a bit for each column of each row, 64 to a word; set where a value
is stored. Values follow one another row by row, columns ascending: floats, or codes of eight bits
that stand for themselves times the scale of their group of columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD_COLUMNS = 64
MOST_LEVEL = 32767

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def pack_bitmap(mask: Mask) -> NDArray[np.uint64]:
    """The words ``(rows, ceil(columns / 64))`` of a mask.

    >>> pack_bitmap(np.array([[True, False, True]])).tolist()
    [[5]]
    """
    rows, columns = mask.shape
    words = np.zeros((rows, -(-columns // WORD_COLUMNS)), np.uint64)
    for row, column in np.argwhere(mask).tolist():
        words[row, column // WORD_COLUMNS] |= np.uint64(1 << column % WORD_COLUMNS)
    return words


def multiply(x: Array, values: Array, mask: Mask) -> Array:
    """``y[b, r] = sum over stored (r, c) of values * x[b, c]``."""
    y = np.zeros((len(x), len(mask)))
    for index, (row, column) in enumerate(np.argwhere(mask).tolist()):
        y[:, row] += values[index] * x[:, column]
    return y


def encode(weight: Array, mask: Mask, group: int) -> tuple[NDArray[np.int8], Array]:
    """Codes ``(nnz,)`` and scales ``(rows, groups)``: a 127th of each group's largest magnitude.

    >>> codes, scales = encode(np.array([[1.0, 0.5, -0.1]]), np.ones((1, 3), bool), 64)
    >>> codes.tolist(), (scales * 127).tolist()
    ([127, 64, -13], [[1.0]])
    """
    rows, columns = mask.shape
    scales = np.zeros((rows, -(-columns // group)))
    for row, column in np.argwhere(mask).tolist():
        place = row, column // group
        scales[place] = max(scales[place], abs(weight[row, column]) / 127)
    codes = [
        round(weight[row, column] / scales[row, column // group] if weight[row, column] else 0.0)
        for row, column in np.argwhere(mask).tolist()
    ]
    return np.array(codes, np.int8), scales


def levels(line: Array) -> tuple[NDArray[np.int64], float]:
    """An input as integers of 16 bits, and what one of them is worth.

    >>> levels(np.array([0.5, -1.0]))[0].tolist()
    [16384, -32767]
    """
    step = float(np.abs(line).max(initial=0.0)) / MOST_LEVEL
    rounded = np.rint(line / step) if step else np.zeros_like(line)
    return rounded.astype(np.int64), step


def multiply_codes(
    x: Array, codes: NDArray[np.int8], scales: Array, mask: Mask, group: int
) -> Array:
    """``y[b, r] = sum over stored (r, c) of codes * scale * x[b, c]``; inputs have 16 bits.

    A line with an input that is infinite or NaN is not rounded.
    """
    y = np.zeros((len(x), len(mask)))
    for b, line in enumerate(x):
        inputs, step = levels(line) if np.isfinite(line).all() else (line, 1.0)
        for index, (row, column) in enumerate(np.argwhere(mask).tolist()):
            y[b, row] += int(codes[index]) * scales[row, column // group] * inputs[column] * step
    return y
