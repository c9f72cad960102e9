"""The user's data files: read whole, unpacked, and refused with their name and the reason."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

_CLASSES = 1 << 16
_NO_NPZ = (ValueError, OSError, EOFError, TypeError, BadZipFile, zlib.error)


def read_data(path: Path) -> bytes:
    """The file's bytes, out of gzip where it is packed."""
    if path.is_dir():
        raise IsADirectoryError(f"data: takes a file, got a folder: {path}")
    if not path.is_file():
        raise FileNotFoundError(f"data: no such file: {path}")
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: broken gzip: {error}") from None


def read_npz(path: Path, *wanted: tuple[str, ...]) -> list[NDArray[Any]]:
    """The arrays of numbers under the first name found of each of ``wanted``."""
    if not path.is_file():
        read_data(path)
    try:
        # Opened here: NumPy leaves a broken archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for options in wanted for name in options if name in held}
            names = ", ".join(held)
    except _NO_NPZ as error:
        raise ValueError(f"{path}: is no npz file of arrays: {error}") from None
    found = [next((n for n in options if n in arrays), None) for options in wanted]
    if any(name is None for name in found):
        takes = " and ".join(repr(options[0]) for options in wanted)
        raise ValueError(f"{path}: takes arrays {takes}, got {names}")
    for name in found:
        array = arrays[str(name)]
        if array.dtype.kind not in "buif":
            raise ValueError(f"{path}: {name} holds {array.dtype}; it takes numbers")
    return [arrays[str(name)] for name in found]


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in an npz file, by name."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return {name: held[name].shape for name in held.files}
    except _NO_NPZ as error:
        raise ValueError(f"{path}: is no npz file of arrays: {error}") from None


def check_labels(labels: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Labels as whole numbers from 0 on."""
    if labels.size == 0:
        raise ValueError(f"{what}: got none")
    whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels):
        wrong = labels.ravel()[np.flatnonzero(whole.ravel() != labels.ravel())[0]]
        raise ValueError(f"{what}: got the label {wrong}; labels are whole numbers")
    if whole.min() < 0 or whole.max() >= _CLASSES:
        wrong = whole.min() if whole.min() < 0 else whole.max()
        raise ValueError(f"{what}: got the label {wrong}; labels start at 0, up to {_CLASSES - 1}")
    return whole
