"""Images inside a text: a placeholder becomes as many places as its image has patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def expand_placeholders(
    ids: Sequence[int] | NDArray[Any], placeholder: int, counts: Sequence[int] | NDArray[Any]
) -> NDArray[Any]:
    """Repeat each placeholder of a document as often as its image needs places.

    Parameters
    ----------
    ids : (tokens,) integers
        With ``placeholder`` once an image.
    placeholder : int
        The id that stands for an image.
    counts : (images,) integers
        Places of each image in order: ``Patches.places`` gives them.

    Returns
    -------
    (places,) array of the ids' dtype

    Raises
    ------
    ValueError
        There are not as many placeholders as images: says where the first one too many is.

    Examples
    --------
    >>> expand_placeholders([5, 99, 6, 99], 99, [2, 3]).tolist()
    [5, 99, 99, 6, 99, 99, 99]
    """
    row = np.asarray(ids)
    if row.size == 0:
        row = row.astype(np.int64)
    images = np.asarray(counts, np.int64).reshape(-1)
    if row.ndim != 1 or row.dtype.kind not in "iu":
        raise TypeError(f"ids: got {row.dtype} of shape {row.shape}, takes one row of integers")
    if (images < 0).any():
        raise ValueError(f"counts: got {images.tolist()}, takes numbers of at least 0")
    found = np.flatnonzero(row == placeholder)
    if len(found) != len(images):
        where = (
            f"; the first one too many stands at position {int(found[len(images)])}"
            if len(found) > len(images)
            else ""
        )
        raise ValueError(
            f"ids: hold {len(found)} placeholders ({placeholder}) for {len(images)} images{where}"
        )
    repeats = np.ones(len(row), np.int64)
    repeats[found] = images
    return np.repeat(row, repeats)


def mrope_positions(
    ids: Sequence[int] | NDArray[Any],
    placeholder: int,
    grid_thw: Sequence[Sequence[int]] | NDArray[Any],
    *,
    merge: int = 1,
) -> NDArray[np.int64]:
    """Number the places of a document by time, row and column, as Qwen's models do.

    Text counts on by one along all three axes; an image's places hold their patch's place in the
    grid, from the number that is next; text goes on after the larger of its height and width.

    Parameters
    ----------
    ids : (places,) integers
        With the placeholders expanded.
    placeholder : int
    grid_thw : (images, 3) integers
        Patches of each image, as ``Patches.grid_thw``.
    merge : int
        The layout's: a place stands for a group of ``merge`` x ``merge`` patches.

    Returns
    -------
    (3, places) array, int64

    Raises
    ------
    ValueError
        The placeholders in a row are not the places of the images.

    Notes
    -----
    P. Wang et al., "Qwen2-VL: Enhancing vision-language model's perception of the world at any
    resolution", 2024, section 2.1.

    Examples
    --------
    >>> mrope_positions([5, 9, 9, 9, 9, 6], 9, [[1, 2, 2]]).tolist()
    [[0, 1, 1, 1, 1, 3], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]]
    """
    row = np.asarray(ids)
    grids = np.asarray(grid_thw, np.int64).reshape(-1, 3) // [1, merge, merge]
    held = row == placeholder
    if int(held.sum()) != int(grids.prod(1).sum()):
        raise ValueError(
            f"ids: hold {int(held.sum())} placeholders ({placeholder}), the images have"
            f" {int(grids.prod(1).sum())} places"
        )
    made = np.empty((3, len(row)), np.int64)
    at, number = 0, 0
    for grid in grids:
        begin = at + int(np.argmax(held[at:]))
        made[:, at:begin] = number + np.arange(begin - at)
        number += begin - at
        places = np.indices(grid).reshape(3, -1)
        end = begin + places.shape[1]
        if not held[begin:end].all():
            raise ValueError(f"ids: the image at position {begin} is cut off by other ids")
        made[:, begin:end] = number + places
        number += int(grid[1:].max())
        at = end
    made[:, at:] = number + np.arange(len(row) - at)
    return made
