"""Encoding with seeded BPE-dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.arguments import thread_count
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.checks import check_count

if TYPE_CHECKING:
    from tokfrag.tokens.tokenizer import Tokenizer


def text_streams(count: int) -> NDArray[np.uint64]:
    """The first stream of random numbers of each text: ``index << 40``; pieces add their byte."""
    return np.arange(0, count << 40, 1 << 40, dtype=np.uint64)


def encode_with_dropout(
    tokenizer: Tokenizer,
    texts: Sequence[str | bytes],
    allowed: bytes | None,
    *,
    dropout: float,
    seed: int,
    threads: int | None = None,
    streams: NDArray[np.uint64] | None = None,
) -> TokenBatch:
    """Encode texts, passing merges over at random: see :meth:`Tokenizer.encode`.

    Parameters
    ----------
    tokenizer, texts
        What encodes, and what is encoded.
    allowed
        A byte a special token: whether text may stand for it; None: for none, empty: for all.
    dropout, seed, threads
        As in :meth:`Tokenizer.encode` and :meth:`Tokenizer.encode_batch`.
    streams
        ``(texts,)`` uint64: what the piece at byte ``b`` of a text draws from, less ``b``.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b"abab"]
    >>> tok = Tokenizer._from_tokens(tokens, pattern="gpt2")
    >>> encode_with_dropout(tok, ["abab"], None, dropout=1.0, seed=0)[0].tolist()
    [97, 98, 97, 98]
    """
    try:
        possible = 0 <= dropout <= 1
    except TypeError:
        raise TypeError(f"dropout: got {dropout!r}, takes a number") from None
    if not possible:
        raise ValueError(f"dropout: got {dropout!r}, takes 0 to 1")
    probability = float(dropout)
    seed = check_count("seed", seed, 0, 2**64 - 1)
    if streams is None:
        streams = text_streams(len(texts))
    model, regex = tokenizer._model, tokenizer._regex
    if regex is None:
        return TokenBatch._trusted(
            *model.encode_batch_with_dropout(
                list(texts), allowed, streams, probability, seed, thread_count(threads)
            )
        )
    ids = [np.empty(0, np.uint32)]
    ends = [0]
    for text, stream in zip(texts, streams.tolist(), strict=True):
        count = ends[-1]
        for part, special in tokenizer._split_special(text, allowed):
            if special is not None:
                ids.append(np.array([special], np.uint32))
            else:
                pieces, places = regex.ends(part)
                ids.append(
                    model.encode_pieces_with_dropout(pieces, places, stream, probability, seed)
                )
            count += len(ids[-1])
            stream = (stream + len(part)) % 2**64
        ends.append(count)
    return TokenBatch._trusted(np.concatenate(ids), np.array(ends, np.int64))


__all__ = ["encode_with_dropout", "text_streams"]
