"""Pack documents into rows of one length: little padding, and no document sees another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tokfrag._arrays import empty_array, thread_count
from tokfrag._core import stream as _native
from tokfrag.stream.documents import flatten
from tokfrag.stream.packed import Packed
from tokfrag.tokens.arguments import check_count
from tokfrag.tokens.batch import TokenBatch

Method = Literal["best_fit", "first_fit", "in_order"]
Overlong = Literal["error", "split", "crop"]

#: A method's number is its place (csrc/stream/packing.hpp).
METHODS = ("best_fit", "first_fit", "in_order")


def pack(
    documents: TokenBatch | Sequence[Any],
    length: int,
    *,
    method: Method = "best_fit",
    seed: int = 0,
    pad_id: int = 0,
    overlong: Overlong = "error",
    positions: Sequence[Any] | None = None,
    dtype: DTypeLike = np.int64,
    threads: int | None = None,
) -> Packed:
    """Pack documents into rows of ``length`` places.

    Parameters
    ----------
    documents : TokenBatch, or a sequence of (tokens,) arrays, tensors or lists of integers
        Empty ones take no place.
    length : int
        Places in a row.
    method : "best_fit", "first_fit" or "in_order"
        ``best_fit`` takes documents from the longest down and puts each into the row that it
        fills best; ``first_fit`` into the oldest row with room; neither splits a document.
        ``in_order`` lays documents end to end and cuts at every ``length``: only the last row is
        padded.
    seed : int
        Of the order of rows (``in_order`` has its own). The same seed gives the same rows on every
        machine and for any number of threads.
    pad_id : int
        What fills the rest of a row.
    overlong : "error", "split" or "crop"
        What ``best_fit`` and ``first_fit`` do with a document longer than a row. Split pieces are
        packed like documents; what is cropped is counted in :attr:`Packed.cropped`.
    positions : sequence of (tokens,) or (axes, tokens) integer arrays, optional
        Position ids of each document, for models that number otherwise than from 0 (M-RoPE).
    dtype : int64 or int32
        Of ``ids``.
    threads : int, optional
        At most so many; the result does not depend on it.

    Returns
    -------
    Packed

    Raises
    ------
    ValueError
        A document longer than a row that must not be split; a number out of range.
    TypeError
        A document is no row of integers.

    Notes
    -----
    Best-fit decreasing: D. S. Johnson, "Near-optimal bin packing algorithms", 1973; for language
    models H. Ding et al., "Fewer truncations improve language modeling", 2024.

    Examples
    --------
    >>> packed = pack([[5, 6, 7], [8, 9], [10, 11, 12, 13]], 5)
    >>> sorted(packed.ids.tolist())
    [[5, 6, 7, 8, 9], [10, 11, 12, 13, 0]]
    >>> int(packed.max_seqlen), len(packed.cu_seqlens) - 1
    (4, 4)
    """
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.int64), np.dtype(np.int32)):
        raise ValueError(f"dtype: got {kind}, takes int64 or int32")
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, takes {', '.join(map(repr, METHODS))}")
    length = check_count("length", length, 1, _native.LONGEST_ROW)
    seed = check_count("seed", seed, 0, 2**64 - 1)
    limits = np.iinfo(kind)
    pad_id = check_count("pad_id", pad_id, int(limits.min), int(limits.max))
    workers = thread_count(threads)
    ids, offsets = flatten(documents)
    if len(ids) and kind == np.int32 and ids.dtype != np.int32:
        for extreme in (int(ids.min()), int(ids.max())):
            if not limits.min <= extreme <= limits.max:
                raise ValueError(f"dtype: id {extreme} does not fit int32; int64 takes it")
    places = None if positions is None else _positions(positions, offsets)
    pieces = offsets
    cropped = 0
    if method != "in_order":
        ids, pieces, places, cropped = _fitted(ids, offsets, places, length, overlong)
    plan = _native.Packing(pieces, length, METHODS.index(method), seed)
    shape = (plan.rows, length)
    if plan.rows * length > np.iinfo(np.int32).max:
        raise ValueError(
            f"documents: fill {plan.rows} rows of {length}, more places than cu_seqlens (int32) can"
            " number; pack fewer at once"
        )
    out = empty_array(kind, shape)
    plan.fill(np.require(ids, requirements=["C", "A"]), pad_id, out, workers)
    position_ids = empty_array(np.int64, shape)
    document_ids = empty_array(np.int32, shape)
    loss_mask = empty_array(np.bool_, shape)
    plan.places(position_ids, document_ids, loss_mask, workers)
    packed = Packed(out, *_bounds(plan, length), position_ids, document_ids, loss_mask, cropped)
    if places is not None:
        packed = replace(packed, position_ids=_placed(plan, places, shape, workers))
    if len(pieces) != len(offsets):  # pieces of split documents go by their document's number
        number = np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), _rows(offsets, length))
        kept = document_ids >= 0
        document_ids[kept] = number[document_ids[kept]]
    return packed


def plan_rows(
    lengths: Sequence[int] | NDArray[Any],
    length: int,
    *,
    method: Method = "best_fit",
    seed: int = 0,
) -> list[NDArray[np.int64]]:
    """Say which documents share a row, from their lengths alone.

    Parameters
    ----------
    lengths : (documents,) integers
        Of at most ``length`` each; empty documents are in no row.
    length : int
        Places in a row.
    method : "best_fit" or "first_fit"
        As :func:`pack` takes it; ``in_order`` cuts documents and is refused.
    seed : int
        Of the order of rows.

    Returns
    -------
    list of (documents,) arrays, int64
        The numbers of each row's documents, those that :func:`pack` puts there.

    Raises
    ------
    ValueError
        A length out of range, an unknown method.

    Examples
    --------
    >>> sorted(row.tolist() for row in plan_rows([3, 2, 4], 5))
    [[0, 1], [2]]
    """
    if method not in ("best_fit", "first_fit"):
        raise ValueError(f"method: got {method!r}, takes 'best_fit' or 'first_fit'")
    length = check_count("length", length, 1, _native.LONGEST_ROW)
    seed = check_count("seed", seed, 0, 2**64 - 1)
    sizes = np.asarray(lengths)
    if sizes.ndim != 1 or (sizes.size and sizes.dtype.kind not in "iu"):
        raise ValueError(
            f"lengths: got {sizes.dtype} of shape {sizes.shape}, takes one row of ints"
        )
    if sizes.size and not 0 <= int(sizes.min()) <= int(sizes.max()) <= length:
        worst = int(np.argmax((sizes < 0) | (sizes > length)))
        raise ValueError(f"lengths: document {worst} has {int(sizes[worst])}, takes 0 to {length}")
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
    plan = _native.Packing(offsets, length, METHODS.index(method), seed)
    return np.split(plan.document, plan.row_begin[1:-1]) if plan.rows else []


def _bounds(plan: _native.Packing, length: int) -> tuple[NDArray[np.int32], int]:
    """``cu_seqlens`` and ``max_seqlen``: the pieces of each row, then its padding."""
    lengths, row_begin = plan.length, plan.row_begin
    totals = np.concatenate([[0], np.cumsum(lengths)])
    padding = length - np.diff(totals[row_begin])
    # One more segment after the last piece of each row; those without padding are taken out.
    segments = np.insert(lengths, row_begin[1:], padding)
    segments = segments[segments > 0]
    bounds = np.zeros(len(segments) + 1, np.int32)
    np.cumsum(segments, out=bounds[1:])
    return bounds, int(segments.max(initial=0))


def _rows(offsets: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """How many pieces of at most ``length`` each document has; one for an empty one."""
    pieces: NDArray[np.int64] = np.maximum(1, -(-np.diff(offsets) // length))
    return pieces


def _fitted(
    ids: NDArray[Any],
    offsets: NDArray[np.int64],
    places: NDArray[np.int64] | None,
    length: int,
    overlong: str,
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64] | None, int]:
    """Ids, offsets and positions with no document longer than a row, and how many were cropped."""
    if overlong not in ("error", "split", "crop"):
        raise ValueError(f"overlong: got {overlong!r}, takes 'error', 'split' or 'crop'")
    lengths = np.diff(offsets)
    if not (lengths > length).any():
        return ids, offsets, places, 0
    if overlong == "error":
        worst = int(np.argmax(lengths > length))
        raise ValueError(
            f"length: a row of {length} is too short for document {worst}, which has"
            f" {int(lengths[worst])} tokens from position {int(offsets[worst])} on;"
            " overlong='split' or 'crop', or method='in_order', takes it"
        )
    if overlong == "split":
        counts = _rows(offsets, length)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = np.repeat(offsets[:-1], counts) + within * length
        return ids, np.append(starts, offsets[-1]), places, 0
    kept = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths) < length
    shorter = np.concatenate([[0], np.cumsum(np.minimum(lengths, length))])
    moved = None if places is None else np.ascontiguousarray(places[:, kept])
    return ids[kept], shorter, moved, int(len(ids) - shorter[-1])


def _positions(positions: Sequence[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """All position ids end to end: (axes, tokens)."""
    if len(positions) != len(offsets) - 1:
        raise ValueError(
            f"positions: got {len(positions)} arrays, takes one a document: {len(offsets) - 1}"
        )
    parts = [np.atleast_2d(np.asarray(part)) for part in positions]
    axes = parts[0].shape[0] if parts else 1
    for number, (part, count) in enumerate(zip(parts, np.diff(offsets), strict=True)):
        whole = part.dtype.kind in "iu" and part.dtype != np.uint64
        if part.shape != (axes, count) or (count and not whole):
            raise ValueError(
                f"positions: number {number} is {part.dtype} of shape {part.shape}, takes integers"
                f" of at most 63 bits, of shape ({axes}, {count})"
            )
    return np.ascontiguousarray(np.concatenate([np.empty((axes, 0), np.int64), *parts], axis=1))


def _placed(
    plan: _native.Packing, places: NDArray[np.int64], shape: tuple[int, int], threads: int
) -> NDArray[np.int64]:
    made: NDArray[np.int64] = np.empty((len(places), *shape), np.int64)
    for axis, values in enumerate(places):
        plan.fill(values, 0, made[axis], threads)
    return made if len(places) > 1 else made.reshape(shape)
