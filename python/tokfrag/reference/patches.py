"""Patches in plain Python: where each value of each patch comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def patchify(
    video: NDArray[Any],
    *,
    patch: int,
    frames: int,
    merge: int,
    axes: str,
    scale: NDArray[np.float32],
    shift: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Cut a (frames, h, w, c) video: patch by patch, value by value.

    Examples
    --------
    >>> one = np.ones(1, np.float32)
    >>> image = np.arange(16).reshape(1, 4, 4, 1)
    >>> patchify(image, patch=2, frames=1, merge=1, axes="ctyx", scale=one, shift=0 * one).tolist()
    [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0], [8.0, 9.0, 12.0, 13.0], [10.0, 11.0, 14.0, 15.0]]
    """
    given, height, width, channels = video.shape
    extent = {"c": channels, "t": frames, "y": patch, "x": patch}
    rows = []
    for time in range(-(-given // frames)):
        for group_row in range(height // patch // merge):
            for group_column in range(width // patch // merge):
                for inside in np.ndindex(merge, merge):
                    top = (group_row * merge + inside[0]) * patch
                    left = (group_column * merge + inside[1]) * patch
                    row = []
                    for place in np.ndindex(*(extent[axis] for axis in axes)):
                        at = dict(zip(axes, place, strict=True))
                        frame = min(time * frames + at["t"], given - 1)
                        value = video[frame, top + at["y"], left + at["x"], at["c"]]
                        scaled = np.float32(value) * scale[at["c"]]
                        row.append(scaled + shift[at["c"]])
                    rows.append(row)
    return np.array(rows, np.float32).reshape(len(rows), -1)
