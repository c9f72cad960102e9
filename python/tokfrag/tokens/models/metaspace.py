"""What SentencePiece-like models share: text in steps, metaspaces as blanks, decoding by pieces."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import unigram as _native
from tokfrag._core.tokens import Model as NativeModel
from tokfrag._core.writing import TextWriter
from tokfrag.tokens.contracts import Joiner
from tokfrag.tokens.models.metaspace_cuts import joined_pairs, leaves_characters, rest_of
from tokfrag.tokens.models.model_text import ModelText
from tokfrag.tokens.models.piece_decoding import (
    ModelDecoding,
    ModelJoiner,
    PieceDecoding,
    PieceJoiner,
)
from tokfrag.tokens.models.text_steps import (
    METASPACE,
    TextStep,
    align_steps,
    apply_steps,
    well_formed,
)
from tokfrag.tokens.models.text_writer import text_writer
from tokfrag.tokens.specification import AddedToken, ModelDescription

NO_ID = 0xFFFFFFFF
#: A text that does not begin its document, but goes on from a safe cut.
REST = 2


def _one_mark_a_byte(error: UnicodeError) -> tuple[str, int]:
    """SentencePiece reads every byte that is in no character as one U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd", error.start + 1


codecs.register_error("tokfrag.mark_bytes", _one_mark_a_byte)


class MetaspaceModel:
    """The part of an engine that does not depend on how words become ids."""

    finds_added = False
    #: The plain values it is made from, and the tokens that are added to it.
    description: ModelDescription
    added: tuple[AddedToken, ...]

    def __init__(
        self,
        native: NativeModel,
        tokens: Sequence[tuple[str | bytes, int]],
        added: Iterable[AddedToken],
        text: tuple[TextStep, ...] | ModelText,
        decoding: PieceDecoding | ModelDecoding,
        *,
        splits: bool,
        parts_at_blanks: bool,
        parts_at_pairs: bool = False,
    ) -> None:
        self._native = native
        self.added = tuple(added)
        self._text = text
        self._writer = _writer_of(text)
        self._decoding = decoding
        self._splits = splits
        self._rest = rest_of(text) if parts_at_blanks else None
        self._parts_at_pairs = parts_at_pairs and leaves_characters(text)
        self._own = {_spelled(token): id for token, id in tokens}
        self._spellings = {id: _spelled(token) for token, id in tokens}
        self._ids = dict(self._own)
        for token in self.added:
            self._ids[token.content] = token.id
            self._spellings[token.id] = token.spelling

    @property
    def id_count(self) -> int:
        """One more than the highest id."""
        return max(self._spellings, default=-1) + 1

    @property
    def cuts(self) -> str | None:
        """Where a text may be cut: what follows is then written as :meth:`encode_rest` does."""
        return None if self._rest is None else "rest"

    @cached_property
    def joined_pairs(self) -> frozenset[str] | None:
        """The two characters that a token may join: between others every text may be cut.

        None where that is not so.
        """
        return joined_pairs(self._own) if self._parts_at_pairs and self._rest is not None else None

    def encode_rest(self, text: str | bytes) -> NDArray[np.uint32]:
        """Return the ids of a text from a safe cut on, with nothing put before it."""
        return self._rest_writer.encode(self._native, text, self._within)

    def encode_rests(
        self, texts: list[str | bytes], threads: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of many such texts, end to end, and where those of each begin."""
        return self._rest_writer.encode_batch(self._native, texts, None, self._within, threads)

    @cached_property
    def _rest_writer(self) -> TextWriter:
        writer = None if self._rest is None else _writer_of(self._rest)
        if writer is None:
            raise ValueError("text: got the rest of one, takes a model that names cuts")
        return writer

    def token_id(self, token: str) -> int | None:
        """Return the id of a token as a file spells it."""
        return self._ids.get(token)

    def spelling(self, id: int) -> str | None:
        """Return the token of an id."""
        return self._spellings.get(id)

    def token_bytes(self, id: int) -> bytes | None:
        """Return the token of an id in UTF-8."""
        token = self._spellings.get(id)
        return None if token is None else token.encode()

    def bytes_id(self, token: bytes) -> int | None:
        """Return the id of one of the model's own tokens in UTF-8."""
        try:
            return self._own.get(token.decode())
        except UnicodeDecodeError:
            return None

    def encode(self, text: str | bytes, allowed: bytes | None = None) -> NDArray[np.uint32]:
        """Return the ids of one text that begins its document."""
        if self._writer is not None:
            return self._writer.encode(self._native, text, self._within)
        return self._native.encode(self._write([text], None)[0], self._within)

    def encode_batch(
        self,
        texts: Sequence[str | bytes],
        allowed: bytes | None,
        threads: int,
        inner: bytes | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of many texts, end to end, and where those of each begin."""
        if self._writer is not None:
            return self._writer.encode_batch(self._native, texts, inner, self._within, threads)
        return self._native.encode_batch([*self._write(texts, inner)], self._within, threads)

    def count_batch(self, texts: Sequence[str | bytes], threads: int) -> NDArray[np.int64]:
        """Return how many ids each text has."""
        if self._within is not None:
            return np.diff(self.encode_batch(texts, None, threads)[1])
        if self._writer is not None:
            return self._writer.count_batch(self._native, texts, threads)
        return self._native.count_batch([*self._write(texts, None)], threads)

    def encode_with_dropout(
        self,
        texts: Sequence[str | bytes],
        streams: NDArray[np.uint64],
        probability: float,
        seed: int,
        threads: int,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Refuse: merges that begin at characters have no dropout here."""
        raise ValueError(f"dropout: got {probability}, takes a model that merges bytes")

    def encode_spans(
        self,
        text: str | bytes,
        allowed: bytes | None = None,
        *,
        inner: bool | int = False,
        limit: int | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of a text and the bytes of it that each stands for."""
        steps = self._text if inner != REST or self._rest is None else self._rest
        if isinstance(text, str):
            text = well_formed(text).encode()
        if isinstance(steps, ModelText):
            written, sources = steps.native.normalize_aligned(text)
            ids, spans = _native.encode_spans(self._native, written)
            return ids, sources[spans]
        plain = text.decode(errors="tokfrag.mark_bytes")
        if "\ufffd" in plain and plain.encode() != text:
            raise ValueError(
                "text: got bytes that are not UTF-8, takes UTF-8 where offsets are asked"
            )
        written_text, places = align_steps(steps, plain, not inner)
        ids, spans = _native.encode_spans(self._native, written_text)
        if len(ids) == 0:
            return ids, spans
        # Byte -> character of the written text -> characters of the text -> bytes of it.
        of_byte = _characters(written_text.encode())
        begins, ends = np.array(places, np.int64).T
        starts = _starts(text)
        first = begins[of_byte[spans[:, 0]]]
        last = ends[of_byte[spans[:, 1] - 1]]
        return ids, np.stack([starts[first], starts[last]], axis=1)

    def word_indices(self, text: str | bytes, *, inner: bool = False) -> NDArray[np.int64]:
        """Return the number of the word that each token of a text is in.

        Every metaspace begins a word where words are cut by themselves; else the text is one.
        """
        written = self._write([text], bytes([inner]))[0]
        ids, spans = _native.encode_spans(self._native, written)
        if not self._splits or len(ids) == 0:
            return np.zeros(len(ids), np.int64)
        begins = np.frombuffer(written, np.uint8) == ord(" ")
        begins[0] = True
        words: NDArray[np.int64] = np.cumsum(begins)[spans[:, 0]] - 1
        return words

    def decode(self, ids: NDArray[Any]) -> bytes:
        """Return the text of ids, in UTF-8."""
        joiner = self.joiner()
        parts: list[bytes] = []
        for place, id in enumerate(ids.tolist()):
            if id not in self._spellings:
                raise IndexError(f"ids: no token has id {id}, at position {place}")
            parts.append(joiner.push(id))
        parts.append(joiner.finish())
        return b"".join(parts)

    def joiner(self) -> Joiner:
        """Return what turns ids into text one by one."""
        return IdJoiner(self._spellings, self._decoding.joiner())

    @property
    def _within(self) -> bytes | None:
        """Which of the symbols that the user defined the native model looks for: all, or none."""
        return b"" if self._has_symbols else None

    _has_symbols = False

    def _write(self, texts: Sequence[str | bytes], inner: bytes | None) -> list[bytes]:
        """Write texts as the model cuts them, in UTF-8."""
        if self._writer is not None:
            return self._writer.write_batch([*texts], inner, 1)
        steps = () if isinstance(self._text, ModelText) else self._text
        return [
            apply_steps(
                steps,
                text.decode(errors="tokfrag.mark_bytes")
                if isinstance(text, bytes)
                else well_formed(text),
                inner is None or not inner[i],
            ).encode()
            for i, text in enumerate(texts)
        ]


def _writer_of(text: tuple[TextStep, ...] | ModelText) -> TextWriter | None:
    if isinstance(text, ModelText):
        return TextWriter([text.native], False)
    return text_writer(text)


class IdJoiner:
    """Ids to UTF-8, one by one."""

    def __init__(self, spellings: dict[int, str], joiner: PieceJoiner | ModelJoiner) -> None:
        self._spellings = spellings
        self._joiner = joiner

    def push(self, id: int) -> bytes:
        """Add an id; return the text that no later one can change."""
        token = self._spellings.get(id)
        if token is None:
            raise IndexError(f"ids: no token has id {id}")
        if isinstance(self._joiner, ModelJoiner):
            return self._joiner.push(id, token).encode()
        return self._joiner.push(token).encode()

    def finish(self) -> bytes:
        """Return the rest."""
        return self._joiner.finish().encode()


def inner_spelling(token: str) -> bytes | None:
    """A token as the native models have it; None if no text can hold it: it has a blank itself."""
    return None if " " in token else token.replace(METASPACE, " ").encode()


def byte_ids(tokens: Iterable[tuple[str | bytes, int]]) -> NDArray[np.uint32]:
    """Return the id of the token for each byte (``<0x0A>``), NO_ID where there is none.

    Raises ValueError where the metaspace is no token: a blank has one byte here, and it has three.
    """
    ids = {_spelled(token): id for token, id in tokens}
    if METASPACE not in ids:
        raise ValueError(f"tokens: got none that is {METASPACE!r}, takes one with byte_fallback")
    return np.array([ids.get(f"<0x{byte:02X}>", NO_ID) for byte in range(256)], np.uint32)


def scan_pattern(tokens: Iterable[bytes], *, split: bool, lines: bool, blanks: bool = True) -> str:
    """Where the native model cuts: at each blank, before runs of them (and newlines), or nowhere.

    The second is right where every token has blanks only at its beginning; newlines, where they
    stand with nothing else in a token. ``lines`` and ``blanks`` say that no unknown token may
    reach over newlines, or blanks.

    >>> scan_pattern([b" a", b"  "], split=False, lines=True)
    'blank_lines'
    >>> scan_pattern([b"a b"], split=False, lines=True)
    ''
    """
    if split:
        return "blanks"
    tokens = list(tokens)
    if not blanks or any(b" " in token.lstrip(b" ") for token in tokens):
        return ""
    mixed = any(b"\n" in token and token.strip(b"\n") for token in tokens)
    return "blank_lines" if lines and not mixed else "blank_runs"


def _spelled(token: str | bytes) -> str:
    return token if isinstance(token, str) else token.decode()


def _starts(data: bytes) -> NDArray[np.int64]:
    """Where each character begins in UTF-8, and the end."""
    bytes_ = np.frombuffer(data, np.uint8)
    return np.append(np.flatnonzero((bytes_ & 0xC0) != 0x80), len(data))


def _characters(data: bytes) -> NDArray[np.int64]:
    """Which character each byte belongs to."""
    bytes_ = np.frombuffer(data, np.uint8)
    return np.cumsum((bytes_ & 0xC0) != 0x80) - 1
