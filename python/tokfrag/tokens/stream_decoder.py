"""Decoding as ids come."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokfrag.tokens.tokenizer import Tokenizer


class StreamDecoder:
    """Text from ids that come one by one; a character split over tokens waits for its end."""

    __slots__ = ("_decoder", "_tokenizer")

    def __init__(self, tokenizer: Tokenizer, errors: str) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def push(self, id: int) -> str:
        """Takes an id, returns the text that it completes (often its own, perhaps none)."""
        return self._decoder.decode(self._tokenizer.id_to_token(id))

    def finish(self) -> str:
        """What is left, by the ``errors`` policy; the decoder is then as new."""
        rest = self._decoder.decode(b"", True)
        self._decoder.reset()
        return rest


__all__ = ["StreamDecoder"]
