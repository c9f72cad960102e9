"""Byte-level byte-pair encoding: the ids of tiktoken and of Hugging Face's ByteLevel BPE."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from functools import partial
from itertools import accumulate, pairwise
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import default_threads, tokens as _native
from tokfrag._core.spans import TokenExtents
from tokfrag.tokens import byte_alphabet
from tokfrag.tokens.arguments import check_threads
from tokfrag.tokens.contracts import Ids, Joiner, Offsets
from tokfrag.tokens.models.spelled import Spelled
from tokfrag.tokens.patterns import native_name
from tokfrag.tokens.regex_pattern import RegexPattern
from tokfrag.tokens.sharing import even_parts, in_threads
from tokfrag.tokens.specification import AddedToken, BpeModel

_ROWS_A_THREAD = 1 << 16  # characters of rows that are worth a thread
_MOST_IDS = 1 << 24


class BytePair:
    """A byte-pair model; its text is cut into pieces by a native scanner or by an expression.

    Made by :meth:`make`, :meth:`from_arrays` and :meth:`from_archive`.
    """

    __slots__ = (
        "_added",
        "_extents",
        "_id_of_added",
        "_regex",
        "_text_of_added",
        "encode",
        "merges",
        "native",
        "pattern",
        "spaced_decoding",
        "whole_pieces",
    )

    #: The ids of one text: see :meth:`tokfrag.tokens.contracts.Model.encode`.
    encode: Callable[..., Ids]
    native: _native.Model
    pattern: str | None
    merges: NDArray[np.uint32] | None
    whole_pieces: bool
    spaced_decoding: bool

    def __init__(
        self,
        make_native: Callable[[str, list[tuple[bytes, int]]], _native.Model],
        *,
        pattern: str | None,
        added: Sequence[AddedToken],
        merges: NDArray[np.uint32] | None,
        whole_pieces: bool,
        spaced_decoding: bool,
    ) -> None:
        _check_added(added)
        if pattern is not None and not isinstance(pattern, str):
            raise TypeError(f"pattern: expected str or None, got {type(pattern).__name__}")
        name = "" if pattern is None else native_name(pattern)
        self._regex = RegexPattern(pattern) if pattern is not None and name is None else None
        self._added = tuple(added)
        self._extents: TokenExtents | None = None
        self._id_of_added = {token.content: int(token.id) for token in added}
        self._text_of_added = {int(token.id): token.spelling for token in added}
        self.pattern = pattern
        self.merges = merges
        self.whole_pieces = whole_pieces
        self.spaced_decoding = spaced_decoding
        self.native = make_native(
            name or "", [(token.spelling.encode(), token.id) for token in added]
        )
        # A native function where it does all: a call of less than half a microsecond.
        self.encode = (
            self.native.encode_function
            if self._regex is None
            else partial(_encode_by_regex, self.native, self._regex, default_threads())
        )

    @classmethod
    def from_arrays(
        cls,
        blob: bytes,
        offsets: NDArray[np.int64],
        ids: NDArray[np.uint32],
        *,
        pattern: str | None,
        added: Sequence[AddedToken] = (),
        merges: NDArray[np.uint32] | None = None,
        whole_pieces: bool = True,
        spaced_decoding: bool = False,
    ) -> BytePair:
        """A model from arrays: token ``i`` is ``blob[offsets[i]:offsets[i + 1]]``, ``ids[i]``.

        Without ``merges``, any two neighbours whose joined bytes are token ``i`` merge at rank
        ``i`` (tiktoken's rule); with them, ``merges[rank]`` is a pair of token indices, and only
        those merge. ``whole_pieces``: a piece that is a token becomes it without merging.
        """
        starts = np.ascontiguousarray(offsets, dtype=np.int64)
        numbers = np.ascontiguousarray(ids, dtype=np.uint32)
        return cls(
            lambda name, special: _native.Model(
                blob, starts, numbers, merges, whole_pieces, name, special
            ),
            pattern=pattern,
            added=added,
            merges=merges,
            whole_pieces=whole_pieces,
            spaced_decoding=spaced_decoding,
        )

    @classmethod
    def from_archive(
        cls,
        archive: bytes | memoryview,
        *,
        pattern: str | None,
        added: Sequence[AddedToken] = (),
        merges: NDArray[np.uint32] | None = None,
        whole_pieces: bool = True,
        spaced_decoding: bool = False,
    ) -> BytePair:
        """The same from the tables that ``native.archive()`` has given."""
        return cls(
            lambda name, special: _native.Model.from_archive(archive, whole_pieces, name, special),
            pattern=pattern,
            added=added,
            merges=merges,
            whole_pieces=whole_pieces,
            spaced_decoding=spaced_decoding,
        )

    @classmethod
    def make(cls, description: BpeModel, added: tuple[AddedToken, ...]) -> BytePair:
        """The model of a description, whose tokens stand in the order of their ids."""
        tokens = [token for token, _ in description.tokens]
        ids = np.array([id for _, id in description.tokens], np.int64)
        merges = None
        if description.merges is not None:
            dense = len(ids) > 0 and ids[-1] == len(ids) - 1
            places = description.merges if dense else np.searchsorted(ids, description.merges)
            merges = places.astype(np.uint32)
        return cls.from_arrays(
            b"".join(tokens),
            ends_of(tokens),
            ids.astype(np.uint32),
            pattern=description.pattern,
            added=added,
            merges=merges,
            whole_pieces=description.whole_pieces,
            spaced_decoding=description.spaced_decoding,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {
            "pattern": self.pattern,
            "added": self._added,
            "merges": self.merges,
            "whole_pieces": self.whole_pieces,
            "spaced_decoding": self.spaced_decoding,
        }
        return _rebuild, (self.native.vocabulary(), settings)

    # Vocabulary.

    @property
    def tokens(self) -> list[tuple[bytes, int]]:
        """The tokens that are spelled in bytes, and their ids, in the order of their ranks."""
        blob, offsets, ids = self.native.vocabulary()
        spelled = (blob[begin:end] for begin, end in pairwise(offsets.tolist()))
        return list(zip(spelled, ids.tolist(), strict=True))

    @property
    def description(self) -> BpeModel:
        """The model as plain values, from which it can be made again."""
        tokens = self.tokens
        ids = np.array([id for _, id in tokens], np.int64)
        if self.merges is None and (np.diff(ids) <= 0).any():
            raise ValueError("tokenizer: its tokens do not merge in the order of their ids")
        return BpeModel(
            tuple(sorted(tokens, key=lambda entry: entry[1])),
            None if self.merges is None else ids[self.merges],
            self.pattern,
            self.whole_pieces,
            self.spaced_decoding,
        )

    @property
    def id_count(self) -> int:
        """One more than the highest id."""
        return self.native.id_count

    @property
    def finds_added(self) -> bool:
        """Whether it looks for added tokens itself: where the scanner is native."""
        return self._regex is None

    @property
    def cuts(self) -> str | None:
        """Where a text may be cut: wherever every native pattern begins a piece."""
        return "anywhere" if self.pattern is not None and self._regex is None else None

    def token_id(self, token: str) -> int | None:
        """The id of a token by its spelling in ``tokenizer.json``."""
        if token in self._id_of_added:
            return self._id_of_added[token]
        spelled = byte_alphabet.to_bytes(token)
        return self.native.token_id(token.encode() if spelled is None else spelled)

    def spelling(self, id: int) -> str | None:
        """The spelling in ``tokenizer.json`` of the token of an id."""
        if id in self._text_of_added:
            return self._text_of_added[id]
        token = self.native.token_bytes(id)
        return None if token is None else byte_alphabet.to_text(token)

    def bytes_id(self, token: bytes) -> int | None:
        """The id of a token by its bytes."""
        return self.native.token_id(token)

    def token_bytes(self, id: int) -> bytes | None:
        """The bytes of the token of an id."""
        return self.native.token_bytes(id)

    # Encoding and decoding.

    def encode_batch(
        self,
        texts: Sequence[str | bytes],
        allowed: bytes | None,
        threads: int,
        inner: bytes | None = None,
    ) -> tuple[Ids, Offsets]:
        """The ids of many texts; where a text begins its document is nothing to bytes."""
        if self._regex is None:
            return self.native.encode_batch(texts, allowed, threads)
        return self._encode_rows(self._regex, texts, threads or default_threads())

    def _encode_rows(
        self, pattern: RegexPattern, texts: Sequence[str | bytes], threads: int
    ) -> tuple[Ids, Offsets]:
        """The ids of many texts that an expression cuts; long ones are searched on threads."""
        sizes = [len(text) for text in texts]
        shares = min(threads, sum(sizes) // _ROWS_A_THREAD)
        if shares < 2 or max(sizes) * 2 > sum(sizes):
            return _joined(
                [_encode_by_regex(self.native, pattern, threads, text) for text in texts]
            )

        def encode(part: slice, stop: Event) -> list[Ids]:
            return [
                self.native.encode_pieces(*pattern.ends(text, 1, stop))
                for text in texts[part]
                if not stop.is_set()
            ]

        parts = in_threads([partial(encode, part) for part in even_parts(sizes, shares)])
        return _joined([ids for part in parts for ids in part])

    def encode_with_dropout(
        self,
        texts: Sequence[str | bytes],
        streams: NDArray[np.uint64],
        probability: float,
        seed: int,
        threads: int,
    ) -> tuple[Ids, Offsets]:
        """The ids of many texts, merges passed over at random (arXiv 1910.13267)."""
        if self._regex is None:
            return self.native.encode_batch_with_dropout(
                texts, None, streams, probability, seed, threads
            )
        parts = [
            self.native.encode_pieces_with_dropout(
                *self._regex.ends(text), stream, probability, seed
            )
            for text, stream in zip(texts, streams.tolist(), strict=True)
        ]
        return _joined(parts)

    def encode_spans(
        self,
        text: str | bytes,
        allowed: bytes | None = None,
        *,
        inner: bool = False,
        limit: int | None = None,
    ) -> tuple[Ids, Offsets]:
        """The ids of a text, and the bytes of it that each stands for: end to end."""
        if self._regex is not None:
            ids = self.encode(text)
        elif limit is None:
            ids = self.native.encode(text, allowed)
        else:
            ids = self.native.encode(text, allowed, limit)
        return ids, self.spans(ids, None, "byte")

    def spans(
        self, ids: Ids, rows: Offsets | None, unit: str, threads: int | None = None
    ) -> Offsets:
        """Where the ids of a text, or of the texts between ``rows``, begin and end in it."""
        # Made at its first use, by two threads at once perhaps: both make the same.
        extents = self._extents
        if extents is None:
            extents = self._extents = TokenExtents(self.native)
        return extents.spans(ids, rows, unit == "char", check_threads(threads))

    def count_batch(self, texts: Sequence[str | bytes], threads: int) -> NDArray[np.int64]:
        """How many ids each text has."""
        if self._regex is None:
            return self.native.count_batch(texts, threads)
        return np.array([len(self.encode(text)) for text in texts], np.int64)

    def decode(self, ids: NDArray[Any]) -> bytes:
        """The bytes of ids."""
        if self.spaced_decoding:
            joiner = self.joiner()
            return b"".join([joiner.push(id) for id in ids.tolist()])
        return self.native.decode(ids)

    def joiner(self) -> Joiner:
        """Decode id by id."""
        return Spelled(self.spelling) if self.spaced_decoding else _Bytes(self.native)


class _Bytes:
    """Each token is its bytes."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.Model) -> None:
        self._native = native

    def push(self, id: int) -> bytes:
        token = self._native.token_bytes(id)
        if token is None:
            raise IndexError(f"id: no token has id {id}")
        return token

    def finish(self) -> bytes:
        return b""


def ends_of(parts: Sequence[Sized]) -> NDArray[np.int64]:
    """Where each of several things begins, end to end, and where the last ends."""
    # A short list is summed sooner in Python than NumPy has begun to.
    return np.fromiter(accumulate(map(len, parts), initial=0), np.int64, len(parts) + 1)


def _joined(parts: list[Ids]) -> tuple[Ids, Offsets]:
    return np.concatenate([np.empty(0, np.uint32), *parts]), ends_of(parts)


def _encode_by_regex(
    native: _native.Model, regex: RegexPattern, threads: int, text: str | bytes
) -> Ids:
    return native.encode_pieces(*regex.ends(text, threads))


def _check_added(added: Sequence[AddedToken]) -> None:
    for token in added:
        text, number = token.content, token.id
        if not isinstance(text, str) or not isinstance(number, (int, np.integer)):
            raise TypeError(f"special_tokens: expected str: int, got {text!r}: {number!r}")
        if not 0 <= number < _MOST_IDS:
            raise ValueError(
                f"special_tokens: {text!r} has id {number}, outside 0 to {_MOST_IDS - 1}"
            )
    if len({token.id for token in added}) != len(added):
        raise ValueError("special_tokens: two have the same id")


def _rebuild(
    arrays: tuple[bytes, NDArray[np.int64], NDArray[np.uint32]], settings: dict[str, Any]
) -> BytePair:
    return BytePair.from_arrays(*arrays, **settings)


__all__ = ["BytePair", "ends_of"]
