"""Which part of a text each token stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokfrag._core.spans import in_characters
from tokfrag.tokens.contracts import Model
from tokfrag.tokens.specification import Pipeline

# What Rust's \s and \w match.
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
SPACES += "\u2028\u2029\u202f\u205f\u3000"


def in_unit(text: str | bytes, spans: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """Spans in bytes as they are, or in the characters that they touch."""
    if unit not in ("char", "byte"):
        raise ValueError(f"unit: got {unit!r}, takes 'char' or 'byte'")
    if unit == "byte" or text.isascii():
        return spans
    return in_characters(text, spans)


def trim_spans(
    model: Model,
    texts: list[str],
    ids: NDArray[np.uint32],
    spans: NDArray[np.int64],
    offsets: NDArray[np.int64],
    pipeline: Pipeline,
) -> None:
    """Take white space at the ends of tokens out of their spans, as Hugging Face does.

    Of the model's tokens that is spaces, those that were put before the text included; of added
    tokens all white space that belongs to them.
    """
    added = [token.id for token in pipeline.added_tokens]
    known, place_of = np.unique(ids, return_inverse=True)
    blanks = np.array([_blanks(model.token_bytes(id) or b"") for id in known.tolist()], np.int64)
    leading, trailing = blanks.reshape(-1, 2)[place_of].T
    for place in np.flatnonzero(np.isin(known, added)[place_of]).tolist():
        row = int(np.searchsorted(offsets, place, side="right")) - 1
        begin, end = spans[place].tolist()
        token = texts[row][begin:end]
        leading[place] = len(token) - len(token.lstrip(SPACES))
        trailing[place] = len(token) - len(token.rstrip(SPACES))
    begins, ends = spans.T
    if pipeline.trim_prefix_space:
        first = begins == 0
        first[offsets[:-1][np.diff(offsets) > 0]] = True
        leading = np.where(first & (leading == 1), 0, leading)
    new = np.minimum(begins + leading, ends)
    spans[:, 1] = np.where(trailing <= ends, np.maximum(ends - trailing, new), ends)
    spans[:, 0] = new


def _blanks(token: bytes) -> tuple[int, int]:
    """How many spaces a token begins with, and ends with."""
    return len(token) - len(token.lstrip(b" ")), len(token) - len(token.rstrip(b" "))
