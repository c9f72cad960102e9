"""Stand-ins for what users already hold, and the way from theirs to ours."""

from __future__ import annotations

from tokfrag.tokens.tokenizer import Tokenizer


def adopt(tokenizer: object) -> Tokenizer:
    """Make a :class:`Tokenizer` with the ids of another library's: see :meth:`Tokenizer.adopt`."""
    return Tokenizer.adopt(tokenizer)


__all__ = ["adopt"]
