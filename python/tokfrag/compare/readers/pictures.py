"""Pictures from files: PNG, JPEG and their like through Pillow, several channels as ``.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.extras import require

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".npy")


def read_pictures(paths: Sequence[Path], side: int | None) -> NDArray[np.float32]:
    """Pictures as ``(samples, channels, rows, columns)``, all of one size.

    Parameters
    ----------
    paths : sequence of Path
        The files; ``.npy`` holds ``(channels, rows, columns)``.
    side : int, optional
        Rows and columns that pictures are resized to; that of the first where it is None, and then
        all must have it.

    Returns
    -------
    (samples, channels, rows, columns) float32 array

    Raises
    ------
    ValueError
        Where a file is no picture or holds NaN, or pictures differ in size and no side is named.
    """
    found = [_read(path, side) for path in paths]
    for path, picture in zip(paths, found, strict=True):
        if not np.isfinite(picture).all():
            raise ValueError(f"{path}: holds values that are not finite")
        if picture.shape[0] != found[0].shape[0]:
            raise ValueError(
                f"{path}: has {picture.shape[0]} channels, {paths[0]} has {found[0].shape[0]}"
            )
        if picture.shape != found[0].shape:
            raise ValueError(
                f"{path}: is of {picture.shape[1:]}, {paths[0]} of {found[0].shape[1:]}; "
                "--set side=32 resizes all to 32 x 32"
            )
    return np.stack(found)


def _read(path: Path, side: int | None) -> NDArray[np.float32]:
    if path.suffix.lower() == ".npy":
        try:
            held = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path}: is no array: {error}") from None
        if held.ndim != 3 or held.dtype.kind not in "buif":
            raise ValueError(
                f"{path}: got {held.dtype} of {held.shape}; it takes numbers (channels, rows, "
                "columns)"
            )
        picture = held.astype(np.float32)
        return picture if side is None else _nearest(picture, side)
    require("PIL", purpose="reading pictures")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                # As 8 bits, Pillow would cut off all that lies above 255.
                wanted = Image.fromarray(np.asarray(image, np.float32))
            else:
                wanted = image.convert("L" if image.mode in ("1", "L") else "RGB")
            if side is not None:
                wanted = wanted.resize((side, side), Image.Resampling.BILINEAR)
            values = np.asarray(wanted, np.float32)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: is no picture: {error}") from None
    return values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))


def _nearest(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    rows, columns = (
        ((np.arange(side) + 0.5) * extent / side).astype(int) for extent in picture.shape[1:]
    )
    return picture[:, rows][:, :, columns]
