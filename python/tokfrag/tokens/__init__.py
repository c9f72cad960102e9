"""Text to tokens and back: byte-pair encoding, exact and fast."""

from __future__ import annotations

from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.tokenizer import StreamDecoder, Tokenizer

__all__ = ["StreamDecoder", "TokenBatch", "Tokenizer"]
