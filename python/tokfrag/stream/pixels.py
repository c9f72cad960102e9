"""Images and videos of all kinds seen alike: where each pixel's bytes lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokfrag._arrays import dtype_name, is_tensor

#: An address, strides of frame, row, column and channel, frames, patches along t, h and w.
Item: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True)
class Pixels:
    """One image or video, never copied.

    `data` is what holds the memory; `shape` and `strides` (bytes) go by frame, row, column,
    channel. `video` and `channels_first` say how it was given.
    """

    data: Any
    address: int
    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    dtype: str
    video: bool
    channels_first: bool


def read_all(images: Any, channels: int) -> list[Pixels]:
    """Look at one image or video, or several.

    Raises
    ------
    TypeError, ValueError
        What is no picture, or whose axes cannot be told; names the item.
    """
    if isinstance(images, np.ndarray) or is_tensor(images) or hasattr(images, "getbands"):
        images = [images]
    if isinstance(images, (str, bytes)) or not isinstance(images, Sequence):
        raise TypeError(
            f"images: got {type(images).__name__}, takes an image, a video, or a sequence of these"
        )
    return [_read(image, f"images[{number}]", channels) for number, image in enumerate(images)]


def shape_of(image: Any, channels: int) -> tuple[int, int, int]:
    """Frames, rows and columns of an image or video; a Pillow image need not be loaded for it."""
    if hasattr(image, "getbands"):
        width, height = image.size
        return 1, int(height), int(width)
    return _read(image, "images", channels).shape[:3]


def _read(image: Any, name: str, channels: int) -> Pixels:
    if hasattr(image, "getbands"):  # Pillow's
        image = np.asarray(image)
    tensor = is_tensor(image)
    if not tensor and not isinstance(image, np.ndarray):
        raise TypeError(
            f"{name}: got {type(image).__name__}, takes an array, a tensor or a Pillow image"
        )
    kind = dtype_name(image.dtype)
    if kind not in ("uint8", "float32") or (not tensor and not image.dtype.isnative):
        raise TypeError(f"{name}: got {kind}, takes uint8 or float32")
    shape = tuple(image.shape)
    if image.ndim not in (3, 4) or 0 in shape:
        raise ValueError(f"{name}: got shape {shape}, {_TAKES.format(c=channels)}")
    first = shape[-3] == channels and (tensor or shape[-1] != channels)
    if not first and shape[-1] != channels:
        raise ValueError(f"{name}: got shape {shape}, {_TAKES.format(c=channels)}")
    item = image.element_size() if tensor else 1
    strides = [int(s) * item for s in (image.stride() if tensor else image.strides)]
    if image.ndim == 3:
        shape, strides = (1, *shape), [0, *strides]
    order = (0, 2, 3, 1) if first else (0, 1, 2, 3)
    return Pixels(
        image,
        int(image.data_ptr() if tensor else image.ctypes.data),
        tuple(shape[axis] for axis in order),
        tuple(strides[axis] for axis in order),  # type: ignore[arg-type]
        kind,
        image.ndim == 4,
        first,
    )


def runs(pixels: list[Pixels], grids: NDArray[np.int64]) -> Iterator[tuple[str, list[Item]]]:
    """Items of one type that follow each other, as the kernels take them."""
    pairs = zip(pixels, grids.tolist(), strict=True)
    for dtype, run in groupby(pairs, key=lambda pair: pair[0].dtype):
        yield dtype, [(p.address, *p.strides, p.shape[0], *grid) for p, grid in run]


_TAKES = (
    "takes (h, w, {c}) or (frames, h, w, {c}) arrays, ({c}, h, w) or (frames, {c}, h, w) tensors,"
    " none of them empty"
)
