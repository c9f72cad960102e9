"""Which word of its text each token belongs to: what Hugging Face calls ``word_ids``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import tokens as _native
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.models.metaspace import MetaspaceModel
from tokfrag.tokens.models.wordpiece import WordPiece
from tokfrag.tokens.patterns import native_name
from tokfrag.tokens.pipeline import Sought, TextPipeline
from tokfrag.tokens.regex_pattern import RegexPattern


def word_indices(way: TextPipeline, text: str, sought: Sought) -> NDArray[np.int64]:
    """The number of the word that each token of a text is in.

    Words are what the text is cut into before its model sees it, and added tokens.

    Parameters
    ----------
    way : TextPipeline
    text : str
    sought : Sought
        The added tokens to look for.

    Returns
    -------
    array (tokens,), int64

    Raises
    ------
    ValueError
        The model does not say where its words are.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> way = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").text_pipeline
    >>> word_indices(way, "to be", way.sought(())).tolist()
    [0, 0, 1, 1, 1]
    """
    parts = [np.empty(0, np.int64)]
    words = 0
    for segment in way.segments(text, sought):
        if segment.id >= 0:
            parts.append(np.array([words], np.int64))
            words += 1
            continue
        inside = _inside(way, segment.text, segment.begin > 0)
        parts.append(words + inside)
        words += int(inside.max(initial=-1)) + 1
    return np.concatenate(parts)


def _inside(way: TextPipeline, text: bytes, inner: bool) -> NDArray[np.int64]:
    """The same of a text without added tokens; ``inner``: it does not begin its document."""
    model = way.model
    if isinstance(model, MetaspaceModel):
        return model.word_indices(text, inner=inner)
    if isinstance(model, BytePair):
        _, spans = model.encode_spans(text)
        found: NDArray[np.int64] = np.searchsorted(
            piece_ends(model.pattern, text), spans[:, 0], side="right"
        )
        return found
    if isinstance(model, WordPiece):
        prefix = model.description.prefix
        if prefix:
            begins = [
                not (model.spelling(id) or "").startswith(prefix) for id in model.encode(text)
            ]
            return np.cumsum(begins, dtype=np.int64) - 1
    raise ValueError(f"word_ids: a {type(model).__name__} model does not say where its words are")


def piece_ends(pattern: str | None, text: bytes) -> NDArray[np.int64]:
    """Where the pieces of a text end, in bytes."""
    if pattern is None:
        return np.array([len(text)], np.int64)
    name = native_name(pattern)
    return RegexPattern(pattern).ends(text)[1] if name is None else _native.scan(name, text)


__all__ = ["piece_ends", "word_indices"]
