"""Which part of a text each token stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.contracts import Model
from tokfrag.tokens.patterns import replace_surrogates
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
    utf8 = np.frombuffer(
        replace_surrogates(text).encode() if isinstance(text, str) else text, np.uint8
    )
    before = np.concatenate([[0], np.cumsum(utf8 & 0xC0 != 0x80)])
    begins = np.minimum(spans[:, 0] + 1, len(utf8))
    return np.stack([before[begins] - 1, before[spans[:, 1]]], axis=1)


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
    added = {token.id for token in pipeline.added_tokens}
    for row, text in enumerate(texts):
        first = int(offsets[row])
        for place in range(first, int(offsets[row + 1])):
            begin, end = spans[place].tolist()
            id = int(ids[place])
            token = (
                text[begin:end] if id in added else (model.token_bytes(id) or b"").decode("latin-1")
            )
            spaces = SPACES if id in added else " "
            leading = len(token) - len(token.lstrip(spaces))
            trailing = len(token) - len(token.rstrip(spaces))
            if leading == 1 and pipeline.trim_prefix_space and (place == first or begin == 0):
                leading = 0
            begin = min(begin + leading, end)
            if trailing <= end:
                end = max(end - trailing, begin)
            spans[place] = begin, end
