"""Text to tokens and back: byte-pair encoding, WordPiece, training, token shards."""

from __future__ import annotations

from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.edit import Edit
from tokfrag.tokens.live import LiveTokens
from tokfrag.tokens.shards.reading import TokenShards
from tokfrag.tokens.stream_decoder import StreamDecoder
from tokfrag.tokens.tokenizer import Tokenizer
from tokfrag.tokens.training.word_counts import WordCounts

__all__ = [
    "Edit",
    "LiveTokens",
    "StreamDecoder",
    "TokenBatch",
    "TokenShards",
    "Tokenizer",
    "WordCounts",
]
