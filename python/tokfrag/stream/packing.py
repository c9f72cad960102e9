"""Pack documents into rows of one length: little padding, and no document sees another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tokfrag._arrays import empty_array, thread_count
from tokfrag._core import stream as _native
from tokfrag.stream.documents import flatten
from tokfrag.tokens.batch import TokenBatch

if TYPE_CHECKING:
    import torch
    from torch.nn.attention.flex_attention import BlockMask

Method = Literal["best_fit", "first_fit", "in_order"]
Overlong = Literal["error", "split", "crop"]

#: A method's number is its place (csrc/stream/packing.hpp).
METHODS = ("best_fit", "first_fit", "in_order")


@dataclass(frozen=True, eq=False)
class Packed:
    """Documents in rows.

    A *segment* is the part of one document that lies in one row; a row's padding is a segment of
    its own, so that segments cover every place.

    Attributes
    ----------
    ids : (rows, length) array, int64 or int32
    cu_seqlens : (segments + 1,) array, int32
        Where segments begin in the flattened rows, and where the last one ends.
    max_seqlen : int
        The longest segment.
    position_ids : (rows, length) array, int64
        Counts from 0 in each segment. With ``positions`` given to :func:`pack`: theirs, of shape
        ``(rows, length)`` or ``(axes, rows, length)``; 0 where a row is padded.
    document_ids : (rows, length) array, int32
        The number of the document; -1 where a row is padded.
    loss_mask : (rows, length) array, bool
        True where there is a token of a document.
    cropped : int
        Tokens left out because they were beyond ``length`` (``overlong="crop"``).

    Examples
    --------
    >>> packed = pack([[5, 6, 7], [8, 9]], 4)
    >>> packed.select(np.array([1])).ids.tolist() == packed.rows(1, 2).ids.tolist()
    True
    >>> packed.to_torch()["ids"].tolist() == packed.ids.tolist()
    True
    """

    ids: NDArray[Any]
    cu_seqlens: NDArray[np.int32]
    max_seqlen: int
    position_ids: NDArray[np.int64]
    document_ids: NDArray[np.int32]
    loss_mask: NDArray[np.bool_]
    cropped: int = 0

    def __repr__(self) -> str:
        rows, length = self.ids.shape
        return f"Packed({rows} rows of {length}, {self.fill:.1%} full)"

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.ids)

    @property
    def fill(self) -> float:
        """The share of places that hold a token; 1 where there is no row."""
        return float(self.loss_mask.mean()) if self.loss_mask.size else 1.0

    def rows(self, begin: int, end: int) -> Packed:
        """Give some rows alone, as views.

        Parameters
        ----------
        begin, end : int
            The first row, and the one after the last; 0 to the number of rows.

        Returns
        -------
        Packed

        Raises
        ------
        ValueError
            They are out of this range, or not in order.
        """
        if not 0 <= begin <= end <= len(self):
            raise ValueError(f"begin, end: got {begin} and {end}, takes 0 to {len(self)} in order")
        length = self.ids.shape[1]
        first, last = np.searchsorted(self.cu_seqlens, (begin * length, end * length))
        bounds = self.cu_seqlens[first : last + 1] - self.cu_seqlens[first]
        return replace(
            self,
            ids=self.ids[begin:end],
            cu_seqlens=bounds,
            max_seqlen=int(np.diff(bounds).max(initial=0)),
            position_ids=self.position_ids[..., begin:end, :],
            document_ids=self.document_ids[begin:end],
            loss_mask=self.loss_mask[begin:end],
        )

    def select(self, rows: NDArray[np.int64]) -> Packed:
        """Give some rows, in the order of their numbers, as copies.

        Parameters
        ----------
        rows : (count,) array, int64
            Numbers of rows, from 0.

        Returns
        -------
        Packed

        Raises
        ------
        IndexError
            There is no row of such a number.
        """
        rows = np.asarray(rows, np.int64)
        if ((rows < 0) | (rows >= len(self))).any():
            raise IndexError(f"rows: got {rows.tolist()}, takes numbers from 0 to {len(self) - 1}")
        length = self.ids.shape[1]
        owner = self.cu_seqlens[:-1] // length
        order = np.concatenate(
            [np.empty(0, np.int64)]
            + [np.arange(*np.searchsorted(owner, (row, row + 1))) for row in rows]
        )
        counts = np.diff(self.cu_seqlens)[order]
        return replace(
            self,
            ids=self.ids[rows],
            cu_seqlens=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            max_seqlen=int(counts.max(initial=0)),
            position_ids=self.position_ids[..., rows, :],
            document_ids=self.document_ids[rows],
            loss_mask=self.loss_mask[rows],
        )

    def labels(self, ignore: int = -100) -> NDArray[Any]:
        """Give the ids as training targets: (rows, length), `ignore` where nothing is to predict.

        That is padding, and the first token of each segment, which no token of its document
        precedes.

        Parameters
        ----------
        ignore : int
            Torch's losses pass over -100.

        Returns
        -------
        (rows, length) array

        Examples
        --------
        >>> pack([[5, 6, 7], [8, 9]], 6).labels().tolist()
        [[-100, 6, 7, -100, 9, -100]]
        """
        first = np.zeros(self.ids.size, bool)
        first[self.cu_seqlens[:-1]] = True
        return np.where(self.loss_mask & ~first.reshape(self.ids.shape), self.ids, ignore)

    def attention_mask(self, *, causal: bool = True) -> NDArray[np.bool_]:
        """Say which place may look at which.

        Padding may look at padding alone, so that no row of a softmax is empty.

        Parameters
        ----------
        causal : bool
            Whether no place looks at a later one.

        Returns
        -------
        (rows, length, length) array, bool
            True where the place of axis 1 may look at the place of axis 2.

        Examples
        --------
        >>> pack([[5, 6], [7]], 3).attention_mask().astype(int).tolist()
        [[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]
        """
        segments = self._segments()
        allowed: NDArray[np.bool_] = segments[:, :, None] == segments[:, None, :]
        if causal:
            allowed &= np.tri(self.ids.shape[1], dtype=bool)
        return allowed

    def varlen_arguments(self) -> dict[str, Any]:
        """Give flash-attention's varlen arguments, as tensors, for queries and keys of all places.

        Returns
        -------
        dict
            Under the names that ``flash_attn_varlen_func`` takes: bounds of segments (int32
            tensors on the CPU) and the longest segment.
        """
        import torch

        bounds = torch.from_numpy(self.cu_seqlens)
        return {
            "cu_seqlens_q": bounds,
            "cu_seqlens_k": bounds,
            "max_seqlen_q": self.max_seqlen,
            "max_seqlen_k": self.max_seqlen,
        }

    def block_mask(self, *, causal: bool = True, device: str = "cpu") -> BlockMask:
        """Make the mask that ``torch.nn.attention.flex_attention`` takes: one a row.

        Parameters
        ----------
        causal : bool
            As in :meth:`attention_mask`.
        device : str
            Where the mask lies.

        Returns
        -------
        BlockMask
        """
        import torch
        from torch.nn.attention.flex_attention import create_block_mask

        segments = torch.from_numpy(self._segments()).to(device)

        def same(row: Any, head: Any, query: Any, key: Any) -> Any:
            allowed = segments[row, query] == segments[row, key]
            return allowed & (query >= key) if causal else allowed

        rows, length = self.ids.shape
        return create_block_mask(same, rows, None, length, length, device=device)

    def to_torch(self, device: str = "cpu") -> dict[str, torch.Tensor | int]:
        """Give all arrays as tensors; on the CPU they share this memory.

        Parameters
        ----------
        device : str
            Where the tensors lie.

        Returns
        -------
        dict
            The attributes by their names, ``max_seqlen`` as an int.
        """
        import torch

        made: dict[str, torch.Tensor | int] = {"max_seqlen": self.max_seqlen}
        names = ("ids", "cu_seqlens", "position_ids", "document_ids", "loss_mask")
        made.update((name, torch.from_numpy(getattr(self, name)).to(device)) for name in names)
        return made

    def _segments(self) -> NDArray[np.int32]:
        """The number of each place's segment: (rows, length)."""
        counts = np.diff(self.cu_seqlens)
        numbers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return numbers.reshape(self.ids.shape)


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
    if not 1 <= length <= _native.LONGEST_ROW:
        raise ValueError(f"length: got {length}, takes 1 to {_native.LONGEST_ROW}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: got {seed}, takes 0 to 2**64 - 1")
    limits = np.iinfo(kind)
    if not limits.min <= pad_id <= limits.max:
        raise ValueError(f"pad_id: got {pad_id}, which {kind} cannot hold")
    workers = thread_count(threads)
    ids, offsets = flatten(documents)
    if len(ids) and kind == np.int32 and ids.dtype != np.int32 and int(ids.max()) > limits.max:
        raise ValueError(f"dtype: id {int(ids.max())} does not fit int32; int64 takes it")
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
    plan.fill(np.ascontiguousarray(ids), pad_id, out, workers)
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
        if part.shape != (axes, count) or (count and part.dtype.kind not in "iu"):
            raise ValueError(
                f"positions: number {number} is {part.dtype} of shape {part.shape}, takes integers"
                f" of shape ({axes}, {count})"
            )
    return np.ascontiguousarray(np.concatenate([np.empty((axes, 0), np.int64), *parts], axis=1))


def _placed(
    plan: _native.Packing, places: NDArray[np.int64], shape: tuple[int, int], threads: int
) -> NDArray[np.int64]:
    made: NDArray[np.int64] = np.empty((len(places), *shape), np.int64)
    for axis, values in enumerate(places):
        plan.fill(values, 0, made[axis], threads)
    return made if len(places) > 1 else made.reshape(shape)
