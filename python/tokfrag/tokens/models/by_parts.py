"""A model behind cuts of any kind: the pieces of a text, each encoded by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._core.wordpiece import WordTable
from tokfrag.tokens import byte_alphabet
from tokfrag.tokens.contracts import Ids, Joiner, Model, Offsets
from tokfrag.tokens.models.byte_pair import BytePair, ends_of
from tokfrag.tokens.models.native_cuts import native_cuts
from tokfrag.tokens.models.text_cuts import CutStep, SpellBytes, cut, cut_aligned
from tokfrag.tokens.models.text_steps import Sources, well_formed
from tokfrag.tokens.specification import ModelDescription


@dataclass(frozen=True)
class PartsValues:
    """Plain values of a model behind cuts.

    Parameters
    ----------
    core
        The model, to which every piece is a text.
    cuts
        How a text is cut into pieces, step by step.
    layout
        The parts of the ``tokenizer.json`` it was read from that the other values do not hold.
    """

    core: ModelDescription
    cuts: tuple[CutStep, ...]
    layout: str = field(default="", repr=False)

    @property
    def tokens(self) -> tuple[tuple[Any, int], ...]:
        """Each token with its id, in order of ids."""
        return self.core.tokens


class PartsModel:
    """A model behind cuts; see :class:`PartsValues`.

    Pieces of byte-pair models are bytes: what is no UTF-8 is kept. Other models read it as U+FFFD.
    Where a scanner makes the cuts, the ids of words are remembered natively.

    Parameters
    ----------
    values
        What it is.
    core
        The engine of ``values.core``.
    """

    __slots__ = ("_bytes", "_spelled", "_steps", "_table", "core", "description")

    finds_added = False

    def __init__(self, values: PartsValues, core: Model) -> None:
        self.description = values
        self.core = core
        self._bytes = core.native if isinstance(core, BytePair) else None
        self._steps = values.cuts
        if self._bytes is not None and values.cuts[-1:] == (SpellBytes(),):
            # Spelled last, bytes would be read back at once.
            self._steps = values.cuts[:-1]
        self._spelled = SpellBytes() in self._steps
        pattern = native_cuts(values.cuts) if self._bytes is None else None
        self._table = None if pattern is None else WordTable(pattern)

    def __reduce__(self) -> tuple[Any, ...]:
        return PartsModel, (self.description, self.core)

    # What it holds: what its core holds.

    @property
    def id_count(self) -> int:
        """One more than the highest id."""
        return self.core.id_count

    @property
    def cuts(self) -> str | None:
        """Nowhere that would be right for all patterns."""
        return None

    def token_id(self, token: str) -> int | None:
        """Return the id of a token as a file spells it."""
        return self.core.token_id(token)

    def spelling(self, id: int) -> str | None:
        """Return the token of an id."""
        return self.core.spelling(id)

    def token_bytes(self, id: int) -> bytes | None:
        """Return the bytes of the token of an id."""
        return self.core.token_bytes(id)

    def bytes_id(self, token: bytes) -> int | None:
        """Return the id of one of the model's own tokens by its bytes."""
        return self.core.bytes_id(token)

    def decode(self, ids: NDArray[Any]) -> bytes:
        """Return the text of ids, in UTF-8."""
        return self.core.decode(ids)

    def joiner(self) -> Joiner:
        """Return what turns ids into text one by one."""
        return self.core.joiner()

    # Encoding.

    def encode(self, text: str | bytes, allowed: bytes | None = None) -> Ids:
        """Return the ids of one text that begins its document."""
        if self._table is not None:
            return self._table.encode(text, self._encode_word)
        row = cut(self._steps, self._read(text))
        if self._bytes is not None:
            return self._encode_row(row)
        pieces: list[str | bytes] = [*row]
        return self.core.encode_batch(pieces, None, 1)[0]

    def encode_batch(
        self,
        texts: Sequence[str | bytes],
        allowed: bytes | None,
        threads: int,
        inner: bytes | None = None,
    ) -> tuple[Ids, Offsets]:
        """Return the ids of many texts, end to end, and where those of each begin."""
        if self._table is not None:
            return self._table.encode_batch(texts, self._encode_word)
        rows = [
            cut(self._steps, self._read(text), inner is None or not inner[i])
            for i, text in enumerate(texts)
        ]
        if self._bytes is not None:
            parts = [self._encode_row(row) for row in rows]
            return np.concatenate([np.empty(0, np.uint32), *parts]), ends_of(parts)
        pieces: list[str | bytes] = [piece for row in rows for piece in row]
        ids, offsets = self.core.encode_batch(pieces, None, threads)
        return ids, offsets[ends_of(rows)]

    def encode_with_dropout(
        self,
        texts: Sequence[str | bytes],
        streams: NDArray[np.uint64],
        probability: float,
        seed: int,
        threads: int,
    ) -> tuple[Ids, Offsets]:
        """Return the ids of many texts, merges passed over at random."""
        if self._bytes is None:
            return self.core.encode_with_dropout(texts, streams, probability, seed, threads)
        parts: list[Ids] = []
        for text, stream in zip(texts, streams.tolist(), strict=True):
            row = self._given(cut(self._steps, self._read(text)))
            parts.append(
                self._bytes.encode_pieces_with_dropout(
                    b"".join(row), ends_of(row)[1:], stream, probability, seed
                )
            )
        return np.concatenate([np.empty(0, np.uint32), *parts]), ends_of(parts)

    def encode_spans(
        self,
        text: str | bytes,
        allowed: bytes | None = None,
        *,
        inner: bool = False,
        limit: int | None = None,
    ) -> tuple[Ids, Offsets]:
        """Return the ids of a text and the bytes of it that each stands for."""
        read = self._read(text)
        sources: Sources = [(i, i + 1) for i in range(len(read))]
        sizes = [len(char.encode("utf-8", "surrogateescape")) for char in read]
        starts = np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))])
        found: list[Ids] = [np.empty(0, np.uint32)]
        spans: list[Offsets] = [np.empty((0, 2), np.int64)]
        for piece, places in cut_aligned(self._steps, read, sources, not inner):
            (given,) = self._given([piece])
            ids, within = self.core.encode_spans(given)
            # Byte -> character of the piece -> characters of the text -> bytes of it.
            char_of = _characters(piece, given)
            begins, ends = np.array(places, np.int64).T
            found.append(ids)
            first = begins[char_of[within[:, 0]]]
            last = ends[char_of[np.maximum(within[:, 1] - 1, within[:, 0])]]
            spans.append(np.stack([starts[first], starts[last]], axis=1))
        return np.concatenate(found), np.concatenate(spans)

    def count_batch(self, texts: Sequence[str | bytes], threads: int) -> NDArray[np.int64]:
        """Return how many ids each text has."""
        return np.diff(self.encode_batch(texts, None, threads)[1])

    def _encode_word(self, word: bytes) -> Ids:
        """The ids of one piece, as it stands in the text."""
        text = word.decode("utf-8", "replace")
        return self.core.encode(byte_alphabet.to_text(text.encode()) if self._spelled else text)

    def _read(self, text: str | bytes) -> str:
        if isinstance(text, str):
            return well_formed(text)
        return text.decode("utf-8", "replace" if self._bytes is None else "surrogateescape")

    def _encode_row(self, pieces: list[str]) -> Ids:
        """The ids of the pieces of a text, of a byte-pair model."""
        assert self._bytes is not None
        given = self._given(pieces)
        return self._bytes.encode_pieces(b"".join(given), ends_of(given)[1:])

    def _given(self, pieces: list[str]) -> list[bytes]:
        """Pieces as the core takes them."""
        if self._bytes is not None and self._spelled:
            return [byte_alphabet.to_bytes(piece) or b"" for piece in pieces]
        return [piece.encode("utf-8", "surrogateescape") for piece in pieces]


def _characters(piece: str, given: bytes) -> NDArray[np.int64]:
    """Which character of a piece each byte of it belongs to."""
    if len(piece) == len(given):
        return np.arange(len(piece))
    sizes = [len(char.encode("utf-8", "surrogateescape")) for char in piece]
    return np.repeat(np.arange(len(piece)), sizes)


__all__ = ["PartsModel", "PartsValues"]
