"""WordPiece behind the methods of :class:`Tokenizer`, with what its file puts around texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.tokens.arguments import into
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.models.wordpiece import WordPieceTokenizer
from tokfrag.tokens.spans import beginning_of
from tokfrag.tokens.specification import Pipeline, Specification, WordPieceModel
from tokfrag.tokens.tokenizer import Tokenizer


class PreparedWordPiece(Tokenizer):
    """A :class:`Tokenizer` whose model is BERT's.

    Special tokens are found in the text all together or not at all. Decoding puts blanks between
    words, as BERT's does: what was between them is lost in encoding.
    """

    __slots__ = ("_engine", "_specification")

    _engine: WordPieceTokenizer
    _specification: Specification

    @classmethod
    def from_specification(cls, specification: Specification) -> Tokenizer:
        """Make the tokenizer that a file describes."""
        model, pipeline = specification.model, specification.pipeline
        if not isinstance(model, WordPieceModel):
            raise TypeError(f"specification: got a {type(model).__name__}, takes a WordPieceModel")
        vocab = dict(model.tokens)
        for token in pipeline.added_tokens:
            if not token.special or token.normalized or not token.plain:
                raise ValueError(
                    f"added_tokens: {token.content!r} is not a plain special token, the only kind"
                    " that WordPiece takes"
                )
            if vocab.setdefault(token.content, token.id) != token.id:
                raise ValueError(f"added_tokens: {token.content!r} has two ids")
        self = cls.__new__(cls)
        self._specification = specification
        self._engine = WordPieceTokenizer(
            vocab,
            lowercase=model.lowercase,
            strip_accents=model.strip_accents,
            clean_text=model.clean_text,
            handle_chinese_chars=model.split_chinese,
            unknown=model.unknown_token,
            prefix=model.prefix,
            longest_word=model.max_word_length,
            special_tokens=list(pipeline.special_tokens),
        )
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._specification,)

    @property
    def specification(self) -> Specification:
        """What it is, as plain values."""
        return self._specification

    @property
    def pipeline(self) -> Pipeline:
        """What is done around the model."""
        return self._specification.pipeline

    @property
    def pattern(self) -> str | None:
        """None: BERT's splitter is no pattern of a family."""
        return None

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return self.pipeline.special_tokens

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self._engine.vocab_size

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, WordPiece)"

    def token_to_id(self, token: bytes | str) -> int | None:
        """The id of a token; None if there is none."""
        return self._engine.token_to_id(token.decode() if isinstance(token, bytes) else token)

    def id_to_token(self, id: int) -> bytes:
        """The token of an id in UTF-8; ``IndexError`` if there is none."""
        token = self._engine.id_to_token(id)
        if not token:
            raise IndexError(f"id: no token has id {id}")
        return token.encode()

    # Encoding.

    def encode(
        self,
        text: str | bytes,
        *,
        allowed_special: str | Collection[str] = (),
        disallowed_special: str | Collection[str] = (),
        out: NDArray[np.uint32] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> NDArray[np.uint32]:
        """The ids of a text; see :meth:`Tokenizer.encode`."""
        _refuse_dropout(dropout)
        if disallowed_special:
            raise ValueError("disallowed_special: WordPiece takes none")
        ids = self._engine.encode(text, specials=self._finds(allowed_special))
        return ids if out is None else into(out, ids)

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        *,
        allowed_special: str | Collection[str] = (),
        threads: int | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> TokenBatch:
        """The ids of many texts; see :meth:`Tokenizer.encode_batch`."""
        _refuse_dropout(dropout)
        return TokenBatch(
            *self._engine.encode_batch(
                texts, specials=self._finds(allowed_special), threads=threads
            )
        )

    def encode_spans(
        self, text: str | bytes, *, allowed_special: str | Collection[str] = ()
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of a text, and ``(n, 2)`` int64: the bytes of the text that each stands for."""
        return self._engine.encode_with_offsets(
            text, unit="byte", specials=self._finds(allowed_special)
        )

    def encode_with_offsets(
        self,
        text: str | bytes,
        *,
        unit: str = "char",
        allowed_special: str | Collection[str] = (),
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of a text, and where in it each begins and ends: ``(n, 2)`` int64."""
        specials = self._finds(allowed_special)
        return self._engine.encode_with_offsets(text, unit=unit, specials=specials)

    def truncate(self, text: str | bytes, max_tokens: int) -> Any:
        """The longest beginning of a text, by whole tokens, that has at most so many."""
        return beginning_of(self, text, max_tokens)

    def count(
        self, texts: str | bytes | Iterable[str | bytes], *, threads: int | None = None
    ) -> Any:
        """How many tokens a text has, or each of many; see :meth:`Tokenizer.count`."""
        if isinstance(texts, (str, bytes)):
            return len(self.encode(texts))
        return self.encode_batch(texts, threads=threads).lengths

    def _finds(self, allowed: str | Collection[str]) -> bool:
        if not allowed:
            return False
        if allowed == "all" or set(allowed) == set(self.special_tokens):
            return True
        raise ValueError(
            f"allowed_special: got {allowed!r}; WordPiece takes 'all' special tokens or none"
        )

    # Decoding.

    def decode(self, ids: ArrayLike, *, errors: str = "replace") -> str:
        """The text of ids: words parted by blanks, as the file's decoder joins them."""
        clean_up = self.pipeline.clean_up_decoding
        listed = np.asarray(ids).tolist()
        return self._engine.decode(listed, skip_special_tokens=False, cleanup=clean_up)

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """What :meth:`decode` gives, in UTF-8."""
        return self.decode(ids).encode()


def _refuse_dropout(dropout: float) -> None:
    if dropout:
        raise ValueError(f"dropout: got {dropout!r}; WordPiece merges nothing, takes 0")


def _restore(specification: Specification) -> Tokenizer:
    return PreparedWordPiece.from_specification(specification)
