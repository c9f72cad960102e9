"""The part of a text that follows a safe cut: its ids as they are in the whole text.

Most models encode it as any text. SentencePiece's put a blank before a text, or take blanks from
its beginning: not before the rest of one.
"""

from __future__ import annotations

import numpy as np

from tokfrag.tokens.contracts import Ids, Offsets
from tokfrag.tokens.models.metaspace import REST, MetaspaceModel
from tokfrag.tokens.offsets import encode_with_offsets
from tokfrag.tokens.pipeline import Sought, TextPipeline
from tokfrag.tokens.spans import in_unit


def has_rests(way: TextPipeline) -> bool:
    """Whether rests are encoded in another way than texts."""
    return isinstance(way.model, MetaspaceModel) and way.model.cuts == "rest"


def encode_rest(way: TextPipeline, text: str, sought: Sought) -> Ids:
    """The ids of a rest.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> way = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").text_pipeline
    >>> encode_rest(way, " a", way.sought(())).tolist()
    [32, 97]
    """
    model = way.model
    if not isinstance(model, MetaspaceModel) or model.cuts is None:
        return way.encode(text, sought)
    if sought.either is None:
        return model.encode_rest(text)
    parts = [np.empty(0, np.uint32)]
    for segment in way.segments(text, sought):
        if segment.id >= 0:
            parts.append(np.array([segment.id], np.uint32))
        elif segment.begin == 0:
            parts.append(model.encode_rest(segment.text))
        else:
            parts.append(model.encode_batch([segment.text], None, 1, b"\1")[0])
    return np.concatenate(parts)


def encode_rests(way: TextPipeline, texts: list[str], sought: Sought) -> list[Ids]:
    """The ids of many rests."""
    if isinstance(way.model, MetaspaceModel) and sought.either is None:
        ids, offsets = way.model.encode_rests([*texts], 0)
        return [ids[offsets[i] : offsets[i + 1]] for i in range(len(texts))]
    return [encode_rest(way, text, sought) for text in texts]


def rest_offsets(way: TextPipeline, text: str, sought: Sought) -> Offsets:
    """Where in a rest its tokens lie, in characters."""
    model = way.model
    if not isinstance(model, MetaspaceModel):
        return encode_with_offsets(way, text, sought, "char")[1]
    parts = [np.empty((0, 2), np.int64)]
    for segment in way.segments(text, sought):
        if segment.id >= 0:
            parts.append(np.array([[segment.begin, segment.end]], np.int64))
            continue
        inner = 1 if segment.begin else REST
        parts.append(segment.begin + model.encode_spans(segment.text, inner=inner)[1])
    return in_unit(text, np.concatenate(parts), "char")


__all__ = ["encode_rest", "encode_rests", "has_rests", "rest_offsets"]
