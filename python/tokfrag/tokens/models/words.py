"""Models that know words: WordLevel, WordPiece and byte pairs of any layout, word by word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens import byte_alphabet
from tokfrag.tokens.contracts import Ids, Joiner, Offsets
from tokfrag.tokens.models.byte_pair import ends_of
from tokfrag.tokens.models.piece_decoding import PieceDecoding
from tokfrag.tokens.models.text_steps import well_formed
from tokfrag.tokens.models.word_decoding import ByteLevelDecoding, TokenDecoding, TokenJoiner
from tokfrag.tokens.models.word_rules import Spans, WordRule
from tokfrag.tokens.specification import AddedToken

_MOST_WORDS = 1 << 16


@dataclass(frozen=True)
class WordValues:
    """Plain values of a model to which every text is one word.

    Parameters
    ----------
    tokens
        Each token with its id, in order of ids.
    rule
        How a word becomes tokens.
    decoding
        How tokens become text.
    """

    tokens: tuple[tuple[str, int], ...] = field(repr=False)
    rule: WordRule
    decoding: TokenDecoding = field(default_factory=PieceDecoding)


class WordModel:
    """A model to which every text is one word; it remembers the words it has seen.

    Examples
    --------
    >>> from tokfrag.tokens.models.word_rules import WholeWords
    >>> values = WordValues((("?", 0), ("cat", 1)), WholeWords("?"))
    >>> WordModel.make(values, ()).encode("cat").tolist()
    [1]
    """

    __slots__ = (
        *("_by_bytes", "_encode_word", "_ids", "_own", "_seen", "_spellings"),
        *("added", "description"),
    )

    finds_added = False

    def __init__(self, values: WordValues, added: Iterable[AddedToken]) -> None:
        self.description = values
        self.added = tuple(added)
        self._own = dict(values.tokens)
        self._ids = self._own | {token.content: token.id for token in self.added}
        self._spellings = {id: token for token, id in values.tokens}
        self._spellings |= {token.id: token.spelling for token in self.added}
        self._encode_word = values.rule.encoder(self._own)
        self._seen: dict[str, Spans] = {}
        self._by_bytes = values.decoding == ByteLevelDecoding()

    @classmethod
    def make(cls, values: WordValues, added: tuple[AddedToken, ...]) -> WordModel:
        """Make the engine of a description."""
        return cls(values, added)

    def __reduce__(self) -> tuple[Any, ...]:
        return WordModel, (self.description, self.added)

    @property
    def id_count(self) -> int:
        """One more than the highest id."""
        return max(self._spellings, default=-1) + 1

    @property
    def cuts(self) -> str | None:
        """Nowhere: a text is one word."""
        return None

    def token_id(self, token: str) -> int | None:
        """Return the id of a token."""
        return self._ids.get(token)

    def spelling(self, id: int) -> str | None:
        """Return the token of an id."""
        return self._spellings.get(id)

    def token_bytes(self, id: int) -> bytes | None:
        """Return the bytes that the token of an id stands for, or its spelling in UTF-8."""
        token = self._spellings.get(id)
        if token is None:
            return None
        spelled = byte_alphabet.to_bytes(token) if self._by_bytes else None
        return token.encode() if spelled is None else spelled

    def bytes_id(self, token: bytes) -> int | None:
        """Return the id of one of the model's own tokens by these."""
        if self._by_bytes:
            return self._own.get(byte_alphabet.to_text(token))
        return self._own.get(token.decode("utf-8", "surrogateescape"))

    def _spans(self, text: str | bytes) -> Spans:
        word = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        found = self._seen.get(word)
        if found is None:
            word = well_formed(word)
            if len(self._seen) >= _MOST_WORDS:
                self._seen.clear()
            found = self._seen[word] = self._encode_word(word) if word else []
        return found

    def encode(self, text: str | bytes, allowed: bytes | None = None) -> Ids:
        """Return the ids of one word."""
        return np.array([id for id, _, _ in self._spans(text)], np.uint32)

    def encode_batch(
        self,
        texts: Sequence[str | bytes],
        allowed: bytes | None,
        threads: int,
        inner: bytes | None = None,
    ) -> tuple[Ids, Offsets]:
        """Return the ids of many words, end to end, and where those of each begin."""
        rows = [self._spans(text) for text in texts]
        return np.array([id for row in rows for id, _, _ in row], np.uint32), ends_of(rows)

    def encode_spans(
        self,
        text: str | bytes,
        allowed: bytes | None = None,
        *,
        inner: bool = False,
        limit: int | None = None,
    ) -> tuple[Ids, Offsets]:
        """Return the ids of a word and the bytes that each stands for."""
        table = np.array(self._spans(text), np.int64).reshape(-1, 3)
        return table[:, 0].astype(np.uint32), table[:, 1:]

    def encode_with_dropout(
        self,
        texts: Sequence[str | bytes],
        streams: NDArray[np.uint64],
        probability: float,
        seed: int,
        threads: int,
    ) -> tuple[Ids, Offsets]:
        """Refuse: there is none."""
        raise ValueError(f"dropout: got {probability}, takes a byte-level model")

    def count_batch(self, texts: Sequence[str | bytes], threads: int) -> NDArray[np.int64]:
        """Return how many ids each word has."""
        return np.array([len(self._spans(text)) for text in texts], np.int64)

    def decode(self, ids: NDArray[Any]) -> bytes:
        """Return the text of ids, in UTF-8."""
        joiner = self.joiner()
        for place, id in enumerate(ids.tolist()):
            if id not in self._spellings:
                raise IndexError(f"ids: no token has id {id}, at position {place}")
        return b"".join([*map(joiner.push, ids.tolist()), joiner.finish()])

    def joiner(self) -> Joiner:
        """Return what turns ids into text one by one."""
        return _Joiner(self._spellings, self.description.decoding)


class _Joiner:
    """Ids to UTF-8, one by one."""

    __slots__ = ("_decoding", "_joiner", "_spellings")

    def __init__(self, spellings: dict[int, str], decoding: TokenDecoding) -> None:
        self._spellings = spellings
        self._decoding = decoding
        self._joiner: TokenJoiner = decoding.joiner()

    def push(self, id: int) -> bytes:
        token = self._spellings.get(id)
        if token is None:
            raise IndexError(f"ids: no token has id {id}")
        return _utf8(self._joiner.push(token))

    def finish(self) -> bytes:
        rest = _utf8(self._joiner.finish())
        self._joiner = self._decoding.joiner()
        return rest


def _utf8(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
