"""Byte-pair encoding that begins at characters: Llama-2, Mistral 7B, Phi-3, Gemma, NLLB."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tokfrag._core import unigram as _native
from tokfrag.tokens.models.metaspace import (
    NO_ID,
    MetaspaceModel,
    byte_ids,
    inner_spelling,
    scan_pattern,
)
from tokfrag.tokens.models.model_text import ModelText
from tokfrag.tokens.models.piece_decoding import ModelDecoding, PieceDecoding
from tokfrag.tokens.models.text_steps import TextStep
from tokfrag.tokens.specification import AddedToken


@dataclass(frozen=True)
class SentencePieceBpeValues:
    """Plain values of a byte-pair model over characters.

    Parameters
    ----------
    tokens
        Each token as its file spells it, with its id, in order of ids.
    merges
        The pairs that merge, first to last, as Hugging Face's files list them; None: any two
        neighbours merge whose join has a score (SentencePiece).
    scores
        With ``merges=None``, of each token; ``-inf``: nothing merges to it.
    unknown
        The id for characters that no token holds; None: there is none.
    byte_fallback
        Such characters are the tokens of their bytes (``<0x00>`` to ``<0xFF>``).
    fuse_unknown
        A run of unknown characters is one token.
    symbols
        Tokens that text is cut at before all else (SentencePiece's user-defined symbols); with a
        blank of their own, no text holds them.
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
    merges: tuple[tuple[str, str], ...] | None = field(default=None, repr=False)
    scores: tuple[float, ...] = field(default=(), repr=False)
    unknown: int | None = None
    byte_fallback: bool = False
    fuse_unknown: bool = False
    symbols: tuple[tuple[str, int], ...] = ()
    text: tuple[TextStep, ...] | ModelText = ()
    split: bool = False
    decoding: PieceDecoding | ModelDecoding = field(default_factory=PieceDecoding)
    layout: str = field(default="", repr=False)


class SentencePieceBpeModel(MetaspaceModel):
    """A byte-pair model over characters; see :class:`SentencePieceBpeValues`.

    Examples
    --------
    >>> values = SentencePieceBpeValues(
    ...     (("<unk>", 0), ("a", 1), ("b", 2), ("ab", 3)), merges=(("a", "b"),), unknown=0
    ... )
    >>> SentencePieceBpeModel.make(values, ()).encode("abba").tolist()
    [3, 2, 1]
    """

    def __init__(self, values: SentencePieceBpeValues, added: Iterable[AddedToken]) -> None:
        self.description: SentencePieceBpeValues = values
        ids: dict[bytes, int] = {}
        scores: dict[bytes, float] = {}
        for i, (token, id) in enumerate(values.tokens):
            spelling = inner_spelling(token if isinstance(token, str) else token.decode())
            if spelling is not None and (values.merges is not None or values.scores[i] > -np.inf):
                ids[spelling] = id
                scores[spelling] = values.scores[i] if values.merges is None else 0.0
        if values.merges is None:
            joined = _by_score(scores)
            symbols = [*_characters(ids, joined, all_of_them=True), *joined]
            merges = None
        else:
            pairs = _listed(values.merges, ids)
            parts = dict.fromkeys(part for pair in pairs for part in (*pair, b"".join(pair)))
            long = [part for part in parts if len(part.decode()) > 1]
            characters = _characters(ids, long, all_of_them=False)
            symbols = [*characters, *long]
            place = {symbol: i for i, symbol in enumerate(symbols)}
            merges = _merges(characters, pairs, place)
            symbols = sorted(place, key=place.__getitem__)
        special = [
            (spelling, id)
            for token, id in values.symbols
            if (spelling := inner_spelling(token)) is not None
        ]
        bytes_ = byte_ids(values.tokens) if values.byte_fallback else np.full(256, NO_ID, np.uint32)
        fuses = values.fuse_unknown and NO_ID in bytes_
        pattern = scan_pattern(
            symbols,
            split=values.split,
            lines=not fuses,
            blanks=not fuses or b" " in ids,
        )
        native = _native.character_model(
            symbols,
            merges,
            np.array([ids.get(symbol, NO_ID) for symbol in symbols], np.uint32),
            bytes_,
            NO_ID if values.unknown is None else values.unknown,
            values.fuse_unknown,
            pattern,
            special,
        )
        super().__init__(
            native,
            values.tokens,
            added,
            values.text,
            values.decoding,
            splits=values.split,
            parts_at_blanks=bool(pattern) and not any(b" " in text for text, _ in special),
            parts_at_pairs=not fuses and not special,
        )
        self._has_symbols = bool(special)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.description, self.added)

    @classmethod
    def make(
        cls, values: SentencePieceBpeValues, added_tokens: Iterable[AddedToken]
    ) -> SentencePieceBpeModel:
        """Make the engine of a description."""
        return cls(values, added_tokens)


def _by_score(scores: Mapping[bytes, float]) -> list[bytes]:
    """The tokens of several characters, the first to merge first."""
    joined = sorted(
        (token for token in scores if len(token.decode()) > 1), key=lambda token: -scores[token]
    )
    for one, other in itertools.pairwise(joined):
        if scores[one] == scores[other]:
            raise ValueError(
                f"scores: got the same for {one.decode()!r} and {other.decode()!r}, takes different"
                " ones"
            )
    return joined


def _characters(
    ids: Mapping[bytes, int], joined: Iterable[bytes], *, all_of_them: bool
) -> list[bytes]:
    """The characters of the vocabulary (or all that tokens hold), their prefixes before them."""
    found = {token for token in ids if len(token.decode()) == 1}
    if all_of_them:
        found |= {char.encode() for token in joined for char in token.decode()}
    prefixes = {char[:size] for char in found for size in range(2, len(char))}
    return sorted(found | prefixes, key=lambda part: (len(part), part))


def _listed(
    merges: Iterable[tuple[str, str]], ids: Mapping[bytes, int]
) -> list[tuple[bytes, bytes]]:
    """The pairs in their inner spelling; of one listed twice the last counts."""
    last: dict[tuple[bytes, bytes], int] = {}
    for i, (left, right) in enumerate(merges):
        one, other = inner_spelling(left), inner_spelling(right)
        if one is None or other is None:
            continue  # with a blank of its own: no text holds it
        for part in (one, other, one + other):
            if part not in ids:
                raise ValueError(f"merges[{i}]: got {part.decode()!r}, takes tokens")
        last[one, other] = i
    return sorted(last, key=last.__getitem__)


def _merges(
    characters: list[bytes], pairs: list[tuple[bytes, bytes]], place: dict[bytes, int]
) -> np.typing.NDArray[np.uint32]:
    """All merges by place: first those that make characters of their bytes."""

    def at(symbol: bytes) -> int:
        return place.setdefault(symbol, len(place))

    made = [(at(part[:-1]), at(part[-1:])) for part in characters if len(part) > 1]
    made += [(at(left), at(right)) for left, right in pairs]
    return np.array(made, np.uint32).reshape(-1, 2)
