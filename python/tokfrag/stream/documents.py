"""Documents of ids as one flat array and where each begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._arrays import is_tensor
from tokfrag.tokens.batch import TokenBatch

_ID_TYPES = tuple(np.dtype(name) for name in ("uint16", "uint32", "int32", "int64"))


def flatten(documents: TokenBatch | Sequence[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Lay documents end to end.

    Parameters
    ----------
    documents : TokenBatch, or a sequence of (tokens,) arrays, tensors or lists of integers

    Returns
    -------
    ids : (tokens,) array
        uint16, uint32, int32 or int64.
    offsets : (documents + 1,) array, int64
        Document ``i`` is ``ids[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    TypeError
        A document is no sequence of integers; says which.
    """
    if isinstance(documents, TokenBatch):
        return documents.ids, documents.offsets.copy()
    parts = [_array(document, number) for number, document in enumerate(documents)]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=offsets[1:])
    if not parts:
        return np.empty(0, np.int64), offsets
    ids = np.concatenate(parts)
    if ids.dtype not in _ID_TYPES:  # narrow types, or several of them
        ids = ids.astype(np.int64)
    return ids, offsets


def _array(document: Any, number: int) -> NDArray[Any]:
    if is_tensor(document):
        document = document.detach().cpu().numpy()
    ids = np.asarray(document)
    if ids.size == 0:
        return np.empty(0, np.uint16)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.dtype == np.uint64:
        raise TypeError(
            f"documents: number {number} is {ids.dtype} of shape {ids.shape}, takes one row of"
            " integers of at most 63 bits"
        )
    return ids
