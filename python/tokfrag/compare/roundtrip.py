"""Whether pieces stand for all of a text: what a lossy tokenizer throws away, it never pays for.

A score is only worth printing if the text comes back from the very pieces that a network is shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces

# Of longer texts, bytes are only counted before and after: a full comparison is quadratic.
_SMALL = 512


@dataclass(frozen=True)
class RoundTrip:
    """Whether pieces give back their texts, and what is lost where they do not.

    ``lost`` counts each text's lost bytes by value, ``(texts, 256)``; ``first`` is the number of
    the first text that is not given back, where in it, what stood there, and what came instead.
    """

    lossless: bool
    reason: str = ""
    lost: NDArray[np.int64] | None = None
    first: tuple[int, int, bytes, bytes] | None = None

    def lost_bits(self, train: Sequence[bytes]) -> NDArray[np.float64]:
        """What each text's lost bytes cost at the byte frequencies of the training part."""
        if self.lost is None:
            return np.zeros(0)
        seen = np.bincount(np.frombuffer(b"".join(train), np.uint8), minlength=256) + 1
        bits: NDArray[np.float64] = self.lost @ -np.log2(seen / seen.sum())
        return bits


def round_trip(texts: Sequence[bytes], pieces: Pieces, fitted: FittedCut) -> RoundTrip:
    """Decode the very pieces that a network is shown, and compare with the texts.

    Two texts that share all pieces are a loss too, whatever ``decode`` makes of them: no honest
    decoder can tell them apart.

    Parameters
    ----------
    texts
        What was cut.
    pieces
        What the cut made of it.
    fitted
        The cut, with its ``decode``; without one, all bytes count as lost.

    Returns
    -------
    RoundTrip
    """
    lost = np.zeros((len(texts), 256), np.int64)
    first: tuple[int, int, bytes, bytes] | None = None
    reason = ""
    owners: dict[bytes, bytes] = {}
    for i, text in enumerate(texts):
        row = np.ascontiguousarray(pieces.values[i, : pieces.lengths[i]])
        key = row.tobytes()
        other = owners.setdefault(key, text)
        if fitted.decode is None:
            lost[i] = _counts(text)
            reason = reason or "it has no decode, so nothing shows that the text is kept"
            continue
        try:
            found = fitted.decode(row)
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, UnicodeError) as error:
            lost[i] = _counts(text)
            reason = reason or f"decode fails on its own ids: {error}"
            first = first or (i, 0, text[:24], b"")
            continue
        if other != text:
            reason = reason or "different texts have the same ids"
        if found != text or other != text:
            # What came back, or what might as well have: whichever of the two lost more.
            lost[i] = max((_lost_bytes(text, t) for t in (found, other) if t != text), key=np.sum)
            found = found if found != text else other
            place = next(
                (k for k, (a, b) in enumerate(zip(text, found, strict=False)) if a != b),
                min(len(text), len(found)),
            )
            first = first or (i, place, text[place : place + 24], found[place : place + 24])
            reason = reason or "decode(encode(text)) is another text"
    return RoundTrip(not reason, reason, lost if reason else None, first)


def _counts(text: bytes) -> NDArray[np.int64]:
    return np.bincount(np.frombuffer(text, np.uint8), minlength=256)


def _lost_bytes(text: bytes, found: bytes) -> NDArray[np.int64]:
    """How often each byte of ``text`` stands where ``found`` has something else or nothing.

    A change that only adds bytes counts as the byte beside it: nothing may be got wrong for free.
    """
    if max(len(text), len(found)) <= _SMALL:
        gone = bytearray()
        # Bytes as characters: the matcher takes sequences of hashables.
        matcher = difflib.SequenceMatcher(None, text, found, autojunk=False)
        for tag, i, j, _, _ in matcher.get_opcodes():
            if tag != "equal":
                gone += text[i : max(j, i + 1)] or text[-1:]
        return _counts(bytes(gone))
    fewer = np.maximum(_counts(text) - _counts(found), 0)
    return fewer if fewer.any() else _counts(text[-1:] or b"?")
