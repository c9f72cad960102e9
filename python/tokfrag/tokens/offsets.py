"""Ids, and where each of them lies in its text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.contracts import Ids, Offsets
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.pipeline import Sought, TextPipeline, check_texts
from tokfrag.tokens.spans import in_unit


def encode_with_offsets(
    way: TextPipeline, text: str | bytes, sought: Sought, unit: str
) -> tuple[Ids, Offsets]:
    """The ids of a text, and where in it each begins and ends.

    Where the text goes to a byte-pair model as it is, that follows from the ids alone; else the
    model is asked for the bytes of each.
    """
    check_texts([text])
    if isinstance(way.model, BytePair) and way.leaves(text, sought):
        ids = way.encode(text, sought)
        spans = way.model.spans(ids, None, unit)
        return ids, _without_space(spans, int(way.spaced(text) is not text))
    ids, spans = way.encode_spans(text, sought)
    return ids, in_unit(text, spans, unit)


def encode_batch_with_offsets(
    way: TextPipeline,
    texts: Sequence[str | bytes],
    sought: Sought,
    unit: str,
    threads: int | None = None,
) -> tuple[TokenBatch, Offsets]:
    """The same for many texts: their ids end to end, and ``(ids, 2)``, in each text from 0 on."""
    if isinstance(way.model, BytePair) and way.leaves_all(texts, sought):
        batch = way.encode_batch(texts, sought, threads)
        spans = way.model.spans(batch.ids, batch.offsets, unit, threads)
        if way.values.prefix_space:
            spaced = np.array([way.spaced(text) is not text for text in texts], np.int64)
            spans = _without_space(spans, np.repeat(spaced, batch.lengths)[:, np.newaxis])
        return batch, spans
    check_texts(texts)
    parts = [encode_with_offsets(way, text, sought, unit) for text in texts]
    bounds = np.cumsum([0, *(len(ids) for ids, _ in parts)])
    batch = TokenBatch(np.concatenate([np.empty(0, np.uint32), *(ids for ids, _ in parts)]), bounds)
    return batch, np.concatenate([np.empty((0, 2), np.int64), *(spans for _, spans in parts)])


def _without_space(spans: Offsets, spaced: int | NDArray[np.int64]) -> Offsets:
    """Spans in the text before a space was put there: it stands for what it was put before."""
    if isinstance(spaced, int) and not spaced:
        return spans
    moved: Offsets = np.maximum(spans - spaced, spaced * np.array([0, 1]))
    return moved


__all__ = ["encode_batch_with_offsets", "encode_with_offsets"]
