"""Is this tokenizer honest on this text? What comes back, and what it costs, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokfrag.compare.contracts import FittedCut, PieceSpec, pad_ids
from tokfrag.compare.cuts.tokenizers import Adapter
from tokfrag.compare.roundtrip import round_trip
from tokfrag.compare.text import chunks

_CHUNK = 1024


@dataclass(frozen=True)
class Verification:
    """What a tokenizer does to a text.

    ``place`` is the first byte that does not come back, with its ``line`` and ``column`` (in
    bytes, both from 1), what stood there, and what came instead. ``specials`` are the ids that
    ``encode`` adds of itself to an empty text where nobody turns them off.
    """

    lossless: bool
    reason: str
    size: int
    tokens: int
    vocabulary: int
    used: int
    unknown: float | None
    lost_bytes: int
    specials: tuple[int, ...]
    place: int | None = None
    line: int = 0
    column: int = 0
    was: bytes = b""
    came: bytes = b""

    @property
    def bytes_per_token(self) -> float:
        """How much text a token stands for."""
        return self.size / max(1, self.tokens)

    def text(self) -> str:
        """A line a fact."""
        lines = ["lossless" if self.lossless else f"LOSSY: {self.reason}"]
        if self.place is not None:
            lines += [
                f"first lost at byte {self.place} (line {self.line}, column {self.column}): "
                f"{self.was!r} came back as {self.came!r}"
            ]
        if not self.lossless:
            share = self.lost_bytes / max(1, self.size)
            lines.append(f"lost: {self.lost_bytes} of {self.size} bytes ({share * 100:.2f} %)")
        unknown = (
            "it tells no id for them" if self.unknown is None else f"{self.unknown * 100:.2f} %"
        )
        specials = ", ".join(map(str, self.specials)) or "none"
        lines += [
            f"{self.bytes_per_token:.3f} bytes per token ({self.tokens} tokens, {self.size} bytes)",
            f"unknown tokens: {unknown}",
            f"vocabulary: {self.vocabulary}, of which the text uses {self.used}",
            f"special ids that it adds unless told not to: {specials}",
        ]
        return "\n".join(lines)


def verify(tokenizer: Any, text: bytes) -> Verification:
    """Encode and decode a text, special tokens off, and tell what does not come back.

    Parameters
    ----------
    tokenizer
        Any object with ``encode(text) -> ids`` and ``decode(ids)``, of whatever library.
    text
        UTF-8; looked at 1024 bytes at a time.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        Where the text is empty, or an id lies outside the vocabulary that the tokenizer tells.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> found = verify(Tokenizer.train(iter(["to be or not to be"]), 260), b"to be")
    >>> found.lossless, found.size
    (True, 5)
    """
    if not text:
        raise ValueError("data: got an empty text")
    spoken = Adapter.of(tokenizer)
    parts = chunks(text, _CHUNK)
    rows = spoken.encode(parts)
    ids = np.concatenate(rows)
    if len(ids) and not 0 <= ids.min() <= ids.max() < spoken.vocabulary:
        wrong = int(ids.max() if ids.max() >= spoken.vocabulary else ids.min())
        raise ValueError(
            f"ids: got {wrong}; the tokenizer tells a vocabulary of {spoken.vocabulary}, so ids "
            f"lie from 0 to {spoken.vocabulary - 1}"
        )
    room = max(1, max(map(len, rows)))
    pieces = pad_ids(rows, spoken.vocabulary, room)
    spec = PieceSpec(room, (), spoken.vocabulary, padded=True)
    trip = round_trip(parts, pieces, FittedCut(spec, lambda _: pieces, decode=spoken.decode))
    unknown = spoken.unknown_id
    place, line, column, was, came = None, 0, 0, b"", b""
    if trip.first is not None:
        number, inside, was, came = trip.first
        place = sum(map(len, parts[:number])) + inside
        line = text.count(b"\n", 0, place) + 1
        column = place - (text.rfind(b"\n", 0, place) + 1) + 1
    return Verification(
        lossless=trip.lossless,
        reason=trip.reason,
        size=len(text),
        tokens=len(ids),
        vocabulary=spoken.vocabulary,
        used=len(np.unique(ids)),
        unknown=None if unknown is None else float(np.mean(ids == unknown)),
        lost_bytes=0 if trip.lost is None else int(trip.lost.sum()),
        specials=_specials(tokenizer),
        place=place,
        line=line,
        column=column,
        was=was,
        came=came,
    )


def _specials(tokenizer: Any) -> tuple[int, ...]:
    found = tokenizer.encode("")
    ids: Sequence[Any] = getattr(found, "ids", found)
    return tuple(int(i) for i in ids)
