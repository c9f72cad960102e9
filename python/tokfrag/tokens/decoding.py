"""Ids to text: methods of the tokenizer, which assigns them in its class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.tokens.arguments import id_array
from tokfrag.tokens.batch import TokenBatch
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
    return [
        decode(
            tokenizer, row, errors=errors, unknown=unknown, skip_special_tokens=skip_special_tokens
        )
        for row in batch
    ]


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
    if unknown not in ("error", "skip"):
        raise ValueError(f"unknown: got {unknown!r}, takes 'error' or 'skip'")
    numbers = id_array(ids)
    way = tokenizer.text_pipeline
    if skip_special:
        numbers = numbers[~np.isin(numbers, list(way.special_tokens.values()))]
    if unknown == "skip":
        kinds, places = np.unique(numbers, return_inverse=True)
        known = [way.model.token_bytes(id) is not None for id in kinds.tolist()]
        numbers = numbers[np.array(known, bool)[places]]
    return np.ascontiguousarray(numbers)
