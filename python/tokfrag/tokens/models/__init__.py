"""The engines, one a file, and which description each is made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokfrag.tokens.contracts import Model
from tokfrag.tokens.models.by_parts import PartsModel, PartsValues
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeModel, SentencePieceBpeValues
from tokfrag.tokens.models.unigram import UnigramModel, UnigramValues
from tokfrag.tokens.models.wordpiece import WordPiece
from tokfrag.tokens.models.words import WordModel, WordValues
from tokfrag.tokens.specification import (
    AddedToken,
    BpeModel,
    ModelDescription,
    WordPieceModel,
)

# Each makes a model of its description and the tokens that are added to it.
MAKERS: dict[type, Callable[[Any, tuple[AddedToken, ...]], Model]] = {
    BpeModel: BytePair.make,
    WordPieceModel: WordPiece.make,
    UnigramValues: UnigramModel.make,
    SentencePieceBpeValues: SentencePieceBpeModel.make,
    WordValues: WordModel.make,
    PartsValues: lambda values, added: PartsModel(values, make_model(values.core, added)),
}


def make_model(description: ModelDescription, added: tuple[AddedToken, ...]) -> Model:
    """Make the engine of a description.

    Raises
    ------
    TypeError
        The description is of no kind that is known.
    """
    maker = MAKERS.get(type(description))
    if maker is None:
        known = ", ".join(kind.__name__ for kind in MAKERS)
        raise TypeError(f"model: got a {type(description).__name__}, takes {known}")
    return maker(description, added)


__all__ = ["make_model"]
