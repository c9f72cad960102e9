"""Unigram models: T5, XLM-R, mBART, ALBERT, DeBERTa-v3, XLNet and the like."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tokfrag._core import unigram as _native
from tokfrag.tokens.models.metaspace import (
    MetaspaceModel,
    byte_ids,
    inner_spelling,
)
from tokfrag.tokens.models.model_text import ModelText
from tokfrag.tokens.models.piece_decoding import ModelDecoding, PieceDecoding
from tokfrag.tokens.models.text_steps import TextStep
from tokfrag.tokens.specification import AddedToken

UNKNOWN_PENALTY = 10.0


@dataclass(frozen=True)
class UnigramValues:
    """Plain values of a unigram model.

    Parameters
    ----------
    tokens
        Each token as its file spells it, with its id, in order of ids.
    scores
        Of each token. A token that text is never cut into has ``-inf``.
    unknown
        The id for characters that no token holds.
    unknown_score
        What a cut at such a character costs; None: the least score, less 10.
    byte_fallback
        Such characters are the tokens of their bytes (``<0x00>`` to ``<0xFF>``), if all are there.
    single_precision
        Sums are rounded to float32, as in SentencePiece; else to float64, as at Hugging Face.
    text
        How a text is written before it is cut.
    split
        Words, each with its metaspace in front, are cut by themselves.
    decoding
        How ids become text.
    layout
        The parts of the ``tokenizer.json`` it was read from that the other values do not hold.
    """

    tokens: tuple[tuple[str | bytes, int], ...] = field(repr=False)
    scores: tuple[float, ...] = field(repr=False)
    unknown: int
    unknown_score: float | None = None
    byte_fallback: bool = False
    single_precision: bool = False
    text: tuple[TextStep, ...] | ModelText = ()
    split: bool = True
    decoding: PieceDecoding | ModelDecoding = field(default_factory=PieceDecoding)
    layout: str = field(default="", repr=False)


class UnigramModel(MetaspaceModel):
    """A unigram model; see :class:`UnigramValues`.

    Examples
    --------
    >>> values = UnigramValues((("<unk>", 0), ("a", 1), ("b", 2), ("ab", 3)), (0, -1, -1, -1.5), 0)
    >>> UnigramModel.make(values, ()).encode("aba").tolist()
    [3, 1]
    """

    def __init__(self, values: UnigramValues, added: Iterable[AddedToken]) -> None:
        self.description: UnigramValues = values
        last = {token: i for i, (token, _) in enumerate(values.tokens)}
        finite = [score for score in values.scores if math.isfinite(score)]
        if any(math.isnan(score) or score == math.inf for score in values.scores):
            raise ValueError("scores: got one that is no number, takes log-probabilities")
        least = min(finite, default=0.0)
        if least >= 2 * UNKNOWN_PENALTY:
            raise ValueError(f"scores: got all above {least}, takes log-probabilities")
        unknown_score = values.unknown_score
        if unknown_score is None:
            unknown_score = least - UNKNOWN_PENALTY
        spellings: list[bytes] = []
        scores: list[float] = []
        ids: list[int] = []
        for i in last.values():
            token, id = values.tokens[i]
            spelling = inner_spelling(token if isinstance(token, str) else token.decode())
            if spelling and math.isfinite(values.scores[i]):
                spellings.append(spelling)
                scores.append(values.scores[i])
                ids.append(id)
        bytes_ = np.empty(0, np.uint32)
        if values.byte_fallback:
            bytes_ = byte_ids(values.tokens)
        native = _native.unigram_model(
            spellings,
            np.array(scores, np.float64),
            np.array(ids, np.uint32),
            values.unknown,
            unknown_score,
            values.single_precision,
            bytes_,
            "blanks" if values.split else "",
        )
        super().__init__(
            native,
            values.tokens,
            added,
            values.text,
            values.decoding,
            splits=values.split,
            # Without words, sums over all that came before decide between equals.
            parts_at_blanks=values.split,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.description, self.added)

    @classmethod
    def make(cls, values: UnigramValues, added_tokens: Iterable[AddedToken]) -> UnigramModel:
        """Make the engine of a description."""
        return cls(values, added_tokens)
