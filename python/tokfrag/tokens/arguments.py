"""What callers pass, checked and brought into the form that native code takes."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag._core.arrow import ArrowTexts

_IDS = (np.dtype(np.uint32), np.dtype(np.int32), np.dtype(np.int64))


def text_list(texts: Iterable[str | bytes]) -> Sequence[str | bytes]:
    """Return many texts as a list; one text is refused, for its characters are no texts.

    A column of strings that speaks Arrow's C interface (pyarrow's arrays and chunked arrays,
    polars' and pandas' series) stays where it is: native code reads its buffers.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"texts: expected many texts, got one {type(texts).__name__}")
    found = column_or(texts)
    return found if isinstance(found, ArrowTexts) else list(found)


def column_or(texts: Iterable[str | bytes]) -> Iterable[str | bytes]:
    """Return a column that speaks Arrow's C interface as native code reads it; else the texts."""
    if hasattr(texts, "__arrow_c_stream__") or hasattr(texts, "__arrow_c_array__"):
        return ArrowTexts(texts)
    return texts


def into(out: NDArray[np.uint32], ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Copy ids into a caller's array; return the part of it that they fill."""
    if not isinstance(out, np.ndarray) or out.ndim != 1 or out.dtype != np.uint32:
        got = f"{out.shape} {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out: expected a (tokens,) uint32 array, got {got}")
    if len(out) < len(ids):
        raise ValueError(f"out: has room for {len(out)} ids, the text has {len(ids)}")
    out[: len(ids)] = ids
    return out[: len(ids)]


def id_array(ids: ArrayLike) -> NDArray[Any]:
    """Return ids as a contiguous array of an integer dtype that native code reads.

    Ids that no token can have (negative, or past 64 bits) are refused here or by the model: none
    wraps round to the id of a token.
    """
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ValueError(f"ids: expected one dimension, got shape {array.shape}")
    if array.dtype in _IDS:
        return np.ascontiguousarray(array)
    if array.size == 0:
        return array.astype(np.int64)
    whole = array.dtype.kind == "O" and all(isinstance(item, int) for item in array)
    if not whole and array.dtype.kind not in "iu":
        raise TypeError(f"ids: expected integers, got {array.dtype}")
    if whole or array.dtype == np.uint64:
        above = np.flatnonzero(array > np.iinfo(np.int64).max)
        if len(above):
            at = int(above[0])
            raise IndexError(f"ids: no token has id {array[at]}, at position {at}")
        if whole:
            array = array.clip(-1)  # -1 stands for any negative id: models refuse both
    return array.astype(np.int64)


def check_count(name: str, value: SupportsIndex, least: int, most: int = 2**63 - 1) -> int:
    """Return ``value`` as an int in ``[least, most]``, or raise an error that names it."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: got {value!r}, takes an int")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, takes an int") from None
    if not least <= number <= most:
        raise ValueError(f"{name}: got {number}, takes {least} to {most}")
    return number


def check_threads(threads: SupportsIndex | None) -> int:
    """Return the number of threads, 0 standing for the default."""
    return 0 if threads is None else check_count("threads", threads, 1, 2**31 - 1)
