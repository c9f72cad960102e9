"""Sizes that a layout can take, by the rules of the models, and resizing by Pillow."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokfrag.stream.layouts import Layout, layout_of

Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]


def area_size(
    height: int,
    width: int,
    layout: str | Layout,
    *,
    least: int = 56 * 56,
    most: int = 28 * 28 * 1280,
) -> tuple[int, int]:
    """Find the size near an image's whose area lies between two bounds: Qwen-VL's rule.

    Sides are rounded to multiples of the layout's unit; where the area is then out of bounds, the
    image is scaled to the bound first, and the sides rounded towards the inside.

    Parameters
    ----------
    height, width : int
        Pixels.
    layout : str or Layout
    least, most : int
        Of the area, pixels.

    Returns
    -------
    (height, width)

    Raises
    ------
    ValueError
        One side is more than 200 times the other.

    Notes
    -----
    ``smart_resize`` of transformers' ``Qwen2VLImageProcessor``.

    Examples
    --------
    >>> area_size(300, 500, "qwen2_vl")
    (308, 504)
    """
    unit = _checked(height, width, layout).unit
    if max(height, width) / min(height, width) > 200:
        raise ValueError(f"height, width: got {height} x {width}, takes sides within 200 to 1")
    made = round(height / unit) * unit, round(width / unit) * unit
    area = made[0] * made[1]
    if area > most:
        by = math.sqrt(height * width / most)
        return _at_least(math.floor(height / by / unit), unit), _at_least(
            math.floor(width / by / unit), unit
        )
    if area < least:
        by = math.sqrt(least / (height * width))
        return math.ceil(height * by / unit) * unit, math.ceil(width * by / unit) * unit
    return made


def patches_size(
    height: int, width: int, layout: str | Layout, *, most: int = 256
) -> tuple[int, int]:
    """Find the largest size of an image's shape that has at most so many patches: SigLIP2's rule.

    Parameters
    ----------
    height, width : int
        Pixels.
    layout : str or Layout
    most : int
        Patches.

    Returns
    -------
    (height, width)

    Notes
    -----
    The scale is found by bisection to 1e-5, as in transformers' ``Siglip2ImageProcessor``.

    Examples
    --------
    >>> patches_size(300, 500, "siglip2")
    (192, 320)
    """
    unit = _checked(height, width, layout).unit
    low, high = 1e-6, 100.0

    def scaled(by: float) -> tuple[int, int]:
        return _at_least(math.ceil(height * by / unit), unit), _at_least(
            math.ceil(width * by / unit), unit
        )

    while high - low >= 1e-5:
        middle = (low + high) / 2
        made = scaled(middle)
        if made[0] / unit * (made[1] / unit) <= most:
            low = middle
        else:
            high = middle
    return scaled(low)


def longest_size(
    height: int, width: int, layout: str | Layout, *, longest: int = 1024
) -> tuple[int, int]:
    """Find the size of an image shrunk to a longest side, rounded up to patches: Pixtral's rule.

    Parameters
    ----------
    height, width : int
        Pixels.
    layout : str or Layout
    longest : int
        Pixels; smaller images are not enlarged.

    Returns
    -------
    (height, width)

    Notes
    -----
    ``get_resize_output_image_size`` of transformers' ``PixtralImageProcessor``.

    Examples
    --------
    >>> longest_size(1500, 3000, "pixtral")
    (512, 1024)
    """
    unit = _checked(height, width, layout).unit
    ratio = max(height, width) / longest
    if ratio > 1:
        height, width = math.floor(height / ratio), math.floor(width / ratio)
    return _at_least(-(-height // unit), unit), _at_least(-(-width // unit), unit)


def resize(image: Any, size: tuple[int, int], *, resample: Resample = "bicubic") -> NDArray[Any]:
    """Resize an image by Pillow, as the processors on NumPy do.

    Parameters
    ----------
    image : (h, w, 3) uint8 array, or a Pillow image
    size : (height, width)
        Pixels.
    resample : "nearest", "bilinear", "bicubic" or "lanczos"
        Pillow's filter.

    Returns
    -------
    (height, width, 3) array, uint8

    Raises
    ------
    ImportError
        Pillow is not installed.

    Examples
    --------
    >>> resize(np.zeros((30, 50, 3), np.uint8), (28, 56)).shape
    (28, 56, 3)
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("resize needs Pillow: pip install tokfrag[images]") from None
    filters = {name: getattr(Image.Resampling, name.upper()) for name in _FILTERS}
    if resample not in filters:
        raise ValueError(f"resample: got {resample!r}, takes {', '.join(map(repr, _FILTERS))}")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(
                f"image: got {image.dtype} of shape {image.shape}, takes (h, w, 3) uint8"
            )
        image = Image.fromarray(image)
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size: got {size}, takes sides of at least 1")
    return np.asarray(image.convert("RGB").resize((width, height), filters[resample]))


_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


def _at_least(count: int, unit: int) -> int:
    return max(1, count) * unit


def _checked(height: int, width: int, layout: str | Layout) -> Layout:
    if height < 1 or width < 1:
        raise ValueError(f"height, width: got {height} x {width}, takes at least 1")
    return layout_of(layout)
