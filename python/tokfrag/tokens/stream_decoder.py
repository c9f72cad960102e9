"""Decoding as ids come."""

from __future__ import annotations

import codecs
from collections.abc import Collection

from tokfrag.tokens.contracts import Joiner


class StreamDecoder:
    """Text from ids that come one by one; a character split over tokens waits for its end.

    What it gives out, joined, is what decoding all the ids at once gives.

    Parameters
    ----------
    joiner
        What decodes id by id, to bytes.
    errors
        As in ``bytes.decode``.
    skipped
        Ids to pass over.
    """

    __slots__ = ("_decoder", "_joiner", "_skipped")

    def __init__(self, joiner: Joiner, errors: str, skipped: Collection[int] = ()) -> None:
        self._joiner = joiner
        self._skipped = frozenset(skipped)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def push(self, id: int) -> str:
        """Takes an id, returns the text that it completes (often its own, perhaps none)."""
        if id in self._skipped:
            return ""
        return self._decoder.decode(self._joiner.push(id))

    def finish(self) -> str:
        """What is left, by the ``errors`` policy; the decoder is then as new."""
        rest = self._decoder.decode(self._joiner.finish(), True)
        self._decoder.reset()
        return rest


__all__ = ["StreamDecoder"]
