"""What a tokenizer is, read off it as plain values."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tokfrag.tokens import byte_alphabet as byte_level
from tokfrag.tokens.specification import (
    AddedToken,
    BpeModel,
    Pipeline,
    Specification,
    WordPieceModel,
)

if TYPE_CHECKING:
    from tokfrag.tokens.tokenizer import Tokenizer


def specification_of(tokenizer: Tokenizer) -> Specification:
    """What a tokenizer is, as plain values."""
    given = getattr(tokenizer, "specification", None)
    if isinstance(given, Specification):
        return given
    tokens = tokens_of(tokenizer)
    ids = np.array([id for _, id in tokens], np.int64)
    merges = tokenizer._merges
    if merges is None and (np.diff(ids) <= 0).any():
        raise ValueError("tokenizer: its tokens do not merge in the order of their ids")
    model = BpeModel(
        tuple(sorted(tokens, key=lambda entry: entry[1])),
        None if merges is None else ids[merges],
        tokenizer.pattern,
        tokenizer._whole,
    )
    return Specification(model, pipeline_of(tokenizer))


def vocabulary_of(tokenizer: Tokenizer) -> dict[str, int]:
    """The tokens of the model as ``tokenizer.json`` spells them, and their ids."""
    given = getattr(tokenizer, "specification", None)
    if isinstance(given, Specification) and isinstance(given.model, WordPieceModel):
        return dict(given.model.tokens)
    return {byte_level.to_text(token): id for token, id in tokens_of(tokenizer)}


def tokens_of(tokenizer: Tokenizer) -> list[tuple[bytes, int]]:
    """The tokens that are spelled in bytes, and their ids."""
    blob, offsets, ids = tokenizer._model.vocabulary()
    spelled = (blob[begin:end] for begin, end in pairwise(offsets.tolist()))
    return list(zip(spelled, ids.tolist(), strict=True))


def pipeline_of(tokenizer: Tokenizer) -> Pipeline:
    """What is done around a tokenizer's model."""
    pipeline = getattr(tokenizer, "pipeline", None)
    if isinstance(pipeline, Pipeline):
        return pipeline
    specials = tokenizer.special_tokens.items()
    return Pipeline(tuple(AddedToken(text, id) for text, id in specials))
