"""The stand-in for ``tiktoken.Encoding``."""

from __future__ import annotations

from tokfrag.tokens.standins.tiktoken import Encoding

__all__ = ["Encoding"]
