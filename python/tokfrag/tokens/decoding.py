"""Ids to text: methods of the tokenizer, which assigns them in its class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.tokens.arguments import id_array
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.pipeline import Piped
from tokfrag.tokens.stream_decoder import StreamDecoder


def decode(
    tokenizer: Piped,
    ids: ArrayLike,
    *,
    errors: str = "replace",
    unknown: str = "error",
    skip_special_tokens: bool = False,
) -> str:
    """The text of ids.

    Parameters
    ----------
    ids : array, tensor or sequence of int
    errors : str
        What to do with bytes that are not UTF-8, such as half a character: as in
        ``bytes.decode``.
    unknown : "error" or "skip"
        An id that no token has raises ``IndexError`` with its position, or is passed over.
    skip_special_tokens : bool
        Whether special tokens are left out.

    Returns
    -------
    str

    Raises
    ------
    IndexError
        An id that no token has, with ``unknown="error"``.
    ValueError
        ``unknown`` is neither of the two.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> tok.decode([72, 105])
    'Hi'
    >>> tok.decode([72, 999, 105], unknown="skip")
    'Hi'
    """
    known = _known(tokenizer, ids, unknown, skip_special_tokens)
    return tokenizer.text_pipeline.model.decode(known).decode("utf-8", errors)


def decode_bytes(tokenizer: Piped, ids: ArrayLike) -> bytes:
    """The bytes of ids; a byte-pair tokenizer gives back exactly the bytes it encoded.

    Parameters
    ----------
    ids : array, tensor or sequence of int

    Returns
    -------
    bytes

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> tok.decode_bytes(tok.encode(b"a\\xff"))
    b'a\\xff'
    """
    return tokenizer.text_pipeline.model.decode(id_array(ids))


def decode_batch(
    tokenizer: Piped,
    batch: TokenBatch | Iterable[ArrayLike],
    *,
    errors: str = "replace",
    unknown: str = "error",
    skip_special_tokens: bool = False,
) -> list[str]:
    """The texts of many rows of ids.

    Parameters
    ----------
    batch : TokenBatch, or iterable of arrays of int
    errors, unknown, skip_special_tokens
        As in :func:`decode`.

    Returns
    -------
    list of str
        One a row.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> tok.decode_batch([[72, 105], [33]])
    ['Hi', '!']
    """
    options = errors, unknown, skip_special_tokens
    model = tokenizer.text_pipeline.model
    if not isinstance(model, BytePair) or model.spaced_decoding:
        return _decode_rows(tokenizer, batch, *options)
    rows = _Rows(batch.ids, batch.offsets) if isinstance(batch, TokenBatch) else _flat(batch)
    ids, bounds = rows.ids, rows.offsets
    kept = _kept(tokenizer, ids, unknown, skip_special_tokens)
    if kept is not None:
        bounds = np.concatenate([[0], np.cumsum(kept)])[bounds]
        ids = ids[kept]
    try:
        whole = model.decode(ids)
    except IndexError:
        # Row by row, the error says where in which row.
        return _decode_rows(tokenizer, rows.each(), *options)
    spans = model.spans(ids.astype(np.uint32, copy=False), None, "byte")
    places = np.concatenate([[0], spans[:, 1]])[bounds].tolist()
    return [str(whole[begin:end], "utf-8", errors) for begin, end in pairwise(places)]


def stream_decoder(
    tokenizer: Piped,
    *,
    errors: str = "replace",
    skip_special_tokens: bool = False,
    prompt_ids: ArrayLike = (),
) -> StreamDecoder:
    """Decode id by id, giving text out as soon as its characters are whole.

    Parameters
    ----------
    errors, skip_special_tokens
        As in :func:`decode`.
    prompt_ids : (ids,) integers, optional
        Stand before the ids to come; only what these add to their text is given.

    Returns
    -------
    StreamDecoder
        Takes ids by ``push``, and gives the rest by ``finish``.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> decoder = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").stream_decoder()
    >>> [decoder.push(id) for id in (0xC3, 0xA9, 33)], decoder.finish()
    (['', 'é', '!'], '')
    """
    way = tokenizer.text_pipeline
    skipped = way.special_tokens.values() if skip_special_tokens else ()
    prompt = id_array(prompt_ids).tolist()
    return StreamDecoder(way.model.joiner(), errors, skipped, prompt)


def _known(tokenizer: Piped, ids: ArrayLike, unknown: str, skip_special: bool) -> NDArray[Any]:
    numbers = id_array(ids)
    kept = _kept(tokenizer, numbers, unknown, skip_special)
    return np.ascontiguousarray(numbers if kept is None else numbers[kept])


def _kept(
    tokenizer: Piped, ids: NDArray[Any], unknown: str, skip_special: bool
) -> NDArray[np.bool_] | None:
    """Which ids are not passed over; None: all stay."""
    if unknown not in ("error", "skip"):
        raise ValueError(f"unknown: got {unknown!r}, takes 'error' or 'skip'")
    way = tokenizer.text_pipeline
    kept: NDArray[np.bool_] | None = None
    if skip_special:
        kept = ~np.isin(ids, list(way.special_tokens.values()))
    if unknown == "skip":
        kinds, places = np.unique(ids, return_inverse=True)
        known = np.array([way.model.token_bytes(id) is not None for id in kinds.tolist()], bool)
        kept = known[places] if kept is None else kept & known[places]
    return kept


class _Rows(NamedTuple):
    """Rows of any integers end to end, as a batch has them."""

    ids: NDArray[Any]
    offsets: NDArray[np.int64]

    def each(self) -> Iterator[NDArray[Any]]:
        """Row by row."""
        return (self.ids[begin:end] for begin, end in pairwise(self.offsets.tolist()))


def _flat(batch: Iterable[ArrayLike]) -> _Rows:
    given: list[Any] = list(batch)
    if all(type(row) is list for row in given):
        # All numbers at once; where they are not plain ones, row by row says which.
        numbers = np.asarray(list(chain.from_iterable(given)))
        if numbers.dtype == np.int64 and numbers.ndim == 1:
            return _Rows(numbers, np.cumsum([0, *map(len, given)]))
    rows = [id_array(row) for row in given]
    ids = np.concatenate(rows) if rows else np.empty(0, np.int64)
    return _Rows(ids, np.cumsum([0, *map(len, rows)]))


def _decode_rows(
    tokenizer: Piped,
    rows: Iterable[ArrayLike],
    errors: str,
    unknown: str,
    skip_special: bool,
) -> list[str]:
    return [
        decode(tokenizer, row, errors=errors, unknown=unknown, skip_special_tokens=skip_special)
        for row in rows
    ]
