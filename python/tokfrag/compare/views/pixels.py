"""A picture's values as a PNG, so that a page holds it as a file would."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def png_of(values: NDArray[Any]) -> bytes:
    """Values as a PNG, black at the least and white at the greatest.

    Parameters
    ----------
    values : (height, width) or (height, width, 3) array
        Grey or colours, in any range.

    Returns
    -------
    bytes
        A file of 8 bits a channel (PNG specification, third edition, without filters).

    Examples
    --------
    >>> import numpy as np
    >>> png_of(np.eye(2))[1:4]
    b'PNG'
    """
    levels = _levels(np.asarray(values, np.float64))
    height, width = levels.shape[:2]
    colour = 2 if levels.ndim == 3 else 0
    # Each line begins with the number of its filter, 0 for none.
    lines = np.zeros((height, 1 + levels[0].size), np.uint8)
    lines[:, 1:] = levels.reshape(height, -1)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def data_uri(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _levels(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / ((high - low) or 1.0)
    found: NDArray[np.uint8] = (scaled * 255).round().astype(np.uint8)
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
